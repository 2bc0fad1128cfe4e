//! `Struct`, `Value` and `ListValue`: JSON that travels inside protobuf, as itself.

use super::list::Occurrences;
use super::message::Form;
use super::{Encoder, Fault, Result, Written};
use crate::codec::wire::Reader;
use crate::schema::plan::{FieldPlan, Kind, MessagePlan};

impl Encoder<'_> {
    pub(super) fn structure(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        self.enter()?;
        if self.contents(plan, wire)? == Written::Nothing {
            self.out.extend_from_slice(b"{}");
        }
        self.leave();
        Ok(())
    }

    pub(super) fn list_value(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        self.enter()?;
        if self.contents(plan, wire)? == Written::Nothing {
            self.out.extend_from_slice(b"[]");
        }
        self.leave();
        Ok(())
    }

    /// Writes a `Value`, which is a oneof and nothing else.
    pub(super) fn any_value(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        let mut reader = Reader::new(wire);
        let (number, wire_type) = if wire.is_empty() { (0, 0) } else { reader.tag()? };
        let mut after = reader;
        if let Some(field) = plan.by_number(number).and_then(|index| plan.fields.get(index))
            && Form::of(field, wire_type) == Some(Form::Single)
            && after.skip(number, wire_type).is_ok()
            && after.is_empty()
        {
            check_number(field, reader)?;
            return self.value(field.kind, number, &mut reader).map(drop);
        }
        self.scattered_any_value(plan, wire)
    }

    /// Writes a `Value` that holds more than one thing, or none.
    fn scattered_any_value(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<()> {
        let runs = self.runs(plan, wire, |_, _| true)?;
        let field = runs.first().and_then(|run| plan.fields.get(run.field())).ok_or(Fault::ValueKind)?;
        if field.kind == Kind::Double
            && let Some(last) = self.last(&mut Occurrences::within(field, wire, &runs))?
        {
            check_number(field, last)?;
        }
        self.scattered_value(field, wire, &runs).map(drop)
    }

    /// Writes field 1 of `Struct` or `ListValue`.
    fn contents(&mut self, plan: &MessagePlan, wire: &[u8]) -> Result<Written> {
        match plan.by_number(1).and_then(|index| plan.fields.get(index)) {
            Some(field) if field.is_repeated() => self.many(&mut Occurrences::anywhere(field, wire)),
            _ => Ok(Written::Nothing),
        }
    }
}

/// Refuses NaN and the infinities, for which a JSON value has no number (`google/protobuf/struct.proto`).
fn check_number(field: &FieldPlan, mut reader: Reader<'_>) -> Result<()> {
    match field.kind {
        Kind::Double if !f64::from_bits(reader.fixed64()?).is_finite() => Err(Fault::ValueNumber.into()),
        _ => Ok(()),
    }
}
