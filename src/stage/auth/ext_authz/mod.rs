//! External authorization: a service that speaks Envoy's `envoy.service.auth.v3.Authorization` decides.
//!
//! ```text
//! Head ─ ask ─▶ CheckRequest ─ gRPC, within the timeout ─▶ CheckResponse ─ answer ─▶ Identity or Denial
//! ```
//!
//! The request as a whole is the credential, so that this provider is always present: in `any` it is asked
//! when no provider before it had one. No answer is no consent: the client gets a 503, because nothing was
//! wrong with its credential. What the service says becomes claims, and metadata only through the
//! `forward:` table: a header that an answer could write without being named there would be one that a
//! client could forge elsewhere.

mod answer;
mod ask;
mod channel;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, Uri};
use tonic::transport::Endpoint;

use super::provider::{Presence, Provider, Refusal, Scheme, Verdict};
use crate::call::Head;
use crate::policy::identity::{Consumer, Identity, Profile, Proven};

use channel::WorkerChannels;
use proto::envoy::service::auth::v3::CheckResponse;
use proto::envoy::service::auth::v3::authorization_client::AuthorizationClient;

/// The protocol, as prost and tonic generate it.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/ext_authz/ext_authz.rs"));
}

/// What the configuration says of the service.
#[derive(Clone, Debug)]
pub struct ExtAuthzSettings {
    /// `http://host:port`.
    pub url: Uri,
    /// From the question to the answer, connecting included.
    pub timeout: Duration,
    /// Whether a call goes on when the service does not answer: as nobody's, without claims.
    pub allow_on_error: bool,
    /// The header of an answer that names the consumer.
    pub consumer_header: Option<HeaderName>,
    /// The consumers by name.
    pub consumers: Arc<HashMap<Box<str>, Arc<Consumer>>>,
}

/// The provider `ext_authz`.
#[derive(Debug)]
pub struct ExtAuthz {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    profile: Profile,
    settings: ExtAuthzSettings,
    channels: WorkerChannels,
}

/// A longer answer is none.
const ANSWER_BYTES_MAX: usize = 64 << 10;

impl ExtAuthz {
    pub fn new(profile: Profile, settings: ExtAuthzSettings) -> Self {
        let endpoint = Endpoint::from(settings.url.clone()).connect_timeout(settings.timeout);
        let channels = WorkerChannels::new(endpoint);
        Self { shared: Arc::new(Shared { profile, settings, channels }) }
    }
}

impl Provider for ExtAuthz {
    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    fn present<'h>(&self, _head: &'h Head) -> Presence<'h> {
        Presence::Present("")
    }

    fn verify(&self, _credential: &str, head: &Arc<Head>, now: u64) -> Verdict {
        let (shared, head) = (self.shared.clone(), head.clone());
        Verdict::Later(Box::pin(async move { shared.verify(&head, now).await }))
    }

    fn scheme(&self) -> Scheme {
        Scheme::External
    }

    fn carrier(&self) -> Option<&HeaderName> {
        static CARRIER: HeaderName = AUTHORIZATION;
        Some(&CARRIER)
    }
}

impl Shared {
    async fn verify(&self, head: &Head, now: u64) -> Result<Arc<Identity>, Refusal> {
        let answer = match tokio::time::timeout(self.settings.timeout, self.ask(head, now)).await {
            Ok(Ok(answer)) => answer::read(answer),
            Ok(Err(status)) => {
                tracing::debug!(code = ?status.code(), "an authorization service failed");
                Err(Refusal::Unavailable("the authorization service failed"))
            }
            Err(_) => Err(Refusal::Unavailable("the authorization service is too slow")),
        };
        match answer {
            Ok(allowed) => Ok(self.profile.identify(allowed.prove(&self.settings))),
            Err(Refusal::Unavailable(reason)) if self.settings.allow_on_error => {
                tracing::warn!(provider = &*self.profile.provider, reason, "a call goes on unauthorized");
                Ok(self.profile.identify(Proven::default()))
            }
            Err(refusal) => Err(refusal),
        }
    }

    async fn ask(&self, head: &Head, now: u64) -> Result<CheckResponse, tonic::Status> {
        let mut client = AuthorizationClient::new(self.channels.of_this_worker())
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let mut request = tonic::Request::new(ask::write(head, now));
        request.set_timeout(self.settings.timeout);
        Ok(client.check(request).await?.into_inner())
    }
}
