//! The command line: `transom serve | demo | check | key | routes | graphql | openapi | explain | schema | audit`, one
//! file a subcommand.
//!
//! Flags become a [`Config`], which [`gateway`](crate::gateway) turns into a running
//! gateway. What a program may read goes to standard output, everything else to standard error.

mod audit;
mod check;
mod demo;
mod explain;
mod flags;
mod graphql;
mod key;
mod openapi;
mod routes;
mod schema;
mod serve;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::config::finding::Finding;
use crate::config::{Config, LoadError};
use crate::gateway::{Gateway, Origin};

/// Put gRPC services on the web as HTTP and JSON, from their descriptors
#[derive(Parser)]
#[command(name = "transom", version)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Check(check::Check),
    Key(key::Key),
    Routes(routes::Routes),
    Graphql(graphql::Graphql),
    Openapi(openapi::OpenApi),
    Explain(explain::Explain),
    Schema(schema::Schema),
    Audit(audit::Audit),
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let done = match Line::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Check(check) => check.run(),
        Command::Audit(audit) => audit.run(),
        Command::Key(key) => key.run(),
        Command::Routes(routes) => routes.run(),
        Command::Graphql(graphql) => graphql.run(),
        Command::Openapi(openapi) => openapi.run(),
        Command::Explain(explain) => explain.run(),
        Command::Schema(schema) => schema.run(),
    };
    done.unwrap_or_else(|failure| failure.report())
}

/// Why a subcommand did not do it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// What was configured, or what it names, is wrong.
    #[error("{}", crate::config::finding::lines(.0))]
    Findings(Vec<Finding>),
    /// The configuration file cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The command line names something that is not there.
    #[error("{0}")]
    Unknown(String),
    /// The command line is not meant so.
    #[error("{0}")]
    Usage(String),
    /// The gateway does not start: an address is taken, for one.
    #[error("{0}")]
    Start(String),
    /// The system refuses something.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl Failure {
    fn report(&self) -> ExitCode {
        tell(self);
        self.exit_code()
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Findings(_) | Self::Unknown(_) | Self::Start(_) | Self::System(..) => ExitCode::from(1),
            Self::Unreadable(_) | Self::Usage(_) => ExitCode::from(2),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Findings { findings, .. } => Self::Findings(findings),
            LoadError::Unreadable { .. } => Self::Unreadable(error.to_string()),
        }
    }
}

/// Loads what a configuration names; reflection needs a runtime, the rest does not mind one.
fn build(config: &Config) -> Result<Gateway, Failure> {
    runtime()?.block_on(Gateway::build(config)).map_err(Failure::Findings)
}

/// Loads a configuration, and what it names, so that both can be loaded again.
fn load(origin: Origin) -> Result<Gateway, Failure> {
    Ok(runtime()?.block_on(Gateway::load(origin))?)
}

/// Waits for what the first calls will need.
fn warm(gateway: &Gateway) -> Result<(), Failure> {
    runtime()?.block_on(gateway.warm());
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::System("cannot start a runtime", error))
}

/// Sends what is logged to standard error.
fn log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
}

/// To standard output. A reader that has gone away, such as `head`, is no failure.
fn print(text: impl Display) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// To standard error.
fn tell(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
