//! `transom schema` describes the files that `transom` reads: an independent validator takes the documented
//! examples, and refuses what the reader refuses. `docs/reference.md` is made of it.

use std::process::Command;

use serde_json::{Value, json};

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

const REFERENCE: &str = "\
# Every key

Each key of the configuration with its type, in the order of the alphabet; [the configuration](configuration.md) tells the same by subject, with examples and reasons.
This page is made of `transom schema`: `TRANSOM_BLESS=1 cargo test --test it reference` writes it anew.
`NAME` stands for a name of your choice, `[]` for each entry of a list; **bold** keys are required where their mapping is.

| key | type | meaning |
|---|---|---|
";

/// With `TRANSOM_BLESS=1` it writes the page anew.
#[test]
fn the_reference_is_that_of_the_schema() {
    let mut page = REFERENCE.to_owned();
    rows(&schema(), "", &mut page);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    if std::env::var_os("TRANSOM_BLESS").is_some() {
        std::fs::write(path, page).expect("docs/ is writable");
        return;
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let stale = page.lines().find(|line| !written.lines().any(|known| known == *line));
    assert!(
        page == written,
        "docs/reference.md is stale, for one of this line: {stale:?}; write it anew with \
         `TRANSOM_BLESS=1 cargo test --test it reference`"
    );
}

/// A row for each key below a schema.
fn rows(schema: &Value, path: &str, page: &mut String) {
    for form in forms(schema) {
        if form["items"].is_object() {
            rows(&form["items"], &format!("{path}[]"), page);
        }
        if form["additionalProperties"].is_object() {
            rows(&form["additionalProperties"], &join(path, "NAME"), page);
        }
        for (name, property) in form["properties"].as_object().into_iter().flatten() {
            let key = join(path, name);
            let is_required = form["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
            let shown = if is_required { format!("**`{key}`**") } else { format!("`{key}`") };
            let meaning =
                property["description"].as_str().unwrap_or_default().replace("](#", "](configuration.md#");
            page.push_str(&format!("| {shown} | {} | {meaning} |\n", kind(property)));
            rows(property, &key, page);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What a value may be, each form alone.
fn forms(schema: &Value) -> Vec<&Value> {
    schema["anyOf"].as_array().map_or_else(|| vec![schema], |forms| forms.iter().collect())
}

/// What a value may be, in words.
fn kind(schema: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in forms(schema).into_iter().map(word) {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" or ")
}

fn word(form: &Value) -> String {
    if let Some(choices) = form["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(|choice| format!("`{}`", text(choice))).collect();
        return choices.join(", ");
    }
    let pattern = form["pattern"].as_str().unwrap_or_default();
    let types: Vec<&str> = match &form["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match types[..] {
        _ if pattern.contains("ms|s") => "duration".to_owned(),
        _ if pattern.contains("KiB") => "bytes".to_owned(),
        ["integer"] => format!("integer, {} to {}", form["minimum"], form["maximum"]),
        ["boolean"] => "boolean".to_owned(),
        ["array"] => format!("list of: {}", kind(&form["items"])),
        ["object", ..] => "mapping".to_owned(),
        _ => "text".to_owned(),
    }
}

fn text(choice: &Value) -> String {
    choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)
}
