//! `headers`: what is forwarded besides the built-in allow list, in both directions.
//!
//! Some names are never anyone's to give; `policy::metadata` knows them and says why.

use http::HeaderName;

use super::finding::Report;
use super::section::Section;
use super::value;
use super::yaml::Node;
use crate::policy::metadata::{reserved, reserved_back};

/// Names beyond the built-in ones, lower-case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Request headers that become metadata.
    pub forward: Vec<HeaderName>,
    /// Response metadata that becomes headers under its own name, without `Grpc-Metadata-`.
    pub back: Vec<HeaderName>,
}

impl Headers {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut headers = Self::default();
        let mut section = Section::open(node, "headers", report)?;
        section.read(
            "forward",
            &mut headers.forward,
            value::list(|node, report| name(node, report, reserved)),
        );
        section.read(
            "back",
            &mut headers.back,
            value::list(|node, report| name(node, report, reserved_back)),
        );
        section.close(&[]);
        Some(headers)
    }
}

fn name(
    node: &Node,
    report: &mut Report,
    reserved: impl Fn(&str) -> Option<&'static str>,
) -> Option<HeaderName> {
    let text = value::text(node, report)?;
    let Ok(name) = HeaderName::try_from(&text) else {
        return value::refuse(node, report, format!("`{text}` is not a header name"));
    };
    match reserved(name.as_str()) {
        Some(reason) => value::refuse(node, report, format!("`{text}` is reserved: {reason}")),
        None => Some(name),
    }
}
