//! Reads one placeholder: where it ends, and `ident(.ident | .int | .ident(args) | [index])*`.

use proc_macro2::{TokenStream, TokenTree};

use super::{Fault, Placeholder, spec};

/// What to do instead of an expression that a placeholder cannot be.
const NAME_IT: &str = "give another expression a name behind the template: `{id}`, then `id = …`";

/// The placeholder that opens at `open`, and where the text goes on behind it.
pub(super) fn placeholder(template: &str, open: usize) -> Result<(Placeholder, usize), Fault> {
    let closes = if template[open..].starts_with('{') {
        '}'
    } else {
        '>'
    };
    let start = open + 1;
    let Some(length) = find_close(&template[start..], closes) else {
        let opens = &template[open..start];
        return Err(Fault::new(
            open..start,
            format!("`{opens}` opens a placeholder that is never closed"),
            format!("close it with `{closes}`, or write `{opens}{opens}` for the character itself"),
        ));
    };
    let end = start + length + 1;
    let inside = &template[start..end - 1];
    let inner = inside.trim();
    let start = start + (inside.len() - inside.trim_start().len());
    let whole = open..end;

    if inner.is_empty() {
        return Err(Fault::new(
            whole,
            "an empty placeholder",
            "name a parameter",
        ));
    }
    if inner.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Fault::new(
            whole,
            "a placeholder does not count parameters",
            "name the parameter",
        ));
    }
    let expression = expression_length(inner).map_err(|refused| refused.at(whole.clone()))?;
    let (source, spec) = inner.split_at(expression);
    let place = start..start + source.len();
    let spec = spec::parse(spec)
        .map_err(|(message, advice)| Fault::new(place.end..start + inner.len(), message, advice))?;
    let tokens = match source.parse::<TokenStream>() {
        Ok(tokens) if leaves_function(&tokens) => return Err(Refused::Leaves.at(whole)),
        Ok(tokens) => tokens,
        Err(_) => return Err(Refused::Other.at(whole)),
    };
    let placeholder = Placeholder {
        source: source.to_owned(),
        tokens,
        spec,
        place,
    };
    Ok((placeholder, end))
}

/// Why something is no placeholder.
enum Refused {
    /// It would act on the annotated function.
    Leaves,
    Other,
}

impl Refused {
    fn at(self, place: std::ops::Range<usize>) -> Fault {
        match self {
            Self::Leaves => Fault::new(
                place,
                "a placeholder cannot leave or suspend the function: no `?`, `return`, `.await`",
                "",
            ),
            Self::Other => Fault::new(
                place,
                "a placeholder is a parameter with its fields, methods and indices",
                NAME_IT,
            ),
        }
    }
}

/// Whether the tokens contain anything that acts on the function around them.
pub(crate) fn leaves_function(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Ident(word) => is_leaving(&word.to_string()),
        TokenTree::Punct(mark) => mark.as_char() == '?',
        TokenTree::Group(group) => leaves_function(&group.stream()),
        TokenTree::Literal(_) => false,
    })
}

fn is_leaving(word: &str) -> bool {
    matches!(word, "return" | "break" | "continue" | "await" | "yield")
}

/// How long the expression at the start of a placeholder is; behind it comes `:` or nothing.
fn expression_length(inner: &str) -> Result<usize, Refused> {
    let mut at = identifier(inner).ok_or(Refused::Other)?;
    if is_leaving(&inner[..at]) {
        return Err(Refused::Leaves);
    }
    loop {
        let rest = &inner[at..];
        at += match rest.chars().next() {
            None => return Ok(at),
            Some(':') if is_path(rest) => return Err(Refused::Other),
            Some(':') => return Ok(at),
            Some('.') => member(&rest[1..])? + 1,
            Some('[') => balanced(rest).ok_or(Refused::Other)?,
            Some('?') => return Err(Refused::Leaves),
            Some(_) => return Err(Refused::Other),
        };
    }
}

/// Whether `::` goes on with a path or type arguments, and is not a fill character.
fn is_path(rest: &str) -> bool {
    let behind = rest.strip_prefix("::");
    let behind = behind.map(|behind| behind.strip_prefix('<').unwrap_or(behind));
    behind.and_then(identifier).is_some()
}

/// The length of a field, a tuple index, or a method with its arguments.
fn member(rest: &str) -> Result<usize, Refused> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 0 {
        return Ok(digits);
    }
    let name = identifier(rest).ok_or(Refused::Other)?;
    if is_leaving(&rest[..name]) {
        return Err(Refused::Leaves);
    }
    if rest[name..].starts_with('(') {
        let arguments = balanced(&rest[name..]).ok_or(Refused::Other)?;
        return Ok(name + arguments);
    }
    Ok(name)
}

/// The length of the identifier, raw or not, that the text starts with.
fn identifier(text: &str) -> Option<usize> {
    let raw = if text.starts_with("r#") { 2 } else { 0 };
    let name = &text[raw..];
    if !name.starts_with(|c: char| c == '_' || c.is_alphabetic()) {
        return None;
    }
    let length = name.find(|c: char| c != '_' && !c.is_alphanumeric());
    let length = length.unwrap_or(name.len());
    (&name[..length] != "_").then_some(raw + length)
}

/// The length of the bracketed text that the text starts with, brackets included.
fn balanced(text: &str) -> Option<usize> {
    let closes = if text.starts_with('(') { ')' } else { ']' };
    find_close(&text[1..], closes).map(|length| length + 2)
}

/// Where the bracket that is open at the start of the text is closed.
fn find_close(text: &str, closes: char) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quoted = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if quoted => {
                characters.next();
            }
            '"' => quoted = !quoted,
            _ if quoted => {}
            _ if depth == 0 && character == closes => return Some(at),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            // `'x'` is a character, `'a` is a lifetime.
            '\'' => {
                let mut ahead = text[at + 1..].char_indices().skip(1);
                if let Some((length, '\'')) = ahead.next() {
                    let end = at + 1 + length;
                    while characters.next_if(|(next, _)| *next <= end).is_some() {}
                }
            }
            _ => {}
        }
    }
    None
}
