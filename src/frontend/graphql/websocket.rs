//! GraphQL over WebSocket, the sub-protocol `graphql-transport-ws`: its handshake, its messages, its close codes.
//!
//! ```text
//! GET + Upgrade ─▶ 101 ─▶ connection_init ─▶ connection_ack ─▶ subscribe* ─▶ next* ─▶ complete | error
//! ```
//!
//! A browser lets any page open a WebSocket to any host and sends its cookies along, without a preflight: the origin is
//! judged here, and nowhere else.

use std::borrow::Cow;
use std::time::Instant;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use serde_json::{Map, Value as Json};

use super::{Exchange, Parameters, edge, values};
use crate::call::{Head, ResponseBody, host};
use crate::snapshot::{Graphql, Surface};
use crate::status::{Code, Status};

/// Why a socket is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: Cow<'static, str>,
}

/// What a client says.
#[derive(Debug, PartialEq)]
pub enum ClientMessage {
    /// It wants to begin, and says who it is.
    Init(Map<String, Json>),
    Ping,
    Pong,
    Subscribe {
        id: Box<str>,
        parameters: Box<Parameters>,
    },
    /// It wants no more results.
    Complete {
        id: Box<str>,
    },
}

const PROTOCOL: &str = "graphql-transport-ws";

/// RFC 6455, section 1.3.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A longer id of an operation is refused: it is repeated in every message.
pub const ID_BYTES_MAX: usize = 256;

/// RFC 6455, section 5.5: a control frame has 125 bytes, of which two are the code.
const REASON_BYTES_MAX: usize = 123;

/// Whether a request wants to speak over a WebSocket.
pub fn is_wanted(head: &Head) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && has_token(&head.headers, &header::UPGRADE, "websocket")
}

/// Judges a handshake; whether the client speaks this protocol is told to it in its own way, by a close code.
///
/// # Errors
///
/// 400 for what is no handshake, 403 for a page of an origin that may not call, 426 for another version.
pub fn shake(
    exchange: &mut Exchange,
    surface: &Surface,
    head: &Head,
) -> Result<(Response<ResponseBody>, bool), Status> {
    edge::enter(exchange, surface, &head.headers);
    let headers = &head.headers;
    let refused = |number: u16, message: &'static str| {
        Status::client(Code::InvalidArgument, message).with_http(number).with_reason("WEBSOCKET_HANDSHAKE")
    };
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let version = HeaderValue::from_static("13");
        exchange.notes.reply_header(header::SEC_WEBSOCKET_VERSION, version);
        return Err(refused(426, "WebSockets are of version 13"));
    }
    let key =
        headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| has_token(headers, &header::CONNECTION, "upgrade"));
    let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16));
    let key = key.ok_or_else(|| refused(400, "this is no handshake of a WebSocket"))?;
    if !is_allowed(head, surface) {
        exchange.notes.refused_by("cors");
        let message = "pages of this origin may not open WebSockets: list it in `cors.origins`";
        return Err(Status::client(Code::PermissionDenied, message).with_reason("CORS_ORIGIN_DENIED"));
    }
    let speaks = has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let said = response.headers_mut();
    said.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    said.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    said.insert(header::SEC_WEBSOCKET_ACCEPT, accept(key));
    if speaks {
        said.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    edge::leave(exchange, &mut response);
    Ok((response, speaks))
}

/// RFC 6455, section 4.2.2, point 5.4.
fn accept(key: &HeaderValue) -> HeaderValue {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), ACCEPT_SUFFIX].concat());
    HeaderValue::try_from(STANDARD.encode(hash)).expect("base64 is ASCII")
}

/// Whoever sends no origin is no page. A page may call its own host, and where it is listed.
fn is_allowed(head: &Head, surface: &Surface) -> bool {
    let Some(origin) = head.headers.get(header::ORIGIN) else { return true };
    let own = host(&head.uri, &head.headers).map(|host| format!("{}://{host}", head.client.scheme));
    let is_own = own.is_some_and(|own| origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()));
    let is_only = head.headers.get_all(header::ORIGIN).iter().count() == 1;
    is_only && (is_own || surface.cors.as_ref().is_some_and(|cors| cors.allows(&head.headers)))
}

/// Whether a header that is a list has this token, however it is cut.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// The head of a request that an operation stands for: that of the handshake, with the credential that came later.
pub fn operation_head(
    handshake: &Head,
    credential: &HeaderMap,
    request_id: HeaderValue,
    started: Instant,
) -> Head {
    let mut head = handshake.with_headers(handshake.headers.clone());
    // A message of an open socket is no request that a page could have a browser send unasked.
    head.method = Method::POST;
    (head.request_id, head.started) = (request_id, started);
    let own = [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
    ];
    for name in own {
        head.headers.remove(name);
    }
    for (name, value) in credential {
        head.headers.insert(name, value.clone());
    }
    head
}

/// Finds where one operation of a socket is led.
pub fn enter_operation(exchange: &mut Exchange, surface: &Surface, head: &Head) {
    edge::enter(exchange, surface, &head.headers);
}

/// Headers that the payload of `connection_init` has, of those that may stand in it.
///
/// # Errors
///
/// 4403: one is nothing that a header could be.
pub fn credential(payload: &Map<String, Json>, allowed: &[HeaderName]) -> Result<HeaderMap, Close> {
    let mut credential = HeaderMap::new();
    for (name, value) in payload {
        let Some(name) = allowed.iter().find(|one| one.as_str().eq_ignore_ascii_case(name)) else { continue };
        let value = value.as_str().and_then(|text| HeaderValue::from_str(text).ok());
        let Some(mut value) = value else {
            return Err(Close { code: 4403, reason: format!("Forbidden: `{name}` must be a text").into() });
        };
        value.set_sensitive(true);
        credential.insert(name, value);
    }
    Ok(credential)
}

impl ClientMessage {
    /// # Errors
    ///
    /// 4400: it is none that the protocol has. 1009: it has more than so many values.
    pub fn parse(text: &str, values_max: usize) -> Result<Self, Close> {
        values::check(text.as_bytes(), values_max).map_err(|status| Close::new(1009, status.message))?;
        let Ok(Json::Object(mut message)) = serde_json::from_str(text) else {
            return Err(Close::invalid("a message must be a JSON object"));
        };
        let Some(Json::String(kind)) = message.remove("type") else {
            return Err(Close::invalid("a message must have a `type`"));
        };
        let payload = message.remove("payload").filter(|payload| !payload.is_null());
        let payload = match payload {
            None => None,
            Some(Json::Object(payload)) => Some(payload),
            Some(_) => return Err(Close::invalid("`payload` must be an object")),
        };
        let mut id = || match message.remove("id") {
            Some(Json::String(id)) if (1..=ID_BYTES_MAX).contains(&id.len()) => Ok(id.into_boxed_str()),
            _ => Err(Close::invalid("`id` must be a text of 1 to 256 bytes")),
        };
        match &*kind {
            "connection_init" => Ok(Self::Init(payload.unwrap_or_default())),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            "complete" => Ok(Self::Complete { id: id()? }),
            "subscribe" => {
                let id = id()?;
                let parameters = payload.ok_or_else(|| Close::invalid("`payload` must be an object"))?;
                let parameters = Parameters::of(parameters)
                    .ok()
                    .filter(|parameters| parameters.query.is_some())
                    .ok_or_else(|| Close::invalid("`payload` must be a request with a `query`"))?;
                Ok(Self::Subscribe { id, parameters: Box::new(parameters) })
            }
            _ => Err(Close::invalid("a message of an unknown `type`")),
        }
    }
}

impl Close {
    /// A reason that is too long for a close frame is cut.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut reason = reason.into();
        if reason.len() > REASON_BYTES_MAX {
            let end = (0..=REASON_BYTES_MAX).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
            reason = Cow::Owned(reason.get(..end).unwrap_or_default().to_owned());
        }
        Self { code, reason }
    }

    pub fn invalid(reason: &'static str) -> Self {
        Self::new(4400, format!("Invalid message: {reason}"))
    }

    pub fn unauthorized() -> Self {
        Self::new(4401, "Unauthorized")
    }

    pub fn other_protocol() -> Self {
        Self::new(4406, "Subprotocol not acceptable")
    }

    pub fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    pub fn duplicate(id: &str) -> Self {
        Self::new(4409, format!("Subscriber for {id} already exists"))
    }

    pub fn second_init() -> Self {
        Self::new(4429, "Too many initialisation requests")
    }

    pub fn going_away() -> Self {
        Self::new(1001, "the gateway is going away")
    }

    /// Nothing has gone on for too long.
    pub fn idle() -> Self {
        Self::new(1000, "idle")
    }

    pub fn too_large() -> Self {
        Self::new(1009, "the message is too large")
    }
}

pub const ACK: &str = r#"{"type":"connection_ack"}"#;
pub const PONG: &str = r#"{"type":"pong"}"#;

/// One result of an operation.
pub fn next(id: &str, result: &[u8]) -> Vec<u8> {
    message(id, r#","type":"next","payload":"#, result)
}

/// Why an operation is not executed: a list of errors, and the operation's end.
pub fn error(id: &str, errors: &[u8]) -> Vec<u8> {
    message(id, r#","type":"error","payload":"#, errors)
}

/// The end of an operation.
pub fn complete(id: &str) -> Vec<u8> {
    message(id, r#","type":"complete""#, b"")
}

fn message(id: &str, kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + kind.len() + id.len() + 16);
    out.extend_from_slice(br#"{"id":"#);
    serde_json::to_writer(&mut out, id).expect("a string into memory");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(payload);
    out.push(b'}');
    out
}

/// The refusal of a socket beyond those that there may be.
pub fn too_many(graphql: &Graphql) -> Status {
    let max = graphql.subscriptions.websocket.connections_max;
    let message = format!("there are {max} WebSockets already");
    Status::client(Code::ResourceExhausted, message).with_http(503).with_reason("TOO_MANY_WEBSOCKETS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_accepted_as_the_specification_has_it() {
        // RFC 6455, section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn messages_are_those_of_the_protocol() {
        let check = |text: &str, expected: Result<ClientMessage, &str>| {
            let found = ClientMessage::parse(text, 1000);
            let expected = expected.map_err(|reason| Close::new(4400, format!("Invalid message: {reason}")));
            assert_eq!(found, expected, "{text}");
        };
        check(r#"{"type":"connection_init"}"#, Ok(ClientMessage::Init(Map::new())));
        check(r#"{"type":"connection_init","payload":null}"#, Ok(ClientMessage::Init(Map::new())));
        check(r#"{"type":"ping","payload":{"a":1}}"#, Ok(ClientMessage::Ping));
        check(r#"{"type":"pong"}"#, Ok(ClientMessage::Pong));
        check(r#"{"type":"complete","id":"1"}"#, Ok(ClientMessage::Complete { id: "1".into() }));
        let parameters = Parameters { query: Some("{a}".to_owned()), ..Parameters::default() };
        let subscribe = ClientMessage::Subscribe { id: "1".into(), parameters: Box::new(parameters) };
        check(r#"{"id":"1","type":"subscribe","payload":{"query":"{a}","variables":null}}"#, Ok(subscribe));
        check("[]", Err("a message must be a JSON object"));
        check("x", Err("a message must be a JSON object"));
        check("{}", Err("a message must have a `type`"));
        check(r#"{"type":"start","id":"1"}"#, Err("a message of an unknown `type`"));
        check(r#"{"type":"ping","payload":1}"#, Err("`payload` must be an object"));
        check(r#"{"type":"complete","id":""}"#, Err("`id` must be a text of 1 to 256 bytes"));
        check(r#"{"type":"complete","id":7}"#, Err("`id` must be a text of 1 to 256 bytes"));
        let id = |length: usize| format!(r#"{{"type":"complete","id":"{}"}}"#, "a".repeat(length));
        assert!(ClientMessage::parse(&id(ID_BYTES_MAX), 1000).is_ok());
        check(&id(ID_BYTES_MAX + 1), Err("`id` must be a text of 1 to 256 bytes"));
        check(r#"{"type":"subscribe","id":"1"}"#, Err("`payload` must be an object"));
        let no_request = "`payload` must be a request with a `query`";
        check(r#"{"type":"subscribe","id":"1","payload":{}}"#, Err(no_request));
        check(r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":1}}"#, Err(no_request));
    }

    #[test]
    fn credentials_are_the_headers_that_are_allowed() {
        let allowed = [header::AUTHORIZATION];
        let check = |payload: &str, expected: Result<&[&str], u16>| {
            let Ok(Json::Object(payload)) = serde_json::from_str(payload) else { panic!("an object") };
            let found = credential(&payload, &allowed).map_err(|close| close.code);
            let found = found.map(|found| {
                found
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
                    .collect()
            });
            let expected = expected.map(|lines| lines.iter().map(|line| (*line).to_owned()).collect());
            assert_eq!(found, expected as Result<Vec<String>, u16>);
        };
        check("{}", Ok(&[]));
        check(r#"{"Authorization":"Bearer a","cookie":"b","other":1}"#, Ok(&["authorization: Bearer a"]));
        check(r#"{"authorization":1}"#, Err(4403));
        check(r#"{"authorization":"a\nb"}"#, Err(4403));
    }

    #[test]
    fn a_reason_fits_into_a_control_frame() {
        let close = Close::duplicate(&"é".repeat(100));
        assert!(close.reason.len() <= REASON_BYTES_MAX && close.reason.len() > REASON_BYTES_MAX - 2);
        assert_eq!(Close::duplicate("1").reason, "Subscriber for 1 already exists");
    }

    #[test]
    fn what_is_told_is_json() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("JSON is UTF-8");
        assert_eq!(
            text(next("a\"", br#"{"data":null}"#)),
            r#"{"id":"a\"","type":"next","payload":{"data":null}}"#
        );
        assert_eq!(text(error("1", b"[]")), r#"{"id":"1","type":"error","payload":[]}"#);
        assert_eq!(text(complete("1")), r#"{"id":"1","type":"complete"}"#);
    }
}
