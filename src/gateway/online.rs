//! Everything that a configuration names by network, asked whether it is there: for `transom check --online`.
//!
//! All are asked at once, each for five seconds at most, and in a way that changes nothing: a PING, a health check, the
//! documents that are published for everyone, a `HEAD`. What does not answer is a finding where the file names it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::task::JoinSet;

use super::snapshot::finding;
use super::{backend_tls, limits, settings, tokens};
use crate::config::Config;
use crate::config::auth::{Kind, Provider};
use crate::config::auth_jwt::Keys;
use crate::config::endpoints::{Endpoint, Endpoints};
use crate::config::finding::Finding;
use crate::config::observe::UsageSink;
use crate::config::services::{self, Service};
use crate::config::stores::StoreKind;
use crate::stage::auth::{introspect, jwt};
use crate::store::redis;
use crate::telemetry::usage;
use crate::upstream::{self, Address, Tls, TlsHandle, UpstreamConfig};

/// For one answer, whatever it takes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What does not answer, in the order of the file.
pub async fn unreachable(config: &Config) -> Vec<Finding> {
    let mut probes = Probes { config, asked: JoinSet::new() };
    probes.services();
    probes.providers();
    probes.stores();
    probes.sinks();
    let mut findings: Vec<_> = probes.asked.join_all().await.into_iter().flatten().collect();
    findings.sort_by(|left, right| (left.position, &left.message).cmp(&(right.position, &right.message)));
    findings
}

struct Probes<'c> {
    config: &'c Config,
    asked: JoinSet<Option<Finding>>,
}

impl Probes<'_> {
    fn services(&mut self) {
        for service in &self.config.services {
            if let Endpoints::Discovered(discovered) = &service.endpoints
                // Without the password there is no answer to be had.
                && (self.config.has_secrets || !discovered.source.has_secrets())
            {
                let source = settings::discovery(service, discovered).source;
                let what = format!("`{}`: its endpoints are not found", service.name);
                let path = ["services", &service.name, "endpoints", source.name()];
                self.ask(&path, what, async move {
                    let count = source.probe().await?;
                    if count == 0 { Err("no endpoint is named".to_owned()) } else { Ok(()) }
                });
            }
            let tls = service.speaks_tls().then(|| self.tls(service));
            for endpoint in service.endpoints.fixed() {
                let url = &endpoint.url;
                let what = format!("`{}`: cannot connect to `{url}`", service.name);
                let path = ["services", &service.name, "endpoints", "static"];
                let tls = tls.clone().filter(|_| endpoint.is_tls());
                let dialled = self.question(&path, what, dial(url.clone(), tls.clone()));
                let health = self.health(service, endpoint, tls.and_then(Result::ok));
                self.ask_in_turn([Some(dialled), health].into_iter().flatten().collect());
            }
        }
    }

    /// Whether an endpoint says that it is well, where it will be asked for that: a wrong name makes all unwell.
    fn health(&self, service: &Service, endpoint: &Endpoint, tls: Option<Tls>) -> Option<Question> {
        let asked_for = &service.health.as_ref()?.service;
        let what = format!("`{}`: `{}` is not well by the name `{asked_for}`", service.name, endpoint.url);
        let tls = tls.map(|tls| TlsHandle(Arc::new(tls)));
        let config = UpstreamConfig { tls, ..settings::upstream(service, None) };
        let address = settings::endpoint(endpoint).address;
        let path = ["services", &service.name, "health", "grpc"];
        Some(self.question(&path, what, async move { upstream::ask_health(address, &config).await }))
    }

    /// What the service shows and believes; where its key is elsewhere, it shows nothing.
    fn tls(&self, service: &Service) -> Result<Tls, String> {
        let tls = service.tls.clone().unwrap_or_default();
        let certificate = tls.certificate.filter(|_| self.config.has_secrets);
        backend_tls::read(&services::Tls { certificate, ..tls })
    }

    fn providers(&mut self) {
        for provider in &self.config.auth {
            match &provider.kind {
                Kind::ApiKey(_) | Kind::Mtls(_) => {}
                Kind::ExtAuthz(ext_authz) => {
                    let what = format!("`auth.{}`: cannot connect to `{}`", provider.name, ext_authz.url);
                    let path = ["auth", &provider.name, "ext_authz", "url"];
                    self.ask(&path, what, dial(ext_authz.url.clone(), None));
                }
                Kind::Introspect(introspect) => {
                    let what = format!("`auth.{}`: its endpoint does not answer", provider.name);
                    let (url, ca) = (introspect.url.clone(), introspect.ca.clone());
                    let path = ["auth", &provider.name, "introspect", "url"];
                    self.ask(&path, what, async move {
                        let ca = ca.as_deref().map(tokens::certificates).transpose()?;
                        introspect::probe(&url, ca.as_deref()).await
                    });
                }
                Kind::Jwt(jwt) => self.keys(provider, jwt),
            }
        }
    }

    fn keys(&mut self, provider: &Provider, jwt: &crate::config::auth_jwt::Jwt) {
        let key = match jwt.keys {
            Keys::Url(_) => "jwks",
            Keys::Discovery(_) => "issuer",
            Keys::File(_) | Keys::Secret(_) => return,
        };
        let source = tokens::source(jwt);
        let what = format!("`auth.{}`: its keys cannot be fetched", provider.name);
        self.ask(
            &["auth", &provider.name, "jwt", key],
            what,
            async move { jwt::keyring::probe(&source?).await },
        );
    }

    fn stores(&mut self) {
        for store in &self.config.stores {
            let StoreKind::Redis(redis) = &store.kind else { continue };
            let what = format!("`stores.{}`: no answer to PING", store.name);
            let settings = limits::settings(&store.name.as_str().into(), redis);
            // Without the password there is no answer to be had, but there may be somebody to connect to.
            let logs_in = self.config.has_secrets || redis.password.is_none();
            self.ask(&["stores", &store.name, "redis"], what, async move {
                let settings = settings?;
                if logs_in { redis::ping(&settings).await } else { redis::connect(&settings).await }
            });
        }
    }

    fn sinks(&mut self) {
        let Some(usage) = &self.config.observe.usage else { return };
        let UsageSink::Http { url, .. } = &usage.sink else { return };
        let url = url.to_string();
        let what = "`observe.usage`: its address does not answer".to_owned();
        self.ask(&["observe", "usage", "http"], what, async move { usage::probe(&url).await });
    }

    /// Asks, and makes a finding at `path` of what there is instead of an answer.
    fn ask(
        &mut self,
        path: &[&str],
        what: String,
        asking: impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let question = self.question(path, what, asking);
        self.ask_in_turn(vec![question]);
    }

    fn question(
        &self,
        path: &[&str],
        what: String,
        asking: impl Future<Output = Result<(), String>> + Send + 'static,
    ) -> Question {
        let finding = finding(self.config, self.config.place(path), what);
        Question { finding, asking: Box::pin(asking) }
    }

    /// Asks one after the other, until one has no answer.
    fn ask_in_turn(&mut self, questions: Vec<Question>) {
        self.asked.spawn(async move {
            for question in questions {
                if let Some(finding) = question.ask().await {
                    return Some(finding);
                }
            }
            None
        });
    }
}

/// Something that is asked, and what is found where there is no answer.
struct Question {
    /// Without the reason.
    finding: Finding,
    asking: Pin<Box<dyn Future<Output = Result<(), String>> + Send>>,
}

impl Question {
    async fn ask(self) -> Option<Finding> {
        let answer = tokio::time::timeout(PATIENCE, self.asking).await;
        let late = || Err(format!("not within {} seconds", PATIENCE.as_secs()));
        let reason = answer.unwrap_or_else(|_| late()).err()?;
        let message = format!("{}: {reason}", self.finding.message);
        Some(Finding { message, ..self.finding })
    }
}

async fn dial(url: Uri, tls: Option<Result<Tls, String>>) -> Result<(), String> {
    let tls = tls.transpose()?;
    let authority = url.authority().ok_or("the URL has no host")?.clone();
    upstream::probe(&Address { authority, is_tls: tls.is_some() }, tls.as_ref()).await
}
