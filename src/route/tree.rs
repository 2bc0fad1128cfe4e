//! The routes: from a verb and a path to a [`Binding`] or an [`Aggregate`], whatever the order of declaration.
//!
//! At each segment a literal beats `*`, which beats `**`; where a branch leads to no route for the verb,
//! the next one is tried. A `**` is followed by a fixed number of segments, so the place where those begin
//! is known from the path's length: longer tails are tried first, and no node is ever visited twice.
//! A route with a custom verb (`:cancel`) beats one that would take the colon as data; a colon that
//! no matching route knows as its verb is data.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::aggregate::Aggregate;
use super::binding::Binding;
use super::captures::Captures;
use super::grow::Seedling;
use super::path::{BadPath, Path, hash};

/// All routes of a snapshot. Immutable; made by [`build`](super::build()).
#[derive(Debug)]
pub struct RouteTree {
    pub(super) bindings: Vec<Arc<Binding>>,
    pub(super) aggregates: Vec<Arc<Aggregate>>,
    pub(super) nodes: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) tails: Vec<Tail>,
    pub(super) edges: EdgeTable,
    /// HTTP verbs by [`VerbId`]; the first is `*`.
    pub(super) verbs: Vec<Box<str>>,
    /// Custom verbs, in normal form.
    pub(super) custom_verbs: HashMap<Box<str>, CustomVerbId>,
    pub(super) path_segments_max: usize,
}

/// What a verb and a path lead to.
#[derive(Debug)]
pub enum Match<'t> {
    Found {
        binding: &'t Arc<Binding>,
        captures: Captures,
    },
    /// No single method is called.
    Aggregate {
        aggregate: &'t Arc<Aggregate>,
        captures: Captures,
    },
    /// The path is known under other verbs: `allow` is the value of the `Allow` header.
    MethodNotAllowed {
        allow: String,
    },
    NotFound,
    /// No path that any route could match: a client error.
    BadPath(BadPath),
}

pub(super) type NodeId = u32;
pub(super) type VerbId = u32;
pub(super) type CustomVerbId = u32;

/// Where the path ends for its custom verb to begin, and that verb.
type Reading = (Option<usize>, CustomVerbId);

/// `*` as an HTTP verb: any of them.
pub(super) const ANY_VERB: VerbId = 0;
/// A template without a custom verb.
pub(super) const NO_CUSTOM_VERB: CustomVerbId = 0;
/// The node of the path `/`; no edge leads to it.
pub(super) const ROOT: NodeId = 0;

/// A place in the tree: some templates' common beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// The node behind `*`; [`ROOT`] when there is none.
    pub(super) one: NodeId,
    /// Whether [`EdgeTable`] has an edge from here.
    pub(super) has_literals: bool,
    pub(super) leaves: Span32,
    /// What may follow a `**` here, longest first.
    pub(super) tails: Span32,
}

/// A range of one of the tree's arrays, half the size of a `Range<usize>`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span32 {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A template that ends at a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) verb: VerbId,
    pub(super) custom_verb: CustomVerbId,
    pub(super) target: Target,
}

/// What a template leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// Index in [`RouteTree::bindings`].
    Binding(u32),
    /// Index in [`RouteTree::aggregates`].
    Aggregate(u32),
}

/// All templates that go on with `length` segments after the same `**`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) length: usize,
    pub(super) node: NodeId,
}

impl RouteTree {
    /// A tree without routes.
    pub fn empty(path_segments_max: usize) -> Self {
        Seedling::new().into_tree(path_segments_max)
    }

    /// The route for a verb and a path (without the query, as sent).
    pub fn find<'t>(&'t self, verb: &str, path: &str) -> Match<'t> {
        let mut path = Path::new(path);
        match path.split(self.path_segments_max) {
            Ok(true) => {}
            Ok(false) => return Match::NotFound,
            Err(reason) => return Match::BadPath(reason),
        }
        let verbs = Verbs::of(self, verb);
        let readings = self.readings(&path);
        for (colon, custom_verb) in readings.into_iter().flatten() {
            if colon.is_some() || path.is_cut() {
                path.read_to(colon);
            }
            let search = Search { tree: self, path: &path };
            let found = search.walk(ROOT, 0, &mut |node| verbs.best(self.leaves(node), custom_verb));
            match found {
                Some(Target::Binding(index)) => {
                    let binding = &self.bindings[index as usize];
                    let captures = Captures::take(&path, &binding.captures, binding.span);
                    return Match::Found { binding, captures };
                }
                Some(Target::Aggregate(index)) => {
                    let aggregate = &self.aggregates[index as usize];
                    let captures = Captures::take(&path, &aggregate.captures, aggregate.span);
                    return Match::Aggregate { aggregate, captures };
                }
                None => {}
            }
        }
        self.not_allowed(path, readings)
    }

    /// What `Allow` says of a path, whatever verb is asked for: never [`Match::Found`] or [`Match::Aggregate`].
    pub fn allow<'t>(&'t self, path: &str) -> Match<'t> {
        let mut path = Path::new(path);
        match path.split(self.path_segments_max) {
            Ok(true) => {
                let readings = self.readings(&path);
                self.not_allowed(path, readings)
            }
            Ok(false) => Match::NotFound,
            Err(reason) => Match::BadPath(reason),
        }
    }

    /// All bindings, in order of declaration.
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = &Arc<Binding>> {
        self.bindings.iter()
    }

    /// All aggregates, in order of declaration.
    pub fn aggregates(&self) -> impl ExactSizeIterator<Item = &Arc<Aggregate>> {
        self.aggregates.iter()
    }

    /// Verb and template of everything that stands here.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        let bindings = self.bindings.iter().map(|one| (&*one.verb, &*one.template));
        bindings.chain(self.aggregates.iter().map(|one| (&*one.verb, &*one.template)))
    }

    /// What a path may mean, best first: with a custom verb that some route has, then as data throughout.
    fn readings(&self, path: &Path<'_>) -> [Option<Reading>; 2] {
        let cut = path.custom_verb().and_then(|(colon, verb)| {
            let custom_verb = self.custom_verbs.get(&*verb)?;
            Some((Some(colon), *custom_verb))
        });
        [cut, Some((None, NO_CUSTOM_VERB))]
    }

    /// Whether the path is known under other verbs.
    #[cold]
    fn not_allowed<'t>(&'t self, mut path: Path<'_>, readings: [Option<Reading>; 2]) -> Match<'t> {
        let mut allowed = BTreeSet::new();
        for (colon, custom_verb) in readings.into_iter().flatten() {
            path.read_to(colon);
            let search = Search { tree: self, path: &path };
            search.walk(ROOT, 0, &mut |node| {
                let leaves = self.leaves(node).iter().filter(|leaf| leaf.custom_verb == custom_verb);
                allowed.extend(leaves.map(|leaf| &*self.verbs[leaf.verb as usize]));
                None
            });
        }
        if allowed.is_empty() {
            return Match::NotFound;
        }
        if allowed.contains("GET") {
            allowed.insert("HEAD");
        }
        Match::MethodNotAllowed { allow: allowed.into_iter().collect::<Vec<_>>().join(", ") }
    }

    fn leaves(&self, node: &Node) -> &[Leaf] {
        &self.leaves[node.leaves.range()]
    }
}

/// The ids of the verbs that serve a request, best first; [`ANY_VERB`] serves last and always.
struct Verbs {
    exact: Option<VerbId>,
    /// `GET` for a `HEAD`.
    instead: Option<VerbId>,
}

impl Verbs {
    fn of(tree: &RouteTree, verb: &str) -> Self {
        let id = |verb: &str| {
            let position = tree.verbs.iter().position(|known| **known == *verb)?;
            VerbId::try_from(position).ok()
        };
        // RFC 9110, section 9.3.2: HEAD is GET without the content.
        Self { exact: id(verb), instead: if verb == "HEAD" { id("GET") } else { None } }
    }

    /// What the best leaf leads to.
    fn best(&self, leaves: &[Leaf], custom_verb: CustomVerbId) -> Option<Target> {
        let mut best = None;
        for leaf in leaves.iter().filter(|leaf| leaf.custom_verb == custom_verb) {
            let rank = match Some(leaf.verb) {
                verb if verb == self.exact => return Some(leaf.target),
                verb if verb == self.instead => 1,
                verb if verb == Some(ANY_VERB) => 2,
                _ => continue,
            };
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, leaf.target));
            }
        }
        best.map(|(_, target)| target)
    }
}

struct Search<'a, 'p> {
    tree: &'a RouteTree,
    path: &'a Path<'p>,
}

impl Search<'_, '_> {
    /// Calls `visit` with each node where the path ends, best first, until it returns something.
    ///
    /// Recursion is as deep as the path, which has at most `path_segments_max` segments.
    fn walk(&self, id: NodeId, at: usize, visit: &mut impl FnMut(&Node) -> Option<Target>) -> Option<Target> {
        let node = &self.tree.nodes[id as usize];
        match self.path.segment(at) {
            None => {
                if let Some(found) = visit(node) {
                    return Some(found);
                }
            }
            Some((literal, hash)) => {
                if node.has_literals
                    && let Some(child) = self.tree.edges.child(id, literal, hash)
                    && let Some(found) = self.walk(child, at + 1, visit)
                {
                    return Some(found);
                }
                if node.one != ROOT
                    && let Some(found) = self.walk(node.one, at + 1, visit)
                {
                    return Some(found);
                }
            }
        }
        for tail in &self.tree.tails[node.tails.range()] {
            let start = self.path.len().checked_sub(tail.length).filter(|start| *start >= at);
            if let Some(start) = start
                && let Some(found) = self.walk(tail.node, start, visit)
            {
                return Some(found);
            }
        }
        None
    }
}

impl Span32 {
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |place| {
            u32::try_from(place).expect("a descriptor set of under 4 GiB has no more routes and segments")
        };
        Self { start: narrow(start), end: narrow(end) }
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The literal edges of all nodes in one table: open addressing, at most half full.
#[derive(Debug)]
pub(super) struct EdgeTable {
    slots: Box<[Edge]>,
    /// The literals of all edges, each once.
    literals: String,
}

/// An edge, or an empty slot where it leads to [`ROOT`].
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    parent: NodeId,
    child: NodeId,
    /// In [`EdgeTable::literals`], in normal form.
    literal: Span32,
}

impl EdgeTable {
    pub(super) fn new(edges: &HashMap<(NodeId, Box<str>), NodeId>) -> Self {
        let size = (edges.len() * 2 + 1).next_power_of_two();
        let mut table = Self { slots: vec![Edge::default(); size].into(), literals: String::new() };
        let mut interned: HashMap<&str, Span32> = HashMap::new();
        for ((parent, text), child) in edges {
            let literal = *interned.entry(text).or_insert_with(|| {
                let start = table.literals.len();
                table.literals.push_str(text);
                Span32::new(start, table.literals.len())
            });
            let mut slot = first_slot(*parent, hash(text)) & (size - 1);
            while table.slots[slot].child != ROOT {
                slot = (slot + 1) & (size - 1);
            }
            table.slots[slot] = Edge { parent: *parent, child: *child, literal };
        }
        table
    }

    #[inline]
    fn child(&self, parent: NodeId, literal: &str, hash: u64) -> Option<NodeId> {
        let mask = self.slots.len() - 1;
        let mut slot = first_slot(parent, hash) & mask;
        loop {
            let edge = &self.slots[slot];
            if edge.child == ROOT {
                return None;
            }
            if edge.parent == parent && self.literals[edge.literal.range()] == *literal {
                return Some(edge.child);
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Where the search for an edge begins.
#[inline]
fn first_slot(parent: NodeId, hash: u64) -> usize {
    let mixed =
        (hash ^ u64::from(parent).wrapping_mul(0xff51_afd7_ed55_8ccd)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed >> 32) as usize
}
