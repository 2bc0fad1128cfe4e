//! Values of arguments, coerced: what is to be written into a request.

/// A value that fits the type it was given for.
///
/// Names are those that the descriptors declare: of enum values their own, of fields their JSON names, whatever
/// GraphQL's names for them are.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    /// Any integer of 64 bits, signed or not, and some that are neither.
    Int(i128),
    /// Finite.
    Float(f64),
    String(Box<str>),
    Enum(Box<str>),
    List(Vec<Value>),
    /// In the order in which they were given; no name comes twice.
    Object(Vec<(Box<str>, Value)>),
}

impl Value {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let own = std::mem::size_of::<Self>();
        let within: usize = match self {
            Self::Null | Self::Boolean(_) | Self::Int(_) | Self::Float(_) => 0,
            Self::String(text) | Self::Enum(text) => text.len(),
            Self::List(items) => items.iter().map(Self::bytes).sum(),
            Self::Object(members) => members.iter().map(|(name, value)| name.len() + value.bytes()).sum(),
        };
        own + within
    }
}
