//! Parents that never come: gateways are asked for them, operators see them, and what
//! waits is released by itself.
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::id::RowId;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, PERSON, VISIT, World, refer, row, text};

const HOUR_S: u64 = 3_600;

/// What the next page asks a site for, at that time.
fn asked(world: &mut World, site: usize, now_s: u64) -> Vec<(u16, RowId)> {
    let batch = Batch::default();
    let site = &mut world.sites[site];
    let mut answers = Vec::new();
    for up in site.prepare(&batch) {
        answers.extend(world.hub.hear(site.number, &up, now_s).unwrap());
    }
    let page = site.page(&answers);
    let commit = site.up(wadi_protocol::wire::message::UpBody::Commit);
    let committed = match &world.hub.hear(site.number, &commit, now_s).unwrap()[..] {
        [
            wadi_protocol::wire::message::Down {
                body: wadi_protocol::wire::message::DownBody::Committed(committed),
                ..
            },
        ] => committed.clone(),
        other => panic!("{other:?}"),
    };
    site.finish(&batch, &page, &committed);
    page.wanted
}

/// What status says of rows that never came: id, how many wait, whether it is in quarantine.
fn missing(world: &World) -> Vec<(RowId, u64, bool)> {
    let missing = world.hub.status().unwrap().missing;
    missing.iter().map(|one| (one.row, one.changes, one.quarantined)).collect()
}

#[test]
fn gateways_are_asked_for_what_is_long_missing_and_not_too_often() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    world.enter(0, &mut anna, Op::Insert, (VISIT, row(1)), &[(1, refer(row(9)))], 100);
    world.enter(0, &mut anna, Op::Insert, (VISIT, row(2)), &[(1, refer(row(9)))], 101);
    // Who waits for one that is parked itself waits for what that one lacks.
    world.enter(0, &mut anna, Op::Insert, (PERSON, row(3)), &[(1, refer(row(8)))], 102);
    world.enter(0, &mut anna, Op::Insert, (VISIT, row(4)), &[(1, refer(row(3)))], 103);
    world.settle();
    assert_eq!(missing(&world), [(row(8), 1, false), (row(9), 2, false)]);
    assert_eq!(asked(&mut world, 1, NOW_S + HOUR_S - 1), [], "they may be on their way");
    let both = [(HOUSE, row(8)), (PERSON, row(9))];
    assert_eq!(asked(&mut world, 1, NOW_S + HOUR_S), both);
    assert_eq!(asked(&mut world, 1, NOW_S + 2 * HOUR_S), [], "once a day is enough");
    assert_eq!(asked(&mut world, 0, NOW_S + 2 * HOUR_S), both, "each is asked");
    assert_eq!(asked(&mut world, 1, NOW_S + 25 * HOUR_S), both);

    world.enter(1, &mut ben, Op::Insert, (PERSON, row(9)), &[(2, text("nine"))], 104);
    world.settle();
    assert_eq!(missing(&world), [(row(8), 1, false)]);
    assert_eq!(asked(&mut world, 0, NOW_S + 50 * HOUR_S), [(HOUSE, row(8))]);
    assert_eq!(world.hub.status().unwrap().parked, 2, "nothing is dropped");
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(8)), &[(1, text("eight"))], 105);
    world.settle();
    assert_eq!((missing(&world), world.hub.status().unwrap().parked), (vec![], 0));
    assert_eq!(asked(&mut world, 0, NOW_S + 90 * HOUR_S), []);
    world.check();
}

#[test]
fn what_is_in_quarantine_is_shown_and_nobody_is_asked() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    let high = Delta::Set(Value::Text("high".into()));
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(7)), &[(5, high)], 100);
    world.enter(0, &mut anna, Op::Insert, (PERSON, row(1)), &[(1, refer(row(7)))], 101);
    world.settle();
    assert_eq!(missing(&world), [(row(7), 1, true)]);
    assert_eq!(asked(&mut world, 0, NOW_S + HOUR_S), []);
}
