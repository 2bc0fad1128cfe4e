//! `transom explain`: what holds for a method or a path, and which line of the file says so.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Failure, build, print};
use crate::config::effective::Effective;
use crate::config::explain::{Said, said};
use crate::config::finding::Position;
use crate::config::{Config, Elsewhere, LoadError};
use crate::route::{Binding, Match};
use crate::snapshot::Snapshot;

/// Tell what holds for a method or a path, and where the configuration says so
#[derive(Args)]
pub(super) struct Explain {
    /// package.Service.Method, or the path of a request
    #[arg(value_name = "METHOD_OR_PATH")]
    subject: String,
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let elsewhere = Elsewhere { secrets: true, ..Elsewhere::default() };
        let config = Config::load(&self.config, elsewhere)?;
        let snapshot = build(&config)?.snapshot();
        let methods = self.methods(&snapshot);
        if methods.is_empty() {
            return Err(Failure::Unknown(format!("no surface shows `{}`", self.subject)));
        }
        let text = std::fs::read_to_string(&self.config).map_err(|error| LoadError::Unreadable {
            file: self.config.display().to_string(),
            reason: error.to_string(),
        })?;
        let file = File { config: &config, path: &self.config, text: &text, snapshot: &snapshot };
        let told: Vec<_> = methods.iter().map(|method| file.explain(method)).collect();
        print(told.join("\n").trim_end());
        Ok(ExitCode::SUCCESS)
    }

    /// The methods that are meant.
    fn methods(&self, snapshot: &Snapshot) -> Vec<String> {
        let bindings = snapshot.surfaces.all().iter().flat_map(|surface| surface.routes.bindings());
        let is_path = self.subject.starts_with('/');
        let is_meant = |binding: &Binding| {
            if !is_path {
                return *binding.method == *self.subject;
            }
            snapshot.surfaces.all().iter().any(|surface| {
                let verb = if *binding.verb == *"*" { "GET" } else { &*binding.verb };
                matches!(surface.routes.find(verb, &self.subject),
                    Match::Found { binding: found, .. } if found.method == binding.method)
            })
        };
        let mut methods: Vec<_> =
            bindings.filter(|binding| is_meant(binding)).map(|binding| binding.method.to_string()).collect();
        methods.sort();
        methods.dedup();
        methods
    }
}

/// A configuration and what was made of it.
struct File<'a> {
    config: &'a Config,
    path: &'a Path,
    text: &'a str,
    snapshot: &'a Snapshot,
}

impl File<'_> {
    fn explain(&self, method: &str) -> String {
        let mut out = format!("{method}\n");
        let effective = Effective::all(self.config);
        for (index, surface) in self.snapshot.surfaces.all().iter().enumerate() {
            let bindings: Vec<_> =
                surface.routes.bindings().filter(|binding| *binding.method == *method).collect();
            let place = self.config.surfaces.get(index).and_then(|surface| surface.position);
            line(&mut out, 1, &format!("surface {}", surface.name), &self.place(place));
            let Some(first) = bindings.first() else {
                line(&mut out, 2, "not shown", "");
                continue;
            };
            for binding in &bindings {
                line(&mut out, 2, &format!("{} {}", binding.verb, binding.template), "");
            }
            self.rule(&mut out, &effective, first);
        }
        out
    }

    fn rule(&self, out: &mut String, effective: &[Effective<'_>], binding: &Binding) {
        let rule = self.snapshot.rule(binding);
        if let Some(service) = self.config.services.get(rule.service) {
            let text = format!("service: {}, {:?}", service.name, rule.timeout);
            line(out, 2, &text, &self.place(service.position));
        }
        let Some(one) = usize::try_from(binding.rule).ok().and_then(|index| effective.get(index)) else {
            return;
        };
        let place =
            one.rule.and_then(|rule| one.surface.rules.iter().position(|other| std::ptr::eq(other, rule)));
        for Said { key, value, position, policy } in said(self.text, &one.surface.name, place) {
            let from = policy.map_or_else(String::new, |policy| format!("policy {policy}, "));
            line(out, 2, &format!("{key}: {value}"), &format!("{from}{}", self.place(Some(position))));
        }
    }

    fn place(&self, position: Option<Position>) -> String {
        position.map_or_else(String::new, |Position { line, .. }| format!("{}:{line}", self.path.display()))
    }
}

/// What holds to the left, where it is said to the right.
fn line(out: &mut String, depth: usize, text: &str, place: &str) {
    let text = format!("{}{text}", "  ".repeat(depth));
    let line = if place.is_empty() { text } else { format!("{text:60}  {place}") };
    writeln!(out, "{line}").expect("a string takes it all");
}
