//! Documents in, calls out, or what is wrong with them: the tables of `tests/cases/graphql-documents.txt` and
//! `graphql-rules.txt`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use super::coerce::Coercer;
use super::collect::collect;
use super::document::{Bounds, Document, Problem};
use super::model::tests::{compiled, model};
use super::model::{Mapping, Model, Source};
use super::value::Value;
use crate::schema::Schema;

const CASES: [&str; 2] = [
    include_str!("../../tests/cases/graphql-documents.txt"),
    include_str!("../../tests/cases/graphql-rules.txt"),
];
const PROTO: &str = include_str!("../../tests/cases/graphql-documents.proto");

pub(super) static LIBRARY: LazyLock<(Schema, Model)> = LazyLock::new(|| {
    let schema = compiled(&[("t.proto".to_owned(), PROTO.to_owned())]);
    let model = model(&schema, Mapping::default());
    (schema, model)
});

#[derive(Default)]
struct Case {
    document: String,
    variables: String,
    operation: Option<String>,
    expected: Vec<String>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for block in CASES.iter().flat_map(|cases| cases.split("\n\n")) {
        let mut case = Case::default();
        for line in block.lines().skip_while(|line| line.starts_with('#')) {
            if let Some(json) = line.strip_prefix("variables: ") {
                json.clone_into(&mut case.variables);
            } else if let Some(name) = line.strip_prefix("operation: ") {
                case.operation = Some(name.to_owned());
            } else if line.starts_with("ours: ") {
            } else if ["=> ", "! ", "> "].iter().any(|mark| line.starts_with(mark)) {
                case.expected.push(line.to_owned());
            } else {
                writeln!(case.document, "{line}").expect("a string takes it all");
            }
        }
        if !case.expected.is_empty() {
            case.document.truncate(case.document.trim_end().len());
            cases.push(case);
        }
    }
    cases
}

fn planned(case: &Case) -> Vec<String> {
    let (schema, model) = &*LIBRARY;
    let bounds = Bounds::default();
    let variables = match case.variables.as_str() {
        "" => serde_json::Map::new(),
        json => serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")),
    };
    let calls = Document::read(&case.document, model, schema, &bounds)
        .and_then(|document| calls(&document, case.operation.as_deref(), &variables));
    match calls {
        Ok(_) if case.expected.iter().any(|line| line == "=> ok") => vec!["=> ok".to_owned()],
        Ok(calls) => calls,
        Err(problems) => problems.iter().map(told).collect(),
    }
}

/// The calls of an operation, a line each.
fn calls(
    document: &Document,
    operation: Option<&str>,
    variables: &serde_json::Map<String, serde_json::Value>,
) -> Result<Vec<String>, Vec<Problem>> {
    let (schema, model) = &*LIBRARY;
    let operation = document.operation(operation).map_err(|problem| vec![problem])?;
    let coercer = Coercer { model, schema };
    let variables = coercer.variables(operation, variables)?;
    let root = model.root(operation.kind).expect("it was validated");
    let mut calls = Vec::new();
    for field in collect(document, &[&operation.selections], &variables) {
        let (name, key) = (&*field.node.name.text, field.node.response_key());
        let declared = model.field(schema, root, name).expect("it was validated");
        let Source::Method(index) = declared.source else { continue };
        let inputs = model.arguments(schema, declared);
        let request =
            coercer.request(&field.node.arguments, inputs, model.methods()[index].input, &variables);
        let request = request.map_or_else(|reason| format!("- {reason}"), |request| json(&request));
        let key = if key == name { String::new() } else { format!("{key} ") };
        calls.push(format!("> {key}{name} {request}"));
    }
    Ok(calls)
}

pub(super) fn told(problem: &Problem) -> String {
    let place = problem.locations.first().map(|at| format!(" {}:{}", at.line, at.column)).unwrap_or_default();
    format!("! {}{place} {}", problem.code.name(), problem.message)
}

/// A value as JSON, its members in their order.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::String(text) | Value::Enum(text) => serde_json::Value::from(&**text).to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let member = |(name, value): &(Box<str>, Value)| {
                format!("{}:{}", serde_json::Value::from(&**name), json(value))
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}

#[test]
fn documents_become_calls_or_are_refused() {
    let cases = cases();
    assert!(cases.len() > 200, "{} cases", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let found = planned(case);
        if found != case.expected {
            let document = &case.document;
            writeln!(wrong, "{document}{}\n{}\n", case.variables, found.join("\n"))
                .expect("a string takes it all");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn cut_documents_are_refused_and_never_a_panic() {
    let (schema, model) = &*LIBRARY;
    for case in cases() {
        for (at, _) in case.document.char_indices() {
            let _ = Document::read(&case.document[..at], model, schema, &Bounds::default());
        }
    }
}

#[test]
fn spoilt_documents_are_refused_and_never_a_panic() {
    let (schema, model) = &*LIBRARY;
    const WORDS: [&str; 16] = [
        "{", "}", "(", ")", "[", "]", "$a", "...", "...f", "on", "null", "\"\"\"", "@skip", ":", "-", "title",
    ];
    // The constants of a linear congruential generator (Numerical Recipes): the same documents each time.
    let mut state = 1_u32;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).expect("24 bits") % bound
    };
    for case in cases() {
        for _ in 0..20 {
            let mut words: Vec<&str> = case.document.split(' ').collect();
            for _ in 0..=below(3) {
                let place = below(words.len());
                match below(3) {
                    0 => words[place] = WORDS[below(WORDS.len())],
                    1 => words.insert(place, WORDS[below(WORDS.len())]),
                    _ => words.insert(place, words[below(words.len())]),
                }
            }
            let document = words.join(" ");
            if let Ok(document) = Document::read(&document, model, schema, &Bounds::default()) {
                let _ = calls(&document, None, &serde_json::Map::new());
            }
        }
    }
}

#[test]
fn variables_are_not_written_again_and_again() {
    let (schema, model) = &*LIBRARY;
    let read = |document: &str| {
        let document = Document::read(document, model, schema, &Bounds::default()).expect("it is valid");
        let text = "x".repeat(1 << 20);
        let variables = serde_json::json!({ "a": text }).as_object().cloned().expect("an object");
        calls(&document, None, &variables).expect("every variable has a value").pop().expect("a call")
    };
    let once = read("query ($a: String!) { search(text: $a) { total } }");
    assert!(once.starts_with("> search {\"text\":\"xxx"));
    let often =
        read(&format!("query ($a: String!) {{ search(words: [{}]) {{ total }} }}", "$a ".repeat(100)));
    assert_eq!(often, "> search - argument `words[4]`: `$a` is used too often for its size");
}
