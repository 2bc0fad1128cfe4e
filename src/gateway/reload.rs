//! Loading the configuration again while calls are served.
//!
//! ```text
//! SIGHUP, POST, a changed file ─▶ one task: load, check, build ─▶ warm ─▶ install: one store
//!                                     └ any finding: the old one goes on, and it is told why
//! ```
//!
//! Nothing of it runs on a worker. Whoever asks while a reload is under way gets the answer of the one after it,
//! which is one for all who have asked by then: files may have changed since the first was read. A configuration that
//! was refused is tried again when something that it names changes: what it lacks may yet be mounted.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::certificates;
use super::contents::{self, Contents};
use super::snapshot::{self, Ground, Kept};
use super::{clusters, likely_mistakes, listeners, settings};
use crate::config::descriptors::Source;
use crate::config::finding::{Finding, Severity, as_json};
use crate::config::{Config, LoadError};
use crate::server::{
    Bound, ConfigPage, ListenerAddress, Listeners, Reload, Reloaded, ServerConfig, StartError,
};
use crate::snapshot::{Catalog, Losses, Snapshot, compare};
use crate::source::changes::Changes;
use crate::telemetry::audit::{self, Digests};
use crate::telemetry::{Metrics, ReloadResult, ReloadScope};

/// Who may wait for one reload; others wait until they may wait.
const WAITING_MAX: usize = 64;

/// Findings of one kind that are logged; the rest is counted.
const LINES_MAX: usize = 20;

/// Losses that an answer lists.
const LOSSES_SHOWN_MAX: usize = 100;

/// Refusals that are known to have been told: as many as a backend may have versions at once.
const TOLD_MAX: usize = 16;

/// Where a configuration comes from, each time that it is loaded.
pub struct Origin {
    file: Option<PathBuf>,
    load: Box<dyn Fn() -> Result<Config, LoadError> + Send + Sync>,
}

/// What is served, and how it came to be.
pub(super) struct Serving {
    pub(super) origin: Origin,
    /// The files as they were when they were last read.
    pub(super) changes: Changes,
    /// What a configuration names that was refused: looked at until one is good.
    pub(super) awaited: Vec<PathBuf>,
    /// What was refused since the configuration holds, youngest first.
    pub(super) told: VecDeque<Refusal>,
    /// When backends were last asked for their descriptors.
    pub(super) fetched: Instant,
    pub(super) config: Arc<Config>,
    pub(super) contents: Contents,
    pub(super) kept: Kept,
    pub(super) server: ServerConfig,
    pub(super) catalog: Arc<Catalog>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) page: ConfigPage,
    pub(super) listeners: Listeners,
}

/// How to ask for a reload.
#[derive(Clone, Debug)]
pub(super) struct Reloader(mpsc::Sender<Request>);

/// Somebody waits for a reload.
pub(super) struct Request {
    actor: String,
    answer: oneshot::Sender<Reloaded>,
}

/// Why nothing is different.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    findings: Vec<Finding>,
    /// Of the contents, where they could be read.
    digest: Option<String>,
}

/// What a configuration makes, ready to be served.
struct Prepared {
    config: Config,
    contents: Contents,
    kept: Kept,
    snapshot: Snapshot,
    server: ServerConfig,
    bound: Bound,
    warnings: Vec<Finding>,
    losses: Losses,
    /// Keys of the file that hold after a restart.
    held: Vec<&'static [&'static str]>,
}

/// What came of loading.
enum Loaded {
    Prepared(Box<Prepared>),
    /// Nothing that holds without a restart is different.
    Unchanged(Vec<Finding>),
}

impl Origin {
    /// `load` gives the configuration as it is now, which stands in `file` or in flags alone.
    pub fn new(
        file: Option<PathBuf>,
        load: impl Fn() -> Result<Config, LoadError> + Send + Sync + 'static,
    ) -> Self {
        Self { file, load: Box::new(load) }
    }

    pub(super) fn file(&self) -> impl Iterator<Item = PathBuf> + use<> {
        self.file.clone().into_iter()
    }

    pub(super) fn load(&self) -> Result<Config, LoadError> {
        (self.load)()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}

impl Reload for Reloader {
    fn reload(&self, actor: String) -> Pin<Box<dyn Future<Output = Reloaded> + Send>> {
        let requests = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let sent = requests.send(Request { actor, answer }).await;
            let reloaded = if sent.is_ok() { answered.await.ok() } else { None };
            // The task ends with the gateway alone.
            let gone = || answer_of(ReloadResult::Rejected, json!({ "error": "the gateway is going down" }));
            reloaded.unwrap_or_else(gone)
        })
    }
}

/// Where requests for a reload are heard, and how they are made.
pub(super) fn queue() -> (Reloader, mpsc::Receiver<Request>) {
    let (requests, received) = mpsc::channel(WAITING_MAX);
    (Reloader(requests), received)
}

impl Serving {
    /// Reloads as often as somebody asks or a file changes, until nobody can ask any more.
    pub(super) async fn serve(mut self, mut requests: mpsc::Receiver<Request>, runtime: Handle) {
        loop {
            let mut waiting = Vec::new();
            let (actor, scope) = tokio::select! {
                request = requests.recv() => {
                    let Some(request) = request else { return };
                    waiting.push(request);
                    while let Ok(another) = requests.try_recv() {
                        waiting.push(another);
                    }
                    (actors(&waiting), ReloadScope::Everything)
                }
                () = self.changes.changed(), if self.is_watching() => ("file".to_owned(), ReloadScope::Everything),
                () = fetch_due(&self.config, self.fetched) => ("refresh".to_owned(), ReloadScope::Descriptors),
            };
            // Where it is built nobody serves and nothing else waits.
            let job = tokio::task::spawn_blocking({
                let runtime = runtime.clone();
                move || {
                    let loaded = runtime.block_on(self.load(&runtime, scope));
                    (self, loaded)
                }
            });
            let Ok((serving, loaded)) = job.await else {
                return tracing::error!(
                    "reloading has failed for good: the configuration holds until a restart"
                );
            };
            self = serving;
            let reloaded = self.end(&actor, scope, loaded, !waiting.is_empty()).await;
            for Request { answer, .. } in waiting {
                // Who has gone away does not mind.
                let _ = answer.send(reloaded.clone());
            }
        }
    }

    fn is_watching(&self) -> bool {
        self.config.reload.watch && self.origin.file.is_some()
    }

    async fn load(&mut self, background: &Handle, scope: ReloadScope) -> Result<Loaded, Refusal> {
        let begun = SystemTime::now();
        let config = match scope {
            ReloadScope::Everything => {
                self.changes = self.changes.again();
                self.origin.load()
            }
            ReloadScope::Descriptors => {
                self.changes = self.changes.again_but(self.unread());
                Ok((*self.config).clone())
            }
        };
        let (loaded, named, mut files) = match config {
            Ok(config) => {
                let named = config.files.clone();
                let (loaded, files) = self.prepare(config, background).await;
                (loaded, named, files)
            }
            Err(error) => {
                let (findings, named) = refused(error);
                let files = contents::files(&self.config, &self.contents);
                (Err(Refusal { findings, digest: None }), named, files)
            }
        };
        if scope == ReloadScope::Everything {
            self.awaited =
                if loaded.is_err() { files.iter().cloned().chain(named).collect() } else { Vec::new() };
        }
        files.extend_from_slice(&self.awaited);
        self.changes = std::mem::take(&mut self.changes).with(self.origin.file().chain(files), begun);
        // From its end: however long a backend takes to answer, changes are noticed in between.
        self.fetched = Instant::now();
        loaded
    }

    /// What is not read with the descriptors, or was read by a configuration that is refused.
    fn unread(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let secrets = self.config.secret_files.clone();
        self.origin.file().chain(secrets).chain(self.awaited.clone())
    }

    /// Reads what a configuration leads to, and builds all of it; with the files that were read.
    async fn prepare(
        &self,
        mut config: Config,
        background: &Handle,
    ) -> (Result<Loaded, Refusal>, Vec<PathBuf>) {
        let held = config.hold_back(&self.config);
        let contents = contents::read(&config, &self.contents).await;
        let files = contents::files(&config, contents.as_ref().unwrap_or(&self.contents));
        let loaded = match contents {
            Ok(contents) => {
                let digest = contents.digest.clone();
                let loaded = self.build(config, contents, held, background);
                loaded.map_err(|findings| Refusal { findings, digest: Some(digest) })
            }
            Err(findings) => Err(Refusal { findings, digest: None }),
        };
        (loaded, files)
    }

    fn build(
        &self,
        config: Config,
        contents: Contents,
        held: Vec<(&'static [&'static str], Finding)>,
        background: &Handle,
    ) -> Result<Loaded, Vec<Finding>> {
        let (held, mut warnings): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        self.metrics.reloads.fetch_failures.add(contents.warnings.len() as u64);
        warnings.extend(contents.warnings.iter().cloned());
        if config == *self.config && contents.digest == self.contents.digest {
            return Ok(Loaded::Unchanged(warnings));
        }
        let kept = self.kept.draft();
        let previous = self.catalog.current();
        let ground = Ground {
            background,
            metrics: &self.metrics,
            kept: &kept,
            workers: settings::workers(&self.config),
            previous: Some((&self.config, &previous)),
        };
        let (snapshot, left_out) = snapshot::build(&config, &contents, ground)?;
        let losses = compare(previous.shown(), snapshot.shown());
        if config.reload.refuse_breaking && !losses.is_empty() {
            return Err(breaking(&config, &losses));
        }
        let (server, of_listeners) =
            listeners::server(&config, background, Some((&self.config, &self.server)))?;
        let bound = self.listeners.bind(server.clone()).map_err(|error| vec![unbound(&config, &error)])?;
        warnings.extend(left_out.into_iter().chain(of_listeners));
        warnings.extend(likely_mistakes(&config));
        let prepared = Prepared { config, contents, kept, snapshot, server, bound, warnings, losses, held };
        Ok(Loaded::Prepared(Box::new(prepared)))
    }

    /// Serves what was loaded, or tells why not: where nobody `is_asking`, once for what is the same.
    async fn end(
        &mut self,
        actor: &str,
        scope: ReloadScope,
        loaded: Result<Loaded, Refusal>,
        is_asking: bool,
    ) -> Reloaded {
        match loaded {
            Ok(Loaded::Prepared(prepared)) => self.install(actor, scope, *prepared).await,
            Ok(Loaded::Unchanged(warnings)) => {
                self.metrics.reloads.ended(scope, ReloadResult::Unchanged);
                if scope == ReloadScope::Everything {
                    self.told.clear();
                }
                tell(&warnings);
                tracing::debug!(actor, "the configuration is unchanged");
                self.answer(ReloadResult::Unchanged, json!({ "warnings": as_json(&warnings) }))
            }
            Err(refusal) => {
                self.metrics.reloads.ended(scope, ReloadResult::Rejected);
                let told = json!({ "findings": as_json(&refusal.findings) });
                let is_known = self.told.contains(&refusal);
                if is_asking || !is_known {
                    self.tell_refused(actor, &refusal.findings);
                } else {
                    tracing::debug!(actor, "the configuration is refused as it was before");
                }
                if !is_known {
                    self.told.truncate(TOLD_MAX - 1);
                    self.told.push_front(refusal);
                }
                self.answer(ReloadResult::Rejected, told)
            }
        }
    }

    fn tell_refused(&self, actor: &str, findings: &[Finding]) {
        tell(findings);
        tracing::error!(
            actor,
            findings = findings.len(),
            "the configuration is refused: the old one goes on"
        );
        let lines: Vec<_> = findings.iter().take(LINES_MAX).map(ToString::to_string).collect();
        let data = json!({ "file": self.config.file.as_deref(), "findings": lines, "count": findings.len() });
        audit::note("config.refused", actor, data);
    }

    /// Waits for what the first calls will need, and serves.
    async fn install(&mut self, actor: &str, scope: ReloadScope, prepared: Prepared) -> Reloaded {
        let Prepared { config, contents, kept, snapshot, server, bound, mut warnings, losses, held } =
            prepared;
        let (next, before) = (&kept.auth, &self.kept.auth);
        let background = Handle::current();
        let (keys, revocations, without_endpoints) = tokio::join!(
            next.tokens.ready(Some(&before.tokens)),
            next.revocations.ready(Some(&before.revocations)),
            clusters::ready(&snapshot, &background)
        );
        for (providers, what) in [(keys, "keys"), (revocations, "revocations")] {
            warnings.extend(providers.iter().map(|provider| {
                let position = config.place(&["auth", provider]);
                let message = format_args!("`auth.{provider}` has no {what} yet: its calls meet 503");
                snapshot::warning(&config, position, message)
            }));
        }
        warnings.extend(without_endpoints.iter().map(|service| {
            let position = config.place(&["services", service, "endpoints"]);
            let message = format_args!("`services.{service}` has no endpoints yet: its calls meet 503");
            snapshot::warning(&config, position, message)
        }));
        kept.auth.begin();
        let [before, after] = [(&*self.config, &self.contents), (&config, &contents)]
            .map(|(config, contents)| settings::digests(config, contents));
        let page = page(&config, self.metrics.reloads.generation() + 1, Some((&held, &self.page.json())));
        let addresses = bound.addresses();
        self.catalog.install(snapshot);
        super::show(&self.catalog, &self.metrics);
        clusters::check(&self.catalog.current(), &Handle::current());
        self.listeners.change(bound);
        certificates::show(&server, &self.metrics);
        self.page.replace(page);
        self.metrics.reloads.ended(scope, ReloadResult::Applied);
        audit::note_loaded(actor, config.file.as_deref(), &before, &after);
        (self.config, self.contents, self.kept, self.server) = (Arc::new(config), contents, kept, server);
        self.told.clear();
        tell(&warnings);
        for line in losses.lines.iter().take(LINES_MAX) {
            tracing::warn!("clients lose: {line}");
        }
        tell_more(losses.count(), "losses");
        let changes = changes(&before, &after);
        for ListenerAddress { name, address, scheme } in addresses {
            tracing::info!("{name} {scheme}://{address}");
        }
        tracing::info!(actor, %changes, "the new configuration holds");
        self.answer(
            ReloadResult::Applied,
            json!({
                "changes": changes,
                "losses": losses.lines.get(..LOSSES_SHOWN_MAX).unwrap_or(&losses.lines),
                "losses_count": losses.count(),
                "warnings": as_json(&warnings),
            }),
        )
    }

    fn answer(&self, result: ReloadResult, mut told: Value) -> Reloaded {
        told["generation"] = json!(self.metrics.reloads.generation());
        answer_of(result, told)
    }
}

fn answer_of(result: ReloadResult, mut told: Value) -> Reloaded {
    told["result"] = json!(result.name());
    Reloaded { is_refused: result == ReloadResult::Rejected, json: format!("{told:#}\n").into() }
}

/// What is wrong with a configuration, and what it names to be read.
fn refused(error: LoadError) -> (Vec<Finding>, Vec<PathBuf>) {
    match error {
        LoadError::Findings { findings, files } => (findings, files),
        LoadError::Unreadable { file, reason } => {
            let (file, severity) = (Some(file.into()), Severity::Error);
            (vec![Finding { file, position: None, severity, message: reason }], Vec::new())
        }
    }
}

/// A listener that cannot be bound, at its address.
fn unbound(config: &Config, error: &StartError) -> Finding {
    let bound = match error {
        StartError::Listen { address, .. } => {
            config.listeners.publics().find(|public| public.bind == *address).map(|public| &*public.name)
        }
        StartError::Thread(_) => None,
    };
    let position = bound.and_then(|name| config.place(&["listeners", name, "bind"]));
    snapshot::finding(config, position, error)
}

/// Logs findings, as many as somebody reads.
fn tell(findings: &[Finding]) {
    for finding in findings.iter().take(LINES_MAX) {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
    tell_more(findings.len(), "findings");
}

fn tell_more(count: usize, what: &str) {
    if let Some(more) = count.checked_sub(LINES_MAX).filter(|more| *more > 0) {
        tracing::warn!("and {more} more {what}");
    }
}

/// Why a configuration is refused that would take something from clients.
fn breaking(config: &Config, losses: &Losses) -> Vec<Finding> {
    let position = config.place(&["reload", "refuse_breaking"]);
    let told =
        |line: &String| snapshot::finding(config, position, format_args!("clients would lose: {line}"));
    let mut findings: Vec<_> = losses.lines.iter().take(LOSSES_SHOWN_MAX).map(told).collect();
    if let Some(more) = losses.count().checked_sub(LOSSES_SHOWN_MAX).filter(|more| *more > 0) {
        findings.push(snapshot::finding(config, position, format_args!("clients would lose {more} more")));
    }
    findings
}

/// Who asks, each once.
fn actors(waiting: &[Request]) -> String {
    let mut actors: Vec<_> = waiting.iter().map(|request| request.actor.as_str()).collect();
    actors.sort_unstable();
    actors.dedup();
    actors.join(", ")
}

/// Waits until a backend is to be asked for its descriptors again; for ever if none is.
async fn fetch_due(config: &Config, fetched: Instant) {
    let intervals = config.descriptors.iter().filter_map(|named| match &named.source {
        Source::Reflect { refresh, .. } => *refresh,
        _ => None,
    });
    match intervals.min() {
        Some(interval) => tokio::time::sleep_until(fetched + interval).await,
        None => std::future::pending().await,
    }
}

/// The names that were added, changed and removed; no digest leaves the audit log.
fn changes(before: &Digests, after: &Digests) -> Value {
    let names =
        |one: &Digests, other: &Digests, differs: fn(Option<&String>, &String) -> bool| -> Vec<String> {
            let found = one.iter().filter(|(name, digest)| differs(other.get(*name), digest));
            found.map(|(name, _)| name.clone()).collect()
        };
    json!({
        "added": names(after, before, |before, _| before.is_none()),
        "changed": names(after, before, |before, after| before.is_some_and(|before| before != after)),
        "removed": names(before, after, |after, _| after.is_none()),
    })
}

/// What `/config` shows: what holds, so that keys of the file which are held back until a restart are taken from the
/// page before.
pub(super) fn page(config: &Config, generation: u64, before: Option<(&[&[&str]], &str)>) -> String {
    let mut shown = config.shown();
    if let Some((held, before)) = before {
        let before: Value = serde_json::from_str(before).unwrap_or_default();
        held.iter().for_each(|path| hold(&mut shown, &before, path));
    }
    shown["generation"] = json!(generation);
    format!("{shown:#}\n")
}

/// Takes what stands at a path from `before`.
fn hold(shown: &mut Value, before: &Value, path: &[&str]) {
    let Some((key, rest)) = path.split_first() else {
        return shown.clone_from(before);
    };
    match before.get(key) {
        Some(before) => {
            if !shown.is_object() {
                *shown = Value::Object(Map::new());
            }
            hold(&mut shown[*key], before, rest);
        }
        None => drop(shown.as_object_mut().and_then(|object| object.remove(*key))),
    }
}
