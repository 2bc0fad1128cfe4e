//! Rows, their bounds, and what "lately" means.

use serde_json::{Value, json};

use super::keys::KEYS_MAX;
use super::*;
use crate::policy::api_key::{KeyHash, KeyStatistic, KeyUse};

const MS: Duration = Duration::from_millis(1);

fn outcome(code: Code) -> Outcome {
    Outcome { code, bytes_in: 10, bytes_out: 20, messages: 1, cost: 2, duration: MS }
}

fn json(stats: &Stats, now: Instant) -> Value {
    serde_json::from_str(&stats.view(now, 1).json()).expect("JSON")
}

#[test]
fn shards_are_one_view() {
    let stats = Stats::default();
    let route = stats.route(&"web".into(), "a.B.C");
    let acme: Arc<str> = "acme".into();
    for shard in [stats.shard(), stats.shard()] {
        shard.record(&route, Some(&acme), &outcome(Code::Ok));
        shard.record(&route, None, &outcome(Code::NotFound));
        shard.refused("auth", "INVALID_TOKEN");
    }
    stats.shard().record(&stats.route(&"mobile".into(), "a.B.C"), None, &outcome(Code::Ok));
    let view = json(&stats, Instant::now());
    assert_eq!(view["methods"]["a.B.C"]["total"]["codes"], json!({ "OK": 3, "NOT_FOUND": 2 }));
    assert_eq!(view["surfaces"]["web"]["total"]["calls"], 4);
    assert_eq!(view["surfaces"]["mobile"]["lately"]["calls"], 1);
    assert_eq!(view["consumers"]["acme"]["total"]["bytes_out"], 40);
    assert_eq!(view["consumers"]["acme"]["total"]["latency_ms"]["mean"], 1.0);
    assert_eq!(view["refused"], json!({ "auth": { "INVALID_TOKEN": 2 } }));
    let calls = stats.calls();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(calls.contains(&("web".into(), "a.B.C".into(), Code::NotFound, 2)), "{calls:?}");
}

#[test]
fn lately_is_a_minute() {
    let stats = Stats::default();
    let (shard, route) = (stats.shard(), stats.route(&"web".into(), "a.B.C"));
    let start = Instant::now();
    let lately = |second: u64| {
        let view = json(&stats, start + Duration::from_secs(second));
        view["methods"]["a.B.C"]["lately"]["calls"].as_u64().unwrap_or_default()
    };
    for tick in 1..=20 {
        shard.record(&route, None, &outcome(Code::Ok));
        stats.note(start + tick * NOTED_EVERY);
        assert_eq!(lately(tick as u64 * 10), tick.min(6) as u64, "after {tick} times ten seconds");
    }
    shard.record(&route, None, &outcome(Code::Ok));
    assert_eq!(lately(205), 7, "up to now, not up to the last note");
    assert!(stats.past.lock().expect("one test").len() <= 8);
}

#[test]
fn rows_are_bounded() {
    let stats = Stats::default();
    let shard = stats.shard();
    let routes: Vec<_> =
        (0..ROUTES_MAX + 2).map(|index| stats.route(&"web".into(), &format!("a.B.M{index}"))).collect();
    assert_eq!(routes.iter().filter(|route| route.row == 0).count(), 2);
    assert_eq!(&*routes[ROUTES_MAX + 1].method, format!("a.B.M{}", ROUTES_MAX + 1), "bills have its name");
    assert!(Arc::ptr_eq(&stats.route(&"web".into(), "a.B.M0"), &routes[0]), "the same after a reload");
    for (index, route) in routes.into_iter().enumerate() {
        let consumer = format!("c{index}").into();
        shard.record(&route, Some(&consumer), &outcome(Code::Ok));
        shard.refused("auth", &format!("R{index}"));
    }
    let view = json(&stats, Instant::now());
    for rows in ["methods", "consumers"] {
        let rows = view[rows].as_object().expect("rows");
        assert_eq!((rows.len(), &rows["other"]["total"]["calls"]), (5, &json!(2)), "{rows:?}");
    }
    assert_eq!(view["refused"]["auth"]["other"], 2);
}

#[test]
fn busiest_consumers_are_shown() {
    let stats = Stats::default();
    let route = stats.route(&"web".into(), "a.B.C");
    // Each worker has room for its own; together they have more than is shown.
    for worker in 0..3 {
        let shard = stats.shard();
        for index in 0..CONSUMERS_MAX {
            let consumer = format!("w{worker}-{index}").into();
            for _ in 0..=worker {
                shard.record(&route, Some(&consumer), &outcome(Code::Ok));
            }
        }
    }
    let view = json(&stats, Instant::now());
    let consumers = view["consumers"].as_object().expect("rows");
    assert_eq!(consumers.len(), CONSUMERS_MAX + 1);
    assert!(consumers.keys().all(|name| name.starts_with("w2-") || name == "other"), "{consumers:?}");
    assert_eq!(consumers["other"]["total"]["calls"], 3 * CONSUMERS_MAX);
}

#[test]
fn tables_show_names_and_no_markup() {
    let stats = Stats::default();
    let shard = stats.shard();
    let consumer = "<b>\u{1b}[31m&".into();
    shard.record(&stats.route(&"web".into(), "a.B.C"), Some(&consumer), &outcome(Code::Unavailable));
    let view = stats.view(Instant::now(), 1);
    let line = view.text().lines().find(|line| line.starts_with("a.B.C")).map(str::to_owned);
    let words: Vec<_> = line.as_deref().unwrap_or_default().split_whitespace().collect();
    assert_eq!(words[..5], ["a.B.C", "1", "1", "1", "1"]);
    assert!(view.html().contains("&lt;b&gt;\u{fffd}[31m&amp;"), "{}", view.html());
}

#[test]
fn keys_are_shown_by_their_last_use() {
    let key = |id: &str, at: u64| KeyStatistic {
        hash: KeyHash::of(id),
        consumer: "acme".into(),
        last_use: Some(KeyUse { id: id.into(), at }),
        expires: Some(86_400).filter(|_| id == "b"),
    };
    let keys = [key("a", 1), key("e", 2), key("b", 2), key("c", 3), key("d", 1)];
    let check = |count: usize, expected: &[&str], left_out: usize| {
        let (stats, keys) = (Stats::default(), keys[..count].to_vec());
        stats.keys.observe(move || keys.clone());
        let view = json(&stats, Instant::now());
        let ids: Vec<_> =
            view["keys"].as_array().into_iter().flatten().map(|key| key["id"].clone()).collect();
        assert_eq!((json!(ids), view["keys_left_out"].clone()), (json!(expected), json!(left_out)));
        view
    };
    check(0, &[], 0);
    let view = check(KEYS_MAX, &["c", "b", "e", "a"], 0);
    let b = json!({ "id": "b", "consumer": "acme", "last_used": "1970-01-01T00:00:02.000Z",
                    "expires": "1970-01-02T00:00:00.000Z" });
    assert_eq!((&view["keys"][1], &view["keys"][2]["expires"]), (&b, &Value::Null));
    check(KEYS_MAX + 1, &["c", "b", "e", "a"], 1);
}

#[test]
fn unused_keys_are_counted_by_consumer() {
    let check = |consumers: &[&str], expected: Value, line: &str| {
        let unused = |(index, consumer): (usize, &&str)| KeyStatistic {
            hash: KeyHash::of(&index.to_string()),
            consumer: (*consumer).into(),
            last_use: None,
            expires: None,
        };
        let keys: Vec<_> = consumers.iter().enumerate().map(unused).collect();
        let stats = Stats::default();
        stats.keys.observe(move || keys.clone());
        let view = json(&stats, Instant::now());
        assert_eq!((&view["keys"], &view["keys_unused"]), (&json!([]), &expected));
        let table = stats.view(Instant::now(), 1).text();
        assert!(table.lines().any(|found| found == line), "no `{line}` in {table}");
    };
    check(&["a"], json!({ "a": 1 }), "1 key of a not used since the start");
    check(&["a", "b", "a"], json!({ "a": 2, "b": 1 }), "2 keys of a not used since the start");
    let fitting = json!({ "a": 1, "b": 1, "c": 1, "d": 1 });
    check(&["a", "b", "c", "d"], fitting, "1 key of d not used since the start");
    let fitting = json!({ "a": 1, "b": 1, "c": 1, "d": 1, "other": 2 });
    check(&["a", "b", "c", "d", "e", "f"], fitting, "2 keys of other not used since the start");
}

#[test]
fn callers_of_what_is_deprecated_have_rows() {
    let stats = Stats::default();
    let [old, new] = ["old", "new"].map(|method| stats.route(&"web".into(), method));
    let shards = [stats.shard(), stats.shard()];
    let call = |route: &Route, consumer: &str| {
        let consumer: Option<Arc<str>> = (!consumer.is_empty()).then(|| consumer.into());
        shards.iter().for_each(|shard| shard.record(route, consumer.as_ref(), &outcome(Code::Ok)));
    };
    call(&old, "early");
    stats.deprecate(|surface, method| (surface, method) == ("web", "old"));
    for (route, consumer) in [(&old, "acme"), (&old, "acme"), (&new, "acme"), (&old, ""), (&old, "zeta")] {
        call(route, consumer);
    }
    let view = stats.view(Instant::now(), 1);
    let text = view.text();
    assert!(text.contains("\ndeprecated ") && text.contains("\nweb              acme "), "{text}");
    let seen = &json(&stats, Instant::now())["deprecated"]["web"];
    assert_eq!((&seen["acme"]["calls"], &seen["zeta"]["calls"]), (&4.into(), &2.into()));
    assert!(seen["acme"]["last"].as_str().is_some_and(|last| last.ends_with('Z')), "{seen:#}");
    assert_eq!(seen.as_object().map(serde_json::Map::len), Some(2), "{seen:#}");
    // So many have a row of their own, and then the others have one together.
    for number in 0..CONSUMERS_MAX {
        call(&old, &number.to_string());
    }
    let seen = &json(&stats, Instant::now())["deprecated"]["web"];
    assert_eq!(seen.as_object().map(serde_json::Map::len), Some(CONSUMERS_MAX + 1), "{seen:#}");
    assert_eq!(seen["other"]["calls"], 4);
    // Nothing is deprecated any more: what was counted stays.
    stats.deprecate(|_, _| false);
    call(&old, "acme");
    assert_eq!(json(&stats, Instant::now())["deprecated"]["web"]["acme"]["calls"], 4);
}
