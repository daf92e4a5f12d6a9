//! Sites that have to save: they get only what is urgent, and tell what their links cost.
use wadi_hub::store::spent::Costs;
use wadi_protocol::change::Op;
use wadi_protocol::wire::message::Spent;

use crate::model::Device;
use crate::world::{ALARM, HOUSE, World, row, text};

#[test]
fn a_narrow_page_holds_what_is_urgent_and_the_rest_comes_later() {
    // The second site reads pages against models, the third is answered at once.
    let mut world = World::new(3);
    let mut anna = Device::new(1);
    for site in [1, 2] {
        world.sites[site].narrow = true;
        world.sync(site);
    }
    for number in 0..20 {
        let fields = [(1, text("far"))];
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(number)), &fields, 100);
    }
    world.enter(0, &mut anna, Op::Insert, (ALARM, row(99)), &[(1, text("fire"))], 100);
    world.sites[0].settle(&mut world.hub);
    for site in [1, 2] {
        let before = world.sites[site].cursors;
        world.sync(site);
        let there = &world.sites[site];
        assert!(there.rows.contains_key(&(ALARM, row(99))), "site {site}");
        assert!(!there.rows.contains_key(&(HOUSE, row(3))), "site {site}");
        assert!(there.cursors[0] > before[0] && there.cursors[1] == before[1], "site {site}");
        assert!(there.more, "the rest waits");
        // It enters something that is not urgent meanwhile.
        let mut berta = Device::new(50 + site as u64);
        let key = (HOUSE, row(200 + site as u64));
        world.enter(site, &mut berta, Op::Insert, key, &[(1, text("near"))], 100);
        world.sync(site);
        world.sites[site].narrow = false;
    }
    // Even where nothing waits: behind the last page a gateway of a restored hub sweeps.
    world.sites[2].narrow = true;
    world.sites[0].settle(&mut world.hub);
    world.sync(2);
    assert!(world.sites[2].more, "a narrow page is never the last");
    world.sites[2].narrow = false;
    world.settle();
    world.check();
    assert!(world.sites[1].rows.contains_key(&(HOUSE, row(3))));
}

#[test]
fn what_links_cost_is_kept_by_day_and_told_twice_it_counts_once() {
    let mut world = World::new(2);
    let of = |world: &World, site: usize| world.hub.status().unwrap().sites[site].costs;
    assert_eq!(of(&world, 0), None);
    let told = |day, payload| Spent { day, payload, connect: 10, ..Spent::default() };
    world.sites[0].tells = (100..130).map(|day| told(day, 1_000)).collect();
    world.sync(0);
    world.sync(0);
    let expected =
        Costs { day: 129, day_bytes: 1_010, payload: 30_000, connect: 300, ..Costs::default() };
    assert_eq!(of(&world, 0), Some(expected));
    world.sites[0].tells = vec![told(131, 7)];
    world.sync(0);
    let moved = of(&world, 0).unwrap();
    assert_eq!((moved.day, moved.day_bytes, moved.payload), (131, 17, 28_007), "30 days");
    assert_eq!(of(&world, 1), None);
    // Whatever is told, sums stay numbers, and days are let go.
    let mad = Spent { day: u32::MAX, payload: u64::MAX, idle: u64::MAX, ..Spent::default() };
    world.sites[0].tells = vec![mad; 5_000];
    world.sync(0);
    let mad = of(&world, 0).unwrap();
    assert_eq!((mad.day, mad.payload), (u64::from(u32::MAX), 1 << 40));
    world.check();
}
