//! What is deprecated: since when, until when, where to read more (RFC 9745, RFC 8594).
//!
//! ```text
//! Deprecation: @1788220800                          since, as a structured field's date
//! Sunset: Mon, 01 Mar 2027 00:00:00 GMT             from then on 410
//! Link: <https://shop.example/migrate>; rel="deprecation"; type="text/html"
//! ```
//!
//! Dates are days in UTC; each stands for its first second. `deprecated` of a method's descriptor has no
//! date, which the header must have, so it is told in the documentation only.

use http::header::{HeaderName, HeaderValue, LINK};

/// A day, as a configuration writes it: `2026-09-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Since 1970-01-01.
    days: u64,
}

/// What a configuration says of something deprecated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    pub since: Day,
    /// Not before `since` (RFC 9745, section 4).
    pub sunset: Option<Day>,
    /// An absolute URL.
    pub link: Option<Box<str>>,
}

/// The same, ready to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    headers: Vec<(HeaderName, HeaderValue)>,
    sunset_unix_s: Option<u64>,
}

const DAY_S: u64 = 24 * 3600;
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

impl Day {
    /// Reads `2026-09-01`; `None` for anything but a day of the calendar from 1970 on.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let shape = bytes.len() == 10 && bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
        let number = |from: usize, to: usize| {
            let digits =
                text.get(from..to).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
            digits.parse::<u64>().ok()
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let is_day = year >= 1970 && (1..=12).contains(&month) && day >= 1 && day <= month_days(year, month);
        (shape && is_day).then(|| {
            let months = (1..month).map(|month| month_days(year, month)).sum::<u64>();
            Self { days: days_before(year) + months + day - 1 }
        })
    }

    /// Its first second.
    pub fn unix_s(self) -> u64 {
        self.days * DAY_S
    }

    /// As an HTTP-date (RFC 9110, section 5.6.7).
    fn http_date(self) -> String {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let mut year = 1970 + self.days / 366;
        while days_before(year + 1) <= self.days {
            year += 1;
        }
        let mut day = self.days - days_before(year);
        let mut month = 1;
        while day >= month_days(year, month) {
            day -= month_days(year, month);
            month += 1;
        }
        let named = |names: &[&'static str], index: u64| {
            usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
        };
        let (weekday, month) = (named(&WEEKDAYS, self.days % 7), named(&MONTHS, month - 1));
        format!("{weekday}, {:02} {month} {year:04} 00:00:00 GMT", day + 1)
    }
}

impl Notice {
    /// `link` must be free of what cannot stand between `<` and `>`; [`is_link`] judges that.
    pub fn new(deprecation: &Deprecation) -> Self {
        let mut headers = Vec::with_capacity(3);
        let mut put = |name: HeaderName, value: String| {
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        };
        put(DEPRECATION, format!("@{}", deprecation.since.unix_s()));
        if let Some(sunset) = deprecation.sunset {
            put(SUNSET, sunset.http_date());
        }
        if let Some(link) = &deprecation.link {
            put(LINK, format!("<{link}>; rel=\"deprecation\"; type=\"text/html\""));
        }
        Self { headers, sunset_unix_s: deprecation.sunset.map(Day::unix_s) }
    }

    /// What every reply says, the refusal after the end included.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Whether its time is over.
    pub fn is_over(&self, now_unix_s: u64) -> bool {
        self.sunset_unix_s.is_some_and(|sunset| sunset <= now_unix_s)
    }
}

/// Whether a text is an absolute web address that can stand in `Link` as it is.
pub fn is_link(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&byte))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of a year from 1970 on.
fn days_before(year: u64) -> u64 {
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(Day::parse(text).map(Day::unix_s), expected, "{text}");
        };
        check("1970-01-01", Some(0));
        check("1970-01-02", Some(86_400));
        check("1972-03-01", Some(68_256_000));
        check("2000-02-29", Some(951_782_400));
        check("2000-03-01", Some(951_868_800));
        check("2026-09-01", Some(1_788_220_800));
        check("2027-03-01", Some(1_803_859_200));
        check("2100-03-01", Some(4_107_542_400));
        check("9999-12-31", Some(253_402_214_400));
        for wrong in [
            "",
            "2026",
            "2026-9-1",
            "2026-09-1",
            "26-09-01",
            "2026/09/01",
            "2026-13-01",
            "2026-00-01",
            "2026-04-31",
            "2026-02-29",
            "2100-02-29",
            "2026-01-00",
            "2026-01-32",
            "1969-12-31",
            "+026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-0a-01",
            " 2026-01-01",
            "２026-01-01",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn dates_are_written_as_http_writes_them() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Day::parse(text).expect("a day").http_date(), expected);
        };
        check("1970-01-01", "Thu, 01 Jan 1970 00:00:00 GMT");
        check("1999-12-31", "Fri, 31 Dec 1999 00:00:00 GMT");
        check("2000-02-29", "Tue, 29 Feb 2000 00:00:00 GMT");
        check("2026-11-21", "Sat, 21 Nov 2026 00:00:00 GMT");
        check("2027-03-01", "Mon, 01 Mar 2027 00:00:00 GMT");
        check("2028-12-31", "Sun, 31 Dec 2028 00:00:00 GMT");
        check("9999-12-31", "Fri, 31 Dec 9999 00:00:00 GMT");
    }

    #[test]
    fn notices_say_since_when_until_when_and_where() {
        let check = |sunset: Option<&str>, link: Option<&str>, expected: &[(&str, &str)]| {
            let day = |text| Day::parse(text).expect("a day");
            let since = day("2026-09-01");
            let notice =
                Notice::new(&Deprecation { since, sunset: sunset.map(day), link: link.map(Into::into) });
            let shown: Vec<_> = notice
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII")))
                .collect();
            assert_eq!(shown, expected);
            notice
        };
        let since = ("deprecation", "@1788220800");
        assert!(!check(None, None, &[since]).is_over(u64::MAX));
        let sunset = ("sunset", "Mon, 01 Mar 2027 00:00:00 GMT");
        let link = ("link", "<https://a.example/b>; rel=\"deprecation\"; type=\"text/html\"");
        let notice = check(Some("2027-03-01"), Some("https://a.example/b"), &[since, sunset, link]);
        assert!(!notice.is_over(1_803_859_199));
        assert!(notice.is_over(1_803_859_200));
    }

    #[test]
    fn links_are_addresses_of_the_web() {
        let check = |text: &str, expected: bool| assert_eq!(is_link(text), expected, "{text}");
        check("https://a.example", true);
        check("http://a.example/b?c=d#e", true);
        check("https://a.example/%20,;", true);
        check("", false);
        check("https://", false);
        check("https:///a", false);
        check("/migrate", false);
        check("mailto:a@b.example", false);
        check("https://a.example/>; rel=\"x\"", false);
        check("https://a.example/ b", false);
        check("https://a.example/\u{e4}", false);
        check("https://a.example/\r\n", false);
    }
}
