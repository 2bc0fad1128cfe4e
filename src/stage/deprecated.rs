//! Tells callers of what is deprecated, and answers 410 once its time is over.
//!
//! Before authentication: whoever calls what is gone need not sign in to learn that, and so nobody knows who it is.
//! Which consumers still call what is deprecated is to be found out before: `/stats` tells them by surface, and the
//! usage records have each of them.

use std::time::{Duration, SystemTime};

use super::judge::{Judge, Judgement};
use crate::call::Call;
use crate::policy::deprecation::Notice;
use crate::status::{Code, Status};

/// The notices of a snapshot, by rule; not there when nothing is deprecated.
#[derive(Clone, Debug)]
pub struct Notices(pub Box<[Option<Notice>]>);

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated;

impl Judge for Deprecated {
    const NAME: &'static str = "deprecated";

    fn judge(&self, call: Call) -> Judgement {
        let notices = call.snapshot.live.get::<Notices>();
        let rule = usize::try_from(call.binding.rule).unwrap_or(usize::MAX);
        let Some(notice) = notices.and_then(|notices| notices.0.get(rule)?.as_ref()) else {
            return Judgement::Silent(call);
        };
        for (name, value) in notice.headers() {
            call.notes.reply_header(name.clone(), value.clone());
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        if notice.is_over(now.unwrap_or(Duration::ZERO).as_secs()) {
            let status = Status::client(Code::Unimplemented, "this API is no longer served");
            return Judgement::Refuse(status.with_http(410).with_reason("SUNSET").into());
        }
        Judgement::Pass(call)
    }
}
