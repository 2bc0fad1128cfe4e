//! Directives, lifetimes, ages and validators, each by many short cases.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// `name: value | name: value`.
fn headers(text: &str) -> HeaderMap {
    let lines = text.split('|').filter_map(|line| line.trim().split_once(": "));
    let header = |(name, value): (&str, &str)| {
        (HeaderName::try_from(name).expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    lines.map(header).collect()
}

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn judged(reply: &str, number: u16, terms: &Terms, asked: Asked) -> Option<Freshness> {
    storable(&headers(reply), number, terms, asked, Received { now: NOW, delay: Duration::ZERO })
}

#[test]
fn a_reply_lives_as_long_as_it_says() {
    let check = |reply: &str, expected: Option<(u64, u64)>| {
        let found = judged(reply, 200, &Terms::default(), Asked::default());
        let found = found.map(|found| (found.lifetime.as_secs(), found.age.as_secs()));
        assert_eq!(found, expected, "{reply}");
    };
    check("", None);
    check("etag: \"a\" | last-modified: Fri, 15 Jan 2021 08:00:00 GMT", None);
    check("cache-control: max-age=60", Some((60, 0)));
    check("cache-control: MAX-AGE=60", Some((60, 0)));
    check("cache-control: max-age=\"60\"", Some((60, 0)));
    check("cache-control: public,,max-age=60 , ", Some((60, 0)));
    check("cache-control: public | cache-control: max-age=60", Some((60, 0)));
    check("cache-control: max-age=60, s-maxage=5", Some((5, 0)));
    check("cache-control: s-maxage=60, max-age=0", Some((60, 0)));
    check("cache-control: max-age=60, max-age=60", Some((60, 0)));
    check("cache-control: max-age=99999999999999999999", Some((1 << 31, 0)));
    check("cache-control: extension=\"a, max-age=5\", max-age=60", Some((60, 0)));
    check("cache-control: extension=\"\\\", max-age=5\", max-age=60", Some((60, 0)));
    for nothing in [
        "max-age=60, max-age=5",
        "max-age=-1",
        "max-age=1.5",
        "max-age=a",
        "max-age=",
        "max-age",
        "max-age=0",
    ] {
        check(&format!("cache-control: {nothing}"), None);
    }
    for forbidden in ["no-store", "no-cache", "private", "no-cache=\"etag\"", "private=\"etag\"", "No-Store"]
    {
        check(&format!("cache-control: max-age=60, {forbidden}"), None);
    }
    check("cache-control: max-age=60 | set-cookie: a=b", None);
    check("cache-control: no-store, must-understand, max-age=60", Some((60, 0)));
    check("cache-control: max-age=60 | age: 20", Some((60, 20)));
    check("cache-control: max-age=60 | age: 59", Some((60, 59)));
    check("cache-control: max-age=60 | age: 60", None);
    check("cache-control: max-age=60 | age: 20, 30", Some((60, 20)));
    check("cache-control: max-age=60 | age: -5", Some((60, 0)));
    check("cache-control: max-age=60 | age: soon", Some((60, 0)));
    // 1,800,000,000 is Fri, 15 Jan 2027 08:00:00 GMT.
    check("expires: Fri, 15 Jan 2027 08:01:00 GMT", Some((60, 0)));
    check("expires: Friday, 15-Jan-27 08:01:00 GMT", Some((60, 0)));
    check("expires: Fri Jan 15 08:01:00 2027", Some((60, 0)));
    check("expires: Fri, 15 Jan 2027 08:00:00 GMT", None);
    check("expires: 0", None);
    check("expires: Fri, 15 Jan 2027 08:01:00 GMT | expires: Fri, 15 Jan 2027 08:01:00 GMT", None);
    check("expires: Fri, 15 Jan 2027 08:01:00 GMT | cache-control: max-age=5", Some((5, 0)));
    check("expires: 0 | cache-control: max-age=5", Some((5, 0)));
    check("expires: Fri, 15 Jan 2027 08:01:00 GMT | date: Fri, 15 Jan 2027 07:59:50 GMT", Some((70, 10)));
    check("expires: Fri, 15 Jan 2027 08:01:00 GMT | date: Fri, 15 Jan 2027 08:00:30 GMT", Some((30, 0)));
    check("cache-control: max-age=60 | date: Fri, 15 Jan 2027 07:59:50 GMT | age: 5", Some((60, 10)));
    check("cache-control: max-age=60 | date: Fri, 15 Jan 2027 07:59:50 GMT | age: 15", Some((60, 15)));
    check("cache-control: max-age=60 | date: yesterday", Some((60, 0)));
}

#[test]
fn a_rule_fills_in_what_the_reply_leaves_open() {
    let terms = Terms { ttl: Some(Duration::from_secs(30)), ..Terms::default() };
    let check = |reply: &str, number: u16, expected: Option<u64>| {
        let found = judged(reply, number, &terms, Asked::default());
        assert_eq!(found.map(|found| found.lifetime.as_secs()), expected, "{reply} {number}");
    };
    check("", 200, Some(30));
    check("etag: \"a\"", 200, Some(30));
    check("cache-control: max-age=5", 200, Some(5));
    check("cache-control: no-transform", 200, Some(30));
    check("cache-control: no-store", 200, None);
    check("expires: 0", 200, None);
    check("set-cookie: a=b", 200, None);
    for (number, expected) in [
        (201, None),
        (203, Some(30)),
        (204, Some(30)),
        (206, None),
        (301, Some(30)),
        (302, None),
        (304, None),
    ] {
        check("", number, expected);
    }
    check("cache-control: max-age=5", 302, Some(5));
    check("cache-control: max-age=5", 206, None);
    check("cache-control: max-age=5, must-understand", 299, None);
}

#[test]
fn what_a_credential_has_asked_is_shared_where_the_reply_allows_it() {
    let asked = Asked { has_credentials: true, ..Asked::default() };
    let check = |reply: &str, shares: bool, expected: bool| {
        let terms = Terms { shares, ..Terms::default() };
        let found = judged(&format!("cache-control: {reply}"), 200, &terms, asked);
        assert_eq!(found.is_some(), expected, "{reply} {shares}");
    };
    check("max-age=60", false, false);
    check("max-age=60", true, true);
    check("max-age=60, public", false, true);
    check("max-age=60, must-revalidate", false, true);
    check("max-age=60, proxy-revalidate", false, false);
    check("s-maxage=60", false, true);
    check("max-age=60, public, private", true, false);
    check("max-age=60, public, no-store", true, false);
    let no_store = RequestControl { no_store: true, ..RequestControl::default() };
    let asked = Asked { control: no_store, has_credentials: false };
    assert_eq!(judged("cache-control: max-age=60", 200, &Terms::default(), asked), None);
}

#[test]
fn age_and_request_decide_what_a_reply_is_good_for() {
    let terms = Terms::default();
    let check = |reply: &str, age_s: u64, request: &str, expected: Verdict| {
        let freshness = judged(&format!("cache-control: {reply}"), 200, &terms, Asked::default());
        let request = RequestControl::of(&headers(request));
        let found = freshness.expect("a reply to store").judge(Duration::from_secs(age_s), &request);
        assert_eq!(found, expected, "{reply} at {age_s}, {request:?}");
    };
    let stale = |serves_errors| Verdict::Stale { serves_errors };
    check("max-age=60", 59, "", Verdict::Fresh);
    check("max-age=60", 60, "", stale(false));
    check("max-age=60", 0, "cache-control: no-cache", Verdict::Unwanted);
    check("max-age=60", 0, "pragma: no-cache", Verdict::Unwanted);
    check("max-age=60", 0, "pragma: no-cache | cache-control: max-age=9", Verdict::Fresh);
    check("max-age=60", 0, "cache-control: max-age=0", Verdict::Fresh);
    check("max-age=60", 1, "cache-control: max-age=0", Verdict::Unwanted);
    check("max-age=60", 30, "cache-control: max-age=30", Verdict::Fresh);
    check("max-age=60", 31, "cache-control: max-age=30", Verdict::Unwanted);
    check("max-age=60", 1, "cache-control: max-age=x", Verdict::Unwanted);
    check("max-age=60", 40, "cache-control: min-fresh=20", Verdict::Fresh);
    check("max-age=60", 41, "cache-control: min-fresh=20", Verdict::Unwanted);
    check("max-age=60", 61, "cache-control: min-fresh=0", Verdict::Unwanted);
    check("max-age=60", 0, "cache-control: min-fresh=\"60\"", Verdict::Fresh);
    check("max-age=60", 0, "cache-control: min-fresh=9, min-fresh=61", Verdict::Unwanted);
    check("max-age=60", 0, "cache-control: min-fresh", Verdict::Unwanted);
    check("max-age=60", 0, "cache-control: min-fresh=x", Verdict::Unwanted);
    check("max-age=60", 70, "cache-control: max-stale=10", Verdict::Tolerated);
    check("max-age=60", 71, "cache-control: max-stale=10", stale(false));
    check("max-age=60", 9999, "cache-control: max-stale", Verdict::Tolerated);
    check("max-age=60", 70, "cache-control: max-stale=x", stale(false));
    check("max-age=60", 70, "cache-control: max-age=65, max-stale", Verdict::Unwanted);
    check("max-age=60, must-revalidate", 70, "cache-control: max-stale", stale(false));
    check("max-age=60, proxy-revalidate", 70, "cache-control: max-stale", stale(false));
    check("s-maxage=60", 70, "cache-control: max-stale", stale(false));
    check("max-age=60, stale-while-revalidate=10", 69, "", Verdict::Revalidating);
    check("max-age=60, stale-while-revalidate=10", 70, "", stale(false));
    check("max-age=60, stale-if-error=10", 69, "", stale(true));
    check("max-age=60, stale-if-error=10", 70, "", stale(false));
    check("max-age=60, stale-while-revalidate=5, stale-if-error=10", 64, "", Verdict::Revalidating);
    check("max-age=60, stale-while-revalidate=5, stale-if-error=10", 65, "", stale(true));
    check("max-age=60, must-revalidate, stale-while-revalidate=10, stale-if-error=10", 61, "", stale(false));
    check("s-maxage=60, stale-while-revalidate=10", 61, "", Verdict::Revalidating);
    check("max-age=60, stale-while-revalidate=x", 61, "", stale(false));
}

#[test]
fn windows_of_a_rule_hold_where_the_reply_says_nothing() {
    let ten = Some(Duration::from_secs(10));
    let terms = Terms { stale_while_revalidate: ten, stale_if_error: ten, ..Terms::default() };
    let check = |reply: &str, expected: (u64, u64)| {
        let freshness = judged(&format!("cache-control: {reply}"), 200, &terms, Asked::default());
        let freshness = freshness.expect("a reply to store");
        assert_eq!((freshness.while_revalidate.as_secs(), freshness.if_error.as_secs()), expected, "{reply}");
    };
    check("max-age=60", (10, 10));
    check("max-age=60, stale-while-revalidate=5", (5, 10));
    check("max-age=60, stale-if-error=0", (10, 0));
    check("max-age=60, must-revalidate", (0, 0));
    check("s-maxage=60", (0, 0));
    check("s-maxage=60, stale-if-error=7", (0, 7));
    check("max-age=0", (10, 10));
}

#[test]
fn the_way_of_a_reply_counts_as_its_age() {
    let received = Received { now: NOW, delay: Duration::from_secs(7) };
    let reply = headers("cache-control: max-age=60 | age: 3");
    let found = storable(&reply, 200, &Terms::default(), Asked::default(), received);
    assert_eq!(found.map(|found| found.age.as_secs()), Some(10));
}

#[test]
fn clients_that_have_the_reply_are_told_so() {
    let check = |request: &str, reply: &str, expected: Option<Option<&str>>| {
        let found = unmodified(&headers(request), &headers(reply));
        let expected = expected.map(|tag| tag.map(|tag| HeaderValue::from_str(tag).expect("a tag")));
        assert_eq!(found, expected, "{request}");
    };
    let strong = "etag: \"a\" | last-modified: Fri, 15 Jan 2027 08:00:00 GMT";
    check("", strong, None);
    check("if-none-match: \"a\"", strong, Some(Some("\"a\"")));
    check("if-none-match: W/\"a\"", strong, Some(Some("W/\"a\"")));
    check("if-none-match: \"a\"", "etag: W/\"a\"", Some(Some("\"a\"")));
    check("if-none-match: \"b\", \"a\"", strong, Some(Some("\"a\"")));
    check("if-none-match: \"b\" | if-none-match: \"a\"", strong, Some(Some("\"a\"")));
    check("if-none-match: \"b,\", \"a\"", strong, Some(Some("\"a\"")));
    check("if-none-match: *", strong, Some(Some("\"a\"")));
    check("if-none-match: *", "", Some(None));
    check("if-none-match: \"b\"", strong, None);
    check("if-none-match: a", strong, None);
    check("if-none-match: w/\"a\"", strong, None);
    check("if-none-match: \"A\"", strong, None);
    check("if-none-match: \"a\"", "", None);
    check("if-none-match: a", "etag: a", None);
    check("if-none-match: \"b\" | if-modified-since: Fri, 15 Jan 2027 08:00:00 GMT", strong, None);
    check("if-modified-since: Fri, 15 Jan 2027 08:00:00 GMT", strong, Some(Some("\"a\"")));
    check("if-modified-since: Fri, 15 Jan 2027 08:00:01 GMT", strong, Some(Some("\"a\"")));
    check("if-modified-since: Fri, 15 Jan 2027 07:59:59 GMT", strong, None);
    check("if-modified-since: soon", strong, None);
    check("if-modified-since: Fri, 15 Jan 2027 08:00:00 GMT", "etag: \"a\"", None);
    let last_modified = "last-modified: Fri, 15 Jan 2027 08:00:00 GMT";
    check("if-modified-since: Friday, 15-Jan-27 08:00:00 GMT", last_modified, Some(None));
    check("if-match: \"b\" | if-unmodified-since: Fri, 15 Jan 2021 08:00:00 GMT", strong, None);
}
