//! Writing results: text and JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::failure::Failure;
use super::text::is_visible;

/// Writes text that is made for a terminal, as it is.
pub(super) fn write(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::output(&error))
}

/// Writes one line.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

/// Writes a value as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text =
        serde_json::to_string(value).map_err(|error| Failure::output(&io::Error::other(error)))?;
    line(&ascii(&text))
}

/// The same JSON with every character escaped that a terminal would not show as it is. Outside
/// of strings JSON has none.
fn ascii(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for char in json.chars() {
        if is_visible(char) {
            safe.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_safe_to_see_and_means_the_same() {
        let text = "a\u{202e}b\u{7f}\n\"\\ größe \u{e0001}";
        let json = serde_json::to_string(text).unwrap();
        let safe = ascii(&json);
        assert!(safe.chars().all(is_visible), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
        assert!(safe.contains("größe") && safe.contains("\\u202e"));
    }
}
