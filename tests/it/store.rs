//! The shared store of limits against a real Redis: exact, together or not at all, and never too much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use transom::policy::bucket::Rate;
use transom::policy::limit::Limit;
use transom::policy::quota::{OverQuota, Period, Quota};
use transom::store::key::Keys;
use transom::store::memory::Few;
use transom::store::redis::{Begun, Group, Link, Paid, RedisSettings, RedisStore, StoreError, Verdict};

use crate::support::figure;
use crate::support::redis::Redis;

/// One node: a store of its own with one connection.
struct Node {
    store: Arc<RedisStore>,
    link: Arc<Link>,
    keys: Keys,
}

/// What a node says: units left of each limit, or how long to wait.
#[derive(Debug, PartialEq)]
enum Said {
    Taken(Vec<u64>),
    Refused(Duration),
}

impl Node {
    fn new(redis: &Redis, nodes: Option<u32>) -> Self {
        // Wide, because the machine of the tests may be busy; the timeout has tests of its own.
        Self::patient(redis, nodes, Duration::from_secs(10))
    }

    fn patient(redis: &Redis, nodes: Option<u32>, timeout: Duration) -> Self {
        let settings = RedisSettings {
            name: "shared".into(),
            host: "127.0.0.1".into(),
            port: redis.port,
            tls: false,
            database: 0,
            user: None,
            password: None,
            ca: None,
            timeout,
            prefix: "test".into(),
            nodes,
        };
        let store = RedisStore::start(settings, &Handle::current()).expect("good settings");
        let link = store.link();
        Self { store, link, keys: Keys::default() }
    }

    async fn take(
        &self,
        subject: &str,
        limits: &[Limit],
        cost: u64,
    ) -> Result<(Said, Option<Box<Paid>>), StoreError> {
        let mut key = self.keys.begin();
        key.word(subject.as_bytes());
        let key = key.finish().cell(0, limits[0].kind());
        let group = Group { name: "policy", words: subject.as_bytes(), key, limits, cost };
        let left = |standings: Few<transom::policy::limit::Standing>| {
            Said::Taken(standings.iter().map(|standing| standing.remaining).collect())
        };
        let wait = |retry_ns| Said::Refused(Duration::from_nanos(retry_ns));
        Ok(match self.store.begin(&group) {
            Begun::Taken(standings) => (left(standings), None),
            Begun::Refused(refused) => (wait(refused.retry_ns), None),
            Begun::Ask(asking) => match asking.ask(&self.link).await? {
                Verdict::Taken(standings, paid) => (left(standings), paid),
                Verdict::Refused(refused) => (wait(refused.retry_ns), None),
            },
        })
    }

    async fn said(&self, subject: &str, limits: &[Limit], cost: u64) -> Said {
        self.take(subject, limits, cost).await.expect("the store answers").0
    }
}

fn rate(units: u64, period_s: u64, burst: u64) -> Limit {
    Limit::Rate(Rate::new(units, Duration::from_secs(period_s), burst).expect("a rate"))
}

fn month(units: u64) -> Limit {
    Limit::Quota(Quota::new(units, Period::Month, OverQuota::Deny).expect("a quota"))
}

#[tokio::test]
async fn two_hundred_calls_at_once_on_four_connections_take_exactly_the_burst() {
    let Some(redis) = Redis::start() else { return };
    for limit in [rate(10, 3600, 20), rate(7, 3600, 20), month(20)] {
        redis.query::<()>(&["FLUSHALL"]);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let node = Arc::new(Node::new(&redis, None));
            for _ in 0..50 {
                let node = node.clone();
                calls.spawn(async move { matches!(node.said("a", &[limit], 1).await, Said::Taken(_)) });
            }
        }
        let taken = calls.join_all().await.into_iter().filter(|is_taken| *is_taken).count();
        assert_eq!(taken, 20, "{limit:?}");
    }
}

#[tokio::test]
async fn several_limits_are_debited_together_or_not_at_all() {
    let Some(redis) = Redis::start() else { return };
    let node = Node::new(&redis, None);
    let limits = [rate(5, 3600, 5), rate(3, 60, 3), month(100)];
    for left in (0..3).rev() {
        assert_eq!(node.said("a", &limits, 1).await, Said::Taken(vec![left + 2, left, left + 97]));
    }
    let Said::Refused(wait) = node.said("a", &limits, 1).await else { panic!("the fourth is refused") };
    assert!((Duration::from_secs(15)..=Duration::from_secs(20)).contains(&wait), "{wait:?}");
    // What the second refused was not debited from the others.
    let other = Node::new(&redis, None);
    assert_eq!(other.said("a", &[limits[0]], 2).await, Said::Taken(vec![0]));
    // All keys of a subject lie on one node of a cluster, and none outlives what it says.
    let mut keys: Vec<String> = redis.query(&["KEYS", "test:{policy:*}:*"]);
    keys.sort();
    assert_eq!(keys.len(), 3, "{keys:?}");
    let tags: Vec<_> = keys.iter().map(|key| &key[..key.len() - 2]).collect();
    assert!(tags.iter().all(|tag| *tag == tags[0]), "{keys:?}");
    let life_ms: i64 = redis.query(&["PTTL", &keys[1]]);
    assert!((1..=60_001).contains(&life_ms), "{life_ms}");
}

#[tokio::test]
async fn what_is_given_back_can_be_taken_again_and_no_more() {
    let Some(redis) = Redis::start() else { return };
    let node = Node::new(&redis, None);
    let limits = [rate(5, 3600, 5), month(100)];
    let (said, paid) = node.take("a", &limits, 3).await.expect("the store answers");
    assert_eq!(said, Said::Taken(vec![2, 97]));
    node.store.give_back(&node.link, paid.expect("a debit"));
    let other = Node::new(&redis, None);
    // The give-back runs beside us: asking for nothing but what was left before cannot tell, so ask until it is.
    until(async || other.said("b", &limits, 1).await == Said::Taken(vec![4, 99])).await;
    until(async || {
        let keys: Vec<String> = redis.query(&["KEYS", "test:{policy:*}:1"]);
        let units: Vec<u64> = keys.iter().map(|key| redis.query(&["GET", key])).collect();
        units.contains(&0)
    })
    .await;
    assert_eq!(other.said("a", &limits, 5).await, Said::Taken(vec![0, 95]));
}

#[tokio::test]
async fn a_store_that_forgot_the_script_is_told_again() {
    let Some(redis) = Redis::start() else { return };
    let node = Node::new(&redis, None);
    assert_eq!(node.said("a", &[rate(5, 3600, 5)], 1).await, Said::Taken(vec![4]));
    redis.query::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(node.said("a", &[rate(5, 3600, 5)], 1).await, Said::Taken(vec![3]));
}

#[tokio::test]
async fn a_store_that_is_silent_costs_its_timeout_five_times_and_is_used_again_within_two_seconds() {
    let Some(redis) = Redis::start() else { return };
    let (limits, timeout) = ([rate(19, 1, 1000)], Duration::from_millis(200));
    let node = Node::patient(&redis, Some(1), timeout);
    // The first connection may take longer than the timeout on a busy machine.
    until(async || node.take("a", &limits, 1).await.is_ok()).await;
    redis.pause();
    for _ in 0..5 {
        let asked = Instant::now();
        assert_eq!(node.take("a", &limits, 1).await.err(), Some(StoreError::Timeout));
        assert!(asked.elapsed() >= timeout && asked.elapsed() < 5 * timeout, "{:?}", asked.elapsed());
    }
    let asked = Instant::now();
    for _ in 0..1000 {
        assert_eq!(node.take("a", &limits, 1).await.err(), Some(StoreError::Down));
    }
    let refused = asked.elapsed();
    redis.resume();
    let resumed = Instant::now();
    until(async || node.take("a", &limits, 1).await.is_ok()).await;
    let again = resumed.elapsed();
    figure(format_args!("1000 calls without the store in {refused:?}; used again after {again:?}"));
    assert!(again < Duration::from_secs(2), "{again:?}");
}

#[tokio::test]
async fn nodes_count_each_other() {
    let Some(redis) = Redis::start() else { return };
    let nodes = [Node::new(&redis, None), Node::new(&redis, None), Node::new(&redis, Some(7))];
    // Those that beat first learn of the others with their next beat.
    until(async || nodes[0].store.nodes() == 3 && nodes[1].store.nodes() == 3).await;
    assert_eq!(nodes[2].store.nodes(), 7);
}

/// Three nodes at twice the limit for a second: together never more than burst and rate allow.
#[tokio::test]
async fn leases_never_admit_more_than_the_limit() {
    let Some(redis) = Redis::start() else { return };
    let limit = rate(1000, 1, 100);
    let (calls_before, started) = (redis.calls(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let node = Node::new(&redis, Some(3));
        tasks.spawn(async move {
            let mut counts = (0_u64, 0_u64);
            let mut ticks = tokio::time::interval(Duration::from_millis(3));
            while started.elapsed() < Duration::from_secs(1) {
                ticks.tick().await;
                for _ in 0..2 {
                    counts.0 += 1;
                    counts.1 += u64::from(matches!(node.said("a", &[limit], 1).await, Said::Taken(_)));
                }
            }
            counts
        });
    }
    let counts = tasks.join_all().await;
    let elapsed = started.elapsed();
    let (asked, admitted) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let calls = redis.calls() - calls_before;
    let allowed = 100.0 + 1000.0 * elapsed.as_secs_f64();
    figure(format_args!(
        "{asked} asked, {admitted} admitted of {allowed:.0} in {elapsed:?}, {calls} store calls"
    ));
    assert!(admitted as f64 <= allowed, "{admitted} of {allowed}");
    // Without leases there were one for each that asked; how many fewer there are depends on the machine's pace.
    assert!(calls < asked, "{calls} store calls for {asked}");
}

/// Waits until `is_so`.
async fn until(is_so: impl AsyncFn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it comes to be so");
}
