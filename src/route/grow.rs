//! Growing a [`RouteTree`]: templates are added one by one, then the tree is laid out flat.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::aggregate::Aggregate;
use super::binding::Binding;
use super::template::{PathTemplate, Segment};
use super::tree::{
    ANY_VERB, CustomVerbId, EdgeTable, Leaf, NO_CUSTOM_VERB, Node, NodeId, ROOT, RouteTree, Span32, Tail,
    Target, VerbId,
};

/// A tree that still grows.
#[derive(Debug)]
pub(super) struct Seedling {
    nodes: Vec<Branch>,
    literals: HashMap<(NodeId, Box<str>), NodeId>,
    verbs: Vec<Box<str>>,
    custom_verbs: HashMap<Box<str>, CustomVerbId>,
    bindings: Vec<Arc<Binding>>,
    aggregates: Vec<Arc<Aggregate>>,
}

#[derive(Debug, Default)]
struct Branch {
    one: Option<NodeId>,
    has_literals: bool,
    leaves: Vec<Leaf>,
    tails: Vec<Tail>,
}

impl Seedling {
    pub(super) fn new() -> Self {
        debug_assert_eq!((ANY_VERB, NO_CUSTOM_VERB, ROOT), (0, 0, 0));
        Self {
            nodes: vec![Branch::default()],
            literals: HashMap::new(),
            verbs: vec!["*".into()],
            custom_verbs: HashMap::new(),
            bindings: Vec::new(),
            aggregates: Vec::new(),
        }
    }

    /// Adds a binding, unless something has its verb and the shape of its template: that is returned.
    pub(super) fn add(&mut self, template: &PathTemplate, binding: Binding) -> Result<(), Conflict> {
        let target = Target::Binding(id(self.bindings.len()));
        match self.claim(template, &binding.verb, target) {
            Some(first) => Err(Conflict { first, second: Box::new(binding) }),
            None => {
                self.bindings.push(Arc::new(binding));
                Ok(())
            }
        }
    }

    /// The same for an aggregate.
    pub(super) fn add_aggregate(
        &mut self,
        template: &PathTemplate,
        aggregate: Aggregate,
    ) -> Result<(), Taken> {
        let target = Target::Aggregate(id(self.aggregates.len()));
        match self.claim(template, &aggregate.verb, target) {
            Some(first) => Err(first),
            None => {
                self.aggregates.push(Arc::new(aggregate));
                Ok(())
            }
        }
    }

    /// Gives a verb and the shape of a template to `target`, unless something has it.
    fn claim(&mut self, template: &PathTemplate, verb: &str, target: Target) -> Option<Taken> {
        let verb = self.verb(verb);
        let custom_verb = self.custom_verb(template.verb.as_deref());
        let node = self.node(template);
        let leaves = &mut self.nodes[node as usize].leaves;
        let taken = leaves.iter().find(|leaf| (leaf.verb, leaf.custom_verb) == (verb, custom_verb));
        if let Some(leaf) = taken {
            return Some(match leaf.target {
                Target::Binding(index) => Taken::Binding(Arc::clone(&self.bindings[index as usize])),
                Target::Aggregate(index) => Taken::Aggregate(Arc::clone(&self.aggregates[index as usize])),
            });
        }
        leaves.push(Leaf { verb, custom_verb, target });
        None
    }

    /// The node where the template ends.
    fn node(&mut self, template: &PathTemplate) -> NodeId {
        let mut node = ROOT;
        for (index, segment) in template.segments.iter().enumerate() {
            node = match segment {
                Segment::Literal(literal) => self.literal(node, literal),
                Segment::One => self.one(node),
                Segment::Many => self.tail(node, template.segments.len() - index - 1),
            };
        }
        node
    }

    fn literal(&mut self, parent: NodeId, literal: &str) -> NodeId {
        let next = id(self.nodes.len());
        match self.literals.entry((parent, literal.into())) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                entry.insert(next);
                self.nodes[parent as usize].has_literals = true;
                self.nodes.push(Branch::default());
                next
            }
        }
    }

    fn one(&mut self, parent: NodeId) -> NodeId {
        let next = id(self.nodes.len());
        if let Some(node) = self.nodes[parent as usize].one {
            return node;
        }
        self.nodes[parent as usize].one = Some(next);
        self.nodes.push(Branch::default());
        next
    }

    fn tail(&mut self, parent: NodeId, length: usize) -> NodeId {
        let next = id(self.nodes.len());
        let tails = &mut self.nodes[parent as usize].tails;
        if let Some(tail) = tails.iter().find(|tail| tail.length == length) {
            return tail.node;
        }
        tails.push(Tail { length, node: next });
        tails.sort_by_key(|tail| std::cmp::Reverse(tail.length));
        self.nodes.push(Branch::default());
        next
    }

    fn verb(&mut self, verb: &str) -> VerbId {
        let position = self.verbs.iter().position(|known| **known == *verb);
        id(position.unwrap_or_else(|| {
            self.verbs.push(verb.into());
            self.verbs.len() - 1
        }))
    }

    fn custom_verb(&mut self, verb: Option<&str>) -> CustomVerbId {
        let Some(verb) = verb else { return NO_CUSTOM_VERB };
        let next = id(self.custom_verbs.len() + 1);
        *self.custom_verbs.entry(verb.into()).or_insert(next)
    }

    /// The finished tree.
    pub(super) fn into_tree(self, path_segments_max: usize) -> RouteTree {
        let (mut leaves, mut tails) = (Vec::new(), Vec::new());
        let nodes = self.nodes.into_iter().map(|branch| Node {
            one: branch.one.unwrap_or(ROOT),
            has_literals: branch.has_literals,
            leaves: append(&mut leaves, branch.leaves),
            tails: append(&mut tails, branch.tails),
        });
        let nodes = nodes.collect();
        RouteTree {
            bindings: self.bindings,
            aggregates: self.aggregates,
            nodes,
            leaves,
            tails,
            edges: EdgeTable::new(&self.literals),
            verbs: self.verbs,
            custom_verbs: self.custom_verbs,
            path_segments_max,
        }
    }
}

/// What takes some requests already.
#[derive(Debug)]
pub(super) enum Taken {
    Binding(Arc<Binding>),
    Aggregate(Arc<Aggregate>),
}

/// A binding that takes the same requests as something else.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) first: Taken,
    pub(super) second: Box<Binding>,
}

fn append<T>(all: &mut Vec<T>, some: Vec<T>) -> Span32 {
    let start = all.len();
    all.extend(some);
    Span32::new(start, all.len())
}

fn id(index: usize) -> u32 {
    u32::try_from(index).expect("a descriptor set of under 4 GiB has fewer routes and segments")
}
