//! From descriptor sets to a [`Schema`]: the passes in their order.
//!
//! ```text
//! read (decompress, decode, join) → built-in imports → order imports → check → lower editions → pool
//! ```
//!
//! prost-reflect trusts what it is given in places (cyclic public imports overflow its stack, a bytes
//! default with a broken escape panics), so nothing reaches it that has not been checked here.

use super::built_in;
use super::check;
use super::editions;
use super::error::{Problem, Problems, SchemaError};
use super::imports;
use super::originals::Originals;
use super::pool;
use super::read::{self, File, Input, Limits};
use super::symbols::Symbols;
use super::{Schema, Traits};

/// Loads and joins descriptor sets.
///
/// # Errors
///
/// All problems of all sets, each naming file and declaration.
pub fn load(inputs: &[Input]) -> Result<Schema, Vec<SchemaError>> {
    load_within(inputs, &Limits::default())
}

/// [`load`] with limits of one's own.
///
/// # Errors
///
/// As [`load`].
pub fn load_within(inputs: &[Input], limits: &Limits) -> Result<Schema, Vec<SchemaError>> {
    let mut problems = Problems::default();
    let mut files = read::read(inputs, limits, &mut problems);
    built_in::supply(&mut files);
    let (mut files, views) = imports::order(files, &mut problems);
    let symbols = Symbols::collect(&files, &mut problems);
    check::check(&mut files, &views, &symbols, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_list());
    }
    let traits = editions::lower(&mut files, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_list());
    }
    imports::flatten(&mut files, &views);
    drop((symbols, views));
    build(files, traits)
}

fn build(files: Vec<File>, traits: Traits) -> Result<Schema, Vec<SchemaError>> {
    let mut originals = Originals::default();
    for file in &files {
        originals.insert(file.name(), file.bytes.clone());
    }
    let pool = pool::build(files.into_iter().map(|file| file.proto)).map_err(|error| {
        let mut problems = Problems::default();
        problems.add(error.file().unwrap_or_default(), "", Problem::Pool(error.to_string()));
        problems.into_list()
    })?;
    Ok(Schema::new(pool, traits).with_originals(originals))
}
