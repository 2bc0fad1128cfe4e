//! A notation for descriptor sets, short enough for a table of cases and free to be wrong.
//!
//! ```text
//! set      = item* ("===" item*)*             several sets, joined by the loader
//! item     = key [ "(" name [number [TYPE]] ")" ] [ "{" item* "}" ]     a message field
//!          | key ":" value                                              a scalar field
//!          | "#" hex                                                    raw bytes
//! key      = a name from the table below, or a field number
//! value    = integer | "string, with \xNN" | TYPE or LABEL
//! ```
//!
//! A set that names no file is one file, `t.proto`. In parentheses stand `name`, `number` and `type`.

use std::iter::Peekable;
use std::vec::IntoIter;

use prost::encoding::encode_varint;

/// Message, key, field number, message of the value.
const KEYS: &[(&str, &str, u32, &str)] = &[
    ("set", "file", 1, "file"),
    ("file", "package", 2, ""),
    ("file", "dependency", 3, ""),
    ("file", "message", 4, "message"),
    ("file", "enum", 5, "enum"),
    ("file", "service", 6, "service"),
    ("file", "extension", 7, "field"),
    ("file", "options", 8, "file_options"),
    ("file", "public", 10, ""),
    ("file", "weak", 11, ""),
    ("file", "syntax", 12, ""),
    ("file", "edition", 14, ""),
    ("message", "field", 2, "field"),
    ("message", "message", 3, "message"),
    ("message", "enum", 4, "enum"),
    ("message", "extensions", 5, "range"),
    ("message", "extension", 6, "field"),
    ("message", "options", 7, "message_options"),
    ("message", "oneof", 8, "oneof"),
    ("message", "reserved", 9, "range"),
    ("message", "reserved_name", 10, ""),
    ("field", "extendee", 2, ""),
    ("field", "number", 3, ""),
    ("field", "label", 4, ""),
    ("field", "type", 5, ""),
    ("field", "type_name", 6, ""),
    ("field", "default", 7, ""),
    ("field", "options", 8, "field_options"),
    ("field", "oneof", 9, ""),
    ("field", "json_name", 10, ""),
    ("field", "proto3_optional", 17, ""),
    ("range", "start", 1, ""),
    ("range", "end", 2, ""),
    ("oneof", "options", 2, "oneof_options"),
    ("enum", "value", 2, "value"),
    ("enum", "options", 3, "enum_options"),
    ("enum", "reserved", 4, "range"),
    ("enum", "reserved_name", 5, ""),
    ("value", "number", 2, ""),
    ("value", "options", 3, "value_options"),
    ("service", "method", 2, "method"),
    ("service", "options", 3, "service_options"),
    ("method", "input", 2, ""),
    ("method", "output", 3, ""),
    ("method", "options", 4, "method_options"),
    ("message_options", "map_entry", 7, ""),
    ("message_options", "legacy_json", 11, ""),
    ("message_options", "features", 12, "features"),
    ("field_options", "packed", 2, ""),
    ("field_options", "features", 21, "features"),
    ("enum_options", "allow_alias", 2, ""),
    ("enum_options", "features", 7, "features"),
    ("oneof_options", "features", 1, "features"),
    ("file_options", "features", 50, "features"),
    ("features", "presence", 1, ""),
    ("features", "enum_type", 2, ""),
    ("features", "repeated", 3, ""),
    ("features", "utf8", 4, ""),
    ("features", "encoding", 5, ""),
    ("features", "json", 6, ""),
];

/// Words that stand for integers.
const WORDS: &[(&str, i64)] = &[
    ("OPTIONAL", 1),
    ("REQUIRED", 2),
    ("REPEATED", 3),
    ("DOUBLE", 1),
    ("FLOAT", 2),
    ("INT64", 3),
    ("INT32", 5),
    ("BOOL", 8),
    ("STRING", 9),
    ("GROUP", 10),
    ("MESSAGE", 11),
    ("BYTES", 12),
    ("ENUM", 14),
    ("EXPLICIT", 1),
    ("IMPLICIT", 2),
    ("LEGACY_REQUIRED", 3),
    ("OPEN", 1),
    ("CLOSED", 2),
    ("PACKED", 1),
    ("EXPANDED", 2),
    ("VERIFY", 2),
    ("NONE", 3),
    ("LENGTH_PREFIXED", 1),
    ("DELIMITED", 2),
    ("ALLOW", 1),
    ("LEGACY_BEST_EFFORT", 2),
];

/// The serialized sets that a text stands for.
pub(crate) fn sets(text: &str) -> Vec<Vec<u8>> {
    text.split("===").map(set).collect()
}

fn set(text: &str) -> Vec<u8> {
    let names_files = tokens(text).iter().any(|token| token == "file");
    let text = if names_files { text.to_owned() } else { format!("file(t.proto) {{ {text} }}") };
    let mut tokens = tokens(&text).into_iter().peekable();
    let bytes = items(&mut tokens, "set");
    assert!(tokens.next().is_none(), "an unmatched `}}`: {text}");
    bytes
}

type Tokens = Peekable<IntoIter<String>>;

/// Words, strings with their quotes in front, and punctuation.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\n' => {}
            '"' => {
                let string: String = characters.by_ref().take_while(|&next| next != '"').collect();
                tokens.push(format!("\"{string}"));
            }
            '{' | '}' | '(' | ')' | ':' => tokens.push(character.into()),
            first => {
                let mut word = String::from(first);
                while let Some(next) = characters.next_if(|next| !" \n{}():\"".contains(*next)) {
                    word.push(next);
                }
                tokens.push(word);
            }
        }
    }
    tokens
}

fn items(tokens: &mut Tokens, message: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(key) = tokens.next_if(|token| token != "}") {
        if let Some(hex) = key.strip_prefix('#') {
            bytes.extend(unhex(hex));
            continue;
        }
        let (number, inner) = field_of(message, &key);
        if tokens.next_if(|token| token == ":").is_some() {
            scalar(&mut bytes, number, &tokens.next().expect("a value"));
            continue;
        }
        let mut value = Vec::new();
        if tokens.next_if(|token| token == "(").is_some() {
            let places = if inner == "field" { [1, 3, 5] } else { [1, 2, 0] };
            for place in places {
                let Some(word) = tokens.next_if(|token| token != ")") else { break };
                let word = if place == 1 { format!("\"{word}") } else { word };
                scalar(&mut value, place, &word);
            }
            assert_eq!(tokens.next().as_deref(), Some(")"), "after {key}");
        }
        if tokens.next_if(|token| token == "{").is_some() {
            value.extend(items(tokens, inner));
            assert_eq!(tokens.next().as_deref(), Some("}"), "after {key}");
        }
        length_delimited(&mut bytes, number, &value);
    }
    bytes
}

fn field_of(message: &str, key: &str) -> (u32, &'static str) {
    if let Ok(number) = key.parse() {
        return (number, "");
    }
    if key == "name" {
        return (1, "");
    }
    let found = KEYS.iter().find(|(of, name, ..)| *of == message && *name == key);
    found.map(|&(_, _, number, inner)| (number, inner)).unwrap_or_else(|| panic!("no `{key}` in `{message}`"))
}

fn scalar(bytes: &mut Vec<u8>, number: u32, value: &str) {
    if let Some(string) = value.strip_prefix('"') {
        return length_delimited(bytes, number, &unescape(string));
    }
    let word = WORDS.iter().find(|(word, _)| *word == value).map(|&(_, number)| number);
    let integer = word.unwrap_or_else(|| value.parse().unwrap_or_else(|_| panic!("no value: {value}")));
    encode_varint(u64::from(number << 3), bytes);
    encode_varint(integer.cast_unsigned(), bytes);
}

fn length_delimited(bytes: &mut Vec<u8>, number: u32, value: &[u8]) {
    encode_varint(u64::from(number << 3 | 2), bytes);
    encode_varint(value.len() as u64, bytes);
    bytes.extend_from_slice(value);
}

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(2);
        bytes.extend(unhex(hex));
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().map(|digit| digit.to_digit(16).expect("a hex digit")).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
