//! A [`Status`] as `google.rpc.Status` JSON: `{"code", "message", "details"}`.
//!
//! Details are resolved in the snapshot's schema first, then among the `google.rpc` types that the
//! gateway brings along, because few descriptor sets contain them. A detail that neither knows, or
//! that does not decode, keeps its `@type` and its bytes: it never empties the body.

use std::sync::LazyLock;
use std::time::Duration;

use http::HeaderValue;

use crate::codec::options::JsonOptions;
use crate::codec::wire::{Reader, WireError, each_len};
use crate::codec::{base64, wire_to_json};
use crate::schema::plan::{WellKnown, wire};
use crate::schema::{Schema, built_in};
use crate::status::{Detail, Status};

/// The `google.rpc` error details, for sets that do not bring them.
static BUILT_IN: LazyLock<Schema> = LazyLock::new(built_in);

/// Renders `status` as the JSON of `google.rpc.Status`.
pub(super) fn status_json(schema: &Schema, options: &JsonOptions, status: &Status) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + status.message.len());
    out.extend_from_slice(br#"{"code":"#);
    out.extend_from_slice(status.code.number().to_string().as_bytes());
    out.extend_from_slice(br#","message":"#);
    put_string(&mut out, &status.message);
    out.extend_from_slice(br#","details":["#);
    for (index, detail) in status.details.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_detail(&mut out, schema, options, detail);
    }
    out.extend_from_slice(b"]}");
    out
}

/// ProtoJSON's form of `google.protobuf.Any`, wherever the type is known.
pub(super) fn put_detail(out: &mut Vec<u8>, schema: &Schema, options: &JsonOptions, detail: &Detail) {
    out.extend_from_slice(br#"{"@type":"#);
    put_string(out, &detail.type_url);
    let name = detail.type_url.rsplit('/').next().unwrap_or_default();
    let known = [schema, &*BUILT_IN].into_iter().find_map(|schema| Some((schema, schema.message_id(name)?)));
    let mut json = Vec::new();
    match known {
        Some((schema, id)) if wire_to_json(schema, id, options, &detail.value, &mut json).is_ok() => {
            let members = json.strip_prefix(b"{").filter(|_| schema.message(id).well_known == WellKnown::No);
            match members {
                Some(b"}") => out.push(b'}'),
                Some(members) => {
                    out.push(b',');
                    out.extend_from_slice(members);
                }
                None => {
                    out.extend_from_slice(br#","value":"#);
                    out.extend_from_slice(&json);
                    out.push(b'}');
                }
            }
        }
        _ => {
            out.extend_from_slice(br#","value":""#);
            base64::encode(&detail.value, out);
            out.extend_from_slice(br#""}"#);
        }
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string into memory");
}

/// `Retry-After`, where the status says when to come again.
pub(super) fn retry_after(status: &Status) -> Option<HeaderValue> {
    let delay = retry_delay(status)?;
    // RFC 9110, section 10.2.3: whole seconds; rounding down would invite a call too early.
    Some(HeaderValue::from(delay.as_secs() + u64::from(delay.subsec_nanos() > 0)))
}

/// The delay of the first `google.rpc.RetryInfo` among the details.
fn retry_delay(status: &Status) -> Option<Duration> {
    let detail = status.details.iter().find(|detail| detail.type_url.ends_with("/google.rpc.RetryInfo"))?;
    // RetryInfo { Duration retry_delay = 1 }; the parts of a message merge by being joined.
    let mut duration: Option<Vec<u8>> = None;
    let join = |part: &[u8]| {
        duration.get_or_insert_default().extend_from_slice(part);
        Ok(())
    };
    each_len(&detail.value, 1, join).ok()?;
    read_duration(&duration?).ok()?
}

/// Duration { int64 seconds = 1; int32 nanos = 2 }; negative ones are no delay.
fn read_duration(wire: &[u8]) -> Result<Option<Duration>, WireError> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(wire);
    while !reader.is_empty() {
        match reader.tag()? {
            (1, wire::VARINT) => seconds = reader.varint()?,
            (2, wire::VARINT) => nanos = reader.varint()?,
            (number, wire_type) => reader.skip(number, wire_type)?,
        }
    }
    let is_delay = i64::try_from(seconds).is_ok();
    let nanos = u32::try_from(nanos).ok().filter(|nanos| is_delay && *nanos < 1_000_000_000);
    Ok(nanos.map(|nanos| Duration::new(seconds, nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    fn check(details: Vec<Detail>, expected: &str) {
        let status = Status { details, ..Status::client(Code::NotFound, "a \"b\"") };
        let json = status_json(&built_in(), &JsonOptions::default(), &status);
        assert_eq!(
            String::from_utf8(json).expect("JSON"),
            format!(r#"{{"code":5,"message":"a \"b\"","details":[{expected}]}}"#)
        );
    }

    #[test]
    fn details_are_rendered_by_their_type() {
        let prefix = r#""@type":"type.googleapis.com/"#;
        check(vec![], "");
        check(
            vec![Detail::new("google.rpc.ErrorInfo", &b"\x0a\x01R"[..])],
            &format!(r#"{{{prefix}google.rpc.ErrorInfo","reason":"R"}}"#),
        );
        check(
            vec![Detail::new("google.rpc.ErrorInfo", &b""[..])],
            &format!(r#"{{{prefix}google.rpc.ErrorInfo"}}"#),
        );
        check(
            vec![Detail::new("google.protobuf.Duration", &b"\x08\x02"[..])],
            &format!(r#"{{{prefix}google.protobuf.Duration","value":"2s"}}"#),
        );
        check(
            vec![Detail::new("none.Such", &b"\x01"[..]), Detail::new("google.rpc.ErrorInfo", &b"\xff"[..])],
            &format!(
                r#"{{{prefix}none.Such","value":"AQ=="}},{{{prefix}google.rpc.ErrorInfo","value":"/w=="}}"#
            ),
        );
    }

    #[test]
    fn retry_info_is_a_delay() {
        let status = |delay| Status::gateway(Code::Unavailable, "").with_retry(delay);
        for delay in [Duration::ZERO, Duration::from_millis(1500), Duration::from_secs(u64::MAX / 4)] {
            assert_eq!(retry_delay(&status(delay)), Some(delay), "{delay:?}");
        }
        assert_eq!(retry_delay(&Status::gateway(Code::Unavailable, "")), None);
        let parts = Detail::new("google.rpc.RetryInfo", &b"\x0a\x02\x08\x01\x0a\x02\x10\x02"[..]);
        let whole = Some(Duration::new(1, 2));
        assert_eq!(retry_delay(&Status { details: vec![parts], ..status(Duration::ZERO) }), whole);
        let negative =
            Detail::new("google.rpc.RetryInfo", &b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..]);
        assert_eq!(retry_delay(&Status { details: vec![negative], ..status(Duration::ZERO) }), None);
    }
}
