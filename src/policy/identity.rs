//! Who is calling: an [`Identity`] as a credential proved it, and the [`Consumer`] it belongs to.
//!
//! Providers prove ([`Proven`]); a [`Profile`] says what every identity of one provider gets beside that:
//! the metadata that its `forward:` table writes and the consumer that its claims name. Both are made once,
//! when the credential is verified, so that a cached verdict costs the clone of an `Arc`.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::claims::{self, Forward};

/// Who is calling, as one provider knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The provider's name in the configuration.
    pub provider: Arc<str>,
    /// What the credential says of its holder: `sub`, the id of a key, a name of a certificate.
    pub subject: Arc<str>,
    pub claims: Arc<Map<String, Value>>,
    pub scopes: Box<[Box<str>]>,
    pub consumer: Option<Arc<Consumer>>,
    /// Which credential it was, for logs and revocation: the id of a key, a `jti`. Never secret.
    pub credential: Arc<str>,
    /// When it ends, in seconds since 1970.
    pub expires: Option<u64>,
    /// Metadata for the backend, by the provider's `forward:` table.
    pub forward: HeaderMap,
    /// What the client sent and the backend is not to see, as an external service said.
    pub withheld: Box<[HeaderName]>,
}

/// Who is served and counted: plans, limits and usage go by it, whatever the credential was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    pub name: Arc<str>,
    /// The name of its plan.
    pub plan: Option<Arc<str>>,
}

/// What a verified credential says; the rest of an [`Identity`] follows from the [`Profile`].
#[derive(Clone, Debug, Default)]
pub struct Proven {
    pub subject: Arc<str>,
    pub claims: Arc<Map<String, Value>>,
    pub scopes: Box<[Box<str>]>,
    pub credential: Arc<str>,
    pub expires: Option<u64>,
    /// The consumer that the credential itself belongs to; otherwise the claims may name one.
    pub consumer: Option<Arc<Consumer>>,
    /// See [`Identity::withheld`].
    pub withheld: Box<[HeaderName]>,
}

/// What the configuration makes of the identities of one provider.
///
/// Equal profiles make equal identities: a cache of verdicts may outlive a reload that leaves it equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub provider: Arc<str>,
    /// Named in challenges.
    pub realm: Arc<str>,
    /// Whether the backend is given the credential too.
    pub pass_token: bool,
    pub forward: Forward,
    pub consumers: Option<ClaimConsumers>,
}

impl Profile {
    /// A profile that forwards nothing and knows no consumers.
    pub fn new(provider: &str) -> Self {
        Self {
            provider: provider.into(),
            realm: "transom".into(),
            pass_token: false,
            forward: Forward::default(),
            consumers: None,
        }
    }

    /// The identity that a verified credential stands for.
    pub fn identify(&self, proven: Proven) -> Arc<Identity> {
        let named = || self.consumers.as_ref()?.find(&self.provider, &proven.claims);
        let consumer = proven.consumer.clone().or_else(named);
        Arc::new(Identity {
            provider: self.provider.clone(),
            forward: self.forward.metadata(&proven.claims),
            subject: proven.subject,
            claims: proven.claims,
            scopes: proven.scopes,
            consumer,
            credential: proven.credential,
            expires: proven.expires,
            withheld: proven.withheld,
        })
    }
}

/// `"corp:{tenant}"`: one consumer for each value of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimConsumers {
    /// The dotted path of the claim.
    pub claim: Box<str>,
    pub plan: Plan,
    /// Values whose consumers are written out, as `"corp:acme"`, with a plan of their own.
    pub written: HashMap<Box<str>, Arc<Consumer>>,
}

/// How a consumer comes to its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    None,
    Named(Arc<str>),
    /// `"{tier}"`: the claim at this path says its name. Who looks the plan up must expect that there is none.
    Claim {
        claim: Box<str>,
    },
}

/// A longer value names nobody: names are keys of limits and of statistics.
pub const NAME_BYTES_MAX: usize = 128;

impl ClaimConsumers {
    fn find(&self, provider: &str, claims: &Map<String, Value>) -> Option<Arc<Consumer>> {
        let value = claims::find(claims, &self.claim).and_then(claims::scalar)?;
        if let Some(written) = self.written.get(&*value) {
            return Some(written.clone());
        }
        is_name(&value).then(|| {
            Arc::new(Consumer { name: format!("{provider}:{value}").into(), plan: self.plan.of(claims) })
        })
    }
}

impl Plan {
    fn of(&self, claims: &Map<String, Value>) -> Option<Arc<str>> {
        match self {
            Self::None => None,
            Self::Named(name) => Some(name.clone()),
            Self::Claim { claim } => {
                let value = claims::find(claims, claim).and_then(claims::scalar)?;
                is_name(&value).then(|| value.into())
            }
        }
    }
}

/// Whether the value of a claim can be the name of a consumer or a plan.
pub fn is_name(value: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&value.len())
        && !value.chars().any(|character| character.is_control() || character.is_whitespace())
}

impl Identity {
    /// One identity of several credentials that a request must carry together.
    ///
    /// The first one names subject and credential; of claims that several have, the first one's hold. Scopes
    /// and metadata add up, and it ends when the first of them does.
    pub fn join(all: &[Arc<Self>]) -> Option<Arc<Self>> {
        let (first, rest) = all.split_first()?;
        if rest.is_empty() {
            return Some(first.clone());
        }
        let mut joined = Self::clone(first);
        let mut claims = Map::clone(&joined.claims);
        let mut scopes = std::mem::take(&mut joined.scopes).into_vec();
        for next in rest {
            for (name, value) in next.claims.iter() {
                claims.entry(name).or_insert_with(|| value.clone());
            }
            scopes.extend(next.scopes.iter().cloned());
            for (name, value) in &next.forward {
                joined.forward.entry(name).or_insert_with(|| value.clone());
            }
            joined.withheld = joined.withheld.iter().chain(&next.withheld).cloned().collect();
            joined.consumer = joined.consumer.or_else(|| next.consumer.clone());
            joined.expires = joined.expires.into_iter().chain(next.expires).min();
        }
        scopes.sort();
        scopes.dedup();
        joined.claims = Arc::new(claims);
        joined.scopes = scopes.into();
        Some(Arc::new(joined))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Arc<Map<String, Value>> {
        match value {
            Value::Object(map) => Arc::new(map),
            other => panic!("{other} is no object"),
        }
    }

    fn check(plan: Plan, value: Value, expected: Option<(&str, Option<&str>)>) {
        let gold = Arc::new(Consumer { name: "corp:gold".into(), plan: Some("pro".into()) });
        let consumers =
            ClaimConsumers { claim: "org.tenant".into(), plan, written: [("gold".into(), gold)].into() };
        let profile = Profile { consumers: Some(consumers), ..Profile::new("corp") };
        let shown = value.to_string();
        let identity = profile.identify(Proven { claims: claims(value), ..Proven::default() });
        let consumer = identity.consumer.as_ref();
        let found = consumer.map(|consumer| (&*consumer.name, consumer.plan.as_deref()));
        assert_eq!(found, expected, "{shown}");
    }

    #[test]
    fn claims_name_consumers() {
        let tenant = |value: Value| json!({ "org": { "tenant": value } });
        check(Plan::None, tenant(json!("a")), Some(("corp:a", None)));
        check(Plan::None, tenant(json!(7)), Some(("corp:7", None)));
        check(Plan::None, tenant(json!("gold")), Some(("corp:gold", Some("pro"))));
        check(Plan::Named("free".into()), tenant(json!("a")), Some(("corp:a", Some("free"))));
        for nobody in [json!(""), json!("a b"), json!("a\n"), json!(["a"]), json!({}), json!(null)] {
            check(Plan::None, tenant(nobody), None);
        }
        check(Plan::None, json!({}), None);
        let longest = "x".repeat(NAME_BYTES_MAX);
        check(Plan::None, tenant(json!(longest)), Some((&format!("corp:{longest}"), None)));
        check(Plan::None, tenant(json!(longest + "x")), None);
    }

    #[test]
    fn a_claim_names_the_plan() {
        let plan = || Plan::Claim { claim: "tier".into() };
        let of = |tier: Value| json!({ "tier": tier, "org": { "tenant": "a" } });
        check(plan(), of(json!("pro")), Some(("corp:a", Some("pro"))));
        check(plan(), of(json!("a b")), Some(("corp:a", None)));
        check(plan(), of(json!(null)), Some(("corp:a", None)));
    }

    #[test]
    fn identities_that_are_needed_together_are_one() {
        let identity = |provider: &str, value: Value, scopes: &[&str], expires: Option<u64>| {
            let mut profile = Profile::new(provider);
            profile.forward.add("sub", &format!("x-{provider}")).expect("a name");
            let scopes = scopes.iter().map(|scope| Box::from(*scope)).collect();
            let subject = provider.into();
            profile.identify(Proven { subject, claims: claims(value), scopes, expires, ..Proven::default() })
        };
        let first = identity("a", json!({ "sub": 1, "x": 1 }), &["r"], Some(9));
        let second = identity("b", json!({ "sub": 2, "y": 2 }), &["r", "w"], Some(5));
        let joined = Identity::join(&[first.clone(), second]).expect("two identities");
        assert_eq!((&*joined.provider, &*joined.subject, joined.expires), ("a", "a", Some(5)));
        assert_eq!(joined.claims, claims(json!({ "sub": 1, "x": 1, "y": 2 })));
        assert_eq!(joined.scopes, ["r".into(), "w".into()].into());
        let written: Vec<_> =
            joined.forward.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(written, [("x-a", &b"1"[..]), ("x-b", b"2")]);
        let alone = Identity::join(std::slice::from_ref(&first)).expect("one identity");
        assert!(Arc::ptr_eq(&alone, &first));
        assert!(Identity::join(&[]).is_none());
    }

    #[test]
    fn the_credentials_own_consumer_goes_before_claims() {
        let acme = Arc::new(Consumer { name: "acme".into(), plan: None });
        let consumers = ClaimConsumers { claim: "tenant".into(), plan: Plan::None, written: HashMap::new() };
        let profile = Profile { consumers: Some(consumers), ..Profile::new("corp") };
        let claims = claims(json!({ "tenant": "a" }));
        let proven = Proven { claims, consumer: Some(acme.clone()), ..Proven::default() };
        assert_eq!(profile.identify(proven).consumer, Some(acme));
    }
}
