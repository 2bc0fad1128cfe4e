//! One line of the access log: what is known of a call when its reply has ended.
//!
//! Every line has every member, `null` where there is nothing to say: `docs/telemetry.md` has the table. The values of
//! a query, where secrets end up, are masked.

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use crate::policy::trace_context::TraceId;
use crate::status::Code;
use crate::telemetry::json::Object;
use crate::telemetry::timestamp::Timestamp;

/// In the place of every value of a query.
const MASK: &str = "***";

/// A call, as its line tells it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'c> {
    pub texts: Texts<'c>,
    pub facts: Facts,
}

/// What clients, descriptors and the configuration call things.
#[derive(Clone, Copy, Debug, Default)]
pub struct Texts<'c> {
    pub request_id: &'c str,
    pub listener: &'c str,
    /// `None`: no surface serves the host.
    pub surface: Option<&'c str>,
    pub user_agent: Option<&'c str>,
    pub verb: &'c str,
    pub host: Option<&'c str>,
    pub path: &'c str,
    pub query: Option<&'c str>,
    /// The template that the path matched; `None`: there is no such route.
    pub template: Option<&'c str>,
    /// `package.Service.Method`.
    pub method: Option<&'c str>,
    pub consumer: Option<&'c str>,
    /// Of a failure.
    pub reason: Option<&'c str>,
    /// The service that the stages let the call through to.
    pub service: Option<&'c str>,
    /// Where the last attempt went.
    pub endpoint: Option<&'c str>,
}

/// What is counted, measured, or one of a few words. Durations are in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// When its reply ended.
    pub ended: Instant,
    pub trace_id: Option<TraceId>,
    pub client: IpAddr,
    /// `HTTP/1.1` and so on.
    pub protocol: &'static str,
    pub http_number: u16,
    pub code: Code,
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
    pub attempts: u64,
    /// What the cache of replies did.
    pub cache: Option<&'static str>,
    /// Why the client got the static reply of the rule, where it did.
    pub fallback: Option<&'static str>,
    /// What is left of the limit that the client is told of.
    pub limit_left: Option<u64>,
}

/// A moment, by both clocks: workers read the one that costs less.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    steady: Instant,
    wall: SystemTime,
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
    /// Appends the line and its end; `clock` was read of late.
    pub(super) fn write(&self, out: &mut Vec<u8>, clock: &Clock, scratch: &mut Scratch) {
        let Self { texts, facts } = self;
        let mut line = Object::open(out);
        line.plain("time", scratch.time(clock.at(facts.ended)));
        line.text("request_id", texts.request_id);
        match &facts.trace_id {
            Some(id) => line.plain("trace_id", id.digits()),
            None => line.null("trace_id"),
        }
        line.text("listener", texts.listener);
        text(&mut line, "surface", texts.surface);
        line.address("client", facts.client);
        text(&mut line, "user_agent", texts.user_agent);
        line.plain("protocol", facts.protocol);
        line.text("verb", texts.verb);
        text(&mut line, "host", texts.host);
        line.text("path", texts.path);
        text(&mut line, "query", texts.query.map(|query| scratch.masked(query)));
        text(&mut line, "template", texts.template);
        text(&mut line, "method", texts.method);
        text(&mut line, "consumer", texts.consumer);
        line.number("http", facts.http_number.into());
        line.plain("code", facts.code.name());
        text(&mut line, "reason", texts.reason);
        text(&mut line, "refused_by", facts.refused_by);
        line.number("duration_us", facts.duration_us);
        line.number("stages_us", facts.stages_us);
        number(&mut line, "backend_us", facts.backend_us);
        line.number("bytes_in", facts.bytes_in);
        line.number("bytes_out", facts.bytes_out);
        line.number("messages", facts.messages);
        text(&mut line, "service", texts.service);
        text(&mut line, "endpoint", texts.endpoint);
        line.number("attempts", facts.attempts);
        text(&mut line, "cache", facts.cache);
        text(&mut line, "fallback", facts.fallback);
        number(&mut line, "limit_left", facts.limit_left);
        line.close();
        out.push(b'\n');
    }
}

/// Inlined for the name, as the methods of [`Object`] are.
#[inline(always)]
fn text(line: &mut Object<'_>, name: &str, value: Option<&str>) {
    match value {
        Some(value) => line.text(name, value),
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

impl Clock {
    pub(super) fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// A moment not long before, or after, by the wall's clock.
    fn at(&self, moment: Instant) -> Timestamp {
        let before = self.wall.checked_sub(self.steady.saturating_duration_since(moment));
        let time = before.and_then(|time| time.checked_add(moment.saturating_duration_since(self.steady)));
        time.unwrap_or(self.wall).into()
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
        for pair in query.split('&') {
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
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    pub(in super::super) fn entry() -> Entry<'static> {
        let texts =
            Texts { request_id: "r-1", listener: "public", verb: "GET", path: "/", ..Texts::default() };
        let facts = Facts {
            ended: Instant::now(),
            trace_id: None,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            protocol: "HTTP/1.1",
            http_number: 404,
            code: Code::NotFound,
            refused_by: None,
            duration_us: 7,
            stages_us: 7,
            backend_us: None,
            bytes_in: 0,
            bytes_out: 0,
            messages: 0,
            attempts: 0,
            cache: None,
            fallback: None,
            limit_left: None,
        };
        Entry { texts, facts }
    }

    fn unix_ms(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn line(entry: &Entry<'_>) -> Value {
        let mut out = Vec::new();
        let clock = Clock { steady: entry.facts.ended, wall: unix_ms(1_700_000_000_123) };
        entry.write(&mut out, &clock, &mut Scratch::default());
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
            let Entry { texts, facts } = entry();
            let told = line(&Entry { texts: Texts { query: Some(query), ..texts }, facts });
            assert_eq!(told["query"], expected, "{query}");
        };
        check("page_size=10&token=s3cret", "page_size=***&token=***");
        check("s3cret", "***");
        check("a=b=s3cret&&", "a=***&***&***");
        check("", "***");
    }

    #[test]
    fn texts_of_clients_are_escaped() {
        let Entry { texts, facts } = entry();
        let texts = Texts { user_agent: Some("a\"\u{fffd}\r\n"), ..texts };
        assert_eq!(line(&Entry { texts, facts })["user_agent"], "a\"\u{fffd}\r\n");
    }

    #[test]
    fn moments_are_told_by_the_clock_on_the_wall() {
        let (steady, wall) = (Instant::now() + Duration::from_secs(9), unix_ms(1_700_000_000_123));
        let clock = Clock { steady, wall };
        let ms = Duration::from_millis;
        for (moment, expected) in
            [(steady, 123), (steady - ms(100), 23), (steady + ms(7), 130), (steady - ms(200), -77)]
        {
            assert_eq!(clock.at(moment).0.cast_signed(), 1_700_000_000_000 + expected);
        }
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
