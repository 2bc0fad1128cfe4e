//! What the clients of one snapshot would lose with another: surfaces, paths, fields, values.
//!
//! ```text
//! surfaces by name ─┬─▶ hosts, bindings by verb and path ─▶ messages that they take and give, as JSON has them
//!                   └─▶ GraphQL: types by name
//! ```
//!
//! Judged by what a client sees: names in JSON, never field numbers; types by their JSON form, so that an `sint32`
//! is as good as an `int32`. What is added is no loss, nor is what a mask has hidden before. A loss of messages is told
//! once, however many surfaces show it.

mod graphql;
mod json;
mod masks;

use std::collections::{HashMap, HashSet};

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::{HostPattern, Surface, Surfaces};
use crate::codec::options::JsonOptions;
use crate::codec::selection::{Choice, Selection};
use crate::route::{Aggregate, Binding, Body};
use crate::schema::Schema;
use crate::schema::plan::MessageId;
use masks::{choice, part};

/// Losses beyond these are counted and not listed.
pub const LOSSES_MAX: usize = 1000;

/// What clients would lose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// One a line, in the order of the surfaces.
    pub lines: Vec<String>,
    /// Those that are not listed.
    pub more: usize,
}

/// What clients see of a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'s> {
    pub schema: &'s Schema,
    pub surfaces: &'s Surfaces,
    pub json: &'s JsonOptions,
}

/// Compares what clients see.
pub fn compare(before: Shown<'_>, after: Shown<'_>) -> Losses {
    let mut comparison =
        Comparison { before, after, losses: Losses::default(), told: HashSet::new(), met: HashSet::new() };
    for surface in before.surfaces.all() {
        match after.surfaces.all().iter().find(|other| other.name == surface.name) {
            Some(other) => comparison.surface(surface, other),
            None => comparison.lose(format!("surface `{}` is gone", surface.name)),
        }
    }
    comparison.losses
}

struct Comparison<'s> {
    before: Shown<'s>,
    after: Shown<'s>,
    losses: Losses,
    told: HashSet<String>,
    /// Pairs of messages that have been compared, or are being, and the addresses of what is selected of them.
    met: HashSet<(String, String, Way, [usize; 2])>,
}

/// A message, and what is shown of it; `None`: all of it.
type Seen<'s> = (MessageDescriptor, Option<&'s Selection>);

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    Request,
    Reply,
}

/// How requests find a binding: the verb, and the path without the names of its captures.
type Place = (Box<str>, String);

impl Losses {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// With those that are not listed.
    pub fn count(&self) -> usize {
        self.lines.len() + self.more
    }
}

impl Comparison<'_> {
    fn lose(&mut self, line: String) {
        if self.losses.lines.len() >= LOSSES_MAX {
            self.losses.more += 1;
        } else if self.told.insert(line.clone()) {
            self.losses.lines.push(line);
        }
    }

    fn surface(&mut self, before: &Surface, after: &Surface) {
        for host in &before.hosts {
            let is_served = |other: &HostPattern| {
                other == host
                    || matches!((host, other),
                (HostPattern::Exact(name) | HostPattern::Below(name), HostPattern::Below(parent)) if is_below(name, parent))
            };
            if !after.hosts.is_empty() && !after.hosts.iter().any(is_served) {
                let host = match host {
                    HostPattern::Exact(name) => name.to_string(),
                    HostPattern::Below(name) => format!("*.{name}"),
                };
                self.lose(format!("`{}`: host `{host}` is gone", before.name));
            }
        }
        if before.hosts.is_empty() && !after.hosts.is_empty() {
            self.lose(format!("`{}`: only some hosts are served", before.name));
        }
        self.graphql(before, after);
        let places: HashMap<Place, &Binding> =
            after.routes.bindings().map(|binding| (place(binding), &**binding)).collect();
        let stands = |one: &Aggregate| after.routes.places().any(|place| place == (&one.verb, &one.template));
        for Aggregate { verb, template, .. } in
            before.routes.aggregates().map(|one| &**one).filter(|one| !stands(one))
        {
            self.lose(format!("`{}`: `{verb} {template}` is gone", before.name));
        }
        for binding in before.routes.bindings() {
            match places.get(&place(binding)) {
                Some(other) => self.binding(&before.name, binding, other),
                None => {
                    let mut elsewhere: Vec<_> = after
                        .routes
                        .bindings()
                        .filter(|other| other.method == binding.method)
                        .map(|other| format!("`{} {}`", other.verb, other.template))
                        .collect();
                    elsewhere.sort();
                    let moved = match elsewhere.first() {
                        Some(place) => format!("has moved to {place}"),
                        None => "is gone".to_owned(),
                    };
                    let Binding { verb, template, method, .. } = &**binding;
                    self.lose(format!("`{}`: `{verb} {template}` of `{method}` {moved}", before.name));
                }
            }
        }
    }

    fn graphql(&mut self, before: &Surface, after: &Surface) {
        let name = &before.name;
        match (&before.graphql, &after.graphql) {
            (Some(was), Some(is)) => {
                if was.path != is.path {
                    self.lose(format!("`{name}`: GraphQL has moved from `{}` to `{}`", was.path, is.path));
                }
                let before = graphql::View { model: &was.model, schema: self.before.schema };
                let after = graphql::View { model: &is.model, schema: self.after.schema };
                graphql::compare(before, after, &mut |line| self.lose(format!("`{name}`: GraphQL: {line}")));
                self.masks(&was.model, &is.model);
            }
            (Some(was), None) => self.lose(format!("`{name}`: GraphQL at `{}` is gone", was.path)),
            (None, _) => {}
        }
    }

    /// Two bindings that the same requests find.
    fn binding(&mut self, surface: &str, before: &Binding, after: &Binding) {
        let what = format!("`{surface}`: `{} {}`", before.verb, before.template);
        if before.method != after.method {
            self.lose(format!("{what} calls `{}` instead of `{}`", after.method, before.method));
        }
        for (streams, was, is) in [
            ("requests", before.client_streaming, after.client_streaming),
            ("replies", before.server_streaming, after.server_streaming),
        ] {
            match (was, is) {
                (true, false) => self.lose(format!("{what}: {streams} are one message instead of a stream")),
                (false, true) => self.lose(format!("{what}: {streams} are a stream instead of one message")),
                _ => {}
            }
        }
        let [was, is] =
            [(self.before, before), (self.after, after)].map(|(shown, binding)| body(shown, binding));
        if was != is && was != "none" {
            self.lose(format!("{what}: the body is {is} instead of {was}"));
        }
        let [was, is] =
            [(self.before, before), (self.after, after)].map(|(shown, binding)| reply_body(shown, binding));
        if was != is {
            self.lose(format!("{what}: the reply's body is {is} instead of {was}"));
        }
        self.reading(before);
        let [input, output] =
            [(before.input, after.input), (before.output, after.output)].map(|(was, is)| {
                (self.before.schema.descriptor(was).clone(), self.after.schema.descriptor(is).clone())
            });
        self.messages((input.0, None), (input.1, None), Way::Request);
        let [was, is] = [before, after].map(|binding| binding.selection.as_deref());
        self.messages((output.0, was), (output.1, is), Way::Reply);
    }

    /// Two messages, and whatever is in them. By a list, because messages nest as deep as they like.
    fn messages(&mut self, before: Seen<'_>, after: Seen<'_>, way: Way) {
        let mut pairs = vec![(before, after)];
        while let Some(((before, of_before), (after, of_after))) = pairs.pop() {
            let selected =
                [of_before, of_after].map(|one| one.map_or(0, |one| std::ptr::from_ref(one).addr()));
            let key = (before.full_name().to_owned(), after.full_name().to_owned(), way, selected);
            if has_own_form(&before) || !self.met.insert(key) {
                continue;
            }
            for field in before.fields() {
                let was = choice(self.before, &before, of_before, &field);
                if *was == Choice::Hidden {
                    continue;
                }
                let name = field.full_name().to_owned();
                let Some(other) = after.get_field_by_name(field.name()) else {
                    self.lose(format!("`{name}` is gone from {}", way.name()));
                    continue;
                };
                let is = choice(self.after, &after, of_after, &other);
                if *is == Choice::Hidden {
                    self.lose(format!("`{name}` is hidden from {}", way.name()));
                    continue;
                }
                self.names(&field, &other, way);
                let [old, new] = [&field, &other].map(form);
                if old != new {
                    self.lose(format!("`{name}` is {new} instead of {old} in {}", way.name()));
                    continue;
                }
                if way == Way::Reply {
                    self.values_of_replies(&field);
                }
                match (value(&field), value(&other)) {
                    (Kind::Message(old), Kind::Message(new)) => {
                        pairs.push(((old, part(was)), (new, part(is))));
                    }
                    (Kind::Enum(was), Kind::Enum(is)) => self.values(&was, &is),
                    _ => {}
                }
            }
        }
    }

    fn values(&mut self, before: &EnumDescriptor, after: &EnumDescriptor) {
        for value in before.values().filter(|value| after.get_value_by_name(value.name()).is_none()) {
            self.lose(format!("`{}.{}` is gone", before.full_name(), value.name()));
        }
    }
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Request => "requests",
            Self::Reply => "replies",
        }
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

/// `/v1/{name=items/*}` and `/v1/{id=items/*}` are for the same requests, and so are `{name}` and `*`.
fn place(binding: &Binding) -> Place {
    let mut path = String::with_capacity(binding.template.len());
    let mut rest = &*binding.template;
    while let Some((literal, capture)) = rest.split_once('{') {
        let (capture, after) = capture.split_once('}').unwrap_or((capture, ""));
        path.push_str(literal);
        path.push_str(capture.split_once('=').map_or("*", |(_, pattern)| pattern));
        rest = after;
    }
    path.push_str(rest);
    (binding.verb.clone(), path)
}

fn body(shown: Shown<'_>, binding: &Binding) -> String {
    match binding.body {
        Body::None => "none".to_owned(),
        Body::All => "the message".to_owned(),
        Body::Field(index) => field_name(shown, binding.input, index),
    }
}

fn reply_body(shown: Shown<'_>, binding: &Binding) -> String {
    let field = |index| field_name(shown, binding.output, index);
    binding.response_body.map_or_else(|| "the message".to_owned(), field)
}

fn field_name(shown: Shown<'_>, message: MessageId, index: usize) -> String {
    let field = shown.schema.message(message).fields.get(index);
    field.map_or_else(String::new, |field| format!("`{}`", field.name))
}

/// Whether JSON has another form for a message than its fields.
fn has_own_form(message: &MessageDescriptor) -> bool {
    match message.full_name() {
        // Their form is that of their value.
        "google.protobuf.Int64Value" | "google.protobuf.UInt64Value" => false,
        "google.api.HttpBody" => true,
        name => name.starts_with("google.protobuf."),
    }
}

/// What a field looks like in JSON; messages and enums of one name or another look alike until they are compared.
fn form(field: &FieldDescriptor) -> String {
    let of = |kind: &Kind| match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int32".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "uint32".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "int64".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "uint64".to_owned(),
        // Types with a JSON form of their own are what they are called.
        Kind::Message(message) if message.full_name().starts_with("google.protobuf.") => {
            format!("`{}`", message.full_name())
        }
        Kind::Message(_) => "a message".to_owned(),
        Kind::Enum(_) => "an enum".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let key = entry.map_entry_key_field().kind();
            format!("a map of {} by {}", of(&entry.map_entry_value_field().kind()), of(&key))
        }
        kind if field.is_list() => format!("repeated {}", of(&kind)),
        kind => of(&kind),
    }
}

/// The type of a field's value, which of a map is that of its entries'.
fn value(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}

#[cfg(test)]
mod tests;
