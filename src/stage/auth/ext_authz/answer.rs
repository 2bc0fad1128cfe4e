//! The answer: `CheckResponse` as what is allowed, or how it is denied.
//!
//! A service may be wrong, or lie: what it says is bounded, and names that are not its to write are passed
//! over. An answer that says neither yes nor no, or both, is no consent.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use prost_types::value::Kind;
use serde_json::{Map, Number, Value};

use super::ExtAuthzSettings;
use super::proto::envoy::service::auth::v3::check_response::HttpResponse;
use super::proto::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, HeaderValueOption, OkHttpResponse,
};
use crate::policy::identity::Proven;
use crate::policy::metadata::{reserved, reserved_back};
use crate::stage::auth::provider::{Denial, Refusal};

/// Headers of an answer, and what their names and values may come to.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 << 10;
/// A longer body is not for the client's eyes.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Deeper claims are left out.
const DEPTH_MAX: usize = 32;

/// A yes, and what comes with it.
#[derive(Debug)]
pub(super) struct Allowed {
    claims: Map<String, Value>,
    headers: HeaderMap,
    withheld: Box<[HeaderName]>,
}

/// Reads an answer.
///
/// # Errors
///
/// What it denies, and answers that cannot be trusted.
pub(super) fn read(answer: CheckResponse) -> Result<Allowed, Refusal> {
    let is_ok = answer.status.as_ref().map(|status| status.code == 0);
    let claims = answer.dynamic_metadata.map(|fields| object(fields.fields, 0)).unwrap_or_default();
    match (is_ok, answer.http_response) {
        // Deviates: Envoy takes a status that is absent for `OK`. Nobody has said yes.
        (None, None) => Err(Refusal::Unavailable("the authorization service said nothing")),
        (Some(true), None) => allowed(claims, OkHttpResponse::default()),
        (Some(true) | None, Some(HttpResponse::OkResponse(ok))) => allowed(claims, ok),
        (_, Some(HttpResponse::DeniedResponse(denied))) => Err(refusal(denied)),
        (Some(false), _) => Err(refusal(DeniedHttpResponse::default())),
    }
}

impl Allowed {
    /// What the answer proves. Its headers are claims too, where metadata of the same name is not.
    pub(super) fn prove(self, settings: &ExtAuthzSettings) -> Proven {
        let consumer = settings.consumer_header.as_ref().and_then(|name| self.headers.get(name));
        let consumer = consumer.and_then(|value| settings.consumers.get(value.to_str().ok()?).cloned());
        let mut claims = self.claims;
        for (name, value) in &self.headers {
            let text = String::from_utf8_lossy(value.as_bytes());
            claims.entry(name.as_str()).or_insert_with(|| Value::from(text));
        }
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) => subject.as_str().into(),
            _ => consumer.as_ref().map_or_else(Arc::default, |consumer| consumer.name.clone()),
        };
        Proven { subject, claims: Arc::new(claims), consumer, withheld: self.withheld, ..Proven::default() }
    }
}

fn allowed(claims: Map<String, Value>, ok: OkHttpResponse) -> Result<Allowed, Refusal> {
    let headers =
        headers(ok.headers).ok_or(Refusal::Unavailable("the authorization service said too much"))?;
    if ok.headers_to_remove.len() > HEADERS_MAX {
        return Err(Refusal::Unavailable("the authorization service said too much"));
    }
    let withheld = ok.headers_to_remove.into_iter().filter_map(|name| HeaderName::try_from(name).ok());
    // What the gateway writes itself is not for others to take away.
    let withheld = withheld.filter(|name| reserved(name.as_str()).is_none()).collect();
    Ok(Allowed { claims, headers, withheld })
}

/// A denial with a number that denies: otherwise 403, the protocol's default. A service that says that it is
/// out of order is believed.
fn refusal(denied: DeniedHttpResponse) -> Refusal {
    let code = denied.status.map_or(0, |status| status.code);
    let status = u16::try_from(code).ok().and_then(|number| StatusCode::from_u16(number).ok());
    let status = match status {
        Some(status) if status.is_server_error() => {
            return Refusal::Unavailable("the authorization service is out of order");
        }
        Some(status) if status.is_redirection() || status.is_client_error() => status,
        _ => StatusCode::FORBIDDEN,
    };
    let mut headers = headers(denied.headers).unwrap_or_default();
    let foreign: Vec<_> = headers.keys().filter(|name| !is_for_clients(name)).cloned().collect();
    for name in foreign {
        headers.remove(name);
    }
    let is_text = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
    let message = Some(denied.body)
        .filter(|body| (1..=MESSAGE_BYTES_MAX).contains(&body.len()) && body.chars().all(is_text));
    Refusal::Denied(Box::new(Denial { status, headers, message }))
}

/// Headers of a denial that reach the client: none that another part of the reply depends on.
fn is_for_clients(name: &HeaderName) -> bool {
    let name = name.as_str();
    reserved_back(name).is_none()
        && !name.starts_with("access-control-")
        && name != "strict-transport-security"
}

/// The headers of an answer; `None` when there are too many. Names and values that are none are passed over.
fn headers(options: Vec<HeaderValueOption>) -> Option<HeaderMap> {
    let said: Vec<_> =
        options.into_iter().filter_map(|one| Some((one.header?, one.append.unwrap_or(false)))).collect();
    let bytes: usize = said.iter().map(|(header, _)| header.key.len() + header.value.len()).sum();
    if said.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (header, is_appended) in said {
        let (name, value) = (HeaderName::try_from(header.key), HeaderValue::try_from(header.value));
        let (Ok(name), Ok(value)) = (name, value) else { continue };
        if is_appended {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
    Some(headers)
}

fn object(
    fields: impl IntoIterator<Item = (String, prost_types::Value)>,
    depth: usize,
) -> Map<String, Value> {
    let fields = fields.into_iter();
    fields.filter_map(|(name, value)| Some((name, json(value, depth + 1)?))).collect()
}

/// `google.protobuf.Value` as JSON; `None` for numbers that JSON has not, and for what is too deep.
fn json(value: prost_types::Value, depth: usize) -> Option<Value> {
    if depth > DEPTH_MAX {
        return None;
    }
    Some(match value.kind? {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(flag) => Value::Bool(flag),
        Kind::StringValue(text) => Value::String(text),
        Kind::NumberValue(number) => number_of(number)?,
        Kind::StructValue(fields) => Value::Object(object(fields.fields, depth)),
        Kind::ListValue(list) => {
            Value::Array(list.values.into_iter().filter_map(|value| json(value, depth + 1)).collect())
        }
    })
}

/// The protocol has doubles only; a whole one is meant as such: `7`, not `7.0`.
fn number_of(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}
