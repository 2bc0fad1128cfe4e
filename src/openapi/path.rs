//! Path templates as OpenAPI has them, where a parameter is one segment.
//!
//! ```text
//! /v1/{name=shelves/*/books/*}:move   →   /v1/shelves/{shelvesId}/books/{booksId}:move
//! /v1/{id}                            →   /v1/{id}
//! /v1/{name=files/**}                 →   /v1/files/{filesPath}          with a pattern
//! ```
//!
//! A capture of several segments becomes a parameter for each of its wildcards, as in Google's own `flatPath`:
//! clients escape the slashes within one parameter, and what they would send then is another path.
//! Only `**` has to be one parameter of many segments.

use crate::route::{PathTemplate, Segment};

/// A template in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pieces: Vec<Piece>,
    verb: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Parameter(Parameter),
}

/// One parameter of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// The captured field, dotted, with the names of the descriptor.
    pub(super) field: Option<String>,
    pub(super) role: Role,
}

/// What a parameter is of the field that is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// All of it, one segment.
    Whole,
    /// One segment of several: the text of all of them is the value.
    Part(String),
    /// Any number of segments; the text of all of them, or `None` where that is the whole value.
    Many(Option<String>),
}

impl Path {
    pub(super) fn of(template: &PathTemplate) -> Self {
        let mut path = Self { pieces: Vec::new(), verb: template.verb.as_deref().map(str::to_owned) };
        for (at, segment) in template.segments.iter().enumerate() {
            if let Segment::Literal(literal) = segment {
                path.pieces.push(Piece::Literal((**literal).to_owned()));
                continue;
            }
            let variable =
                template.variables.iter().find(|variable| (variable.start..variable.end).contains(&at));
            let is_alone = variable.is_some_and(|variable| variable.end - variable.start == 1);
            let field = variable.map(|variable| (*variable.path).to_owned());
            let is_many = *segment == Segment::Many;
            let name = match (&field, is_alone) {
                (Some(field), true) if is_many => format!("{field}Path"),
                (Some(field), true) => field.clone(),
                _ => path.name_after_literal(if is_many { "Path" } else { "Id" }),
            };
            let name = path.unique(name);
            let role = match (is_many, is_alone) {
                (false, true) => Role::Whole,
                (false, false) => Role::Part(String::new()),
                (true, true) => Role::Many(None),
                (true, false) => Role::Many(Some(String::new())),
            };
            path.pieces.push(Piece::Parameter(Parameter { name, field, role }));
        }
        path.tell_whole(template);
        path
    }

    /// The segments of a capture as one text, with the names of its parameters.
    fn tell_whole(&mut self, template: &PathTemplate) {
        for variable in &template.variables {
            let pieces = self.pieces.get(variable.start..variable.end).unwrap_or_default();
            let text = pieces.iter().map(Piece::text).collect::<Vec<_>>().join("/");
            for piece in self.pieces.get_mut(variable.start..variable.end).unwrap_or_default() {
                if let Piece::Parameter(Parameter {
                    role: Role::Part(whole) | Role::Many(Some(whole)), ..
                }) = piece
                {
                    whole.clone_from(&text);
                }
            }
        }
    }

    /// `shelves/*` → `shelvesId`: every identifier stands behind the name of its collection (AIP-122).
    fn name_after_literal(&self, ending: &str) -> String {
        match self.pieces.last() {
            Some(Piece::Literal(literal)) => {
                let mut name = String::new();
                let mut upper = false;
                for character in literal.chars() {
                    match character.is_ascii_alphanumeric() {
                        true if upper => name.push(character.to_ascii_uppercase()),
                        true => name.push(character),
                        false => {}
                    }
                    upper = !character.is_ascii_alphanumeric() && !name.is_empty();
                }
                name + ending
            }
            _ => format!("segment{ending}"),
        }
    }

    fn unique(&self, name: String) -> String {
        let is_taken = |name: &str| self.parameters().any(|parameter| parameter.name == name);
        if !is_taken(&name) {
            return name;
        }
        let numbered = (2..).map(|number| format!("{name}{number}"));
        numbered.into_iter().find(|numbered| !is_taken(numbered)).unwrap_or(name)
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(parameter) => Some(parameter),
            Piece::Literal(_) => None,
        })
    }

    /// What two paths have in common that OpenAPI takes for the same, whatever their parameters are called.
    pub(super) fn shape(&self) -> String {
        self.render(|parameter| match parameter.role {
            Role::Many(_) => "{**}".to_owned(),
            Role::Whole | Role::Part(_) => "{}".to_owned(),
        })
    }

    /// The path as it stands in the document.
    pub(super) fn text(&self) -> String {
        self.render(|parameter| format!("{{{}}}", parameter.name))
    }

    fn render(&self, parameter: impl Fn(&Parameter) -> String) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            text.push('/');
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Parameter(of) => text.push_str(&parameter(of)),
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        if let Some(verb) = &self.verb {
            text.push(':');
            text.push_str(verb);
        }
        text
    }

    /// Takes over the names of another path of the same shape.
    pub(super) fn rename(&mut self, other: &Self) {
        let names: Vec<String> = other.parameters().map(|parameter| parameter.name.clone()).collect();
        let own = self.pieces.iter_mut().filter_map(|piece| match piece {
            Piece::Parameter(parameter) => Some(parameter),
            Piece::Literal(_) => None,
        });
        let renamed: Vec<(String, String)> = own
            .zip(names)
            .map(|(parameter, name)| (std::mem::replace(&mut parameter.name, name.clone()), name))
            .collect();
        for piece in &mut self.pieces {
            if let Piece::Parameter(Parameter { role: Role::Part(whole) | Role::Many(Some(whole)), .. }) =
                piece
            {
                for (from, to) in &renamed {
                    *whole = whole.replace(&format!("{{{from}}}"), &format!("{{{to}}}"));
                }
            }
        }
    }
}

impl Piece {
    fn text(&self) -> String {
        match self {
            Self::Literal(literal) => literal.clone(),
            Self::Parameter(parameter) => format!("{{{}}}", parameter.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(template: &str) -> Path {
        Path::of(&PathTemplate::parse(template).expect("a template"))
    }

    #[test]
    fn every_wildcard_is_a_parameter() {
        let check =
            |template: &str, expected: &str| assert_eq!(path(template).text(), expected, "{template}");
        check("/", "/");
        check("/v1/a", "/v1/a");
        check("/v1/{id}", "/v1/{id}");
        check("/v1/{book.id}/x", "/v1/{book.id}/x");
        check("/v1/{name=shelves/*/books/*}:move", "/v1/shelves/{shelvesId}/books/{booksId}:move");
        check("/v1/{name=operations/**}", "/v1/operations/{operationsPath}");
        check("/v1/{name=**}", "/v1/{namePath}");
        check("/v1/{name=*/*}", "/v1/{v1Id}/{segmentId}");
        check("/v1/*/x/*", "/v1/{v1Id}/x/{xId}");
        check("/a/{x=a/*}/a/*", "/a/a/{aId}/a/{aId2}");
        check("/{name=data-sets/*}", "/data-sets/{dataSetsId}");
        check("/v1/{name=a/**/b/*}:x", "/v1/a/{aPath}/b/{bId}:x");
    }

    #[test]
    fn paths_of_one_shape_have_one_set_of_names() {
        let (first, mut second) = (path("/v1/{book.name}/{a=b/*/c}"), path("/v1/{name}/{x=b/*}/c"));
        assert_eq!(first.shape(), second.shape());
        second.rename(&first);
        assert_eq!(first.text(), second.text());
        assert_ne!(path("/v1/{x}").shape(), path("/v1/{x=**}").shape());
        assert_ne!(path("/v1/{x}").shape(), path("/v1/{x}:y").shape());
    }

    #[test]
    fn a_part_tells_the_whole() {
        let path = path("/v1/{name=a/*/b/**}");
        let wholes: Vec<_> = path.parameters().map(|parameter| parameter.role.clone()).collect();
        let whole = "a/{aId}/b/{bPath}".to_owned();
        assert_eq!(wholes, [Role::Part(whole.clone()), Role::Many(Some(whole))]);
    }
}
