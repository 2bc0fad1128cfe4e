//! What of a message is written: a [`Selection`], fields of a plan without names.
//!
//! ```text
//! text → Mask (names, positions) ── with a schema and a type ──▶ Selection (indexes) → encode
//! ```
//!
//! A selection is a plan with fewer fields: whoever makes one looks names up once, `encode` only counts. What
//! is not selected is skipped on the wire and never decoded. It says nothing of unknown fields,
//! which JSON does not have, and whatever is in doubt is hidden.

mod compile;
mod mask;
#[cfg(test)]
mod tests;

pub use compile::{Compiled, Outcome, PathError};
pub use mask::{DEPTH_MAX, Mask, MaskError, MaskProblem, Mode, PATHS_MAX, Path};

/// The fields of one message type that are written, by their index in its plan.
///
/// It belongs to that type: with another one it would select other fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    choices: Box<[Choice]>,
}

/// What of one field is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nothing, not even that it is absent.
    Hidden,
    Whole,
    /// Of the message that it holds, of every one in its list, or of every value of its map: this much.
    Part(Selection),
}

impl Selection {
    /// What of the field at `index` of the plan is written; nothing of one that the plan does not have.
    #[inline]
    pub fn choice(&self, index: usize) -> &Choice {
        self.choices.get(index).unwrap_or(&Choice::Hidden)
    }

    /// Whether the field at `index` is written at all.
    #[inline]
    pub fn shows(&self, index: usize) -> bool {
        !matches!(self.choice(index), Choice::Hidden)
    }
}
