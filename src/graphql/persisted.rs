//! Documents that clients name instead of sending: those that the operator trusts, and those that clients registered.
//!
//! ```text
//! id ─▶ trusted? ─▶ a document that was checked when the gateway loaded it
//!  └─▶ registered by its SHA-256? ─▶ its text, read like any other
//! ```
//!
//! What clients register is bounded in count and bytes, the oldest first out, and is lost with a reload: they send it
//! again when they are told that it is not found.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

use super::document::{Code, Document, Problem};

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Persisted {
    trusted: HashMap<Box<str>, Arc<Document>>,
    /// Whether nothing else is answered.
    is_only: bool,
    /// `None`: clients register nothing.
    registered: Option<Registered>,
}

/// The name of a document, as a request has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentId<'r> {
    /// `documentId`.
    Named(&'r str),
    /// `extensions.persistedQuery.sha256Hash`.
    Hash(&'r str),
}

/// What clients have registered.
#[derive(Debug)]
pub struct Registered {
    texts: Mutex<Texts>,
    bytes_max: usize,
    count_max: usize,
}

#[derive(Debug, Default)]
struct Texts {
    by_hash: HashMap<Arc<str>, Arc<str>>,
    /// The oldest first.
    order: VecDeque<Arc<str>>,
    bytes: usize,
}

/// Either of these goes before the digits of a hash.
const PREFIX: &str = "sha256:";

impl Persisted {
    /// `only`: whatever is not trusted is refused.
    pub fn new(
        trusted: HashMap<Box<str>, Arc<Document>>,
        is_only: bool,
        registered: Option<Registered>,
    ) -> Self {
        Self { trusted, is_only, registered }
    }

    /// The document of a request that has a name for it, a text, or both.
    ///
    /// # Errors
    ///
    /// `PERSISTED_QUERY_ONLY`, `PERSISTED_QUERY_NOT_FOUND`, `PERSISTED_QUERY_NOT_SUPPORTED`,
    /// `PERSISTED_QUERY_MISMATCH`; those of `read`, and nothing is kept of such a text.
    pub fn document(
        &self,
        id: Option<DocumentId<'_>>,
        text: Option<&str>,
        read: impl FnOnce(&str) -> Result<Arc<Document>, Vec<Problem>>,
    ) -> Result<Arc<Document>, Vec<Problem>> {
        let name = match id {
            Some(DocumentId::Named(name) | DocumentId::Hash(name)) => {
                Some(name.strip_prefix(PREFIX).unwrap_or(name))
            }
            None => None,
        };
        if let Some(document) = name.and_then(|name| self.trusted.get(name)) {
            return Ok(Arc::clone(document));
        }
        if self.is_only {
            let message = "only documents of the operator's list are answered, by their name";
            return Err(refused(Code::PersistedQueryOnly, message));
        }
        let (hash, registered) = match (id, name, &self.registered) {
            (Some(DocumentId::Hash(_)), Some(hash), Some(registered)) => (hash, registered),
            // Clients of Apollo's know this message, and send the text from then on.
            (Some(DocumentId::Hash(_)), ..) if text.is_none() => {
                return Err(refused(Code::PersistedQueryNotSupported, "PersistedQueryNotSupported"));
            }
            _ => return text.map_or_else(|| Err(not_found()), read),
        };
        let Some(text) = text else {
            let text = registered.find(hash).ok_or_else(not_found)?;
            return read(&text);
        };
        if sha256(text) != hash {
            let message = "the hash is not the one of the document";
            return Err(refused(Code::PersistedQueryMismatch, message));
        }
        let document = read(text)?;
        registered.keep(hash, text);
        Ok(document)
    }
}

impl Registered {
    /// Room for so many texts of so many bytes in all.
    pub fn new(count_max: usize, bytes_max: usize) -> Self {
        Self { texts: Mutex::default(), bytes_max, count_max }
    }

    fn find(&self, hash: &str) -> Option<Arc<str>> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).by_hash.get(hash).cloned()
    }

    fn keep(&self, hash: &str, text: &str) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if text.len() > self.bytes_max || self.count_max == 0 || texts.by_hash.contains_key(hash) {
            return;
        }
        while texts.order.len() >= self.count_max || texts.bytes + text.len() > self.bytes_max {
            let Some(oldest) = texts.order.pop_front() else { break };
            let forgotten = texts.by_hash.remove(&oldest);
            texts.bytes -= forgotten.map_or(0, |text| text.len());
        }
        let hash: Arc<str> = hash.into();
        texts.bytes += text.len();
        texts.order.push_back(Arc::clone(&hash));
        texts.by_hash.insert(hash, text.into());
    }
}

/// The SHA-256 of a text, in hexadecimal.
pub fn sha256(text: &str) -> String {
    let mut out = String::with_capacity(64);
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        write!(out, "{byte:02x}").expect("writing to memory does not fail");
    }
    out
}

fn not_found() -> Vec<Problem> {
    refused(Code::PersistedQueryNotFound, "PersistedQueryNotFound")
}

fn refused(code: Code, message: &str) -> Vec<Problem> {
    vec![Problem::nowhere(code, message)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(persisted: &Persisted, id: Option<DocumentId<'_>>, text: Option<&str>) -> Result<String, Code> {
        let mut found = "trusted".to_owned();
        let read = |text: &str| {
            text.clone_into(&mut found);
            Ok(Arc::new(Document::default()))
        };
        let outcome = persisted.document(id, text, read);
        outcome.map(|_| found).map_err(|problems| problems[0].code)
    }

    fn trusted(is_only: bool, registered: Option<Registered>) -> Persisted {
        let home = ("home".into(), Arc::new(Document::default()));
        Persisted::new(HashMap::from([home]), is_only, registered)
    }

    #[test]
    fn trusted_documents_are_found_by_name() {
        use DocumentId::{Hash, Named};
        let check = |is_only, id, text, expected: Result<&str, Code>| {
            let found = ask(&trusted(is_only, None), id, text);
            assert_eq!(found.as_deref().map_err(|code| *code), expected, "{is_only} {id:?} {text:?}");
        };
        for is_only in [false, true] {
            check(is_only, Some(Named("home")), None, Ok("trusted"));
            check(is_only, Some(Hash("home")), Some("{ other }"), Ok("trusted"));
            check(is_only, Some(Named("sha256:home")), None, Ok("trusted"));
        }
        check(true, None, Some("{ a }"), Err(Code::PersistedQueryOnly));
        check(true, Some(Named("none")), None, Err(Code::PersistedQueryOnly));
        check(true, Some(Hash("none")), Some("{ a }"), Err(Code::PersistedQueryOnly));
        check(false, None, Some("{ a }"), Ok("{ a }"));
        check(false, Some(Named("none")), None, Err(Code::PersistedQueryNotFound));
        check(false, Some(Hash("none")), None, Err(Code::PersistedQueryNotSupported));
        // Who does not register does not check either: the text is what is asked for.
        check(false, Some(Hash("none")), Some("{ a }"), Ok("{ a }"));
    }

    #[test]
    fn clients_register_documents_by_hash_while_there_is_room() {
        let persisted = trusted(false, Some(Registered::new(2, 10)));
        let hash = |text: &str| sha256(text);
        let send = |text: &str| ask(&persisted, Some(DocumentId::Hash(&hash(text))), Some(text));
        let find = |text: &str| ask(&persisted, Some(DocumentId::Hash(&hash(text))), None).is_ok();
        assert_eq!(
            ask(&persisted, Some(DocumentId::Hash(&hash("{a}"))), None),
            Err(Code::PersistedQueryNotFound)
        );
        assert_eq!(
            ask(&persisted, Some(DocumentId::Hash(&hash("{a}"))), Some("{b}")),
            Err(Code::PersistedQueryMismatch)
        );
        assert_eq!(
            (send("{a}").is_ok(), find("{a}"), send("{b}").is_ok(), find("{a}")),
            (true, true, true, true)
        );
        // A third, by count.
        assert!(send("{c}").is_ok());
        assert_eq!((find("{a}"), find("{b}"), find("{c}")), (false, true, true));
        // As long as there is room for, and one byte more.
        assert!(send("{12345678}").is_ok());
        assert_eq!((find("{b}"), find("{c}"), find("{12345678}")), (false, false, true));
        assert!(send("{123456789}").is_ok());
        assert_eq!((find("{123456789}"), find("{12345678}")), (false, true));
        // What cannot be read is not kept.
        let wrong = |_: &str| Err(vec![Problem::nowhere(Code::ParseFailed, "")]);
        let id = hash("!");
        assert!(persisted.document(Some(DocumentId::Hash(&id)), Some("!"), wrong).is_err());
        assert!(!find("!"));
    }

    #[test]
    fn hashes_are_in_hexadecimal() {
        assert_eq!(sha256("{ a }").len(), 64);
        assert!(sha256("").starts_with("e3b0c44298fc1c14"));
    }
}
