//! Active health checks: each endpoint is asked by `grpc.health.v1` whether it works, once for the whole process.
//!
//! ```text
//! an endpoint is listed ─▶ Watch ─ each word of the server ─▶ believed at once ─┐
//!      (one task)            ├ and beside it Check, every so often ─▶ counted ──┼▶ Cluster::judge
//!                            └ UNIMPLEMENTED ─▶ Check alone ────────▶ counted ──┘
//! an endpoint is gone, or its cluster ─▶ the task is aborted
//! ```
//!
//! A Watch that is silent proves nothing: a server that hangs keeps its connections, so it is asked beside it. The
//! checks have a connection of their own, made as those of calls are, and count in no metric of calls. A server
//! without the health service is well as long as it answers at all.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use prost::Message as _;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::cluster::{Cluster, Listed};
use super::endpoint::{Address, EndpointSpec};
use super::passage::random;
use super::reply::GrpcMessages;
use super::request::{GrpcRequest, RequestMessages, Terms};
use super::{Upstream, UpstreamConfig, put_frame};
use crate::policy::health::{Health, HealthSettings};
use crate::status::{Code, Status};
use crate::telemetry::WorkerMetrics;

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse.SERVING` of grpc/health/v1/health.proto.
const SERVING: i32 = 1;

/// The tasks that check the endpoints of a cluster, by their numbers.
#[derive(Debug)]
pub(super) struct Checkers {
    runtime: Handle,
    cluster: Weak<Cluster>,
    settings: HealthSettings,
    tasks: HashMap<u64, AbortHandle>,
}

impl Checkers {
    pub(super) fn new(cluster: &Arc<Cluster>, settings: HealthSettings, runtime: Handle) -> Self {
        Self { runtime, cluster: Arc::downgrade(cluster), settings, tasks: HashMap::new() }
    }

    /// Checks those that are listed, and nobody else.
    pub(super) fn follow(&mut self, listed: &[Listed], config: &UpstreamConfig) {
        let mut before = std::mem::take(&mut self.tasks);
        for Listed { endpoint, .. } in listed {
            let task = before.remove(&endpoint.number).unwrap_or_else(|| {
                let checker = Checker::new(&self.cluster, endpoint.address.clone(), &self.settings, config);
                self.runtime.spawn(checker.run()).abort_handle()
            });
            self.tasks.insert(endpoint.number, task);
        }
        before.values().for_each(AbortHandle::abort);
    }
}

impl Drop for Checkers {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

/// Asks an endpoint once whether it works, as the checks of `config` do every so often.
///
/// # Errors
///
/// In words: the endpoint would count as unwell.
pub async fn ask(address: Address, config: &UpstreamConfig) -> Result<(), String> {
    let Some(settings) = &config.health else { return Ok(()) };
    let checker = Checker::new(&Weak::new(), address, settings, config);
    match checker.check(&checker.upstream()).await {
        Found::Status(SERVING) | Found::Unimplemented => Ok(()),
        Found::Status(status) => Err(name(status).to_owned()),
        // health.proto: what Watch calls SERVICE_UNKNOWN.
        Found::Failed(Code::NotFound) => Err("it knows no such name (NOT_FOUND)".to_owned()),
        Found::Failed(code) => Err(code.name().to_owned()),
    }
}

/// What checks one endpoint.
struct Checker {
    cluster: Weak<Cluster>,
    address: Address,
    settings: HealthSettings,
    /// How the endpoint is reached; its connection is there from the first check on.
    config: UpstreamConfig,
    health: Health,
    is_told_unimplemented: bool,
}

/// What came of asking.
enum Found {
    /// The server's own word.
    Status(i32),
    /// It answers, and knows nothing of health.
    Unimplemented,
    /// No answer, or one that is none.
    Failed(Code),
}

impl Checker {
    fn new(
        cluster: &Weak<Cluster>,
        address: Address,
        settings: &HealthSettings,
        config: &UpstreamConfig,
    ) -> Self {
        let config = UpstreamConfig {
            health: None,
            outlier: None,
            connections_max: 1,
            // Checks have a pace of their own; each of them is to try.
            backoff_min: Duration::ZERO,
            backoff_max: Duration::ZERO,
            ..config.clone()
        };
        Self {
            cluster: Weak::clone(cluster),
            address,
            settings: settings.clone(),
            config,
            health: Health::new(),
            is_told_unimplemented: false,
        }
    }

    /// A way to the endpoint that no call takes.
    fn upstream(&self) -> Upstream {
        let spec = vec![EndpointSpec::new(self.address.clone())];
        let cluster = Cluster::new("health checks", self.config.clone(), spec);
        Upstream::new(cluster, Arc::new(WorkerMetrics::default()))
    }

    async fn run(mut self) {
        let upstream = self.upstream();
        // Many endpoints come at once, and many gateways start at once.
        sleep(self.settings.wait(random()) / 10).await;
        let mut has_watch = true;
        while self.cluster.strong_count() > 0 {
            let found = if has_watch { self.watch(&upstream).await } else { self.check(&upstream).await };
            if has_watch && matches!(found, Found::Unimplemented) {
                has_watch = false;
                continue;
            }
            self.take(&found);
            sleep(self.settings.wait(random())).await;
        }
    }

    /// Follows what the server says of itself, as long as it answers; how that ended.
    async fn watch(&mut self, upstream: &Upstream) -> Found {
        let opened = async {
            let reply = upstream.attempt(self.request(WATCH, None)).await;
            let mut messages = reply.map_err(|failure| failure.status)?.messages;
            let first = status_of(messages.next().await)?;
            Ok((messages, first))
        };
        let (mut messages, first) = match self.within(opened).await {
            Ok(opened) => opened,
            Err(found) => return found,
        };
        self.told(first);
        loop {
            let wait = self.settings.wait(random());
            match next_within(&mut messages, wait).await {
                Some(Ok(status)) => self.told(status),
                Some(Err(status)) => return Found::of(&status),
                None => {
                    let found = self.check(upstream).await;
                    self.take(&found);
                }
            }
        }
    }

    async fn check(&self, upstream: &Upstream) -> Found {
        let asked = async {
            let reply = upstream.attempt(self.request(CHECK, Some(self.settings.timeout))).await;
            let mut messages = reply.map_err(|failure| failure.status)?.messages;
            status_of(messages.next().await)
        };
        self.within(asked).await.map_or_else(|found| found, Found::Status)
    }

    async fn within<T>(&self, asked: impl Future<Output = Result<T, Status>>) -> Result<T, Found> {
        match timeout(self.settings.timeout, asked).await {
            Ok(outcome) => outcome.map_err(|status| Found::of(&status)),
            Err(_) => Err(Found::Failed(Code::DeadlineExceeded)),
        }
    }

    fn request(&self, path: &'static str, timeout: Option<Duration>) -> GrpcRequest {
        let question = HealthCheckRequest { service: self.settings.service.to_string() };
        let mut frame = Vec::new();
        put_frame(&mut frame, |out| question.encode(out)).expect("a Vec has room");
        GrpcRequest {
            path: PathAndQuery::from_static(path),
            metadata: HeaderMap::new(),
            key: None,
            timeout,
            messages: RequestMessages::One(frame.into()),
            terms: Terms::default(),
            trail: None,
        }
    }

    /// Takes in a status that nobody asked for.
    fn told(&mut self, status: i32) {
        let change = self.health.told(status == SERVING);
        self.judge(change, name(status));
    }

    /// Takes in what a check has found.
    fn take(&mut self, found: &Found) {
        let (is_well, reason) = match found {
            Found::Status(status) => (*status == SERVING, name(*status)),
            Found::Unimplemented => (true, "UNIMPLEMENTED"),
            Found::Failed(code) => (false, code.name()),
        };
        if matches!(found, Found::Unimplemented) && !std::mem::replace(&mut self.is_told_unimplemented, true)
        {
            tracing::warn!(
                endpoint = %self.address,
                "the backend has no service `grpc.health.v1.Health`: it counts as well while it answers"
            );
        }
        let change = self.health.found(is_well, &self.settings);
        self.judge(change, reason);
    }

    fn judge(&self, change: Option<bool>, reason: &'static str) {
        let (Some(is_well), Some(cluster)) = (change, self.cluster.upgrade()) else { return };
        cluster.judge(&self.address, is_well);
        let (service, endpoint) = (&**cluster.name(), &self.address);
        if is_well {
            tracing::info!(service, %endpoint, reason, "an endpoint is well again");
        } else {
            tracing::warn!(service, %endpoint, reason, "an endpoint is unwell");
        }
    }
}

impl Found {
    fn of(status: &Status) -> Self {
        match status.code {
            Code::Unimplemented => Self::Unimplemented,
            code => Self::Failed(code),
        }
    }
}

/// The next status, or `None` when none comes in time.
async fn next_within(messages: &mut GrpcMessages, wait: Duration) -> Option<Result<i32, Status>> {
    timeout(wait, messages.next()).await.ok().map(status_of)
}

fn status_of(message: Option<Result<Bytes, Status>>) -> Result<i32, Status> {
    let message = message.ok_or_else(|| Status::backend(Code::Unavailable, "the stream has ended"))??;
    let answer = HealthCheckResponse::decode(message);
    answer.map(|answer| answer.status).map_err(|_| Status::backend(Code::Internal, "no HealthCheckResponse"))
}

/// As health.proto has it.
fn name(status: i32) -> &'static str {
    match status {
        SERVING => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

// The messages of grpc/health/v1/health.proto.

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}
