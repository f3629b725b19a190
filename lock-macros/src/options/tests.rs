use std::time::Duration;

use syn::parse_str;

use super::{OnLost, Options, Policy, Time, Wait};

fn parse(arguments: &str) -> Options {
    parse_str(arguments).unwrap_or_else(|error| panic!("{arguments}: {error}"))
}

/// Every error, in order.
fn refused(arguments: &str) -> Vec<String> {
    match parse_str::<Options>(arguments) {
        Ok(_) => panic!("{arguments} was taken"),
        Err(errors) => errors.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[test]
fn reads_every_option() {
    let options = parse(
        r#""a", "b", wait = "5s", ttl = "30s", max_hold = "10m", at_least = "10s", shared,
           permits = 4, reentrant, on_lost = finish, on_busy = |error| busy(error, x),
           on_error = fail, guard = held, manager = self.locks, auth, crate = crate::rt, k = 1"#,
    );
    assert_eq!(options.templates.len(), 2);
    assert!(matches!(
        options.wait.unwrap().value,
        Wait::For(Time::Known(time)) if time == Duration::from_secs(5)
    ));
    assert!(options.on_lost.unwrap().value == OnLost::Finish);
    assert_eq!(options.guard.unwrap().value, "held");
    assert!(options.auth.unwrap().value.policy == Policy::Required);
    assert_eq!(options.named[0].name, "k");
    assert!(options.shared.is_some() && options.reentrant.is_some());
}

#[test]
fn reads_waits() {
    assert!(parse("try").immediate.is_some());
    assert!(matches!(
        parse(r#"wait = "forever""#).wait.unwrap().value,
        Wait::Forever
    ));
    assert!(matches!(
        parse("wait = self.patience").wait.unwrap().value,
        Wait::For(Time::Computed(_))
    ));
}

#[test]
fn reads_auth() {
    let auth = parse("auth(assigned, caller = self.user.id)").auth.unwrap();
    assert!(auth.value.policy == Policy::Assigned);
    assert!(auth.value.caller.is_some());
    assert!(refused("auth(optional, assigned)")[0].contains("contradicts `optional`"));
    assert!(refused("auth(optionl)")[0].contains("did you mean `optional`"));
    assert!(refused("auth(caller = a, caller = b)")[0].contains("given twice"));
}

#[test]
fn reports_every_argument_that_is_wrong() {
    let errors = refused(r#""a", tri, wait = "soon", shared, shared, ttl = 5"#);
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(errors[0].contains("did you mean `try`"));
    assert!(errors[1].contains("units:"));
    assert!(errors[2].contains("`shared` is given twice"));
    assert!(errors[3].contains("needs a unit"));
}

#[test]
fn says_what_form_an_option_has() {
    assert!(refused("wait")[0].contains("write `wait = \"5s\"`"));
    assert!(refused("shared = true")[0].contains("write `shared` alone"));
    assert!(refused("shared(true)")[0].contains("write `shared` alone"));
    assert!(refused("on_lost = drop")[0].contains("`cancel`"));
    assert!(refused("a = 1, a = 2")[0].contains("given twice"));
    assert!(refused("\"a\" \"b\"")[0].contains("expected `,`"));
}

#[test]
fn keeps_to_the_limits() {
    for arguments in [
        r#"ttl = "99ms""#,
        r#"ttl = "25h""#,
        r#"wait = "25h""#,
        r#"max_hold = "0s""#,
        r#"at_least = "0s""#,
        "permits = 0",
        "permits = -1 + 1 , permits = \"4\"",
    ] {
        assert!(refused(arguments)[0].contains('`'), "{arguments}");
    }
    parse(r#"ttl = "100ms", wait = "0s""#);
    parse(r#"ttl = "24h", wait = "24h", permits = MAX"#);
}

#[test]
fn a_template_is_a_literal() {
    for arguments in [
        "concat!(\"a\")",
        "NAME",
        "names::TASK",
        "5",
        "b\"a\"",
        "'a'",
    ] {
        assert!(
            refused(arguments)[0].contains("string literal"),
            "{arguments}"
        );
    }
}
