//! The command line as a script sees it: what is printed where, and the exit code.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Directory;

const LIBRARY: &str = "descriptors/library.binpb";

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

fn transom(arguments: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary runs");
    Outcome {
        code: output.status.code().expect("it ends by itself"),
        stdout: String::from_utf8(output.stdout).expect("it prints text"),
        stderr: String::from_utf8(output.stderr).expect("it prints text"),
    }
}

/// A configuration file that is gone with the test.
struct Configuration(PathBuf);

impl Configuration {
    fn new(name: &str, text: &str) -> Self {
        let file = format!("{name}-{}.yaml", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&path, text).expect("the folder for tests is writable");
        Self(path)
    }

    /// With the library's descriptors, wherever the file is.
    fn of_library(name: &str, more: &str) -> Self {
        let set = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIBRARY);
        let text = format!(
            "version: 1\ndescriptors: [{{ file: {} }}]\nservices: \
             {{ api: {{ endpoints: {{ static: [\"http://127.0.0.1:1\"] }} }} }}\n{more}",
            set.display()
        );
        Self::new(name, &text)
    }

    fn check(&self, more: &[&str]) -> Outcome {
        transom(&[&["check", "-c", self.path()], more].concat())
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the path is text")
    }
}

impl Drop for Configuration {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_good_configuration_has_no_findings() {
    let file = Configuration::of_library("good", "json: { names: proto }");
    let outcome = file.check(&[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(outcome.stdout, format!("{}: no findings\n", file.path()));
    let outcome = file.check(&["--format", "json"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "[]\n"));
}

#[test]
fn findings_have_their_place_and_exit_code_1() {
    let file = Configuration::of_library("wrong", "json: { names: snake }\nobserve: { traces: {} }\n");
    let outcome = file.check(&[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (1, ""));
    let expected = format!(
        "{path}:4:16: expected `json` or `proto`, found `snake`\n\
         {path}:5:20: `observe.traces.otlp` is missing: name a collector such as `http://otel:4317`\n",
        path = file.path()
    );
    assert_eq!(outcome.stdout, expected);
    let outcome = file.check(&["--format", "json"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains(r#""line":5"#), "{}", outcome.stdout);
    let outcome = transom(&["serve", "-c", file.path()]);
    assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr), (1, "", expected));
}

#[test]
fn what_a_configuration_names_is_loaded() {
    let text = "version: 1\ndescriptors: [{ file: no-such.binpb }]\n\
                services: { api: { endpoints: { static: [\"http://127.0.0.1:1\"] } } }\n";
    let outcome = Configuration::new("names", text).check(&[]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains(":2:15: "), "the place that names the file: {}", outcome.stdout);
    assert!(outcome.stdout.contains("no-such.binpb"), "{}", outcome.stdout);
}

#[test]
fn only_online_are_backends_asked() {
    let file = Configuration::of_library("online", "");
    assert_eq!(file.check(&[]).code, 0);
    let outcome = file.check(&["--online"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stdout.contains(":3:42: `api`: cannot connect to "), "{}", outcome.stdout);
}

#[test]
fn an_unreadable_file_is_exit_code_2() {
    let outcome = transom(&["check", "-c", "no/such.yaml"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.starts_with("no/such.yaml: "), "{}", outcome.stderr);
}

#[test]
fn routes_are_a_table() {
    let outcome = transom(&["routes", "--descriptors", LIBRARY, "--unannotated"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(outcome.stdout, include_str!("../data/library-routes.txt"));
    // A folder is where its files find what they import.
    let directory = Directory::new("proto");
    for file in ["library/v1/library.proto", "buf/validate/validate.proto"] {
        let copy = directory.path().join(file);
        std::fs::create_dir_all(copy.parent().expect("a file in a folder")).expect("the folder is writable");
        std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("proto").join(file), copy).expect("a copy");
    }
    let folder = directory.path().to_str().expect("the path is text");
    let outcome = transom(&["routes", "--proto", folder, "--unannotated"]);
    assert_eq!(outcome.stdout, include_str!("../data/library-routes.txt"), "{}", outcome.stderr);
}

#[test]
fn wrong_flags_are_exit_code_2_and_missing_ones_1() {
    assert_eq!(transom(&["serve", "--no-such"]).code, 2);
    assert_eq!(transom(&["serve"]).code, 1);
    assert_eq!(transom(&["routes"]).code, 1);
    assert_eq!(transom(&[]).code, 2);
}

#[test]
fn explain_tells_what_holds_and_which_line_says_so() {
    const SURFACES: &str = "\
policies:
  edge: { fields: -name }
surfaces:
  web:
    policies: [edge]
    rules:
      - { match: library.v1.LibraryService.GetBook, timeout: 2s }
  old:
    hosts: [old.test]
    rules: [{ match: library.v1.LibraryService.ListBooks }]
";
    let file = Configuration::of_library("explain", SURFACES);
    let explain = |subject: &str| transom(&["explain", subject, "-c", file.path()]);
    let outcome = explain("library.v1.LibraryService.GetBook");
    // Three lines stand before the surfaces.
    let line = |number: usize| format!("{}:{number}", file.path());
    let expected = [
        "library.v1.LibraryService.GetBook".to_owned(),
        format!("surface web {}", line(7)),
        "GET /v1/{name=shelves/*/books/*}".to_owned(),
        format!("service: api, 2s {}", line(3)),
        format!("match: library.v1.LibraryService.GetBook {}", line(10)),
        format!("timeout: 2s {}", line(10)),
        format!("fields: -name policy edge, {}", line(5)),
        format!("surface old {}", line(11)),
        "not shown".to_owned(),
    ];
    assert_eq!(told(&outcome), expected);
    assert_eq!(explain("/v1/shelves/1/books/2").stdout, outcome.stdout);
    let outcome = explain("/v1/none");
    assert_eq!((outcome.code, outcome.stderr.trim()), (1, "no surface shows `/v1/none`"));
}

#[test]
fn explain_tells_what_protects_the_service() {
    let set = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIBRARY);
    let text = format!(
        "version: 1\ndescriptors: [{{ file: {} }}]\nservices:\n  api:\n    \
         endpoints: {{ static: [\"http://127.0.0.1:1\"] }}\n    \
         endpoint_breaker: {{ open: 5s..60s }}\n    outlier: {{}}\n",
        set.display()
    );
    let file = Configuration::new("explain-protection", &text);
    let lines = told(&transom(&["explain", "library.v1.LibraryService.GetBook", "-c", file.path()]));
    for line in [
        format!("endpoint_breaker: {{ open: 5s..60s }} {}:6", file.path()),
        format!("outlier: {{}} {}:7", file.path()),
    ] {
        assert!(lines.contains(&line), "no `{line}` in {lines:?}");
    }
}

/// The lines that are told, with single blanks.
fn told(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    outcome.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn explain_as_a_consumer_tells_its_plan_and_who_knows_it() {
    const MORE: &str = "\
plans: { pro: { rate: 10/s, burst: 20, quota: 10000/month } }
auth:
  partners: { api_key: { header: x-api-key } }
  corp: { introspect: { url: \"https://idp.example/introspect\", client: gate, secret: env:SECRET } }
consumers:
  acme: { plan: pro, keys: [\"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"] }
  \"corp:{tenant}\": { plan: \"{tier}\" }
policies:
  keys: { auth: partners, rate: { by: consumer, limit: plan } }
  tokens: { auth: corp, scopes: [books], rate: { by: consumer, limit: plan } }
surfaces:
  web:
    rules:
      - { match: library.v1.LibraryService.GetBook, policies: [keys] }
      - { match: library.v1.LibraryService.ListBooks, policies: [tokens], rate: { by: ip, limit: 6/m } }
      - { match: library.v1.LibraryService.*, policies: [tokens] }
";
    let file = Configuration::of_library("explain-as", MORE);
    let explain = |method: &str, consumer: &str| {
        let method = format!("library.v1.LibraryService.{method}");
        transom(&["explain", &method, "-c", file.path(), "--as", consumer])
    };
    // Three lines stand before these.
    let at = |number: usize| format!("{}:{}", file.path(), number + 3);
    let check = |method: &str, consumer: &str, expected: &[String]| {
        let told = told(&explain(method, consumer));
        let missing: Vec<_> = expected.iter().filter(|line| !told.contains(line)).collect();
        assert!(missing.is_empty(), "{missing:#?}\nof {told:#?}");
    };
    const PACE: &str = "20 at once, then one every 100 ms; 10000 until the 1st of the month, 00:00 UTC";
    check(
        "GetBook",
        "acme",
        &[
            format!("as acme {}", at(6)),
            format!("plan: pro {}", at(6)),
            format!("as acme: known to `partners`, by its key {}", at(9)),
            format!("each consumer, plan pro: {PACE} {}", at(1)),
        ],
    );
    check(
        "ListBooks",
        "acme",
        &[
            format!("as acme: cannot call: unknown to `corp` {}", at(10)),
            format!("each address: 6 at once, then one every 10 s {}", at(15)),
        ],
    );
    check(
        "GetShelf",
        "corp:acme",
        &[
            format!("as corp:acme, one of corp:{{tenant}} {}", at(7)),
            format!("plan: by the claim `tier` of the token {}", at(7)),
            format!("as corp:acme: known to `corp`, where the claim `tenant` is `acme` {}", at(10)),
            "depends on the credential".to_owned(),
            format!("each consumer, by the plan that the claim `tier` names {}", at(10)),
            format!("plan pro: {PACE} {}", at(1)),
        ],
    );
    let unknown = explain("GetBook", "acne");
    let expected = "there is no consumer `acne`: did you mean `acme`?";
    assert_eq!((unknown.code, unknown.stdout.as_str(), unknown.stderr.trim()), (2, "", expected));
}

#[test]
fn losses_are_told_against_a_configuration_and_against_a_set() {
    let rules = "surfaces: { web: { rules: [{ match: \"*.GetBook\" }] } }";
    let before = Configuration::of_library("against-before", "surfaces: { web: {} }");
    let after = Configuration::of_library("against-after", rules);
    let outcome = after.check(&["--against", before.path()]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("warning: clients would lose: `web`: "), "{}", outcome.stdout);
    assert_eq!(before.check(&["--against", after.path(), "--strict"]).code, 0, "what is added is no loss");
    // The same descriptors, whatever surfaces show of them.
    assert_eq!(after.check(&["--against", LIBRARY, "--strict"]).code, 0);
    let text = format!("{rules}\nreload: {{ refuse_breaking: true }}");
    let refusing = Configuration::of_library("against-refusing", &text);
    let outcome = refusing.check(&["--against", before.path()]);
    assert_eq!(outcome.code, 1, "{}", outcome.stdout);
    let place = format!("{}:5:28: clients would lose", refusing.path());
    assert!(outcome.stdout.contains(&place), "{}", outcome.stdout);
}

#[test]
fn graphql_prints_the_schema_of_a_surface() {
    let outcome = transom(&["graphql", "--descriptors", LIBRARY]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    for line in ["type Query {", "type Mutation {", "  watchBooks(", "scalar DateTime @specifiedBy("] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
    let outcome = transom(&["graphql", "--descriptors", LIBRARY, "--why"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "every method is in the schema\n"));
}

#[test]
fn graphql_has_what_the_surface_shows() {
    let rules = "surfaces:
  all: {}
  some: { hosts: [some.example.com], rules: [{ match: library.v1.LibraryService.Get* }] }
";
    let file = Configuration::of_library("graphql", rules);
    let graphql = |more: &[&str]| transom(&[&["graphql", "-c", file.path()], more].concat());
    let outcome = graphql(&[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""));
    assert!(
        outcome.stderr.contains("several surfaces: name one of `all`, `some` with --surface"),
        "{}",
        outcome.stderr
    );
    let outcome = graphql(&["--surface", "any"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("no surface `any`, expected one of `all`, `some`"), "{}", outcome.stderr);
    let outcome = graphql(&["--surface", "some"]);
    assert!(
        outcome.stdout.contains("  getBook(") && !outcome.stdout.contains("listBooks"),
        "{}",
        outcome.stdout
    );
    let outcome = graphql(&["--surface", "some", "--why"]);
    let hidden = "library.v1.LibraryService.ListBooks    no rule of the surface shows it\n";
    assert!(outcome.stdout.contains(hidden), "{}", outcome.stdout);
}
