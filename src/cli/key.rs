//! `transom key`: makes API keys, and the hashes that the configuration keeps of them.

use std::io::{self, Read};
use std::process::ExitCode;

use aws_lc_rs::rand;
use clap::{Args, Subcommand};

use super::{Failure, print, tell};
use crate::policy::api_key::{self, KEY_BYTES_MAX, KEY_BYTES_MIN, KeyHash, RANDOM_BYTES};

/// Make an API key, or hash one that exists
#[derive(Args)]
pub(super) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Print a new key, this once, and its line for the configuration file
    New {
        /// The consumer whose key it is to be
        #[arg(long, value_name = "NAME", default_value = "NAME")]
        consumer: String,
    },
    /// Print the hash of a key from standard input
    Hash,
}

impl Key {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            KeyCommand::New { consumer } => new(&consumer),
            KeyCommand::Hash => hash(),
        }
        .map(|()| ExitCode::SUCCESS)
    }
}

fn new(consumer: &str) -> Result<(), Failure> {
    let key = loop {
        let mut random = [0; RANDOM_BYTES];
        rand::fill(&mut random)
            .map_err(|_| Failure::System("no random numbers", io::ErrorKind::Other.into()))?;
        if let Some(key) = api_key::generate(&random) {
            break key;
        }
    };
    // The key alone goes to standard output, so that it can be piped to where it is kept.
    print(&key);
    let id = api_key::id(&key).unwrap_or_default();
    tell(format_args!("it is not shown again; for the configuration file:\n"));
    tell(format_args!("consumers:\n  {consumer}:\n    keys: [\"{}\"] # {id}", KeyHash::of(&key)));
    Ok(())
}

fn hash() -> Result<(), Failure> {
    let mut text = String::new();
    io::stdin()
        .take(KEY_BYTES_MAX as u64 + 2)
        .read_to_string(&mut text)
        .map_err(|error| Failure::System("cannot read a key from standard input", error))?;
    let key = text.strip_suffix('\n').map_or(text.as_str(), |key| key.strip_suffix('\r').unwrap_or(key));
    if !api_key::is_plausible(key) {
        return Err(Failure::Start(format!(
            "that is no key: expected {KEY_BYTES_MIN} to {KEY_BYTES_MAX} characters of ASCII without blanks, \
             and a good check at the end of one that begins with `transom_`"
        )));
    }
    if api_key::id(key).is_none() {
        tell("this key was not made by `transom key new`: is it random, and long enough not to be guessed?");
    }
    print(KeyHash::of(key));
    Ok(())
}
