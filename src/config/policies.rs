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
use super::finding::{Position, Report};
use super::section::Section;
use super::value;
use super::yaml::{Key, Node};

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
}

/// The keys of which those of every policy hold; of any other, the last policy's does.
pub const ADDED: [&str; 3] = ["allow", "deny", "rate"];

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
        section.read("allow", &mut clauses.allow, |node, report| {
            AccessList::read("allow", node, report).map(Some)
        });
        section.read("auth", &mut clauses.auth, Demand::read);
        clauses
    }
}
