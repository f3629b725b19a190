//! What the placeholders of a template refer to.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::{Error, LitStr, Result};

use crate::function::Shape;
use crate::options::{self, Named};
use crate::problems::Problems;
use crate::template::{self, Placeholder, Segment, Template};
use crate::{caret, hint};

/// A piece of a name, ready to be written.
pub(crate) enum Part {
    Text(String),
    Value(Value),
}

/// A value in a name.
pub(crate) struct Value {
    /// For `format_args!`, with one value: `{:03}`.
    pub(crate) format: String,
    pub(crate) expression: TokenStream,
    /// A width that the format takes from a variable: its name there, and the variable.
    pub(crate) width: Option<(Ident, Ident)>,
}

/// The names that a template may use.
pub(crate) struct Scope<'a> {
    /// The annotated function; without one, every variable around is in scope.
    function: Option<&'a Ident>,
    parameters: &'a [Ident],
    receiver: Option<&'a Ident>,
    named: &'a [Named],
    used: Vec<bool>,
}

impl<'a> Scope<'a> {
    /// The parameters of a function, and the named arguments of its annotation.
    pub(crate) fn of_function(function: &'a Ident, shape: &'a Shape, named: &'a [Named]) -> Self {
        Self {
            function: Some(function),
            parameters: &shape.names,
            receiver: shape.receiver.as_ref(),
            named,
            used: vec![false; named.len()],
        }
    }

    /// Whatever variables there are, and named arguments.
    pub(crate) fn of_expression(named: &'a [Named]) -> Self {
        Self {
            function: None,
            parameters: &[],
            receiver: None,
            named,
            used: vec![false; named.len()],
        }
    }

    /// The parts of the template, every name in it found.
    pub(crate) fn resolve(&mut self, template: &Template) -> Result<Vec<Part>> {
        let mut problems = Problems::default();
        let mut parts = Vec::new();
        for segment in &template.segments {
            match segment {
                Segment::Text(text) => parts.push(Part::Text(text.clone())),
                Segment::Value(value) => {
                    parts.extend(problems.take(self.value(&template.literal, value)));
                }
            }
        }
        problems.finish().map(|()| parts)
    }

    fn value(&mut self, literal: &LitStr, value: &Placeholder) -> Result<Part> {
        let span = literal.span();
        let place = value.place.clone();
        let mut tokens = value.tokens.clone().into_iter();
        let mut expression = TokenStream::new();
        if let Some(TokenTree::Ident(root)) = tokens.next() {
            let root = self.find(&root, span).map_err(|unknown| {
                caret::error(literal, place, &unknown.message, &unknown.advice)
            })?;
            expression.extend([TokenTree::Ident(root)]);
        }
        expression.extend(self.respan(tokens.collect(), span));
        let width = match &value.spec.width {
            None => None,
            Some(name) => {
                let name = Ident::new(name, span);
                let found = self.find(&name, span).map_err(|unknown| {
                    let after = value.place.end..value.place.end + value.spec.text.len();
                    caret::error(literal, after, &unknown.message, &unknown.advice)
                })?;
                Some((name, found))
            }
        };
        Ok(Part::Value(Value {
            format: format!("{{{}}}", value.spec.text),
            expression,
            width,
        }))
    }

    /// The variable that the first word of a placeholder means.
    ///
    /// It stands where the literal stands, and means what the parameter means: the two can come
    /// from different contexts when the function was made by `macro_rules!`.
    fn find(&mut self, word: &Ident, span: Span) -> std::result::Result<Ident, Unknown> {
        if let Some(known) = self.known(word, span) {
            return Ok(known);
        }
        let mut word = word.clone();
        word.set_span(span);
        let text = word.unraw().to_string();
        let Some(function) = self.function else {
            return Ok(word);
        };
        if text == "self" {
            return Err(Unknown {
                message: format!("lock name refers to `self`, but `{function}` has no `self`"),
                advice: String::new(),
            });
        }
        // Constants and const generics are not among the parameters: the compiler knows them.
        if !text.contains(char::is_lowercase) {
            return Ok(word);
        }
        Err(self.unknown(&text, function))
    }

    fn known(&mut self, word: &Ident, span: Span) -> Option<Ident> {
        let word = word.unraw();
        let named = self.named.iter().position(|n| n.name.unraw() == word);
        let found = if let Some(place) = named {
            self.used[place] = true;
            &self.named[place].name
        } else if word == "self" {
            self.receiver?
        } else {
            self.parameters.iter().find(|name| name.unraw() == word)?
        };
        let mut found = found.clone();
        found.set_span(span.resolved_at(found.span()));
        Some(found)
    }

    fn unknown(&self, word: &str, function: &Ident) -> Unknown {
        let mut names: Vec<String> = self.receiver.iter().map(|_| "self".to_owned()).collect();
        names.extend(self.parameters.iter().map(|name| name.unraw().to_string()));
        names.extend(
            self.named
                .iter()
                .map(|named| named.name.unraw().to_string()),
        );
        let names = || names.iter().map(String::as_str);
        let meant = hint::closest(word, names());
        let meant = meant.map_or(String::new(), |meant| {
            format!("did you mean `{meant}`?\n  ")
        });
        let available = match hint::list(names()) {
            list if list.is_empty() => format!("`{function}` has no parameters"),
            list => format!("parameters: {list}"),
        };
        Unknown {
            message: format!(
                "lock name refers to `{word}`, which is not a parameter of `{function}`"
            ),
            advice: meant + &available,
        }
    }

    /// The rest of an expression, with parameters in arguments and indices found as well. Words
    /// that are not parameters there may be anything: the compiler knows them.
    fn respan(&mut self, tokens: TokenStream, span: Span) -> TokenStream {
        let mut result = TokenStream::new();
        let mut after_dot = false;
        for mut token in tokens {
            let is_dot = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '.');
            match &mut token {
                TokenTree::Ident(word) if after_dot => word.set_span(span),
                TokenTree::Ident(word) => match self.known(word, span) {
                    Some(known) => *word = known,
                    None => word.set_span(span),
                },
                TokenTree::Group(group) => {
                    let inner = self.respan(group.stream(), span);
                    *group = Group::new(group.delimiter(), inner);
                    group.set_span(span);
                }
                other => other.set_span(span),
            }
            after_dot = is_dot;
            result.extend([token]);
        }
        result
    }

    /// Refuses named arguments that would act on the function around them: a closure makes the
    /// name, so that they could not.
    pub(crate) fn check_named(&self, problems: &mut Problems) {
        for named in self.named {
            if template::leaves_function(&named.value.to_token_stream()) {
                problems.add(Error::new(
                    named.name.span(),
                    "a named argument cannot leave or suspend the function: \
                     no `?`, `return`, `.await`",
                ));
            }
        }
    }

    /// Refuses named arguments that no placeholder refers to: most likely a misspelled option.
    pub(crate) fn check_all_used(&self, problems: &mut Problems) {
        for (named, used) in self.named.iter().zip(&self.used) {
            if *used {
                continue;
            }
            let name = &named.name;
            let mut message = format!("nothing in the lock name refers to `{name}`");
            if self.function.is_some() {
                message += &match options::meant(&name.to_string()) {
                    Some(meant) if meant.starts_with('`') => {
                        format!("; did you mean the option {meant}?")
                    }
                    Some(meant) => format!("; did you mean {meant}?"),
                    None => format!(
                        ", and it is no option of `#[locked]`\n  {}",
                        options::list()
                    ),
                };
            }
            problems.add(Error::new(name.span(), message));
        }
    }
}

/// A name that is nowhere, and what there is instead.
struct Unknown {
    message: String,
    advice: String,
}
