//! A path template of `google.api.http`, parsed once and never looked at as text again.
//!
//! ```text
//! Template  = "/" | "/" Segments [ Verb ] ;
//! Segments  = Segment { "/" Segment } ;
//! Segment   = "*" | "**" | LITERAL | Variable ;
//! Variable  = "{" FieldPath [ "=" Segments ] "}" ;     no variable within a variable
//! FieldPath = IDENT { "." IDENT } ;
//! Verb      = ":" LITERAL ;
//! LITERAL   = one or more path characters of RFC 3986 but ":" and "*", or beyond ASCII ;
//! ```
//!
//! At most one `**`, anywhere: what follows it is then a fixed number of segments. Literals are kept in
//! the normal form of [`percent`], in which paths are compared.

use std::borrow::Cow;
use std::fmt;

use super::percent;

/// Segments of a template, and by default of a path.
pub(super) const SEGMENTS_MAX: usize = 64;

/// Names in the field path of a variable.
pub(super) const FIELD_PATH_MAX: usize = 32;

/// A parsed path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    pub segments: Vec<Segment>,
    pub variables: Vec<Variable>,
    /// In normal form, without the colon.
    pub verb: Option<Box<str>>,
}

/// What one path segment must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// In normal form.
    Literal(Box<str>),
    /// `*`: one segment.
    One,
    /// `**`: any number of segments, none included.
    Many,
}

/// A field of the request that takes the text of some segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Dotted, as written.
    pub path: Box<str>,
    /// The first of its segments.
    pub start: usize,
    /// One past its last segment.
    pub end: usize,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct TemplateError {
    /// In characters, from 1.
    pub column: usize,
    pub reason: Cow<'static, str>,
}

impl PathTemplate {
    /// Parses a template; the error tells the column and what was expected there.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser { text, at: 0, template: Self::empty(), in_variable: false };
        parser.template()?;
        Ok(parser.template)
    }

    const fn empty() -> Self {
        Self { segments: Vec::new(), variables: Vec::new(), verb: None }
    }

    /// Where the `**` stands.
    pub fn many(&self) -> Option<usize> {
        self.segments.iter().position(|segment| *segment == Segment::Many)
    }
}

/// The shape alone, by which two templates are the same route: variables are gone.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            f.write_str("/")?;
        }
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::One => f.write_str("/*")?,
                Segment::Many => f.write_str("/**")?,
            }
        }
        self.verb.iter().try_for_each(|verb| write!(f, ":{verb}"))
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes, on a character boundary.
    at: usize,
    template: PathTemplate,
    in_variable: bool,
}

impl Parser<'_> {
    fn template(&mut self) -> Result<(), TemplateError> {
        if !self.eat("/") {
            return Err(self.expected("`/`"));
        }
        if self.at_end() {
            return Ok(());
        }
        self.segments()?;
        if self.eat(":") {
            let verb = self.literal("a verb")?;
            self.template.verb = Some(verb);
        }
        if self.at_end() { Ok(()) } else { Err(self.expected(self.continuation())) }
    }

    /// What may stand where a template goes on with something else.
    fn continuation(&self) -> &'static str {
        match (self.template.verb.is_some(), self.in_variable) {
            (true, _) => "the end of the template",
            (false, true) => "`/` or `}`",
            (false, false) => "`/`, `:` or the end of the template",
        }
    }

    fn segments(&mut self) -> Result<(), TemplateError> {
        loop {
            self.segment()?;
            if !self.eat("/") {
                return Ok(());
            }
        }
    }

    fn segment(&mut self) -> Result<(), TemplateError> {
        if self.peek() == Some('{') {
            return self.variable();
        }
        if self.template.segments.len() == SEGMENTS_MAX {
            return Err(self.error(format!("more than {SEGMENTS_MAX} segments")));
        }
        let start = self.at;
        let segment = if self.eat("**") {
            if self.template.many().is_some() {
                return Err(self.error_at(start, "a second `**`"));
            }
            Segment::Many
        } else if self.eat("*") {
            Segment::One
        } else {
            Segment::Literal(self.literal("a segment")?)
        };
        self.template.segments.push(segment);
        Ok(())
    }

    fn variable(&mut self) -> Result<(), TemplateError> {
        if self.in_variable {
            return Err(self.error("a variable within a variable"));
        }
        self.eat("{");
        let path_start = self.at;
        self.field_path()?;
        let path: Box<str> = self.text[path_start..self.at].into();
        if self.template.variables.iter().any(|variable| variable.path == path) {
            return Err(self.error_at(path_start, format!("`{path}` is captured twice")));
        }
        let start = self.template.segments.len();
        if self.eat("=") {
            self.in_variable = true;
            self.segments()?;
        } else if start == SEGMENTS_MAX {
            return Err(self.error(format!("more than {SEGMENTS_MAX} segments")));
        } else {
            self.template.segments.push(Segment::One);
        }
        if !self.eat("}") {
            return Err(self.expected(if self.in_variable { "`/` or `}`" } else { "`.`, `=` or `}`" }));
        }
        self.in_variable = false;
        let end = self.template.segments.len();
        self.template.variables.push(Variable { path, start, end });
        Ok(())
    }

    fn field_path(&mut self) -> Result<(), TemplateError> {
        for _ in 0..FIELD_PATH_MAX {
            let is_identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !self.peek().is_some_and(|c| is_identifier(c) && !c.is_ascii_digit()) {
                return Err(self.expected("a field name"));
            }
            self.eat_while(is_identifier);
            if !self.eat(".") {
                return Ok(());
            }
        }
        Err(self.error(format!("more than {FIELD_PATH_MAX} names in a field path")))
    }

    /// A literal in normal form; `what` is the role it has here.
    fn literal(&mut self, what: &str) -> Result<Box<str>, TemplateError> {
        let start = self.at;
        self.eat_while(is_literal);
        let literal = &self.text[start..self.at];
        if literal.is_empty() {
            return Err(self.expected(what));
        }
        match percent::check(literal) {
            Ok(()) => Ok(percent::normal(literal).into()),
            Err(error) => Err(self.error_at(start + error.at, error.fault.to_string())),
        }
    }

    fn at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn eat_while(&mut self, accepts: impl Fn(char) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.find(|c| !accepts(c)).unwrap_or(rest.len());
    }

    fn expected(&self, what: &str) -> TemplateError {
        match self.peek() {
            Some(found) => self.error(format!("expected {what}, found `{}`", found.escape_debug())),
            None => self.error(format!("expected {what}")),
        }
    }

    fn error(&self, reason: impl Into<Cow<'static, str>>) -> TemplateError {
        self.error_at(self.at, reason)
    }

    fn error_at(&self, at: usize, reason: impl Into<Cow<'static, str>>) -> TemplateError {
        TemplateError { column: self.text[..at].chars().count() + 1, reason: reason.into() }
    }
}

/// RFC 3986 `pchar` without `:` and `*`, which are syntax here; beyond ASCII as in an IRI.
fn is_literal(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()+,;=@".contains(c) || (!c.is_ascii() && !c.is_control())
}
