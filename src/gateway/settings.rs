//! The configuration's words in the rooms' own: one function a room.

use crate::config::Config;
use crate::config::services::Service;
use crate::server::{ServerConfig, ServerLimits};
use crate::upstream::UpstreamConfig;

pub(super) fn server(config: &Config) -> ServerConfig {
    let public = &config.listeners.public;
    let limits = &public.limits;
    let defaults = ServerConfig::new(public.bind);
    ServerConfig {
        admin: Some(config.listeners.admin.bind),
        workers: config.workers.unwrap_or(defaults.workers),
        limits: ServerLimits {
            request_line_bytes_max: limits.url_bytes_max,
            header_bytes_max: limits.header_bytes_max,
            header_count_max: limits.header_count_max,
            body_bytes_max: limits.body_bytes_max as u64,
            head_timeout: limits.header_timeout,
            body_bytes_per_second_min: limits.body_rate_min as u64,
            body_rate_window: limits.body_rate_window,
            idle_timeout: limits.idle_timeout,
            h2_streams_max: limits.streams_max,
            h2_stream_window_bytes: limits.stream_window_bytes,
            h2_connection_window_bytes: limits.connection_window_bytes,
            h2_cancelled_calls_max: limits.resets_max,
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            ..ServerLimits::default()
        },
        drain_timeout: public.drain,
        ..defaults
    }
}

pub(super) fn upstream(service: &Service) -> UpstreamConfig {
    let authority = service.endpoint.authority().expect("a service's endpoint was read as a URL");
    UpstreamConfig {
        message_bytes_to_backend_max: service.request_message_bytes_max,
        message_bytes_from_backend_max: service.response_message_bytes_max,
        header_bytes_max: service.response_header_bytes_max,
        connections_max: service.connections_max,
        queue_calls_max: service.queue_calls_max,
        connect_timeout: service.connect_timeout,
        keepalive: service.keepalive,
        keepalive_timeout: service.keepalive_timeout,
        ..UpstreamConfig::new(authority.clone())
    }
}
