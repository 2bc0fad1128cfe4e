//! `listeners.NAME.limits`: the bounds that hold for every client of a public listener.
//!
//! The bounds guard rooms 1 to 3 and the body that is read later. Each is a key, has a default that suits
//! a public door, and is refused outside the range in which it still means something.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::TIMEOUTS;
use crate::config::finding::Report;
use crate::config::section::Section;
use crate::config::value::{self, GIB, KIB, MIB};
use crate::config::yaml::{Node, Value};

/// What one client, one connection and the whole listener may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's target. Default 8 KiB; past it 414.
    pub url_bytes_max: usize,
    /// Bytes of a request's headers, names and values. Default 32 KiB; past it 431.
    pub header_bytes_max: usize,
    /// Headers of a request. Default 100; past it 431.
    pub header_count_max: usize,
    /// Bytes of a request's body. Default 4 MiB; past it 413.
    pub body_bytes_max: usize,
    /// How many times as large a body may become when it is decoded, beyond 64 KiB. Default 100; past it 413.
    pub decompression_ratio_max: u64,
    /// Query parameters of a request. Default 200; past it 400.
    pub query_parameters_max: usize,
    /// Segments of a path. Default 64; past it 400.
    pub path_segments_max: usize,
    /// For the handshake of TLS. Default 5 s; past it the connection is closed.
    pub handshake_timeout: Duration,
    /// To send the whole request head. Default 10 s; past it 408.
    pub header_timeout: Duration,
    /// The least bytes a second at which a body must arrive. Default 240; below it 408. 0 is no bound.
    pub body_rate_min: usize,
    /// The span over which the body rate is judged. Default 10 s.
    pub body_rate_window: Duration,
    /// A connection without a request. Default 75 s; past it the connection is closed.
    pub idle_timeout: Duration,
    /// An HTTP/1 connection that is to end, and may have a request on its way. Default 1 s; past it closed.
    pub last_request_timeout: Duration,
    /// Streams at once on an HTTP/2 connection. Default 100; past it `REFUSED_STREAM`.
    pub streams_max: u32,
    /// HTTP/2 flow-control window of a stream. Default 256 KiB.
    pub stream_window_bytes: u32,
    /// HTTP/2 flow-control window of a connection. Default 1 MiB.
    pub connection_window_bytes: u32,
    /// Calls that the client of an HTTP/2 connection gave up in 30 s. Default 100; past it, when they are half
    /// of all, GOAWAY.
    pub resets_max: u32,
    /// SETTINGS that the client of an HTTP/2 connection sent in a minute. Default 100; past it GOAWAY.
    pub settings_max: u32,
    /// PINGs in a minute while no reply moved. Default 60; past it GOAWAY.
    pub pings_max: u32,
    /// A reply that its client does not take. Default 5 min; past it the connection is reset.
    pub send_timeout: Duration,
    /// Connections at once. Default 10,000; past it accepting pauses.
    pub connections_max: usize,
    /// Connections at once from one address. Default 256; past it closed.
    pub connections_per_address_max: usize,
    /// Calls in flight. Default 10,000; past it 503.
    pub calls_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            url_bytes_max: 8 * KIB,
            header_bytes_max: 32 * KIB,
            header_count_max: 100,
            body_bytes_max: 4 * MIB,
            decompression_ratio_max: 100,
            query_parameters_max: 200,
            path_segments_max: 64,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            body_rate_min: 240,
            body_rate_window: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            last_request_timeout: Duration::from_secs(1),
            streams_max: 100,
            stream_window_bytes: 256 << 10,
            connection_window_bytes: 1 << 20,
            resets_max: 100,
            settings_max: 100,
            pings_max: 60,
            send_timeout: Duration::from_secs(300),
            connections_max: 10_000,
            connections_per_address_max: 256,
            calls_max: 10_000,
        }
    }
}

/// RFC 9113, section 6.9.1: a window never exceeds 2³¹ − 1; its initial value is 65,535.
const WINDOWS: RangeInclusive<usize> = 64 * KIB..=GIB;

impl Limits {
    pub(super) fn read(name: &str, node: &Node, report: &mut Report) -> Option<Self> {
        let mut limits = Self::default();
        let mut section = Section::open(node, format!("listeners.{name}.limits"), report)?;
        section.read("url", &mut limits.url_bytes_max, value::bytes(256..=MIB));
        section.read("headers", &mut limits.header_bytes_max, value::bytes(KIB..=MIB));
        section.read("header_count", &mut limits.header_count_max, value::integer(10..=1000));
        section.read("body", &mut limits.body_bytes_max, value::bytes(0..=GIB));
        section.read("decompression_ratio", &mut limits.decompression_ratio_max, value::integer(1..=10_000));
        section.read("query_parameters", &mut limits.query_parameters_max, value::integer(1..=10_000));
        section.read("path_segments", &mut limits.path_segments_max, value::integer(1..=1000));
        section.read("handshake_timeout", &mut limits.handshake_timeout, value::duration(TIMEOUTS));
        section.read("header_timeout", &mut limits.header_timeout, value::duration(TIMEOUTS));
        section.read("body_rate", &mut limits.body_rate_min, byte_rate);
        section.read("body_rate_window", &mut limits.body_rate_window, value::duration(TIMEOUTS));
        section.read("idle", &mut limits.idle_timeout, value::duration(TIMEOUTS));
        section.read("last_request", &mut limits.last_request_timeout, value::duration(TIMEOUTS));
        section.read("streams", &mut limits.streams_max, value::integer(1..=100_000));
        section.read("stream_window", &mut limits.stream_window_bytes, value::bytes_u32(WINDOWS));
        section.read("connection_window", &mut limits.connection_window_bytes, value::bytes_u32(WINDOWS));
        section.read("resets", &mut limits.resets_max, value::integer(1..=100_000));
        section.read("settings", &mut limits.settings_max, value::integer(1..=100_000));
        section.read("pings", &mut limits.pings_max, value::integer(1..=100_000));
        section.read("send_timeout", &mut limits.send_timeout, value::duration(TIMEOUTS));
        section.read("connections", &mut limits.connections_max, value::integer(1..=10_000_000));
        section.read(
            "connections_per_address",
            &mut limits.connections_per_address_max,
            value::integer(1..=10_000_000),
        );
        section.read("calls", &mut limits.calls_max, value::integer(1..=10_000_000));
        section.close(&[]);
        Some(limits)
    }
}

/// `240B/s`; `0B/s` is no bound.
fn byte_rate(node: &Node, report: &mut Report) -> Option<usize> {
    let amount = match &node.value {
        Value::Text(text) => text.strip_suffix("/s"),
        _ => None,
    };
    let Some(amount) = amount else {
        return value::expected(node, report, "a rate such as `240B/s`");
    };
    let amount = Node { position: node.position, value: Value::Text(amount.to_owned()) };
    value::bytes(0..=MIB)(&amount, report)
}
