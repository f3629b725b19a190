//! The arguments of `#[auth(…)]`, and of `auth(…)` inside `#[locked(…)]`.

use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, Path, Result, Token};

use crate::hint;

const ARGUMENTS: [&str; 5] = ["required", "optional", "assigned", "caller", "crate"];

/// Who may call.
#[derive(Default)]
pub(crate) struct Auth {
    pub(crate) policy: Policy,
    /// Where the policy was named, if it was.
    pub(crate) policy_name: Option<Ident>,
    pub(crate) caller: Option<Expr>,
    pub(crate) runtime: Option<Path>,
}

/// What is asked of a caller.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The lock must be assigned, to this caller.
    Assigned,
    /// Nobody needs to be known where the lock is not assigned.
    Optional,
    /// The caller must be known, and is refused where the lock is assigned to another.
    #[default]
    Required,
}

impl Parse for Auth {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut auth = Self::default();
        while !input.is_empty() {
            auth.argument(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(auth)
    }
}

impl Auth {
    fn argument(&mut self, input: ParseStream<'_>) -> Result<()> {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(format!("expected one of {}", hint::list(ARGUMENTS))));
        }
        let name = input.call(Ident::parse_any)?;
        match name.to_string().as_str() {
            "required" => self.choose(Policy::Required, name),
            "optional" => self.choose(Policy::Optional, name),
            "assigned" => self.choose(Policy::Assigned, name),
            "caller" => {
                input.parse::<Token![=]>()?;
                once(&mut self.caller, &name, input.parse()?)
            }
            "crate" => {
                input.parse::<Token![=]>()?;
                once(&mut self.runtime, &name, Path::parse_mod_style(input)?)
            }
            text => {
                let mut message = format!("`{text}` is no argument of `auth`");
                if let Some(meant) = hint::closest(text, ARGUMENTS) {
                    message += &format!("; did you mean `{meant}`?");
                }
                message += "\n  arguments: ";
                Err(Error::new(name.span(), message + &hint::list(ARGUMENTS)))
            }
        }
    }

    fn choose(&mut self, policy: Policy, name: Ident) -> Result<()> {
        if let Some(other) = &self.policy_name {
            let message = format!("`{name}` contradicts `{other}`: choose one");
            return Err(Error::new(name.span(), message));
        }
        self.policy = policy;
        self.policy_name = Some(name);
        Ok(())
    }
}

fn once<T>(slot: &mut Option<T>, name: &Ident, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Error::new(name.span(), format!("`{name}` is given twice")));
    }
    Ok(())
}
