use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::Type;

use super::{Function, Shape, returns};

fn function(tokens: TokenStream) -> Function {
    syn::parse2(tokens).unwrap()
}

fn shape(tokens: TokenStream) -> Shape {
    let function = function(tokens);
    let body = function.body.clone().unwrap();
    Shape::of(&function, body).unwrap()
}

/// The body with a mark in the place of what runs under the lock.
fn marked(tokens: TokenStream) -> String {
    shape(tokens)
        .rebuild(quote!(LOCKED))
        .to_token_stream()
        .to_string()
}

#[test]
fn a_function_is_emitted_as_it_was() {
    for tokens in [
        quote!(
            #[a]
            pub(crate) default unsafe extern "C" fn f<'a, T: ?Sized, const N: usize>(
                mut self: &'a T,
                (a, b): (u8, u8),
            ) -> R
            where
                T: X,
            {
                body
            }
        ),
        quote!(
            const fn f() {}
        ),
        quote!(
            async fn f(&self) -> R;
        ),
        quote!(
            fn f(x: u8, ...) {}
        ),
        quote!(async fn f() { not even . an => expression }),
    ] {
        assert_eq!(
            function(tokens.clone()).to_token_stream().to_string(),
            tokens.to_string()
        );
    }
}

#[test]
fn names_of_every_pattern() {
    let shape = shape(quote!(
        fn f(
            a: A,
            Params {
                b, c: (d, ref e), ..
            }: P,
            [f, .., g]: [u8; 3],
            h @ (1 | 2): u8,
            &i: &u8,
            _: u8,
        ) -> R {
        }
    ));
    let names: Vec<_> = shape.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b", "d", "e", "f", "g", "h", "i"]);
}

#[test]
fn what_cannot_be_named_is_inferred() {
    for (written, nameable) in [
        (
            "Result<impl Iterator<Item = Vec<u8>> + 'a, E>",
            "Result < _ , E >",
        ),
        (
            "Result<(impl Fn(u8) -> Option<u8>, &'a impl X), E>",
            "Result < (_ , & 'a _) , E >",
        ),
        (
            "Result<Box<dyn Fn() -> u8>, E>",
            "Result < Box < dyn Fn () -> u8 > , E >",
        ),
        ("[impl X; 4]", "[_ ; 4]"),
        ("impl X + use<'a>", "_"),
    ] {
        let ty: Type = syn::parse_str(written).unwrap();
        let nameable: TokenStream = nameable.parse().unwrap();
        assert_eq!(returns::nameable(&ty).to_string(), nameable.to_string());
    }
}

#[test]
fn a_future_is_entered() {
    let future = quote!(
        fn f() -> impl Future<Output = R> + Send {
            async move { body }
        }
    );
    assert!(!shape(future.clone()).blocking);
    assert_eq!(marked(future), "{ async move { LOCKED } }");
    let boxed = quote!(
        fn f() -> BoxFuture<'_, R> {
            ::std::boxed::Box::pin(async { body })
        }
    );
    let output = marked(boxed);
    assert!(
        output.ends_with("Box :: pin (async move { LOCKED }) }"),
        "{output}"
    );
    let plain = quote!(
        fn f() -> Result<BoxFuture<'_, R>, E> {
            body
        }
    );
    assert!(shape(plain).blocking);
}

#[test]
fn a_method_of_async_trait_is_entered_behind_its_bindings() {
    let method = quote!(
        fn f<'life0, 'async_trait>(
            &'life0 self,
            __arg1: (u8, u8),
            text: &'life0 str,
        ) -> ::core::pin::Pin<
            Box<dyn ::core::future::Future<Output = R> + ::core::marker::Send + 'async_trait>,
        > {
            Box::pin(async move {
                if let ::core::option::Option::Some(__ret) = ::core::option::Option::None::<R> {
                    #[allow(unreachable_code)]
                    return __ret;
                }
                let __self = self;
                let (a, b) = {
                    let __arg1 = __arg1;
                    __arg1
                };
                let __ret: R = { body };
                #[allow(unreachable_code)]
                __ret
            })
        }
    );
    let shape = shape(method.clone());
    let names: Vec<_> = shape.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["__arg1", "text", "a", "b"]);
    assert_eq!(shape.receiver.unwrap(), "__self");
    assert_eq!(shape.output.ty.to_string(), "R");
    let output = marked(method);
    assert!(
        output.contains("let __ret : R = { LOCKED } ; # [allow"),
        "{output}"
    );
    assert!(output.contains("let __self = self ;"), "{output}");
}

#[test]
fn mut_references_are_bound_anew() {
    let mut function = function(quote!(
        async fn f(mut a: &str, mut b: u8, c: &u8) -> R {}
    ));
    let shape = Shape::of(&function, function.body.clone().unwrap()).unwrap();
    let names: Vec<_> = shape
        .rebound
        .iter()
        .map(|rebound| rebound.name.to_string())
        .collect();
    assert_eq!(names, ["a"]);
    function.drop_rebound_mut();
    let output = function.to_token_stream().to_string();
    assert!(output.contains("(a : & str , mut b : u8"), "{output}");
}
