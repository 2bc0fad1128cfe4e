//! `transom openapi`: the OpenAPI document of a surface, as `serve` would have it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::flags::{SourceFlags, words};
use super::{Failure, build, tell};
use crate::openapi::{Format, Version};

/// Write the OpenAPI document of a surface
#[derive(Args)]
pub(super) struct OpenApi {
    #[command(flatten)]
    flags: SourceFlags,
    /// How to write it
    #[arg(long, value_parser = words(&FORMATS), default_value = "json")]
    format: Format,
    /// To a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which surface, where there are several
    #[arg(long, value_name = "NAME")]
    surface: Option<String>,
    /// Of OpenAPI; 3.0 is for older generators
    #[arg(long = "version", value_parser = words(&VERSIONS), default_value = "3.1")]
    of_openapi: Version,
}

const FORMATS: [(&str, Format); 2] = [("json", Format::JsonIndented), ("yaml", Format::Yaml)];
const VERSIONS: [(&str, Version); 2] = [("3.1", Version::V31), ("3.0", Version::V30)];

/// As much of the document as is in memory.
const BUFFER_BYTES: usize = 64 << 10;

impl OpenApi {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let gateway = build(&self.flags.config()?)?;
        for warning in gateway.warnings() {
            tell(warning);
        }
        let snapshot = gateway.snapshot();
        let names: Vec<&str> = snapshot.surfaces.all().iter().map(|surface| &*surface.name).collect();
        let index = match (&self.surface, names.as_slice()) {
            (None, [_]) => 0,
            (None, _) => {
                let several = format!("there are several surfaces: --surface {}", names.join(" | "));
                return Err(Failure::Usage(several));
            }
            (Some(name), _) => {
                let found = names.iter().position(|known| known == name);
                found.ok_or_else(|| Failure::Unknown(format!("there is no surface `{name}`")))?
            }
        };
        let write = |out: &mut dyn Write| gateway.write_openapi(index, self.of_openapi, self.format, out);
        let written = match &self.output {
            Some(path) => {
                File::create(path).and_then(|file| write(&mut BufWriter::with_capacity(BUFFER_BYTES, file)))
            }
            None => write(&mut BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock())),
        };
        match written {
            // A reader that has gone away, such as `head`, is no failure.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::System("cannot write the document", error))
            }
            _ => Ok(ExitCode::SUCCESS),
        }
    }
}
