//! REST routes that are bound to documents: over the three services of the demo, and where they are refused.

use std::process::Command;

use serde_json::{Value, json};
use transom::demo::{Backend, Library, Reviews, Server, Writers};

use crate::limits::sample;
use crate::support::backend;
use crate::support::http::{self, Answer};
use crate::support::{Directory, Gateway, eventually, refusals};

/// The services of the demo, and a gateway that is configured as its own is.
struct Demo {
    library: Backend,
    writers: Option<Server>,
    reviews: Option<Server>,
    gateway: Gateway,
    directory: Directory,
}

/// Routes beside that of the demo.
const ROUTES: &str = r#"
        - { get: "/v1/strict/{shelf=shelves/*}", document: strict.graphql, variables: { shelf: path.shelf } }
        - { post: /v1/books, document: books.graphql, operation: Add, variables: { shelf: query.shelf, book: body.book } }
        - { get: /v1/search, document: books.graphql, operation: Search, variables: { genres: query.genre } }
        - { put: /v1/bodies, variables: { shelf: body }, query: "query($shelf: String!) { getShelf(name: $shelf) { name } }" }
"#;

const STRICT: &str = "query($shelf: String!) { shelf: getShelf(name: $shelf) { theme } \
                      page: listBooks(parent: $shelf) { books { title reviews { stars } } } }";

const BOOKS: &str = "mutation Add($shelf: String!, $book: BookInput!) { createBook(parent: $shelf, book: $book) { title } } \
                     query Search($genres: [Genre!]) { listBooks(filter: { genres: $genres }) { books { genre } } }";

impl Demo {
    /// `more` are further sections of the file, `graphql` further keys of its GraphQL.
    async fn start(graphql: &str, more: &str) -> Self {
        let library = Backend::start(Library::default()).expect("a free port");
        let writers = Server::of_writers(Writers::default()).expect("a free port");
        let reviews = Server::of_reviews(Reviews::default()).expect("a free port");
        let mut text = include_str!("../../src/cli/demo.yaml").to_owned();
        for (port, url) in [("50051", library.url()), ("50052", writers.url()), ("50053", reviews.url())] {
            text = text.replace(&format!("http://127.0.0.1:{port}"), &url);
        }
        text = text.replace("    graphql:\n", &format!("    graphql:\n      {graphql}\n"));
        text = text.replace("      routes:\n", &format!("      routes:\n{}\n", ROUTES.trim_matches('\n')));
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/descriptors");
        text.push_str(&format!(
            "reload: {{ watch: false }}\n\
             descriptors: [{{ file: {root}/library.binpb }}, {{ file: {root}/beside.binpb }}]\n{more}\n"
        ));
        let directory = Directory::new("routes");
        let write =
            |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("a file");
        write("transom.yaml", &text);
        write("strict.graphql", STRICT);
        write("books.graphql", BOOKS);
        let file = directory.path().join("transom.yaml");
        let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
        Self { library, writers: Some(writers), reviews: Some(reviews), gateway, directory }
    }

    async fn send(&self, verb: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = headers
            .iter()
            .fold(http::request(verb, target), |request, (name, value)| request.header(*name, *value));
        http::send(self.gateway.address, request, body.to_owned()).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], "").await
    }

    /// Calls of the library, the writers and the reviews.
    fn calls(&self) -> [usize; 3] {
        let of = |server: &Option<Server>| server.as_ref().map_or(0, Server::calls);
        [self.library.calls(), of(&self.writers), of(&self.reviews)]
    }

    fn run(&self, arguments: &[&str]) -> String {
        let file = self.directory.path().join("transom.yaml");
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(arguments)
            .arg("--config")
            .arg(file)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

const OVERVIEW: &str = "/v1/shelves/1/overview?books=1";

/// The demo's route, and why a request of it is refused.
fn refused(answer: &Answer, number: u16, reason: &str) {
    assert_eq!(answer.status, number, "{}", answer.text());
    let details = answer.json()["details"].clone();
    let reasons: Vec<&Value> = details.as_array().into_iter().flatten().map(|one| &one["reason"]).collect();
    assert!(reasons.contains(&&json!(reason)), "{reason}: {}", answer.text());
}

#[tokio::test]
async fn one_get_has_what_three_services_know() {
    let demo = Demo::start("", "").await;
    let answer = demo.get(OVERVIEW).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("transom-partial"), None);
    let leagues = json!({
        "title": "Twenty Thousand Leagues Under the Seas",
        "writers": [{ "displayName": "Jules Verne", "country": "France" }],
        "reviews": answer.json()["page"]["books"][0]["reviews"],
    });
    assert_eq!(answer.json(), json!({ "shelf": { "theme": "Fiction" }, "page": { "books": [leagues] } }));
    assert_eq!(answer.json()["page"]["books"][0]["reviews"]["best"]["reader"], "Ada");
    assert_eq!(demo.calls(), [2, 1, 1]);
    // The default of the document.
    let all = demo.get("/v1/shelves/1/overview").await.json();
    assert_eq!(all["page"]["books"].as_array().map(Vec::len), Some(2));
    // HEAD is GET without the content.
    let head = demo.send("HEAD", OVERVIEW, &[], "").await;
    let length = answer.body.len().to_string();
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, Some(&*length)));
    assert!(head.body.is_empty());
}

#[tokio::test]
async fn bodies_and_lists_are_variables_too() {
    let demo = Demo::start("", "").await;
    let post = async |target: &str, body: &str| {
        demo.send("POST", target, &[("content-type", "application/json")], body).await
    };
    let added = post("/v1/books?shelf=shelves/1", r#"{"book":{"title":"Emma"}}"#).await;
    assert_eq!(added.json(), json!({ "createBook": { "title": "Emma" } }), "{}", added.status);
    let found = demo.get("/v1/search?genre=SCIENCE&genre=POETRY").await.json();
    assert_eq!(found, json!({ "listBooks": { "books": [{ "genre": "SCIENCE" }, { "genre": "SCIENCE" }] } }));
    assert_eq!(demo.get("/v1/search").await.status, 200);
    let calls = demo.calls();
    let fields = |answer: &Answer| answer.json()["details"][0]["fieldViolations"][0]["field"].clone();
    for (target, body, field) in [
        ("/v1/books?shelf=shelves/1", r#"{"book":{"title":7}}"#, "book.title"),
        ("/v1/books?shelf=shelves/1", r#"{"book":{"titel":"a"}}"#, "book"),
        ("/v1/books?shelf=shelves/1", "{}", "book"),
        ("/v1/books", r#"{"book":{"title":"a"}}"#, "shelf"),
        ("/v1/books?shelf=a&more=1", r#"{"book":{"title":"a"}}"#, "more"),
    ] {
        let answer = post(target, body).await;
        refused(&answer, 400, "INVALID_FIELD");
        assert_eq!(fields(&answer), field, "{}", answer.text());
    }
    let answer = demo.get("/v1/shelves/1/overview?books=many").await;
    refused(&answer, 400, "INVALID_FIELD");
    assert_eq!(fields(&answer), "books");
    refused(&demo.get("/v1/search?genre=PROSE").await, 400, "INVALID_FIELD");
    let text = demo.send("POST", "/v1/books?shelf=a", &[("content-type", "text/plain")], "{}").await;
    refused(&text, 415, "UNSUPPORTED_MEDIA_TYPE");
    refused(
        &demo.send("GET", OVERVIEW, &[("content-type", "application/json")], "{}").await,
        400,
        "INVALID_BODY",
    );
    assert_eq!(demo.calls(), calls, "nobody is called for what is refused");
}

#[tokio::test]
async fn body_is_bounded() {
    let demo = Demo::start("limits: { variables: 20B }", "").await;
    let put = async |body: &str| {
        demo.send("PUT", "/v1/bodies", &[("content-type", "application/json")], body).await
    };
    assert_eq!(put(r#""shelves/1"         "#).await.json(), json!({ "getShelf": { "name": "shelves/1" } }));
    refused(&put(r#""shelves/1"          "#).await, 413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn what_fails_is_told_as_the_route_says() {
    let mut demo = Demo::start("", "").await;
    demo.reviews = None;
    let answer = demo.get("/v1/shelves/1/overview").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let books = answer.json()["page"]["books"].clone();
    assert_eq!((&books[0]["reviews"], &books[1]["reviews"]), (&Value::Null, &Value::Null));
    assert_eq!(books[0]["writers"][0]["country"], "France");
    assert_eq!(answer.header("transom-partial"), Some(r#""page.books.0.reviews", "page.books.1.reviews""#));
    // The same failure of a route that is whole or nothing.
    let answer = demo.get("/v1/strict/shelves/1").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!((&answer.json()["code"], answer.header("transom-partial")), (&json!(14), None));
    // Where nothing is left, a route that may be partial fails, too.
    let answer = demo.get("/v1/shelves/none/overview").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!(5)), "{}", answer.text());
}

#[tokio::test]
async fn missing_paths_have_a_bound() {
    let mut demo = Demo::start("limits: { partial_header: 64B }", "").await;
    demo.reviews = None;
    let answer = demo.get("/v1/shelves/1/overview").await;
    let header = answer.header("transom-partial").expect("something is missing");
    assert_eq!(header, r#""page.books.0.reviews", "page.books.1.reviews""#);
    // 46 bytes for two of them: three have room in 70 and not in 64.
    demo.send("POST", "/v1/shelves/1/books", &[("content-type", "application/json")], r#"{"title":"Emma"}"#)
        .await;
    let answer = demo.get("/v1/shelves/1/overview").await;
    let header = answer.header("transom-partial").expect("something is missing");
    assert_eq!(header, r#""page.books.0.reviews", "page.books.1.reviews";more=1"#);
}

#[tokio::test]
async fn other_verbs_and_paths_are_told_as_anywhere() {
    let demo = Demo::start("", "").await;
    let answer = demo.send("POST", "/v1/shelves/1/overview", &[], "").await;
    refused(&answer, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    refused(&demo.get("/v1/shelf/1/overview").await, 404, "ROUTE_NOT_FOUND");
    // A route beside the methods of the same path.
    let answer = demo.send("PATCH", "/v1/books", &[], "").await;
    refused(&answer, 405, "METHOD_NOT_ALLOWED");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
}

#[tokio::test]
async fn stages_hold_for_each_call() {
    let backend = backend::Backend::echo().await;
    let route = r#"{ get: "/v1/two/{name}", fail: partial, variables: { name: path.name },
        query: "query($name: String) { a: get(name: $name) { name } b: get(name: \"b\") { name } }" }"#;
    const KEY: &str = "transom_MO9z8Gqn_tDSSgV5Co7eOFX5EyKKbDztF7rdXvIVQ_011FVp";
    let hash = "sha256:dcfe8e53052cbcfd88fabf75bb28e2d1034b1eb34d7148bf68cb815c35ac9d1a";
    let sections = format!(
        "auth: {{ keys: {{ api_key: {{}} }} }}\n\
         consumers: {{ acme: {{ keys: [\"{hash}\"] }} }}\n\
         policies: {{ guarded: {{ auth: keys, rate: {{ limit: 4/h, by: consumer }} }} }}\n\
         surfaces: {{ api: {{ protocols: [rest, graphql], policies: [guarded],\
           cors: {{ origins: [\"https://a.test\"] }}, graphql: {{ routes: [{route}] }} }} }}"
    );
    let gateway = Gateway::configured(&backend, "", "", &sections).await;
    let get = async |path: &str| {
        let request = http::request("GET", path).header("origin", "https://a.test").header("x-api-key", KEY);
        http::send(gateway.address, request, "").await
    };
    // Nobody is known, for neither call: the answer is that, however much may be missing.
    let answer = http::send(gateway.address, http::request("GET", "/v1/two/x"), "").await;
    refused(&answer, 401, "UNAUTHENTICATED");
    assert!(answer.header("www-authenticate").is_some());
    assert_eq!(answer.headers.get_all("www-authenticate").iter().count(), 1);
    // Two calls each, debited together: the third request finds nothing left.
    for _ in 0..2 {
        let answer = get("/v1/two/x").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.test"));
        assert!(answer.header("ratelimit").is_some());
        assert!(answer.header("x-request-id").is_some());
    }
    let answer = get("/v1/two/x").await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.test"));
    let request = http::request("OPTIONS", "/v1/two/x")
        .header("origin", "https://a.test")
        .header("access-control-request-method", "GET");
    let preflight = http::send(gateway.address, request, "").await;
    assert_eq!(preflight.status, 204, "{}", preflight.text());
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, HEAD"));
    // The route has a row of its own, and its calls have theirs.
    let count = async |method: &str, code: &str| {
        let name = format!("transom_calls_total{{surface=\"api\",method=\"{method}\",code=\"{code}\"}}");
        sample(&gateway, &name).await as u64
    };
    eventually("the calls are counted", async || {
        count("GET /v1/two/{name}", "RESOURCE_EXHAUSTED").await == 1
    })
    .await;
    assert_eq!(count("GET /v1/two/{name}", "OK").await, 2);
    assert_eq!(count("door.v1.Door.Get", "OK").await, 4);
}

#[tokio::test]
async fn routes_are_listed_and_explained() {
    let demo = Demo::start("", "").await;
    let listed = demo.run(&["routes"]);
    let line = listed.lines().find(|line| line.contains("/overview")).expect("it is listed");
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words[..3], ["GET", "/v1/{shelf=shelves/*}/overview", "-"]);
    for method in [
        "library.v1.LibraryService.GetShelf",
        "library.v1.LibraryService.ListBooks",
        "writers.v1.WriterService.BatchGetWriters",
        "reviews.v1.ReviewService.BatchGetSummaries",
    ] {
        assert!(line.contains(method), "{line}");
    }
    assert!(line.ends_with("by Overview"), "{line}");
    assert!(
        listed.lines().any(|line| line.starts_with("POST") && line.ends_with("CreateBook by books.graphql"))
    );
    let told = demo.run(&["explain", "/v1/shelves/1/overview"]);
    let told: Vec<&str> = told.lines().map(str::trim_end).collect();
    assert_eq!(told[0], "GET /v1/{shelf=shelves/*}/overview");
    let has = |text: &str| assert!(told.iter().any(|line| line.contains(text)), "{text}: {told:#?}");
    has("document: Overview");
    has("$books: query.books");
    has("fail: partial");
    has("calls: library.v1.LibraryService.GetShelf, ");
    has("writers.v1.WriterService.BatchGetWriters");
    has("service: reviews");
}

/// The parts of the document that a route has.
#[tokio::test]
async fn openapi_describes_routes_by_their_documents() {
    let demo = Demo::start("", "").await;
    let document: Value = serde_json::from_str(&demo.run(&["openapi"])).expect("JSON");
    let overview = &document["paths"]["/v1/shelves/{shelvesId}/overview"]["get"];
    assert_eq!(overview["operationId"], "Overview", "{overview}");
    assert_eq!(overview["summary"], "A shelf with its books, who wrote them and what readers say of them");
    let parameters = json!([
        { "name": "shelvesId", "in": "path", "required": true, "description": "`shelf` is `shelves/{shelvesId}`.",
          "schema": { "type": "string", "minLength": 1 } },
        { "name": "books", "in": "query",
          "schema": { "type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX } },
    ]);
    assert_eq!(overview["parameters"], parameters);
    let reply = &overview["responses"]["200"];
    assert!(reply["headers"]["transom-partial"].is_object());
    let data = &reply["content"]["application/json"]["schema"];
    assert_eq!(data["required"], json!(["shelf", "page"]));
    assert_eq!(data["properties"]["shelf"]["type"], json!(["object", "null"]));
    let book = &data["properties"]["page"]["properties"]["books"]["items"]["properties"];
    assert_eq!(book["title"], json!({ "type": "string" }));
    assert_eq!(book["reviews"]["properties"]["stars"], json!({ "type": "number", "format": "double" }));
    // Of a list that a link leads to, some may be missing.
    assert_eq!(book["writers"]["items"]["type"], json!(["object", "null"]));
    assert_eq!(overview["responses"]["default"], json!({ "$ref": "#/components/responses/Error" }));
    // Beside a method of the same path, with a body.
    assert!(document["paths"]["/v1/books"]["get"].is_object());
    let add = &document["paths"]["/v1/books"]["post"];
    assert_eq!(
        add["parameters"],
        json!([{ "name": "shelf", "in": "query", "required": true, "schema": { "type": "string" } }])
    );
    let body = &add["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"]["book"], json!({ "$ref": "#/components/schemas/BookInput-graphql" }));
    assert_eq!((&body["required"], &add["requestBody"]["required"]), (&json!(["book"]), &json!(true)));
    let input = &document["components"]["schemas"]["BookInput-graphql"];
    assert_eq!(input["properties"]["name"]["type"], json!(["string", "null"]), "{input}");
    assert_eq!(
        (&input["properties"]["title"]["type"], &input["required"][0]),
        (&json!("string"), &json!("title"))
    );
    let search = &document["paths"]["/v1/search"]["get"]["parameters"][0];
    assert_eq!((&search["schema"]["type"], &search["explode"]), (&json!("array"), &json!(true)));
    assert!(
        search["schema"]["items"]["enum"].as_array().is_some_and(|names| names.contains(&json!("SCIENCE")))
    );
}

#[tokio::test]
async fn documents_are_read_again_with_the_configuration() {
    let demo = Demo::start("", "").await;
    let write = |text: &str| {
        std::fs::write(demo.directory.path().join("strict.graphql"), text).expect("a file");
    };
    let reload = async || http::send(demo.gateway.admin, http::request("POST", "/config/reload"), "").await;
    write("query($shelf: String!) { getShelf(name: $shelf) { name } }");
    assert_eq!(reload().await.status, 200);
    assert_eq!(demo.get("/v1/strict/shelves/1").await.json(), json!({ "getShelf": { "name": "shelves/1" } }));
    write("query($shelf: String!) { getShelf(name: $shelf) { no } }");
    let answer = reload().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(answer.text().contains("strict.graphql`:1:51: `Shelf` has no field `no`"), "{}", answer.text());
    assert_eq!(demo.get("/v1/strict/shelves/1").await.json(), json!({ "getShelf": { "name": "shelves/1" } }));
}

/// Everything that is wrong is told at once, each with the place of the word.
#[tokio::test]
async fn routes_that_cannot_stand_are_refused() {
    let refused = async |routes: &str, expected: &[&str]| {
        let found = refusals(&format!(
            "surfaces: {{ a: {{ protocols: [rest, graphql], graphql: {{ routes: [\n{routes}\n] }} }} }}"
        ))
        .await;
        let expected: Vec<String> =
            expected.iter().map(|one| one.replace("ROOT", env!("CARGO_MANIFEST_DIR"))).collect();
        assert_eq!(found, expected, "{routes}");
    };
    let get = r#"query: "query($n: String) { get(name: $n) { name } }""#;
    refused(
        &format!("{{ get: '/v1/{{n=items/*}}', {get}, variables: {{ n: path.n }} }}"),
        &["5:8: `GET /v1/{n=items/*}` takes the same requests as `door.v1.Door.Get` (`GET /v1/{name=items/*}`)"],
    )
    .await;
    refused(
        &format!("{{ get: '/a/{{n}}', {get}, variables: {{ n: path.n }} }},\n{{ get: '/a/{{m}}', {get}, variables: {{ n: path.m }} }}"),
        &["6:8: `GET /a/{m}` takes the same requests as `GET /a/{n}` at ROOT/transom.yaml:5:8"],
    )
    .await;
    refused(
        &format!("{{ get: a, {get} }}"),
        &["5:8: `GET a` is no template: column 1: expected `/`, found `a`"],
    )
    .await;
    refused(
        "{ get: /a, document: none.graphql }",
        &["5:22: `ROOT/none.graphql`: No such file or directory (os error 2)"],
    )
    .await;
    refused(
        &format!("{{ get: '/a/{{x}}', {get}, variables: {{ m: path.x, n: path.y }} }}, {{ get: /b, query: \"{{ no }}\" }}"),
        &[
            "5:89: the operation has no variable `$m`",
            "5:100: `/a/{x}` has no capture `y`",
            "5:130: line 1, column 3: `Query` has no field `no`",
        ],
    )
    .await;
}
