//! `transom audit verify FILE`: whether each line of an audit log follows from the one before it.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::telemetry::audit;

/// Look after audit logs
#[derive(Args)]
pub(super) struct Audit {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the chain of an audit log, and print the hash of its last line to keep elsewhere
    Verify {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

impl Audit {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Command::Verify { file } = self.command;
        let unreadable = |error| Failure::Unreadable(format!("{}: {error}", file.display()));
        let log = File::open(&file).map_err(unreadable)?;
        match audit::verify(BufReader::new(log)).map_err(unreadable)? {
            Ok(verified) => {
                print(format_args!(
                    "{} lines, {} torn\nfirst follows {}\nlast is {}",
                    verified.lines, verified.torn, verified.first, verified.last
                ));
                Ok(ExitCode::SUCCESS)
            }
            Err(broken) => {
                print(format_args!("{}: {broken}", file.display()));
                Ok(ExitCode::from(1))
            }
        }
    }
}
