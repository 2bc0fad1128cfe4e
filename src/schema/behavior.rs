//! What declarations say of their use: `google.api.field_behavior` and `deprecated`.
//!
//! Both are read from the options as they came, like every option (see [`originals`](super::originals)), so the set
//! need not hold `google/api/field_behavior.proto`. Options that do not decode say nothing.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{EnumValueDescriptor, FieldDescriptor, MethodDescriptor};

use super::Schema;

/// Which side fills a field in (AIP-203); what it does not say is false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// A request without it is refused.
    pub required: bool,
    /// The backend's alone: what a client sends is ignored.
    pub output_only: bool,
    /// The client's alone: no reply has it.
    pub input_only: bool,
    pub deprecated: bool,
}

/// What matters of `FieldOptions`: field 1052 is the extension of google/api/field_behavior.proto.
#[derive(Clone, PartialEq, Message)]
struct FieldOptions {
    #[prost(bool, tag = "3")]
    deprecated: bool,
    #[prost(int32, repeated, packed = "false", tag = "1052")]
    field_behavior: Vec<i32>,
}

/// What matters of `MethodOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
struct MethodOptions {
    #[prost(bool, tag = "33")]
    deprecated: bool,
}

/// What matters of `EnumValueOptions`.
#[derive(Clone, Copy, PartialEq, Message)]
struct EnumValueOptions {
    #[prost(bool, tag = "1")]
    deprecated: bool,
}

impl Schema {
    /// Who fills a field in, and whether anyone should.
    pub fn usage(&self, field: &FieldDescriptor) -> Usage {
        let options: FieldOptions = known(self.options(field));
        let says = |number: i32| options.field_behavior.contains(&number);
        // FieldBehavior: REQUIRED = 2, OUTPUT_ONLY = 3, INPUT_ONLY = 4.
        Usage { required: says(2), output_only: says(3), input_only: says(4), deprecated: options.deprecated }
    }

    /// Whether a method says that it should not be called any more.
    pub fn is_deprecated_method(&self, method: &MethodDescriptor) -> bool {
        known::<MethodOptions>(self.options(method)).deprecated
    }

    /// Whether an enum value says that it should not be used any more.
    pub fn is_deprecated_value(&self, value: &EnumValueDescriptor) -> bool {
        known::<EnumValueOptions>(self.options(value)).deprecated
    }
}

fn known<T: Message + Default>(options: Option<Bytes>) -> T {
    options.map(|options| T::decode(options).unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::compile;
    use crate::schema::{Input, load};

    const TEXT: &str = r#"
        syntax = "proto3";
        package t;
        import "google/api/field_behavior.proto";
        message M {
          string plain = 1;
          string required = 2 [(google.api.field_behavior) = REQUIRED, (google.api.field_behavior) = IMMUTABLE];
          string output = 3 [(google.api.field_behavior) = OUTPUT_ONLY];
          string input = 4 [(google.api.field_behavior) = INPUT_ONLY, deprecated = true];
          message Inner { string old = 1 [deprecated = true]; }
        }
        enum E { ZERO = 0; OLD = 1 [deprecated = true]; }
        service S { rpc A(M) returns (M); rpc B(M) returns (M) { option deprecated = true; } }"#;

    #[test]
    fn declarations_say_how_they_are_used() {
        for imports in [true, false] {
            let bytes = compile(TEXT, imports, false);
            let schema = load(&[Input { name: "t".into(), bytes }]).expect("the set is valid");
            let pool = schema.pool();
            let message = pool.get_message_by_name("t.M").expect("t.M");
            let usage = |name: &str| schema.usage(&message.get_field_by_name(name).expect("a field"));
            assert_eq!(usage("plain"), Usage::default());
            assert_eq!(usage("required"), Usage { required: true, ..Usage::default() });
            assert_eq!(usage("output"), Usage { output_only: true, ..Usage::default() });
            assert_eq!(usage("input"), Usage { input_only: true, deprecated: true, ..Usage::default() });
            let inner = pool.get_message_by_name("t.M.Inner").expect("t.M.Inner");
            assert!(schema.usage(&inner.get_field_by_name("old").expect("a field")).deprecated);
            let values = pool.get_enum_by_name("t.E").expect("t.E");
            let found: Vec<_> = values.values().map(|value| schema.is_deprecated_value(&value)).collect();
            assert_eq!(found, [false, true]);
            let service = pool.get_service_by_name("t.S").expect("t.S");
            let found: Vec<_> =
                service.methods().map(|method| schema.is_deprecated_method(&method)).collect();
            assert_eq!(found, [false, true]);
        }
    }
}
