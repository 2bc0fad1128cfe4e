//! Findings: what is wrong with a configuration or what it names, each with `file:line:column`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::shape::Shape;
use super::yaml::Node;

/// One problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The configuration file as it was named; `None` when flags were used instead.
    pub file: Option<Arc<str>>,
    /// `None` where the problem has no single place in the file.
    pub position: Option<Position>,
    pub severity: Severity,
    pub message: String,
}

/// Whether a finding keeps the gateway from serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    /// Allowed, and yet likely a mistake.
    Warning,
}

/// A place in the configuration file, both counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Severity {
    /// The word that programs read.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(Position { line, column }) = self.position {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Whether one of the findings keeps the gateway from serving.
pub fn is_fatal(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

/// A list of `{file, line, column, severity, message}`; what is not known is absent.
pub fn as_json(findings: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let mut object = json!({ "message": finding.message, "severity": finding.severity.name() });
        if let Some(file) = &finding.file {
            object["file"] = json!(**file);
        }
        if let Some(position) = finding.position {
            object["line"] = json!(position.line);
            object["column"] = json!(position.column);
        }
        object
    };
    findings.iter().map(one).collect()
}

/// One finding a line.
pub(crate) fn lines(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Collects the findings of one file while its sections are read.
#[derive(Debug)]
pub(super) struct Report {
    file: Arc<str>,
    directory: PathBuf,
    /// The text of the file.
    source: String,
    findings: Vec<Finding>,
    follows_secrets: bool,
    /// Files that references to secrets lead to.
    secret_files: Vec<PathBuf>,
    /// Everything that is to be read behind some path.
    files: Vec<PathBuf>,
    /// What readers draw instead of reading.
    shapes: Vec<Shape>,
}

impl Report {
    pub(super) fn new(file: &Path) -> Self {
        Self {
            file: file.display().to_string().into(),
            directory: file.parent().unwrap_or(Path::new("")).to_owned(),
            source: String::new(),
            findings: Vec::new(),
            follows_secrets: true,
            secret_files: Vec::new(),
            files: Vec::new(),
            shapes: Vec::new(),
        }
    }

    /// Keeps the text that is read, for places within values.
    pub(super) fn read_from(&mut self, source: &str) {
        source.clone_into(&mut self.source);
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn add(&mut self, position: Position, message: impl Into<String>) {
        self.push(position, Severity::Error, message.into());
    }

    /// Something that is allowed, and yet likely a mistake.
    pub(super) fn warn(&mut self, position: Position, message: impl Into<String>) {
        self.push(position, Severity::Warning, message.into());
    }

    fn push(&mut self, position: Position, severity: Severity, message: String) {
        let file = Some(Arc::clone(&self.file));
        self.findings.push(Finding { file, position: Some(position), severity, message });
    }

    /// Draws what a reader expects.
    pub(super) fn draw(&mut self, shape: Shape) {
        self.shapes.push(shape);
    }

    /// What `reader` draws.
    pub(super) fn drawn(&mut self, reader: impl FnOnce(&Node, &mut Self)) -> Vec<Shape> {
        let around = std::mem::take(&mut self.shapes);
        reader(&Node::unwritten(), self);
        std::mem::replace(&mut self.shapes, around)
    }

    /// Whether references to secrets are followed.
    pub(super) fn follow_secrets(&mut self, follows: bool) {
        self.follows_secrets = follows;
    }

    pub(super) fn follows_secrets(&self) -> bool {
        self.follows_secrets
    }

    /// Notes a file that a reference to a secret leads to.
    pub(super) fn led_to(&mut self, path: PathBuf) {
        self.secret_files.push(path);
    }

    pub(super) fn take_secret_files(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.secret_files)
    }

    /// A path as the file means it: relative to the file's own directory.
    pub(super) fn path(&mut self, text: &str) -> PathBuf {
        let path = self.directory.join(text);
        self.files.push(path.clone());
        path
    }

    /// Reads a section whose paths are written to, and lead to nothing that is read.
    pub(super) fn written<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.files.len();
        let section = read(self);
        self.files.truncate(known);
        section
    }

    pub(super) fn take_files(&mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.files)
    }

    /// In the order of the file: sections are read in ours.
    pub(super) fn into_findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| finding.position);
        self.findings
    }
}
