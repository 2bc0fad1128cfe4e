//! The schemas of values: what the codec writes, and all that it reads.
//!
//! The two differ. A reply has one form for each value, by the JSON options in force; a request may also have
//! 64-bit integers as numbers, any number as a text, enums by name or number, bytes in either alphabet, and
//! `null` for what is absent. A client made from the document sends what is natural in its language, and
//! nothing that is refused.

use super::Direction;
use super::json::{Json, Object, object, texts};
use crate::codec::options::{Int64, JsonOptions};
use crate::schema::plan::{EnumPlan, Kind, WellKnown};

/// The schema of a scalar that is neither enum nor message.
pub(super) fn scalar(kind: Kind, direction: Direction, json: &JsonOptions) -> Object {
    let is_request = direction == Direction::Request;
    match kind {
        Kind::Bool => object("type", "boolean"),
        Kind::String => object("type", "string"),
        Kind::Bytes => bytes(is_request),
        Kind::Float => float("float", is_request.then_some(f64::from(f32::MAX))),
        Kind::Double => float("double", is_request.then_some(f64::MAX)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(&INT32, is_request, false),
        Kind::Uint32 | Kind::Fixed32 => integer(&UINT32, is_request, false),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            integer(&INT64, is_request, json.int64 == Int64::String)
        }
        Kind::Uint64 | Kind::Fixed64 => integer(&UINT64, is_request, json.int64 == Int64::String),
        Kind::Enum(_) | Kind::Message(_) | Kind::Group(_) => Object::new(),
    }
}

/// A kind of integers.
struct Integer {
    format: &'static str,
    min: i128,
    max: i128,
    /// As a text in a request, and in a reply; up to as many digits as the greatest has.
    read: &'static str,
    written: &'static str,
}

const INT32: Integer = Integer {
    format: "int32",
    min: i32::MIN as i128,
    max: i32::MAX as i128,
    read: "^(?:0|-?[1-9][0-9]{0,9})$",
    written: "^-?[0-9]{1,10}$",
};
const UINT32: Integer = Integer {
    format: "uint32",
    min: 0,
    max: u32::MAX as i128,
    read: "^(?:0|[1-9][0-9]{0,9})$",
    written: "^[0-9]{1,10}$",
};
const INT64: Integer = Integer {
    format: "int64",
    min: i64::MIN as i128,
    max: i64::MAX as i128,
    read: "^(?:0|-?[1-9][0-9]{0,18})$",
    written: "^-?[0-9]{1,19}$",
};
const UINT64: Integer = Integer {
    format: "uint64",
    min: 0,
    max: u64::MAX as i128,
    read: "^(?:0|[1-9][0-9]{0,19})$",
    written: "^[0-9]{1,20}$",
};

fn integer(kind: &Integer, is_request: bool, is_text: bool) -> Object {
    let schema = match (is_request, is_text) {
        // The first form is the one that replies have.
        (true, true) => object("type", texts(["string", "integer"])),
        (true, false) => object("type", texts(["integer", "string"])),
        (false, true) => object("type", "string"),
        (false, false) => object("type", "integer"),
    };
    let mut schema = schema.with("format", kind.format);
    if is_request || !is_text {
        schema.set("minimum", kind.min).set("maximum", kind.max);
    }
    if is_request || is_text {
        schema.set("pattern", if is_request { kind.read } else { kind.written });
    }
    schema
}

/// ProtoJSON: `NaN` and the infinities are texts. `max`, of a request: a JSON number that is too large is refused.
fn float(format: &'static str, max: Option<f64>) -> Object {
    const SPECIAL: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
    const READ: &str = "^(?:NaN|-?Infinity|-?(?:0|[1-9][0-9]{0,14})(?:\\.[0-9]{1,15})?(?:[eE][-+]?[0-9])?)$";
    let number = object("type", "number").with("format", format);
    let (number, text) = match max {
        Some(max) => {
            let number = match format {
                "float" => number.with("minimum", Json::Number(-max)).with("maximum", Json::Number(max)),
                _ => number,
            };
            (number, object("type", "string").with("pattern", READ))
        }
        None => (number, object("type", "string").with("enum", texts(SPECIAL))),
    };
    object("anyOf", vec![number.into(), text.into()])
}

/// Both alphabets are read, with or without padding; the standard one is written, with it.
fn bytes(is_request: bool) -> Object {
    const READ: &str = "^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$";
    let schema = object("type", "string").with("contentEncoding", "base64");
    if is_request { schema.with("pattern", READ) } else { schema }
}

/// The schema of a type with a JSON form of its own; `None` for one that is an object of its fields, for a
/// wrapper, which is like its value, and for `Any`, which is a component.
pub(super) fn well_known(well_known: WellKnown, direction: Direction) -> Option<Object> {
    let is_request = direction == Direction::Request;
    Some(match well_known {
        WellKnown::Timestamp => object("type", "string").with("format", "date-time"),
        WellKnown::Duration => {
            // Up to ten thousand years (google/protobuf/duration.proto).
            let digits = if is_request { "(?:0|[1-9][0-9]{0,10})" } else { "[0-9]{1,12}" };
            let pattern = format!("^-?{digits}(?:\\.[0-9]{{1,9}})?s$");
            object("type", "string").with("pattern", pattern).with("examples", texts(["3.5s"]))
        }
        WellKnown::FieldMask => field_mask(is_request.then_some("[a-z][a-zA-Z0-9]*")),
        WellKnown::Struct => object("type", "object"),
        WellKnown::Value => Object::new(),
        WellKnown::ListValue => object("type", "array").with("items", Object::new()),
        WellKnown::No | WellKnown::Wrapper | WellKnown::Any | WellKnown::MapEntry => return None,
    })
}

/// A list of paths in one text; `name` is what the pattern of one name is.
pub(super) fn field_mask(name: Option<&str>) -> Object {
    let schema = object("type", "string");
    let Some(name) = name else { return schema };
    let path = format!("{name}(?:\\.{name})*");
    schema.with("pattern", format!("^(?:{path}(?:,{path})*)?$"))
}

/// The schema of an enum by names.
///
/// Open enums may have numbers that the descriptors do not know: those are written, and read, as numbers.
pub(super) fn enumeration(plan: &EnumPlan, direction: Direction, by_number: bool) -> Object {
    if plan.is_null_value {
        return match direction {
            Direction::Request => {
                let null = vec![Json::Null, Json::from("NULL_VALUE"), Json::Integer(0)];
                object("enum", null)
            }
            Direction::Response => object("type", "null"),
        };
    }
    let numbers = || {
        let mut numbers: Vec<_> = plan.values().map(|(_, number)| i128::from(number)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(Json::Integer)
    };
    let number = || match plan.closed {
        true => object("type", "integer").with("enum", numbers().collect::<Vec<_>>()),
        false => {
            let bounds = (i128::from(i32::MIN), i128::from(i32::MAX));
            object("type", "integer")
                .with("format", "int32")
                .with("minimum", bounds.0)
                .with("maximum", bounds.1)
        }
    };
    let mut names: Vec<&str> = Vec::new();
    let mut known = Vec::new();
    for (name, number) in plan.values() {
        // Aliases are read; of several names for a number, the first is written.
        if direction == Direction::Request || !known.contains(&number) {
            names.push(name);
            known.push(number);
        }
    }
    let name = object("type", "string").with("enum", texts(names.into_iter().map(str::to_owned)));
    match (direction, by_number) {
        (Direction::Response, true) => number(),
        (Direction::Response, false) if plan.closed => name,
        (Direction::Request, true) => object("anyOf", vec![number().into(), name.into()]),
        (_, false) => object("anyOf", vec![name.into(), number().into()]),
    }
}

/// The same schema, with `null` for what is absent.
pub(super) fn nullable(mut schema: Object) -> Object {
    if schema.is_empty() {
        return schema;
    }
    match schema.get_mut("type") {
        Some(Json::Text(one)) => {
            let one = std::mem::take(one);
            if one != "null" {
                schema.set("type", texts([one, "null".into()]));
            } else {
                schema.set("type", "null");
            }
            if let Some(Json::List(values)) = schema.get_mut("enum") {
                values.push(Json::Null);
            }
            return schema;
        }
        Some(Json::List(types)) => {
            types.push("null".into());
            return schema;
        }
        _ => {}
    }
    let null = || Json::from(object("type", "null"));
    if let Some(Json::List(forms)) = schema.get_mut("anyOf") {
        forms.push(null());
    } else if let Some(reference) = schema.remove("$ref") {
        // What is said beside it stays there.
        let forms = vec![object("$ref", reference).into(), null()];
        schema.0.insert(0, ("anyOf".into(), forms.into()));
    }
    schema
}
