//! The composition root: the one place that names every room, in the order in which a request sees them.
//!
//! ```text
//! Config → sources → Snapshot → Gateway::start → listeners → Worker::call, once a request
//! ```

mod access;
mod aggregates;
mod auth;
mod authorization;
mod backend_tls;
mod background;
mod cache;
mod certificates;
mod clusters;
mod contents;
mod documents;
mod events;
mod explorer;
mod expressions;
mod fallback;
mod fields;
mod graphql;
mod limits;
mod listeners;
mod meter;
pub mod online;
mod openapi;
mod pages;
mod protection;
mod purge;
mod reload;
mod revocations;
mod rollout;
mod settings;
mod snapshot;
mod subscription;
mod surfaces;
mod swagger_ui;
mod tokens;
mod told;
mod websocket;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::{HeaderMap, Request, Response};
use tower::ServiceExt;

use crate::call::{BoundedBody, Client, ClientBody, Failure, Head, Reply, host};
use crate::config::finding::Finding;
use crate::config::{Config, LoadError};
use crate::frontend::{self, Exchange, Opened};
use crate::openapi::{Format, Version};
use crate::policy::client_address::TrustedProxies;
use crate::policy::protection::Protections;
use crate::policy::request_id::RequestIds;
use crate::server::{
    self, ConfigPage, Handler, HandlerWorker, LimitedBody, Operations, Reload, Running, ServerConfig,
    StartError, WorkerContext,
};
use crate::snapshot::{Catalog, Snapshot};
use crate::source::changes::Changes;
use crate::stage::auth::Auth;
use crate::stage::cache::Caching;
use crate::stage::limit::Limits;
use crate::stage::operation::Together;
use crate::stage::{self, Allowed, Calls, Stages};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::audit::{Audit, AuditError};
use crate::telemetry::stats::NOTED_EVERY;
use crate::telemetry::traces::{Traces, TracesError};
use crate::telemetry::usage::{Usage, UsageError};
use crate::telemetry::{Metrics, WorkerMetrics};
use crate::transcode::Transcoder;
use crate::upstream;

pub use crate::server::ListenerAddress;
pub use reload::Origin;

use background::Background;
use contents::Contents;
use meter::{Counted, Meter, Metered};
use pages::Pages;
use purge::Purger;
use reload::Serving;
use snapshot::{Ground, Kept};
use told::Teller;
use websocket::Sockets;

/// A gateway that is ready to serve: everything is loaded, nothing is bound yet.
#[derive(Debug)]
pub struct Gateway {
    catalog: Arc<Catalog>,
    warnings: Vec<Finding>,
    server: ServerConfig,
    config: Arc<Config>,
    contents: Contents,
    metrics: Arc<Metrics>,
    kept: Kept,
    background: Background,
    /// Where it can be loaded from again, and the files as they were read.
    origin: Option<(Origin, Changes)>,
    stdout: Stdout,
}

/// Where an access log goes that names no file.
struct Stdout(Box<dyn Write + Send>);

impl fmt::Debug for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stdout")
    }
}

impl Gateway {
    /// Reads every source that `config` names and derives everything from it.
    ///
    /// # Errors
    ///
    /// Every finding at once.
    pub async fn build(config: &Config) -> Result<Self, Vec<Finding>> {
        let background = Background::start().map_err(|error| {
            vec![snapshot::finding(config, None, format_args!("cannot start a thread: {error}"))]
        })?;
        let metrics = Metrics::new();
        let kept = Kept::new(background.handle(), &metrics);
        let ground = Ground {
            background: background.handle(),
            metrics: &metrics,
            kept: &kept,
            workers: settings::workers(config),
            previous: None,
        };
        let contents = contents::read(config, &Contents::default()).await?;
        let (snapshot, mut warnings) = snapshot::build(config, &contents, ground)?;
        warnings.extend(likely_mistakes(config));
        let (server, of_listeners) = listeners::server(config, background.handle(), None)?;
        warnings.extend(of_listeners);
        Ok(Self {
            catalog: Arc::new(Catalog::new(snapshot)),
            warnings,
            server,
            config: Arc::new(config.clone()),
            contents,
            metrics,
            kept,
            background,
            origin: None,
            stdout: Stdout(Box::new(io::sink())),
        })
    }

    /// Reads the configuration, and everything that it names, from where it can be read again.
    ///
    /// # Errors
    ///
    /// The origin's; every finding at once.
    pub async fn load(origin: Origin) -> Result<Self, LoadError> {
        let begun = SystemTime::now();
        let before = Changes::of(origin.file());
        let config = origin.load()?;
        let gateway = Self::build(&config)
            .await
            .map_err(|findings| LoadError::Findings { findings, files: Vec::new() })?;
        let files = origin.file().chain(contents::files(&config, &gateway.contents));
        Ok(Self { origin: Some((origin, before.with(files, begun))), ..gateway })
    }

    /// Has an access log that names no file go to `stdout`, and not nowhere.
    pub fn with_stdout(self, stdout: impl Write + Send + 'static) -> Self {
        Self { stdout: Stdout(Box::new(stdout)), ..self }
    }

    /// What was left out, although the gateway can serve: rules that lost to others.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// What is served at this moment.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.catalog.current()
    }

    /// Writes the OpenAPI document of a surface, by its place in the snapshot; nothing where there is none.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_openapi(
        &self,
        surface: usize,
        version: Version,
        format: Format,
        out: impl Write,
    ) -> io::Result<()> {
        openapi::write(&self.snapshot(), surface, version, format, out)
    }

    /// Fetches what calls will need, such as the keys of tokens and lists of endpoints, and waits for it, ten seconds at most.
    ///
    /// What is missing then is fetched as soon as it can be; until then the calls that need it meet 503.
    pub async fn warm(&self) {
        let auth = &self.kept.auth;
        let snapshot = self.catalog.current();
        let (without_keys, without_revocations, without_endpoints) = tokio::join!(
            auth.tokens.ready(None),
            auth.revocations.ready(None),
            clusters::ready(&snapshot, self.background.handle())
        );
        for provider in without_keys {
            tracing::error!(%provider, "serving without the keys of its tokens");
        }
        for provider in without_revocations {
            tracing::error!(%provider, "serving without its revocations: nobody is believed");
        }
        for service in without_endpoints {
            tracing::error!(%service, "serving without its endpoints: its calls meet 503");
        }
    }

    /// Binds the listeners and starts the workers; serves when this returns.
    ///
    /// # Errors
    ///
    /// See [`GatewayError`].
    pub fn start(self) -> Result<Running, GatewayError> {
        let Self { catalog, server, config, contents, metrics, kept, background, origin, stdout, .. } = self;
        if config.services.is_empty() {
            return Err(GatewayError::NoBackend);
        }
        if let Some(audit) = settings::audit(&config, &contents) {
            Audit::open(&audit)?.install();
        }
        let usage = config.observe.usage.as_ref().map(settings::usage);
        let usage = usage.map(|usage| Usage::start(usage, metrics.worker())).transpose()?;
        let log = config.observe.access_log.as_ref().map(|log| settings::access_log(log, stdout.0));
        let log = log.map(|log| AccessLog::start(log, metrics.worker())).transpose();
        let log = log.map_err(GatewayError::AccessLog)?;
        let traces = config.observe.traces.as_ref().map(|traces| settings::traces(&config, traces));
        let traces = traces.map(|traces| Traces::start(traces, metrics.worker())).transpose()?;
        keep_past(&background, &metrics);
        show_keys(&catalog, &metrics);
        kept.auth.begin();
        clusters::begin(&catalog.current(), background.handle());
        show(&catalog, &metrics);
        clusters::check(&catalog.current(), background.handle());
        certificates::show(&server, &metrics);
        let config_page = ConfigPage::new(reload::page(&config, 1, None));
        let runtime = background.handle().clone();
        let rooms = Rooms {
            catalog: catalog.clone(),
            calls: Calls::default(),
            sockets: Sockets::default(),
            metrics: metrics.clone(),
            usage,
            log,
            traces,
            _background: background,
        };
        let (reloader, requests) = reload::queue();
        let operations = Operations {
            config_page: config_page.clone(),
            lacking: clusters::lacking(&catalog.current()),
            reload: origin.is_some().then(|| Arc::new(reloader) as Arc<dyn Reload>),
            purge: Some(Arc::new(Purger(Arc::clone(&catalog)))),
        };
        let running = server::start(server.clone(), Arc::new(rooms), metrics.clone(), operations)?;
        if let Some((origin, changes)) = origin {
            let listeners = running.listeners();
            let serving = Serving {
                origin,
                changes,
                awaited: Vec::new(),
                told: std::collections::VecDeque::new(),
                fetched: tokio::time::Instant::now(),
                config,
                contents,
                kept,
                server,
                catalog,
                metrics,
                page: config_page,
                listeners,
            };
            runtime.spawn(serving.serve(requests, runtime.clone()));
        }
        Ok(running)
    }
}

/// Shows the snapshot that holds: to the stores that nodes share, and to who reads statistics.
fn show(catalog: &Catalog, metrics: &Metrics) {
    let snapshot = catalog.current();
    clusters::observe(&snapshot, metrics);
    let deprecated = surfaces::deprecated(&snapshot);
    metrics.stats.deprecate(|surface, method| deprecated.contains(&(surface, method)));
    snapshot.live.get::<Arc<Limits>>().inspect(|limits| limits.be_counted());
    snapshot.live.get::<Arc<Caching>>().inspect(|caching| caching.begin());
    if let Some(Protections(protections)) = snapshot.live.get() {
        metrics.stats.services.observe(Arc::clone(protections));
    }
}

/// What is allowed, and yet likely a mistake, as of now.
fn likely_mistakes(config: &Config) -> impl Iterator<Item = Finding> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    config.warnings.iter().cloned().chain(config.past_sunsets(now.as_secs()))
}

/// Why a gateway cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("no backend is named: `--upstream URL`, or `services` in the configuration file")]
    NoBackend,
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the access log: {0}")]
    AccessLog(io::Error),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Notes the statistics of now, for those who ask later what was lately.
fn keep_past(background: &Background, metrics: &Arc<Metrics>) {
    let metrics = Arc::downgrade(metrics);
    background.handle().spawn(async move {
        let mut ticks = tokio::time::interval(NOTED_EVERY);
        while let Some(metrics) = metrics.upgrade() {
            metrics.stats.note(Instant::now());
            drop(metrics);
            ticks.tick().await;
        }
    });
}

/// Shows the keys of consumers among the statistics: those of the snapshot that holds when somebody looks.
fn show_keys(catalog: &Arc<Catalog>, metrics: &Metrics) {
    let catalog = Arc::downgrade(catalog);
    metrics.stats.keys.observe(move || {
        let snapshot = catalog.upgrade().map(|catalog| catalog.current());
        let auth = snapshot.as_ref().and_then(|snapshot| snapshot.live.get::<Arc<Auth>>());
        auth.map(|auth| auth.keys()).unwrap_or_default()
    });
}

/// What the workers share.
struct Rooms {
    catalog: Arc<Catalog>,
    calls: Calls,
    sockets: Sockets,
    metrics: Arc<Metrics>,
    /// Goes with the last worker, and writes what that one left.
    usage: Option<Usage>,
    /// As that.
    log: Option<AccessLog>,
    traces: Option<Traces>,
    _background: Background,
}

/// Rooms 2 to 8 of one thread.
#[derive(Clone)]
struct Worker {
    catalog: Arc<Catalog>,
    stages: Stages<Transcoder>,
    together: Together<Allowed<Transcoder>>,
    request_ids: Arc<RequestIds>,
    sockets: Sockets,
    metrics: Arc<WorkerMetrics>,
    meter: Arc<Meter>,
}

impl Rooms {
    /// Whom a worker tells of its calls, if anybody.
    fn teller(&self, metrics: &Arc<WorkerMetrics>) -> Option<Teller> {
        let lines = self.log.as_ref().map(|log| log.lines(metrics));
        let random = || RandomState::new().hash_one(0);
        let tracer = self.traces.as_ref().map(|traces| traces.tracer([random(), random()], metrics));
        (lines.is_some() || tracer.is_some()).then_some(Teller { lines, tracer })
    }
}

impl Handler for Rooms {
    type Worker = Worker;

    fn worker(&self, context: &WorkerContext) -> Worker {
        let metrics = context.metrics.clone();
        let transcoder = Transcoder::new(upstream::Worker { index: context.index, metrics: metrics.clone() });
        let (stages, together) = stage::stack(transcoder, &self.calls, &metrics);
        Worker {
            catalog: self.catalog.clone(),
            stages,
            together,
            request_ids: context.request_ids.clone(),
            sockets: self.sockets.clone(),
            meter: Meter::new(&self.metrics, self.usage.as_ref(), self.teller(&metrics)),
            metrics,
        }
    }
}

impl HandlerWorker for Worker {
    type Body = Metered;

    async fn call(&self, request: Request<LimitedBody>, peer: &server::Peer) -> Response<Metered> {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let snapshot = self.catalog.current();
        self.metrics.headers_dropped.add(snapshot.strip.apply(&mut parts.headers) as u64);
        let request_id = self.request_ids.choose(&parts.headers);
        let listener = snapshot.listener(&peer.listener);
        let client = client(peer, &parts.headers, snapshot.proxies.get(listener));
        let head = Arc::new(Head::new(parts, client, request_id, started));
        let frontend = frontend::classify(&head);
        let mut exchange = Exchange::new(snapshot, Arc::clone(&head), listener);
        let mut tally = self.meter.begin(&exchange, &peer.listener);
        let body = ClientBody::new(Counted { body, notes: exchange.notes.clone() });
        let snapshot = Arc::clone(&exchange.snapshot);
        let host = host(&head.uri, &head.headers).unwrap_or_default();
        if let Some(graphql) = snapshot.surfaces.graphql(listener, host, head.uri.path()) {
            let response = if frontend::graphql::websocket::is_wanted(&head) {
                self.websocket(&mut exchange, &mut tally, graphql, &peer.listener)
            } else {
                self.graphql(&mut exchange, &mut tally, graphql, body).await
            };
            self.metrics.headers_dropped.add(exchange.dropped_headers as u64);
            return tally.measure(frontend::offered(&exchange, response));
        }
        let opened = frontend.open(&mut exchange, body);
        tally.led(&exchange);
        let outcome = match opened {
            Ok(Opened::Call(mut call)) => {
                tally.opened(&mut call);
                self.stages.clone().oneshot(call).await
            }
            // In a place of its own: what most requests need not is no part of what they hold.
            Ok(Opened::Aggregate(asked)) => Box::pin(self.aggregate(&mut exchange, &tally, *asked)).await,
            Err(status) => page(&exchange).await.unwrap_or_else(|| Err(status.into())),
        };
        let response = frontend::respond(frontend, &mut exchange, tally.judged(outcome));
        self.metrics.headers_dropped.add(exchange.dropped_headers as u64);
        tally.measure(response)
    }
}

/// A page of the surface, for a request that no route of it matches.
async fn page(exchange: &Exchange) -> Option<Result<Reply, Failure>> {
    if exchange.binding.is_some() || exchange.aggregate.is_some() {
        return None;
    }
    let pages = exchange.snapshot.live.get::<Arc<Pages>>()?;
    Some(pages.answer(exchange).await?.map_err(Failure::from))
}

/// Where a request comes from.
fn client(peer: &server::Peer, headers: &HeaderMap, proxies: Option<&TrustedProxies>) -> Client {
    let address = peer.address.ip().to_canonical();
    let client = Client {
        peer: address,
        address,
        chain: peer.text.clone(),
        scheme: peer.scheme,
        host: None,
        certificate: peer.certificate.clone(),
    };
    match proxies.filter(|proxies| proxies.contains(address)) {
        Some(proxies) => client.told(proxies.origin(address, headers)),
        None => client,
    }
}

impl BoundedBody for LimitedBody {
    fn lift_bounds(self: Pin<&mut Self>) {
        let body = self.get_mut();
        body.set_bytes_max(u64::MAX);
        body.allow_slow();
    }

    fn bytes_max(&self) -> u64 {
        LimitedBody::bytes_max(self)
    }
}
