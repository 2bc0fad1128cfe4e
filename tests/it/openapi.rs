//! The OpenAPI document, by people who did not make it: a validator of the specification, and readers of what
//! a surface serves.

mod called;
mod generated;
mod page;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::demo::Demo;
use crate::support::{Directory, Gateway, require, shared};

/// Writes a document and returns where it is.
fn written(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.json", std::process::id()));
    let path = path.to_str().expect("the path is text").to_owned();
    let status = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args([&["openapi", "-o", &path], arguments].concat())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("the binary runs");
    assert!(status.success(), "{arguments:?}");
    path
}

fn python() -> Command {
    Command::new(std::env::var("TRANSOM_PYTHON").unwrap_or_else(|_| "python3".to_owned()))
}

/// Whether the validator says so; it prints what it finds.
fn is_valid(path: &str) -> bool {
    const SCRIPT: &str = "
import json, sys
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator
document = json.load(open(sys.argv[1]))
kind = OpenAPIV31SpecValidator if document['openapi'].startswith('3.1') else OpenAPIV30SpecValidator
errors = [str(error)[:500] for error in kind(document).iter_errors()]
sys.exit('\\n'.join(errors) or None)
";
    python().args(["-c", SCRIPT, path]).status().is_ok_and(|status| status.success())
}

fn has_validator() -> bool {
    require("openapi-spec-validator", python().args(["-c", "import openapi_spec_validator"]))
}

const LIBRARY: &[&str] = &["--descriptors", "descriptors/library.binpb", "--unannotated"];

/// What `transom demo` is configured with, as a file that anybody may read.
fn demo_file(directory: &Directory) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let sets = ["library", "beside"].map(|set| format!("{{ file: {root}/descriptors/{set}.binpb }}"));
    let text = format!("{}\ndescriptors: [{}]\n", include_str!("../../src/cli/demo.yaml"), sets.join(", "));
    let file = directory.path().join("demo.yaml");
    std::fs::write(&file, text).expect("a configuration file");
    file.to_str().expect("a path in UTF-8").to_owned()
}

#[tokio::test]
async fn the_documents_of_the_demo_are_valid_and_have_all_of_its_services() {
    if !has_validator() {
        return;
    }
    let directory = Directory::new("demo-document");
    let file = demo_file(&directory);
    for version in ["3.1", "3.0"] {
        let path = written(&format!("demo-{version}"), &["-c", &file, "--version", version]);
        assert!(is_valid(&path), "{version}");
        let json: Value =
            serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("JSON");
        let tags = json["tags"].as_array().expect("a list").iter().map(|tag| &tag["name"]);
        assert_eq!(tags.collect::<Vec<_>>(), ["LibraryService", "WriterService", "ReviewService"]);
        if version == "3.1" {
            let demo = Demo::start().await;
            assert_eq!(json, document(&demo).await, "as it is served");
        }
    }
}

/// What the demo serves.
async fn document(demo: &Demo) -> Value {
    let reply = reqwest::get(format!("{}/openapi.json", demo.gateway())).await.expect("a reply");
    reply.json().await.expect("JSON")
}

#[test]
fn documents_are_valid_by_an_independent_validator() {
    if !has_validator() {
        return;
    }
    let etcd = shared("descriptors/etcd-3.4.binpb");
    let etcd = etcd.as_ref().and_then(|path| path.to_str());
    for version in ["3.1", "3.0"] {
        let library = written(&format!("library-{version}"), &[LIBRARY, &["--version", version]].concat());
        assert!(is_valid(&library), "the library's, {version}");
        let Some(etcd) = etcd else { continue };
        let arguments = ["--descriptors", etcd, "--conflicts", "first", "--version", version];
        assert!(is_valid(&written(&format!("etcd-{version}"), &arguments)), "etcd's, {version}");
    }
}

#[test]
fn the_command_says_what_is_wrong() {
    let transom = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args([&["openapi"], LIBRARY, arguments].concat())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("the binary runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), output.stdout)
    };
    let (code, stderr, _) = transom(&["--surface", "none"]);
    assert_eq!((code, stderr.trim()), (Some(1), "there is no surface `none`"));
    let (code, ..) = transom(&["--version", "2.0"]);
    assert_eq!(code, Some(2));
    let (code, _, json) = transom(&["--surface", "default"]);
    let json: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!((code, &json["info"]["title"]), (Some(0), &Value::from("library.v1")));
    let (code, _, yaml) = transom(&["--format", "yaml"]);
    assert_eq!(code, Some(0));
    let yaml: Value = serde_saphyr::from_slice(&yaml).expect("YAML");
    assert_eq!(yaml, json);
}

#[test]
fn policies_and_the_file_are_in_the_document() {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/library.binpb");
    let text = format!(
        "version: 1
descriptors: [{{ file: {} }}]
services: {{ api: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}
auth:
  key: {{ api_key: {{ header: x-key }} }}
  corp: {{ jwt: {{ issuer: \"https://id.shop.example\", audiences: [a] }} }}
consumers: {{}}
policies:
  signed: {{ auth: {{ any: [corp, key] }}, rate: {{ by: ip, limit: 5/s }} }}
surfaces:
  web:
    policies: [signed]
    openapi: {{ title: Library, description: Books., version: \"7\", servers: [\"https://books.example/\"] }}
    deprecated: {{ since: 2026-09-01 }}
    rules:
      - {{ match: \"*.GetBook\", auth: none, fields: title }}
      - {{ match: \"*.ListShelves\" }}
",
        set.display()
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openapi-{}.yaml", std::process::id()));
    std::fs::write(&file, text).expect("the folder for tests is writable");
    let path = written("policies", &["-c", file.to_str().expect("the path is text")]);
    let json: Value = serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("JSON");
    let check = |pointer: &str, expected: Value| {
        assert_eq!(json.pointer(pointer).cloned().unwrap_or_default(), expected, "{pointer}");
    };
    check("/info", serde_json::json!({ "title": "Library", "version": "7", "description": "Books." }));
    check("/servers/0/url", "https://books.example".into());
    let book = "/paths/~1v1~1shelves~1{shelvesId}~1books~1{booksId}/get";
    check(&format!("{book}/security"), Value::Null);
    check(&format!("{book}/deprecated"), true.into());
    let shown = &json.pointer(book).expect("the operation")["responses"]["200"]["content"]["application/json"]
        ["schema"]["properties"];
    assert_eq!(
        shown.as_object().map(|shown| shown.keys().collect::<Vec<_>>()),
        Some(vec![&"title".to_owned()])
    );
    let shelves = "/paths/~1v1~1shelves/get";
    check(&format!("{shelves}/security"), serde_json::json!([{ "corp": [] }, { "key": [] }]));
    check(&format!("{shelves}/responses/429/$ref"), "#/components/responses/TooManyRequests".into());
    let url = "https://id.shop.example/.well-known/openid-configuration";
    check("/components/securitySchemes/corp/openIdConnectUrl", url.into());
    check("/components/securitySchemes/key/name", "x-key".into());
    assert_eq!(json["paths"].as_object().map(serde_json::Map::len), Some(2));
}

/// The library's gateway with this section of its surface.
async fn library(openapi: &str) -> Gateway {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/library.binpb");
    let directory = Directory::new("openapi");
    let file = directory.path().join("transom.yaml");
    let text = format!(
        "version: 1\ndescriptors: [{{ file: {} }}]\nroutes: {{ unannotated: true }}\nservices: {{ api: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}\nsurfaces: {{ web: {{ {openapi} }} }}\n",
        set.display()
    );
    std::fs::write(&file, text).expect("a configuration file");
    Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await
}

#[tokio::test]
async fn a_surface_serves_its_document_and_its_page() {
    let gateway = library("openapi: {}").await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", gateway.address);
    let get = async |path: &str| client.get(url(path)).send().await.expect("a reply");

    let reply = get("/openapi.json").await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "application/json");
    let etag = reply.headers()["etag"].clone();
    let json: Value = serde_json::from_slice(&reply.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(json["info"]["title"], "library.v1");
    let known =
        client.get(url("/openapi.json")).header("if-none-match", &etag).send().await.expect("a reply");
    assert_eq!((known.status().as_u16(), known.headers()["etag"].clone()), (304, etag.clone()));
    let compressed = client.get(url("/openapi.json")).header("accept-encoding", "gzip").send().await;
    assert_eq!(compressed.expect("a reply").headers()["content-encoding"], "gzip");
    let head = client.head(url("/openapi.json")).send().await.expect("a reply");
    assert_eq!((head.status().as_u16(), head.headers()["etag"].clone()), (200, etag));

    let reply = get("/openapi.yaml").await;
    assert_eq!(reply.headers()["content-type"], "application/yaml");
    let yaml: Value = serde_saphyr::from_slice(&reply.bytes().await.expect("a body")).expect("YAML");
    assert_eq!(yaml, json);

    let reply = get("/docs").await;
    let policy = reply.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    let page = reply.text().await.expect("text");
    for file in ["/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js"] {
        assert!(page.contains(file), "{file}");
        assert_eq!(get(file).await.status(), 200, "{file}");
    }
    assert!(!page.contains("://"), "the page asks nobody else: {page}");
    assert_eq!(get("/docs/other").await.status(), 404);
    let posted = client.post(url("/openapi.json")).send().await.expect("a reply");
    assert_eq!(posted.status(), 404);
}

#[tokio::test]
async fn nothing_is_served_that_nobody_asked_for() {
    for (openapi, document, docs) in [
        ("", 404, 404),
        ("openapi: { path: off }", 404, 404),
        ("openapi: { docs: off }", 200, 404),
        ("openapi: { path: /api/v1.json, docs: /try }", 404, 404),
    ] {
        let gateway = library(openapi).await;
        let status = async |path: &str| {
            let reply = reqwest::get(format!("http://{}{path}", gateway.address)).await.expect("a reply");
            reply.status().as_u16()
        };
        assert_eq!((status("/openapi.json").await, status("/docs").await), (document, docs), "{openapi}");
        if openapi.contains("/try") {
            assert_eq!((status("/api/v1.json").await, status("/try").await), (200, 200));
        }
    }
}

#[tokio::test]
async fn a_route_goes_before_a_page() {
    let gateway = library("openapi: { path: /v1/shelves, docs: off }").await;
    let reply = reqwest::get(format!("http://{}/v1/shelves", gateway.address)).await.expect("a reply");
    // The backend is not there.
    assert_eq!(reply.status(), 503);
}
