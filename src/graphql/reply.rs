//! How the reply of a root field is written, which its document keeps: arguments have no say in it, and variables only
//! where a directive asks them.

use std::sync::{Arc, OnceLock};

use super::cost::Cost;
use super::document::Location;
use super::document::ast::{Argument, Ast, Directive, LiteralKind, OperationDefinition, Selection};
use super::projection::{Form, Renamed};
use super::read_mask::ReadMask;

/// The plan of a reply.
#[derive(Debug)]
pub(super) struct Reply {
    pub form: Arc<Form>,
    /// What is to be read, where the method wants to know.
    pub mask: Option<ReadMask>,
    pub traits: Traits,
}

/// What is noticed while a reply is planned.
#[derive(Debug, Default)]
pub(super) struct Traits {
    pub cost: Cost,
    /// Where the first link is selected.
    pub link_at: Option<Location>,
    pub renamed: Renamed,
}

/// The replies of an operation's root fields in response order; `None` of one that is no call.
pub(super) type Replies = Box<[Option<Arc<Reply>>]>;

/// Those of a document's operations that have been planned.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<OnceLock<Replies>>);

impl Kept {
    /// Room for the replies of each operation, or of none where a variable decides what is selected.
    pub(super) fn new(ast: &Ast) -> Self {
        let fragments = ast.fragments.iter().map(|fragment| &fragment.selections);
        let mut sets = ast.operations.iter().map(|operation| &operation.selections).chain(fragments);
        if sets.any(|set| depends_on_variables(set)) {
            return Self::default();
        }
        Self(ast.operations.iter().map(|_| OnceLock::new()).collect())
    }

    /// The place of an operation's replies.
    pub(super) fn of(&self, ast: &Ast, operation: &OperationDefinition) -> Option<&OnceLock<Replies>> {
        let index = ast.operations.iter().position(|own| std::ptr::eq(own, operation))?;
        self.0.get(index)
    }
}

/// What is written is bounded in depth.
fn depends_on_variables(selections: &[Selection]) -> bool {
    let is_variable = |argument: &Argument| matches!(argument.value.kind, LiteralKind::Variable(_));
    let asks = |directive: &Directive| directive.arguments.iter().any(is_variable);
    selections.iter().any(|selection| {
        let below: &[Selection] = match selection {
            Selection::Field(field) => &field.selections,
            Selection::Inline { selections, .. } => selections,
            Selection::Spread { .. } => &[],
        };
        selection.directives().iter().any(asks) || depends_on_variables(below)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::options::JsonOptions;
    use crate::graphql::coerce::Coercer;
    use crate::graphql::document::{Bounds, Document};
    use crate::graphql::introspect::BYTES_MAX;
    use crate::graphql::plan::{Operation, Planner};
    use crate::graphql::tests::LIBRARY;

    /// Plans an operation with these variables, at most so many objects in its reply.
    fn planned(document: &Document, variables: &str, cost_max: u64) -> Option<Operation> {
        let (schema, model) = &*LIBRARY;
        let options = JsonOptions::default();
        let definition = document.operation(None).expect("the only one");
        let variables = serde_json::from_str(variables).expect("JSON");
        let variables = Coercer { model, schema }.variables(definition, &variables).expect("their types fit");
        let planner = Planner {
            model,
            schema,
            options: &options,
            cost_max,
            introspection_bytes_max: BYTES_MAX,
            read_masks: false,
        };
        planner.plan(document, definition, &variables).ok()
    }

    fn form(operation: &Operation) -> Arc<Form> {
        Arc::clone(&operation.roots[0].root.form)
    }

    fn read(text: &str) -> Document {
        let (schema, model) = &*LIBRARY;
        Document::read(text, model, schema, &Bounds::default()).expect(text)
    }

    #[test]
    fn a_reply_is_planned_once_whatever_the_arguments_are() {
        let document = read("query($n: Int) { listBooks(pageSize: $n) { books { name } } }");
        let [few, none, many] = [r#"{"n": 5}"#, "{}", r#"{"n": 50}"#]
            .map(|variables| planned(&document, variables, 1000).expect("within the bound"));
        assert!(Arc::ptr_eq(&form(&few), &form(&many)) && Arc::ptr_eq(&form(&none), &form(&many)));
        // A call, its reply, and the books of a page.
        assert_eq!([few, none, many].map(|operation| operation.roots[0].cost), [7, 12, 52]);
        // The bound holds for a reply that is known, too.
        assert!(planned(&document, r#"{"n": 50}"#, 52).is_some());
        assert!(planned(&document, r#"{"n": 50}"#, 51).is_none());
    }

    #[test]
    fn what_variables_select_is_planned_each_time() {
        let check = |text: &str| {
            let document = read(text);
            let [with, without] = [r#"{"is": true}"#, r#"{"is": false}"#]
                .map(|variables| planned(&document, variables, 1000).expect("within the bound"));
            assert!(!Arc::ptr_eq(&form(&with), &form(&without)), "{text}");
            assert_ne!(format!("{:?}", form(&with)), format!("{:?}", form(&without)), "{text}");
        };
        check("query($is: Boolean!) { listBooks { books { name title @include(if: $is) } } }");
        check("query($is: Boolean!) { listBooks { books { name ... @skip(if: $is) { title } } } }");
        check(
            "query($is: Boolean!) { ...F } fragment F on Query { listBooks { books { name title @skip(if: $is) } } }",
        );
    }

    #[test]
    fn operations_of_one_fragment_have_replies_of_their_own() {
        let document = read(
            "query A { ...F } query B { ...F listBooks { books { title } } }
             fragment F on Query { listBooks { books { name } } }",
        );
        let (schema, model) = &*LIBRARY;
        let options = JsonOptions::default();
        let planner = Planner {
            model,
            schema,
            options: &options,
            cost_max: 1000,
            introspection_bytes_max: BYTES_MAX,
            read_masks: false,
        };
        let forms = ["A", "B", "A", "B"].map(|name| {
            let definition = document.operation(Some(name)).expect("it is there");
            let variables = Coercer { model, schema }.variables(definition, &serde_json::Map::new());
            form(&planner.plan(&document, definition, &variables.expect("none")).expect(name))
        });
        let [a, b, a_again, b_again] = &forms;
        assert!(Arc::ptr_eq(a, a_again) && Arc::ptr_eq(b, b_again));
        assert_ne!(format!("{a:?}"), format!("{b:?}"));
    }
}
