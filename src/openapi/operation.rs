//! One binding as an operation.

use std::borrow::Cow;

use super::annotations::{self, MethodDeprecation, MethodNotes};
use super::json::{Json, Object, object, texts};
use super::path::Path;
use super::schemas::Schemas;
use super::{Scheme, Terms, Version, query, responses};
use crate::route::Binding;

/// A binding, and how it is called in the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'d> {
    pub(super) binding: &'d Binding,
    pub(super) path: &'d Path,
    pub(super) id: &'d str,
    pub(super) tag: &'d str,
    pub(super) version: Version,
}

pub(super) fn operation(
    schemas: &mut Schemas<'_>,
    subject: &Subject<'_>,
    terms: &Terms,
    schemes: &[Scheme],
) -> Object {
    let binding = subject.binding;
    let method = method(schemas, binding);
    let options = method.as_ref().and_then(|method| schemas.schema.options(method));
    let notes: MethodNotes = annotations::read(options.clone());
    let deprecation: MethodDeprecation = annotations::read(options);
    let comment = method.map(|method| schemas.about(&method)).unwrap_or_default();
    let (summary, description) = summarize(&comment);
    let mut operation = object("tags", texts([subject.tag.to_owned()]))
        .with_text("summary", summary)
        .with_text("description", description);
    for said in notes.operations() {
        if !said.tags.is_empty() {
            operation.set("tags", texts(said.tags.iter().cloned()));
        }
        for (name, text) in [("summary", &said.summary), ("description", &said.description)] {
            if !text.is_empty() {
                operation.set(name, text.clone());
            }
        }
        said.external_docs().into_iter().for_each(|docs| {
            operation.set("externalDocs", docs);
        });
    }
    operation.set("operationId", subject.id.to_owned());
    if notes.deprecated || deprecation.is_said() || terms.is_deprecated {
        operation.set("deprecated", true);
    }
    let mut parameters = query::of_path(schemas, binding, subject.path);
    let (of_query, is_all) = query::of_query(schemas, binding);
    parameters.extend(of_query);
    if !parameters.is_empty() {
        operation.set("parameters", parameters);
    }
    if !is_all {
        operation.set("x-more-query-parameters", true);
    }
    if let Some(body) = responses::request_body(schemas, subject) {
        operation.set("requestBody", body);
    }
    operation.set("responses", responses::responses(schemas, subject, terms));
    if let Some(requirements) = terms.security.requirements(schemes, subject.version) {
        operation.set("security", requirements);
    }
    operation
}

/// The operation ids that annotations give, the one that holds last.
pub(super) fn given_id(schemas: &Schemas<'_>, binding: &Binding) -> Option<String> {
    let options = method(schemas, binding).and_then(|method| schemas.schema.options(&method));
    let notes: MethodNotes = annotations::read(options);
    let ids = notes.operations().map(|said| said.operation_id.clone());
    ids.filter(|id| !id.is_empty()).last()
}

pub(super) fn method(schemas: &Schemas<'_>, binding: &Binding) -> Option<prost_reflect::MethodDescriptor> {
    let (service, name) = binding.method.rsplit_once('.')?;
    let service = schemas.schema.pool().get_service_by_name(service)?;
    service.methods().find(|method| method.name() == name)
}

/// A first paragraph of one sentence is the summary; what follows is the description.
pub(super) fn summarize(comment: &str) -> (String, String) {
    const SUMMARY_CHARACTERS_MAX: usize = 120;
    let (first, rest) = comment.split_once("\n\n").unwrap_or((comment, ""));
    let first: Cow<'_, str> = first.replace('\n', " ").into();
    let sentence = first.split_once(". ");
    if let Some((sentence, _)) =
        sentence.filter(|(sentence, _)| sentence.chars().count() <= SUMMARY_CHARACTERS_MAX)
    {
        return (sentence.to_owned(), comment.to_owned());
    }
    if sentence.is_none() && first.chars().count() <= SUMMARY_CHARACTERS_MAX {
        return (first.trim_end_matches('.').to_owned(), rest.to_owned());
    }
    (String::new(), comment.to_owned())
}

/// The HTTP methods that OpenAPI has words for, and that a rule for this verb answers.
pub(super) fn verbs(verb: &str) -> &'static [&'static str] {
    match verb {
        "GET" => &["get"],
        "PUT" => &["put"],
        "POST" => &["post"],
        "DELETE" => &["delete"],
        "OPTIONS" => &["options"],
        "HEAD" => &["head"],
        "PATCH" => &["patch"],
        "TRACE" => &["trace"],
        // Any: the common ones stand for all.
        "*" => &["get", "put", "post", "delete", "patch"],
        _ => &[],
    }
}

/// A list of operations under one path, in the order of OpenAPI.
pub(super) fn in_order(mut operations: Vec<(&'static str, Object)>) -> Json {
    const ORDER: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    operations.sort_by_key(|(verb, _)| ORDER.iter().position(|known| known == verb));
    let members: Object =
        operations.into_iter().map(|(verb, operation)| (verb.into(), operation.into())).collect();
    members.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_is_the_summary() {
        let check = |comment: &str, summary: &str, description: &str| {
            assert_eq!(summarize(comment), (summary.to_owned(), description.to_owned()), "{comment:?}");
        };
        check("", "", "");
        check("Gets a book.", "Gets a book", "");
        check("Gets a book\nby name.", "Gets a book by name", "");
        check("Gets a book.\n\nMore.", "Gets a book", "More.");
        check("Gets a book. Fails.", "Gets a book", "Gets a book. Fails.");
        let long = "a".repeat(121);
        check(&long, "", &long);
    }
}
