//! Errors that point inside a string literal.
//!
//! A proc macro on the stable compiler can only give the span of the whole literal, so that the
//! place is shown by a small picture in the message.

use std::fmt::Write as _;
use std::ops::Range;

use syn::{Error, LitStr};

/// An error about the bytes `place` of the literal's value, with one more line of advice.
pub(crate) fn error(literal: &LitStr, place: Range<usize>, message: &str, advice: &str) -> Error {
    let mut text = message.to_owned();
    if let Some(source) = plain_source(literal) {
        let indent = " ".repeat(place.start + 1);
        let carets = "^".repeat(place.len().max(1));
        let _ = write!(text, "\n  {source}\n  {indent}{carets}");
    }
    if !advice.is_empty() {
        let _ = write!(text, "\n  {advice}");
    }
    Error::new(literal.span(), text)
}

/// The literal as it stands in the source, if a column in it is a byte of the value: no escapes,
/// no raw string, nothing wider than one column.
fn plain_source(literal: &LitStr) -> Option<String> {
    let source = literal.token().to_string();
    let value = literal.value();
    let plain = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (plain && source == format!("\"{value}\"")).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::error;
    use syn::{LitStr, parse_str};

    fn picture(source: &str) -> String {
        let literal: LitStr = parse_str(source).unwrap();
        error(&literal, 5..8, "wrong", "do better").to_string()
    }

    #[test]
    fn points_at_the_place() {
        assert_eq!(
            picture(r#""task:{a}""#),
            "wrong\n  \"task:{a}\"\n        ^^^\n  do better"
        );
    }

    #[test]
    fn draws_nothing_that_would_point_elsewhere() {
        assert_eq!(picture(r#""t\u{61}sk:{a}""#), "wrong\n  do better");
        assert_eq!(picture(r##"r"task:{a}""##), "wrong\n  do better");
        assert_eq!(picture(r#""täsk:{a}""#), "wrong\n  do better");
    }
}
