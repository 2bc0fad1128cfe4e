//! Documents and variables that would be much work, at the real door: each is refused with its own code, and nobody
//! is called. How long that takes, `cargo bench --bench bombs` tells.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::graphql_http::{gateway, library, post};
use crate::support::bombs::bombs;
use crate::support::{http as client, soon};

#[tokio::test]
async fn bombs_are_refused_and_nobody_is_called() {
    let backend = library().await;
    let gateway = gateway(&backend, "", "").await;
    let mut wrong = Vec::new();
    for bomb in bombs() {
        let answer = client::send(gateway.address, post(), bomb.body).await;
        let json: Value = answer.json();
        let extensions = &json["errors"][0]["extensions"];
        let code = extensions.get("reason").unwrap_or(&extensions["code"]);
        // What is cited of a bomb does not make another one of the answer.
        if code != bomb.code || json.get("data").is_some() || answer.text().len() > 16 << 10 {
            let start: String = answer.text().chars().take(300).collect();
            wrong.push(format!("{}: {} bytes: {start}", bomb.name, answer.text().len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn each_bound_has_its_key() {
    let backend = library().await;
    let limits = "graphql: { limits: { values: 12, errors: 2, response: 1KiB, introspection_size: 1KiB } }";
    let gateway = gateway(&backend, limits, "").await;
    let ask = async |body: Value| client::send(gateway.address, post(), body.to_string()).await;
    let query = async |document: String| ask(json!({ "query": document })).await.json();
    // The body, two names and their values, `v` and its list: seven before the numbers.
    let values = |count: usize| json!({ "query": "{ __typename }", "variables": { "v": vec![1; count] } });
    assert_eq!(ask(values(5)).await.status, 200);
    let refused = ask(values(6)).await;
    assert_eq!(refused.status, 413);
    assert_eq!(refused.json()["errors"][0]["extensions"]["reason"], "TOO_MANY_VALUES");
    let odd = |count: usize| -> String {
        let one = |index| format!("a{index}: getBook(name: \"odd\") {{ genre }} ");
        format!("{{ {} }}", (0..count).map(one).collect::<String>())
    };
    assert_eq!(query(odd(2)).await.get("extensions"), None);
    let three = query(odd(3)).await;
    assert_eq!(three["errors"].as_array().map(Vec::len), Some(2), "{three}");
    assert_eq!(three["extensions"], json!({ "errorsNotTold": 1 }));
    let named = |count: usize| -> String {
        let one = |index| format!("a{index}: getBook(name: \"{}\") {{ name }} ", "n".repeat(100));
        format!("{{ {} }}", (0..count).map(one).collect::<String>())
    };
    assert_eq!(query(named(8)).await.get("errors"), None);
    let cut = query(named(12)).await;
    assert_eq!(cut["data"]["a11"], Value::Null, "{cut}");
    assert_eq!(cut["errors"][0]["extensions"]["reason"], "MESSAGE_TOO_LARGE", "{cut}");
    let short = query("{ __schema { queryType { name } } }".to_owned()).await;
    assert_eq!(short["data"]["__schema"]["queryType"]["name"], "Query");
    let long = query("{ __schema { types { name description } } }".to_owned()).await;
    assert_eq!(long["errors"][0]["extensions"]["code"], "COST_LIMIT", "{long}");
}

#[tokio::test]
async fn a_request_that_does_not_come_is_given_up() {
    let backend = library().await;
    let gateway = gateway(&backend, "graphql: { limits: { read_timeout: 100ms } }", "").await;
    let mut stream = TcpStream::connect(gateway.address).await.expect("the gateway listens");
    let head =
        "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("the gateway reads");
    let mut answer = vec![0; 12];
    soon(stream.read_exact(&mut answer)).await.expect("the gateway answers");
    assert_eq!(answer, b"HTTP/1.1 408");
}
