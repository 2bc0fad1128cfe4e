//! A share of calls: `10%`, `0.1%`.
//!
//! ```text
//! Share = Digits [ "." Digit { Digit } ] "%"      of 0 to 100, with up to four digits after the point
//! ```

use super::finding::Report;
use super::value;
use super::yaml::{Node, Value};
use crate::policy::sampling::Share;

pub(super) fn read(node: &Node, report: &mut Report) -> Option<Share> {
    let Value::Text(text) = &node.value else {
        return value::expected(node, report, EXPECTED);
    };
    match text.strip_suffix('%').and_then(millionths) {
        Some(share) => Some(Share::millionths(share)),
        None => value::expected(node, report, EXPECTED),
    }
}

const EXPECTED: &str = "a share of 0% to 100% such as `10%` or `0.1%`";

/// A hundredth is ten thousand of them.
fn millionths(percent: &str) -> Option<u64> {
    let (whole, part) = match percent.split_once('.') {
        Some((whole, part)) if (1..=4).contains(&part.len()) => (whole, part),
        Some(_) => return None,
        None => (percent, ""),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=3).contains(&whole.len()) || !is_number(whole) || !is_number(part) {
        return None;
    }
    let share = format!("{whole}{part:0<4}").parse().ok()?;
    (share <= 1_000_000).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_up_to_four_digits_after_the_point() {
        let check = |text, expected| assert_eq!(millionths(text), expected, "{text}");
        check("0", Some(0));
        check("100", Some(1_000_000));
        check("5", Some(50_000));
        check("0.1", Some(1_000));
        check("0.0001", Some(1));
        check("99.9999", Some(999_999));
        for refused in ["", ".5", "5.", "0.00001", "100.1", "101", "1000", "-1", "1e1", "5 ", "+5"] {
            check(refused, None);
        }
    }
}
