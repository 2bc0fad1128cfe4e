//! `transom schema` describes the files that `transom` reads: an independent validator takes the documented
//! examples, and refuses what the reader refuses.

use std::process::Command;

use serde_json::Value;

use crate::support::{Directory, require};

const VALIDATE: &str = r#"
import json, sys, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
for text in json.load(open(sys.argv[2])):
    # YAML's dates are text for us.
    class Loader(yaml.SafeLoader): pass
    Loader.yaml_implicit_resolvers = {k: [r for r in v if r[0] != "tag:yaml.org,2002:timestamp"]
        for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    print("refused" if any(validator.iter_errors(yaml.load(text, Loader))) else "accepted")
"#;

/// What must stand in every file.
const REST: &str =
    "descriptors: [{ file: a }]\nservices: { a: { endpoints: { static: [\"http://a:1\"] } } }\n";

fn schema() -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_transom")).arg("schema").output().expect("transom runs");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_validator_and_the_reader_agree() {
    let python = std::env::var("TRANSOM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if !require(
        "python with jsonschema and pyyaml",
        Command::new(&python).args(["-c", "import jsonschema, yaml"]),
    ) {
        return;
    }
    let page = include_str!("../../docs/configuration.md");
    let examples = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let mut cases: Vec<(String, &str)> = examples.map(|text| (text.to_owned(), "accepted")).collect();
    assert!(cases.len() > 1);
    for text in [
        "workers: 0",
        "workers: two",
        "verson: 1",
        "json: { names: camel }",
        "routes: [x]",
        "listeners: { public: { drain: 10 } }",
        "listeners: { public: { limits: { body: 4MB } } }",
        "surfaces: { a: { rules: [{ to: a }] } }",
    ] {
        cases.push((format!("version: 1\n{REST}{text}\n"), "refused"));
    }
    cases.push((REST.to_owned(), "refused"));
    let directory = Directory::new("schema");
    let file = directory.path().join("schema.json");
    std::fs::write(&file, schema().to_string()).expect("the directory is writable");
    let texts: Vec<_> = cases.iter().map(|(text, _)| text).collect();
    let input = directory.path().join("texts.json");
    std::fs::write(&input, serde_json::to_vec(&texts).expect("JSON")).expect("the directory is writable");
    let output =
        Command::new(&python).arg("-c").arg(VALIDATE).args([&file, &input]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verdicts = String::from_utf8(output.stdout).expect("words");
    for ((text, expected), verdict) in cases.iter().zip(verdicts.lines()) {
        assert_eq!(verdict, *expected, "{text}");
    }
    assert_eq!(verdicts.lines().count(), cases.len());
}
