//! Text for people: foreign text made harmless, durations in and out, URLs without passwords.

use std::fmt::{self, Write};
use std::time::Duration;

use lock_runtime::{__daemon, MAX_WAIT, Wait};

/// Foreign text as a terminal may see it: what is not plainly visible is escaped, such as control
/// characters, and characters that turn the direction of writing.
pub(super) struct Clean<'a>(pub(super) &'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| match char {
            '\\' | '\'' | '"' => f.write_char(char),
            char => write!(f, "{}", char.escape_debug()),
        })
    }
}

/// Whether a terminal shows the character as it is.
pub(super) fn is_visible(char: char) -> bool {
    matches!(char, '\\' | '\'' | '"') || char.escape_debug().len() == 1
}

/// A duration as people say it: `450 ms`, `3.2 s`, `5 min 3 s`, `2 h 10 min`.
pub(super) struct Shown(pub(super) Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 => write!(f, "{} ms", self.0.as_millis()),
            1..60 => write!(f, "{}.{} s", seconds, self.0.subsec_millis() / 100),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            _ => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}

/// Reads a duration, such as `30s` or `1m30s`; zero needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let is_zero = !text.is_empty() && text.bytes().all(|byte| byte == b'0');
    if is_zero {
        return Ok(Duration::ZERO);
    }
    let read = __daemon::duration(text);
    read.ok_or_else(|| "write whole numbers with a unit, such as 500ms, 30s or 1m30s".to_owned())
}

/// Reads a lease that the store can give.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    __daemon::check_ttl(ttl).map(|()| ttl)
}

/// Reads a wait: a duration or `forever`.
pub(super) fn wait(text: &str) -> Result<Wait, String> {
    match text {
        "forever" => Ok(Wait::Forever),
        _ => match duration(text) {
            Ok(limit) if limit > MAX_WAIT => Err("write at most 24h, or `forever`".to_owned()),
            Ok(limit) => Ok(Wait::For(limit)),
            Err(what) => Err(format!("{what}, or `forever`")),
        },
    }
}

/// A URL without what must not be seen: a user and a password, and parameters.
pub(super) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_secret, host)| host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let host = host.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests;
