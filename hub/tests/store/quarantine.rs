//! Operators repair, release and reject what broke the schema; the rest follows.
use wadi_hub::store::StoreError;
use wadi_hub::store::history::Fate;
use wadi_hub::store::repair::{Became, Edits};
use wadi_protocol::change::{Change, Delta, Group, Op};
use wadi_protocol::id::{Dot, RunId};
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use crate::model::{Device, Key, NOW_S, Site};
use crate::world::{HOUSE, PERSON, World, refer, row, text};

const SCHEMA: &str = r#"
name = "clinic"
[tables.patient.fields]
name = { type = "text", required = true }
kind = { type = "enum", values = ["man", "woman"] }
[tables.visit.fields]
patient = { type = "reference", table = "patient", on_delete = "cascade" }
age = { type = "integer", min = 0, max = 130 }
kind = { type = "enum", values = ["first", "next"] }
marks = { type = "set", values = ["a", "b"], merge = "set" }
"#;
const PATIENT: u16 = 1;
const VISIT: u16 = 2;

fn number(number: i64) -> Delta {
    Delta::Set(Value::Int(number))
}

fn set(fields: &[(&str, &str)]) -> Edits {
    let set = fields.iter().map(|(field, value)| ((*field).into(), (*value).into())).collect();
    Edits { set, ..Edits::default() }
}

/// A visit of 131 years, which is too many.
fn poisoned() -> (World, Device, Dot) {
    let mut world = World::with(2, SCHEMA);
    let mut anna = Device::new(1);
    let dot = world.enter(0, &mut anna, Op::Insert, KEY, &[(2, number(131))], 100).dot;
    world.settle();
    assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined);
    (world, anna, dot)
}

const KEY: Key = (VISIT, wadi_protocol::id::RowId([7; 16]));

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>, parts: &[&str]) {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part} is not in: {error}");
    }
}

#[test]
fn a_repaired_change_counts_everywhere_at_its_own_place() {
    let (mut world, mut anna, dot) = poisoned();
    let update = world.enter(0, &mut anna, Op::Update, KEY, &[(3, text("first"))], 200).dot;
    world.settle();
    assert_eq!(world.sites[0].outcomes[&update], Outcome::Parked);
    world.check();
    let became = world.hub.repair(dot, &set(&[("age", "13")]), NOW_S).unwrap();
    assert!(matches!(became, Became::Applied { followed: 1, .. }), "{became:?}");
    world.settle();
    let shown = world.row(KEY).unwrap();
    assert_eq!((&shown["age"], &shown["kind"]), (&13.into(), &"first".into()));
    world.check();
    // Its gateway hears that it is committed, in a form that comes as state.
    assert!(matches!(world.sites[0].outcomes[&dot], Outcome::Known { seq } if seq > 0));
    assert!(matches!(world.sites[0].outcomes[&update], Outcome::Applied { .. }));
    assert_eq!(world.hub.quarantined().unwrap(), []);
    let history = world.hub.history("visit", KEY.1).unwrap();
    let past = history.iter().find(|past| past.dot == dot).unwrap();
    assert_eq!((&past.fields[..], &past.fate), ("age=13", &Fate::Shown));
    assert_eq!(past.site, "site-0");
    // It has the place of the original: an edit that had seen that follows it.
    assert_eq!(past.change.stamp.seconds, 100);
    refused(world.hub.reject(dot, "twice", NOW_S), &["is in the changelog", "cannot be rejected"]);
}

#[test]
fn of_several_repairs_the_latest_counts_also_once_it_is_released() {
    let (mut world, mut anna, dot) = poisoned();
    world.hub.repair(dot, &set(&[("age", "13"), ("kind", "first")]), NOW_S).unwrap();
    world.settle();
    world.enter(
        1,
        &mut anna,
        Op::Update,
        KEY,
        &[(4, Delta::Edit { add: vec!["a".into()], remove: vec![] })],
        300,
    );
    world.settle();
    world
        .hub
        .repair(dot, &Edits { unset: vec!["kind".into()], ..set(&[("age", "31")]) }, NOW_S)
        .unwrap();
    world.settle();
    let shown = world.row(KEY).unwrap();
    assert_eq!(
        (&shown["age"], shown.get("kind"), &shown["marks"][0]),
        (&31.into(), None, &"a".into())
    );
    world.check();
    // Made later by the hub's clock or not, a repair follows those that it had seen.
    world.hub.repair(dot, &set(&[("age", "32")]), NOW_S - 500).unwrap();
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["age"], 32);
    world.check();
}

#[test]
fn a_repair_that_does_not_pass_leaves_nothing() {
    let (mut world, _, dot) = poisoned();
    let mut repair =
        |edits: Edits, parts: &[&str]| refused(world.hub.repair(dot, &edits, NOW_S), parts);
    repair(
        set(&[("age", "132")]),
        &["it would still break the schema: visit.age: 132 is above 130"],
    );
    repair(Edits::default(), &["would still break the schema: visit.age: 131"]);
    repair(
        set(&[("aeg", "13")]),
        &["no field \"aeg\" in table visit; there are patient, age, kind, marks"],
    );
    repair(
        Edits { unset: vec!["kind".into()], ..Edits::default() },
        &["it carries no field \"kind\""],
    );
    repair(
        Edits { table: Some("patient".into()), ..set(&[]) },
        &["it is of table visit", "reject it"],
    );
    let nobody = row(9).to_string();
    repair(
        set(&[("age", "13"), ("patient", &nobody)]),
        &[&format!("there is no row {nobody} to refer to")],
    );
    repair(
        set(&[("age", "13"), ("marks", "{\"add\":1}")]),
        &["visit.marks: {\"add\":1}: use {\"add\": [\"a\"]"],
    );
    assert_eq!(world.hub.quarantined().unwrap().len(), 1);
    world.check();
    let nothing = Dot { seq: 77, ..dot };
    refused(
        world.hub.repair(nothing, &Edits::default(), NOW_S),
        &["is not in quarantine: see `wadi-hub quarantine list`"],
    );
    refused(world.hub.reject(nothing, "why", NOW_S), &["is not in quarantine"]);
    refused(world.hub.reject(dot, " ", NOW_S), &["the reason: a line of 1 to 160 bytes is needed"]);
}

#[test]
fn a_record_of_an_unknown_table_is_told_which_it_is() {
    let mut world = World::with(1, SCHEMA);
    let mut anna = Device::new(1);
    let mut change = anna.change(Op::Insert, KEY, &[(2, number(13))], 100);
    change.table = wadi_protocol::change::TableRef::Name("vist".into());
    let dot = world.sites[0].enter(&anna, change);
    world.sites[0].sync(&mut world.hub);
    refused(
        world.hub.repair(dot, &Edits::default(), NOW_S),
        &["table \"vist\" is in no schema: say which it is by --table"],
    );
    let edits = Edits { table: Some("visit".into()), ..Edits::default() };
    world.hub.repair(dot, &edits, NOW_S).unwrap();
    world.sites[0].sync(&mut world.hub);
    assert_eq!(world.row(KEY).unwrap()["age"], 13);
    refused(
        world.hub.repair(dot, &Edits { table: Some("patient".into()), ..Edits::default() }, NOW_S),
        &["it is of table visit, and a repair moves no record to another"],
    );
}

/// Changes of one group, in quarantine since two of them are bad; all wait for all.
#[test]
fn a_group_leaves_together() {
    let mut world = World::with(1, SCHEMA);
    let mut anna = Device::new(1);
    let group = Some(Group { first: 1, len: 3 });
    let keys: [Key; 3] = [(PATIENT, row(1)), (VISIT, row(2)), (VISIT, row(3))];
    let fields: [&[(u16, Delta)]; 3] = [
        &[(1, text("an")), (2, text("boy"))],
        &[(1, refer(row(1))), (2, number(131))],
        &[(1, refer(row(1))), (2, number(3))],
    ];
    let dots: Vec<Dot> = keys
        .iter()
        .zip(fields)
        .map(|(key, fields)| {
            let change = anna.change(Op::Insert, *key, fields, 100);
            world.sites[0].enter(&anna, Change { group, ..change })
        })
        .collect();
    world.settle();
    let became = world.hub.repair(dots[0], &set(&[("kind", "man")]), NOW_S).unwrap();
    let Became::Waits { mate, why } = became else { panic!("{became:?}") };
    assert!(mate == dots[1] && why.contains("131 is above 130"), "{mate}: {why}");
    assert_eq!(world.hub.quarantined().unwrap().len(), 3);
    refused(
        world.hub.reject(dots[2], "no", NOW_S),
        &["was repaired, and a repair outdoes every reject"],
    );
    let became = world.hub.repair(dots[1], &set(&[("age", "13")]), NOW_S).unwrap();
    assert!(matches!(became, Became::Applied { followed: 2, .. }), "{became:?}");
    world.settle();
    assert_eq!(world.row(keys[2]).unwrap()["age"], 3);
    assert!(matches!(world.sites[0].outcomes[&dots[2]], Outcome::Applied { .. }), "as it was made");
    world.check();
}

#[test]
fn a_code_is_mapped_in_every_change_that_carries_it() {
    let mut world = World::with(2, SCHEMA);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    // A child of a row in quarantine is parked, and a bad one quarantined by itself.
    world.enter(
        0,
        &mut anna,
        Op::Insert,
        (PATIENT, row(1)),
        &[(1, text("an")), (2, text("m"))],
        100,
    );
    world.enter(
        0,
        &mut anna,
        Op::Insert,
        (VISIT, row(2)),
        &[(1, refer(row(1))), (2, number(3))],
        100,
    );
    world.enter(
        1,
        &mut ben,
        Op::Insert,
        (PATIENT, row(3)),
        &[(1, text("bo")), (2, text("m"))],
        100,
    );
    let nameless =
        world.enter(1, &mut ben, Op::Insert, (PATIENT, row(4)), &[(2, text("m"))], 100).dot;
    let other = world
        .enter(1, &mut ben, Op::Insert, (PATIENT, row(5)), &[(1, text("cy")), (2, text("w"))], 100)
        .dot;
    let marks = Delta::Edit { add: vec!["a".into(), "c".into()], remove: vec![] };
    world.enter(1, &mut ben, Op::Insert, (VISIT, row(6)), &[(4, marks)], 100);
    world.settle();
    let mapped = world.hub.map_code(("patient", "kind"), ("m", "man"), NOW_S).unwrap();
    assert_eq!((mapped.released, mapped.waiting.len(), mapped.more), (2, 0, false));
    let [(left, why)] = &mapped.left[..] else { panic!("{mapped:?}") };
    assert!(*left == nameless && why.contains("patient.name: required"), "{why}");
    assert_eq!(world.hub.map_code(("visit", "marks"), ("c", "b"), NOW_S).unwrap().released, 1);
    world.settle();
    assert_eq!(world.row((PATIENT, row(3))).unwrap()["kind"], "man");
    assert_eq!(world.row((VISIT, row(2))).unwrap()["age"], 3);
    assert_eq!(world.row((VISIT, row(6))).unwrap()["marks"], serde_json::json!(["a", "b"]));
    let left: Vec<Dot> = world.hub.quarantined().unwrap().iter().map(|one| one.dot).collect();
    assert_eq!(left, [nameless, other]);
    world.check();
    refused(world.hub.map_code(("patient", "kin"), ("m", "man"), NOW_S), &["no field \"kin\""]);
}

#[test]
fn the_reason_of_a_reject_reaches_the_gateway_and_a_repair_outdoes_it() {
    let (mut world, _, dot) = poisoned();
    assert_eq!(world.hub.status().unwrap().quarantined, 1);
    assert_eq!(world.hub.reject(dot, "no such visit", NOW_S).unwrap(), 1);
    world.settle();
    assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined);
    assert_eq!(world.sites[0].reasons[&dot], "rejected by the operators: no such visit");
    let status = world.hub.status().unwrap();
    assert_eq!((status.quarantined, status.rejected, status.sites[0].quarantined.count), (0, 1, 0));
    let kept = world.hub.quarantined().unwrap();
    assert!(kept[0].rejected.as_ref().unwrap().ends_with("no such visit"), "{kept:?}");
    world.check();
    world.hub.repair(dot, &set(&[("age", "13")]), NOW_S).unwrap();
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["age"], 13);
    assert!(matches!(world.sites[0].outcomes[&dot], Outcome::Known { .. }));
    world.check();
}

/// A second gateway has its verdict, and operators reject the change before it commits.
#[test]
fn a_reject_between_verdict_and_commit_reaches_who_offers_it_too() {
    let (mut world, anna, dot) = poisoned();
    let change = world.sites[0].own.iter().find(|(change, _)| change.dot == dot).unwrap().0.clone();
    world.sites[1].enter(&anna, change);
    let batch = world.sites[1].batch();
    let mut answers = Vec::new();
    for up in world.sites[1].prepare(&batch) {
        answers.extend(world.hub.hear(world.sites[1].number, &up, NOW_S).unwrap());
    }
    world.hub.reject(dot, "no such visit", NOW_S).unwrap();
    let page = world.sites[1].page(&answers);
    let committed = world.sites[1].commit(&mut world.hub);
    world.sites[1].finish(&batch, &page, &committed);
    world.settle();
    for site in &world.sites {
        assert_eq!(site.outcomes[&dot], Outcome::Quarantined);
        assert_eq!(site.reasons[&dot], "rejected by the operators: no such visit");
    }
    world.check();
}

/// A change of the older schema is taken by the newer one as it came.
#[test]
fn what_the_schema_of_today_takes_is_released_as_it_came() {
    let (mut world, _, dot) = poisoned();
    world.hub.publish_schema(&SCHEMA.replace("max = 130", "max = 150"), NOW_S).unwrap();
    world.hub.repair(dot, &Edits::default(), NOW_S).unwrap();
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["age"], 131);
    world.check();
}

/// Whoever brings it too, before or after it is repaired, hears of it.
#[test]
fn a_repaired_change_that_comes_again_is_known() {
    let mut world = World::with(3, SCHEMA);
    let mut anna = Device::new(1);
    let change = anna.change(Op::Insert, KEY, &[(2, number(131))], 100);
    let dot = change.dot;
    for site in [0, 1] {
        world.sites[site].enter(&anna, change.clone());
        world.settle();
        assert_eq!(world.sites[site].outcomes[&dot], Outcome::Quarantined);
    }
    world.hub.reject(dot, "too old", NOW_S).unwrap();
    world.settle();
    assert_eq!(world.sites[1].reasons[&dot], "rejected by the operators: too old");
    world.hub.repair(dot, &set(&[("age", "13")]), NOW_S).unwrap();
    world.crash();
    world.settle();
    world.check();
    world.sites[2].enter(&anna, change);
    world.settle();
    for site in &world.sites {
        assert!(matches!(site.outcomes[&dot], Outcome::Known { seq } if seq > 0));
    }
    assert_eq!(world.row(KEY).unwrap()["age"], 13);
    world.check();
}

/// The same where it waits for what it references: the others hear that, too.
#[test]
fn a_repaired_change_that_waits_is_parked_at_whoever_brought_it() {
    let mut world = World::with(2, SCHEMA);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let change = anna.change(Op::Insert, KEY, &[(1, refer(row(1))), (2, number(131))], 100);
    let dot = change.dot;
    for site in [0, 1] {
        world.sites[site].enter(&anna, change.clone());
        world.settle();
    }
    let became = world.hub.repair(dot, &set(&[("age", "13")]), NOW_S).unwrap();
    assert_eq!(became, Became::Parked);
    world.settle();
    assert_eq!(world.sites[0].outcomes[&dot], Outcome::Parked);
    assert_eq!(world.sites[1].outcomes[&dot], Outcome::Known { seq: 0 });
    world.enter(1, &mut ben, Op::Insert, (PATIENT, row(1)), &[(1, text("an"))], 100);
    world.settle();
    for site in &world.sites {
        assert!(matches!(site.outcomes[&dot], Outcome::Known { seq } if seq > 0));
    }
    assert_eq!(world.row(KEY).unwrap()["age"], 13);
    world.check();
}

/// What its gateway edits on top, and what references it by the urgent lane, comes whole.
#[test]
fn a_row_that_was_repaired_into_being_travels_to_its_own_gateway() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let house = (HOUSE, row(1));
    let dot = world.enter(0, &mut anna, Op::Insert, house, &[(1, number(1))], 100).dot;
    let person = (PERSON, row(2));
    world.enter(0, &mut anna, Op::Insert, person, &[(1, refer(row(1))), (2, text("an"))], 100);
    let alarm = (crate::world::ALARM, row(3));
    world.enter(0, &mut anna, Op::Insert, alarm, &[(2, refer(row(1)))], 100);
    world.settle();
    assert_eq!(world.hub.status().unwrap().parked, 2);
    world.hub.repair(dot, &set(&[("name", "one")]), NOW_S).unwrap();
    world.settle();
    assert_eq!(world.sites[0].rows[&house].fields[&1], Value::Text("one".into()));
    assert_eq!(world.hub.status().unwrap().parked, 0);
    world.check();
    world.enter(0, &mut anna, Op::Update, house, &[(1, text("two"))], 50);
    world.settle();
    assert_eq!(world.row(house).unwrap()["name"], "two");
    world.check();
}

/// The simulator found it: that the box which brought a change may have been another was
/// forgotten when the repaired change had to wait.
#[test]
fn what_another_box_had_in_quarantine_travels_when_its_parent_comes() {
    let mut world = World::with(2, SCHEMA);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let before = Site { run: RunId(81), ..world.sites[0].clone() };
    let patient = (PATIENT, row(3));
    let (group, mate) = (Some(Group { first: 1, len: 2 }), (VISIT, row(5)));
    for (key, age) in [(KEY, 131), (mate, 14)] {
        let fields = [(1, refer(patient.1)), (2, number(age))];
        let change = anna.change(Op::Insert, key, &fields, 100);
        world.sites[0].enter(&anna, Change { group, ..change });
    }
    let dot = world.sites[0].own[0].0.dot;
    world.settle();
    world.sites[0] = before;
    world.enter(0, &mut Device::new(3), Op::Insert, (PATIENT, row(4)), &[(1, text("a"))], 101);
    world.sites[0].rejoin(&mut world.hub, "site-0");
    world.settle();
    let became = world.hub.repair(dot, &set(&[("age", "13")]), NOW_S).unwrap();
    assert!(matches!(became, Became::Parked), "{became:?}");
    world.enter(1, &mut ben, Op::Insert, patient, &[(1, text("b"))], 102);
    world.settle();
    assert_eq!(world.sites[0].rows[&KEY].fields[&2], Value::Int(13));
    assert_eq!(world.sites[0].rows[&mate].fields[&2], Value::Int(14));
    world.check();
}

/// Room in quarantine is of those that nobody has decided about.
#[test]
fn posing_as_an_operator_can_only_be_rejected() {
    let mut world = World::with(1, SCHEMA);
    let db = rusqlite::Connection::open(world.folder.path().join("hub.db")).unwrap();
    let device: i64 = db
        .query_row("SELECT value FROM wadi_store WHERE key = 'device'", [], |row| row.get(0))
        .unwrap();
    let mut forger = Device::new(device as u64);
    let dot = world.enter(0, &mut forger, Op::Insert, KEY, &[(2, number(13))], 100).dot;
    world.settle();
    refused(
        world.hub.repair(dot, &Edits::default(), NOW_S),
        &["poses as an operator's", "only be rejected"],
    );
    world.hub.reject(dot, "forged", NOW_S).unwrap();
    world.settle();
    world.check();
}
