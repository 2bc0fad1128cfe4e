//! GraphQL at the real door: operations, their calls, and what HTTP has to say.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::limits;
use crate::support::backend::{Backend, messages, nothing, respond, status};
use crate::support::{Directory, Gateway, eventually, http as client, missing, refusals, require, soon};
use crate::traces::Collector;

/// The request message of a call: without gRPC's prefix.
async fn message(request: http::Request<Incoming>) -> Vec<u8> {
    let body = request.into_body().collect().await.expect("a whole request").to_bytes();
    body.get(5..).expect("a message").to_vec()
}

/// The last string of a message: a name, or the title of what is created.
fn name_of(message: &[u8]) -> String {
    let start = message.iter().rposition(|byte| *byte < b' ').map_or(0, |at| at + 1);
    String::from_utf8_lossy(&message[start..]).into_owned()
}

/// Book { name = 1, title = 2, copies_sold = 3 }.
fn book(name: &str, title: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (tag, text) in [(0x0a, name), (0x12, title)] {
        out.extend([tag, u8::try_from(text.len()).expect("short")]);
        out.extend_from_slice(text.as_bytes());
    }
    out.extend([0x18, 42]);
    out
}

/// A library: `9` is no book, `odd` has a genre that nobody knows, and so has its sequel.
pub(crate) async fn library() -> Backend {
    Backend::start(async |request| {
        let path = request.uri().path().to_owned();
        let message = message(request).await;
        let name = name_of(&message);
        let reply = match &*path {
            "/books.v1.Library/ListBooks" => {
                let mut list = Vec::new();
                for title in ["Dune", "Emma"] {
                    let book = book("b", title);
                    list.extend([0x0a, u8::try_from(book.len()).expect("short")]);
                    list.extend(book);
                }
                list
            }
            _ if name.ends_with('9') => {
                let mut headers = status(5, "book%20not%20found");
                headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
                return respond(headers, nothing());
            }
            _ if name.ends_with("odd") => [book(&name, "Odd"), vec![0x30, 7]].concat(),
            _ if name.ends_with("sequel") => [book(&name, "First"), vec![0x3a, 0x02, 0x30, 0x07]].concat(),
            "/books.v1.Library/CreateBook" => book("new", &name),
            _ => book(&name, "Dune"),
        };
        respond(HeaderMap::new(), messages(&[reply.into()], status(0, "")))
    })
    .await
}

/// A gateway whose clients speak both, before a backend; `graphql` and `rest` are further keys of the file.
pub(crate) async fn gateway(backend: &Backend, surface: &str, rest: &str) -> Gateway {
    let directory = Directory::new("graphql");
    let file = directory.path().join("transom.yaml");
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/books.proto");
    let url = backend.url();
    let text = format!(
        "version: 1\ndescriptors: [{{ proto: {proto:?} }}]\n\
         services: {{ library: {{ endpoints: {{ static: [{url:?}] }} }} }}\n\
         surfaces: {{ web: {{ protocols: [rest, graphql], {surface} }} }}\n{rest}\n"
    );
    std::fs::write(&file, text).expect("a configuration file");
    Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await
}

pub(crate) fn post() -> http::request::Builder {
    client::request("POST", "/graphql").header("content-type", "application/json")
}

/// The answer to a document.
async fn ask(gateway: &Gateway, document: &str) -> client::Answer {
    client::send(gateway.address, post(), json!({ "query": document }).to_string()).await
}

/// The text of the answer to a document, which must have been executed.
async fn answer(gateway: &Gateway, document: &str) -> String {
    let answer = ask(gateway, document).await;
    assert_eq!(answer.status, 200, "{document}: {}", answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn two_books_one_of_which_is_not_there() {
    let backend = library().await;
    let gateway = gateway(&backend, "", "").await;
    let document = r#"{ a: getBook(name: "shelves/1/books/1") { title } b: getBook(name: "shelves/1/books/9") { title copiesSold } }"#;
    let expected = concat!(
        r#"{"data":{"a":{"title":"Dune"},"b":null},"errors":[{"message":"book not found","path":["b"],"#,
        r#""locations":[{"line":1,"column":51}],"extensions":{"code":"NOT_FOUND"}}]}"#
    );
    assert_eq!(answer(&gateway, document).await, expected);
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn documents_are_answered_in_their_shape() {
    let backend = library().await;
    let gateway = gateway(&backend, "", "").await;
    let check = async |document: &str, expected: &str| {
        assert_eq!(answer(&gateway, document).await, expected, "{document}");
    };
    check("{ __typename }", r#"{"data":{"__typename":"Query"}}"#).await;
    check(
        r#"{ getBook(name: "x") { copiesSold name __typename subtitle publishTime genre } }"#,
        concat!(
            r#"{"data":{"getBook":{"copiesSold":"42","name":"x","__typename":"Book","#,
            r#""subtitle":null,"publishTime":null,"genre":"GENRE_UNSPECIFIED"}}}"#
        ),
    )
    .await;
    check(
        r#"query { listBooks(pageSize: 5) { books { t: title } } ...Q } fragment Q on Query { getBook(name: "y") { ... on Book { name } } }"#,
        r#"{"data":{"listBooks":{"books":[{"t":"Dune"},{"t":"Emma"}]},"getBook":{"name":"y"}}}"#,
    )
    .await;
    check(
        r#"{ getBook(name: "x") { title @skip(if: true) name @include(if: true) } }"#,
        r#"{"data":{"getBook":{"name":"x"}}}"#,
    )
    .await;
    // What may not be null takes its parent with it, as far as one may be.
    check(
        r#"{ getBook(name: "odd") { title genre } __typename }"#,
        concat!(
            r#"{"data":{"getBook":null,"__typename":"Query"},"errors":[{"message":"the backend's value 7 is none of `books.v1.Genre`","#,
            r#""path":["getBook","genre"],"locations":[{"line":1,"column":32}],"extensions":{"code":"INTERNAL","reason":"INVALID_VALUE"}}]}"#
        ),
    )
    .await;
    check(
        r#"{ getBook(name: "sequel") { title s: sequel { genre } } }"#,
        concat!(
            r#"{"data":{"getBook":{"title":"First","s":null}},"errors":[{"message":"the backend's value 7 is none of `books.v1.Genre`","#,
            r#""path":["getBook","s","genre"],"locations":[{"line":1,"column":47}],"extensions":{"code":"INTERNAL","reason":"INVALID_VALUE"}}]}"#
        ),
    )
    .await;
    let variables = json!({
        "query": "query B($n: String!) { getBook(name: $n) { name } } query Other { __typename }",
        "operationName": "B",
        "variables": { "n": "v" },
    });
    let answer = client::send(gateway.address, post(), variables.to_string()).await;
    assert_eq!(answer.text(), r#"{"data":{"getBook":{"name":"v"}}}"#);
}

#[tokio::test]
async fn fields_of_a_query_are_called_at_once_and_the_same_ones_once() {
    // Nobody is answered before two have come.
    let barrier = Arc::new(Barrier::new(2));
    let backend = Backend::start(move |request| {
        let barrier = Arc::clone(&barrier);
        async move {
            let name = name_of(&message(request).await);
            barrier.wait().await;
            respond(HeaderMap::new(), messages(&[book(&name, "Dune").into()], status(0, "")))
        }
    })
    .await;
    let gateway = gateway(&backend, "", "").await;
    let document = r#"{ a: getBook(name: "x") { name } b: getBook(name: "y") { name } c: getBook(name: "x") { title } }"#;
    let answer = soon(answer(&gateway, document)).await;
    assert_eq!(answer, r#"{"data":{"a":{"name":"x"},"b":{"name":"y"},"c":{"title":"Dune"}}}"#);
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn mutations_are_called_one_after_the_other() {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&log);
    let backend = Backend::start(move |request| {
        let log = Arc::clone(&told);
        async move {
            let name = name_of(&message(request).await);
            log.lock().expect("a log").push(format!("{name} begins"));
            // Whoever could come meanwhile has its chance.
            tokio::task::yield_now().await;
            log.lock().expect("a log").push(format!("{name} ends"));
            respond(HeaderMap::new(), messages(&[book("new", &name).into()], status(0, "")))
        }
    })
    .await;
    let gateway = gateway(&backend, "", "").await;
    let document = r#"mutation { a: createBook(book: {title: "A"}) { title } b: createBook(book: {title: "B"}) { title } again: createBook(book: {title: "B"}) { title } }"#;
    let expected = r#"{"data":{"a":{"title":"A"},"b":{"title":"B"},"again":{"title":"B"}}}"#;
    assert_eq!(answer(&gateway, document).await, expected);
    let expected = ["A begins", "A ends", "B begins", "B ends", "B begins", "B ends"];
    assert_eq!(*log.lock().expect("a log"), expected);
}

#[tokio::test]
async fn http_has_its_rules() {
    let backend = library().await;
    let gateway = gateway(&backend, "cors: { origins: [\"https://a.test\"] }", "").await;
    const JSON: (&str, &str) = ("content-type", "application/json");
    const NEW: (&str, &str) = ("accept", "application/graphql-response+json");
    let query = r#"{"query":"{__typename}"}"#;
    let wrong = r#"{"query":"{nothing}"}"#;
    let failing = r#"{"query":"{getBook(name: \"9\") {name}}"}"#;
    let get = "/graphql?query=%7B__typename%7D";
    let mutation = "/graphql?query=mutation%7BcreateBook(book:%7B%7D)%7Bname%7D%7D";
    let check =
        async |verb: &str, target: &str, headers: &[(&str, &str)], body: &str, number: u16, media: &str| {
            let mut request = client::request(verb, target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = client::send(gateway.address, request, body.to_owned()).await;
            let what = format!("{verb} {target} {headers:?} {body}: {}", answer.text());
            assert_eq!(answer.status, number, "{what}");
            let expected = format!("application/{media}; charset=utf-8");
            assert_eq!(answer.header("content-type"), Some(&*expected), "{what}");
            assert!(answer.header("x-request-id").is_some(), "{what}");
            answer
        };
    check("POST", "/graphql", &[JSON], query, 200, "json").await;
    check("POST", "/graphql", &[JSON, NEW], query, 200, "graphql-response+json").await;
    // Executed with errors is executed.
    check("POST", "/graphql", &[JSON, NEW], failing, 200, "graphql-response+json").await;
    check("POST", "/graphql", &[JSON, NEW], wrong, 400, "graphql-response+json").await;
    check("POST", "/graphql", &[JSON], wrong, 200, "json").await;
    check("POST", "/graphql", &[JSON], "{", 400, "json").await;
    check("POST", "/graphql", &[JSON], "{}", 400, "json").await;
    check("POST", "/graphql", &[JSON, ("accept", "text/html")], query, 406, "json").await;
    check("POST", "/graphql", &[("content-type", "text/plain")], query, 415, "json").await;
    check("PUT", "/graphql", &[JSON], query, 405, "json").await;
    check("GET", get, &[JSON], "", 200, "json").await;
    check("GET", get, &[("x-requested-with", "x"), NEW], "", 200, "graphql-response+json").await;
    check("GET", get, &[], "", 400, "json").await;
    let answer = check("GET", mutation, &[JSON], "", 405, "json").await;
    assert_eq!(answer.header("allow"), Some("POST"));
    let large = format!(r#"{{"query":"{{__typename}}","extensions":{{"x":"{}"}}}}"#, "x".repeat(1200 << 10));
    check("POST", "/graphql", &[JSON], &large, 413, "json").await;
    let subscription = r#"{"query":"subscription { x }"}"#;
    check("POST", "/graphql", &[JSON, NEW], subscription, 400, "graphql-response+json").await;
    assert_eq!(backend.calls(), 1, "only what failed was called");
    // Pages of other origins are told that they may, or nothing.
    let preflight = client::request("OPTIONS", "/graphql")
        .header("origin", "https://a.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type");
    let answer = client::send(gateway.address, preflight, "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("access-control-allow-origin")),
        (204, Some("https://a.test"))
    );
}

#[tokio::test]
async fn only_who_speaks_graphql_is_served_it() {
    let backend = library().await;
    let gateway = gateway(&backend, "graphql: { path: /api/q, introspection: false }", "").await;
    let check = async |verb: &str, target: &str, body: &str, number: u16| {
        let request = client::request(verb, target).header("content-type", "application/json");
        let answer = client::send(gateway.address, request, body.to_owned()).await;
        assert_eq!(answer.status, number, "{verb} {target} {body}: {}", answer.text());
        answer
    };
    check("POST", "/api/q", r#"{"query":"{__typename}"}"#, 200).await;
    check("POST", "/graphql", r#"{"query":"{__typename}"}"#, 404).await;
    check("GET", "/v1/shelves/1/books/1", "", 200).await;
    let answer = check("POST", "/api/q", r#"{"query":"{__schema{queryType{name}}}"}"#, 200).await;
    assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "INTROSPECTION_DISABLED");
}

#[tokio::test]
async fn limits_are_debited_once_an_operation() {
    let backend = library().await;
    let rest = r#"
policies:
  limited: { rate: { by: ip, limit: 3/h, burst: 3 } }
"#;
    let surface = "policies: [limited], rules: [{ match: books.v1.Library.GetBook }, { match: books.v1.Library.ListBooks, policies: [] }]";
    let gateway = gateway(&backend, surface, rest).await;
    let document =
        r#"{ a: getBook(name: "1") { name } b: getBook(name: "2") { name } listBooks { books { title } } }"#;
    let first = ask(&gateway, document).await;
    assert_eq!(first.json()["errors"], Value::Null, "{}", first.text());
    assert_eq!(first.header("ratelimit-policy"), Some("\"limited\";q=3;w=3600"));
    let left = first.header("ratelimit").expect("where it stands");
    assert!(left.starts_with("\"limited\";r=1;t="), "{left}");
    // One is left, and two are asked for: nothing is called, not even what has no limit.
    let second = ask(&gateway, document).await;
    assert_eq!(second.status, 429, "{}", second.text());
    assert!(second.header("retry-after").is_some() && second.header("ratelimit").is_some());
    let error = &second.json()["errors"][0];
    assert_eq!(error["extensions"]["code"], "RESOURCE_EXHAUSTED", "{error}");
    assert_eq!(error["extensions"]["reason"], "RATE_LIMITED", "{error}");
    assert!(error["extensions"]["details"][0]["retryDelay"].is_string(), "{error}");
    assert_eq!((second.json()["data"].is_null(), backend.calls()), (true, 3));
    let refused = r#"transom_refused_total{stage="limit",reason="RATE_LIMITED"}"#;
    assert!((limits::sample(&gateway, refused).await - 1.0).abs() < 0.5);
    // Nothing was taken by it: one passes still, and another does not.
    let one = r#"{ a: getBook(name: "1") { name } again: getBook(name: "1") { title } }"#;
    assert_eq!(ask(&gateway, one).await.status, 200, "the same call twice is one");
    assert_eq!(ask(&gateway, one).await.status, 429);
    // Four never pass at once, whenever they come.
    let four = r#"{ a: getBook(name: "1") { name } b: getBook(name: "2") { name } c: getBook(name: "3") { name } d: getBook(name: "4") { name } }"#;
    let never = ask(&gateway, four).await;
    assert_eq!((never.status.as_u16(), never.header("retry-after")), (400, None), "{}", never.text());
    assert_eq!(never.json()["errors"][0]["extensions"]["reason"], "COST_TOO_HIGH");
    assert_eq!(ask(&gateway, "{ listBooks { books { title } } }").await.status, 200);
    // What no rule shows is no field.
    let hidden = ask(&gateway, "mutation { createBook(book: {}) { name } }").await.json();
    assert_eq!(hidden["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{hidden}");
}

#[tokio::test]
async fn limits_of_who_is_calling_count_what_is_let_through() {
    let backend = library().await;
    let rest = r#"
auth: { partner: { api_key: {} } }
plans: { free: { rate: 10/h } }
consumers: { acme: { plan: free, keys: ["sha256:dcfe8e53052cbcfd88fabf75bb28e2d1034b1eb34d7148bf68cb815c35ac9d1a"] } }
policies:
  edge: { rate: { by: ip, limit: 100/h, quiet: true } }
  own: { auth: partner, rate: { by: consumer, limit: plan } }
"#;
    let surface = "graphql: { debit: cost }, policies: [edge, own], rules: [\
        { match: books.v1.Library.GetBook }, \
        { match: books.v1.Library.ListBooks, allow: 'consumer.name == \"other\"' }]";
    let key = "transom_MO9z8Gqn_tDSSgV5Co7eOFX5EyKKbDztF7rdXvIVQ_011FVp";
    let gateway = gateway(&backend, surface, rest).await;
    let ask = async |key: &str, document: &str| {
        let request = post().header("x-api-key", key);
        client::send(gateway.address, request, json!({ "query": document }).to_string()).await
    };
    // Each is a call and a book; who may not list pays for no list.
    let document =
        r#"{ a: getBook(name: "1") { name } b: getBook(name: "2") { name } listBooks { books { title } } }"#;
    let told = ask(key, document).await;
    let left = told.header("ratelimit").expect("where it stands");
    assert!(left.starts_with("\"free\";r=6;"), "{left}: {}", told.text());
    assert_eq!(told.json()["errors"][0]["extensions"]["code"], "PERMISSION_DENIED", "{}", told.text());
    assert_eq!(told.json()["errors"].as_array().map(Vec::len), Some(1), "{}", told.text());
    let nested = r#"{ getBook(name: "1") { sequel { sequel { sequel { sequel { sequel { name } } } } } } }"#;
    assert_eq!(ask(key, nested).await.status, 429);
    let three = r#"{ getBook(name: "1") { sequel { sequel { sequel { sequel { name } } } } } }"#;
    assert_eq!(ask(key, three).await.status, 200, "a call and five books");
    assert_eq!(ask(key, document).await.status, 429);
    // Strangers take nothing of hers.
    let told = ask("nobody", document).await.json();
    assert_eq!(told["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{told}");
    assert_eq!(backend.calls(), 3);
}

#[tokio::test]
async fn calls_of_an_operation_take_a_place_each() {
    let backend = library().await;
    let rest = "policies: { few: { rate: { by: ip, concurrency: 2 } } }";
    let gateway = gateway(&backend, "policies: [few]", rest).await;
    let get = |count: usize| {
        let fields = (0..count).map(|number| format!("a{number}: getBook(name: \"{number}\") {{ name }}"));
        format!("{{ {} }}", fields.collect::<Vec<_>>().join(" "))
    };
    assert_eq!(ask(&gateway, &get(2)).await.status, 200);
    let refused = ask(&gateway, &get(3)).await;
    assert_eq!(refused.json()["errors"][0]["extensions"]["reason"], "COST_TOO_HIGH", "{}", refused.text());
    // One after the other they are one at a time.
    let fields = (0..3).map(|number| format!("a{number}: createBook(book: {{ title: \"t\" }}) {{ name }}"));
    let mutation = format!("mutation {{ {} }}", fields.collect::<Vec<_>>().join(" "));
    assert_eq!(ask(&gateway, &mutation).await.json()["errors"], Value::Null);
    // Every place has come back.
    assert_eq!(ask(&gateway, &get(2)).await.status, 200);
    assert_eq!(backend.calls(), 7);
}

#[tokio::test]
async fn replies_are_kept_by_method_and_request() {
    let backend = Backend::start(async |request| {
        let name = name_of(&message(request).await);
        let mut metadata = HeaderMap::new();
        metadata.insert("cache-control", http::HeaderValue::from_static("max-age=60"));
        respond(metadata, messages(&[book(&name, "Dune").into()], status(0, "")))
    })
    .await;
    let surface = "policies: [kept]";
    let gateway = gateway(&backend, surface, "policies: { kept: { cache: { ttl: origin } } }").await;
    let name = r#"{ getBook(name: "x") { name } }"#;
    let title = r#"{ getBook(name: "x") { title } again: getBook(name: "x") { name } }"#;
    assert_eq!(answer(&gateway, name).await, r#"{"data":{"getBook":{"name":"x"}}}"#);
    assert_eq!(
        answer(&gateway, title).await,
        r#"{"data":{"getBook":{"title":"Dune"},"again":{"name":"x"}}}"#
    );
    assert_eq!(backend.calls(), 1);
    assert_eq!(
        answer(&gateway, r#"{ getBook(name: "y") { name } }"#).await,
        r#"{"data":{"getBook":{"name":"y"}}}"#
    );
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_call_that_nobody_answers_has_its_fallback() {
    let backend = Backend::start(async |_| respond(status(14, "down"), nothing())).await;
    let surface = "rules: [{ match: books.v1.Library.GetBook, fallback: { body: { title: Later } } }, \
                   { match: books.v1.Library.ListBooks }]";
    let gateway = gateway(&backend, surface, "").await;
    let told =
        ask(&gateway, r#"{ getBook(name: "x") { title } listBooks { books { title } } }"#).await.json();
    assert_eq!(told["data"], json!({ "getBook": { "title": "Later" }, "listBooks": null }), "{told}");
    assert_eq!(told["errors"][0]["extensions"]["code"], "UNAVAILABLE", "{told}");
}

#[tokio::test]
async fn what_a_surface_hides_is_as_if_it_were_absent() {
    let backend = library().await;
    let gateway = gateway(&backend, "fields: \"-title, -sequel.genre\"", "").await;
    let document = r#"{ getBook(name: "sequel") { name title sequel { genre name } } }"#;
    assert_eq!(
        answer(&gateway, document).await,
        r#"{"data":{"getBook":{"name":"sequel","title":"","sequel":{"genre":"GENRE_UNSPECIFIED","name":""}}}}"#
    );
}

#[tokio::test]
async fn values_of_enums_may_lose_their_prefix() {
    let backend = Backend::echo().await;
    for (key, red, green, none) in
        [("false", "COLOR_RED", "COLOR_GREEN", "COLOR_UNSPECIFIED"), ("true", "RED", "GREEN", "UNSPECIFIED")]
    {
        let surfaces =
            format!("surfaces: {{ a: {{ protocols: [graphql], graphql: {{ strip_enum_prefix: {key} }} }} }}");
        let gateway = Gateway::configured(&backend, "", "", &surfaces).await;
        let document = format!(
            r#"{{ get(name: "items/7", color: {red}, colors: [{green}, {none}], colorsById: {{ key: 1, value: {red} }}) {{ color colors colorsById {{ value }} }} none: get(name: "items/8") {{ color }} }}"#
        );
        let expected = format!(
            r#"{{"data":{{"get":{{"color":"{red}","colors":["{green}","{none}"],"colorsById":[{{"value":"{red}"}}]}},"none":{{"color":"{none}"}}}}}}"#
        );
        assert_eq!(answer(&gateway, &document).await, expected);
        let other = if key == "true" { "COLOR_RED" } else { "RED" };
        let document = format!(r#"{{ get(name: "items/7", color: {other}) {{ color }} }}"#);
        let told = ask(&gateway, &document).await.json();
        assert_eq!(told["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED", "{told}");
    }
}

#[tokio::test]
async fn each_call_is_told_of_below_its_request() {
    let backend = library().await;
    let (collector, address) = Collector::start().await;
    let directory = Directory::new("graphql-log");
    let file = directory.path().join("access.log");
    let to = format!("file:{}", file.display());
    let rest = format!(
        "observe: {{ access_log: {{ to: {to:?} }}, traces: {{ otlp: \"http://{address}\", sample: 100% }} }}"
    );
    let gateway = gateway(&backend, "", &rest).await;
    let document = r#"{ a: getBook(name: "x") { name } b: getBook(name: "9") { name } }"#;
    answer(&gateway, document).await;
    let is_call =
        |span: &&Span| span.kind() == SpanKind::Internal && span.name == "call books.v1.Library.GetBook";
    eventually("two calls", async || collector.spans().iter().filter(is_call).count() == 2).await;
    let spans = collector.has_calls(1).await;
    let request = spans.iter().find(|span| span.kind() == SpanKind::Server).expect("the request");
    assert!(request.parent_span_id.is_empty(), "a trace of its own: {request:#?}");
    let is_below = |span: &&Span| span.parent_span_id == request.span_id;
    assert_eq!(spans.iter().filter(is_call).filter(is_below).count(), 2, "{spans:#?}");
    assert!(spans.iter().filter(is_below).any(|span| span.name == "stage admission"), "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace_id == request.trace_id), "{spans:#?}");
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    eventually("three lines", async || lines().len() == 3).await;
    let mut told: Vec<_> =
        lines().iter().map(|line| format!("{} {}", line["method"], line["code"])).collect();
    told.sort();
    let method = "\"books.v1.Library.GetBook\"";
    assert_eq!(
        told,
        [format!("{method} \"NOT_FOUND\""), format!("{method} \"OK\""), "null \"OK\"".to_owned()]
    );
}

#[tokio::test]
async fn what_an_operation_may_cost_is_bounded() {
    let backend = library().await;
    let gateway = gateway(&backend, "graphql: { limits: { cost: 3 } }", "").await;
    // The call, the book and its sequel.
    let document = r#"{ getBook(name: "x") { sequel { name } } }"#;
    assert_eq!(answer(&gateway, document).await, r#"{"data":{"getBook":{"sequel":null}}}"#);
    let document = r#"{ getBook(name: "x") { sequel { sequel { name } } } }"#;
    let refused = ask(&gateway, document).await.json();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "COST_LIMIT", "{refused}");
    // A list counts as often as the request says.
    for (document, is_executed) in [
        ("{ listBooks(pageSize: 1) { books { name } } }", true),
        ("{ listBooks(pageSize: 2) { books { name } } }", false),
    ] {
        let told = ask(&gateway, document).await.json();
        assert_eq!(told["errors"].is_null(), is_executed, "{document}: {told}");
    }
    assert_eq!(backend.calls(), 2);
}

#[tokio::test]
async fn a_surface_may_speak_graphql_alone() {
    let found = refusals("surfaces: { a: { protocols: [graphql] }, b: { protocols: [graphql] } }").await;
    assert_eq!(found, ["4:42: `a` and `b` both answer GraphQL at `/graphql` on the same host"]);
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, "", "", "surfaces: { a: { protocols: [graphql] } }").await;
    let answer = client::send(gateway.address, client::request("GET", "/v1/items/7"), "").await;
    assert_eq!(answer.status, 404);
    let document = r#"{ get(name: "items/7", count: 3) { name count } }"#;
    let answer = ask(&gateway, document).await;
    assert_eq!(answer.text(), r#"{"data":{"get":{"name":"items/7","count":3}}}"#);
}

/// The audits of the specification's own test suite (npm: graphql-http).
#[tokio::test]
async fn every_audit_of_graphql_over_http_passes() {
    if !require("node", Command::new("node").arg("--version")) {
        return;
    }
    let packages = std::env::var_os("TRANSOM_NPM")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm"), std::path::PathBuf::from);
    if !packages.join("node_modules/graphql-http").exists() {
        return missing(format_args!("`graphql-http` is not installed in `{}`", packages.display()));
    }
    let backend = library().await;
    let gateway = gateway(&backend, "", "").await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/graphql_audits.mjs");
    let url = format!("http://{}/graphql", gateway.address);
    let mut node = Command::new("node");
    node.arg(script).arg(&packages).arg(&url);
    let output = tokio::task::spawn_blocking(move || node.output()).await.expect("the thread lives");
    let output = output.expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{told}");
    let count: usize = text.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(count > 40, "{count} audits\n{text}");
}
