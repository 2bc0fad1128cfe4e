//! Requests that bind, at the real door: what a backend gets is what the client meant, and comes back as JSON.
//!
//! The backend echoes the request message, so that one table shows both directions.

use serde_json::Value;

use crate::support::backend::Backend;
use crate::support::{Gateway, http};

/// Method, target, body, the reply.
const CASES: &[(&str, &str, &str, &str)] = &[
    // Captures.
    ("GET", "/v1/items/7", "", r#"{"name": "items/7"}"#),
    ("GET", "/v1/items/a%2Fb", "", r#"{"name": "items/a%2Fb"}"#),
    ("GET", "/v1/items/a%20b", "", r#"{"name": "items/a b"}"#),
    ("GET", "/v1/items/a:b", "", r#"{"name": "items/a:b"}"#),
    ("GET", "/v1/items/%F0%9F%A6%80", "", r#"{"name": "items/🦀"}"#),
    ("GET", "/v1/by-parent/a%2Fb", "", r#"{"parent": {"name": "a/b"}}"#),
    ("GET", "/v1/by-parent/%252F", "", r#"{"parent": {"name": "%2F"}}"#),
    ("GET", "/v1/deep/a/b/c", "", r#"{"name": "a/b/c"}"#),
    ("GET", "/v1/deep/a%2fb/c", "", r#"{"name": "a%2fb/c"}"#),
    ("GET", "/v1/deep", "", r#"{}"#),
    ("GET", "/v1/left/a", "", r#"{"left": "a"}"#),
    // Literals are compared decoded; what looks like more than a name is still one.
    ("GET", "/v1/%69tems/7", "", r#"{"name": "items/7"}"#),
    ("GET", "/v1/items/7;v=1", "", r#"{"name": "items/7;v=1"}"#),
    ("GET", "/v1/items/..", "", r#"{"name": "items/.."}"#),
    ("GET", "/v1/items/%2e%2e", "", r#"{"name": "items/.."}"#),
    ("GET", "/v1/items/a%5Cb", "", r#"{"name": "items/a\\b"}"#),
    // Verbs: only those that a rule knows, as they are written.
    ("GET", "/v1/items/7%3Awatch", "", r#"{"name": "items/7:watch"}"#),
    ("GET", "/v1/items/7:Watch", "", r#"{"name": "items/7:Watch"}"#),
    ("GET", "/v1/items/7:", "", r#"{"name": "items/7:"}"#),
    ("GET", "/v1/items/:watch", "", r#"{"name": "items/:watch"}"#),
    ("GET", "/v1/items/7:purge", "", r#"{"name": "items/7:purge"}"#),
    ("PURGE", "/v1/items/7:purge", "", r#"{"name": "items/7"}"#),
    ("BREW", "/v1/any/x", "", r#"{"name": "x"}"#),
    ("OPTIONS", "/v1/any/x", "", r#"{"name": "x"}"#),
    // Query parameters.
    ("GET", "/v1/items/7?count=3", "", r#"{"name": "items/7", "count": 3}"#),
    (
        "GET",
        "/v1/items/7?count=-3&size=9007199254740993",
        "",
        r#"{"name": "items/7", "count": -3, "size": "9007199254740993"}"#,
    ),
    (
        "GET",
        "/v1/items/7?big=18446744073709551615",
        "",
        r#"{"name": "items/7", "big": "18446744073709551615"}"#,
    ),
    ("GET", "/v1/items/7?weight=1.5&ratio=0", "", r#"{"name": "items/7", "weight": 1.5, "ratio": 0}"#),
    ("GET", "/v1/items/7?weight=NaN", "", r#"{"name": "items/7", "weight": "NaN"}"#),
    ("GET", "/v1/items/7?weight=-Infinity", "", r#"{"name": "items/7", "weight": "-Infinity"}"#),
    ("GET", "/v1/items/7?done=true", "", r#"{"name": "items/7", "done": true}"#),
    ("GET", "/v1/items/7?done=false&count=0", "", r#"{"name": "items/7"}"#),
    ("GET", "/v1/items/7?data=-_8", "", r#"{"name": "items/7", "data": "+/8="}"#),
    ("GET", "/v1/items/7?color=COLOR_RED", "", r#"{"name": "items/7", "color": "COLOR_RED"}"#),
    ("GET", "/v1/items/7?color=2", "", r#"{"name": "items/7", "color": "COLOR_GREEN"}"#),
    ("GET", "/v1/items/7?color=9", "", r#"{"name": "items/7", "color": 9}"#),
    ("GET", "/v1/items/7?tags=b&tags=a&tags=", "", r#"{"name": "items/7", "tags": ["b", "a", ""]}"#),
    ("GET", "/v1/items/7?numbers=1&numbers=2", "", r#"{"name": "items/7", "numbers": [1, 2]}"#),
    ("GET", "/v1/items/7?tags=a+b%2B", "", r#"{"name": "items/7", "tags": ["a b+"]}"#),
    ("GET", "/v1/items/7?labels[a]=1&labels.b=2", "", r#"{"name": "items/7", "labels": {"a": 1, "b": 2}}"#),
    (
        "GET",
        "/v1/items/7?parent.parent.count=1",
        "",
        r#"{"name": "items/7", "parent": {"parent": {"count": 1}}}"#,
    ),
    (
        "GET",
        "/v1/items/7?parent.name=x&parent.count=2",
        "",
        r#"{"name": "items/7", "parent": {"name": "x", "count": 2}}"#,
    ),
    ("GET", "/v1/by-parent/x?parent.count=2", "", r#"{"parent": {"name": "x", "count": 2}}"#),
    ("GET", "/v1/items/7?note=", "", r#"{"name": "items/7", "note": ""}"#),
    ("GET", "/v1/items/7?left", "", r#"{"name": "items/7", "left": ""}"#),
    ("GET", "/v1/items/7?age=1.5s", "", r#"{"name": "items/7", "age": "1.500s"}"#),
    (
        "GET",
        "/v1/items/7?time=2026-11-21T08:00:00%2B01:00",
        "",
        r#"{"name": "items/7", "time": "2026-11-21T07:00:00Z"}"#,
    ),
    ("GET", "/v1/items/7?mask=name,parent.name", "", r#"{"name": "items/7", "mask": "name,parent.name"}"#),
    ("GET", "/v1/items/7?mask=parent.tagList,a_b", "", r#"{"name": "items/7", "mask": "parent.tagList,aB"}"#),
    ("GET", "/v1/items/7?", "", r#"{"name": "items/7"}"#),
    ("GET", "/v1/items/7?&&count=3&", "", r#"{"name": "items/7", "count": 3}"#),
    ("GET", "/v1/items/7?tags=a=b=c", "", r#"{"name": "items/7", "tags": ["a=b=c"]}"#),
    ("GET", "/v1/items/7?labels%5Bb%5D=1", "", r#"{"name": "items/7", "labels": {"b": 1}}"#),
    (
        "GET",
        "/v1/items/7?labels[a.b]=1&labels.c.d=2&labels[]=3",
        "",
        r#"{"name": "items/7", "labels": {"a.b": 1, "c.d": 2, "": 3}}"#,
    ),
    ("GET", "/v1/items/7?flags[true]=x", "", r#"{"name": "items/7", "flags": {"true": "x"}}"#),
    (
        "GET",
        "/v1/items/7?colorsById[-9007199254740993]=COLOR_RED&colors_by_id.7=2",
        "",
        r#"{"name": "items/7", "colorsById": {"-9007199254740993": "COLOR_RED", "7": "COLOR_GREEN"}}"#,
    ),
    (
        "GET",
        "/v1/items/7?colors=1&colors=COLOR_GREEN&colors=7&colors=-1",
        "",
        r#"{"name": "items/7", "colors": ["COLOR_RED", "COLOR_GREEN", 7, -1]}"#,
    ),
    ("GET", "/v1/items/7?notes=a&notes=", "", r#"{"name": "items/7", "notes": ["a", ""]}"#),
    (
        "GET",
        "/v1/items/7?weight=Infinity&ratio=1e-3",
        "",
        r#"{"name": "items/7", "weight": "Infinity", "ratio": 0.001}"#,
    ),
    ("GET", "/v1/items/7?data=%2B/8=", "", r#"{"name": "items/7", "data": "+/8="}"#),
    ("GET", "/v1/items/7?count=007", "", r#"{"name": "items/7", "count": 7}"#),
    ("GET", "/v1/items/7?tags=%00%0D%0A", "", r#"{"name": "items/7", "tags": ["\u0000\r\n"]}"#),
    ("GET", "/v1/items/7?name=items/7", "", r#"{"name": "items/7"}"#),
    // Bodies.
    ("POST", "/v1/items", "{}", r#"{}"#),
    ("POST", "/v1/items", "", r#"{}"#),
    ("POST", "/v1/items", r#" { "name" : "x" , "count" : "1e2" } "#, r#"{"name": "x", "count": 100}"#),
    ("POST", "/v1/items", r#"{"count":null,"parent":null,"value":null}"#, r#"{"value": null}"#),
    (
        "POST",
        "/v1/items",
        r#"{"extra":{"a":[1,{"b":null}]},"value":[true]}"#,
        r#"{"extra": {"a": [1, {"b": null}]}, "value": [true]}"#,
    ),
    (
        "POST",
        "/v1/items",
        r#"{"any":{"@type":"type.googleapis.com/door.v1.Item","name":"x"}}"#,
        r#"{"any": {"@type": "type.googleapis.com/door.v1.Item", "name": "x"}}"#,
    ),
    (
        "POST",
        "/v1/items",
        r#"{"any":{"value":"2s","@type":"type.googleapis.com/google.protobuf.Duration"}}"#,
        r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "2s"}}"#,
    ),
    ("POST", "/v1/items", r#"{"name":"\ud83e\udd80\u0000\n"}"#, r#"{"name": "🦀\u0000\n"}"#),
    ("POST", "/v1/items", r#"{"left":"","labels":{"":0}}"#, r#"{"left": "", "labels": {"": 0}}"#),
    ("DELETE", "/v1/items/7", "", r#"{"name": "items/7"}"#),
    // A body that is one field; for PATCH the mask comes from it.
    ("PUT", "/v1/items/7", r#"{"count":1}"#, r#"{"item": {"name": "items/7", "count": 1}}"#),
    ("PUT", "/v1/items/7", "", r#"{"item": {"name": "items/7"}}"#),
    ("PUT", "/v1/items/7", "null", r#"{"item": {"name": "items/7"}}"#),
    (
        "PUT",
        "/v1/items/7?allowMissing=true",
        r#"{"name":"items/7"}"#,
        r#"{"item": {"name": "items/7"}, "allowMissing": true}"#,
    ),
    (
        "PATCH",
        "/v1/items/7",
        r#"{"count":1}"#,
        r#"{"item": {"name": "items/7", "count": 1}, "updateMask": "count"}"#,
    ),
    (
        "PATCH",
        "/v1/items/7",
        r#"{"parent":{"name":"x","parent":{"count":1}},"labels":{"a":1},"tags":[],"note":null}"#,
        r#"{ "item": {"name": "items/7", "parent": {"name": "x", "parent": {"count": 1}}, "labels": {"a": 1}}, "updateMask": "parent.name,parent.parent.count,labels,tags,note"}"#,
    ),
    (
        "PATCH",
        "/v1/items/7?update_mask=done",
        r#"{"count":1}"#,
        r#"{"item": {"name": "items/7", "count": 1}, "updateMask": "done"}"#,
    ),
    (
        "PATCH",
        "/v1/items/7?updateMask=*",
        r#"{"count":1}"#,
        r#"{"item": {"name": "items/7", "count": 1}, "updateMask": "*"}"#,
    ),
    ("PATCH", "/v1/items/7", "", r#"{"item": {"name": "items/7"}}"#),
    ("PATCH", "/v1/items/7", "null", r#"{"item": {"name": "items/7"}}"#),
    ("PATCH", "/v1/items/7", "{}", r#"{"item": {"name": "items/7"}}"#),
    (
        "PATCH",
        "/v1/items/7",
        r#"{"name":"items/7","parent":{},"left":"a"}"#,
        r#"{"item": {"name": "items/7", "parent": {}, "left": "a"}, "updateMask": "name,parent,left"}"#,
    ),
    (
        "PATCH",
        "/v1/items/7",
        r#"{"note":"n","extra":{"a":{"b":1}},"any":{"@type":"x/door.v1.Item","name":"y"},"time":"1970-01-01T00:00:00Z","value":{"a":1},"children":[{"count":1}],"itemsByName":{"a":{}}}"#,
        r#"{"item": {"name": "items/7", "note": "n", "extra": {"a": {"b": 1}}, "any": {"@type": "x/door.v1.Item", "name": "y"}, "time": "1970-01-01T00:00:00Z", "value": {"a": 1}, "children": [{"count": 1}], "itemsByName": {"a": {}}}, "updateMask": "note,extra,any,time,value,children,itemsByName"}"#,
    ),
    (
        "PATCH",
        "/v1/items/7?updateMask=",
        r#"{"count":1}"#,
        r#"{"item": {"name": "items/7", "count": 1}, "updateMask": ""}"#,
    ),
    ("PATCH", "/v1/whole", r#"{"item":{"count":1}}"#, r#"{"item": {"count": 1}}"#),
    (
        "PATCH",
        "/v1/whole",
        r#"{"item":{"count":1},"updateMask":"done"}"#,
        r#"{"item": {"count": 1}, "updateMask": "done"}"#,
    ),
    // One field as the response.
    ("GET", "/v1/names?tags=a&tags=b", "", r#"["a", "b"]"#),
    ("GET", "/v1/names", "", r#"[]"#),
    ("GET", "/v1/parent?parent.count=1", "", r#"{"count": 1}"#),
    ("GET", "/v1/size?size=5", "", r#""5""#),
    ("GET", "/v1/size", "", r#""0""#),
    // No rule, but asked for.
    ("POST", "/door.v1.Door/Plain", r#"{"name":"x"}"#, r#"{"name": "x"}"#),
    ("POST", "/door.v1.Door/PlainWatch", r#"{"name":"x"}"#, r#"{"name": "x"}"#),
];

#[tokio::test]
async fn requests_bind_and_replies_come_back_as_json() {
    let backend = Backend::echo().await;
    let gateway = Gateway::door(&backend, &["--unannotated"]).await;
    let mut failures = Vec::new();
    for (method, target, body, expected) in CASES {
        let request = http::request(method, target).header("content-type", "application/json");
        let answer = http::send(gateway.address, request, *body).await;
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        if answer.status != 200 || answer.json() != expected {
            let found = answer.text();
            failures.push(format!(
                "{method} {target} {body}\n  expected {expected}\n  found {} {found}",
                answer.status
            ));
        }
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}
