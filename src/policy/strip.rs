//! Headers that no client may send, because the gateway writes them for identities: removed at entry.
//!
//! Every route is treated alike, those without authentication too: a backend cannot tell whether the header
//! that it believes came from the gateway. With each name go its `grpc-metadata-` twin and the spellings
//! with `_` for `-`, which some frameworks take for the same name.

use http::{HeaderMap, HeaderName};

use super::metadata::PREFIX;

/// The names to remove; empty where no `forward:` is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strip {
    /// In lower case, with `-` for `_`.
    names: Box<[Box<str>]>,
    /// Bit `n`: a name has `n` bytes. Tells nearly every header apart without comparing it.
    lengths: u128,
}

impl Strip {
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        let mut names: Vec<_> =
            names.into_iter().map(|name| folded(name.as_str()).into_boxed_str()).collect();
        names.sort();
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { names: names.into(), lengths }
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Removes them from what a client sent; says how many there were.
    pub fn apply(&self, headers: &mut HeaderMap) -> usize {
        if self.is_empty() {
            return 0;
        }
        let mut removed = 0;
        // Hardly any request has one, so that the headers are gone through once and nothing is built.
        while let Some(name) = headers.keys().find(|name| self.holds(name.as_str())).cloned() {
            removed += headers.get_all(&name).iter().count();
            headers.remove(&name);
        }
        removed
    }

    fn holds(&self, name: &str) -> bool {
        let rest = if is_prefixed(name) { name.get(PREFIX.len()..).unwrap_or_default() } else { name };
        self.lengths & length_bit(rest) != 0 && self.names.iter().any(|own| same(own, rest))
    }
}

/// Lengths past the last bit share it.
fn length_bit(name: &str) -> u128 {
    1 << name.len().min(127)
}

fn folded(name: &str) -> String {
    name.replace('_', "-")
}

fn is_prefixed(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| same(PREFIX, start))
}

/// Whether `name` is `folded` but for `_` in place of `-`.
fn same(folded: &str, name: &str) -> bool {
    folded.len() == name.len()
        && folded.bytes().zip(name.bytes()).all(|(own, byte)| own == byte || own == b'-' && byte == b'_')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(sent: &str, is_removed: bool) {
        let strip = Strip::new(&[HeaderName::from_static("x-user-id"), HeaderName::from_static("x_tenant")]);
        let mut headers = HeaderMap::new();
        headers
            .append(HeaderName::from_bytes(sent.as_bytes()).expect("a name"), HeaderValue::from_static("a"));
        headers.append("x-other", HeaderValue::from_static("b"));
        assert_eq!(strip.apply(&mut headers), usize::from(is_removed), "{sent}");
        assert_eq!(headers.len(), if is_removed { 1 } else { 2 }, "{sent}");
    }

    #[test]
    fn own_names_are_removed_in_every_spelling() {
        for sent in [
            "x-user-id",
            "X-User-Id",
            "x_user_id",
            "x-user_id",
            "grpc-metadata-x-user-id",
            "Grpc_Metadata_X_User_Id",
            "x-tenant",
            "x_tenant",
        ] {
            check(sent, true);
        }
        for sent in ["x-user-ids", "x-user-i", "grpc-metadata-", "x-user-id-bin", "grpc-metadata-x-user"] {
            check(sent, false);
        }
    }

    #[test]
    fn every_value_goes() {
        let strip = Strip::new(&[HeaderName::from_static("x-a")]);
        let mut headers = HeaderMap::new();
        for name in ["x-a", "x-a", "grpc-metadata-x-a", "accept"] {
            headers.append(name, HeaderValue::from_static("1"));
        }
        assert_eq!(strip.apply(&mut headers), 3);
        assert_eq!(headers.len(), 1);
        let mut headers =
            HeaderMap::from_iter([(HeaderName::from_static("x-a"), HeaderValue::from_static("1"))]);
        assert_eq!(Strip::default().apply(&mut headers), 0);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn long_names_are_found() {
        let long = format!("x-{}", "a".repeat(200));
        let name = HeaderName::from_bytes(long.as_bytes()).expect("a name");
        let mut headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("1"))]);
        assert_eq!(Strip::new(&[name]).apply(&mut headers), 1);
    }
}
