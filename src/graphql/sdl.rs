//! The schema as people and tools read it: GraphQL's schema definition language (GraphQL, section 3).
//!
//! Types stand in the order of their names, and so do the fields of root types; other fields stand in the order of
//! their numbers. Only what some root field leads to is written.

use std::fmt::{self, Write};

use super::model::{Field, Input, Inputs, Model, Scalar, Source, TypeId, TypeKind, deprecation_reason};
use crate::schema::Schema;
use crate::schema::plan::MessageId;

/// A [`Model`] in the schema definition language, when it is displayed.
#[derive(Clone, Copy, Debug)]
pub struct Sdl<'m> {
    pub model: &'m Model,
    pub schema: &'m Schema,
}

/// Descriptions of one line that are longer stand between lines of their own.
const LINE_BYTES_MAX: usize = 100;

impl fmt::Display for Sdl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for id in self.model.reached(self.schema) {
            if is_language(self.model.get(*id).kind) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                f.write_char('\n')?;
            }
            self.definition(f, *id)?;
        }
        Ok(())
    }
}

/// Whether the language defines the type itself, so that no schema may.
fn is_language(kind: TypeKind) -> bool {
    match kind {
        TypeKind::Scalar(scalar) => scalar.specified_by().is_none(),
        TypeKind::Meta(_) => true,
        _ => false,
    }
}

impl Sdl<'_> {
    fn definition(&self, f: &mut fmt::Formatter<'_>, id: TypeId) -> fmt::Result {
        let Self { model, schema } = *self;
        let one = model.get(id);
        let name = &one.name;
        describe(f, "", &model.type_description(schema, id))?;
        match one.kind {
            TypeKind::Scalar(scalar) => scalar_definition(f, scalar),
            TypeKind::Enum(_) => self.enumeration(f, id),
            TypeKind::Input(message) => {
                let inputs = model.inputs(schema, id);
                writeln!(f, "input {name}{} {{", if inputs.is_one_of { " @oneOf" } else { "" })?;
                self.input_fields(f, "  ", inputs, message)?;
                f.write_str("}\n")
            }
            TypeKind::Object(_) | TypeKind::Root(_) | TypeKind::Meta(_) => {
                writeln!(f, "type {name} {{")?;
                model.fields(schema, id).iter().try_for_each(|field| self.field(f, id, field))?;
                f.write_str("}\n")
            }
        }
    }

    fn enumeration(&self, f: &mut fmt::Formatter<'_>, id: TypeId) -> fmt::Result {
        let Self { model, schema } = *self;
        let one = model.get(id);
        let TypeKind::Enum(enumeration) = one.kind else { return Ok(()) };
        let descriptor = schema.enum_descriptor(enumeration);
        writeln!(f, "enum {} {{", one.name)?;
        for value in model.values(schema, id) {
            let description = model.value_description(schema, descriptor, value);
            describe(f, "  ", &description)?;
            write!(f, "  {}", value.name)?;
            deprecated(f, value.is_deprecated, &description)?;
            f.write_char('\n')?;
        }
        f.write_str("}\n")
    }

    fn field(&self, f: &mut fmt::Formatter<'_>, parent: TypeId, field: &Field) -> fmt::Result {
        let Self { model, schema } = *self;
        let description = model.field_description(schema, parent, field);
        describe(f, "  ", &description)?;
        write!(f, "  {}", field.name)?;
        if let Source::Method(index) = field.source
            && let Some(method) = model.methods().get(index)
        {
            self.arguments(f, model.arguments(schema, field), method.input)?;
        }
        write!(f, ": {}", model.show(field.type_ref))?;
        deprecated(f, model.is_deprecated(schema, field), &description)?;
        f.write_char('\n')
    }

    /// In one line, unless something is said about one of them.
    fn arguments(&self, f: &mut fmt::Formatter<'_>, arguments: &Inputs, request: MessageId) -> fmt::Result {
        if arguments.list.is_empty() {
            return Ok(());
        }
        let is_described =
            |input: &Input| !self.model.input_description(self.schema, request, input).is_empty();
        if arguments.list.iter().any(is_described) {
            f.write_str("(\n")?;
            self.input_fields(f, "    ", arguments, request)?;
            return f.write_str("  )");
        }
        let mut separator = "(";
        for input in &arguments.list {
            write!(f, "{separator}{}: {}", input.name, self.model.show(input.type_ref))?;
            deprecated(f, input.is_deprecated, "")?;
            separator = ", ";
        }
        f.write_char(')')
    }

    fn input_fields(
        &self,
        f: &mut fmt::Formatter<'_>,
        indent: &str,
        inputs: &Inputs,
        message: MessageId,
    ) -> fmt::Result {
        for input in &inputs.list {
            let description = self.model.input_description(self.schema, message, input);
            describe(f, indent, &description)?;
            write!(f, "{indent}{}: {}", input.name, self.model.show(input.type_ref))?;
            deprecated(f, input.is_deprecated, &description)?;
            f.write_char('\n')?;
        }
        Ok(())
    }
}

fn scalar_definition(f: &mut fmt::Formatter<'_>, scalar: Scalar) -> fmt::Result {
    write!(f, "scalar {}", scalar.name())?;
    if let Some(url) = scalar.specified_by() {
        write!(f, " @specifiedBy(url: {})", quoted(url))?;
    }
    f.write_char('\n')
}

fn deprecated(f: &mut fmt::Formatter<'_>, is_deprecated: bool, description: &str) -> fmt::Result {
    if is_deprecated {
        write!(f, " @deprecated(reason: {})", quoted(&deprecation_reason(description)))?;
    }
    Ok(())
}

/// JSON's escapes are GraphQL's.
fn quoted(text: &str) -> impl fmt::Display {
    serde_json::Value::from(text)
}

/// A description as a block string; nothing where there is none.
fn describe(f: &mut fmt::Formatter<'_>, indent: &str, description: &str) -> fmt::Result {
    // What no source may contain (GraphQL of 2021, section 2.1.1) is no text either.
    let is_control = |char: char| char.is_control() && char != '\n' && char != '\t';
    let text = description.replace("\r\n", "\n").replace(is_control, " ").replace("\"\"\"", "\\\"\"\"");
    let text = text.trim_end();
    if text.trim().is_empty() {
        return Ok(());
    }
    let fits = text.len() <= LINE_BYTES_MAX && !text.contains('\n') && !text.ends_with(['"', '\\']);
    if fits && !text.starts_with([' ', '\t', '"']) {
        return writeln!(f, "{indent}\"\"\"{text}\"\"\"");
    }
    writeln!(f, "{indent}\"\"\"")?;
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() { f.write_char('\n')? } else { writeln!(f, "{indent}{line}")? }
    }
    writeln!(f, "{indent}\"\"\"")
}
