//! Tokens → tree, by precedence; bounded in depth and parts, so that no text can exhaust the stack.

use super::super::error::{ConditionError, Problem};
use super::super::{DEPTH_MAX, PARTS_MAX, TEXT_BYTES_MAX};
use super::token::{self, Token, TokenKind};
use super::{Expr, Kind, Literal, Operator};

/// The tree of a whole text.
pub(in super::super) fn parse(text: &str) -> Result<Expr, ConditionError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Problem::TooLong { bytes: text.len(), max: TEXT_BYTES_MAX }.at(0));
    }
    let (token, end) = token::next(text, 0)?;
    let mut parser = Parser { text, token, end, depth: 0, parts: 0 };
    let expr = parser.expression()?;
    match parser.token.kind {
        TokenKind::End => Ok(expr),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// The token that is looked at, not yet taken.
    token: Token<'t>,
    /// Where it ends.
    end: usize,
    depth: u16,
    parts: usize,
}

type Parsed = Result<Expr, ConditionError>;

/// From the loosest to the tightest; all of them associate to the left.
const LEVELS: [&[(&str, Operator)]; 3] = [
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        ("<=", Operator::LessOrEqual),
        (">", Operator::Greater),
        (">=", Operator::GreaterOrEqual),
        ("in", Operator::In),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

impl<'t> Parser<'t> {
    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Problem::TooDeep { max: DEPTH_MAX }.at(self.token.offset));
        }
        let test = self.logic("||")?;
        let offset = self.token.offset;
        let expr = if self.take("?")? {
            let then = self.logic("||")?;
            self.demand(":", "`:` and what holds otherwise")?;
            let otherwise = self.expression()?;
            self.node(offset, Kind::If(Box::new([test, then, otherwise])))?
        } else {
            test
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// `a || b || c` is one node, and so is what stands between, of `&&`.
    fn logic(&mut self, symbol: &str) -> Parsed {
        let first = self.logic_operand(symbol)?;
        let offset = self.token.offset;
        if !self.is(symbol) {
            return Ok(first);
        }
        let mut operands = vec![first];
        while self.take(symbol)? {
            operands.push(self.logic_operand(symbol)?);
        }
        self.node(offset, if symbol == "||" { Kind::Any(operands) } else { Kind::All(operands) })
    }

    fn logic_operand(&mut self, symbol: &str) -> Parsed {
        if symbol == "||" { self.logic("&&") } else { self.binary(&LEVELS) }
    }

    fn binary(&mut self, levels: &[&[(&str, Operator)]]) -> Parsed {
        let Some((level, tighter)) = levels.split_first() else { return self.unary() };
        let mut left = self.binary(tighter)?;
        while let Some((symbol, operator)) = level.iter().find(|(symbol, _)| self.is(symbol)) {
            let offset = self.token.offset;
            self.take(symbol)?;
            let right = self.binary(tighter)?;
            left = self.node(offset, Kind::Binary(*operator, Box::new([left, right])))?;
        }
        Ok(left)
    }

    /// Signs cancel in pairs, as in `!!a`; the last of them belongs to a number that follows it.
    fn unary(&mut self) -> Parsed {
        let offset = self.token.offset;
        let Some(sign) = ["!", "-"].into_iter().find(|sign| self.is(sign)) else { return self.member(None) };
        let (mut is_odd, mut last) = (false, offset);
        while self.is(sign) {
            last = self.token.offset;
            is_odd = !is_odd;
            self.take(sign)?;
        }
        let is_number = matches!(self.token.kind, TokenKind::Int(_) | TokenKind::Literal(Literal::Double(_)));
        if sign == "-" && is_number {
            let negated = self.member(Some(last))?;
            return if is_odd { Ok(negated) } else { self.node(offset, Kind::Negate(Box::new(negated))) };
        }
        let operand = self.member(None)?;
        match (is_odd, sign) {
            // Twice is not the same as not at all: the operand's type is still checked.
            (false, _) => {
                let once = self.node(last, signed(sign, operand))?;
                self.node(offset, signed(sign, once))
            }
            (true, _) => self.node(offset, signed(sign, operand)),
        }
    }

    /// A value and what is selected of it. `minus` is the sign of a number, and where it stands.
    fn member(&mut self, minus: Option<usize>) -> Parsed {
        let mut expr = self.primary(minus)?;
        loop {
            let offset = self.token.offset;
            if self.take(".")? {
                let name = self.selector()?;
                expr = if self.is("(") {
                    let arguments = self.arguments()?;
                    let target = Some(Box::new(expr));
                    self.node(name.0, Kind::Call { name: name.1.into(), target, arguments })?
                } else {
                    self.node(name.0, Kind::Select(Box::new(expr), name.1.into()))?
                };
            } else if self.take("[")? {
                if self.is("?") {
                    return Err(Problem::Unserved("optional values are not served").at(self.token.offset));
                }
                let index = self.expression()?;
                self.demand("]", "`]`")?;
                expr = self.node(offset, Kind::Index(Box::new([expr, index])))?;
            } else {
                return Ok(expr);
            }
        }
    }

    /// The name behind a dot; words that are reserved may stand here.
    fn selector(&mut self) -> Result<(usize, &'t str), ConditionError> {
        match self.token.kind {
            TokenKind::Name(name) => {
                let offset = self.token.offset;
                self.advance()?;
                Ok((offset, name))
            }
            TokenKind::Symbol("?") => {
                Err(Problem::Unserved("optional values are not served").at(self.token.offset))
            }
            _ => Err(self.unexpected("the name of a field or function")),
        }
    }

    fn primary(&mut self, minus: Option<usize>) -> Parsed {
        let offset = minus.unwrap_or(self.token.offset);
        match std::mem::replace(&mut self.token.kind, TokenKind::End) {
            TokenKind::Int(text) => {
                let value = token::int(text, minus.is_some());
                let value = value.ok_or_else(|| Problem::Number(text.to_owned()).at(offset))?;
                self.advance()?;
                self.node(offset, Kind::Literal(Literal::Int(value)))
            }
            TokenKind::Literal(Literal::Double(value)) if minus.is_some() => {
                self.advance()?;
                self.node(offset, Kind::Literal(Literal::Double(-value)))
            }
            TokenKind::Literal(literal) => {
                self.advance()?;
                self.node(offset, Kind::Literal(literal))
            }
            TokenKind::Name(name) if token::is_reserved(name) => {
                Err(Problem::Reserved(name.to_owned()).at(offset))
            }
            TokenKind::Name(name) => self.name(offset, name),
            TokenKind::Symbol(symbol) => {
                self.token.kind = TokenKind::Symbol(symbol);
                self.grouped(offset)
            }
            TokenKind::End => Err(self.unexpected("an expression")),
        }
    }

    fn name(&mut self, offset: usize, name: &str) -> Parsed {
        self.advance()?;
        if self.is("(") {
            let arguments = self.arguments()?;
            return self.node(offset, Kind::Call { name: name.into(), target: None, arguments });
        }
        if self.is("{") {
            return Err(Problem::Unserved("messages are not constructed").at(self.token.offset));
        }
        self.node(offset, Kind::Name(name.into()))
    }

    fn grouped(&mut self, offset: usize) -> Parsed {
        if self.take("(")? {
            let expr = self.expression()?;
            self.demand(")", "`)`")?;
            return Ok(expr);
        }
        if self.take("[")? {
            let items = self.items("]", Self::expression)?;
            return self.node(offset, Kind::List(items));
        }
        if self.take("{")? {
            let entries = self.items("}", |parser| {
                let key = parser.expression()?;
                parser.demand(":", "`:` and the value of the key")?;
                Ok((key, parser.expression()?))
            })?;
            return self.node(offset, Kind::Map(entries));
        }
        Err(self.unexpected("an expression"))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, ConditionError> {
        self.demand("(", "`(`")?;
        if self.take(")")? {
            return Ok(Vec::new());
        }
        let mut arguments = vec![self.expression()?];
        while self.take(",")? {
            arguments.push(self.expression()?);
        }
        self.demand(")", "`,` or `)`")?;
        Ok(arguments)
    }

    /// What stands between commas up to `close`; a comma may stand before that.
    fn items<T>(
        &mut self,
        close: &'static str,
        item: impl Fn(&mut Self) -> Result<T, ConditionError>,
    ) -> Result<Vec<T>, ConditionError> {
        let mut items = Vec::new();
        while !self.take(close)? {
            if self.is("?") {
                return Err(Problem::Unserved("optional values are not served").at(self.token.offset));
            }
            items.push(item(self)?);
            if !self.take(",")? {
                self.demand(close, if close == "]" { "`,` or `]`" } else { "`,` or `}`" })?;
                break;
            }
        }
        Ok(items)
    }

    fn node(&mut self, offset: usize, kind: Kind) -> Parsed {
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(Problem::TooManyParts { max: PARTS_MAX }.at(offset));
        }
        let height = 1 + below(&kind);
        if height > DEPTH_MAX {
            return Err(Problem::TooDeep { max: DEPTH_MAX }.at(offset));
        }
        Ok(Expr { offset, height, kind })
    }

    fn is(&self, symbol: &str) -> bool {
        matches!(self.token.kind, TokenKind::Symbol(found) if found == symbol)
    }

    fn take(&mut self, symbol: &str) -> Result<bool, ConditionError> {
        let is = self.is(symbol);
        if is {
            self.advance()?;
        }
        Ok(is)
    }

    fn demand(&mut self, symbol: &str, expected: &'static str) -> Result<(), ConditionError> {
        if self.take(symbol)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn advance(&mut self) -> Result<(), ConditionError> {
        (self.token, self.end) = token::next(self.text, self.end)?;
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> ConditionError {
        let found = match &self.text[self.token.offset..self.end] {
            "" => "the end".to_owned(),
            found => format!("`{found}`"),
        };
        Problem::Unexpected { expected, found }.at(self.token.offset)
    }
}

fn signed(sign: &str, operand: Expr) -> Kind {
    if sign == "!" { Kind::Not(Box::new(operand)) } else { Kind::Negate(Box::new(operand)) }
}

/// The height of the highest part of a node.
fn below(kind: &Kind) -> u16 {
    let highest = |parts: &[Expr]| parts.iter().map(|part| part.height).max().unwrap_or(0);
    match kind {
        Kind::Literal(_) | Kind::Name(_) => 0,
        Kind::Select(operand, _) | Kind::Not(operand) | Kind::Negate(operand) => operand.height,
        Kind::Index(parts) | Kind::Binary(_, parts) => highest(&**parts),
        Kind::If(parts) => highest(&**parts),
        Kind::All(parts) | Kind::Any(parts) | Kind::List(parts) => highest(parts),
        Kind::Call { target, arguments, .. } => {
            target.as_ref().map_or(0, |target| target.height).max(highest(arguments))
        }
        Kind::Map(entries) => {
            entries.iter().map(|(key, value)| key.height.max(value.height)).max().unwrap_or(0)
        }
    }
}
