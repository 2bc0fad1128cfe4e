//! The documents that an operator trusts: a manifest or a folder, read and checked when the gateway loads.
//!
//! ```text
//! {"HASH": "document"}  |  Apollo's persisted query manifest  |  a folder of .graphql files
//! ```
//!
//! Each is found by its name (the key, `id` or the file's stem) and by the SHA-256 of its text. What is wrong with any
//! of them is told at once, with file, line and column.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::config::aggregates;
use crate::config::graphql::Graphql;
use crate::graphql::document::{Bounds, Document};
use crate::graphql::model::Model;
use crate::graphql::persisted::sha256;
use crate::schema::Schema;

/// More documents, or a longer manifest, are no list that somebody keeps.
const DOCUMENTS_MAX: usize = 10_000;
const MANIFEST_BYTES_MAX: u64 = 64 << 20;

/// One document, and where it stands.
struct Written {
    name: String,
    /// The file, and for a manifest the entry.
    place: String,
    text: String,
}

/// Apollo's `generate-persisted-query-manifest`, version 1.
#[derive(Deserialize)]
struct ApolloManifest {
    format: String,
    version: u32,
    operations: Vec<ApolloOperation>,
}

#[derive(Deserialize)]
struct ApolloOperation {
    id: String,
    body: String,
}

/// The files that the documents of a surface are read from, for who looks for changes.
pub(super) fn files(file: &Graphql) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some((path, _)) = &file.persisted.manifest {
        files.push(path.clone());
        files.extend(folder(path).unwrap_or_default());
    }
    files.extend(file.routes.iter().filter_map(|route| match &route.document {
        aggregates::Document::File(path) => Some(path.clone()),
        aggregates::Document::Text(_) => None,
    }));
    files
}

/// Reads and checks what a surface trusts.
///
/// # Errors
///
/// Everything that is wrong, in words, each with its place.
pub(super) fn read(
    path: &Path,
    model: &Model,
    schema: &Schema,
    bounds: &Bounds,
) -> Result<HashMap<Box<str>, Arc<Document>>, Vec<String>> {
    let written = if path.is_dir() { read_folder(path) } else { read_manifest(path) };
    let (mut trusted, mut wrong) = (HashMap::new(), Vec::new());
    for Written { name, place, text } in written.map_err(|message| vec![message])? {
        match Document::read(&text, model, schema, bounds) {
            Ok(document) => {
                let document = Arc::new(document);
                trusted.insert(sha256(&text).into(), Arc::clone(&document));
                let name = name.strip_prefix("sha256:").map_or(name.as_str(), |digits| digits);
                trusted.insert(name.into(), document);
            }
            Err(problems) => {
                wrong.extend(problems.into_iter().map(|problem| match problem.locations.first() {
                    Some(at) => format!("`{place}`:{}:{}: {problem}", at.line, at.column),
                    None => format!("`{place}`: {problem}"),
                }))
            }
        }
    }
    if wrong.is_empty() { Ok(trusted) } else { Err(wrong) }
}

/// The documents of a folder, in the order of their names.
fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "graphql" || extension == "gql") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_folder(path: &Path) -> Result<Vec<Written>, String> {
    let files = folder(path).map_err(|error| format!("`{}`: {error}", path.display()))?;
    bounded(path, files.len())?;
    let read = |file: PathBuf| {
        let place = file.display().to_string();
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Written { name, text: text(&file)?, place })
    };
    files.into_iter().map(read).collect()
}

fn read_manifest(path: &Path) -> Result<Vec<Written>, String> {
    let (text, file) = (text(path)?, path.display());
    let entries: Vec<(String, String)> = match serde_json::from_str::<ApolloManifest>(&text) {
        Ok(manifest) if manifest.format == "apollo-persisted-query-manifest" && manifest.version == 1 => {
            manifest.operations.into_iter().map(|operation| (operation.id, operation.body)).collect()
        }
        Ok(manifest) => {
            let (format, version) = (manifest.format, manifest.version);
            return Err(format!(
                "`{file}`: expected `apollo-persisted-query-manifest` of version 1, found `{format}` of {version}"
            ));
        }
        Err(_) => {
            let map = serde_json::from_str::<std::collections::BTreeMap<String, String>>(&text);
            let map = map.map_err(|error| {
                format!("`{file}`: expected an object of hashes and documents, or Apollo's manifest: {error}")
            })?;
            map.into_iter().collect()
        }
    };
    bounded(path, entries.len())?;
    let written = |(name, text)| Written { place: format!("{file}#{name}"), name, text };
    Ok(entries.into_iter().map(written).collect())
}

fn bounded(path: &Path, count: usize) -> Result<(), String> {
    if count > DOCUMENTS_MAX {
        return Err(format!("`{}`: {count} documents, at most {DOCUMENTS_MAX} are allowed", path.display()));
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, String> {
    let at = |error: &dyn std::fmt::Display| format!("`{}`: {error}", path.display());
    let length = fs::metadata(path).map_err(|error| at(&error))?.len();
    if length > MANIFEST_BYTES_MAX {
        return Err(at(&format_args!("{length} bytes, at most {MANIFEST_BYTES_MAX} are allowed")));
    }
    fs::read_to_string(path).map_err(|error| at(&error))
}
