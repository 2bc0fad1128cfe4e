//! Networks of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.

use ipnet::IpNet;

use crate::config::finding::Report;
use crate::config::value;
use crate::config::yaml::Node;

/// A network whose word is believed; not the whole world.
pub(super) fn read_trusted(node: &Node, report: &mut Report) -> Option<IpNet> {
    let network = value::network(node, report)?;
    if network.prefix_len() == 0 {
        return value::refuse(
            node,
            report,
            format!("`{network}` is everyone: name the networks of your proxies"),
        );
    }
    Some(network)
}
