//! Which servers of a service are used: those of the lowest priority that has any (RFC 2782).
//!
//! Priorities are not tiers to fail over between at every call: a server of the next priority is used when no name
//! of the one before leads to an address.

use std::net::{IpAddr, SocketAddr};

/// What a SRV record names, and where that is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    pub(super) addresses: Vec<IpAddr>,
}

/// The servers with their weights.
pub(super) fn preferred(targets: &[Target]) -> Vec<(SocketAddr, u32)> {
    let there = || targets.iter().filter(|target| !target.addresses.is_empty());
    let Some(lowest) = there().map(|target| target.priority).min() else { return Vec::new() };
    let used = there().filter(|target| target.priority == lowest);
    let servers = used.flat_map(|target| {
        // RFC 2782: weight 0 is for services with nothing to choose, and otherwise has a very small chance.
        let weight = u32::from(target.weight).max(1);
        target.addresses.iter().map(move |address| (SocketAddr::new(*address, target.port), weight))
    });
    servers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `priority weight port address…` a target; `address:port*weight` a server.
    #[track_caller]
    fn check(targets: &[&str], expected: &[&str]) {
        let target = |text: &&str| {
            let mut words = text.split(' ');
            let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
            let (priority, weight, port) = (number(), number(), number());
            let addresses = words.map(|word| word.parse().expect("an address")).collect();
            Target { priority, weight, port, addresses }
        };
        let targets: Vec<_> = targets.iter().map(target).collect();
        let servers = preferred(&targets);
        let shown: Vec<_> = servers.iter().map(|(address, weight)| format!("{address}*{weight}")).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_lowest_priority_that_is_anywhere_is_used() {
        check(&[], &[]);
        check(&["10 5 80 1.1.1.1"], &["1.1.1.1:80*5"]);
        check(
            &["10 0 80 1.1.1.1", "10 65535 81 1.1.1.1 ::1"],
            &["1.1.1.1:80*1", "1.1.1.1:81*65535", "[::1]:81*65535"],
        );
        check(&["20 1 80 1.1.1.1", "10 1 81 1.1.1.2"], &["1.1.1.2:81*1"]);
        check(&["10 1 80", "20 1 81 1.1.1.2"], &["1.1.1.2:81*1"]);
        check(&["10 1 80", "20 1 81"], &[]);
    }
}
