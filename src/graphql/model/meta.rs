//! Introspection's own types (GraphQL, section 4.2), as fields like any other's.

use super::{EnumValue, Field, Input, Inputs, Members, Model, Scalar, Source, Target, TypeId, TypeRef};

/// A type whose name begins with `__`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meta {
    Schema,
    Type,
    TypeKind,
    Field,
    InputValue,
    EnumValue,
    Directive,
    DirectiveLocation,
}

/// What a field of introspection is.
enum Of {
    Scalar(Scalar),
    Meta(Meta),
}

impl Meta {
    pub const ALL: [Self; 8] = [
        Self::Schema,
        Self::Type,
        Self::TypeKind,
        Self::Field,
        Self::InputValue,
        Self::EnumValue,
        Self::Directive,
        Self::DirectiveLocation,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Schema => "__Schema",
            Self::Type => "__Type",
            Self::TypeKind => "__TypeKind",
            Self::Field => "__Field",
            Self::InputValue => "__InputValue",
            Self::EnumValue => "__EnumValue",
            Self::Directive => "__Directive",
            Self::DirectiveLocation => "__DirectiveLocation",
        }
    }

    pub const fn is_enum(self) -> bool {
        matches!(self, Self::TypeKind | Self::DirectiveLocation)
    }

    pub const fn description(self) -> &'static str {
        match self {
            Self::Schema => "What can be asked: types, directives, and where operations begin.",
            Self::Type => "A type; `kind` says which of its fields have a value.",
            Self::TypeKind => "What a type is.",
            Self::Field => "A field of an object type.",
            Self::InputValue => "An argument, or a field of an input object.",
            Self::EnumValue => "A value of an enum.",
            Self::Directive => "A directive, as documents use it.",
            Self::DirectiveLocation => "Where a directive may stand.",
        }
    }

    /// Name, type, and how it is wrapped: `n` non-null, `l` a list, `L` a non-null list.
    const fn fields(self) -> &'static [(&'static str, Of, char)] {
        const STRING: Of = Of::Scalar(Scalar::String);
        const BOOLEAN: Of = Of::Scalar(Scalar::Boolean);
        match self {
            Self::Schema => &[
                ("description", STRING, ' '),
                ("types", Of::Meta(Self::Type), 'L'),
                ("queryType", Of::Meta(Self::Type), 'n'),
                ("mutationType", Of::Meta(Self::Type), ' '),
                ("subscriptionType", Of::Meta(Self::Type), ' '),
                ("directives", Of::Meta(Self::Directive), 'L'),
            ],
            Self::Type => &[
                ("kind", Of::Meta(Self::TypeKind), 'n'),
                ("name", STRING, ' '),
                ("description", STRING, ' '),
                ("specifiedByURL", STRING, ' '),
                ("fields", Of::Meta(Self::Field), 'l'),
                ("interfaces", Of::Meta(Self::Type), 'l'),
                ("possibleTypes", Of::Meta(Self::Type), 'l'),
                ("enumValues", Of::Meta(Self::EnumValue), 'l'),
                ("inputFields", Of::Meta(Self::InputValue), 'l'),
                ("ofType", Of::Meta(Self::Type), ' '),
                ("isOneOf", BOOLEAN, ' '),
            ],
            Self::Field => &[
                ("name", STRING, 'n'),
                ("description", STRING, ' '),
                ("args", Of::Meta(Self::InputValue), 'L'),
                ("type", Of::Meta(Self::Type), 'n'),
                ("isDeprecated", BOOLEAN, 'n'),
                ("deprecationReason", STRING, ' '),
            ],
            Self::InputValue => &[
                ("name", STRING, 'n'),
                ("description", STRING, ' '),
                ("type", Of::Meta(Self::Type), 'n'),
                ("defaultValue", STRING, ' '),
                ("isDeprecated", BOOLEAN, 'n'),
                ("deprecationReason", STRING, ' '),
            ],
            Self::EnumValue => &[
                ("name", STRING, 'n'),
                ("description", STRING, ' '),
                ("isDeprecated", BOOLEAN, 'n'),
                ("deprecationReason", STRING, ' '),
            ],
            Self::Directive => &[
                ("name", STRING, 'n'),
                ("description", STRING, ' '),
                ("isRepeatable", BOOLEAN, 'n'),
                ("locations", Of::Meta(Self::DirectiveLocation), 'L'),
                ("args", Of::Meta(Self::InputValue), 'L'),
            ],
            Self::TypeKind | Self::DirectiveLocation => &[],
        }
    }

    pub(super) fn values(self) -> Members<EnumValue> {
        let names: &[&str] = match self {
            Self::TypeKind => {
                &["SCALAR", "OBJECT", "INTERFACE", "UNION", "ENUM", "INPUT_OBJECT", "LIST", "NON_NULL"]
            }
            Self::DirectiveLocation => &[
                "QUERY",
                "MUTATION",
                "SUBSCRIPTION",
                "FIELD",
                "FRAGMENT_DEFINITION",
                "FRAGMENT_SPREAD",
                "INLINE_FRAGMENT",
                "VARIABLE_DEFINITION",
                "SCHEMA",
                "SCALAR",
                "OBJECT",
                "FIELD_DEFINITION",
                "ARGUMENT_DEFINITION",
                "INTERFACE",
                "UNION",
                "ENUM",
                "ENUM_VALUE",
                "INPUT_OBJECT",
                "INPUT_FIELD_DEFINITION",
            ],
            _ => &[],
        };
        let value = |(number, name): (i32, &&str)| EnumValue {
            name: (*name).into(),
            declared: (*name).into(),
            number,
            is_deprecated: false,
        };
        (0..).zip(names).map(value).collect()
    }
}

/// The ways into introspection, and the arguments of its fields.
#[derive(Debug)]
pub(super) struct Entrance {
    /// `__typename`, which every object has.
    pub typename: Field,
    /// `__schema` and `__type`, which queries have.
    pub of_query: [Field; 2],
    /// Of `fields`, `enumValues`, `inputFields` and `args`.
    deprecated: Inputs,
    /// Of `__type`.
    name: Inputs,
    /// Of every other.
    pub none: Inputs,
}

impl Entrance {
    /// `scalar` and `meta` tell the places of types that every model has.
    pub(super) fn new(scalar: impl Fn(Scalar) -> TypeId, meta: impl Fn(Meta) -> TypeId) -> Self {
        let argument = |name: &str, of, default| Inputs {
            list: [Input {
                name: name.into(),
                type_ref: TypeRef {
                    named: scalar(of),
                    is_list: false,
                    is_non_null: true,
                    has_null_items: false,
                },
                target: Target::Model,
                default,
                is_deprecated: false,
            }]
            .into_iter()
            .collect(),
            is_one_of: false,
        };
        let field = |name: &str, named, is_non_null| Field {
            name: name.into(),
            type_ref: TypeRef { named, is_list: false, is_non_null, has_null_items: false },
            source: Source::Model,
            is_deprecated: false,
        };
        Self {
            typename: field("__typename", scalar(Scalar::String), true),
            of_query: [field("__schema", meta(Meta::Schema), true), field("__type", meta(Meta::Type), false)],
            deprecated: argument("includeDeprecated", Scalar::Boolean, Some(false)),
            name: argument("name", Scalar::String, None),
            none: Inputs::default(),
        }
    }

    pub(super) fn arguments(&self, field: &str) -> &Inputs {
        match field {
            "fields" | "enumValues" | "inputFields" | "args" => &self.deprecated,
            "__type" => &self.name,
            _ => &self.none,
        }
    }
}

impl Model {
    pub(super) fn compile_meta(&self, meta: Meta) -> Members<Field> {
        let field = |(name, of, wrap): &(&'static str, Of, char)| Field {
            name: (*name).into(),
            type_ref: TypeRef {
                named: match of {
                    Of::Scalar(scalar) => self.scalar(*scalar),
                    Of::Meta(meta) => self.meta(*meta),
                },
                is_list: matches!(wrap, 'l' | 'L'),
                is_non_null: matches!(wrap, 'n' | 'L'),
                has_null_items: false,
            },
            source: Source::Model,
            is_deprecated: false,
        };
        meta.fields().iter().map(field).collect()
    }
}
