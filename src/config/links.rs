//! `surfaces.NAME.graphql.links`: fields that lead from one message to another by a method.
//!
//! ```yaml
//! links:
//!   - { on: shop.v1.Order, field: customer, from: customer_id, call: shop.v1.Customers.GetCustomer, as: name,
//!       batch: { call: shop.v1.Customers.BatchGetCustomers, keys: names, items: customers, key: name } }
//! ```
//!
//! What the words name is only known with the descriptors, so that each keeps its place in the file.

use super::finding::{Position, Report};
use super::section::Section;
use super::surfaces::{Named, named};
use super::value;
use super::yaml::Node;

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    pub position: Position,
    /// The message that gets the field.
    pub on: Named,
    pub field: Named,
    /// The field of the message that has the key, or several of them.
    pub from: Named,
    /// The method that tells of one object.
    pub call: Named,
    /// `as`: the field of its request that takes the key.
    pub argument: Named,
    pub batch: Option<Batch>,
}

/// How several objects are asked for at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub call: Named,
    /// The field of its request that takes the keys.
    pub keys: Named,
    /// The field of its reply that has the objects.
    pub items: Named,
    /// The field of each object that has its key.
    pub key: Named,
    /// How many keys one call has at most. Default 100.
    pub keys_max: usize,
}

impl Link {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut link = Self { position: node.position, ..Self::default() };
        let mut section = Section::open(node, "surfaces.NAME.graphql.links[]", report)?;
        section.read("on", &mut link.on, named);
        section.read("field", &mut link.field, named);
        section.read("from", &mut link.from, named);
        section.read("call", &mut link.call, named);
        section.read("as", &mut link.argument, named);
        section.read("batch", &mut link.batch, |node, report| Batch::read(node, report).map(Some));
        section.require("on", "name the message that gets the field, such as `shop.v1.Order`");
        section.require("field", "name the field, such as `customer`");
        section.require("from", "name the field that has the key, such as `customer_id`");
        section.require("call", "name the method, such as `shop.v1.Customers.GetCustomer`");
        section.require("as", "name the field of its request that takes the key, such as `name`");
        section.close(&[]);
        Some(link)
    }
}

impl Batch {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut batch = Self::default();
        let mut section = Section::open(node, "surfaces.NAME.graphql.links[].batch", report)?;
        section.read("call", &mut batch.call, named);
        section.read("keys", &mut batch.keys, named);
        section.read("items", &mut batch.items, named);
        section.read("key", &mut batch.key, named);
        section.read("max_batch", &mut batch.keys_max, value::integer(1..=10_000));
        section.require("call", "name the method, such as `shop.v1.Customers.BatchGetCustomers`");
        section.require("keys", "name the field of its request that takes the keys, such as `names`");
        section.require("items", "name the field of its reply that has the objects, such as `customers`");
        section.require("key", "name the field of an object that has its key, such as `name`");
        section.close(&[]);
        Some(batch)
    }
}

impl Default for Batch {
    fn default() -> Self {
        let [call, keys, items, key] = Default::default();
        Self { call, keys, items, key, keys_max: 100 }
    }
}
