//! Descriptors → [`Validation`]: every type that requests can hold, looked at once.
//!
//! A rule must suit its field, its patterns and expressions must compile, and whatever it names must exist. All that is
//! wrong is told at once, with its file and declaration. Types that lead to no rule are left out again.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use prost_reflect::{FileDescriptor, MessageDescriptor};

use super::annotations::{self, AnnotationError, Cel, FieldRules, Ignore, Predefined, Typed};
use super::{FieldJudge, Group, Judge, Oneof, Rule, Validation, ValueJudge};
use crate::codec::view::View;
use crate::policy::condition::{
    ConditionError, Expression, RuleTypes, Type, field_type, item_type, rule_field,
};
use crate::policy::pattern;
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, Kind, MessageId, WellKnown};

/// The file that a set must hold for any of its files to have rules.
const FILE: &str = "buf/validate/validate.proto";
/// How deep rules of lists and maps may hold others: a list of items is one, and there are no lists of lists.
const DEPTH_MAX: u16 = 8;

/// A rule that cannot be kept, and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{file}`: `{name}`: {problem}")]
pub struct RuleError {
    pub file: String,
    /// The full name of the message, field or oneof.
    pub name: String,
    pub problem: RuleProblem,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    #[error("{0}")]
    Annotation(#[from] AnnotationError),
    #[error("rules of {rules} do not suit {field}")]
    Type { rules: &'static str, field: String },
    #[error("the pattern `{pattern}` is refused: {problem}")]
    Pattern { pattern: String, problem: String },
    #[error("the rule `{id}`: {problem}, at character {at} of `{expression}`")]
    Cel { id: String, expression: String, at: usize, problem: String },
    #[error("a rule in CEL has no expression")]
    NoExpression,
    #[error("the message has no field `{0}`")]
    NoField(String),
    #[error("a rule of several fields names none")]
    NoFields,
    #[error("the field `{0}` is named twice")]
    Twice(String),
    #[error(
        "the extension {number} of `buf.validate.{message}` is not in the descriptor set, or not defined by CEL"
    )]
    Predefined { message: &'static str, number: u32 },
    #[error("the rules nest too deep")]
    Depth,
}

impl Validation {
    /// Compiles the rules of all messages that can be reached from `roots`.
    ///
    /// # Errors
    ///
    /// Every rule that cannot be kept.
    pub fn compile(
        schema: &Schema,
        roots: impl IntoIterator<Item = MessageId>,
    ) -> Result<Self, Vec<RuleError>> {
        if schema.pool().get_file_by_name(FILE).is_none() {
            return Ok(Self::default());
        }
        let mut compiler = Compiler { schema, errors: Vec::new(), annotated: HashMap::new() };
        let mut seen: HashSet<MessageId> = roots.into_iter().collect();
        let mut open: Vec<MessageId> = seen.iter().copied().collect();
        let mut judges = HashMap::new();
        // Who holds whom, to find what leads to rules.
        let mut holders: HashMap<MessageId, Vec<MessageId>> = HashMap::new();
        while let Some(id) = open.pop() {
            let message = schema.descriptor(id);
            if message.full_name().starts_with("google.protobuf.") {
                continue;
            }
            let judge = compiler.message(message);
            for inner in held(schema, message) {
                holders.entry(inner).or_default().push(id);
                if seen.insert(inner) {
                    open.push(inner);
                }
            }
            judges.insert(id, judge);
        }
        compiler.errors.sort_by(|one, other| (&one.file, &one.name).cmp(&(&other.file, &other.name)));
        if !compiler.errors.is_empty() {
            return Err(compiler.errors);
        }
        let mut kept: HashSet<MessageId> = HashSet::new();
        let mut open: Vec<MessageId> =
            judges.iter().filter(|(_, judge)| !judge.is_empty()).map(|(id, _)| *id).collect();
        while let Some(id) = open.pop() {
            if kept.insert(id) {
                open.extend(holders.get(&id).into_iter().flatten());
            }
        }
        judges.retain(|id, _| kept.contains(id));
        judges.values_mut().for_each(|judge| judge.prune(&kept));
        let places = kept.iter().map(|id| id.index() + 1).max().unwrap_or_default();
        let mut placed: Vec<Option<Box<Judge>>> = std::iter::repeat_with(|| None).take(places).collect();
        for (id, judge) in judges {
            if let Some(place) = placed.get_mut(id.index()) {
                *place = Some(Box::new(judge));
            }
        }
        Ok(Self { judges: placed.into() })
    }
}

/// The types of what a message holds; of a map that of its values.
fn held(schema: &Schema, message: &MessageDescriptor) -> Vec<MessageId> {
    let kinds =
        message.fields().map(|field| field.kind()).chain(message.extensions().map(|field| field.kind()));
    let messages = kinds.filter_map(|kind| kind.as_message().cloned());
    let values = messages.filter_map(|inner| match inner.is_map_entry() {
        true => inner.map_entry_value_field().kind().as_message().cloned(),
        false => Some(inner),
    });
    values.filter_map(|inner| schema.message_id(inner.full_name())).collect()
}

impl Judge {
    /// Whether there is nothing to judge but what lies deeper.
    fn is_empty(&self) -> bool {
        let is_bare = |field: &FieldJudge| !field.required && field.value.is_bare();
        self.oneofs.is_empty()
            && self.groups.is_empty()
            && self.rules.is_empty()
            && self.fields.iter().all(is_bare)
    }

    /// Leaves out what leads to no rule.
    fn prune(&mut self, kept: &HashSet<MessageId>) {
        let mut fields = std::mem::take(&mut self.fields).into_vec();
        for field in &mut fields {
            field.value.prune(kept);
        }
        fields.retain(|field| field.required || !field.value.is_bare() || field.value.leads_on());
        self.fields = fields.into();
    }
}

impl ValueJudge {
    /// Whether it says nothing of the value itself.
    fn is_bare(&self) -> bool {
        let inner = |judge: &Option<Box<Self>>| judge.as_ref().is_none_or(|judge| judge.is_bare());
        self.typed.is_none() && self.rules.is_empty() && inner(&self.items) && inner(&self.keys)
    }

    fn leads_on(&self) -> bool {
        self.nested.is_some() || self.items.as_ref().is_some_and(|items| items.leads_on())
    }

    fn prune(&mut self, kept: &HashSet<MessageId>) {
        self.nested = self.nested.filter(|id| kept.contains(id));
        if let Some(items) = &mut self.items {
            items.prune(kept);
        }
    }
}

/// What a value is, as far as rules care.
#[derive(Clone, Copy)]
enum Place<'p> {
    Field(&'p FieldPlan),
    Item(Kind),
}

/// A field as a file declares it.
struct Declared {
    file: String,
    name: String,
    number: u32,
    /// Without those of a file that cannot have rules.
    options: Bytes,
}

struct Compiler<'s> {
    schema: &'s Schema,
    errors: Vec<RuleError>,
    /// Whether a file has rules, by its name.
    annotated: HashMap<String, bool>,
}

impl Compiler<'_> {
    fn message(&mut self, message: &MessageDescriptor) -> Judge {
        let file = message.parent_file();
        let is_annotated = self.is_annotated(&file);
        let name = message.full_name();
        let mut judge = Judge::default();
        let mut grouped = HashSet::new();
        if is_annotated {
            let options = self.schema.options(message).unwrap_or_default();
            match annotations::message_rules(&options) {
                Ok(Some(rules)) => {
                    let this =
                        self.schema.message_id(name).map(|id| item_type(self.schema, Kind::Message(id)));
                    judge.rules = self.rules(file.name(), name, &rules.cel, &this.unwrap_or(Type::Dyn));
                    judge.groups = rules
                        .oneofs
                        .iter()
                        .filter_map(|group| self.group(message, group, &mut grouped))
                        .collect();
                }
                Ok(None) => {}
                Err(error) => self.refuse(file.name(), name, error),
            }
            judge.oneofs = self.oneofs(message);
        }
        let id = self.schema.message_id(name);
        let plan = id.map(|id| self.schema.passing_plan(id));
        let fields = self.declared(message).into_iter().filter_map(|field| {
            let planned = plan.as_ref()?;
            let planned = &planned.fields[planned.by_number(field.number)?];
            Some(self.field(&field, planned, grouped.contains(&field.number)))
        });
        let fields: Vec<_> = fields.flatten().collect();
        judge.fields = fields.into();
        judge
    }

    /// Whether rules may stand in a file. Visible files are listed, those that are imported publicly by others too.
    fn is_annotated(&mut self, file: &FileDescriptor) -> bool {
        let imports = || file.dependencies().any(|imported| imported.name() == FILE);
        *self.annotated.entry(file.name().to_owned()).or_insert_with(imports)
    }

    /// The fields of a message and its extensions, which other files may declare.
    fn declared(&mut self, message: &MessageDescriptor) -> Vec<Declared> {
        let schema = self.schema;
        let fields = message.fields().map(|field| {
            let name = field.full_name().to_owned();
            (field.parent_file(), name, field.number(), schema.options(&field))
        });
        let extensions = message.extensions().map(|field| {
            let name = field.full_name().to_owned();
            (field.parent_file(), name, field.number(), schema.options(&field))
        });
        let declared = fields.chain(extensions).map(|(file, name, number, options)| {
            let options = options.filter(|_| self.is_annotated(&file)).unwrap_or_default();
            Declared { file: file.name().to_owned(), name, number, options }
        });
        declared.collect()
    }

    fn group(
        &mut self,
        message: &MessageDescriptor,
        group: &annotations::MessageOneof,
        grouped: &mut HashSet<u32>,
    ) -> Option<Group> {
        let (file, name) = (message.parent_file(), message.full_name());
        let mut numbers = Vec::with_capacity(group.fields.len());
        for field in &group.fields {
            match message.get_field_by_name(field).map(|field| field.number()) {
                Some(number) if numbers.contains(&number) => {
                    self.refuse(file.name(), name, RuleProblem::Twice(field.clone()));
                }
                Some(number) => numbers.push(number),
                None => self.refuse(file.name(), name, RuleProblem::NoField(field.clone())),
            }
        }
        if group.fields.is_empty() {
            self.refuse(file.name(), name, RuleProblem::NoFields);
            return None;
        }
        grouped.extend(&numbers);
        Some(Group { numbers: numbers.into(), names: group.fields.join("`, `"), required: group.required })
    }

    fn oneofs(&mut self, message: &MessageDescriptor) -> Box<[Oneof]> {
        let file = message.parent_file();
        let mut oneofs = Vec::new();
        for oneof in message.oneofs() {
            let options = self.schema.options(&oneof).unwrap_or_default();
            match annotations::is_oneof_required(&options) {
                Ok(true) => oneofs.push(Oneof {
                    name: oneof.name().into(),
                    numbers: oneof.fields().map(|field| field.number()).collect(),
                }),
                Ok(false) => {}
                Err(error) => self.refuse(file.name(), oneof.full_name(), error),
            }
        }
        oneofs.into()
    }

    /// `None` where neither the field nor its type can have rules, or all of them are to be ignored.
    fn field(&mut self, field: &Declared, planned: &FieldPlan, is_grouped: bool) -> Option<FieldJudge> {
        let Declared { file, name, number, options } = field;
        let mut rules = FieldRules::default();
        match annotations::field_rules(options) {
            Ok(found) => rules = found.unwrap_or_default(),
            Err(error) => self.refuse(file, name, error),
        }
        if rules.ignore == Ignore::Always {
            return None;
        }
        if is_grouped && rules.ignore == Ignore::Unspecified {
            rules.ignore = Ignore::IfZeroValue;
        }
        let required = rules.required;
        let value = self.value(file, name, Place::Field(planned), rules, DEPTH_MAX);
        let is_idle = !required && value.is_bare() && !value.leads_on();
        (!is_idle).then_some(FieldJudge { number: *number, required, value })
    }

    fn value(
        &mut self,
        file: &str,
        name: &str,
        place: Place<'_>,
        rules: FieldRules,
        depth: u16,
    ) -> ValueJudge {
        let Some(depth) = depth.checked_sub(1) else {
            self.refuse(file, name, RuleProblem::Depth);
            return ValueJudge::default();
        };
        // Where presence is tracked, a zero that is there is no zero value of the field: that is its absence.
        let has_presence = matches!(place, Place::Field(field) if field.has_presence());
        let ignores_zero = rules.ignore == Ignore::IfZeroValue && !has_presence;
        let mut judge = ValueJudge { ignores_zero, ..ValueJudge::default() };
        let (item, value) = self.kinds(place);
        let mut this = match place {
            Place::Field(field) => field_type(self.schema, field),
            Place::Item(kind) => item_type(self.schema, kind),
        };
        if item.is_none()
            && let Some(id) = value.message()
        {
            if WellKnown::of(self.schema.descriptor(id)) == WellKnown::Wrapper {
                judge.is_wrapped = true;
                let inner = self.schema.message(id);
                this = inner.fields.first().map_or(Type::Dyn, |inner| item_type(self.schema, inner.kind));
            }
            judge.nested = Some(id);
        }
        if let Some(typed) = &rules.typed
            && !self.suits(typed, item.is_some(), item.is_some_and(|(key, _)| key.is_some()), value)
        {
            let field = match (item, place) {
                (Some((Some(_), _)), _) => "a map".to_owned(),
                (Some(_), _) => "a repeated field".to_owned(),
                _ => self.shown(value),
            };
            self.refuse(file, name, RuleProblem::Type { rules: word(typed), field });
            return judge;
        }
        judge.pattern = self.pattern(file, name, rules.typed.as_ref());
        let mut list = self.rules(file, name, &rules.cel, &this).into_vec();
        if let Some(predefined) = &rules.predefined {
            list.extend(self.predefined(file, name, predefined, &this));
        }
        judge.rules = list.into();
        let (of_items, of_keys);
        (judge.typed, of_items, of_keys) = parted(rules.typed);
        if let Some((key, value)) = item {
            let mut inner = |kind, rules: FieldRules| {
                let is_ignored = rules.ignore == Ignore::Always;
                let judge = self.value(file, name, Place::Item(kind), rules, depth);
                (!is_ignored && (!judge.is_bare() || judge.leads_on())).then(|| Box::new(judge))
            };
            judge.items = inner(value, of_items);
            judge.keys = key.and_then(|key| inner(key, of_keys));
        }
        judge
    }

    /// Of what is repeated the kinds of a key and of an item, and the kind of the value itself.
    fn kinds(&self, place: Place<'_>) -> (Option<(Option<Kind>, Kind)>, Kind) {
        match place {
            Place::Field(field) => match (field.is_repeated(), self.entry(field)) {
                (false, _) => (None, field.kind),
                (true, Some((key, value))) => (Some((Some(key), value)), field.kind),
                (true, None) => (Some((None, field.kind)), field.kind),
            },
            Place::Item(kind) => (None, kind),
        }
    }

    /// The kinds of a map's keys and values.
    fn entry(&self, field: &FieldPlan) -> Option<(Kind, Kind)> {
        let entry = field.kind.message().filter(|id| self.schema.descriptor(*id).is_map_entry())?;
        let plan = self.schema.message(entry);
        let kind = |number| plan.by_number(number).map(|index| plan.fields[index].kind);
        kind(1).zip(kind(2))
    }

    fn suits(&self, typed: &Typed, is_repeated: bool, is_map: bool, kind: Kind) -> bool {
        let named = |id: MessageId, name: &str| self.schema.descriptor(id).full_name() == name;
        let is = |name: &str| kind.message().is_some_and(|id| named(id, name));
        match typed {
            Typed::Map { .. } => is_map,
            Typed::Repeated { .. } => is_repeated && !is_map,
            _ if is_repeated => false,
            Typed::Number { kind: of, .. } => {
                let wrapper = match of {
                    Kind::Float => "google.protobuf.FloatValue",
                    Kind::Double => "google.protobuf.DoubleValue",
                    Kind::Int32 => "google.protobuf.Int32Value",
                    Kind::Int64 => "google.protobuf.Int64Value",
                    Kind::Uint32 => "google.protobuf.UInt32Value",
                    Kind::Uint64 => "google.protobuf.UInt64Value",
                    _ => "",
                };
                *of == kind || is(wrapper)
            }
            Typed::Bool(_) => kind == Kind::Bool || is("google.protobuf.BoolValue"),
            Typed::Text(_) => kind == Kind::String || is("google.protobuf.StringValue"),
            Typed::Bytes(_) => kind == Kind::Bytes || is("google.protobuf.BytesValue"),
            Typed::Enum { .. } => matches!(kind, Kind::Enum(_)),
            Typed::Any { .. } => is("google.protobuf.Any"),
            Typed::Duration(_) => is("google.protobuf.Duration"),
            Typed::Timestamp { .. } => is("google.protobuf.Timestamp"),
            Typed::FieldMask { .. } => is("google.protobuf.FieldMask"),
        }
    }

    fn shown(&self, kind: Kind) -> String {
        match kind.message() {
            Some(id) => format!("a `{}`", self.schema.descriptor(id).full_name()),
            None => format!(
                "a field of type {}",
                format!("{kind:?}").split('(').next().unwrap_or_default().to_lowercase()
            ),
        }
    }

    fn pattern(&mut self, file: &str, name: &str, typed: Option<&Typed>) -> Option<regex::Regex> {
        let written = match typed? {
            Typed::Text(rules) => rules.pattern.as_deref()?,
            Typed::Bytes(rules) => rules.pattern.as_deref()?,
            _ => return None,
        };
        match pattern::compile(written) {
            Ok(pattern) => Some(pattern),
            Err(problem) => {
                self.refuse(file, name, RuleProblem::Pattern { pattern: written.to_owned(), problem });
                None
            }
        }
    }

    fn rules(&mut self, file: &str, name: &str, list: &[Cel], this: &Type) -> Box<[Rule]> {
        let types = RuleTypes { schema: self.schema, this: this.clone(), rules: None };
        list.iter().filter_map(|cel| self.rule(file, name, cel, &types)).collect()
    }

    fn rule(&mut self, file: &str, name: &str, cel: &Cel, types: &RuleTypes<'_>) -> Option<Rule> {
        let Cel { id, message, expression } = cel;
        if expression.is_empty() {
            self.refuse(file, name, RuleProblem::NoExpression);
            return None;
        }
        match Expression::compile_rule(expression, types) {
            Ok(compiled) => Some(Rule {
                id: id.as_str().into(),
                message: match message.as_str() {
                    "" => format!("the rule `{expression}` does not hold").into(),
                    message => message.into(),
                },
                expression: compiled,
                predefined: None,
            }),
            Err(errors) => {
                for ConditionError { offset, problem } in errors {
                    let at = expression[..expression.floor_char_boundary(offset)].chars().count() + 1;
                    let (id, expression, problem) = (id.clone(), expression.clone(), problem.to_string());
                    self.refuse(file, name, RuleProblem::Cel { id, expression, at, problem });
                }
                None
            }
        }
    }

    /// Rules that somebody else defined, as extensions of those of the standard.
    fn predefined(&mut self, file: &str, name: &str, predefined: &Predefined, this: &Type) -> Vec<Rule> {
        let Predefined { message, bytes, numbers } = predefined;
        let mut rules = Vec::new();
        let id = self.schema.message_id(&format!("buf.validate.{message}"));
        let view = id.and_then(|id| View::of(self.schema, id, &[bytes]).ok());
        for number in numbers {
            let found = view.as_ref().zip(id).and_then(|(view, id)| {
                let index = view.plan.by_number(*number)?;
                let extension =
                    self.schema.descriptor(id).extensions().find(|one| one.number() == *number)?;
                let cel = annotations::predefined(&self.schema.options(&extension)?).ok()?;
                let types = RuleTypes {
                    schema: self.schema,
                    this: this.clone(),
                    rules: Some((id, rule_field(view, index).ok()?)),
                };
                (!cel.is_empty()).then_some((id, cel, types))
            });
            let Some((id, cel, types)) = found else {
                self.refuse(file, name, RuleProblem::Predefined { message, number: *number });
                continue;
            };
            rules.extend(cel.iter().filter_map(|cel| {
                let rule = self.rule(file, name, cel, &types)?;
                Some(Rule { predefined: Some((id, bytes.as_slice().into())), ..rule })
            }));
        }
        rules
    }

    fn refuse(&mut self, file: &str, name: &str, problem: impl Into<RuleProblem>) {
        let problem = problem.into();
        self.errors.push(RuleError { file: file.to_owned(), name: name.to_owned(), problem });
    }
}

/// The rules of a list or map itself, of its items or values, and of its keys.
fn parted(typed: Option<Typed>) -> (Option<Typed>, FieldRules, FieldRules) {
    let (mut of_items, mut of_keys) = (None, None);
    let typed = typed.map(|mut typed| {
        match &mut typed {
            Typed::Repeated { items, .. } => of_items = items.take(),
            Typed::Map { keys, values, .. } => (of_items, of_keys) = (values.take(), keys.take()),
            _ => {}
        }
        typed
    });
    let plain = |rules: Option<Box<FieldRules>>| rules.map_or_else(FieldRules::default, |rules| *rules);
    (typed, plain(of_items), plain(of_keys))
}

const fn word(typed: &Typed) -> &'static str {
    match typed {
        Typed::Number { kind, .. } => match kind {
            Kind::Float => "`float`",
            Kind::Double => "`double`",
            Kind::Int32 => "`int32`",
            Kind::Int64 => "`int64`",
            Kind::Uint32 => "`uint32`",
            Kind::Uint64 => "`uint64`",
            Kind::Sint32 => "`sint32`",
            Kind::Sint64 => "`sint64`",
            Kind::Fixed32 => "`fixed32`",
            Kind::Fixed64 => "`fixed64`",
            Kind::Sfixed32 => "`sfixed32`",
            _ => "`sfixed64`",
        },
        Typed::Bool(_) => "`bool`",
        Typed::Text(_) => "`string`",
        Typed::Bytes(_) => "`bytes`",
        Typed::Enum { .. } => "`enum`",
        Typed::Repeated { .. } => "`repeated`",
        Typed::Map { .. } => "`map`",
        Typed::Any { .. } => "`any`",
        Typed::Duration(_) => "`duration`",
        Typed::FieldMask { .. } => "`field_mask`",
        Typed::Timestamp { .. } => "`timestamp`",
    }
}
