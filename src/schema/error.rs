//! Everything that can be wrong with descriptors, one line of text each.
//!
//! Loading goes on after a problem and reports all of them: where one makes others inevitable (a missing
//! import hides the types that it would have brought), the others are left out. A hostile set could hold
//! millions, so the list ends after [`PROBLEMS_MAX`].

use thiserror::Error;

/// The number of problems after which the rest is only counted.
pub const PROBLEMS_MAX: usize = 1000;

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{file}`: {}{problem}", quoted_prefix(.name))]
pub struct SchemaError {
    /// The `.proto` file as named in the set, or the input when the problem is above the files.
    pub file: String,
    /// The full name of the declaration; empty for the file itself.
    pub name: String,
    pub problem: Problem,
}

fn quoted_prefix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("`{name}`: ") }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    // Above the files.
    #[error("broken gzip data: {0}")]
    Gzip(String),
    #[error("decompresses to more than {max} bytes")]
    TooLarge { max: u64 },
    #[error("not a descriptor set: {0}")]
    NotASet(String),
    #[error("holds no files")]
    NoFiles,
    #[error("file {index} of the set: {reason}")]
    BrokenFile { index: usize, reason: String },
    #[error("file {index} of the set has no name")]
    UnnamedFile { index: usize },
    #[error("`{second}` has a different file of this name than `{first}`")]
    Differs { first: String, second: String },
    #[error("{0} more problems")]
    More(usize),

    // Files and imports.
    #[error("unknown syntax `{0}`, expected `proto2`, `proto3` or `editions`")]
    UnknownSyntax(String),
    #[error("edition {0} is not supported, expected 2023 or 2024")]
    UnknownEdition(String),
    #[error("`editions` syntax without an edition")]
    NoEdition,
    #[error("invalid package name `{0}`")]
    PackageName(String),
    #[error("import `{0}` is missing from the set, make it with its imports included")]
    MissingImport(String),
    #[error("import `{0}` is listed twice")]
    DuplicateImport(String),
    #[error("imports itself: {0}")]
    ImportCycle(String),
    #[error("{list} index {index} is out of range, there are {imports} imports")]
    ImportIndex { list: &'static str, index: i32, imports: usize },
    #[error("public imports add up to more than {max} names of files")]
    PublicImports { max: usize },

    // Names.
    #[error("{what} {index} has no name")]
    Unnamed { what: &'static str, index: usize },
    #[error("invalid name `{0}`, expected letters, digits and `_`")]
    InvalidName(String),
    #[error("already defined in `{0}`")]
    Duplicate(String),
    #[error("the name `{0}` is declared twice")]
    DuplicateName(String),
    #[error("`{name}` is not defined")]
    Unresolved { name: String },
    #[error("`{name}` is defined in `{file}`, which is not imported")]
    NotImported { name: String, file: String },
    #[error("`{name}` is {found}, expected {expected}")]
    WrongKind { name: String, found: &'static str, expected: &'static str },
    #[error("options are malformed: {0}")]
    Options(String),
    #[error("nested more than {max} deep")]
    TooDeep { max: usize },

    // Messages and fields.
    #[error("no number")]
    NoNumber,
    #[error("number {0} is out of range, expected 1 to 536870911")]
    NumberRange(i32),
    #[error("number {0} is in the range 19000 to 19999, which protobuf keeps for itself")]
    NumberKept(i32),
    #[error("number {number} is already used by `{other}`")]
    DuplicateNumber { number: i32, other: String },
    #[error("number {0} is reserved")]
    NumberReserved(i32),
    #[error("the name is reserved")]
    NameReserved,
    #[error("number {0} is in an extension range")]
    NumberInExtensionRange(i32),
    #[error("`{message}` has no extension range for number {number}")]
    NumberNotExtensible { message: String, number: i32 },
    #[error("invalid {what} range {start} to {end}")]
    Range { what: &'static str, start: i32, end: i32 },
    #[error("{what} ranges {first} and {second} overlap")]
    RangeOverlap { what: &'static str, first: String, second: String },
    #[error("JSON name `{json}` is already used by `{other}`")]
    JsonName { json: String, other: String },
    #[error("unknown label {0}")]
    UnknownLabel(i32),
    #[error("unknown type {0}")]
    UnknownType(i32),
    #[error("no type")]
    NoType,
    #[error("{0} field without a type name")]
    NoTypeName(&'static str),
    #[error("type name `{0}` on a scalar field")]
    TypeNameOnScalar(String),
    #[error("{0} is not allowed in {1}")]
    NotAllowed(&'static str, &'static str),
    #[error("oneof index {index} is out of range, there are {oneofs}")]
    OneofIndex { index: i32, oneofs: usize },
    #[error("a oneof member must be optional")]
    OneofLabel,
    #[error("a oneof without fields")]
    EmptyOneof,
    #[error("a field with an extendee outside of the extensions")]
    StrayExtendee,
    #[error("an extension without an extendee")]
    NoExtendee,
    #[error("invalid default value `{0}`")]
    DefaultValue(String),
    #[error("malformed map entry: {0}")]
    MapEntry(&'static str),
    #[error("feature {feature} has the unknown value {value}")]
    UnknownFeature { feature: &'static str, value: i32 },
    #[error("feature {feature} {reason}")]
    Feature { feature: &'static str, reason: &'static str },

    // Enums and services.
    #[error("an enum without values")]
    EmptyEnum,
    #[error("the first value of an open enum must be 0")]
    FirstValue,
    #[error("no {0} type")]
    NoMethodType(&'static str),

    #[error("`{0}` is not the one of protobuf")]
    NotProtobufs(String),
    #[error("{0}")]
    Pool(String),
}

/// Collects problems up to [`PROBLEMS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<SchemaError>,
    more: usize,
}

impl Problems {
    pub(super) fn add(&mut self, file: &str, name: &str, problem: Problem) {
        let error = SchemaError { file: file.to_owned(), name: name.to_owned(), problem };
        // A method that takes and returns the same missing type says so once.
        if self.list.last() == Some(&error) {
            return;
        }
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(error);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) fn into_list(mut self) -> Vec<SchemaError> {
        if self.more > 0 {
            let file = self.list.last().map(|error| error.file.clone()).unwrap_or_default();
            let problem = Problem::More(self.more);
            self.list.push(SchemaError { file, name: String::new(), problem });
        }
        self.list
    }
}
