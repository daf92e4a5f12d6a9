//! Schemas that grow while gateways are away: nobody is stopped by a version.
use wadi_protocol::change::{Change, Delta, FieldRef, Op, TableRef};
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use crate::model::{Device, Key, NOW_S};
use crate::world::{World, row, text};

const FIRST: &str = r#"
name = "clinic"
[tables.visit.fields]
kind = { type = "enum", values = ["first", "next"] }
age = { type = "integer", min = 0, max = 130 }
"#;
/// What the second version adds, and what the third does.
const SECOND: &str = "note = { type = \"text\" }\n";
const THIRD: &str = "[tables.death.fields]\ncause = { type = \"text\" }\n";

const VISIT: u16 = 1;
const DEATH: u16 = 2;

fn number(number: i64) -> Delta {
    Delta::Set(Value::Int(number))
}

/// Two sites that hold the first version, and a hub that has published three.
fn grown() -> World {
    let mut world = World::with(2, FIRST);
    let second = FIRST.replace("\"next\"]", "\"next\", \"last\"]").replace("130", "150") + SECOND;
    world.hub.publish_schema(&second, NOW_S).unwrap();
    world.hub.publish_schema(&(second + THIRD), NOW_S).unwrap();
    assert_eq!(world.schema().version, 3);
    world
}

#[test]
fn what_a_gateway_of_an_old_version_brings_is_taken_as_it_was_meant() {
    let mut world = grown();
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    // The other village is up to date before the old one comes.
    world.sync(1);
    assert_eq!(world.sites[1].schema.as_ref().unwrap().version, 3);
    let raw = Change {
        table: TableRef::Name("visit".into()),
        fields: vec![
            (FieldRef::Name("kind".into()), text("first")),
            (FieldRef::Name("age".into()), Delta::Set(Value::Number("31".into()))),
        ],
        ..anna.change(Op::Insert, (VISIT, row(1)), &[], 100)
    };
    world.sites[0].enter(&anna, raw);
    world.enter(0, &mut anna, Op::Insert, (VISIT, row(2)), &[(2, number(32))], 101);
    // Judged by what its writer could know, in which nobody was older than 130.
    let old = world.enter(0, &mut anna, Op::Insert, (VISIT, row(3)), &[(2, number(140))], 102).dot;
    let changes = [
        ben.change(Op::Insert, (VISIT, row(4)), &[(2, number(140)), (3, text("note"))], 103),
        ben.change(Op::Insert, (DEATH, row(5)), &[(1, text("age"))], 104),
    ];
    for change in changes {
        world.sites[1].enter(&ben, Change { schema: 3, ..change });
    }
    world.settle();
    let shown = world.row((VISIT, row(1))).unwrap();
    assert_eq!((&shown["kind"], &shown["age"]), (&"first".into(), &31.into()));
    assert_eq!(world.row((VISIT, row(2))).unwrap()["age"], 32);
    assert_eq!(world.row((VISIT, row(4))).unwrap()["note"], "note");
    assert!(world.row((DEATH, row(5))).is_some());
    assert_eq!(world.sites[0].outcomes[&old], Outcome::Quarantined);
    assert!(world.sites[0].reasons[&old].contains("140 is above 130"));
    // The model of a gateway folds no names; its neighbour was told everything.
    world.check_site(1);
    assert_eq!(world.hub.ledger().unwrap().wrong, Vec::<String>::new());
    assert_eq!(world.sites[0].schema.as_ref().unwrap().version, 3, "it got the news besides");
}

/// Two changes to a row, by writers of different versions, meet in one.
#[test]
fn writers_of_different_versions_edit_one_row() {
    let mut world = grown();
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let visit: Key = (VISIT, row(1));
    world.enter(0, &mut anna, Op::Insert, visit, &[(1, text("first"))], 100);
    world.settle();
    // A phone that learnt the newest version roams to a village and edits what is new to it.
    let mut note = ben.change(Op::Update, visit, &[(1, text("last")), (3, text("note"))], 200);
    note.seen.version = world.sites[1].version(visit);
    world.sites[1].enter(&ben, Change { schema: 3, ..note });
    world.enter(0, &mut anna, Op::Update, visit, &[(2, number(31))], 201);
    world.settle();
    let shown = world.row(visit).unwrap();
    assert_eq!(
        (&shown["kind"], &shown["age"], &shown["note"]),
        (&"last".into(), &31.into(), &"note".into())
    );
    world.check();
}

/// What no version knows is put aside whole, field by field, and released once one does.
#[test]
fn a_field_that_no_version_knows_is_kept() {
    let mut world = World::with(1, FIRST);
    let mut anna = Device::new(1);
    let visit: Key = (VISIT, row(1));
    let unknown = Change {
        fields: vec![
            (FieldRef::Name("age".into()), number(31)),
            (FieldRef::Name("note".into()), text("of tomorrow")),
        ],
        ..anna.change(Op::Insert, visit, &[], 100)
    };
    let dot = world.sites[0].enter(&anna, unknown.clone());
    let future =
        Change { schema: 9, ..anna.change(Op::Insert, (VISIT, row(2)), &[(2, number(1))], 101) };
    let future = world.sites[0].enter(&anna, future);
    world.enter(0, &mut anna, Op::Insert, (VISIT, row(3)), &[(2, number(33))], 102);
    world.settle();
    assert_eq!(world.row((VISIT, row(3))).unwrap()["age"], 33, "nobody else is stopped");
    assert_eq!(world.hub.quarantined_changes(dot).unwrap()[0].change, unknown);
    assert!(world.sites[0].reasons[&dot].contains("there is no field \"note\""));
    let reason = &world.sites[0].reasons[&future];
    assert!(reason.contains("schema version 9, which this hub never published"), "{reason}");
    world.hub.publish_schema(&(FIRST.to_owned() + SECOND), NOW_S).unwrap();
    world.hub.repair(dot, &Default::default(), NOW_S).unwrap();
    world.settle();
    let shown = world.row(visit).unwrap();
    assert_eq!((&shown["age"], &shown["note"]), (&31.into(), &"of tomorrow".into()));
    world.check();
}

/// A code retires: rows keep it, whoever has not heard may still record it, nobody is
/// stopped, and whoever has heard is told.
#[test]
fn a_code_retires_without_stopping_anybody() {
    let mut world = World::with(2, FIRST);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let kind = |code| [(1, text(code))];
    world.enter(0, &mut anna, Op::Insert, (VISIT, row(1)), &kind("first"), 100);
    world.settle();
    // Two who have not seen each other, while the code goes: both may have meant it.
    world.enter(0, &mut anna, Op::Update, (VISIT, row(1)), &kind("next"), 200);
    world.enter(1, &mut ben, Op::Update, (VISIT, row(1)), &kind("first"), 300);
    world.enter(1, &mut ben, Op::Insert, (VISIT, row(2)), &kind("first"), 301);
    let forgotten = FIRST.replace("[\"first\", \"next\"]", "[\"next\"]");
    let error = world.hub.publish_schema(&forgotten, NOW_S).unwrap_err().to_string();
    let told = "visit.kind: code \"first\" is missing, but rows may hold it; put it back, or name it in `retired`";
    assert_eq!(error, told);
    let retired = forgotten.replace("[\"next\"]", "[\"next\"], retired = [\"first\"]");
    world.hub.publish_schema(&retired, NOW_S).unwrap();
    world.settle();
    assert_eq!(world.row((VISIT, row(1))).unwrap()["kind"], "first");
    assert_eq!(world.row((VISIT, row(2))).unwrap()["kind"], "first");
    assert_eq!(world.hub.quarantined().unwrap(), []);
    world.check();
    // Now both hold the new version: other fields of such a row are edited as ever.
    for (site, device) in [(0, &mut anna), (1, &mut ben)] {
        let key = (VISIT, row(site as u64 + 1));
        let mut edit = device.change(Op::Update, key, &[(2, number(31))], 400);
        edit.seen.version = world.sites[site].version(key);
        world.sites[site].enter(device, Change { schema: 2, ..edit });
    }
    let late = anna.change(Op::Insert, (VISIT, row(3)), &kind("first"), 401);
    let late = world.sites[0].enter(&anna, Change { schema: 2, ..late });
    world.settle();
    assert_eq!(world.row((VISIT, row(1))).unwrap()["age"], 31);
    assert_eq!(world.row((VISIT, row(2))).unwrap()["kind"], "first");
    assert_eq!(world.sites[0].outcomes[&late], Outcome::Quarantined);
    assert!(world.sites[0].reasons[&late].contains("\"first\" is not one of next"));
    let mapped = world.hub.map_code(("visit", "kind"), ("first", "next"), NOW_S).unwrap();
    assert_eq!(mapped.released, 1);
    world.settle();
    assert_eq!(world.row((VISIT, row(3))).unwrap()["kind"], "next");
    world.check();
    // It comes back, and means what it meant.
    world.hub.publish_schema(FIRST, NOW_S).unwrap();
    assert_eq!(world.schema().version, 3);
    world.settle();
    world.check();
}
