//! What holding a request to the rules of its descriptors is measured on: one order of 0.9 kB of JSON, read as a
//! message without rules, with rules of the standard, and with rules in CEL (`rules.proto`).

use transom::codec::json_to_wire;
use transom::codec::options::{JsonOptions, Names};
use transom::schema::plan::MessageId;
use transom::schema::{Input, Schema, load};
use transom::validate::{Asked, Validation};

const JSON: &str = r#"{"name":"shops/kyoto-7/orders/42","id":"9007199254740993","email":"grace.42@example.com","items":[{"sku":"SKU-00977","quantity":2,"price":19.95},{"sku":"SKU-01954","quantity":4,"price":20.2},{"sku":"SKU-02931","quantity":1,"price":20.45},{"sku":"SKU-03908","quantity":12,"price":20.7},{"sku":"SKU-04885","quantity":3,"price":20.95}],"labels":{"channel":"web","campaign":"autumn-7","region":"jp-kansai"},"total":148.37,"tags":["fragile","gift","express-7"],"note":"Please leave the parcel with the neighbour at number 12 if nobody opens, she is at home on most days. The bell is broken, so knock: it is the green door beside the bicycle shop, second floor."}"#;

/// One request, and the type that it is read as.
pub(crate) struct Request {
    schema: Schema,
    validation: Validation,
    id: MessageId,
}

impl Request {
    /// `Plain`, `Standard` or `Expressions`.
    pub(crate) fn of(message: &str) -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let folders = ["benches/workload", "tests/protos"].map(|folder| format!("{root}/{folder}"));
        let mut compiler = protox::Compiler::new(folders).expect("folders of ours");
        compiler.include_imports(true).open_file("rules.proto").expect("it compiles");
        let bytes = compiler.encode_file_descriptor_set().into();
        let schema = load(&[Input { name: "rules".into(), bytes }]).expect("a set");
        let types = ["Plain", "Standard", "Expressions"].map(|name| format!("bench.rules.{name}"));
        let ids = types.map(|name| schema.message_id(&name).expect("declared"));
        // Others have rules, whether or not this one has.
        let validation = Validation::compile(&schema, ids).expect("good rules");
        let id = schema.message_id(&format!("bench.rules.{message}")).expect("declared");
        assert_eq!(validation.concerns(id), message != "Plain");
        let request = Self { schema, validation, id };
        request.check(&mut Vec::new());
        request
    }

    /// JSON → wire.
    pub(crate) fn read(&self, out: &mut Vec<u8>) {
        json_to_wire(&self.schema, self.id, &JsonOptions::default(), JSON.as_bytes(), out).expect("valid");
    }

    /// JSON → wire, held to its rules.
    pub(crate) fn check(&self, out: &mut Vec<u8>) {
        self.read(out);
        let asked = Asked { now: 0, violations_max: 100, steps_max: 200_000, names: Names::Json };
        self.validation.check(&self.schema, self.id, out, &asked).expect("it keeps its rules");
    }
}
