//! The GraphQL schemas that descriptors make, as graphql-js reads them.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{missing, require};

const SCHEMAS: &str = include_str!("../cases/graphql-schema.txt");

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
        .args(["graphql", "--proto", "proto/library/v1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the binary runs");
    let sdl = String::from_utf8(output.stdout).expect("it prints text");
    assert!(sdl.contains("\"\"\"Gets a book.\"\"\"\n  getBook("), "{sdl}");
    let document = "{ getBook(name: \"shelves/1/books/1\") { title isbn labels { key value } } }";
    let Some(answers) = ask(&json!([{ "sdl": sdl, "documents": [document] }])) else { return };
    assert_eq!(answers[0], json!({ "problems": [], "verdicts": [[]] }), "{sdl}");
}

/// What graphql-js says; `None` where it is not installed and need not be.
fn ask(questions: &Value) -> Option<Vec<Value>> {
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
