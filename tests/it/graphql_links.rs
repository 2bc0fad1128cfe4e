//! Links over the three services of the demo: one query, the fewest calls that it can be, and what is left of it
//! when a service is down.

use serde_json::{Value, json};
use transom::demo::{Backend, Library, Reviews, Server, Writers};

use crate::access_log::lines;
use crate::limits;
use crate::support::redis::Redis;
use crate::support::{Directory, Gateway, eventually, figure, http, refusals};

struct Demo {
    library: Backend,
    writers: Option<Server>,
    reviews: Server,
    gateway: Gateway,
}

impl Demo {
    /// The services, and a gateway that is configured as that of `transom demo` is, with further keys for its GraphQL.
    async fn start(graphql: &str) -> Self {
        Self::with(graphql, "", "").await
    }

    /// [`start`](Self::start), with further keys of the surface, and further sections.
    async fn with(graphql: &str, surface: &str, rest: &str) -> Self {
        let library = Backend::start(Library::default()).expect("a free port");
        let writers = Server::of_writers(Writers::default()).expect("a free port");
        let reviews = Server::of_reviews(Reviews::default()).expect("a free port");
        let mut text = include_str!("../../src/cli/demo.yaml").to_owned();
        for (port, url) in [("50051", library.url()), ("50052", writers.url()), ("50053", reviews.url())] {
            text = text.replace(&format!("http://127.0.0.1:{port}"), &url);
        }
        text = text.replace("    graphql:\n", &format!("    {surface}\n    graphql:\n      {graphql}\n"));
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/descriptors");
        text.push_str(rest);
        text.push_str(&format!(
            "descriptors: [{{ file: {root}/library.binpb }}, {{ file: {root}/beside.binpb }}]\n"
        ));
        let directory = Directory::new("links");
        let file = directory.path().join("transom.yaml");
        std::fs::write(&file, text).expect("a configuration file");
        let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
        Self { library, writers: Some(writers), reviews, gateway }
    }

    async fn send(&self, document: &str) -> http::Answer {
        let request = http::request("POST", "/graphql").header("content-type", "application/json");
        http::send(self.gateway.address, request, json!({ "query": document }).to_string()).await
    }

    async fn ask(&self, document: &str) -> Value {
        let answer = self.send(document).await;
        assert_eq!(answer.status, 200, "{document}: {}", answer.text());
        answer.json()
    }

    /// Calls of the library, the writers and the reviews.
    fn calls(&self) -> [usize; 3] {
        [self.library.calls(), self.writers.as_ref().map_or(0, Server::calls), self.reviews.calls()]
    }
}

const BOOKS: &str = "{ listBooks { books { title writers { displayName country } \
                     reviews { stars best { reader subject { title } } } } } }";

#[tokio::test]
async fn one_query_joins_three_services_in_the_fewest_calls() {
    let demo = Demo::start("").await;
    let told = demo.ask(BOOKS).await;
    let book = |title: &str, writers: Value, reviews: Value| json!({ "title": title, "writers": writers, "reviews": reviews });
    let writer = |name: &str, country: &str| json!({ "displayName": name, "country": country });
    let reviews = |stars: i32, reader: &str, title: &str| json!({ "stars": stars, "best": { "reader": reader, "subject": { "title": title } } });
    let (leagues, species) = ("Twenty Thousand Leagues Under the Seas", "On the Origin of Species");
    assert_eq!(
        told,
        json!({ "data": { "listBooks": { "books": [
            book(leagues, json!([writer("Jules Verne", "France")]), reviews(4, "Ada", leagues)),
            book("Frankenstein", json!([writer("Mary Shelley", "England")]), reviews(4, "Ada", "Frankenstein")),
            book(species, json!([writer("Charles Darwin", "England")]), reviews(5, "Emma", species)),
            // Nobody knows of the second writer, and nobody has reviewed it.
            book("The Chemical History of a Candle", json!([writer("Michael Faraday", "England"), null]), Value::Null),
        ] } } })
    );
    // One list, one batch each of five writers and four books; the three reviews lead back by a method without a batch.
    let [library, writers, reviews] = demo.calls();
    assert_eq!([library, writers, reviews], [4, 1, 1]);
    figure(format_args!(
        "4 books, 5 writers, 4 summaries and 3 books again: {library} calls of the library (1 list, 3 without a batch), \
         {writers} of the writers, {reviews} of the reviews"
    ));
    // Without the links, one call.
    demo.ask("{ listBooks { books { title } } }").await;
    assert_eq!(demo.calls(), [5, 1, 1]);
}

#[tokio::test]
async fn what_is_left_when_a_service_is_down_has_an_error_at_its_path() {
    let mut demo = Demo::start("").await;
    demo.writers = None;
    let told = demo
        .ask("{ listBooks(pageSize: 2) { books { title writers { country } reviews { stars } } } }")
        .await;
    let books = &told["data"]["listBooks"]["books"];
    assert_eq!(books[0]["title"], "Twenty Thousand Leagues Under the Seas");
    assert_eq!(books[1], json!({ "title": "Frankenstein", "writers": [null], "reviews": { "stars": 4 } }));
    let errors = told["errors"].as_array().expect("errors");
    let paths: Vec<&Value> = errors.iter().map(|error| &error["path"]).collect();
    assert_eq!(
        paths,
        [&json!(["listBooks", "books", 0, "writers", 0]), &json!(["listBooks", "books", 1, "writers", 0]),]
    );
    for error in errors {
        assert_eq!(error["extensions"]["code"], "UNAVAILABLE", "{error}");
        assert_eq!(error["locations"], json!([{ "line": 1, "column": 42 }]));
    }
}

#[tokio::test]
async fn links_are_calls_of_the_operation() {
    let demo = Demo::start("limits: { calls: 2, link_calls: 1 }").await;
    let told = demo.ask("{ listBooks { books { writers { country } } } }").await;
    assert_eq!(told["errors"], Value::Null);
    assert_eq!(demo.calls(), [1, 1, 0]);
    let told =
        demo.ask("{ listBooks(pageSize: 1) { books { writers { country } reviews { stars } } } }").await;
    assert_eq!(told["errors"][0]["extensions"]["reason"], "CALL_LIMIT", "{told}");
    assert_eq!(demo.calls(), [2, 2, 0]);
}

/// Four are left: a list, a batch of writers and one of reviews take three of them, and the level below wants three.
#[tokio::test]
async fn a_level_that_limits_refuse_is_null_and_the_rest_is_told() {
    let redis = Redis::start();
    let shared = redis.as_ref().map(|redis| {
        let store = format!("redis: \"redis://127.0.0.1:{}\", timeout: 5s", redis.port);
        (format!("stores: {{ shared: {{ {store} }} }}\n"), ", store: shared")
    });
    for (stores, store) in [(String::new(), "")].into_iter().chain(shared) {
        let directory = Directory::new("link-limits");
        let log = directory.path().join("access.log");
        let rest = format!(
            "{stores}policies: {{ few: {{ rate: {{ by: ip, limit: 4/h, burst: 4{store} }} }} }}\n\
             observe: {{ access_log: {{ to: \"file:{}\" }} }}\n",
            log.display()
        );
        let demo = Demo::with("debit: calls", "policies: [few]", &rest).await;
        if let Some(redis) = redis.as_ref().filter(|_| !store.is_empty()) {
            // Whatever the first calls met: the workers are connected.
            eventually("the store is asked", async || {
                demo.send("{ listBooks { books { title } } }").await;
                limits::sample(&demo.gateway, "transom_limit_store_questions_total").await
                    > limits::sample(&demo.gateway, "transom_limit_store_failures_total").await
            })
            .await;
            redis.query::<()>(&["FLUSHALL"]);
        }
        let before = demo.calls();
        let told = demo.ask(BOOKS).await;
        let made: Vec<usize> = demo.calls().iter().zip(before).map(|(now, before)| now - before).collect();
        assert_eq!(made, [1, 1, 1], "{told}");
        let book = &told["data"]["listBooks"]["books"][0];
        assert_eq!(book["writers"][0]["country"], "France", "{told}");
        assert_eq!(book["reviews"]["best"], json!({ "reader": "Ada", "subject": null }), "{told}");
        let errors = told["errors"].as_array().expect("errors");
        assert_eq!(errors.len(), 3, "{told}");
        assert_eq!(errors[0]["path"], json!(["listBooks", "books", 0, "reviews", "best", "subject"]));
        assert!(errors.iter().all(|error| error["extensions"]["reason"] == "RATE_LIMITED"), "{told}");
        // Nothing was taken by it: one passes still. Only the request after that is refused as a whole.
        demo.ask("{ listBooks { books { title } } }").await;
        let whole = demo.send("{ listBooks { books { title } } }").await;
        assert_eq!(whole.status, 429, "{}", whole.text());
        let refused = || lines(&log).iter().filter(|line| line["refused_by"] == "limit").count();
        eventually("the refusal is in the log", async || refused() > 0).await;
        if store.is_empty() {
            assert_eq!(refused(), 1);
        }
    }
}

#[tokio::test]
async fn a_level_takes_as_many_places_as_it_has_calls_at_once() {
    let few = "policies: { few: { rate: { by: ip, concurrency: 2 } } }\n";
    for (link_calls, reason) in [(2, Value::Null), (3, json!("COST_TOO_HIGH"))] {
        let limits = format!("limits: {{ link_calls: {link_calls} }}");
        let demo = Demo::with(&limits, "policies: [few]", few).await;
        let told = demo.ask("{ listBooks { books { reviews { best { subject { title } } } } } }").await;
        assert_eq!(told["errors"][0]["extensions"]["reason"], reason, "{told}");
    }
}

#[tokio::test]
async fn the_keys_of_links_are_bounded() {
    // Four books have five writers, two of them of one book.
    for (max, reason) in [(5, Value::Null), (4, json!("LINK_LIMIT"))] {
        let demo = Demo::start(&format!("limits: {{ link_keys: {max} }}")).await;
        let told = demo.ask("{ listBooks { books { writers { country } } } }").await;
        assert_eq!(told["errors"][0]["extensions"]["reason"], reason, "{told}");
    }
}

/// What is wrong with a link is told with the place of the word.
#[tokio::test]
async fn links_that_lead_nowhere_are_refused() {
    let refused = async |link: &str| {
        refusals(&format!(
            "surfaces: {{ a: {{ protocols: [graphql], graphql: {{ links: [{{ {link} }}] }} }} }}"
        ))
        .await
    };
    let found = refused("on: a.No, field: b, from: c, call: d.E.F, as: g").await;
    assert_eq!(found, ["4:65: the descriptors have no message `a.No`"]);
}

/// The option of `transom/graphql.proto`, which comes with the gateway.
#[tokio::test]
async fn descriptors_declare_links_of_their_own() {
    let directory = Directory::new("link-options");
    let file = directory.path().join("shop.proto");
    let proto = |call: &str| {
        format!(
            r#"syntax = "proto3"; package shop;
            import "google/api/annotations.proto"; import "transom/graphql.proto";
            service Shop {{
              rpc GetOrder(Get) returns (Order) {{ option (google.api.http) = {{ get: "/orders/{{name}}" }}; }}
              rpc GetBuyer(Get) returns (Buyer) {{ option (google.api.http) = {{ get: "/buyers/{{name}}" }}; }}
            }}
            message Get {{ string name = 1; }}
            message Buyer {{ string name = 1; }}
            message Order {{
              string buyer = 1 [(transom.graphql.link) = {{ field: "who" call: "{call}" as: "name" }}];
            }}"#
        )
    };
    let graphql = async |call: &str| {
        std::fs::write(&file, proto(call)).expect("ours");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_transom"));
        command.args(["graphql", "--proto", file.to_str().expect("UTF-8")]);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("the thread lives");
        let output = output.expect("the binary runs");
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let [sdl, told] = graphql("shop.Shop.GetBuyer").await;
    assert!(sdl.contains("  who: Buyer\n"), "{sdl}{told}");
    let [sdl, told] = graphql("shop.Shop.No").await;
    assert!(
        !sdl.contains("who") && told.contains("`shop.Order.buyer`, option `transom.graphql.link`"),
        "{sdl}{told}"
    );
}
