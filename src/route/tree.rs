//! The routes: from a verb and a path to a [`Binding`], whatever the order of declaration.
//!
//! At each segment a literal beats `*`, which beats `**`; where a branch leads to no route for the verb,
//! the next one is tried. A `**` is followed by a fixed number of segments, so the place where those begin
//! is known from the path's length: longer tails are tried first, and no node is ever visited twice.
//! A route with a custom verb (`:cancel`) beats one that would take the colon as data; a colon that
//! no matching route knows as its verb is data.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::binding::Binding;
use super::captures::Captures;
use super::path::{BadPath, Path, PathSegment, hash};

/// All routes of a snapshot. Immutable; made by [`build`](super::build).
#[derive(Debug)]
pub struct RouteTree {
    pub(super) bindings: Vec<Arc<Binding>>,
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
    /// Index in [`RouteTree::bindings`].
    pub(super) binding: u32,
}

/// All templates that go on with `length` segments after the same `**`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    pub(super) length: usize,
    pub(super) node: NodeId,
}

impl RouteTree {
    /// The route for a verb and a path (without the query, as sent).
    pub fn find<'t>(&'t self, verb: &str, path: &str) -> Match<'t> {
        let path = match Path::split(path, self.path_segments_max) {
            Ok(Some(path)) => path,
            Ok(None) => return Match::NotFound,
            Err(reason) => return Match::BadPath(reason),
        };
        let cut = self.cut(&path);
        let verbs = Verbs::of(self, verb);
        for (path, custom_verb) in readings(&path, cut.as_ref()) {
            let search = Search { tree: self, segments: &path.segments };
            let found = search.walk(ROOT, 0, &mut |node| verbs.best(self.leaves(node), custom_verb));
            if let Some(binding) = found {
                let binding = &self.bindings[binding as usize];
                let captures = Captures::take(path, &binding.captures, binding.span);
                return Match::Found { binding, captures };
            }
        }
        self.not_allowed(&path, cut.as_ref())
    }

    /// All bindings, in order of declaration.
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = &Arc<Binding>> {
        self.bindings.iter()
    }

    /// The path before its custom verb, if it ends in one that some route has.
    fn cut<'p>(&self, path: &Path<'p>) -> Option<(Path<'p>, CustomVerbId)> {
        let colon = path.colon()?;
        let custom_verb = *self.custom_verbs.get(&*path.verb(colon)?)?;
        Some((path.before(colon)?, custom_verb))
    }

    /// Whether the path is known under other verbs.
    #[cold]
    fn not_allowed<'t, 'p>(&'t self, path: &Path<'p>, cut: Option<&(Path<'p>, CustomVerbId)>) -> Match<'t> {
        let mut allowed = BTreeSet::new();
        for (path, custom_verb) in readings(path, cut) {
            let search = Search { tree: self, segments: &path.segments };
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

/// What a path may mean, best first: with a custom verb at its end, then as data throughout.
fn readings<'a, 'p>(
    path: &'a Path<'p>,
    cut: Option<&'a (Path<'p>, CustomVerbId)>,
) -> impl Iterator<Item = (&'a Path<'p>, CustomVerbId)> {
    cut.into_iter().map(|(path, verb)| (path, *verb)).chain([(path, NO_CUSTOM_VERB)])
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
        // RFC 9110, 9.3.2: HEAD is GET without the content.
        Self { exact: id(verb), instead: if verb == "HEAD" { id("GET") } else { None } }
    }

    /// The binding of the best leaf.
    fn best(&self, leaves: &[Leaf], custom_verb: CustomVerbId) -> Option<u32> {
        let mut best = None;
        for leaf in leaves.iter().filter(|leaf| leaf.custom_verb == custom_verb) {
            let rank = match Some(leaf.verb) {
                verb if verb == self.exact => return Some(leaf.binding),
                verb if verb == self.instead => 1,
                verb if verb == Some(ANY_VERB) => 2,
                _ => continue,
            };
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, leaf.binding));
            }
        }
        best.map(|(_, binding)| binding)
    }
}

struct Search<'a, 'p> {
    tree: &'a RouteTree,
    segments: &'a [PathSegment<'p>],
}

impl Search<'_, '_> {
    /// Calls `visit` with each node where the path ends, best first, until it returns something.
    ///
    /// Recursion is as deep as the path, which has at most `path_segments_max` segments.
    fn walk(&self, id: NodeId, at: usize, visit: &mut impl FnMut(&Node) -> Option<u32>) -> Option<u32> {
        let node = &self.tree.nodes[id as usize];
        match self.segments.get(at) {
            None => {
                if let Some(found) = visit(node) {
                    return Some(found);
                }
            }
            Some(segment) => {
                if node.has_literals
                    && let Some(child) = self.tree.edges.child(id, &segment.normal, segment.hash)
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
            let start = self.segments.len().checked_sub(tail.length).filter(|start| *start >= at);
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
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The literal edges of all nodes in one table: open addressing, at most half full.
#[derive(Debug)]
pub(super) struct EdgeTable {
    slots: Box<[u32]>,
    edges: Vec<Edge>,
}

#[derive(Debug)]
pub(super) struct Edge {
    pub(super) parent: NodeId,
    pub(super) child: NodeId,
    /// In normal form.
    pub(super) literal: Box<str>,
}

const EMPTY: u32 = u32::MAX;

impl EdgeTable {
    pub(super) fn new(edges: Vec<Edge>) -> Self {
        let size = (edges.len() * 2 + 1).next_power_of_two();
        let mut slots = vec![EMPTY; size].into_boxed_slice();
        for (edge, index) in edges.iter().zip(0..) {
            let mut slot = place(edge.parent, hash(&edge.literal)) & (size - 1);
            while slots[slot] != EMPTY {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = index;
        }
        Self { slots, edges }
    }

    #[inline]
    fn child(&self, parent: NodeId, literal: &str, hash: u64) -> Option<NodeId> {
        let mask = self.slots.len() - 1;
        let mut slot = place(parent, hash) & mask;
        loop {
            // An empty slot's index is past the end.
            let edge = self.edges.get(self.slots[slot] as usize)?;
            if edge.parent == parent && *edge.literal == *literal {
                return Some(edge.child);
            }
            slot = (slot + 1) & mask;
        }
    }
}

#[inline]
fn place(parent: NodeId, hash: u64) -> usize {
    let mixed =
        (hash ^ u64::from(parent).wrapping_mul(0xff51_afd7_ed55_8ccd)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed >> 32) as usize
}
