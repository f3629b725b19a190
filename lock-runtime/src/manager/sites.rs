//! Whether a backend can do what this binary's annotations ask for.

use super::Inner;
use crate::error::LockError;
use crate::options::Mode;
use crate::site::{SITES, Site};

/// More than this many are not named one by one.
const NAMED: usize = 10;

/// Checks every annotated site of the global manager, so that a service is refused at start-up
/// and not at the first call.
pub(super) fn check(manager: &Inner) -> Result<(), LockError> {
    check_own_paths()?;
    let mut refused = Vec::new();
    for site in SITES.iter().filter(|site| !site.own_manager) {
        refused.extend(missing(manager, site).map(|what| format!("{site} needs {what}")));
    }
    if refused.is_empty() {
        return Ok(());
    }
    refused.sort();
    let more = refused.len().saturating_sub(NAMED);
    refused.truncate(NAMED);
    if more > 0 {
        refused.push(format!("and {more} more"));
    }
    Err(LockError::unsupported(
        manager.backend.name(),
        &format!(
            "what this program's annotations ask for: {}",
            refused.join("; ")
        ),
    ))
}

/// A bare `#[locked]` is named after its module and function. The macro does not see the type
/// that a function without `self` belongs to: two of one name would share a lock.
fn check_own_paths() -> Result<(), LockError> {
    let ambiguous = SITES.iter().filter(|site| site.own_path).find(|site| {
        let path = site.function().replace("r#", "");
        site.templates() != [path.as_str()]
    });
    ambiguous.map_or(Ok(()), |site| {
        Err(LockError::invalid_option(format!(
            "{site} is not a free function, and would share the lock `{}` with others of its \
             name: give it a template, such as #[locked(\"name\")]",
            site.templates().join(", ")
        )))
    })
}

fn missing(manager: &Inner, site: &Site) -> Option<&'static str> {
    let can = manager.capabilities;
    let needs = [
        (site.mode == Mode::Shared && !can.shared, "`shared`"),
        (
            matches!(site.mode, Mode::Permits(_)) && !can.permits,
            "`permits`",
        ),
        (site.auth.is_some() && !can.identity, "`auth`"),
        (site.at_least.is_some() && !can.at_least, "`at_least`"),
    ];
    needs
        .into_iter()
        .find_map(|(lacking, what)| lacking.then_some(what))
}

impl super::LockManager {
    pub(crate) fn check_sites(&self) -> Result<(), LockError> {
        check(self.inner())
    }
}
