//! A field mask as people write it.
//!
//! ```text
//! Mask       = Path { "," Path }                          either all begin with "-" or none does
//! Path       = [ "-" ] Name { "." Name }                  blanks around it mean nothing
//! Name       = Identifier | "[" Identifier { "." Identifier } "]"           the latter: an extension
//! Identifier = ( letter | "_" ) { letter | digit | "_" }
//! ```
//!
//! Names are those of the `.proto` file, as in `google.protobuf.FieldMask`. A path that another one has
//! in it already is refused: `order,order.id` would show all of `order`, which nobody means who writes it.

use std::ops::Range;

/// How many paths a mask may have.
pub const PATHS_MAX: usize = 256;
/// How many names a path may have.
pub const DEPTH_MAX: usize = 32;

/// Paths to fields, and whether they are those that are shown or those that are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    pub mode: Mode,
    /// At least one; none is within another.
    pub paths: Vec<Path>,
}

/// What the paths of a mask are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is shown but these.
    Include,
    /// Everything is shown but these.
    Exclude,
}

/// A field, named from the message down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Without brackets taken off: an extension is `[full.name]`, as its plan has it.
    pub names: Vec<String>,
    /// Where it begins in the text of the mask, in bytes.
    pub offset: usize,
}

/// What is wrong with a mask, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct MaskError {
    /// In bytes from the beginning of the text.
    pub offset: usize,
    pub problem: MaskProblem,
}

/// What is wrong with a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskProblem {
    #[error("expected a path such as `order.id`, found none")]
    Empty,
    #[error("expected the name of a field, found `{0}`")]
    Name(String),
    #[error("expected `,`, found `{0}`")]
    Rest(String),
    #[error("either every path begins with `-` or none does")]
    Mixed,
    #[error("`{path}` is within `{other}` already")]
    Within { path: String, other: String },
    #[error("more than {PATHS_MAX} paths")]
    Paths,
    #[error("more than {DEPTH_MAX} names in a path")]
    Depth,
}

impl Mask {
    /// Reads the text of a mask.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, in the order of the text.
    pub fn parse(text: &str) -> Result<Self, Vec<MaskError>> {
        let mut errors = Vec::new();
        let mut mode = None;
        let mut paths = Vec::new();
        for (offset, piece) in pieces(text) {
            if paths.len() == PATHS_MAX {
                return Err(vec![MaskError { offset, problem: MaskProblem::Paths }]);
            }
            let (own, names) = match piece.strip_prefix('-') {
                Some(names) => (Mode::Exclude, names),
                None => (Mode::Include, piece),
            };
            if *mode.get_or_insert(own) != own {
                errors.push(MaskError { offset, problem: MaskProblem::Mixed });
            }
            match self::names(names) {
                Ok(names) => paths.push(Path { names, offset }),
                Err((at, problem)) => {
                    errors.push(MaskError { offset: offset + piece.len() - names.len() + at, problem });
                }
            }
        }
        errors.extend(within(&paths));
        errors.sort_by_key(|error| error.offset);
        match mode {
            Some(mode) if errors.is_empty() => Ok(Self { mode, paths }),
            _ => Err(errors),
        }
    }
}

impl Path {
    /// As it is written, without the sign.
    pub fn text(&self) -> String {
        self.names.join(".")
    }
}

/// What stands between commas, without blanks around it, and where it begins.
fn pieces(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    text.split(',').map(move |piece| {
        let trimmed = piece.trim_start();
        let offset = start + piece.len() - trimmed.len();
        start += piece.len() + 1;
        (offset, trimmed.trim_end())
    })
}

/// The names of a path, or where and why it is none.
fn names(text: &str) -> Result<Vec<String>, (usize, MaskProblem)> {
    if text.is_empty() {
        return Err((0, MaskProblem::Empty));
    }
    let mut names = Vec::new();
    let mut rest = text;
    loop {
        let at = text.len() - rest.len();
        let Some(name) = name(rest) else { return Err((at, MaskProblem::Name(shown(rest)))) };
        if names.len() == DEPTH_MAX {
            return Err((at, MaskProblem::Depth));
        }
        names.push(name.to_owned());
        rest = &rest[name.len()..];
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Ok(names),
            None => return Err((text.len() - rest.len(), MaskProblem::Rest(shown(rest)))),
        }
    }
}

/// The name that a text begins with.
fn name(text: &str) -> Option<&str> {
    let Some(inner) = text.strip_prefix('[') else {
        return text.get(identifier(text)?);
    };
    let end = inner.find(']')?;
    let is_full_name = inner.get(..end)?.split('.').all(|part| identifier(part) == Some(0..part.len()));
    is_full_name.then(|| text.get(..end + 2))?
}

/// Where the identifier ends that a text begins with.
fn identifier(text: &str) -> Option<Range<usize>> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let begins = text.bytes().next().is_some_and(is_letter);
    let length = text.bytes().take_while(|byte| is_letter(*byte) || byte.is_ascii_digit()).count();
    begins.then_some(0..length)
}

/// Enough of a text to find it.
fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 32;
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Paths that others have in them.
fn within(paths: &[Path]) -> Vec<MaskError> {
    // Sorted, a path stands behind its beginnings, with nothing between that does not begin so too.
    let mut sorted: Vec<&Path> = paths.iter().collect();
    sorted.sort_by(|left, right| left.names.cmp(&right.names));
    let mut errors = Vec::new();
    let mut outer: Option<&Path> = None;
    for path in sorted {
        match outer {
            Some(other) if path.names.starts_with(&other.names) => {
                let problem = MaskProblem::Within { path: path.text(), other: other.text() };
                errors.push(MaskError { offset: path.offset, problem });
            }
            _ => outer = Some(path),
        }
    }
    errors
}
