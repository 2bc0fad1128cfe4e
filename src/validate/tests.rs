//! Every rule against values that keep it and values that do not, from `tests/cases/validate*.txt`.
//!
//! The cases of one file are the insides of messages in one `.proto` file, so that it is compiled once; `(field)` and its
//! like are found because its package is below theirs. With `TRANSOM_BLESS=1` a file is written anew.

use std::fmt::Write as _;

use super::*;
use crate::codec;
use crate::codec::options::{JsonOptions, Names};
use crate::schema::{Input, Schema, load};

/// 2026-01-01T00:00:00Z.
const NOW: i128 = 1_767_225_600 * 1_000_000_000;

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

/// A set of one file.
fn compile(text: &str) -> Schema {
    use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
    struct One(String);
    impl FileResolver for One {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            match name {
                "t.proto" => File::from_source(name, &self.0),
                _ => Err(protox::Error::file_not_found(name)),
            }
        }
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(One(text.to_owned()));
    resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/protos").into()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file("t.proto").unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let bytes = compiler.encode_file_descriptor_set().into();
    load(&[Input { name: "t".into(), bytes }]).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The inside of a message, what is sent, and what is broken then.
struct Block<'c> {
    head: String,
    body: String,
    cases: Vec<(&'c str, &'c str)>,
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let block = |text| {
        let mut block = Block { head: String::new(), body: String::new(), cases: Vec::new() };
        for line in str::lines(text) {
            match line.strip_prefix("> ") {
                Some(case) => block.cases.push(case.split_once(" => ").unwrap_or((case, ""))),
                None if line.starts_with('#') => _ = writeln!(block.head, "{line}"),
                None => _ = writeln!(block.body, "{line}"),
            }
        }
        block
    };
    text.split("---\n").map(block).collect()
}

fn all_inputs(schema: &Schema) -> Vec<MessageId> {
    schema.pool().all_messages().filter_map(|message| schema.message_id(message.full_name())).collect()
}

fn asked() -> Asked {
    Asked { now: NOW, violations_max: 100, steps_max: 100_000, names: Names::Proto }
}

#[track_caller]
fn check_file(name: &str, syntax: &str) {
    let path = format!("{}/tests/cases/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let blocks = blocks(&text);
    let mut file = format!("syntax = \"{syntax}\";{HEAD}");
    for (index, block) in blocks.iter().enumerate() {
        let (shared, own): (Vec<_>, Vec<_>) =
            block.body.lines().partition(|line| line.starts_with("extend "));
        _ = writeln!(file, "{}\nmessage Case{index} {{\n{}\n}}", shared.join("\n"), own.join("\n"));
    }
    let schema = compile(&file);
    let validation =
        Validation::compile(&schema, all_inputs(&schema)).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let mut found = Vec::new();
    for (index, block) in blocks.iter().enumerate() {
        let id = schema.message_id(&format!("buf.validate.cases.Case{index}")).expect("a case");
        let mut out = format!("{}{}", block.head, block.body);
        for (json, _) in &block.cases {
            let mut wire = Vec::new();
            let options = JsonOptions::default();
            codec::json_to_wire(&schema, id, &options, json.as_bytes(), &mut wire)
                .unwrap_or_else(|status| panic!("{json}: {status}"));
            let violations = validation.violations(&schema, id, &wire, &asked()).expect("a message");
            let mut told: Vec<_> = violations
                .iter()
                .map(|one| format!("{} {}", one.field, one.rule).trim().to_owned())
                .collect();
            told.sort();
            let arrow = if told.is_empty() { "" } else { " => " };
            _ = writeln!(out, "> {json}{arrow}{}", told.join("; "));
        }
        found.push(out);
    }
    let found = found.join("---\n");
    if std::env::var_os("TRANSOM_BLESS").is_some() {
        std::fs::write(&path, &found).expect(&path);
    }
    let differ: Vec<_> = text.lines().zip(found.lines()).filter(|(one, other)| one != other).collect();
    assert!(differ.is_empty() && text == found, "expected, and found:\n{differ:#?}");
}

#[test]
fn every_rule_is_kept_in_proto3() {
    check_file("validate", "proto3");
}

#[test]
fn every_rule_is_kept_in_proto2() {
    check_file("validate-proto2", "proto2");
}

/// What is wrong with the rules of one file.
fn refused(text: &str) -> Vec<String> {
    let schema = compile(text);
    let errors = Validation::compile(&schema, all_inputs(&schema)).expect_err(text);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_that_cannot_be_kept_are_refused_by_name() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/validate-refused.txt");
    let text = std::fs::read_to_string(path).expect(path);
    let mut found = Vec::new();
    for block in text.split("---\n") {
        let proto: String = block
            .lines()
            .filter(|line| !line.starts_with("! "))
            .fold(String::new(), |all, line| all + line + "\n");
        let body: String = proto.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let errors = refused(&format!("syntax = \"proto2\";{HEAD}{body}"));
        found.push(errors.iter().fold(proto, |all, error| format!("{all}! {error}\n")));
    }
    let found = found.join("---\n");
    if std::env::var_os("TRANSOM_BLESS").is_some() {
        std::fs::write(path, &found).expect(path);
    }
    assert!(text == found, "found:\n{found}");
}

#[test]
fn a_rule_of_a_later_version_is_refused_by_its_number() {
    // string: { 99: 1 }, and a field of FieldRules itself.
    for (rules, expected) in [
        (&b"\x72\x03\x98\x06\x01"[..], "rule 99 of `buf.validate.StringRules` is not known here"),
        (b"\xa0\x06\x01", "rule 100 of `buf.validate.FieldRules` is not known here"),
        (b"\xd8\x01\x02", "2 is no value of `ignore`"),
        (b"\x72\x02\x10", "the rules are malformed: the message ends in the middle of a value"),
    ] {
        let mut options = b"\xba\x48".to_vec();
        options.push(u8::try_from(rules.len()).expect("short"));
        options.extend_from_slice(rules);
        assert_eq!(field_rules(&options).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }
}

#[test]
fn rules_that_a_compiler_wrote_apart_are_one() {
    // 1159: { string: { min_len: 2 } }, 1159: { string: { max_len: 3 } }
    let options = b"\xba\x48\x04\x72\x02\x10\x02\xba\x48\x04\x72\x02\x18\x03";
    let Ok(Some(FieldRules { typed: Some(Typed::Text(rules)), .. })) = field_rules(options) else {
        panic!("rules of a text");
    };
    assert_eq!((rules.min_len, rules.max_len), (Some(2), Some(3)));
}

#[test]
fn a_message_without_rules_is_not_looked_at() {
    let schema = compile(&format!(
        "syntax = \"proto3\";{HEAD}
         message With {{ string a = 1 [(field).string.min_len = 1]; }}
         message Without {{ string a = 1; Without more = 2; }}
         message Above {{ Without a = 1; repeated Above more = 2; map<string, With> with = 3; }}"
    ));
    let validation = Validation::compile(&schema, all_inputs(&schema)).expect("good rules");
    let id = |name: &str| schema.message_id(&format!("buf.validate.cases.{name}")).expect(name);
    assert!(validation.concerns(id("With")) && validation.concerns(id("Above")));
    assert!(!validation.concerns(id("Without")));
    // What is no message at all is no affair of rules where there are none.
    assert_eq!(validation.check(&schema, id("Without"), b"\xff", &asked()), Ok(()));
    assert!(validation.check(&schema, id("With"), b"\xff", &asked()).is_err());
}

#[test]
fn rules_of_extensions_are_kept() {
    let schema = compile(&format!(
        "syntax = \"proto2\";{HEAD}
         message M {{ extensions 100 to 199; }}
         message N {{ optional string a = 1 [(field).string.min_len = 1]; }}
         message Other {{ extend M {{ optional int32 must = 102 [(field).required = true]; }} }}
         extend M {{ optional string note = 100 [(field).string.min_len = 2]; repeated N all = 101; }}"
    ));
    let id = schema.message_id("buf.validate.cases.M").expect("M");
    let validation = Validation::compile(&schema, [id]).expect("good rules");
    let broken = |json: &str| {
        let mut wire = Vec::new();
        codec::json_to_wire(&schema, id, &JsonOptions::default(), json.as_bytes(), &mut wire).expect(json);
        let violations = validation.violations(&schema, id, &wire, &asked()).expect("a message");
        violations.into_iter().map(|one| format!("{} {}", one.field, one.rule)).collect::<Vec<_>>()
    };
    let must = r#""[buf.validate.cases.Other.must]": 1"#;
    assert_eq!(broken("{}"), ["[buf.validate.cases.Other.must] required"]);
    assert_eq!(broken(&format!("{{{must}}}")), [""; 0]);
    let note = broken(&format!(r#"{{{must}, "[buf.validate.cases.note]": "a"}}"#));
    assert_eq!(note, ["[buf.validate.cases.note] string.min_len"]);
    let all = broken(&format!(r#"{{{must}, "[buf.validate.cases.all]": [{{"a": "x"}}, {{"a": ""}}]}}"#));
    assert_eq!(all, ["[buf.validate.cases.all][1].a string.min_len"]);
}

#[test]
fn violations_and_depth_are_bounded() {
    let schema = compile(&format!(
        "syntax = \"proto3\";{HEAD}
         message M {{ repeated string a = 1 [(field).repeated.items.string.min_len = 1]; M m = 2; }}"
    ));
    let id = schema.message_id("buf.validate.cases.M").expect("M");
    let validation = Validation::compile(&schema, [id]).expect("good rules");
    let count = |count: usize, violations_max| {
        let wire = b"\x0a\x00".repeat(count);
        let asked = Asked { violations_max, ..asked() };
        validation.violations(&schema, id, &wire, &asked).expect("a message").len()
    };
    assert_eq!((count(3, 3), count(4, 3), count(4, 5)), (3, 3, 4));
    let nested = |depth: usize| {
        let mut wire = Vec::new();
        for _ in 1..depth {
            let mut outer = Vec::new();
            codec::wire::put_len_prefixed(&mut outer, codec::wire::tag(2, 2), &wire);
            wire = outer;
        }
        validation.violations(&schema, id, &wire, &asked()).map(|found| found.len())
    };
    assert_eq!(nested(100), Ok(0));
    assert_eq!(nested(101), Err(check::CheckError::TooDeep));
}

#[test]
fn all_expressions_share_their_steps() {
    let schema = compile(&format!(
        "syntax = \"proto3\";{HEAD}
         message M {{
           repeated int32 a = 1 [(field).repeated.items.cel = {{ id: \"a\" expression: \"this > 0\" }}];
           repeated int32 b = 2 [(field).cel = {{ id: \"b\" expression: \"size(this) < 1000\" }}];
           string c = 3 [(field).string.min_len = 1];
         }}"
    ));
    let id = schema.message_id("buf.validate.cases.M").expect("M");
    let validation = Validation::compile(&schema, [id]).expect("good rules");
    let told = |wire: &[u8], steps_max| {
        let asked = Asked { steps_max, ..asked() };
        let violations = validation.violations(&schema, id, wire, &asked).expect("a message");
        violations.into_iter().map(|one| format!("{} {}", one.rule, one.message)).collect::<Vec<_>>()
    };
    let spent = |rule: &str| format!("{rule} cannot be judged: more steps than there may be");
    let c = "string.min_len must have at least 1 characters, has 0";
    // `>` and what it compares are three steps an item; `size`, the list and its comparison four; and an item of
    // a list that is judged as a whole is one.
    let a = b"\x0a\x02\x01\x02";
    assert_eq!(told(a, 6 + 4), [c]);
    // Whatever comes behind is not judged any more.
    assert_eq!(told(a, 6 + 3), [spent("b")]);
    assert_eq!(told(a, 5), [spent("a")]);
    let b = b"\x12\x05\x01\x01\x01\x01\x01";
    assert_eq!(told(b, 5 + 4), [c]);
    assert_eq!(told(b, 5 + 3), [spent("b")]);
    assert_eq!(told(b, 4), [spent("b")]);
}

#[test]
fn parts_of_a_message_are_judged_as_one() {
    let schema = compile(&format!(
        "syntax = \"proto3\";{HEAD}
         message M {{ V v = 1; }}
         message V {{ string a = 1 [(field).required = true]; string b = 2 [(field).required = true]; }}"
    ));
    let id = schema.message_id("buf.validate.cases.M").expect("M");
    let validation = Validation::compile(&schema, [id]).expect("good rules");
    let told = |wire: &[u8]| {
        let violations = validation.violations(&schema, id, wire, &asked()).expect("a message");
        violations.into_iter().map(|one| one.field).collect::<Vec<_>>()
    };
    assert_eq!(told(b"\x0a\x03\x0a\x01x"), ["v.b"]);
    // As a capture is appended to what the body has.
    assert!(told(b"\x0a\x03\x0a\x01x\x0a\x03\x12\x01y").is_empty());
}
