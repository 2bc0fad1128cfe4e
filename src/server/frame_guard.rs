//! Counts what an HTTP/2 client makes us answer for nothing: PING and SETTINGS.
//!
//! h2 bounds CONTINUATION, empty and tiny DATA and resets by itself, but answers any number of these two
//! (CVE-2019-9512, CVE-2019-9515). The guard only reads frame heads and skips what they announce:
//!
//! ```text
//! Frame → Length (24) Type (8) Flags (8) Stream (32) Payload (Length octets)     RFC 9113, section 4.1
//! ```
//!
//! gRPC clients measure their bandwidth by PINGs beside the data that they receive, so PINGs are counted
//! anew whenever a reply has moved in between, as gRPC's own servers do. Pure: the clock is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::limits::ServerLimits;

const HEAD_BYTES: usize = 9;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// Of both: not a question but the answer to ours.
const ACK: u8 = 1;

/// Over which frames are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameGuard {
    settings_max: u32,
    pings_max: u32,
    /// The beginning of a frame's head.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    payload_left: usize,
    window_start: Instant,
    settings: u32,
    pings: u32,
}

/// More frames than any honest client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

impl FrameGuard {
    /// `preface_bytes` come before the first frame.
    pub(super) fn new(limits: &ServerLimits, preface_bytes: usize, now: Instant) -> Self {
        Self {
            settings_max: limits.h2_settings_max,
            pings_max: limits.h2_pings_max,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            payload_left: preface_bytes,
            window_start: now,
            settings: 0,
            pings: 0,
        }
    }

    /// Reads on; `has_replied` tells whether a reply has moved since it was last asked.
    pub(super) fn scan(
        &mut self,
        mut bytes: &[u8],
        now: impl Fn() -> Instant,
        has_replied: impl Fn() -> bool,
    ) -> Result<(), Flood> {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let head = self.head.iter_mut().skip(self.head_bytes);
            let taken = head.zip(bytes).map(|(to, from)| *to = *from).count();
            self.head_bytes += taken;
            bytes = bytes.get(taken..).unwrap_or_default();
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                self.payload_left = u32::from_be_bytes([0, a, b, c]) as usize;
                if flags & ACK == 0 {
                    self.count(kind, &now, &has_replied)?;
                }
            }
        }
        Ok(())
    }

    fn count(
        &mut self,
        kind: u8,
        now: impl Fn() -> Instant,
        has_replied: impl Fn() -> bool,
    ) -> Result<(), Flood> {
        if !matches!(kind, SETTINGS | PING) {
            return Ok(());
        }
        let now = now();
        if now.duration_since(self.window_start) >= WINDOW {
            (self.window_start, self.settings, self.pings) = (now, 0, 0);
        }
        if kind == SETTINGS {
            self.settings += 1;
        } else {
            self.pings = if has_replied() { 1 } else { self.pings + 1 };
        }
        if self.settings > self.settings_max || self.pings > self.pings_max { Err(Flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload_bytes: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, payload_bytes, kind, flags, 0, 0, 0, 0];
        frame.extend((0..payload_bytes).map(|_| PING));
        frame
    }

    #[test]
    fn bounds_hold_however_the_bytes_are_cut() {
        let limits = ServerLimits { h2_settings_max: 2, h2_pings_max: 3, ..ServerLimits::default() };
        let check = |frames: &[(u8, u8, u8)], expected: Result<(), Flood>| {
            let wire: Vec<u8> =
                frames.iter().flat_map(|(kind, flags, bytes)| frame(*kind, *flags, *bytes)).collect();
            for size in 1..=wire.len() {
                let now = Instant::now();
                let mut guard = FrameGuard::new(&limits, 24, now);
                let wire = [&[PING; 24], &wire[..]].concat();
                let outcome = wire.chunks(size).try_for_each(|chunk| guard.scan(chunk, || now, || false));
                assert_eq!(outcome, expected, "{frames:?} in pieces of {size}");
            }
        };
        check(&[(SETTINGS, 0, 6), (SETTINGS, 0, 0)], Ok(()));
        check(&[(SETTINGS, 0, 6), (SETTINGS, 0, 0), (SETTINGS, 0, 6)], Err(Flood));
        check(&[(PING, 0, 8), (0, 0, 20), (PING, 0, 8), (PING, 0, 8)], Ok(()));
        check(&[(PING, 0, 8), (0, 0, 20), (PING, 0, 8), (PING, 0, 8), (PING, 0, 8)], Err(Flood));
        check(&[(PING, ACK, 8); 9], Ok(()));
        check(&[(0, 0, 200); 9], Ok(()));
    }

    #[test]
    fn replies_and_time_begin_a_new_count_of_pings() {
        let limits = ServerLimits { h2_pings_max: 1, ..ServerLimits::default() };
        let now = Instant::now();
        let ping = frame(PING, 0, 8);
        let mut guard = FrameGuard::new(&limits, 0, now);
        assert_eq!(guard.scan(&ping, || now, || false), Ok(()));
        assert_eq!(guard.scan(&ping, || now, || true), Ok(()));
        assert_eq!(guard.scan(&ping, || now + WINDOW, || false), Ok(()));
        assert_eq!(guard.scan(&ping, || now + WINDOW + WINDOW / 2, || false), Err(Flood));
    }
}
