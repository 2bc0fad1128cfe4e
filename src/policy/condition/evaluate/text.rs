//! Functions that make a text of texts, as CEL's strings extension has them: places count in characters.

use super::super::value::{List, Text, Value};
use super::super::vocabulary::TextFunction;
use super::{Evaluated, EvaluationError, Evaluator};

/// Calls a function of a text; `None` where what stands beside it does not suit.
pub(super) fn of<'a>(
    evaluator: &mut Evaluator<'a>,
    function: TextFunction,
    text: &Text<'a>,
    second: Option<&Value<'a>>,
    rest: &[Value<'a>],
) -> Option<Evaluated<'a>> {
    if let Err(error) = evaluator.spend(text.len() / 8) {
        return Some(Err(error));
    }
    match (function, second, rest) {
        (TextFunction::Trim, None, []) => Some(Ok(Value::made(text.trim()))),
        (TextFunction::Reverse, None, []) => Some(Ok(Value::made(text.chars().rev().collect::<String>()))),
        (TextFunction::CharAt, Some(Value::Int(at)), []) => Some(char_at(text, *at)),
        (TextFunction::Substring, Some(Value::Int(start)), rest) => match rest {
            [] => Some(substring(text, *start, None)),
            [Value::Int(end)] => Some(substring(text, *start, Some(*end))),
            _ => None,
        },
        (TextFunction::IndexOf | TextFunction::LastIndexOf, Some(Value::Text(part)), rest) => {
            let from = match rest {
                [] => None,
                [Value::Int(from)] => Some(*from),
                _ => return None,
            };
            if let Err(error) = evaluator.spend((text.len() + part.len()) / 8) {
                return Some(Err(error));
            }
            Some(index_of(function, text, part, from))
        }
        (TextFunction::Replace, Some(Value::Text(old)), rest) => {
            let (new, most) = match rest {
                [Value::Text(new)] => (new, None),
                [Value::Text(new), Value::Int(most)] => (new, usize::try_from(*most).ok()),
                _ => return None,
            };
            Some(replace(evaluator, text, old, new, most))
        }
        _ => None,
    }
}

fn place(at: i64, length: usize) -> Result<usize, EvaluationError> {
    usize::try_from(at).ok().filter(|at| *at <= length).ok_or(EvaluationError::Bounds)
}

/// The character at a place; behind the last one there is the empty text.
fn char_at<'a>(text: &str, at: i64) -> Evaluated<'a> {
    let at = place(at, text.chars().count())?;
    Ok(Value::made(text.chars().nth(at).map(String::from).unwrap_or_default()))
}

fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Evaluated<'a> {
    let length = text.chars().count();
    let start = place(start, length)?;
    let end = end.map_or(Ok(length), |end| place(end, length))?;
    let count = end.checked_sub(start).ok_or(EvaluationError::Bounds)?;
    Ok(Value::made(text.chars().skip(start).take(count).collect::<String>()))
}

/// The place of the first `part` from a place on, or of the last one that begins no later; -1 if there is none.
fn index_of<'a>(function: TextFunction, text: &str, part: &str, from: Option<i64>) -> Evaluated<'a> {
    let length = text.chars().count();
    let byte = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let found = if function == TextFunction::IndexOf {
        let from = byte(from.map_or(Ok(0), |from| place(from, length))?);
        text[from..].find(part).map(|at| from + at)
    } else {
        let from = byte(from.map_or(Ok(length), |from| place(from, length))?);
        let end = (from + part.len()).min(text.len());
        text[..text.floor_char_boundary(end)].rfind(part)
    };
    let at = found.map_or(-1, |byte| i64::try_from(text[..byte].chars().count()).unwrap_or(i64::MAX));
    Ok(Value::Int(at))
}

fn replace<'a>(
    evaluator: &mut Evaluator<'a>,
    text: &str,
    old: &str,
    new: &str,
    most: Option<usize>,
) -> Evaluated<'a> {
    let count = text.matches(old).count().min(most.unwrap_or(usize::MAX));
    evaluator.spend((text.len() + count.saturating_mul(new.len())) / 8)?;
    Ok(Value::made(text.replacen(old, new, count)))
}

/// The texts of a list, one behind the other; `None` where not all of them are texts.
pub(super) fn join<'a>(
    evaluator: &mut Evaluator<'a>,
    list: &List<'a>,
    separator: Option<&Value<'a>>,
) -> Option<Evaluated<'a>> {
    let separator = match separator {
        None => "",
        Some(Value::Text(separator)) => separator,
        Some(_) => return None,
    };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::Text(text) = item else { return None };
        if let Err(error) = evaluator.spend(1 + (text.len() + separator.len()) / 8) {
            return Some(Err(error));
        }
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&text);
    }
    Some(Ok(Value::made(joined)))
}
