//! `observe`: what is told of the work beside its replies: a line for each call, traces, usage for those who bill,
//! an audit log for those who answer for the gateway.
//!
//! ```yaml
//! observe:
//!   access_log: { to: stdout, sample: { ok: 10%, errors: 100% } }
//!   traces: { otlp: "http://otel:4317", sample: 5% }
//!   usage: { http: "https://meter.example/events", token: env:METER_TOKEN, spool: /var/lib/transom/usage }
//!   audit: { file: /var/log/transom/audit.log }
//! ```

use std::path::PathBuf;

use http::Uri;

use super::access_log::AccessLog;
use super::finding::Report;
use super::kafka::{self, Kafka};
use super::section::Section;
use super::traces::Traces;
use super::value::{self, GIB, MIB};
use super::yaml::Node;
use super::{secret, section};
use crate::policy::secret::Secret;

/// Everything that is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    pub access_log: Option<AccessLog>,
    pub traces: Option<Traces>,
    pub usage: Option<Usage>,
    pub audit: Option<Audit>,
}

/// The usage of calls, as CloudEvents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What one event stands for. Default: a call.
    pub mode: UsageMode,
    pub sink: UsageSink,
    /// The directory of events that the sink has not taken. Default: the file's name and `.spool`.
    pub spool: PathBuf,
    /// Past it, new events are lost and counted. Default 256 MiB.
    pub spool_bytes_max: usize,
    /// The `source` of every event. Default `/transom`.
    pub source: String,
    /// Names this process among those with one source. Default: the name of the machine.
    pub node: Option<String>,
}

/// What one event stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UsageMode {
    /// One call.
    #[default]
    Call,
    /// A minute's calls with the same consumer, plan, surface, method and outcome.
    Rollup,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageSink {
    File(PathBuf),
    Http { url: Uri, token: Option<Secret> },
    Kafka(Kafka),
}

/// A log of what changed, each line bound to the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    pub file: PathBuf,
}

const SINKS: [&str; 3] = ["file", "http", "kafka"];
const MODES: [(&str, UsageMode); 2] = [("call", UsageMode::Call), ("rollup", UsageMode::Rollup)];

impl Observe {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut observe = Self::default();
        let mut section = Section::open(node, "observe", report)?;
        section.read("access_log", &mut observe.access_log, |node, report| {
            AccessLog::read(node, report).map(Some)
        });
        section.read("traces", &mut observe.traces, |node, report| Traces::read(node, report).map(Some));
        section.read("usage", &mut observe.usage, |node, report| Usage::read(node, report).map(Some));
        section.read("audit", &mut observe.audit, |node, report| Audit::read(node, report).map(Some));
        section.close(&[]);
        Some(observe)
    }
}

impl Usage {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let (mut mode, mut spool_bytes_max) = (UsageMode::default(), 256 * MIB);
        let (mut spool, mut name, mut source) = (None, None, "/transom".to_owned());
        let mut section = Section::open(node, "observe.usage", report)?;
        section.read("mode", &mut mode, value::choice(&MODES));
        let sink = UsageSink::read(&mut section);
        section.read("spool", &mut spool, |node, report| value::path(node, report).map(Some));
        section.read("spool_bytes", &mut spool_bytes_max, value::bytes(MIB..=1024 * GIB));
        section.read("source", &mut source, read_source);
        section.read("node", &mut name, |node, report| read_name(node, report).map(Some));
        let sinks = SINKS.into_iter().filter(|sink| section.has(sink)).count();
        let needs_spool = !section.has("file") && !section.has("spool");
        section.close(&[]);
        if sinks != 1 {
            let sinks = section::listed(&SINKS);
            return value::refuse(node, report, format!("`observe.usage`: expected one of {sinks}"));
        }
        if needs_spool {
            let advice = "name a directory for events that the sink has not taken";
            report.add(node.position, format!("`observe.usage.spool` is missing: {advice}"));
        }
        let sink = sink?;
        let spool = spool.or_else(|| {
            let UsageSink::File(file) = &sink else { return None };
            let mut name = file.clone().into_os_string();
            name.push(".spool");
            Some(name.into())
        });
        Some(Self { mode, sink, spool: spool?, spool_bytes_max, source, node: name })
    }
}

impl UsageSink {
    /// Reads the sinks and what belongs to each; the caller sees to it that there is one of them.
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let (mut file, mut url, mut token) = (None, None, None);
        let (mut kafka, mut ca, mut user, mut password) = (None, None, None, None);
        section.read("file", &mut file, |node, report| value::path(node, report).map(Some));
        section.read("http", &mut url, |node, report| read_url(node, report).map(Some));
        section.read("token", &mut token, |node, report| secret::read(node, report).map(Some));
        section.read("kafka", &mut kafka, |node, report| kafka::read(node, report).map(Some));
        section.read("ca", &mut ca, |node, report| value::path(node, report).map(Some));
        section.read("user", &mut user, |node, report| read_user(node, report).map(Some));
        section.read("password", &mut password, |node, report| read_password(node, report).map(Some));
        if !section.has("http") {
            section.forbid("token", "only `http` asks for one");
        }
        let has_kafka = section.has("kafka");
        let is_plain = kafka.as_ref().is_some_and(|kafka: &Kafka| !kafka.tls);
        for key in ["ca", "user", "password"] {
            if !has_kafka {
                section.forbid(key, "only `kafka` asks for one");
            } else if is_plain {
                section.forbid(key, "only by TLS: write `kafkas://` before the brokers");
            }
        }
        if section.has("user") != section.has("password") {
            section.refuse("`user` and `password` belong together");
        }
        let login = user.zip(password);
        match (file, url, kafka) {
            (Some(file), _, _) => Some(Self::File(file)),
            (None, Some(url), _) => Some(Self::Http { url, token }),
            (None, None, Some(kafka)) => Some(Self::Kafka(Kafka { ca, login, ..kafka })),
            (None, None, None) => None,
        }
    }
}

impl Audit {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut file = None;
        let mut section = Section::open(node, "observe.audit", report)?;
        section.read("file", &mut file, |node, report| value::path(node, report).map(Some));
        section.require("file", "name the file, which is only ever appended to");
        section.close(&[]);
        Some(Self { file: file? })
    }
}

/// `https://host/path`. A name and password would end up in logs of others, and are never repeated in ours.
fn read_url(node: &Node, report: &mut Report) -> Option<Uri> {
    let text = value::text(node, report)?;
    let uri = text.parse::<Uri>().ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    let Some(uri) = uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty())) else {
        return value::refuse(node, report, "expected a URL such as `https://meter.example/events`");
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return value::refuse(node, report, "no user name in the URL: a secret is named by `token`");
    }
    Some(uri)
}

/// RFC 4616: a NUL ends the name.
fn read_user(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_name = text.len() <= 256 && !text.contains('\0');
    if is_name { Some(text) } else { value::expected(node, report, "a name of up to 256 bytes") }
}

/// RFC 4616: a NUL ends the password.
fn read_password(node: &Node, report: &mut Report) -> Option<Secret> {
    let secret = secret::read(node, report)?;
    if secret.expose().contains('\0') {
        return value::refuse(node, report, "a password has no NUL");
    }
    Some(secret)
}

/// CloudEvents 1.0, `source`: a URI reference that is not empty.
fn read_source(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)) {
        return Some(text);
    }
    value::expected(node, report, "a URI reference such as `/transom` or `https://shop.example/edge`")
}

/// A part of the id of every event.
fn read_name(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_name && text.len() <= 64 {
        return Some(text);
    }
    value::expected(node, report, "up to 64 letters, digits, `-`, `_` and `.`")
}
