//! A set of networks, asked for the longest prefix that holds an address: access lists, trusted proxies.
//!
//! ```text
//! File    = { Line "\n" }
//! Line    = [ Network ] [ "#" comment ]
//! Network = Address [ "/" length ]            an address alone is a network of one
//! ```
//!
//! Addresses and networks are canonical on both sides: `::ffff:10.1.2.3` is `10.1.2.3`, and
//! `::ffff:10.0.0.0/104` is `10.0.0.0/8`. So `::/0` is every IPv6 address and no IPv4 one. A file with one
//! bad line is refused as a whole, because half a deny list is worse than yesterday's.

use core::net::IpAddr;
use std::fmt;

use ipnet::IpNet;
use prefix_trie::joint::JointPrefixSet;

/// More networks than any published list has.
pub const NETWORKS_MAX: usize = 1_000_000;

/// Bytes of a file of networks: the most networks, each with a short comment.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// The longest network is 43 characters; the rest is comment.
const LINE_BYTES_MAX: usize = 1024;

/// Networks of both families.
#[derive(Clone, Default)]
pub struct Networks(JointPrefixSet<IpNet>);

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("expected a network such as `10.0.0.0/8` or `fd00::/8`, found `{}`", shown(.0))]
    Malformed(String),
    #[error("`{written}` has bits behind its prefix: did you mean `{meant}`?")]
    HostBits { written: String, meant: IpNet },
}

/// Why a file of networks is refused, and at which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct NetworksError {
    /// Counted from 1.
    pub line: usize,
    pub reason: LineError,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("more than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("more than {NETWORKS_MAX} networks")]
    TooMany,
}

impl Networks {
    /// The networks of a file: one a line, `#` begins a comment.
    ///
    /// # Errors
    ///
    /// The first line that is none.
    pub fn parse(text: &str) -> Result<Self, NetworksError> {
        let mut networks = Self::default();
        for (index, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let refused = |reason| NetworksError { line: index + 1, reason };
            if line.len() > LINE_BYTES_MAX {
                return Err(refused(LineError::TooLong));
            }
            let written = line.split('#').next().unwrap_or_default().trim();
            if written.is_empty() {
                continue;
            }
            if networks.len() >= NETWORKS_MAX {
                return Err(refused(LineError::TooMany));
            }
            networks.insert(network(written).map_err(|error| refused(error.into()))?);
        }
        Ok(networks)
    }

    /// Adds a network in canonical form.
    pub fn insert(&mut self, network: IpNet) {
        self.0.insert(canonical(network));
    }

    /// The longest network that holds `address`, which must be canonical.
    pub fn find(&self, address: IpAddr) -> Option<IpNet> {
        self.0.get_lpm(&IpNet::from(address))
    }

    /// Whether any network holds `address`, which must be canonical.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.find(address).is_some()
    }

    pub fn len(&self) -> usize {
        let (v4, v6) = (self.0.t1.len(), self.0.t2.len());
        v4 + v6
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<IpNet> for Networks {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        let mut set = Self::default();
        networks.into_iter().for_each(|network| set.insert(network));
        set
    }
}

impl fmt::Debug for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Networks({})", self.len())
    }
}

/// Reads one network, canonical.
///
/// # Errors
///
/// See [`NetworkError`].
pub fn network(text: &str) -> Result<IpNet, NetworkError> {
    let malformed = || NetworkError::Malformed(text.to_owned());
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => text.parse::<IpAddr>().map_err(|_| malformed())?.into(),
    };
    // `10.1.2.3/8` is either the address or the whole network: the two differ by 16 million clients.
    if network.trunc() != network {
        return Err(NetworkError::HostBits { written: text.to_owned(), meant: canonical(network.trunc()) });
    }
    Ok(canonical(network))
}

/// A network of IPv4-mapped addresses as the IPv4 network that it is (RFC 4291, section 2.5.5.2).
fn canonical(network: IpNet) -> IpNet {
    let mapped_length = network.prefix_len().checked_sub(96);
    match (network.addr().to_canonical(), mapped_length) {
        (address @ IpAddr::V4(_), Some(length)) if network.addr().is_ipv6() => {
            IpNet::new(address, length).expect("what is left of 128 - 96 bits")
        }
        _ => network,
    }
}

/// A line of something else altogether can be long.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(60)]
}

#[cfg(test)]
mod tests;
