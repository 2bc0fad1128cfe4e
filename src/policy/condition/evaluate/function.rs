//! Functions on values.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::super::node::Node;
use super::super::time;
use super::super::value::{List, Value};
use super::super::vocabulary::{FUNCTIONS, Function, Part};
use super::{Evaluated, EvaluationError, Evaluator, convert, format, text};
use crate::policy::formats::{self, Ip};

impl<'a> Evaluator<'a> {
    pub(super) fn call(&mut self, function: Function, arguments: &'a [Node]) -> Evaluated<'a> {
        let mut values = SmallVec::<[Value<'a>; 2]>::new();
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        let mut values = values.into_iter();
        let (first, second) = (values.next().expect("every function takes something"), values.next());
        let rest: SmallVec<[Value<'a>; 2]> = values.collect();
        let wrong = |found: &Value<'_>| EvaluationError::Type { what: name(function), found: found.kind() };
        if let Some(value) = self.extended(function, &first, second.as_ref(), &rest) {
            return value;
        }
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
            (Function::ToText, _, None) => {
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

    /// Functions of CEL's extensions; `None`: it is none of them, or what is given does not suit it.
    fn extended(
        &mut self,
        function: Function,
        first: &Value<'a>,
        second: Option<&Value<'a>>,
        rest: &[Value<'a>],
    ) -> Option<Evaluated<'a>> {
        Some(match (function, first, second) {
            (Function::Text(function), Value::Text(text), _) => {
                return text::of(self, function, text, second, rest);
            }
            (Function::Format, Value::Text(text), Some(Value::List(list))) => format::of(self, text, list),
            (Function::Join, Value::List(list), separator) => return text::join(self, list, separator),
            (Function::Unique, Value::List(list), None) => self.unique(list).map(Value::Bool),
            (Function::IsNan, Value::Double(value), None) => Ok(Value::Bool(value.is_nan())),
            (Function::IsInf, Value::Double(value), sign) => Ok(Value::Bool(match sign {
                Some(Value::Int(sign)) if *sign > 0 => *value == f64::INFINITY,
                Some(Value::Int(sign)) if *sign < 0 => *value == f64::NEG_INFINITY,
                _ => value.is_infinite(),
            })),
            (
                Function::Contains | Function::StartsWith | Function::EndsWith,
                Value::Bytes(bytes),
                Some(Value::Bytes(part)),
            ) => self.spend((bytes.len() + part.len()) / 16).map(|()| {
                Value::Bool(match function {
                    Function::StartsWith => bytes.starts_with(part),
                    Function::EndsWith => bytes.ends_with(part),
                    _ => memchr::memmem::find(bytes, part).is_some(),
                })
            }),
            (_, Value::Text(text), _) => {
                let found = is_well_formed(function, text, second, rest.first())?;
                self.spend(text.len() / 8).map(|()| found)
            }
            _ => return None,
        })
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

    /// Whether no item comes twice.
    fn unique(&mut self, list: &List<'a>) -> Result<bool, EvaluationError> {
        let mut seen = HashSet::with_capacity(list.len());
        for item in list.iter() {
            self.spend(1)?;
            self.spend_on_size(&item)?;
            let wrong = || EvaluationError::Type { what: "unique", found: item.kind() };
            match Key::of(&item).ok_or_else(wrong)? {
                // No NaN is the same as another.
                Key::Number(number) if f64::from_bits(number).is_nan() => {}
                key => {
                    if !seen.insert(key) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn spend_on_size(&mut self, value: &Value<'a>) -> Result<(), EvaluationError> {
        match value {
            Value::Text(text) => self.spend(text.len() / 16),
            Value::Bytes(bytes) => self.spend(bytes.len() / 16),
            _ => Ok(()),
        }
    }
}

/// What tells values apart.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Null,
    Bool(bool),
    Whole(i128),
    Number(u64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Moment(i128),
    Span(i64),
}

impl Key {
    fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Whole((*value).into()),
            Value::Uint(value) => Self::Whole((*value).into()),
            // Zero is the same with either sign.
            Value::Double(value) => Self::Number((value + 0.0).to_bits()),
            Value::Text(text) => Self::Text((**text).into()),
            Value::Bytes(bytes) => Self::Bytes((**bytes).into()),
            Value::Timestamp(at) => Self::Moment(*at),
            Value::Duration(span) => Self::Span(*span),
            Value::List(_) | Value::Map(_) | Value::Message(_) => return None,
        })
    }
}

/// `None`: it is another function, or what stands beside the text does not suit it.
fn is_well_formed<'a>(
    function: Function,
    text: &str,
    second: Option<&Value<'_>>,
    third: Option<&Value<'_>>,
) -> Option<Value<'a>> {
    // Another version is one that no address has.
    let version = |number: i64| match number {
        0 => Some(Ip::Any),
        4 => Some(Ip::V4),
        6 => Some(Ip::V6),
        _ => None,
    };
    Some(Value::Bool(match (function, second, third) {
        (Function::IsEmail, None, None) => formats::is_email(text),
        (Function::IsHostname, None, None) => formats::is_hostname(text),
        (Function::IsUri, None, None) => formats::is_uri(text),
        (Function::IsUriRef, None, None) => formats::is_uri_reference(text),
        (Function::IsHostAndPort, Some(Value::Bool(needs_port)), None) => {
            formats::is_host_and_port(text, *needs_port)
        }
        (Function::IsIp, None, None) => formats::is_ip(text, Ip::Any),
        (Function::IsIp, Some(Value::Int(number)), None) => {
            version(*number).is_some_and(|version| formats::is_ip(text, version))
        }
        (Function::IsIpPrefix, None, None) => formats::is_ip_prefix(text, Ip::Any, false),
        (Function::IsIpPrefix, Some(Value::Bool(is_strict)), None) => {
            formats::is_ip_prefix(text, Ip::Any, *is_strict)
        }
        (Function::IsIpPrefix, Some(Value::Int(number)), third) => {
            let is_strict = match third {
                None => false,
                Some(Value::Bool(is_strict)) => *is_strict,
                Some(_) => return None,
            };
            version(*number).is_some_and(|version| formats::is_ip_prefix(text, version, is_strict))
        }
        _ => return None,
    }))
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
