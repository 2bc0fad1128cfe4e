//! Rollout: which of the services of its rule a call goes to, known before anybody asks what that service can take.
//!
//! It refuses nobody. Who keeps a side is known by now: the identity has been found out.

use super::judge::{Judge, Judgement};
use crate::call::Call;

/// Chooses the service.
#[derive(Clone, Copy, Debug)]
pub struct Rollout;

impl Judge for Rollout {
    const NAME: &'static str = "rollout";

    fn judge(&self, mut call: Call) -> Judgement {
        let chosen = call.snapshot.rule(&call.binding).split.as_ref().and_then(|split| {
            let key = split.sticky().and_then(|sticky| call.hash_of(sticky));
            split.choose(key)
        });
        if let Some(service) = chosen {
            lead(&mut call, service);
        }
        Judgement::Pass(call)
    }
}

/// Sends a call to a service, which may be less patient than others of the rule.
fn lead(call: &mut Call, service: usize) {
    call.service = service;
    if call.binding.client_streaming || call.binding.server_streaming {
        return;
    }
    let timeout = call.snapshot.rule(&call.binding).destinations.of(service).timeout;
    let ends = call.head.started.checked_add(timeout);
    call.deadline = call.deadline.into_iter().chain(ends).min();
}
