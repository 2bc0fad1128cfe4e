//! What health checks say of an endpoint over time: some failures in a row until it is unwell, some successes until
//! it is well again.
//!
//! ```text
//! well ── unhealthy_after failures in a row ──▶ unwell
//! well ◀── healthy_after successes in a row ── unwell
//! ```
//!
//! What a server says of itself unasked needs no repetition: it is believed at once.

use std::time::Duration;

/// How endpoints are asked for their health, and what the answers mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// The name that the health service is asked for; empty: the server as a whole.
    pub service: Box<str>,
    pub every: Duration,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    pub unhealthy_after: u32,
    pub healthy_after: u32,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    is_well: bool,
    /// Checks in a row that say the opposite.
    streak: u32,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            service: "".into(),
            every: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}

impl HealthSettings {
    /// The time to the next check, up to a tenth more or less, so that many do not ask in step; `random` is uniform
    /// over all of `u32`.
    pub fn wait(&self, random: u32) -> Duration {
        self.every.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
    }
}

impl Health {
    /// Of an endpoint that nobody has asked yet: it is well.
    pub fn new() -> Self {
        Self { is_well: true, streak: 0 }
    }

    /// Takes in what a check has found; gives the verdict when it changes.
    pub fn found(&mut self, is_well: bool, settings: &HealthSettings) -> Option<bool> {
        if is_well == self.is_well {
            self.streak = 0;
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let enough = if is_well { settings.healthy_after } else { settings.unhealthy_after };
        if self.streak < enough { None } else { self.told(is_well) }
    }

    /// Takes in what the server says of itself unasked; gives the verdict when it changes.
    pub fn told(&mut self, is_well: bool) -> Option<bool> {
        self.streak = 0;
        let was_well = std::mem::replace(&mut self.is_well, is_well);
        (was_well != is_well).then_some(is_well)
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` and `-`: found; `1` and `0`: told. The verdicts that change, as they do.
    #[track_caller]
    fn check(events: &str, expected: &str) {
        let settings = HealthSettings::default();
        let mut health = Health::new();
        let changes = events.chars().filter_map(|event| match event {
            '+' => health.found(true, &settings),
            '-' => health.found(false, &settings),
            event => health.told(event == '1'),
        });
        let changes: String = changes.map(|is_well| if is_well { 'w' } else { 'u' }).collect();
        assert_eq!(changes, expected, "{events}");
    }

    #[test]
    fn three_failures_and_two_successes_in_a_row() {
        check("+++", "");
        check("--", "");
        check("---", "u");
        check("--+--", "");
        check("--+---", "u");
        check("---+", "u");
        check("---++", "uw");
        check("---+-+", "u");
        check("---+-++", "uw");
        check("---++--", "uw");
    }

    #[test]
    fn what_is_told_holds_at_once() {
        check("0", "u");
        check("01", "uw");
        check("0+", "u");
        check("1", "");
        check("--1--", "");
        check("0-1---", "uwu");
    }

    #[test]
    fn checks_come_out_of_step() {
        let settings = HealthSettings { every: Duration::from_secs(10), ..HealthSettings::default() };
        let waits = [0, u32::MAX / 2, u32::MAX].map(|random| settings.wait(random).as_millis());
        assert!(waits[0] == 9000 && waits[1].abs_diff(10_000) < 2 && waits[2] == 11_000, "{waits:?}");
    }
}
