//! Where descriptors come from: sets on disk, `.proto` files, a backend's reflection.
//!
//! ```text
//! Source → one or more schema::Input (a descriptor set each) → schema::load joins and checks them
//! ```
//!
//! Every source is read even when one before it failed, so that all errors are reported at once. Only
//! reflection waits on a network; files are read in place, which is fine at the start and in a reload.

pub mod changes;
mod file;
mod proto;
mod reflection;
pub mod watched;
pub mod web;

use std::collections::HashMap;
use std::path::PathBuf;

use bytes::Bytes;
use thiserror::Error;

use crate::schema::{self, Input, Schema, SchemaError};

pub use reflection::ReflectionTls;

/// One place to read descriptors from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Descriptor sets: files, or directories that are searched for them.
    Sets(Vec<PathBuf>),
    /// `.proto` files, or directories that are searched for them. Without `includes`, imports are looked
    /// up from the given directories and from where the given files lie.
    Protos { paths: Vec<PathBuf>, includes: Vec<PathBuf> },
    /// gRPC server reflection at an `http://host:port` URL, or at an `https://host:port` one.
    Reflection { url: String, tls: ReflectionTls },
    /// A descriptor set that is part of this program.
    Embedded { name: &'static str, set: &'static [u8] },
}

/// A problem, and the source it came from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem}")]
pub struct SourceError {
    /// Index in the list of sources; none for what shows only when the sets are joined.
    pub source_index: Option<usize>,
    pub problem: SourceProblem,
}

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SourceProblem {
    #[error("`{path}`: {reason}")]
    Unreadable { path: String, reason: String },
    #[error("`{path}`: larger than {max} bytes")]
    TooLarge { path: String, max: u64 },
    #[error("`{path}`: no file that ends in {expected}")]
    NothingInDirectory { path: String, expected: String },
    #[error("`{path}`: a .proto file is not a descriptor set, give it as a proto source")]
    ProtoIsNoSet { path: String },
    #[error("{0}")]
    Proto(String),
    #[error("reflection at `{url}`: {reason}")]
    Reflection { url: String, reason: String },
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// What all sources hold.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    inputs: Vec<Input>,
    /// What backends have said, by URL: it is believed for as long as they cannot be asked again.
    fetched: HashMap<String, Input>,
    /// Files that were read, and directories that were searched.
    pub files: Vec<PathBuf>,
    /// Backends that could not be asked, where what they said before stands in.
    pub outdated: Vec<SourceError>,
}

/// Reads all sources and loads what they hold.
///
/// # Errors
///
/// Every problem of every source; when all could be read, every problem of the joined set.
pub async fn load(sources: &[Source]) -> Result<Schema, Vec<SourceError>> {
    read(sources, &Contents::default()).await?.load()
}

/// Reads all sources. A backend that cannot be asked is taken at what it said `before`.
///
/// # Errors
///
/// Every problem of every source.
pub async fn read(sources: &[Source], before: &Contents) -> Result<Contents, Vec<SourceError>> {
    let mut contents = Contents::default();
    let mut errors = Vec::new();
    for (source, index) in sources.iter().zip(0..) {
        let located = |problem| SourceError { source_index: Some(index), problem };
        let mut problems = Vec::new();
        match source {
            Source::Sets(paths) => {
                contents.files.extend(file::places(paths));
                contents.inputs.extend(file::read(paths, &mut problems));
            }
            Source::Protos { paths, includes } => {
                contents.files.extend(file::places(paths));
                contents.inputs.extend(proto::compile(paths, includes, &mut contents.files, &mut problems));
            }
            Source::Embedded { name, set } => {
                contents.inputs.push(Input { name: (*name).to_owned(), bytes: Bytes::from_static(set) });
            }
            Source::Reflection { url, tls } => {
                contents.files.extend(tls.files().cloned());
                let fetched = reflection::fetch(url, tls, &reflection::Bounds::default()).await;
                let failed = |reason| SourceProblem::Reflection { url: url.clone(), reason };
                let input = match (fetched, before.fetched.get(url)) {
                    (Ok(input), _) => Some(input),
                    (Err(reasons), Some(input)) => {
                        contents.outdated.extend(reasons.into_iter().map(failed).map(located));
                        Some(input.clone())
                    }
                    (Err(reasons), None) => {
                        problems.extend(reasons.into_iter().map(failed));
                        None
                    }
                };
                if let Some(input) = input {
                    contents.fetched.insert(url.clone(), input.clone());
                    contents.inputs.push(input);
                }
            }
        }
        errors.extend(problems.into_iter().map(located));
    }
    if errors.is_empty() { Ok(contents) } else { Err(errors) }
}

impl Contents {
    /// Loads what was read.
    ///
    /// # Errors
    ///
    /// Every problem of the joined set.
    pub fn load(&self) -> Result<Schema, Vec<SourceError>> {
        schema::load(&self.inputs).map_err(|problems| {
            let located = |problem: SchemaError| SourceError { source_index: None, problem: problem.into() };
            problems.into_iter().map(located).collect()
        })
    }

    /// The bytes of every source, in their order.
    pub fn bytes(&self) -> impl Iterator<Item = &Bytes> {
        self.inputs.iter().map(|input| &input.bytes)
    }
}
