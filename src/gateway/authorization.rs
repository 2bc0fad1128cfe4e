//! From the file's `allow` and `scopes` to what each rule grants: conditions are compiled here, where the
//! descriptors say what its paths capture.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MethodDescriptor};

use super::snapshot::finding;
use crate::config::Config;
use crate::config::auth::Combination;
use crate::config::effective::Effective;
use crate::config::finding::Finding;
use crate::policy::condition::{CaptureError, CaptureKind, CaptureTypes, Condition, RequestTypes};
use crate::route::Binding;
use crate::schema::Schema;
use crate::snapshot::Surfaces;
use crate::stage::authorize::{Authorization, Grant};

const NOBODY_ASKED: &str = "nobody authenticates here, for no `auth` asks for it";

/// What every rule grants, or every finding about its conditions.
pub(super) fn build(
    config: &Config,
    effective: &[Effective<'_>],
    schema: &Schema,
    surfaces: &Surfaces,
) -> Result<Authorization, Vec<Finding>> {
    let mut findings = Vec::new();
    let rules = (0..).zip(effective).map(|(index, effective)| {
        // What is not shown is not called, and may have no path.
        if effective.rule.is_some_and(|rule| !rule.expose) {
            return Grant::default();
        }
        grant(config, effective, &Captures::of(schema, surfaces, index), &mut findings)
    });
    let rules: Box<[Grant]> = rules.collect();
    // Rules under the same policy find the same.
    let mut told = BTreeSet::new();
    findings.retain(|finding| told.insert((finding.position, finding.message.clone())));
    if findings.is_empty() { Ok(Authorization { rules }) } else { Err(findings) }
}

/// What one rule grants.
fn grant(
    config: &Config,
    effective: &Effective<'_>,
    captures: &Captures<'_>,
    findings: &mut Vec<Finding>,
) -> Grant {
    let types = RequestTypes {
        has_country: config.geo.file.is_some(),
        has_asn: config.geo.asn_file.is_some(),
        captures,
    };
    let demand = effective.single(|clauses| clauses.auth.as_ref());
    let asks_nobody = demand.is_none_or(|(demand, _)| demand.combination == Combination::None);
    let mut conditions = Vec::new();
    for (written, _) in effective.all_of(|clauses| clauses.condition.as_ref()) {
        match Condition::compile(&written.text, &types) {
            Ok(condition) => {
                if let Some(variable) = condition.identity_variable().filter(|_| asks_nobody) {
                    let message = format!("`{variable}` is never there: {NOBODY_ASKED}");
                    findings.push(finding(config, Some(written.position), message));
                }
                conditions.push(condition);
            }
            Err(errors) => findings.extend(
                errors.iter().map(|e| finding(config, Some(written.position_of(e.offset)), &e.problem)),
            ),
        }
    }
    let mut scopes = BTreeSet::new();
    for (written, _) in effective.all_of(|clauses| clauses.scopes.as_ref()) {
        if asks_nobody {
            let message = format!("no scope is ever granted: {NOBODY_ASKED}");
            findings.push(finding(config, Some(written.position), message));
        }
        scopes.extend(written.names.iter().map(|name| Box::from(name.as_str())));
    }
    Grant::new(scopes.into_iter().collect(), conditions)
}

/// The fields that the paths of one rule capture.
struct Captures<'s> {
    schema: &'s Schema,
    bindings: Vec<&'s Arc<Binding>>,
}

impl<'s> Captures<'s> {
    fn of(schema: &'s Schema, surfaces: &'s Surfaces, rule: u32) -> Self {
        let bindings = surfaces.all().iter().flat_map(|surface| surface.routes.bindings());
        let mut bindings: Vec<_> = bindings.filter(|binding| binding.rule == rule).collect();
        // In an order that does not depend on that of the routes: the first one is named in findings.
        bindings.sort_by(|left, right| (&left.method, &left.template).cmp(&(&right.method, &right.template)));
        Self { schema, bindings }
    }
}

impl CaptureTypes for Captures<'_> {
    fn capture(&self, field: &str) -> Result<CaptureKind, CaptureError> {
        let mut found: Option<(CaptureKind, &str)> = None;
        for binding in &self.bindings {
            let rpc = &*binding.method;
            let method = method(self.schema, rpc).ok_or(CaptureError::NoPaths)?;
            let last = last_field(&method, field)?;
            let kind = kind(&last).map_err(|is| CaptureError::NoValue { field: field.to_owned(), is })?;
            if !binding.captured_fields().any(|captured| captured == field) {
                let (template, rpc) = (binding.template.to_string(), rpc.to_owned());
                return Err(CaptureError::NotCaptured { field: field.to_owned(), template, rpc });
            }
            match &found {
                Some((first, other)) if *first != kind => {
                    return Err(CaptureError::Differs {
                        field: field.to_owned(),
                        rpc: (*other).to_owned(),
                        left: first.to_string(),
                        other: rpc.to_owned(),
                        right: kind.to_string(),
                    });
                }
                Some(_) => {}
                None => found = Some((kind, rpc)),
            }
        }
        found.map(|(kind, _)| kind).ok_or(CaptureError::NoPaths)
    }
}

fn method(schema: &Schema, rpc: &str) -> Option<MethodDescriptor> {
    let (service, name) = rpc.rsplit_once('.')?;
    schema.pool().get_service_by_name(service)?.methods().find(|method| method.name() == name)
}

/// The field at the end of a path through a method's request.
fn last_field(method: &MethodDescriptor, path: &str) -> Result<FieldDescriptor, CaptureError> {
    let mut message = method.input();
    let mut names = path.split('.').peekable();
    loop {
        let name = names.next().unwrap_or_default();
        let field = message.get_field_by_name(name).ok_or_else(|| CaptureError::UnknownField {
            message: message.full_name().to_owned(),
            rpc: method.full_name().to_owned(),
            field: name.to_owned(),
        })?;
        if names.peek().is_none() {
            return Ok(field);
        }
        let is_one = field.cardinality() != Cardinality::Repeated;
        message = match field.kind() {
            Kind::Message(inner) if is_one => inner,
            _ => {
                let is = if is_one { "no message" } else { "repeated" };
                return Err(CaptureError::NoValue { field: name.to_owned(), is });
            }
        };
    }
}

/// How a captured field is read; otherwise what it is instead.
fn kind(field: &FieldDescriptor) -> Result<CaptureKind, &'static str> {
    if field.cardinality() == Cardinality::Repeated {
        return Err(if field.is_map() { "a map" } else { "repeated" });
    }
    Ok(match field.kind() {
        Kind::Bool => CaptureKind::Bool,
        Kind::Int32 | Kind::Int64 | Kind::Sint32 | Kind::Sint64 | Kind::Sfixed32 | Kind::Sfixed64 => {
            CaptureKind::Int
        }
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => CaptureKind::Uint,
        Kind::Float | Kind::Double => CaptureKind::Double,
        Kind::String => CaptureKind::Text,
        Kind::Bytes => CaptureKind::Bytes,
        Kind::Enum(names) => {
            CaptureKind::Enum(names.values().map(|value| (value.name().into(), value.number())).collect())
        }
        Kind::Message(message) => match message.full_name().strip_prefix("google.protobuf.") {
            Some("Timestamp") => CaptureKind::Timestamp,
            Some("BoolValue") => CaptureKind::Bool,
            Some("Int32Value" | "Int64Value") => CaptureKind::Int,
            Some("UInt32Value" | "UInt64Value") => CaptureKind::Uint,
            Some("FloatValue" | "DoubleValue") => CaptureKind::Double,
            Some("StringValue") => CaptureKind::Text,
            Some("BytesValue") => CaptureKind::Bytes,
            _ => return Err("a message"),
        },
    })
}
