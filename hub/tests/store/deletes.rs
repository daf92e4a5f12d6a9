//! A parent deleted while children are added elsewhere.
use wadi_hub::store::settle::Decision;
use wadi_protocol::change::{Op, Seen, SeenRow};

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, PERSON, PHOTO, VISIT, World, refer, row, text};

/// Two sites that know one house.
fn pair() -> (World, Device, Device) {
    let mut world = World::new(2);
    let (mut anna, ben) = (Device::new(1), Device::new(2));
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("house"))], 100);
    world.settle();
    (world, anna, ben)
}

#[test]
fn set_null_shows_null_and_comes_back_with_the_parent() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Delete, (HOUSE, row(1)), &[], 200);
    let fields = [(1, refer(row(1))), (2, text("p"))];
    world.enter(1, &mut ben, Op::Insert, (PHOTO, row(2)), &fields, 200);
    world.settle();
    assert_eq!(world.row((HOUSE, row(1))), None);
    assert!(world.row((PHOTO, row(2))).unwrap().get("house").is_none());
    world.check();
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("again"))], 300);
    let last = world.sites[1].own.last_mut().unwrap();
    last.0.seen = Seen {
        version: wadi_protocol::id::RowVersion { hub: world.hub.run(), seq: 9 },
        above: vec![],
    };
    world.settle();
    assert_eq!(world.row((HOUSE, row(1))).unwrap()["name"], "again");
    assert_eq!(world.row((PHOTO, row(2))).unwrap()["house"], row(1).to_string());
    world.check();
}

#[test]
fn cascade_spares_a_child_that_the_deleter_never_saw() {
    let (mut world, mut anna, mut ben) = pair();
    // person is update-wins: the delete of the house missed this insert.
    world.enter(1, &mut ben, Op::Insert, (PERSON, row(2)), &[(1, refer(row(1)))], 200);
    world.enter(0, &mut anna, Op::Delete, (HOUSE, row(1)), &[], 200);
    world.settle();
    assert!(world.row((HOUSE, row(1))).is_some(), "kept for its child");
    assert!(world.row((PERSON, row(2))).is_some());
    assert!(world.export().contains(r#"{"conflict":"delete""#));
    world.check();
}

#[test]
fn cascade_takes_a_child_that_the_deleter_saw() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(1, &mut ben, Op::Insert, (PERSON, row(2)), &[(1, refer(row(1)))], 200);
    world.settle();
    let mut delete = anna.change(Op::Delete, (HOUSE, row(1)), &[], 300);
    delete.seen.version = world.sites[0].version((HOUSE, row(1)));
    let seen = Seen { version: world.sites[0].version((PERSON, row(2))), above: Vec::new() };
    delete.closure = vec![SeenRow { table: PERSON, row: row(2), seen }];
    world.sites[0].enter(&anna, delete);
    world.settle();
    assert_eq!((world.row((HOUSE, row(1))), world.row((PERSON, row(2)))), (None, None));
    world.check();
}

#[test]
fn restrict_keeps_the_parent_until_the_child_goes() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Insert, (PERSON, row(2)), &[(2, text("p"))], 110);
    world.settle();
    world.enter(1, &mut ben, Op::Insert, (VISIT, row(3)), &[(1, refer(row(2)))], 200);
    world.enter(0, &mut anna, Op::Delete, (PERSON, row(2)), &[], 200);
    world.settle();
    assert!(world.row((PERSON, row(2))).is_some());
    assert!(world.export().contains(r#"{"conflict":"delete""#));
    world.check();
    world.enter(1, &mut ben, Op::Delete, (VISIT, row(3)), &[], 300);
    world.settle();
    assert_eq!((world.row((PERSON, row(2))), world.row((VISIT, row(3)))), (None, None));
    world.check();
}

#[test]
fn update_wins_over_a_delete_that_had_not_seen_it() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Insert, (PERSON, row(2)), &[(2, text("p"))], 110);
    world.settle();
    world.enter(0, &mut anna, Op::Delete, (PERSON, row(2)), &[], 900);
    world.settle();
    assert_eq!(world.row((PERSON, row(2))), None);
    // Ben's site was offline: its edit had not seen the delete.
    let mut edit = ben.change(Op::Update, (PERSON, row(2)), &[(2, text("edited"))], 200);
    edit.seen.version = wadi_protocol::id::RowVersion { hub: world.hub.run(), seq: 2 };
    world.sites[1].enter(&ben, edit);
    world.settle();
    assert_eq!(world.row((PERSON, row(2))).unwrap()["name"], "edited");
    world.check();
}

#[test]
fn a_delete_under_review_is_settled_by_a_person() {
    let schema = "name = \"x\"\n[tables.nest]\ndelete = \"review\"\n[tables.nest.fields]\nname = { type = \"text\" }\n";
    for (decision, stays) in [("keep", true), ("delete", false)] {
        let mut world = World::with(2, schema);
        let (mut anna, mut ben) = (Device::new(1), Device::new(2));
        world.enter(0, &mut anna, Op::Insert, (1, row(1)), &[(1, text("n"))], 100);
        world.settle();
        world.enter(0, &mut anna, Op::Delete, (1, row(1)), &[], 200);
        world.enter(1, &mut ben, Op::Update, (1, row(1)), &[(1, text("m"))], 200);
        world.settle();
        assert!(world.row((1, row(1))).is_some(), "it stays until somebody decides");
        let [case] = &world.hub.cases().unwrap()[..] else { panic!("one case") };
        assert_eq!(case.field, 0);
        world.hub.settle(case.number, &Decision::Value(decision.into()), NOW_S).unwrap();
        world.settle();
        assert_eq!(world.row((1, row(1))).is_some(), stays, "{decision}");
        assert_eq!(world.hub.cases().unwrap(), []);
        world.check();
    }
}
