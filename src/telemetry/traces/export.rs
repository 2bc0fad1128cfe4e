//! From the workers' queues to the collector: when there is a batch, and once a second.
//!
//! ```text
//! take all queues ─▶ a batch ─ Export ─┬─ taken ─▶ the next
//!                                      ├─ not now: again after 1 s, 2 s … 10 s, while the queues fill
//!                                      └─ never: dropped and counted
//! ```
//!
//! Which failures are worth another attempt is OTLP's own list (specification, "Failures").

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::otlp::{
    EXPORT, ExportRequest, ExportResponse, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans,
};
use super::queue::{BATCH_MAX, Written};
use super::{Queues, lock};
use crate::telemetry::WorkerMetrics;

const ROUND: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// At the end, for a collector that takes nothing.
const LAST_ROUND_MAX: Duration = Duration::from_secs(5);
/// A failure that lasts is said again after this.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// See the module's documentation.
pub(super) struct Exporter {
    client: Grpc<Channel>,
    resource: Resource,
    queues: Queues,
    /// For the next spans of the queue that is taken next.
    spare: Written,
    is_batch: Arc<Notify>,
    metrics: Arc<WorkerMetrics>,
    told: Option<Instant>,
}

/// Who the spans are of.
pub(super) fn resource(service: &str, node: &str) -> Resource {
    Resource {
        attributes: vec![
            KeyValue::text("service.name", service),
            KeyValue::text("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::text("service.instance.id", node),
        ],
    }
}

impl Exporter {
    pub(super) fn new(
        endpoint: Endpoint,
        resource: Resource,
        queues: Queues,
        is_batch: Arc<Notify>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(EXPORT_TIMEOUT).connect_lazy();
        let (client, spare) = (Grpc::new(channel), Written::default());
        Self { client, resource, queues, spare, is_batch, metrics, told: None }
    }

    /// Exports until `stop` says so, then a last time.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let is_last = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                _ = timeout(ROUND, self.is_batch.notified()) => false,
            };
            if !is_last {
                tokio::select! {
                    () = self.round() => continue,
                    // What a collector has kept waiting is lost with this; it is asked for the rest.
                    _ = stop.wait_for(|stop| *stop) => {}
                }
            }
            if timeout(LAST_ROUND_MAX, self.round()).await.is_err() {
                tracing::warn!("the last spans are lost: the collector does not take them");
            }
            return;
        }
    }

    async fn round(&mut self) {
        let queues = lock(&self.queues).clone();
        for queue in queues {
            let mut spans = queue.take(&mut self.spare);
            while !spans.is_empty() {
                let rest = spans.split_off(spans.len().min(BATCH_MAX));
                self.export(spans).await;
                spans = rest;
            }
        }
    }

    /// Sends one batch, as often as the collector asks for another time.
    async fn export(&mut self, spans: Vec<Bytes>) {
        let count = spans.len() as u64;
        let scope = Scope { name: "transom".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        let request = ExportRequest { resource_spans };
        let mut backoff = ROUND;
        loop {
            match self.send(request.clone()).await {
                Ok(response) => {
                    let rejected = response.partial_success.map_or(0, |partial| partial.rejected_spans);
                    let rejected = u64::try_from(rejected).unwrap_or(0).min(count);
                    self.metrics.trace_spans_exported.add(count - rejected);
                    self.metrics.trace_spans_dropped.add(rejected);
                    if self.told.take().is_some() {
                        tracing::info!("the collector takes spans again");
                    }
                    return;
                }
                Err(status) => {
                    self.metrics.trace_export_failures.add(1);
                    self.tell(&status);
                    if !is_worth_another(&status) {
                        self.metrics.trace_spans_dropped.add(count);
                        return;
                    }
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn send(&mut self, request: ExportRequest) -> Result<ExportResponse, Status> {
        self.client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<ExportRequest, ExportResponse>::default();
        let reply =
            self.client.unary(Request::new(request), PathAndQuery::from_static(EXPORT), codec).await?;
        Ok(reply.into_inner())
    }

    fn tell(&mut self, status: &Status) {
        if self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN) {
            self.told = Some(Instant::now());
            tracing::warn!(code = ?status.code(), message = status.message(), "the collector takes no spans");
        }
    }
}

/// OTLP specification, "Failures": all others say that the request itself is at fault, or, as `RESOURCE_EXHAUSTED`,
/// that a repetition would make it worse.
fn is_worth_another(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}
