//! The order in which imports come first, and which files' names each file may use.
//!
//! A file sees itself, what it imports, and what those import publicly, however far. The walk keeps its
//! own stack: a chain of a hundred thousand imports must not end ours.

use std::collections::HashMap;

use super::error::{Problem, Problems};
use super::read::File;

/// What a file sees of the others; positions count in the ordered list.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Sorted; the file itself included.
    visible: Vec<usize>,
    /// What it passes on to files that import it.
    public: Vec<usize>,
    /// Whether an import is missing: names that cannot be found are no news then.
    pub incomplete: bool,
}

impl View {
    pub(super) fn sees(&self, file: usize) -> bool {
        self.visible.binary_search(&file).is_ok()
    }
}

/// How much all files together may take over from public imports: a chain of them adds up to the square.
const PASSED_ON_MAX: usize = 1 << 20;

/// Orders the files and works out what each of them sees.
pub(super) fn order(files: Vec<File>, problems: &mut Problems) -> (Vec<File>, Vec<View>) {
    let places: HashMap<String, usize> =
        files.iter().zip(0..).map(|(file, place)| (file.name().to_owned(), place)).collect();
    let imports: Vec<Vec<usize>> = files.iter().map(|file| resolve(file, &places, problems)).collect();
    let sequence = sort(&files, &imports, problems);

    let mut new_place = vec![usize::MAX; files.len()];
    for (&old, new) in sequence.iter().zip(0..) {
        new_place[old] = new;
    }
    let mut views: Vec<View> = Vec::with_capacity(files.len());
    let mut passed_on = 0;
    for (&old, new) in sequence.iter().zip(0..) {
        let file = &files[old];
        let mut view = View { visible: vec![new], ..View::default() };
        view.incomplete = imports[old].len() < file.proto.dependency.len();
        for &import in &imports[old] {
            let place = new_place[import];
            // In a cycle the import may come later: then there is nothing to take over from it.
            let Some(imported) = views.get(place) else { continue };
            view.incomplete |= imported.incomplete;
            view.visible.push(place);
            passed_on += imported.public.len();
            if passed_on > PASSED_ON_MAX {
                view.incomplete = true;
                continue;
            }
            view.visible.extend(&imported.public);
            if is_public(file, &files[import]) {
                view.public.push(place);
                view.public.extend(&imported.public);
            }
        }
        for list in [&mut view.visible, &mut view.public] {
            list.sort_unstable();
            list.dedup();
        }
        views.push(view);
    }
    if passed_on > PASSED_ON_MAX {
        let last = sequence.last().map(|&old| files[old].name()).unwrap_or_default();
        problems.add(last, "", Problem::PublicImports { max: PASSED_ON_MAX });
    }
    let mut slots: Vec<Option<File>> = files.into_iter().map(Some).collect();
    (sequence.into_iter().filter_map(|old| slots[old].take()).collect(), views)
}

/// Writes what a file sees into its import list: prost-reflect follows public imports but one step.
pub(super) fn flatten(files: &mut [File], views: &[View]) {
    let names: Vec<String> = files.iter().map(|file| file.name().to_owned()).collect();
    for ((file, view), place) in files.iter_mut().zip(views).zip(0..) {
        file.proto.dependency =
            view.visible.iter().filter(|&&other| other != place).map(|&other| names[other].clone()).collect();
        file.proto.public_dependency.clear();
        file.proto.weak_dependency.clear();
    }
}

/// The positions of a file's imports, those left out that are not there.
fn resolve(file: &File, places: &HashMap<String, usize>, problems: &mut Problems) -> Vec<usize> {
    let proto = &file.proto;
    let mut found = Vec::with_capacity(proto.dependency.len());
    for import in &proto.dependency {
        match places.get(import) {
            None => problems.add(file.name(), "", Problem::MissingImport(import.clone())),
            Some(place) if found.contains(place) => {
                problems.add(file.name(), "", Problem::DuplicateImport(import.clone()));
            }
            Some(&place) => found.push(place),
        }
    }
    let imports = proto.dependency.len();
    for (list, indices) in [("public", &proto.public_dependency), ("weak", &proto.weak_dependency)] {
        for &index in indices {
            if usize::try_from(index).is_ok_and(|index| index < imports) {
                continue;
            }
            problems.add(file.name(), "", Problem::ImportIndex { list, index, imports });
        }
    }
    found
}

fn is_public(file: &File, imported: &File) -> bool {
    file.proto.public_dependency.iter().any(|&index| {
        let name = usize::try_from(index).ok().and_then(|index| file.proto.dependency.get(index));
        name.is_some_and(|name| name == imported.name())
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Depth-first, imports before importers; an import that closes a cycle is reported and passed over.
fn sort(files: &[File], imports: &[Vec<usize>], problems: &mut Problems) -> Vec<usize> {
    let mut marks = vec![Mark::New; files.len()];
    let mut sequence = Vec::with_capacity(files.len());
    for root in 0..files.len() {
        if marks[root] != Mark::New {
            continue;
        }
        marks[root] = Mark::Open;
        let mut stack = vec![(root, 0)];
        while let Some((file, next)) = stack.last_mut() {
            let Some(&import) = imports[*file].get(*next) else {
                marks[*file] = Mark::Done;
                sequence.push(*file);
                stack.pop();
                continue;
            };
            *next += 1;
            match marks[import] {
                Mark::Done => {}
                Mark::New => {
                    marks[import] = Mark::Open;
                    stack.push((import, 0));
                }
                Mark::Open => {
                    let names = stack.iter().map(|(file, _)| *file).skip_while(|file| *file != import);
                    let mut cycle: String = names.map(|file| format!("{} → ", files[file].name())).collect();
                    cycle.push_str(files[import].name());
                    problems.add(files[import].name(), "", Problem::ImportCycle(cycle));
                }
            }
        }
    }
    sequence
}
