//! Links that the descriptors themselves declare: the option of `proto/transom/graphql.proto` at the field with the key.
//!
//! ```proto
//! string customer_id = 2 [(transom.graphql.link) = { field: "customer", call: "shop.v1.Customers.GetCustomer", as: "name" }];
//! ```
//!
//! Descriptors are shared by surfaces that show less than everything, so a link whose message or methods one does not
//! show is none there. One whose field the configuration declares is the configuration's.

use prost::Message;
use prost_reflect::{FileDescriptor, MessageDescriptor};

use super::{Declared, DeclaredBatch, Model};
use crate::schema::Schema;

/// What a file must import for its fields to have the option.
const FILE: &str = "transom/graphql.proto";

/// How many keys a batch has where the option does not say it.
const KEYS_MAX: usize = 100;

/// What matters of `FieldOptions`: field 52705 is the extension of transom/graphql.proto.
#[derive(Clone, PartialEq, Message)]
struct FieldOptions {
    #[prost(message, repeated, tag = "52705")]
    links: Vec<LinkOption>,
}

/// `transom.graphql.Link`.
#[derive(Clone, PartialEq, Message)]
struct LinkOption {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    call: String,
    #[prost(string, tag = "3")]
    argument: String,
    #[prost(message, optional, tag = "4")]
    batch: Option<BatchOption>,
}

/// `transom.graphql.Batch`.
#[derive(Clone, PartialEq, Message)]
struct BatchOption {
    #[prost(string, tag = "1")]
    call: String,
    #[prost(string, tag = "2")]
    keys: String,
    #[prost(string, tag = "3")]
    items: String,
    #[prost(string, tag = "4")]
    key: String,
    #[prost(uint32, tag = "5")]
    keys_max: u32,
}

impl Model {
    /// Adds the links that the descriptors declare, after those of the configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the options, each with the name of its field; links without fault are there all
    /// the same.
    pub fn link_options(&mut self, schema: &Schema) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        for (field, declared) in declared(schema) {
            if !self.shows(schema, &declared) || self.is_linked(schema, &declared) {
                continue;
            }
            for error in self.link(schema, &[declared]).err().unwrap_or_default() {
                errors.push(format!("`{field}`, option `transom.graphql.link`: {}", error.message));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether the surface has the message, and each of the methods that there are.
    fn shows(&self, schema: &Schema, declared: &Declared) -> bool {
        let is_shown = |name: &str| {
            let shown = |one: &super::Method| one.exposed.method.full_name() == name;
            self.methods.iter().any(shown) || !schema.has_method(name)
        };
        schema.message_id(&declared.on).is_some_and(|id| self.outputs.contains_key(&id))
            && is_shown(&declared.call)
            && declared.batch.as_ref().is_none_or(|batch| is_shown(&batch.call))
    }

    fn is_linked(&self, schema: &Schema, declared: &Declared) -> bool {
        let on = schema.message_id(&declared.on);
        self.links.iter().any(|link| Some(link.on) == on && link.name == declared.field)
    }
}

/// The links of every file that can declare one, with the full names of their fields, in the order of these.
fn declared(schema: &Schema) -> Vec<(String, Declared)> {
    let imports =
        |file: &FileDescriptor| file.file_descriptor_proto().dependency.iter().any(|name| name == FILE);
    let mut open: Vec<MessageDescriptor> =
        schema.pool().files().filter(imports).flat_map(|file| file.messages().collect::<Vec<_>>()).collect();
    let mut found = Vec::new();
    while let Some(message) = open.pop() {
        open.extend(message.child_messages());
        for field in message.fields() {
            let options = schema.options(&field).unwrap_or_default();
            // What does not decode says nothing, as everywhere.
            let options = FieldOptions::decode(options).unwrap_or_default();
            let declared = options.links.iter().map(|link| link.declared(&message, field.name()));
            found.extend(declared.map(|declared| (field.full_name().to_owned(), declared)));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

impl LinkOption {
    fn declared(&self, message: &MessageDescriptor, from: &str) -> Declared {
        let batch = |batch: &BatchOption| DeclaredBatch {
            call: batch.call.as_str().into(),
            keys: batch.keys.as_str().into(),
            items: batch.items.as_str().into(),
            key: batch.key.as_str().into(),
            keys_max: match usize::try_from(batch.keys_max) {
                Ok(0) | Err(_) => KEYS_MAX,
                Ok(keys_max) => keys_max,
            },
        };
        Declared {
            on: message.full_name().into(),
            field: self.field.as_str().into(),
            from: from.into(),
            call: self.call.as_str().into(),
            argument: self.argument.as_str().into(),
            batch: self.batch.as_ref().map(batch),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::graphql::model::tests::{compiled, model};
    use crate::graphql::model::{Declared, Mapping, Model};
    use crate::schema::Schema;

    /// Orders with this option at `buyer`; nobody is shown `Hidden`.
    fn shop(option: &str) -> Schema {
        let text = format!(
            r#"syntax = "proto3"; package t;
            import "google/api/annotations.proto"; import "transom/graphql.proto";
            service S {{
              rpc GetOrder(Get) returns (Order) {{ option (google.api.http) = {{ get: "/orders/{{name}}" }}; }}
              rpc GetBuyer(Get) returns (Buyer) {{ option (google.api.http) = {{ get: "/buyers/{{name}}" }}; }}
              rpc Hidden(Get) returns (Buyer) {{ option (google.api.http) = {{ get: "/hidden/{{name}}" }}; }}
              rpc GetBuyers(Some) returns (Buyers) {{ option (google.api.http) = {{ get: "/buyers" }}; }}
            }}
            message Get {{ string name = 1; }}
            message Some {{ repeated string names = 1; }}
            message Order {{ string name = 1; Line line = 2; message Line {{ string buyer = 1 [{option}]; }} }}
            message Buyer {{ string name = 1; }}
            message Buyers {{ repeated Buyer buyers = 1; }}"#
        );
        compiled(&[("t.proto".to_owned(), text)])
    }

    fn linked(schema: &Schema) -> (Model, Result<(), Vec<String>>) {
        let mut model = model(schema, Mapping::default());
        let outcome = model.link_options(schema);
        (model, outcome)
    }

    #[test]
    fn options_are_links() {
        let schema = shop(
            r#"(transom.graphql.link) = { field: "who", call: "t.S.GetBuyer", as: "name",
                 batch: { call: "t.S.GetBuyers", keys: "names", items: "buyers", key: "name" } },
               (transom.graphql.link) = { field: "same", call: "t.S.GetBuyer", as: "name",
                 batch: { call: "t.S.GetBuyers", keys: "names", items: "buyers", key: "name", max_batch: 7 } },
               (transom.graphql.link) = { field: "alone", call: "t.S.GetBuyer", as: "name" }"#,
        );
        let (model, outcome) = linked(&schema);
        assert_eq!(outcome, Ok(()));
        let found: Vec<_> = model
            .links()
            .iter()
            .map(|link| (&*link.name, link.fetch.items.map(|items| items.keys_max)))
            .collect();
        assert_eq!(found, [("who", Some(100)), ("same", Some(7)), ("alone", None)]);
    }

    #[test]
    fn what_a_surface_does_not_show_is_no_link() {
        let schema = shop(r#"(transom.graphql.link) = { field: "who", call: "t.S.Hidden", as: "name" }"#);
        let (model, outcome) = linked(&schema);
        assert_eq!((model.links().len(), outcome), (0, Ok(())));
    }

    #[test]
    fn what_is_wrong_with_an_option_is_told_with_its_field() {
        let check = |option: &str, expected: &str| {
            let schema = shop(&format!("(transom.graphql.link) = {{ {option} }}"));
            let place = "`t.Order.Line.buyer`, option `transom.graphql.link`";
            assert_eq!(linked(&schema).1, Err(vec![format!("{place}: {expected}")]), "{option}");
        };
        let message =
            "the descriptors have no method `t.S.No`, expected one such as `shop.v1.Customers.GetCustomer`";
        check(r#"field: "who", call: "t.S.No", as: "name""#, message);
        check(r#"field: "who", call: "t.S.GetBuyer", as: "id""#, "`t.Get` has no field `id`");
        check(r#"field: "buyer", call: "t.S.GetBuyer", as: "name""#, "`t.Order.Line` has a field `buyer`");
        check(r#"call: "t.S.GetBuyer", as: "name""#, "`` is no name of a field in GraphQL");
    }

    #[test]
    fn the_configuration_comes_first() {
        let schema = shop(r#"(transom.graphql.link) = { field: "who", call: "t.S.No", as: "name" }"#);
        let mut model = model(&schema, Mapping::default());
        let declared = Declared {
            on: "t.Order.Line".into(),
            field: "who".into(),
            from: "buyer".into(),
            call: "t.S.GetBuyer".into(),
            argument: "name".into(),
            batch: None,
        };
        model.link(&schema, &[declared]).expect("it fits");
        assert_eq!((model.link_options(&schema), model.links().len()), (Ok(()), 1));
    }
}
