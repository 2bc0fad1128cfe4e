//! The GraphQL schemas that descriptors make, documents and introspection, as graphql-js sees them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use transom::graphql::coerce::{Coercer, Variables};
use transom::graphql::collect::collect;
use transom::graphql::document::{Bounds, Document};
use transom::graphql::introspect::{BYTES_MAX, Introspection};
use transom::graphql::model::{Mapping, Model};
use transom::graphql::sdl::Sdl;
use transom::route::{Exposed, Rules, Shown, build_shown};
use transom::schema::{Input, Schema, load};

use crate::support::{missing, require};

pub(crate) const SCHEMAS: &str = include_str!("../cases/graphql-schema.txt");
pub(crate) const DOCUMENTS: &str = include_str!("../cases/graphql-documents.txt");
pub(crate) const RULES: &str = include_str!("../cases/graphql-rules.txt");

/// Scalars that the cases leave out.
const SCALARS: &str = "scalar Bytes scalar DateTime scalar Duration scalar FieldMask scalar Int64 scalar JSON \
                       scalar UInt32 scalar UInt64\n";

#[test]
fn the_reference_implementation_takes_every_schema() {
    let cases: Vec<(&str, String)> = SCHEMAS
        .split("\n== ")
        .skip(1)
        .map(|case| {
            let title = case.lines().next().unwrap_or_default();
            let (_, sdl) = case.split_once("\n=>\n").expect("an expectation");
            let scalars = if title.ends_with("[scalars]") { "" } else { SCALARS };
            (title, format!("{scalars}{sdl}"))
        })
        .collect();
    assert!(cases.len() > 20);
    let questions = cases.iter().map(|(_, sdl)| json!({ "sdl": sdl, "documents": [] })).collect();
    let Some(answers) = ask(&questions) else { return };
    for ((title, sdl), answer) in cases.iter().zip(&answers) {
        assert_eq!(answer["problems"], json!([]), "{title}\n{sdl}");
    }
}

#[test]
fn the_reference_implementation_takes_the_schema_of_the_library() {
    let output = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["graphql", "--descriptors", "descriptors/library.binpb"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary runs");
    let sdl = String::from_utf8(output.stdout).expect("it prints text");
    assert!(sdl.contains("\"\"\"Gets a book.\"\"\"\n  getBook("), "{sdl}");
    let document = "{ getBook(name: \"shelves/1/books/1\") { title isbn labels { key value } } }";
    let Some(answers) = ask(&json!([{ "sdl": sdl, "documents": [document] }])) else { return };
    assert_eq!((&answers[0]["problems"], &answers[0]["verdicts"]), (&json!([]), &json!([[]])), "{sdl}");
}

#[test]
fn the_reference_implementation_gives_the_same_verdicts() {
    let (schema, model) = library();
    let sdl = Sdl { model: &model, schema: &schema }.to_string();
    let cases: Vec<(String, bool)> =
        [DOCUMENTS, RULES].iter().flat_map(|cases| cases.split("\n\n")).filter_map(verdict).collect();
    assert!(cases.len() > 400, "{} cases", cases.len());
    let documents: Vec<&str> = cases.iter().map(|(document, _)| document.as_str()).collect();
    let Some(answers) = ask(&json!([{ "sdl": sdl, "documents": documents }])) else { return };
    assert_eq!(answers[0]["problems"], json!([]));
    let verdicts = answers[0]["verdicts"].as_array().expect("a list");
    let wrong: Vec<String> = cases
        .iter()
        .zip(verdicts)
        .filter(|((_, is_valid), verdict)| *is_valid != (**verdict == json!([])))
        .map(|((document, _), verdict)| format!("{document}{verdict}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The document of a case and whether it is valid; `None` for one of which graphql-js says otherwise.
fn verdict(case: &str) -> Option<(String, bool)> {
    let mut document = String::new();
    let mut is_valid = None;
    for line in case.lines().skip_while(|line| line.starts_with('#')) {
        if line.starts_with("ours: ") {
            return None;
        } else if line.starts_with("! GRAPHQL_") {
            is_valid = Some(false);
        } else if ["=> ", "! ", "> "].iter().any(|mark| line.starts_with(mark)) {
            is_valid = Some(true);
        } else if !line.starts_with("variables: ") && !line.starts_with("operation: ") {
            document.push_str(line);
            document.push('\n');
        }
    }
    Some((document, is_valid?))
}

#[test]
fn the_reference_implementation_reads_introspection_back() {
    let (schema, model) = library();
    let sdl = Sdl { model: &model, schema: &schema }.to_string();
    let Some(answers) = ask(&json!([{ "sdl": sdl, "documents": [] }])) else { return };
    let query = answers[0]["query"].as_str().expect("a query");
    let data = introspect(&schema, &model, query);
    let Some(answers) = ask(&json!([{ "sdl": sdl, "documents": [], "introspection": data }])) else { return };
    assert_eq!(answers[0]["printed"][0], answers[0]["printed"][1]);
}

#[test]
fn introspection_tells_what_it_is_asked() {
    let (schema, model) = library();
    let check =
        |query: &str, expected: Value| assert_eq!(introspect(&schema, &model, query), expected, "{query}");
    check(
        "{ __schema { __typename queryType { name } } }",
        json!({
            "__schema": { "__typename": "__Schema", "queryType": { "name": "Query" } },
        }),
    );
    check(
        "{ a: __type(name: \"Shelf\") { kind fields { name type { kind name ofType { name } } } } }",
        json!({
            "a": { "kind": "OBJECT", "fields": [
                { "name": "id", "type": { "kind": "NON_NULL", "name": null, "ofType": { "name": "String" } } },
                { "name": "best", "type": { "kind": "OBJECT", "name": "Book", "ofType": null } },
                { "name": "theme", "type": { "kind": "NON_NULL", "name": null, "ofType": { "name": "String" } } },
            ] },
        }),
    );
    check(
        "{ __type(name: \"ChoiceInput\") { isOneOf inputFields { name } fields { name } } }",
        json!({
            "__type": { "isOneOf": true, "inputFields": [
                { "name": "id" }, { "name": "number" }, { "name": "filter" },
            ], "fields": null },
        }),
    );
    check(
        "{ __type(name: \"Genre\") { enumValues { name isDeprecated } } }",
        json!({
            "__type": { "enumValues": [
                { "name": "GENRE_UNSPECIFIED", "isDeprecated": false },
                { "name": "POETRY", "isDeprecated": false },
                { "name": "NOVEL", "isDeprecated": false },
            ] },
        }),
    );
    check(
        "{ __type(name: \"Int64\") { kind specifiedByURL } b: __type(name: \"Nope\") { kind } }",
        json!({
            "__type": { "kind": "SCALAR", "specifiedByURL": "https://protobuf.dev/programming-guides/json/" },
            "b": null,
        }),
    );
}

#[test]
fn introspection_tells_of_itself() {
    let (schema, model) = library();
    let check =
        |query: &str, expected: Value| assert_eq!(introspect(&schema, &model, query), expected, "{query}");
    check("{ __type(name: \"__Type\") { fields { name args { name defaultValue } } } }", {
        let plain =
            ["kind", "name", "description", "specifiedByURL"].map(|name| json!({ "name": name, "args": [] }));
        let argument = json!([{ "name": "includeDeprecated", "defaultValue": "false" }]);
        let mut fields = plain.to_vec();
        fields.push(json!({ "name": "fields", "args": argument }));
        fields.extend(["interfaces", "possibleTypes"].map(|name| json!({ "name": name, "args": [] })));
        fields.extend(["enumValues", "inputFields"].map(|name| json!({ "name": name, "args": argument })));
        fields.extend(["ofType", "isOneOf"].map(|name| json!({ "name": name, "args": [] })));
        json!({ "__type": { "fields": fields } })
    });
    check(
        "{ __schema { mutationType { name } subscriptionType { name } directives { name locations } } }",
        json!({
            "__schema": {
                "mutationType": { "name": "Mutation" },
                "subscriptionType": { "name": "Subscription" },
                "directives": [
                    { "name": "include", "locations": ["FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"] },
                    { "name": "skip", "locations": ["FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"] },
                    { "name": "deprecated", "locations": [
                        "FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INPUT_FIELD_DEFINITION", "ENUM_VALUE",
                    ] },
                    { "name": "specifiedBy", "locations": ["SCALAR"] },
                    { "name": "oneOf", "locations": ["INPUT_OBJECT"] },
                ],
            },
        }),
    );
}

#[test]
fn introspection_is_bounded() {
    let (schema, model) = library();
    let query = "{ __type(name: \"Genre\") { name } }";
    let whole = r#"{"name":"Genre"}"#;
    assert_eq!(
        answers(&schema, &model, query, whole.len()),
        Ok(vec![("__type".to_owned(), whole.to_owned())])
    );
    assert_eq!(answers(&schema, &model, query, whole.len() - 1), Err("COST_LIMIT"));
    // All fields of one operation share the bound.
    let query = "{ a: __type(name: \"Genre\") { name } b: __type(name: \"Genre\") { name } }";
    assert!(answers(&schema, &model, query, 2 * whole.len()).is_ok());
    assert_eq!(answers(&schema, &model, query, 2 * whole.len() - 1), Err("COST_LIMIT"));
}

/// The `data` of a query of introspection.
fn introspect(schema: &Schema, model: &Model, query: &str) -> Value {
    let answers = answers(schema, model, query, BYTES_MAX).expect("within the bound");
    let member = |(key, json): (String, String)| {
        let value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        (key, value)
    };
    Value::Object(answers.into_iter().map(member).collect::<Map<_, _>>())
}

fn answers(
    schema: &Schema,
    model: &Model,
    query: &str,
    bytes_max: usize,
) -> Result<Vec<(String, String)>, &'static str> {
    let document = Document::read(query, model, schema, &Bounds::default())
        .unwrap_or_else(|problems| panic!("{query}: {problems:?}"));
    let operation = document.operation(None).expect("one operation");
    let variables = Variables::default();
    let mut introspection = Introspection::new(Coercer { model, schema }, &document, &variables, bytes_max);
    collect(&document, &[&operation.selections], &variables)
        .iter()
        .map(|field| {
            let json = introspection.answer(field).map_err(|problem| problem.code.name())?;
            Ok((field.node.response_key().to_owned(), json))
        })
        .collect()
}

/// The schema of `graphql-documents.proto`.
pub(crate) fn library() -> (Schema, Model) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let mut compiler = protox::Compiler::new([cases, root]).expect("the folders exist");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("graphql-documents.proto").expect("it compiles");
    let bytes = compiler.encode_file_descriptor_set().into();
    let schema = load(&[Input { name: "library".into(), bytes }]).expect("the set is valid");
    let mut exposed = Vec::new();
    let (routes, _) = build_shown(&schema, &Rules::default(), &[], |method| {
        exposed.push(Exposed { method: method.clone(), shown: Shown::default() });
        Some(Shown::default())
    })
    .expect("good rules");
    let model = Model::new(&schema, &exposed, &routes, Mapping::default());
    (schema, model)
}

/// What graphql-js says; `None` where it is not installed and need not be.
pub(crate) fn ask(questions: &Value) -> Option<Vec<Value>> {
    if !require("node", Command::new("node").arg("--version")) {
        return None;
    }
    let packages = packages();
    if !packages.join("node_modules/graphql").exists() {
        missing(format_args!("`graphql` is not installed in `{}`", packages.display()));
        return None;
    }
    let mut process = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/graphql_oracle.mjs"))
        .arg(packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut stdin = process.stdin.take().expect("piped");
    stdin.write_all(questions.to_string().as_bytes()).expect("node reads");
    drop(stdin);
    let output = process.wait_with_output().expect("node ends");
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).expect("node answers with JSON"))
}

/// Where `.ci/run` installs what the tests need of npm.
fn packages() -> PathBuf {
    std::env::var_os("TRANSOM_NPM")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm"), PathBuf::from)
}
