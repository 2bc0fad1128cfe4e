//! What a client sends: a document and its variables, checked before anything is called.
//!
//! ```text
//! text → bytes → tokens → Ast → shape (depth, aliases, cycles) → rules (GraphQL, section 5) → Document
//! JSON + variable definitions → coerced variables
//! ```
//!
//! Every pass is linear in the text or counts its steps: what a few thousand tokens can stand for has no bound, and
//! nobody waits for it. The rules are our own, because a general validator wants a schema that is built whole and
//! spends most of its rules on interfaces and unions, of which a [`Model`] has none.

mod arguments;
pub mod ast;
mod lex;
mod merge;
mod parse;
mod problem;
mod structure;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::graphql::model::Model;
use crate::graphql::reply::{Kept, Replies};
use crate::schema::Schema;

use ast::{Ast, FragmentDefinition, OperationDefinition};
pub use problem::{Code, Location, Problem};
pub use validate::PROBLEMS_MAX;

/// What a document may be at most; one past it is refused with the bound's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// `DOCUMENT_TOO_LARGE`.
    pub document_bytes_max: usize,
    /// `TOO_MANY_TOKENS`.
    pub tokens_max: usize,
    /// Fields above each other, introspection apart: `DEPTH_LIMIT`.
    pub depth_max: usize,
    /// `ALIAS_LIMIT`.
    pub aliases_max: usize,
    /// Fields of an operation, fragments in place: `ROOT_FIELD_LIMIT`.
    pub root_fields_max: usize,
    /// Objects in the reply, as far as they can be told beforehand: `COST_LIMIT`.
    pub cost_max: u64,
    /// Whether `__schema` and `__type` are answered: `INTROSPECTION_DISABLED`.
    pub introspection: bool,
    /// Fields above each other below `__schema` and `__type`, these included: `DEPTH_LIMIT`.
    pub introspection_depth_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            document_bytes_max: 64 << 10,
            tokens_max: 4000,
            depth_max: 12,
            aliases_max: 30,
            root_fields_max: 20,
            cost_max: 1000,
            introspection: true,
            introspection_depth_max: 15,
        }
    }
}

/// A document that is valid for its model.
#[derive(Debug, Default)]
pub struct Document {
    ast: Ast,
    /// Places of fragments by name.
    fragments: HashMap<Box<str>, usize>,
    replies: Kept,
}

impl Document {
    /// Reads a document and checks it against the model.
    ///
    /// # Errors
    ///
    /// The bound that it is past, or the first that is not well-formed, or everything that is not valid
    /// ([`PROBLEMS_MAX`] at most).
    pub fn read(text: &str, model: &Model, schema: &Schema, bounds: &Bounds) -> Result<Self, Vec<Problem>> {
        let max = bounds.document_bytes_max;
        if text.len() > max {
            let message = format!("the document has {} bytes, at most {max} are allowed", text.len());
            return Err(vec![Problem::nowhere(Code::DocumentTooLarge, message)]);
        }
        let one = |problem| vec![problem];
        let ast = parse::parse(text, bounds.tokens_max).map_err(one)?;
        structure::check(&ast, bounds).map_err(one)?;
        validate::validate(&ast, model, schema)?;
        let names = ast.fragments.iter().enumerate();
        let fragments = names.map(|(place, fragment)| (fragment.name.text.clone(), place)).collect();
        Ok(Self { replies: Kept::new(&ast), ast, fragments })
    }

    pub fn ast(&self) -> &Ast {
        &self.ast
    }

    /// Where the replies of one of its operations are kept, once they are planned.
    pub(super) fn replies(&self, operation: &OperationDefinition) -> Option<&OnceLock<Replies>> {
        self.replies.of(&self.ast, operation)
    }

    pub fn fragment(&self, name: &str) -> Option<&FragmentDefinition> {
        self.ast.fragments.get(*self.fragments.get(name)?)
    }

    /// The operation of this name, or the only one.
    ///
    /// # Errors
    ///
    /// There is none of this name; there are several and no name (GraphQL, section 6.1).
    pub fn operation(&self, name: Option<&str>) -> Result<&OperationDefinition, Problem> {
        let operations = &self.ast.operations;
        let Some(name) = name else {
            return match operations.as_slice() {
                [one] => Ok(one),
                [] => Err(Problem::nowhere(Code::NoOperation, "the document has no operation")),
                _ => {
                    let message = "the document has several operations: `operationName` must name one";
                    Err(Problem::nowhere(Code::NoOperation, message))
                }
            };
        };
        let named = |one: &&OperationDefinition| one.name.as_ref().is_some_and(|own| *own.text == *name);
        operations.iter().find(named).ok_or_else(|| {
            let name: String = name.chars().take(64).collect();
            Problem::nowhere(Code::NoOperation, format!("the document has no operation `{name}`"))
        })
    }
}
