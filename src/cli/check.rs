//! `transom check`: everything a configuration says and names, and every finding with its place.
//!
//! Exit code 0 without findings, 1 with, 2 when the file cannot be read. What needs the network is only
//! asked with `--online`: a build machine seldom reaches the backends.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Failure, build, print, tell};
use crate::config::descriptors::Source;
use crate::config::finding::{Finding, lines};
use crate::config::services::Service;
use crate::config::{Config, Elsewhere};

/// Check a configuration file and everything it names
#[derive(Args)]
pub(super) struct Check {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Also ask backends: for their descriptors by reflection, and whether they accept connections
    #[arg(long)]
    online: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    Json,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Check {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let findings = match self.findings() {
            Ok(()) => Vec::new(),
            Err(Failure::Findings(findings)) => findings,
            Err(failure) => return Err(failure),
        };
        match self.format {
            Format::Json => print(as_json(&findings)),
            Format::Text if findings.is_empty() => {
                print(format_args!("{}: no findings", self.config.display()))
            }
            Format::Text => print(lines(&findings)),
        }
        Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn findings(&self) -> Result<(), Failure> {
        let config = Config::load(&self.config, Elsewhere::default())?;
        if !self.online && asks_backends(&config) {
            tell(
                "descriptors by reflection are only checked with --online, and so are routes that need them",
            );
            return Ok(());
        }
        for warning in build(&config)?.warnings() {
            tell(format_args!("warning: {warning}"));
        }
        if self.online {
            self.reach(&config.services)?;
        }
        Ok(())
    }

    fn reach(&self, services: &[Service]) -> Result<(), Failure> {
        let unreachable = services.iter().filter_map(|service| {
            let reason = connect(service).err()?;
            let message = format!("`{}`: cannot connect to `{}`: {reason}", service.name, service.endpoint);
            let file = Some(self.config.display().to_string().into());
            Some(Finding { file, position: service.position, message })
        });
        let findings: Vec<_> = unreachable.collect();
        if findings.is_empty() { Ok(()) } else { Err(Failure::Findings(findings)) }
    }
}

fn asks_backends(config: &Config) -> bool {
    config.descriptors.iter().any(|one| matches!(one.source, Source::Reflect(_)))
}

fn connect(service: &Service) -> std::io::Result<()> {
    let host = service.endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = service.endpoint.port_u16().unwrap_or(80);
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A list of `{file, line, column, message}`; what is not known is absent.
fn as_json(findings: &[Finding]) -> serde_json::Value {
    let one = |finding: &Finding| {
        let mut object = json!({ "message": finding.message });
        if let Some(file) = &finding.file {
            object["file"] = json!(**file);
        }
        if let Some(position) = finding.position {
            object["line"] = json!(position.line);
            object["column"] = json!(position.column);
        }
        object
    };
    findings.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::finding::Position;

    #[test]
    fn json_findings_have_what_is_known() {
        let finding = |file: Option<&str>, position| Finding {
            file: file.map(Into::into),
            position,
            message: "m".to_owned(),
        };
        let findings = [finding(Some("f"), Some(Position { line: 1, column: 2 })), finding(None, None)];
        assert_eq!(
            as_json(&findings).to_string(),
            r#"[{"column":2,"file":"f","line":1,"message":"m"},{"message":"m"}]"#
        );
        assert_eq!(as_json(&[]).to_string(), "[]");
    }
}
