//! What clients would lose: told with a reload, or refused.

use super::{Reloading, write};
use crate::support::Directory;
use crate::support::backend::Backend;

/// A service with these paths, of whose message these are the fields.
pub(super) fn proto(paths: &[&str], fields: &str) -> String {
    let methods: String = paths
        .iter()
        .map(|path| {
            let name = path.rsplit('/').next().unwrap_or_default();
            format!("rpc Get{name}(M) returns (M) {{ option (google.api.http) = {{ get: \"{path}\" }}; }}\n")
        })
        .collect();
    format!(
        "syntax = \"proto3\"; package a; import \"google/api/annotations.proto\";\nmessage M {{ {fields} }}\n\
         service S {{ {methods} }}\n"
    )
}

#[tokio::test]
async fn losses_are_told_and_refused_where_that_is_asked_for() {
    let backend = Backend::echo().await;
    let directory = Directory::new("losses");
    write(&directory, "a.proto", &proto(&["/v1/a", "/v1/b"], "string x = 1; int32 y = 2;"));
    let file = directory.path().join("a.proto");
    let sections = |refuse: bool| {
        format!(
            "reload: {{ watch: false, refuse_breaking: {refuse} }}\ndescriptors: [{{ proto: {file:?} }}]\n"
        )
    };
    let reloading = Reloading::start(&backend, &sections(true)).await;
    write(&directory, "a.proto", &proto(&["/v1/a"], "string x = 1;"));
    let answer = reloading.post().await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let answer = answer.json();
    let findings = answer["findings"].as_array().expect("findings");
    let messages: Vec<_> = findings.iter().filter_map(|finding| finding["message"].as_str()).collect();
    let expected = [
        "clients would lose: `a.M.y` is gone from requests",
        "clients would lose: `a.M.y` is gone from replies",
        "clients would lose: `default`: `GET /v1/b` of `a.S.Getb` is gone",
    ];
    assert_eq!(messages, expected);
    assert_eq!((&answer["findings"][0]["line"], reloading.get("/v1/b").await), (&3.into(), 200));
    // Who says so may break.
    let answer = reloading.apply(&sections(false)).await;
    assert_eq!(answer["losses_count"], 3, "{answer:#}");
    assert!(answer["losses"][0] == "`a.M.y` is gone from requests", "{answer:#}");
    assert_eq!(reloading.get("/v1/b").await, 404);
    // What is added takes nothing from anybody.
    write(&directory, "a.proto", &proto(&["/v1/a", "/v1/c"], "string x = 1; string z = 3;"));
    let answer = reloading.apply(&sections(true)).await;
    assert_eq!((&answer["losses_count"], reloading.get("/v1/c").await), (&0.into(), 200));
}

#[tokio::test]
async fn what_clients_of_graphql_and_readers_of_json_lose_is_refused() {
    let backend = Backend::echo().await;
    let sections = |json: &str, graphql: bool, methods: &[&str], fields: &str| {
        let rules: Vec<_> = methods.iter().map(|name| format!("{{ match: door.v1.Door.{name} }}")).collect();
        let (masked, mask) = fields.split_once(' ').unwrap_or(("-", ""));
        let rules = rules.join(", ").replace(masked, &format!("{masked}, fields: \"{mask}\""));
        let protocols = if graphql { "[rest, graphql]" } else { "[rest]" };
        format!(
            "reload: {{ watch: false, refuse_breaking: true }}\njson: {{ {json} }}\n\
             surfaces: {{ web: {{ protocols: {protocols}, rules: [{rules}] }} }}\n"
        )
    };
    let before = sections("names: json", true, &["Update", "Plain"], "");
    let reloading = Reloading::start(&backend, &before).await;
    let refused = async |sections: &str, expected: &[&str]| {
        reloading.write(sections);
        let answer = reloading.post().await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        let answer = answer.json();
        let findings = answer["findings"].as_array().expect("findings").iter();
        let messages: Vec<_> = findings.filter_map(|finding| finding["message"].as_str()).collect();
        let expected: Vec<_> = expected.iter().map(|line| format!("clients would lose: {line}")).collect();
        assert_eq!(messages, expected, "{sections}");
    };
    let names = "`json.names` is `proto` instead of `json`: fields of replies are called otherwise";
    refused(&sections("names: proto", true, &["Update", "Plain"], ""), &[names]).await;
    // No path leads to it: it is a field of GraphQL alone.
    refused(&sections("names: json", true, &["Update"], ""), &["`web`: GraphQL: `Mutation.plain` is gone"])
        .await;
    refused(
        &sections("names: json", false, &["Update", "Plain"], ""),
        &["`web`: GraphQL at `/graphql` is gone"],
    )
    .await;
    refused(
        &sections("names: json", true, &["Update", "Plain"], "Update -allow_missing"),
        &["`door.v1.UpdateRequest.allow_missing` is hidden from replies"],
    )
    .await;
    refused(
        &sections("names: json", true, &["Update", "Plain"], "Plain -parent.tags"),
        &["`door.v1.Item.tags` is hidden from replies"],
    )
    .await;
    // More is shown, more is read: nobody loses by it.
    reloading
        .apply(&sections("names: json, unknown_fields: ignore", true, &["Update", "Plain", "Get"], ""))
        .await;
}
