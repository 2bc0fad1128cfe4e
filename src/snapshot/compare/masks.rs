//! What is shown of messages, and what another mask hides from clients of GraphQL, whose methods need no binding.

use std::collections::HashMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{Comparison, Seen, Shown, value};
use crate::codec::selection::{Choice, Selection};
use crate::graphql::model::Model;

impl Comparison<'_> {
    /// What masks hide of the replies behind root fields.
    pub(super) fn masks(&mut self, before: &Model, after: &Model) {
        let methods = after.methods().iter().map(|method| ((method.operation, &*method.name), method));
        let methods: HashMap<_, _> = methods.collect();
        for was in before.methods() {
            let Some(is) = methods.get(&(was.operation, &*was.name)) else { continue };
            let [was, is] = [&was.exposed, &is.exposed];
            let [before, after] = [was, is].map(|one| (one.method.output(), one.shown.selection.as_deref()));
            if after.1.is_some() {
                self.hidden(before, after);
            }
        }
    }

    /// As deep as the mask of after goes.
    fn hidden(&mut self, before: Seen<'_>, after: Seen<'_>) {
        let mut pairs = vec![(before, after)];
        while let Some(((before, of_before), (after, of_after))) = pairs.pop() {
            for field in before.fields() {
                let Some(other) = after.get_field_by_name(field.name()) else { continue };
                let was = choice(self.before, &before, of_before, &field);
                match (was, choice(self.after, &after, of_after, &other)) {
                    (Choice::Hidden, _) | (_, Choice::Whole) => {}
                    (_, Choice::Hidden) => {
                        self.lose(format!("`{}` is hidden from replies", field.full_name()));
                    }
                    (_, Choice::Part(selection)) => {
                        if let (Kind::Message(old), Kind::Message(new)) = (value(&field), value(&other)) {
                            pairs.push(((old, part(was)), (new, Some(selection))));
                        }
                    }
                }
            }
        }
    }
}

/// What is shown of a field.
pub(super) fn choice<'s>(
    shown: Shown<'_>,
    message: &MessageDescriptor,
    selection: Option<&'s Selection>,
    field: &FieldDescriptor,
) -> &'s Choice {
    let Some(selection) = selection else { return &Choice::Whole };
    let plan = shown.schema.message_id(message.full_name()).map(|id| shown.schema.message(id));
    let index =
        plan.and_then(|plan| plan.fields.binary_search_by_key(&field.number(), |one| one.number).ok());
    index.map_or(&Choice::Hidden, |index| selection.choice(index))
}

/// What is shown of the message that a field holds.
pub(super) const fn part(choice: &Choice) -> Option<&Selection> {
    match choice {
        Choice::Part(selection) => Some(selection),
        Choice::Hidden | Choice::Whole => None,
    }
}
