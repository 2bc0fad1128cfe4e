//! Chains that hold, chains that do not, and what a configuration's change looks like.

use super::*;

/// A log of this test alone, gone with it.
struct Log(PathBuf);

impl Log {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("transom-audit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Self(path)
    }

    fn open(&self, digests: &[(&str, &str)]) -> Arc<Audit> {
        let digests =
            digests.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect();
        Audit::open(&config(&self.0, digests)).expect("writable")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).expect("readable")
    }

    fn entries(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn verify(&self) -> Result<Verified, Broken> {
        verify(self.text().as_bytes()).expect("readable")
    }
}

fn config(path: &std::path::Path, digests: Digests) -> AuditConfig {
    AuditConfig {
        path: path.to_owned(),
        node: "edge-1".to_owned(),
        config: Some("t.yaml".to_owned()),
        digests,
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn configurations_are_told_by_what_changed() {
    let log = Log::new("changes");
    log.open(&[("plans.free", "a1"), ("consumers.acme", "b1")]);
    log.open(&[("plans.free", "a2"), ("consumers.acme", "b1"), ("auth.keys", "c1")]);
    log.open(&[("plans.free", "a2"), ("auth.keys", "c1")]);
    log.open(&[("plans.free", "a2"), ("auth.keys", "c1")]);
    let change = |name: &str, before: Option<&str>, after: Option<&str>| json!({ "name": name, "before": before, "after": after });
    let expected = [
        json!([change("consumers.acme", None, Some("b1")), change("plans.free", None, Some("a1"))]),
        json!([change("auth.keys", None, Some("c1")), change("plans.free", Some("a1"), Some("a2"))]),
        json!([change("consumers.acme", Some("b1"), None)]),
        json!([]),
    ];
    let entries = log.entries();
    assert_eq!(entries.iter().map(|entry| entry["data"]["changes"].clone()).collect::<Vec<_>>(), expected);
    for (number, entry) in (1..).zip(&entries) {
        assert_eq!((&entry["number"], &entry["event"]), (&json!(number), &json!("config.loaded")));
        assert_eq!((&entry["actor"], &entry["node"]), (&json!("start"), &json!("edge-1")));
    }
    assert_eq!(log.verify().map(|verified| (verified.lines, verified.torn)), Ok((4, 0)));
}

fn three_entries(name: &str) -> Log {
    let log = Log::new(name);
    let audit = log.open(&[]);
    audit.record("file.read", "watch", json!({ "files": "deny.txt" }));
    audit.record("file.refused", "watch", json!({ "files": "deny.txt" }));
    log
}

#[test]
fn tampering_is_found_at_the_line_after_it() {
    let check = |name: &str, tamper: fn(&str) -> String, line: Option<u64>| {
        let log = three_entries(name);
        let text = tamper(&log.text());
        std::fs::write(&log.0, text).expect("writable");
        assert_eq!(log.verify().err().map(|broken| broken.line), line, "{name}");
    };
    check("whole", str::to_owned, None);
    check("first-changed", |text| text.replacen("t.yaml", "u.yaml", 1), Some(2));
    check("second-changed", |text| text.replacen("file.read", "file.rear", 1), Some(3));
    check("second-removed", |text| lines_of(text, &[0, 2]), Some(2));
    check("first-removed", |text| lines_of(text, &[1, 2]), None);
    check("swapped", |text| lines_of(text, &[0, 2, 1]), Some(2));
    check("doubled", |text| lines_of(text, &[0, 1, 1, 2]), Some(3));
    check("second-blanked", |text| text.replacen("\"event\":\"file.read\"", "", 1), Some(3));
    // What only the hash kept elsewhere can show.
    check("end-removed", |text| lines_of(text, &[0, 1]), None);
}

fn lines_of(text: &str, indexes: &[usize]) -> String {
    let lines: Vec<_> = text.lines().collect();
    indexes.iter().map(|index| format!("{}\n", lines[*index])).collect()
}

#[test]
fn a_file_without_its_beginning_says_what_it_continues() {
    let log = three_entries("beginning");
    let whole = log.verify().expect("whole");
    assert_eq!(whole.first, "0".repeat(64));
    std::fs::write(&log.0, lines_of(&log.text(), &[1, 2])).expect("writable");
    let rest = log.verify().expect("a chain");
    assert_ne!(rest.first, whole.first);
    assert_eq!(rest.last, whole.last);
}

#[test]
fn moved_file_is_continued() {
    let log = three_entries("moved");
    let audit = log.open(&[]);
    let last = log.verify().expect("whole").last;
    let moved = Log(log.0.with_extension("1"));
    std::fs::rename(&log.0, &moved.0).expect("a rename");
    audit.record("file.read", "watch", json!({}));
    let verified = log.verify().expect("a chain");
    assert_eq!((verified.lines, verified.first), (1, last));
    assert_eq!(log.entries()[0]["number"], 5);
}

#[test]
fn torn_line_is_covered_by_the_next() {
    let log = three_entries("torn");
    let text = log.text();
    std::fs::write(&log.0, &text[..text.len() - 40]).expect("writable");
    log.open(&[]);
    let verified = log.verify().expect("the chain holds");
    assert_eq!((verified.lines, verified.torn), (4, 1));
    std::fs::write(&log.0, log.text().replacen("file.refused", "file.refuse!", 1)).expect("writable");
    assert_eq!(log.verify().err().map(|broken| broken.line), Some(4), "what is left of it is covered");
}

#[test]
fn two_writers_take_turns() {
    let log = Log::new("two");
    let (one, two) = (log.open(&[]), log.open(&[]));
    for writer in [&one, &two, &two, &one] {
        writer.record("file.read", "watch", json!({}));
    }
    assert_eq!(log.verify().map(|verified| verified.lines), Ok(6));
}

#[test]
fn broken_log_is_said_to_be_broken() {
    let log = three_entries("broken");
    std::fs::write(&log.0, log.text().replacen("t.yaml", "u.yaml", 1)).expect("writable");
    log.open(&[]);
    let events: Vec<_> = log.entries().iter().map(|entry| entry["event"].clone()).collect();
    assert_eq!(events[3..], [json!("audit.broken"), json!("config.loaded")]);
    assert_eq!(log.verify().err().map(|broken| broken.line), Some(2));
}

#[test]
fn long_lines_are_found_whole() {
    let log = Log::new("long");
    let audit = log.open(&[]);
    for length in [10, 5000, 100_000, 20] {
        audit.record("file.read", "watch", json!({ "files": "x".repeat(length) }));
    }
    assert_eq!(log.verify().map(|verified| verified.lines), Ok(5));
}

#[test]
fn disk_that_refuses_is_an_error_at_the_start() {
    let missing = std::env::temp_dir().join("transom-no-such-directory/audit.log");
    assert!(Audit::open(&config(&missing, Digests::new())).is_err());
}
