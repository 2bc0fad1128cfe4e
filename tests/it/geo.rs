//! Countries and autonomous systems from MaxMind DB files, good, damaged and hostile.

use std::net::IpAddr;

use transom::policy::geo::{Country, GeoDatabase};

use crate::support::mmdb::{self, Value, text};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn country(database: &GeoDatabase, of: &str) -> Option<String> {
    database.country(address(of)).map(|country| country.to_string())
}

const NETWORKS: [(&str, &str); 6] = [
    ("192.0.2.0/25", "DE"),
    ("192.0.2.128/26", "FR"),
    ("198.51.100.7/32", "KP"),
    ("203.0.113.0/24", ""),
    ("2001:db8:1::/48", "DE"),
    ("2001:db8:2::/48", "KP"),
];

#[test]
fn countries_are_found_by_network() {
    let database = GeoDatabase::of_countries(mmdb::countries(&NETWORKS)).expect("a good file");
    let check =
        |of: &str, expected: Option<&str>| assert_eq!(country(&database, of).as_deref(), expected, "{of}");
    check("192.0.2.0", Some("DE"));
    check("192.0.2.127", Some("DE"));
    check("192.0.2.128", Some("FR"));
    check("192.0.2.192", None);
    check("198.51.100.7", Some("KP"));
    check("198.51.100.8", None);
    check("203.0.113.1", None);
    check("2001:db8:1::1", Some("DE"));
    check("2001:db8:2:ffff::", Some("KP"));
    check("2001:db8:3::", None);
    check("::", None);
    check("255.255.255.255", None);
}

#[test]
fn systems_are_found_by_network() {
    let file = mmdb::systems(&[("192.0.2.0/24", 64_500), ("2001:db8::/32", u32::MAX)]);
    let database = GeoDatabase::of_systems(file).expect("a good file");
    assert_eq!(database.asn(address("192.0.2.9")), Some(64_500));
    assert_eq!(database.asn(address("2001:db8::9")), Some(u32::MAX));
    assert_eq!(database.asn(address("192.0.3.9")), None);
}

#[test]
fn the_form_of_ipinfo_is_read_too() {
    let record = || Value::Map(vec![("country_code", text("NL")), ("asn", text("AS64501"))]);
    let file = mmdb::file("ipinfo lite", &[("192.0.2.0/24", record())]);
    let database = GeoDatabase::of_countries(file.clone()).expect("a good file");
    assert_eq!(country(&database, "192.0.2.1").as_deref(), Some("NL"));
    let database = GeoDatabase::of_systems(file).expect("a good file");
    assert_eq!(database.asn(address("192.0.2.1")), Some(64_501));
}

#[test]
fn records_of_other_types_say_nothing() {
    let odd = |value: Value| Value::Map(vec![("country", value)]);
    let code = |value: Value| odd(Value::Map(vec![("iso_code", value)]));
    let file = mmdb::file(
        "odd",
        &[
            ("192.0.2.0/28", code(text("DE"))),
            ("192.0.2.16/28", code(text("de"))),
            ("192.0.2.32/28", code(text("DEU"))),
            ("192.0.2.48/28", code(text(""))),
            ("192.0.2.64/28", code(Value::U32(7))),
            ("192.0.2.80/28", odd(text("DE"))),
            ("192.0.2.96/28", text("DE")),
            ("192.0.2.112/28", Value::List(vec![])),
        ],
    );
    let database = GeoDatabase::of_countries(file).expect("one good record");
    assert_eq!(country(&database, "192.0.2.1").as_deref(), Some("DE"));
    for odd in (16..=240).step_by(16) {
        assert_eq!(country(&database, &format!("192.0.2.{odd}")), None);
    }
}

#[test]
fn files_of_another_kind_are_refused_with_words() {
    let refused = |outcome: Result<GeoDatabase, _>| match outcome {
        Ok(database) => panic!("accepted: {database:?}"),
        Err::<_, transom::policy::geo::GeoError>(error) => error.to_string(),
    };
    let (countries, systems) = (mmdb::countries(&NETWORKS), mmdb::systems(&[("192.0.2.0/24", 1)]));
    assert_eq!(
        refused(GeoDatabase::of_systems(countries)),
        "expected autonomous systems, and no record of this `Test-Country` has one"
    );
    assert_eq!(
        refused(GeoDatabase::of_countries(systems)),
        "expected countries, and no record of this `Test-ASN` has one"
    );
    for bytes in [&b""[..], b"\0", b"192.0.2.0/24 DE\n", b"\xab\xcd\xefMaxMind.com"] {
        let error = refused(GeoDatabase::of_countries(bytes.to_vec()));
        assert!(error.starts_with("expected a MaxMind DB file: "), "{error}");
    }
}

/// Opens what may be damaged and asks it everything; whether it was accepted.
fn survives(file: Vec<u8>) -> bool {
    let asked =
        ["192.0.2.1", "192.0.2.200", "198.51.100.7", "255.255.255.255", "2001:db8:1::", "::", "ffff::"];
    let mut accepted = false;
    for open in [GeoDatabase::of_countries, GeoDatabase::of_systems] {
        if let Ok(database) = open(file.clone()) {
            accepted = true;
            for of in asked.map(address) {
                let _ = (database.country(of), database.asn(of));
            }
        }
    }
    accepted
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let file = mmdb::countries(&NETWORKS);
    assert!(survives(file.clone()));
    for length in 0..file.len() {
        assert!(!survives(file[..length].to_vec()), "{length} of {} bytes are accepted", file.len());
    }
}

#[test]
fn damaged_files_are_refused_or_survived() {
    let file = mmdb::countries(&NETWORKS);
    let mut refused = 0;
    for index in 0..file.len() {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[index] ^= 1 << bit;
            refused += usize::from(!survives(damaged));
        }
        for byte in [0, 0x1f, 0x20, 0x7f, 0xe0, 0xff] {
            let mut damaged = file.clone();
            damaged[index] = byte;
            survives(damaged);
        }
    }
    // The rest are other addresses, other letters and other words of the description.
    assert!(refused > file.len(), "{refused} of {} flips are refused", 8 * file.len());
}

#[test]
fn hostile_trees_and_records_end() {
    let file = mmdb::countries(&NETWORKS);
    let start = file.windows(14).position(|bytes| bytes == b"\xab\xcd\xefMaxMind.com").expect("a marker");
    // Every number of the tree is the same: a loop, a node beyond, a record in the middle of another.
    for number in [0, 1, 2, 100, 0x00ff_ffff, u32::try_from(start).expect("a small file")] {
        let mut hostile = file.clone();
        for record in hostile[..start - 200].chunks_exact_mut(3) {
            record.copy_from_slice(&number.to_be_bytes()[1..]);
        }
        survives(hostile);
    }
    // Records that point at themselves, or are lists of everything behind them.
    for control in [[0x20, 0x00], [0x38, 0x00], [0xff, 0xff], [0x1f, 0x04], [0xfd, 0xff], [0x3f, 0xff]] {
        for at in start - 120..start {
            let mut hostile = file.clone();
            hostile[at..at + 2].copy_from_slice(&control);
            survives(hostile);
        }
    }
}

#[test]
fn countries_are_two_capital_letters() {
    assert_eq!(Country::parse("KP").map(|country| country.to_string()).as_deref(), Some("KP"));
    for text in ["", "K", "kp", "KPR", "K1", "\u{e9}", "--"] {
        assert_eq!(Country::parse(text), None, "{text}");
    }
}
