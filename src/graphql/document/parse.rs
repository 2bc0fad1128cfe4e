//! Tokens → [`Ast`] (GraphQL, section 2): one token of look-ahead, by recursive descent, as deep as [`NESTING_MAX`].
//!
//! ```text
//! Document   = Definition+
//! Definition = [ String ] ( SelectionSet | Operation | Fragment )         a description only before the latter two
//! Operation  = ("query" | "mutation" | "subscription") [ Name ] [ Variables ] Directive* SelectionSet
//! Fragment   = "fragment" Name "on" Name Directive* SelectionSet          the first name is not "on"
//! Variables  = "(" ( "$" Name ":" Type [ "=" Value ] Directive* )+ ")"
//! Type       = ( Name | "[" Type "]" ) [ "!" ]
//! Selection  = [ Name ":" ] Name [ Arguments ] Directive* [ SelectionSet ]
//!            | "..." Name Directive*
//!            | "..." [ "on" Name ] Directive* SelectionSet
//! Arguments  = "(" ( Name ":" Value )+ ")"
//! Directive  = "@" Name [ Arguments ]
//! Value      = "$" Name | Int | Float | String | "true" | "false" | "null" | Name
//!            | "[" Value* "]" | "{" ( Name ":" Value )* "}"
//! ```

use super::ast::{
    Argument, Ast, DeclaredKind, DeclaredType, Directive, FieldNode, FragmentDefinition, Literal,
    LiteralKind, Name, OperationDefinition, Selection, VariableDefinition,
};
use super::lex::{Lexer, Token, syntax};
use super::problem::{Code, Location, Problem};
use crate::graphql::model::Operation;

/// How deep brackets may be nested, whatever the bound on the depth of a selection.
pub(super) const NESTING_MAX: usize = 100;

/// Reads a document of at most so many tokens.
pub(super) fn parse(text: &str, tokens_max: usize) -> Result<Ast, Problem> {
    let mut lexer = Lexer::new(text, tokens_max);
    let (token, at) = lexer.token()?;
    let mut parser = Parser { lexer, token, at, nesting: 0 };
    let mut ast = Ast::default();
    while parser.token != Token::End {
        parser.definition(&mut ast)?;
    }
    if ast.operations.is_empty() && ast.fragments.is_empty() {
        return Err(syntax("the document is empty".to_owned(), parser.at));
    }
    Ok(ast)
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token<'t>,
    /// Where it begins.
    at: Location,
    nesting: usize,
}

/// Whether a value may have variables in it.
#[derive(Clone, Copy, PartialEq)]
enum Variables {
    Allowed,
    Refused,
}

impl<'t> Parser<'t> {
    fn definition(&mut self, ast: &mut Ast) -> Result<(), Problem> {
        let is_described = matches!(self.token, Token::String(_));
        if is_described {
            self.advance()?;
        }
        let at = self.at;
        match self.token {
            Token::Punctuator(b'{') if !is_described => {
                let selections = self.selection_set()?;
                let (name, variables, directives) = (None, Vec::new(), Vec::new());
                let kind = Operation::Query;
                ast.operations.push(OperationDefinition {
                    kind,
                    name,
                    variables,
                    directives,
                    selections,
                    at,
                });
            }
            Token::Name("fragment") => ast.fragments.push(self.fragment()?),
            Token::Name("query") => ast.operations.push(self.operation(Operation::Query)?),
            Token::Name("mutation") => ast.operations.push(self.operation(Operation::Mutation)?),
            Token::Name("subscription") => ast.operations.push(self.operation(Operation::Subscription)?),
            _ => return Err(self.unexpected("an operation or a fragment")),
        }
        Ok(())
    }

    fn operation(&mut self, kind: Operation) -> Result<OperationDefinition, Problem> {
        let at = self.at;
        self.advance()?;
        let name = if matches!(self.token, Token::Name(_)) { Some(self.name()?) } else { None };
        let mut variables = Vec::new();
        if self.skip(b'(')? {
            while !self.skip(b')')? {
                variables.push(self.variable_definition()?);
            }
            if variables.is_empty() {
                return Err(syntax("expected a variable between the parentheses".to_owned(), at));
            }
        }
        let directives = self.directives(Variables::Allowed)?;
        let selections = self.selection_set()?;
        Ok(OperationDefinition { kind, name, variables, directives, selections, at })
    }

    fn variable_definition(&mut self) -> Result<VariableDefinition, Problem> {
        self.expect(b'$')?;
        let name = self.name()?;
        self.expect(b':')?;
        let declared = self.declared_type()?;
        let default = if self.skip(b'=')? { Some(self.value(Variables::Refused)?) } else { None };
        let directives = self.directives(Variables::Refused)?;
        Ok(VariableDefinition { name, declared, default, directives })
    }

    fn declared_type(&mut self) -> Result<DeclaredType, Problem> {
        let kind = if matches!(self.token, Token::Punctuator(b'[')) {
            self.nested(|parser| {
                parser.expect(b'[')?;
                let inner = parser.declared_type()?;
                parser.expect(b']')?;
                Ok(DeclaredKind::List(Box::new(inner)))
            })?
        } else {
            DeclaredKind::Named(self.name()?)
        };
        Ok(DeclaredType { kind, is_non_null: self.skip(b'!')? })
    }

    fn fragment(&mut self) -> Result<FragmentDefinition, Problem> {
        let at = self.at;
        self.advance()?;
        if self.token == Token::Name("on") {
            return Err(self.unexpected("the name of the fragment"));
        }
        let name = self.name()?;
        if self.token != Token::Name("on") {
            return Err(self.unexpected("`on`"));
        }
        self.advance()?;
        let condition = self.name()?;
        let directives = self.directives(Variables::Allowed)?;
        let selections = self.selection_set()?;
        Ok(FragmentDefinition { name, condition, directives, selections, at })
    }

    fn selection_set(&mut self) -> Result<Vec<Selection>, Problem> {
        self.nested(|parser| {
            parser.expect(b'{')?;
            let mut selections = vec![parser.selection()?];
            while !parser.skip(b'}')? {
                selections.push(parser.selection()?);
            }
            Ok(selections)
        })
    }

    fn selection(&mut self) -> Result<Selection, Problem> {
        let at = self.at;
        if self.token != Token::Spread {
            return self.field();
        }
        self.advance()?;
        let condition = match self.token {
            Token::Name("on") => {
                self.advance()?;
                Some(self.name()?)
            }
            Token::Name(_) => {
                let name = Name { at, ..self.name()? };
                return Ok(Selection::Spread { name, directives: self.directives(Variables::Allowed)? });
            }
            _ => None,
        };
        let directives = self.directives(Variables::Allowed)?;
        let selections = self.selection_set()?;
        Ok(Selection::Inline { condition, directives, selections, at })
    }

    fn field(&mut self) -> Result<Selection, Problem> {
        let at = self.at;
        let first = self.name()?;
        let (alias, name) = if self.skip(b':')? { (Some(first), self.name()?) } else { (None, first) };
        let arguments = self.arguments(Variables::Allowed)?;
        let directives = self.directives(Variables::Allowed)?;
        let selections = match self.token {
            Token::Punctuator(b'{') => self.selection_set()?,
            _ => Vec::new(),
        };
        Ok(Selection::Field(Box::new(FieldNode { alias, name, arguments, directives, selections, at })))
    }

    fn arguments(&mut self, variables: Variables) -> Result<Vec<Argument>, Problem> {
        if !self.skip(b'(')? {
            return Ok(Vec::new());
        }
        let mut arguments = vec![self.argument(variables)?];
        while !self.skip(b')')? {
            arguments.push(self.argument(variables)?);
        }
        Ok(arguments)
    }

    fn argument(&mut self, variables: Variables) -> Result<Argument, Problem> {
        let name = self.name()?;
        self.expect(b':')?;
        Ok(Argument { name, value: self.value(variables)? })
    }

    fn directives(&mut self, variables: Variables) -> Result<Vec<Directive>, Problem> {
        let mut directives = Vec::new();
        while self.skip(b'@')? {
            directives.push(Directive { name: self.name()?, arguments: self.arguments(variables)? });
        }
        Ok(directives)
    }

    fn value(&mut self, variables: Variables) -> Result<Literal, Problem> {
        let at = self.at;
        let kind = match &mut self.token {
            Token::Punctuator(b'[') => return self.nested(|parser| parser.list(variables)),
            Token::Punctuator(b'{') => return self.nested(|parser| parser.object(variables)),
            Token::Punctuator(b'$') if variables == Variables::Allowed => {
                self.advance()?;
                return Ok(Literal { kind: LiteralKind::Variable(self.name()?.text), at });
            }
            Token::Int(text) => LiteralKind::Int((*text).into()),
            Token::Float(text) => LiteralKind::Float((*text).into()),
            Token::String(text) => LiteralKind::String(std::mem::take(text)),
            Token::Name("true") => LiteralKind::Boolean(true),
            Token::Name("false") => LiteralKind::Boolean(false),
            Token::Name("null") => LiteralKind::Null,
            Token::Name(name) => LiteralKind::Enum((*name).into()),
            _ => return Err(self.unexpected("a value")),
        };
        self.advance()?;
        Ok(Literal { kind, at })
    }

    fn list(&mut self, variables: Variables) -> Result<Literal, Problem> {
        let at = self.at;
        self.expect(b'[')?;
        let mut items = Vec::new();
        while !self.skip(b']')? {
            items.push(self.value(variables)?);
        }
        Ok(Literal { kind: LiteralKind::List(items), at })
    }

    fn object(&mut self, variables: Variables) -> Result<Literal, Problem> {
        let at = self.at;
        self.expect(b'{')?;
        let mut members = Vec::new();
        while !self.skip(b'}')? {
            members.push(self.argument(variables)?);
        }
        Ok(Literal { kind: LiteralKind::Object(members), at })
    }

    fn name(&mut self) -> Result<Name, Problem> {
        let Token::Name(text) = self.token else { return Err(self.unexpected("a name")) };
        let name = Name { text: text.into(), at: self.at };
        self.advance()?;
        Ok(name)
    }

    /// Does something one bracket further in.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Problem>) -> Result<T, Problem> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            let message = format!("brackets are nested more than {NESTING_MAX} deep");
            return Err(Problem::new(Code::DepthLimit, message, self.at));
        }
        let value = inner(self)?;
        self.nesting -= 1;
        Ok(value)
    }

    fn advance(&mut self) -> Result<(), Problem> {
        (self.token, self.at) = self.lexer.token()?;
        Ok(())
    }

    fn skip(&mut self, punctuator: u8) -> Result<bool, Problem> {
        let is_here = self.token == Token::Punctuator(punctuator);
        if is_here {
            self.advance()?;
        }
        Ok(is_here)
    }

    fn expect(&mut self, punctuator: u8) -> Result<(), Problem> {
        if self.skip(punctuator)? {
            return Ok(());
        }
        Err(self.unexpected(&format!("`{}`", char::from(punctuator))))
    }

    fn unexpected(&self, expected: &str) -> Problem {
        let found = match &self.token {
            Token::Punctuator(byte) => format!("`{}`", char::from(*byte)),
            Token::Spread => "`...`".to_owned(),
            Token::Name(text) | Token::Int(text) | Token::Float(text) => format!("`{}`", clipped(text)),
            Token::String(_) => "a string".to_owned(),
            Token::End => "the end".to_owned(),
        };
        syntax(format!("expected {expected}, found {found}"), self.at)
    }
}

/// Names and numbers of the client, no longer than a message should be.
fn clipped(text: &str) -> &str {
    text.get(..40).unwrap_or(text)
}
