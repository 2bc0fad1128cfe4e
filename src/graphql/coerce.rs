//! What a client gives, as [`Value`]s of the types that take it (GraphQL, sections 3.5 to 3.12 and 6.1.2).
//!
//! ```text
//! JSON + variable definitions → Variables
//! literals + Variables + arguments → Value::Object, one for each call
//! ```
//!
//! Literals have been checked against their types by then; variables are checked here. Texts of scalars, `Bytes` or
//! `DateTime`, are read when they are written into the request.

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::{Map, Value as Json};

use super::document::ast::{
    Argument, DeclaredKind, DeclaredType, Literal, LiteralKind, OperationDefinition, VariableDefinition,
};
use super::document::{Code, Problem};
use super::model::{Input, Inputs, Model, Scalar, Target, TypeId, TypeKind, TypeRef};
use super::value::Value;
use crate::schema::Schema;
use crate::schema::plan::MessageId;

/// The variables that have a value, and how much of them may be written into requests.
///
/// A document of a few thousand tokens can name a variable of a mebibyte a thousand times.
#[derive(Debug)]
pub struct Variables<'a> {
    values: HashMap<&'a str, (Value, usize)>,
    bytes_left: Cell<usize>,
}

/// What all uses of variables may come to, beyond one of each.
const VARIABLES_BYTES_MAX: usize = 4 << 20;

/// How many problems are told of the variables of one request.
const PROBLEMS_MAX: usize = 20;

/// Gives values to what an operation and its request consist of.
#[derive(Clone, Copy, Debug)]
pub struct Coercer<'m> {
    pub model: &'m Model,
    pub schema: &'m Schema,
}

impl Default for Variables<'_> {
    fn default() -> Self {
        Self { values: HashMap::new(), bytes_left: Cell::new(VARIABLES_BYTES_MAX) }
    }
}

impl Variables<'_> {
    /// Whether a variable is true; `None` where it is no boolean.
    pub fn is_true(&self, name: &str) -> Option<bool> {
        match self.values.get(name) {
            Some((Value::Boolean(value), _)) => Some(*value),
            _ => None,
        }
    }

    /// A value as tests see it.
    #[cfg(test)]
    pub(super) fn shown(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|(value, _)| format!("{value:?}"))
    }

    fn is_null(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|(value, _)| *value == Value::Null)
    }

    fn copy(&self, name: &str) -> Result<Option<Value>, Wrong> {
        let Some((value, bytes)) = self.values.get(name) else { return Ok(None) };
        let Some(left) = self.bytes_left.get().checked_sub(*bytes) else {
            return Err(Wrong::new(format!("`${name}` is used too often for its size")));
        };
        self.bytes_left.set(left);
        Ok(Some(value.clone()))
    }
}

impl Coercer<'_> {
    /// The variables of an operation, from the request's JSON. Those that it does not declare are ignored.
    ///
    /// # Errors
    ///
    /// Every variable that has no value of its type.
    pub fn variables<'a>(
        self,
        operation: &'a OperationDefinition,
        given: &Map<String, Json>,
    ) -> Result<Variables<'a>, Vec<Problem>> {
        self.variables_or(operation, given, |variable, path, wrong| {
            let message = format!("variable `${}{path}`: {wrong}", variable.name.text);
            Problem::new(Code::BadInput, message, variable.name.at)
        })
    }

    /// The same, where `wrong` says what is told of a variable that has no value of its type: it is given the place in
    /// the value and what is wrong there.
    ///
    /// # Errors
    ///
    /// What `wrong` makes of every such variable.
    pub fn variables_or<'a, E>(
        self,
        operation: &'a OperationDefinition,
        given: &Map<String, Json>,
        wrong: impl Fn(&VariableDefinition, &str, &str) -> E,
    ) -> Result<Variables<'a>, Vec<E>> {
        let mut variables = Variables::default();
        let mut problems = Vec::new();
        for variable in &operation.variables {
            let name = &*variable.name.text;
            match self.variable(variable, given.get(name)) {
                Ok(Some(value)) => {
                    let bytes = value.bytes();
                    // The first use of each is free.
                    variables.bytes_left.set(variables.bytes_left.get().saturating_add(bytes));
                    variables.values.insert(name, (value, bytes));
                }
                Ok(None) => {}
                Err(Wrong { path, message }) if problems.len() < PROBLEMS_MAX => {
                    problems.push(wrong(variable, &path, &message));
                }
                Err(_) => break,
            }
        }
        if problems.is_empty() { Ok(variables) } else { Err(problems) }
    }

    fn variable(self, variable: &VariableDefinition, given: Option<&Json>) -> Result<Option<Value>, Wrong> {
        match (given, &variable.default) {
            (Some(given), _) => self.declared(given, &variable.declared).map(Some),
            (None, Some(default)) => self.default(default, &variable.declared).map(Some),
            (None, None) if variable.declared.is_non_null => Err(Wrong::new("a value is needed")),
            (None, None) => Ok(None),
        }
    }

    fn declared(self, json: &Json, declared: &DeclaredType) -> Result<Value, Wrong> {
        match (&declared.kind, json) {
            (_, Json::Null) if declared.is_non_null => Err(Wrong::new("a value is needed, found `null`")),
            (_, Json::Null) => Ok(Value::Null),
            (DeclaredKind::List(item), Json::Array(items)) => {
                let items = items.iter().enumerate();
                let values =
                    items.map(|(index, json)| self.declared(json, item).map_err(|one| one.at(index)));
                values.collect::<Result<_, _>>().map(Value::List)
            }
            (DeclaredKind::List(item), single) => Ok(Value::List(vec![self.declared(single, item)?])),
            (DeclaredKind::Named(name), json) => match self.model.find(&name.text) {
                Some(named) => self.single(json, named),
                None => Err(Wrong::new("its type is not known")),
            },
        }
    }

    fn default(self, literal: &Literal, declared: &DeclaredType) -> Result<Value, Wrong> {
        match (&declared.kind, &literal.kind) {
            (_, LiteralKind::Null) => Ok(Value::Null),
            (DeclaredKind::List(item), LiteralKind::List(items)) => {
                let values = items.iter().map(|literal| self.default(literal, item));
                values.collect::<Result<_, _>>().map(Value::List)
            }
            (DeclaredKind::List(item), _) => Ok(Value::List(vec![self.default(literal, item)?])),
            (DeclaredKind::Named(name), _) => match self.model.find(&name.text) {
                Some(named) => {
                    let type_ref =
                        TypeRef { named, is_list: false, is_non_null: false, has_null_items: false };
                    self.literal(literal, type_ref, &Variables::default())
                        .map(|value| value.unwrap_or(Value::Null))
                }
                None => Err(Wrong::new("its type is not known")),
            },
        }
    }

    fn typed(self, json: &Json, type_ref: TypeRef) -> Result<Value, Wrong> {
        let item = TypeRef { is_list: false, is_non_null: true, ..type_ref };
        match json {
            Json::Null if type_ref.is_non_null => Err(Wrong::new("a value is needed, found `null`")),
            Json::Null => Ok(Value::Null),
            Json::Array(items) if type_ref.is_list => {
                let items = items.iter().enumerate();
                let values = items.map(|(index, json)| self.typed(json, item).map_err(|one| one.at(index)));
                values.collect::<Result<_, _>>().map(Value::List)
            }
            single if type_ref.is_list => Ok(Value::List(vec![self.typed(single, item)?])),
            single => self.single(single, type_ref.named),
        }
    }

    fn single(self, json: &Json, named: TypeId) -> Result<Value, Wrong> {
        let found = self.model.get(named);
        match (found.kind, json) {
            (TypeKind::Scalar(scalar), _) => of_scalar(json, scalar),
            (TypeKind::Enum(_) | TypeKind::Meta(_), Json::String(name)) => self.enum_value(name, named),
            (TypeKind::Input(message), Json::Object(members)) => self.object(members, named, message),
            _ => Err(Wrong::new(format!("expected a value of type `{}`, found {}", found.name, kind(json)))),
        }
    }

    fn enum_value(self, name: &str, named: TypeId) -> Result<Value, Wrong> {
        match self.model.values(self.schema, named).find(name) {
            Some(value) => Ok(Value::Enum(value.declared.clone())),
            None => Err(Wrong::new(format!("no value of `{}`", self.model.get(named).name))),
        }
    }

    fn object(self, given: &Map<String, Json>, named: TypeId, message: MessageId) -> Result<Value, Wrong> {
        let inputs = self.model.inputs(self.schema, named);
        let mut members = Vec::with_capacity(given.len());
        for (name, json) in given {
            let Some(input) = inputs.find(name) else {
                let name: String = name.chars().take(64).collect();
                return Err(Wrong::new(format!("`{}` has no field `{name}`", self.model.get(named).name)));
            };
            let value = self.typed(json, input.type_ref).map_err(|wrong| wrong.below(name))?;
            members.extend(self.member(message, input).map(|name| (name, value)));
        }
        let missing = |input: &&Input| input.type_ref.is_non_null && !given.contains_key(&*input.name);
        if let Some(input) = inputs.list.iter().find(missing) {
            return Err(Wrong::new("a value is needed").below(&input.name));
        }
        self.one_of(inputs, given.len(), members.iter().any(|(_, value)| *value == Value::Null), named)?;
        Ok(Value::Object(members))
    }

    fn one_of(self, inputs: &Inputs, given: usize, has_null: bool, named: TypeId) -> Result<(), Wrong> {
        if inputs.is_one_of && (given != 1 || has_null) {
            let name = &self.model.get(named).name;
            return Err(Wrong::new(format!("`{name}` takes exactly one field, and not `null`")));
        }
        Ok(())
    }

    /// The JSON name of the message's field that an input goes into; `None` where it goes nowhere.
    fn member(self, message: MessageId, input: &Input) -> Option<Box<str>> {
        let Target::Field { index, .. } = input.target else { return None };
        self.schema.message(message).fields.get(index).map(|field| field.json_name.clone())
    }

    /// The request of a call: its arguments as the fields of the message, or the message's own form.
    ///
    /// # Errors
    ///
    /// A variable that is null where that cannot be (GraphQL, section 6.4.1): an error of the field.
    pub fn request(
        self,
        given: &[Argument],
        inputs: &Inputs,
        message: MessageId,
        variables: &Variables<'_>,
    ) -> Result<Value, String> {
        let mut members = Vec::with_capacity(given.len());
        let given: HashMap<&str, &Literal> = given.iter().map(|one| (&*one.name.text, &one.value)).collect();
        for input in &inputs.list {
            let value = match given.get(&*input.name) {
                Some(literal) => self.literal(literal, input.type_ref, variables),
                None => Ok(None),
            };
            let value = value
                .map_err(|wrong| format!("argument `{}{}`: {}", input.name, wrong.path, wrong.message))?;
            match (value, input.target) {
                (None, _) if input.type_ref.is_non_null => {
                    return Err(format!("argument `{}`: a value is needed", input.name));
                }
                (Some(value), Target::Whole) => return Ok(value),
                (Some(value), _) => members.extend(self.member(message, input).map(|name| (name, value))),
                (None, _) => {}
            }
        }
        Ok(Value::Object(members))
    }

    /// The value of a literal; `None` where it has none.
    pub fn value(self, literal: &Literal, type_ref: TypeRef, variables: &Variables<'_>) -> Option<Value> {
        self.literal(literal, type_ref, variables).ok().flatten()
    }

    /// A literal that is valid for its type; `None` for a variable without a value.
    fn literal(
        self,
        literal: &Literal,
        type_ref: TypeRef,
        variables: &Variables<'_>,
    ) -> Result<Option<Value>, Wrong> {
        let item = TypeRef { is_list: false, is_non_null: true, ..type_ref };
        let value = match &literal.kind {
            LiteralKind::Variable(name) if type_ref.is_non_null && variables.is_null(name) => {
                return Err(Wrong::new(format!("a value is needed, and `${name}` is null")));
            }
            LiteralKind::Variable(name) => return variables.copy(name),
            LiteralKind::Null => Value::Null,
            LiteralKind::List(items) if type_ref.is_list => {
                let items = items.iter().enumerate().map(|(index, literal)| {
                    let value = self.literal(literal, item, variables).map_err(|wrong| wrong.at(index))?;
                    value.ok_or_else(|| Wrong::new("a value is needed").at(index))
                });
                Value::List(items.collect::<Result<_, _>>()?)
            }
            _ if type_ref.is_list => match self.literal(literal, item, variables)? {
                Some(value) => Value::List(vec![value]),
                None => return Ok(None),
            },
            _ => self.single_literal(literal, type_ref.named, variables)?,
        };
        Ok(Some(value))
    }

    fn single_literal(
        self,
        literal: &Literal,
        named: TypeId,
        variables: &Variables<'_>,
    ) -> Result<Value, Wrong> {
        match (self.model.get(named).kind, &literal.kind) {
            (TypeKind::Scalar(Scalar::Id), LiteralKind::Int(text)) => Ok(Value::String(text.clone())),
            (TypeKind::Scalar(Scalar::Json), _) => any(literal, variables),
            (TypeKind::Scalar(scalar), _) => {
                let json = plain(literal).ok_or_else(|| Wrong::new("no value of its type"))?;
                of_scalar(&json, scalar)
            }
            (_, LiteralKind::Enum(name)) => self.enum_value(name, named),
            (TypeKind::Input(message), LiteralKind::Object(given)) => {
                self.object_literal(given, named, message, variables)
            }
            _ => Err(Wrong::new("no value of its type")),
        }
    }

    fn object_literal(
        self,
        given: &[Argument],
        named: TypeId,
        message: MessageId,
        variables: &Variables<'_>,
    ) -> Result<Value, Wrong> {
        let inputs = self.model.inputs(self.schema, named);
        let mut members = Vec::with_capacity(given.len());
        let mut count = 0;
        for member in given {
            let Some(input) = inputs.find(&member.name.text) else { continue };
            let value = self.literal(&member.value, input.type_ref, variables);
            let value = value.map_err(|wrong| wrong.below(&input.name))?;
            if value.is_none() && input.type_ref.is_non_null {
                return Err(Wrong::new("a value is needed").below(&input.name));
            }
            count += usize::from(value.is_some());
            members.extend(value.and_then(|value| Some((self.member(message, input)?, value))));
        }
        self.one_of(inputs, count, members.iter().any(|(_, value)| *value == Value::Null), named)?;
        Ok(Value::Object(members))
    }
}

/// What is wrong with a value, and where in it.
struct Wrong {
    path: String,
    message: String,
}

impl Wrong {
    fn new(message: impl Into<String>) -> Self {
        Self { path: String::new(), message: message.into() }
    }

    fn at(self, index: usize) -> Self {
        Self { path: format!("[{index}]{}", self.path), ..self }
    }

    fn below(self, name: &str) -> Self {
        let name: String = name.chars().take(64).collect();
        Self { path: format!(".{name}{}", self.path), ..self }
    }
}

/// A value of a scalar. What a text says is told later, but for integers: their range belongs to their type.
fn of_scalar(json: &Json, scalar: Scalar) -> Result<Value, Wrong> {
    let integer =
        |min: i128, max: i128| integer(json).filter(|value| (min..=max).contains(value)).map(Value::Int);
    let text = || json.as_str().map(|text| Value::String(text.into()));
    let value = match scalar {
        Scalar::Boolean => json.as_bool().map(Value::Boolean),
        Scalar::Float => json.as_f64().filter(|value| value.is_finite()).map(Value::Float),
        Scalar::Int => integer(i32::MIN.into(), i32::MAX.into()),
        Scalar::UInt32 => integer(0, u32::MAX.into()),
        Scalar::Int64 => {
            let written = json.as_str().and_then(|text| text.parse::<i64>().ok());
            written
                .map(|value| Value::Int(value.into()))
                .or_else(|| integer(i64::MIN.into(), i64::MAX.into()))
        }
        Scalar::UInt64 => {
            let written = json.as_str().and_then(|text| text.parse::<u64>().ok());
            written.map(|value| Value::Int(value.into())).or_else(|| integer(0, u64::MAX.into()))
        }
        Scalar::Id => {
            text().or_else(|| self::integer(json).map(|value| Value::String(value.to_string().into())))
        }
        Scalar::String | Scalar::Bytes | Scalar::DateTime | Scalar::Duration | Scalar::FieldMask => text(),
        Scalar::Json => Some(of_json(json)),
    };
    let wrong = || Wrong::new(format!("expected a value of type `{}`, found {}", scalar.name(), kind(json)));
    value.ok_or_else(wrong)
}

/// An integer, also where it is written with a point: `1.0` (GraphQL, section 3.5.1).
fn integer(json: &Json) -> Option<i128> {
    let Json::Number(number) = json else { return None };
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    whole.or_else(|| {
        let value = number.as_f64()?;
        // Beyond that a float is not one integer alone.
        let is_exact = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_991.0;
        is_exact.then(|| format!("{value:.0}").parse().ok())?
    })
}

fn of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)) {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(of_json).collect()),
        Json::Object(members) => {
            Value::Object(members.iter().map(|(name, json)| (name.as_str().into(), of_json(json))).collect())
        }
    }
}

/// Any value at all, as it is written.
fn any(literal: &Literal, variables: &Variables<'_>) -> Result<Value, Wrong> {
    Ok(match &literal.kind {
        LiteralKind::Variable(name) => variables.copy(name)?.unwrap_or(Value::Null),
        LiteralKind::Null => Value::Null,
        LiteralKind::Enum(name) => Value::String(name.clone()),
        LiteralKind::List(items) => {
            Value::List(items.iter().map(|item| any(item, variables)).collect::<Result<_, _>>()?)
        }
        LiteralKind::Object(members) => {
            let members = members.iter().map(|one| Ok((one.name.text.clone(), any(&one.value, variables)?)));
            Value::Object(members.collect::<Result<_, _>>()?)
        }
        _ => of_json(&plain(literal).ok_or_else(|| Wrong::new("a number that is too large"))?),
    })
}

/// A literal that has no parts as JSON; `None` for a number that nothing holds.
fn plain(literal: &Literal) -> Option<Json> {
    match &literal.kind {
        LiteralKind::Int(text) | LiteralKind::Float(text) => serde_json::from_str(text).ok(),
        LiteralKind::String(text) => Some(Json::String((**text).into())),
        LiteralKind::Boolean(value) => Some(Json::Bool(*value)),
        _ => None,
    }
}

fn kind(json: &Json) -> String {
    match json {
        Json::Null => "`null`".to_owned(),
        Json::Bool(value) => format!("`{value}`"),
        Json::Number(number) => format!("`{number}`"),
        Json::String(_) => "a string".to_owned(),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}
