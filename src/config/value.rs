//! Values with units: `10s`, `500ms`, `4MiB`; and the readers that sections are made of.
//!
//! ```text
//! Duration = Digits ("ms" | "s" | "m" | "h")
//! Bytes    = Digits [ "B" | "KiB" | "MiB" | "GiB" ]
//! Percent  = Digits "%"
//! Range    = Duration [ ".." Duration ]
//! ```
//!
//! A reader takes a node and gives a value, or adds a finding that states expectation and bounds. A bare
//! number is refused for a duration, because nobody remembers whether it was seconds or milliseconds.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::finding::Report;
use super::section::listed;
use super::shape::{Map, NAME, Shape};
use super::yaml::{Key, Node, Value};
use crate::policy::nearest::nearest;
use crate::policy::networks;

pub(super) const KIB: usize = 1 << 10;
pub(super) const MIB: usize = 1 << 20;
pub(super) const GIB: usize = 1 << 30;

/// A duration within bounds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> impl Fn(&Node, &mut Report) -> Option<Duration> {
    move |node, report| {
        let parsed = match &node.value {
            Value::Unwritten => {
                report.draw(Shape::Duration { least: *bounds.start(), most: *bounds.end() });
                return None;
            }
            Value::Text(text) => parse_duration(text),
            _ => None,
        };
        match parsed {
            Some(value) if bounds.contains(&value) => Some(value),
            Some(_) => {
                let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
                refuse(node, report, format!("{} is not between {least} and {most}", written(node)))
            }
            None => expected(node, report, "a duration such as `10s` or `500ms`"),
        }
    }
}

/// Two durations within bounds, `5s..60s`, of which the first is not the longer one; a single one is both.
pub(super) fn durations(
    bounds: RangeInclusive<Duration>,
) -> impl Fn(&Node, &mut Report) -> Option<RangeInclusive<Duration>> {
    move |node, report| {
        let Value::Text(text) = &node.value else {
            return expected(node, report, DURATIONS);
        };
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let (Some(least), Some(most)) = (parse_duration(least), parse_duration(most)) else {
            return expected(node, report, DURATIONS);
        };
        if least > most {
            return refuse(node, report, format!("`{text}`: the first duration is longer than the second"));
        }
        if bounds.contains(&least) && bounds.contains(&most) {
            return Some(least..=most);
        }
        let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
        refuse(node, report, format!("{} is not between {least} and {most}", written(node)))
    }
}

const DURATIONS: &str = "two durations such as `5s..60s`";

/// A share in hundredths, within bounds.
pub(super) fn percent(bounds: RangeInclusive<u32>) -> impl Fn(&Node, &mut Report) -> Option<u32> {
    move |node, report| {
        let Value::Text(text) = &node.value else {
            return expected(node, report, PERCENT);
        };
        match text.strip_suffix('%').and_then(digits) {
            Some(percent) if bounds.contains(&percent) => Some(percent),
            Some(_) => {
                let (least, most) = (bounds.start(), bounds.end());
                refuse(node, report, format!("{} is not between {least}% and {most}%", written(node)))
            }
            None => expected(node, report, PERCENT),
        }
    }
}

const PERCENT: &str = "a share such as `50%`";

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// An amount of bytes within bounds.
pub(super) fn bytes(bounds: RangeInclusive<usize>) -> impl Fn(&Node, &mut Report) -> Option<usize> {
    move |node, report| {
        let parsed = match &node.value {
            Value::Unwritten => {
                report.draw(Shape::Bytes { least: *bounds.start(), most: *bounds.end() });
                return None;
            }
            Value::Text(text) => parse_bytes(text),
            Value::Integer(number) => usize::try_from(*number).ok(),
            _ => None,
        };
        match parsed {
            Some(value) if bounds.contains(&value) => Some(value),
            Some(_) => {
                let (least, most) = (show_bytes(*bounds.start()), show_bytes(*bounds.end()));
                refuse(node, report, format!("{} is not between {least} and {most}", written(node)))
            }
            None => expected(node, report, "an amount of bytes such as `32KiB` or `4MiB`"),
        }
    }
}

/// An amount of bytes where a protocol counts them in 32 bits.
pub(super) fn bytes_u32(bounds: RangeInclusive<usize>) -> impl Fn(&Node, &mut Report) -> Option<u32> {
    move |node, report| bytes(bounds.clone())(node, report).and_then(|bytes| u32::try_from(bytes).ok())
}

/// A whole number within bounds.
pub(super) fn integer<T>(bounds: RangeInclusive<T>) -> impl Fn(&Node, &mut Report) -> Option<T>
where
    T: TryFrom<i128> + TryInto<i128> + Copy + PartialOrd + std::fmt::Display,
{
    move |node, report| {
        if let Value::Unwritten = node.value {
            let [least, most] =
                [*bounds.start(), *bounds.end()].map(|bound| bound.try_into().unwrap_or(i128::MAX));
            report.draw(Shape::Integer { least, most });
            return None;
        }
        let Value::Integer(number) = node.value else {
            return expected(node, report, "a whole number");
        };
        match T::try_from(number) {
            Ok(value) if bounds.contains(&value) => Some(value),
            _ if bounds.start() == bounds.end() => expected(node, report, &format!("`{}`", bounds.start())),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                refuse(node, report, format!("{number} is not between {least} and {most}"))
            }
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node, report: &mut Report) -> Option<bool> {
    match node.value {
        Value::Bool(value) => Some(value),
        Value::Unwritten => {
            report.draw(Shape::Boolean);
            None
        }
        _ => expected(node, report, "`true` or `false`"),
    }
}

/// One of a few words, each standing for a value.
pub(super) fn choice<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Node, &mut Report) -> Option<T> {
    move |node, report| {
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        if let Value::Unwritten = node.value {
            report.draw(Shape::Choice(names));
            return None;
        }
        let Value::Text(text) = &node.value else {
            return expected(node, report, &listed(&names));
        };
        if let Some((_, value)) = words.iter().find(|(name, _)| name == text) {
            return Some(*value);
        }
        match nearest(text, &names) {
            Some(near) => refuse(node, report, format!("unknown value `{text}`: did you mean `{near}`?")),
            None => expected(node, report, &listed(&names)),
        }
    }
}

/// Text that is not empty.
pub(super) fn text(node: &Node, report: &mut Report) -> Option<String> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Some(text.clone()),
        Value::Unwritten => {
            report.draw(Shape::Text);
            None
        }
        Value::Text(_) => refuse(node, report, "expected text, found none"),
        _ => expected(node, report, "text"),
    }
}

/// A path, relative to the directory of the configuration file.
pub(super) fn path(node: &Node, report: &mut Report) -> Option<PathBuf> {
    text(node, report).map(|text| report.path(&text))
}

/// `file:PATH`, relative to the directory of the configuration file.
pub(super) fn file(node: &Node, report: &mut Report) -> Option<PathBuf> {
    let text = text(node, report)?;
    match text.strip_prefix("file:").filter(|path| !path.is_empty()) {
        Some(path) => Some(report.path(path)),
        None => expected(node, report, "`file:PATH`"),
    }
}

/// `127.0.0.1:8080`, `[::]:8443`; port 0 lets the system choose.
pub(super) fn address(node: &Node, report: &mut Report) -> Option<SocketAddr> {
    match &node.value {
        Value::Text(text) => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                expected(node, report, "an IP address and a port such as `127.0.0.1:8080` or `[::]:8443`")
            }
        },
        _ => expected(node, report, "an IP address and a port such as `127.0.0.1:8080`"),
    }
}

/// A network, or one address, in canonical form.
pub(super) fn network(node: &Node, report: &mut Report) -> Option<IpNet> {
    let text = text(node, report)?;
    match networks::network(&text) {
        Ok(network) => Some(network),
        Err(error) => refuse(node, report, error.to_string()),
    }
}

/// A list; items that are refused are left out, each with its finding.
pub(super) fn list<T>(
    item: impl Fn(&Node, &mut Report) -> Option<T>,
) -> impl Fn(&Node, &mut Report) -> Option<Vec<T>> {
    move |node, report| match &node.value {
        Value::List(items) => Some(items.iter().filter_map(|node| item(node, report)).collect()),
        Value::Unwritten => {
            let items = report.drawn(|node, report| drop(item(node, report)));
            report.draw(Shape::List(items));
            None
        }
        _ => expected(node, report, "a list"),
    }
}

/// One item, or a list of at least one; `what` is what an item is called.
pub(super) fn one_or_more<T>(
    what: &'static str,
    item: impl Fn(&Node, &mut Report) -> Option<T>,
) -> impl Fn(&Node, &mut Report) -> Option<Vec<T>> {
    move |node, report| match &node.value {
        Value::List(items) if items.is_empty() => {
            refuse(node, report, format!("expected at least one {what}, found none"))
        }
        Value::List(_) => list(&item)(node, report),
        Value::Unwritten => {
            item(node, report);
            list(&item)(node, report)
        }
        _ => item(node, report).map(|item| vec![item]),
    }
}

/// A mapping of names of the operator's choice; entries that are refused are left out, each with its finding.
pub(super) fn by_name<T>(
    what: &'static str,
    entry: impl Fn(&Key, &Node, &mut Report) -> Option<T>,
) -> impl Fn(&Node, &mut Report) -> Option<Vec<T>> {
    move |node, report| match &node.value {
        Value::Map(entries) => {
            Some(entries.iter().filter_map(|(key, node)| entry(key, node, report)).collect())
        }
        Value::Unwritten => {
            let key = Key { position: node.position, name: NAME.to_owned() };
            let named = report.drawn(|node, report| drop(entry(&key, node, report)));
            report.draw(Shape::Map(Map { named: Some(named), ..Map::default() }));
            None
        }
        _ => expected(node, report, &format!("a mapping of names to {what}")),
    }
}

/// A text where that says enough, otherwise a mapping.
pub(super) fn text_or_mapping<T>(
    node: &Node,
    report: &mut Report,
    of_text: impl FnOnce(&Node, &mut Report) -> Option<T>,
    of_mapping: impl FnOnce(&Node, &mut Report) -> Option<T>,
) -> Option<T> {
    match &node.value {
        Value::Map(_) => of_mapping(node, report),
        Value::Unwritten => {
            text(node, report);
            of_mapping(node, report)
        }
        _ => of_text(node, report),
    }
}

/// Adds the finding that something else was expected here.
pub(super) fn expected<T>(node: &Node, report: &mut Report, what: &str) -> Option<T> {
    if let Value::Unwritten = node.value {
        report.draw(Shape::Words(what.to_owned()));
        return None;
    }
    refuse(node, report, format!("expected {what}, found {}", written(node)))
}

/// Adds a finding at a value.
pub(super) fn refuse<T>(node: &Node, report: &mut Report, message: impl Into<String>) -> Option<T> {
    report.add(node.position, message);
    None
}

fn written(node: &Node) -> String {
    match &node.value {
        // A URL with a password where none is expected: findings are logged, and shown to others.
        Value::Text(text) if text.contains('@') => "text with `@`, which may hold a password".to_owned(),
        Value::Text(text) => format!("`{text}`"),
        Value::Integer(number) => format!("`{number}`"),
        Value::Float(number) => format!("`{number}`"),
        Value::Bool(value) => format!("`{value}`"),
        other => other.kind().to_owned(),
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

fn parse_bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    usize::try_from(number).ok()?.checked_mul(factor)
}

/// `10s` → `(10, "s")`.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (digits, unit) = text.split_at(end);
    Some((digits.parse().ok()?, unit))
}

/// In the largest unit that leaves no rest.
pub(super) fn show_duration(value: Duration) -> String {
    let millis = value.as_millis();
    for (factor, unit) in [(3_600_000, "h"), (60_000, "m")] {
        if millis >= factor && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// In the largest unit that leaves no rest.
pub(super) fn show_bytes(value: usize) -> String {
    for (factor, unit) in [(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if value >= factor && value.is_multiple_of(factor) {
            return format!("{}{unit}", value / factor);
        }
    }
    format!("{value}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(parse_duration(text), expected.map(Duration::from_millis), "{text}");
        };
        check("500ms", Some(500));
        check("10s", Some(10_000));
        check("5m", Some(300_000));
        check("2h", Some(7_200_000));
        check("0s", Some(0));
        check("10", None);
        check("10 s", None);
        check("1.5s", None);
        check("-1s", None);
        check("s", None);
        check("", None);
        check("10d", None);
        check("99999999999999999999s", None);
        check("18446744073709551615h", None);
    }

    #[test]
    fn bytes_have_binary_units() {
        let check = |text: &str, expected: Option<usize>| assert_eq!(parse_bytes(text), expected, "{text}");
        check("512B", Some(512));
        check("32KiB", Some(32 * KIB));
        check("4MiB", Some(4 * MIB));
        check("1GiB", Some(GIB));
        check("4MB", None);
        check("4", None);
        check("KiB", None);
        check("18446744073709551615KiB", None);
    }

    #[test]
    fn bounds_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show_bytes(4 * MIB), "4MiB");
        assert_eq!(show_bytes(1536), "1536B");
        assert_eq!(show_bytes(0), "0B");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_duration(Duration::from_secs(3600)), "1h");
        assert_eq!(show_duration(Duration::ZERO), "0s");
    }
}
