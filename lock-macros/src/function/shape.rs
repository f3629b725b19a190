//! How a body is run: as a future, or on the thread that calls; and which of its tokens that is.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Error, FnArg, Pat, Result, ReturnType, Signature, Type};

use super::{Function, async_trait, bindings, returns};

/// The body of a function, cut out so that a lock can be put around it.
pub(crate) struct Shape {
    /// Whether the body runs on the thread that calls, and not as a future.
    pub(crate) blocking: bool,
    /// What the body returns.
    pub(crate) output: Output,
    /// What has to run under the lock.
    pub(crate) body: Group,
    /// The names that placeholders may use, without `self`.
    pub(crate) names: Vec<Ident>,
    /// `self`, under the name that it has in front of the body, if there is one.
    pub(crate) receiver: Option<Ident>,
    /// By-value `mut` parameters of reference type.
    ///
    /// An inner block cannot make such a parameter refer to a local of its own, so that the
    /// binding has to be made anew inside, and the `mut` goes there.
    pub(crate) rebound: Vec<Rebound>,
    /// What stands around the body within the function's own braces, outermost first.
    around: Vec<Frame>,
}

/// A type to be named in the body, and where it was written.
pub(crate) struct Output {
    /// The type, with `_` for what cannot be named.
    pub(crate) ty: TokenStream,
    pub(crate) kind: OutputKind,
    pub(crate) span: Span,
}

/// What the tokens of a return type already tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputKind {
    /// `()`, written or not.
    Unit,
    /// `!`
    Never,
    /// `impl Trait`, so that nothing is known of it.
    Opaque,
    Other,
}

/// `mut name`
pub(crate) struct Rebound {
    pub(crate) mutability: syn::Token![mut],
    pub(crate) name: Ident,
}

/// A group around another: its brackets, and its tokens on both sides of the other.
pub(super) struct Frame {
    pub(super) delimiter: Delimiter,
    pub(super) span: Span,
    pub(super) before: Vec<TokenTree>,
    pub(super) after: Vec<TokenTree>,
}

impl Frame {
    /// The frame that `outer` is for a group between these of its tokens.
    pub(super) fn around(outer: &Group, before: Vec<TokenTree>, after: Vec<TokenTree>) -> Self {
        Self {
            delimiter: outer.delimiter(),
            span: outer.span(),
            before,
            after,
        }
    }
}

impl Output {
    pub(super) fn new(ty: &Type) -> Self {
        let bare = returns::bare(ty);
        let kind = match bare {
            Type::Never(_) => OutputKind::Never,
            Type::Tuple(tuple) if tuple.elems.is_empty() => OutputKind::Unit,
            Type::ImplTrait(_) => OutputKind::Opaque,
            _ => OutputKind::Other,
        };
        let first = ty.to_token_stream().into_iter().next();
        Self {
            ty: returns::nameable(ty),
            kind,
            span: first.map_or_else(Span::call_site, |token| token.span()),
        }
    }

    pub(super) fn unit(span: Span) -> Self {
        Self {
            ty: returns::unit(span),
            kind: OutputKind::Unit,
            span,
        }
    }
}

impl Shape {
    /// The shape of the function; fails for a body that could not be locked as a whole.
    pub(crate) fn of(function: &Function, body: Group) -> Result<Self> {
        let signature = &function.signature;
        let receiver = signature.receiver();
        let mut shape = Self {
            blocking: signature.asyncness.is_none(),
            output: match &signature.output {
                ReturnType::Default => Output::unit(signature.ident.span()),
                ReturnType::Type(_, ty) => Output::new(ty),
            },
            body,
            names: bindings::of_parameters(signature),
            receiver: receiver.map(|receiver| Ident::new("self", receiver.self_token.span)),
            rebound: Vec::new(),
            around: Vec::new(),
        };
        if shape.blocking
            && let ReturnType::Type(_, ty) = &signature.output
            && let Some(output) = returns::future_output(ty)
        {
            shape.enter_future(signature, output)?;
        }
        if !shape.blocking {
            shape.rebound = rebound(signature);
        }
        Ok(shape)
    }

    /// Goes into a body that is exactly one `async` block, possibly boxed. Anything else of a
    /// function that returns a future could run code without the lock.
    fn enter_future(&mut self, signature: &Signature, output: Option<Type>) -> Result<()> {
        let at = |message| Err(Error::new(signature.ident.span(), message));
        let Some((around, block)) = async_block(&self.body) else {
            return at(
                "a function that returns a future can only be locked when its body is exactly \
                 one `async` block: make this an `async fn`",
            );
        };
        let Some(output) = output else {
            return at("the future's result has to be spelled out: return \
                 `impl Future<Output = Result<…>>`, or make this an `async fn`");
        };
        self.blocking = false;
        self.output = Output::new(&output);
        self.around = around;
        self.body = block;
        if let Some(inner) = async_trait::enter(signature, &self.body) {
            self.around.push(inner.frame);
            self.body = inner.body;
            self.output = inner.output;
            self.names.extend(inner.names);
            self.receiver = inner.receiver.or(self.receiver.take());
        }
        Ok(())
    }

    /// The function's body with `locked` in the place of what has to run under the lock.
    pub(crate) fn rebuild(&self, locked: TokenStream) -> Group {
        let mut group = Group::new(Delimiter::Brace, locked);
        // As the user's own braces: with braces of ours the compiler takes the whole function for
        // ours, and says nothing when nobody calls it.
        group.set_span(self.body.span());
        for frame in self.around.iter().rev() {
            let mut tokens: TokenStream = frame.before.iter().cloned().collect();
            tokens.extend([TokenTree::Group(group)]);
            tokens.extend(frame.after.iter().cloned());
            group = Group::new(frame.delimiter, tokens);
            group.set_span(frame.span);
        }
        group
    }
}

/// `mut` parameters of reference type.
fn rebound(signature: &Signature) -> Vec<Rebound> {
    let parameters = signature.inputs.iter().filter_map(|parameter| {
        let FnArg::Typed(parameter) = parameter else {
            return None;
        };
        let (Pat::Ident(binding), Type::Reference(_)) =
            (&*parameter.pat, returns::bare(&parameter.ty))
        else {
            return None;
        };
        if binding.subpat.is_some() {
            return None;
        }
        Some(Rebound {
            mutability: binding.mutability?,
            name: binding.ident.clone(),
        })
    });
    parameters.collect()
}

/// Takes `mut` off the parameters that are bound anew inside.
pub(super) fn without_rebound_mut(signature: &mut Signature) {
    for parameter in &mut signature.inputs {
        if let FnArg::Typed(parameter) = parameter
            && matches!(returns::bare(&parameter.ty), Type::Reference(_))
            && let Pat::Ident(binding) = &mut *parameter.pat
            && binding.subpat.is_none()
        {
            binding.mutability = None;
        }
    }
}

/// The one `async` block that a body consists of, as it is or in `Box::pin(…)`.
fn async_block(body: &Group) -> Option<(Vec<Frame>, Group)> {
    let mut path: Vec<TokenTree> = body.stream().into_iter().collect();
    let last = path.pop()?;
    let mut frames = Vec::new();
    let mut outer = body.clone();
    let mut tokens: Vec<TokenTree> = body.stream().into_iter().collect();
    if let TokenTree::Group(arguments) = last
        && arguments.delimiter() == Delimiter::Parenthesis
        && is_box_pin(&path)
    {
        frames.push(Frame::around(body, path, Vec::new()));
        tokens = arguments.stream().into_iter().collect();
        if matches!(tokens.last(), Some(TokenTree::Punct(mark)) if mark.as_char() == ',') {
            tokens.pop();
        }
        outer = arguments;
    }
    let Some(TokenTree::Group(block)) = tokens.pop() else {
        return None;
    };
    let words: Vec<String> = tokens.iter().map(ToString::to_string).collect();
    let is_async = words == ["async"] || words == ["async", "move"];
    if !is_async || block.delimiter() != Delimiter::Brace {
        return None;
    }
    if tokens.len() == 1 {
        // The name is made inside the block, so that the block uses parameters which it may not
        // have used before; and a future that is returned can only own what it uses.
        let moves = Ident::new("move", Span::mixed_site());
        tokens.push(TokenTree::Ident(moves));
    }
    frames.push(Frame::around(&outer, tokens, Vec::new()));
    Some((frames, block))
}

/// `Box::pin`, at whatever path.
fn is_box_pin(path: &[TokenTree]) -> bool {
    let ends_right = path.len() >= 4
        && matches!(&path[path.len() - 4], TokenTree::Ident(word) if word == "Box")
        && matches!(&path[path.len() - 1], TokenTree::Ident(word) if word == "pin");
    ends_right
        && path.iter().all(|token| match token {
            TokenTree::Ident(_) => true,
            TokenTree::Punct(mark) => mark.as_char() == ':',
            _ => false,
        })
        && matches!(&path[path.len() - 3], TokenTree::Punct(mark) if mark.spacing() == Spacing::Joint)
}
