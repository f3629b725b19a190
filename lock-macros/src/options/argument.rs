//! One argument of `#[locked(…)]` at a time.

use std::time::Duration;

use proc_macro2::{Ident, Span};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Lit, LitStr, Path, Result, Token, parenthesized, token};

use super::{Auth, Given, Named, OnLost, Options, Time, Wait};
use crate::{duration, hint};

/// Every option of `#[locked(…)]`, and one that takes a value with an example of it.
const OPTIONS: [(&str, Option<&str>); 15] = [
    ("wait", Some("wait = \"5s\"")),
    ("try", None),
    ("ttl", Some("ttl = \"30s\"")),
    ("max_hold", Some("max_hold = \"10m\"")),
    ("at_least", Some("at_least = \"10s\"")),
    ("shared", None),
    ("permits", Some("permits = 4")),
    ("reentrant", None),
    ("on_lost", Some("on_lost = finish")),
    ("on_busy", Some("on_busy = |error| …")),
    ("on_error", Some("on_error = |error| …")),
    ("guard", Some("guard = held")),
    ("manager", Some("manager = self.locks")),
    ("auth", None),
    ("crate", Some("crate = ::my_runtime")),
];

/// What other lock libraries call these things.
const ELSEWHERE: [(&str, &str); 12] = [
    ("concurrency", "`permits`"),
    ("expire", "`ttl`"),
    ("expires", "`ttl`"),
    ("expiry", "`ttl`"),
    (
        "key",
        "the lock name, which stands first and alone, like `\"task:{id}\"`",
    ),
    ("lease", "`ttl`"),
    ("limit", "`permits`"),
    (
        "name",
        "the lock name, which stands first and alone, like `\"task:{id}\"`",
    ),
    ("nowait", "`try`"),
    ("read", "`shared`"),
    ("readonly", "`shared`"),
    (
        "timeout",
        "`wait` (how long a call queues) or `ttl` (the lease)",
    ),
];

const EXPECTED: &str = "expected a string literal or an option: \
     a lock name is read when this is compiled, before any macro or constant";

const MILLISECOND: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The option that was most likely meant by a word that is none.
pub(crate) fn meant(word: &str) -> Option<String> {
    let elsewhere = ELSEWHERE.iter().find(|(known, _)| *known == word);
    match elsewhere {
        Some((_, ours)) => Some((*ours).to_owned()),
        None => hint::closest(word, names()).map(|option| format!("`{option}`")),
    }
}

/// All options, for somebody who named none of them.
pub(crate) fn list() -> String {
    format!("options: {}", hint::list(names()))
}

/// The names of all options.
fn names() -> impl Iterator<Item = &'static str> + Clone {
    OPTIONS.iter().map(|(name, _)| *name)
}

impl Options {
    /// Reads one argument, up to its comma.
    pub(super) fn argument(&mut self, input: ParseStream<'_>) -> Result<()> {
        if input.peek(LitStr) {
            self.templates.push(input.parse()?);
            return Ok(());
        }
        if !input.peek(Ident::peek_any) {
            return Err(input.error(EXPECTED));
        }
        let name = input.call(Ident::parse_any)?;
        if input.parse::<Option<Token![=]>>()?.is_some() {
            self.valued(&name, input)
        } else if input.peek(token::Paren) {
            self.listed(&name, input)
        } else if input.is_empty() || input.peek(Token![,]) {
            self.flag(&name)
        } else {
            Err(Error::new(name.span(), EXPECTED))
        }
    }

    /// `name = …`
    fn valued(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let text = name.to_string();
        match text.as_str() {
            "wait" => set(&mut self.wait, name, wait(input)?),
            "ttl" => set(
                &mut self.ttl,
                name,
                time(input, "ttl", MILLISECOND * 100, DAY)?,
            ),
            "max_hold" => {
                let limit = time(input, "max_hold", Duration::from_nanos(1), Duration::MAX)?;
                set(&mut self.max_hold, name, limit)
            }
            "at_least" => {
                let least = time(input, "at_least", Duration::from_nanos(1), Duration::MAX)?;
                set(&mut self.at_least, name, least)
            }
            "permits" => set(&mut self.permits, name, permits(input)?),
            "on_lost" => set(&mut self.on_lost, name, on_lost(input)?),
            "on_busy" => set(&mut self.on_busy, name, input.parse()?),
            "on_error" => set(&mut self.on_error, name, input.parse()?),
            "guard" => set(&mut self.guard, name, input.parse()?),
            "manager" => set(&mut self.manager, name, input.parse()?),
            "crate" => set(&mut self.runtime, name, Path::parse_mod_style(input)?),
            "try" | "shared" | "reentrant" | "auth" => Err(Error::new(
                name.span(),
                format!("`{text}` takes no `=`: write `{text}` alone"),
            )),
            _ => Named::add(&mut self.named, name, input),
        }
    }

    /// `name(…)`
    fn listed(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let content;
        parenthesized!(content in input);
        if name == "auth" {
            set(&mut self.auth, name, content.parse()?)
        } else {
            // The list itself is not looked at: its name is already wrong.
            content.parse::<proc_macro2::TokenStream>()?;
            Err(misplaced(name, "takes no list"))
        }
    }

    /// `name`
    fn flag(&mut self, name: &Ident) -> Result<()> {
        match name.to_string().as_str() {
            "try" => set(&mut self.immediate, name, ()),
            "shared" => set(&mut self.shared, name, ()),
            "reentrant" => set(&mut self.reentrant, name, ()),
            "auth" => set(&mut self.auth, name, Auth::default()),
            text if !text.contains(char::is_lowercase) => Err(Error::new(name.span(), EXPECTED)),
            text if self.has_empty_braces() && meant(text).is_none() => Err(Error::new(
                name.span(),
                format!(
                    "`{text}` is no option of `#[locked]`: a lock name takes its values by name, \
                     so write `{{{text}}}` in it"
                ),
            )),
            _ => Err(misplaced(name, "needs a value")),
        }
    }

    /// Whether a lock name leaves out what stands in it, as texts to be formatted do.
    fn has_empty_braces(&self) -> bool {
        let mut templates = self.templates.iter().map(LitStr::value);
        templates.any(|template| template.contains("{}") || template.contains("{:"))
    }
}

impl Named {
    /// Reads the value of a named argument.
    pub(crate) fn add(named: &mut Vec<Self>, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        // Refuses keywords, which could not be bound.
        let name: Ident = syn::parse2(name.to_token_stream())?;
        let value = input.parse()?;
        if named.iter().any(|other| other.name == name) {
            return Err(twice(&name));
        }
        named.push(Self { name, value });
        Ok(())
    }
}

fn set<T>(slot: &mut Option<Given<T>>, name: &Ident, value: T) -> Result<()> {
    if slot.is_some() {
        return Err(twice(name));
    }
    let span = name.span();
    *slot = Some(Given { value, span });
    Ok(())
}

fn twice(name: &Ident) -> Error {
    Error::new(name.span(), format!("`{name}` is given twice"))
}

/// An option in the wrong form, or no option at all.
fn misplaced(name: &Ident, problem: &str) -> Error {
    let text = name.to_string();
    let message = match OPTIONS.iter().find(|(option, _)| *option == text) {
        Some((_, Some(example))) => format!("`{text}` {problem}: write `{example}`"),
        Some((_, None)) => format!("`{text}` {problem}: write `{text}` alone"),
        None => unknown(&text),
    };
    Error::new(name.span(), message)
}

fn unknown(name: &str) -> String {
    let mut message = format!("`{name}` is no option of `#[locked]`");
    if let Some(meant) = meant(name) {
        message += &format!("; did you mean {meant}?");
    }
    message + "\n  " + &list()
}

fn wait(input: ParseStream<'_>) -> Result<Wait> {
    if input.peek(LitStr) {
        let ahead = input.fork();
        if ahead.parse::<LitStr>()?.value() == "forever" {
            input.parse::<LitStr>()?;
            return Ok(Wait::Forever);
        }
    }
    time(input, "wait", Duration::ZERO, DAY).map(Wait::For)
}

/// A duration for the option `name`; one that is known here must lie within the limits.
fn time(input: ParseStream<'_>, name: &str, least: Duration, most: Duration) -> Result<Time> {
    let value: Expr = input.parse()?;
    let (lit, span) = match ungrouped(&value) {
        Expr::Lit(ExprLit { lit, .. }) => (lit, lit.span()),
        _ => return Ok(Time::Computed(Box::new(value))),
    };
    let Lit::Str(text) = lit else {
        let message = format!("`{name}` needs a unit: write it like `{name} = \"30s\"`");
        return Err(Error::new(span, message));
    };
    let time = duration::parse(text)?;
    if (least..=most).contains(&time) {
        return Ok(Time::Known(time));
    }
    let message = match (least.is_zero(), most == DAY) {
        (true, _) => format!("`{name}` must be at most 24h"),
        (false, true) => format!("`{name}` must be between {least:?} and 24h"),
        (false, false) => format!("`{name}` must be longer than nothing"),
    };
    Err(Error::new(span, message))
}

fn permits(input: ParseStream<'_>) -> Result<Expr> {
    let value: Expr = input.parse()?;
    if let Expr::Lit(ExprLit { lit, .. }) = ungrouped(&value) {
        let number = match lit {
            Lit::Int(number) => number.base10_parse::<u32>().ok(),
            _ => None,
        };
        if number.is_none_or(|number| number == 0) {
            return Err(Error::new(lit.span(), "`permits` is a number from 1 up"));
        }
    }
    Ok(value)
}

fn on_lost(input: ParseStream<'_>) -> Result<OnLost> {
    let Ok(choice) = input.call(Ident::parse_any) else {
        return Err(unknown_choice(input.span()));
    };
    match choice.to_string().as_str() {
        "cancel" => Ok(OnLost::Cancel),
        "finish" => Ok(OnLost::Finish),
        _ => Err(unknown_choice(choice.span())),
    }
}

fn unknown_choice(span: Span) -> Error {
    let message = "`on_lost` is `cancel` (drop the body) or `finish` (let it end, then report)";
    Error::new(span, message)
}

/// The expression inside the invisible brackets that `macro_rules!` puts around a fragment.
fn ungrouped(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}
