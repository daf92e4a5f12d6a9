//! Rows that left the scope, rows that are deleted twice, rows that go with others: what
//! the simulator found, each told by hand.
use super::*;
use wadi_protocol::wire::downlink::KnownRuns;

const P: (u16, RowId) = (PLACE, RowId([7; 16]));

/// A village whose base has the place P, live at version 10.
fn with_place() -> Village {
    let mut village = Village::new();
    let mut place = told(P, 10, RowState::Live, vec![(1, text("old"))]);
    place.whole = true;
    village.round(&page(10, vec![place]), vec![]);
    village
}

/// The same, until it left the scope at 12.
fn without_place() -> Village {
    let mut village = with_place();
    village.round(&page(12, vec![told(P, 12, RowState::Left, vec![])]), vec![]);
    assert_eq!(village.shown(P), None);
    village
}

fn place(seq: u64, op: Op, fields: Vec<(FieldRef, Delta)>) -> Change {
    change(PHONE, seq, op, P, fields)
}

#[test]
fn an_edit_that_another_village_brought_does_not_stay_on_a_row_that_left() {
    let mut village = without_place();
    village.take(vec![place(1, Op::Insert, vec![set(1, text("mine"))])]);
    assert!(village.shown(P).is_some(), "nobody has decided");
    // The hub had it by another route: it has nothing more to tell of a row that is not ours.
    village.round(&page(12, vec![]), vec![(1, Outcome::Known { seq: 20 })]);
    village.round(&page(25, vec![]), vec![]);
    assert_eq!(village.shown(P), None, "the cursor has passed what the hub decided");
}

#[test]
fn whoever_is_shown_a_row_that_left_claims_nothing_of_its_image() {
    let mut village = without_place();
    village.take(vec![place(1, Op::Insert, vec![set(2, Value::Int(1))])]);
    let other = village.store().feed(OTHER_PHONE, Default::default()).unwrap();
    let row = other.rows.iter().find(|row| row.row == P.1 && row.live).unwrap();
    assert_eq!(row.seen.version.seq, 0, "the name that it had is not on the screen");
}

#[test]
fn a_row_that_left_stays_as_it_was_until_an_edit_of_it_is_decided() {
    let mut village = with_place();
    village.round(&page(11, vec![]), vec![]);
    village.take(vec![place(1, Op::Update, vec![set(1, text("new"))])]);
    let leaves = page(20, vec![told(P, 20, RowState::Left, vec![])]);
    let (_, committed) = village.prepare(&leaves, vec![(1, Outcome::Applied { seq: 14 })]);
    let other = change(OTHER_PHONE, 1, Op::Update, P, vec![set(6, Value::Bool(true))]);
    let dots = [place(1, Op::Update, vec![]).dot, other.dot];
    village.take(vec![other]);
    village.hear(DownBody::Committed(committed));
    assert_eq!(village.shown(P), Some(vec![(1, text("new")), (6, Value::Bool(true))]));
    // What its image says, and what lies over it: no word of what came between 11 and 20.
    let told_of = |village: &mut Village| {
        let feed = village.store().feed(DeviceId(77), Default::default()).unwrap();
        feed.rows.iter().find(|row| row.row == P.1 && row.live).unwrap().seen.clone()
    };
    let seen = told_of(&mut village);
    assert_eq!((seen.version.seq, seen.above.len()), (11, 2), "{seen:?}");
    assert!(dots.iter().all(|dot| seen.above.contains(dot)), "{seen:?}");
    village.round(&page(20, vec![]), vec![(1, Outcome::Applied { seq: 21 })]);
    village.round(&page(30, vec![]), vec![]);
    assert_eq!(village.shown(P), None, "the cursor has passed what the hub decided");
    village.take(vec![change(OTHER_PHONE, 2, Op::Insert, P, vec![set(2, Value::Int(3))])]);
    assert_eq!(told_of(&mut village).version.seq, 0, "its image is gone");
}

#[test]
fn a_row_deleted_at_the_hub_and_here_is_kept_by_one_that_refers_to_it() {
    let mut village = with_place();
    let visit = (VISIT, row(1));
    let refers = vec![set(1, Value::Row(P.1))];
    village.take(vec![change(PHONE, 1, Op::Insert, visit, refers)]);
    let parked = vec![(1, Outcome::Parked)];
    village.round(&page(11, vec![told(P, 11, RowState::Dead, vec![])]), parked);
    assert_eq!(village.shown(P), Some(vec![(1, text("old"))]), "a visit keeps its place");
    village.take(vec![change(OTHER_PHONE, 1, Op::Delete, P, vec![])]);
    assert_eq!(village.shown(P), Some(vec![(1, text("old"))]), "once more deleted, still kept");
    assert_eq!(village.shown(visit), Some(vec![(1, Value::Row(P.1))]));
}

#[test]
fn a_reference_to_a_dead_row_is_shown_again_when_an_edit_brings_that_back() {
    let mut village = with_place();
    village.round(&page(11, vec![told(P, 11, RowState::Dead, vec![])]), vec![]);
    let log = (LOG, row(1));
    village.take(vec![change(PHONE, 1, Op::Insert, log, vec![set(2, Value::Row(P.1))])]);
    assert_eq!((village.shown(P), village.shown(log)), (None, Some(vec![])));
    village.take(vec![change(OTHER_PHONE, 1, Op::Update, P, vec![set(1, text("again"))])]);
    assert!(village.shown(P).is_some(), "until the hub has decided");
    assert_eq!(village.shown(log), Some(vec![(2, Value::Row(P.1))]));
}

#[test]
fn nobody_refers_to_what_goes_with_a_parent_that_it_just_got() {
    let mut village = Village::of(|schema| {
        schema.tables[2].fields[1].kind =
            Kind::Reference { table: LOG, on_delete: OnDelete::SetNull }
    });
    let (parent, log, log_of_log) = ((PLACE, row(1)), (LOG, row(2)), (LOG, row(3)));
    village.take(vec![
        change(PHONE, 2, Op::Insert, parent, vec![set(1, text("to go"))]),
        change(PHONE, 3, Op::Insert, log, vec![]),
        change(PHONE, 4, Op::Insert, log_of_log, vec![set(2, Value::Row(log.1))]),
    ]);
    // In one go the log gets a parent, and the parent goes: so does the log.
    village.take(vec![
        change(PHONE, 5, Op::Update, log, vec![set(1, Value::Row(parent.1))]),
        change(OTHER_PHONE, 1, Op::Delete, parent, vec![]),
    ]);
    assert_eq!(village.shown(log), None);
    assert_eq!(village.shown(log_of_log), Some(vec![]), "nobody refers to what is not there");
}

#[test]
fn an_edit_before_the_own_delete_does_not_bring_the_row_back() {
    let mut village = with_place();
    let edit = place(1, Op::Update, vec![set(1, text("edited"))]);
    village.take(vec![edit, place(2, Op::Delete, vec![])]);
    assert_eq!(village.shown(P), None);
    // The delete went through another village; the edit waits at the hub.
    let mut dead = told(P, 15, RowState::Dead, vec![]);
    dead.followed = vec![(Dot { device: PHONE, run: PHONE_RUN, seq: 1 }, vec![0, 1])];
    let known = vec![KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(2, 2)] }];
    let news = Page { known, ..page(15, vec![dead]) };
    let outcomes = vec![(1, Outcome::Known { seq: 0 }), (1, Outcome::Known { seq: 15 })];
    village.round(&news, outcomes);
    assert_eq!(village.shown(P), None, "it had been seen by what deleted the row");
}
