//! Selections, messages and what is written of them, from `tests/cases/graphql-projection.txt`.
//!
//! ```text
//! # what the case says
//! Type { alias: field { … } }
//! json: {…}       or       wire: 0a 01 61
//! => {…}
//! ! path.0.field @line:column: message
//! ```
//!
//! Nullability is that of the schema that is derived from descriptors; lists are never null.

use std::iter::Peekable;
use std::str::SplitWhitespace;
use std::sync::LazyLock;

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::*;
use crate::codec::json_to_wire;
use crate::codec::options::JsonOptions;
use crate::schema::Traits;

const CASES: &str = include_str!("../../../../tests/cases/graphql-projection.txt");

pub(in crate::graphql) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    resolver.add(Fixtures);
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_files(["t.proto", "two.proto"]).expect("the fixtures compile");
    Schema::new(compiler.descriptor_pool(), Traits::default())
});

struct Fixtures;

impl FileResolver for Fixtures {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "t.proto" => File::from_source(name, include_str!("t.proto")),
            "two.proto" => File::from_source(name, include_str!("two.proto")),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// Reads `{ alias: field { … } … }`; the column of an entry's location counts the entries.
fn selection(tokens: &mut Peekable<SplitWhitespace<'_>>, id: MessageId) -> Option<Projection> {
    tokens.next_if_eq(&"{")?;
    let plan = SCHEMA.message(id);
    let mut entries = Vec::new();
    while tokens.next_if_eq(&"}").is_none() {
        let location = Location { line: 1, column: u32::try_from(entries.len() + 1).expect("few entries") };
        let first = tokens.next().expect("a field");
        let alias = first.strip_suffix(':');
        let name = alias.map_or(first, |_| tokens.next().expect("a field"));
        let key = alias.unwrap_or(name);
        if let Some(constant) = [("__typename", "\"T\""), ("_empty", "null")].iter().find(|one| one.0 == name)
        {
            entries.push(Entry::constant(key, location, constant.1));
            continue;
        }
        let index = plan.by_name(name.as_bytes()).unwrap_or_else(|| panic!("no field `{name}`"));
        let field = &plan.fields[index];
        let nested = field.kind.message().and_then(|id| selection(tokens, id));
        let is_nullable = field.shape == Shape::Explicit && plan.well_known != WellKnown::MapEntry;
        entries.push(
            Entry::field(&SCHEMA, plan, key, location, index, is_nullable, nested)
                .expect("the field is there"),
        );
    }
    Some(Projection::new(plan, entries))
}

fn root(text: &str) -> (Root, MessageId) {
    let mut tokens = text.split_whitespace().peekable();
    let name = tokens.next().expect("a type");
    let id = SCHEMA.message_id(name).unwrap_or_else(|| panic!("no type `{name}`"));
    let selection = selection(&mut tokens, id);
    assert_eq!(tokens.next(), None, "{text}");
    let location = Location { line: 9, column: 9 };
    (Root { key: "r".into(), location, form: Form::of(&SCHEMA, Kind::Message(id), selection).into() }, id)
}

fn bytes(id: MessageId, text: &str) -> Vec<u8> {
    let (kind, text) = text.split_once(':').expect("`json:` or `wire:`");
    let mut wire = Vec::new();
    match kind {
        "json" => json_to_wire(&SCHEMA, id, &JsonOptions::default(), text.as_bytes(), &mut wire).expect(text),
        _ => {
            for byte in text.split_whitespace() {
                match byte.strip_prefix('\'') {
                    Some(text) => wire.extend_from_slice(text.as_bytes()),
                    None => wire.push(u8::from_str_radix(byte, 16).expect(byte)),
                }
            }
        }
    }
    wire
}

fn shown(error: &FieldError) -> String {
    let path: Vec<_> = error
        .path
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.to_string(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    let Location { line, column } = error.location;
    format!("! {} @{line}:{column}: {}", path.join("."), error.status.message)
}

/// Writes one reply; what is written and the errors, a line each.
fn projected(root: &Root, wire: &[u8], bytes_max: usize) -> String {
    let mut projector = Projector::new(&SCHEMA, &JsonOptions::default(), bytes_max);
    projector.out().extend_from_slice(b"before");
    projector.reply(root, wire);
    let (out, errors) = projector.finish();
    let text = String::from_utf8(out).expect("JSON is UTF-8");
    let json = text.strip_prefix("before").expect("what was there stays");
    serde_json::from_str::<serde::de::IgnoredAny>(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let errors = errors.kept.iter().map(|error| format!("\n{}", shown(error)));
    format!("=> {json}{}", errors.collect::<String>())
}

#[test]
fn selections_are_written_as_the_cases_say() {
    let mut count = 0;
    for case in
        CASES.split("\n\n").map(str::trim).filter(|case| case.lines().any(|line| line.starts_with("=>")))
    {
        let mut lines = case.lines().skip_while(|line| line.starts_with('#'));
        let (root, id) = root(lines.next().expect("a selection"));
        let wire = bytes(id, lines.next().expect("a message"));
        let expected: Vec<_> = lines.collect();
        assert_eq!(projected(&root, &wire, usize::MAX), expected.join("\n"), "{case}");
        count += 1;
    }
    assert!(count > 60, "{count} cases");
}

#[test]
fn cut_replies_are_null_and_never_a_panic() {
    for case in CASES.split("\n\n").filter(|case| case.contains("\n=>")) {
        let mut lines = case.trim().lines().skip_while(|line| line.starts_with('#'));
        let (root, id) = root(lines.next().expect("a selection"));
        let mut wire = bytes(id, lines.next().expect("a message"));
        while wire.pop().is_some() {
            projected(&root, &wire, usize::MAX);
        }
    }
}

#[test]
fn what_may_not_be_seen_is_null() {
    let root = Root { key: "r".into(), location: Location::default(), form: Form::Hidden.into() };
    assert_eq!(projected(&root, b"\x0a\x01a", usize::MAX), "=> null");
}

#[test]
fn only_so_many_errors_are_told() {
    let (root, id) = root("t.Book { shelves { next { genre } } }");
    let default = ERRORS_MAX;
    for (max, count, more) in [(default, default, 0), (default, default + 1, 1), (2, 2, 0), (2, 5, 3)] {
        let wire = bytes(id, "wire: 62 04 1a 02 10 09").repeat(count);
        let projector = Projector::new(&SCHEMA, &JsonOptions::default(), usize::MAX);
        let mut projector = projector.bounded(max, KEYS_MAX);
        projector.reply(&root, &wire);
        let (out, errors) = projector.finish();
        assert_eq!(out.windows(4).filter(|window| window == b"null").count(), count);
        assert_eq!((errors.kept.len(), errors.more), (count - more, more));
    }
}

#[test]
fn the_response_is_bounded() {
    let (root, id) = root("t.Book { shelves { id } }");
    let wire = bytes(id, "wire: 62 00 62 00");
    let whole = "=> {\"shelves\":[{\"id\":\"\"},{\"id\":\"\"}]}";
    // The second shelf begins behind `before{"shelves":[{"id":""},`.
    assert_eq!(projected(&root, &wire, 28), whole);
    let cut = "=> null\n! r @9:9: the response is too long";
    assert_eq!(projected(&root, &wire, 27), cut);
}
