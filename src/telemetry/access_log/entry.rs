//! One line of the access log: what is known of a call when its reply has ended.
//!
//! Every line has every member, `null` where there is nothing to say: `docs/telemetry.md` has the table. Values that
//! clients choose are clipped, and those of the query, where secrets end up, are masked.

use std::net::IpAddr;

use crate::policy::trace_context::TraceId;
use crate::status::Code;
use crate::telemetry::json::{Object, clip};
use crate::telemetry::timestamp::Timestamp;

/// Bytes of a path, of a template, and of the names in a query.
const PATH_BYTES_MAX: usize = 1024;
/// Bytes of any other text.
const TEXT_BYTES_MAX: usize = 256;
/// In the place of every value of a query.
const MASK: &str = "***";

/// A call, as its line tells it. Durations are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    /// When its reply ended.
    pub ended: Timestamp,
    pub request_id: &'c [u8],
    pub trace_id: Option<TraceId>,
    pub listener: &'c str,
    /// `None`: no surface serves the host.
    pub surface: Option<&'c str>,
    pub client: IpAddr,
    pub user_agent: Option<&'c [u8]>,
    /// `HTTP/1.1` and so on.
    pub protocol: &'static str,
    pub verb: &'c str,
    pub host: Option<&'c str>,
    pub path: &'c str,
    pub query: Option<&'c str>,
    /// The template that the path matched; `None`: there is no such route.
    pub template: Option<&'c str>,
    /// `package.Service.Method`.
    pub method: Option<&'c str>,
    pub consumer: Option<&'c str>,
    pub http_number: u16,
    pub code: Code,
    /// Of a failure.
    pub reason: Option<&'c str>,
    /// The stage that refused the call.
    pub refused_by: Option<&'static str>,
    pub duration_us: u64,
    /// Until the stages had let it through; of a call that they answered, all of it.
    pub stages_us: u64,
    /// From the first attempt at a backend to the end of its reply.
    pub backend_us: Option<u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Messages of the reply.
    pub messages: u64,
    /// The service that the stages let the call through to.
    pub service: Option<&'c str>,
    /// Where the last attempt went.
    pub endpoint: Option<&'c str>,
    pub attempts: u64,
    /// What the cache of replies did.
    pub cache: Option<&'static str>,
    /// Why the client got the static reply of the rule, where it did.
    pub fallback: Option<&'static str>,
    /// What is left of the limit that the client is told of.
    pub limit_left: Option<u64>,
}

/// What writing needs from line to line, so that none of it is made anew.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The second of the last line, and its text: most lines share it with the one before.
    second: Option<u64>,
    date: String,
    text: String,
}

impl Entry<'_> {
    /// Appends the line and its end.
    pub(super) fn write(&self, out: &mut Vec<u8>, scratch: &mut Scratch) {
        let mut line = Object::open(out);
        line.plain("time", scratch.time(self.ended));
        text(&mut line, "request_id", std::str::from_utf8(self.request_id).ok());
        match &self.trace_id {
            Some(id) => line.plain("trace_id", id.digits()),
            None => line.null("trace_id"),
        }
        text(&mut line, "listener", Some(self.listener));
        text(&mut line, "surface", self.surface);
        line.address("client", self.client);
        let user_agent = self.user_agent.map(String::from_utf8_lossy);
        text(&mut line, "user_agent", user_agent.as_deref());
        line.plain("protocol", self.protocol);
        text(&mut line, "verb", Some(self.verb));
        text(&mut line, "host", self.host);
        line.text("path", clip(self.path, PATH_BYTES_MAX));
        match self.query {
            Some(query) => line.text("query", scratch.masked(query)),
            None => line.null("query"),
        }
        match self.template {
            Some(template) => line.text("template", clip(template, PATH_BYTES_MAX)),
            None => line.null("template"),
        }
        text(&mut line, "method", self.method);
        text(&mut line, "consumer", self.consumer);
        self.write_outcome(&mut line);
        line.close();
        out.push(b'\n');
    }

    fn write_outcome(&self, line: &mut Object<'_>) {
        line.number("http", self.http_number.into());
        line.plain("code", self.code.name());
        text(line, "reason", self.reason);
        text(line, "refused_by", self.refused_by);
        line.number("duration_us", self.duration_us);
        line.number("stages_us", self.stages_us);
        number(line, "backend_us", self.backend_us);
        line.number("bytes_in", self.bytes_in);
        line.number("bytes_out", self.bytes_out);
        line.number("messages", self.messages);
        text(line, "service", self.service);
        text(line, "endpoint", self.endpoint);
        line.number("attempts", self.attempts);
        text(line, "cache", self.cache);
        text(line, "fallback", self.fallback);
        number(line, "limit_left", self.limit_left);
    }
}

/// Inlined for the name, as the methods of [`Object`] are.
#[inline(always)]
fn text(line: &mut Object<'_>, name: &str, value: Option<&str>) {
    match value {
        Some(value) => line.text(name, clip(value, TEXT_BYTES_MAX)),
        None => line.null(name),
    }
}

#[inline(always)]
fn number(line: &mut Object<'_>, name: &str, value: Option<u64>) {
    match value {
        Some(value) => line.number(name, value),
        None => line.null(name),
    }
}

impl Scratch {
    fn time(&mut self, time: Timestamp) -> &str {
        let second = time.unix_s();
        if self.second != Some(second) {
            self.second = Some(second);
            self.date = Timestamp(second * 1000).to_string();
        }
        // RFC 3339 as `Timestamp` has it ends in `.000Z`.
        self.date.truncate(self.date.len().saturating_sub(4));
        let digit = |unit| char::from(b'0' + (time.0 / unit % 10) as u8);
        self.date.extend([digit(100), digit(10), digit(1), 'Z']);
        &self.date
    }

    /// `token=abc&debug` → `token=***&***`: what has no name may be a secret itself.
    fn masked(&mut self, query: &str) -> &str {
        self.text.clear();
        for pair in clip(query, PATH_BYTES_MAX).split('&') {
            if !self.text.is_empty() {
                self.text.push('&');
            }
            if let Some((name, _)) = pair.split_once('=') {
                self.text.push_str(name);
                self.text.push('=');
            }
            self.text.push_str(MASK);
        }
        &self.text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::Ipv4Addr;

    use serde_json::{Value, json};

    use super::*;

    pub(in super::super) fn entry() -> Entry<'static> {
        Entry {
            ended: Timestamp(1_700_000_000_123),
            request_id: b"r-1",
            trace_id: None,
            listener: "public",
            surface: None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: None,
            protocol: "HTTP/1.1",
            verb: "GET",
            host: None,
            path: "/",
            query: None,
            template: None,
            method: None,
            consumer: None,
            http_number: 404,
            code: Code::NotFound,
            reason: None,
            refused_by: None,
            duration_us: 7,
            stages_us: 7,
            backend_us: None,
            bytes_in: 0,
            bytes_out: 0,
            messages: 0,
            service: None,
            endpoint: None,
            attempts: 0,
            cache: None,
            fallback: None,
            limit_left: None,
        }
    }

    fn line(entry: &Entry<'_>) -> Value {
        let mut out = Vec::new();
        entry.write(&mut out, &mut Scratch::default());
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1, "one call is one line");
        serde_json::from_slice(&out).expect("a line is JSON")
    }

    #[test]
    fn what_is_not_known_is_null() {
        let line = line(&entry());
        assert_eq!((&line["time"], &line["http"]), (&json!("2023-11-14T22:13:20.123Z"), &json!(404)));
        let nulls: Vec<_> =
            line.as_object().expect("an object").iter().filter(|(_, value)| value.is_null()).collect();
        assert_eq!(nulls.len(), 16, "{nulls:?}");
    }

    #[test]
    fn values_of_queries_are_masked() {
        let check = |query: &str, expected: &str| {
            assert_eq!(line(&Entry { query: Some(query), ..entry() })["query"], expected, "{query}");
        };
        check("page_size=10&token=s3cret", "page_size=***&token=***");
        check("s3cret", "***");
        check("a=b=s3cret&&", "a=***&***&***");
        check("", "***");
    }

    #[test]
    fn texts_of_clients_are_clipped_and_escaped() {
        let long = "x".repeat(2000);
        let told = line(&Entry { path: &long, host: Some(&long), query: Some(&long), ..entry() });
        let length = |name: &str| told[name].as_str().expect("a text").len();
        assert_eq!((length("path"), length("host"), length("query")), (1024, 256, 3));
        let told = line(&Entry { user_agent: Some(b"a\"\xff\r\n"), ..entry() });
        assert_eq!(told["user_agent"], "a\"\u{fffd}\r\n");
    }

    #[test]
    fn times_are_those_of_each_line() {
        let mut scratch = Scratch::default();
        for (ms, expected) in [
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (1_700_000_001_000, "2023-11-14T22:13:21.000Z"),
            (0, "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(scratch.time(Timestamp(ms)), expected);
        }
    }
}
