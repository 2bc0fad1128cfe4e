//! The bounds, each at its limit and one past it, and documents that stand for more than they say.

use std::fmt::Write as _;

use super::validate::STEPS_MAX;
use super::{Bounds, Code, Document};
use crate::graphql::model::Mapping;
use crate::graphql::model::tests::{compiled, model};
use crate::graphql::tests::LIBRARY;

fn read(document: &str, bounds: &Bounds) -> Result<(), Code> {
    let (schema, model) = &*LIBRARY;
    Document::read(document, model, schema, bounds).map(drop).map_err(|problems| problems[0].code)
}

#[test]
fn bounds_hold_at_their_limit() {
    let check = |document: &str, bounds: &dyn Fn(usize) -> Bounds, limit: usize, code: Code| {
        assert_eq!(read(document, &bounds(limit)), Ok(()), "{document}");
        assert_eq!(read(document, &bounds(limit - 1)), Err(code), "{document}");
    };
    let bytes = |document_bytes_max| Bounds { document_bytes_max, ..Bounds::default() };
    check("{ ping }", &bytes, 8, Code::DocumentTooLarge);
    let tokens = |tokens_max| Bounds { tokens_max, ..Bounds::default() };
    check("{ ping # more\n}", &tokens, 3, Code::TooManyTokens);
    check("{ getBook(name: \"a b c\") { title } }", &tokens, 11, Code::TooManyTokens);
    let depth = |depth_max| Bounds { depth_max, ..Bounds::default() };
    check("{ getBook(name: \"a\") { shelf { id } } }", &depth, 3, Code::DepthLimit);
    check(
        "{ getBook(name: \"a\") { ...f } } fragment f on Book { shelf { id } }",
        &depth,
        3,
        Code::DepthLimit,
    );
    check("{ getBook(name: \"a\") { ... { shelf { ... { id } } } } }", &depth, 3, Code::DepthLimit);
    let aliases = |aliases_max| Bounds { aliases_max, ..Bounds::default() };
    check("{ a: ping b: time }", &aliases, 2, Code::AliasLimit);
    check("{ ...f a: ping } fragment f on Query { b: ping c: ping }", &aliases, 3, Code::AliasLimit);
    let twice = "{ x: getBook(name: \"a\") { ...f } getBook(name: \"a\") { ...f } } fragment f on Book { a: title b: title }";
    check(twice, &aliases, 5, Code::AliasLimit);
    let roots = |root_fields_max| Bounds { root_fields_max, ..Bounds::default() };
    check("{ ping time __typename }", &roots, 3, Code::RootFieldLimit);
    check("{ ping ...f } fragment f on Query { time }", &roots, 2, Code::RootFieldLimit);
    let introspection = |introspection_depth_max| Bounds { introspection_depth_max, ..Bounds::default() };
    check("{ __schema { types { name } } }", &introspection, 3, Code::DepthLimit);
    // Introspection has a bound of its own.
    assert_eq!(read("{ __schema { types { name } } }", &depth(1)), Ok(()));
}

#[test]
fn what_no_method_offers_is_refused() {
    let proto = "syntax = \"proto3\"; package t; message M { string a = 1; }
        service S { rpc Get(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; } }";
    let schema = compiled(&[("t.proto".to_owned(), proto.to_owned())]);
    let model = model(&schema, Mapping::default());
    let check = |document: &str, expected: Option<&str>| {
        let found = Document::read(document, &model, &schema, &Bounds::default());
        let message = found.err().map(|problems| problems[0].message.clone());
        assert_eq!(message.as_deref(), expected, "{document}");
    };
    check("{ get { a } }", None);
    check("mutation { get { a } }", Some("there are no mutations"));
    check("subscription { get { a } }", Some("there are no subscriptions"));
}

#[test]
fn introspection_can_be_switched_off() {
    let bounds = Bounds { introspection: false, ..Bounds::default() };
    let check = |document: &str, expected| assert_eq!(read(document, &bounds), expected, "{document}");
    check("{ __typename ping }", Ok(()));
    check("{ __schema { queryType { name } } }", Err(Code::IntrospectionDisabled));
    check("{ __type(name: \"Book\") { name } }", Err(Code::IntrospectionDisabled));
    check(
        "{ ...f } fragment f on Query { __type(name: \"Book\") { name } }",
        Err(Code::IntrospectionDisabled),
    );
}

#[test]
fn introspection_does_not_multiply() {
    let bounds = Bounds { introspection_depth_max: 100, ..Bounds::default() };
    let two = "{ __schema { types { fields { type { fields { name } } } } } }";
    assert_eq!(read(two, &bounds), Ok(()));
    let three = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    assert_eq!(read(three, &bounds), Err(Code::DepthLimit));
    // Fields of messages may have the same names; that there are none here is told later.
    let own = "{ __typename __type(name: \"Book\") { name } a { fields { fields { fields } } } }";
    assert_eq!(read(own, &bounds), Err(Code::ValidationFailed));
}

/// Bounds that let everything through that they can.
const WIDE: Bounds = Bounds {
    document_bytes_max: usize::MAX,
    tokens_max: 4000,
    depth_max: usize::MAX,
    aliases_max: usize::MAX,
    root_fields_max: usize::MAX,
    cost_max: u64::MAX,
    introspection: true,
    introspection_depth_max: usize::MAX,
};

#[test]
fn what_is_nested_without_end_is_refused() {
    let check = |document: &str| {
        let bounds = Bounds { tokens_max: usize::MAX, ..WIDE };
        assert_eq!(read(document, &bounds), Err(Code::DepthLimit), "{}", &document[..40]);
        // Much of it is never read.
        assert!(read(document, &Bounds::default()).is_err());
    };
    check(&format!("{{ getBook(name: \"a\") {} }}", "{ shelf { best ".repeat(50_000)));
    check(&format!("{{ search(json: {}", "[".repeat(100_000)));
    check(&format!("{{ search(json: {}", "{a:".repeat(100_000)));
    check(&format!("query ($a: {}", "[".repeat(100_000)));
    check(&format!("{{ {}", "... { ".repeat(100_000)));
    let mut chain = "{ ...f0 }".to_owned();
    for index in 0..5000 {
        write!(chain, " fragment f{index} on Query {{ ...f{} }}", index + 1).expect("a string takes it all");
    }
    check(&format!("{chain} fragment f5000 on Query {{ ping }}"));
}

#[test]
fn bombs_of_fragments_are_refused() {
    // Each spreads the next one twice: 2³⁰ fields.
    let mut doubling = "{ getBook(name: \"a\") { ...f0 } }".to_owned();
    for index in 0..30 {
        let next = index + 1;
        write!(doubling, " fragment f{index} on Book {{ shelf {{ best {{ ...f{next} }} }} x: shelf {{ best {{ ...f{next} }} }} }}")
            .expect("a string takes it all");
    }
    doubling.push_str(" fragment f30 on Book { title }");
    assert_eq!(read(&doubling, &Bounds::default()), Err(Code::DepthLimit));
    assert_eq!(read(&doubling, &WIDE), Err(Code::CostLimit));
    assert_eq!(read(&doubling, &Bounds { depth_max: 100, ..Bounds::default() }), Err(Code::AliasLimit));
}

#[test]
fn operations_that_share_fragments_are_counted() {
    let mut document = String::new();
    for index in 0..400 {
        write!(document, "query q{index}($v: String) {{ ...f }} ").expect("a string takes it all");
    }
    document.push_str("fragment f on Query { search(text: $v) { total } ");
    for index in 0..100 {
        write!(document, "s{index}: search(text: $v) {{ total }} ").expect("a string takes it all");
    }
    document.push('}');
    let wide = Bounds { tokens_max: usize::MAX, ..WIDE };
    assert_eq!(read(&document, &wide), Err(Code::CostLimit));
    const { assert!(STEPS_MAX >= 10 * 4000) };
}

#[test]
fn only_so_many_problems_are_told() {
    let (schema, model) = &*LIBRARY;
    let document = format!("{{ {} }}", "a ".repeat(1000));
    let problems = Document::read(&document, model, schema, &WIDE).expect_err("no such field");
    assert_eq!(problems.len(), super::validate::PROBLEMS_MAX);
}
