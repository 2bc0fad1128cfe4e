//! The values that a template's variables took from a path.

use smallvec::SmallVec;

use super::binding::{Capture, Span};
use super::path::Path;
use super::percent;

/// Decoded values, in the order of the template's variables; empty when it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    /// All values in a row: one allocation however many there are.
    text: String,
    /// Where each value ends in `text`.
    ends: SmallVec<[usize; 4]>,
}

impl Captures {
    /// Takes the values of a path that the template matches.
    pub(super) fn take(path: &Path<'_>, captures: &[Capture], span: Span) -> Self {
        let mut taken = Self::default();
        let length = path.len();
        for capture in captures {
            let text = path.text(span.locate(capture.start, length), span.locate(capture.end, length));
            if path.is_special() {
                percent::decode_into(text, capture.decode, &mut taken.text);
            } else {
                taken.text.push_str(text);
            }
            taken.ends.push(taken.text.len());
        }
        taken
    }

    /// The values, in the order of the template's variables.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end])
    }
}
