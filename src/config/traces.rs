//! `observe.traces`: spans of sampled calls, to a collector by OTLP over gRPC.
//!
//! ```yaml
//! traces: { otlp: "http://otel:4317", sample: 5% }
//! ```

use http::Uri;

use super::finding::Report;
use super::section::Section;
use super::yaml::Node;
use super::{share, value};
use crate::policy::sampling::Share;

/// What is traced, and who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The collector: `http://host:port`.
    pub otlp: Uri,
    /// Of calls that belong to no trace yet. Default 5 %.
    pub share: Share,
    /// What the spans are of. Default `transom`.
    pub service: String,
    /// Of each worker's spans that the collector has not got yet. Default 2048.
    pub queue_spans_max: usize,
}

impl Traces {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let (mut otlp, mut share, mut queue_spans_max) = (None, Share::millionths(50_000), 2048);
        let mut service = "transom".to_owned();
        let mut section = Section::open(node, "observe.traces", report)?;
        section.read("otlp", &mut otlp, |node, report| read_collector(node, report).map(Some));
        section.read("sample", &mut share, share::read);
        section.read("service", &mut service, value::text);
        section.read("queue", &mut queue_spans_max, value::integer(64..=1_000_000));
        section.require("otlp", "name a collector such as `http://otel:4317`");
        section.close(&[]);
        Some(Self { otlp: otlp?, share, service, queue_spans_max })
    }
}

/// The service has one path, so that the URL has none.
fn read_collector(node: &Node, report: &mut Report) -> Option<Uri> {
    let text = value::text(node, report)?;
    let uri = text.parse::<Uri>().ok().filter(|uri| {
        uri.scheme_str() == Some("http")
            && matches!(uri.path_and_query().map(|path| path.as_str()), None | Some("/"))
    });
    let has_port = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some();
    match uri.filter(has_port) {
        Some(uri) if !text.contains('@') => Some(uri),
        _ => value::refuse(node, report, "expected a collector such as `http://otel:4317`"),
    }
}
