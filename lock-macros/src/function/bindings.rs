//! The names that a pattern binds.

use proc_macro2::Ident;
use syn::{FnArg, Pat, Signature};

/// The names that the parameters bind, without `self`.
pub(super) fn of_parameters(signature: &Signature) -> Vec<Ident> {
    let mut names = Vec::new();
    for parameter in &signature.inputs {
        if let FnArg::Typed(parameter) = parameter {
            collect(&parameter.pat, &mut names);
        }
    }
    names
}

/// Adds the names that the pattern binds.
pub(super) fn collect(pattern: &Pat, names: &mut Vec<Ident>) {
    match pattern {
        Pat::Ident(binding) => {
            names.push(binding.ident.clone());
            if let Some((_, inner)) = &binding.subpat {
                collect(inner, names);
            }
        }
        Pat::Guard(guarded) => collect(&guarded.pat, names),
        // Every case of an `or` pattern binds the same names.
        Pat::Or(cases) => cases
            .cases
            .first()
            .into_iter()
            .for_each(|p| collect(p, names)),
        Pat::Paren(inner) => collect(&inner.pat, names),
        Pat::Reference(inner) => collect(&inner.pat, names),
        Pat::Slice(slice) => slice.elems.iter().for_each(|p| collect(p, names)),
        Pat::Struct(fields) => fields.fields.iter().for_each(|f| collect(&f.pat, names)),
        Pat::Tuple(tuple) => tuple.elems.iter().for_each(|p| collect(p, names)),
        Pat::TupleStruct(tuple) => tuple.elems.iter().for_each(|p| collect(p, names)),
        Pat::Type(typed) => collect(&typed.pat, names),
        _ => {}
    }
}
