//! `to`, `when` and `sticky` of a rule: the service that is called, or several with their shares, who is sent to one
//! of them whatever the shares are, and who keeps a side.
//!
//! ```yaml
//! to: orders
//! to: { orders: 95, orders-next: 5 }
//! when:
//!   - { if: 'request.headers["x-beta"] == "1"', to: orders-next }
//! sticky: consumer                       # consumer | address | { header: NAME } | { claim: PATH } | { cookie: NAME }
//! ```

use std::time::Duration;

use super::balance;
use super::expression::Expression;
use super::finding::{Position, Report};
use super::section::Section;
use super::surfaces::{Named, named};
use super::value;
use super::yaml::{Key, Node, Value};
use crate::policy::balance::HashKey;
use crate::policy::cookie;
use crate::policy::rollout::WEIGHT_MAX;

/// A service and its share of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub service: Named,
    /// Against the others'. 0: nobody goes there yet.
    pub weight: u32,
}

/// Who keeps a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    pub key: HashKey,
    /// How long clients keep the cookie that the gateway gives to who has none. Default: it gives none.
    pub max_age: Option<Duration>,
    pub position: Position,
}

/// Calls that a service gets before shares count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    pub condition: Expression,
    pub service: Named,
}

/// More than anybody reads.
const CASES_MAX: usize = 32;

/// More versions than are rolled out at once.
const SERVICES_MAX: usize = 16;

/// What shares are of, where the file does not say anything else.
const WHOLE: u32 = 100;

/// The services of a rule, at least one with a weight.
pub(super) fn to(node: &Node, report: &mut Report) -> Option<Vec<Share>> {
    let share = |key: &Key, node: &Node, report: &mut Report| {
        let service = Named { name: key.name.clone(), position: Some(key.position) };
        value::integer(0..=WEIGHT_MAX)(node, report).map(|weight| Share { service, weight })
    };
    match &node.value {
        Value::Map(entries) => {
            let shares = value::by_name("weights", share)(node, report)?;
            if shares.len() < entries.len() {
                return None;
            }
            if shares.len() > SERVICES_MAX || shares.iter().all(|share| share.weight == 0) {
                let message =
                    format!("expected 1 to {SERVICES_MAX} services, of which one has a weight above 0");
                return value::refuse(node, report, message);
            }
            let sum: u32 = shares.iter().map(|share| share.weight).sum();
            if sum != WHOLE {
                report.warn(node.position, format!("the weights sum to {sum}, and not to {WHOLE}"));
            }
            Some(shares)
        }
        Value::Unwritten => {
            value::text(node, report);
            value::by_name("weights", share)(node, report);
            None
        }
        _ => named(node, report).map(|service| vec![Share { service, weight: WHOLE }]),
    }
}

/// The cases of a rule, in order.
pub(super) fn when(node: &Node, report: &mut Report) -> Option<Vec<Case>> {
    let cases = value::one_or_more("case", case)(node, report)?;
    if cases.len() > CASES_MAX {
        return value::refuse(node, report, format!("expected at most {CASES_MAX} cases"));
    }
    Some(cases)
}

fn case(node: &Node, report: &mut Report) -> Option<Case> {
    let (mut condition, mut service) = (None, None);
    let mut section = Section::open(node, "surfaces.NAME.rules[].when[]", report)?;
    section.read("if", &mut condition, |node, report| Expression::read(CONDITION, node, report).map(Some));
    section.read("to", &mut service, |node, report| named(node, report).map(Some));
    section.require("if", "write a condition such as `request.headers[\"x-beta\"] == \"1\"`");
    section.require("to", "name a service");
    section.close(&[]);
    Some(Case { condition: condition?, service: service? })
}

const CONDITION: &str = "a condition such as `\"beta\" in claims.groups`";

/// Who keeps a side.
pub(super) fn sticky(node: &Node, report: &mut Report) -> Option<Sticky> {
    let position = node.position;
    if let Value::Map(_) | Value::Unwritten = node.value {
        let (mut header, mut claim, mut cookie, mut max_age) = (None, None, None, None);
        let mut section = Section::open(node, "surfaces.NAME.rules[].sticky", report)?;
        section.read("header", &mut header, balance::header);
        section.read("claim", &mut claim, |node, report| value::text(node, report).map(Some));
        section.read("cookie", &mut cookie, |node, report| cookie_name(node, report).map(Some));
        section.read("max_age", &mut max_age, |node, report| {
            value::duration(MAX_AGE_MIN..=MAX_AGE_MAX)(node, report).map(Some)
        });
        let count = KEYS.iter().filter(|key| section.has(key)).count();
        if count != 1 && matches!(node.value, Value::Map(_)) {
            section.refuse("expected one of `header`, `claim` and `cookie`");
        }
        if !section.has("cookie") {
            section.forbid("max_age", "only a cookie is kept by clients");
        }
        section.close(&[]);
        if let Value::Map(_) = node.value {
            let key = match (header, claim, cookie) {
                (Some(header), None, None) => HashKey::Header(header),
                (None, Some(claim), None) => HashKey::Claim(claim.into()),
                (None, None, Some(cookie)) => HashKey::Cookie(cookie.into()),
                _ => return None,
            };
            return Some(Sticky { key, max_age, position });
        }
    }
    balance::word(node, report).map(|key| Sticky { key, max_age: None, position })
}

const KEYS: [&str; 3] = ["header", "claim", "cookie"];

const MAX_AGE_MIN: Duration = Duration::from_secs(1);
/// RFC 6265bis, section 5.5: browsers keep no cookie for longer than 400 days.
const MAX_AGE_MAX: Duration = Duration::from_secs(400 * 24 * 3600);

fn cookie_name(node: &Node, report: &mut Report) -> Option<String> {
    let name = value::text(node, report)?;
    if cookie::is_name(&name) {
        return Some(name);
    }
    value::refuse(node, report, format!("`{name}` is not the name of a cookie"))
}
