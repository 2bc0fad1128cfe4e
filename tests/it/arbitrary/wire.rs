//! Other wire bytes for the same message, and bytes that may be none.
//!
//! [`scramble`] keeps the encoding's rules (order of fields is free, a singular field may come twice, a
//! submessage in parts, a packed list in pieces or one by one, unknown fields anywhere); [`mutate`]
//! keeps none.

use prost_reflect::{Kind, MessageDescriptor};
use transom::codec::wire::{self, Reader, WireError};
use transom::schema::plan::wire::{LEN, SGROUP};

use crate::dice::Dice;

/// One field as it stands on the wire.
struct Record<'a> {
    number: u32,
    wire_type: u32,
    /// Tag and value.
    whole: &'a [u8],
    /// The value's bytes without length; of a group, without its end.
    content: &'a [u8],
}

/// Reorders, repeats and splits the fields of a valid message.
pub(crate) fn scramble(
    dice: &mut Dice<'_>,
    descriptor: &MessageDescriptor,
    bytes: &[u8],
) -> Result<Vec<u8>, WireError> {
    let mut pieces = Vec::new();
    for record in records(bytes)? {
        // An extension or an unknown field stays as it is.
        let field = descriptor.get_field(record.number);
        let message = field.as_ref().and_then(|field| match field.kind() {
            Kind::Message(message) if record.wire_type == LEN => Some((message, field.is_list())),
            _ => None,
        });
        let packed = field
            .as_ref()
            .filter(|field| field.is_list() && packable(&field.kind()) && record.wire_type == LEN);
        match (message, packed) {
            (Some((message, _)), _) if dice.one_in(2) => {
                let inner = scramble(dice, &message, record.content)?;
                pieces.push(len_prefixed(record.number, &inner));
            }
            // Two parts of a singular message merge; of a repeated one they would be two elements.
            (Some((message, false)), _) if !message.is_map_entry() && dice.one_in(2) => {
                let inner = records(record.content)?;
                let at = dice.below(inner.len() + 1);
                for part in [&inner[..at], &inner[at..]] {
                    let joined: Vec<u8> = part.iter().flat_map(|record| record.whole).copied().collect();
                    pieces.push(len_prefixed(record.number, &joined));
                }
            }
            (_, Some(field)) if dice.one_in(2) => unpack(field, record.content, &mut pieces)?,
            _ => pieces.push(record.whole.to_vec()),
        }
        if dice.one_in(6) {
            pieces.push(record.whole.to_vec());
        }
    }
    if dice.one_in(3) {
        pieces.push(unknown(dice, descriptor));
    }
    if dice.one_in(2) {
        dice.shuffle(&mut pieces);
    }
    Ok(pieces.concat())
}

/// Sorts the entries of every map by their bytes.
pub(crate) fn settle(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut pieces = Vec::new();
    for record in records(bytes)? {
        let field = descriptor.get_field(record.number);
        let message = field.as_ref().and_then(|field| match field.kind() {
            Kind::Message(message) if record.wire_type == LEN => Some((message, field.is_map())),
            _ => None,
        });
        pieces.push(match message {
            Some((message, is_map)) => {
                let piece = len_prefixed(record.number, &settle(&message, record.content)?);
                (record.number, if is_map { piece.clone() } else { Vec::new() }, piece)
            }
            None => (record.number, Vec::new(), record.whole.to_vec()),
        });
    }
    pieces.sort_by(|left, right| (left.0, &left.1).cmp(&(right.0, &right.1)));
    Ok(pieces.into_iter().flat_map(|(_, _, piece)| piece).collect())
}

fn records(bytes: &[u8]) -> Result<Vec<Record<'_>>, WireError> {
    let mut records = Vec::new();
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let before = reader.rest();
        let (number, wire_type) = reader.tag()?;
        let content = match wire_type {
            LEN => reader.bytes()?,
            _ => {
                reader.skip(number, wire_type)?;
                &[]
            }
        };
        let whole = &before[..before.len() - reader.rest().len()];
        records.push(Record { number, wire_type, whole, content });
    }
    Ok(records)
}

fn packable(kind: &Kind) -> bool {
    !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}

fn unpack(
    field: &prost_reflect::FieldDescriptor,
    packed: &[u8],
    pieces: &mut Vec<Vec<u8>>,
) -> Result<(), WireError> {
    let wire_type = field.kind().wire_type() as u32;
    let mut reader = Reader::new(packed);
    while !reader.is_empty() {
        let before = reader.rest();
        reader.skip(field.number(), wire_type)?;
        let mut piece = Vec::new();
        wire::put_tag(&mut piece, wire::tag(field.number(), wire_type));
        piece.extend_from_slice(&before[..before.len() - reader.rest().len()]);
        pieces.push(piece);
    }
    Ok(())
}

fn len_prefixed(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::put_len_prefixed(&mut out, wire::tag(number, LEN), content);
    out
}

fn unknown(dice: &mut Dice<'_>, descriptor: &MessageDescriptor) -> Vec<u8> {
    let number = 700_000;
    assert!(descriptor.get_field(number).is_none());
    let mut out = Vec::new();
    let wire_type = *dice.pick(&[0, 1, 2, 3, 5]);
    wire::put_tag(&mut out, wire::tag(number, wire_type));
    match wire_type {
        0 => wire::put_varint(&mut out, dice.word()),
        1 => out.extend_from_slice(&dice.word().to_le_bytes()),
        2 => out.extend_from_slice(b"\x03abc"),
        SGROUP => wire::put_tag(&mut out, wire::tag(number, 4)),
        _ => out.extend_from_slice(b"abcd"),
    }
    out
}

/// Changes, cuts, doubles or inserts a few bytes.
pub(crate) fn mutate(dice: &mut Dice<'_>, bytes: &mut Vec<u8>, inserts: &[&[u8]]) {
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let piece = *dice.pick::<&[u8]>(inserts);
                bytes.splice(at..at, piece.iter().copied());
            }
            2 => {
                let end = (at + dice.below(12)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + dice.below(12)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
    }
}
