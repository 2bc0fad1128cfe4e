//! Descriptor sets that are wrong: each is refused with its words, none makes the loader panic.
//!
//! `tests/cases/malformed-sets.txt` holds most of them in the notation of [`set_text`]; what is wrong in the
//! bytes themselves (truncated, compressed, lying lengths) stands below.

use std::io::Write;

use bytes::Bytes;
use transom::schema::{Input, Limits, PROBLEMS_MAX, load, load_within};

use crate::set_text;

const LIBRARY: &[u8] = include_bytes!("../../descriptors/library.binpb");

fn input(name: &str, bytes: impl Into<Bytes>) -> Input {
    Input { name: name.to_owned(), bytes: bytes.into() }
}

/// The problems of a set, as an operator reads them.
fn problems(inputs: &[Input]) -> Vec<String> {
    match load(inputs) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// With `TRANSOM_BLESS=1` it writes down what the loader says instead.
#[test]
fn malformed_sets_are_refused_in_these_words() {
    let text = include_str!("../cases/malformed-sets.txt");
    let mut blessed = Vec::new();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for case in text.split("\n\n") {
        let (notation, expected): (Vec<&str>, Vec<&str>) =
            case.lines().partition(|line| !line.starts_with("=> "));
        let notation: Vec<&str> = notation.into_iter().filter(|line| !line.starts_with("# ")).collect();
        if notation.is_empty() {
            blessed.push(case.trim_end().to_owned());
            continue;
        }
        cases += 1;
        let sets = set_text::sets(&notation.join("\n"));
        let inputs: Vec<Input> =
            sets.into_iter().zip(1..).map(|(set, n)| input(&format!("set {n}"), set)).collect();
        let found: Vec<String> = problems(&inputs).into_iter().map(|line| format!("=> {line}")).collect();
        if found != expected {
            wrong.push(format!("{case}\nfound:\n{}", found.join("\n")));
        }
        let given: Vec<&str> = case.lines().filter(|line| !line.starts_with("=> ")).collect();
        blessed.push([given.join("\n"), found.join("\n")].join("\n").trim_end().to_owned());
    }
    if std::env::var_os("TRANSOM_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/malformed-sets.txt");
        std::fs::write(path, blessed.join("\n\n") + "\n").expect("the cases can be written");
        return;
    }
    assert!(cases >= 110, "{cases} cases");
    assert!(wrong.is_empty(), "{} wrong\n\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn bytes_that_are_no_set_are_refused() {
    let mut wrong = Vec::new();
    let mut check = |bytes: &[u8], expected: &str| {
        let found = problems(&[input("x", bytes.to_vec())]);
        if found != [expected] {
            wrong.push(format!("{bytes:x?}: {found:?}"));
        }
    };
    check(b"", "`x`: holds no files");
    check(b"\x12\x00", "`x`: holds no files");
    check(b"\x0a", "`x`: not a descriptor set: FileDescriptorSet.file: invalid varint");
    check(b"\x0a\x00", "`x`: file 0 of the set has no name");
    check(b"\x0a\x05\x0a", "`x`: not a descriptor set: FileDescriptorSet.file: buffer underflow");
    // A length of 2^64 - 1, and a varint that never ends.
    let huge = b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    check(huge, "`x`: not a descriptor set: FileDescriptorSet.file: buffer underflow");
    let endless = [&b"\x0a"[..], &[0xff; 10]].concat();
    check(&endless, "`x`: not a descriptor set: FileDescriptorSet.file: invalid varint");
    check(b"\x00\x00", "`x`: not a descriptor set: invalid tag value: 0");
    check(
        b"\x0c",
        "`x`: not a descriptor set: FileDescriptorSet.file: invalid wire type: EndGroup (expected LengthDelimited)",
    );
    check(b"\x0f", "`x`: not a descriptor set: invalid wire type value: 7");
    check(b"syntax = \"proto3\";", "`x`: not a descriptor set: invalid wire type value: 7");
    check(b"{\"file\":[]}", "`x`: not a descriptor set: buffer underflow");
    check(b"\x1f\x8b", "`x`: broken gzip data: unexpected end of file");
    check(b"\x1f\x8b\x08\x00zzzzzzzzzzzz", "`x`: broken gzip data: incomplete deflate stream");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_truncated_set_is_refused_or_sound() {
    for length in (0..LIBRARY.len()).step_by(7) {
        let found = problems(&[input("x", LIBRARY[..length].to_vec())]);
        // A cut between two files leaves a set that lacks what came last, which may not be missed.
        for problem in &found {
            assert!(problem.starts_with('`'), "{length}: {problem}");
        }
    }
}

#[test]
fn truncated_gzip_is_refused() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(LIBRARY).expect("memory");
    let packed = encoder.finish().expect("memory");
    assert_eq!(problems(&[input("x", packed.clone())]), [""; 0]);
    for length in [10, 11, packed.len() / 2, packed.len() - 9, packed.len() - 1] {
        let found = problems(&[input("x", packed[..length].to_vec())]);
        assert_eq!(found.len(), 1, "{length}");
        assert!(found[0].starts_with("`x`: broken gzip data: "), "{length}: {found:?}");
    }
}

#[test]
fn sets_are_bounded_after_decompression() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(LIBRARY).expect("memory");
    let packed = encoder.finish().expect("memory");
    let length = LIBRARY.len() as u64;
    for bytes in [LIBRARY.to_vec(), packed] {
        let inputs = [input("x", bytes)];
        assert!(load_within(&inputs, &Limits { set_bytes_max: length }).is_ok());
        let errors = load_within(&inputs, &Limits { set_bytes_max: length - 1 }).err().unwrap_or_default();
        let expected = format!("`x`: decompresses to more than {} bytes", length - 1);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn problems_are_listed_up_to_a_bound() {
    let fields = |count: usize| {
        let fields: String = (0..count).map(|n| format!("field(f{n} 0 INT32) ")).collect();
        problems(&[input("x", set_text::sets(&format!("message(M) {{ {fields} }}")).remove(0))])
    };
    // Each field but the first is a duplicate too.
    let half = PROBLEMS_MAX / 2;
    assert_eq!(fields(half).len(), PROBLEMS_MAX - 1);
    let found = fields(half + 1);
    assert_eq!(found.len(), PROBLEMS_MAX + 1);
    assert_eq!(found.last().map(String::as_str), Some("`t.proto`: 1 more problems"));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let text = format!("{}{}", "message(M) { ".repeat(depth), "} ".repeat(depth));
        problems(&[input("x", set_text::sets(&text).remove(0))])
    };
    assert_eq!(nested(32), [""; 0]);
    let name = ["M"; 33].join(".");
    assert_eq!(nested(33), [format!("`t.proto`: `{name}`: nested more than 32 deep")]);
    // Deeper than the decoder itself goes.
    let found = nested(2_000);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with(": recursion limit reached"), "{:.200}", found[0]);
}

#[test]
fn long_import_chains_end_no_stack() {
    let chain = |length: usize, public: &str| {
        let files: String = (0..length)
            .map(|n| format!("file(f{n}) {{ dependency: \"f{}\" {public} }} ", n + 1))
            .chain([format!("file(f{length}) {{}}")])
            .collect();
        problems(&[input("x", set_text::sets(&files).remove(0))])
    };
    assert_eq!(chain(20_000, ""), [""; 0]);
    assert_eq!(chain(500, "public: 0"), [""; 0]);
    let expected = "`f0`: public imports add up to more than 1048576 names of files";
    assert_eq!(chain(1_500, "public: 0"), [expected]);
}

/// What is left of a set after damage may be sound: then its plans compile too.
fn load_and_compile(bytes: Vec<u8>) {
    let Ok(schema) = load(&[input("x", bytes)]) else { return };
    for message in schema.pool().all_messages() {
        let id = schema.message_id(message.full_name()).expect("every message has an id");
        schema.message(id);
    }
    for method in schema.pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        schema.http_rule(&method);
    }
}

#[test]
fn flipped_bytes_make_no_panic() {
    bolero::check!().with_iterations(512).with_type::<[(u32, u8); 4]>().for_each(|flips| {
        let mut bytes = LIBRARY.to_vec();
        for (place, mask) in flips {
            bytes[*place as usize % LIBRARY.len()] ^= mask;
        }
        load_and_compile(bytes);
    });
}

#[test]
fn spliced_bytes_make_no_panic() {
    bolero::check!().with_iterations(512).with_type::<(u32, u32, u8)>().for_each(|&(from, to, length)| {
        let mut bytes = LIBRARY.to_vec();
        let [from, to] = [from, to].map(|place| place as usize % LIBRARY.len());
        let end = (from + usize::from(length % 64)).min(bytes.len());
        let piece = bytes[from..end].to_vec();
        bytes.splice(to..to, piece);
        load_and_compile(bytes);
    });
}
