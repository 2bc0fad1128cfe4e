//! What a reload cannot change: it is held back, and said to be, at its line.
//!
//! The sockets of operators and the threads are there before any configuration is loaded again; where usage, the
//! two logs and traces go is opened once, so that nothing of them is lost between two files.

use super::Config;
use super::finding::{Finding, Severity};

/// A key that holds from the start to the end of the process.
struct Key {
    path: &'static [&'static str],
    is_same: fn(&Config, &Config) -> bool,
    hold: fn(&mut Config, &Config),
}

const KEYS: [Key; 6] = [
    Key {
        path: &["workers"],
        is_same: |one, other| one.workers == other.workers,
        hold: |next, running| next.workers = running.workers,
    },
    Key {
        path: &["listeners", "admin", "bind"],
        is_same: |one, other| one.listeners.admin.bind == other.listeners.admin.bind,
        hold: |next, running| next.listeners.admin.bind = running.listeners.admin.bind,
    },
    Key {
        path: &["observe", "access_log"],
        is_same: |one, other| one.observe.access_log == other.observe.access_log,
        hold: |next, running| next.observe.access_log = running.observe.access_log.clone(),
    },
    Key {
        path: &["observe", "traces"],
        is_same: |one, other| one.observe.traces == other.observe.traces,
        hold: |next, running| next.observe.traces = running.observe.traces.clone(),
    },
    Key {
        path: &["observe", "usage"],
        is_same: |one, other| one.observe.usage == other.observe.usage,
        hold: |next, running| next.observe.usage = running.observe.usage.clone(),
    },
    Key {
        path: &["observe", "audit"],
        is_same: |one, other| one.observe.audit == other.observe.audit,
        hold: |next, running| next.observe.audit = running.observe.audit.clone(),
    },
];

impl Config {
    /// Keeps what holds until a restart as it is in `running`; gives the paths of these keys, and a warning each.
    pub fn hold_back(&mut self, running: &Self) -> Vec<(&'static [&'static str], Finding)> {
        let changed = KEYS.iter().filter(|key| !(key.is_same)(self, running)).collect::<Vec<_>>();
        let held = changed.into_iter().map(|key| {
            (key.hold)(self, running);
            let message = format!("`{}` holds after a restart", key.path.join("."));
            let position = self.place(key.path);
            (key.path, Finding { file: self.file.clone(), position, severity: Severity::Warning, message })
        });
        held.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Elsewhere;

    #[test]
    fn what_holds_until_a_restart_is_told_at_its_line() {
        let config = |text: &str| {
            let elsewhere = Elsewhere { descriptors: true, services: true, ..Elsewhere::default() };
            Config::parse(&format!("version: 1\n{text}"), Path::new("t.yaml"), elsewhere)
                .expect("a good file")
        };
        let running = config("workers: 2\nobserve: { audit: { file: a } }");
        let check = |text: &str, expected: &[&str]| {
            let mut next = config(text);
            let held = next.hold_back(&running);
            let messages: Vec<_> = held.iter().map(|(_, finding)| finding.to_string()).collect();
            assert_eq!(messages, expected, "{text}");
            assert_eq!((next.workers, &next.observe), (running.workers, &running.observe), "{text}");
        };
        check("workers: 2\nobserve: { audit: { file: a } }", &[]);
        check(
            "workers: 3\nobserve: { audit: { file: b } }",
            &[
                "t.yaml:2:10: warning: `workers` holds after a restart",
                "t.yaml:3:19: warning: `observe.audit` holds after a restart",
            ],
        );
        check(
            "workers: 2\nlisteners: { admin: { bind: \"127.0.0.1:1\" } }\nobserve: { audit: { file: a }, usage: { file: u } }",
            &[
                "t.yaml:3:29: warning: `listeners.admin.bind` holds after a restart",
                "t.yaml:4:39: warning: `observe.usage` holds after a restart",
            ],
        );
        // Where the key is gone, what it stood in is named.
        check("workers: 2\nobserve:\n  {}", &["t.yaml:4:3: warning: `observe.audit` holds after a restart"]);
    }
}
