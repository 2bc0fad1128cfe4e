//! Documents that have been read lately: most clients send the same few again and again.
//!
//! Bounded by their text, oldest first out, in a few parts with a lock each, so that threads seldom meet. They are
//! kept by their whole text: what two texts have in common by accident makes no one of the other.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use super::document::Document;

/// See the module's documentation.
#[derive(Debug)]
pub struct Documents {
    parts: [Mutex<Part>; PARTS],
    hasher: RandomState,
    /// Of each part.
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Part {
    documents: HashMap<Arc<str>, Arc<Document>>,
    /// The oldest first.
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

const PARTS: usize = 8;

impl Documents {
    /// Room for so many bytes of text.
    pub fn new(bytes_max: usize) -> Self {
        Self { parts: Default::default(), hasher: RandomState::new(), bytes_max: bytes_max / PARTS }
    }

    /// The document of a text, read if it is not there.
    ///
    /// # Errors
    ///
    /// Those of `read`; nothing is kept of such a text.
    pub fn find<E>(
        &self,
        text: &str,
        read: impl FnOnce() -> Result<Document, E>,
    ) -> Result<Arc<Document>, E> {
        let place = usize::try_from(self.hasher.hash_one(text) % PARTS as u64).unwrap_or_default();
        let Some(part) = self.parts.get(place) else { return read().map(Arc::new) };
        let lock = || part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = lock().documents.get(text) {
            return Ok(Arc::clone(document));
        }
        let document = Arc::new(read()?);
        lock().keep(text, &document, self.bytes_max);
        Ok(document)
    }
}

impl Part {
    fn keep(&mut self, text: &str, document: &Arc<Document>, bytes_max: usize) {
        if text.len() > bytes_max || self.documents.contains_key(text) {
            return;
        }
        while self.bytes + text.len() > bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.documents.remove(&oldest);
            self.bytes -= oldest.len();
        }
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        self.order.push_back(Arc::clone(&text));
        self.documents.insert(text, Arc::clone(document));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_once_while_there_is_room() {
        let documents = Documents::new(PARTS * 8);
        let read = |text: &str| {
            let mut is_read = false;
            let found = documents.find(text, || {
                is_read = true;
                if text.contains('!') { Err(()) } else { Ok(Document::default()) }
            });
            (found.is_ok(), is_read)
        };
        assert_eq!((read("{ a }"), read("{ a }")), ((true, true), (true, false)));
        // What is wrong, or longer than a part, is not kept.
        assert_eq!((read("!"), read("!")), ((false, true), (false, true)));
        assert_eq!((read("{ longer }"), read("{ longer }")), ((true, true), (true, true)));
        for number in 0..200 {
            assert_eq!(read(&format!("{{ a{number} }}")), (true, true));
        }
        let kept: usize = documents.parts.iter().map(|part| part.lock().expect("a test").bytes).sum();
        assert!(kept <= PARTS * 8, "{kept}");
    }
}
