//! Tables that keep the latest only: whoever leaves out what is replaced anyway, by
//! whatever route, changes nothing.
use wadi_hub::store::text;
use wadi_protocol::change::{Change, Delta, Op};
use wadi_protocol::wire::message::Outcome;

use crate::model::Device;
use crate::world::{HOUSE, World, row, text as says};

const SCHEMA: &str = "name = \"test\"\n[tables.house]\nhistory = \"latest\"\n\
                      [tables.house.fields]\nname = { type = \"text\" }\n";

/// An insert and two edits, whole, and as they travel together.
fn changes(anna: &mut Device) -> (Vec<Change>, Vec<Change>) {
    let key = (HOUSE, row(1));
    let whole = vec![
        anna.change(Op::Insert, key, &[(1, says("a"))], 100),
        anna.change(Op::Update, key, &[(1, says("b"))], 90),
        anna.change(Op::Update, key, &[(1, says("c"))], 80),
    ];
    let mut net = whole.clone();
    net[..2].iter_mut().for_each(|change| change.fields[0].1 = Delta::Passed);
    (whole, net)
}

fn enter(world: &mut World, site: usize, anna: &Device, changes: &[Change]) {
    for change in changes {
        world.sites[site].enter(anna, change.clone());
    }
}

#[test]
fn the_same_changes_whole_and_net_are_the_same() {
    let mut exports = Vec::new();
    for order in [[0, 1], [1, 0]] {
        let (mut world, mut anna) = (World::with(2, SCHEMA), Device::new(1));
        let (whole, net) = changes(&mut anna);
        enter(&mut world, 0, &anna, &whole);
        enter(&mut world, 1, &anna, &net);
        order.into_iter().for_each(|site| world.sync(site));
        let [first, second] = order;
        for change in &whole {
            let told = |site: usize| &world.sites[site].outcomes[&change.dot];
            assert!(matches!(told(first), Outcome::Applied { .. }), "{:?}", told(first));
            assert!(matches!(told(second), Outcome::Known { .. }), "{:?}", told(second));
        }
        assert_eq!(world.row((HOUSE, row(1))).unwrap()["name"], "c");
        world.settle();
        world.check();
        exports.push(world.export());
    }
    assert_eq!(exports[0], exports[1]);
}

/// What one handheld gave to two villages, the second time without what came last.
#[test]
fn what_one_route_brings_in_pieces_the_other_may_bring_whole() {
    for net_first in [true, false] {
        let (mut world, mut anna) = (World::with(2, SCHEMA), Device::new(1));
        let (whole, net) = changes(&mut anna);
        enter(&mut world, 0, &anna, &whole[..2]);
        enter(&mut world, 1, &anna, &net);
        for site in if net_first { [1, 0] } else { [0, 1] } {
            world.sync(site);
        }
        assert_eq!(world.row((HOUSE, row(1))).unwrap()["name"], "c");
        assert_eq!(world.hub.status().unwrap().quarantined, 0);
        world.settle();
        world.check();
    }
}

#[test]
fn a_number_used_for_another_row_is_a_clash_all_the_same() {
    let (mut world, mut anna) = (World::with(2, SCHEMA), Device::new(1));
    let (whole, net) = changes(&mut anna);
    enter(&mut world, 0, &anna, &net);
    world.sync(0);
    let other = Change { row: row(2), ..whole[0].clone() };
    let dot = world.sites[1].enter(&anna, other);
    world.sync(1);
    assert_eq!(world.sites[1].outcomes[&dot], Outcome::Quarantined);
    world.settle();
    world.check();
}

#[test]
fn people_read_that_a_value_did_not_travel() {
    let (_, net) = changes(&mut Device::new(1));
    assert_eq!(text::fields(None, &net[0], ", "), "field 1=(replaced before it was sent)");
}
