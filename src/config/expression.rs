//! An expression in the file, with the place of every byte of it: findings about it come long after it was
//! read, when the descriptors are there.
//!
//! YAML gives text back without quotes, escapes, folding and indentation; where a byte of it stood is found by
//! walking along the source once more. What cannot be followed counts as standing where the value begins.

use super::finding::{Position, Report};
use super::shape::Shape;
use super::value;
use super::yaml::{Node, Value};

/// The text of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    pub text: String,
    /// Where the value begins in the file.
    pub position: Position,
    /// Bytes of the text from which on the columns count up, and where they stand.
    places: Vec<(usize, Position)>,
}

impl Expression {
    pub(super) fn read(expected: &str, node: &Node, report: &mut Report) -> Option<Self> {
        if let Value::Unwritten = node.value {
            report.draw(Shape::Words(expected.to_owned()));
            return None;
        }
        Self::text(node, report)
    }

    /// Reads any text whose parts findings may be about.
    pub(super) fn text(node: &Node, report: &mut Report) -> Option<Self> {
        let text = value::text(node, report)?;
        let places = places(report.source(), node.position, &text);
        Some(Self { text, position: node.position, places })
    }

    /// Where a byte of the text stands in the file.
    pub fn position_of(&self, offset: usize) -> Position {
        let Some((start, place)) = self.places.iter().rev().find(|(start, _)| *start <= offset) else {
            return self.position;
        };
        let between = self.text.get(*start..offset).map_or(0, |text| text.chars().count());
        let between = u32::try_from(between).unwrap_or(u32::MAX);
        Position { line: place.line, column: place.column.saturating_add(between) }
    }
}

/// Follows `text` through the source from where its value begins.
fn places(source: &str, begin: Position, text: &str) -> Vec<(usize, Position)> {
    let mut walk = Walk::to(source, begin);
    let quote = walk.peek();
    match quote {
        Some('\'' | '"') => walk.step(),
        Some('|' | '>') => {
            while walk.peek().is_some_and(|character| character != '\n') {
                walk.step();
            }
            walk.blanks();
        }
        _ => {}
    }
    let mut places: Vec<(usize, Position)> = Vec::new();
    // Where the next character stands if nothing comes between.
    let mut next = None;
    for (offset, character) in text.char_indices() {
        // Blanks of the source that the text has not: the rest of a fold, the indentation of a line.
        if !character.is_whitespace() {
            walk.blanks();
        }
        if quote == Some('"') && walk.peek() == Some('\\') {
            walk.step();
        }
        let is_folded = character.is_whitespace() && walk.peek() != Some(character);
        if !is_folded && walk.peek() != Some(character) {
            break;
        }
        if next != Some(walk.position) {
            places.push((offset, walk.position));
        }
        if is_folded {
            next = None;
            continue;
        }
        walk.step();
        next = Some(walk.position);
        if quote == Some('\'') && character == '\'' {
            walk.step();
        }
    }
    places
}

struct Walk<'s> {
    rest: &'s str,
    position: Position,
}

impl<'s> Walk<'s> {
    fn to(source: &'s str, position: Position) -> Self {
        let mut walk = Self { rest: source, position: Position { line: 1, column: 1 } };
        while walk.position < position && walk.peek().is_some() {
            walk.step();
        }
        walk
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn step(&mut self) {
        let Some(character) = self.peek() else { return };
        self.rest = &self.rest[character.len_utf8()..];
        if character == '\n' {
            self.position = Position { line: self.position.line.saturating_add(1), column: 1 };
        } else {
            self.position.column = self.position.column.saturating_add(1);
        }
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_found_in_the_file() {
        // The place of `@` in the file is that of `@` in the text.
        #[track_caller]
        fn check(source: &str) {
            let root = crate::config::yaml::parse(source).expect("YAML");
            let Value::Map(entries) = &root.value else { panic!("{source}: no mapping") };
            let mut report = Report::new(std::path::Path::new("f"));
            report.read_from(source);
            let expression = Expression::read("text", &entries[0].1, &mut report).expect("text");
            let found = expression.position_of(expression.text.find('@').expect("a mark"));
            let before = source.split('@').next().expect("a mark");
            let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
            assert_eq!(
                (found.line as usize, found.column as usize),
                (before.lines().count().max(1), column),
                "{source:?}"
            );
        }
        check("a: b @");
        check("a: '@'");
        check("a: 'b @'");
        check("a: '\"é\" == @'");
        check("a: 'it''s @'");
        check("a: '''@'''");
        check("a: \"b @\"");
        check("a: \"\\\"b\\\" @\"");
        check("a: |\n  @");
        check("a: |\n  b\n  @");
        check("a: |\n  b &&\n    c @\n");
        check("a: >-\n  b\n  @");
        check("a: >\n  b &&\n  c ||\n  @ d");
        check("a: b\n  @");
        check("a: 'b\n  c @'");
        check("a: \"b\n  c @\"");
        check("- 1\na: b @".trim_start_matches("- 1\n"));
    }

    #[test]
    fn what_cannot_be_followed_stands_at_the_beginning() {
        let source = "a: \"\\u0040 b\"";
        let position = Position { line: 1, column: 4 };
        let places = places(source, position, "@ b");
        let expression = Expression { text: "@ b".to_owned(), position, places };
        assert_eq!(expression.position_of(2), position);
    }
}
