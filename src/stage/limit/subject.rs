//! Whom a bucket counts: the words that tell one subject from another.
//!
//! The same words name a subject on every node; their hash under this process's keys names its cells here.
//! Each word has its kind and its length before it, so that no header can be made to look like another.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::bucket::{Bucket, By};
use crate::call::Call;
use crate::store::key::{KeyBuilder, Keys, Subject};

/// What names the cells of a bucket: what is the same for all of its subjects is hashed when it is made.
#[derive(Clone, Debug)]
pub struct Cells {
    begun: KeyBuilder,
    spill: Subject,
}

/// The words of one subject.
pub(super) type Words = SmallVec<[u8; 96]>;

/// The words of the subject that a call belongs to.
pub(super) fn words(bucket: &Bucket, call: &Call) -> Words {
    let mut words = Words::new();
    words.extend_from_slice(&bucket.number.to_be_bytes());
    for by in &bucket.by {
        match by {
            By::Address => put_address(&mut words, call.head.client.address),
            By::Method => put(&mut words, b'm', call.binding.method.as_bytes()),
            By::Header(name) => {
                for value in call.head.headers.get_all(name) {
                    put(&mut words, b'h', value.as_bytes());
                }
                // Ends the values: those of the next header are not this one's.
                put(&mut words, b'e', b"");
            }
            By::Consumer => put_consumer(&mut words, call),
        }
    }
    words
}

fn put_consumer(words: &mut Words, call: &Call) {
    match &call.identity {
        Some(identity) => match &identity.consumer {
            Some(consumer) => put(words, b'c', consumer.name.as_bytes()),
            None => {
                put(words, b'p', identity.provider.as_bytes());
                put(words, b's', identity.subject.as_bytes());
            }
        },
        None => put_address(words, call.head.client.address),
    }
}

fn put_address(words: &mut Words, address: IpAddr) {
    match address {
        IpAddr::V4(address) => put(words, b'4', &address.octets()),
        IpAddr::V6(address) => {
            // RFC 6177, section 2: an end site has at least a /64, whose addresses cost it nothing.
            put(words, b'6', address.octets().first_chunk::<8>().expect("16 octets"));
        }
    }
}

fn put(words: &mut Words, kind: u8, word: &[u8]) {
    words.push(kind);
    words.extend_from_slice(&(word.len() as u64).to_be_bytes());
    words.extend_from_slice(word);
}

impl Cells {
    /// Of the bucket with this name and this number.
    pub fn new(keys: &Keys, name: &str, number: u16) -> Self {
        let mut begun = keys.begin();
        begun.word(name.as_bytes());
        let mut spill = begun.clone();
        spill.word(&number.to_be_bytes());
        Self { begun, spill: spill.finish() }
    }

    /// Those of the subject with these words.
    pub(super) fn of(&self, words: &[u8]) -> Subject {
        let mut builder = self.begun.clone();
        builder.word(words);
        builder.finish()
    }

    /// Those for subjects that find no room.
    pub(super) fn spill(&self) -> Subject {
        self.spill
    }
}
