use quote::quote;

use super::check;
use crate::function::Function;
use crate::options::Options;

/// What is wrong with an annotation, in order.
fn problems(arguments: &str, function: &str) -> Vec<String> {
    let options: Options = syn::parse_str(arguments).unwrap();
    let function: Function = syn::parse_str(function).unwrap();
    match check(&function, &options) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[track_caller]
fn refused(arguments: &str, function: &str, what: &str) {
    let problems = problems(arguments, function);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains(what), "{problems:?}");
}

#[track_caller]
fn taken(arguments: &str, function: &str) {
    assert_eq!(problems(arguments, function), [""; 0]);
}

const ASYNC: &str = "async fn f(&self, task_id: u64, (a, b): (u8, u8)) -> R {}";
const SYNC: &str = "fn f(n: u8) -> R {}";

#[test]
fn names_are_parameters_bindings_constants_and_arguments() {
    taken(r#""{task_id}:{a}:<b>:{self.id}:{MAX}:{k}", k = 1"#, ASYNC);
    taken(r#""{self.at(task_id, other)}""#, ASYNC);
    taken(r#""{a:b$}""#, ASYNC);
    taken(r#""{type}""#, "fn f(r#type: u8) -> R {}");
    taken(r#""{r#type}""#, "fn f(r#type: u8) -> R {}");
    refused(r#""{tsk_id}""#, ASYNC, "did you mean `task_id`?");
    refused(r#""{a:c$}""#, ASYNC, "refers to `c`");
    refused(r#""{x}""#, "fn f() -> R {}", "`f` has no parameters");
    refused(r#""{self.id}""#, SYNC, "`f` has no `self`");
    refused(r#""task", k = 1"#, ASYNC, "refers to `k`");
    refused(r#""task", guards = 1"#, ASYNC, "the option `guard`");
    refused(r#""{k}", k = next()?"#, ASYNC, "cannot leave");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let wrong = problems(r#""{x}", "a b", try, wait = "5s", k = 1"#, ASYNC);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    let wrong = problems(r#""{x}:{y}", at_least = "5s""#, ASYNC);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}

#[test]
fn options_that_exclude_each_other() {
    refused(r#""a", wait = "5s", try"#, SYNC, "`try` means not to wait");
    refused(r#""a", shared, permits = 2"#, SYNC, "either `shared`");
    refused(r#""a", auth, permits = 2"#, SYNC, "cannot be assigned");
    refused(r#""a", "b", auth"#, SYNC, "use one name");
    refused(r#""a", at_least = "5s""#, SYNC, "needs `try` or `wait`");
    taken(r#""a", at_least = "5s", try"#, SYNC);
    taken(r#""a", shared, auth, on_busy = f, on_error = g"#, SYNC);
}

#[test]
fn sync_functions_cannot_do_everything() {
    refused(r#""a", on_lost = cancel"#, SYNC, "cannot be dropped");
    refused(r#""a", wait = "forever""#, SYNC, "for ever");
    taken(r#""a", on_lost = finish"#, SYNC);
    taken(r#""a", on_lost = cancel, wait = "forever""#, ASYNC);
}

#[test]
fn functions_that_cannot_be_locked() {
    refused(r#""a""#, "async fn f() -> R;", "needs a body");
    refused(r#""a""#, "const fn f() -> R {}", "`const fn`");
    refused(r#""a""#, "async fn f() {}", "report a failure");
    refused(r#""a""#, "fn f() -> () {}", "report a failure");
    refused(r#""a""#, "fn f() -> ! {}", "never returns");
    refused(r#""a", on_error = g"#, "fn f() -> ! {}", "never returns");
    refused(r#""a""#, "fn f() -> impl Display {}", "`impl Trait`");
    refused(
        "",
        "async fn f(&self) -> R {}",
        "a method needs a lock name",
    );
    taken("", "async fn f() -> R {}");
    taken(r#""a", on_error = g"#, "fn f() {}");
    taken(r#""a", on_error = g"#, "fn f() -> impl Display {}");
}

#[test]
fn functions_that_return_futures() {
    let exactly = "exactly one `async` block";
    for body in [
        "{ let x = 1; async move { x } }",
        "{ if early { return Box::pin(async { 1 }); } Box::pin(async { 2 }) }",
        "{ async { 1 }.boxed() }",
        "{ Box::pin(other()) }",
        "{ make(async { 1 }) }",
        "{ unsafe { 1 } }",
        "{}",
    ] {
        for output in [
            "impl Future<Output = R> + Send",
            "Pin<Box<dyn Future<Output = R> + Send + '_>>",
            "futures::future::BoxFuture<'static, R>",
        ] {
            refused(r#""a""#, &format!("fn f() -> {output} {body}"), exactly);
        }
    }
    taken(
        r#""a""#,
        "fn f() -> impl Future<Output = R> { async { 1 } }",
    );
    taken(
        r#""a""#,
        "fn f() -> BoxFuture<'_, R> { Box::pin(async move { 1 }) }",
    );
    refused(
        r#""a""#,
        "fn f() -> impl Future { async { 1 } }",
        "spelled out",
    );
}

#[test]
fn a_wrong_annotation_leaves_the_function_as_it_was() {
    let function = quote!(
        pub(crate) async fn f(x: u8) -> R {
            half typed .
        }
    );
    let output = crate::locked::locked(quote!("{y}", exclusive), function.clone()).to_string();
    assert!(output.contains("compile_error"));
    assert!(output.ends_with(&function.to_string()), "{output}");
}
