//! The hub goes on with a restored box: what it asks for again, and what stays.
use super::*;

fn insert(seq: u64) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a")), add(2, 1)])
}

fn custodies(village: &Village) -> String {
    village.text(
        "SELECT group_concat(custody, ' ') FROM (SELECT custody FROM wadi_change ORDER BY id)",
    )
}

#[test]
fn what_waits_for_an_outcome_is_asked_for_again_on_another_line() {
    let mut village = Village::new();
    village.take((1..=4).map(insert).collect());
    let outcomes = vec![
        (1, Outcome::Applied { seq: 5 }),
        (1, Outcome::Parked),
        (1, Outcome::Quarantined),
        (1, Outcome::Held),
    ];
    village.round(&page(4, vec![]), outcomes);
    assert_eq!(custodies(&village), "1 2 4 3");
    assert_eq!(village.store().waiting(), 1, "what is held");
    // The same line: nothing is asked for again.
    village.round(&page(4, vec![]), vec![]);
    assert_eq!(custodies(&village), "1 2 4 3");
    village.take(vec![insert(5)]);
    village.round(&Page { line: 1, ..page(4, vec![]) }, vec![(1, Outcome::Parked)]);
    assert_eq!(custodies(&village), "1 0 0 0 2", "of this round nothing");
    assert_eq!(village.store().waiting(), 3);
    village.crash();
    assert_eq!(village.store().waiting(), 3);
    // The other box had been told of the first; the row comes with all that it is.
    let mut place =
        told((PLACE, row(2)), 9, RowState::Live, vec![(1, text("b")), (2, Value::Int(7))]);
    place.whole = true;
    let known = vec![(1, Outcome::Known { seq: 8 }), (1, Outcome::Quarantined), (1, Outcome::Held)];
    let batch = village.round(&Page { line: 1, ..page(9, vec![place]) }, known);
    let asked: Vec<u64> = batch.changes.iter().map(|change| change.dot.seq).collect();
    assert_eq!((asked, custodies(&village)), (vec![2, 3, 4], "1 1 4 3 2".into()));
    let shown = vec![(1, text("b")), (2, Value::Int(7))];
    assert_eq!(village.shown((PLACE, row(2))), Some(shown), "counted once");
    assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
}

/// Its own changes of the gap are folded, and what the hub says of the row overrides that.
#[test]
fn what_an_older_copy_had_brought_is_not_counted_twice() {
    let mut village = Village::new();
    village.take(vec![insert(1)]);
    village.round(&page(0, vec![]), applied(1, 1));
    village.take(vec![change(PHONE, 2, Op::Update, (PLACE, row(1)), vec![add(2, 10)])]);
    // Committed; its sequence lies above the cursor, so it is still laid over.
    village.round(&page(1, vec![]), applied(1, 2));
    let mut place = told((PLACE, row(1)), 6, RowState::Live, vec![(2, Value::Int(111))]);
    place.fields.push((1, text("z")));
    place.fields.sort_by_key(|(field, _)| *field);
    village.round(&Page { line: 1, ..page(6, vec![place]) }, vec![]);
    let shown = vec![(1, text("z")), (2, Value::Int(111))];
    assert_eq!(village.shown((PLACE, row(1))), Some(shown));
}
