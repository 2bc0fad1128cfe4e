//! The question: a request's head as `CheckRequest`.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, COOKIE};

use super::proto::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use super::proto::envoy::service::auth::v3::{Address, AttributeContext, CheckRequest, SocketAddress};
use crate::call::Head;
use crate::policy::request_id::X_REQUEST_ID;

/// What the service is told of a request that came at `now`, in seconds since 1970.
pub(super) fn write(head: &Head, now: u64) -> CheckRequest {
    let address = SocketAddress { address: head.client.address.to_string(), port_value: 0 };
    let source = Peer { address: Some(Address { socket_address: Some(address) }), principal: String::new() };
    let path = head.uri.path_and_query().map_or(head.uri.path(), |path| path.as_str());
    let length = text(&head.headers, CONTENT_LENGTH.as_str()).parse().unwrap_or(-1);
    let http = HttpRequest {
        id: text(&head.headers, X_REQUEST_ID.as_str()),
        method: head.method.as_str().to_owned(),
        headers: headers(&head.headers),
        path: path.to_owned(),
        host: head.host().unwrap_or_default().to_owned(),
        scheme: head.client.scheme.to_owned(),
        size: length,
        protocol: String::new(),
    };
    let time = prost_types::Timestamp { seconds: i64::try_from(now).unwrap_or(i64::MAX), nanos: 0 };
    let request = Request { time: Some(time), http: Some(http) };
    CheckRequest { attributes: Some(AttributeContext { source: Some(source), request: Some(request) }) }
}

/// The protocol has text for values: what is no UTF-8 loses its odd bytes, and no more.
fn headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut merged = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        match merged.get_mut(name.as_str()) {
            // RFC 9110, section 5.2; RFC 9113, section 8.2.3, for cookies.
            Some(first) => {
                first.push_str(if name == COOKIE { "; " } else { "," });
                first.push_str(&value);
            }
            None => {
                merged.insert(name.as_str().to_owned(), value.into_owned());
            }
        }
    }
    merged
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
