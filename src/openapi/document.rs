//! The document from its first line to its last.
//!
//! ```text
//! openapi, info, servers, tags → paths, sorted → components: schemas they refer to, sorted → the rest
//! ```
//!
//! Schemas refer to others, so their names are found by a first walk that writes nothing; the second makes
//! each of them again. That costs time twice and memory for the names alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};

use super::aggregates::{self, Described};
use super::annotations::{self, FileNotes, ServiceNotes};
use super::downgrade;
use super::json::{Json, Object, object};
use super::operation::{self, Subject};
use super::path::Path;
use super::schemas::{Component, Schemas};
use super::write::{Format, Writer};
use super::{About, Server, Source, Terms, Version, responses, security};
use crate::route::{Binding, PathTemplate};

/// Writes the document of a surface.
///
/// # Errors
///
/// Those of `out`.
pub fn write(source: Source<'_>, version: Version, format: Format, out: impl Write) -> io::Result<()> {
    let mut document = Document {
        out: Writer::new(out, format),
        schemas: Schemas::new(source.schema, source.json)
            .with_model(source.documents.map(|documents| documents.model)),
        names: Names::of(source),
        source,
        version,
    };
    document.head()?;
    document.paths()?;
    document.components()?;
    document.out.finish()
}

struct Document<'s, W> {
    source: Source<'s>,
    version: Version,
    names: Names,
    schemas: Schemas<'s>,
    out: Writer<W>,
}

/// What services and operations are called.
struct Names {
    /// Tags by the full name of the service, in the order of the routes.
    tags: Vec<(String, String)>,
    /// Operation ids, in the order of the bindings, then of the aggregates.
    ids: Vec<String>,
}

/// What stands under a verb of a path, by its place among its kind.
#[derive(Clone, Copy)]
enum Stands {
    Binding(usize),
    Aggregate(usize),
}

impl<W: Write> Document<'_, W> {
    fn put(&mut self, name: &str, value: impl Into<Json>) -> io::Result<()> {
        let value = value.into();
        match self.version {
            Version::V31 => self.out.member(name, &value),
            Version::V30 => self.out.member(name, &downgrade::downgrade(value)),
        }
    }

    fn head(&mut self) -> io::Result<()> {
        let version = if self.version == Version::V31 { "3.1.1" } else { "3.0.3" };
        self.put("openapi", version)?;
        let info = self.info();
        self.put("info", info)?;
        let servers = &self.source.about.servers;
        if !servers.is_empty() {
            self.put("servers", servers.iter().map(server).collect::<Vec<_>>())?;
        }
        // Services may share a tag, of which the first one says what it is: a document has each once.
        let mut told = BTreeSet::new();
        let tags = self.names.tags.iter().filter(|(_, tag)| told.insert(tag));
        let tags: Vec<Json> = tags.map(|(service, tag)| self.tag(service, tag)).collect();
        if tags.is_empty() { Ok(()) } else { self.put("tags", tags) }
    }

    fn info(&self) -> Object {
        let About { title, description, version, .. } = self.source.about;
        let package = self
            .names
            .tags
            .first()
            .map(|(service, _)| service.rsplit_once('.').map_or("", |(package, _)| package));
        let package = package.unwrap_or_default();
        let of_package = package.rsplit('.').next().filter(|part| is_version(part)).unwrap_or("1");
        let mut info = object("title", if package.is_empty() { "API" } else { package }.to_owned())
            .with_text("description", "")
            .with("version", of_package.to_owned());
        let mut say = |name: &'static str, text: &str| {
            if !text.is_empty() {
                info.set(name, text.to_owned());
            }
        };
        for file in self.files() {
            for said in file.information() {
                say("title", &said.title);
                say("version", &said.version);
                say("description", &said.description);
            }
        }
        say("title", title.as_deref().unwrap_or_default());
        say("version", version.as_deref().unwrap_or_default());
        say("description", description.as_deref().unwrap_or_default());
        info
    }

    /// What the files of the services say, the first one last, so that it holds.
    fn files(&self) -> Vec<FileNotes> {
        let pool = self.source.schema.pool();
        let services =
            self.names.tags.iter().rev().filter_map(|(service, _)| pool.get_service_by_name(service));
        let notes = services
            .map(|service| annotations::read(self.source.schema.file_options(&service.parent_file())));
        notes.collect()
    }

    fn tag(&self, service: &str, tag: &str) -> Json {
        let mut text = String::new();
        if let Some(service) = self.source.schema.pool().get_service_by_name(service) {
            let notes: ServiceNotes = annotations::read(self.source.schema.options(&service));
            text = notes.description().map_or_else(|| self.schemas.about(&service), str::to_owned);
        }
        object("name", tag.to_owned()).with_text("description", text).into()
    }

    fn paths(&mut self) -> io::Result<()> {
        let bindings: Vec<&Binding> = self.source.routes.bindings().map(|binding| &**binding).collect();
        // By shape: of the same shape there may be one path only.
        let mut shapes: BTreeMap<String, (Path, Vec<Stands>)> = BTreeMap::new();
        let places = bindings
            .iter()
            .enumerate()
            .map(|(index, one)| (Stands::Binding(index), &*one.template, &*one.verb));
        let aggregates = self.source.routes.aggregates().enumerate();
        let aggregates =
            aggregates.map(|(index, one)| (Stands::Aggregate(index), &*one.template, &*one.verb));
        for (stands, template, verb) in places.chain(aggregates) {
            let Some(path) = path(template).filter(|_| !operation::verbs(verb).is_empty()) else {
                continue;
            };
            shapes.entry(path.shape()).or_insert_with(|| (path, Vec::new())).1.push(stands);
        }
        self.out.enter("paths")?;
        let mut written = BTreeSet::new();
        for (first, standing) in shapes.into_values() {
            let text = first.text();
            // `/{xPath}` and `/{x=**}` differ to us alone.
            if written.insert(text.clone()) {
                let item = self.path_item(&first, &standing, &bindings);
                self.put(&text, item)?;
            }
        }
        self.out.leave()
    }

    fn path_item(&mut self, first: &Path, standing: &[Stands], bindings: &[&Binding]) -> Json {
        let mut operations: Vec<(&'static str, Object)> = Vec::new();
        // What names its verb goes before what takes any.
        let methods: Vec<usize> = standing
            .iter()
            .filter_map(|one| match one {
                Stands::Binding(index) => Some(*index),
                Stands::Aggregate(_) => None,
            })
            .collect();
        let documents = standing.iter().filter_map(|one| match one {
            Stands::Aggregate(index) => self.document(*index, first),
            Stands::Binding(_) => None,
        });
        operations.extend(documents.collect::<Vec<_>>());
        let (any, named): (Vec<usize>, Vec<usize>) = methods
            .iter()
            .partition(|index| bindings.get(**index).is_some_and(|binding| &*binding.verb == "*"));
        for index in named.into_iter().chain(any) {
            let (Some(binding), Some(id)) = (bindings.get(index), self.names.ids.get(index)) else {
                continue;
            };
            let Some(mut path) = path(&binding.template) else { continue };
            path.rename(first);
            let service = binding.method.rsplit_once('.').map_or("", |(service, _)| service);
            let tag =
                self.names.tags.iter().find(|(name, _)| name == service).map_or("", |(_, tag)| tag.as_str());
            let quiet = Terms::default();
            let terms = usize::try_from(binding.rule).ok().and_then(|rule| self.source.terms.get(rule));
            let verbs = operation::verbs(&binding.verb);
            for verb in verbs {
                if operations.iter().any(|(taken, _)| taken == verb) {
                    continue;
                }
                let id = if verbs.len() > 1 { format!("{id}_{verb}") } else { id.clone() };
                let subject = Subject { binding, path: &path, id: &id, tag, version: self.version };
                let schemes = &self.source.about.schemes;
                let operation =
                    operation::operation(&mut self.schemas, &subject, terms.unwrap_or(&quiet), schemes);
                operations.push((verb, operation));
            }
        }
        operation::in_order(operations)
    }

    /// The operation of a document, by the place of its aggregate among those of the routes.
    fn document(&mut self, index: usize, first: &Path) -> Option<(&'static str, Object)> {
        let documents = self.source.documents?;
        let aggregate = self.source.routes.aggregates().nth(index)?;
        let bound = documents.routes.get(aggregate.place)?;
        let id = self.names.ids.get(self.source.routes.bindings().len() + index)?;
        let mut path = path(&aggregate.template)?;
        path.rename(first);
        let described = Described { documents, bound, path: &path, id, version: self.version };
        let operation = aggregates::operation(
            &mut self.schemas,
            &described,
            self.source.terms,
            &self.source.about.schemes,
        );
        Some((operation::verbs(&aggregate.verb).first()?, operation))
    }

    fn components(&mut self) -> io::Result<()> {
        let responses = responses::shared(&mut self.schemas);
        let all = self.closure();
        self.out.enter("components")?;
        self.out.enter("schemas")?;
        for component in &all {
            let schema = self.schemas.component(component);
            self.put(&component.name, schema)?;
        }
        self.out.leave()?;
        self.put("responses", responses)?;
        self.put("headers", responses::headers())?;
        let schemes = security::schemes(&self.source.about.schemes, self.version);
        if !schemes.is_empty() {
            self.put("securitySchemes", schemes)?;
        }
        self.out.leave()
    }

    /// Every schema that is referred to, however far away.
    fn closure(&mut self) -> BTreeSet<Component> {
        let mut all = BTreeSet::new();
        let mut open = self.schemas.take_needed();
        while let Some(component) = open.pop_first() {
            self.schemas.component(&component);
            all.insert(component);
            let found = self.schemas.take_needed();
            open.extend(found.into_iter().filter(|component| !all.contains(component)));
        }
        all
    }
}

impl Names {
    fn of(source: Source<'_>) -> Self {
        let schemas = Schemas::new(source.schema, source.json);
        let mut services: Vec<String> = Vec::new();
        for binding in source.routes.bindings() {
            let service = binding.method.rsplit_once('.').map_or("", |(service, _)| service);
            // Bindings come service by service.
            if services.last().is_none_or(|last| last != service)
                && !services.iter().any(|known| known == service)
            {
                services.push(service.to_owned());
            }
        }
        let mut simple: HashMap<&str, usize> = HashMap::new();
        for service in &services {
            *simple.entry(last_part(service)).or_default() += 1;
        }
        let short: HashMap<&str, String> = services
            .iter()
            .map(|service| {
                let is_alone = simple.get(last_part(service)) == Some(&1);
                (service.as_str(), if is_alone { last_part(service).to_owned() } else { service.clone() })
            })
            .collect();
        let ids = ids(source, &schemas, &short);
        let tags = services
            .iter()
            .map(|service| {
                let descriptor = source.schema.pool().get_service_by_name(service);
                let options = descriptor.and_then(|service| source.schema.options(&service));
                let notes: ServiceNotes = annotations::read(options);
                let own = short.get(service.as_str()).map_or("", String::as_str);
                (service.clone(), notes.tag().unwrap_or(own).to_owned())
            })
            .collect();
        Self { tags, ids }
    }
}

/// `Service_Method`, `Service_Method_2`, …; a service whose name is not its own goes by its full one.
fn ids(source: Source<'_>, schemas: &Schemas<'_>, short: &HashMap<&str, String>) -> Vec<String> {
    let wanted = source.routes.bindings().map(|binding| {
        let (service, method) = binding.method.rsplit_once('.').unwrap_or(("", &binding.method));
        let own = || {
            let service = short.get(service).map_or(service, String::as_str);
            format!("{}_{method}", service.replace('.', "_"))
        };
        operation::given_id(schemas, binding).unwrap_or_else(own)
    });
    let documents = source.routes.aggregates().map(|aggregate| {
        let bound = source.documents.and_then(|documents| documents.routes.get(aggregate.place));
        bound.map(aggregates::id).unwrap_or_default()
    });
    let wanted: Vec<String> = wanted.chain(documents).collect();
    // A method keeps its id, whatever the further bindings of another would be called.
    let mut taken: HashSet<String> = wanted.iter().cloned().collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let numbered = wanted.iter().map(|id| {
        let count = counts.entry(id).or_default();
        *count += 1;
        if *count == 1 {
            return id.clone();
        }
        loop {
            let numbered = format!("{id}_{count}");
            if taken.insert(numbered.clone()) {
                return numbered;
            }
            *count += 1;
        }
    });
    numbered.collect()
}

fn path(template: &str) -> Option<Path> {
    PathTemplate::parse(template).ok().map(|template| Path::of(&template))
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `v1`, `v2beta1`.
fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn server(server: &Server) -> Json {
    let description = server.description.clone().unwrap_or_default();
    object("url", server.url.clone()).with_text("description", description).into()
}
