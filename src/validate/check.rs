//! One message against its rules: the wire is walked where rules lie, and every violation is noted with its path.
//!
//! ```text
//! orders[3].labels["a b"].id        members, places in lists, keys of maps
//! ```
//!
//! The walk ends when there are as many violations as are asked for or the steps of expressions are spent, and goes no
//! deeper than protobuf's own parsers.

use std::fmt::Write;

use super::annotations::{self, Number, Typed};
use super::rules::{self, Shown};
use super::{FieldJudge, Judge, Rule, Validation, ValueJudge};
use crate::codec::options::Names;
use crate::codec::view::{Scalar, View, ViewError};
use crate::policy::condition::{
    EvaluationError, Judged, Value, Verdict, field_value, item_count, item_value,
};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, Shape};
use crate::status::{Code, Status};

/// How deep messages may nest: as deep as protobuf's own parsers go.
const DEPTH_MAX: u16 = 100;

/// What is asked of one request.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Nanoseconds since 1970.
    pub now: i128,
    /// As many violations are told.
    pub violations_max: usize,
    /// Steps that the expressions of all rules may take together.
    pub steps_max: usize,
    /// How paths are written.
    pub names: Names,
}

/// A rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field; empty for the message as a whole.
    pub field: String,
    /// The id of the rule.
    pub rule: String,
    /// Why, in words.
    pub message: String,
}

impl Validation {
    /// Checks that a request keeps its rules.
    ///
    /// # Errors
    ///
    /// `INVALID_ARGUMENT` with a `google.rpc.BadRequest` that has all violations, as many as there may be.
    pub fn check(
        &self,
        schema: &Schema,
        message: MessageId,
        wire: &[u8],
        asked: &Asked,
    ) -> Result<(), Status> {
        if !self.concerns(message) {
            return Ok(());
        }
        match self.violations(schema, message, wire, asked) {
            Ok(violations) if violations.is_empty() => Ok(()),
            Ok(violations) => Err(refusal(&violations)),
            Err(problem) => Err(Status::invalid_field("", &problem.to_string())),
        }
    }

    /// Every rule that a message breaks, as many as are asked for.
    ///
    /// # Errors
    ///
    /// The bytes are no such message, or it nests too deep.
    pub fn violations(
        &self,
        schema: &Schema,
        message: MessageId,
        wire: &[u8],
        asked: &Asked,
    ) -> Result<Vec<Violation>, CheckError> {
        let steps = asked.steps_max;
        let mut walk =
            Walk { validation: self, asked, path: String::new(), violations: Vec::new(), steps: Some(steps) };
        let view = View::of(schema, message, &[wire]).map_err(ViewError::from)?;
        walk.message(&view, DEPTH_MAX)?;
        Ok(walk.violations)
    }
}

/// Why a message cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error("{0}")]
    View(#[from] ViewError),
    #[error("messages nest deeper than {DEPTH_MAX}")]
    TooDeep,
}

fn refusal(violations: &[Violation]) -> Status {
    let first = violations.first().expect("there are violations");
    let place = if first.field.is_empty() { String::new() } else { format!("`{}`: ", first.field) };
    let message = match violations.len() {
        1 => format!("{place}{}", first.message),
        2 => format!("{place}{} (and one more violation)", first.message),
        count => format!("{place}{} (and {} more violations)", first.message, count - 1),
    };
    let told = violations.iter().map(|one| (one.field.as_str(), one.message.as_str(), one.rule.as_str()));
    Status::client(Code::InvalidArgument, message).with_violations(told).with_reason("RULES_BROKEN")
}

struct Walk<'v> {
    validation: &'v Validation,
    asked: &'v Asked,
    path: String,
    violations: Vec<Violation>,
    /// What is left of the steps of expressions; `None`: one has found too few, and nothing more is judged.
    steps: Option<usize>,
}

type Walked = Result<(), CheckError>;

impl Walk<'_> {
    /// Whether nothing more is to be judged.
    fn is_full(&self) -> bool {
        self.steps.is_none() || self.violations.len() >= self.asked.violations_max
    }

    fn broken(&mut self, rule: &str, message: String) {
        if !self.is_full() {
            self.violations.push(Violation { field: self.path.clone(), rule: rule.to_owned(), message });
        }
    }

    /// Does what is done within a part of the path.
    fn within<T>(&mut self, part: impl FnOnce(&mut String), work: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        part(&mut self.path);
        let done = work(self);
        self.path.truncate(length);
        done
    }

    fn member(path: &mut String, name: &str) {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
    }

    fn name<'f>(&self, field: &'f FieldPlan) -> &'f str {
        match self.asked.names {
            Names::Json => &field.json_name,
            Names::Proto => &field.name,
        }
    }

    fn message(&mut self, view: &View<'_>, depth: u16) -> Walked {
        let validation = self.validation;
        let Some(judge) = validation.judge(view.plan.id) else { return Ok(()) };
        let depth = depth.checked_sub(1).ok_or(CheckError::TooDeep)?;
        self.rules(&judge.rules, view.schema, || Ok(Value::Message(view.clone())));
        self.groups(judge, view)?;
        for field in &judge.fields {
            if self.is_full() {
                break;
            }
            self.field(field, view, depth)?;
        }
        Ok(())
    }

    fn groups(&mut self, judge: &Judge, view: &View<'_>) -> Walked {
        for group in &judge.groups {
            let mut set = 0_usize;
            for index in group.numbers.iter().filter_map(|number| view.plan.by_number(*number)) {
                set += usize::from(view.is_set(index)?);
            }
            if set > 1 {
                self.broken("message.oneof", format!("at most one of `{}` may be set", group.names));
            } else if set == 0 && group.required {
                self.broken("message.oneof", format!("one of `{}` must be set", group.names));
            }
        }
        for oneof in &judge.oneofs {
            let mut members = oneof.numbers.iter().filter_map(|number| view.plan.by_number(*number));
            if !members.any(|index| view.is_on_wire(index)) {
                self.within(
                    |path| Self::member(path, &oneof.name),
                    |walk| walk.broken("required", "one of its fields must be set".to_owned()),
                );
            }
        }
        Ok(())
    }

    fn field(&mut self, judge: &FieldJudge, view: &View<'_>, depth: u16) -> Walked {
        let Some(index) = view.plan.by_number(judge.number) else { return Ok(()) };
        let field = &view.plan.fields[index];
        let name = self.name(field).to_owned();
        let length = self.path.len();
        Self::member(&mut self.path, &name);
        let walked = self.set_field(judge, view, index, depth);
        self.path.truncate(length);
        walked
    }

    fn set_field(&mut self, judge: &FieldJudge, view: &View<'_>, index: usize, depth: u16) -> Walked {
        let field = &view.plan.fields[index];
        if !view.is_set(index)? {
            if judge.required {
                self.broken("required", "must be set".to_owned());
                return Ok(());
            }
            if field.has_presence() || judge.value.ignores_zero {
                return Ok(());
            }
        }
        match field.shape {
            Shape::Repeated { .. } => self.list(&judge.value, view, index, depth),
            Shape::Map => self.map(&judge.value, view, index, depth),
            _ => {
                let value = view.value_or_zero(index)?;
                self.value(&judge.value, view.schema, field.kind, value, depth)
            }
        }
    }

    fn list(&mut self, judge: &ValueJudge, view: &View<'_>, index: usize, depth: u16) -> Walked {
        if let Some(Typed::Repeated { min, max, unique, .. }) = &judge.typed {
            let mut count = 0;
            let mut seen = std::collections::HashSet::new();
            let mut is_unique = true;
            view.each(index, |item| {
                count += 1;
                if *unique {
                    is_unique &= identity(&item).is_none_or(|identity| seen.insert(identity));
                }
                Ok::<_, ViewError>(())
            })?;
            let names = ("", "min_items", "max_items");
            rules::judge_count(
                "repeated",
                count,
                (None, *min, *max),
                names,
                "items",
                &mut |rule, message| {
                    self.broken(rule, message);
                },
            );
            if !is_unique {
                self.broken("repeated.unique", "must have no item twice".to_owned());
            }
        }
        self.rules_of_items(&judge.rules, view, index);
        let Some(items) = judge.items.as_deref() else { return Ok(()) };
        let (kind, mut place) = (view.plan.fields[index].kind, 0_usize);
        view.each(index, |item| {
            let at = place;
            place += 1;
            if self.is_full() {
                return Ok(());
            }
            self.within(
                |path| {
                    let _ = write!(path, "[{at}]");
                },
                |walk| walk.value(items, view.schema, kind, item, depth),
            )
        })
    }

    fn map(&mut self, judge: &ValueJudge, view: &View<'_>, index: usize, depth: u16) -> Walked {
        let entries = view.entries(index)?;
        if let Some(Typed::Map { min, max, .. }) = &judge.typed {
            let names = ("", "min_pairs", "max_pairs");
            let bounds = (None, *min, *max);
            rules::judge_count("map", entries.len(), bounds, names, "entries", &mut |rule, message| {
                self.broken(rule, message);
            });
        }
        self.rules_of_items(&judge.rules, view, index);
        let entry = view.plan.fields[index].kind.message().map(|entry| view.schema.message(entry));
        let kind = |number| {
            let plan = entry?;
            plan.by_number(number).map(|index| plan.fields[index].kind)
        };
        let (Some(key_kind), Some(value_kind)) = (kind(1), kind(2)) else { return Ok(()) };
        for (key, value) in entries {
            if self.is_full() {
                break;
            }
            self.within(
                |path| put_key(path, &key),
                |walk| {
                    if let Some(judge) = judge.keys.as_deref() {
                        walk.value(judge, view.schema, key_kind, key.clone(), depth)?;
                    }
                    match judge.items.as_deref() {
                        Some(judge) => walk.value(judge, view.schema, value_kind, value, depth),
                        None => Ok(()),
                    }
                },
            )?;
        }
        Ok(())
    }

    /// A single value: a field, an item, a key or a value of a map.
    fn value<'a>(
        &mut self,
        judge: &ValueJudge,
        schema: &'a Schema,
        kind: Kind,
        value: Scalar<'a>,
        depth: u16,
    ) -> Walked {
        if judge.ignores_zero && value.is_zero() {
            return Ok(());
        }
        let view = match &value {
            Scalar::Message(id, parts) => Some(View::of(schema, *id, parts).map_err(ViewError::from)?),
            _ => None,
        };
        if let Some(typed) = &judge.typed {
            let wrapped = match &view {
                Some(view) if judge.is_wrapped => view.numbered(1)?,
                _ => None,
            };
            self.typed(judge, typed, schema, kind, wrapped.as_ref().unwrap_or(&value), view.as_ref())?;
        }
        self.rules(&judge.rules, schema, || item_value(schema, value.clone()));
        match view {
            Some(view) if judge.nested.is_some() => self.message(&view, depth),
            _ => Ok(()),
        }
    }

    fn typed(
        &mut self,
        judge: &ValueJudge,
        typed: &Typed,
        schema: &Schema,
        kind: Kind,
        value: &Scalar<'_>,
        view: Option<&View<'_>>,
    ) -> Walked {
        let now = self.asked.now;
        let broken = &mut |rule: &str, message: String| self.broken(rule, message);
        match (typed, value) {
            (Typed::Number { kind, bounds, is_finite }, _) => {
                let Some(number) = number(value) else { return Ok(()) };
                bounds.judge(kind.name(), Shown::Number, number, broken);
                if *is_finite && matches!(number, Number::Double(number) if !number.is_finite()) {
                    broken(&format!("{}.finite", kind.name()), "must be finite".to_owned());
                }
            }
            (Typed::Bool(Some(expected)), Scalar::Bool(found)) if expected != found => {
                broken("bool.const", format!("must be {expected}"));
            }
            (Typed::Text(rules), Scalar::Text(text)) => rules.judge(judge.pattern.as_ref(), text, broken),
            (Typed::Bytes(rules), Scalar::Bytes(bytes)) => rules.judge(judge.pattern.as_ref(), bytes, broken),
            (Typed::Enum { bounds, defined_only }, Scalar::Enum(number)) => {
                bounds.judge("enum", Shown::Number, Number::Whole((*number).into()), broken);
                let is_defined = |id| schema.enumeration(id).quoted_name(*number).is_some();
                if *defined_only && matches!(kind, Kind::Enum(id) if !is_defined(id)) {
                    broken("enum.defined_only", "must be one of the values that are declared".to_owned());
                }
            }
            (Typed::Any { among, not_among }, _) => {
                if let Some(Scalar::Text(url)) = view.map(|view| view.numbered(1)).transpose()?.flatten() {
                    rules::judge_any(url, among, not_among, broken);
                }
            }
            (Typed::Duration(bounds), _) => {
                let Some(view) = view else { return Ok(()) };
                bounds.judge("duration", Shown::Span, Number::Whole(annotations::nanos(view)?), broken);
            }
            (Typed::Timestamp { bounds, lt_now, gt_now, within }, _) => {
                let Some(view) = view else { return Ok(()) };
                let at = annotations::nanos(view)?;
                bounds.judge("timestamp", Shown::Moment, Number::Whole(at), broken);
                rules::judge_now((*lt_now, *gt_now, *within), at, now, broken);
            }
            (Typed::FieldMask { r#const, among, not_among }, _) => {
                let Some((view, index)) = view.and_then(|view| Some((view, view.plan.by_number(1)?))) else {
                    return Ok(());
                };
                let mut paths = Vec::new();
                view.each(index, |path| {
                    if let Scalar::Text(path) = path {
                        paths.push(path);
                    }
                    Ok::<_, ViewError>(())
                })?;
                rules::judge_mask(&paths, r#const.as_deref(), among, not_among, broken);
            }
            _ => {}
        }
        Ok(())
    }

    /// Rules in CEL of a list or a map: each of its items is a step before it is looked at.
    fn rules_of_items(&mut self, rules: &[Rule], view: &View<'_>, index: usize) {
        let Some(first) = rules.first() else { return };
        let spent = item_count(view, index).and_then(|count| {
            let left = self.steps.and_then(|steps| steps.checked_sub(count));
            left.ok_or(EvaluationError::Steps)
        });
        match spent {
            Ok(left) => {
                self.steps = Some(left);
                self.rules(rules, view.schema, || field_value(view, index));
            }
            Err(error) => self.unjudged(first, &error),
        }
    }

    /// Rules in CEL: one that has no value for what it judges does not hold.
    fn rules<'a>(
        &mut self,
        rules: &[Rule],
        schema: &'a Schema,
        this: impl FnOnce() -> Result<Value<'a>, EvaluationError>,
    ) {
        if rules.is_empty() || self.is_full() {
            return;
        }
        let this = this();
        for rule in rules {
            let Some(steps) = self.steps.as_mut() else { return };
            let verdict = match &this {
                Err(problem) => Err(problem.clone()),
                Ok(this) => judge(rule, schema, this, self.asked.now, steps),
            };
            match verdict {
                Ok(Verdict::Holds) => {}
                Ok(Verdict::Fails) => self.broken(&rule.id, rule.message.to_string()),
                Ok(Verdict::FailsFor(reason)) => self.broken(&rule.id, reason),
                Err(problem) => self.unjudged(rule, &problem),
            }
        }
    }

    fn unjudged(&mut self, rule: &Rule, problem: &EvaluationError) {
        self.broken(&rule.id, format!("cannot be judged: {problem}"));
        if *problem == EvaluationError::Steps {
            self.steps = None;
        }
    }
}

fn judge<'a>(
    rule: &'a Rule,
    schema: &'a Schema,
    this: &Value<'a>,
    now: i128,
    steps: &mut usize,
) -> Result<Verdict, EvaluationError> {
    let rules = match &rule.predefined {
        None => None,
        Some((id, bytes)) => Some(View::of(schema, *id, &[bytes]).map_err(ViewError::from)?),
    };
    rule.expression.judge(&Judged { this: this.clone(), rules, now }, steps)
}

fn number(value: &Scalar<'_>) -> Option<Number> {
    Some(match value {
        Scalar::Int(value) => Number::Whole((*value).into()),
        Scalar::Uint(value) => Number::Whole((*value).into()),
        Scalar::Float(value) => Number::Double((*value).into()),
        Scalar::Double(value) => Number::Double(*value),
        _ => return None,
    })
}

/// What tells the items of a list apart.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// `None`: the same as no other, as a NaN is. Messages are never told apart.
fn identity<'a>(value: &Scalar<'a>) -> Option<Identity<'a>> {
    Some(match value {
        Scalar::Bool(value) => Identity::Number((*value).into()),
        Scalar::Int(value) => Identity::Number(value.cast_unsigned()),
        Scalar::Uint(value) => Identity::Number(*value),
        Scalar::Enum(value) => Identity::Number(i64::from(*value).cast_unsigned()),
        Scalar::Float(value) if value.is_nan() => return None,
        Scalar::Double(value) if value.is_nan() => return None,
        // Zero is the same with either sign.
        Scalar::Float(value) => Identity::Number(f64::from(value + 0.0).to_bits()),
        Scalar::Double(value) => Identity::Number((value + 0.0).to_bits()),
        Scalar::Text(text) => Identity::Bytes(text.as_bytes()),
        Scalar::Bytes(bytes) => Identity::Bytes(bytes),
        Scalar::Message(..) => return None,
    })
}

fn put_key(path: &mut String, key: &Scalar<'_>) {
    let _ = match key {
        Scalar::Text(text) => write!(path, "[{}]", serde_json::Value::from(*text)),
        Scalar::Bool(value) => write!(path, "[{value}]"),
        Scalar::Int(value) => write!(path, "[{value}]"),
        Scalar::Uint(value) => write!(path, "[{value}]"),
        _ => write!(path, "[]"),
    };
}
