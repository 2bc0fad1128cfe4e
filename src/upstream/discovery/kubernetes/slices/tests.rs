//! Lists and events as an API server tells them, in short.

use serde_json::json;

use super::*;
use crate::upstream::Address;

fn slice(name: &str, version: u64, ports: Json, endpoints: Json) -> Json {
    let version = version.to_string();
    json!({ "metadata": { "name": name, "namespace": "shop", "resourceVersion": version },
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints })
}

fn grpc(name: &str, version: u64, endpoints: Json) -> Json {
    slice(
        name,
        version,
        json!([{ "name": "http", "port": 80 }, { "name": "grpc", "port": 50051 }]),
        endpoints,
    )
}

fn ready(address: &str) -> Json {
    json!([{ "addresses": [address], "conditions": { "ready": true, "serving": true, "terminating": false } }])
}

fn list(items: &[Json], port: Port) -> Result<Slices, String> {
    let list = json!({ "kind": "EndpointSliceList", "metadata": { "resourceVersion": "7" }, "items": items });
    Slices::read(list.to_string().as_bytes(), &port)
}

fn by_name(items: &[Json]) -> Slices {
    list(items, Port::Name("grpc".into())).expect("a list")
}

/// `address zone` of each, and the count of those left out; or the reason.
fn shown(slices: &Slices) -> String {
    match slices.endpoints(|authority| EndpointSpec::new(Address::plain(authority))) {
        Err(reason) => reason,
        Ok((specs, left_out)) => {
            let one = |spec: &EndpointSpec| match &spec.zone {
                Some(zone) => format!("{} {zone}", spec.address.authority),
                None => spec.address.authority.to_string(),
            };
            let specs: Vec<_> = specs.iter().map(one).collect();
            format!("{}; {left_out}", specs.join(", "))
        }
    }
}

fn event(kind: &str, object: &Json) -> Vec<u8> {
    json!({ "type": kind, "object": object }).to_string().into_bytes()
}

#[test]
fn slices_of_a_service_are_one_list() {
    let zoned = json!([
        { "addresses": ["10.0.0.2"], "conditions": { "ready": true }, "zone": "b", "nodeName": "n2" },
        { "addresses": ["10.0.0.3", "10.0.0.4"], "zone": "" },
    ]);
    let both = [grpc("orders-1", 1, ready("10.0.0.1")), grpc("orders-2", 2, zoned)];
    assert_eq!(shown(&by_name(&both)), "10.0.0.1:50051, 10.0.0.2:50051 b, 10.0.0.3:50051; 0");
    let by_number = list(&both, Port::Number(80)).expect("a list");
    assert_eq!(shown(&by_number), "10.0.0.1:80, 10.0.0.2:80 b, 10.0.0.3:80; 0");
    assert_eq!(shown(&by_name(&[])), "; 0");
    assert_eq!(shown(&by_name(&[grpc("orders-1", 1, Json::Null)])), "; 0");
    // Rolled out in another version, pods may have the port elsewhere.
    let moved = slice("orders-3", 1, json!([{ "name": "grpc", "port": 9000 }]), ready("10.0.0.9"));
    assert_eq!(shown(&by_name(&[both[0].clone(), moved])), "10.0.0.1:50051, 10.0.0.9:9000; 0");
}

#[test]
fn terminating_endpoints_are_the_last_resort() {
    let check = |conditions: [Json; 3], expected: &str| {
        let endpoints = conditions.iter().zip(1..).map(
            |(conditions, number)| json!({ "addresses": [format!("10.0.0.{number}")], "conditions": conditions }),
        );
        let slices = by_name(&[grpc("orders", 1, Json::from_iter(endpoints))]);
        assert_eq!(shown(&slices), expected, "{conditions:?}");
    };
    let ready = json!({ "ready": true, "serving": true, "terminating": false });
    let starting = json!({ "ready": false, "serving": false, "terminating": false });
    let ending = json!({ "ready": false, "serving": true, "terminating": true });
    let ended = json!({ "ready": false, "serving": false, "terminating": true });
    let unsaid = json!({});
    check([ready.clone(), starting.clone(), ending.clone()], "10.0.0.1:50051; 0");
    check([starting.clone(), ending.clone(), ended.clone()], "10.0.0.2:50051; 0");
    check([starting.clone(), ended.clone(), starting.clone()], "; 0");
    check([unsaid, ending.clone(), ended], "10.0.0.1:50051; 0");
    // Serving that is not said is as ready as the endpoint is.
    let old = json!({ "ready": false, "terminating": true });
    check([old, starting, ending], "10.0.0.3:50051; 0");
}

#[test]
fn a_pod_with_an_address_of_each_family_is_one_endpoint() {
    let pod = |address: &str, uid: &str| json!({ "addresses": [address], "targetRef": { "uid": uid } });
    let v4 = grpc("orders-4", 1, json!([pod("10.0.0.1", "a"), pod("10.0.0.2", "b")]));
    let v6 =
        grpc("orders-6", 1, json!([pod("fd00::1", "a"), pod("fd00::3", "c"), { "addresses": ["fd00::4"] }]));
    let slices = by_name(&[v4, v6.clone()]);
    assert_eq!(shown(&slices), "10.0.0.1:50051, 10.0.0.2:50051, [fd00::3]:50051, [fd00::4]:50051; 0");
    assert_eq!(shown(&by_name(&[v6])), "[fd00::1]:50051, [fd00::3]:50051, [fd00::4]:50051; 0");
}

#[test]
fn endpoints_without_the_port_are_said() {
    let other = |name: &str| {
        slice(name, 1, json!([{ "name": "http", "port": 80 }, { "port": 81 }]), ready("10.0.0.1"))
    };
    assert_eq!(
        shown(&by_name(&[other("a")])),
        "no port of the pods is called `grpc`: there are 81, `http` 80"
    );
    let by_number = list(&[other("a")], Port::Number(50051)).expect("a list");
    assert_eq!(shown(&by_number), "no port of the pods is 50051: there are 81, `http` 80");
    let none = slice("a", 1, Json::Null, ready("10.0.0.1"));
    assert_eq!(shown(&by_name(&[none])), "no port of the pods is called `grpc`: they have none");
    assert_eq!(shown(&by_name(&[other("a"), grpc("b", 1, ready("10.0.0.2"))])), "10.0.0.2:50051; 1");
    let nowhere = json!([{ "addresses": [] }, { "addresses": ["a b"] }, { "addresses": ["10.0.0.3"] }]);
    assert_eq!(shown(&by_name(&[grpc("a", 1, nowhere)])), "10.0.0.3:50051; 2");
}

#[test]
fn events_change_slices_and_carry_the_version() {
    let mut slices = by_name(&[grpc("a", 1, ready("10.0.0.1"))]);
    let mut follow = |kind: &str, object: &Json, expected: &str, version: &str| {
        assert_eq!(slices.follow(&event(kind, object)), Ok(Event::Told), "{kind} {object}");
        assert_eq!((shown(&slices).as_str(), slices.version()), (expected, version), "{kind} {object}");
    };
    follow("ADDED", &grpc("b", 8, ready("10.0.0.2")), "10.0.0.1:50051, 10.0.0.2:50051; 0", "8");
    follow("MODIFIED", &grpc("a", 9, ready("10.0.0.3")), "10.0.0.3:50051, 10.0.0.2:50051; 0", "9");
    follow("DELETED", &grpc("a", 11, ready("10.0.0.3")), "10.0.0.2:50051; 0", "11");
    let bookmark = json!({ "kind": "EndpointSlice", "metadata": { "resourceVersion": "15" } });
    follow("BOOKMARK", &bookmark, "10.0.0.2:50051; 0", "15");
    follow("LATER", &Json::Null, "10.0.0.2:50051; 0", "15");
    assert_eq!(slices.follow(&event("ERROR", &json!({ "code": 410, "reason": "Expired" }))), Ok(Event::Gone));
    let error = json!({ "code": 500, "message": "etcdserver: leader changed" });
    let reason = "the watch ends with an error: etcdserver: leader changed";
    assert_eq!(slices.follow(&event("ERROR", &error)), Err(reason.to_owned()));
    for line in ["", "{", "[]", "{\"type\":\"ADDED\"}", "{\"type\":\"ADDED\",\"object\":{\"metadata\":{}}}"] {
        let reason = slices.follow(line.as_bytes()).expect_err(line);
        assert!(reason.starts_with("the watch tells "), "{reason}");
    }
    assert_eq!(shown(&slices), "10.0.0.2:50051; 0");
}

#[test]
fn slices_are_bounded() {
    let items = |count: usize| -> Vec<_> {
        (0..count).map(|number| grpc(&format!("orders-{number}"), 1, Json::Null)).collect()
    };
    let mut slices = by_name(&items(SLICES_MAX));
    let next = grpc("orders", 2, Json::Null);
    assert_eq!(
        slices.follow(&event("ADDED", &next)),
        Err("there are more than 1000 EndpointSlices".to_owned())
    );
    let error = list(&items(SLICES_MAX + 1), Port::Number(1)).expect_err("too many");
    assert_eq!(error, "there are more than 1000 EndpointSlices");
    for body in ["", "[]", "{}", "<html>", "{\"metadata\":{},\"items\":[]}"] {
        let reason = Slices::read(body.as_bytes(), &Port::Number(1)).expect_err(body);
        assert!(reason.starts_with("the answer is no list of EndpointSlices: "), "{reason}");
    }
}
