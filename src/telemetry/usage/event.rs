//! Records as CloudEvents 1.0 in JSON, one object a line.
//!
//! ```text
//! id = node "." boot "." sequence                    one call
//!    | node "." boot "." minute "." part "." digest  one key of a rollup
//! ```
//!
//! An event gets its id once, before it is written to the spool, and is sent with it however often: whoever
//! bills drops an event whose `source` and `id` it has seen. `boot` differs between processes, so that
//! nothing is counted on across a crash. Names are clipped, because claims of tokens become names.

use std::sync::Arc;

use super::record::Record;
use super::rollup::{Key, Sum};
use crate::telemetry::json::{Object, clip};
use crate::telemetry::timestamp::Timestamp;

/// Bytes of a name in an event.
const NAME_BYTES_MAX: usize = 256;

/// Who speaks: what the events of one process have in common.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    /// The `source` of every event.
    pub(super) source: String,
    pub(super) node: String,
    /// Of this process alone.
    pub(super) boot: String,
}

impl Speaker {
    /// Appends one event for one call, and a newline.
    pub(super) fn call(&self, out: &mut Vec<u8>, sequence: u64, record: &Record) {
        let id = format_args!("{}.{}.{sequence}", self.node, self.boot);
        let mut object = self.open(out, &id.to_string(), "transom.usage.call", record.ended);
        optional(&mut object, "subject", record.consumer());
        let mut data = object.object("data");
        let identity = record.identity.as_ref();
        optional(&mut data, "consumer", record.consumer());
        optional(&mut data, "plan", record.plan());
        optional(&mut data, "credential", identity.map(|identity| &identity.credential));
        name(&mut data, "surface", &record.route.surface);
        name(&mut data, "method", &record.route.method);
        data.text("code", record.outcome.code.name());
        data.number("http", record.http_number.into());
        data.number("bytes_in", record.outcome.bytes_in);
        data.number("bytes_out", record.outcome.bytes_out);
        data.number("messages", record.outcome.messages);
        data.number("duration_us", record.duration_us());
        data.number("cost", record.outcome.cost);
        if let Some(result) = record.cache {
            name(&mut data, "cache", result);
        }
        data.close();
        object.close();
        out.push(b'\n');
    }

    /// Appends one event for a minute's calls of one key, and a newline.
    pub(super) fn rollup(&self, out: &mut Vec<u8>, minute: u64, part: u32, key: &Key, sum: &Sum) {
        let id = format!("{}.{}.{minute}.{part}.{}", self.node, self.boot, key.digest());
        let (from, to) = (Timestamp::of_minute(minute), Timestamp::of_minute(minute + 1));
        let mut object = self.open(out, &id, "transom.usage.rollup", from);
        optional(&mut object, "subject", key.consumer.as_ref());
        let mut data = object.object("data");
        data.text("from", &from.to_string());
        data.text("to", &to.to_string());
        optional(&mut data, "consumer", key.consumer.as_ref());
        optional(&mut data, "plan", key.plan.as_ref());
        name(&mut data, "surface", &key.surface);
        name(&mut data, "method", &key.method);
        data.text("code", key.code.name());
        data.number("http", key.http_number.into());
        data.number("calls", sum.calls);
        data.number("bytes_in", sum.bytes_in);
        data.number("bytes_out", sum.bytes_out);
        data.number("messages", sum.messages);
        data.number("duration_us", sum.duration_us);
        data.number("cost", sum.cost);
        data.close();
        object.close();
        out.push(b'\n');
    }

    fn open<'o>(&self, out: &'o mut Vec<u8>, id: &str, kind: &str, time: Timestamp) -> Object<'o> {
        let mut object = Object::open(out);
        object.text("specversion", "1.0");
        name(&mut object, "id", id);
        name(&mut object, "source", &self.source);
        object.text("type", kind);
        object.text("time", &time.to_string());
        object.text("datacontenttype", "application/json");
        object
    }
}

/// A name in an event.
fn name(object: &mut Object<'_>, member: &str, name: &str) {
    object.text(member, clip(name, NAME_BYTES_MAX));
}

fn optional(object: &mut Object<'_>, member: &str, value: Option<&Arc<str>>) {
    if let Some(value) = value {
        name(object, member, value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::record::tests::{identity, record};
    use super::*;

    fn speaker() -> Speaker {
        Speaker { source: "/transom".into(), node: "edge-1".into(), boot: "b0".into() }
    }

    fn event(write: impl Fn(&mut Vec<u8>)) -> Value {
        let mut line = Vec::new();
        write(&mut line);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "one event is one line");
        serde_json::from_slice(&line).expect("an event is JSON")
    }

    #[test]
    fn call_becomes_one_event() {
        let expected = json!({
            "specversion": "1.0", "id": "edge-1.b0.7", "source": "/transom", "type": "transom.usage.call",
            "time": "2023-11-14T22:13:20.123Z", "datacontenttype": "application/json", "subject": "acme",
            "data": {
                "consumer": "acme", "plan": "pro", "credential": "key-1", "surface": "web",
                "method": "shop.v1.Orders.Get", "code": "OK", "http": 200, "bytes_in": 10,
                "bytes_out": 20, "messages": 1, "duration_us": 1500, "cost": 1,
            },
        });
        assert_eq!(event(|out| speaker().call(out, 7, &record())), expected);
    }

    #[test]
    fn a_call_says_what_the_cache_did() {
        let hit = Record { cache: Some("hit"), ..record() };
        assert_eq!(event(|out| speaker().call(out, 1, &hit))["data"]["cache"], "hit");
        assert_eq!(event(|out| speaker().call(out, 1, &record()))["data"].get("cache"), None);
    }

    #[test]
    fn anonymous_call_has_no_subject() {
        let anonymous = Record { identity: None, ..record() };
        let event = event(|out| speaker().call(out, 1, &anonymous));
        assert_eq!(event.get("subject"), None);
        assert_eq!(event["data"].get("consumer"), None);
    }

    #[test]
    fn minute_of_a_key_becomes_one_event() {
        let key = Key::of(&record());
        let sum = Sum { calls: 3, bytes_in: 30, bytes_out: 60, messages: 3, duration_us: 4500, cost: 3 };
        let event = event(|out| speaker().rollup(out, 28_333_333, 0, &key, &sum));
        assert_eq!(event["id"], format!("edge-1.b0.28333333.0.{}", key.digest()));
        assert_eq!(event["type"], "transom.usage.rollup");
        assert_eq!(event["time"], "2023-11-14T22:13:00.000Z");
        assert_eq!(event["data"]["to"], "2023-11-14T22:14:00.000Z");
        assert_eq!((&event["data"]["calls"], &event["data"]["duration_us"]), (&json!(3), &json!(4500)));
    }

    #[test]
    fn names_are_escaped_and_clipped() {
        let name = |name: &str| {
            let record = Record { identity: Some(identity(name, None)), ..record() };
            event(|out| speaker().call(out, 1, &record))["subject"].as_str().map(str::to_owned)
        };
        assert_eq!(name("a\"\n\u{1}b").as_deref(), Some("a\"\n\u{1}b"));
        assert_eq!(name(&"x".repeat(300)).map(|name| name.len()), Some(256));
        assert_eq!(name(&format!("{}ä", "x".repeat(255))).map(|name| name.len()), Some(255));
    }
}
