//! Which calls are told of, where not all are: the same ones everywhere.
//!
//! A call has a [`Point`] among all calls, by its trace if it belongs to one and otherwise by the name of the
//! request; a [`Share`] takes those above a threshold, as OpenTelemetry's consistent sampling has it. So a
//! smaller share is part of a larger one: what 5 % of traces show, 10 % of log lines show too, on every node.

use super::balance::mix;
use super::trace_context::TraceId;

/// The points: 56 bits, as the second level of W3C Trace Context has them random in the id of a trace.
const POINTS: u64 = 1 << 56;

/// A hundredth of a hundredth of a hundredth: the finest step that the configuration can say.
const MILLIONTHS: u64 = 1_000_000;

/// A part of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The least point within.
    least: u64,
}

/// Where a call is among all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point(u64);

impl Share {
    pub const ALL: Self = Self { least: 0 };

    /// So many of a million calls, at most all of them.
    pub const fn millionths(count: u64) -> Self {
        let left_out = MILLIONTHS.saturating_sub(count) as u128;
        Self { least: (POINTS as u128 * left_out / MILLIONTHS as u128) as u64 }
    }

    pub const fn includes(self, point: Point) -> bool {
        point.0 >= self.least
    }
}

impl Point {
    pub const fn of_trace(TraceId(id): &TraceId) -> Self {
        let [.., a, b, c, d, e, f, g] = *id;
        Self(u64::from_be_bytes([0, a, b, c, d, e, f, g]))
    }

    /// Of any name, by its hash (FNV-1a), which is the same on every node.
    pub fn of_name(name: &[u8]) -> Self {
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(mix(hash) % POINTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_take_their_part_of_all_calls() {
        let check = |millionths: u64, expected: std::ops::RangeInclusive<usize>| {
            let share = Share::millionths(millionths);
            let within =
                (0..100_000).filter(|name| share.includes(Point::of_name(name.to_string().as_bytes())));
            let count = within.count();
            assert!(expected.contains(&count), "{millionths}: {count}");
        };
        check(0, 0..=0);
        check(1_000, 70..=130);
        check(50_000, 4_800..=5_200);
        check(500_000, 49_500..=50_500);
        check(1_000_000, 100_000..=100_000);
        check(u64::MAX, 100_000..=100_000);
    }

    #[test]
    fn a_smaller_share_is_part_of_a_larger_one() {
        let (small, large) = (Share::millionths(50_000), Share::millionths(100_000));
        for name in 0..10_000 {
            let point = Point::of_name(name.to_string().as_bytes());
            assert!(!small.includes(point) || large.includes(point), "{name}");
        }
    }

    #[test]
    fn traces_are_taken_by_their_last_seven_bytes() {
        let trace = |last: u64| {
            let mut id = [0xff; 16];
            id[8..].copy_from_slice(&last.to_be_bytes());
            TraceId(id)
        };
        let half = Share::millionths(500_000);
        assert!(!half.includes(Point::of_trace(&trace(0xff7f_ffff_ffff_ffff))));
        assert!(half.includes(Point::of_trace(&trace(0x0080_0000_0000_0000))));
        let (least, most) = (Point::of_trace(&trace(0)), Point::of_trace(&trace(u64::MAX)));
        assert!(Share::ALL.includes(least) && Share::millionths(1).includes(most));
        assert!(!Share::millionths(0).includes(most) && !Share::millionths(999_999).includes(least));
    }
}
