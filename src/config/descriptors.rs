//! `descriptors`: where the types, the routes and the comments come from.
//!
//! ```yaml
//! descriptors:
//!   - { file: api.binpb }                  # protoc --include_imports -o, buf build -o; gzip too
//!   - { directory: descriptors }           # every set in it
//!   - { proto: api, includes: [vendor] }   # .proto files, compiled here
//!   - { reflect: "http://127.0.0.1:50051" }
//!   - { reflect: "https://orders.internal:50051", tls: { ca: file:ca.crt } }
//! ```

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;

use super::finding::{Position, Report};
use super::section::Section;
use super::services::{Tls, backend};
use super::value;
use super::yaml::{Node, Value};

/// One source, and where the file names it, for findings about what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptors {
    pub source: Source,
    pub position: Option<Position>,
}

/// The kinds of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A serialized `FileDescriptorSet` or Buf image, gzip included.
    File(PathBuf),
    /// A directory of such files.
    Directory(PathBuf),
    /// A `.proto` file, or a directory of them, compiled at start.
    Proto {
        path: PathBuf,
        /// Where its imports are looked for, besides its own directory.
        includes: Vec<PathBuf>,
    },
    /// A backend that serves gRPC reflection.
    Reflect {
        uri: Uri,
        /// How often it is asked again. Default never, but with every reload.
        refresh: Option<Duration>,
        /// How it is reached by TLS. Default: at an `https://` URL, by whom the system believes.
        tls: Option<Tls>,
    },
    /// A set that is part of this program; no file can name one.
    Embedded { name: &'static str, set: &'static [u8] },
}

/// From what a backend is glad to be asked, to a day.
const REFRESH: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

const KINDS: [&str; 4] = ["file", "directory", "proto", "reflect"];

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Vec<Descriptors>> {
    if let Value::List(items) = &node.value
        && items.is_empty()
    {
        return value::refuse(node, report, "expected at least one source, found none");
    }
    value::list(read_one)(node, report)
}

fn read_one(node: &Node, report: &mut Report) -> Option<Descriptors> {
    let (mut file, mut directory, mut proto, mut reflect, mut refresh) = (None, None, None, None, None);
    let (mut includes, mut tls) = (Vec::new(), None);
    let mut section = Section::open(node, "descriptors[]", report)?;
    section.read("file", &mut file, |node, report| value::path(node, report).map(Some));
    section.read("directory", &mut directory, |node, report| value::path(node, report).map(Some));
    section.read("proto", &mut proto, |node, report| value::path(node, report).map(Some));
    section.read("includes", &mut includes, value::list(value::path));
    section.read("reflect", &mut reflect, |node, report| backend(node, report).map(Some));
    section.read("refresh", &mut refresh, |node, report| value::duration(REFRESH)(node, report).map(Some));
    section.read("tls", &mut tls, |node, report| Tls::read("descriptors[]", node, report));
    let named = KINDS.iter().filter(|kind| section.has(kind)).count();
    let stray = section.has("includes") && !section.has("proto");
    let stray_question =
        ["refresh", "tls"].into_iter().find(|key| section.has(key) && !section.has("reflect"));
    section.close(&[]);
    if named != 1 {
        return value::refuse(
            node,
            report,
            "expected exactly one of `file`, `directory`, `proto` or `reflect`",
        );
    }
    if stray {
        return value::refuse(node, report, "`includes` belongs to `proto`");
    }
    if let Some(key) = stray_question {
        return value::refuse(node, report, format!("`{key}` belongs to `reflect`"));
    }
    let is_plain = reflect.as_ref().is_some_and(|uri: &Uri| uri.scheme() == Some(&Scheme::HTTP));
    if tls.is_some() && is_plain {
        return value::refuse(node, report, "`reflect` is without TLS, and `tls` is given: write `https://`");
    }
    let source = file
        .map(Source::File)
        .or(directory.map(Source::Directory))
        .or(proto.map(|path| Source::Proto { path, includes }))
        .or(reflect.map(|uri| Source::Reflect { uri, refresh, tls }))?;
    Some(Descriptors { source, position: Some(node.position) })
}
