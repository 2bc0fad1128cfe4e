//! What expressions judge a call by: its head, who sent it, from where.
//!
//! Whatever a condition or a cost does not mention is not even looked at; of the request message there is what
//! the path captured and what the query says, for the body is unread.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::call::Call;
use crate::policy::condition::{Captured, Subject};
use crate::policy::geo::{Country, Place};

/// One call, as expressions see it.
pub(super) struct Facts<'c> {
    call: &'c Call,
    place: Place,
    now: i128,
}

impl<'c> Facts<'c> {
    /// `needs_time`: an expression asks for the time.
    pub(super) fn of(call: &'c Call, needs_time: bool) -> Self {
        Self { call, place: call.notes.place(), now: if needs_time { now() } else { 0 } }
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        let head = &*self.call.head;
        Subject {
            identity: self.call.identity.as_deref(),
            method: head.method.as_str(),
            path: head.uri.path(),
            host: head.host(),
            rpc: &self.call.binding.method,
            headers: &head.headers,
            address: head.client.address,
            scheme: head.client.scheme,
            country: self.place.country.as_ref().map(Country::as_str),
            asn: self.place.asn,
            now: self.now,
            captured: self,
        }
    }
}

impl Captured for Facts<'_> {
    fn text(&self, field: &str) -> Option<Cow<'_, str>> {
        self.call.field_text(field)
    }

    fn bytes(&self, field: &str) -> usize {
        self.call.field_bytes(field)
    }
}

fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}
