//! Which books a `BookFilter` lets through.

use super::proto::library::v1::{Book, BookFilter};

/// Whether every condition that is given holds.
pub(super) fn fits(book: &Book, filter: &BookFilter) -> bool {
    let since = filter.published_since.as_ref().is_none_or(|since| {
        book.publish_time
            .as_ref()
            .is_some_and(|time| (time.seconds, time.nanos) >= (since.seconds, since.nanos))
    });
    let short = filter.max_reading_time.as_ref().is_none_or(|most| {
        book.reading_time
            .as_ref()
            .is_some_and(|time| (time.seconds, time.nanos) <= (most.seconds, most.nanos))
    });
    since
        && short
        && (filter.genres.is_empty() || filter.genres.contains(&book.genre))
        && (filter.author.is_empty() || book.authors.contains(&filter.author))
        && filter.labels.iter().all(|(name, value)| book.labels.get(name) == Some(value))
}
