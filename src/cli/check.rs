//! `transom check`: everything a configuration says and names, and every finding with its place.
//!
//! Exit code 0 without errors, 1 with, 2 when the file cannot be read; `--strict` takes warnings for errors. What
//! needs the network is only asked with `--online`: a build machine seldom reaches the backends.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Failure, build, print, tell};
use crate::config::descriptors::Source;
use crate::config::finding::{Finding, Position, Severity, is_fatal, lines};
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
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// Do not look where secrets are: a build machine seldom has them
    #[arg(long)]
    no_secrets: bool,
    /// How findings are written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Text,
    /// A list of objects
    Json,
    /// SARIF 2.1.0, which code hosts show beside the lines
    Sarif,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Check {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let findings = match self.findings() {
            Ok(findings) | Err(Failure::Findings(findings)) => findings,
            Err(failure) => return Err(failure),
        };
        match self.format {
            Format::Json => print(as_json(&findings)),
            Format::Sarif => print(as_sarif(&findings)),
            Format::Text if findings.is_empty() => {
                print(format_args!("{}: no findings", self.config.display()))
            }
            Format::Text => print(lines(&findings)),
        }
        let is_clean = if self.strict { findings.is_empty() } else { !is_fatal(&findings) };
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    /// The warnings of a configuration that can be served; errors come as the failure.
    fn findings(&self) -> Result<Vec<Finding>, Failure> {
        let elsewhere = Elsewhere { secrets: self.no_secrets, ..Elsewhere::default() };
        let config = Config::load(&self.config, elsewhere)?;
        if !self.online && asks_backends(&config) {
            tell(
                "descriptors by reflection are only checked with --online, and so are routes that need them",
            );
            return Ok(config.warnings);
        }
        let mut findings = build(&config)?.warnings().to_vec();
        if self.online {
            findings.extend(self.unreachable(&config.services));
        }
        Ok(findings)
    }

    fn unreachable(&self, services: &[Service]) -> Vec<Finding> {
        let unreachable = services.iter().filter_map(|service| {
            let reason = connect(service).err()?;
            let message = format!("`{}`: cannot connect to `{}`: {reason}", service.name, service.endpoint);
            let file = Some(self.config.display().to_string().into());
            Some(Finding { file, position: service.position, severity: Severity::Error, message })
        });
        unreachable.collect()
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

/// A list of `{file, line, column, severity, message}`; what is not known is absent.
fn as_json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let mut object = json!({ "message": finding.message, "severity": level(finding) });
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

/// Static Analysis Results Interchange Format, version 2.1.0, section 3.
fn as_sarif(findings: &[Finding]) -> Value {
    let result = |finding: &Finding| {
        let mut result = json!({ "level": level(finding), "message": { "text": finding.message } });
        if let Some(file) = &finding.file {
            let mut place = json!({ "artifactLocation": { "uri": **file } });
            if let Some(Position { line, column }) = finding.position {
                place["region"] = json!({ "startLine": line, "startColumn": column });
            }
            result["locations"] = json!([{ "physicalLocation": place }]);
        }
        result
    };
    let driver = json!({ "name": "transom", "version": env!("CARGO_PKG_VERSION") });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{ "tool": { "driver": driver }, "results": findings.iter().map(result).collect::<Vec<_>>() }],
    })
}

const fn level(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_have_what_is_known() {
        let finding = |file: Option<&str>, position, severity| Finding {
            file: file.map(Into::into),
            position,
            severity,
            message: "m".to_owned(),
        };
        let place = Some(Position { line: 1, column: 2 });
        let findings = [finding(Some("f"), place, Severity::Error), finding(None, None, Severity::Warning)];
        assert_eq!(
            as_json(&findings).to_string(),
            r#"[{"column":2,"file":"f","line":1,"message":"m","severity":"error"},{"message":"m","severity":"warning"}]"#
        );
        assert_eq!(as_json(&[]).to_string(), "[]");
        let sarif = as_sarif(&findings);
        let results = &sarif["runs"][0]["results"];
        assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"]["startColumn"], 2);
        assert_eq!(results[1], json!({ "level": "warning", "message": { "text": "m" } }));
    }
}
