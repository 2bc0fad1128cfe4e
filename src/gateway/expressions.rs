//! The expressions of the file, compiled: conditions and costs.
//!
//! Done here, because it takes the descriptors to say which fields the paths and queries of a rule's methods have,
//! and of which types. Findings stand inside the text that they are about.

use std::sync::Arc;

use prost_reflect::{Cardinality, FieldDescriptor, Kind, MethodDescriptor, Value};

use super::snapshot::finding;
use crate::config::Config;
use crate::config::auth::Combination;
use crate::config::effective::Effective;
use crate::config::expression::Expression as Written;
use crate::config::finding::Finding;
use crate::policy::condition::{CaptureError, CaptureKind, CaptureTypes, Expression, Outcome, RequestTypes};
use crate::route::{Binding, Source};
use crate::schema::Schema;
use crate::snapshot::Surfaces;

pub(super) const NOBODY_ASKED: &str = "nobody authenticates here, for no `auth` asks for it";

/// What expressions are held against.
#[derive(Clone, Copy)]
pub(super) struct Expressions<'c> {
    pub(super) config: &'c Config,
    pub(super) schema: &'c Schema,
    pub(super) surfaces: &'c Surfaces,
}

/// What is known of the requests of one rule.
pub(super) struct Known<'c> {
    config: &'c Config,
    captures: Captures<'c>,
    /// Nobody has to say who is calling.
    pub(super) asks_nobody: bool,
}

impl<'c> Expressions<'c> {
    /// For the rule of this index, [`Binding::rule`].
    pub(super) fn of_rule(&self, index: u32, effective: &Effective<'_>) -> Known<'c> {
        let demand = effective.single(|clauses| clauses.auth.as_ref());
        Known {
            config: self.config,
            captures: Captures::of(self.schema, self.surfaces, index),
            asks_nobody: demand.is_none_or(|(demand, _)| demand.combination == Combination::None),
        }
    }
}

impl Known<'_> {
    /// An expression as the rule's requests will have it; what is wrong with it are findings.
    pub(super) fn compile<T: Outcome>(
        &self,
        written: &Written,
        findings: &mut Vec<Finding>,
    ) -> Option<Expression<T>> {
        let types = RequestTypes {
            has_country: self.config.geo.file.is_some(),
            has_asn: self.config.geo.asn_file.is_some(),
            captures: &self.captures,
        };
        match Expression::compile(&written.text, &types) {
            Ok(expression) => {
                if let Some(variable) = expression.identity_variable().filter(|_| self.asks_nobody) {
                    let message = format!("`{variable}` is never there: {NOBODY_ASKED}");
                    findings.push(finding(self.config, Some(written.position), message));
                }
                Some(expression)
            }
            Err(errors) => {
                let place = |offset| Some(written.position_of(offset));
                findings.extend(errors.iter().map(|e| finding(self.config, place(e.offset), &e.problem)));
                None
            }
        }
    }
}

/// The fields that the heads of one rule's requests have.
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
            match binding.source(self.schema, field) {
                Some(Source::Query) if !is_zero(&last) => {
                    let is = "something else than zero where it is left out";
                    return Err(CaptureError::NoValue { field: field.to_owned(), is });
                }
                Some(_) => {}
                None => {
                    let (template, rpc) = (binding.template.to_string(), rpc.to_owned());
                    return Err(CaptureError::NotCaptured { field: field.to_owned(), template, rpc });
                }
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

/// Whether a field that is left out counts as zero, false or empty, and not as a default of its own.
fn is_zero(field: &FieldDescriptor) -> bool {
    match field.default_value() {
        Value::EnumNumber(number) => number == 0,
        Value::Message(_) => true,
        other => other == field.kind().default_value(),
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
