//! Endpoints from a file, and what holds for every source: the start without a list, reloads, an empty answer.

use super::{Found, Load, call, is_clean, meets, page, seen, start, write};
use crate::support::raw::Mortal;
use crate::support::{eventually, figure};

fn list(backends: &[&Mortal]) -> String {
    backends.iter().map(|backend| format!("- http://{}\n", backend.address)).collect()
}

#[tokio::test]
async fn a_gateway_without_a_list_serves_what_it_can_and_is_ready_with_the_first() {
    let (a, b) = (start('a').await, start('b').await);
    let found = Found::start("file: DIR/endpoints.yaml").await;
    let gateway = &found.gateway;
    let path = found.path("endpoints.yaml");
    let ready = page(gateway, "/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.text()), (503, "not ready: service `door` has no endpoints\n"));
    assert_eq!(call(gateway).await, "NO_ENDPOINTS");
    let before = seen(gateway).await;
    assert!(before["failure"].as_str().is_some_and(|reason| reason.contains("No such file")), "{before}");
    assert!(before["age_s"].is_null(), "{before}");
    write(&path, &list(&[&a, &b]));
    meets(gateway, "ab").await;
    assert_eq!(page(gateway, "/readyz").await.status, 200);
    let told = seen(gateway).await;
    assert_eq!((&told["source"], &told["endpoints"]), (&"file".into(), &2.into()), "{told}");
    assert!(told["failure"].is_null(), "{told}");
    // A broken file keeps the list and says where.
    write(&path, &format!("{}- http//b\n", list(&[&a])));
    eventually("the fault is seen", async || seen(gateway).await["failure"].is_string()).await;
    let failure = seen(gateway).await["failure"].as_str().unwrap_or_default().to_owned();
    assert!(failure.contains("endpoints.yaml:2:3: "), "{failure}");
    meets(gateway, "ab").await;
    assert_eq!(page(gateway, "/readyz").await.status, 200);
    // As JSON.
    write(&path, &format!("[{{\"url\": \"http://{}\", \"weight\": 2}}]", b.address));
    meets(gateway, "b").await;
    let metrics = page(gateway, "/metrics").await;
    let line = "transom_discovery_endpoints{service=\"door\",source=\"file\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn calls_without_an_endpoint_open_no_breaker() {
    let a = start('a').await;
    let found = Found::start("file: DIR/endpoints.yaml").await;
    let gateway = &found.gateway;
    found.reload("file: DIR/endpoints.yaml", "breaker: { consecutive: 2, open: 1h..1h }").await;
    for _ in 0..5 {
        assert_eq!(call(gateway).await, "NO_ENDPOINTS");
    }
    write(&found.path("endpoints.yaml"), &list(&[&a]));
    eventually("the list is read", async || page(gateway, "/readyz").await.status == 200).await;
    assert_eq!(call(gateway).await, "a");
}

#[tokio::test]
async fn no_endpoint_is_believed_only_after_a_while() {
    let a = start('a').await;
    let found = Found::start("file: DIR/endpoints.yaml").await;
    let (gateway, path) = (&found.gateway, found.path("endpoints.yaml"));
    write(&path, &list(&[&a]));
    meets(gateway, "a").await;
    write(&path, "[]");
    eventually("it is doubted", async || seen(gateway).await["is_doubted"] == true).await;
    assert_eq!(call(gateway).await, "a");
    found.reload("file: DIR/endpoints.yaml, empty_after: 0s", "").await;
    eventually("it is believed", async || call(gateway).await == "NO_ENDPOINTS").await;
    // What was once found is no reason not to be ready.
    assert_eq!(page(gateway, "/readyz").await.status, 200);
    write(&path, &list(&[&a]));
    meets(gateway, "a").await;
}

#[tokio::test]
async fn an_endpoint_that_comes_takes_its_share_by_and_by() {
    let (a, b) = (start('a').await, start('b').await);
    let found = Found::start("file: DIR/endpoints.yaml").await;
    let (gateway, path) = (&found.gateway, found.path("endpoints.yaml"));
    let share = async |calls: usize| {
        let mut of_b = 0;
        for _ in 0..calls {
            of_b += usize::from(call(gateway).await == "b");
        }
        of_b
    };
    // However long this takes, it is the beginning of an hour.
    for slow_start in ["1h", "1s"] {
        write(&path, &list(&[&a]));
        found.reload("file: DIR/endpoints.yaml", &format!("slow_start: {slow_start}")).await;
        meets(gateway, "a").await;
        write(&path, &list(&[&a, &b]));
        eventually("it is listed", async || seen(gateway).await["endpoints"] == 2).await;
        if slow_start == "1h" {
            let of_b = share(220).await;
            figure(format_args!("220 calls, `b` has just come: it has {of_b}"));
            assert!(of_b.abs_diff(20) <= 3, "a tenth of its weight, not {of_b}");
        } else {
            eventually("it has its share", async || share(40).await >= 19).await;
        }
    }
}

#[tokio::test]
async fn reloads_keep_the_list_until_another_source_tells_its_own() {
    let (a, b) = (start('a').await, start('b').await);
    let found = Found::start("file: DIR/one.yaml").await;
    let gateway = &found.gateway;
    write(&found.path("one.yaml"), &list(&[&a]));
    meets(gateway, "a").await;
    // Nothing tells the list once more.
    std::fs::remove_file(found.path("one.yaml")).expect("ours");
    eventually("it is missed", async || seen(gateway).await["failure"].is_string()).await;
    let changes = seen(gateway).await["changes"].clone();
    found.reload("file: DIR/one.yaml", "timeout: 29s").await;
    meets(gateway, "a").await;
    assert_eq!(seen(gateway).await["changes"], changes, "the search goes on");
    let load = Load::start(gateway).await;
    let answer = found.reload("file: DIR/two.yaml", "").await;
    assert_eq!(answer["warnings"], serde_json::json!([]), "the old list holds: {answer}");
    meets(gateway, "a").await;
    assert_eq!(seen(gateway).await["endpoints"], 1);
    assert_eq!(page(gateway, "/readyz").await.status, 200);
    write(&found.path("two.yaml"), &list(&[&b]));
    meets(gateway, "b").await;
    found.reload(&format!("static: [\"http://{}\"]", a.address), "").await;
    meets(gateway, "a").await;
    let tally = load.end().await;
    assert!(is_clean(&tally), "{tally:?}");
}

#[tokio::test]
async fn endpoints_come_and_go_under_load() {
    let backends = [start('a').await, start('b').await, start('c').await];
    let [a, b, c] = &backends;
    let found = Found::start("file: DIR/endpoints.yaml").await;
    let (gateway, path) = (&found.gateway, found.path("endpoints.yaml"));
    write(&path, &list(&[a]));
    meets(gateway, "a").await;
    let load = Load::start(gateway).await;
    for (backends, names) in
        [(&[a, b][..], "ab"), (&[b, c], "bc"), (&[c], "c"), (&[a, b, c], "abc"), (&[b], "b")]
    {
        write(&path, &list(backends));
        meets(gateway, names).await;
    }
    let tally = load.end().await;
    figure(format_args!("calls while a file changed five times: {tally:?}"));
    assert!(is_clean(&tally), "{tally:?}");
}
