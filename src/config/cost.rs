//! `cost` of a policy, a rule or a limit: what a call takes, as a number or as an expression over the call.
//!
//! ```yaml
//! cost: 5
//! cost: request.message.page_size / 10 + 1
//! ```
//!
//! A text is an expression, whatever is in it; what it means is found out when the descriptors are there.

use super::expression::Expression;
use super::finding::Report;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::condition::COUNT_MAX;

/// Units that a call takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    Units(u64),
    Counted(Expression),
}

const EXPECTED: &str = "an expression such as `request.message.page_size / 10 + 1`";

impl Cost {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let units = value::integer(1..=COUNT_MAX);
        match node.value {
            Value::Text(_) => Expression::read(EXPECTED, node, report).map(Self::Counted),
            Value::Unwritten => {
                Expression::read(EXPECTED, node, report);
                units(node, report).map(Self::Units)
            }
            Value::Integer(_) => units(node, report).map(Self::Units),
            _ => value::expected(node, report, &format!("a whole number, or {EXPECTED}")),
        }
    }
}
