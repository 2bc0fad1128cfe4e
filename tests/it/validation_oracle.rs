//! Rules of `buf.validate` as protovalidate itself judges them: the cases of `tests/cases/validate*.txt`, and messages made
//! by chance of the same types. Paths and ids must be the same; words are each side's own.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use transom::codec::options::{JsonOptions, Names};
use transom::schema::{Input, Schema, load};
use transom::validate::{Asked, Validation};

use crate::arbitrary::message;
use crate::dice::Dice;
use crate::support::require;

const HEAD: &str = r#"
package buf.validate.cases;
import "buf/validate/validate.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
"#;

/// Messages of each type, beside those of its cases.
const CHANCES: u64 = 6;

fn python() -> Command {
    Command::new(std::env::var("TRANSOM_PYTHON").unwrap_or_else(|_| "python3".to_owned()))
}

/// The set of the cases, and for each of its messages the JSON of its cases.
fn compile(name: &str, syntax: &str) -> (Vec<u8>, Vec<Vec<String>>) {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/tests/cases/{name}.txt");
    let text = std::fs::read_to_string(&path).expect(&path);
    let mut file = format!("syntax = \"{syntax}\";{HEAD}");
    let mut cases = Vec::new();
    for (index, block) in text.split("---\n").enumerate() {
        let (given, body): (Vec<_>, Vec<_>) = block.lines().partition(|line| line.starts_with("> "));
        let body = body.into_iter().filter(|line| !line.starts_with('#'));
        let (shared, own): (Vec<_>, Vec<_>) = body.partition(|line| line.starts_with("extend "));
        writeln!(file, "{}\nmessage Case{index} {{\n{}\n}}", shared.join("\n"), own.join("\n"))
            .expect("memory");
        let json = |line: &&str| line[2..].split(" => ").next().unwrap_or_default().to_owned();
        cases.push(given.iter().map(json).collect());
    }
    let directory = crate::support::Directory::new("rules");
    std::fs::write(directory.path().join("t.proto"), file).expect("a file");
    let includes = [directory.path().to_owned(), format!("{root}/tests/protos").into()];
    let mut compiler = protox::Compiler::new(includes).expect("the folders exist");
    compiler.include_imports(true).open_file("t.proto").expect("the cases compile");
    (compiler.encode_file_descriptor_set(), cases)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

/// What is asked: the name of a type and a message of it.
fn questions(schema: &Schema, cases: &[Vec<String>]) -> Vec<(String, Vec<u8>)> {
    let mut questions = Vec::new();
    for (index, cases) in (0_u64..).zip(cases) {
        let name = format!("buf.validate.cases.Case{index}");
        let id = schema.message_id(&name).expect("a case");
        for json in cases {
            let mut wire = Vec::new();
            let options = JsonOptions::default();
            transom::codec::json_to_wire(schema, id, &options, json.as_bytes(), &mut wire).expect(json);
            questions.push((name.clone(), wire));
        }
        // Chance puts messages of its own schema into an `Any`.
        let has_any = schema.descriptor(id).fields().any(|field| {
            field.kind().as_message().is_some_and(|inner| inner.full_name() == "google.protobuf.Any")
        });
        for chance in (0..CHANCES).filter(|_| !has_any) {
            let mut dice = Dice::seeded(index * CHANCES + chance);
            let message = message::message(&mut dice, schema.descriptor(id), 3);
            questions.push((name.clone(), message::encode(&message)));
        }
    }
    questions
}

fn check(name: &str, syntax: &str) {
    if !require("protovalidate", python().args(["-c", "import protovalidate, google.protobuf"])) {
        return;
    }
    let (set, cases) = compile(name, syntax);
    let path = format!("{}/{name}-{}.binpb", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::write(&path, &set).expect(&path);
    let schema = load(&[Input { name: "t".into(), bytes: set.into() }]).expect("a good set");
    let inputs = schema.pool().all_messages().filter_map(|message| schema.message_id(message.full_name()));
    let validation = Validation::compile(&schema, inputs).expect("good rules");
    let questions = questions(&schema, &cases);

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/validate_oracle.py");
    let mut oracle = python()
        .args([script, &path])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the oracle runs");
    let mut input = oracle.stdin.take().expect("a pipe");
    let lines: String = questions.iter().map(|(name, wire)| format!("{name} {}\n", hex(wire))).collect();
    // Beside the reading, for either pipe may fill.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = oracle.wait_with_output().expect("the oracle ends");
    writer.join().expect("no panic").expect("the oracle reads all");
    assert!(output.status.success(), "the oracle fails");
    let answers = String::from_utf8(output.stdout).expect("text");
    assert_eq!(answers.lines().count(), questions.len());

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let asked = Asked {
        now: i128::try_from(now).expect("not yet"),
        violations_max: 10_000,
        steps_max: 1_000_000,
        names: Names::Proto,
    };
    let mut differ = Vec::new();
    for ((name, wire), answer) in questions.iter().zip(answers.lines()) {
        let id = schema.message_id(name).expect("a case");
        let violations = validation.violations(&schema, id, wire, &asked).expect("a message");
        let mut ours: Vec<_> = violations.into_iter().map(|one| (one.field, one.rule)).collect();
        let theirs: Option<Vec<(String, String)>> = serde_json::from_str(answer).expect("JSON");
        let Some(mut theirs) = theirs else {
            // What has no value does not hold here, and is an error there.
            assert!(!ours.is_empty(), "{name} {}", hex(wire));
            continue;
        };
        ours.sort();
        theirs.sort();
        if ours != theirs {
            differ.push(format!("{name} {}\n  ours   {ours:?}\n  theirs {theirs:?}", hex(wire)));
        }
    }
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), questions.len(), differ.join("\n"));
}

#[test]
fn protovalidate_judges_proto3_alike() {
    check("validate", "proto3");
}

#[test]
fn protovalidate_judges_proto2_alike() {
    check("validate-proto2", "proto2");
}
