//! The flags that several subcommands share, and how they become a [`Config`].
//!
//! A flag says the same as a key of the file and wins over it. Any source named by flag replaces the file's
//! sources; `--upstream` replaces the endpoint of the file's service and keeps its bounds.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use http::Uri;
use tracing::level_filters::LevelFilter;

use crate::codec::options::{Defaults, Enums, Names, Unknown};
use crate::config::descriptors::{Descriptors, Source};
use crate::config::endpoints::Endpoints;
use crate::config::finding::{Finding, Severity};
use crate::config::routes::{CONFLICTS, Conflicts};
use crate::config::services::{Service, parse_backend};
use crate::config::{Config, Elsewhere, LoadError, WORKERS_MAX, json};

/// What to serve: enough for `routes`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct SourceFlags {
    /// Read this configuration file; flags win over it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve a descriptor set, or a directory of them; may be repeated
    #[arg(long, value_name = "FILE_OR_DIR")]
    descriptors: Vec<PathBuf>,
    /// Compile and serve a .proto file, or a directory of them; may be repeated
    #[arg(long, value_name = "FILE_OR_DIR")]
    proto: Vec<PathBuf>,
    /// Ask a backend for its descriptors by gRPC reflection
    #[arg(long, value_name = "URL", value_parser = parse_backend)]
    reflect: Option<Uri>,
    /// Serve methods without a rule too, as POST /package.Service/Method
    #[arg(long)]
    unannotated: bool,
    /// What to do when two rules claim the same requests
    #[arg(long, value_parser = words(&CONFLICTS))]
    conflicts: Option<Conflicts>,
}

/// How to serve it.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ServeFlags {
    #[command(flatten)]
    sources: SourceFlags,
    /// Serve every service from this backend, such as http://127.0.0.1:50051
    #[arg(long, value_name = "URL", value_parser = parse_backend)]
    upstream: Option<Uri>,
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where probes and metrics connect, a loopback address [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDR", value_parser = loopback)]
    admin: Option<SocketAddr>,
    /// Threads, each with its own connections to the backend [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=WORKERS_MAX as u64))]
    workers: Option<u64>,
    /// Field names in replies: lowerCamelCase or as in the .proto file
    #[arg(long, value_parser = words(&json::NAMES))]
    json_names: Option<Names>,
    /// Enum values in replies
    #[arg(long, value_parser = words(&json::ENUMS))]
    json_enums: Option<Enums>,
    /// Fields at their default in replies
    #[arg(long, value_parser = words(&json::DEFAULTS))]
    json_defaults: Option<Defaults>,
    /// JSON fields that a request's type does not know
    #[arg(long, value_parser = words(&json::UNKNOWN_FIELDS))]
    unknown_fields: Option<Unknown>,
}

/// What to tell on standard error.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct LogFlag {
    /// The least severe messages that are logged
    #[arg(long, value_parser = words(&LEVELS), default_value = "info")]
    pub log: LevelFilter,
}

const LEVELS: [(&str, LevelFilter); 5] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
];

impl ServeFlags {
    /// The configuration file, if there is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        self.sources.config.clone()
    }

    /// The configuration that file and flags make together.
    pub(super) fn config(&self) -> Result<Config, LoadError> {
        let upstream = self.upstream.as_ref().or(self.sources.reflect.as_ref());
        let mut config = self.sources.read(upstream.is_some())?;
        if let Some(upstream) = upstream {
            match config.services.first_mut() {
                Some(service) => service.endpoints = Endpoints::one(upstream.clone()),
                None => config.services.push(Service::new("upstream", upstream.clone())),
            }
        }
        replace(&mut config.listeners.public.bind, self.listen);
        replace(&mut config.listeners.admin.bind, self.admin);
        replace(&mut config.json.names, self.json_names);
        replace(&mut config.json.enums, self.json_enums);
        replace(&mut config.json.defaults, self.json_defaults);
        replace(&mut config.json.unknown, self.unknown_fields);
        if let Some(workers) = self.workers {
            config.workers = Some(usize::try_from(workers).expect("clap checked the range"));
        }
        Ok(config)
    }
}

impl SourceFlags {
    /// As [`ServeFlags::config`], where no backend is needed.
    pub(super) fn config(&self) -> Result<Config, LoadError> {
        self.read(true)
    }

    fn read(&self, service_given: bool) -> Result<Config, LoadError> {
        let sources = self.sources();
        let elsewhere =
            Elsewhere { descriptors: !sources.is_empty(), services: service_given, secrets: false };
        let mut config = match &self.config {
            Some(file) => Config::load(file, elsewhere)?,
            None => without_file(elsewhere)?,
        };
        if !sources.is_empty() {
            config.descriptors = sources;
        }
        replace(&mut config.routes.conflicts, self.conflicts);
        config.routes.unannotated |= self.unannotated;
        Ok(config)
    }

    fn sources(&self) -> Vec<Descriptors> {
        let sets = self
            .descriptors
            .iter()
            .cloned()
            .map(|path| if path.is_dir() { Source::Directory(path) } else { Source::File(path) });
        let protos = self.proto.iter().cloned().map(|path| Source::Proto { path, includes: Vec::new() });
        let reflections =
            self.reflect.iter().cloned().map(|uri| Source::Reflect { uri, refresh: None, tls: None });
        sets.chain(protos).chain(reflections).map(|source| Descriptors { source, position: None }).collect()
    }
}

fn without_file(elsewhere: Elsewhere) -> Result<Config, LoadError> {
    let mut missing = Vec::new();
    if !elsewhere.descriptors {
        missing.push("nothing to serve: name --descriptors, --proto, --reflect, or a file with -c");
    }
    if !elsewhere.services {
        missing.push("no backend: name --upstream, or a file with -c");
    }
    if missing.is_empty() {
        return Ok(Config::default());
    }
    let finding = |message: &str| Finding {
        file: None,
        position: None,
        severity: Severity::Error,
        message: message.to_owned(),
    };
    let findings = missing.into_iter().map(finding).collect();
    Err(LoadError::Findings { findings, files: Vec::new() })
}

fn replace<T>(slot: &mut T, given: Option<T>) {
    if let Some(value) = given {
        *slot = value;
    }
}

/// Metrics and readiness tell a stranger too much: leaving the loopback takes a file that says so.
fn loopback(text: &str) -> Result<SocketAddr, &'static str> {
    let address: SocketAddr =
        text.parse().map_err(|_| "expected an IP address and a port such as 127.0.0.1:9901")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("not a loopback address: a file with `listeners.admin.unauthenticated: true` may name it")
    }
}

/// One of a few words, each standing for a value.
pub(super) fn words<T: Copy + Send + Sync + 'static>(
    table: &'static [(&'static str, T)],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(table.iter().map(|(word, _)| *word)).map(move |text| {
        let found = table.iter().find(|(word, _)| *word == text);
        found.expect("clap lets only the words of the table through").1
    })
}

#[cfg(test)]
mod tests;
