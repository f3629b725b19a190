use proc_macro2::Span;
use syn::LitStr;

use super::{Segment, Template};

fn parse(template: &str) -> syn::Result<Template> {
    Template::parse(LitStr::new(template, Span::call_site()))
}

/// The segments as `text|{value}|…`.
fn read(template: &str) -> String {
    let template = parse(template).unwrap_or_else(|error| panic!("{template}: {error}"));
    let pieces: Vec<_> = template
        .segments
        .iter()
        .map(|segment| match segment {
            Segment::Text(text) => text.clone(),
            Segment::Value(value) => format!("{{{}{}}}", value.source, value.spec.text),
        })
        .collect();
    pieces.join("|")
}

fn refused(template: &str) -> String {
    match parse(template) {
        Ok(_) => panic!("{template} was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn both_spellings_mean_the_same() {
    for template in ["task:{task_id}", "task:<task_id>"] {
        assert_eq!(read(template), "task:|{task_id}");
        assert_eq!(parse(template).unwrap().normalised(), "task:{task_id}");
    }
    assert_eq!(read("{a}:<b>"), "{a}|:|{b}");
}

#[test]
fn reads_fields_methods_and_indices() {
    for expression in [
        "self.id",
        "params.task_id",
        "p.0",
        "p.0.1",
        "self.key()",
        "self.shard(n, m)",
        "map[key].id",
        "rows[0][1]",
        "r#type",
        "self.rows[\"}]\"]",
        "self.at('}')",
        "N",
    ] {
        assert_eq!(
            read(&format!("{{{expression}}}")),
            format!("{{{expression}}}")
        );
        assert_eq!(
            read(&format!("<{expression}>")),
            format!("{{{expression}}}")
        );
    }
    assert_eq!(read("{ id }"), "{id}");
    assert_eq!(read("<v.find(|x| x > 1)>"), "{v.find(|x| x > 1)}");
}

#[test]
fn reads_formats() {
    for spec in [
        "03", "?", "x", "#x", ">5", "0>5", "#?", "w$", "+", ":>5", "e",
    ] {
        assert_eq!(read(&format!("{{n:{spec}}}")), format!("{{n:{spec}}}"));
    }
    let template = parse("{n:width$}").unwrap();
    let Segment::Value(value) = &template.segments[0] else {
        panic!("no value");
    };
    assert_eq!(value.spec.width.as_deref(), Some("width"));
}

#[test]
fn doubled_brackets_are_text() {
    assert_eq!(read("{{a}}:<<b>>"), "{a}:<b>");
    assert_eq!(parse("{{a}}:{b}").unwrap().normalised(), "{{a}}:{b}");
    assert_eq!(parse("<<a>>:<b>").unwrap().normalised(), "<a>:{b}");
}

#[test]
fn placeholders_are_set_apart() {
    for separator in [":", "/", "#", "-:-"] {
        read(&format!("{{a}}{separator}{{b}}"));
    }
    for separator in ["", "-", "_", ".", "%3A"] {
        let message = refused(&format!("{{a}}{separator}{{b}}"));
        assert!(message.contains("between them"), "{separator}: {message}");
    }
}

#[test]
fn text_is_what_a_name_may_contain() {
    assert_eq!(read("täsk:%2F"), "täsk:%2F");
    assert!(refused("").contains("cannot be empty"));
    assert!(refused("a b").contains("white space"));
    assert!(refused("a\u{a0}b").contains("white space"));
    assert!(refused("a\u{7}").contains("control"));
    for template in ["%", "%2", "%2x", "a%{b}"] {
        assert!(refused(template).contains("%25"), "{template}");
    }
    read(&"x".repeat(512));
    assert!(refused(&"x".repeat(513)).contains("at most 512 bytes"));
}

#[test]
fn refuses_what_would_act_on_the_function() {
    for expression in [
        "id?",
        "self.id()?",
        "self.id().await",
        "return",
        "self.at(id?)",
        "rows[return 1]",
    ] {
        let message = refused(&format!("{{{expression}}}"));
        assert!(message.contains("cannot leave"), "{expression}: {message}");
    }
}

#[test]
fn refuses_other_expressions() {
    for expression in [
        "f(x)",
        "a + b",
        "a::B",
        "&a",
        "format!(a)",
        "a.b::<C>()",
        "task id",
        "\"a\"",
        "_",
        "a.",
    ] {
        let message = refused(&format!("{{{expression}}}"));
        assert!(
            message.contains("its fields, methods"),
            "{expression}: {message}"
        );
    }
    assert!(refused("{0}").contains("name the parameter"));
    assert!(refused("{}").contains("empty placeholder"));
    assert!(refused("< >").contains("empty placeholder"));
}

#[test]
fn refuses_formats_that_lose_something() {
    for spec in [".3", ".*", ".p$", "5.2", "w$.p$", "w$.3"] {
        let message = refused(&format!("{{n:{spec}}}"));
        assert!(message.contains("precision"), "{spec}: {message}");
    }
    assert!(refused("{n:zz}").contains("`zz` is no format"));
    assert!(refused("{n:1$}").contains("name the parameter"));
}

#[test]
fn every_bracket_has_its_partner() {
    assert!(refused("task:{id").contains("never closed"));
    assert!(refused("task:<id").contains("never closed"));
    assert!(refused("task:id}").contains("`}}`"));
    assert!(refused("a->b").contains("`>>`"));
}
