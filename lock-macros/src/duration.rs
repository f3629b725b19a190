//! Durations as an annotation spells them: `"30s"`, `"250ms"`, `"1m 30s"`.

use std::time::Duration;

use syn::{Error, LitStr, Result};

/// How long each unit is in nanoseconds.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// What the literal says.
pub(crate) fn parse(literal: &LitStr) -> Result<Duration> {
    read(&literal.value()).map_err(|message| Error::new(literal.span(), message))
}

fn read(text: &str) -> std::result::Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(malformed(text));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_at_first(after.trim_start(), |c| !c.is_alphabetic());
        let number: u64 = match number.parse() {
            Ok(number) => number,
            Err(_) if number.is_empty() => return Err(malformed(text)),
            Err(_) => return Err(too_long(text)),
        };
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(malformed(text));
        };
        total = number
            .checked_mul(*nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| too_long(text))?;
        rest = after.trim_start();
    }
    Ok(Duration::from_nanos(total))
}

fn split_at_first(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn malformed(text: &str) -> String {
    format!(
        "`{text}` is not a duration: write whole numbers with a unit, like \"30s\" or \"1m 30s\" \
         (units: ns, us, ms, s, m, h, d)"
    )
}

fn too_long(text: &str) -> String {
    format!("`{text}` is longer than any clock counts")
}

#[cfg(test)]
mod tests {
    use super::read;
    use std::time::Duration;

    /// As in the tests of what the environment says: one grammar for both.
    const READ: &[(&str, u64)] = &[
        ("7ns", 7),
        ("7us", 7_000),
        ("250ms", 250_000_000),
        ("30s", 30_000_000_000),
        ("2m", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1d", 86_400_000_000_000),
        ("0s", 0),
        ("1m 30s", 90_000_000_000),
        ("1m30s", 90_000_000_000),
        ("30s 1m", 90_000_000_000),
        (" 1 h ", 3_600_000_000_000),
    ];
    const REFUSED: &[&str] = &[
        "",
        " ",
        "0",
        "30",
        "s",
        "1.5s",
        "-1s",
        "30 sec",
        "30S",
        "1s,2s",
        "5s x",
        "5s 5",
        "½s",
        "999999999999d",
        "99999999999999999999s",
        "200000d 200000d",
    ];
    const TOO_LONG: usize = 3;

    #[test]
    fn durations_are_those_of_the_runtime() {
        for (text, nanos) in READ {
            assert_eq!(read(text), Ok(Duration::from_nanos(*nanos)), "{text}");
        }
        let (malformed, too_long) = REFUSED.split_at(REFUSED.len() - TOO_LONG);
        for text in malformed {
            assert!(read(text).unwrap_err().contains("units: ns, us"), "{text}");
        }
        for text in too_long {
            assert!(read(text).unwrap_err().contains("longer"), "{text}");
        }
    }
}
