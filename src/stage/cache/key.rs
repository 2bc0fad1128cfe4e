//! What a reply is found by: everything that the backend is told, but for what is known to be none of its matter.
//!
//! ```text
//! Key = fingerprint, surface, method, request, metadata, side, partition
//! request = binding, captured fields, query | the message in wire form
//! ```
//!
//! Captured fields are decoded, so that spellings of one path are one key, and no suffix of a path makes another.
//! Whatever metadata clients can make the gateway forward is part of the key: what were not, one client could use to
//! change what others read. What is left out is named below; `Vary` of the reply brings it back.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::Rule;
use crate::call::{Call, Payload};
use crate::policy::identity::Identity;
use crate::stage::auth::Auth;
use crate::stage::auth::provider::Scheme;

/// The words of a key, each with its kind and its length before it.
pub(super) type Words = SmallVec<[u8; 256]>;

/// Names of `Vary`, each with the request's values.
pub(super) type Varied = Box<[(HeaderName, Box<[u8]>)]>;

/// Metadata that is no part of the key: it names the client, its way or its credential, or choices for which HTTP
/// has `Vary`.
const APART: [&str; 8] = [
    "accept-language",
    "authorization",
    "baggage",
    "traceparent",
    "tracestate",
    "x-forwarded-for",
    "x-forwarded-user-agent",
    "x-request-id",
];

/// The key of a call.
pub(super) fn words(call: &Call, rule: &Rule) -> Words {
    let binding = &call.binding;
    let mut words = Words::new();
    words.extend_from_slice(&rule.fingerprint);
    put(&mut words, b'u', rule.surface.as_bytes());
    put(&mut words, b'm', binding.method.as_bytes());
    match &call.payload {
        Payload::Http { captures, .. } => {
            put(&mut words, b'v', binding.verb.as_bytes());
            put(&mut words, b't', binding.template.as_bytes());
            for text in captures.iter() {
                put(&mut words, b'c', text.as_bytes());
            }
            if let Some(query) = call.head.uri.query() {
                put(&mut words, b'q', query.as_bytes());
            }
        }
        // Its head is that of a request which asks for other things as well.
        Payload::Wire(message) => put(&mut words, b'z', message),
    }
    let forwarded = call.identity.as_ref().map(|identity| &identity.forward);
    for (name, value) in &call.metadata {
        let is_apart = APART.contains(&name.as_str())
            // What the gateway itself writes for an identity: whether it may be shared is the reply's to say.
            || forwarded.is_some_and(|forwarded| forwarded.contains_key(name));
        if !is_apart {
            put(&mut words, b'n', name.as_str().as_bytes());
            put(&mut words, b'w', value.as_bytes());
        }
    }
    // What one side says is not what the other does.
    if call.snapshot.rule(&call.binding).destinations.all().len() > 1 {
        put(&mut words, b'r', &call.service.to_be_bytes());
    }
    if rule.by_consumer {
        put_partition(&mut words, call);
    }
    words
}

/// The consumer, or the holder of the credential where it belongs to none; and the credential that the backend judges
/// by itself.
fn put_partition(words: &mut Words, call: &Call) {
    match &call.identity {
        Some(identity) => match &identity.consumer {
            Some(consumer) => put(words, b'k', consumer.name.as_bytes()),
            None => {
                put(words, b'p', identity.provider.as_bytes());
                put(words, b's', identity.subject.as_bytes());
            }
        },
        // It may be withheld from the backend, and is somebody's nevertheless.
        None => put_all(words, b'h', &call.head.headers),
    }
    // Whom no provider knows, the backend may, whatever header the client has used for it.
    if !call.identity.as_ref().is_some_and(|identity| is_passed_on(call, identity)) {
        put_all(words, b'a', &call.metadata);
    }
}

fn put_all(words: &mut Words, kind: u8, headers: &HeaderMap) {
    headers.get_all(AUTHORIZATION).iter().for_each(|value| put(words, kind, value.as_bytes()));
}

/// Whether what the backend sees is the very credential for which the identity stands (`pass_token`).
fn is_passed_on(call: &Call, identity: &Identity) -> bool {
    let Some(auth) = call.snapshot.live.get::<Arc<Auth>>() else { return false };
    let provider = auth.providers.iter().find(|provider| provider.profile().provider == identity.provider);
    provider.is_some_and(|provider| {
        // An external service may have judged by anything else.
        let is_judged = provider.carrier() == Some(&AUTHORIZATION) && provider.scheme() != Scheme::External;
        is_judged && provider.profile().pass_token
    })
}

fn put(words: &mut Words, kind: u8, word: &[u8]) {
    words.push(kind);
    words.extend_from_slice(&(word.len() as u64).to_be_bytes());
    words.extend_from_slice(word);
}

/// The names of a reply's `Vary` and of the rule's; `None` where nothing tells replies apart (`*`).
pub(super) fn varied_names(reply: &HeaderMap, rule: &Rule, most: usize) -> Option<Vec<HeaderName>> {
    let mut names = rule.vary.to_vec();
    for value in reply.get_all(http::header::VARY) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            if name == b"*" {
                return None;
            }
            let name = HeaderName::from_bytes(name).ok()?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    (names.len() <= most).then_some(names)
}

/// What a request says under the names.
pub(super) fn varied(asker: Asker<'_>, names: Vec<HeaderName>) -> Varied {
    let values = names.into_iter().map(|name| {
        let value = asker.value(&name).into_vec().into();
        (name, value)
    });
    values.collect()
}

/// What tells the lines apart in which calls wait for a reply: the key, and what replies vary in by the rule.
pub(super) fn line(mut words: Words, asker: Asker<'_>, rule: &Rule, is_guarded: bool) -> Words {
    put(&mut words, b'l', &[u8::from(is_guarded)]);
    for name in &rule.vary {
        put(&mut words, b'y', &asker.value(name));
    }
    words
}

/// The part of a request by which replies vary.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) metadata: &'a HeaderMap,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> Asker<'a> {
    pub(super) fn of(call: &'a Call) -> Self {
        Self { metadata: &call.metadata, headers: &call.head.headers }
    }

    /// Whether it says what another has said.
    pub(super) fn says(self, varied: &Varied) -> bool {
        varied.iter().all(|(name, kept)| *self.value(name) == **kept)
    }

    /// As the backend sees it, then as the client wrote it.
    fn value(self, name: &HeaderName) -> Words {
        let mut words = Words::new();
        for (kind, headers) in [(b'n', self.metadata), (b'h', self.headers)] {
            for value in headers.get_all(name) {
                put(&mut words, kind, value.as_bytes().trim_ascii());
            }
        }
        words
    }
}
