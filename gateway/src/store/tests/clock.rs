//! Boxes without a battery: what time it is, and what is made of stamps that cannot be.
use super::*;
use wadi_protocol::link::message::FeedCursor;

/// A box that was just switched on.
const BOOT_S: u64 = 12;
const DAY_S: u64 = 86_400;
const IN_2099_S: u64 = 4_070_908_800;

/// The stamp of what a program writes now, and the time that it was entered.
fn written(village: &mut Village) -> (Stamp, u64) {
    village.program().execute_batch("INSERT INTO place(name) VALUES ('a')").unwrap();
    assert_eq!(village.drain(), 1);
    let last = village.changes().pop().unwrap();
    (last.stamp, last.entered_s)
}

fn told_to_handhelds(village: &mut Village) -> u64 {
    let now_s = village.now_s;
    village.store().welcome(FeedCursor::default(), now_s).unwrap().clock_s
}

/// The hub's time is learnt from rounds, and what was made later never looks earlier.
#[test]
fn a_box_without_a_clock_learns_the_time_and_keeps_it() {
    let mut village = Village::new();
    village.now_s = BOOT_S;
    assert_eq!(written(&mut village).0.seconds, BOOT_S, "nobody has told it yet");
    village.round(&page(0, vec![]), applied(1, 1));
    let (told, entered_s) = written(&mut village);
    assert_eq!((told.seconds, entered_s), (NOW_S, BOOT_S), "what the clock said is kept, too");
    for _ in 0..3 {
        village.crash();
    }
    let (later, _) = written(&mut village);
    assert!(later > told, "{later} after {told}");
    assert_eq!(told_to_handhelds(&mut village), NOW_S);
    // Weeks of silence: the next round says so, though the box began at 1970 again.
    let weeks = Page { clock_s: NOW_S + 40 * DAY_S, ..page(1, vec![]) };
    village.round(&weeks, applied(2, 2));
    assert_eq!(written(&mut village).0.seconds, NOW_S + 40 * DAY_S);
    // A hub whose own clock cannot be is not believed.
    let wrong = Page { clock_s: IN_2099_S, ..page(3, vec![]) };
    village.round(&wrong, applied(1, 4));
    assert_eq!(written(&mut village).0.seconds, NOW_S + 40 * DAY_S);
    village.crash();
    assert_eq!(told_to_handhelds(&mut village), NOW_S + 40 * DAY_S);
}

/// The system clock ran for days without a hub, then the power went.
#[test]
fn time_that_passed_here_is_known_after_a_start_in_1970() {
    let mut village = Village::new();
    village.round(&page(0, vec![]), vec![]);
    let insert = |seq| change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a"))]);
    for half_days in 1..=6 {
        village.now_s = NOW_S + half_days * DAY_S / 2;
        village.take(vec![insert(half_days)]);
    }
    village.now_s = IN_2099_S;
    village.take(vec![insert(7)]);
    village.now_s = BOOT_S;
    village.crash();
    assert_eq!(told_to_handhelds(&mut village), NOW_S + 3 * DAY_S, "a jump is not followed");
    assert!(written(&mut village).0.seconds >= NOW_S + 3 * DAY_S);
}

#[test]
fn a_box_whose_clock_is_lost_contains_stamps_by_the_hubs() {
    let mut village = Village::new();
    village.now_s = BOOT_S;
    let at = |seq, seconds| Change {
        stamp: Stamp { seconds, counter: 0 },
        ..change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a"))])
    };
    village.take(vec![at(1, IN_2099_S)]);
    village.round(&page(0, vec![]), applied(1, 1));
    village.now_s = BOOT_S + 600;
    village.take(vec![at(2, NOW_S), at(3, IN_2099_S)]);
    let found: Vec<_> = village.changes().iter().map(|c| (c.stamp.seconds, c.contained)).collect();
    // It is 600 s later than when the hub told the time.
    let bound = Stamp { seconds: NOW_S + 600 + DAY_S, counter: 0 };
    assert_eq!(found, [(IN_2099_S, None), (NOW_S, None), (IN_2099_S, Some(bound))]);
    // Since the next start nobody has said what time it is.
    village.crash();
    village.take(vec![at(4, IN_2099_S)]);
    assert_eq!(village.changes().pop().unwrap().contained, None);
}
