//! A scrape: the sums of all shards as OpenMetrics text, and translated from that what others read.
//!
//! Part of `telemetry`. Counters stay plain atomics; `prometheus-client` only writes the text, through
//! a [`Collector`] that reads the shards when asked.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::{DURATION_BOUNDS_US, NATIVE_BUCKETS};
use super::protobuf::{self, Native};
use super::{AuthVerdict, FILES, Fallback, HTTP_NUMBERS, Metrics, Permission, WorkerMetrics, classic};
use crate::status::Code;

/// A scalar of [`WorkerMetrics`]: name, help and how to read it.
type Scalar = (&'static str, &'static str, fn(&WorkerMetrics) -> u64);

const COUNTERS: [Scalar; 26] = [
    ("http_connections", "Connections accepted", |w| w.connections.value()),
    ("http_connections_refused", "Connections over the bound of an address", |w| {
        w.connections_refused.value()
    }),
    ("proxy_protocol_refused", "Connections without a good PROXY preamble", |w| {
        w.proxy_protocol_refused.value()
    }),
    ("tls_handshakes", "TLS handshakes of clients", |w| w.tls_handshakes.value()),
    ("tls_handshake_failures", "TLS handshakes of clients that failed", |w| w.tls_handshake_failures.value()),
    ("http_accept_failures", "Failures of accept", |w| w.accept_failures.value()),
    ("headers_dropped", "Headers and metadata that could not be carried", |w| w.headers_dropped.value()),
    ("limits_shadowed", "Calls that a limit in shadow mode would refuse", |w| w.limits_shadowed.value()),
    ("limit_store_questions", "Questions to shared stores of limits", |w| w.limit_store_questions.value()),
    ("limit_store_failures", "Questions to shared stores without an answer", |w| {
        w.limit_store_failures.value()
    }),
    ("rollout_condition_failures", "Conditions of `when` that failed, so that shares decided", |w| {
        w.rollout_condition_failures.value()
    }),
    ("upstream_connects", "Connections opened to backends", |w| w.upstream_connects.value()),
    ("upstream_connect_failures", "Connections to backends that failed to open", |w| {
        w.upstream_connect_failures.value()
    }),
    ("upstream_queue_refused", "Calls refused for want of a free stream", |w| {
        w.upstream_queue_refused.value()
    }),
    ("upstream_retries", "Calls sent once more that had never reached the backend", |w| {
        w.upstream_retries.value()
    }),
    ("usage_records", "Calls whose usage was recorded", |w| w.usage_records.value()),
    ("usage_lost_queue", "Usage records that found no room in memory", |w| w.usage_lost_queue.value()),
    ("usage_lost_spool", "Usage events that found the spool full", |w| w.usage_lost_spool.value()),
    ("usage_delivered", "Usage events that the sink has taken", |w| w.usage_delivered.value()),
    ("usage_rejected", "Usage events that the sink will never take", |w| w.usage_rejected.value()),
    ("usage_delivery_failures", "Attempts to deliver usage events that failed", |w| {
        w.usage_delivery_failures.value()
    }),
    ("access_log_lines", "Lines of the access log", |w| w.access_log_lines.value()),
    ("access_log_dropped", "Lines that found no room or could not be written", |w| {
        w.access_log_dropped.value()
    }),
    ("trace_spans_exported", "Spans that the collector has taken", |w| w.trace_spans_exported.value()),
    ("trace_spans_dropped", "Spans that found no room or that nobody takes", |w| {
        w.trace_spans_dropped.value()
    }),
    ("trace_export_failures", "Requests that the collector did not take", |w| {
        w.trace_export_failures.value()
    }),
];

const GAUGES: [Scalar; 6] = [
    ("http_connections_open", "Open client connections", |w| w.connections_open.value()),
    ("http_calls_open", "Requests in flight", |w| w.calls_open.value()),
    ("http_websockets_open", "Open WebSockets", |w| w.websockets_open.value()),
    ("upstream_connections_open", "Open backend connections", |w| w.upstream_connections_open.value()),
    ("upstream_calls_open", "Backend calls in flight", |w| w.upstream_calls_open.value()),
    ("usage_spool_bytes", "Bytes of usage events on disk", |w| w.usage_spool_bytes.value()),
];

/// A format of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Version 1.0.0, `# EOF` included.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Classic,
    /// Messages, with native histograms.
    Protobuf,
}

impl Exposition {
    /// What whoever asks can read, in the order of his list; without a word, what everybody can.
    pub fn accepted(accept: &str) -> Self {
        accept.split(',').find_map(Self::of).unwrap_or(Self::Classic)
    }

    fn of(accepted: &str) -> Option<Self> {
        let mut parts = accepted.split(';').map(str::trim);
        match parts.next()? {
            "application/openmetrics-text" => Some(Self::OpenMetrics),
            "text/plain" => Some(Self::Classic),
            "application/vnd.google.protobuf" => {
                let has = |wanted: &str| parts.clone().any(|part| part == wanted);
                let is_ours = has("proto=io.prometheus.client.MetricFamily") && has("encoding=delimited");
                is_ours.then_some(Self::Protobuf)
            }
            _ => None,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }
}

impl Metrics {
    /// All metrics, in a format.
    pub fn expose(self: &Arc<Self>, exposition: Exposition) -> Vec<u8> {
        match exposition {
            Exposition::OpenMetrics => self.render().into(),
            Exposition::Classic => classic::classic(&self.render()).into(),
            Exposition::Protobuf => protobuf::protobuf(&classic::classic(&self.render()), &self.native()),
        }
    }

    fn native(&self) -> Native {
        Native {
            family: "transom_http_duration_seconds",
            zero: self.sum(|worker| worker.duration.zero.value()),
            counts: (0..NATIVE_BUCKETS)
                .map(|place| self.sum(|worker| worker.duration.native[place].value()))
                .collect(),
        }
    }

    /// All metrics as OpenMetrics text, `# EOF` included.
    pub fn render(self: &Arc<Self>) -> String {
        let mut registry = Registry::with_prefix("transom");
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("writing to a String does not fail");
        out
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, read) in COUNTERS {
            let counter = ConstCounter::new(self.sum(read));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        for (name, help, counter) in [
            ("file_reloads", "Changed files that were read again", &FILES.reloads),
            (
                "file_reload_failures",
                "Changed files that were refused, the old content staying",
                &FILES.reload_failures,
            ),
        ] {
            let counter = ConstCounter::new(counter.value());
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        for (name, help, read) in GAUGES {
            // Gauges wrap below zero in one shard only for the length of a scrape.
            let value = i64::try_from(self.sum(read)).unwrap_or(0);
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        self.encode_families(&mut encoder)?;
        self.encode_cache(&mut encoder)?;
        self.certificates.encode(&mut encoder)?;
        self.keys.encode(&mut encoder)?;
        self.revoked.encode(&mut encoder)?;
        self.stats.services.encode(&mut encoder)?;
        self.endpoints.encode(&mut encoder)?;
        self.discovery.encode(&mut encoder)?;
        self.reloads.encode(&mut encoder)?;
        self.mirrors.encode(&mut encoder)?;
        encoder
            .encode_descriptor(
                "http_duration",
                "Time from request to end of reply",
                Some(&Unit::Seconds),
                MetricType::Histogram,
            )
            .and_then(|metric| self.encode_duration(metric))
    }
}

impl Metrics {
    fn encode_families(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor("http_replies", "Replies by HTTP number", None, MetricType::Counter)?;
        for index in 0..HTTP_NUMBERS {
            let count = self.sum(|worker| worker.replies[index].value());
            if count > 0 {
                let labels = [("code", (index + 100).to_string())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        self.encode_verdicts(encoder)?;
        let mut family = encoder.encode_descriptor(
            "upstream_calls",
            "Backend calls by gRPC code",
            None,
            MetricType::Counter,
        )?;
        for code in Code::ALL {
            let count = self.sum(|worker| worker.upstream_calls[usize::from(code.number())].value());
            if count > 0 {
                let labels = [("code", code.name())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        self.encode_stats(encoder)
    }

    /// By what the configuration and the descriptors name: bounded, and resolved before a request.
    fn encode_stats(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "calls",
            "Calls by surface, method and gRPC code",
            None,
            MetricType::Counter,
        )?;
        for (surface, method, code, count) in self.stats.calls() {
            let labels = [("surface", &*surface), ("method", &*method), ("code", code.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "refused",
            "Calls refused by a stage, by reason",
            None,
            MetricType::Counter,
        )?;
        for (stage, reason, count) in self.stats.refusals() {
            let labels = [("stage", stage), ("reason", &*reason)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor(
            "validation_refusals",
            "Calls that broke the rules of their descriptors, by surface and method",
            None,
            MetricType::Counter,
        )?;
        for (route, count) in self.stats.rules_broken() {
            let labels = [("surface", &*route.surface), ("method", &*route.method)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn encode_cache(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let cache = &self.stats.cache;
        let help = "Calls of methods whose replies may be kept, by what the cache did";
        let mut family = encoder.encode_descriptor("cache_requests", help, None, MetricType::Counter)?;
        for (surface, result, count) in cache.results() {
            let labels = [("surface", &*surface), ("result", result)];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        for (name, help, value) in [
            ("cache_entries", "Replies that are kept", cache.totals.entries()),
            ("cache_bytes", "Bytes of the replies that are kept", cache.totals.bytes()),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        for (name, help, counter) in [
            ("cache_evictions", "Replies that had to go for want of room", &cache.totals.evicted),
            ("cache_purged", "Replies that an operator has purged, or a write", &cache.totals.purged),
            ("cache_store_hits", "Replies out of a store that nodes share", &cache.totals.store_hits),
            ("cache_store_misses", "Replies that no store had", &cache.totals.store_misses),
            ("cache_store_failures", "Questions without an answer of a store", &cache.totals.store_failures),
        ] {
            let counter = ConstCounter::new(counter.value());
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }

    /// What came of asking who is calling, and whether it is allowed.
    fn encode_verdicts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let verdicts = AuthVerdict::ALL
            .map(|(verdict, name)| (name, self.sum(|worker| worker.auth_verdicts[verdict as usize].value())));
        let help = "Calls that were asked for a credential, by what came of it";
        encode_results(encoder, "auth_verdicts", help, &verdicts)?;
        let permissions = Permission::ALL.map(|(permission, name)| {
            (name, self.sum(|worker| worker.permissions[permission as usize].value()))
        });
        let help = "Calls that conditions or scopes were asked of, by what came of it";
        encode_results(encoder, "permissions", help, &permissions)?;
        let help = "Calls that got the static reply of their rule, by why";
        let mut family = encoder.encode_descriptor("fallbacks", help, None, MetricType::Counter)?;
        for reason in Fallback::ALL {
            let count = self.sum(|worker| worker.fallbacks[reason as usize].value());
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason.name())])?)?;
        }
        Ok(())
    }

    fn encode_duration(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        let bounds = DURATION_BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds
            .enumerate()
            .map(|(index, bound)| (bound, self.sum(|worker| worker.duration.buckets[index].value())))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.sum(|worker| worker.duration.sum_us.value()) as f64 / 1e6;
        metric.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
    }
}

/// One family by the label `result`; what never came is left out.
fn encode_results(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    results: &[(&str, u64)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (result, count) in results.iter().filter(|(_, count)| *count > 0) {
        ConstCounter::new(*count).encode(family.encode_family(&[("result", *result)])?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_the_first_format_of_theirs_that_there_is() {
        let check = |accept: &str, expected| assert_eq!(Exposition::accepted(accept), expected, "{accept}");
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        check("", Exposition::Classic);
        check("*/*", Exposition::Classic);
        check("text/html, */*", Exposition::Classic);
        check(protobuf, Exposition::Protobuf);
        check(
            &format!("{protobuf};q=0.7,application/openmetrics-text;q=0.6,*/*;q=0.1"),
            Exposition::Protobuf,
        );
        check("application/vnd.google.protobuf;proto=other.Message;encoding=delimited", Exposition::Classic);
        check("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", Exposition::OpenMetrics);
        check("text/plain;version=0.0.4,application/openmetrics-text;q=0.5", Exposition::Classic);
    }
}
