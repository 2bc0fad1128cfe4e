//! Who may come in: networks of long lists, chains of proxies, globs.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use transom::policy::client_address::{AddressHeader, TrustedProxies, resolve};
use transom::policy::header_rules::HeaderRules;
use transom::policy::networks::Networks;

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("networks");
    for count in [10, 1_000, 100_000] {
        let (networks, addresses) = list(count);
        let mut next = addresses.iter().cycle();
        group.bench_function(format!("one of {count}, listed"), |bencher| {
            bencher.iter(|| {
                let address = *next.next().expect("a cycle");
                assert!(networks.contains(black_box(address)));
            });
        });
        let mut number = 0_u32;
        group.bench_function(format!("one of {count}, any address"), |bencher| {
            bencher.iter(|| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                networks.contains(black_box(Ipv4Addr::from_bits(number).into()))
            });
        });
    }
    let (networks, _) = list(100_000);
    let text: String = networks_of(100_000).iter().map(|network| format!("{network}\n")).collect();
    assert_eq!(networks.len(), Networks::parse(&text).expect("networks").len());
    group.sample_size(10).bench_function("read a file of 100000", |bencher| {
        bencher.iter(|| Networks::parse(black_box(&text)).expect("networks"));
    });
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    let proxies = TrustedProxies {
        networks: ["10.0.0.0/8", "fd00::/8"]
            .map(|text| text.parse::<IpNet>().expect("a network"))
            .into_iter()
            .collect(),
        header: AddressHeader::XForwardedFor,
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-forwarded-for", HeaderValue::from_static("1.2.3.4, 203.0.113.9, 10.0.0.3, 10.0.0.2"));
    headers.insert(
        "user-agent",
        HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"),
    );
    let peer = IpAddr::from([10, 0, 0, 1]);
    group.bench_function("a chain of four", |bencher| {
        bencher.iter(|| resolve(black_box(peer), &headers, &proxies));
    });
    let stranger = IpAddr::from([203, 0, 113, 1]);
    group.bench_function("a stranger's chain", |bencher| {
        bencher.iter(|| resolve(black_box(stranger), &headers, &proxies));
    });
    let globs = ["*bot*", "*spider*", "curl/*", "*headless*", ""].map(String::from);
    let rules = HeaderRules::parse([(HeaderName::from_static("user-agent"), globs.as_slice())]);
    let rules = rules.expect("short globs");
    group.bench_function("five globs on a user agent", |bencher| {
        bencher.iter(|| assert!(rules.first_match(black_box(&headers)).is_none()));
    });
}

/// So many networks of both families and of every length from a host to a /12, and an address in each.
fn list(count: u32) -> (Networks, Vec<IpAddr>) {
    let networks = networks_of(count);
    let addresses = networks.iter().map(IpNet::addr).collect();
    (networks.into_iter().collect(), addresses)
}

fn networks_of(count: u32) -> Vec<IpNet> {
    let network = |number: u32| {
        let bits = number.wrapping_mul(2_654_435_761);
        let address: IpAddr = match number % 4 {
            0 => Ipv6Addr::from_bits(u128::from(bits) << 64 | 0x2001 << 112).into(),
            _ => Ipv4Addr::from_bits(bits).into(),
        };
        let (shortest, longest): (u8, u8) = if address.is_ipv4() { (12, 32) } else { (32, 128) };
        let length =
            shortest + u8::try_from(number % (u32::from(longest - shortest) + 1)).expect("at most 128");
        IpNet::new(address, length).expect("within the family").trunc()
    };
    (0..count).map(network).collect()
}

criterion_group!(benches, lookups, heads);
criterion_main!(benches);
