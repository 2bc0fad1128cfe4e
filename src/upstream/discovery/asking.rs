//! What the sources that are asked by HTTP share: the client, the pace, and the addresses in their answers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::Uri;
use http::uri::Authority;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;

use crate::policy::bucket::{Rate, Verdict};
use crate::source::web;

/// For an answer that nobody waits for on purpose, from its first byte to its last.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A list of a thousand endpoints has two or three.
pub(super) const ANSWER_BYTES_MAX: usize = 8 << 20;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The certificates of an authority, or a token.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Bounds how often a source is asked that should make one wait and does not.
pub(super) struct Pace {
    rate: Rate,
    tat_ns: u64,
    begun: Instant,
}

impl Pace {
    /// Ten times at once, and then once a second.
    pub(super) fn new() -> Self {
        let rate = Rate::new(1, Duration::from_secs(1), 10).expect("a rate");
        Self { rate, tat_ns: 0, begun: Instant::now() }
    }

    /// Waits until the source may be asked once more.
    pub(super) async fn turn(&mut self) {
        tokio::time::sleep(self.take(self.begun.elapsed())).await;
    }

    /// Takes the next turn; says how long it is until then, at `now` since the beginning.
    fn take(&mut self, now: Duration) -> Duration {
        let now_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let wait_ns = match self.rate.take(self.tat_ns, now_ns, 1) {
            Verdict::Refused { retry_ns } => retry_ns,
            Verdict::Taken { .. } | Verdict::TooLarge => 0,
        };
        if let Verdict::Taken { cell } = self.rate.take(self.tat_ns, now_ns.saturating_add(wait_ns), 1) {
            self.tat_ns = cell;
        }
        Duration::from_nanos(wait_ns)
    }
}

/// A client for `url`, which believes the authorities in the file `ca`; without one, those of the system.
pub(super) async fn client(url: &Uri, ca: Option<&Path>) -> Result<Client, String> {
    let pem = match ca {
        Some(path) => Some((path, read(path.to_owned()).await?)),
        None => None,
    };
    let is_encrypted = url.scheme_str() == Some("https");
    match &pem {
        Some((path, pem)) => web::client(is_encrypted, Some(pem), ANSWER_TIMEOUT)
            .map_err(|reason| format!("`{}`: {reason}", path.display())),
        None => web::client(is_encrypted, None, ANSWER_TIMEOUT),
    }
}

/// A small file, read where a share that is slow holds nobody up.
pub(super) async fn read(path: PathBuf) -> Result<Vec<u8>, String> {
    let job = tokio::task::spawn_blocking(move || {
        let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
        let bytes = std::fs::metadata(&path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(format!("`{}`: larger than {FILE_BYTES_MAX} bytes", path.display()));
        }
        std::fs::read(&path).map_err(failed)
    });
    job.await.map_err(|error| error.to_string())?
}

/// A part of a path or of a query, as it is written in a URL.
pub(super) fn written(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `host:port` of an address or a name; `None`: it is neither, or nothing listens at such a port.
pub(super) fn authority(host: &str, port: i64) -> Option<Authority> {
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    let text = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        Ok(IpAddr::V4(address)) => format!("{address}:{port}"),
        Err(_) if host.is_empty() || host.contains([':', '@', '[']) => return None,
        Err(_) => format!("{host}:{port}"),
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_turns_come_at_once_and_one_a_second_then() {
        let mut pace = Pace::new();
        let second = Duration::from_secs(1);
        for _ in 0..10 {
            assert_eq!(pace.take(second), Duration::ZERO);
        }
        assert_eq!(pace.take(second), second);
        assert_eq!(pace.take(second), 2 * second);
        // Who was asked seldom may be asked often.
        assert_eq!(pace.take(60 * second), Duration::ZERO);
    }

    #[test]
    fn addresses_are_hosts_with_ports() {
        let check = |host: &str, port: i64, expected: Option<&str>| {
            let authority = authority(host, port);
            assert_eq!(authority.as_ref().map(Authority::as_str), expected, "{host} {port}");
        };
        check("10.0.0.1", 1, Some("10.0.0.1:1"));
        check("fd00::1", 65_535, Some("[fd00::1]:65535"));
        check("orders.test", 1, Some("orders.test:1"));
        for host in ["", "a b", "a:1", "me@a", "[::1]", "a/b"] {
            check(host, 1, None);
        }
        for port in [-1, 0, 65_536, i64::MAX] {
            check("10.0.0.1", port, None);
        }
    }

    #[tokio::test]
    async fn files_are_small() {
        let path = std::env::temp_dir().join(format!("transom-asking-{}", std::process::id()));
        let file = std::fs::File::create(&path).expect("writable");
        file.set_len(FILE_BYTES_MAX).expect("room");
        assert_eq!(read(path.clone()).await.map(|bytes| bytes.len() as u64), Ok(FILE_BYTES_MAX));
        file.set_len(FILE_BYTES_MAX + 1).expect("room");
        let reason = read(path.clone()).await.expect_err("too large");
        assert!(reason.contains("larger than 1048576 bytes"), "{reason}");
        std::fs::remove_file(&path).expect("ours");
        let reason = read(path.clone()).await.expect_err("gone");
        assert!(reason.contains("No such file"), "{reason}");
        let reason = client(&"https://a".parse().expect("a URL"), Some(&path)).await.expect_err("gone");
        assert!(reason.contains("No such file"), "{reason}");
    }
}
