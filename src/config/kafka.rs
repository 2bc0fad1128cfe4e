//! Where a Kafka topic is: `kafka.prod:9092,kafka-2.prod:9092/usage`, and by TLS with `kafkas://` before it.
//!
//! ```text
//! Address = [ "kafka://" | "kafkas://" ] Broker { "," Broker } "/" Topic
//! Broker  = Host ":" Port        an IPv6 address in brackets
//! ```
//!
//! A build without the feature `kafka` knows the key, and refuses it where it stands.

use std::path::PathBuf;

use super::finding::Report;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::secret::Secret;

/// A topic, and the brokers that are asked who leads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kafka {
    /// Host and port, at least one.
    pub brokers: Vec<(String, u16)>,
    pub topic: String,
    /// `kafkas`: by TLS.
    pub tls: bool,
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// SASL/PLAIN: name and password, only by TLS.
    pub login: Option<(String, Secret)>,
}

const EXPECTED: &str = "brokers and a topic such as `kafka.prod:9092,kafka-2.prod:9092/usage`, \
                        with `kafkas://` before it for TLS";

/// One is enough to find the others.
const BROKERS_MAX: usize = 16;

/// Kafka's own bound: a topic is a directory.
const TOPIC_BYTES_MAX: usize = 249;

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Kafka> {
    if let Value::Unwritten = node.value {
        return value::expected(node, report, EXPECTED);
    }
    let text = value::text(node, report)?;
    if !cfg!(feature = "kafka") {
        return value::refuse(
            node,
            report,
            "this build of Transom has no Kafka: `cargo build --features kafka` makes one that has",
        );
    }
    if text.contains('@') {
        // Not repeated: there may be a password in it.
        return value::refuse(
            node,
            report,
            "no user name in the address: write `user` and `password: env:NAME`",
        );
    }
    match parse(&text) {
        Some(kafka) => Some(kafka),
        None => value::expected(node, report, EXPECTED),
    }
}

fn parse(text: &str) -> Option<Kafka> {
    let (tls, address) = match text.split_once("://") {
        Some(("kafkas", address)) => (true, address),
        Some(("kafka", address)) => (false, address),
        Some(_) => return None,
        None => (false, text),
    };
    let (brokers, topic) = address.split_once('/')?;
    let brokers = brokers.split(',').map(broker).collect::<Option<Vec<_>>>()?;
    let is_valid = brokers.len() <= BROKERS_MAX && is_topic(topic);
    is_valid.then(|| Kafka { brokers, topic: topic.to_owned(), tls, ca: None, login: None })
}

fn broker(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_valid = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => return host.parse::<std::net::Ipv6Addr>().ok().map(|_| (host.to_owned(), port)),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
    };
    (is_valid && !host.is_empty()).then(|| (host.to_owned(), port))
}

fn is_topic(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=TOPIC_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain) && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::yaml;

    #[test]
    fn addresses_are_brokers_and_a_topic() {
        let check = |text: &str, tls: bool, brokers: &[(&str, u16)], topic: &str| {
            let brokers = brokers.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
            let expected = Kafka { brokers, topic: topic.to_owned(), tls, ca: None, login: None };
            assert_eq!(parse(text), Some(expected), "{text}");
        };
        check("kafka:9092/edge-usage", false, &[("kafka", 9092)], "edge-usage");
        check("kafka://a:1,b.test:2/t", false, &[("a", 1), ("b.test", 2)], "t");
        check("kafkas://10.0.0.1:9093/a.b_c-D", true, &[("10.0.0.1", 9093)], "a.b_c-D");
        check("kafkas://[fd00::1]:9093/t", true, &[("fd00::1", 9093)], "t");
        let longest = "t".repeat(249);
        check(&format!("a:1/{longest}"), false, &[("a", 1)], &longest);
    }

    #[test]
    fn everything_else_is_none() {
        let too_many = format!("{}/t", ["a:1"; 17].join(","));
        let too_long = format!("a:1/{}", "t".repeat(250));
        for text in [
            "a:1",
            "a:1/",
            "/t",
            "a/t",
            "a:/t",
            "a:0/t",
            "a:65536/t",
            ":1/t",
            "a:1,/t",
            ",a:1/t",
            "a:1, b:1/t",
            "a:1/t/u",
            "a:1/t?x=1",
            "a:1/.",
            "a:1/..",
            "http://a:1/t",
            "kafkas:/a:1/t",
            "[a]:1/t",
            "fd00::1/t",
            "a b:1/t",
            "ä:1/t",
            &too_many,
            &too_long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let check = |text: &str, expected: &str| {
            let mut report = Report::new(Path::new("t.yaml"));
            assert_eq!(read(&yaml::parse(text).expect("YAML"), &mut report), None, "{text}");
            let findings = report.into_findings();
            let message = if cfg!(feature = "kafka") { expected } else { "cargo build --features kafka" };
            assert!(findings[0].message.contains(message), "{text}: {findings:?}");
            assert!(!findings[0].message.contains("hunter2"), "{text}");
        };
        check("nowhere", "expected brokers and a topic such as");
        check("me:hunter2@a:1/t", "no user name in the address");
        if !cfg!(feature = "kafka") {
            check("a:1/t", "");
        }
    }
}
