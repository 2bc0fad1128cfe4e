//! What a surface says of itself on its own listener: its OpenAPI document, and a page to read and try it.
//!
//! ```text
//! no route matches ─▶ is it a page of the surface? ─▶ 304 · held in memory · written while it is sent
//! ```
//!
//! Routes go first, so that a page never takes a call away. A document is made on its first use and held as
//! long as its snapshot, if it is not too large; one that is too large is made anew for each reader, a few
//! at a time, and only its hash is held. Stages do not judge pages: whoever reaches the listener reads them.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OnceCell, Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::openapi;
use super::snapshot::warning;
use super::swagger_ui::{self, Asset};
use crate::call::{Messages, Piece, Reply, ReplyBody};
use crate::config::Config;
use crate::config::finding::Finding;
use crate::frontend::Exchange;
use crate::openapi::{Format, Version};
use crate::route::Match;
use crate::snapshot::{Snapshot, Surfaces};
use crate::status::{Code, Status};

/// A document that is larger is not held.
const HELD_BYTES_MAX: usize = 8 << 20;

/// Documents that are being written for readers, on all surfaces together.
const WRITERS_MAX: usize = 2;

/// Pieces on their way to a reader.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 4;

/// The pages of a snapshot. Lies in it.
#[derive(Debug)]
pub(super) struct Pages {
    /// By surface; `None`: it has none.
    surfaces: Box<[Option<SurfacePages>]>,
    writers: Arc<Semaphore>,
}

#[derive(Debug)]
struct SurfacePages {
    /// As JSON, and as YAML beside it.
    documents: Vec<Document>,
    docs: Option<String>,
}

#[derive(Debug)]
struct Document {
    path: String,
    format: Format,
    made: OnceCell<Made>,
}

/// A document that was written once.
#[derive(Clone, Debug)]
struct Made {
    etag: HeaderValue,
    /// `None`: it is too large to be held.
    body: Option<Bytes>,
}

impl Pages {
    /// `None` where no surface has a page.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let surfaces: Box<[_]> = config
            .surfaces
            .iter()
            .map(|surface| {
                let said = surface.openapi.as_ref()?;
                let mut documents = Vec::new();
                if let Some(path) = &said.path {
                    let document = |path: String, format| Document { path, format, made: OnceCell::new() };
                    documents.push(document(path.clone(), Format::Json));
                    if let Some(stem) = path.strip_suffix(".json") {
                        documents.push(document(format!("{stem}.yaml"), Format::Yaml));
                    }
                }
                // Without a document there is nothing to show.
                let docs = said.docs.clone().filter(|_| !documents.is_empty());
                (!documents.is_empty()).then_some(SurfacePages { documents, docs })
            })
            .collect();
        let has_pages = surfaces.iter().any(Option::is_some);
        has_pages.then(|| Self { surfaces, writers: Arc::new(Semaphore::new(WRITERS_MAX)) })
    }

    /// Pages that nobody reaches, because a route has their path.
    pub(super) fn shadowed(&self, config: &Config, surfaces: &Surfaces) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (index, surface) in surfaces.all().iter().enumerate() {
            for path in self.paths(index) {
                let called = match surface.routes.find("GET", path) {
                    Match::Found { binding, .. } => format!("a call of `{}`", binding.method),
                    Match::Aggregate { aggregate, .. } => format!("the route `GET {}`", aggregate.template),
                    Match::MethodNotAllowed { .. } | Match::NotFound | Match::BadPath(_) => continue,
                };
                let position = config.surfaces.get(index).and_then(|surface| surface.position);
                let message = format!(
                    "`{path}` of `{}` is {called}: give the page of `openapi` another path, or `off`",
                    surface.name
                );
                findings.push(warning(config, position, message));
            }
        }
        findings
    }

    /// The paths of a surface's pages.
    fn paths(&self, surface: usize) -> impl Iterator<Item = &str> {
        let pages = self.surfaces.get(surface).and_then(Option::as_ref);
        let documents =
            pages.into_iter().flat_map(|pages| pages.documents.iter().map(|one| one.path.as_str()));
        documents.chain(pages.and_then(|pages| pages.docs.as_deref()))
    }

    /// The page for a request that no route of its surface matches; `None` where there is none.
    pub(super) async fn answer(&self, exchange: &Exchange) -> Option<Result<Reply, Status>> {
        let Exchange { snapshot, head, .. } = exchange;
        if !matches!(head.method, Method::GET | Method::HEAD) {
            return None;
        }
        let name = exchange.surface.as_ref()?;
        let index = snapshot.surfaces.all().iter().position(|surface| surface.name == *name)?;
        let pages = self.surfaces.get(index)?.as_ref()?;
        match pages.page(head.uri.path())? {
            Page::Document(document) => {
                let known = head.headers.get(header::IF_NONE_MATCH);
                Some(document.answer(snapshot, index, &self.writers, known).await)
            }
            Page::Docs(asset) => {
                for (name, value) in swagger_ui::headers() {
                    exchange.notes.reply_header(name, value);
                }
                Some(Ok(asset_reply(&asset, head.headers.get(header::IF_NONE_MATCH))))
            }
        }
    }
}

enum Page<'p> {
    Document(&'p Document),
    Docs(Asset),
}

impl SurfacePages {
    fn page(&self, path: &str) -> Option<Page<'_>> {
        if let Some(document) = self.documents.iter().find(|document| document.path == path) {
            return Some(Page::Document(document));
        }
        let docs = self.docs.as_deref()?;
        let name = path.strip_prefix(docs)?;
        let first = self.documents.first()?;
        Some(Page::Docs(swagger_ui::asset(docs, &first.path, name)?))
    }
}

impl Document {
    async fn answer(
        &self,
        snapshot: &Arc<Snapshot>,
        surface: usize,
        writers: &Arc<Semaphore>,
        if_none_match: Option<&HeaderValue>,
    ) -> Result<Reply, Status> {
        let made = self.made.get_or_try_init(|| make(snapshot, surface, self.format, writers)).await?;
        let content_type = match self.format {
            Format::Yaml => HeaderValue::from_static("application/yaml"),
            Format::Json | Format::JsonIndented => HeaderValue::from_static("application/json"),
        };
        let mut metadata = HeaderMap::new();
        metadata.insert(header::ETAG, made.etag.clone());
        metadata.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if if_none_match.is_some_and(|known| knows(known, &made.etag)) {
            return Ok(not_modified(metadata));
        }
        let body = match &made.body {
            Some(body) => raw(content_type, body.clone()),
            None => ReplyBody::RawStream {
                content_type: Some(content_type),
                messages: stream(snapshot, surface, self.format, writers).await?,
            },
        };
        Ok(Reply { metadata, body })
    }
}

fn raw(content_type: HeaderValue, body: Bytes) -> ReplyBody {
    ReplyBody::Raw { content_type: Some(content_type), body, trailers: HeaderMap::new() }
}

fn asset_reply(asset: &Asset, if_none_match: Option<&HeaderValue>) -> Reply {
    let mut metadata = HeaderMap::new();
    metadata.insert(header::ETAG, asset.etag.clone());
    metadata.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if if_none_match.is_some_and(|known| knows(known, &asset.etag)) {
        return not_modified(metadata);
    }
    Reply { metadata, body: raw(asset.content_type.clone(), asset.body.clone()) }
}

/// The number goes with the metadata, as a backend's own would.
fn not_modified(mut metadata: HeaderMap) -> Reply {
    metadata.insert(HeaderName::from_static("x-http-code"), HeaderValue::from_static("304"));
    let body = ReplyBody::Raw { content_type: None, body: Bytes::new(), trailers: HeaderMap::new() };
    Reply { metadata, body }
}

/// RFC 9110, section 13.1.2: a list of tags, compared weakly, or `*`.
pub(super) fn knows(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(list), Ok(etag)) = (if_none_match.to_str(), etag.to_str()) else { return false };
    list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Writes a document once, beside the workers.
async fn make(
    snapshot: &Arc<Snapshot>,
    surface: usize,
    format: Format,
    writers: &Arc<Semaphore>,
) -> Result<Made, Status> {
    let _permit = writers.acquire().await.map_err(|_| failed())?;
    let snapshot = Arc::clone(snapshot);
    let made = tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Hashed::new());
        openapi::write(&snapshot, surface, Version::V31, format, &mut out)?;
        out.into_inner().map(Hashed::finish).map_err(io::IntoInnerError::into_error)
    });
    made.await.ok().and_then(Result::ok).ok_or_else(failed)
}

/// Writes a document for one reader, only as fast as it is read.
async fn stream(
    snapshot: &Arc<Snapshot>,
    surface: usize,
    format: Format,
    writers: &Arc<Semaphore>,
) -> Result<Messages, Status> {
    let permit = Arc::clone(writers).acquire_owned().await.map_err(|_| failed())?;
    let snapshot = Arc::clone(snapshot);
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let out = BufWriter::with_capacity(PIECE_BYTES, Pieces(sender.clone()));
        // Whoever stops to read ends it; any other failure is told to the reader.
        if openapi::write(&snapshot, surface, Version::V31, format, out).is_err() {
            let _ = sender.blocking_send(Err(failed()));
        }
        drop(permit);
    });
    Ok(Box::pin(ReceiverStream::new(receiver).map(|piece| piece.map(Piece::Message))))
}

fn failed() -> Status {
    Status::gateway(Code::Internal, "the document cannot be written").with_reason("INTERNAL")
}

/// Hashes what is written, and keeps it while it is not too large.
struct Hashed {
    hash: Context,
    kept: Option<Vec<u8>>,
}

impl Hashed {
    fn new() -> Self {
        Self { hash: Context::new(&SHA256), kept: Some(Vec::new()) }
    }

    fn finish(self) -> Made {
        let digest = self.hash.finish();
        Made { etag: etag(digest.as_ref()), body: self.kept.map(Bytes::from) }
    }
}

/// A strong tag of a hash.
pub(super) fn etag(digest: &[u8]) -> HeaderValue {
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::try_from(format!("\"{hex}\"")).expect("hexadecimal digits")
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        match &mut self.kept {
            Some(kept) if kept.len() + bytes.len() <= HELD_BYTES_MAX => kept.extend_from_slice(bytes),
            _ => self.kept = None,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends what is written to a reader.
struct Pieces(mpsc::Sender<Result<Bytes, Status>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_by_a_list_or_by_any() {
        let check = |list: &'static str, expected: bool| {
            let known = knows(&HeaderValue::from_static(list), &HeaderValue::from_static("\"a\""));
            assert_eq!(known, expected, "{list}");
        };
        check("\"a\"", true);
        check("W/\"a\"", true);
        check("\"b\", W/\"a\"", true);
        check("*", true);
        check("\"b\"", false);
        check("", false);
    }

    #[test]
    fn what_is_too_large_is_hashed_and_not_held() {
        let made = |length: usize| {
            let mut out = Hashed::new();
            for _ in 0..length / 1024 {
                out.write_all(&[b'a'; 1024]).expect("memory");
            }
            out.write_all(&vec![b'a'; length % 1024]).expect("memory");
            out.finish()
        };
        assert_eq!(made(HELD_BYTES_MAX).body.map(|body| body.len()), Some(HELD_BYTES_MAX));
        assert_eq!(made(HELD_BYTES_MAX + 1).body, None);
        assert_ne!(made(10).etag, made(11).etag);
        assert_eq!(made(3000).etag, made(3000).etag);
    }
}
