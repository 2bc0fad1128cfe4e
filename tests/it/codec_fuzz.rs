//! Fuzz targets, one per direction: no panic, and output in proportion to the input.
//!
//! `cargo test` runs each for a bounded number of random inputs. `cargo bolero test codec_fuzz::json_in`
//! and `cargo bolero test codec_fuzz::wire_in` (from `cargo install cargo-bolero`) run them guided by
//! coverage; with `-e afl` on a stable compiler. The schema is one of `arbitrary::schema`, of a fixed seed
//! so that a corpus keeps its meaning.

use std::sync::LazyLock;

use transom::codec::options::{Defaults, JsonOptions, Names, Unknown};
use transom::codec::{check_required, json_to_wire, leaf_paths, wire_to_json};
use transom::schema::Schema;

use crate::arbitrary::{json, message, schema, wire};
use crate::dice::Dice;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| schema::schema(&mut Dice::seeded(20)));

/// No byte of JSON or wire makes more than this many bytes of the other: a byte in a `packed` list of
/// enums becomes a name, an escaped control character is six.
const GROWTH_MAX: usize = 64;

#[test]
fn json_in() {
    bolero::check!().with_iterations(4000).with_max_len(512).for_each(|input: &[u8]| {
        let mut dice = Dice::of_bytes(input);
        let id = SCHEMA.message_id(dice.pick::<&str>(&schema::MESSAGES)).expect("every schema has it");
        read_json(id, input.get(1..).unwrap_or_default());
        // The same bytes as choices of a generator reach deeper.
        let mut text = json::json(&mut dice, SCHEMA.descriptor(id), 3).into_bytes();
        read_json(id, &text);
        wire::mutate(&mut dice, &mut text, &[b"\"", b"{", b"[", b"\\u", b"\xf0", b"1e999999999"]);
        read_json(id, &text);
    });
}

fn read_json(id: transom::schema::plan::MessageId, text: &[u8]) {
    for unknown in [Unknown::Reject, Unknown::Ignore] {
        let options = JsonOptions { unknown, ..JsonOptions::default() };
        let mut out = Vec::new();
        let _ = json_to_wire(&SCHEMA, id, &options, text, &mut out);
        assert!(out.len() <= text.len() * GROWTH_MAX + GROWTH_MAX, "{} from {}", out.len(), text.len());
        let _ = leaf_paths(&SCHEMA, id, &options, text);
    }
}

#[test]
fn wire_in() {
    bolero::check!().with_iterations(4000).with_max_len(512).for_each(|input: &[u8]| {
        let mut dice = Dice::of_bytes(input);
        let id = SCHEMA.message_id(dice.pick::<&str>(&schema::MESSAGES)).expect("every schema has it");
        read_wire(id, input.get(1..).unwrap_or_default());
        let mut bytes = message::encode(&message::message(&mut dice, SCHEMA.descriptor(id), 3));
        read_wire(id, &bytes);
        wire::mutate(&mut dice, &mut bytes, &[b"\xff", b"\x0a", b"\x0b", b"\x00", b"\xff\xff\xff\xff\x0f"]);
        read_wire(id, &bytes);
    });
}

fn read_wire(id: transom::schema::plan::MessageId, bytes: &[u8]) {
    let emit = JsonOptions { defaults: Defaults::Emit, names: Names::Proto, ..JsonOptions::default() };
    for options in [JsonOptions::default(), emit] {
        let mut out = Vec::new();
        let _ = wire_to_json(&SCHEMA, id, &options, bytes, &mut out);
        if options.defaults == Defaults::Omit {
            assert!(out.len() <= bytes.len() * GROWTH_MAX + GROWTH_MAX, "{} from {}", out.len(), bytes.len());
        }
    }
    let _ = check_required(&SCHEMA, id, bytes);
}
