//! Moments and spans: nanoseconds on a line, read from text and taken apart in UTC.

use super::evaluate::EvaluationError;
use super::vocabulary::Part;
use crate::codec::time::{self, Instant};

pub(super) const NANOS: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z to the end of 9999.
const MOMENTS: std::ops::RangeInclusive<i128> = -62_135_596_800 * NANOS..=253_402_300_800 * NANOS - 1;

/// A moment within the years 1 to 9999.
pub(super) fn moment(nanos: i128) -> Result<i128, EvaluationError> {
    if MOMENTS.contains(&nanos) { Ok(nanos) } else { Err(EvaluationError::Overflow) }
}

pub(super) fn parse_moment(text: &str) -> Result<i128, EvaluationError> {
    let Instant { seconds, nanos } =
        time::parse_timestamp(text.as_bytes()).map_err(|_| EvaluationError::Conversion("timestamp"))?;
    moment(i128::from(seconds) * NANOS + i128::from(nanos))
}

pub(super) fn show_moment(nanos: i128) -> Result<String, EvaluationError> {
    show(nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS), time::put_timestamp)
}

pub(super) fn show_span(nanos: i64) -> Result<String, EvaluationError> {
    let nanos = i128::from(nanos);
    show(nanos / NANOS, nanos % NANOS, time::put_duration)
}

fn show(
    seconds: i128,
    nanos: i128,
    put: impl Fn(Instant, &mut Vec<u8>) -> Result<(), time::TimeError>,
) -> Result<String, EvaluationError> {
    let overflow = |_| EvaluationError::Overflow;
    let instant = Instant {
        seconds: i64::try_from(seconds).map_err(overflow)?,
        nanos: i32::try_from(nanos).map_err(overflow)?,
    };
    let mut out = Vec::with_capacity(32);
    put(instant, &mut out).map_err(|_| EvaluationError::Overflow)?;
    String::from_utf8(out).map_err(|_| EvaluationError::Conversion("string"))
}

/// `1h30m`, `1.5s`, `-2ms`: as Go writes durations, and CEL after it.
///
/// ```text
/// Duration = ["+" | "-"] ("0" | 1*(Digits ["." Digits] Unit))      Unit = "h" | "m" | "s" | "ms" | "us" | "ns"
/// ```
pub(super) fn parse_span(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let length = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(length);
        let nanos: i128 = match unit {
            "h" => 3600 * NANOS,
            "m" => 60 * NANOS,
            "s" => NANOS,
            "ms" => 1_000_000,
            "us" | "µs" => 1000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || whole.len() > 20 || fraction.contains('.') {
            return None;
        }
        let count: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total += count.checked_mul(nanos)?;
        let mut weight = nanos;
        for digit in fraction.bytes() {
            weight /= 10;
            total += weight * i128::from(digit - b'0');
        }
        rest = behind;
    }
    i64::try_from(sign * total).ok()
}

/// A part of a moment, in UTC.
pub(super) fn part(nanos: i128, part: Part) -> i64 {
    let in_range = "a moment is in the years 1 to 9999";
    let seconds = i64::try_from(nanos.div_euclid(NANOS)).expect(in_range);
    let days = seconds.div_euclid(SECONDS_PER_DAY);
    let second = seconds.rem_euclid(SECONDS_PER_DAY);
    let (year, month, day) = time::civil_from_days(days);
    match part {
        Part::FullYear => year,
        Part::Month => month - 1,
        Part::Date => day,
        Part::DayOfMonth => day - 1,
        // 1970 began on a Thursday; Sunday is 0.
        Part::DayOfWeek => (days + 4).rem_euclid(7),
        Part::DayOfYear => days - time::days_from_civil(year, 1, 1),
        Part::Hours => second / 3600,
        Part::Minutes => second / 60 % 60,
        Part::Seconds => second % 60,
        Part::Milliseconds => i64::try_from(nanos.rem_euclid(NANOS) / 1_000_000).expect(in_range),
    }
}

/// A span in whole units; of milliseconds, those beyond the last second. `None`: spans have no such part.
pub(super) fn span_part(nanos: i64, part: Part) -> Option<i64> {
    let second = 1_000_000_000;
    Some(match part {
        Part::Hours => nanos / (3600 * second),
        Part::Minutes => nanos / (60 * second),
        Part::Seconds => nanos / second,
        Part::Milliseconds => nanos % second / 1_000_000,
        _ => return None,
    })
}
