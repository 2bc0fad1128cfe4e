//! `transom serve`: the gateway, until SIGTERM or SIGINT and the end of the calls in flight.

use std::process::ExitCode;

use clap::Args;

use super::flags::{LogFlag, ServeFlags};
use super::{Failure, build, load, log, print, warm};
use crate::config::Config;
use crate::gateway::{Gateway, ListenerAddress, Origin};

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
        let origin = Origin::new(self.flags.file(), move || self.flags.config());
        run(load(origin)?, listing)
    }
}

/// A line for each listener; the only public one needs no name.
fn listing(publics: &[ListenerAddress], admin: &ListenerAddress) -> String {
    let mut lines = String::new();
    for ListenerAddress { name, address, scheme } in publics {
        let name = if publics.len() == 1 { "serving" } else { name };
        lines.push_str(&format!("{name:<9} {scheme}://{address}\n"));
    }
    lines + &format!("admin     {}://{}", admin.scheme, admin.address)
}

/// Prints what `announce` makes of the addresses once they listen; returns when the gateway has drained.
pub(super) fn serve(
    config: &Config,
    announce: impl FnOnce(&[ListenerAddress], &ListenerAddress) -> String,
) -> Result<ExitCode, Failure> {
    run(build(config)?, announce)
}

fn run(
    gateway: Gateway,
    announce: impl FnOnce(&[ListenerAddress], &ListenerAddress) -> String,
) -> Result<ExitCode, Failure> {
    for warning in gateway.warnings() {
        tracing::warn!("{warning}");
    }
    warm(&gateway)?;
    let running =
        gateway.with_stdout(std::io::stdout()).start().map_err(|error| Failure::Start(error.to_string()))?;
    let publics = running.addresses.clone();
    let admin = running.admin_address.clone().expect("a gateway has an admin listener");
    running
        .run_until_signal(|| print(announce(&publics, &admin)))
        .map_err(|error| Failure::System("cannot wait for signals", error))?;
    Ok(ExitCode::SUCCESS)
}
