//! Sources that tell, fail and end, and clusters that follow.

use super::*;
use crate::upstream::{Address, UpstreamConfig};

fn spec(port: u16) -> EndpointSpec {
    EndpointSpec::new(Address::plain(format!("127.0.0.1:{port}").parse().expect("an authority")))
}

fn settings(source: Source, empty_after: Duration) -> DiscoverySettings {
    DiscoverySettings { source, is_tls: true, empty_after }
}

/// One port a line.
fn parse(_path: &std::path::Path, text: &str) -> Result<Vec<EndpointSpec>, String> {
    let port = |line: &str| line.parse().map(spec).map_err(|error| format!("`{line}`: {error}"));
    text.lines().map(port).collect()
}

fn file(path: &std::path::Path) -> Source {
    Source::File(FileSettings { path: path.to_owned(), parse })
}

fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.seen().endpoints.into_iter().map(|seen| seen.address).collect()
}

/// Waits until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it comes to be so");
}

#[tokio::test]
async fn clusters_follow_the_file_as_long_as_somebody_looks() {
    let path = std::env::temp_dir().join(format!("transom-discovery-{}", std::process::id()));
    let write = |text: &str| std::fs::write(&path, text).expect("writable");
    let _ = std::fs::remove_file(&path);
    let before = vec![spec(9)];
    let discovery = Discovery::new("api", settings(file(&path), Duration::from_secs(3600)), before);
    let cluster = Cluster::new("api", UpstreamConfig::default(), Vec::new());
    discovery.lead(&cluster);
    assert_eq!(addresses(&cluster), ["http://127.0.0.1:9"]);
    discovery.begin(&Handle::current());
    // There is no file yet: what was before the search holds.
    assert!(!discovery.answered().await);
    let failure = discovery.seen().failure.expect("no file");
    assert!(failure.contains("No such file"), "{failure}");
    assert!(!discovery.has_list());
    write("2\n1\n2\n");
    until(|| discovery.has_list()).await;
    assert_eq!(addresses(&cluster), ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    assert!(discovery.answered().await);
    write("3\nx\n");
    until(|| discovery.seen().failure.is_some()).await;
    assert_eq!(discovery.seen().failure.as_deref(), Some("`x`: invalid digit found in string"));
    write("");
    until(|| discovery.seen().is_doubted).await;
    assert_eq!(addresses(&cluster).len(), 2);
    write("3\n");
    until(|| addresses(&cluster) == ["http://127.0.0.1:3"]).await;
    // A cluster of a later snapshot begins with what is known.
    let later = Cluster::new("api", UpstreamConfig::default(), Vec::new());
    discovery.lead(&later);
    assert_eq!(addresses(&later), ["http://127.0.0.1:3"]);
    let seen = discovery.seen();
    assert_eq!((seen.source, seen.endpoints, seen.changes, seen.failure), ("file", 1, 2, None));
    let shared = Arc::downgrade(&discovery.shared);
    drop(discovery);
    until(|| shared.upgrade().is_none()).await;
    assert_eq!(addresses(&later), ["http://127.0.0.1:3"]);
    std::fs::remove_file(&path).expect("ours");
}

#[tokio::test]
async fn no_endpoint_is_believed_in_time_without_another_word() {
    let settings = settings(file(std::path::Path::new("none")), Duration::from_millis(100));
    let shared = Arc::new(Shared::new("api".into(), &settings, Vec::new()));
    let feed = Feed(Arc::clone(&shared));
    let cluster = Cluster::new("api", UpstreamConfig::default(), Vec::new());
    shared.lead(&cluster);
    let doubting = tokio::spawn({
        let feed = feed.clone();
        async move { feed.doubt().await }
    });
    let listed = feed.endpoint("127.0.0.1:1".parse().expect("an authority"));
    assert!(listed.address.is_tls);
    feed.list(vec![listed], 0);
    assert_eq!(addresses(&cluster), ["https://127.0.0.1:1"]);
    feed.list(Vec::new(), 0);
    until(|| addresses(&cluster).is_empty()).await;
    assert!(shared.listing().is_told());
    doubting.abort();
}
