//! Functions on values.

use super::super::node::Node;
use super::super::time;
use super::super::value::{List, Value};
use super::super::vocabulary::{FUNCTIONS, Function, Part};
use super::{Evaluated, EvaluationError, Evaluator, convert};

impl<'a> Evaluator<'a> {
    pub(super) fn call(&mut self, function: Function, arguments: &'a [Node]) -> Evaluated<'a> {
        let (first, second) = match arguments {
            [only] => (self.value(only)?, None),
            [first, second] => (self.value(first)?, Some(self.value(second)?)),
            _ => unreachable!("no function of the table takes more than two"),
        };
        let wrong = |found: &Value<'_>| EvaluationError::Type { what: name(function), found: found.kind() };
        match (function, &first, &second) {
            (Function::Size, _, None) => self.size(&first).ok_or_else(|| wrong(&first))?,
            (Function::Contains, Value::Text(text), Some(Value::Text(part))) => {
                self.spend((text.len() + part.len()) / 16)?;
                Ok(Value::Bool(text.contains(&**part)))
            }
            (Function::StartsWith, Value::Text(text), Some(Value::Text(part))) => {
                self.spend(part.len() / 64)?;
                Ok(Value::Bool(text.starts_with(&**part)))
            }
            (Function::EndsWith, Value::Text(text), Some(Value::Text(part))) => {
                self.spend(part.len() / 64)?;
                Ok(Value::Bool(text.ends_with(&**part)))
            }
            (Function::LowerAscii, Value::Text(text), None) => {
                self.spend(text.len() / 16)?;
                let is_lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
                Ok(if is_lower { first } else { Value::made(text.to_ascii_lowercase()) })
            }
            (Function::UpperAscii, Value::Text(text), None) => {
                self.spend(text.len() / 16)?;
                Ok(Value::made(text.to_ascii_uppercase()))
            }
            (Function::Split, Value::Text(text), Some(Value::Text(separator))) => {
                // A piece costs at least a step, and there may be as many as bytes.
                self.spend(text.len())?;
                let pieces: Vec<_> = if separator.is_empty() {
                    text.chars().map(|character| Value::made(character.to_string())).collect()
                } else {
                    text.split(&**separator).map(Value::made).collect()
                };
                Ok(Value::List(List::Made(pieces.into())))
            }
            (Function::Part(part), Value::Timestamp(at), None) => Ok(Value::Int(time::part(*at, part))),
            (Function::Part(part), Value::Duration(span), None) => {
                time::span_part(*span, part).map(Value::Int).ok_or_else(|| wrong(&first))
            }
            (Function::Dyn, ..) => Ok(first),
            (Function::Bool, _, None) => convert::boolean(&first, wrong),
            (Function::Int, _, None) => convert::int(&first, wrong),
            (Function::Uint, _, None) => convert::uint(&first, wrong),
            (Function::Double, _, None) => convert::double(&first, wrong),
            (Function::Text, _, None) => {
                self.spend_on_size(&first)?;
                convert::text(first, wrong)
            }
            (Function::Bytes, _, None) => {
                self.spend_on_size(&first)?;
                convert::bytes(first, wrong)
            }
            (Function::Timestamp, _, None) => convert::timestamp(&first, wrong),
            (Function::Duration, _, None) => convert::duration(&first, wrong),
            (_, Value::Text(_), Some(second)) => Err(wrong(second)),
            _ => Err(wrong(&first)),
        }
    }

    /// Of a text in characters. `None`: the value has no size.
    fn size(&mut self, value: &Value<'a>) -> Option<Evaluated<'a>> {
        let size = match value {
            Value::Text(text) => match self.spend(text.len() / 64) {
                Ok(()) => text.chars().count(),
                Err(error) => return Some(Err(error)),
            },
            Value::Bytes(bytes) => bytes.len(),
            Value::List(list) => list.len(),
            Value::Map(map) => map.len(),
            _ => return None,
        };
        Some(i64::try_from(size).map(Value::Int).map_err(|_| EvaluationError::Overflow))
    }

    fn spend_on_size(&mut self, value: &Value<'a>) -> Result<(), EvaluationError> {
        match value {
            Value::Text(text) => self.spend(text.len() / 16),
            Value::Bytes(bytes) => self.spend(bytes.len() / 16),
            _ => Ok(()),
        }
    }
}

fn name(function: Function) -> &'static str {
    match function {
        Function::Part(Part::Hours | Part::Minutes | Part::Seconds | Part::Milliseconds) => {
            "a timestamp or duration"
        }
        Function::Part(_) => "a timestamp",
        _ => FUNCTIONS.iter().find(|one| one.function == function).map_or("a function", |one| one.name),
    }
}
