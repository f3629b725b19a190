//! Whether an annotation makes sense: the function, the options and the templates held against
//! each other. Everything that is wrong is reported at once; no code is made here.

mod conflicts;
mod function;
mod name;
#[cfg(test)]
mod tests;

use syn::{Error, Result};

use crate::function::{Function, Shape};
use crate::options::Options;
use crate::problems::Problems;
use crate::template::Template;
pub(crate) use function::{Attribute, shape};
pub(crate) use name::{Part, Scope, Value};

/// The locks that a function takes.
pub(crate) struct Checked {
    pub(crate) shape: Shape,
    pub(crate) names: Vec<Name>,
}

/// One lock name, as code can make it.
pub(crate) enum Name {
    /// The path of the function itself.
    OwnPath,
    /// The normalised template, and its parts.
    Template(String, Vec<Part>),
}

/// Checks an annotated function.
pub(crate) fn check(function: &Function, options: &Options) -> Result<Checked> {
    let mut problems = Problems::default();
    conflicts::check(options, &mut problems);
    let shape = problems.take(function::shape(function, &Attribute::locked(options)));
    if let Some(shape) = &shape {
        function::check_options(shape, options, &mut problems);
    }
    let names = shape
        .as_ref()
        .map(|shape| names(function, shape, options, &mut problems));
    problems.finish()?;
    match (shape, names) {
        (Some(shape), Some(names)) => Ok(Checked { shape, names }),
        // Without a shape there was a problem, so that this is never reached.
        _ => Err(Error::new(function.signature.ident.span(), "no shape")),
    }
}

fn names(
    function: &Function,
    shape: &Shape,
    options: &Options,
    problems: &mut Problems,
) -> Vec<Name> {
    let ident = &function.signature.ident;
    if options.templates.is_empty() && shape.receiver.is_some() {
        problems.add(Error::new(
            ident.span(),
            "a method needs a lock name, like `#[locked(\"task:{task_id}\")]`: \
             the type that it belongs to is not visible here",
        ));
        return Vec::new();
    }
    let mut scope = Scope::of_function(ident, shape, &options.named);
    scope.check_named(problems);
    let mut names = Vec::new();
    if options.templates.is_empty() {
        names.push(Name::OwnPath);
    }
    let mut all_read = true;
    for literal in &options.templates {
        let name = Template::parse(literal.clone()).and_then(|template| {
            let parts = scope.resolve(&template)?;
            Ok(Name::Template(template.normalised(), parts))
        });
        let name = problems.take(name);
        all_read &= name.is_some();
        names.extend(name);
    }
    if all_read {
        // In a template that could not be read, the argument may well be used.
        scope.check_all_used(problems);
    }
    names
}
