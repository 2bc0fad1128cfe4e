//! What a client is told whose call is not authenticated.
//!
//! ```text
//! no credential     401 UNAUTHENTICATED          Bearer realm="…"                          (RFC 6750, 3.1)
//! a bad one         401 TOKEN_INVALID            Bearer realm="…", error="invalid_token"
//! expired           401 TOKEN_EXPIRED            the same, with a description
//! twice, malformed  401 CREDENTIAL_MALFORMED     the same
//! nobody can say    503 AUTH_BACKEND_DOWN        nothing: the credential may be good
//! denied by another as it says                   as it says
//! ```
//!
//! Why a credential is bad stands in the log alone: no client can tell a forged one from an unknown one.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};

use super::provider::{Denial, Provider, Refusal, Scheme};
use crate::status::{Code, Status};
use crate::telemetry::AuthVerdict;

/// Why a call is refused, and by which provider of its requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) decider: Option<usize>,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Missing,
    Malformed,
    Refused(Refusal),
}

/// When to come back while nobody can say who is calling.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Reason {
    pub(super) fn missing() -> Self {
        Self { decider: None, what: What::Missing }
    }

    pub(super) fn of(decider: usize, what: What) -> Self {
        Self { decider: Some(decider), what }
    }

    pub(super) fn refused(decider: usize, refusal: Refusal) -> Self {
        Self::of(decider, What::Refused(refusal))
    }

    /// What metrics count.
    pub(super) fn verdict(&self) -> AuthVerdict {
        match &self.what {
            What::Missing => AuthVerdict::Missing,
            What::Malformed | What::Refused(Refusal::Invalid(_)) => AuthVerdict::Invalid,
            What::Refused(Refusal::Expired) => AuthVerdict::Expired,
            What::Refused(Refusal::Unavailable(_)) => AuthVerdict::Unavailable,
            What::Refused(Refusal::Denied(_)) => AuthVerdict::Denied,
        }
    }

    /// What the log says.
    pub(super) fn word(&self) -> &'static str {
        match &self.what {
            What::Missing => "no credential",
            What::Malformed => "malformed or twice",
            What::Refused(Refusal::Invalid(word) | Refusal::Unavailable(word)) => word,
            What::Refused(Refusal::Expired) => "expired",
            What::Refused(Refusal::Denied(_)) => "denied",
        }
    }

    pub(super) fn status(&self, challenges: &Challenges) -> Status {
        let unauthenticated = |message: &'static str, reason: &str| {
            Status::client(Code::Unauthenticated, message).with_reason(reason)
        };
        let kind = challenges.kind(self.decider);
        match &self.what {
            What::Missing => unauthenticated("authentication is required", "UNAUTHENTICATED"),
            What::Malformed => {
                unauthenticated("the credential is malformed or sent twice", "CREDENTIAL_MALFORMED")
            }
            What::Refused(Refusal::Invalid(_)) => {
                unauthenticated("the credential is not accepted", &format!("{kind}_INVALID"))
            }
            What::Refused(Refusal::Expired) => {
                unauthenticated("the credential has expired", &format!("{kind}_EXPIRED"))
            }
            What::Refused(Refusal::Unavailable(_)) => {
                Status::gateway(Code::Unavailable, "credentials cannot be checked now")
                    .with_reason("AUTH_BACKEND_DOWN")
                    .with_retry(RETRY_AFTER)
            }
            What::Refused(Refusal::Denied(denial)) => denied(denial),
        }
    }

    /// What the reply carries beside the status.
    pub(super) fn headers(&self, challenges: &Challenges) -> Vec<(HeaderName, HeaderValue)> {
        let error = match &self.what {
            What::Missing => None,
            What::Malformed | What::Refused(Refusal::Invalid(_)) => Some(""),
            What::Refused(Refusal::Expired) => Some(", error_description=\"the credential has expired\""),
            What::Refused(Refusal::Unavailable(_)) => return Vec::new(),
            What::Refused(Refusal::Denied(denial)) => {
                let headers = denial.headers.iter();
                let mut headers: Vec<_> =
                    headers.map(|(name, value)| (name.clone(), value.clone())).collect();
                // RFC 9110, section 15.5.2: a 401 has a challenge.
                if denial.status == 401 && !denial.headers.contains_key(WWW_AUTHENTICATE) {
                    headers.extend(challenges.values(None, None));
                }
                return headers;
            }
        };
        challenges.values(self.decider, error).collect()
    }
}

/// The number that an external service chose, and the gRPC code that is nearest to it.
fn denied(denial: &Denial) -> Status {
    let code = match denial.status.as_u16() {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        404 => Code::NotFound,
        429 => Code::ResourceExhausted,
        _ => Code::PermissionDenied,
    };
    let message = denial.message.clone().unwrap_or_else(|| "the call is denied".to_owned());
    Status::client(code, message).with_http(denial.status.as_u16()).with_reason("DENIED")
}

/// How the client may authenticate: one challenge for each scheme and realm.
#[derive(Debug)]
pub(super) struct Challenges {
    /// By provider.
    kinds: Box<[&'static str]>,
    /// By provider: scheme and realm.
    texts: Box<[Box<str>]>,
}

impl Challenges {
    pub(super) fn new(providers: &[Arc<dyn Provider>]) -> Self {
        let text = |provider: &Arc<dyn Provider>| {
            let realm = &provider.profile().realm;
            format!("{} realm=\"{realm}\"", word(provider.scheme())).into_boxed_str()
        };
        Self {
            kinds: providers.iter().map(|provider| kind(provider.scheme())).collect(),
            texts: providers.iter().map(text).collect(),
        }
    }

    /// The kind of credential of a provider, as reasons name it.
    fn kind(&self, index: Option<usize>) -> &'static str {
        index.and_then(|index| self.kinds.get(index)).copied().unwrap_or("CREDENTIAL")
    }

    /// The decider's challenge first, with what was wrong; then the others, each once.
    fn values(
        &self,
        decider: Option<usize>,
        error: Option<&'static str>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let first = decider.and_then(|index| self.texts.get(index));
        let mut told: Vec<&str> = Vec::new();
        let mut values = Vec::new();
        for text in first.into_iter().chain(&self.texts) {
            if told.contains(&&**text) {
                continue;
            }
            let suffix = error.filter(|_| told.is_empty() && first.is_some());
            let suffix = suffix.map(|more| format!(", error=\"invalid_token\"{more}")).unwrap_or_default();
            told.push(text);
            values.extend(HeaderValue::from_str(&format!("{text}{suffix}")));
        }
        values.into_iter().map(|value| (WWW_AUTHENTICATE, value))
    }
}

fn word(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Bearer => "Bearer",
        Scheme::ApiKey => "ApiKey",
        Scheme::Certificate => "ClientCertificate",
        Scheme::External => "External",
    }
}

fn kind(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Bearer => "TOKEN",
        Scheme::ApiKey => "API_KEY",
        Scheme::Certificate => "CERTIFICATE",
        Scheme::External => "CREDENTIAL",
    }
}
