//! API keys: a key in a header of its own, or as the token of `Authorization`.
//!
//! Keys are found by their hash ([`Keys`]). They are never read from the query, which is logged everywhere.
//! Under `authorization` the schemes are `ApiKey`, where anything is a key, and `Bearer`, where only keys
//! of our own form are taken: another bearer token belongs to another provider.

use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::provider::{Presence, Provider, Refusal, Scheme, Twice, Verdict, authorization, single};
use super::revoked::{Credential, Revoked};
use crate::call::Head;
use crate::policy::api_key::{KeyError, KeyStatistic, Keys, is_ours};
use crate::policy::identity::Profile;

/// The provider `api_key`.
#[derive(Debug)]
pub struct ApiKeys {
    profile: Profile,
    header: HeaderName,
    keys: Keys,
    revoked: Arc<Revoked>,
}

impl ApiKeys {
    pub fn new(profile: Profile, header: HeaderName, keys: Keys, revoked: Arc<Revoked>) -> Self {
        Self { profile, header, keys, revoked }
    }
}

impl Provider for ApiKeys {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn present<'h>(&self, head: &'h Head) -> Presence<'h> {
        if self.header == AUTHORIZATION {
            return match authorization(&head.headers, &["apikey"]) {
                Presence::Absent => match authorization(&head.headers, &["bearer"]) {
                    Presence::Present(token) if !is_ours(token) => Presence::Foreign,
                    presence => presence,
                },
                presence => presence,
            };
        }
        match single(&head.headers, &self.header) {
            Ok(None) => Presence::Absent,
            Ok(Some(value)) => value.to_str().map_or(Presence::Malformed, Presence::Present),
            Err(Twice) => Presence::Malformed,
        }
    }

    fn verify(&self, credential: &str, _head: &Arc<Head>, now: u64) -> Verdict {
        match self.keys.verify(credential, now, |proven| self.profile.identify(proven)) {
            Ok(identity) => match self.revoked.pass(identity, Credential::Key, now) {
                Ok(identity) => Verdict::Accepted(identity),
                Err(refusal) => Verdict::Refused(refusal),
            },
            Err(KeyError::Unknown) => Verdict::Refused(Refusal::Invalid("unknown key")),
            Err(KeyError::NotYet) => Verdict::Refused(Refusal::Invalid("key is not valid yet")),
            Err(KeyError::Expired) => Verdict::Refused(Refusal::Expired),
        }
    }

    fn scheme(&self) -> Scheme {
        Scheme::ApiKey
    }

    fn carrier(&self) -> Option<&HeaderName> {
        Some(&self.header)
    }

    fn keys(&self) -> Vec<KeyStatistic> {
        self.keys.statistics().collect()
    }
}
