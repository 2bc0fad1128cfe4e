//! The books that a new library has: between them, they use every field.

use prost_types::{Duration, Timestamp};

use super::proto::google::api::HttpBody;
use super::proto::library::v1::{Book, Genre, Loan, Shelf, book::Whereabouts};

/// 2026-01-01T00:00:00Z, from which the library counts its own time.
pub(super) const EPOCH: i64 = 1_767_225_600;

/// Takes shelves and books in.
pub(super) trait Sink {
    fn shelf(&mut self, shelf: Shelf);
    fn book(&mut self, book: Book, cover: Option<HttpBody>);
}

/// A picture that every browser shows, and a reader of this file too.
const COVER: &[u8] = br##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 90"><rect width="60" height="90" fill="#154"/><circle cx="30" cy="40" r="18" fill="#fd6"/></svg>"##;

pub(super) fn fill(sink: &mut impl Sink) {
    sink.shelf(Shelf { name: "shelves/1".into(), theme: "Fiction".into(), create_time: None });
    sink.shelf(Shelf { name: "shelves/2".into(), theme: "Science".into(), create_time: None });
    let cover = HttpBody { content_type: "image/svg+xml".into(), data: COVER.into(), extensions: vec![] };
    sink.book(twenty_thousand_leagues(), Some(cover));
    sink.book(frankenstein(), None);
    sink.book(origin_of_species(), None);
    sink.book(candle(), None);
}

fn twenty_thousand_leagues() -> Book {
    Book {
        name: "shelves/1/books/1".into(),
        title: "Twenty Thousand Leagues Under the Seas".into(),
        subtitle: Some("A World Tour Underwater".into()),
        authors: vec!["Jules Verne".into()],
        genre: Genre::Fiction.into(),
        isbn: 9_780_140_367_218,
        pages: 394,
        rating: Some(4.25),
        publish_time: Some(Timestamp { seconds: -3_155_673_600, nanos: 0 }),
        reading_time: Some(Duration { seconds: 9 * 3600, nanos: 500_000_000 }),
        labels: [("language", "en"), ("original", "fr")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        whereabouts: Some(Whereabouts::Position(1)),
        ..Book::default()
    }
}

fn frankenstein() -> Book {
    let due_time = Some(Timestamp { seconds: EPOCH + 14 * 86_400, nanos: 0 });
    Book {
        name: "shelves/1/books/2".into(),
        title: "Frankenstein".into(),
        subtitle: Some("The Modern Prometheus".into()),
        authors: vec!["Mary Shelley".into()],
        genre: Genre::Fiction.into(),
        isbn: 9_780_141_439_471,
        pages: 352,
        rating: Some(4.5),
        publish_time: Some(Timestamp { seconds: -4_796_668_800, nanos: 0 }),
        reading_time: Some(Duration { seconds: 6 * 3600, nanos: 0 }),
        labels: [("language".to_owned(), "en".to_owned())].into(),
        whereabouts: Some(Whereabouts::Loan(Loan { reader: "Ada".into(), due_time })),
        ..Book::default()
    }
}

fn origin_of_species() -> Book {
    Book {
        name: "shelves/2/books/1".into(),
        title: "On the Origin of Species".into(),
        authors: vec!["Charles Darwin".into()],
        genre: Genre::Science.into(),
        isbn: 9_780_140_439_120,
        pages: 576,
        rating: Some(4.0),
        publish_time: Some(Timestamp { seconds: -3_474_576_000, nanos: 0 }),
        whereabouts: Some(Whereabouts::Position(1)),
        ..Book::default()
    }
}

fn candle() -> Book {
    Book {
        name: "shelves/2/books/2".into(),
        title: "The Chemical History of a Candle".into(),
        authors: vec!["Michael Faraday".into(), "William Crookes".into()],
        genre: Genre::Science.into(),
        isbn: 9_780_199_694_914,
        pages: 223,
        whereabouts: Some(Whereabouts::Position(2)),
        ..Book::default()
    }
}
