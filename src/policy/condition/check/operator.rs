//! Operators and the types that they take.

use super::super::error::Problem;
use super::super::node::Node;
use super::super::syntax::{Expr, Operator};
use super::super::types::Type;
use super::super::vocabulary::Variable;
use super::{Checked, Checker};

impl Checker<'_> {
    pub(super) fn negate(&mut self, offset: usize, operand: &Expr) -> Checked {
        let checked = self.check(operand);
        if !matches!(checked.of, Type::Int | Type::Double | Type::Dyn) {
            let (what, expected) = ("`-`".to_owned(), "int or double".to_owned());
            self.refuse(offset, Problem::Operand { what, expected, found: checked.of.to_string() });
        }
        self.fold(offset, Node::Negate(Box::new(checked.node)), checked.of)
    }

    pub(super) fn binary(&mut self, offset: usize, operator: Operator, left: &Expr, right: &Expr) -> Checked {
        let (one, other) = (self.check(left), self.check(right));
        if operator == Operator::In && matches!(other.node, Node::Variable(Variable::Headers)) {
            self.header_name(left.offset, &one.node);
        }
        let of = outcome(operator, &one.of, &other.of).unwrap_or_else(|| {
            let (left, right) = (one.of.to_string(), other.of.to_string());
            self.refuse(offset, Problem::Operator { operator: operator.symbol(), left, right });
            Type::Dyn
        });
        self.fold(offset, Node::Binary(operator, Box::new([one.node, other.node])), of)
    }
}

/// The type of what an operator makes of two; `None` where it does not apply.
fn outcome(operator: Operator, left: &Type, right: &Type) -> Option<Type> {
    use Operator::{Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, NotEqual};
    match operator {
        Equal | NotEqual => left.agrees(right).then_some(Type::Bool),
        In => {
            let holds = match right {
                Type::List(item) => left.agrees(item),
                Type::Map(key, _) => left.agrees(key),
                Type::Dyn => true,
                _ => false,
            };
            holds.then_some(Type::Bool)
        }
        Less | LessOrEqual | Greater | GreaterOrEqual => {
            let is_ordered = |of: &Type| !matches!(of, Type::Null | Type::List(_) | Type::Map(..));
            let agree = left.agrees(right) || left.is_number() && right.is_number();
            (agree && is_ordered(left) && is_ordered(right)).then_some(Type::Bool)
        }
        _ => arithmetic(operator, left, right),
    }
}

fn arithmetic(operator: Operator, left: &Type, right: &Type) -> Option<Type> {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    use Type::{Bytes, Double, Duration, Dyn, Int, List, Text, Timestamp, Uint};
    // Each row is the two operands and the outcome.
    let mut fits = Vec::new();
    let mut row = |one: &Type, other: &Type, makes: Type| {
        if one.agrees(left) && other.agrees(right) && !fits.contains(&makes) {
            fits.push(makes);
        }
    };
    row(&Int, &Int, Int);
    row(&Uint, &Uint, Uint);
    match operator {
        Add | Subtract | Multiply | Divide => row(&Double, &Double, Double),
        _ => {}
    }
    match operator {
        Add => {
            row(&Text, &Text, Text);
            row(&Bytes, &Bytes, Bytes);
            row(&Timestamp, &Duration, Timestamp);
            row(&Duration, &Timestamp, Timestamp);
            row(&Duration, &Duration, Duration);
        }
        Subtract => {
            row(&Timestamp, &Timestamp, Duration);
            row(&Timestamp, &Duration, Timestamp);
            row(&Duration, &Duration, Duration);
        }
        Multiply | Divide | Remainder => {}
        _ => return None,
    }
    if operator == Add
        && let (List(one), List(other)) = (left, right)
    {
        return Some(Type::list((**one).clone().join((**other).clone())));
    }
    let may_be_list = |of: &Type| matches!(of, List(_) | Dyn);
    if operator == Add && may_be_list(left) && may_be_list(right) {
        fits.push(Type::list(Dyn));
    }
    match fits.len() {
        0 => None,
        1 => fits.pop(),
        _ => Some(Dyn),
    }
}
