//! A malicious gateway that makes much of everything: others do not starve of it.
use wadi_protocol::change::{Delta, Group, Op};
use wadi_protocol::id::Dot;
use wadi_protocol::limits::{ALONG_BYTES_MAX, DOWNLINK_BYTES_TARGET, EFFECT_BYTES_MAX};
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use crate::hostile::{EVIL, attacked, goes_on};
use crate::model::Device;
use crate::world::{HOUSE, KNOT, LINK, PERSON, World, refer, row, text};

/// As much as one change may carry.
fn much() -> Delta {
    text(&"x".repeat(7_900))
}

/// A page that no gateway takes would stop all of them for ever.
#[test]
fn a_row_that_drags_megabytes_along_stops_no_gateway() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    for number in 0..200 {
        let next = (number > 0).then(|| (1, refer(row(1_000 + number - 1))));
        let fields: Vec<(u16, Delta)> = next.into_iter().chain([(2, much())]).collect();
        let change = evil.change(Op::Insert, (LINK, row(1_000 + number)), &fields, 100);
        world.sites[EVIL].enter(&evil, change);
    }
    // Everybody has passed the links, which are of no concern to others, when the knot comes.
    world.settle();
    let fields = [(1, refer(row(1_199)))];
    let change = evil.change(Op::Insert, (KNOT, row(2_000)), &fields, 101);
    world.sites[EVIL].enter(&evil, change);
    world.sync(EVIL);
    let (honest, before) = (&mut world.sites[0], world.hub.head().unwrap());
    honest.page_bytes_most = 0;
    honest.settle(&mut world.hub);
    let most = honest.page_bytes_most;
    assert!(most <= ALONG_BYTES_MAX + DOWNLINK_BYTES_TARGET, "a page of {most} bytes");
    let links = (0..200).filter(|number| honest.rows.contains_key(&(LINK, row(1_000 + number))));
    assert_eq!(links.count(), 200, "all that the knot needs came, ahead of it");
    assert!(honest.rows[&(KNOT, row(2_000))].live && honest.cursors[1] >= before);
    goes_on(&mut world, &mut anna);
}

/// One change that brings back all that hangs on a row: no page splits its sequence.
#[test]
fn a_cascade_of_megabytes_stops_no_gateway() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    world.enter(EVIL, &mut evil, Op::Insert, (HOUSE, row(500)), &[(1, text("evil"))], 100);
    for number in 0..150 {
        let key = (PERSON, row(1_000 + number));
        world.enter(EVIL, &mut evil, Op::Insert, key, &[(1, refer(row(500))), (2, much())], 100);
    }
    world.settle();
    world.enter(EVIL, &mut evil, Op::Delete, (HOUSE, row(500)), &[], 101);
    world.settle();
    world.enter(EVIL, &mut evil, Op::Insert, (HOUSE, row(500)), &[(1, text("again"))], 102);
    world.sync(EVIL);
    let honest = &mut world.sites[0];
    honest.page_bytes_most = 0;
    honest.settle(&mut world.hub);
    let most = honest.page_bytes_most;
    assert!(most <= DOWNLINK_BYTES_TARGET + 2 * EFFECT_BYTES_MAX, "a page of {most} bytes");
    assert!(honest.rows[&(PERSON, row(1_149))].live);
    goes_on(&mut world, &mut anna);
}

/// A row that grew without end does not travel, says so, and is back once it shrinks.
#[test]
fn a_row_that_grew_too_large_stays_at_the_hub() {
    let fields: String = (0..160).map(|at| format!("f{at} = {{ type = \"text\" }}\n")).collect();
    let schema = format!("name = \"wide\"\n[tables.wide.fields]\n{fields}");
    let mut world = World::with(2, &schema);
    let (mut anna, mut evil) = (Device::new(1), Device::new(9));
    let (wide, other) = ((1, row(1)), (1, row(2)));
    world.enter(EVIL, &mut evil, Op::Insert, wide, &[(1, text("small"))], 100);
    world.enter(0, &mut anna, Op::Insert, other, &[(1, text("mine"))], 100);
    world.settle();
    for field in 2..=150 {
        world.enter(EVIL, &mut evil, Op::Update, wide, &[(field, much())], 101);
    }
    world.sync(EVIL);
    let honest = &mut world.sites[0];
    honest.page_bytes_most = 0;
    honest.settle(&mut world.hub);
    let most = honest.page_bytes_most;
    assert!(most <= 2 * DOWNLINK_BYTES_TARGET, "a page of {most} bytes");
    assert!(!honest.rows.contains_key(&wide), "out of scope as far as a site can tell");
    assert!(honest.rows[&other].live);
    assert_eq!(world.hub.status().unwrap().large, vec![("wide".to_owned(), row(1))]);

    let none = || Delta::Set(Value::Null);
    for field in 2..=150 {
        let change = evil.change(Op::Update, wide, &[(field, none())], 102);
        world.sites[EVIL].enter(&evil, change);
    }
    world.settle();
    assert!(world.sites[0].rows[&wide].live);
    assert_eq!(world.hub.status().unwrap().large, vec![]);
    world.check();
}

/// What breaks the schema is kept whole, but not without end: the rest stays with its
/// gateway, groups whole.
#[test]
fn beyond_the_limit_of_quarantined_changes_the_gateway_holds_them() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    let bad = [(1, Delta::Set(Value::Int(1)))];
    let rounds = 16_384 / 2_000;
    for _ in 0..rounds {
        for _ in 0..2_000 {
            let change = evil.change(Op::Insert, (HOUSE, row(100)), &bad, 100);
            world.sites[EVIL].enter(&evil, change);
        }
        world.sync(EVIL);
        // The model need not carry them along.
        world.sites[EVIL].own.clear();
        world.sites[EVIL].outcomes.clear();
    }
    let left = 16_384 - rounds * 2_000;
    let mut dots = Vec::new();
    for number in 0..left + 1 {
        let mut change = evil.change(Op::Insert, (HOUSE, row(100)), &bad, 100);
        if number + 2 > left {
            let first = change.dot.seq - u64::from(number + 1 > left);
            change.group = Some(Group { first, len: 2 });
        }
        dots.push(world.sites[EVIL].enter(&evil, change));
    }
    world.sync(EVIL);
    let outcome = |dot: &Dot| world.sites[EVIL].outcomes[dot].clone();
    let (kept, last) = dots.split_at(dots.len() - 2);
    assert!(kept.iter().all(|dot| outcome(dot) == Outcome::Quarantined));
    assert!(last.iter().all(|dot| outcome(dot) == Outcome::Held), "the group that does not fit");
    assert_eq!(world.hub.status().unwrap().quarantined, 16_383);
    goes_on(&mut world, &mut anna);
}
