//! Operations from their document to their response, and how many cases there are of everything.
//!
//! ```text
//! tests/cases/graphql-execution.txt, graphql-introspection.txt
//!   document, variables, replies of backends ─▶ data and errors ═ those of graphql-js over the printed SDL
//! ```
//!
//! Nobody is called: what a backend would say stands in the case.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use transom::codec::options::{Defaults, JsonOptions};
use transom::codec::{json_to_wire, wire_to_json};
use transom::graphql::coerce::Coercer;
use transom::graphql::document::{Bounds, Document, Problem};
use transom::graphql::introspect::BYTES_MAX;
use transom::graphql::model::{Method, Model};
use transom::graphql::plan::{Operation, Planner, RootSource};
use transom::graphql::projection::{Errors, Projector, Step};
use transom::graphql::sdl::Sdl;
use transom::schema::Schema;
use transom::schema::plan::WellKnown;
use transom::status::{Code, Status};

use crate::graphql::{DOCUMENTS, RULES, SCHEMAS, ask, library};
use crate::support::figure;

const EXECUTIONS: &str = include_str!("../cases/graphql-execution.txt");
const INTROSPECTIONS: &str = include_str!("../cases/graphql-introspection.txt");
const PROJECTIONS: &str = include_str!("../cases/graphql-projection.txt");

#[derive(Debug, Default)]
struct Case {
    document: String,
    variables: Map<String, Value>,
    /// What is said for a root field, by its response key.
    replies: HashMap<String, Said>,
    /// Whether graphql-js says otherwise.
    is_ours: bool,
    expected: Vec<String>,
}

#[derive(Debug)]
enum Said {
    Json(String),
    Wire(Vec<u8>),
    Fails(Status),
}

fn cases() -> impl Iterator<Item = Case> {
    [EXECUTIONS, INTROSPECTIONS].into_iter().flat_map(|cases| cases.split("\n\n")).filter_map(case)
}

fn case(text: &str) -> Option<Case> {
    let mut case = Case::default();
    for line in text.lines().skip_while(|line| line.starts_with('#')) {
        let said = |text: &str| text.split_once(": ").map(|(key, said)| (key.to_owned(), said.to_owned()));
        if let Some(json) = line.strip_prefix("variables: ") {
            case.variables = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        } else if let Some((key, json)) = line.strip_prefix("reply ").and_then(said) {
            case.replies.insert(key, Said::Json(json));
        } else if let Some((key, bytes)) = line.strip_prefix("wire ").and_then(said) {
            case.replies.insert(key, Said::Wire(wire(&bytes)));
        } else if let Some((key, message)) = line.strip_prefix("fails ").and_then(said) {
            case.replies.insert(key, Said::Fails(Status::backend(Code::NotFound, message)));
        } else if line.starts_with("ours: ") {
            case.is_ours = true;
        } else if line.starts_with("=> ") || line.starts_with("! ") {
            case.expected.push(line.to_owned());
        } else {
            writeln!(case.document, "{line}").expect("a string takes it all");
        }
    }
    (!case.expected.is_empty()).then_some(case)
}

/// `0a 01 'a`
fn wire(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for byte in text.split_whitespace() {
        match byte.strip_prefix('\'') {
            Some(text) => wire.extend_from_slice(text.as_bytes()),
            None => wire.push(u8::from_str_radix(byte, 16).expect(byte)),
        }
    }
    wire
}

/// What has become of a case, a line each, and what its backends said, for graphql-js.
struct Executed {
    lines: Vec<String>,
    replies: Map<String, Value>,
}

fn executed(case: &Case, schema: &Schema, model: &Model) -> Executed {
    let mut replies = Map::new();
    let refused = |problems: Vec<Problem>| problems.iter().map(refusal).collect();
    let lines = Document::read(case.document.trim_end(), model, schema, &Bounds::default())
        .and_then(|document| {
            let definition = document.operation(None).map_err(|problem| vec![problem])?;
            let variables = Coercer { model, schema }.variables(definition, &case.variables)?;
            let options = JsonOptions::default();
            let planner = Planner {
                model,
                schema,
                options: &options,
                cost_max: 1000,
                introspection_bytes_max: BYTES_MAX,
                read_masks: false,
            };
            let operation =
                planner.plan(&document, definition, &variables).map_err(|problem| vec![problem])?;
            Ok(response(case, schema, model, &operation, &mut replies))
        })
        .unwrap_or_else(refused);
    Executed { lines, replies }
}

fn response(
    case: &Case,
    schema: &Schema,
    model: &Model,
    operation: &Operation,
    replies: &mut Map<String, Value>,
) -> Vec<String> {
    let options = JsonOptions::default();
    let mut projector = Projector::new(schema, &options, usize::MAX).renaming(&operation.renamed);
    let mut separator = b'{';
    for field in &operation.roots {
        let key = &*field.root.key;
        projector.begin(&field.root, separator);
        separator = b',';
        match &field.source {
            RootSource::Text(json) => projector.out().extend_from_slice(json.as_bytes()),
            RootSource::Wrong(status) => projector.failure(&field.root, status.clone()),
            RootSource::Call { method, request } => {
                match reply(case.replies.get(key), schema, &model.methods()[*method], request) {
                    Ok(wire) => {
                        replies.insert(key.to_owned(), told(schema, &model.methods()[*method], &wire));
                        projector.reply(&field.root, &wire);
                    }
                    Err(status) => {
                        replies.insert(key.to_owned(), json!({ "fails": status.message }));
                        projector.failure(&field.root, status);
                    }
                }
            }
        }
    }
    if separator == b'{' {
        projector.out().push(b'{');
    }
    projector.out().push(b'}');
    let (out, errors) = projector.finish();
    lines(out, &errors)
}

/// What a backend replies: what the case says, or else the request itself where it can be a reply.
fn reply(said: Option<&Said>, schema: &Schema, method: &Method, request: &[u8]) -> Result<Vec<u8>, Status> {
    match said {
        Some(Said::Json(json)) => {
            let mut wire = Vec::new();
            json_to_wire(schema, method.output, &JsonOptions::default(), json.as_bytes(), &mut wire)?;
            Ok(wire)
        }
        Some(Said::Wire(wire)) => Ok(wire.clone()),
        Some(Said::Fails(status)) => Err(status.clone()),
        None if method.input == method.output => Ok(request.to_vec()),
        None => Ok(Vec::new()),
    }
}

/// The reply as graphql-js gets it; null where it cannot be told whole.
fn told(schema: &Schema, method: &Method, wire: &[u8]) -> Value {
    let plan = schema.message(method.output);
    if plan.well_known == WellKnown::No && plan.fields.is_empty() {
        return json!({ "is": true });
    }
    let options = JsonOptions { defaults: Defaults::Emit, ..JsonOptions::default() };
    let mut out = Vec::new();
    match wire_to_json(schema, method.output, &options, wire, &mut out) {
        Ok(()) => json!({ "is": serde_json::from_slice::<Value>(&out).expect("JSON") }),
        Err(_) => json!({ "is": null }),
    }
}

fn lines(data: Vec<u8>, errors: &Errors) -> Vec<String> {
    let mut lines = vec![format!("=> {}", String::from_utf8(data).expect("JSON is UTF-8"))];
    for error in &errors.kept {
        let step = |step: &Step| match step {
            Step::Key(key) => key.to_string(),
            Step::Index(index) => index.to_string(),
        };
        let path = error.path.iter().map(step).collect::<Vec<_>>().join(".");
        let (at, status) = (error.location, &error.status);
        lines.push(format!("! {path} @{}:{} {} {}", at.line, at.column, status.code.name(), status.message));
    }
    lines
}

fn refusal(problem: &Problem) -> String {
    let place = problem.locations.first().map(|at| format!(" {}:{}", at.line, at.column)).unwrap_or_default();
    format!("! {}{place} {}", problem.code.name(), problem.message)
}

#[test]
fn operations_are_answered_as_the_cases_say() {
    let (schema, model) = library();
    let mut wrong = String::new();
    for case in cases() {
        let found = executed(&case, &schema, &model).lines;
        if found != case.expected {
            write!(wrong, "{}{}\n\n", case.document, found.join("\n")).expect("a string takes it all");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_reference_implementation_answers_them_likewise() {
    let (schema, model) = library();
    let sdl = Sdl { model: &model, schema: &schema }.to_string();
    let mut operations = Vec::new();
    for case in cases().filter(|case| !case.is_ours) {
        let replies = executed(&case, &schema, &model).replies;
        let data = case.expected.iter().find_map(|line| line.strip_prefix("=> "));
        // Of an error its path and its place are compared, the words are our own.
        let errors = case.expected.iter().filter_map(|line| line.strip_prefix("! "));
        let errors: Vec<String> =
            errors.map(|error| error.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")).collect();
        let (document, variables) = (&case.document, &case.variables);
        operations.push(json!({
            "document": document, "variables": variables, "replies": replies, "data": data, "errors": errors,
        }));
    }
    let Some(answers) = ask(&json!([{ "sdl": sdl, "documents": [], "operations": operations }])) else {
        return;
    };
    let wrong: Vec<&str> =
        answers[0]["differences"].as_array().expect("a list").iter().flat_map(Value::as_str).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The conformance set, a figure for each file and its areas.
#[test]
fn the_cases_are_counted() {
    let files = [
        ("documents", DOCUMENTS),
        ("rules", RULES),
        ("execution", EXECUTIONS),
        ("introspection", INTROSPECTIONS),
        ("projection", PROJECTIONS),
    ];
    let mut sum = SCHEMAS.split("\n== ").count() - 1;
    figure(format_args!("{sum} schemas"));
    for (name, text) in files {
        let mut areas: Vec<(&str, usize)> = Vec::new();
        for block in text.split("\n\n") {
            let mut lines = block.lines();
            let is_case = lines.any(|line| ["=> ", "! ", "> "].iter().any(|mark| line.starts_with(mark)));
            match block.strip_prefix("# ").filter(|_| !is_case) {
                // What a file begins with says what it is, in several lines.
                Some(title) => areas.extend((!title.contains('\n')).then_some((title, 0))),
                None => areas.last_mut().into_iter().for_each(|(_, count)| *count += 1),
            }
            if is_case && areas.is_empty() {
                areas.push(("all", 1));
            }
        }
        let count: usize = areas.iter().map(|(_, count)| count).sum();
        let areas = areas.iter().map(|(area, count)| format!("{count} {}", area.trim_end_matches('.')));
        figure(format_args!("{count} of {name}: {}", areas.collect::<Vec<_>>().join(", ")));
        sum += count;
    }
    figure(format_args!("{sum} in all"));
    assert!(sum >= 250, "{sum} cases");
}

#[test]
fn every_rule_has_documents_that_keep_and_that_break_it() {
    let mut rules: Vec<(&str, bool, bool)> = Vec::new();
    for block in RULES.split("\n\n") {
        let refused = block.lines().any(|line| line.starts_with("! GRAPHQL_"));
        match block.strip_prefix("# 5.").filter(|_| !refused) {
            Some(title) => rules.push((title, false, false)),
            None => {
                if let Some((_, keeps, breaks)) = rules.last_mut() {
                    *(if refused { breaks } else { keeps }) = true;
                }
            }
        }
    }
    assert_eq!(rules.len(), 31);
    for (title, keeps, breaks) in rules {
        // Of this schema there are operations of every kind.
        let can_break = !title.starts_with("2.1.1 ");
        assert!(keeps && breaks == can_break, "5.{title}");
    }
}
