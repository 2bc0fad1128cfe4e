//! Every bound of a listener, with its default and unit.

use std::time::Duration;

/// What one client, one connection and all of them together may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The request line of HTTP/1, the path and query of HTTP/2; one more byte is 414.
    pub url_bytes_max: usize,
    /// All header lines together; one more byte is 431.
    pub header_bytes_max: usize,
    /// One more header is 431.
    pub header_count_max: usize,
    /// A request's body; one more byte is 413. A route may set its own.
    pub body_bytes_max: u64,
    /// For the handshake of TLS; then the connection is closed.
    pub handshake_timeout: Duration,
    /// From the first byte of a head (of the connection, for its first) to the last; then 408.
    pub header_timeout: Duration,
    /// Least bytes a second of a body that is being waited for; below it 408.
    pub body_rate_min: u64,
    /// Over how much waiting that speed is measured.
    pub body_rate_window: Duration,
    /// How long a connection may stay without a request.
    pub idle_timeout: Duration,
    /// How long a connection of HTTP/1 that is to end waits for a request that may be on its way.
    pub last_request_timeout: Duration,
    pub h2_streams_max: u32,
    pub h2_stream_window_bytes: u32,
    pub h2_connection_window_bytes: u32,
    /// Streams reset before they were served; one more is GOAWAY `ENHANCE_YOUR_CALM` (CVE-2023-44487).
    pub h2_pending_resets_max: usize,
    /// Streams this side reset for what the peer did; one more is GOAWAY `ENHANCE_YOUR_CALM`.
    pub h2_error_resets_max: usize,
    /// Calls of one HTTP/2 connection given up by the client in 30 s, when half of all; then it is closed.
    pub h2_cancelled_calls_max: u32,
    /// SETTINGS of a client in a minute; one more is GOAWAY `ENHANCE_YOUR_CALM` (CVE-2019-9515).
    pub h2_settings_max: u32,
    /// PINGs of a client in a minute without a reply in between; one more is GOAWAY `ENHANCE_YOUR_CALM`
    /// (CVE-2019-9512).
    pub h2_pings_max: u32,
    /// How long a client may take none of a reply that is ready for it; then the connection is reset.
    pub send_timeout: Duration,
    /// Of the listener over all workers; at the bound, accepting pauses.
    pub connections_max: usize,
    /// From one address; one more is closed at once.
    pub connections_per_address_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            url_bytes_max: 8 << 10,
            header_bytes_max: 32 << 10,
            header_count_max: 100,
            body_bytes_max: 4 << 20,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            body_rate_min: 240,
            body_rate_window: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            last_request_timeout: Duration::from_secs(1),
            h2_streams_max: 100,
            h2_stream_window_bytes: 256 << 10,
            h2_connection_window_bytes: 1 << 20,
            h2_pending_resets_max: 20,
            h2_error_resets_max: 100,
            h2_cancelled_calls_max: 100,
            h2_settings_max: 100,
            h2_pings_max: 60,
            send_timeout: Duration::from_secs(300),
            connections_max: 10_000,
            connections_per_address_max: 256,
        }
    }
}
