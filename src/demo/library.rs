//! Shelves and books in memory, and who watches them.
//!
//! Names are the keys, so that maps are in the order in which lists are sent.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost_types::Timestamp;
use tokio::sync::broadcast;
use tonic::Status;

use super::fault;
use super::filter::fits;
use super::proto::google::api::HttpBody;
use super::proto::library::v1::{Author, Book, BookEvent, BookFilter, Shelf, book_event::Kind};
use super::seed;
use super::update;

/// A library; clones share the books.
#[derive(Clone, Debug)]
pub struct Library {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<BookEvent>,
}

#[derive(Debug, Default)]
struct State {
    shelves: BTreeMap<String, Shelf>,
    books: BTreeMap<String, Book>,
    covers: BTreeMap<String, HttpBody>,
    /// How many changes there have been: etags and times are drawn from it.
    changes: u32,
    /// The last number that was tried for a name.
    number: u32,
}

/// Watchers that fall this far behind miss events.
const EVENTS_KEPT: usize = 64;

const PAGE_SIZE: i32 = 50;
const PAGE_SIZE_MAX: i32 = 1000;

impl Default for Library {
    /// Two shelves and four books.
    fn default() -> Self {
        let library = Self::empty();
        seed::fill(&mut *library.state());
        library
    }
}

impl Library {
    /// A library without a shelf.
    pub fn empty() -> Self {
        Self { state: Arc::default(), events: broadcast::channel(EVENTS_KEPT).0 }
    }

    /// How many calls are watching for changes.
    pub fn watchers(&self) -> usize {
        self.events.receiver_count()
    }

    pub(super) fn create_shelf(&self, id: &str, mut shelf: Shelf) -> Result<Shelf, Status> {
        let mut state = self.state();
        shelf.name = state.name("shelves", id, "shelf_id")?;
        if state.shelves.contains_key(&shelf.name) {
            return Err(fault::already_exists("Shelf", &shelf.name));
        }
        if shelf.theme.is_empty() {
            return Err(fault::invalid("shelf.theme", "is required"));
        }
        shelf.create_time = Some(state.now());
        state.shelves.insert(shelf.name.clone(), shelf.clone());
        Ok(shelf)
    }

    pub(super) fn shelf(&self, name: &str) -> Result<Shelf, Status> {
        self.state().shelves.get(name).cloned().ok_or_else(|| fault::not_found("Shelf", name))
    }

    pub(super) fn shelves(&self, size: i32, token: &str) -> Result<(Vec<Shelf>, String), Status> {
        page(&self.state().shelves, size, token, |_, _| true)
    }

    pub(super) fn delete_shelf(&self, name: &str, force: bool) -> Result<(), Status> {
        let mut state = self.state();
        if !state.shelves.contains_key(name) {
            return Err(fault::not_found("Shelf", name));
        }
        let books: Vec<_> = state.books.keys().filter(|book| on_shelf(book, name)).cloned().collect();
        if !books.is_empty() && !force {
            return Err(fault::not_empty(name));
        }
        for book in books {
            self.remove_book(&mut state, &book);
        }
        state.shelves.remove(name);
        Ok(())
    }

    pub(super) fn create_book(&self, parent: &str, id: &str, mut book: Book) -> Result<Book, Status> {
        let mut state = self.state();
        if !state.shelves.contains_key(parent) {
            return Err(fault::not_found("Shelf", parent));
        }
        if book.title.is_empty() {
            return Err(fault::invalid("book.title", "is required"));
        }
        book.name = state.name(&format!("{parent}/books"), id, "book_id")?;
        if state.books.contains_key(&book.name) {
            return Err(fault::already_exists("Book", &book.name));
        }
        Ok(self.put_book(&mut state, book, Kind::Created))
    }

    pub(super) fn book(&self, name: &str) -> Result<Book, Status> {
        self.state().books.get(name).cloned().ok_or_else(|| fault::not_found("Book", name))
    }

    pub(super) fn books(
        &self,
        parent: &str,
        size: i32,
        token: &str,
        filter: Option<&BookFilter>,
    ) -> Result<(Vec<Book>, String), Status> {
        let every = parent.is_empty() || parent == "shelves/-";
        let state = self.state();
        if !every && !state.shelves.contains_key(parent) {
            return Err(fault::not_found("Shelf", parent));
        }
        page(&state.books, size, token, |name, book| {
            (every || on_shelf(name, parent)) && filter.is_none_or(|filter| fits(book, filter))
        })
    }

    pub(super) fn update_book(&self, book: Book, paths: &[String]) -> Result<Book, Status> {
        let mut state = self.state();
        let Some(mut current) = state.books.get(&book.name).cloned() else {
            return Err(fault::not_found("Book", &book.name));
        };
        update::apply(&mut current, book, paths)?;
        if current.title.is_empty() {
            return Err(fault::invalid("book.title", "is required"));
        }
        Ok(self.put_book(&mut state, current, Kind::Updated))
    }

    pub(super) fn delete_book(&self, name: &str) -> Result<(), Status> {
        let mut state = self.state();
        if !state.books.contains_key(name) {
            return Err(fault::not_found("Book", name));
        }
        self.remove_book(&mut state, name);
        Ok(())
    }

    pub(super) fn move_book(&self, name: &str, destination: &str) -> Result<Book, Status> {
        let mut state = self.state();
        let Some(mut book) = state.books.get(name).cloned() else {
            return Err(fault::not_found("Book", name));
        };
        if !state.shelves.contains_key(destination) {
            return Err(fault::not_found("Shelf", destination));
        }
        let id = name.rsplit('/').next().unwrap_or_default();
        book.name = format!("{destination}/books/{id}");
        if state.books.contains_key(&book.name) {
            return Err(fault::already_exists("Book", &book.name));
        }
        let cover = state.covers.remove(name);
        self.remove_book(&mut state, name);
        if let Some(cover) = cover {
            state.covers.insert(book.name.clone(), cover);
        }
        Ok(self.put_book(&mut state, book, Kind::Created))
    }

    /// The books of a shelf, and the changes from exactly then on.
    pub(super) fn watch(&self, parent: &str) -> Result<(Vec<Book>, broadcast::Receiver<BookEvent>), Status> {
        let state = self.state();
        if parent != "shelves/-" && !state.shelves.contains_key(parent) {
            return Err(fault::not_found("Shelf", parent));
        }
        let books = state.books.values().filter(|book| watched(book, parent)).cloned().collect();
        Ok((books, self.events.subscribe()))
    }

    pub(super) fn authors(&self) -> Vec<Author> {
        let mut counts = BTreeMap::<String, i32>::new();
        for author in self.state().books.values().flat_map(|book| &book.authors) {
            *counts.entry(author.clone()).or_default() += 1;
        }
        counts.into_iter().map(|(display_name, book_count)| Author { display_name, book_count }).collect()
    }

    pub(super) fn cover(&self, name: &str) -> Result<HttpBody, Status> {
        let book = book_of_cover(name);
        self.state().covers.get(book).cloned().ok_or_else(|| fault::not_found("Cover", name))
    }

    pub(super) fn put_cover(&self, name: &str, cover: HttpBody) -> Result<(), Status> {
        let book = book_of_cover(name);
        let mut state = self.state();
        if !state.books.contains_key(book) {
            return Err(fault::not_found("Book", book));
        }
        state.covers.insert(book.to_owned(), cover);
        Ok(())
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.shelves.len(), state.books.len())
    }

    fn put_book(&self, state: &mut State, mut book: Book, kind: Kind) -> Book {
        state.put_book(&mut book);
        self.tell(kind, book.clone());
        book
    }

    fn remove_book(&self, state: &mut State, name: &str) {
        state.covers.remove(name);
        if let Some(book) = state.books.remove(name) {
            self.tell(Kind::Deleted, book);
        }
    }

    fn tell(&self, kind: Kind, book: Book) {
        // That nobody watches is no failure.
        let _ = self.events.send(BookEvent { kind: kind.into(), book: Some(book) });
    }

    /// A panic elsewhere leaves whole books behind: there is nothing to repair.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put_book(&mut self, book: &mut Book) {
        self.changes += 1;
        book.etag = self.changes.to_be_bytes().to_vec().into();
        self.books.insert(book.name.clone(), book.clone());
    }

    /// The name with the id that was asked for, or with the next free number.
    fn name(&mut self, collection: &str, id: &str, field: &str) -> Result<String, Status> {
        while id.is_empty() {
            self.number += 1;
            let name = format!("{collection}/{}", self.number);
            if !self.shelves.contains_key(&name) && !self.books.contains_key(&name) {
                return Ok(name);
            }
        }
        let valid = id.len() <= 63
            && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if valid {
            Ok(format!("{collection}/{id}"))
        } else {
            Err(fault::invalid(field, "must be [a-z0-9-]{1,63}"))
        }
    }

    /// A time that is the same in every run: one second later with every change.
    fn now(&mut self) -> Timestamp {
        self.changes += 1;
        Timestamp { seconds: seed::EPOCH + i64::from(self.changes), nanos: 0 }
    }
}

impl seed::Sink for State {
    fn shelf(&mut self, mut shelf: Shelf) {
        shelf.create_time = Some(self.now());
        self.shelves.insert(shelf.name.clone(), shelf);
    }

    fn book(&mut self, mut book: Book, cover: Option<HttpBody>) {
        self.put_book(&mut book);
        if let Some(cover) = cover {
            self.covers.insert(book.name, cover);
        }
    }
}

/// Whether a book belongs to the watched shelf; `shelves/-` is every shelf.
pub(super) fn watched(book: &Book, parent: &str) -> bool {
    parent == "shelves/-" || on_shelf(&book.name, parent)
}

fn on_shelf(book: &str, shelf: &str) -> bool {
    book.strip_prefix(shelf).is_some_and(|rest| rest.starts_with("/books/"))
}

fn book_of_cover(name: &str) -> &str {
    name.strip_suffix("/cover").unwrap_or(name)
}

/// The entries behind `token`, and the token of the next page: the name of this page's last entry.
fn page<T: Clone>(
    entries: &BTreeMap<String, T>,
    size: i32,
    token: &str,
    wanted: impl Fn(&str, &T) -> bool,
) -> Result<(Vec<T>, String), Status> {
    let size = match size {
        0 => PAGE_SIZE,
        1.. => size.min(PAGE_SIZE_MAX),
        _ => return Err(fault::invalid("page_size", "must not be negative")),
    };
    let size = usize::try_from(size).expect("a page size is positive");
    let start = if token.is_empty() { Bound::Unbounded } else { Bound::Excluded(token) };
    let mut found = entries
        .range::<str, _>((start, Bound::Unbounded))
        .filter(|(name, entry)| wanted(name, entry))
        .map(|(name, entry)| (name.clone(), entry.clone()));
    let (names, items): (Vec<_>, Vec<_>) = found.by_ref().take(size).unzip();
    let next = if found.next().is_some() { names.last().cloned().unwrap_or_default() } else { String::new() };
    Ok((items, next))
}
