//! Records that are reassigned to another site: they leave here and arrive there.
use std::collections::BTreeMap;

use wadi_protocol::change::{Delta, Op};
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use crate::lineage::Dice;
use crate::model::{Device, Key, Site};
use crate::world::{LINK, PATIENT, World, enrol, refer, row, text};

const NAME: u16 = 1;
const VILLAGE: u16 = 2;
const LINKED: u16 = 3;

/// The sites that have a row.
fn holders(world: &World, key: Key) -> Vec<usize> {
    let has = |site: &Site| site.rows.get(&key).is_some_and(|base| base.live);
    (0..world.sites.len()).filter(|&at| has(&world.sites[at])).collect()
}

/// A patient of the first of three sites.
fn a_patient() -> (World, Device) {
    let (mut world, mut anna) = (World::new(3), Device::new(1));
    world.enter(0, &mut anna, Op::Insert, (PATIENT, row(1)), &[(NAME, text("Ada"))], 100);
    world.settle();
    assert_eq!(holders(&world, (PATIENT, row(1))), [0]);
    (world, anna)
}

#[test]
fn a_reassigned_record_leaves_its_old_site_and_arrives_whole_at_its_new_one() {
    let (mut world, mut anna) = a_patient();
    let (mut ben, patient) = (Device::new(2), (PATIENT, row(1)));
    world.enter(0, &mut anna, Op::Update, patient, &[(VILLAGE, text("site-1"))], 101);
    world.settle();
    assert_eq!(holders(&world, patient), [1]);
    assert_eq!(world.sites[1].rows[&patient].fields[&NAME], Value::Text("Ada".into()));
    world.check();
    // And what happens there stays there.
    world.enter(1, &mut ben, Op::Update, patient, &[(NAME, text("Ada B."))], 102);
    world.settle();
    assert_eq!(holders(&world, patient), [1]);
    // Back, by who has it: the site of its first insert gets what it had let go of.
    world.enter(1, &mut ben, Op::Update, patient, &[(VILLAGE, text("site-0"))], 103);
    world.settle();
    assert_eq!(holders(&world, patient), [0]);
    assert_eq!(world.sites[0].rows[&patient].fields[&NAME], Value::Text("Ada B.".into()));
    world.enter(0, &mut anna, Op::Update, patient, &[(VILLAGE, text("site-2"))], 104);
    world.settle();
    // Of no site by name: of the one whose gateway brought its insert.
    let none = Delta::Set(Value::Null);
    world.enter(2, &mut Device::new(3), Op::Update, patient, &[(VILLAGE, none)], 105);
    world.settle();
    assert_eq!(holders(&world, patient), [0]);
    world.check();
}

#[test]
fn an_edit_in_flight_at_the_old_site_counts_and_arrives_at_the_new_one() {
    let (mut world, mut anna) = a_patient();
    let (mut ben, patient) = (Device::new(2), (PATIENT, row(1)));
    // Both while the village is offline; ben's handheld comes later still.
    let late = ben.change(Op::Update, patient, &[(NAME, text("by ben"))], 102);
    world.enter(0, &mut anna, Op::Update, patient, &[(VILLAGE, text("site-1"))], 101);
    world.settle();
    assert_eq!(holders(&world, patient), [1]);
    let dot = late.dot;
    world.sites[0].enter(&ben, late);
    world.settle();
    assert!(matches!(world.sites[0].outcomes[&dot], Outcome::Applied { .. }));
    assert_eq!(holders(&world, patient), [1], "it was told to let go once more");
    assert_eq!(world.sites[1].rows[&patient].fields[&NAME], Value::Text("by ben".into()));
    world.check();
}

#[test]
fn a_record_that_another_site_reassigns_leaves_too() {
    let (mut world, mut anna) = a_patient();
    let (mut ben, patient) = (Device::new(2), (PATIENT, row(1)));
    let late = ben.change(Op::Update, patient, &[(VILLAGE, text("site-2"))], 300);
    world.enter(0, &mut anna, Op::Update, patient, &[(VILLAGE, text("site-1"))], 101);
    world.settle();
    assert_eq!(holders(&world, patient), [1]);
    world.sites[0].enter(&ben, late);
    world.settle();
    assert_eq!(holders(&world, patient), [2], "site 1 brought nothing, and lets go");
    world.check();
}

#[test]
fn what_a_reassigned_record_refers_to_comes_along_and_goes_along() {
    let (mut world, mut anna) = a_patient();
    let patient = (PATIENT, row(1));
    let (near, far) = ((LINK, row(2)), (LINK, row(3)));
    world.enter(0, &mut anna, Op::Insert, far, &[(2, text("far"))], 101);
    world.enter(0, &mut anna, Op::Insert, near, &[(1, refer(far.1))], 102);
    world.enter(0, &mut anna, Op::Update, patient, &[(LINKED, refer(near.1))], 103);
    world.enter(0, &mut anna, Op::Update, patient, &[(VILLAGE, text("site-1"))], 104);
    world.settle();
    assert_eq!(holders(&world, near), [0, 1], "of the first, and for the patient's sake");
    assert_eq!(holders(&world, far), [0, 1]);
    world.enter(1, &mut Device::new(2), Op::Update, patient, &[(VILLAGE, text("site-2"))], 105);
    world.settle();
    assert_eq!(holders(&world, patient), [2]);
    assert_eq!(holders(&world, near), [0, 2]);
    assert_eq!(holders(&world, far), [0, 2], "what stood behind it went too");
    world.check();
}

#[test]
fn a_site_that_comes_later_gets_what_was_put_down_for_it() {
    let (mut world, mut anna) = a_patient();
    let patient = (PATIENT, row(1));
    world.enter(0, &mut anna, Op::Update, patient, &[(VILLAGE, text("late"))], 101);
    world.settle();
    assert_eq!(holders(&world, patient), [0; 0], "the hub alone has it");
    assert_eq!(world.row(patient).unwrap()["name"], "Ada");
    let mut late = Site::new(enrol(&mut world.hub, "late"));
    late.settle(&mut world.hub);
    world.sites.push(late);
    assert_eq!(holders(&world, patient), [3]);
    world.check();
}

#[test]
fn a_record_made_for_another_site_goes_there() {
    let (mut world, mut anna) = a_patient();
    let other = (PATIENT, row(2));
    let fields = [(NAME, text("Bo")), (VILLAGE, text("site-2"))];
    world.enter(0, &mut anna, Op::Insert, other, &fields, 101);
    world.settle();
    assert_eq!(holders(&world, other), [2]);
    world.check();
}

/// Whoever moves what, and whenever each site comes: in the end each record is where it says.
#[test]
fn records_end_where_they_say_by_any_way() {
    for seed in 0..60 {
        let mut dice = Dice((seed << 8) | 1);
        let mut world = World::new(3);
        let mut devices: Vec<Device> = (1..=3).map(Device::new).collect();
        let mut made: BTreeMap<u64, usize> = BTreeMap::new();
        for second in 0..60 {
            let at = dice.roll(3) as usize;
            let number = dice.roll(8);
            let key = (PATIENT, row(number));
            let village = match dice.roll(5) {
                0 => Delta::Set(Value::Null),
                1 => text("nowhere"),
                site => text(&format!("site-{}", site - 2)),
            };
            let fields = match dice.roll(3) {
                0 => vec![(NAME, text(&format!("n{second}")))],
                1 => vec![(VILLAGE, village)],
                _ => vec![(NAME, text(&format!("n{second}"))), (VILLAGE, village)],
            };
            let op = match made.contains_key(&number) {
                false => Op::Insert,
                true => Op::Update,
            };
            // Who was never shown a row cannot edit it.
            if op == Op::Insert || holders(&world, key).contains(&at) {
                made.entry(number).or_insert(at);
                world.enter(at, &mut devices[at], op, key, &fields, 100 + second);
            }
            if dice.roll(3) == 0 {
                world.sync(dice.roll(3) as usize);
            }
        }
        world.settle();
        world.check();
        for (number, maker) in made {
            let key = (PATIENT, row(number));
            let village = world.row(key).unwrap().get("village").cloned();
            let expected: Vec<usize> = match village.as_ref().and_then(|name| name.as_str()) {
                None => vec![maker],
                Some(name) => (0..3).filter(|at| name == format!("site-{at}")).collect(),
            };
            assert_eq!(holders(&world, key), expected, "seed {seed}: {number} is of {village:?}");
        }
    }
}
