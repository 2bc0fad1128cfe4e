//! `transom check`: everything a configuration says and names, and every finding with its place.
//!
//! Exit code 0 without errors, 1 with, 2 when the file cannot be read; `--strict` takes warnings for errors. What
//! needs the network is only asked with `--online`: a build machine seldom reaches the backends.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Failure, build, print, runtime, tell};
use crate::config::descriptors::{Descriptors, Source};
use crate::config::finding::{Finding, Position, Severity, as_json, is_fatal, lines};
use crate::config::{Config, Elsewhere};
use crate::gateway::online;
use crate::snapshot::compare;

/// Check a configuration file and everything it names
#[derive(Args)]
pub(super) struct Check {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Also ask everything that is named by network: whether backends, providers, stores and sinks answer
    #[arg(long)]
    online: bool,
    /// Take warnings for errors
    #[arg(long)]
    strict: bool,
    /// Do not look where secrets are: a build machine seldom has them
    #[arg(long)]
    no_secrets: bool,
    /// Tell what clients of this would lose: another configuration file, or a descriptor set
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
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
        if !self.online {
            return self.built(&config);
        }
        let mut findings = unreachable(&config)?;
        match self.built(&config) {
            Ok(others) | Err(Failure::Findings(others)) => findings.extend(others),
            Err(failure) => return Err(failure),
        }
        findings.sort_by_key(|finding| finding.position);
        Ok(findings)
    }

    /// What only building shows.
    fn built(&self, config: &Config) -> Result<Vec<Finding>, Failure> {
        let gateway = build(config)?;
        let mut findings = gateway.warnings().to_vec();
        let Some(old) = &self.against else { return Ok(findings) };
        let losses = if is_configuration(old) {
            let elsewhere = Elsewhere { secrets: self.no_secrets, ..Elsewhere::default() };
            let before = build(&Config::load(old, elsewhere)?)?;
            compare(before.snapshot().shown(), gateway.snapshot().shown())
        } else {
            let source = Source::File(old.clone());
            let before = build(&whole(config, vec![Descriptors { source, position: None }]))?;
            let after = build(&whole(config, config.descriptors.clone()))?;
            compare(before.snapshot().shown(), after.snapshot().shown())
        };
        let place = ["reload", "refuse_breaking"];
        let severity = if config.reload.refuse_breaking { Severity::Error } else { Severity::Warning };
        let more = (losses.more > 0).then(|| format!("{} more", losses.more));
        findings.extend(losses.lines.into_iter().chain(more).map(|line| Finding {
            file: config.file.clone(),
            position: config.place(&place),
            severity,
            message: format!("clients would lose: {line}"),
        }));
        Ok(findings)
    }
}

fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// Everything that descriptors have, shown to everyone: a set of before may lack what rules name.
fn whole(config: &Config, descriptors: Vec<Descriptors>) -> Config {
    Config {
        file: config.file.clone(),
        descriptors,
        services: config.services.clone(),
        routes: config.routes.clone(),
        ..Config::default()
    }
}

/// What does not answer.
fn unreachable(config: &Config) -> Result<Vec<Finding>, Failure> {
    let runtime = runtime()?;
    let findings = runtime.block_on(online::unreachable(config));
    // A resolver that does not answer is not waited for.
    runtime.shutdown_background();
    Ok(findings)
}

fn asks_backends(config: &Config) -> bool {
    config.descriptors.iter().any(|one| matches!(one.source, Source::Reflect { .. }))
}

/// Static Analysis Results Interchange Format, version 2.1.0, section 3.
fn as_sarif(findings: &[Finding]) -> Value {
    let result = |finding: &Finding| {
        let mut result = json!({ "level": finding.severity.name(), "message": { "text": finding.message } });
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
