//! Networks of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use crate::config::finding::Report;
use crate::config::value;
use crate::config::yaml::Node;

/// `::ffff:0:0/96`, within which IPv6 writes the addresses of IPv4.
const MAPPED_PREFIX: u8 = 96;

/// A network, or one address.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<IpNet> {
    let text = value::text(node, report)?;
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let Ok(network) = parsed else {
        return value::expected(node, report, "a network such as `10.0.0.0/8` or `fd00::/8`");
    };
    if network.trunc() != network {
        let network = network.trunc();
        return value::refuse(
            node,
            report,
            format!("`{text}` has bits behind its prefix: did you mean `{network}`?"),
        );
    }
    Some(canonical(network))
}

/// A network whose word is believed; not the whole world.
pub(super) fn read_trusted(node: &Node, report: &mut Report) -> Option<IpNet> {
    let network = read(node, report)?;
    if network.prefix_len() == 0 {
        return value::refuse(
            node,
            report,
            format!("`{network}` is everyone: name the networks of your proxies"),
        );
    }
    Some(network)
}

/// An IPv4 network written in IPv6 is the same network: addresses are compared in their canonical form.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(MAPPED_PREFIX));
    mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_networks_are_those_of_ipv4() {
        let check = |text: &str, expected: &str| {
            let network = text.parse().expect("a network");
            assert_eq!(canonical(network).to_string(), expected, "{text}");
        };
        check("10.0.0.0/8", "10.0.0.0/8");
        check("fd00::/8", "fd00::/8");
        check("::/0", "::/0");
        check("::ffff:10.0.0.0/104", "10.0.0.0/8");
        check("::ffff:0:0/96", "0.0.0.0/0");
        check("::fffe:0:0/95", "::fffe:0:0/95");
        check("::ffff:10.1.2.3/128", "10.1.2.3/32");
    }
}
