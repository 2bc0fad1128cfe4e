//! Load shedding and the breaker: what the service of a call is known not to take is refused before its body is read.
//!
//! ```text
//! shed: no room for the call's priority ─▶ 503 OVERLOADED
//! breaker: open, or its probe is out    ─▶ 503 BREAKER_OPEN, Retry-After; so where those of all endpoints are
//! ```
//!
//! Both only look. Who holds a place, and who is the probe, is decided in room 7 when the call is made: a client
//! that takes its time to send a body must hold neither.

use std::sync::Arc;
use std::time::Instant;

use super::judge::{Judge, Judgement};
use crate::call::Call;
use crate::policy::breaker::{Outage, Outages};
use crate::policy::protection::{Protection, Protections};
use crate::status::Status;

/// The judge of load.
#[derive(Clone, Copy, Debug)]
pub struct Shed;

/// The judge of breakers.
#[derive(Clone, Copy, Debug)]
pub struct Breaker;

impl Judge for Shed {
    const NAME: &'static str = "shed";

    fn judge(&self, call: Call) -> Judgement {
        let gated = protection(&call).and_then(|protection| Some((protection, protection.gate.as_ref()?)));
        let Some((protection, gate)) = gated else { return Judgement::Silent(call) };
        let is_stream = call.binding.client_streaming || call.binding.server_streaming;
        if is_stream || gate.has_room(call.snapshot.rule(&call.binding).priority) {
            return Judgement::Pass(call);
        }
        protection.shed();
        Judgement::Refuse(Status::overloaded().into())
    }
}

impl Judge for Breaker {
    const NAME: &'static str = "breaker";

    fn judge(&self, call: Call) -> Judgement {
        let protection = protection(&call).filter(|protection| protection.has_breaker());
        let Some(protection) = protection else { return Judgement::Silent(call) };
        let now = Instant::now();
        let refused = protection.refuses(now).or_else(|| outage(&call)?.refuses(now));
        let Some(refused) = refused else { return Judgement::Pass(call) };
        protection.refused();
        Judgement::Refuse(Status::breaker_open(refused.retry).into())
    }
}

fn protection(call: &Call) -> Option<&Protection> {
    let Protections(services) = call.snapshot.live.get::<Protections>()?;
    services.get(call.service).map(Arc::as_ref)
}

fn outage(call: &Call) -> Option<&Outage> {
    let Outages(services) = call.snapshot.live.get::<Outages>()?;
    services.get(call.service).map(Arc::as_ref)
}
