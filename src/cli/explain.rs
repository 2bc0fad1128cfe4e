//! `transom explain`: what holds for a method or a path, and which line of the file says so.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{Failure, build, print};
use crate::config::caller::{Caller, Standing};
use crate::config::consumers::Plan;
use crate::config::effective::{Effective, Origin};
use crate::config::endpoints::Endpoints;
use crate::config::explain::{Said, protecting, said};
use crate::config::finding::Position;
use crate::config::passes::passes;
use crate::config::{Config, Elsewhere, LoadError};
use crate::graphql::bound::BoundDocument;
use crate::route::{Aggregate, Binding, Match};
use crate::snapshot::{Snapshot, Surface};

/// Tell what holds for a method or a path, and where the configuration says so
#[derive(Args)]
pub(super) struct Explain {
    /// package.Service.Method, or the path of a request
    #[arg(value_name = "METHOD_OR_PATH")]
    subject: String,
    /// What holds for this consumer of the file, such as `acme`, or `corp:acme` where `corp:{tenant}` stands
    #[arg(long = "as", value_name = "CONSUMER")]
    consumer: Option<String>,
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let elsewhere = Elsewhere { secrets: true, ..Elsewhere::default() };
        let config = Config::load(&self.config, elsewhere)?;
        let caller = self.consumer.as_deref().map(|name| Caller::find(&config, name)).transpose();
        let caller = caller.map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        let snapshot = build(&config)?.snapshot();
        let routes = self.aggregates(&snapshot);
        let methods = self.methods(&snapshot, &routes);
        if methods.is_empty() && routes.is_empty() {
            return Err(Failure::Unknown(format!("no surface shows `{}`", self.subject)));
        }
        let text = std::fs::read_to_string(&self.config).map_err(|error| LoadError::Unreadable {
            file: self.config.display().to_string(),
            reason: error.to_string(),
        })?;
        let file = File { config: &config, path: &self.config, text: &text, snapshot: &snapshot, caller };
        let mut told: Vec<_> = routes.iter().map(|route| file.aggregate(route)).collect();
        told.extend(methods.iter().map(|method| file.explain(method)));
        print(told.join("\n").trim_end());
        Ok(ExitCode::SUCCESS)
    }

    /// The routes of documents that are meant.
    fn aggregates<'s>(&self, snapshot: &'s Snapshot) -> Vec<Meant<'s>> {
        let surfaces = snapshot.surfaces.all().iter().enumerate();
        let routes = surfaces.flat_map(|(index, surface)| {
            surface.routes.aggregates().filter_map(move |aggregate| {
                let graphql = surface.graphql.as_ref()?;
                let document = graphql.routes.get(aggregate.place)?;
                let methods = graphql.called(&snapshot.schema, document);
                Some((surface, Meant { surface: index, aggregate, document, methods }))
            })
        });
        let is_meant = |(surface, route): &(&Surface, Meant<'_>)| {
            matches!(surface.routes.find(&route.aggregate.verb, &self.subject),
                Match::Aggregate { aggregate, .. } if aggregate.place == route.aggregate.place)
        };
        routes.filter(is_meant).map(|(_, route)| route).collect()
    }

    /// The methods that are meant, those that routes call among them.
    fn methods(&self, snapshot: &Snapshot, routes: &[Meant<'_>]) -> Vec<String> {
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
        methods.extend(routes.iter().flat_map(|route| &route.methods).map(ToString::to_string));
        methods.sort();
        methods.dedup();
        methods
    }
}

/// A document at a path.
struct Meant<'s> {
    /// The place of its surface.
    surface: usize,
    aggregate: &'s Aggregate,
    document: &'s BoundDocument,
    /// That it may call.
    methods: Vec<&'s str>,
}

/// A configuration and what was made of it.
struct File<'a> {
    config: &'a Config,
    path: &'a Path,
    text: &'a str,
    snapshot: &'a Snapshot,
    /// For whom; `None`: for anybody.
    caller: Option<Caller<'a>>,
}

impl File<'_> {
    fn aggregate(&self, route: &Meant<'_>) -> String {
        let Meant { surface, aggregate, document, methods } = route;
        let mut out = format!("{} {}\n", aggregate.verb, aggregate.template);
        let Some(surface) = self.config.surfaces.get(*surface) else { return out };
        line(&mut out, 1, &format!("surface {}", surface.name), &self.place(surface.position));
        let Some(written) = surface.graphql.routes.get(aggregate.place) else { return out };
        let place = self.place(Some(written.document_position));
        line(&mut out, 2, &format!("document: {}", document.title()), &place);
        for variable in &written.variables {
            let text = format!("${}: {}", variable.name, variable.source);
            line(&mut out, 2, &text, &self.place(Some(variable.position)));
        }
        let fails = if written.is_partial { "partial" } else { "whole" };
        line(&mut out, 2, &format!("fail: {fails}"), &self.place(Some(written.position)));
        line(&mut out, 2, &format!("calls: {}", methods.join(", ")), "");
        out
    }

    fn explain(&self, method: &str) -> String {
        let mut out = format!("{method}\n");
        let effective = Effective::all(self.config);
        if let Some(caller) = &self.caller {
            self.caller(&mut out, caller);
        }
        for (index, surface) in self.snapshot.surfaces.all().iter().enumerate() {
            let mut bindings: Vec<_> =
                surface.routes.bindings().filter(|binding| *binding.method == *method).collect();
            if bindings.is_empty() {
                let all = surface.graphql.iter().flat_map(|graphql| &graphql.bindings);
                bindings.extend(all.filter(|binding| *binding.method == *method));
            }
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

    /// The consumer, and its plan.
    fn caller(&self, out: &mut String, caller: &Caller<'_>) {
        let Caller { name, entry } = caller;
        let one_of = if entry.name == *name { String::new() } else { format!(", one of {}", entry.name) };
        line(out, 1, &format!("as {name}{one_of}"), &self.place(Some(entry.position)));
        let (plan, position) = match &entry.plan {
            None => ("none".to_owned(), None),
            Some(Plan::Named(named)) => (named.name.clone(), named.position),
            Some(Plan::Claim(claim)) => {
                (format!("by the claim `{claim}` of the token"), Some(entry.position))
            }
        };
        line(out, 2, &format!("plan: {plan}"), &self.place(position));
    }

    fn rule(&self, out: &mut String, effective: &[Effective<'_>], binding: &Binding) {
        let sides = effective.get(usize::try_from(binding.rule).unwrap_or(usize::MAX));
        let shares = sides.map_or(&[][..], |one| one.shares());
        for destination in self.snapshot.rule(binding).destinations.all() {
            let Some(service) = self.config.services.get(destination.service) else { continue };
            let share = shares.iter().find(|share| shares.len() > 1 && share.service.name == service.name);
            let is_named = shares.is_empty() || shares.iter().any(|share| share.service.name == service.name);
            let part = match share {
                Some(share) => format!(" ({})", share.weight),
                None if is_named => String::new(),
                None => " (by `when` alone)".to_owned(),
            };
            let text = format!("service: {}{part}, {:?}", service.name, destination.timeout);
            line(out, 2, &text, &self.place(service.position));
            if let Endpoints::Discovered(discovered) = &service.endpoints {
                let place = self.config.place(&["services", &service.name, "endpoints"]);
                line(out, 3, &format!("endpoints by {}", discovered.source), &self.place(place));
            }
            for Said { key, value, position, .. } in protecting(self.text, &service.name) {
                line(out, 3, &format!("{key}: {value}"), &self.place(Some(position)));
            }
        }
        let Some(one) = usize::try_from(binding.rule).ok().and_then(|index| effective.get(index)) else {
            return;
        };
        let place =
            one.rule.and_then(|rule| one.surface.rules.iter().position(|other| std::ptr::eq(other, rule)));
        let standing = self.standing(out, one);
        for Said { key, value, position, policy } in said(self.text, &one.surface.name, place) {
            let from = policy.as_ref().map_or_else(String::new, |policy| format!("policy {policy}, "));
            line(out, 2, &format!("{key}: {value}"), &format!("{from}{}", self.place(Some(position))));
            match key.as_str() {
                "rate" => {
                    let origin = policy.as_deref().map_or(Origin::Rule, Origin::Policy);
                    for passes in
                        passes(self.config, one, origin, self.caller.as_ref().zip(standing.as_ref()))
                    {
                        line(out, 3 + passes.depth, &passes.text, &self.place(Some(passes.position)));
                    }
                }
                "scopes" if standing.is_some() => line(out, 3, "depends on the credential", ""),
                // Lists, which are the other kind of `allow`, are of addresses and headers.
                "allow" if standing.is_some() && !value.starts_with('{') => {
                    line(out, 3, "depends on the credential and the call", "");
                }
                _ => {}
            }
        }
    }

    /// As whom the consumer calls here.
    fn standing(&self, out: &mut String, effective: &Effective<'_>) -> Option<Standing> {
        let caller = self.caller.as_ref()?;
        let demand = effective.single(|clauses| clauses.auth.as_ref()).map(|(demand, _)| demand);
        let standing = caller.standing(self.config, demand);
        let told = match &standing {
            Standing::Known { by } => format!("known to {}", by.join("; or to ")),
            Standing::Nobody { why } => format!("calls as nobody: {why}"),
            Standing::Refused { why } => format!("cannot call: {why}"),
        };
        let place = self.place(demand.map(|demand| demand.position));
        line(out, 2, &format!("as {}: {told}", caller.name), &place);
        Some(standing)
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
