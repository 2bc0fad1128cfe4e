//! Requests that are small to send and would be much work: what a gateway of `tests/data/books.proto` has to refuse
//! before it calls anybody, and at once.
//!
//! The tests send them to the real door, `benches/bombs.rs` tells how long each takes.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// See the module's documentation.
pub(crate) struct Bomb {
    pub(crate) name: &'static str,
    /// The body of a POST.
    pub(crate) body: String,
    /// `extensions.code` of the answer's first error, or its `reason` where it has one.
    pub(crate) code: &'static str,
}

/// All of them.
pub(crate) fn bombs() -> Vec<Bomb> {
    [shapes(), fragments(), texts(), values(), variables()].into_iter().flatten().collect()
}

fn bomb(name: &'static str, code: &'static str, document: &str) -> Bomb {
    Bomb { name, body: json!({ "query": document }).to_string(), code }
}

fn with_variables(name: &'static str, code: &'static str, declared: &str, variables: &str) -> Bomb {
    let document = json!(format!("query ({declared}) {{ getBook(name: $a) {{ title }} }}"));
    Bomb { name, body: format!(r#"{{"query":{document},"variables":{variables}}}"#), code }
}

/// What a selection set may look like.
fn shapes() -> Vec<Bomb> {
    let deep = |levels: usize| {
        format!("{{ getBook(name: \"a\") {{ {}title{} }} }}", "sequel { ".repeat(levels), " }".repeat(levels))
    };
    let wide = |text: &str, count: usize| format!("{{ getBook(name: \"a\") {{ {} }} }}", text.repeat(count));
    let numbered = |each: &dyn Fn(usize) -> String, count: usize| (0..count).map(each).collect::<String>();
    let introspection = |levels: usize| {
        format!(
            "{{ __schema {{ types {{ {}name{} }} }} }}",
            "fields { type { ".repeat(levels),
            " } }".repeat(levels)
        )
    };
    vec![
        bomb("deep", "DEPTH_LIMIT", &deep(90)),
        bomb("deeper than any brackets", "DEPTH_LIMIT", &deep(1300)),
        bomb("brackets without an end", "DEPTH_LIMIT", &"{ a ".repeat(1300)),
        bomb("wide", "TOO_MANY_TOKENS", &wide("title ", 10_000)),
        bomb("fields side by side", "ROOT_FIELD_LIMIT", &format!("{{ {}}}", "__typename ".repeat(3900))),
        bomb("aliases", "ALIAS_LIMIT", &wide_aliases(&numbered(&|n| format!("a{n}: title "), 1300))),
        bomb(
            "root fields",
            "ALIAS_LIMIT",
            &format!("{{ {} }}", numbered(&|n| format!("a{n}: getBook(name: \"{n}\") {{ title }} "), 300)),
        ),
        bomb(
            "lists of a page",
            "COST_LIMIT",
            "{ listBooks(pageSize: 2147483647) { books { sequel { title } } } }",
        ),
        bomb("introspection that goes round", "DEPTH_LIMIT", &introspection(7)),
        bomb("introspection without an end", "DEPTH_LIMIT", &introspection(400)),
        bomb(
            "fields that overlap",
            "GRAPHQL_VALIDATION_FAILED",
            &format!(
                "{{ getBook(name: \"a\") {{ {} x: title x: name }} }}",
                "sequel { sequel { title } } ".repeat(550)
            ),
        ),
        bomb(
            "arguments that overlap",
            "GRAPHQL_VALIDATION_FAILED",
            &format!(
                "{{ {} listBooks(pageSize: 2) {{ __typename }} }}",
                "listBooks(pageSize: 1) { __typename } ".repeat(19)
            ),
        ),
        bomb("fields that are not there", "GRAPHQL_VALIDATION_FAILED", &wide("none ", 3900)),
        bomb("operations", "GRAPHQL_VALIDATION_FAILED", &"{ __typename } ".repeat(1300)),
        bomb(
            "directives",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ getBook(name: \"a\") {{ title {} }} }}", "@skip(if: true) ".repeat(550)),
        ),
        bomb(
            "directives that are not there",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ __typename {} }}", numbered(&|n| format!("@d{n} "), 1900)),
        ),
        bomb(
            "variables that are not used",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("query ({}) {{ __typename }}", numbered(&|n| format!("$v{n}: Int "), 990)),
        ),
        bomb(
            "variables of lists of lists",
            "DEPTH_LIMIT",
            &format!("query ($a: {}Int{}) {{ __typename }}", "[".repeat(1000), "]".repeat(1000)),
        ),
    ]
}

fn wide_aliases(aliases: &str) -> String {
    format!("{{ getBook(name: \"a\") {{ {aliases} }} }}")
}

/// What spreads may stand for.
fn fragments() -> Vec<Bomb> {
    let chain = |count: usize, each: &dyn Fn(usize) -> String| {
        let mut document = "{ getBook(name: \"a\") { ...f0 } }".to_owned();
        for index in 0..count {
            write!(document, " fragment f{index} on Book {{ {} }}", each(index + 1))
                .expect("a string takes it all");
        }
        document
    };
    let last = |document: String, count: usize| format!("{document} fragment f{count} on Book {{ title }}");
    let laughs = chain(30, &|next| {
        format!("sequel {{ ...f{next} }} x: sequel {{ ...f{next} }} y: sequel {{ ...f{next} }}")
    });
    let operation = |index| format!("query q{index}($v: Boolean!) {{ getBook(name: \"a\") {{ ...f }} }} ");
    let shared: String = (0..122).map(operation).collect();
    let fields = "title @include(if: $v) ".repeat(155);
    vec![
        bomb("a cycle", "GRAPHQL_VALIDATION_FAILED", &chain(1, &|_| "...f0".to_owned())),
        bomb("a cycle of fields", "GRAPHQL_VALIDATION_FAILED", &chain(1, &|_| "sequel { ...f0 }".to_owned())),
        bomb(
            "a long cycle",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{} fragment f90 on Book {{ ...f0 }}", chain(90, &|next| format!("...f{next}"))),
        ),
        bomb("a chain", "DEPTH_LIMIT", &last(chain(400, &|next| format!("...f{next}")), 400)),
        bomb("a billion laughs", "DEPTH_LIMIT", &last(laughs, 30)),
        bomb(
            "a billion laughs side by side",
            "ALIAS_LIMIT",
            &last(
                chain(9, &|next| {
                    format!("a{next}: title {} b{next}: title", format!("... {{ ...f{next} }} ").repeat(9))
                }),
                9,
            ),
        ),
        bomb("a billion root fields", "ROOT_FIELD_LIMIT", &{
            let mut document = "{ ...g0 }".to_owned();
            for index in 0..40 {
                let next = index + 1;
                write!(document, " fragment g{index} on Query {{ ...g{next} ...g{next} ...g{next} }}")
                    .expect("a string takes it all");
            }
            format!("{document} fragment g40 on Query {{ __typename }}")
        }),
        bomb(
            "operations that share a fragment",
            "COST_LIMIT",
            &format!("{shared} fragment f on Book {{ {fields} }}"),
        ),
        bomb("fragments that nobody uses", "GRAPHQL_VALIDATION_FAILED", &{
            let unused: String =
                (0..490).map(|index| format!("fragment u{index} on Book {{ title }} ")).collect();
            format!("{{ __typename }} {unused}")
        }),
    ]
}

/// What a document may consist of.
fn texts() -> Vec<Bomb> {
    let kib = 1 << 10;
    vec![
        bomb("a mebibyte", "DOCUMENT_TOO_LARGE", &format!("{{ {} }}", "a ".repeat(512 * kib))),
        bomb("a mebibyte of comment", "DOCUMENT_TOO_LARGE", &"#".repeat(1024 * kib)),
        bomb("nothing but a comment", "GRAPHQL_PARSE_FAILED", &"#".repeat(63 * kib)),
        bomb("nothing but lines", "GRAPHQL_PARSE_FAILED", &"\n".repeat(63 * kib)),
        bomb("nothing but comments", "GRAPHQL_PARSE_FAILED", &"#\n".repeat(31 * kib)),
        bomb(
            "one long line",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{}{{ getBook(name: \"a\") {{ {} }} }}", " ".repeat(56 * kib), "a ".repeat(3900)),
        ),
        bomb("a long name", "GRAPHQL_VALIDATION_FAILED", &format!("{{ {} }}", "n".repeat(63 * kib))),
        bomb("a long alias", "GRAPHQL_VALIDATION_FAILED", &format!("{{ {}: none }}", "n".repeat(63 * kib))),
        bomb(
            "long names",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ getBook(name: \"a\") {{ {} }} }}", format!("{} ", "n".repeat(kib)).repeat(60)),
        ),
        bomb(
            "a long number",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ listBooks(pageSize: {}) {{ __typename }} }}", "9".repeat(63 * kib)),
        ),
        bomb(
            "a string without an end",
            "GRAPHQL_PARSE_FAILED",
            &format!("{{ getBook(name: \"{}", "a".repeat(63 * kib)),
        ),
        bomb(
            "a block string without an end",
            "GRAPHQL_PARSE_FAILED",
            &format!("{{ getBook(name: \"\"\"{}", "\n ".repeat(31 * kib)),
        ),
        bomb(
            "a long block string",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ getBook(name: \"\"\"{}\"\"\") {{ none }} }}", "\n  a".repeat(15 * kib)),
        ),
        bomb(
            "a long string",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ getBook(name: \"{}\") {{ none }} }}", "\\u0061".repeat(10 * kib)),
        ),
    ]
}

/// What a literal may be.
fn values() -> Vec<Bomb> {
    let create = |value: &str| format!("mutation {{ createBook(book: {value}) {{ title }} }}");
    vec![
        bomb("a list of literals", "TOO_MANY_TOKENS", &create(&format!("[{}]", "1 ".repeat(30_000)))),
        bomb(
            "a list where none may be",
            "GRAPHQL_VALIDATION_FAILED",
            &create(&format!("[{}]", "1 ".repeat(3900))),
        ),
        bomb("lists in literals", "DEPTH_LIMIT", &create(&"[".repeat(3900))),
        bomb("objects in literals", "DEPTH_LIMIT", &create(&"{sequel:".repeat(1300))),
        bomb(
            "fields of a literal",
            "GRAPHQL_VALIDATION_FAILED",
            &create(&format!("{{{}}}", "title: \"a\" ".repeat(1300))),
        ),
        bomb(
            "arguments",
            "GRAPHQL_VALIDATION_FAILED",
            &format!("{{ getBook({}) {{ title }} }}", "name: \"a\" ".repeat(1300)),
        ),
    ]
}

/// What stands beside the document.
fn variables() -> Vec<Bomb> {
    let list = |items: &[&str]| format!("[{}]", items.join(","));
    let named = |count: usize| {
        let members = (0..count).map(|index| (format!("m{index}"), Value::from(1)));
        json!({ "a": members.collect::<serde_json::Map<_, _>>() }).to_string()
    };
    let text = |bytes: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes));
    let a = |value: String| format!(r#"{{"a":{value}}}"#);
    vec![
        with_variables("variables of two mebibytes", "BODY_TOO_LARGE", "$a: String!", &text(2 << 20)),
        with_variables(
            "a mebibyte of another type",
            "BAD_USER_INPUT",
            "$a: String!",
            &a(format!("[\"{}\"]", "x".repeat(1 << 20))),
        ),
        with_variables(
            "a mebibyte of numbers",
            "TOO_MANY_VALUES",
            "$a: String!",
            &a(list(&vec!["1"; 500_000])),
        ),
        with_variables(
            "a mebibyte of lists",
            "TOO_MANY_VALUES",
            "$a: String!",
            &a(list(&vec!["[]"; 330_000])),
        ),
        with_variables("a mebibyte of members", "TOO_MANY_VALUES", "$a: String!", &named(90_000)),
        with_variables(
            "as many values as may be",
            "BAD_USER_INPUT",
            "$a: String!",
            &a(list(&vec!["1"; 24_900])),
        ),
        with_variables("as many members as may be", "BAD_USER_INPUT", "$a: String!", &named(12_400)),
        with_variables("lists in lists", "TOO_MANY_VALUES", "$a: String!", &a("[".repeat(400_000))),
        with_variables("lists in lists without an end", "BAD_REQUEST", "$a: String!", &a("[".repeat(40_000))),
        with_variables("objects in objects", "BAD_REQUEST", "$a: String!", &a(r#"{"a":"#.repeat(12_000))),
        with_variables("a mebibyte that is not JSON", "BAD_REQUEST", "$a: String!", &a("x".repeat(1 << 20))),
    ]
}
