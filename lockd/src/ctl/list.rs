//! `lockctl list`.

use std::io;

use rustix::termios::{isatty, tcgetwinsize};

use super::args::List;
use super::failure::Failure;
use super::output;
use super::place::Place;
use super::view::LockView;
use super::{exit, table};

/// Lists the locks whose names begin with a prefix.
pub(super) async fn list(place: &Place, options: &List) -> Result<u8, Failure> {
    let manager = place.connect().await?;
    let locks = manager.list(&options.prefix).await?;
    let locks: Vec<LockView> = locks.iter().map(LockView::from).collect();
    if options.json {
        output::json(&locks)?;
    } else {
        output::line(&table::lines(&locks, width()).join("\n"))?;
    }
    Ok(exit::OK)
}

/// How wide the terminal is; `None` for what is none: a pipe or a file has room for everything.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    let size = isatty(&stdout)
        .then(|| tcgetwinsize(&stdout).ok())
        .flatten()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}
