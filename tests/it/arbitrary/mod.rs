//! Arbitrary descriptors, messages and JSON texts, from a [`Dice`](crate::dice::Dice).

pub(crate) mod edition;
pub(crate) mod json;
pub(crate) mod message;
pub(crate) mod schema;
pub(crate) mod wire;
