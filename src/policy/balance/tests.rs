//! Shares, not sequences: what each picker promises over many calls.

use std::time::Duration;

use super::latency::{Cost, Latency};
use super::roster::{Member, Roster, Standing, ramp};
use super::tier::{Slot, Tier};
use super::{hash, mix};

fn slots(weights: &[f32]) -> Vec<Slot> {
    let slot = |(member, weight): (usize, &f32)| Slot {
        member,
        hash: hash(format!("10.0.0.{member}:50051").as_bytes()),
        weight: *weight,
    };
    weights.iter().enumerate().map(slot).collect()
}

fn counts(members: usize, picks: impl Iterator<Item = Option<usize>>) -> Vec<usize> {
    let mut counts = vec![0; members];
    picks.for_each(|pick| counts[pick.expect("there are members")] += 1);
    counts
}

#[test]
fn turns_go_round_by_weight_exactly() {
    #[track_caller]
    fn check(weights: &[f32], turns: usize, expected: &[usize], tolerance: usize) {
        let tier = Tier::new(slots(weights));
        let mut turn = 0..;
        let counts = counts(weights.len(), (0..turns).map(|_| tier.in_turn(|| turn.next().expect("no end"))));
        let is_near = |(count, expected): (&usize, &usize)| count.abs_diff(*expected) <= tolerance;
        assert!(counts.iter().zip(expected).all(is_near), "{counts:?}");
    }
    check(&[1.0, 1.0, 1.0], 300, &[100, 100, 100], 0);
    check(&[7.0, 7.0], 300, &[150, 150], 0);
    check(&[4.0, 1.0], 1000, &[800, 200], 1);
    check(&[80.0, 20.0], 1000, &[800, 200], 1);
    check(&[5.0, 3.0, 2.0], 1000, &[500, 300, 200], 2);
    check(&[1.0, 0.1, 1.0], 2100, &[1000, 100, 1000], 2);
    check(&[1000.0, 1.0], 100_100, &[100_000, 100], 50);
    check(&[1.0], 10, &[10], 0);
    assert_eq!(Tier::new(Vec::new()).in_turn(|| 0), None);
}

#[test]
fn equal_members_take_turns_one_after_the_other() {
    let tier = Tier::new(slots(&[2.0, 2.0, 2.0]));
    let picks: Vec<_> = (0..6).map(|turn| tier.in_turn(|| turn)).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2].map(Some));
}

#[test]
fn the_cheaper_of_two_is_picked() {
    #[track_caller]
    fn check(weights: &[f32], costs: &[f32], expected: &[f32]) {
        let tier = Tier::new(slots(weights));
        let cost = |member: usize| Cost { calls: 1, latency_us: Some(costs[member]) };
        let picks = (0..30_000).map(|random| tier.two_choices(mix(random), cost));
        let counts = counts(weights.len(), picks);
        for (count, expected) in counts.iter().zip(expected) {
            assert!((*count as f32 / 30_000.0 - expected).abs() < 0.02, "{counts:?}");
        }
    }
    let (third, even) = (1.0 / 3.0, [1.0; 3]);
    // The same cost: each is drawn as often.
    check(&even, &[5.0, 5.0, 5.0], &[third, third, third]);
    // The dearest is never picked, the cheapest whenever it is drawn.
    check(&even, &[1.0, 2.0, 3.0], &[2.0 * third, third, 0.0]);
    // Twice the weight bears twice the cost.
    check(&[2.0, 1.0], &[3.0, 2.0], &[1.0, 0.0]);
    check(&[1.0, 1.0], &[3.0, 2.0], &[0.0, 1.0]);
    check(&[1.0], &[9.0], &[1.0]);
    let free = |_| Cost { calls: 0, latency_us: None };
    assert_eq!(Tier::new(Vec::new()).two_choices(0, free), None);
    for random in [0, u64::MAX, u64::from(u32::MAX), u64::MAX << 32] {
        assert!(Tier::new(slots(&even)).two_choices(random, free).is_some(), "{random:x}");
    }
}

/// Calls of two that answer after so many milliseconds and of one that has just come, in so many seconds with one
/// call every 100 ms.
fn calls_beside_a_newcomer(latencies_ms: [u64; 3], seconds: u32) -> Vec<usize> {
    let tier = Tier::new(slots(&[1.0; 3]));
    let mut latencies = latencies_ms.map(|_| Latency::unknown(0));
    for (latency, ms) in latencies.iter_mut().zip(latencies_ms).take(2) {
        *latency = latency.answered(Duration::from_millis(ms), 0);
    }
    let mut counts = vec![0; 3];
    for now_ms in (0..seconds * 1000).step_by(100) {
        let cost = |member: usize| Cost { calls: 1, latency_us: latencies[member].estimate_us(now_ms) };
        let member = tier.two_choices(mix(u64::from(now_ms)), cost).expect("there are three");
        counts[member] += 1;
        latencies[member] = latencies[member].answered(Duration::from_millis(latencies_ms[member]), now_ms);
    }
    counts
}

#[test]
fn a_newcomer_is_called_at_once_whatever_the_others_take() {
    for latency_ms in [1, 30, 1000] {
        let counts = calls_beside_a_newcomer([latency_ms; 3], 10);
        assert!((20..=50).contains(&counts[2]), "{latency_ms} ms: {counts:?}");
    }
    let counts = calls_beside_a_newcomer([1, 1, 1000], 10);
    assert!((1..=2).contains(&counts[2]), "one that is slow is found out by a call: {counts:?}");
}

#[test]
fn a_newcomer_that_does_not_answer_has_no_more_calls_than_the_others() {
    let tier = Tier::new(slots(&[1.0; 3]));
    let known_us = [Some(1000.0), Some(1000.0), None];
    // Calls do not end, so that what is in flight is all that changes.
    let mut calls = [0; 3];
    for random in 0..300 {
        let cost = |member: usize| Cost { calls: calls[member] + 1, latency_us: known_us[member] };
        calls[tier.two_choices(mix(random), cost).expect("there are three")] += 1;
    }
    assert!(calls.iter().all(|calls| calls.abs_diff(100) <= 5), "{calls:?}");
}

/// The endpoint of each of 10,000 keys.
fn owners(tier: &Tier) -> Vec<usize> {
    (0..10_000_u64).map(|key| tier.by_hash(mix(key)).expect("there are members")).collect()
}

#[test]
fn keys_are_spread_by_weight() {
    #[track_caller]
    fn check(weights: &[f32]) {
        let tier = Tier::new(slots(weights));
        let counts = counts(weights.len(), owners(&tier).into_iter().map(Some));
        let total: f32 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let (share, expected) = (*count as f32 / 10_000.0, weight / total);
            assert!((share - expected).abs() < 0.02, "{counts:?}");
        }
    }
    check(&[1.0, 1.0, 1.0]);
    check(&[1.0, 3.0, 4.0]);
    check(&[1.0; 50]);
}

#[test]
fn only_the_keys_of_the_one_that_leaves_move() {
    for weights in [vec![1.0; 10], vec![1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 4.0]] {
        let all = slots(&weights);
        let before = owners(&Tier::new(all.clone()));
        for leaving in 0..weights.len() {
            let left = all.iter().copied().filter(|slot| slot.member != leaving).collect();
            let after = owners(&Tier::new(left));
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert_eq!(moved, before.iter().filter(|owner| **owner == leaving).count());
        }
    }
}

#[test]
fn hashes_are_the_same_everywhere() {
    assert_eq!(hash(b"a"), mix(0xaf63_dc4c_8601_ec8c), "FNV-1a's own example");
    assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf, "the first number of SplitMix64 from 0");
    let tier = Tier::new(slots(&[1.0; 5]));
    let owners: Vec<_> =
        ["alice", "bob", "carol", "dave"].map(|key| tier.by_hash(hash(key.as_bytes()))).into();
    assert_eq!(owners, [0, 3, 0, 0].map(Some));
}

/// `n`: near and usable, `u`: near and unwell, `x`: near and unreachable, `o`: near and refusing; capitals: far.
fn roster(members: &str) -> Roster {
    let member = |letter: char| Member {
        hash: 0,
        weight: 1.0,
        is_near: letter.is_ascii_lowercase(),
        standing: match letter.to_ascii_lowercase() {
            'n' => Standing::Usable,
            'u' => Standing::Unwell,
            'o' => Standing::Refusing,
            _ => Standing::Unreachable,
        },
    };
    Roster::new(&members.chars().map(member).collect::<Vec<_>>())
}

#[test]
fn zones_spill_over_and_panic_uses_what_is_left() {
    #[track_caller]
    fn check(members: &str, near: &[usize], far: &[usize], near_share: f64, is_panic: bool) {
        let roster = roster(members);
        let places = |draw| -> Vec<_> { roster.tier(draw).slots().iter().map(|slot| slot.member).collect() };
        // The draw at which the tiers change places, to a thousandth.
        let first_far = (0..1000_u32).find(|step| places(step * (u32::MAX / 1000)) != near);
        let share = first_far.map_or(1.0, |step| f64::from(step) / 1000.0);
        assert!((share - near_share).abs() <= 0.002, "{members}: {share}");
        if near_share < 1.0 {
            assert_eq!(places(u32::MAX), far, "{members}");
        }
        if near_share > 0.0 {
            assert_eq!(places(0), near, "{members}");
        }
        assert_eq!(roster.is_panic(), is_panic, "{members}");
    }
    check("nnn", &[0, 1, 2], &[], 1.0, false);
    check("nnnNNN", &[0, 1, 2], &[], 1.0, false);
    // Seven of ten are enough, six are not.
    check("nnnnnnnuuuNNN", &[0, 1, 2, 3, 4, 5, 6], &[10, 11, 12], 1.0, false);
    check("nnnnnnuuuuNNN", &[0, 1, 2, 3, 4, 5], &[10, 11, 12], 0.857, false);
    check("nxNN", &[0], &[2, 3], 0.714, false);
    check("xxNN", &[], &[2, 3], 0.0, false);
    check("NNN", &[], &[0, 1, 2], 0.0, false);
    // Nobody else is there to spill to.
    check("nxn", &[0, 2], &[], 1.0, false);
    check("nnUX", &[0, 1], &[], 1.0, false);
    // Half of them usable is the least without panic.
    check("nu", &[0], &[], 1.0, false);
    check("nuu", &[0, 1, 2], &[], 1.0, true);
    check("nuX", &[0, 1], &[], 1.0, true);
    check("nUUx", &[0, 1, 2], &[], 1.0, true);
    check("uux", &[0, 1], &[], 1.0, true);
    // What is unreachable is picked only when nothing else is there.
    check("nxx", &[0], &[], 1.0, true);
    check("xxX", &[0, 1, 2], &[], 1.0, false);
    // What refuses is never picked, in panic neither.
    check("noN", &[0], &[2], 0.714, false);
    check("nnoO", &[0, 1], &[], 1.0, false);
    check("nuo", &[0, 1], &[], 1.0, true);
    check("uoo", &[0], &[], 1.0, true);
    check("xoO", &[0], &[], 1.0, false);
    check("ooO", &[], &[], 1.0, false);
    check("", &[], &[], 1.0, false);
}

#[test]
fn members_are_left_out_while_another_stays() {
    let check = |members: &str, left_out: &[usize], expected: [&[usize]; 2]| {
        let roster = roster(members).without(|place| left_out.contains(&place));
        let places = [0, u32::MAX]
            .map(|draw| -> Vec<_> { roster.tier(draw).slots().iter().map(|slot| slot.member).collect() });
        assert_eq!(places, expected, "{members} without {left_out:?}");
    };
    check("nnn", &[1], [&[0, 2], &[0, 2]]);
    check("nnn", &[0, 1, 2], [&[0, 1, 2], &[0, 1, 2]]);
    // Who is unwell or unreachable is no better for it.
    check("nnu", &[0], [&[1], &[1]]);
    check("nu", &[0], [&[0], &[0]]);
    check("nx", &[0], [&[0], &[0]]);
    check("nuu", &[0], [&[1, 2], &[1, 2]]);
    check("nN", &[0], [&[1], &[1]]);
    check("nxN", &[2], [&[0], &[0]]);
    check("nxNN", &[2], [&[0], &[3]]);
}

#[test]
fn a_new_member_takes_its_share_by_and_by() {
    let check = |age_ms, expected: f32| {
        let share = ramp(Duration::from_millis(age_ms), Duration::from_secs(10));
        assert!((share - expected).abs() < 1e-6, "{age_ms} ms: {share}");
    };
    check(0, 0.1);
    check(1000, 0.1);
    check(2500, 0.25);
    check(9999, 0.9999);
    check(10_000, 1.0);
    assert!((ramp(Duration::ZERO, Duration::ZERO) - 1.0).abs() < f32::EPSILON);
}
