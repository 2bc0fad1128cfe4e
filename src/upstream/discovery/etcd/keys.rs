//! The keys under the prefix, as a range and then a watch tell them: the pure part.

use std::collections::BTreeMap;

use super::value;
use super::wire::{EventKind, KeyValue, WatchResponse};
use crate::upstream::EndpointSpec;
use crate::upstream::discovery::Feed;

/// More keys are a prefix that is too short.
pub(super) const KEYS_MAX: usize = 10_000;

/// The keys with their endpoints; `None` where the value makes no sense.
pub(super) struct Keys<'f> {
    feed: &'f Feed,
    by_key: BTreeMap<Vec<u8>, Option<EndpointSpec>>,
}

/// What a message of the watch leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is something to tell.
    Told,
    Nothing,
    /// What was asked for is compacted: only all keys tell what holds.
    ListAgain,
}

impl<'f> Keys<'f> {
    pub(super) fn new(feed: &'f Feed) -> Self {
        Self { feed, by_key: BTreeMap::new() }
    }

    /// # Errors
    ///
    /// There are too many.
    pub(super) fn put(&mut self, KeyValue { key, value }: KeyValue) -> Result<(), String> {
        let endpoint = value::read(&value, |authority| self.feed.endpoint(authority));
        self.by_key.insert(key, endpoint);
        if self.by_key.len() > KEYS_MAX { Err(too_many()) } else { Ok(()) }
    }

    /// # Errors
    ///
    /// The watch has ended; or there are too many keys.
    pub(super) fn follow(&mut self, message: WatchResponse) -> Result<Next, String> {
        if message.compact_revision != 0 {
            return Ok(Next::ListAgain);
        }
        if message.canceled {
            return Err(format!("etcd has ended the watch: {}", message.cancel_reason));
        }
        let next = if message.events.is_empty() { Next::Nothing } else { Next::Told };
        for event in message.events {
            let kind = event.kind();
            let Some(kv) = event.kv else { continue };
            match kind {
                EventKind::Put => self.put(kv)?,
                EventKind::Delete => drop(self.by_key.remove(&kv.key)),
            }
        }
        Ok(next)
    }

    /// Tells what holds now.
    pub(super) fn tell(&self) {
        let specs: Vec<_> = self.by_key.values().flatten().cloned().collect();
        let left_out = self.by_key.values().filter(|endpoint| endpoint.is_none()).count();
        self.feed.list(specs, left_out as u64);
    }
}

pub(super) fn too_many() -> String {
    format!("more than {KEYS_MAX} keys begin with the prefix")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::wire::Event;
    use super::*;
    use crate::upstream::discovery::etcd::EtcdSettings;
    use crate::upstream::discovery::{Discovery, DiscoverySettings, Source};

    fn discovery() -> Arc<Discovery> {
        let source = Source::Etcd(EtcdSettings {
            urls: Vec::new(),
            prefix: "p/".into(),
            login: None,
            tls: Default::default(),
        });
        Discovery::new(
            "api",
            DiscoverySettings { source, is_tls: false, empty_after: Duration::ZERO },
            Vec::new(),
        )
    }

    fn kv(key: &str, value: &str) -> KeyValue {
        KeyValue { key: key.into(), value: value.into() }
    }

    fn events(events: &[(EventKind, &str, &str)]) -> WatchResponse {
        let event = |(kind, key, value): &(EventKind, &str, &str)| Event {
            kind: *kind as i32,
            kv: Some(kv(key, value)),
        };
        WatchResponse { events: events.iter().map(event).collect(), ..WatchResponse::default() }
    }

    #[test]
    fn events_change_the_list_and_the_end_of_a_watch_does_not() {
        let discovery = discovery();
        let feed = Feed(Arc::clone(&discovery.shared));
        let mut keys = Keys::new(&feed);
        let told = |keys: &Keys<'_>| {
            keys.tell();
            discovery.endpoints().iter().map(|spec| spec.address.authority.to_string()).collect::<Vec<_>>()
        };
        keys.put(kv("p/a", "a:1")).expect("room");
        keys.put(kv("p/x", "nonsense")).expect("room");
        assert_eq!(told(&keys), ["a:1"]);
        assert_eq!(discovery.seen().left_out, 1);
        let (put, delete) = (EventKind::Put, EventKind::Delete);
        assert_eq!(keys.follow(events(&[(put, "p/b", "b:1"), (delete, "p/x", "")])), Ok(Next::Told));
        assert_eq!(told(&keys), ["a:1", "b:1"]);
        assert_eq!(discovery.seen().left_out, 0);
        assert_eq!(keys.follow(events(&[(put, "p/a", "c:1"), (delete, "p/none", "")])), Ok(Next::Told));
        assert_eq!(told(&keys), ["b:1", "c:1"]);
        assert_eq!(keys.follow(events(&[])), Ok(Next::Nothing));
        let compacted = WatchResponse { canceled: true, compact_revision: 9, ..WatchResponse::default() };
        assert_eq!(keys.follow(compacted), Ok(Next::ListAgain));
        let ended =
            WatchResponse { canceled: true, cancel_reason: "no leader".into(), ..WatchResponse::default() };
        assert_eq!(keys.follow(ended), Err("etcd has ended the watch: no leader".to_owned()));
        assert_eq!(told(&keys), ["b:1", "c:1"]);
    }

    #[test]
    fn keys_are_bounded() {
        let discovery = discovery();
        let feed = Feed(Arc::clone(&discovery.shared));
        let mut keys = Keys::new(&feed);
        for number in 0..KEYS_MAX {
            keys.put(kv(&format!("p/{number}"), "a:1")).expect("room");
        }
        keys.put(kv("p/0", "b:1")).expect("a key that is known");
        assert_eq!(keys.put(kv("p/one more", "a:1")), Err(too_many()));
    }
}
