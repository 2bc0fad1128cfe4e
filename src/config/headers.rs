//! `headers`: what is forwarded besides the built-in allow list, in both directions.
//!
//! Some names are never anyone's to give: gRPC's own, those of one connection (RFC 9110 7.6.1), those that
//! describe a body the gateway rewrites, and those by which the gateway itself tells the backend who called.

use http::HeaderName;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;

/// Names beyond the built-in ones, lower-case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Request headers that become metadata.
    pub forward: Vec<HeaderName>,
    /// Response metadata that becomes headers under its own name, without `Grpc-Metadata-`.
    pub back: Vec<HeaderName>,
}

impl Headers {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut headers = Self::default();
        let mut section = Section::open(node, "headers", report)?;
        section.read(
            "forward",
            &mut headers.forward,
            value::list(|node, report| name(node, report, reserved)),
        );
        section.read(
            "back",
            &mut headers.back,
            value::list(|node, report| name(node, report, reserved_back)),
        );
        section.close(&[]);
        Some(headers)
    }
}

fn name(
    node: &Node,
    report: &mut Report,
    reserved: impl Fn(&str) -> Option<&'static str>,
) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    let Ok(name) = HeaderName::try_from(&text) else {
        return value::refuse(node, report, format!("`{text}` is not a header name"));
    };
    match reserved(name.as_str()) {
        Some(reason) => value::refuse(node, report, format!("`{text}` is reserved: {reason}")),
        None => Some(name),
    }
}

/// Why a request header never becomes metadata.
fn reserved(name: &str) -> Option<&'static str> {
    match name {
        _ if name.starts_with("grpc-") => Some("gRPC's own name"),
        _ if hop_by_hop(name) => Some("it belongs to one connection"),
        _ if name.starts_with("content-") => Some("it describes a body that is rewritten"),
        _ if name.starts_with("x-forwarded-") => Some("the gateway writes it"),
        _ if name.starts_with("x-envoy-") => Some("proxies believe it"),
        "host" => Some("the backend has its own"),
        _ => None,
    }
}

/// Why metadata never becomes a header under its own name.
fn reserved_back(name: &str) -> Option<&'static str> {
    match name {
        "content-disposition" | "content-language" => None,
        "date" | "server" | "x-request-id" => Some("the gateway writes it"),
        _ => reserved(name),
    }
}

fn hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
