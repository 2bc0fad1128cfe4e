//! Client certificates as identities, behind a listener that verifies them.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::backend::Backend;
use crate::support::tls::{Authority, Client};
use crate::support::{Directory, Gateway, soon};

const HOST: &str = "gateway.test";

/// The whole reply to a GET by this client.
async fn get(gateway: &Gateway, client: &Client, headers: &str) -> String {
    let mut stream = client.connect(gateway.address, HOST).await.expect("a handshake");
    let request = format!("GET /v1/items/7 HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("an open connection");
    let mut reply = Vec::new();
    soon(stream.read_to_end(&mut reply)).await.expect("a reply");
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn a_verified_certificate_says_who_is_calling() {
    let directory = Directory::new("mtls");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a directory of ours");
        format!("file:{}", path.display())
    };
    let [authority, partners] = ["authority", "partners"].map(Authority::new);
    let host = authority.host(&[HOST]);
    let (cert, key) = (file("a.crt", &host.chain), file("a.key", &host.key));
    let ca = file("ca.crt", &partners.pem);
    let listener =
        format!("tls: {{ cert: {cert:?}, key: {key:?}, client_ca: {ca:?}, client_certificates: optional }}");
    let sections = r#"
auth: { mesh: { mtls: { san: uri, names: ["spiffe://shop.test/*"] }, forward: { san: x-workload, cn: x-cn } } }
consumers: { jobs: { certificates: ["spiffe://shop.test/jobs"] } }
policies: { p: { auth: mesh } }
surfaces: { s: { policies: [p] } }
"#;
    let backend = Backend::echo().await;
    let gateway = Gateway::configured(&backend, &listener, "", sections).await;
    let client = |uri: &str| Client::with_certificate(&authority, &partners.client(uri));

    let reply = get(&gateway, &client("spiffe://shop.test/jobs"), "x-workload: forged\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert!(reply.contains("\r\ngrpc-metadata-seen-x-workload: spiffe://shop.test/jobs\r\n"), "{reply}");
    assert!(!reply.contains("forged"), "{reply}");

    // A name that is asked of no one, and none at all.
    let reply = get(&gateway, &client("spiffe://shop.test.evil/jobs"), "").await;
    assert!(reply.starts_with("HTTP/1.1 401 ") && reply.contains("\"CERTIFICATE_INVALID\""), "{reply}");
    assert!(!reply.contains("evil"), "{reply}");
    let reply = get(&gateway, &Client::new(&authority), "").await;
    assert!(reply.starts_with("HTTP/1.1 401 ") && reply.contains("\"UNAUTHENTICATED\""), "{reply}");
    assert!(reply.contains("www-authenticate: ClientCertificate realm=\"transom\"\r\n"), "{reply}");
    assert_eq!(backend.calls(), 1);
}
