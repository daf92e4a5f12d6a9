//! Own changes that operators repaired or rejected: what the hub tells later.
use super::*;
use wadi_protocol::link::message::Fate;
use wadi_protocol::wire::downlink::{KnownRuns, Notice};

const ROW: (u16, RowId) = (PLACE, RowId([1; 16]));

fn dot(seq: u64) -> Dot {
    Dot { device: PHONE, run: PHONE_RUN, seq }
}

fn notice(seq: u64, outcome: Outcome, reason: &str) -> Notice {
    Notice { dot: dot(seq), outcome, reason: reason.into() }
}

/// A village whose first change, an insert of this name, is in quarantine.
fn quarantined(name: Value) -> Village {
    let mut village = Village::new();
    village.take(vec![change(PHONE, 1, Op::Insert, ROW, vec![set(1, name), add(2, 5)])]);
    let verdicts = vec![(0, "bad name".to_owned())];
    let page = Page { verdicts, ..page(0, vec![]) };
    village.round(&page, vec![(1, Outcome::Quarantined)]);
    village
}

fn fate(village: &mut Village, seq: u64) -> Vec<Fate> {
    let fates = village.store().fates(&[(PHONE, PHONE_RUN, seq, seq)]).unwrap();
    fates.into_iter().map(|(.., fate)| fate).collect()
}

/// Whether it was shown here or not, what it was made of is never folded: its values
/// come as state, by the page of that round or by a later one.
#[test]
fn a_repaired_change_comes_as_state() {
    for (name, laid) in [(text("shown"), true), (Value::Bool(true), false)] {
        for at_once in [true, false] {
            let mut village = quarantined(name.clone());
            assert_eq!(village.shown(ROW).is_some(), laid);
            let fields = vec![(1, text("repaired"))];
            let row = PageRow { whole: true, ..told(ROW, 8, RowState::Live, fields) };
            let notices = vec![notice(1, Outcome::Known { seq: 8 }, "")];
            match at_once {
                true => {
                    village.round(&Page { notices, ..page(8, vec![row]) }, vec![]);
                }
                false => {
                    village.round(&Page { notices, ..page(7, vec![]) }, vec![]);
                    assert_eq!(village.shown(ROW).is_some(), laid, "until the hub says what it is");
                    village.crash();
                    village.round(&page(8, vec![row]), vec![]);
                }
            }
            // No count of 5: the repair had dropped it.
            assert_eq!(village.shown(ROW).unwrap(), [(1, text("repaired"))], "{name} {at_once}");
            assert_eq!(fate(&mut village, 1), [Fate::Durable]);
            assert_eq!(village.text("SELECT '' || laid FROM wadi_change WHERE seq = 1"), "0");
            assert_eq!(village.text("SELECT reason FROM wadi_change WHERE seq = 1"), "");
            assert_eq!(village.store().status().unwrap().quarantined_changes, 0);
            assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
        }
    }
}

/// The others of its group were good: they are taken as they were made, and folded.
#[test]
fn a_change_that_was_released_as_it_was_is_folded() {
    let mut village = quarantined(text("good"));
    let notices = vec![notice(1, Outcome::Applied { seq: 8 }, "")];
    village.round(&Page { notices, ..page(8, vec![]) }, vec![]);
    assert_eq!(village.shown(ROW).unwrap(), [(1, text("good")), (2, Value::Int(5))]);
    assert_eq!(fate(&mut village, 1), [Fate::Durable]);
}

/// The hub did not know its table either and put it aside. The schema that has it comes before
/// the release, or with it; the hub keeps its values at home, for this village brought it.
#[test]
fn a_change_whose_table_came_while_it_was_in_quarantine_is_folded_when_released() {
    const WELL: u16 = 4;
    for at_once in [true, false] {
        let mut village = Village::new();
        let mut next = schema();
        next.version = 2;
        let name = field(1, "name", Kind::Text, Merge::LastWrite);
        next.tables.push(table(WELL, "well", vec![name]));
        let deep = vec![(FieldRef::Name("name".into()), Delta::Set(text("deep")))];
        let deep = change(PHONE, 1, Op::Insert, (WELL, row(1)), deep);
        village.take(vec![Change { table: TableRef::Name("well".into()), ..deep }]);
        let verdicts = vec![(0, "table well is in no schema".to_owned())];
        village.round(&Page { verdicts, ..page(0, vec![]) }, vec![(1, Outcome::Quarantined)]);
        let news = Page { schema: Some(next), ..page(0, vec![]) };
        let notices = vec![notice(1, Outcome::Applied { seq: 8 }, "")];
        if at_once {
            village.round(&Page { notices, schema: news.schema, ..page(8, vec![]) }, vec![]);
        } else {
            village.round(&news, vec![]);
            village.crash();
            village.round(&Page { notices, ..page(8, vec![]) }, vec![]);
        }
        assert_eq!(village.text("SELECT name FROM well"), "deep", "{at_once}");
        assert_eq!(village.text("SELECT '' || laid FROM wadi_change WHERE seq = 1"), "0");
        assert_eq!(fate(&mut village, 1), [Fate::Durable]);
        assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
    }
}

#[test]
fn the_reason_of_a_reject_reaches_the_handheld_and_makes_room_for_what_is_held() {
    let mut village = quarantined(Value::Bool(true));
    let other = change(PHONE, 2, Op::Insert, (PLACE, row(2)), vec![set(1, text("b"))]);
    village.take(vec![other]);
    village.round(&page(0, vec![]), vec![(1, Outcome::Held)]);
    assert_eq!(village.store().status().unwrap().held, 1);
    village.crash();
    let notices = vec![notice(1, Outcome::Quarantined, "rejected: twice")];
    let page = Page { notices, ..page(0, vec![]) };
    village.round(&page, vec![]);
    let rejected = Fate::Quarantined { reason: "rejected: twice".into() };
    assert_eq!(fate(&mut village, 1), [rejected]);
    let status = village.store().status().unwrap();
    assert_eq!(status.quarantined[0].reason, "rejected: twice");
    let again = batch::decode(&changeset(&village.begin()).1).unwrap();
    assert_eq!(again.changes[0].dot, dot(2));
}

/// It came to the hub by another route as well, and is parked there: the page that
/// covers it says the rest.
#[test]
fn what_is_known_and_parked_is_durable_once_a_page_covers_it() {
    let mut village = quarantined(Value::Bool(true));
    let notices = vec![notice(1, Outcome::Known { seq: 0 }, "")];
    village.round(&Page { notices, ..page(0, vec![]) }, vec![]);
    assert_eq!(fate(&mut village, 1), [Fate::Parked]);
    let fields = vec![(1, text("repaired"))];
    let row = PageRow { whole: true, ..told(ROW, 8, RowState::Live, fields) };
    let runs = KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] };
    village.round(&Page { known: vec![runs], ..page(8, vec![row]) }, vec![]);
    assert_eq!(fate(&mut village, 1), [Fate::Durable]);
    assert_eq!(village.shown(ROW).unwrap(), [(1, text("repaired"))]);
}
