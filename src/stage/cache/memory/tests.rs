//! Bounds of the memory, each at the limit and one past it; variants, purges, and who goes first.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::super::entry::{Asking, dress};
use super::super::key::Asker;
use super::super::{CacheTotals, Rule};
use super::*;
use crate::call::{Reply, ReplyBody};
use crate::policy::caching::{Asked, Received, Terms};

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
    };
    pairs.iter().map(header).collect()
}

fn rule(entry_bytes_max: usize) -> Rule {
    Rule {
        fingerprint: [1; 32],
        surface: "web".into(),
        terms: Terms { ttl: Some(Duration::from_secs(60)), ..Terms::default() },
        vary: Box::default(),
        by_consumer: false,
        entry_bytes_max,
        counts: Arc::default(),
        store: None,
    }
}

/// What a backend says to a request with these headers, kept or not.
fn made(
    said: &[(&'static str, &str)],
    asked: &[(&'static str, &str)],
    body_bytes: usize,
    rule: &Rule,
    bounds: &Bounds,
) -> Option<Entry> {
    let json = Bytes::from(vec![b'a'; body_bytes]);
    let mut reply =
        Reply { metadata: headers(said), body: ReplyBody::Unary { json, trailers: HeaderMap::new() } };
    let labels = dress(&mut reply, rule);
    let (metadata, asked) = (HeaderMap::new(), headers(asked));
    let asking = Asking {
        rule,
        bounds,
        asker: Asker { metadata: &metadata, headers: &asked },
        method: "a.B.Get",
        path: "/v1/items/7",
        key_bytes: 10,
        asked: Asked::default(),
        received: Received::default(),
    };
    Entry::of(&reply, labels, &asking, Instant::now())
}

pub(in crate::stage::cache) fn entry(
    said: &[(&'static str, &str)],
    asked: &[(&'static str, &str)],
    body_bytes: usize,
) -> Arc<Entry> {
    Arc::new(made(said, asked, body_bytes, &rule(1 << 20), &Bounds::default()).expect("a reply to keep"))
}

/// The sizes of the replies that are found under keys, 0 where none is.
fn found(memory: &Memory, keys: &[&Arc<[u8]>]) -> Vec<usize> {
    let size = |key: &&Arc<[u8]>| match memory.find(key, Instant::now(), |_| true) {
        Found::Entry(entry) => entry.bytes,
        Found::Varies | Found::Nothing => 0,
    };
    keys.iter().map(size).collect()
}

/// Keeps a reply that was asked for just now.
fn keep(memory: &Memory, key: &Arc<[u8]>, entry: Arc<Entry>) -> bool {
    memory.keep(key, &entry, &memory.flight("web", "/v1/items/7")).is_ok()
}

/// Keys of one shard.
fn keys(memory: &Memory, count: usize) -> Vec<Arc<[u8]>> {
    let first = memory.shard(b"0");
    let all = (0_u32..).map(|number| Arc::<[u8]>::from(number.to_be_bytes()));
    all.filter(|key| std::ptr::eq(memory.shard(key), first)).take(count).collect()
}

fn memory(bounds: Bounds) -> (Memory, Arc<CacheTotals>) {
    let totals = Arc::<CacheTotals>::default();
    (Memory::new(bounds, totals.clone()), totals)
}

#[test]
fn what_was_not_used_goes_first_when_bytes_run_out() {
    let bytes = entry(&[], &[], 1000).bytes;
    let (memory, totals) = memory(Bounds { bytes_max: 3 * bytes * SHARDS, ..Bounds::default() });
    let keys = keys(&memory, 4);
    for key in &keys[..3] {
        assert!(keep(&memory, key, entry(&[], &[], 1000)));
    }
    let all: Vec<_> = keys.iter().collect();
    assert_eq!(found(&memory, &all), [bytes, bytes, bytes, 0]);
    assert_eq!((totals.entries(), totals.bytes(), totals.evicted.value()), (3, 3 * bytes as i64, 0));
    // All were used just now: the first comes to its turn, loses that, and so do the others; then it goes.
    assert!(keep(&memory, &keys[3], entry(&[], &[], 1000)));
    assert_eq!(found(&memory, &all).iter().filter(|size| **size > 0).count(), 3);
    assert_eq!((totals.entries(), totals.evicted.value()), (3, 1));
    // One byte more than a shard has is not kept at all.
    assert!(keep(&memory, &keys[0], entry(&[], &[], 1000 + 2 * bytes)));
    assert!(!keep(&memory, &keys[0], entry(&[], &[], 1001 + 2 * bytes)));
    drop(memory);
    assert_eq!((totals.entries(), totals.bytes()), (0, 0));
}

#[test]
fn what_is_used_stays() {
    let bytes = entry(&[], &[], 1000).bytes;
    let (memory, _) = memory(Bounds { bytes_max: 3 * bytes * SHARDS, ..Bounds::default() });
    let keys = keys(&memory, 100);
    assert!(keep(&memory, &keys[0], entry(&[], &[], 1000)));
    for key in &keys[1..] {
        assert_eq!(found(&memory, &[&keys[0]]), [bytes]);
        assert!(keep(&memory, key, entry(&[], &[], 1000)));
    }
    assert_eq!(found(&memory, &[&keys[0], &keys[1], &keys[99]]), [bytes, 0, bytes]);
}

#[test]
fn one_variant_too_many_takes_the_place_of_the_oldest() {
    let (memory, totals) = memory(Bounds { variants_max: 2, ..Bounds::default() });
    let key: Arc<[u8]> = Arc::from(*b"key");
    let said = [("vary", "x-a")];
    let (empty, languages) = (HeaderMap::new(), ["1", "2", "3"]);
    let has = |value: &str| {
        let asked = headers(&[("x-a", value)]);
        let asker = Asker { metadata: &empty, headers: &asked };
        matches!(memory.find(&key, Instant::now(), |entry| asker.says(&entry.varied)), Found::Entry(_))
    };
    for (value, expected) in [
        ("1", [true, false, false]),
        ("2", [true, true, false]),
        ("1", [true, true, false]),
        ("3", [true, false, true]),
    ] {
        assert!(keep(&memory, &key, entry(&said, &[("x-a", value)], 10)));
        assert_eq!(languages.map(has), expected, "after {value}");
    }
    assert_eq!(totals.entries(), 2);
}

#[test]
fn purges_take_what_they_name_and_what_is_on_its_way() {
    let (memory, totals) = memory(Bounds::default());
    let keys: Vec<Arc<[u8]>> = [b"1", b"2", b"3"].map(|key| Arc::from(&key[..])).into();
    let all: Vec<_> = keys.iter().collect();
    let fill = || {
        for (key, tags) in keys.iter().zip(["a, b", "b", "c"]) {
            assert!(keep(&memory, key, entry(&[("x-cache-tags", tags)], &[], 10)));
        }
    };
    let check = |purge: Purge, count: u64, left: [bool; 3]| {
        fill();
        assert_eq!(memory.purge(&purge), count, "{purge:?}");
        let found: Vec<_> = found(&memory, &all).iter().map(|size| *size > 0).collect();
        assert_eq!(found, left, "{purge:?}");
    };
    let all_of = Purge::default;
    let tags = |tags: &[&str]| {
        let tags = tags.iter().map(ToString::to_string).collect();
        Purge { tags: Some(tags), ..all_of() }
    };
    let method = |name: &str| Purge { method: Some(name.to_owned()), ..all_of() };
    let surface = |name: &str| Purge { surface: Some(name.to_owned()), ..all_of() };
    let path = |path: &str| Purge { path: Some(path.to_owned()), ..all_of() };
    check(tags(&["a"]), 1, [false, true, true]);
    check(tags(&["b"]), 2, [false, false, true]);
    check(tags(&["a", "c"]), 2, [false, true, false]);
    check(tags(&["d", "A"]), 0, [true; 3]);
    check(tags(&[]), 0, [true; 3]);
    check(method("a.B.Get"), 3, [false; 3]);
    check(method("a.B"), 0, [true; 3]);
    check(surface("web"), 3, [false; 3]);
    check(surface("we"), 0, [true; 3]);
    check(path("/v1/items/7"), 3, [false; 3]);
    check(path("/v1/items/8"), 0, [true; 3]);
    check(Purge { tags: tags(&["b"]).tags, ..method("a.B.Get") }, 2, [false, false, true]);
    check(Purge { tags: tags(&["b"]).tags, ..method("a.B.List") }, 0, [true; 3]);
    check(all_of(), 3, [false; 3]);
    assert_eq!((totals.entries(), totals.bytes(), totals.purged.value()), (0, 0, 19));
}

#[test]
fn targets_are_purged_exactly() {
    let (memory, totals) = memory(Bounds::default());
    let keys: Vec<Arc<[u8]>> = [b"1", b"2"].map(|key| Arc::from(&key[..])).into();
    let purge = |surface: &str, path: &str| {
        let target = Target { surface: surface.to_owned(), path: path.to_owned() };
        memory.purge(&Purge { targets: Some(vec![target]), ..Purge::default() })
    };
    for key in &keys {
        // The second takes the place of the first.
        assert!(keep(&memory, key, entry(&[], &[], 10)) && keep(&memory, key, entry(&[], &[], 20)));
    }
    assert_eq!(
        [purge("web", "/v1/items/"), purge("web", "/v1/items/70"), purge("app", "/v1/items/7")],
        [0; 3]
    );
    assert_eq!(purge("web", "/v1/items/7"), 2);
    assert_eq!(purge("web", "/v1/items/7"), 0);
    assert_eq!((totals.entries(), totals.bytes()), (0, 0));
    assert!(memory.shards.iter().all(|shard| shard.read().expect("one thread").by_target.is_empty()));
}

#[test]
fn what_is_purged_on_its_way_is_not_kept_and_anything_else_is() {
    let (memory, _) = memory(Bounds::default());
    let key: Arc<[u8]> = Arc::from(*b"key");
    let tags = |tag: &str| Purge { tags: Some(vec![tag.to_owned()]), ..Purge::default() };
    let target = |path: &str| {
        let target = Target { surface: "web".to_owned(), path: path.to_owned() };
        Purge { targets: Some(vec![target]), ..Purge::default() }
    };
    let check = |purges: &[Purge], expected: Result<(), Unkept>| {
        let flight = memory.flight("web", "/v1/items/7");
        for purge in purges {
            memory.purge(purge);
        }
        let kept = memory.keep(&key, &entry(&[("x-cache-tags", "own")], &[], 10), &flight);
        assert_eq!(kept, expected, "{purges:?}");
    };
    let purged = Err(Unkept::Purged);
    check(&[], Ok(()));
    check(&[tags("other"), target("/v1/items/70")], Ok(()));
    check(&[tags("own")], purged);
    check(&[target("/v1/items/7"), tags("other")], purged);
    check(&[Purge::default()], purged);
    // So many are told apart; one more is one of everything.
    let many = |count: usize| vec![tags("other"); count];
    check(&many(Flights::purges_max()), Ok(()));
    check(&many(Flights::purges_max() + 1), purged);
    assert_eq!(memory.flights.count(), 0);
}

#[test]
fn forgotten_slots_do_not_fill_the_queue() {
    let (memory, totals) = memory(Bounds::default());
    let key: Arc<[u8]> = Arc::from(*b"key");
    for _ in 0..10_000 {
        let kept = entry(&[], &[], 10);
        assert!(keep(&memory, &key, kept.clone()));
        memory.forget(&key, &kept);
    }
    let queued = memory.shard(&key).read().expect("one thread").queue.len();
    assert!(queued <= SHARDS + 2, "{queued}");
    assert_eq!((totals.entries(), totals.bytes()), (0, 0));
}

#[test]
fn it_is_remembered_for_a_while_what_is_not_kept() {
    let (memory, _) = memory(Bounds::default());
    let key: Arc<[u8]> = Arc::from(*b"key");
    let now = Instant::now();
    assert!(!memory.is_passing(&key, now));
    memory.pass(&key, now);
    memory.pass(&key, now);
    assert!(memory.is_passing(&key, now + PASSING - Duration::from_millis(1)));
    assert!(!memory.is_passing(&key, now + PASSING));
    assert!(!memory.is_passing(b"other", now));
    assert_eq!(memory.shard(&key).read().expect("one thread").slots.len(), 1);
}

#[test]
fn replies_are_bounded_before_they_are_kept() {
    let bounds = Bounds { key_bytes_max: 40, vary_names_max: 2, ..Bounds::default() };
    let check = |said: &[(&'static str, &str)], asked: &[(&'static str, &str)], expected: bool| {
        let kept = made(said, asked, 10, &rule(1 << 20), &bounds);
        assert_eq!(kept.is_some(), expected, "{said:?} {asked:?}");
    };
    check(&[("vary", "a, b")], &[], true);
    check(&[("vary", "a, b, c")], &[], false);
    // Ten bytes are the key's; a value has nine before it.
    let value = "v".repeat(21);
    check(&[("vary", "a")], &[("a", &value)], true);
    check(&[("vary", "a")], &[("a", &format!("{value}v"))], false);
    let tags = |count: usize| vec!["t"; count].join(" ");
    check(&[("x-cache-tags", &tags(64))], &[], true);
    check(&[("x-cache-tags", &tags(65))], &[], false);
    check(&[("x-cache-tags", &"t".repeat(128))], &[], true);
    check(&[("x-cache-tags", &"t".repeat(129))], &[], false);
    let bytes = entry(&[], &[], 10).bytes;
    assert!(made(&[], &[], 10, &rule(bytes), &bounds).is_some());
    assert!(made(&[], &[], 11, &rule(bytes), &bounds).is_none());
}
