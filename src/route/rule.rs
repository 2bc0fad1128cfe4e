//! `google.api.HttpRule`: one verb and one path for one method, from option bytes or a service config.
//!
//! An annotation is an extension of `MethodOptions`, read from its raw bytes: the descriptor set need not
//! contain `google/api/http.proto`. `additional_bindings` go one level deep, as `http.proto` says.

use prost::Message;

/// One binding of a method, as it was declared and not yet checked against the schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRule {
    /// `GET`, …, or the kind of a `custom` pattern; `*` there is any verb.
    pub verb: String,
    pub template: String,
    /// A field's name, `*`, or empty.
    pub body: String,
    /// A field's name, or empty.
    pub response_body: String,
}

/// Why an `HttpRule` is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("the `google.api.http` option is not a valid message: {0}")]
    Malformed(String),
    #[error("the http rule has no path: expected one of `get`, `put`, `post`, `delete`, `patch`, `custom`")]
    NoPattern,
    #[error("`additional_bindings` within `additional_bindings`")]
    Nested,
    #[error("`{0}` is not an HTTP method")]
    BadVerb(String),
}

impl HttpRule {
    /// The rules in the bytes of one `google.api.http` option: the primary one, then its additional ones.
    pub fn parse_all(option: &[u8]) -> Result<Vec<Self>, RuleError> {
        let declared = Declared::decode(option).map_err(|error| RuleError::Malformed(error.to_string()))?;
        declared.flatten()
    }

    /// What reaches a method that has no rule: `POST /package.Service/Method` with the whole request.
    pub fn unannotated(grpc_path: &str) -> Self {
        Self { verb: "POST".into(), template: grpc_path.into(), body: "*".into(), ..Self::default() }
    }
}

/// `google.api.HttpRule` as it is on the wire.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Declared {
    #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
    pub(super) pattern: Option<Pattern>,
    #[prost(string, tag = "7")]
    pub(super) body: String,
    #[prost(string, tag = "12")]
    pub(super) response_body: String,
    #[prost(message, repeated, tag = "11")]
    pub(super) additional_bindings: Vec<Declared>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Pattern {
    #[prost(string, tag = "2")]
    Get(String),
    #[prost(string, tag = "3")]
    Put(String),
    #[prost(string, tag = "4")]
    Post(String),
    #[prost(string, tag = "5")]
    Delete(String),
    #[prost(string, tag = "6")]
    Patch(String),
    #[prost(message, tag = "8")]
    Custom(CustomHttpPattern),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CustomHttpPattern {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) path: String,
}

impl Declared {
    /// The primary rule and the additional ones, in order.
    pub(super) fn flatten(mut self) -> Result<Vec<HttpRule>, RuleError> {
        let additional = std::mem::take(&mut self.additional_bindings);
        if additional.iter().any(|rule| !rule.additional_bindings.is_empty()) {
            return Err(RuleError::Nested);
        }
        std::iter::once(self).chain(additional).map(Self::single).collect()
    }

    fn single(self) -> Result<HttpRule, RuleError> {
        let (verb, template) = match self.pattern.ok_or(RuleError::NoPattern)? {
            Pattern::Get(template) => ("GET".to_owned(), template),
            Pattern::Put(template) => ("PUT".to_owned(), template),
            Pattern::Post(template) => ("POST".to_owned(), template),
            Pattern::Delete(template) => ("DELETE".to_owned(), template),
            Pattern::Patch(template) => ("PATCH".to_owned(), template),
            Pattern::Custom(CustomHttpPattern { kind, path }) => (kind, path),
        };
        // Any token of HTTP is one; so is the `*` that stands for any of them.
        if http::Method::from_bytes(verb.as_bytes()).is_err() {
            return Err(RuleError::BadVerb(verb));
        }
        Ok(HttpRule { verb, template, body: self.body, response_body: self.response_body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verb: &str, template: &str) -> HttpRule {
        HttpRule { verb: verb.into(), template: template.into(), ..HttpRule::default() }
    }

    #[test]
    fn option_bytes_become_rules_in_order() {
        let bytes = b"\x12\x02/a\x3a\x01*\x62\x01r\x5a\x04\x22\x02/b\x5a\x0b\x42\x09\x0a\x03FOO\x12\x02/c";
        let first = HttpRule { body: "*".into(), response_body: "r".into(), ..rule("GET", "/a") };
        assert_eq!(HttpRule::parse_all(bytes), Ok(vec![first, rule("POST", "/b"), rule("FOO", "/c")]));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (bytes, error) in [
            (&b""[..], "the http rule has no path: expected one of"),
            (b"\x5a\x02\x12\x00", "the http rule has no path"),
            (b"\x12\x02/a\x5a\x08\x12\x02/b\x5a\x02\x12\x00", "`additional_bindings` within"),
            (b"\x42\x04\x12\x02/a", "`` is not an HTTP method"),
            (b"\x42\x09\x0a\x03G T\x12\x02/a", "`G T` is not an HTTP method"),
            (b"\x12\x05/a", "the `google.api.http` option is not a valid message"),
            (b"\x12\x01\xff", "the `google.api.http` option is not a valid message"),
            (b"\x10\x01", "the `google.api.http` option is not a valid message"),
        ] {
            let found = HttpRule::parse_all(bytes).expect_err("refused").to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
