//! `+`, `==`, `in` and their like. Whole numbers never wrap; values of two types are unequal, and an error
//! to anything but `==`, `!=` and the comparison of numbers.

use std::cmp::Ordering;
use std::rc::Rc;

use super::super::time;
use super::super::value::{Bytes, List, Map, Value};
use super::{Evaluated, EvaluationError, Evaluator, Operator};
use crate::codec::view::View;

impl<'a> Evaluator<'a> {
    pub(super) fn binary(&mut self, operator: Operator, left: Value<'a>, right: Value<'a>) -> Evaluated<'a> {
        use Operator::{Add, Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, NotEqual};
        let wrong = |left: &Value<'_>, right: &Value<'_>| EvaluationError::Operands {
            operator: operator.symbol(),
            left: left.kind(),
            right: right.kind(),
        };
        match operator {
            Equal => self.equal(&left, &right).map(Value::Bool),
            NotEqual => self.equal(&left, &right).map(|equal| Value::Bool(!equal)),
            In => self.contains(&left, &right).and_then(|found| found.ok_or_else(|| wrong(&left, &right))),
            Less | LessOrEqual | Greater | GreaterOrEqual => {
                self.spend_on_order(&left)?;
                let order = left.order(&right).ok_or_else(|| wrong(&left, &right))?;
                Ok(Value::Bool(order.is_some_and(|order| match operator {
                    Less => order == Ordering::Less,
                    LessOrEqual => order != Ordering::Greater,
                    Greater => order == Ordering::Greater,
                    _ => order != Ordering::Less,
                })))
            }
            Add if matches!(left, Value::Text(_) | Value::Bytes(_) | Value::List(_)) => {
                self.join(left, right, wrong)
            }
            _ => arithmetic(operator, &left, &right).unwrap_or_else(|| Err(wrong(&left, &right))),
        }
    }

    /// Whether two values are the same; of different types they never are, but for numbers.
    pub(super) fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool, EvaluationError> {
        self.spend(1)?;
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::List(left), Value::List(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (left, right) in left.iter().zip(right.iter()) {
                    if !self.equal(&left, &right)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Value::Map(left), Value::Map(right)) => self.equal_maps(left, right),
            (Value::Message(left), Value::Message(right)) => self.equal_messages(left, right),
            _ => {
                self.spend_on_order(left)?;
                Ok(left.order(right) == Some(Some(Ordering::Equal)))
            }
        }
    }

    fn equal_maps(&mut self, left: &Map<'a>, right: &Map<'a>) -> Result<bool, EvaluationError> {
        if left.len() != right.len() {
            return Ok(false);
        }
        self.spend(left.len())?;
        for key in left.keys() {
            self.spend_on_map(left)?;
            self.spend_on_map(right)?;
            let (Some(one), Some(other)) = (left.get(&key)?, right.get(&key)?) else { return Ok(false) };
            if !self.equal(&one, &other)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Of one type, with the same fields set to the same.
    fn equal_messages(&mut self, left: &View<'a>, right: &View<'a>) -> Result<bool, EvaluationError> {
        if left.plan.id != right.plan.id {
            return Ok(false);
        }
        for (index, field) in left.plan.fields.iter().enumerate() {
            let is_set = left.is_set(index)?;
            if is_set != right.is_set(index)? {
                return Ok(false);
            }
            if is_set {
                let (one, other) = (self.field(left, field.number)?, self.field(right, field.number)?);
                if !self.equal(&one, &other)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// `left in right`; `None` where that makes no sense.
    fn contains(
        &mut self,
        left: &Value<'a>,
        right: &Value<'a>,
    ) -> Result<Option<Value<'a>>, EvaluationError> {
        let found = match right {
            Value::List(list) => {
                let mut found = false;
                for item in list.iter() {
                    found = self.equal(left, &item)?;
                    if found {
                        break;
                    }
                }
                found
            }
            Value::Map(map) => {
                self.spend_on_map(map)?;
                map.get(left)?.is_some()
            }
            _ => return Ok(None),
        };
        Ok(Some(Value::Bool(found)))
    }

    fn join(
        &mut self,
        left: Value<'a>,
        right: Value<'a>,
        wrong: impl Fn(&Value<'_>, &Value<'_>) -> EvaluationError,
    ) -> Evaluated<'a> {
        match (&left, &right) {
            (Value::Text(one), Value::Text(other)) => {
                self.spend((one.len() + other.len()) / 16)?;
                Ok(Value::made([&**one, &**other].concat()))
            }
            (Value::Bytes(one), Value::Bytes(other)) => {
                self.spend((one.len() + other.len()) / 16)?;
                Ok(Value::Bytes(Bytes::Made([&**one, &**other].concat().into())))
            }
            (Value::List(one), Value::List(other)) => {
                self.spend(one.len() + other.len())?;
                let items: Rc<[_]> = one.iter().chain(other.iter()).collect();
                Ok(Value::List(List::Made(items)))
            }
            _ => Err(wrong(&left, &right)),
        }
    }

    /// Long texts take time to compare.
    fn spend_on_order(&mut self, value: &Value<'a>) -> Result<(), EvaluationError> {
        match value {
            Value::Text(text) => self.spend(text.len() / 64),
            Value::Bytes(bytes) => self.spend(bytes.len() / 64),
            _ => Ok(()),
        }
    }
}

/// `None` where the operator does not apply.
fn arithmetic<'a>(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Option<Evaluated<'a>> {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    let is_zero = matches!(right, Value::Int(0) | Value::Uint(0));
    let kinds_agree = left.kind() == right.kind();
    if matches!(operator, Divide | Remainder) && is_zero && kinds_agree {
        return Some(Err(EvaluationError::DivisionByZero));
    }
    let result = match (left, right) {
        (Value::Int(left), Value::Int(right)) => match operator {
            Add => left.checked_add(*right),
            Subtract => left.checked_sub(*right),
            Multiply => left.checked_mul(*right),
            Divide => left.checked_div(*right),
            Remainder => left.checked_rem(*right),
            _ => return None,
        }
        .map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => match operator {
            Add => left.checked_add(*right),
            Subtract => left.checked_sub(*right),
            Multiply => left.checked_mul(*right),
            Divide => left.checked_div(*right),
            Remainder => left.checked_rem(*right),
            _ => return None,
        }
        .map(Value::Uint),
        (Value::Double(left), Value::Double(right)) => Some(Value::Double(match operator {
            Add => left + right,
            Subtract => left - right,
            Multiply => left * right,
            Divide => left / right,
            _ => return None,
        })),
        _ => return in_time(operator, left, right),
    };
    Some(result.ok_or(EvaluationError::Overflow))
}

/// Moments and spans.
fn in_time<'a>(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Option<Evaluated<'a>> {
    use Operator::{Add, Subtract};
    let span = |nanos: i128| i64::try_from(nanos).map(Value::Duration).map_err(|_| EvaluationError::Overflow);
    Some(match (operator, left, right) {
        (Add, Value::Timestamp(at), Value::Duration(span))
        | (Add, Value::Duration(span), Value::Timestamp(at)) => {
            time::moment(at + i128::from(*span)).map(Value::Timestamp)
        }
        (Subtract, Value::Timestamp(at), Value::Duration(span)) => {
            time::moment(at - i128::from(*span)).map(Value::Timestamp)
        }
        (Subtract, Value::Timestamp(left), Value::Timestamp(right)) => span(left - right),
        (Add, Value::Duration(left), Value::Duration(right)) => span(i128::from(*left) + i128::from(*right)),
        (Subtract, Value::Duration(left), Value::Duration(right)) => {
            span(i128::from(*left) - i128::from(*right))
        }
        _ => return None,
    })
}

pub(super) fn negate<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(EvaluationError::Overflow),
        Value::Double(value) => Ok(Value::Double(-value)),
        other => Err(EvaluationError::Type { what: "`-`", found: other.kind() }),
    }
}
