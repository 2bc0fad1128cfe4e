//! `transom schema`: the JSON Schema of the configuration file.

use std::process::ExitCode;

use clap::Args;

use super::{Failure, print};

/// Print the JSON Schema of the configuration file, for editors
#[derive(Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        print(format_args!("{:#}", crate::config::schema::schema()));
        Ok(ExitCode::SUCCESS)
    }
}
