//! Lists that change, endpoints that go and come back: what is kept, and who is picked.

use super::*;
use crate::policy::balance::roster::Standing;
use crate::policy::outlier::OutlierSettings;
use crate::policy::verdict::Verdict;
use crate::telemetry::{EndpointState, WorkerMetrics};
use crate::upstream::{GrpcRequest, RequestMessages, Terms};

fn spec(text: &str) -> EndpointSpec {
    let (authority, zone) =
        text.split_once('@').map_or((text, None), |(name, zone)| (name, Some(zone.into())));
    EndpointSpec { zone, ..EndpointSpec::new(Address::plain(authority.parse().expect("an authority"))) }
}

fn cluster(balance: Balance, endpoints: &[&str]) -> Arc<Cluster> {
    let config = UpstreamConfig { balance, zone: Some("z".into()), ..UpstreamConfig::default() };
    Cluster::new("api", config, endpoints.iter().map(|text| spec(text)).collect())
}

fn endpoint(cluster: &Cluster, authority: &str) -> Arc<Endpoint> {
    let endpoints = cluster.current();
    let mut listed = endpoints.listed.iter().map(|listed| &listed.endpoint);
    Arc::clone(listed.find(|endpoint| endpoint.address.authority == authority).expect("it is listed"))
}

/// Who is picked in so many calls, each as often as it is.
fn picked(cluster: &Cluster, calls: u64) -> Vec<(String, u64)> {
    let endpoints = cluster.current();
    let mut counts = std::collections::BTreeMap::new();
    for random in 0..calls {
        let draw = Draw { now_ms: cluster.now_ms(), random: mix(random), key: None };
        let place = cluster.pick(&endpoints, draw, &[]).expect("there are endpoints");
        *counts.entry(endpoints.listed[place].endpoint.address.authority.to_string()).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn all(names: &[(&str, u64)]) -> Vec<(String, u64)> {
    names.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn endpoints_that_stay_keep_what_is_known_of_them() {
    let cluster = cluster(Balance::RoundRobin, &["a:1", "b:1"]);
    let (a, generation) = (endpoint(&cluster, "a:1"), cluster.current().generation);
    a.begin();
    cluster.update(["c:1", "a:1", "c:1"].map(spec).into());
    assert!(Arc::ptr_eq(&a, &endpoint(&cluster, "a:1")));
    assert_eq!(cluster.current().generation, generation + 1);
    let seen: Vec<_> =
        cluster.seen().endpoints.into_iter().map(|seen| (seen.address, seen.in_flight)).collect();
    assert_eq!(seen, [("http://c:1".to_owned(), 0), ("http://a:1".to_owned(), 1)]);
    cluster.update(Vec::new());
    assert_eq!(cluster.seen().endpoints.len(), 2, "an empty list is no list");
}

#[test]
fn an_endpoint_left_alone_is_picked_again_when_somebody_is_connected() {
    let cluster = cluster(Balance::RoundRobin, &["a:1", "b:1", "c:1"]);
    let b = endpoint(&cluster, "b:1");
    assert_eq!(picked(&cluster, 30), all(&[("a:1", 10), ("b:1", 10), ("c:1", 10)]));
    cluster.unreachable(&b, Duration::from_secs(3600));
    assert_eq!(picked(&cluster, 30), all(&[("a:1", 15), ("c:1", 15)]));
    assert!(!cluster.current().is_due(cluster.now_ms()));
    // Another worker's connection counts more than one that failed.
    cluster.connected(&b);
    cluster.unreachable(&b, Duration::from_secs(3600));
    assert_eq!(b.standing(), Standing::Usable);
    b.disconnected();
    cluster.unreachable(&b, Duration::ZERO);
    assert_eq!(cluster.seen().endpoints[1].state, EndpointState::Unreachable);
}

#[test]
fn a_probe_is_claimed_by_one_worker() {
    let cluster = cluster(Balance::RoundRobin, &["a:1", "b:1"]);
    cluster.unreachable(&endpoint(&cluster, "b:1"), Duration::ZERO);
    let now_ms = cluster.now_ms() + 1;
    assert!(cluster.current().is_due(now_ms));
    assert_eq!(cluster.tend(now_ms).map(|due| due.len()), Some(1));
    assert_eq!(cluster.tend(now_ms).map(|due| due.len()), None);
    assert!(!cluster.current().is_due(now_ms));
    // Who claimed it may have gone: then another does.
    let later_ms = now_ms + 3_600_000;
    assert_eq!(cluster.tend(later_ms).map(|due| due.len()), Some(1));
}

#[test]
fn an_endpoint_that_is_judged_unwell_is_picked_only_in_panic() {
    let cluster = cluster(Balance::Weighted, &["a:1", "b:1", "c:1"]);
    let judge = |authority: &str, is_well| {
        let address = Address::plain(authority.parse().expect("an authority"));
        cluster.judge(&address, is_well);
    };
    judge("a:1", false);
    assert_eq!(picked(&cluster, 30), all(&[("b:1", 15), ("c:1", 15)]));
    judge("b:1", false);
    assert_eq!(picked(&cluster, 30).len(), 3);
    judge("a:1", true);
    judge("b:1", true);
    // Both begin with a tenth of their weight.
    let counts = picked(&cluster, 1200);
    assert!(counts[0].1.abs_diff(100) <= 5 && counts[1].1.abs_diff(100) <= 5, "{counts:?}");
    assert!(cluster.current().is_due(cluster.now_ms() + 500), "the weights go on growing");
}

#[test]
fn an_endpoint_that_fails_is_left_out_until_its_time_is_over() {
    let outlier = OutlierSettings { consecutive: 2, ..OutlierSettings::default() };
    let config = UpstreamConfig {
        balance: Balance::RoundRobin,
        slow_start: Duration::ZERO,
        outlier: Some(outlier),
        ..UpstreamConfig::default()
    };
    let cluster = Cluster::new("api", config, ["a:1", "b:1", "c:1"].map(spec).into());
    let [a, b] = ["a:1", "b:1"].map(|authority| endpoint(&cluster, authority));
    let even = all(&[("a:1", 10), ("b:1", 10), ("c:1", 10)]);
    assert!(!cluster.current().is_due(NEVER - 1), "where nothing fails, nothing is due");
    cluster.ended(&a, Verdict::Failed);
    assert!(a.is_suspect() && !b.is_suspect());
    cluster.ended(&a, Verdict::Alive);
    assert!(!a.is_suspect());
    (0..2).for_each(|_| cluster.failed(&a, 1000));
    // Two of three would be more than half.
    (0..2).for_each(|_| cluster.failed(&b, 1000));
    assert_eq!(picked(&cluster, 30), all(&[("b:1", 15), ("c:1", 15)]));
    let seen = cluster.seen();
    assert_eq!((seen.endpoints[0].state, seen.ejections[0]), (EndpointState::Ejected, ("consecutive", 1)));
    // The interval has ended, and with it nothing else.
    assert!(cluster.tend(30_999).is_some());
    assert_eq!(a.standing(), Standing::Unwell);
    assert!(cluster.tend(31_000).is_some());
    assert_eq!(picked(&cluster, 30), even);
    // Of two, when the third goes, one may still be out; alone, nobody is.
    (0..2).for_each(|_| cluster.failed(&a, 40_000));
    cluster.update(["a:1", "b:1"].map(spec).into());
    assert_eq!(a.standing(), Standing::Unwell);
    cluster.update(["a:1"].map(spec).into());
    assert_eq!(a.standing(), Standing::Usable);
}

#[test]
fn shares_of_failures_are_judged_by_whoever_calls_next() {
    let outlier = OutlierSettings { consecutive: 1000, ..OutlierSettings::default() };
    let config = UpstreamConfig { outlier: Some(outlier), ..UpstreamConfig::default() };
    let cluster = Cluster::new("api", config, ["a:1", "b:1"].map(spec).into());
    let [a, b] = ["a:1", "b:1"].map(|authority| endpoint(&cluster, authority));
    for (endpoint, failures) in [(&a, 50), (&b, 42)] {
        for _ in 0..failures {
            cluster.failed(endpoint, 1000);
        }
        (0..50).for_each(|_| endpoint.begin());
    }
    assert!(cluster.tend(10_999).is_none());
    assert!(cluster.tend(11_000).is_some());
    assert_eq!([a, b].map(|endpoint| endpoint.standing()), [Standing::Unwell, Standing::Usable]);
    assert_eq!(cluster.seen().ejections[2], ("error_rate", 1));
}

#[test]
fn endpoints_of_our_own_zone_go_first() {
    let cluster = cluster(Balance::PeakEwma, &["a:1@z", "b:1@y", "c:1@z", "d:1"]);
    let names: Vec<_> = picked(&cluster, 300).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a:1", "c:1", "d:1"]);
}

#[test]
fn what_was_tried_is_not_picked_again_while_there_is_another() {
    let cluster = cluster(Balance::RoundRobin, &["a:1", "b:1"]);
    let (a, b) = (endpoint(&cluster, "a:1"), endpoint(&cluster, "b:1"));
    let endpoints = cluster.current();
    for random in 0..10 {
        let draw = Draw { now_ms: 0, random: mix(random), key: None };
        assert_eq!(cluster.pick(&endpoints, draw, std::slice::from_ref(&a)), Some(1));
        assert!(cluster.pick(&endpoints, draw, &[Arc::clone(&a), Arc::clone(&b)]).is_some());
    }
}

#[test]
fn a_worker_holds_a_pool_for_each_endpoint_of_the_list() {
    let cluster = cluster(Balance::RoundRobin, &["a:1", "b:1"]);
    let metrics = Arc::new(WorkerMetrics::default());
    let pools = Pools::new(Arc::clone(&cluster), metrics);
    let request = GrpcRequest {
        path: "/pkg.Service/Method".parse().expect("a path"),
        metadata: http::HeaderMap::new(),
        key: None,
        timeout: None,
        messages: RequestMessages::One(bytes::Bytes::new()),
        terms: Terms::default(),
        trail: None,
    };
    let begin = || {
        let attempt = pools.begin(&request, &[]).expect("an endpoint");
        Arc::clone(attempt.pool())
    };
    let (a, b) = (begin(), begin());
    assert!(Arc::ptr_eq(&begin(), &a) && Arc::ptr_eq(&begin(), &b));
    assert_eq!(
        cluster.seen().endpoints[0].in_flight,
        0,
        "attempts that are given up are no longer in flight"
    );
    let (gone, pool) = (Arc::downgrade(&a), Arc::downgrade(&b));
    drop((a, b));
    cluster.update(["c:1", "b:1"].map(spec).into());
    assert_eq!(gone.strong_count(), 0, "nobody has to call for it to go");
    assert_eq!(pool.strong_count(), 1);
    let found = [begin(), begin()];
    assert!(found.iter().any(|found| Arc::downgrade(found).ptr_eq(&pool)));
}
