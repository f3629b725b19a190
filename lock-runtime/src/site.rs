//! Sites: what is known of an annotated function before it runs, and the list of all of them.

use std::fmt;
use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::OnceLock;
use std::time::Duration;

use crate::lease::{SharedTerms, Terms};
use crate::options::{AuthPolicy, Mode, OnLost, Wait};

/// Every annotated function of this binary, gathered by the linker.
// The declaration is a static in a section of its own, which the lint counts as unsafe code.
#[allow(unsafe_code)]
#[linkme::distributed_slice]
pub static SITES: [Site];

/// One annotated function: template, mode, options, and where it stands.
///
/// `#[locked]` makes one per function, as a static.
pub struct Site {
    /// What it asks of the global manager: made at the first call, the same for every other.
    fixed: OnceLock<Terms>,
    templates: &'static [&'static str],
    function: fn() -> &'static str,
    file: &'static str,
    line: u32,
    pub(crate) mode: Mode,
    pub(crate) wait: Option<Wait>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) max_hold: Option<Duration>,
    pub(crate) at_least: Option<Duration>,
    pub(crate) reentrant: bool,
    pub(crate) on_lost: OnLost,
    pub(crate) auth: Option<AuthPolicy>,
    pub(crate) own_manager: bool,
    pub(crate) blocking: bool,
    pub(crate) own_path: bool,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty)?) => $field:ident = $value:expr;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub const fn $name(mut self $(, $argument: $type)?) -> Self {
            self.$field = $value;
            self
        })*
    };
}

impl Site {
    /// An exclusive site with the manager's defaults, where this is called; the marker type is
    /// declared in the annotated function.
    #[must_use]
    #[track_caller]
    pub const fn new<M>(templates: &'static [&'static str]) -> Self {
        let place = Location::caller();
        Self {
            fixed: OnceLock::new(),
            templates,
            function: function_path::<M>,
            file: place.file(),
            line: place.line(),
            mode: Mode::Exclusive,
            wait: None,
            ttl: None,
            max_hold: None,
            at_least: None,
            reentrant: false,
            on_lost: OnLost::Cancel,
            auth: None,
            own_manager: false,
            blocking: false,
            own_path: false,
        }
    }

    setters! {
        /// Shared mode.
        shared() => mode = Mode::Shared;
        /// A limit on how long the caller queues.
        wait(limit: Duration) => wait = Some(Wait::For(limit));
        /// No limit on how long the caller queues.
        wait_forever() => wait = Some(Wait::Forever);
        /// The lease.
        ttl(ttl: Duration) => ttl = Some(ttl);
        /// When renewal stops.
        max_hold(limit: Duration) => max_hold = Some(limit);
        /// How long the name stays busy at least.
        at_least(limit: Duration) => at_least = Some(limit);
        /// May be entered again from inside.
        reentrant() => reentrant = true;
        /// A body that lost its lock goes on to its end.
        finish_when_lost() => on_lost = OnLost::Finish;
        /// Only certain callers.
        auth(policy: AuthPolicy) => auth = Some(policy);
        /// Not on the global manager.
        own_manager() => own_manager = true;
        /// A sync function.
        blocking() => blocking = true;
        /// Named after the path of its function.
        own_path() => own_path = true;
    }

    /// At most so many owners at a time.
    ///
    /// # Panics
    ///
    /// When the number is zero; in a constant that is a compile error.
    #[must_use]
    pub const fn permits(mut self, number: u32) -> Self {
        self.mode = match NonZeroU32::new(number) {
            Some(number) => Mode::Permits(number),
            None => panic!("`permits` must be at least 1"),
        };
        self
    }

    /// What it asks of the global manager.
    #[inline]
    pub(crate) fn fixed_terms(&'static self, make: impl FnOnce() -> Terms) -> SharedTerms {
        SharedTerms::Fixed(self.fixed.get_or_init(make))
    }

    /// The templates as the annotation gives them, in the brace spelling.
    #[must_use]
    pub fn templates(&self) -> &'static [&'static str] {
        self.templates
    }

    /// The path of the annotated function.
    #[must_use]
    pub fn function(&self) -> &'static str {
        (self.function)()
    }

    /// The source file of the annotated function.
    #[must_use]
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The line of the annotation.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The mode that it asks for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.function(), self.file, self.line)
    }
}

/// Where in the code a section is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Annotated(&'static Site),
    Called(&'static Location<'static>),
}

impl Origin {
    /// What labels metrics: the template, or where the call stands; never a name.
    pub(crate) fn template(self) -> &'static str {
        match self {
            Self::Annotated(site) => site.templates.first().copied().unwrap_or("?"),
            Self::Called(place) => place.file(),
        }
    }

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Annotated(site) => site.file,
            Self::Called(place) => place.file(),
        }
    }

    pub(crate) fn line(self) -> u32 {
        match self {
            Self::Annotated(site) => site.line,
            Self::Called(place) => place.line(),
        }
    }

    pub(crate) fn function(self) -> Option<&'static str> {
        match self {
            Self::Annotated(site) => Some(site.function()),
            Self::Called(_) => None,
        }
    }
}

/// The path of the function that a marker type was declared in.
fn function_path<M>() -> &'static str {
    let path = std::any::type_name::<M>();
    let path = path.rsplit_once("::").map_or(path, |(path, _)| path);
    path.trim_end_matches("::{{closure}}")
}
