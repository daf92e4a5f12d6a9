//! Two sites edit the same record offline.
use wadi_hub::store::history::Fate;
use wadi_hub::store::settle::Decision;
use wadi_protocol::change::{Delta, Op};

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, World, row, text};

/// A house that two sites know.
fn pair() -> (World, Device, Device) {
    let mut world = World::new(2);
    let (mut anna, ben) = (Device::new(1), Device::new(2));
    let fields = [(1, text("house")), (2, text("new")), (3, Delta::Add(10))];
    world.enter(0, &mut anna, Op::Insert, KEY, &fields, 100);
    world.settle();
    (world, anna, ben)
}

const KEY: (u16, wadi_protocol::id::RowId) = (HOUSE, wadi_protocol::id::RowId([7; 16]));

#[test]
fn different_fields_both_survive() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Update, KEY, &[(1, text("by anna"))], 200);
    world.enter(1, &mut ben, Op::Update, KEY, &[(4, text("by ben"))], 100);
    world.settle();
    let row = world.row(KEY).unwrap();
    assert_eq!((&row["name"], &row["tag"]), (&"by anna".into(), &"by ben".into()));
    world.check();
    assert_eq!(world.hub.status().unwrap().conflicts, 0);
}

#[test]
fn the_greater_stamp_wins_and_history_shows_the_other() {
    let (mut world, mut anna, mut ben) = pair();
    let late = world.enter(0, &mut anna, Op::Update, KEY, &[(1, text("late"))], 300).dot;
    let early = world.enter(1, &mut ben, Op::Update, KEY, &[(1, text("early"))], 200).dot;
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["name"], "late");
    world.check();
    let history = world.hub.history("house", KEY.1).unwrap();
    let fate = |dot| history.iter().find(|past| past.dot == dot).unwrap().fate.clone();
    assert_eq!((fate(late), fate(early)), (Fate::Shown, Fate::Candidate));
    assert_eq!(world.hub.status().unwrap().conflicts, 1);
}

#[test]
fn causality_beats_clocks() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Update, KEY, &[(1, text("of 2099"))], 4_070_908_800);
    world.settle();
    world.enter(1, &mut ben, Op::Update, KEY, &[(1, text("of 1970"))], 12);
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["name"], "of 1970");
    world.check();
}

#[test]
fn sums_add_up_and_a_total_out_of_range_waits() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Update, KEY, &[(3, Delta::Add(700))], 200);
    world.enter(1, &mut ben, Op::Update, KEY, &[(3, Delta::Add(-5))], 200);
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["count"], 705);
    assert_eq!(world.hub.cases().unwrap(), []);
    world.enter(1, &mut ben, Op::Update, KEY, &[(3, Delta::Add(700))], 300);
    world.settle();
    let [case] = &world.hub.cases().unwrap()[..] else { panic!("one case") };
    let too_much = Decision::Value("1001".into());
    assert!(world.hub.settle(case.number, &too_much, NOW_S).is_err());
    world.hub.settle(case.number, &Decision::Value("1000".into()), NOW_S).unwrap();
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["count"], 1000);
    assert_eq!(world.hub.cases().unwrap(), []);
    world.check();
}

#[test]
fn a_review_waits_until_settled_everywhere() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Update, KEY, &[(2, text("broken"))], 200);
    world.enter(1, &mut ben, Op::Update, KEY, &[(2, text("mended"))], 300);
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["note"], "mended");
    for site in &world.sites {
        assert_eq!(site.rows[&KEY].review, [2]);
    }
    let [case] = &world.hub.cases().unwrap()[..] else { panic!("one case") };
    let (_, candidates) = world.hub.case(case.number).unwrap();
    assert_eq!(candidates.len(), 2);
    assert_eq!((&candidates[0].label[..], &candidates[0].site[..]), ("device-1", "site-0"));
    assert!(world.hub.settle(case.number, &Decision::Pick(3), NOW_S).is_err());
    world.hub.settle(case.number, &Decision::Pick(1), NOW_S).unwrap();
    assert!(world.hub.settle(case.number, &Decision::Pick(1), NOW_S).is_err());
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["note"], "broken");
    for site in &world.sites {
        assert!(site.rows[&KEY].review.is_empty());
    }
    world.check();
    // Whoever was shown the decision edits on, without a new case.
    world.enter(1, &mut ben, Op::Update, KEY, &[(2, text("sold"))], 400);
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["note"], "sold");
    assert_eq!(world.hub.cases().unwrap(), []);
    world.check();
}

#[test]
fn twins_are_kept_and_marked() {
    let (mut world, mut anna, mut ben) = pair();
    world.enter(0, &mut anna, Op::Update, KEY, &[(4, text("A1"))], 200);
    let other = (HOUSE, row(2));
    world.enter(1, &mut ben, Op::Insert, other, &[(4, text("A1"))], 200);
    world.settle();
    let cases = world.hub.cases().unwrap();
    assert_eq!(cases.len(), 2, "one for each twin");
    for site in &world.sites {
        assert_eq!(
            (&site.rows[&KEY].review[..], &site.rows[&other].review[..]),
            (&[4][..], &[4][..])
        );
    }
    let refused = world.hub.settle(cases[0].number, &Decision::Pick(7), NOW_S).unwrap_err();
    assert!(refused.to_string().contains("nothing to pick from: use --value"), "{refused}");
    world.hub.settle(cases[0].number, &Decision::Value("A2".into()), NOW_S).unwrap();
    world.settle();
    assert_eq!(world.hub.cases().unwrap(), []);
    for site in &world.sites {
        assert_eq!(
            (&site.rows[&KEY].review[..], &site.rows[&other].review[..]),
            (&[0u16; 0][..], &[0u16; 0][..])
        );
    }
    world.check();
}

#[test]
fn the_same_id_inserted_twice_is_one_row() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    world.enter(0, &mut anna, Op::Insert, KEY, &[(1, text("anna")), (3, Delta::Add(1))], 100);
    world.enter(1, &mut ben, Op::Insert, KEY, &[(1, text("ben")), (4, text("B"))], 200);
    world.settle();
    assert_eq!(world.row(KEY).unwrap()["name"], "ben");
    world.check();
}
