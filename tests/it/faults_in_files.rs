//! `transom check` finds what was put into a good file, each fault at its own line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::Directory;

const CLEAN: &str = include_str!("../cases/clean.yaml");
const FAULTS: &str = include_str!("../cases/seeded-faults.txt");

struct Fault<'a> {
    from: &'a str,
    to: &'a str,
    words: &'a str,
}

/// The findings of a file, and the exit code.
fn check(directory: &Path, text: &str) -> (Vec<Value>, Option<i32>) {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/door.proto");
    let text = text.replace("$DIRECTORY", directory.to_str().expect("UTF-8")).replace("$PROTO", proto);
    let file = directory.join("transom.yaml");
    std::fs::write(&file, text).expect("the directory is writable");
    let output = Command::new(env!("CARGO_BIN_EXE_transom"))
        .args(["check", "--strict", "--format", "json", "-c"])
        .arg(&file)
        .output()
        .expect("transom runs");
    let findings = serde_json::from_slice(&output.stdout);
    let failed = || panic!("{}", String::from_utf8_lossy(&output.stderr));
    (findings.unwrap_or_else(|_| failed()), output.status.code())
}

/// A certificate for `*.shop.test`, its key, and another key.
fn keys(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(vec!["*.shop.test".to_owned()]).expect("a name");
    parameters.not_after = rcgen::date_time_ymd(2999, 1, 1);
    let certificate = parameters.self_signed(&key).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    for (name, text) in [
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
        ("other.pem", other.serialize_pem()),
    ] {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("the directory is writable");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("the file is ours");
    }
}

fn faults() -> impl Iterator<Item = Fault<'static>> {
    // The first block explains the format.
    FAULTS.split("\n\n").skip(1).map(|block| {
        let part = |mark: &str| block.lines().find_map(|line| line.strip_prefix(mark)).expect("a whole case");
        Fault { from: part("- "), to: part("+ "), words: part("= ") }
    })
}

#[test]
fn every_seeded_fault_is_found_at_its_line() {
    let directory = Directory::new("faults");
    keys(directory.path());
    let (findings, code) = check(directory.path(), CLEAN);
    assert_eq!((findings.as_slice(), code), (&[][..], Some(0)));
    let (mut count, mut missed) = (0, Vec::new());
    for Fault { from, to, words } in faults() {
        let number = CLEAN.lines().position(|line| line == from);
        let number = number.unwrap_or_else(|| panic!("no line `{from}`")) + 1;
        let (findings, code) = check(directory.path(), &CLEAN.replacen(from, to, 1));
        let is_told = findings.iter().any(|finding| {
            finding["line"] == number && finding["message"].as_str().is_some_and(|text| text.contains(words))
        });
        if !is_told || code != Some(1) {
            missed.push(format!("{to}\nexpected `{words}` at line {number}, found {code:?} {findings:?}"));
        }
        count += 1;
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
    assert!(count >= 20, "{count} faults");
}
