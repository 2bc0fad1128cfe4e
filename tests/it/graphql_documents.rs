//! Documents that clients name instead of sending, at the real door: trusted ones, and those that they register.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::graphql_http::{gateway, library, post};
use crate::support::http as client;
use crate::support::{Directory, Gateway};

fn sha256(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("memory");
        out
    })
}

const BOOK: &str = "query Book($name: String!) { getBook(name: $name) { title } }";

/// The answer to a body: its number, and the code of its first error or its data.
async fn send(gateway: &Gateway, body: Value) -> (u16, String) {
    let answer = client::send(gateway.address, post(), body.to_string()).await;
    told(&answer)
}

fn told(answer: &client::Answer) -> (u16, String) {
    let json = answer.json();
    let error = json["errors"][0]["extensions"]["code"].as_str().map(str::to_owned);
    (answer.status.as_u16(), error.unwrap_or_else(|| json["data"].to_string()))
}

#[tokio::test]
async fn only_trusted_documents_are_answered() {
    let directory = Directory::new("documents");
    let plain = directory.path().join("plain.json");
    std::fs::write(&plain, json!({ sha256(BOOK): BOOK }).to_string()).expect("a manifest");
    let apollo = directory.path().join("apollo.json");
    let operation = json!({ "id": "book-1", "name": "Book", "type": "query", "body": BOOK });
    let manifest =
        json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": [operation] });
    std::fs::write(&apollo, manifest.to_string()).expect("a manifest");
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("book.graphql"), BOOK).expect("a document");
    std::fs::write(folder.join("notes.txt"), "no document").expect("a file");
    let backend = library().await;
    let variables = json!({ "name": "x" });
    for (path, name) in [(plain, sha256(BOOK)), (apollo, "book-1".to_owned()), (folder, "book".to_owned())] {
        let surface = format!("graphql: {{ persisted: {{ manifest: {path:?}, only: true }} }}");
        let gateway = gateway(&backend, &surface, "").await;
        let good = (200, r#"{"getBook":{"title":"Dune"}}"#.to_owned());
        let hash = json!({ "persistedQuery": { "version": 1, "sha256Hash": sha256(BOOK) } });
        for id in [&name, &format!("sha256:{}", sha256(BOOK))] {
            assert_eq!(
                send(&gateway, json!({ "documentId": id, "variables": variables })).await,
                good,
                "{id}"
            );
        }
        assert_eq!(send(&gateway, json!({ "extensions": hash, "variables": variables })).await, good);
        let get = format!("/graphql?documentId={name}&variables=%7B%22name%22:%22x%22%7D");
        let request = client::request("GET", &get).header("x-requested-with", "test");
        assert_eq!(told(&client::send(gateway.address, request, "").await), good);
        let refused = (200, "PERSISTED_QUERY_ONLY".to_owned());
        assert_eq!(send(&gateway, json!({ "query": BOOK, "variables": variables })).await, refused);
        assert_eq!(send(&gateway, json!({ "query": "{ __typename }" })).await, refused);
        assert_eq!(send(&gateway, json!({ "documentId": "none" })).await, refused);
        assert_eq!(send(&gateway, json!({ "documentId": 7 })).await.0, 400);
        assert_eq!(send(&gateway, json!({ "extensions": { "persistedQuery": {} } })).await.0, 400);
    }
}

#[tokio::test]
async fn clients_register_documents_by_their_hash() {
    let backend = library().await;
    let gateway = gateway(&backend, "graphql: { persisted: { automatic: true } }", "").await;
    let of = |text: &str| json!({ "persistedQuery": { "version": 1, "sha256Hash": sha256(text) } });
    let document = r#"{ getBook(name: "x") { title } }"#;
    let good = (200, r#"{"getBook":{"title":"Dune"}}"#.to_owned());
    let found = send(&gateway, json!({ "extensions": of(document) })).await;
    assert_eq!(found, (200, "PERSISTED_QUERY_NOT_FOUND".to_owned()));
    let wrong = send(&gateway, json!({ "query": document, "extensions": of("{ other }") })).await;
    assert_eq!(wrong, (200, "PERSISTED_QUERY_MISMATCH".to_owned()));
    assert_eq!(send(&gateway, json!({ "query": document, "extensions": of(document) })).await, good);
    assert_eq!(send(&gateway, json!({ "extensions": of(document) })).await, good);
    let extensions = of(document).to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
    let request = client::request("GET", &format!("/graphql?extensions={extensions}"))
        .header("x-requested-with", "test");
    assert_eq!(told(&client::send(gateway.address, request, "").await), good);
}

#[tokio::test]
async fn nobody_registers_documents_where_that_is_off() {
    let backend = library().await;
    let gateway = gateway(&backend, "", "").await;
    let hash = json!({ "persistedQuery": { "version": 1, "sha256Hash": sha256("{ __typename }") } });
    let answer =
        client::send(gateway.address, post(), json!({ "extensions": hash }).to_string()).await.json();
    assert_eq!(answer["errors"][0]["message"], "PersistedQueryNotSupported");
    let found = send(&gateway, json!({ "query": "{ __typename }", "extensions": hash })).await;
    assert_eq!(found, (200, r#"{"__typename":"Query"}"#.to_owned()));
}

#[tokio::test]
async fn a_trusted_document_must_fit_the_schema() {
    let directory = Directory::new("documents-wrong");
    let folder = directory.path().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("a.graphql"), "{ nothing }").expect("a document");
    std::fs::write(folder.join("b.graphql"), "{\n  get(name: 1) { none } }").expect("a document");
    let file = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "surfaces: {{ web: {{ protocols: [graphql], graphql: {{ persisted: {{ manifest: {folder:?} }} }} }} }}"
    );
    let found = crate::support::refusals(&text).await;
    let starts = [
        format!("`{}`:1:3: `Query` has no field `nothing`", file("a.graphql")),
        format!("`{}`:2:13: ", file("b.graphql")),
        format!("`{}`:2:18: ", file("b.graphql")),
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (found, start) in found.iter().zip(&starts) {
        assert!(found.contains(start.as_str()), "{found}: {start}");
    }
}
