//! What documents can be bound to, what becomes of the texts of requests, and which reply a client gets.

use super::*;
use crate::graphql::document::{Bounds, Location};
use crate::graphql::projection::{Errors, FieldError, Step};
use crate::graphql::tests::LIBRARY;
use crate::route::{AggregateRule, Match, RouteTree, Rules, build_shown};
use crate::status::Code;

/// `path.x`, `query.x`, `body` or `body.x` for each variable: `a=path.x b=body`.
fn sources(text: &str) -> Vec<(&str, Source)> {
    let source = |word: &str| match word.split_once('.') {
        Some(("path", name)) => Source::Path(name.into()),
        Some(("query", name)) => Source::Query(name.into()),
        Some((_, name)) => Source::Member(name.into()),
        None => Source::Body,
    };
    let pairs = text.split_whitespace().map(|pair| pair.split_once('=').expect("a variable and its source"));
    pairs.map(|(name, word)| (name, source(word))).collect()
}

fn tree(verb: &str, template: &str) -> RouteTree {
    let rule = AggregateRule { verb: verb.to_owned(), template: template.to_owned() };
    build_shown(&LIBRARY.0, &Rules::default(), &[rule], |_| None).expect("a template").0
}

/// Binds a document to `VERB template`.
fn bind(place: &str, variables: &str, document: &str) -> Result<(RouteTree, BoundDocument), Vec<String>> {
    let (schema, model) = &*LIBRARY;
    let (verb, template) = place.split_once(' ').expect("a verb and a template");
    let (text, operation) = match document.split_once(" # ") {
        Some((text, operation)) => (text, Some(operation)),
        None => (document, None),
    };
    let tree = tree(verb, template);
    let aggregate = tree.aggregates().next().expect("the only one");
    let declared =
        Declared { name: "a.graphql", text, operation, variables: sources(variables), fails: Fails::Whole };
    let bound = BoundDocument::check(&declared, aggregate, model, schema, &Bounds::default());
    match bound {
        Ok(bound) => Ok((tree, bound)),
        Err(faults) => {
            Err(faults.into_iter().map(|Fault { part, message }| format!("{part:?}: {message}")).collect())
        }
    }
}

#[test]
fn documents_are_checked_before_they_are_bound() {
    let check = |place: &str, variables: &str, document: &str, expected: &[&str]| {
        let found = bind(place, variables, document).err().unwrap_or_default();
        assert_eq!(found, expected, "{place} {variables} {document}");
    };
    let get = "query($n: String!) { getBook(name: $n) { title } }";
    check("GET /a/{x}", "n=path.x", get, &[]);
    check("GET /a/{b.x=books/*}", "n=path.b.x", get, &[]);
    check("GET /a", "n=query.n", get, &[]);
    check("POST /a", "n=body.n", get, &[]);
    check("POST /a", "n=body", get, &[]);
    check("GET /a", "", "{ ping }", &[]);
    // The document itself.
    check("GET /a", "", "{ pong }", &["Document: `a.graphql`:1:3: `Query` has no field `pong`"]);
    let two = "query A { ping } query B { time }";
    check("GET /a", "", two, &["Document: the document has several operations: name one by `operation`"]);
    check("GET /a", "", &format!("{two} # B"), &[]);
    check("GET /a", "", &format!("{two} # C"), &["Operation: the document has no operation `C`"]);
    let mutation = "mutation { moveBook(name: \"a\", to: \"b\") { name } }";
    check("POST /a", "", mutation, &[]);
    check("DELETE /a", "", mutation, &[]);
    let message = "Document: a mutation cannot be a `get`: bind it to `post` or another verb";
    check("GET /a", "", mutation, &[message]);
    let message = "Document: a subscription has many results, and a route one reply";
    check("POST /a", "", "subscription { watchAll { title } }", &[message]);
    // Sources, all at once.
    check(
        "GET /a/{x}",
        "m=path.x n=path.y",
        get,
        &["Variable(0): the operation has no variable `$m`", "Variable(1): `/a/{x}` has no capture `y`"],
    );
    check(
        "GET /a/{x}",
        "",
        get,
        &[
            "Document: `$n` of the operation needs a value: name its source in `variables`",
            "Path: no variable takes the capture `x`",
        ],
    );
    for verb in ["GET", "DELETE"] {
        let message = format!("Variable(0): a request of `{verb}` has no body");
        check(&format!("{verb} /a"), "n=body.n", get, &[&message]);
    }
    check("GET /a", "", "query($n: String! = \"a\") { getBook(name: $n) { title } }", &[]);
    // Types without a text.
    let search =
        |declared: &str, name: &str| format!("query($v: {declared}) {{ search({name}: $v) {{ total }} }}");
    for (declared, name) in [("Filter", "filter"), ("JSON", "json"), ("[FilterInput!]", "filters")] {
        let declared = if declared == "Filter" { "FilterInput" } else { declared };
        let document = search(declared, name);
        let shown = declared.to_owned();
        let message = format!(
            "Variable(0): a value of type `{shown}` cannot be read from a text: take it from the body"
        );
        check("GET /a", "v=query.v", &document, &[&message]);
        check("GET /a/{v}", "v=path.v", &document, &[&message]);
        check("POST /a", "v=body.v", &document, &[]);
    }
    let message =
        "Variable(0): a value of type `[String!]` cannot be a capture: take it from the query or the body";
    check("GET /a/{v}", "v=path.v", &search("[String!]", "words"), &[message]);
    check("GET /a", "v=query.v", &search("[String!]", "words"), &[]);
}

/// What the calls of a request would get: the variables as JSON, or what is wrong.
fn given(place: &str, variables: &str, document: &str, request: &str, options: &BindingOptions) -> String {
    let (schema, model) = &*LIBRARY;
    let (tree, bound) = bind(place, variables, document).unwrap_or_else(|faults| panic!("{faults:?}"));
    let (target, body) = request.split_once(' ').unwrap_or((request, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let verb = place.split(' ').next().expect("a verb");
    let Match::Aggregate { aggregate, captures } = tree.find(verb, path) else { panic!("{target}") };
    let asked = Asked { aggregate, captures: &captures, query, body: body.as_bytes() };
    let definition = bound.definition().expect("it was checked");
    match bound.values(definition, Coercer { model, schema }, options, asked) {
        Ok(values) => {
            let shown = |name: &str| format!("{name}={}", values.shown(name).unwrap_or_default());
            definition.variables.iter().map(|one| shown(&one.name.text)).collect::<Vec<_>>().join(" ")
        }
        Err(status) => {
            assert_eq!((status.code, status.http_number()), (Code::InvalidArgument, 400), "{request}");
            status.message.into_owned()
        }
    }
}

/// A type, an argument of it, and texts with what they are.
type Texts = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const TEXTS: &[Texts] = &[
    (
        "Boolean",
        "flag",
        &[
            ("true", "v=Boolean(true)"),
            ("false", "v=Boolean(false)"),
            ("1", "`v`: expected a value of type `Boolean`"),
            ("TRUE", "`v`: expected a value of type `Boolean`"),
        ],
    ),
    (
        "Int",
        "count",
        &[
            ("-7", "v=Int(-7)"),
            ("2147483647", "v=Int(2147483647)"),
            ("2147483648", "`v`: expected a value of type `Int`, found `2147483648`"),
            ("7.0", "`v`: expected a value of type `Int`"),
            ("x", "`v`: expected a value of type `Int`"),
        ],
    ),
    (
        "UInt32",
        "small",
        &[("4294967295", "v=Int(4294967295)"), ("-1", "`v`: expected a value of type `UInt32`, found `-1`")],
    ),
    (
        "Int64",
        "big",
        &[
            ("-9223372036854775808", "v=Int(-9223372036854775808)"),
            ("9223372036854775808", "`v`: expected a value of type `Int64`"),
        ],
    ),
    (
        "UInt64",
        "huge",
        &[
            ("18446744073709551615", "v=Int(18446744073709551615)"),
            ("-1", "`v`: expected a value of type `UInt64`"),
        ],
    ),
    (
        "Float",
        "ratio",
        &[
            ("1.5e3", "v=Float(1500.0)"),
            ("7", "v=Float(7.0)"),
            ("NaN", "`v`: expected a value of type `Float`"),
            ("inf", "`v`: expected a value of type `Float`"),
        ],
    ),
    ("String", "text", &[("7", "v=String(\"7\")"), ("a%20b", "v=String(\"a b\")")]),
    ("Bytes", "data", &[("AQ%3D%3D", "v=String(\"AQ==\")"), ("!", "`v`: expected a value of type `Bytes`")]),
    (
        "DateTime",
        "since",
        &[
            ("2026-01-31T10:00:00Z", "v=String(\"2026-01-31T10:00:00Z\")"),
            ("today", "`v`: expected a value of type `DateTime`"),
        ],
    ),
    (
        "Duration",
        "within",
        &[("1.5s", "v=String(\"1.5s\")"), ("1h", "`v`: expected a value of type `Duration`")],
    ),
    ("Genre", "genre", &[("POETRY", "v=Enum(\"POETRY\")"), ("PROSE", "`v`: no value of `Genre`")]),
    (
        "[Genre!]",
        "genres",
        &[
            ("POETRY", "v=List([Enum(\"POETRY\")])"),
            ("POETRY&v=NOVEL", "v=List([Enum(\"POETRY\"), Enum(\"NOVEL\")])"),
            ("POETRY&v=PROSE", "`v`: no value of `Genre`"),
        ],
    ),
];

#[test]
fn texts_are_read_by_the_type_of_their_variable() {
    let options = BindingOptions::default();
    for (declared, name, cases) in TEXTS {
        let document = format!("query($v: {declared}) {{ search({name}: $v) {{ total }} }}");
        for (text, expected) in *cases {
            let found = given("GET /a", "v=query.v", &document, &format!("/a?v={text}"), &options);
            assert_eq!(found, *expected, "{declared} {text}");
            if !declared.starts_with('[') {
                let found = given("GET /a/{x}", "v=path.x", &document, &format!("/a/{text}"), &options);
                assert_eq!(found, expected.replace("`v`", "`x`"), "{declared} {text}");
            }
        }
    }
}

#[test]
fn requests_say_what_their_route_takes() {
    let options = BindingOptions::default();
    let document =
        "query($n: String!, $c: Int = 3) { getBook(name: $n) { title } search(count: $c) { total } }";
    let check = |place: &str, variables: &str, request: &str, expected: &str| {
        assert_eq!(given(place, variables, document, request, &options), expected, "{request}");
    };
    let (get, post) = ("GET /a", "POST /a");
    check(get, "n=query.n c=query.c", "/a?n=x", "n=String(\"x\") c=Int(3)");
    check(get, "n=query.n c=query.c", "/a?c=1&n=x", "n=String(\"x\") c=Int(1)");
    check(get, "n=query.n c=query.c", "/a", "`n`: a value is needed");
    check(get, "n=query.n c=query.c", "/a?n=x&n=y", "`n`: given more than once");
    check(get, "n=query.n c=query.c", "/a?n=x&more=1", "`more`: unknown query parameter");
    check(get, "n=query.n", "/a?n=x {}", "this route takes no request body");
    check(post, "n=body.name c=query.c", "/a?c=4 {\"name\":\"x\"}", "n=String(\"x\") c=Int(4)");
    check(post, "n=body.name c=body.c", "/a {\"name\":\"x\",\"c\":4}", "n=String(\"x\") c=Int(4)");
    check(post, "n=body.name", "/a {\"name\":7}", "`name`: expected a value of type `String`, found `7`");
    check(post, "n=body.name", "/a {\"name\":\"x\",\"more\":1}", "`more`: unknown field");
    check(post, "n=body.name", "/a", "`name`: a value is needed");
    check(post, "n=body.name", "/a 7", "the body must be a JSON object");
    check(post, "n=body", "/a \"x\"", "n=String(\"x\") c=Int(3)");
    check(post, "n=body", "/a {", "the body is not JSON: EOF while parsing an object at line 1 column 1");
    check("GET /a/{x}", "n=path.x", "/a/b%2Fc", "n=String(\"b/c\") c=Int(3)");

    let nested = "query($f: [FilterInput!]) { search(filters: $f) { total } }";
    let check = |variables: &str, request: &str, expected: &str| {
        assert_eq!(given(post, variables, nested, request, &options), expected, "{request}");
    };
    check("f=body", "/a [{\"field\":7}]", "`[0].field`: expected a value of type `String`, found `7`");
    check("f=body.in", "/a {\"in\":[{}]}", "`in[0].field`: a value is needed");

    let lenient = BindingOptions {
        unknown_query: UnknownQuery::Ignore,
        unbound_body: UnboundBody::Ignore,
        ignored_query: vec!["c".to_owned()],
        query_parameters_max: 3,
        ..BindingOptions::default()
    };
    let check = |request: &str, expected: &str| {
        assert_eq!(given(get, "n=query.n c=query.c", document, request, &lenient), expected, "{request}");
    };
    check("/a?n=x&more=1&c=4 {", "n=String(\"x\") c=Int(3)");
    check("/a?n=x&more=1&c=4&d=5", "the query has more than 3 parameters");
}

fn error(path: &[&str], code: Code) -> FieldError {
    let step = |step: &&str| match step.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => Step::Key((*step).into()),
    };
    let status = Status::backend(code, path.join("."));
    FieldError { path: path.iter().map(step).collect(), location: Location::default(), status }
}

#[test]
fn replies_are_whole_or_say_what_they_lack() {
    let check = |fails, data: &str, paths: &[&[&str]], expected: Result<&str, &str>| {
        let kept = paths.iter().map(|path| error(path, Code::Unavailable)).collect();
        let found = reply(fails, data.as_bytes().to_vec(), Errors { kept, ..Errors::default() }, 1024);
        let found = found.map(|reply| reply.partial.unwrap_or_default());
        let found = found.map_err(|status| status.message.into_owned());
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{data} {paths:?}");
    };
    use Fails::{Partial, Whole};
    for fails in [Whole, Partial] {
        check(fails, r#"{"a":null,"b":1}"#, &[], Ok(""));
        check(fails, r#"{"a":null}"#, &[&["a"]], Err("a"));
        check(fails, r#"{"a":null,"b":null}"#, &[&["a", "x"], &["b"]], Err("a.x"));
        check(fails, "null", &[&["a"]], Err("a"));
    }
    check(Whole, r#"{"a":null,"b":1}"#, &[&["a"]], Err("a"));
    check(Partial, r#"{"a":null,"b":1}"#, &[&["a"]], Ok(r#""a""#));
    check(Partial, r#"{"a":[null],"b":null}"#, &[&["a", "0", "x"], &["b"]], Ok(r#""a.0.x", "b""#));
}

#[test]
fn list_of_what_is_missing_is_bounded() {
    let listed = |keys: &[&str], more, bytes_max| {
        let kept = keys.iter().map(|key| error(&[key], Code::Unavailable)).collect();
        let reply = reply(
            Fails::Partial,
            b"{\"z\":1}".to_vec(),
            Errors { kept, more, ..Errors::default() },
            bytes_max,
        );
        reply.expect("data is left").partial.expect("something has failed")
    };
    assert_eq!(listed(&["abc", "def"], 0, 12), r#""abc", "def""#);
    assert_eq!(listed(&["abc", "def"], 0, 11), r#""";more=2"#);
    assert_eq!(listed(&["abc", "defg"], 0, 12), r#""abc";more=1"#);
    assert_eq!(listed(&["abc"], 7, 12), r#""abc";more=7"#);
    assert_eq!(listed(&["abcdefghijkl"], 0, 12), r#""";more=1"#);
}

#[test]
fn shapes_are_those_of_any_reply() {
    let (schema, model) = &*LIBRARY;
    let document = "query($is: Boolean!) { a: getBook(name: \"a\") { ...T title related { name } } \
                    a: getBook(name: \"a\") { related { title @skip(if: $is) } shelf @include(if: $is) { id } } ping } \
                    fragment T on Book { __typename title }";
    let (_, bound) = bind("GET /x", "is=query.is", document).unwrap_or_else(|faults| panic!("{faults:?}"));
    fn shown(model: &crate::graphql::model::Model, shape: &Shape) -> String {
        let member = |member: &Member| {
            let optional = if member.is_conditional { "?" } else { "" };
            let named =
                member.type_ref.map_or_else(|| "name".to_owned(), |named| model.show(named).to_string());
            let below = member.below.as_ref().map(|below| shown(model, below)).unwrap_or_default();
            format!("{}{optional}:{named}{below}", member.key)
        };
        format!("{{{}}}", shape.members.iter().map(member).collect::<Vec<_>>().join(" "))
    }
    let shape = bound.shape(model, schema);
    assert_eq!(
        shown(model, &shape),
        "{a:Book{__typename:name title:String! related:[Book!]!{name:String! title?:String!} shelf?:Shelf{id:String!}} \
         ping:Boolean}"
    );
    let methods: Vec<_> = shape.methods().into_iter().map(|index| &*model.methods()[index].name).collect();
    assert_eq!(methods, ["getBook", "ping"]);
}
