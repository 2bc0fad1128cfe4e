//! `google.protobuf.Timestamp` and `Duration` between their ProtoJSON text and seconds with nanos.
//!
//! ```text
//! timestamp = date "T" time [ "." 1*9DIGIT ] ( "Z" | ( "+" | "-" ) hh ":" mm )     RFC 3339, upper case only
//! duration  = [ "-" ] 1*DIGIT [ "." 1*9DIGIT ] "s"
//! ```
//!
//! Written with 0, 3, 6 or 9 fraction digits. What is outside the range of the type is an error in both
//! directions, never a wrong text.

/// Seconds and nanoseconds, with the sign rules of the type they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant {
    pub seconds: i64,
    pub nanos: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    #[error("expected an RFC 3339 timestamp like `2006-01-02T15:04:05.999Z`")]
    Timestamp,
    #[error("the timestamp is outside the years 0001 to 9999")]
    TimestampRange,
    #[error("expected a duration in seconds like `1.5s`")]
    Duration,
    #[error("the duration is outside ±315576000000 seconds")]
    DurationRange,
}

/// 0001-01-01T00:00:00Z.
const TIMESTAMP_SECONDS_MIN: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const TIMESTAMP_SECONDS_MAX: i64 = 253_402_300_799;
/// Ten thousand years of 365.25 days.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_MAX: i32 = 999_999_999;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads the text of a `Timestamp`; the result's nanos count forward, before 1970 too.
pub(crate) fn parse_timestamp(text: &[u8]) -> Result<Instant, TimeError> {
    let (civil, rest) = read_civil(text).ok_or(TimeError::Timestamp)?;
    let (nanos, rest) = read_fraction(rest).ok_or(TimeError::Timestamp)?;
    let offset = read_offset(rest).ok_or(TimeError::Timestamp)?;
    let seconds = civil.ok_or(TimeError::TimestampRange)? - offset;
    if !(TIMESTAMP_SECONDS_MIN..=TIMESTAMP_SECONDS_MAX).contains(&seconds) {
        return Err(TimeError::TimestampRange);
    }
    Ok(Instant { seconds, nanos })
}

/// Appends the text of a `Timestamp`, in UTC, without quotes.
pub(crate) fn put_timestamp(instant: Instant, out: &mut Vec<u8>) -> Result<(), TimeError> {
    let Instant { seconds, nanos } = instant;
    if !(TIMESTAMP_SECONDS_MIN..=TIMESTAMP_SECONDS_MAX).contains(&seconds)
        || !(0..=NANOS_MAX).contains(&nanos)
    {
        return Err(TimeError::TimestampRange);
    }
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let second_of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let mut text = *b"0000-00-00T00:00:00";
    for (place, two_digits) in
        [(0, year / 100), (2, year % 100), (5, month), (8, day), (11, hour), (14, minute), (17, second)]
    {
        text[place] = b'0' + (two_digits / 10) as u8;
        text[place + 1] = b'0' + (two_digits % 10) as u8;
    }
    out.extend_from_slice(&text);
    put_fraction(nanos.unsigned_abs(), out);
    out.push(b'Z');
    Ok(())
}

/// Reads the text of a `Duration`; seconds and nanos have the same sign.
pub(crate) fn parse_duration(text: &[u8]) -> Result<Instant, TimeError> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(TimeError::Duration);
    }
    let (whole, rest) = text.split_at(digits);
    let (nanos, rest) = read_fraction(rest).ok_or(TimeError::Duration)?;
    if rest != b"s" {
        return Err(TimeError::Duration);
    }
    let seconds = whole.iter().try_fold(0i64, |seconds, digit| {
        let seconds = seconds * 10 + i64::from(digit - b'0');
        if seconds > DURATION_SECONDS_MAX { Err(TimeError::DurationRange) } else { Ok(seconds) }
    })?;
    Ok(if negative { Instant { seconds: -seconds, nanos: -nanos } } else { Instant { seconds, nanos } })
}

/// Appends the text of a `Duration`, without quotes.
pub(crate) fn put_duration(instant: Instant, out: &mut Vec<u8>) -> Result<(), TimeError> {
    let Instant { seconds, nanos } = instant;
    let one_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    if !(-DURATION_SECONDS_MAX..=DURATION_SECONDS_MAX).contains(&seconds)
        || !(-NANOS_MAX..=NANOS_MAX).contains(&nanos)
        || !one_sign
    {
        return Err(TimeError::DurationRange);
    }
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(seconds.unsigned_abs()).as_bytes());
    put_fraction(nanos.unsigned_abs(), out);
    out.push(b's');
    Ok(())
}

/// `YYYY-MM-DDThh:mm:ss` as seconds since 1970, and the rest; the inner `None` is the year 0000.
fn read_civil(text: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let (civil, rest) = text.split_first_chunk::<19>()?;
    let [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', _, _] = civil else {
        return None;
    };
    let two = |place: usize| {
        let (tens, units) = (civil[place].wrapping_sub(b'0'), civil[place + 1].wrapping_sub(b'0'));
        (tens <= 9 && units <= 9).then(|| i64::from(tens * 10 + units))
    };
    let year = two(0)? * 100 + two(2)?;
    let (month, day) = (two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    // A leap second has no place on the scale of `Timestamp`: `:60` is refused as in Google's parsers.
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Some(((year > 0).then_some(seconds), rest))
}

/// `.` and one to nine digits as nanos, or nothing.
fn read_fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let [b'.', text @ ..] = text else {
        return Some((0, text));
    };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&digits) {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    let mut nanos = digits.iter().fold(0, |nanos, digit| nanos * 10 + i32::from(digit - b'0'));
    for _ in digits.len()..9 {
        nanos *= 10;
    }
    Some((nanos, rest))
}

/// `Z` or `±hh:mm` in seconds east of UTC.
fn read_offset(text: &[u8]) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    match *text {
        [b'Z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digit(h1)? * 10 + digit(h2)?;
            let minutes = digit(m1)? * 10 + digit(m2)?;
            let seconds = hours * 3600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// Nothing, or `.` with three, six or nine digits.
fn put_fraction(nanos: u32, out: &mut Vec<u8>) {
    let (digits, mut rest) = match nanos {
        0 => return,
        _ if nanos.is_multiple_of(1_000_000) => (3, nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => (6, nanos / 1_000),
        _ => (9, nanos),
    };
    let mut text = *b".000000000";
    for place in (1..=digits).rev() {
        text[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&text[..=digits]);
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last, and in eras of 400 years,
/// which all have 146,097 days.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse of [`days_from_civil`].
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_read_and_write() {
        #[track_caller]
        fn check(text: &str, seconds: i64, nanos: i32, canonical: &str) {
            let instant = Instant { seconds, nanos };
            assert_eq!(parse_timestamp(text.as_bytes()), Ok(instant), "{text}");
            let mut out = Vec::new();
            put_timestamp(instant, &mut out).expect("the instant is in range");
            assert_eq!(String::from_utf8_lossy(&out), canonical);
        }
        check("1970-01-01T00:00:00Z", 0, 0, "1970-01-01T00:00:00Z");
        check("1970-01-01T00:00:00.1Z", 0, 100_000_000, "1970-01-01T00:00:00.100Z");
        check("1970-01-01T00:00:00.000100Z", 0, 100_000, "1970-01-01T00:00:00.000100Z");
        check("1970-01-01T00:00:00.000000001Z", 0, 1, "1970-01-01T00:00:00.000000001Z");
        check("1969-12-31T23:59:59.9Z", -1, 900_000_000, "1969-12-31T23:59:59.900Z");
        check("2000-02-29T12:34:56Z", 951_827_696, 0, "2000-02-29T12:34:56Z");
        check("1970-01-01T08:00:00+08:00", 0, 0, "1970-01-01T00:00:00Z");
        check("1969-12-31T16:30:00-07:30", 0, 0, "1970-01-01T00:00:00Z");
        check("0001-01-01T00:00:00Z", TIMESTAMP_SECONDS_MIN, 0, "0001-01-01T00:00:00Z");
        check(
            "9999-12-31T23:59:59.999999999Z",
            TIMESTAMP_SECONDS_MAX,
            NANOS_MAX,
            "9999-12-31T23:59:59.999999999Z",
        );
    }

    #[test]
    fn texts_that_are_no_timestamp_are_refused() {
        for (text, error) in [
            ("", TimeError::Timestamp),
            ("1970-01-01T00:00:00", TimeError::Timestamp),
            ("1970-01-01t00:00:00Z", TimeError::Timestamp),
            ("1970-01-01T00:00:00z", TimeError::Timestamp),
            ("1970-01-01 00:00:00Z", TimeError::Timestamp),
            ("1970-1-01T00:00:00Z", TimeError::Timestamp),
            ("1970-01-01T00:00:00.Z", TimeError::Timestamp),
            ("1970-01-01T00:00:00.1234567890Z", TimeError::Timestamp),
            ("1970-01-01T00:00:00+0800", TimeError::Timestamp),
            ("1970-01-01T00:00:00+24:00", TimeError::Timestamp),
            ("1970-01-01T00:00:00+08:60", TimeError::Timestamp),
            ("1970-01-01T00:00:00Z ", TimeError::Timestamp),
            ("1970-13-01T00:00:00Z", TimeError::Timestamp),
            ("1970-00-01T00:00:00Z", TimeError::Timestamp),
            ("1970-04-31T00:00:00Z", TimeError::Timestamp),
            ("1900-02-29T00:00:00Z", TimeError::Timestamp),
            ("1970-01-00T00:00:00Z", TimeError::Timestamp),
            ("1970-01-01T24:00:00Z", TimeError::Timestamp),
            ("1970-01-01T00:60:00Z", TimeError::Timestamp),
            ("2016-12-31T23:59:60Z", TimeError::Timestamp),
            ("0000-01-01T00:00:00Z", TimeError::TimestampRange),
            ("0001-01-01T00:00:00+00:01", TimeError::TimestampRange),
            ("9999-12-31T23:59:59-00:01", TimeError::TimestampRange),
            ("10000-01-01T00:00:00Z", TimeError::Timestamp),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn every_day_reads_back() {
        for days in (-719_162..=2_932_896).step_by(61) {
            let instant = Instant { seconds: days * SECONDS_PER_DAY + 1, nanos: 0 };
            let mut out = Vec::new();
            put_timestamp(instant, &mut out).expect("the instant is in range");
            assert_eq!(parse_timestamp(&out), Ok(instant));
        }
    }

    #[test]
    fn durations_read_and_write() {
        #[track_caller]
        fn check(text: &str, seconds: i64, nanos: i32, canonical: &str) {
            let instant = Instant { seconds, nanos };
            assert_eq!(parse_duration(text.as_bytes()), Ok(instant), "{text}");
            let mut out = Vec::new();
            put_duration(instant, &mut out).expect("the duration is in range");
            assert_eq!(String::from_utf8_lossy(&out), canonical);
        }
        check("0s", 0, 0, "0s");
        check("-0s", 0, 0, "0s");
        check("1.5s", 1, 500_000_000, "1.500s");
        check("-0.5s", 0, -500_000_000, "-0.500s");
        check("-1.000001s", -1, -1_000, "-1.000001s");
        check("0.000000001s", 0, 1, "0.000000001s");
        check("315576000000.999999999s", DURATION_SECONDS_MAX, NANOS_MAX, "315576000000.999999999s");
        check("-315576000000s", -DURATION_SECONDS_MAX, 0, "-315576000000s");
    }

    #[test]
    fn texts_that_are_no_duration_are_refused() {
        for (text, error) in [
            ("", TimeError::Duration),
            ("1", TimeError::Duration),
            ("s", TimeError::Duration),
            ("-s", TimeError::Duration),
            (".5s", TimeError::Duration),
            ("1.s", TimeError::Duration),
            ("1.1234567890s", TimeError::Duration),
            ("+1s", TimeError::Duration),
            ("--1s", TimeError::Duration),
            ("1 s", TimeError::Duration),
            ("1S", TimeError::Duration),
            ("1e3s", TimeError::Duration),
            ("315576000001s", TimeError::DurationRange),
            ("-315576000001s", TimeError::DurationRange),
            ("99999999999999999999999999s", TimeError::DurationRange),
        ] {
            assert_eq!(parse_duration(text.as_bytes()), Err(error), "{text}");
        }
    }

    #[test]
    fn instants_out_of_range_have_no_text() {
        for (seconds, nanos) in [
            (TIMESTAMP_SECONDS_MIN - 1, 0),
            (TIMESTAMP_SECONDS_MAX + 1, 0),
            (0, -1),
            (0, NANOS_MAX + 1),
            (i64::MIN, i32::MIN),
        ] {
            let put = put_timestamp(Instant { seconds, nanos }, &mut Vec::new());
            assert_eq!(put, Err(TimeError::TimestampRange), "{seconds} {nanos}");
        }
        for (seconds, nanos) in [
            (DURATION_SECONDS_MAX + 1, 0),
            (-DURATION_SECONDS_MAX - 1, 0),
            (1, -1),
            (-1, 1),
            (0, NANOS_MAX + 1),
            (i64::MIN, i32::MIN),
        ] {
            let put = put_duration(Instant { seconds, nanos }, &mut Vec::new());
            assert_eq!(put, Err(TimeError::DurationRange), "{seconds} {nanos}");
        }
    }
}
