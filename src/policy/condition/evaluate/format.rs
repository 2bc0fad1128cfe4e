//! `"%s is not %d".format([a, b])`: CEL's strings extension.
//!
//! ```text
//! Clause = "%" ["." Digits] ("s" | "d" | "f" | "e" | "b" | "o" | "x" | "X" | "%")
//! ```

use std::fmt::Write;

use super::super::time;
use super::super::value::{List, Map, Value};
use super::{Evaluated, EvaluationError, Evaluator};

/// Digits behind the point, if the clause says nothing.
const PRECISION: usize = 6;
const PRECISION_MAX: usize = 1000;

/// Writes each value in the place of its clause.
pub(super) fn of<'a>(evaluator: &mut Evaluator<'a>, text: &str, list: &List<'a>) -> Evaluated<'a> {
    let mut out = String::with_capacity(text.len() + 32);
    let mut values = list.iter();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('%') {
        evaluator.spend(1 + before.len() / 8)?;
        out.push_str(before);
        if let Some(behind) = behind.strip_prefix('%') {
            out.push('%');
            rest = behind;
            continue;
        }
        let (precision, behind) = precision(behind)?;
        let mut characters = behind.chars();
        let verb = characters.next().ok_or(WRONG)?;
        let value = values.next().ok_or(EvaluationError::Bounds)?;
        let written = out.len();
        match verb {
            's' => put_text(evaluator, &mut out, &value)?,
            _ => put_number(&mut out, verb, precision, &value)?,
        }
        evaluator.spend((out.len() - written) / 8)?;
        rest = characters.as_str();
    }
    evaluator.spend(rest.len() / 8)?;
    out.push_str(rest);
    Ok(Value::made(out))
}

const WRONG: EvaluationError = EvaluationError::Conversion("format");

fn precision(text: &str) -> Result<(Option<usize>, &str), EvaluationError> {
    let Some(rest) = text.strip_prefix('.') else { return Ok((None, text)) };
    let end = rest.find(|character: char| !character.is_ascii_digit()).ok_or(WRONG)?;
    let precision = rest[..end].parse().ok().filter(|precision| *precision <= PRECISION_MAX);
    Ok((Some(precision.ok_or(WRONG)?), &rest[end..]))
}

fn put_number(
    out: &mut String,
    verb: char,
    precision: Option<usize>,
    value: &Value<'_>,
) -> Result<(), EvaluationError> {
    let wrong = || EvaluationError::Type { what: "format", found: value.kind() };
    let places = precision.unwrap_or(PRECISION);
    let done = match (verb, value) {
        ('d', Value::Int(number)) => write!(out, "{number}"),
        ('d', Value::Uint(number)) => write!(out, "{number}"),
        ('f' | 'e' | 'd', Value::Double(number)) if !number.is_finite() => {
            write!(out, "{}", special(*number))
        }
        ('d', Value::Double(number)) => write!(out, "{number}"),
        ('f', Value::Double(number)) => write!(out, "{number:.places$}"),
        ('e', Value::Double(number)) => write!(out, "{}", scientific(*number, places)),
        ('f' | 'e', Value::Int(number)) => {
            return put_number(out, verb, precision, &Value::Double(*number as f64));
        }
        ('f' | 'e', Value::Uint(number)) => {
            return put_number(out, verb, precision, &Value::Double(*number as f64));
        }
        ('b', Value::Bool(flag)) => write!(out, "{}", u8::from(*flag)),
        ('b' | 'o' | 'x' | 'X', Value::Int(number)) => {
            let sign = if *number < 0 { "-" } else { "" };
            out.push_str(sign);
            put_digits(out, verb, number.unsigned_abs())
        }
        ('b' | 'o' | 'x' | 'X', Value::Uint(number)) => put_digits(out, verb, *number),
        ('x' | 'X', Value::Text(text)) => put_hex(out, verb, text.as_bytes()),
        ('x' | 'X', Value::Bytes(bytes)) => put_hex(out, verb, bytes),
        ('d' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X', _) => return Err(wrong()),
        _ => return Err(WRONG),
    };
    done.map_err(|_| WRONG)
}

fn put_digits(out: &mut String, verb: char, number: u64) -> std::fmt::Result {
    match verb {
        'b' => write!(out, "{number:b}"),
        'o' => write!(out, "{number:o}"),
        'x' => write!(out, "{number:x}"),
        _ => write!(out, "{number:X}"),
    }
}

fn put_hex(out: &mut String, verb: char, bytes: &[u8]) -> std::fmt::Result {
    bytes.iter().try_for_each(|byte| match verb {
        'x' => write!(out, "{byte:02x}"),
        _ => write!(out, "{byte:02X}"),
    })
}

const fn special(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// With a sign and two digits at least in the exponent.
fn scientific(number: f64, places: usize) -> String {
    let text = format!("{number:.places$e}");
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn put_text<'a>(
    evaluator: &mut Evaluator<'a>,
    out: &mut String,
    value: &Value<'a>,
) -> Result<(), EvaluationError> {
    evaluator.spend(1)?;
    let done = match value {
        Value::Null => write!(out, "null"),
        Value::Bool(flag) => write!(out, "{flag}"),
        Value::Int(number) => write!(out, "{number}"),
        Value::Uint(number) => write!(out, "{number}"),
        Value::Double(number) if number.is_finite() => write!(out, "{number}"),
        Value::Double(number) => write!(out, "{}", special(*number)),
        Value::Text(text) => write!(out, "{}", &**text),
        Value::Bytes(bytes) => write!(out, "{}", String::from_utf8_lossy(bytes)),
        Value::Timestamp(at) => write!(out, "{}", time::show_moment(*at)?),
        Value::Duration(span) => write!(out, "{}", time::show_span(*span)?),
        Value::List(list) => return put_list(evaluator, out, list),
        Value::Map(map) => return put_map(evaluator, out, map),
        Value::Message(_) => return Err(EvaluationError::Type { what: "format", found: value.kind() }),
    };
    done.map_err(|_| WRONG)
}

fn put_list<'a>(
    evaluator: &mut Evaluator<'a>,
    out: &mut String,
    list: &List<'a>,
) -> Result<(), EvaluationError> {
    out.push('[');
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        put_text(evaluator, out, &item)?;
    }
    out.push(']');
    Ok(())
}

/// The keys in the order of their texts.
fn put_map<'a>(
    evaluator: &mut Evaluator<'a>,
    out: &mut String,
    map: &Map<'a>,
) -> Result<(), EvaluationError> {
    let mut entries = Vec::with_capacity(map.len());
    for key in map.keys() {
        let mut text = String::new();
        put_text(evaluator, &mut text, &key)?;
        text.push_str(": ");
        if let Some(value) = map.get(&key)? {
            put_text(evaluator, &mut text, &value)?;
        }
        entries.push(text);
    }
    entries.sort();
    out.push('{');
    out.push_str(&entries.join(", "));
    out.push('}');
    Ok(())
}
