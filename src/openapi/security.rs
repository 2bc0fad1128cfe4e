//! Which credentials a call needs, in the document's words.
//!
//! What asks an external service has no scheme: the document cannot know what that one looks at.

use super::Version;
use super::json::{Json, Object, object};

/// A credential that some operations need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheme {
    pub name: String,
    pub credential: Credential,
}

/// What a client shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer …`, of this format.
    Bearer { format: Option<String> },
    /// A token of an identity provider, which describes itself at this URL.
    OpenIdConnect { url: String },
    /// A key in this header.
    ApiKey { header: String },
    /// A certificate.
    Certificate,
}

/// Which of the schemes an operation needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Nobody is asked.
    #[default]
    None,
    /// One of these.
    Any(Vec<String>),
    /// One of these, or none of them.
    Optional(Vec<String>),
    /// All of these.
    All(Vec<String>),
    /// Something that has no scheme.
    Unknown,
}

impl Security {
    /// Whether a call may be refused for want of a credential.
    pub(super) fn asks(&self) -> bool {
        *self != Self::None
    }

    /// `security` of an operation; `None` where there is nothing to say.
    pub(super) fn requirements(&self, schemes: &[Scheme], version: Version) -> Option<Json> {
        let has = |name: &&String| {
            let scheme = schemes.iter().find(|scheme| scheme.name == **name);
            scheme.is_some_and(|scheme| scheme.credential.is_known(version))
        };
        let one = |name: &String| Json::from(object(name.clone(), Vec::<Json>::new()));
        let requirements = match self {
            Self::None | Self::Unknown => return None,
            Self::Any(names) => names.iter().filter(has).map(one).collect(),
            Self::Optional(names) => {
                names.iter().filter(has).map(one).chain([Json::from(Object::new())]).collect()
            }
            Self::All(names) => {
                let all: Object =
                    names.iter().filter(has).map(|name| (name.clone().into(), Json::List(vec![]))).collect();
                if all.is_empty() { vec![] } else { vec![Json::from(all)] }
            }
        };
        // An empty list would say that nobody is asked.
        (!requirements.is_empty()).then_some(Json::List(requirements))
    }
}

impl Credential {
    /// 3.0 has no certificates.
    fn is_known(&self, version: Version) -> bool {
        version == Version::V31 || *self != Self::Certificate
    }

    fn json(&self) -> Object {
        match self {
            Self::Bearer { format } => {
                let scheme = object("type", "http").with("scheme", "bearer");
                scheme.with_text("bearerFormat", format.clone().unwrap_or_default())
            }
            Self::OpenIdConnect { url } => {
                object("type", "openIdConnect").with("openIdConnectUrl", url.clone())
            }
            Self::ApiKey { header } => {
                object("type", "apiKey").with("in", "header").with("name", header.clone())
            }
            Self::Certificate => object("type", "mutualTLS"),
        }
    }
}

/// `components.securitySchemes`, by name.
pub(super) fn schemes(schemes: &[Scheme], version: Version) -> Object {
    let mut known: Vec<_> = schemes.iter().filter(|scheme| scheme.credential.is_known(version)).collect();
    known.sort_by(|left, right| left.name.cmp(&right.name));
    known.into_iter().map(|scheme| (scheme.name.clone().into(), scheme.credential.json().into())).collect()
}

/// The replies to a call without the credential that it needs.
pub(super) fn responses(responses: &mut Object) {
    responses.set("401", object("$ref", "#/components/responses/Unauthorized"));
    responses.set("403", object("$ref", "#/components/responses/Forbidden"));
}
