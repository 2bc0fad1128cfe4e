//! From a [`Mask`] to the [`Selection`] of one message type: names become indexes of its plan.
//!
//! A path goes down through messages, through those in lists and through the values of maps; it ends
//! anywhere. Types with a JSON form of their own have no fields in JSON: they are shown whole or not at all.

use super::mask::{Mask, Mode};
use super::{Choice, Selection};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, MessageId, MessagePlan, Shape, WellKnown};

/// What a mask is for one message type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// `None`: every field is shown.
    pub selection: Option<Selection>,
    /// What became of each path, in the order of the mask.
    pub outcomes: Vec<Outcome>,
}

/// What became of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Found,
    /// The message has no field of the path's first name: it is meant for another one.
    Elsewhere,
    /// The first name is one of its fields, and the rest does not lead on from there.
    Wrong(PathError),
}

/// Why a path does not lead to a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{message}` has no field `{name}`")]
    UnknownField { message: String, name: String },
    #[error("`{name}` of `{message}` holds no message")]
    NoMessage { message: String, name: String },
    #[error("`{name}` of `{message}` is a `{of}`: it is shown whole or not at all")]
    OwnForm { message: String, name: String, of: String },
}

impl Selection {
    /// Looks the paths of a mask up in a message type.
    ///
    /// The selection holds whatever became of the paths: one that is wrong selects nothing, so that under
    /// [`Mode::Include`] it shows nothing either; under [`Mode::Exclude`] it hides nothing, and the caller must
    /// not serve with it.
    pub fn compile(schema: &Schema, message: MessageId, mask: &Mask) -> Compiled {
        let plan = schema.message(message);
        let mut selection = Self::uniform(plan, mask.mode);
        let outcomes: Vec<_> = mask
            .paths
            .iter()
            .map(|path| match path.names.first() {
                Some(first) if has_fields(plan) && position(plan, first).is_some() => {
                    match selection.set(schema, plan, &path.names, mask.mode) {
                        Ok(()) => Outcome::Found,
                        Err(error) => Outcome::Wrong(error),
                    }
                }
                _ => Outcome::Elsewhere,
            })
            .collect();
        let shows_all = mask.mode == Mode::Exclude && !outcomes.contains(&Outcome::Found);
        Compiled { selection: (!shows_all).then_some(selection), outcomes }
    }

    /// All fields, or none, as they are before a mask names any.
    fn uniform(plan: &MessagePlan, mode: Mode) -> Self {
        let choice = match mode {
            Mode::Include => Choice::Hidden,
            Mode::Exclude => Choice::Whole,
        };
        Self { choices: vec![choice; plan.fields.len()].into() }
    }

    fn set(
        &mut self,
        schema: &Schema,
        plan: &MessagePlan,
        names: &[String],
        mode: Mode,
    ) -> Result<(), PathError> {
        let [name, below @ ..] = names else { return Ok(()) };
        let unknown =
            || PathError::UnknownField { message: plan.full_name.to_string(), name: name.to_owned() };
        let index = position(plan, name).ok_or_else(unknown)?;
        let (Some(choice), Some(field)) = (self.choices.get_mut(index), plan.fields.get(index)) else {
            return Err(unknown());
        };
        if below.is_empty() {
            *choice = match mode {
                Mode::Include => Choice::Whole,
                Mode::Exclude => Choice::Hidden,
            };
            return Ok(());
        }
        let held = held(schema, plan, field)?;
        let mut part = match choice {
            Choice::Part(part) => part.clone(),
            _ => Self::uniform(held, mode),
        };
        part.set(schema, held, below, mode)?;
        *choice = Choice::Part(part);
        Ok(())
    }
}

/// Where the field stands that is declared under this name.
///
/// Not [`MessagePlan::by_name`]: a JSON name may be the declared name of another field, and hide that one.
fn position(plan: &MessagePlan, name: &str) -> Option<usize> {
    plan.fields.iter().position(|field| *field.name == *name)
}

/// The type of the messages in a field: of its own, of its list's, of the values of its map.
fn held<'s>(schema: &'s Schema, plan: &MessagePlan, field: &FieldPlan) -> Result<&'s MessagePlan, PathError> {
    let (message, name) = (plan.full_name.to_string(), field.name.to_string());
    let own = field.kind.message().map(|id| schema.message(id));
    let held = match field.shape {
        // An entry's key is its field 1, its value its field 2.
        Shape::Map => own.and_then(|entry| entry.fields.get(1)?.kind.message()).map(|id| schema.message(id)),
        _ => own,
    };
    match held {
        None => Err(PathError::NoMessage { message, name }),
        Some(held) if !has_fields(held) => {
            Err(PathError::OwnForm { message, name, of: held.full_name.to_string() })
        }
        Some(held) => Ok(held),
    }
}

/// Whether the JSON form of a type is an object of its fields.
fn has_fields(plan: &MessagePlan) -> bool {
    plan.well_known == WellKnown::No
}
