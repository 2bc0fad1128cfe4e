//! What keeps calls together at one endpoint, for services that deal them by that.

use core::net::IpAddr;

use crate::call::Call;
use crate::policy::balance::{Balance, HashKey, hash};

/// The hash of the key of a call; `None` where the service has no such key, or the call none.
pub(super) fn of(balance: &Balance, call: &Call) -> Option<u64> {
    let Balance::Hash(key) = balance else { return None };
    match key {
        HashKey::Header(name) => call.head.headers.get(name).map(|value| hash(value.as_bytes())),
        HashKey::Consumer => Some(match &call.identity {
            Some(identity) => match &identity.consumer {
                Some(consumer) => hash(consumer.name.as_bytes()),
                // Subjects of two providers are two people, whatever they are called.
                None => hash(identity.provider.as_bytes()) ^ hash(identity.subject.as_bytes()).rotate_left(1),
            },
            None => of_address(call.head.client.address),
        }),
        HashKey::Address => Some(of_address(call.head.client.address)),
    }
}

fn of_address(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => hash(&address.octets()),
        // RFC 6177, section 2: an end site has at least a /64, among whose addresses its devices change.
        IpAddr::V6(address) => hash(address.octets().first_chunk::<8>().expect("16 octets")),
    }
}
