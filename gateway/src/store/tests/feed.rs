//! The feed of the handhelds.
use super::*;
use wadi_protocol::id::RowVersion;
use wadi_protocol::link::message::FeedCursor;

fn insert(seq: u64, name: &str) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text(name))])
}

#[test]
fn pages_follow_one_another_and_end() {
    let mut village = Village::new();
    village.take((1..=100).map(|seq| insert(seq, &"x".repeat(600))).collect());
    let (mut cursor, mut rows, mut pages) = (FeedCursor::default(), Vec::new(), 0);
    loop {
        let page = village.store().feed(OTHER_PHONE, cursor).unwrap();
        assert!(page.taken.is_empty());
        rows.extend(page.rows.into_iter().map(|row| row.row));
        (cursor, pages) = (page.feed, pages + 1);
        if !page.more {
            break;
        }
    }
    assert_eq!((rows, pages > 3), ((1..=100).map(row).collect(), true));
    assert!(village.store().feed(OTHER_PHONE, cursor).unwrap().rows.is_empty());
    village.take(vec![change(PHONE, 101, Op::Update, (PLACE, row(5)), vec![add(2, 1)])]);
    let page = village.store().feed(PHONE, cursor).unwrap();
    assert_eq!(page.rows.len(), 1);
    assert_eq!(page.rows[0].row, row(5));
    assert_eq!(page.taken, [(PHONE, PHONE_RUN, 101)]);
}

#[test]
fn seen_is_the_version_and_the_changes_above_it() {
    let mut village = Village::new();
    let mut place = told((PLACE, row(1)), 10, RowState::Live, vec![(1, text("old"))]);
    place.whole = true;
    place.review = vec![3];
    village.round(&page(12, vec![place]), vec![]);
    let dot = |device, seq| Dot { device, run: PHONE_RUN, seq };
    let first = change(
        PHONE,
        1,
        Op::Update,
        (PLACE, row(1)),
        vec![set(1, text("a")), set(6, Value::Bool(true))],
    );
    let mut second = change(OTHER_PHONE, 1, Op::Update, (PLACE, row(1)), vec![set(1, text("b"))]);
    second.seen.above = vec![dot(PHONE, 1)];
    village.take(vec![first]);
    village.take(vec![second]);
    let feed = village.store().feed(PHONE, FeedCursor::default()).unwrap();
    let shown = &feed.rows[0];
    assert_eq!(
        shown.seen.version,
        RowVersion { hub: village.hub, seq: 12 },
        "the cursor is past the row's version"
    );
    assert_eq!(shown.seen.above, [dot(PHONE, 1), dot(OTHER_PHONE, 1)]);
    assert_eq!((&shown.review, &shown.fields[0]), (&vec![3], &(1, text("b"))));
    // A program's edit has seen both, and not itself.
    village
        .program()
        .execute_batch("UPDATE place SET name = 'b2'; UPDATE place SET name = 'c'")
        .unwrap();
    village.drain();
    let edits = village.changes().split_off(2);
    assert!(edits.iter().all(|edit| edit.seen == shown.seen), "{edits:?}");
    // The next one need not name what the first of them follows.
    village.program().execute_batch("UPDATE place SET name = 'd'").unwrap();
    village.drain();
    assert_eq!(village.changes().last().unwrap().seen.above, [dot(PHONE, 1)]);
    assert_eq!(village.shown((PLACE, row(1))).unwrap()[0].1, text("d"));
}

#[test]
fn a_fresh_row_claims_to_have_seen_nothing() {
    let mut village = Village::new();
    village.round(&page(12, vec![]), vec![]);
    village.program().execute_batch("INSERT INTO place(name) VALUES ('a')").unwrap();
    village.drain();
    assert_eq!(village.changes()[0].seen, Seen::default());
}

#[test]
fn what_the_hub_put_aside_is_marked() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    let cursor = village.store().feed(PHONE, FeedCursor::default()).unwrap().feed;
    village.round(&page(0, vec![]), vec![(1, Outcome::Quarantined)]);
    let feed = village.store().feed(PHONE, cursor).unwrap();
    assert_eq!(feed.rows[0].marked, [Dot { device: PHONE, run: PHONE_RUN, seq: 1 }]);
    assert!(feed.rows[0].live, "it stays on the screen");
}

#[test]
fn cursors_outlive_restarts() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a"), insert(2, "b")]);
    let cursor = village.store().feed(PHONE, FeedCursor::default()).unwrap().feed;
    for _ in 0..3 {
        village.crash();
    }
    assert!(village.store().welcome(cursor, NOW_S).unwrap().continues);
    assert!(village.store().feed(PHONE, cursor).unwrap().rows.is_empty());
    village.take(vec![insert(3, "c")]);
    let page = village.store().feed(PHONE, cursor).unwrap();
    assert_eq!((page.rows.len(), page.feed.run), (1, village.store().run()));
}

#[test]
fn a_cursor_from_after_a_backup_is_not_continued() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    let old = village.store().feed(PHONE, FeedCursor::default()).unwrap().feed;
    village.store = None;
    let copy = village.path.with_extension("copy");
    std::fs::copy(&village.path, &copy).unwrap();
    village.start();
    village.take(vec![insert(2, "b")]);
    let lost = village.store().feed(PHONE, old).unwrap().feed;
    village.store = None;
    std::fs::copy(&copy, &village.path).unwrap();
    village.start();
    assert!(village.store().welcome(old, NOW_S).unwrap().continues);
    assert!(!village.store().welcome(lost, NOW_S).unwrap().continues);
    let page = village.store().feed(PHONE, lost).unwrap();
    assert_eq!(page.rows.len(), 1, "from the beginning");
    for strange in [FeedCursor { run: RunId(99), seq: 0 }, FeedCursor { run: old.run, seq: 99 }] {
        assert!(!village.store().welcome(strange, NOW_S).unwrap().continues);
    }
}
