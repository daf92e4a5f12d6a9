//! Base and overlay: what people see.
use super::*;
use wadi_protocol::wire::downlink::KnownRuns;

const P: (u16, RowId) = (PLACE, RowId([7; 16]));

fn update(seq: u64, fields: Vec<(FieldRef, Delta)>) -> Change {
    change(PHONE, seq, Op::Update, P, fields)
}

/// A village whose base has the place P, live at version 10: name "old", stock 100.
fn with_place() -> Village {
    let mut village = Village::new();
    let mut place = told(P, 10, RowState::Live, vec![(1, text("old")), (2, Value::Int(100))]);
    place.whole = true;
    village.round(&page(10, vec![place]), vec![]);
    village
}

#[test]
fn assignments_override_and_sums_add() {
    let mut village = with_place();
    village
        .take(vec![update(1, vec![set(1, text("new")), add(2, -30)]), update(2, vec![add(2, 5)])]);
    assert_eq!(village.shown(P).unwrap(), [(1, text("new")), (2, Value::Int(75))]);
    // The hub's stock moves on under the overlay.
    let news = told(P, 12, RowState::Live, vec![(2, Value::Int(200))]);
    village.round(&page(12, vec![news]), applied(2, 13));
    assert_eq!(village.shown(P).unwrap(), [(1, text("new")), (2, Value::Int(175))]);
}

#[test]
fn an_own_edit_stays_until_the_rows_version_passes_it() {
    let mut village = with_place();
    village.take(vec![update(1, vec![set(1, text("mine"))])]);
    village.round(&page(10, vec![]), applied(1, 20));
    assert_eq!(village.shown(P).unwrap()[0].1, text("mine"), "durable, above base");
    let others = told(P, 15, RowState::Live, vec![(1, text("theirs"))]);
    village.round(&page(15, vec![others]), vec![]);
    assert_eq!(village.shown(P).unwrap()[0].1, text("mine"), "base is older than it");
    let decided = told(P, 20, RowState::Live, vec![(1, text("theirs"))]);
    village.round(&page(20, vec![decided]), vec![]);
    assert_eq!(village.shown(P).unwrap()[0].1, text("theirs"), "the hub has decided");
}

#[test]
fn what_stays_home_is_folded_as_the_cursor_passes() {
    let mut village = with_place();
    village
        .take(vec![update(1, vec![set(1, text("mine")), add(2, 5)]), update(2, vec![add(2, 1)])]);
    village.round(&page(10, vec![]), applied(2, 11));
    let before = village.store().ground.feed_seq;
    village.round(&page(12, vec![]), vec![]);
    assert_eq!(village.shown(P).unwrap(), [(1, text("mine")), (2, Value::Int(106))]);
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_change WHERE laid = 1"), "0");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_row WHERE base IS NOT NULL"), "0");
    assert_eq!(village.store().ground.feed_seq, before, "it looks the same: nothing to feed");
}

#[test]
fn folding_and_a_page_meet_in_one_row() {
    let mut village = with_place();
    village.take(vec![update(1, vec![set(1, text("mine")), add(2, 5)])]);
    village.round(&page(10, vec![]), applied(1, 11));
    // The name stays home; the stock was also changed elsewhere and travels.
    let mixed = told(P, 14, RowState::Live, vec![(2, Value::Int(505))]);
    village.round(&page(14, vec![mixed]), vec![]);
    assert_eq!(village.shown(P).unwrap(), [(1, text("mine")), (2, Value::Int(505))]);
}

#[test]
fn what_base_follows_is_not_laid_but_sums_are() {
    let mut village = with_place();
    village.take(vec![update(1, vec![set(1, text("mine")), add(2, 5)])]);
    let mut row = told(P, 12, RowState::Live, vec![(1, text("after mine"))]);
    row.followed = vec![(Dot { device: PHONE, run: PHONE_RUN, seq: 1 }, vec![1, 2])];
    village.round(&page(12, vec![row]), vec![(1, Outcome::Parked)]);
    assert_eq!(village.shown(P).unwrap(), [(1, text("after mine")), (2, Value::Int(105))]);
}

#[test]
fn dots_known_by_another_route_are_not_counted_twice() {
    let mut village = with_place();
    let known =
        |first, last| vec![KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(first, last)] }];
    village.take(vec![update(2, vec![add(2, 5)])]);
    // Another gateway brought 1 and 2: 100 + 1 + 5.
    let row = told(P, 12, RowState::Live, vec![(2, Value::Int(106))]);
    let both = Page { known: known(1, 2), ..page(12, vec![row]) };
    village.round(&both, vec![(1, Outcome::Known { seq: 12 })]);
    assert_eq!(village.shown(P).unwrap()[1].1, Value::Int(106));
    village.take(vec![
        update(1, vec![add(2, 1)]),
        update(2, vec![add(2, 5)]),
        update(3, vec![add(2, 10)]),
    ]);
    assert_eq!(village.shown(P).unwrap()[1].1, Value::Int(116), "only the third is new");
    assert_eq!(village.changes().len(), 3, "the first is kept until the hub says that it has it");
    let fates = village.store().fates(&[(PHONE, PHONE_RUN, 1, 3)]).unwrap();
    assert_eq!(fates, [(PHONE, PHONE_RUN, 2, 2, wadi_protocol::link::message::Fate::Durable)]);
    village.round(&page(12, vec![]), vec![(1, Outcome::Known { seq: 11 }), (1, Outcome::Parked)]);
    let fates = village.store().fates(&[(PHONE, PHONE_RUN, 1, 1)]).unwrap();
    assert_eq!(fates, [(PHONE, PHONE_RUN, 1, 1, wadi_protocol::link::message::Fate::Durable)]);
    assert_eq!(village.shown(P).unwrap()[1].1, Value::Int(116), "still");
}

#[test]
fn a_pending_change_whose_dot_turns_out_known_is_not_laid_and_the_hub_is_asked() {
    let mut village = with_place();
    // It comes to the gateway while the round that names it is already under way.
    let row = told(P, 12, RowState::Live, vec![(2, Value::Int(105))]);
    let known = vec![KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] }];
    let (_, committed) = village.prepare(&Page { known, ..page(12, vec![row]) }, vec![]);
    village.take(vec![update(1, vec![add(2, 5)])]);
    assert!(village.hear(DownBody::Committed(committed)).idle);
    assert_eq!(village.shown(P).unwrap()[1].1, Value::Int(105));
    // Somebody may have forged its number: only the hub can tell.
    assert_ne!(changeset(&village.begin()).1, b"");
    assert_eq!(village.store().waiting(), 1);
}

#[test]
fn an_edit_of_a_row_deleted_elsewhere_stays_until_its_outcome() {
    let mut village = with_place();
    village.take(vec![update(1, vec![set(1, text("mine"))])]);
    village.round(&page(12, vec![told(P, 12, RowState::Dead, vec![])]), applied(1, 13));
    assert_eq!(village.shown(P).unwrap()[0].1, text("mine"));
    village.round(&page(14, vec![told(P, 13, RowState::Dead, vec![])]), vec![]);
    assert_eq!(village.shown(P), None);
}

#[test]
fn a_row_that_left_goes() {
    let mut village = with_place();
    village.round(&page(12, vec![told(P, 12, RowState::Left, vec![])]), vec![]);
    assert_eq!(village.shown(P), None);
    let feed = village.store().feed(PHONE, Default::default()).unwrap();
    assert_eq!(feed.rows.len(), 1);
    assert!(!feed.rows[0].live);
}

fn visit(number: u64, place: RowId) -> Change {
    change(PHONE, number, Op::Insert, (VISIT, row(number)), vec![set(1, Value::Row(place))])
}

fn log_entry(number: u64, place: RowId, next: RowId) -> Change {
    let fields = vec![set(1, Value::Row(place)), set(2, Value::Row(next))];
    change(PHONE, number, Op::Insert, (LOG, row(number)), fields)
}

fn place(number: u64) -> Change {
    change(PHONE, number, Op::Insert, (PLACE, row(number)), vec![set(1, text("p"))])
}

fn delete(seq: u64, key: (u16, RowId)) -> Change {
    change(PHONE, seq, Op::Delete, key, vec![])
}

#[test]
fn a_local_delete_takes_its_children_along_and_clears_references() {
    let mut village = Village::new();
    village.take(vec![
        place(1),
        place(2),
        log_entry(3, row(1), row(2)),
        log_entry(4, row(2), row(1)),
    ]);
    village.take(vec![delete(5, (PLACE, row(1)))]);
    assert_eq!(village.shown((PLACE, row(1))), None);
    assert_eq!(village.shown((LOG, row(3))), None, "cascade");
    assert_eq!(village.shown((LOG, row(4))).unwrap(), [(1, Value::Row(row(2)))], "set null");
    // Inserted again after its delete, it brings back what it had taken along.
    let again = Change { dot: Dot { seq: 6, ..place(1).dot }, ..place(1) };
    village.take(vec![again]);
    assert!(village.shown((PLACE, row(1))).is_some());
    assert_eq!(village.shown((LOG, row(3))).unwrap().len(), 2);
    assert_eq!(village.shown((LOG, row(4))).unwrap().len(), 2);
}

#[test]
fn a_restricted_row_stays_while_it_is_referenced() {
    let mut village = Village::new();
    village.take(vec![place(1), visit(2, row(1)), delete(3, (PLACE, row(1)))]);
    assert!(village.shown((PLACE, row(1))).is_some(), "the visit keeps it");
    village.take(vec![delete(4, (VISIT, row(2)))]);
    assert_eq!(village.shown((PLACE, row(1))), None, "nothing keeps it any more");
    village.take(vec![visit(5, row(1))]);
    assert!(village.shown((PLACE, row(1))).is_some(), "kept again");
}

/// The simulator found it: what is deleted stayed for ever where the row that had kept it
/// referenced not itself but one that goes with it.
#[test]
fn a_restricted_row_goes_with_the_last_that_kept_what_goes_with_it() {
    const NOTE: u16 = LOG + 1;
    let mut village = Village::of(|schema| {
        let to_log = Kind::Reference { table: LOG, on_delete: OnDelete::Restrict };
        let fields = vec![field(1, "log", to_log, Merge::LastWrite)];
        schema.tables.push(table(NOTE, "note", fields));
    });
    let note =
        |seq, log| change(PHONE, seq, Op::Insert, (NOTE, row(seq)), vec![set(1, Value::Row(log))]);
    village.take(vec![place(1), place(2), log_entry(3, row(1), row(2)), note(4, row(3))]);
    village.take(vec![delete(5, (PLACE, row(1)))]);
    assert!(village.shown((PLACE, row(1))).is_some(), "the note keeps the log, and that the place");
    village.take(vec![delete(6, (NOTE, row(4)))]);
    assert_eq!((village.shown((PLACE, row(1))), village.shown((LOG, row(3)))), (None, None));
}

#[test]
fn a_place_deleted_elsewhere_stays_for_a_visit_that_is_not_decided() {
    let mut village = with_place();
    village.take(vec![visit(1, P.1), log_entry(2, P.1, P.1)]);
    village.round(&page(12, vec![told(P, 12, RowState::Dead, vec![])]), applied(2, 13));
    assert_eq!(village.shown(P).unwrap()[0].1, text("old"), "with its last image");
    assert!(village.shown((VISIT, row(1))).is_some() && village.shown((LOG, row(2))).is_some());
    // The hub let everything go.
    let gone = |key| told(key, 15, RowState::Dead, vec![]);
    village.round(&page(15, vec![gone((VISIT, row(1))), gone((LOG, row(2)))]), vec![]);
    assert_eq!(village.shown(P), None);
    assert_eq!(
        village.text("SELECT '' || count(*) FROM wadi_row WHERE base IS NOT NULL OR shown <> 0"),
        "0"
    );
}

#[test]
fn a_program_that_deletes_sees_the_rule_at_work() {
    let mut village = Village::new();
    village.take(vec![place(1), visit(2, row(1)), log_entry(3, row(1), row(1))]);
    village.program().execute_batch("DELETE FROM place").unwrap();
    village.drain();
    assert!(village.shown((PLACE, row(1))).is_some(), "put back: a visit references it");
    village.program().execute_batch("DELETE FROM visit").unwrap();
    village.drain();
    assert_eq!((village.shown((PLACE, row(1))), village.shown((LOG, row(3)))), (None, None));
}

/// The simulator found it: people saw what stood there before their own edit, since a later
/// one had followed that, which did not come with the deleted row.
#[test]
fn of_a_row_deleted_elsewhere_the_last_image_has_all_own_edits() {
    let mut village = with_place();
    village.take(vec![update(1, vec![set(1, text("mine"))]), update(2, vec![add(2, 5)])]);
    let mut dead = told(P, 12, RowState::Dead, vec![]);
    dead.followed = vec![(Dot { device: PHONE, run: PHONE_RUN, seq: 1 }, vec![0, 1])];
    village.round(&page(12, vec![dead]), applied(2, 13));
    assert_eq!(village.shown(P).unwrap(), [(1, text("mine")), (2, Value::Int(105))]);
}

/// The simulator found it: a delete that had seen a parked edit hid that from people, though
/// the row stayed.
#[test]
fn an_undecided_edit_that_a_delete_had_seen_stays_while_the_row_does() {
    let mut village = with_place();
    village.take(vec![update(1, vec![set(1, text("mine"))])]);
    let followed = vec![(Dot { device: PHONE, run: PHONE_RUN, seq: 1 }, vec![0])];
    let live = PageRow { followed: followed.clone(), ..told(P, 12, RowState::Live, vec![]) };
    village.round(&page(12, vec![live]), vec![(1, Outcome::Parked)]);
    assert_eq!(village.shown(P).unwrap()[0].1, text("mine"));
    let dead = PageRow { followed, ..told(P, 13, RowState::Dead, vec![]) };
    village.round(&page(13, vec![dead]), vec![]);
    assert_eq!(village.shown(P), None, "what deleted the row had seen all of it");
}
