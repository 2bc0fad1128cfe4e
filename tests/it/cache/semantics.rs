//! What `policy::caching` judges beside what the crate `http-cache-semantics` does, its heuristics off.
//!
//! Every difference is one of the reasoned exceptions below, each with the section that it stands on (of RFC 9111
//! where no other is named) and with whose side the stored reply is used on. A difference without an exception is a
//! fault of ours. Exceptions are conditions on what was said, so that each holds for all that comes under it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use transom::policy::caching::{Asked, Received, RequestControl, Terms, Verdict, storable};

use super::case::{self, Step};
use crate::dice::Dice;

/// Fri, 15 Jan 2027 08:00:00 GMT.
const NOW_S: u64 = 1_800_000_000;

/// A reply, who asked for it, and who asks for the same later.
#[derive(Debug)]
struct Scene {
    number: u16,
    reply: HeaderMap,
    first: HeaderMap,
    later: HeaderMap,
    after_s: u64,
}

/// Who uses a stored reply where the other does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Crate,
}

fn options() -> CacheOptions {
    CacheOptions {
        cache_heuristic: 0.0,
        immutable_min_time_to_live: Duration::ZERO,
        ..CacheOptions::default()
    }
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_S + second)
}

fn asking(headers: &HeaderMap) -> Request<()> {
    let mut request = Request::new(());
    *request.headers_mut() = headers.clone();
    request
}

fn policy(number: u16, reply: &HeaderMap, asked: &Request<()>, second: u64) -> CachePolicy {
    let mut response = Response::new(());
    *response.status_mut() = number.try_into().expect("a number of HTTP");
    *response.headers_mut() = reply.clone();
    CachePolicy::new_options(asked, &response, at(second), options())
}

fn is_used(policy: &CachePolicy, asked: &Request<()>, second: u64) -> bool {
    policy.is_storable() && matches!(policy.before_request(asked, at(second)), BeforeRequest::Fresh(_))
}

impl Scene {
    fn by_crate(&self) -> bool {
        let policy = policy(self.number, &self.reply, &asking(&self.first), 0);
        is_used(&policy, &asking(&self.later), self.after_s)
    }

    fn by_us(&self) -> bool {
        let asked = Asked {
            control: RequestControl::of(&self.first),
            has_credentials: self.first.contains_key("authorization"),
        };
        let received = Received { now: Duration::from_secs(NOW_S), delay: Duration::ZERO };
        let stored = storable(&self.reply, self.number, &Terms::default(), asked, received);
        stored.is_some_and(|stored| {
            let age = stored.age + Duration::from_secs(self.after_s);
            matches!(stored.judge(age, &RequestControl::of(&self.later)), Verdict::Fresh | Verdict::Tolerated)
        })
    }

    fn says(&self, name: &str) -> bool {
        self.reply.contains_key(name)
    }

    /// Whether a directive of the reply begins so.
    fn directs(&self, word: &str) -> bool {
        directives(&self.reply).iter().any(|directive| directive.starts_with(word))
    }

    fn wants(&self, word: &str) -> bool {
        directives(&self.later).iter().any(|directive| directive.starts_with(word))
    }

    /// Whether a kind of directive comes twice, or is no plain lower-case `name` or `name=digits`.
    fn is_odd(&self) -> bool {
        let directives = directives(&self.reply);
        let name = |directive: &str| directive.split('=').next().unwrap_or_default().to_ascii_lowercase();
        let is_plain = |directive: &String| match directive.split_once('=') {
            Some((name, value)) => {
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
                    && value.parse::<u32>().is_ok_and(|number| number.to_string() == value)
            }
            None if directive == "max-age" => false,
            None => directive.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
        };
        let mut names: Vec<_> = directives.iter().map(|directive| name(directive)).collect();
        names.sort_unstable();
        let is_twice = names.windows(2).any(|pair| pair[0] == pair[1]);
        is_twice || !directives.iter().all(is_plain)
    }

    fn exceptions(&self) -> impl Iterator<Item = &'static str> + use<'_> {
        let used = if self.by_us() { Side::Ours } else { Side::Crate };
        EXCEPTIONS.iter().filter(move |(_, side, holds)| *side == used && holds(self)).map(|(why, ..)| *why)
    }
}

fn directives(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all("cache-control").iter().filter_map(|value| value.to_str().ok());
    let split = |value: &str| value.split(',').map(|part| part.trim().to_owned()).collect::<Vec<_>>();
    values.flat_map(split).filter(|part| !part.is_empty()).collect()
}

type Exception = (&'static str, Side, fn(&Scene) -> bool);

const EXCEPTIONS: &[Exception] = &[
    // What the crate uses and we do not.
    ("4.2.3: a Date in the past is an age, which the crate does not count", Side::Crate, |scene| {
        scene.says("date")
    }),
    (
        "5.2.2.4: a no-cache reply is not stored, where the crate gives it to max-stale",
        Side::Crate,
        |scene| scene.directs("no-cache") && scene.wants("max-stale"),
    ),
    ("7.3: Set-Cookie is never stored, with `public` neither", Side::Crate, |scene| scene.says("set-cookie")),
    ("5.2.2.10, 5.2.2.8: s-maxage and proxy-revalidate forbid stale replies", Side::Crate, |scene| {
        (scene.directs("s-maxage") || scene.directs("proxy-revalidate")) && scene.wants("max-stale")
    }),
    (
        "3: what says no lifetime, or is stale when it comes, is not stored for max-stale",
        Side::Crate,
        |scene| scene.wants("max-stale"),
    ),
    ("4.2.1: what is said twice, or is no number, is stale", Side::Crate, |scene| scene.is_odd()),
    ("5.2: names of directives have no case, and commas in quotes end nothing", Side::Crate, |scene| {
        scene.is_odd()
    }),
    ("5.1: of several ages the first counts", Side::Crate, |scene| {
        scene.reply.get("age").is_some_and(|age| age.as_bytes().contains(&b','))
    }),
    ("1.2.2: an age that does not fit is old, where the crate takes it for none", Side::Crate, |scene| {
        scene.reply.get("age").is_some_and(|age| age.len() > 19)
    }),
    ("5.3: Expires twice is in the past", Side::Crate, |scene| {
        scene.reply.get_all("expires").iter().count() > 1
    }),
    ("4.2.1: a request's number that is none, or two of them, are zero", Side::Crate, |scene| {
        let wanted = |name: &str| directives(&scene.later).iter().filter(|one| one.starts_with(name)).count();
        scene.wants("max-age=soon")
            || scene.wants("max-stale=soon")
            || wanted("max-age") > 1
            || wanted("min-fresh") > 1
    }),
    ("5.2.2.3: must-understand, and the number is not understood", Side::Crate, |scene| {
        scene.directs("must-understand")
    }),
    // What we use and the crate does not.
    ("5.2.2.8: proxy-revalidate is about stale replies; with the crate none is fresh", Side::Ours, |scene| {
        scene.directs("proxy-revalidate")
    }),
    ("5.2.1.2: staleness of exactly max-stale is allowed", Side::Ours, |scene| scene.wants("max-stale=")),
    ("5.4: Pragma counts in requests, and there without Cache-Control alone", Side::Ours, |scene| {
        scene.says("pragma")
            || scene.later.contains_key("pragma") && scene.later.contains_key("cache-control")
    }),
    ("3: any final number with an explicit lifetime may be stored", Side::Ours, |scene| {
        matches!(scene.number, 201 | 202)
    }),
    ("5.2.2.3: must-understand goes before no-store", Side::Ours, |scene| {
        scene.directs("must-understand") && scene.directs("no-store")
    }),
    ("5.2, 1.2.2: case, quotes and numbers that do not fit", Side::Ours, |scene| scene.is_odd()),
    ("RFC 9110, 5.6.7: the two obsolete forms of dates", Side::Ours, |scene| {
        let is_obsolete = |value: &HeaderValue| {
            value.as_bytes().starts_with(b"Friday") || value.as_bytes().starts_with(b"Fri Jan")
        };
        ["date", "expires"].iter().any(|name| scene.reply.get_all(*name).iter().any(is_obsolete))
    }),
];

/// Header lines as replies and requests may have them; each is drawn on its own.
const REPLY_DIRECTIVES: &[&str] = &[
    "max-age=60",
    "max-age=60",
    "max-age=5",
    "max-age=0",
    "s-maxage=60",
    "s-maxage=5",
    "s-maxage=0",
    "public",
    "private",
    "no-store",
    "no-cache",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate=30",
    "stale-if-error=30",
    "MAX-AGE=60",
    "No-Store",
    "max-age=\"60\"",
    "max-age",
    "max-age=soon",
    "max-age=-1",
    "max-age=+60",
    "max-age=99999999999999999999",
    "max-age=4294967296",
    "ext=\"a, max-age=5\"",
    "private=\"x-name\"",
    "no-cache=\"x-name\"",
    "extension",
];
const DATES: &[&str] = &[
    "Fri, 15 Jan 2027 08:00:00 GMT",
    "Fri, 15 Jan 2027 07:59:30 GMT",
    "Fri, 15 Jan 2027 08:00:30 GMT",
    "Fri, 15 Jan 2021 08:00:00 GMT",
    "Friday, 15-Jan-27 08:00:30 GMT",
    "Fri Jan 15 08:00:30 2027",
    "0",
    "soon",
];
const AGES: &[&str] = &["0", "5", "50", "60", "-1", "soon", "5, 50", "4294967296", "99999999999999999999"];
const REQUEST_DIRECTIVES: &[&str] = &[
    "no-cache",
    "max-age=0",
    "max-age=30",
    "max-age=60",
    "min-fresh=0",
    "min-fresh=30",
    "min-fresh=61",
    "max-stale",
    "max-stale=0",
    "max-stale=30",
    "max-stale=soon",
    "max-age=soon",
    "only-if-cached",
    "extension",
];
const NUMBERS: &[u16] = &[200, 200, 200, 200, 200, 201, 202, 203, 204, 301, 302, 307, 308];
const SECONDS: &[u64] = &[0, 1, 4, 5, 6, 25, 30, 35, 59, 60, 61, 90, 1000];

fn scene(dice: &mut Dice<'_>) -> Scene {
    let mut scene = Scene {
        number: *dice.pick(NUMBERS),
        reply: HeaderMap::new(),
        first: HeaderMap::new(),
        later: HeaderMap::new(),
        after_s: *dice.pick(SECONDS),
    };
    let add = |headers: &mut HeaderMap, name: &'static str, value: &'static str| {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    };
    for _ in 0..dice.below(4) {
        add(&mut scene.reply, "cache-control", dice.pick::<&str>(REPLY_DIRECTIVES));
    }
    for (name, values, rarely) in [
        ("date", DATES, 6),
        ("expires", DATES, 4),
        ("expires", DATES, 20),
        ("age", AGES, 4),
        ("pragma", &["no-cache"], 20),
    ] {
        if dice.one_in(rarely) {
            add(&mut scene.reply, name, dice.pick::<&str>(values));
        }
    }
    if dice.one_in(12) {
        add(&mut scene.reply, "set-cookie", "a=b");
    }
    if dice.one_in(4) {
        add(&mut scene.first, "authorization", "Basic YTph");
    }
    if dice.one_in(12) {
        add(&mut scene.first, "cache-control", "no-store");
    }
    for _ in 0..dice.below(3) {
        add(&mut scene.later, "cache-control", dice.pick::<&str>(REQUEST_DIRECTIVES));
    }
    if dice.one_in(12) {
        add(&mut scene.later, "pragma", "no-cache");
    }
    scene
}

#[test]
fn whatever_is_said_differs_from_the_crate_for_a_reason() {
    let mut dice = Dice::seeded(9111);
    let (mut used, mut reasons, mut unexplained) = (0, BTreeMap::new(), Vec::new());
    for number in 0..20_000 {
        let scene = scene(&mut dice);
        used += u32::from(scene.by_us());
        if scene.by_us() == scene.by_crate() {
            continue;
        }
        let why: Vec<_> = scene.exceptions().collect();
        if why.is_empty() {
            unexplained.push(format!("scene {number}: used by us: {}: {scene:?}", scene.by_us()));
        }
        why.into_iter().for_each(|why| *reasons.entry(why).or_insert(0) += 1);
    }
    assert!(
        unexplained.is_empty(),
        "{} scenes: {:#?}",
        unexplained.len(),
        &unexplained[..5.min(unexplained.len())]
    );
    assert!(used > 1000, "{used} scenes in which a reply is used");
    for (why, ..) in EXCEPTIONS {
        assert!(reasons.contains_key(why), "an exception that nothing needs: {why}");
    }
}

#[test]
fn simple_replies_are_judged_as_the_crate_judges_them() {
    // Without what the exceptions are about: here nothing may differ.
    const REPLY: &[&str] =
        &["max-age=60", "max-age=5", "s-maxage=60", "public", "private", "no-store", "must-revalidate"];
    let mut dice = Dice::seeded(9112);
    let mut used = 0;
    for number in 0..5000 {
        let mut scene = scene(&mut dice);
        scene.reply.clear();
        scene.number = *dice.pick(&[200, 203, 204, 301, 302, 308]);
        let mut directives = REPLY.to_vec();
        dice.shuffle(&mut directives);
        // One lifetime of each kind at most.
        let mut picked: Vec<_> = directives.into_iter().take(dice.below(4)).collect();
        if picked.contains(&"max-age=60") {
            picked.retain(|directive| *directive != "max-age=5");
        }
        for directive in picked {
            scene.reply.append("cache-control", HeaderValue::from_static(directive));
        }
        if dice.one_in(3) {
            scene.reply.append("age", HeaderValue::from_static(dice.pick::<&str>(&["0", "5", "50", "60"])));
        }
        scene.later.clear();
        if dice.one_in(2) {
            let wanted = *dice.pick(&[
                "no-cache",
                "max-age=0",
                "max-age=30",
                "max-age=60",
                "min-fresh=30",
                "min-fresh=61",
            ]);
            scene.later.append("cache-control", HeaderValue::from_static(wanted));
        }
        used += u32::from(scene.by_us());
        assert_eq!(scene.by_us(), scene.by_crate(), "scene {number}: {scene:#?}");
    }
    assert!(used > 400, "{used} scenes in which a reply is used");
}

/// Cases of the file in which the crate does otherwise, by title, and why.
const CASES: &[(&str, &str)] = &[
    ("freshness: max-age said twice and differently", "4.2.1: it is stale; the crate takes the first"),
    ("freshness: directives in any case, in quotes, in several lines", "5.2: names have no case"),
    ("freshness: a Date of long ago is an age", "4.2.3: the apparent age counts"),
    ("not kept: Set-Cookie", "7.3: not with `public` either"),
    (
        "not kept: a failure that is about what is asked for takes the reply away",
        "RFC 9110, 15.5.5: there is no such resource now, which the crate is not told",
    ),
    ("must-understand: a number that is known", "5.2.2.3: it goes before no-store"),
    (
        "the key: spellings of one path are one",
        "2: the target is what the method gets, not how it was spelled",
    ),
    ("the key: what clients make the gateway forward", "2: metadata are part of what is asked"),
    ("methods: GET has what HEAD asked for", "2: both are one question to the backend"),
    ("methods: another verb of the same method is none of its", "3: it may not be stored"),
    ("vary: what is no name", "4.1: nobody can match it"),
    ("vary: as the backend sees it", "4.1: selecting headers are those that the backend was told"),
    ("vary: one name more", "3: storing is optional, and bounded"),
    ("credentials: what nobody in particular asked for is not for somebody", "3.5 is applied both ways"),
    (
        "credentials: those that the backend gets by another header",
        "3.5: they are credentials, which the crate knows by one name",
    ),
    ("credentials: other names of them are part of the key", "2: metadata are part of what is asked"),
    ("requests: Pragma", "5.4: only where Cache-Control is absent"),
    ("conditions: only a 200 can be unchanged", "3: 201 with a lifetime may be stored"),
    ("stale while revalidating: served, and fetched once", "RFC 5861, 3: the crate has none"),
    ("stale while revalidating: a backend that fails leaves it as it is", "RFC 5861, 3"),
    ("stale while revalidating: a backend that fails is spared for a second", "RFC 5861, 3"),
    ("stale while revalidating: a new reply that is not kept takes the old one away", "RFC 5861, 3"),
    ("stale if error: the backend is spared for a second", "RFC 5861, 4: the crate has none"),
    ("writes: what was kept for the path is forgotten, whatever its query", "4.4: the crate sees no writes"),
    ("writes: other paths stay, those that begin alike too", "4.4: the crate sees no writes"),
    (
        "requests: max-stale does not go before proxy-revalidate and s-maxage",
        "5.2.2.8, 5.2.2.10: both forbid stale replies; the crate takes none for fresh",
    ),
    ("requests: max-stale at its bound", "5.2.1.2: staleness of exactly max-stale is allowed"),
];

#[test]
fn cases_are_judged_as_the_crate_judges_them() {
    let cases = case::all();
    let mut compared = 0;
    let mut differing = Vec::new();
    // The crate knows neither rules nor verbs of gRPC's own.
    for case in cases.iter().filter(|case| case.rule == "ttl: origin") {
        let mut says = case::Says::default();
        let mut kept: HashMap<&str, Vec<CachePolicy>> = HashMap::new();
        let (mut second, mut differs) = (0, false);
        for step in &case.steps {
            let asks = match step {
                Step::Says(now) => {
                    says = now.clone();
                    continue;
                }
                Step::Asks(asks) => asks,
            };
            second += asks.after_s;
            if asks.verb != Method::GET {
                continue;
            }
            let request = asking(&asks.headers);
            let stored = kept.entry(asks.query).or_default();
            let is_kept = stored.iter().rev().any(|policy| is_used(policy, &request, second));
            compared += 1;
            differs |= is_kept != asks.is_answered_by_kept();
            let asks_backend = !asks.is_answered_by_kept() && !asks.line.contains("only-if-cached");
            if asks_backend && says.code == 0 {
                let number =
                    says.metadata.get("x-http-code").and_then(|number| number.to_str().ok()?.parse().ok());
                stored.push(policy(number.unwrap_or(200), &says.metadata, &request, second));
            }
        }
        if differs {
            differing.push(case.title);
        }
    }
    assert!(compared > 100, "{compared} questions");
    let expected: Vec<_> = CASES.iter().map(|(title, _)| *title).collect();
    assert_eq!(differing, expected);
}
