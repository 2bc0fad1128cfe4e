//! Claims: finding one by its dotted path, and writing some as metadata for the backend.
//!
//! ```text
//! string, number, boolean → the text        array of these → joined by commas
//! anything else, absent, too long, an element with a comma → no header
//! text that gRPC metadata cannot hold → base64 under the name with `-bin`
//! ```

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::metadata;

/// A longer text is not forwarded: metadata is bounded, and a backend would refuse the whole call.
pub const FORWARD_BYTES_MAX: usize = 8 << 10;

/// The `forward:` table of a provider: which claim becomes which metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward(Vec<Forwarded>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Forwarded {
    claim: Box<str>,
    text: HeaderName,
    binary: HeaderName,
}

/// Why a claim cannot be forwarded under a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    #[error("`{0}` is not the name of a header")]
    Malformed(String),
    #[error("`{0}` cannot be written: {1}")]
    Reserved(String, &'static str),
}

impl Forward {
    /// Adds claim → header.
    ///
    /// # Errors
    ///
    /// Names that are no header's, or that gRPC or the gateway itself writes.
    pub fn add(&mut self, claim: &str, name: &str) -> Result<(), ForwardError> {
        let name = name.to_ascii_lowercase();
        let header =
            |name: &str| HeaderName::try_from(name).map_err(|_| ForwardError::Malformed(name.to_owned()));
        let stem = name.strip_suffix("-bin").unwrap_or(&name);
        let text = header(&name)?;
        let binary = header(&format!("{stem}-bin"))?;
        if let Some(reason) = metadata::reserved_identity(stem) {
            return Err(ForwardError::Reserved(name, reason));
        }
        self.0.push(Forwarded { claim: claim.into(), text, binary });
        Ok(())
    }

    /// The metadata that `claims` give.
    pub fn metadata(&self, claims: &Map<String, Value>) -> HeaderMap {
        let mut metadata = HeaderMap::new();
        for Forwarded { claim, text: name, binary } in &self.0 {
            let text = find(claims, claim).and_then(text).filter(|text| text.len() <= FORWARD_BYTES_MAX);
            let Some(text) = text else { continue };
            let plain = (name != binary && is_ascii_value(&text)).then(|| HeaderValue::from_str(&text));
            match plain {
                Some(Ok(value)) => metadata.insert(name.clone(), value),
                _ => metadata.insert(binary.clone(), metadata::binary_value(text.as_bytes())),
            };
        }
        metadata
    }

    /// Every header that this table can write.
    pub fn names(&self) -> impl Iterator<Item = HeaderName> {
        self.0.iter().flat_map(|one| [one.text.clone(), one.binary.clone()])
    }
}

/// The claim at a dotted path. A name with dots in it, as `https://api.example/tenant`, is found too: what is
/// written whole goes before what is nested.
pub fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| match claims.get(&path[..dot]) {
        Some(Value::Object(inner)) => find(inner, &path[dot + 1..]),
        _ => None,
    })
}

/// The text of a string, a number or a boolean.
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    let Value::Array(elements) = value else { return scalar(value) };
    let mut joined = String::new();
    for (index, element) in elements.iter().enumerate() {
        // An element with a comma would be read as two: `["a,admin"]` must not say `admin`.
        let element = scalar(element).filter(|element| !element.contains(','))?;
        if index > 0 {
            joined.push(',');
        }
        joined.push_str(&element);
    }
    Some(Cow::Owned(joined))
}

/// gRPC over HTTP/2: 0x20–0x7e. RFC 9113, section 8.2.1: no blank at either end.
fn is_ascii_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) && text.trim_matches(' ').len() == text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn check(claim: Value, expected: Option<(&str, &str)>) {
        let mut forward = Forward::default();
        forward.add("c", "X-C").expect("a name");
        let written = forward.metadata(&claims(json!({ "c": claim })));
        let written: Vec<_> =
            written.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect();
        assert_eq!(written, Vec::from_iter(expected), "{claim}");
    }

    #[test]
    fn claims_become_metadata() {
        check(json!("a b"), Some(("x-c", "a b")));
        check(json!(""), Some(("x-c", "")));
        check(json!(7), Some(("x-c", "7")));
        check(json!(true), Some(("x-c", "true")));
        check(json!(["a", 1, false]), Some(("x-c", "a,1,false")));
        check(json!([]), Some(("x-c", "")));
        check(json!("ä"), Some(("x-c-bin", "w6Q=")));
        check(json!(["a", "ä"]), Some(("x-c-bin", "YSzDpA==")));
        check(json!("a\r\nx-admin: 1"), Some(("x-c-bin", "YQ0KeC1hZG1pbjogMQ==")));
        check(json!(" a"), Some(("x-c-bin", "IGE=")));
        check(json!("a\t"), Some(("x-c-bin", "YQk=")));
        check(json!(["a,admin"]), None);
        check(json!([["a"]]), None);
        check(json!({ "a": 1 }), None);
        check(json!(null), None);
        check(json!("x".repeat(FORWARD_BYTES_MAX + 1)), None);
        let longest = "x".repeat(FORWARD_BYTES_MAX);
        check(json!(longest), Some(("x-c", &longest)));
    }

    #[test]
    fn absent_claim_is_an_absent_header() {
        let mut forward = Forward::default();
        forward.add("a", "x-a").expect("a name");
        forward.add("b", "x-b-bin").expect("a name");
        let written = forward.metadata(&claims(json!({ "b": "plain" })));
        assert_eq!((written.len(), written["x-b-bin"].to_str().ok()), (1, Some("cGxhaW4=")));
        let names: Vec<_> = forward.names().map(|name| name.to_string()).collect();
        assert_eq!(names, ["x-a", "x-a-bin", "x-b-bin", "x-b-bin"]);
    }

    #[test]
    fn paths_lead_into_objects_and_over_dots() {
        let claims = claims(json!({ "a": { "b": { "c": 1 }, "b.d": 2 }, "a.b": 3, "https://x.y/t": 4 }));
        let check = |path: &str, expected: Option<i64>| {
            assert_eq!(find(&claims, path).and_then(Value::as_i64), expected, "{path}");
        };
        check("a.b.c", Some(1));
        check("a.b.d", Some(2));
        check("a.b", Some(3));
        check("https://x.y/t", Some(4));
        check("a.c", None);
        check("", None);
        check(".", None);
    }

    #[test]
    fn what_others_write_is_refused() {
        let refused = |name: &str| {
            let error = Forward::default().add("sub", name).expect_err(name);
            assert!(error.to_string().starts_with(&format!("`{}`", name.to_lowercase())), "{error}");
        };
        for name in ["", "x y", "grpc-status", "TE", "authorization", "cookie", "x-request-id", "host-bin"] {
            refused(name);
        }
    }
}
