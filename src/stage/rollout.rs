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
        call.service = chosen.unwrap_or(call.service);
        Judgement::Pass(call)
    }
}
