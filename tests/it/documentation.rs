//! Every block of README.md and `docs/` is what it claims to be: configurations are read, commands run, JSON is JSON.
//!
//! ```text
//! yaml   a whole file, or sections, rules, endpoints of one: what is left out is put around it; where the
//!        descriptors are `api.binpb`, they are the library's, and the file is checked with them
//! sh     run here by bash, beside a gateway and a Redis of its own, beside the demo, or by the script that the table
//!        names
//! json   parsed
//! proto  a file of a service: what is left out is put around it, and a surface with it is checked
//! graphql  a document, executed by the demo
//! else   neither a command nor a configuration: what programs print, sources of clients
//! ```
//!
//! Commands within sentences must exist, with their flags.
//! What is not run or read here stands in the table with the reason, and what the table has must exist.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use transom::config::{Config, Elsewhere};
use transom::demo::{Backend, Library};

use crate::support::demo::Demo;
use crate::support::redis::Redis;
use crate::support::{Directory, Gateway};

/// Page, first line, and why nothing here runs or reads the block.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("README.md", "cargo run --release -- demo", "scripts/try-demo runs it, and what it prints"),
    ("README.md", "cargo test", "it runs this"),
    ("README.md", "cargo install --path .", "scripts/try-readme runs what installs nothing"),
    ("README.md", "transom check -c transom.yaml", "scripts/try-readme runs it"),
    ("docs/from-envoy.md", "# Envoy\n", "Envoy's own"),
    ("docs/from-grpc-gateway.md", "mux := runtime", "grpc-gateway's own"),
    ("docs/limits.md", "RateLimit-Policy: \"free\";q=20;w=2", "headers, which tests of limits compare"),
    ("docs/reload.md", "`web`: `GET /v1/{name=shelves/*}`", "what tests of reloading compare"),
];

/// Page and first line of commands that call the three services of `transom demo`.
const ON_THE_DEMO: &[(&str, &str)] = &[
    ("docs/graphql.md", "curl --json '{\"query\": \"{ listBooks"),
    ("docs/graphql.md", "curl 'http://127.0.0.1:8080/v1/shelves"),
];

const LIBRARY: &str = "descriptors/library.binpb";

/// Languages of blocks that nobody runs or configures the gateway with.
const SHOWN_ONLY: &[&str] = &["text", "go", "js", "ts", "html"];

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    page: String,
    line: usize,
    language: String,
    text: String,
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }

    fn begins(&self, page: &str, first: &str) -> bool {
        self.page == page && self.text.starts_with(first)
    }

    fn is_elsewhere(&self) -> bool {
        ELSEWHERE.iter().any(|(page, first, _)| self.begins(page, first))
    }

    fn is_on_the_demo(&self) -> bool {
        self.language == "graphql" || ON_THE_DEMO.iter().any(|(page, first)| self.begins(page, first))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/");
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.expect("an entry").path()).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// All blocks of all pages, in order.
fn blocks() -> Vec<Block> {
    pages().iter().flat_map(|page| blocks_of(page)).collect()
}

fn blocks_of(path: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(path).expect("a page");
    let page = path.strip_prefix(root()).expect("a page of ours").display().to_string();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                let language = language.to_owned();
                open = Some(Block { page: page.clone(), line: index + 1, language, text: String::new() });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block has no end");
    blocks
}

#[test]
fn every_block_is_of_a_known_kind() {
    let blocks = blocks();
    for block in &blocks {
        let is_checked = matches!(&*block.language, "yaml" | "sh" | "json" | "proto" | "graphql");
        let is_known = is_checked || SHOWN_ONLY.contains(&&*block.language);
        assert!(is_known, "{}: what is this block? Give it one of the languages above", block.place());
    }
    let listed = ELSEWHERE.iter().map(|(page, first, _)| (page, first));
    for (page, first) in listed.chain(ON_THE_DEMO.iter().map(|(page, first)| (page, first))) {
        let found = blocks.iter().any(|block| block.begins(page, first));
        assert!(found, "{page} has no block that begins with `{first}`: take its line out of the table");
    }
}

#[test]
fn json_is_json() {
    for block in blocks().iter().filter(|block| block.language == "json") {
        let read = serde_json::from_str::<Value>(&block.text);
        assert!(read.is_ok(), "{}: {read:?}", block.place());
    }
}

/// Services that examples leave out: those that they name, or one for all calls.
fn services(text: &str) -> String {
    let mut names = vec!["orders", "orders-next", "catalog"];
    names.retain(|name| text.contains(*name));
    if names.is_empty() {
        names.push("orders");
    }
    let services: Vec<String> = names
        .iter()
        .map(|name| format!("{name}: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }}"))
        .collect();
    format!("services: {{ {} }}\n", services.join(", "))
}

/// The files that an example stands for: itself, or itself with what it leaves out; several where it shows several
/// ways to write one key.
fn files(text: &str) -> Vec<String> {
    let indented = |text: &str, by: usize| -> String {
        text.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
    };
    let head = "version: 1\ndescriptors: [{ file: shop.binpb }]\n";
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    if has("version:") {
        return vec![text.to_owned()];
    }
    if has("- ") {
        let endpoints = format!("services:\n  orders:\n    endpoints:\n      static:\n{}", indented(text, 8));
        return vec![format!("{head}{endpoints}")];
    }
    if has("endpoints:") {
        let mut ways: Vec<String> = Vec::new();
        for line in text.lines() {
            if line.starts_with("endpoints:") {
                ways.push(String::new());
            }
            let way = ways.last_mut().expect("the first line begins one");
            way.push_str(line);
            way.push('\n');
        }
        let file = |way: &String| format!("{head}services:\n  orders:\n{}", indented(way, 4));
        return ways.iter().map(file).collect();
    }
    let services = if has("services:") { String::new() } else { services(text) };
    let text = match has("rules:") {
        true => format!("surfaces:\n  web:\n{}", indented(text, 4)),
        false => text.to_owned(),
    };
    vec![format!("{head}{services}{text}")]
}

#[test]
fn configurations_are_read() {
    let (mut count, mut loaded) = (0, 0);
    let directory = Directory::new("shown");
    let file = directory.path().join("transom.yaml");
    std::fs::copy(root().join(LIBRARY), directory.path().join("api.binpb")).expect("a copy");
    for block in blocks().iter().filter(|block| block.language == "yaml" && !block.is_elsewhere()) {
        for text in files(&block.text) {
            let text = with_variables(&text);
            let read = Config::parse(&text, Path::new("transom.yaml"), Elsewhere::default());
            if let Err(mut findings) = read {
                // A build without the feature knows the key, and refuses it.
                findings
                    .retain(|finding| cfg!(feature = "kafka") || !finding.message.contains("features kafka"));
                if findings.is_empty() {
                    continue;
                }
                let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
                panic!("{}: {}\n{text}", block.place(), shown.join("\n"));
            }
            count += 1;
            if text.contains("{ file: api.binpb }") {
                std::fs::write(&file, text).expect("a configuration file");
                let check =
                    Command::new(env!("CARGO_BIN_EXE_transom")).args(["check", "-c"]).arg(&file).output();
                let check = check.expect("the binary runs");
                let told = String::from_utf8_lossy(&check.stdout);
                assert!(check.status.success(), "{}: {told}", block.place());
                loaded += 1;
            }
        }
    }
    assert!(count > 25 && loaded >= 4, "{count} configurations, {loaded} with their descriptors");
}

/// Secrets come from variables; in the place of each stands one that is set.
fn with_variables(text: &str) -> String {
    let mut parts = text.split("env:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_uppercase() || letter == '_');
        text + "env:PATH" + rest
    })
}

/// What commands of the pages find: the library's descriptors and a configuration of them.
const CONFIGURATION: &str = "version: 1
descriptors: [{ file: api.binpb }]
routes: { unannotated: true }
services: { api: { endpoints: { static: [BACKEND] } } }
cache: { bytes: 1MiB }
surfaces:
  web: { hosts: [127.0.0.1], protocols: [rest, graphql], openapi: {} }
  partners: { hosts: [partners.example], protocols: [rest, graphql] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run() {
    let Some(redis) = Redis::start() else { return };
    let library = Backend::start(Library::default()).expect("a free port");
    let directory = Directory::new("documentation");
    let folder = directory.path();
    std::fs::copy(root().join(LIBRARY), folder.join("api.binpb")).expect("a copy");
    let file = folder.join("transom.yaml");
    let good = CONFIGURATION.replace("BACKEND", &format!("{:?}", library.url()));
    let write = |text: &str| std::fs::write(&file, text).expect("a configuration file");
    write(&good);
    let gateway = Gateway::start(&["--config", file.to_str().expect("a path in UTF-8")]).await;
    let is_run = |block: &&Block| block.language == "sh" && !block.is_elsewhere() && !block.is_on_the_demo();
    for block in blocks().iter().filter(is_run) {
        for (command, shown) in commands(&block.text) {
            let place = format!("{}: {command}", block.place());
            let is_rejected = shown.contains("rejected");
            if is_rejected {
                write(&format!("{good}nope: 1\n"));
            }
            let command = command
                .replace("127.0.0.1:8080", &gateway.address.to_string())
                .replace("127.0.0.1:9901", &gateway.admin.to_string())
                .replace("redis-cli", &format!("redis-cli -p {}", redis.port));
            let mut bash = Command::new("bash");
            let script = format!("transom() {{ {:?} \"$@\"; }}\n{command}", env!("CARGO_BIN_EXE_transom"));
            bash.args(["-euc", &script]).current_dir(folder);
            let output = tokio::task::spawn_blocking(move || bash.output()).await.expect("the thread lives");
            let output = output.expect("bash runs");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{place}\n{told}{}", String::from_utf8_lossy(&output.stderr));
            assert!(!told.contains("ERR "), "{place}\n{told}");
            same_members(&place, &shown, &told);
            if is_rejected {
                write(&good);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_of_the_demo_runs_there() {
    let demo = Demo::start().await;
    let mut count = 0;
    for block in blocks().iter().filter(|block| block.is_on_the_demo()) {
        let reply = if block.language == "graphql" {
            let body = serde_json::json!({ "query": block.text });
            let url = format!("{}/graphql", demo.gateway());
            let reply = reqwest::Client::new().post(url).json(&body).send().await.expect("a reply");
            reply.json::<Value>().await.expect("JSON")
        } else {
            let command = block.text.replace("http://127.0.0.1:8080", demo.gateway());
            let mut bash = Command::new("bash");
            bash.args(["-euc", &command]);
            let output = tokio::task::spawn_blocking(move || bash.output()).await.expect("the thread lives");
            serde_json::from_slice(&output.expect("bash runs").stdout).expect("JSON")
        };
        // Neither GraphQL's errors nor the code of a failure over REST.
        let is_whole = reply.is_object() && reply.get("errors").is_none() && reply.get("code").is_none();
        assert!(is_whole, "{}: {reply}", block.place());
        count += 1;
    }
    assert!(count > ON_THE_DEMO.len(), "{count} blocks");
}

/// What the files of the pages leave out, beside an `Order`.
const BESIDE: &str = "
message Item { string name = 1; int64 price = 2; }
message Customer { string name = 1; }
message CustomerName { string name = 1; }
message CustomerNames { repeated string names = 1; }
message Batch { repeated Customer customers = 1; }
service Orders { rpc Place(Order) returns (Order); }
service Customers {
  rpc GetCustomer(CustomerName) returns (Customer) { option idempotency_level = NO_SIDE_EFFECTS; }
  rpc BatchGetCustomers(CustomerNames) returns (Batch) { option idempotency_level = NO_SIDE_EFFECTS; }
}
";

#[test]
fn protos_are_files_that_surfaces_can_show() {
    let directory = Directory::new("protos");
    for block in blocks().iter().filter(|block| block.language == "proto") {
        let mut text = String::from("syntax = \"proto3\";\npackage shop.v1;\n");
        if block.text.contains("(buf.validate.") {
            text.push_str("import \"buf/validate/validate.proto\";\n");
        }
        text.push_str(&block.text);
        text.push_str(BESIDE);
        let (proto, file) = (directory.path().join("shop.proto"), directory.path().join("transom.yaml"));
        std::fs::write(&proto, &text).expect("a file");
        let includes = format!("includes: [{:?}, {:?}]", directory.path(), root().join("tests/protos"));
        let sections = "routes: { unannotated: true }\n\
                        services: { orders: { endpoints: { static: [\"http://127.0.0.1:1\"] } } }\n\
                        surfaces: { web: { protocols: [rest, graphql], openapi: {} } }\n";
        let text = format!("version: 1\ndescriptors: [{{ proto: {proto:?}, {includes} }}]\n{sections}");
        std::fs::write(&file, text).expect("a configuration file");
        let check = Command::new(env!("CARGO_BIN_EXE_transom")).args(["check", "-c"]).arg(&file).output();
        let check = check.expect("the binary runs");
        let told = String::from_utf8_lossy(&check.stdout);
        assert!(check.status.success(), "{}: {told}", block.place());
    }
}

/// What stands between backticks and begins with the program's name, outside of blocks.
fn commands_within_sentences() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        let place = page.strip_prefix(root()).expect("a page of ours").display().to_string();
        let mut is_block = false;
        for line in text.lines() {
            is_block ^= line.starts_with("```");
            if !is_block {
                let spans = line.split('`').skip(1).step_by(2);
                let own = spans.filter(|span| span.starts_with("transom "));
                commands.extend(own.map(|span| (place.clone(), span.to_owned())));
            }
        }
    }
    commands
}

#[test]
fn commands_within_sentences_exist() {
    let commands = commands_within_sentences();
    for (place, command) in &commands {
        let words = || command.split_whitespace().skip(1);
        let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
        let help = Command::new(env!("CARGO_BIN_EXE_transom"))
            .args(words().take_while(is_name))
            .arg("--help")
            .output()
            .expect("the binary runs");
        let told = String::from_utf8_lossy(&help.stdout);
        assert!(help.status.success(), "{place}: `{command}`: there is no such command");
        for flag in words().filter(|word| word.starts_with("--")) {
            assert!(told.contains(flag), "{place}: `{command}`: there is no flag `{flag}`:\n{told}");
        }
    }
    assert!(commands.len() > 20, "{commands:?}");
}

/// Commands with what is shown of their output: where a page shows any, commands have a `$`.
fn commands(text: &str) -> Vec<(String, String)> {
    if !text.starts_with("$ ") {
        let lines = text.replace("\\\n", " ");
        return lines.lines().map(|line| (line.to_owned(), String::new())).collect();
    }
    let with_output = |block: &str| {
        let (command, shown) = block.split_once('\n').unwrap_or((block, ""));
        (command.to_owned(), shown.to_owned())
    };
    text.trim_start_matches("$ ").split("\n$ ").map(with_output).collect()
}

/// What is shown has no member that the output has not.
fn same_members(place: &str, shown: &str, told: &str) {
    let Ok(Value::Object(shown)) = serde_json::from_str(shown) else { return };
    let told: Value = serde_json::from_str(told).unwrap_or_else(|_| panic!("{place}: {told}"));
    for name in shown.keys() {
        assert!(told.get(name).is_some(), "{place}: no `{name}` in {told}");
    }
}
