//! Deleted rows leave the feed; whoever was silent for too long begins anew, and nobody
//! else notices.
use super::*;
use crate::store::horizon::{LIVES_MAX, SILENT_S_MAX};
use wadi_protocol::link::message::{Fate, FeedCursor};

const DAY_S: u64 = 86_400;

fn insert(seq: u64) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a"))])
}

fn delete(seq: u64, of: u64) -> Change {
    change(PHONE, seq, Op::Delete, (PLACE, row(of)), vec![])
}

impl Village {
    fn start_at(&mut self, now_s: u64) {
        self.store = None;
        self.starts += 1;
        self.store = Some(Store::open(&Opening { now_s, ..self.opening() }).unwrap());
    }

    /// Where the feed stands now.
    fn cursor(&mut self) -> FeedCursor {
        self.store().feed(OTHER_PHONE, FeedCursor::default()).unwrap().feed
    }

    fn continues(&mut self, cursor: FeedCursor) -> bool {
        self.store().welcome(cursor, NOW_S).unwrap().continues
    }

    fn fed(&mut self, cursor: FeedCursor) -> Vec<(RowId, bool)> {
        let page = self.store().feed(OTHER_PHONE, cursor).unwrap();
        page.rows.iter().map(|row| (row.row, row.live)).collect()
    }
}

/// Three places, of which the second was deleted and the hub knows; where a handheld was
/// before that, and where one was after it.
fn deleted() -> (Village, FeedCursor, FeedCursor) {
    let mut village = Village::new();
    village.take(vec![insert(1), insert(2), insert(3)]);
    village.round(&page(0, vec![]), applied(3, 1));
    village.round(&page(3, vec![]), vec![]);
    let before = village.cursor();
    village.take(vec![delete(4, 2)]);
    village.round(&page(3, vec![]), applied(1, 4));
    village.round(&page(4, vec![]), vec![]);
    village.take(vec![change(PHONE, 5, Op::Update, (PLACE, row(3)), vec![set(1, text("b"))])]);
    let after = village.cursor();
    (village, before, after)
}

#[test]
fn whoever_was_silent_for_too_long_begins_anew_and_nobody_else() {
    let (mut village, before, after) = deleted();
    let late = NOW_S + SILENT_S_MAX - DAY_S;
    for now_s in [NOW_S + DAY_S, late] {
        village.start_at(now_s);
        assert!(village.continues(before) && village.continues(after));
        assert!(village.fed(before).contains(&(row(2), false)), "it hears of the deletion");
    }
    village.start_at(late + 2 * DAY_S);
    assert!(!village.continues(before), "the feed no longer names what it missed");
    assert!(village.continues(after) && village.fed(after).is_empty());
    let all = [(row(1), true), (row(3), true)];
    assert_eq!(village.fed(FeedCursor::default()), all, "nothing is told of what is gone");
    assert_eq!(village.fed(before), all);
    let line = "SELECT state || ',' || feed_seq FROM wadi_row WHERE state = 2";
    assert_eq!(village.text(line), "2,0", "that it was deleted stays known");

    // What it still had to tell is taken, and shown as if nothing had been forgotten.
    let late = change(OTHER_PHONE, 1, Op::Update, (PLACE, row(2)), vec![set(1, text("c"))]);
    let fresh = change(OTHER_PHONE, 2, Op::Insert, (PLACE, row(9)), vec![set(1, text("d"))]);
    let (mut other, _, _) = deleted();
    for village in [&mut village, &mut other] {
        village.take(vec![late.clone(), fresh.clone()]);
    }
    for at in [2, 9] {
        assert_eq!(village.shown((PLACE, row(at))), other.shown((PLACE, row(at))));
    }
    assert!(village.fed(after).contains(&(row(2), true)), "who has no such row gets it again");
    let told = village.store().fates(&[(OTHER_PHONE, PHONE_RUN, 1, 3)]).unwrap();
    assert_eq!(told, [(OTHER_PHONE, PHONE_RUN, 3, 3, Fate::Unknown)]);
}

#[test]
fn a_long_pull_is_not_sent_back_to_its_beginning() {
    let (mut village, before, _) = deleted();
    village.start_at(NOW_S + SILENT_S_MAX);
    village.start_at(NOW_S + 2 * SILENT_S_MAX);
    let run = village.store().run();
    // It began anew in this run, and has come as far as it once was.
    let amid = FeedCursor { run, seq: before.seq - 1 };
    assert!(village.continues(amid) && village.continues(FeedCursor { run, seq: 0 }));
    assert!(!village.continues(before));
    village.start_at(NOW_S + 2 * SILENT_S_MAX + DAY_S);
    assert!(village.continues(amid), "nothing more was forgotten");
}

#[test]
fn a_row_that_comes_back_is_told_of() {
    let (mut village, _, after) = deleted();
    village.start_at(NOW_S + SILENT_S_MAX);
    village.start_at(NOW_S + 2 * SILENT_S_MAX);
    let mut back = told((PLACE, row(2)), 9, RowState::Live, vec![(1, text("again"))]);
    back.whole = true;
    village.round(&page(9, vec![back]), applied(1, 10));
    assert!(village.fed(after).contains(&(row(2), true)));
}

#[test]
fn a_deleted_row_that_something_lies_over_stays_in_the_feed() {
    let (mut village, before, _) = deleted();
    let stubborn = change(PHONE, 6, Op::Update, (PLACE, row(2)), vec![set(1, text("x"))]);
    village.take(vec![stubborn]);
    let named = "SELECT '' || (feed_seq > 0) FROM wadi_row WHERE state = 2";
    for now_s in [NOW_S + SILENT_S_MAX, NOW_S + 2 * SILENT_S_MAX] {
        village.start_at(now_s);
        assert_eq!(village.text(named), "1");
        assert!(village.continues(before));
    }
}

#[test]
fn a_box_without_a_clock_expels_nobody_and_one_that_starts_all_day_forgets_its_runs() {
    let (mut village, before, after) = deleted();
    for _ in 0..5 {
        village.start_at(0);
        assert!(village.continues(before) && village.continues(after));
    }
    // As so many starts leave it.
    let from = 1_u64 << 40;
    let many = format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {LIVES_MAX})
         INSERT INTO wadi_life (run, before, feed_from, began_s)
             SELECT {from} + x, iif(x = 1, s.run, {from} + x - 1), s.feed_seq, {NOW_S}
             FROM n, wadi_store s;
         UPDATE wadi_store SET run = {from} + {LIVES_MAX}"
    );
    village.program().execute_batch(&many).unwrap();
    village.start_at(NOW_S);
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_life"), LIVES_MAX.to_string());
    assert!(!village.continues(before) && !village.continues(after));
    let fresh = village.cursor();
    village.start_at(NOW_S);
    assert!(village.continues(fresh));
}
