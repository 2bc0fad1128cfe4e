//! Descriptor sets on disk: files as named, directories searched by ending, in the order of their paths.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::SourceProblem;
use crate::schema::{Input, Limits};

/// A file in a directory is a set when it ends so, `.gz` after it or not. A file named outright may end
/// as it likes.
const ENDINGS: [&str; 5] = ["binpb", "pb", "bin", "desc", "protoset"];

/// More are not looked at for changes.
const PLACES_MAX: usize = 10_000;

/// Directories within directories are searched this deep.
pub(super) const DIRECTORY_DEPTH_MAX: usize = 32;

pub(super) fn read(paths: &[PathBuf], problems: &mut Vec<SourceProblem>) -> Vec<Input> {
    let mut inputs = Vec::new();
    for path in expand(paths, is_set, &endings(), problems) {
        if has_ending(&path, "proto") {
            problems.push(SourceProblem::ProtoIsNoSet { path: path.display().to_string() });
            continue;
        }
        match read_one(&path, Limits::default().set_bytes_max) {
            Ok(input) => inputs.push(input),
            Err(problem) => problems.push(problem),
        }
    }
    inputs
}

fn read_one(path: &Path, max: u64) -> Result<Input, SourceProblem> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max.saturating_add(1)).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) {
        Ok(Input { name, bytes: bytes.into() })
    } else {
        Err(SourceProblem::TooLarge { path: name, max })
    }
}

fn endings() -> String {
    ENDINGS.map(|ending| format!(".{ending}")).join(", ")
}

fn is_set(path: &Path) -> bool {
    let plain = if has_ending(path, "gz") { path.with_extension("") } else { path.to_owned() };
    ENDINGS.iter().any(|ending| has_ending(&plain, ending))
}

pub(super) fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending))
}

/// The files among `paths`, and those below its directories that `wanted` takes.
pub(super) fn expand(
    paths: &[PathBuf],
    wanted: fn(&Path) -> bool,
    expected: &str,
    problems: &mut Vec<SourceProblem>,
) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        search(path, wanted, DIRECTORY_DEPTH_MAX, &mut found, problems);
        if found.is_empty() {
            let path = path.display().to_string();
            problems.push(SourceProblem::NothingInDirectory { path, expected: expected.to_owned() });
        }
        found.sort();
        files.append(&mut found);
    }
    files
}

/// The paths, and every directory below them: what must be looked at to see a file come or go. Files in directories are
/// among them too, to see them change.
pub(super) fn places(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let mut waiting: Vec<_> = paths.iter().map(|path| (path.clone(), DIRECTORY_DEPTH_MAX)).collect();
    while let Some((path, depth)) = waiting.pop() {
        if depth > 0 && places.len() < PLACES_MAX && path.is_dir() {
            // One that cannot be read is told by whoever reads it.
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(entries.map(|entry| (entry.path(), depth - 1)));
        }
        places.push(path);
    }
    places
}

fn search(
    directory: &Path,
    wanted: fn(&Path) -> bool,
    depth: usize,
    found: &mut Vec<PathBuf>,
    problems: &mut Vec<SourceProblem>,
) {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => return problems.push(unreadable(directory, &error)),
    };
    for entry in entries {
        match entry.map(|entry| entry.path()) {
            Err(error) => problems.push(unreadable(directory, &error)),
            // The depth also ends a symbolic link that leads back up.
            Ok(path) if path.is_dir() => {
                if depth > 0 {
                    search(&path, wanted, depth - 1, found, problems);
                }
            }
            Ok(path) if wanted(&path) => found.push(path),
            Ok(_) => {}
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> SourceProblem {
    SourceProblem::Unreadable { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_sets_from_other_files() {
        let is_set = |name: &str| is_set(Path::new(name));
        for name in ["a.binpb", "a.pb", "a.bin", "a.desc", "a.protoset", "a.binpb.gz", "A.BINPB", "a.b.pb.gz"]
        {
            assert!(is_set(name), "{name}");
        }
        for name in ["a.proto", "a.gz", "a", "binpb", "a.pb.go", "a.tar.gz", ".binpb"] {
            assert!(!is_set(name), "{name}");
        }
    }

    #[test]
    fn files_larger_than_the_bound_are_refused() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/built_in.binpb");
        let length = fs::metadata(&path).expect("the set is checked in").len();
        assert!(read_one(&path, length).is_ok());
        let max = length - 1;
        let expected = SourceProblem::TooLarge { path: path.display().to_string(), max };
        assert_eq!(read_one(&path, max).err(), Some(expected));
    }
}
