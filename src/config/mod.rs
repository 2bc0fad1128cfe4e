//! The configuration: one YAML file, or flags alone, become a [`Config`].
//!
//! ```text
//! text → yaml (a tree with places) → one `read` per section → Config, or every finding at once
//! ```
//!
//! Each section owns its struct, its defaults and its `read` in a file of its own; the doc comment of a
//! field states its default, unit and bound. A key that nobody reads is an error: with the nearest name
//! if it is unknown, and by its own name if a later version serves it, so that nothing that was written
//! is ever silently without effect. Reading is all there is here: no descriptor is opened, no address bound.

pub mod access;
pub mod access_log;
pub mod aggregates;
pub mod auth;
pub mod auth_introspect;
pub mod auth_jwt;
mod balance;
pub mod cache;
pub mod caller;
mod compression;
pub mod consumers;
mod cors;
pub mod cost;
pub mod deprecated;
pub mod descriptors;
pub mod effective;
pub mod endpoints;
pub mod explain;
pub mod expression;
pub mod fallback;
pub mod fields;
pub mod finding;
pub mod graphql;
pub mod headers;
mod health;
pub mod json;
pub mod kafka;
pub mod links;
pub mod listeners;
pub mod mirror;
mod names;
pub mod observe;
pub mod openapi;
mod outlier;
pub mod passes;
pub mod plans;
pub mod policies;
pub mod protection;
pub mod rate;
pub mod reload;
mod restart;
pub mod revoked;
pub mod rollout;
pub mod routes;
pub mod schema;
mod secret;
mod section;
pub mod services;
mod shape;
mod share;
pub mod shown;
pub mod stores;
pub mod subscriptions;
pub mod surfaces;
mod together;
pub mod traces;
pub mod validation;
mod value;
mod yaml;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::codec::options::JsonOptions;
use access::Geo;
use descriptors::Descriptors;
use finding::{Finding, Report};
use headers::Headers;
use listeners::Listeners;
use observe::Observe;
use plans::Plan;
use policies::Policy;
use reload::Reload;
use routes::Routes;
use section::Section;
use services::Service;
use shown::Written;
use stores::Store;
use surfaces::Surface;
use validation::Validation;
use yaml::Node;

/// Everything the gateway is told. `Config::default()` is what an empty command line means.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from, as it was named; `None` when flags say everything.
    pub file: Option<Arc<str>>,
    /// Where clients and operators connect.
    pub listeners: Listeners,
    /// Where the descriptor set comes from; several sources are joined into one set.
    pub descriptors: Vec<Descriptors>,
    /// The backends.
    pub services: Vec<Service>,
    /// Where the gateway is, in the words of the endpoints' `zone`.
    pub zone: Option<String>,
    /// What becomes a route, and how strictly requests bind.
    pub routes: Routes,
    /// How JSON is read and written.
    pub json: JsonOptions,
    /// What is said of requests that break rules.
    pub validation: Validation,
    /// Which headers become metadata, and which metadata headers.
    pub headers: Headers,
    /// The files that know where addresses are.
    pub geo: Geo,
    /// Who may say who is calling.
    pub auth: Vec<auth::Provider>,
    /// Who is served and counted.
    pub consumers: Vec<consumers::Consumer>,
    /// Where limits are counted, by name.
    pub stores: Vec<Store>,
    /// What consumers may take, by name.
    pub plans: Vec<Plan>,
    /// The bounds of the cache of replies.
    pub cache: cache::Bounds,
    /// What is asked of calls, by name.
    pub policies: Vec<Policy>,
    /// The front ends. Default: one with every host and every method.
    pub surfaces: Vec<Surface>,
    /// What is told of the work beside its replies.
    pub observe: Observe,
    /// When it is loaded again.
    pub reload: Reload,
    /// Threads, each with its own runtime and backend connections. `None`: one per core.
    pub workers: Option<usize>,
    /// Whether secrets, and files that hold them, are where they are said to be.
    pub has_secrets: bool,
    /// Files that secrets were read from.
    pub secret_files: Vec<PathBuf>,
    /// Files and directories that are named to be read, secrets among them.
    pub files: Vec<PathBuf>,
    /// What is allowed and yet likely a mistake.
    pub warnings: Vec<Finding>,
    /// The file itself, to be shown.
    pub written: Written,
}

/// What the file need not say or lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    pub descriptors: bool,
    pub services: bool,
    /// Secrets are where the gateway will run: references to them are not followed.
    pub secrets: bool,
}

/// Sections of the file format that a later version serves.
const LATER: &[&str] = &[];

/// More threads than any machine has cores.
pub const WORKERS_MAX: usize = 1024;

/// A configuration file beyond this is a mistake, not a configuration.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read at all.
    #[error("{file}: {reason}")]
    Unreadable { file: String, reason: String },
    /// The file was read; each finding says what is wrong and where.
    #[error("{}", finding::lines(.findings))]
    Findings {
        findings: Vec<Finding>,
        /// What the file names to be read: one of them may be what is missing.
        files: Vec<PathBuf>,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            listeners: Listeners::default(),
            descriptors: Vec::new(),
            services: Vec::new(),
            zone: None,
            routes: Routes::default(),
            json: JsonOptions::default(),
            validation: Validation::default(),
            headers: Headers::default(),
            geo: Geo::default(),
            auth: Vec::new(),
            consumers: Vec::new(),
            stores: Vec::new(),
            plans: Vec::new(),
            cache: cache::Bounds::default(),
            policies: Vec::new(),
            surfaces: vec![Surface::whole()],
            observe: Observe::default(),
            reload: Reload::default(),
            workers: None,
            has_secrets: true,
            secret_files: Vec::new(),
            files: Vec::new(),
            warnings: Vec::new(),
            written: Written::default(),
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// Every finding of the file at once, or why it cannot be read.
    pub fn load(file: &Path, elsewhere: Elsewhere) -> Result<Self, LoadError> {
        let unreadable = |reason: String| LoadError::Unreadable { file: file.display().to_string(), reason };
        let bytes = std::fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(unreadable(format!("{bytes} bytes are more than the {FILE_BYTES_MAX} allowed")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        let (config, files) = Self::parse_naming(&text, file, elsewhere);
        config.map_err(|findings| LoadError::Findings { findings, files })
    }

    /// Reads the text of a configuration file; relative paths in it are relative to `file`'s directory.
    ///
    /// # Errors
    ///
    /// Every finding at once, in the order of the file.
    pub fn parse(text: &str, file: &Path, elsewhere: Elsewhere) -> Result<Self, Vec<Finding>> {
        Self::parse_naming(text, file, elsewhere).0
    }

    /// As [`parse`](Self::parse), and what the text names to be read, whatever is wrong with it.
    fn parse_naming(
        text: &str,
        file: &Path,
        elsewhere: Elsewhere,
    ) -> (Result<Self, Vec<Finding>>, Vec<PathBuf>) {
        let mut report = Report::new(file);
        report.follow_secrets(!elsewhere.secrets);
        report.read_from(text);
        let config = match yaml::parse(text) {
            Ok(root) => Self::read(&root, elsewhere, &mut report)
                .map(|config| Self { written: Written::new(root), ..config }),
            Err((position, message)) => {
                report.add(position, message);
                None
            }
        };
        let (secret_files, mut files) = (report.take_secret_files(), report.take_files());
        files.extend_from_slice(&secret_files);
        let config = match (config, report.into_findings()) {
            (Some(config), warnings) if !finding::is_fatal(&warnings) => Ok(Self {
                file: Some(file.display().to_string().into()),
                has_secrets: !elsewhere.secrets,
                secret_files,
                files: files.clone(),
                warnings,
                ..config
            }),
            (_, findings) => Err(findings),
        };
        (config, files)
    }

    fn read(root: &Node, elsewhere: Elsewhere, report: &mut Report) -> Option<Self> {
        let mut config = Self::default();
        let mut section = Section::open(root, "", report)?;
        let mut version = None;
        section.read("version", &mut version, |node, report| value::integer(1..=1)(node, report).map(Some));
        section.read("listeners", &mut config.listeners, Listeners::read);
        section.read("descriptors", &mut config.descriptors, descriptors::read);
        section.read("services", &mut config.services, services::read);
        section.read("zone", &mut config.zone, |node, report| read_zone(node, report).map(Some));
        section.read("routes", &mut config.routes, Routes::read);
        section.read("json", &mut config.json, json::read);
        section.read("validation", &mut config.validation, Validation::read);
        section.read("headers", &mut config.headers, Headers::read);
        section.read("geo", &mut config.geo, Geo::read);
        section.read("auth", &mut config.auth, auth::read);
        section.read("consumers", &mut config.consumers, consumers::read);
        section.read("stores", &mut config.stores, stores::read);
        section.read("plans", &mut config.plans, plans::read);
        section.read("cache", &mut config.cache, cache::Bounds::read);
        section.read("policies", &mut config.policies, policies::read);
        section.read("surfaces", &mut config.surfaces, surfaces::read);
        // What is written there changes all the time, and is no reason to read anything again.
        section.read("observe", &mut config.observe, |node, report| {
            report.written(|report| Observe::read(node, report))
        });
        section.read("reload", &mut config.reload, Reload::read);
        section.read("workers", &mut config.workers, |node, report| {
            value::integer(1..=WORKERS_MAX)(node, report).map(Some)
        });
        section.require("version", "write `version: 1` first");
        if !elsewhere.descriptors {
            section.require("descriptors", "name at least one source, such as `- { file: api.binpb }`");
        }
        if !elsewhere.services {
            section.require(
                "services",
                "name the backend, such as `api: { endpoints: { static: [http://127.0.0.1:50051] } }`",
            );
        }
        section.close(LATER);
        names::check(&config, root, report);
        together::check(&config, report);
        access::check(&config, report);
        Some(config)
    }
}

/// A name, or where the environment has it: the same file serves every zone.
fn read_zone(node: &Node, report: &mut Report) -> Option<String> {
    let text = value::text(node, report)?;
    let Some(variable) = text.strip_prefix("env:") else { return Some(text) };
    if !report.follows_secrets() {
        return Some(String::new());
    }
    match std::env::var(variable) {
        Ok(zone) if !zone.is_empty() => Some(zone),
        _ => value::refuse(node, report, format!("the environment variable `{variable}` is not set")),
    }
}

#[cfg(test)]
mod tests;
