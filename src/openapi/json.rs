//! JSON as the document's pieces are made of: objects keep the order in which they are put together.
//!
//! A piece is an operation or a schema, so that trees stay small; the document as a whole never is one. Not
//! `serde_json::Value`, whose objects sort their names here: people read a document from the top.

use std::borrow::Cow;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Integer(i128),
    /// A number as it is written; never `NaN` nor infinite.
    Number(f64),
    Text(Cow<'static, str>),
    List(Vec<Json>),
    Object(Object),
}

/// Members in the order in which they were added; no name comes twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object(pub(super) Vec<(Cow<'static, str>, Json)>);

impl Object {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a member, or gives one that is there another value.
    pub(super) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) -> &mut Self {
        let (name, value) = (name.into(), value.into());
        match self.get_mut(&name) {
            Some(there) => *there = value,
            None => self.0.push((name, value)),
        }
        self
    }

    /// As [`set`](Self::set), by value.
    pub(super) fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Json>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a text, unless it is empty.
    pub(super) fn with_text(mut self, name: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        if !text.is_empty() {
            self.set(name, text);
        }
        self
    }

    /// Adds the members of another object.
    pub(super) fn with_all(mut self, other: Self) -> Self {
        other.0.into_iter().for_each(|(name, value)| {
            self.set(name, value);
        });
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.remove(at).1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An object of one member.
pub(super) fn object(name: impl Into<Cow<'static, str>>, value: impl Into<Json>) -> Object {
    Object::new().with(name, value)
}

/// A list of texts.
pub(super) fn texts<T: Into<Cow<'static, str>>>(texts: impl IntoIterator<Item = T>) -> Json {
    Json::List(texts.into_iter().map(|text| Json::Text(text.into())).collect())
}

/// A number, unless JSON has none for it.
pub(super) fn number(value: f64) -> Option<Json> {
    value.is_finite().then_some(Json::Number(value))
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl From<&'static str> for Json {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<Cow<'static, str>> for Json {
    fn from(text: Cow<'static, str>) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i128> for Json {
    fn from(value: i128) -> Self {
        Self::Integer(value)
    }
}

impl From<Vec<Json>> for Json {
    fn from(list: Vec<Json>) -> Self {
        Self::List(list)
    }
}

impl FromIterator<(Cow<'static, str>, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (Cow<'static, str>, Json)>>(members: I) -> Self {
        let mut object = Self::new();
        members.into_iter().for_each(|(name, value)| {
            object.set(name, value);
        });
        object
    }
}
