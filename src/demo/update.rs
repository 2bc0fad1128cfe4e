//! A field mask applied to a book (AIP-134: no mask is every field that is populated, `*` is every field).

use tonic::Status;

use super::fault;
use super::proto::library::v1::{Book, Loan, book::Whereabouts};

/// Copies what `paths` name from `from` to `book`; its name and etag never change.
pub(super) fn apply(book: &mut Book, from: Book, paths: &[String]) -> Result<(), Status> {
    if paths.iter().any(|path| path == "*") {
        let (name, etag) = (std::mem::take(&mut book.name), std::mem::take(&mut book.etag));
        *book = Book { name, etag, ..from };
        return Ok(());
    }
    if paths.is_empty() {
        return populated(&from).try_for_each(|path| apply_path(book, &from, path));
    }
    paths.iter().try_for_each(|path| apply_path(book, &from, path))
}

fn populated(book: &Book) -> impl Iterator<Item = &'static str> {
    let is_populated = [
        ("title", !book.title.is_empty()),
        ("subtitle", book.subtitle.is_some()),
        ("authors", !book.authors.is_empty()),
        ("genre", book.genre != 0),
        ("isbn", book.isbn != 0),
        ("pages", book.pages != 0),
        ("rating", book.rating.is_some()),
        ("publish_time", book.publish_time.is_some()),
        ("reading_time", book.reading_time.is_some()),
        ("labels", !book.labels.is_empty()),
        ("position", book.whereabouts.is_some()),
    ];
    is_populated.into_iter().filter(|(_, is_populated)| *is_populated).map(|(path, _)| path)
}

fn apply_path(book: &mut Book, from: &Book, path: &str) -> Result<(), Status> {
    match path {
        "title" => book.title.clone_from(&from.title),
        "subtitle" => book.subtitle.clone_from(&from.subtitle),
        "authors" => book.authors.clone_from(&from.authors),
        "genre" => book.genre = from.genre,
        "isbn" => book.isbn = from.isbn,
        "pages" => book.pages = from.pages,
        "rating" => book.rating = from.rating,
        "publish_time" => book.publish_time = from.publish_time,
        "reading_time" => book.reading_time = from.reading_time,
        "labels" => book.labels.clone_from(&from.labels),
        "position" | "loan" => book.whereabouts.clone_from(&from.whereabouts),
        "loan.reader" => loan(book).reader = loan_of(from).reader,
        "loan.due_time" => loan(book).due_time = loan_of(from).due_time,
        // AIP-203: what only the service sets is ignored.
        "name" | "etag" => {}
        _ => return Err(fault::invalid("update_mask", &format!("{path:?} is no field of a book"))),
    }
    Ok(())
}

/// The book's loan, made if it was not lent.
fn loan(book: &mut Book) -> &mut Loan {
    if !matches!(book.whereabouts, Some(Whereabouts::Loan(_))) {
        book.whereabouts = Some(Whereabouts::Loan(Loan::default()));
    }
    match &mut book.whereabouts {
        Some(Whereabouts::Loan(loan)) => loan,
        _ => unreachable!("the book was lent just now"),
    }
}

fn loan_of(book: &Book) -> Loan {
    match &book.whereabouts {
        Some(Whereabouts::Loan(loan)) => loan.clone(),
        _ => Loan::default(),
    }
}
