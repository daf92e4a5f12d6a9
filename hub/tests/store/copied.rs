//! A handheld's file in two places: both count, and operators are told.
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::id::RunId;

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, World, row, text};

/// A handheld that goes on in a run of its own, behind what it had done.
fn goes_on(of: &Device, run: u64) -> Device {
    Device { run: RunId(run), seq: 0, parent: Some((of.run, of.seq)), ..of.clone() }
}

#[test]
fn both_lines_of_a_copied_handheld_count_and_it_is_told_of() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let house = (HOUSE, row(1));
    world.enter(0, &mut anna, Op::Insert, house, &[(1, text("a")), (3, Delta::Add(1))], 100);
    world.settle();
    // An honest new run of the same file.
    let mut later = goes_on(&anna, 51);
    world.enter(0, &mut later, Op::Update, house, &[(3, Delta::Add(10))], 101);
    world.settle();
    assert_eq!(world.hub.status().unwrap().copied, []);
    // A copy from before goes on at another site, then at the same one.
    for (site, run) in [(1, 52), (0, 53)] {
        let mut copy = goes_on(&later, run);
        copy.parent = Some((anna.run, 1));
        world.enter(site, &mut copy, Op::Update, house, &[(3, Delta::Add(100))], 102);
        world.settle();
        let copied = world.hub.status().unwrap().copied;
        assert_eq!(copied.len(), 1);
        assert_eq!((copied[0].label.as_str(), copied[0].noticed_s), ("device-1", NOW_S));
    }
    assert_eq!(world.row(house).unwrap()["count"], 211, "each counts, once");
    world.check();
}

#[test]
fn one_that_goes_on_in_its_run_beside_its_copy_is_noticed_whichever_comes_first() {
    for copy_first in [false, true] {
        let mut world = World::new(2);
        let mut anna = Device::new(1);
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
        world.settle();
        let mut copy = goes_on(&anna, 54);
        let lines = if copy_first { [true, false] } else { [false, true] };
        for is_copy in lines {
            let (site, device) = if is_copy { (1, &mut copy) } else { (0, &mut anna) };
            world.enter(site, device, Op::Update, (HOUSE, row(1)), &[(3, Delta::Add(1))], 101);
            world.settle();
        }
        let copied = world.hub.status().unwrap().copied;
        assert_eq!(copied.len(), 1, "{copy_first}");
        assert_eq!(copied[0].runs, (RunId(54), anna.run));
    }
}
