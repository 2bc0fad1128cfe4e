//! Deprecation at the real door.

use crate::support::backend::Backend;
use crate::support::{Gateway, http as client};

#[tokio::test]
async fn replies_say_what_is_deprecated_and_410_what_is_gone() {
    let backend = Backend::echo().await;
    let surfaces = r#"
surfaces:
  old:
    deprecated: { since: 2026-09-01, sunset: 2099-03-01, link: "https://shop.example/migrate" }
    rules:
      - { match: door.v1.Door.Delete, deprecated: { since: 2020-01-01, sunset: 2020-06-01 } }
      - { match: door.v1.Door.*Watch, deprecated: { since: 2030-01-01 } }
      - { match: door.v1.* }
"#;
    let gateway = Gateway::configured(&backend, "", "", surfaces).await;
    let check = async |verb: &str, path: &str, expected: (u16, &str, Option<&str>, Option<&str>)| {
        let answer = client::send(gateway.address, client::request(verb, path), "").await;
        let told = (
            answer.status.as_u16(),
            answer.header("deprecation").unwrap_or_default(),
            answer.header("sunset"),
            answer.header("link"),
        );
        assert_eq!(told, expected, "{verb} {path}");
        answer
    };
    let sunset = Some("Sun, 01 Mar 2099 00:00:00 GMT");
    let link = Some("<https://shop.example/migrate>; rel=\"deprecation\"; type=\"text/html\"");
    check("GET", "/v1/items/7", (200, "@1788220800", sunset, link)).await;
    check("GET", "/v1/items/7:watch", (200, "@1893456000", None, None)).await;
    let gone = (410, "@1577836800", Some("Mon, 01 Jun 2020 00:00:00 GMT"), None);
    let answer = check("DELETE", "/v1/items/7", gone).await;
    assert_eq!(answer.json()["details"][0]["reason"], "SUNSET");
    // A path that is not there is no rule's.
    check("GET", "/v1/nothing/here", (404, "", None, None)).await;
}
