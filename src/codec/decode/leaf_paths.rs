//! The leaf paths of a JSON object: the `update_mask` that a PATCH without one means (AIP-134).
//!
//! A leaf is what is not itself a message with fields: scalars, maps and lists as a whole, types with a
//! JSON form of their own, `null`, and the empty object, which stands for the message it empties.

use super::error::{Failure, Result, shown};
use super::scan::Scanner;
use crate::codec::options::{JsonOptions, Unknown};
use crate::schema::Schema;
use crate::schema::plan::{FieldPlan, MessageId, MessagePlan, WellKnown};
use crate::status::Status;

/// Bytes of all paths together: each leaf repeats the names that lead to it, so that deep JSON could
/// otherwise grow a hundredfold.
const MASK_BYTES_MAX: usize = 1 << 20;

/// The paths, dotted proto names in the order of the text, that a PATCH with this JSON sets.
///
/// Values are not looked into further than that: [`super::json_to_wire`] judges them.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for what is not JSON, not an object, a name that is unknown and not ignored, or
/// paths of more than 1 MiB together.
pub fn leaf_paths(
    schema: &Schema,
    message: MessageId,
    options: &JsonOptions,
    json: &[u8],
) -> std::result::Result<Vec<String>, Status> {
    let mut paths = Vec::new();
    Scanner::new(json, options.depth_max)
        .and_then(|scan| {
            let mut walk = Walk { schema, options, scan, prefix: String::new(), paths: &mut paths, bytes: 0 };
            walk.members(schema.message(message))?;
            walk.scan.end()
        })
        .map_err(|failure| failure.into_status(json))?;
    Ok(paths)
}

struct Walk<'a> {
    schema: &'a Schema,
    options: &'a JsonOptions,
    scan: Scanner<'a>,
    /// The path of the object being read, with a dot behind it.
    prefix: String,
    paths: &'a mut Vec<String>,
    bytes: usize,
}

impl<'a> Walk<'a> {
    fn members(&mut self, plan: &'a MessagePlan) -> Result<()> {
        self.scan.open(b'{', "expected an object")?;
        if self.scan.closes_at_once(b'}') {
            return Ok(());
        }
        loop {
            let name = self.scan.string("expected a name in quotes")?;
            self.scan.colon()?;
            match plan.by_name(&name).and_then(|index| plan.fields.get(index)) {
                Some(field) => self.field(field).map_err(|failure| failure.in_field(field))?,
                None if self.options.unknown == Unknown::Ignore => self.scan.skip()?,
                None => {
                    let what = format!("`{}` has no such field", plan.full_name);
                    return Err(Failure::value(what).in_name(&shown(&name)));
                }
            }
            if !self.scan.another(b'}')? {
                return Ok(());
            }
        }
    }

    fn field(&mut self, field: &'a FieldPlan) -> Result<()> {
        let plan = field.kind.message().map(|id| self.schema.message(id));
        let nested = plan.filter(|plan| plan.well_known == WellKnown::No && !field.is_repeated());
        match nested {
            Some(plan) if self.scan.peek() == b'{' => {
                let (len, count) = (self.prefix.len(), self.paths.len());
                self.prefix.push_str(&field.name);
                self.prefix.push('.');
                self.members(plan)?;
                self.prefix.truncate(len);
                if self.paths.len() == count {
                    self.leaf(field)?;
                }
                Ok(())
            }
            _ => {
                self.leaf(field)?;
                self.scan.skip()
            }
        }
    }

    fn leaf(&mut self, field: &FieldPlan) -> Result<()> {
        self.bytes += self.prefix.len() + field.name.len();
        if self.bytes > MASK_BYTES_MAX {
            return Err(Failure::value("more fields are set than a mask can name: send an `update_mask`"));
        }
        self.paths.push(format!("{}{}", self.prefix, field.name));
        Ok(())
    }
}
