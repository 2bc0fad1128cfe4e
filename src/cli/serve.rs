//! `transom serve`: the gateway, until SIGTERM or SIGINT and the end of the calls in flight.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::flags::{LogFlag, ServeFlags};
use super::{Failure, build, log, print};
use crate::config::Config;

/// Serve what a configuration file or flags name
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: ServeFlags,
    #[command(flatten)]
    log: LogFlag,
}

impl Serve {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        log(self.log.log);
        serve(&self.flags.config()?, |public, admin| {
            format!("serving   http://{public}\nadmin     http://{admin}")
        })
    }
}

/// Prints what `announce` makes of the two addresses once they listen; returns when the gateway has drained.
pub(super) fn serve(
    config: &Config,
    announce: impl FnOnce(SocketAddr, SocketAddr) -> String,
) -> Result<ExitCode, Failure> {
    let gateway = build(config)?;
    for warning in gateway.warnings() {
        tracing::warn!("{warning}");
    }
    let running = gateway.start().map_err(|error| Failure::Start(error.to_string()))?;
    let public = running.addresses.first().copied().expect("a gateway has a public listener");
    let admin = running.admin_address.expect("a gateway has an admin listener");
    running
        .run_until_signal(|| print(announce(public, admin)))
        .map_err(|error| Failure::System("cannot wait for signals", error))?;
    Ok(ExitCode::SUCCESS)
}
