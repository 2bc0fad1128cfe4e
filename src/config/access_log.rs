//! `observe.access_log`: a line for each call, or for a share of them.
//!
//! ```yaml
//! access_log: { to: "file:/var/log/transom/access.log", sample: { ok: 10%, errors: 100% } }
//! ```

use std::path::PathBuf;

use super::finding::Report;
use super::section::Section;
use super::share;
use super::value::{self, KIB, MIB};
use super::yaml::{Node, Value};
use crate::policy::sampling::Share;

/// What is logged of calls, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    pub to: AccessLogTarget,
    pub sample: Sample,
    /// Of what each worker has to say of calls and is not written yet. Default 1 MiB.
    pub buffer_bytes_max: usize,
}

/// Where the lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogTarget {
    #[default]
    Stdout,
    File(PathBuf),
}

/// Which calls are logged, by how they ended. Default: all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub ok: Share,
    pub errors: Share,
}

const FORMATS: [(&str, ()); 1] = [("json", ())];

impl AccessLog {
    pub(super) fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let (mut to, mut buffer_bytes_max) = (AccessLogTarget::Stdout, MIB);
        let mut sample = Sample::default();
        let mut section = Section::open(node, "observe.access_log", report)?;
        section.read("format", &mut (), value::choice(&FORMATS));
        section.read("to", &mut to, read_target);
        section.read("buffer", &mut buffer_bytes_max, value::bytes(64 * KIB..=64 * MIB));
        section.read("sample", &mut sample, Sample::read);
        section.close(&[]);
        Some(Self { to, sample, buffer_bytes_max })
    }
}

impl Sample {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        let mut sample = Self::default();
        let mut section = Section::open(node, "observe.access_log.sample", report)?;
        section.read("ok", &mut sample.ok, share::read);
        section.read("errors", &mut sample.errors, share::read);
        section.close(&[]);
        Some(sample)
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self { ok: Share::ALL, errors: Share::ALL }
    }
}

fn read_target(node: &Node, report: &mut Report) -> Option<AccessLogTarget> {
    match &node.value {
        Value::Text(text) if text == "stdout" => Some(AccessLogTarget::Stdout),
        Value::Text(text) if text.starts_with("file:") => {
            value::file(node, report).map(AccessLogTarget::File)
        }
        _ => value::expected(node, report, "`stdout` or `file:PATH`"),
    }
}
