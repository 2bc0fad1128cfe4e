//! Texts of paths and queries as JSON, by the type of the variable that takes them.

use serde_json::{Number, Value as Json};

use crate::codec::{base64, time};
use crate::graphql::document::ast::{DeclaredKind, DeclaredType};
use crate::graphql::model::{Model, Scalar, TypeKind};

/// How the text of a variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// `None`: the name of an enum's value.
    pub scalar: Option<Scalar>,
    /// Each text is one item of a list.
    pub is_list: bool,
}

impl Text {
    /// How texts of a type are read; `None` of one that has no text: an object, JSON, a list of lists.
    pub fn of(model: &Model, declared: &DeclaredType) -> Option<Self> {
        match &declared.kind {
            DeclaredKind::List(item) => {
                let item = Self::of(model, item).filter(|item| !item.is_list)?;
                Some(Self { is_list: true, ..item })
            }
            DeclaredKind::Named(name) => match model.get(model.find(&name.text)?).kind {
                TypeKind::Scalar(Scalar::Json) => None,
                TypeKind::Scalar(scalar) => Some(Self { scalar: Some(scalar), is_list: false }),
                TypeKind::Enum(_) => Some(Self { scalar: None, is_list: false }),
                TypeKind::Object(_) | TypeKind::Input(_) | TypeKind::Root(_) | TypeKind::Meta(_) => None,
            },
        }
    }

    /// The JSON of one text. Whether a number is in the range of its type, and a name one of its enum, is judged with
    /// the value.
    ///
    /// # Errors
    ///
    /// What is expected in the text's place.
    pub fn read(self, text: &str) -> Result<Json, String> {
        let Some(scalar) = self.scalar else { return Ok(Json::String(text.to_owned())) };
        let as_text = |is_one: bool| is_one.then(|| Json::String(text.to_owned()));
        let json = match scalar {
            Scalar::Boolean => match text {
                "true" => Some(Json::Bool(true)),
                "false" => Some(Json::Bool(false)),
                _ => None,
            },
            Scalar::Int | Scalar::UInt32 => text.parse::<i64>().ok().map(Json::from),
            Scalar::Int64 => text.parse::<i64>().ok().map(Json::from),
            Scalar::UInt64 => text.parse::<u64>().ok().map(Json::from),
            // What is not finite is no number of JSON.
            Scalar::Float => text.parse().ok().and_then(Number::from_f64).map(Json::Number),
            Scalar::Bytes => as_text(base64::decode(text.as_bytes(), &mut Vec::new()).is_ok()),
            Scalar::DateTime => as_text(time::parse_timestamp(text.as_bytes()).is_ok()),
            Scalar::Duration => as_text(time::parse_duration(text.as_bytes()).is_ok()),
            Scalar::String | Scalar::Id | Scalar::FieldMask | Scalar::Json => as_text(true),
        };
        json.ok_or_else(|| format!("expected a value of type `{}`", scalar.name()))
    }
}
