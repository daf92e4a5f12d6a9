//! What a row drags along: no more after hundreds of changes by several people than
//! after the first, on the link, in the file and on the way to handhelds.
use super::*;
use wadi_protocol::link::message::FeedCursor;

const P: (u16, RowId) = (PLACE, RowId([7; 16]));
const CHANGES: u64 = 300;

/// A round that carries one change, which is folded by the next; the bytes it took.
fn carried(village: &mut Village, change: Change, head: u64) -> usize {
    village.take(vec![change]);
    let batch = village.round(&page(head, vec![]), applied(1, head + 1));
    assert_eq!(batch.changes.len(), 1);
    village.round(&page(head + 1, vec![]), vec![]);
    batch::encode(&batch).len()
}

/// Bytes that the file keeps of rows beside their values, and what a handheld is told that
/// its user was shown.
fn beside(village: &mut Village) -> (u64, usize) {
    let kept = village.text(
        "SELECT '' || sum(coalesce(length(base), 0) + coalesce(length(review), 0)
             + coalesce(length(followed), 0) + coalesce(length(sight), 0)) FROM wadi_row",
    );
    let kept = kept.parse().unwrap();
    let feed = village.store().feed(OTHER_PHONE, FeedCursor::default()).unwrap();
    (kept, feed.rows.iter().map(|row| row.seen.above.len() + row.marked.len()).sum())
}

#[test]
fn what_a_row_carries_does_not_grow_with_its_changes() {
    let mut village = Village::new();
    let insert = change(PHONE, 1, Op::Insert, P, vec![set(1, text("place")), add(2, 1)]);
    carried(&mut village, insert, 0);
    let (mut first, mut bytes) = (None, Vec::new());
    for seq in 2..=CHANGES {
        let device = if seq % 2 == 0 { PHONE } else { OTHER_PHONE };
        // Each had been shown what was there, as a handheld says it.
        let feed = village.store().feed(device, FeedCursor::default()).unwrap();
        let mut update = change(device, seq, Op::Update, P, vec![set(1, text("name")), add(2, 1)]);
        update.seen = feed.rows[0].seen.clone();
        bytes.push(carried(&mut village, update, seq - 1));
        let now = beside(&mut village);
        assert_eq!(first.get_or_insert(now), &now, "after {seq} changes");
    }
    let (least, most) = (bytes.iter().min().unwrap(), bytes.iter().max().unwrap());
    // The same but for the size of the numbers that count.
    assert!(most - least <= 8, "{least} to {most} bytes");
    let shown = vec![(1, text("name")), (2, Value::Int(CHANGES as i64))];
    assert_eq!(village.shown(P), Some(shown));

    carried(&mut village, change(PHONE, CHANGES + 1, Op::Delete, P, vec![]), CHANGES);
    let (kept, above) = beside(&mut village);
    let (live, _) = first.unwrap();
    assert!(kept <= live && above == 0, "{kept} bytes, and {live} when it was live");
    assert_eq!(village.text("SELECT '' || count(*) FROM place"), "0");
}
