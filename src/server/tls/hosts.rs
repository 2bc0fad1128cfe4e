//! Which certificate is for which host: the exact name, then the wildcard, then the first of all.
//!
//! ```text
//! a.shop.example ─▶ "a.shop.example" ─▶ "*.shop.example" ─▶ the first
//! ```
//!
//! A wildcard stands for one label (RFC 6125, section 6.4.3). Several certificates may be for one host, of
//! different keys: all are offered in the order of the file, for the client to be shown one it can check.

use std::collections::HashMap;
use std::sync::Arc;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

#[derive(Debug)]
pub(super) struct Hosts<T> {
    all: Vec<Arc<T>>,
    /// By name in lower case; wildcards without their `*`.
    exact: HashMap<Box<str>, Vec<usize>>,
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl<T> Default for Hosts<T> {
    fn default() -> Self {
        Self { all: Vec::new(), exact: HashMap::new(), wildcard: HashMap::new() }
    }
}

impl<T> Hosts<T> {
    /// Adds what is for the hosts of these names.
    pub(super) fn insert(&mut self, names: &[String], value: Arc<T>) {
        let index = self.all.len();
        self.all.push(value);
        for name in names {
            let name = name.to_ascii_lowercase();
            let (table, name) = match name.strip_prefix('*') {
                Some(parent) => (&mut self.wildcard, parent),
                None => (&mut self.exact, name.as_str()),
            };
            table.entry(name.into()).or_default().push(index);
        }
    }

    /// What is for `host`, the best first.
    pub(super) fn find(&self, host: Option<&str>) -> impl Iterator<Item = &Arc<T>> {
        let host = host.map(str::to_ascii_lowercase);
        let exact = host.as_deref().and_then(|host| self.exact.get(host));
        let parent = host.as_deref().and_then(|host| host.find('.').and_then(|dot| host.get(dot..)));
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let named = [exact, wildcard].into_iter().flatten().flatten();
        // Behind the first come all others: a client that can check one of them gets further than with none.
        named.filter_map(|index| self.all.get(*index)).chain(&self.all)
    }
}

/// The hosts that a certificate in DER is for, in lower case (RFC 4343). Common names do not count (RFC 9525, section 2).
pub(super) fn names(der: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Vec::new() };
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate_have_no_case() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let names = ["Shop.Example".to_owned(), "*.API.example".to_owned()];
        let parameters = rcgen::CertificateParams::new(names).expect("names");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        assert_eq!(super::names(certificate.der()), ["shop.example", "*.api.example"]);
    }

    #[test]
    fn the_nearest_name_comes_first() {
        let mut hosts = Hosts::default();
        for (names, value) in [
            (&["first.example"][..], "first"),
            (&["*.shop.example"], "wildcard"),
            (&["api.shop.example", "Shop.Example"], "exact"),
            (&["api.shop.example"], "second key"),
        ] {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            hosts.insert(&names, Arc::new(value));
        }
        let check = |host: Option<&str>, expected: &[&str]| {
            let found: Vec<_> = hosts.find(host).map(|value| **value).collect();
            let all = ["first", "wildcard", "exact", "second key"];
            assert_eq!(found, [expected, &all].concat(), "{host:?}");
        };
        check(Some("api.shop.example"), &["exact", "second key", "wildcard"]);
        check(Some("API.Shop.Example"), &["exact", "second key", "wildcard"]);
        check(Some("shop.example"), &["exact"]);
        check(Some("m.shop.example"), &["wildcard"]);
        check(Some("a.b.shop.example"), &[]);
        check(Some(".shop.example"), &["wildcard"]);
        check(Some("other.example"), &[]);
        check(Some("localhost"), &[]);
        check(Some(""), &[]);
        check(None, &[]);
    }
}
