//! `.proto` files, compiled in process by protox: no protoc needed.
//!
//! Imports are found in the include paths, then among the files that Transom brings along
//! (`google/api/annotations.proto` and its kin), then among protobuf's well-known types.

use std::path::{Path, PathBuf};

use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use super::SourceProblem;
use super::file::{expand, has_ending};
use crate::schema::Input;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        /// Files of `proto/`, by the name they are imported under.
        const EMBEDDED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/proto/", $name)))),*];
    };
}

embedded! {
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/api/httpbody.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "transom/graphql.proto",
}

/// Compiles every file; the set that results is left out when a file fails. What was read, imports too, is added to
/// `read`.
pub(super) fn compile(
    paths: &[PathBuf],
    includes: &[PathBuf],
    read: &mut Vec<PathBuf>,
    problems: &mut Vec<SourceProblem>,
) -> Option<Input> {
    let known = problems.len();
    let files = expand(paths, |path| has_ending(path, "proto"), ".proto", problems);
    let mut resolver = ChainFileResolver::new();
    for include in include_paths(paths, includes) {
        resolver.add(IncludeFileResolver::new(include));
    }
    resolver.add(Embedded);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for file in &files {
        if let Err(error) = compiler.open_file(file) {
            // The `Debug` form of protox's error is the one that begins with file:line:column.
            let problem = SourceProblem::Proto(format!("{error:?}"));
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    read.extend(compiler.files().filter_map(|file| file.path().map(Path::to_owned)));
    (problems.len() == known && !files.is_empty()).then(|| Input {
        name: paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
        bytes: compiler.encode_file_descriptor_set().into(),
    })
}

fn include_paths(paths: &[PathBuf], includes: &[PathBuf]) -> Vec<PathBuf> {
    if !includes.is_empty() {
        return includes.to_vec();
    }
    let mut roots: Vec<PathBuf> = Vec::new();
    for path in paths {
        let root = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        // The parent of a bare file name is the empty path.
        let root = root.filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !roots.iter().any(|other| other == root) {
            roots.push(root.to_owned());
        }
    }
    roots
}

#[derive(Debug)]
struct Embedded;

impl FileResolver for Embedded {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match EMBEDDED.iter().find(|(file, _)| *file == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}
