//! `policies`: named bundles of what is asked of a call, which surfaces and rules refer to.
//!
//! ```yaml
//! policies:
//!   edge: { deny: { cidr: file:deny.txt }, rate: { by: ip, limit: 50/s } }
//!   signed-in: { auth: corp, scopes: [orders] }
//! ```
//!
//! The same keys stand in a rule of a surface. A policy's lists and limits add to those of the other
//! policies of a surface; of single things, such as `auth`, the last policy's holds; what a rule says itself
//! takes the place of all of them. Nothing is ever merged key by key: `config::effective` has the rule.

use super::access::AccessList;
use super::auth::Demand;
use super::cache::Cache;
use super::cost::Cost;
use super::expression::Expression;
use super::fields::Fields;
use super::finding::{Position, Report};
use super::rate::Rate;
use super::section::Section;
use super::value;
use super::yaml::{Key, Node, Value};

/// A bundle with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub name: String,
    /// Where the file names it.
    pub position: Position,
    pub clauses: Clauses,
}

/// What a policy or a rule asks of a call; what is absent asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clauses {
    /// Who may not come in.
    pub deny: Option<AccessList>,
    /// Who may: all others may not.
    pub allow: Option<AccessList>,
    /// Who must say who is calling. Default: nobody.
    pub auth: Option<Demand>,
    /// How much each subject may take.
    pub rate: Option<Vec<Rate>>,
    /// Units that a call takes of limits that do not say it themselves. Default 1.
    pub cost: Option<Cost>,
    /// What must hold of a call: a condition over claims and request.
    pub condition: Option<Expression>,
    /// What must have been granted: all of it.
    pub scopes: Option<Scopes>,
    /// What is shown of replies. Default: all.
    pub fields: Option<Fields>,
    /// Which replies are kept, and how long.
    pub cache: Option<Cache>,
}

/// Scopes, and where the file names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    pub names: Vec<String>,
    pub position: Position,
}

/// The keys of which those of every policy hold; of any other, the last policy's does.
pub const ADDED: [&str; 4] = ["allow", "deny", "rate", "scopes"];

/// The policies by name.
pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Policy>> {
    value::by_name("policies", read_one)(node, report)
}

fn read_one(key: &Key, node: &Node, report: &mut Report) -> Option<Policy> {
    let name = key.name.clone();
    let mut section = Section::open(node, format!("policies.{name}"), report)?;
    let clauses = Clauses::read(&mut section);
    section.close(&[]);
    Some(Policy { name, position: key.position, clauses })
}

impl Clauses {
    /// Reads the keys that policies and rules have in common.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let mut clauses = Self::default();
        section
            .read("deny", &mut clauses.deny, |node, report| AccessList::read("deny", node, report).map(Some));
        let mut allow = (None, None);
        section.read("allow", &mut allow, allowed);
        (clauses.allow, clauses.condition) = allow;
        section.read("auth", &mut clauses.auth, Demand::read);
        section.read("scopes", &mut clauses.scopes, scopes);
        section.read("rate", &mut clauses.rate, |node, report| {
            value::one_or_more("limit", Rate::read)(node, report).map(Some)
        });
        section.read("fields", &mut clauses.fields, |node, report| Fields::read(node, report).map(Some));
        section.read("cache", &mut clauses.cache, |node, report| Cache::read(node, report).map(Some));
        section.read("cost", &mut clauses.cost, |node, report| Cost::read(node, report).map(Some));
        clauses
    }
}

const CONDITION: &str = "a condition such as `\"orders.read\" in claims.scope`";

/// Lists where a mapping stands, otherwise a condition. Both may hold of one call, by two policies.
fn allowed(node: &Node, report: &mut Report) -> Option<(Option<AccessList>, Option<Expression>)> {
    match node.value {
        Value::Text(_) => Some((None, Expression::read(CONDITION, node, report))),
        Value::Map(_) => Some((AccessList::read("allow", node, report), None)),
        Value::Unwritten => {
            Expression::read(CONDITION, node, report);
            Some((AccessList::read("allow", node, report), None))
        }
        _ => value::expected(node, report, "a condition, or lists such as `{ cidr: [10.0.0.0/8] }`"),
    }
}

fn scopes(node: &Node, report: &mut Report) -> Option<Option<Scopes>> {
    let names = value::one_or_more("scope", scope)(node, report)?;
    Some(Some(Scopes { names, position: node.position }))
}

/// RFC 6749, section 3.3: printable ASCII without blank, quote and backslash, for scopes stand in a challenge.
fn scope(node: &Node, report: &mut Report) -> Option<String> {
    let name = value::text(node, report)?;
    if name.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
        return Some(name);
    }
    value::expected(node, report, "a scope such as `orders.read`, without blanks and quotes")
}
