//! The rules of the house that a compiler does not check: who imports whom, sizes, headers, words.
//!
//! The tables below are the design's own. A remark that recurs in review belongs here. Test code is free of
//! the import table; it is still held to the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory or file of `src/`, the rooms it may name, and what of the outside world it must not.
struct Room {
    name: &'static str,
    rooms: &'static [&'static str],
    forbidden: &'static [&'static [&'static str]],
}

/// No runtime and no transport.
const RUNTIME: &[&str] =
    &["axum::", "hyper::", "hyper_util::", "h2::", "tokio::", "tokio_stream::", "tonic::", "tower::"];
/// No clock, no files, no environment: what goes in decides what comes out.
const WORLD: &[&str] =
    &["std::env", "std::fs", "std::net", "std::process", "std::thread", "Instant::now", "SystemTime"];
/// HTTP servers are the server's affair.
const SERVING: &[&str] = &["axum::", "hyper::", "hyper_util::"];
/// Standard output and standard error are the command line's.
const PRINTING: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "io::stdout", "io::stderr"];

const PURE: &[&[&str]] = &[RUNTIME, WORLD, PRINTING];
const SHELL: &[&[&str]] = &[SERVING, PRINTING];

/// In the order of lib.rs, from the inside out. What a room may import, it does import.
const ROOMS: &[Room] = &[
    Room { name: "status", rooms: &[], forbidden: PURE },
    Room { name: "schema", rooms: &[], forbidden: PURE },
    Room { name: "codec", rooms: &["status", "schema"], forbidden: PURE },
    Room { name: "route", rooms: &["status", "schema", "codec"], forbidden: PURE },
    Room { name: "graphql", rooms: &["status", "schema", "codec", "route"], forbidden: PURE },
    Room { name: "policy", rooms: &["status", "schema", "codec"], forbidden: PURE },
    Room { name: "validate", rooms: &["status", "schema", "codec", "policy"], forbidden: PURE },
    Room { name: "openapi", rooms: &["schema", "codec", "route", "graphql", "validate"], forbidden: PURE },
    Room {
        name: "snapshot",
        rooms: &["schema", "codec", "route", "graphql", "policy", "validate"],
        forbidden: PURE,
    },
    Room { name: "call", rooms: &["status", "policy", "route", "snapshot"], forbidden: PURE },
    Room {
        name: "frontend",
        rooms: &["status", "schema", "codec", "route", "graphql", "policy", "snapshot", "call"],
        forbidden: PURE,
    },
    Room { name: "store", rooms: &["policy"], forbidden: SHELL },
    Room {
        name: "stage",
        rooms: &["status", "policy", "snapshot", "call", "store", "telemetry", "source"],
        forbidden: SHELL,
    },
    Room { name: "telemetry", rooms: &["status", "policy"], forbidden: SHELL },
    Room { name: "upstream", rooms: &["status", "codec", "policy", "telemetry", "source"], forbidden: SHELL },
    Room {
        name: "transcode",
        rooms: &["status", "schema", "codec", "route", "policy", "validate", "snapshot", "call", "upstream"],
        forbidden: SHELL,
    },
    Room { name: "server", rooms: &["status", "policy", "telemetry"], forbidden: &[PRINTING] },
    Room { name: "source", rooms: &["schema", "telemetry"], forbidden: SHELL },
    Room { name: "config", rooms: &["codec", "route", "policy"], forbidden: &[RUNTIME, PRINTING] },
    Room {
        name: "gateway",
        rooms: &[
            "status",
            "schema",
            "codec",
            "route",
            "graphql",
            "openapi",
            "policy",
            "validate",
            "snapshot",
            "call",
            "frontend",
            "stage",
            "store",
            "telemetry",
            "upstream",
            "transcode",
            "server",
            "source",
            "config",
        ],
        forbidden: SHELL,
    },
    Room { name: "demo", rooms: &[], forbidden: SHELL },
    Room {
        name: "cli",
        rooms: &[
            "codec",
            "route",
            "graphql",
            "openapi",
            "policy",
            "snapshot",
            "config",
            "gateway",
            "demo",
            "telemetry",
        ],
        forbidden: &[SERVING],
    },
];

/// The crate's own two files are no room.
const ROOTS: &[&str] = &["lib.rs", "main.rs"];

const FILE_LINES_MAX: usize = 600;

#[test]
fn rooms_import_what_the_table_allows_and_no_less() {
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<_> =
        ROOMS.iter().flat_map(|room| room.rooms.iter().map(|named| (room.name, *named))).collect();
    for file in files(&["src"], &["rs"]) {
        let room_name = room_of(&file);
        if ROOTS.contains(&room_name.as_str()) || is_test(&file) {
            continue;
        }
        let Some(room) = ROOMS.iter().find(|room| room_name.trim_end_matches(".rs") == room.name) else {
            wrong.push(format!("{}: `{room_name}` has no row in the table", show(&file)));
            continue;
        };
        for (number, line) in code(&read(&file)) {
            let place = format!("{}:{number}", show(&file));
            unused.retain(|(name, named)| {
                *name != room.name || !rooms_named(line).any(|found| found == *named)
            });
            for named in rooms_named(line).filter(|named| *named != room.name && !room.rooms.contains(named))
            {
                wrong.push(format!("{place}: `{}` must not import `{named}`", room.name));
            }
            for path in room.forbidden.iter().copied().flatten().filter(|path| names(line, path)) {
                wrong.push(format!("{place}: `{}` must not use `{path}`", room.name));
            }
        }
    }
    wrong.extend(unused.iter().map(|(name, named)| format!("`{name}` may import `{named}` and never does")));
    report(&wrong);
}

/// Files that give a failure its reason write no other word in capitals, but for these.
const NO_REASONS: &[&str] = &["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "PRI", "HTTP"];

#[test]
fn every_reason_of_a_failure_is_documented() {
    let page = read(&root().join("docs/errors.md"));
    let mut missing = BTreeSet::new();
    for file in files(&["src"], &["rs"]).into_iter().filter(|file| !is_test(file)) {
        let text = read(&file);
        // Neither gRPC's codes nor HTTP/2's are reasons.
        if !text.contains(".with_reason(") || text.contains("fn reason_name(") || text.contains("enum Code") {
            continue;
        }
        for (number, line) in code(&text) {
            let words = line.split('"').skip(1).step_by(2);
            let is_reason = |word: &&str| {
                word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            };
            for word in words.filter(is_reason).filter(|word| !NO_REASONS.contains(word)) {
                // Some are put together of what was sent and what is wrong with it.
                if !page.contains(&format!("`{word}`")) && !page.contains(&format!("`{word}_")) {
                    missing.insert(format!(
                        "{}:{number}: docs/errors.md does not explain `{word}`",
                        show(&file)
                    ));
                }
            }
        }
    }
    report(&missing.into_iter().collect::<Vec<_>>());
}

#[test]
fn the_map_has_every_room() {
    let map = read(&root().join("ARCHITECTURE.md"));
    let row = |room: &Room| {
        map.lines().any(|line| {
            let names = line.strip_prefix('|').and_then(|line| line.split('|').next());
            names.is_some_and(|names| names.contains(&format!("`{}`", room.name)))
        })
    };
    let missing = ROOMS.iter().filter(|room| !row(room));
    report(
        &missing.map(|room| format!("ARCHITECTURE.md has no row for `{}`", room.name)).collect::<Vec<_>>(),
    );
}

#[test]
fn files_say_why_they_exist_and_stay_short() {
    let mut wrong = Vec::new();
    for file in files(&["src", "tests", "benches", "examples", "build.rs"], &["rs"]) {
        let text = read(&file);
        let header: Vec<_> = text.lines().take_while(|line| line.starts_with("//!")).collect();
        if header.is_empty() {
            wrong.push(format!("{}: begins without a `//!` header", show(&file)));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX && !header.iter().any(|line| line.starts_with("//! Length: ")) {
            wrong.push(format!("{}: {lines} lines and no `//! Length: …` with the reason", show(&file)));
        }
    }
    report(&wrong);
}

#[test]
fn nothing_is_left_for_later() {
    // In two halves, so that this file does not find itself.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X:"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["dbg", "!("],
        ["/work", "/"],
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["/tm", "p/"],
    ]
    .map(|halves| halves.concat());
    let mut wrong = Vec::new();
    for file in texts() {
        for (index, line) in read(&file).lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                wrong.push(format!("{}:{}: `{word}`", show(&file), index + 1));
            }
        }
    }
    report(&wrong);
}

#[test]
fn types_have_names_that_say_something() {
    const EMPTY: [&str; 7] = ["Manager", "Helper", "Helpers", "Util", "Utils", "Data", "Info"];
    let mut wrong = Vec::new();
    for file in files(&["src"], &["rs"]) {
        let text = read(&file);
        // What is indented may be an associated type of a foreign trait, whose name is not ours to choose.
        for (number, line) in code(&text).filter(|(_, line)| !line.starts_with(' ')) {
            let mut words = line.split(|character: char| !(character.is_alphanumeric() || character == '_'));
            let declares = words.by_ref().any(|word| ["struct", "enum", "trait", "type"].contains(&word));
            let name = words.next().unwrap_or_default();
            if declares && EMPTY.iter().any(|empty| name.ends_with(empty)) {
                wrong.push(format!("{}:{number}: `{name}` says nothing", show(&file)));
            }
        }
    }
    report(&wrong);
}

#[test]
fn texts_end_with_one_newline_and_no_line_with_a_blank() {
    let mut wrong = Vec::new();
    for file in texts() {
        let text = read(&file);
        if !text.ends_with('\n') || text.ends_with("\n\n") {
            wrong.push(format!("{}: must end with one newline", show(&file)));
        }
        for (index, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t', '\r']) {
                wrong.push(format!("{}:{}: ends with a blank", show(&file), index + 1));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_scanner_sees_what_it_should() {
    let named = |line: &'static str| rooms_named(line).collect::<Vec<_>>();
    assert_eq!(named("use crate::status::Status;"), ["status"]);
    assert_eq!(named("use crate::{codec::wire, schema};"), ["codec", "schema"]);
    assert_eq!(named("fn f(a: crate::call::Call) -> crate::status::Status {"), ["call", "status"]);
    assert_eq!(named("use mycrate::x;"), [""; 0]);
    assert!(names("use tokio::sync;", "tokio::"));
    assert!(names("let now = std::time::Instant::now();", "Instant::now"));
    assert!(!names("use my_tokio::sync;", "tokio::"));
    assert!(!names("SystemTimes::x", "SystemTime"));
    let text = "use a;\n// tokio::x\nlet b; // crate::x\n#[cfg(test)]\nmod tests;\n";
    assert_eq!(code(text).collect::<Vec<_>>(), [(1, "use a;"), (3, "let b; ")]);
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} remarks:\n{}", wrong.len(), wrong.join("\n"));
}

/// The lines before the tests, without comments, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(index, line)| (index + 1, line.find("//").map_or(line, |comment| &line[..comment])))
        .filter(|(_, line)| !line.trim().is_empty())
}

/// The modules of this crate that a line names by `crate::…`, also in the form `crate::{a, b::c}`.
fn rooms_named(line: &str) -> impl Iterator<Item = &str> {
    let starts = line.match_indices("crate::").filter(|(at, _)| !line[..*at].ends_with(word));
    starts.flat_map(|(at, path)| {
        let rest = &line[at + path.len()..];
        let group = rest.strip_prefix('{').map(|group| group.split(", "));
        let single = group.is_none().then_some(rest);
        group
            .into_iter()
            .flatten()
            .chain(single)
            .map(|path| path.split(|c| !word(c)).next().unwrap_or_default())
    })
}

/// Whether a line has `path` as whole words; what ends with `::` goes on.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let goes_on = line[at + path.len()..].starts_with(word);
        !line[..at].ends_with(word) && (path.ends_with("::") || !goes_on)
    })
}

fn word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// `src/codec/wire.rs` → `codec`; `src/status.rs` → `status.rs`.
fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).expect("the file is in src/");
    inside.iter().next().expect("a file has a name").to_string_lossy().into_owned()
}

fn is_test(file: &Path) -> bool {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    stem.ends_with("tests") || file.iter().any(|part| part == "tests")
}

/// Everything that people read and write here; data for tests is as it must be.
fn texts() -> Vec<PathBuf> {
    let kinds = ["rs", "md", "toml", "proto", "yaml", "yml", "sh", "py", "js", "justfile", "run", ""];
    let places = [
        "src",
        "tests",
        "benches",
        "examples",
        "docs",
        "proto",
        "scripts",
        ".ci",
        "build.rs",
        "justfile",
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
    ];
    let mut texts = files(&places, &kinds);
    let data = root().join("tests/data");
    texts.retain(|file| !file.starts_with(&data));
    texts
}

/// The files of these kinds at or below the places, in order; a place that does not exist has none.
fn files(places: &[&str], kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open: Vec<_> = places.iter().map(|place| root().join(place)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("the directory is readable");
            open.extend(entries.map(|entry| entry.expect("the directory is readable").path()));
            open.retain(|path| !path.ends_with("target"));
        } else if kinds.contains(&path.extension().unwrap_or_default().to_string_lossy().as_ref()) {
            found.push(path);
        }
    }
    found.retain(|path| path.exists());
    found.sort();
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", show(file)))
}

fn show(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
