use proptest::prelude::*;

use super::*;

fn two(first: &str, second: &str) -> String {
    write_name("", |w| {
        w.literal("a:");
        w.value(format_args!("{first}"));
        w.literal(":");
        w.value(format_args!("{second}"));
    })
    .unwrap()
    .into()
}

#[test]
fn a_plain_name_is_taken_as_it_is() {
    for name in ["task:42", "a", "über/straße", "x%3Ay", "a:b:c#d"] {
        assert_eq!(LockName::new(name).unwrap().as_str(), name);
    }
}

#[test]
fn a_bad_name_says_what_is_wrong() {
    let fault = |name: &str| LockName::new(name).unwrap_err().to_string();
    assert!(fault("").contains("empty"));
    assert!(fault("two words").contains("' ' at byte 3"));
    assert!(fault("a\nb").contains("`a\\nb`"), "{}", fault("a\nb"));
    assert!(fault("50%").contains("`%` at byte 2"));
    assert!(fault(&"x".repeat(513)).contains("longer than 512"));
    assert!(LockName::new("x".repeat(512)).is_ok());
}

#[test]
fn values_are_encoded_and_literals_are_not() {
    assert_eq!(two("1:2", "3"), "a:1%3A2:3");
    assert_eq!(two("1", "2:3"), "a:1:2%3A3");
    assert_eq!(two("%", "/#\u{a0}"), "a:%25:%2F%23%C2%A0");
    assert_eq!(two("ü-_.~", ""), "a:ü-_.~:");
}

#[test]
fn a_long_value_is_refused_without_being_gathered() {
    let error = write_name("", |w| {
        w.literal("a:");
        for _ in 0..10_000 {
            w.value(format_args!("{}", "x".repeat(100)));
        }
    })
    .unwrap_err();
    assert!(error.to_string().contains("longer than 512"));
    assert!(error.name().len() <= LockName::MAX_LEN);
}

#[test]
fn a_value_that_cannot_be_formatted_is_an_error() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }
    let error = write_name("", |w| w.value(format_args!("{Broken}"))).unwrap_err();
    assert!(error.to_string().contains("could not be formatted"));
}

#[test]
fn a_namespace_keeps_names_apart() {
    let plain = LockName::new("a/b").unwrap();
    let spaced = LockName::new("b").unwrap().in_namespace("a");
    assert_eq!((plain.key(), spaced.key()), ("/a/b", "a/b"));
    assert_ne!(plain, spaced);
    assert_eq!((spaced.namespace(), spaced.as_str()), ("a", "b"));
    assert_eq!(LockName::from_key(spaced.key()).unwrap(), spaced);
    assert!(check_namespace("web-1.eu_west").is_ok());
    assert!(check_namespace("a/b").is_err());
    assert!(check_namespace("").is_err());
}

#[test]
fn serde_keeps_the_name() {
    let name = LockName::new("task:42").unwrap();
    let json = serde_json::to_string(&name).unwrap();
    assert_eq!(json, "\"task:42\"");
    assert_eq!(serde_json::from_str::<LockName>(&json).unwrap(), name);
    assert!(serde_json::from_str::<LockName>("\"a b\"").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn different_values_give_different_names(
        a in "[%:/# a-c\\n\u{e9}\u{2028}]{0,4}",
        b in "[%:/# a-c\\n\u{e9}\u{2028}]{0,4}",
        c in "[%:/# a-c\\n\u{e9}\u{2028}]{0,4}",
        d in "[%:/# a-c\\n\u{e9}\u{2028}]{0,4}",
    ) {
        let same = (&a, &b) == (&c, &d);
        prop_assert_eq!(two(&a, &b) == two(&c, &d), same);
    }

    #[test]
    fn a_written_name_is_a_valid_name(value in "\\PC{1,40}|[\\x00-\\x7f]{1,40}") {
        let name = write_name("", |w| w.value(format_args!("{value}"))).unwrap();
        prop_assert_eq!(LockName::new(name.as_str()).unwrap(), name);
    }
}
