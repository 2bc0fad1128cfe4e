//! What the codec is measured on, and the other codec: `DynamicMessage` with serde_json, on the same bytes.
//!
//! `mixed` is one `Order`, 1.5 kB of JSON with something of everything: strings (short, long, with escapes and
//! beyond ASCII), int32, int64 (a string in JSON), double, float, bool, enum, a timestamp, a nested
//! message, a repeated message, packed numbers, repeated strings, a map and bytes. `list` is 1 MB of JSON:
//! as many such orders as it takes, each with numbers and names of its own. Both codecs write to a buffer
//! that is used again.

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use transom::codec::options::JsonOptions;
use transom::codec::{json_to_wire, wire_to_json};
use transom::schema::plan::MessageId;
use transom::schema::{Schema, Traits};

const PROTO: &str = r#"
syntax = "proto3";
package bench;
import "google/protobuf/timestamp.proto";

message Order {
  string name = 1;
  int64 id = 2;
  Status status = 3;
  google.protobuf.Timestamp create_time = 4;
  Customer customer = 5;
  repeated Item items = 6;
  map<string, string> labels = 7;
  bytes signature = 8;
  double total = 9;
  bool gift_wrapped = 10;
  repeated int32 scores = 11;
  string note = 12;
  repeated string tags = 13;
}

message Customer {
  string display_name = 1;
  string email = 2;
  uint64 account_number = 3;
  bool verified = 4;
  repeated double location = 5;
}

message Item {
  string sku = 1;
  string title = 2;
  int32 quantity = 3;
  double unit_price = 4;
  float weight = 5;
  int64 stock = 6;
}

message ListOrders {
  repeated Order orders = 1;
  string next_page_token = 2;
}

enum Status {
  STATUS_UNSPECIFIED = 0;
  PENDING = 1;
  SHIPPED = 2;
  DELIVERED = 3;
}
"#;

/// One message, as JSON and as wire bytes.
pub(crate) struct Case {
    schema: Schema,
    id: MessageId,
    descriptor: MessageDescriptor,
    pub(crate) json: Vec<u8>,
    pub(crate) wire: Vec<u8>,
}

impl Case {
    pub(crate) fn mixed() -> Self {
        Self::new("bench.Order", order(0))
    }

    pub(crate) fn list() -> Self {
        let mut json = String::from(r#"{"orders":["#);
        let mut index = 0;
        while json.len() < 1_000_000 {
            if index > 0 {
                json.push(',');
            }
            json.push_str(&order(index));
            index += 1;
        }
        json.push_str(r#"],"nextPageToken":"b3JkZXJzLzcxMg"}"#);
        Self::new("bench.ListOrders", json)
    }

    fn new(name: &str, json: String) -> Self {
        let schema = schema();
        let id = schema.message_id(name).expect("declared above");
        let descriptor = schema.descriptor(id).clone();
        let mut case = Self { schema, id, descriptor, json: json.into_bytes(), wire: Vec::new() };
        let mut wire = Vec::new();
        case.read_dynamic(&mut wire);
        case.wire = wire;
        case.check();
        case
    }

    /// Both codecs say the same.
    fn check(&self) {
        let decode =
            |bytes: &[u8]| DynamicMessage::decode(self.descriptor.clone(), bytes).expect("a message");
        let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("JSON");
        let mut out = Vec::new();
        self.read(&mut out);
        assert_eq!(decode(&out), decode(&self.wire));
        out.clear();
        self.write(&mut out);
        assert_eq!(parse(&out), parse(&self.json));
        out.clear();
        self.write_dynamic(&mut out);
        assert_eq!(parse(&out), parse(&self.json));
    }

    /// JSON → wire.
    pub(crate) fn read(&self, out: &mut Vec<u8>) {
        json_to_wire(&self.schema, self.id, &JsonOptions::default(), &self.json, out).expect("valid");
    }

    /// JSON → wire by way of a message tree.
    pub(crate) fn read_dynamic(&self, out: &mut Vec<u8>) {
        let mut json = serde_json::Deserializer::from_slice(&self.json);
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut json).expect("valid");
        json.end().expect("nothing behind it");
        message.encode(out).expect("a Vec grows");
    }

    /// Wire → JSON.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        wire_to_json(&self.schema, self.id, &JsonOptions::default(), &self.wire, out).expect("valid");
    }

    /// Wire → JSON by way of a message tree.
    pub(crate) fn write_dynamic(&self, out: &mut Vec<u8>) {
        let message = DynamicMessage::decode(self.descriptor.clone(), &self.wire[..]).expect("valid");
        let mut json = serde_json::Serializer::new(out);
        message.serialize_with_options(&mut json, &SerializeOptions::new()).expect("valid");
    }
}

fn schema() -> Schema {
    let file = protox::file::File::from_source("orders.proto", PROTO).expect("valid above");
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(file.file_descriptor_proto().clone()).expect("valid above");
    Schema::new(pool, Traits::default())
}

/// An order as ProtoJSON writes it.
fn order(index: u32) -> String {
    let status = ["PENDING", "SHIPPED", "DELIVERED"][index as usize % 3];
    let item = |line: u32, title: &str| {
        format!(
            r#"{{"sku":"SKU-{sku:05}","title":"{title}","quantity":{quantity},"unitPrice":{price},"weight":{weight},"stock":"{stock}"}}"#,
            sku = (index * 31 + line * 977) % 100_000,
            quantity = 1 + (index + line) % 12,
            price = f64::from(index % 500) + 19.95 + f64::from(line) / 4.0,
            weight = 0.25 + line as f32,
            stock = 120_000 + u64::from(index) * 3,
        )
    };
    let items = [
        item(1, "Stoneware teapot, 1.2 l, with a bamboo handle"),
        item(2, "Porcelain tea cup \\\"Aurora\\\" (set of four)"),
        item(3, "Sencha, first flush, 100 g"),
        item(4, "Thé vert à la menthe, 20 sachets"),
        item(5, "Cast-iron trivet, black, 14 cm, with rubber feet that spare the table"),
    ]
    .join(",");
    format!(
        r#"{{"name":"shops/kyoto-{shop}/orders/{index}","id":"{id}","status":"{status}","createTime":"2025-11-{day:02}T09:26:53.589Z","customer":{{"displayName":"Grace Murray Hopper","email":"grace.{index}@example.com","accountNumber":"{account}","verified":true,"location":[35.0116,135.7681]}},"items":[{items}],"labels":{{"channel":"web","campaign":"autumn-{shop}","region":"jp-kansai"}},"signature":"{signature}","total":{total},"giftWrapped":true,"scores":[5,4,5,3,5,{score},128,70000],"note":"{note}","tags":["fragile","gift","express-{shop}"]}}"#,
        shop = index % 40,
        id = 9_007_199_254_740_993u64 + u64::from(index),
        day = 1 + index % 28,
        account = 4_400_000_000u64 + u64::from(index) * 7,
        signature = "MEUCIQDx4Vn2rYH0mGJq5oJpC0n1sG3o2b7mT6k9Jw3cQ5d8ZQIgfV1k0a2b",
        total = f64::from(index % 1000) + 148.37,
        score = index % 1000,
        note = "Please leave the parcel with the neighbour at number 12 if nobody opens, she is at home on most days. \\nThe bell is broken, so knock: it is the green door beside the bicycle shop, second floor. Call before noon, or leave a message.",
    )
}
