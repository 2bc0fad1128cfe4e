//! The number ranges of one message: reserved and extension ranges must not overlap.

use super::Problem;

/// Ranges with exclusive ends.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<(i32, i32, &'static str)>);

impl Ranges {
    pub(super) fn add(
        &mut self,
        what: &'static str,
        start: i32,
        end: i32,
        end_max: i32,
        report: &mut impl FnMut(Problem),
    ) {
        if start < 1 || start >= end || end > end_max {
            report(Problem::Range { what, start, end });
        } else {
            self.0.push((start, end, what));
        }
    }

    /// Sorts the ranges, which the lookup below relies on.
    pub(super) fn report_overlaps(&mut self, report: &mut impl FnMut(Problem)) {
        self.0.sort_unstable();
        let mut reach: Option<(i32, i32, &'static str)> = None;
        for &range in &self.0 {
            if let Some(before) = reach
                && range.0 < before.1
            {
                let text = |(start, end, what): (i32, i32, &str)| format!("{what} {start} to {}", end - 1);
                let (first, second) = (text(before), text(range));
                report(Problem::RangeOverlap { what: "number", first, second });
            }
            if reach.is_none_or(|before| before.1 < range.1) {
                reach = Some(range);
            }
        }
    }

    /// What the range is called that `number` lies in.
    pub(super) fn containing(&self, number: i32) -> Option<&'static str> {
        let after = self.0.partition_point(|&(start, ..)| start <= number);
        let &(_, end, what) = self.0.get(after.checked_sub(1)?)?;
        (number < end).then_some(what)
    }
}
