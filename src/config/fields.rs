//! `fields`: the fields of replies that are shown, or with `-` those that are not.
//!
//! ```yaml
//! fields: "-order.internal_notes"
//! fields: [order.id, order.state, orders.id]
//! ```
//!
//! The grammar is that of `codec::selection`. What the paths lead to is only known with the descriptors, so
//! that every path keeps its place in the file.

use super::expression::Expression;
use super::finding::{Position, Report};
use super::value;
use super::yaml::Node;
use crate::codec::selection::Mask;

/// A field mask, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    pub mask: Mask,
    pub position: Position,
    /// Where each path of the mask begins.
    pub places: Vec<Position>,
}

impl Fields {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let texts = value::one_or_more("path", Expression::text)(node, report)?;
        if texts.is_empty() {
            return None;
        }
        let joined: Vec<&str> = texts.iter().map(|text| text.text.as_str()).collect();
        let place = |offset| place(&texts, offset);
        match Mask::parse(&joined.join(",")) {
            Ok(mask) => {
                let places = mask.paths.iter().map(|path| place(path.offset)).collect();
                Some(Self { mask, position: node.position, places })
            }
            Err(errors) => {
                for error in errors {
                    report.add(place(error.offset), error.to_string());
                }
                None
            }
        }
    }
}

/// Where a byte of the texts stands that are joined by commas.
fn place(texts: &[Expression], offset: usize) -> Position {
    let mut left = offset;
    for text in texts {
        if left <= text.text.len() {
            return text.position_of(left);
        }
        left -= text.text.len() + 1;
    }
    Position::default()
}
