//! Which of several endpoints a call goes to.
//!
//! ```text
//! members ─▶ Roster: who may be picked, in which share by zone ─▶ Tier ─▶ two_choices | in_turn | by_hash
//! ```
//!
//! A [`Roster`](roster::Roster) is made when something about the members changes and holds until then, so that a
//! pick only reads. The pickers are shared by all workers and lock nothing: what they need of the moment (a random
//! number, the next turn, what an endpoint costs) is an argument.

pub mod latency;
pub mod roster;
pub mod tier;

use http::HeaderName;

/// More endpoints than one service has; each is looked at when one of them fails.
pub const ENDPOINTS_MAX: usize = 1000;

/// How the endpoints of a service share its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Of two drawn at random, the one that costs less: its latency times the calls that it has and this one; the
    /// calls alone while one of them has not answered yet.
    #[default]
    PeakEwma,
    /// Of two drawn at random, the one with fewer calls.
    LeastRequests,
    /// Each in turn.
    RoundRobin,
    /// Each in turn, as often as its weight says.
    Weighted,
    /// The same endpoint for the same key, as long as there is that endpoint.
    Hash(HashKey),
}

/// What tells calls apart that are to stay together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The value of a request header.
    Header(HeaderName),
    /// Who is calling.
    Consumer,
    /// The claim at a dotted path, where it is a text, a number or a boolean.
    Claim(Box<str>),
    /// The value of a request's cookie.
    Cookie(Box<str>),
    /// The client's address, behind trusted proxies the one that they tell.
    Address,
}

/// Spreads a number over all of `u64`, each to one and back: the finalizer of SplitMix64.
pub const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The hash of a text, the same in every process and on every machine: FNV-1a, spread.
pub fn hash(text: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(text.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

#[cfg(test)]
mod tests;
