//! The format specification behind a placeholder's `:`.

/// A format specification that cannot make two values look the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Spec {
    /// As written, with its colon; empty when there is none.
    pub(crate) text: String,
    /// The parameter that gives the width, in `{n:width$}`.
    pub(crate) width: Option<String>,
}

/// What is wrong, and what to do instead.
type Fault = (String, &'static str);

/// The traits that `format!` knows, by the letter that selects them.
const TRAITS: [&str; 11] = ["", "?", "x?", "X?", "o", "x", "X", "p", "b", "e", "E"];

/// Reads what stands behind the expression: nothing, or `:` and a specification.
pub(super) fn parse(text: &str) -> Result<Spec, Fault> {
    let Some(mut rest) = text.strip_prefix(':') else {
        return Ok(Spec::default());
    };
    rest = skip_alignment(rest);
    rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest = rest.strip_prefix('#').unwrap_or(rest);
    let width = rest.find('$').map(|end| &rest[..end]);
    match width {
        Some(name) if name.contains('.') => return Err(truncates()),
        Some(name) if name.starts_with(|c: char| c.is_ascii_digit()) => {
            return Err((
                format!("the width `{name}$` does not say which parameter it is"),
                "name the parameter",
            ));
        }
        Some(name) if syn::parse_str::<syn::Ident>(name).is_ok() => {
            rest = &rest[name.len() + 1..];
        }
        Some(_) => {}
        None => rest = rest.trim_start_matches(|c: char| c.is_ascii_digit()),
    }
    if rest.starts_with('.') {
        return Err(truncates());
    }
    if !TRAITS.contains(&rest) {
        return Err((
            format!("`{rest}` is no format"),
            "a format is what `format!` takes, like `{n:03}` or `{n:x}`",
        ));
    }
    Ok(Spec {
        text: text.to_owned(),
        width: width.map(str::to_owned),
    })
}

fn skip_alignment(text: &str) -> &str {
    let mut characters = text.chars();
    let is_alignment = |c: Option<char>| matches!(c, Some('<' | '^' | '>'));
    let (first, second) = (characters.next(), characters.next());
    if is_alignment(second) {
        characters.as_str()
    } else if is_alignment(first) {
        &text[1..]
    } else {
        text
    }
}

fn truncates() -> Fault {
    (
        "a precision cuts values off, so that two names could become one".to_owned(),
        "lock the whole value, or give what you mean a name behind the template",
    )
}
