//! Client certificates: the listener has verified them, here they become identities.
//!
//! The subject is one name of the certificate. A certificate without a name that is asked for is none of
//! this provider's: it may be another one's.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderName;
use serde_json::{Map, Value};

use super::provider::{Presence, Provider, Refusal, Scheme, Verdict};
use crate::call::Head;
use crate::policy::certificate::ClientCertificate;
use crate::policy::glob::Glob;
use crate::policy::identity::{Consumer, Profile, Proven};

/// What the configuration says of certificates.
#[derive(Clone, Debug)]
pub struct CertificateSettings {
    pub name: NameKind,
    /// Patterns of names; empty: every name.
    pub patterns: Vec<Glob>,
    /// Consumers by a name of their certificate.
    pub consumers: HashMap<Box<str>, Arc<Consumer>>,
}

/// Which name of a certificate is the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// The first of URI, DNS name and e-mail address.
    Any,
    Uri,
    Dns,
    Email,
}

/// The provider `mtls`.
#[derive(Debug)]
pub struct Certificates {
    profile: Profile,
    settings: CertificateSettings,
}

impl Certificates {
    pub fn new(profile: Profile, settings: CertificateSettings) -> Self {
        Self { profile, settings }
    }

    /// The first name that a pattern allows.
    fn subject<'c>(&self, certificate: &'c ClientCertificate) -> Option<&'c str> {
        let kinds = match self.settings.name {
            NameKind::Any => &[NameKind::Uri, NameKind::Dns, NameKind::Email][..],
            NameKind::Uri => &[NameKind::Uri],
            NameKind::Dns => &[NameKind::Dns],
            NameKind::Email => &[NameKind::Email],
        };
        let names = kinds.iter().flat_map(|kind| match kind {
            NameKind::Uri | NameKind::Any => &certificate.uris,
            NameKind::Dns => &certificate.dns_names,
            NameKind::Email => &certificate.emails,
        });
        let patterns = &self.settings.patterns;
        let mut allowed = names.filter(|name| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name.as_bytes()))
        });
        allowed.next().map(|name| &**name)
    }
}

impl Provider for Certificates {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn present<'h>(&self, head: &'h Head) -> Presence<'h> {
        let Some(certificate) = &head.client.certificate else { return Presence::Absent };
        self.subject(certificate).map_or(Presence::Foreign, Presence::Present)
    }

    fn verify(&self, subject: &str, head: &Arc<Head>, now: u64) -> Verdict {
        let Some(certificate) = &head.client.certificate else {
            return Verdict::Refused(Refusal::Invalid("no certificate"));
        };
        // The handshake may be long ago: a connection must not outlive its certificate.
        let expires = u64::try_from(certificate.not_after_unix_s).unwrap_or(0);
        if now > expires {
            return Verdict::Refused(Refusal::Expired);
        }
        let names = |names: &[Box<str>]| Value::from_iter(names.iter().map(|name| &**name));
        let claims = Map::from_iter([
            ("san".to_owned(), Value::from(subject)),
            ("uris".to_owned(), names(&certificate.uris)),
            ("dns".to_owned(), names(&certificate.dns_names)),
            ("emails".to_owned(), names(&certificate.emails)),
            ("cn".to_owned(), certificate.common_name.as_deref().map_or(Value::Null, Value::from)),
        ]);
        Verdict::Accepted(self.profile.identify(Proven {
            subject: subject.into(),
            credential: certificate.fingerprint.to_string().into(),
            claims: Arc::new(claims),
            expires: Some(expires),
            consumer: self.settings.consumers.get(subject).cloned(),
            ..Proven::default()
        }))
    }

    fn scheme(&self) -> Scheme {
        Scheme::Certificate
    }

    fn carrier(&self) -> Option<&HeaderName> {
        None
    }
}
