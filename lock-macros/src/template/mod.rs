//! What a lock name is made of: `"task:{task_id}"` → text and placeholders.
//!
//! Both spellings of a placeholder, `{x}` and `<x>`, are read here and nowhere else. Nothing here
//! knows the annotated function.

mod scan;
mod spec;
#[cfg(test)]
mod tests;

use std::ops::Range;

use proc_macro2::TokenStream;
use syn::{LitStr, Result};

use crate::caret;
pub(crate) use scan::leaves_function;
pub(crate) use spec::Spec;

/// The longest literal text; the runtime's limit for a whole name, so that a longer one could
/// never be locked.
const MAX_TEXT: usize = 512;

/// A lock name as the annotation writes it.
pub(crate) struct Template {
    pub(crate) literal: LitStr,
    pub(crate) segments: Vec<Segment>,
}

/// A piece of a template.
pub(crate) enum Segment {
    Text(String),
    Value(Placeholder),
}

/// A value in a template: a parameter or named argument, with fields, method calls and indices.
pub(crate) struct Placeholder {
    /// The expression as written.
    pub(crate) source: String,
    /// The expression, lexed; its spans say nothing yet.
    pub(crate) tokens: TokenStream,
    pub(crate) spec: Spec,
    /// Where the expression stands in the literal's value, in bytes.
    pub(crate) place: Range<usize>,
}

/// What is wrong with a template, and where in the literal's value.
struct Fault {
    place: Range<usize>,
    message: String,
    advice: String,
}

impl Fault {
    fn new(place: Range<usize>, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            place,
            message: message.into(),
            advice: advice.into(),
        }
    }
}

impl Template {
    /// Reads a template; the first thing that is wrong with it is its error.
    pub(crate) fn parse(literal: LitStr) -> Result<Self> {
        match segments(&literal.value()) {
            Ok(segments) => Ok(Self { literal, segments }),
            Err(fault) => Err(caret::error(
                &literal,
                fault.place,
                &fault.message,
                &fault.advice,
            )),
        }
    }

    /// The template in the brace spelling, however it was written.
    pub(crate) fn normalised(&self) -> String {
        let mut text = String::new();
        for segment in &self.segments {
            match segment {
                Segment::Text(piece) => text += &piece.replace('{', "{{").replace('}', "}}"),
                Segment::Value(value) => {
                    text.push('{');
                    text += &value.source;
                    text += &value.spec.text;
                    text.push('}');
                }
            }
        }
        text
    }
}

fn segments(template: &str) -> std::result::Result<Vec<Segment>, Fault> {
    if template.is_empty() {
        return Err(Fault::new(0..0, "a lock name cannot be empty", ""));
    }
    let mut segments = Vec::new();
    let mut text = String::new();
    let mut length = 0;
    let mut at = 0;
    while let Some(character) = template[at..].chars().next() {
        let next = at + character.len_utf8();
        let doubled = template[next..].starts_with(character);
        match character {
            '{' | '}' | '<' | '>' if doubled => {
                text.push(character);
                at = next + 1;
            }
            '{' | '<' => {
                let (value, end) = scan::placeholder(template, at)?;
                separated(&segments, &text, at..end)?;
                if !text.is_empty() {
                    length += text.len();
                    segments.push(Segment::Text(std::mem::take(&mut text)));
                }
                segments.push(Segment::Value(value));
                at = end;
            }
            '}' | '>' => {
                return Err(Fault::new(
                    at..next,
                    format!("`{character}` closes no placeholder"),
                    format!("write `{character}{character}` for the character itself"),
                ));
            }
            _ => {
                check_text(template, at, character)?;
                text.push(character);
                at = next;
            }
        }
    }
    if !text.is_empty() {
        length += text.len();
        segments.push(Segment::Text(text));
    }
    if length > MAX_TEXT {
        return Err(Fault::new(
            0..0,
            format!(
                "a lock name has at most {MAX_TEXT} bytes, and this one's text alone has {length}"
            ),
            "",
        ));
    }
    Ok(segments)
}

/// Refuses a placeholder that nothing sets apart from the one before it: the values may contain
/// anything but the separators, so that only a separator keeps two names from becoming one.
fn separated(
    before: &[Segment],
    text: &str,
    place: Range<usize>,
) -> std::result::Result<(), Fault> {
    if before.is_empty() || text.contains([':', '/', '#']) {
        return Ok(());
    }
    // Only text that was not pushed yet lies between, so that the last segment is a value if any
    // segment is.
    Err(Fault::new(
        place,
        "two placeholders need a `:`, `/` or `#` between them",
        "values may contain anything else, so that two names could become one",
    ))
}

fn check_text(template: &str, at: usize, character: char) -> std::result::Result<(), Fault> {
    let place = at..at + character.len_utf8();
    if character.is_whitespace() {
        return Err(Fault::new(place, "a lock name contains no white space", ""));
    }
    if character.is_control() {
        return Err(Fault::new(
            place,
            "a lock name contains no control characters",
            "",
        ));
    }
    if character == '%' {
        let hex = template[at + 1..].bytes().take(2);
        if hex.filter(u8::is_ascii_hexdigit).count() < 2 {
            return Err(Fault::new(
                place,
                "`%` in a lock name starts an encoded byte",
                "write `%25` for the character itself",
            ));
        }
    }
    Ok(())
}
