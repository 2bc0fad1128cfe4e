//! What a network is, which one is found, and the trie against a walk through a plain list.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn networks(text: &str) -> Networks {
    Networks::parse(text).unwrap_or_else(|error| panic!("{text}\nis refused: {error}"))
}

#[test]
fn networks_are_read_in_canonical_form() {
    let check = |text: &str, expected: &str| {
        assert_eq!(network(text).map(|network| network.to_string()), Ok(expected.to_owned()), "{text}");
    };
    check("10.0.0.0/8", "10.0.0.0/8");
    check("10.1.2.3", "10.1.2.3/32");
    check("10.1.2.3/32", "10.1.2.3/32");
    check("0.0.0.0/0", "0.0.0.0/0");
    check("::/0", "::/0");
    check("2001:DB8::/32", "2001:db8::/32");
    check("2001:db8::1", "2001:db8::1/128");
    check("::ffff:10.1.2.3", "10.1.2.3/32");
    check("::ffff:10.0.0.0/104", "10.0.0.0/8");
    check("::ffff:0:0/96", "0.0.0.0/0");
    // Wider than the mapped addresses: an IPv6 network with others in it.
    check("::fffe:0:0/95", "::fffe:0:0/95");
    check("::10.1.2.3", "::a01:203/128");
}

#[test]
fn what_is_no_network_is_refused_with_words() {
    let check = |text: &str, expected: &str| {
        assert_eq!(network(text).expect_err(text).to_string(), expected, "{text}");
    };
    let malformed = |text: &str| {
        let words = "expected a network such as `10.0.0.0/8` or `fd00::/8`, found";
        check(text, &format!("{words} `{text}`"));
    };
    malformed("");
    malformed("/");
    malformed("/8");
    malformed("10.0.0.0/");
    malformed("10.0.0.0/33");
    malformed("::/129");
    malformed("10.0.0.0/-1");
    malformed("10.0.0.0/8/8");
    malformed("10.0.0.0/255.0.0.0");
    malformed("10.0.0");
    malformed("10.0.0.256");
    malformed("010.0.0.1");
    malformed("10.0.0.*");
    malformed("10.0.0.1-10.0.0.9");
    malformed("10.0.0.1:80");
    malformed("[::1]");
    malformed("fe80::1%eth0");
    malformed("localhost");
    malformed("10.0.0.0 /8");
    check("10.0.0.1/8", "`10.0.0.1/8` has bits behind its prefix: did you mean `10.0.0.0/8`?");
    check("2001:db8::1/64", "`2001:db8::1/64` has bits behind its prefix: did you mean `2001:db8::/64`?");
    check(
        "::ffff:10.0.0.1/104",
        "`::ffff:10.0.0.1/104` has bits behind its prefix: did you mean `10.0.0.0/8`?",
    );
}

#[test]
fn the_longest_prefix_is_found() {
    let set =
        networks("10.0.0.0/8\n10.1.0.0/16\n10.1.2.3\n2001:db8::/32\n2001:db8:1::/48\n::ffff:192.0.2.0/120");
    let check = |text: &str, expected: Option<&str>| {
        let found = set.find(address(text).to_canonical()).map(|network| network.to_string());
        assert_eq!(found.as_deref(), expected, "{text}");
    };
    check("10.1.2.3", Some("10.1.2.3/32"));
    check("10.1.2.4", Some("10.1.0.0/16"));
    check("10.2.0.0", Some("10.0.0.0/8"));
    check("10.0.0.0", Some("10.0.0.0/8"));
    check("10.255.255.255", Some("10.0.0.0/8"));
    check("9.255.255.255", None);
    check("11.0.0.0", None);
    check("::ffff:10.1.2.3", Some("10.1.2.3/32"));
    check("192.0.2.255", Some("192.0.2.0/24"));
    check("192.0.3.0", None);
    check("2001:db8:1::1", Some("2001:db8:1::/48"));
    check("2001:db8:2::1", Some("2001:db8::/32"));
    check("2001:db9::", None);
    check("::1", None);
    // The IPv4-compatible form is an IPv6 address of its own.
    check("::10.1.2.3", None);
}

#[test]
fn all_of_one_family_is_nothing_of_the_other() {
    let (v4, v6) = (networks("0.0.0.0/0"), networks("::/0"));
    assert!(v4.contains(address("255.255.255.255")) && !v4.contains(address("::1")));
    assert!(v6.contains(address("::")) && !v6.contains(address("127.0.0.1")));
}

#[test]
fn files_have_comments_blanks_and_both_line_ends() {
    let set = networks("\u{feff}# head\r\n10.0.0.0/8 # ten\r\n\r\n\t 192.0.2.1\t\n#10.9.9.9\n   \n::1#loop");
    assert_eq!(set.len(), 3);
    assert!(set.contains(address("192.0.2.1")) && set.contains(address("::1")));
    assert!(networks("").is_empty() && networks("\n# nothing\n").is_empty());
    assert_eq!(networks("10.0.0.0/8\n10.0.0.0/8\n").len(), 1);
}

#[test]
fn one_bad_line_refuses_the_file_and_is_named() {
    let check = |text: &str, expected: &str| {
        let error = Networks::parse(text).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text}: {error}");
    };
    check("10.0.0.0/8\n\n# c\nten\n11.0.0.0/8", "line 4: expected a network");
    check("10.0.0.0/8, 11.0.0.0/8", "line 1: expected a network");
    check("10.0.0.1/8", "line 1: `10.0.0.1/8` has bits behind its prefix");
    check("\u{0}", "line 1: expected a network");
}

#[test]
fn lines_are_bounded() {
    let line = |bytes: usize| format!("10.0.0.0/8 #{}", "x".repeat(bytes - 12));
    assert_eq!(networks(&line(LINE_BYTES_MAX)).len(), 1);
    let error = Networks::parse(&line(LINE_BYTES_MAX + 1)).expect_err("one byte more");
    assert_eq!(error.to_string(), "line 1: more than 1024 bytes");
    // What is shown of a line is cut between characters.
    let error = Networks::parse(&"ä".repeat(100)).expect_err("no network").to_string();
    assert!(error.ends_with(&format!("found `{}`", "ä".repeat(30))), "{error}");
}

/// Small numbers from a seed: few bits, so that networks nest and addresses hit.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    /// An address whose bits are set only in a few places, in every form that reaches a listener.
    fn address(&mut self) -> IpAddr {
        let bits = (self.roll(4) << 30) | (self.roll(4) << 22) | (self.roll(4) << 8) | self.roll(4);
        let v4 = core::net::Ipv4Addr::from_bits(bits);
        match self.roll(3) {
            0 => v4.into(),
            1 => v4.to_ipv6_mapped().into(),
            _ => core::net::Ipv6Addr::from_bits(u128::from(bits) << 96 | u128::from(self.roll(4))).into(),
        }
    }

    fn network(&mut self) -> IpNet {
        let address = self.address();
        let length = u8::try_from(self.roll(if address.is_ipv4() { 33 } else { 129 })).expect("at most 128");
        IpNet::new(address, length).expect("within the family").trunc()
    }
}

#[test]
fn the_trie_agrees_with_a_plain_list() {
    let mut hits = 0;
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let count = dice.roll(40);
        let list: Vec<_> = (0..count).map(|_| dice.network()).collect();
        let set: Networks = list.iter().copied().collect();
        for _ in 0..100 {
            let address = dice.address().to_canonical();
            let expected = list
                .iter()
                .map(|network| canonical(*network))
                .filter(|network| network.contains(&address))
                .max_by_key(IpNet::prefix_len);
            assert_eq!(set.find(address), expected, "seed {seed}: {address} in {list:?}");
            hits += usize::from(expected.is_some());
        }
    }
    assert!((4_000..36_000).contains(&hits), "{hits} of 40000 addresses were listed");
}

#[test]
fn text_and_network_are_the_same() {
    for seed in 0..2_000 {
        let written = canonical(Dice(seed).network());
        assert_eq!(network(&written.to_string()), Ok(written));
    }
}
