//! Boxes with another history: older copies, clones and empty ones, under a number that
//! the hub knows.
use std::collections::BTreeMap;

use wadi_protocol::change::{Change, Delta, Group, Op};
use wadi_protocol::id::{GatewayId, RunId};
use wadi_protocol::wire::message::{Down, DownBody, Outcome, Refused};

use crate::model::{Base, Device, Key, NOW_S, Site};
use crate::world::{ALARM, HOUSE, LINK, LOCAL, PERSON, REMARK, REPORT, World, refer, row, text};

pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// An older copy of a site, as it is opened again: in a new run.
fn copy(of: &Site, run: u64) -> Site {
    Site { run: RunId(run), ..of.clone() }
}

fn live(site: &Site) -> BTreeMap<Key, Base> {
    let live = site.rows.iter().filter(|(_, base)| base.live);
    let plain = live.map(|(key, base)| (*key, Base { version: 0, ..base.clone() }));
    plain.collect()
}

/// The names of the tables' changes at a site that a hub must have.
fn count(world: &World, house: u64) -> i64 {
    world.row((HOUSE, row(house))).unwrap()["count"].as_i64().unwrap_or(0)
}

#[test]
fn an_older_copy_gets_back_what_its_own_line_had_brought() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let house = (HOUSE, row(1));
    world.enter(0, &mut anna, Op::Insert, house, &[(1, text("a")), (3, Delta::Add(1))], 100);
    world.settle();
    let old = copy(&world.sites[0], 71);
    // Brought by this line, folded into its base, and in no page that it ever got.
    world.enter(0, &mut anna, Op::Update, house, &[(3, Delta::Add(10))], 101);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(2)), &[(1, text("b"))], 102);
    world.enter(0, &mut anna, Op::Insert, (LOCAL, row(3)), &[(1, text("c"))], 103);
    world.settle();
    let going_on = std::mem::replace(&mut world.sites[0], old);

    let other = world.sites[0].rejoin(&mut world.hub, "site-0");
    assert_eq!((other.run, other.is_empty()), (RunId(71), false));
    assert_eq!(world.hub.other_line(GatewayId(1)).unwrap(), None, "it is taken");
    world.settle();
    world.check();
    assert_eq!((count(&world, 1), live(&world.sites[0])), (11, live(&going_on)));
    assert_eq!(world.sites[0].line, 1);
    // What of it a handheld offers once more is not to be laid over.
    let named = |seq| {
        let mut spans = world.sites[0].known.iter().flat_map(|runs| runs.spans.clone());
        spans.any(|(first, last)| first <= seq && seq <= last)
    };
    assert!(named(2) && named(3) && !named(1), "{:?}", world.sites[0].known);

    // The former line is over: refused, and told of again.
    let mut clone = going_on;
    world.enter(0, &mut anna, Op::Update, house, &[(3, Delta::Add(100))], 104);
    world.settle();
    let mut ben = Device::new(2);
    let late = ben.change(Op::Update, house, &[(3, Delta::Add(1000 - 900))], 105);
    clone.enter(&ben, late);
    assert!(matches!(clone.refused(&mut world.hub), Refused::BelowFloor { .. }));
    assert_eq!(clone.rejoin(&mut world.hub, "site-0").run, RunId(1));
    // What it kept comes when it is taken in turn, and nothing is counted twice.
    let taken = std::mem::replace(&mut world.sites[0], clone);
    world.settle();
    world.check();
    assert_eq!(count(&world, 1), 211);
    assert_eq!(taken.refused(&mut world.hub), Refused::BelowFloor { floor: world.sites[0].round });
}

#[test]
fn an_empty_box_gets_everything_and_what_comes_again_counts_once() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let house = (HOUSE, row(1));
    let first =
        world.enter(0, &mut anna, Op::Insert, house, &[(1, text("a")), (3, Delta::Add(7))], 100);
    world.enter(0, &mut anna, Op::Insert, (REPORT, row(9)), &[(1, text("up"))], 101);
    world.settle();
    let full = live(&world.sites[0]);
    let mut blank = Site::new(GatewayId(1));
    blank.run = RunId(72);
    world.sites[0] = blank;
    // Its handheld kept the record, and hands it over again.
    world.sites[0].enter(&anna, first.clone());
    assert!(world.sites[0].rejoin(&mut world.hub, "site-0").is_empty());
    world.settle();
    world.check();
    assert!(matches!(world.sites[0].outcomes[&first.dot], Outcome::Known { seq: 1.. }));
    assert_eq!((count(&world, 1), live(&world.sites[0])), (7, full));
    let left = world.sites[0].rows.keys().filter(|key| key.0 == REPORT).count();
    assert_eq!(left, 0, "nothing is said of what an empty box cannot have");
}

#[test]
fn under_a_new_enrolment_another_box_needs_no_more_words() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
    world.settle();
    let enrol = |world: &mut World| {
        world.hub.enrol("site-0", true, (NOW_S, NOW_S + 1_000), |_| Ok(Vec::new())).unwrap();
    };
    enrol(&mut world);
    // The same box goes on as if nothing were.
    world.settle();
    assert_eq!(world.sites[0].line, 0);
    let mut blank = Site::new(GatewayId(1));
    world.sites[0].round = 9_000;
    assert!(matches!(blank.refused(&mut world.hub), Refused::BelowFloor { .. }));
    enrol(&mut world);
    blank.round = 50;
    let former = std::mem::replace(&mut world.sites[0], blank);
    world.settle();
    world.check();
    assert_eq!(world.sites[0].line, 1);
    let former = Site { round: world.sites[0].round, ..former };
    assert_eq!(former.refused(&mut world.hub), Refused::OtherParent);
}

/// What a line parked is released when it is over: the box that goes on may not have it.
#[test]
fn what_was_parked_by_the_line_before_travels_when_it_is_released() {
    for copied_after in [false, true] {
        let mut world = World::new(2);
        let (mut anna, mut ben) = (Device::new(1), Device::new(2));
        let before = copy(&world.sites[0], 73);
        let person = [(1, refer(row(1))), (2, text("p"))];
        let person = world.enter(0, &mut anna, Op::Insert, (PERSON, row(2)), &person, 100).dot;
        world.settle();
        assert_eq!(world.sites[0].outcomes[&person], Outcome::Parked);
        let after = copy(&world.sites[0], 74);
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(7)), &[], 101);
        world.settle();
        world.sites[0] = if copied_after { after } else { before };
        world.sites[0].rejoin(&mut world.hub, "site-0");
        world.settle();
        world.enter(1, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("house"))], 102);
        world.settle();
        world.check();
        assert!(live(&world.sites[0]).contains_key(&(PERSON, row(2))), "{copied_after}");
        if copied_after {
            assert!(matches!(world.sites[0].outcomes[&person], Outcome::Applied { .. }));
        }
    }
}

/// The outcome was told to the line before: the copy asks again.
#[test]
fn an_outcome_that_the_other_box_was_told_is_asked_for_again() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let visit = [(1, refer(row(1))), (2, text("v"))];
    let person = world.enter(0, &mut anna, Op::Insert, (PERSON, row(2)), &visit, 100).dot;
    world.settle();
    let old = copy(&world.sites[0], 75);
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("house"))], 101);
    world.settle();
    assert!(matches!(world.sites[0].outcomes[&person], Outcome::Applied { .. }));
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(7)), &[], 102);
    world.settle();
    world.sites[0] = old;
    world.sites[0].rejoin(&mut world.hub, "site-0");
    world.settle();
    assert!(matches!(world.sites[0].outcomes[&person], Outcome::Known { seq: 1.. }));
    world.check();
}

/// A copy that asks about the last round just as the box itself would is told what became
/// of it, and never had its page: what only that told is told again, to nobody's harm.
#[test]
fn a_copy_that_never_had_the_page_of_its_last_round_lacks_nothing() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let house = (HOUSE, row(7));
    world.enter(0, &mut anna, Op::Insert, house, &[(3, Delta::Add(1))], 100);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(8)), &[], 101);
    world.settle();
    let group = Some(Group { first: 3, len: 3 });
    let visit = [(1, refer(row(1))), (2, text("v"))];
    let parked = [
        anna.change(Op::Insert, (PERSON, row(2)), &visit, 102),
        anna.change(Op::Delete, (HOUSE, row(8)), &[], 102),
        anna.change(Op::Update, house, &[(3, Delta::Add(10))], 102),
    ];
    for change in &parked {
        world.sites[0].enter(&anna, Change { group, ..change.clone() });
    }
    world.settle();
    assert_eq!(world.sites[0].outcomes[&parked[0].dot], Outcome::Parked);
    let old = copy(&world.sites[0], 79);
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("house"))], 103);
    world.sites[1].settle(&mut world.hub);
    world.sync(0);
    assert!(matches!(world.sites[0].outcomes[&parked[0].dot], Outcome::Applied { .. }));
    world.sites[0] = old;
    let site = &mut world.sites[0];
    let batch = site.batch();
    let answers = world.hub.hear(GatewayId(1), &site.prepare(&batch)[0], NOW_S).unwrap();
    let [Down { body: DownBody::Committed(committed), .. }] = &answers[..] else {
        panic!("{answers:?}");
    };
    site.finish_without_page(&batch, committed);
    assert_eq!(site.outcomes[&parked[0].dot], Outcome::Parked, "its page told of it");
    world.settle();
    world.check();
    for change in &parked {
        assert!(matches!(world.sites[0].outcomes[&change.dot], Outcome::Known { seq: 1.. }));
    }
    assert_eq!((count(&world, 7), world.sites[0].line), (11, 1));
    let live = live(&world.sites[0]);
    assert!(live.contains_key(&(PERSON, row(2))) && !live.contains_key(&(HOUSE, row(8))));
}

/// A row of another site comes and goes with what references it; a copy knows neither.
#[test]
fn a_copy_is_given_what_it_lacks_and_lets_go_of_what_has_left() {
    let mut world = World::new(2);
    let mut ben = Device::new(2);
    let (local, remark) = ((LOCAL, row(1)), (REMARK, row(2)));
    let before = copy(&world.sites[0], 76);
    world.enter(1, &mut ben, Op::Insert, local, &[(1, text("far"))], 100);
    world.enter(1, &mut ben, Op::Insert, remark, &[(1, refer(row(1)))], 101);
    world.settle();
    assert!(live(&world.sites[0]).contains_key(&local));
    let with = copy(&world.sites[0], 77);
    world.sites[0] = before;
    world.sites[0].rejoin(&mut world.hub, "site-0");
    world.settle();
    world.check();
    assert!(live(&world.sites[0]).contains_key(&local), "the line before was given it");
    world.enter(1, &mut ben, Op::Delete, remark, &[], 102);
    world.settle();
    assert!(!live(&world.sites[0]).contains_key(&local));
    world.sites[0] = with;
    world.sites[0].rejoin(&mut world.hub, "site-0");
    world.settle();
    world.check();
    assert!(!live(&world.sites[0]).contains_key(&local), "the line before let go of it");
}

/// A row of the site itself that the box may lack, since a former line brought it: it
/// comes along where it is needed before its turn.
#[test]
fn a_row_that_the_line_before_had_parked_comes_along() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let before = copy(&world.sites[0], 78);
    let group = Some(Group { first: 1, len: 2 });
    for (table, number, fields) in
        [(HOUSE, 5, vec![(1, text("parked"))]), (PERSON, 6, vec![(1, refer(row(99)))])]
    {
        let change = anna.change(Op::Insert, (table, row(number)), &fields, 100);
        world.sites[0].enter(&anna, Change { group, ..change });
    }
    world.settle();
    world.sites[0] = before;
    world.enter(0, &mut Device::new(3), Op::Insert, (HOUSE, row(7)), &[], 101);
    world.sites[0].rejoin(&mut world.hub, "site-0");
    world.sites[0].settle(&mut world.hub);
    // More than a page of the other lane, then what was waited for, and an urgent row.
    let long = "x".repeat(3_000);
    for number in 200..260 {
        let name = format!("{number}{long}");
        world.enter(1, &mut ben, Op::Insert, (HOUSE, row(number)), &[(1, text(&name))], 102);
    }
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(99)), &[], 103);
    world.enter(1, &mut ben, Op::Insert, (ALARM, row(8)), &[(2, refer(row(5)))], 104);
    world.sites[1].settle(&mut world.hub);
    // Each page is checked for orphans.
    world.settle();
    world.check();
    assert!(live(&world.sites[0]).contains_key(&(HOUSE, row(5))));
}

#[test]
fn nobody_rejoins_where_nobody_came() {
    let mut world = World::new(1);
    let said = |world: &mut World, site: &str| world.hub.rejoin(site).unwrap_err().to_string();
    let told = said(&mut world, "site-0");
    assert!(told.contains("no box with another history") && told.contains("start the"), "{told}");
    let told = said(&mut world, "nowhere");
    assert!(told.contains("no site \"nowhere\"") && told.contains("gateway list"), "{told}");
    // Nor is a late message of the line itself another history.
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[], 100);
    let late = world.sites[0].prepare(&world.sites[0].batch());
    world.settle();
    for up in late {
        world.hub.hear(GatewayId(1), &up, NOW_S).unwrap();
    }
    assert_eq!(world.hub.other_line(GatewayId(1)).unwrap(), None);
}

/// Everything mixed: rows of every scope, copies taken and put back at any time, boxes
/// that take turns. In the end every box has what an empty one would be given, and every
/// sum is that of the changes that were ever brought, once each.
#[test]
fn boxes_that_take_turns_end_with_what_the_hub_has() {
    for seed in 1..=40 {
        boxes_take_turns(seed);
    }
}

fn boxes_take_turns(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut world = World::new(3);
    let mut devices: Vec<Device> = (1..=3).map(Device::new).collect();
    let mut copies: Vec<Site> = Vec::new();
    let mut brought = 0;
    let house = (HOUSE, row(1));
    world.enter(2, &mut devices[2], Op::Insert, house, &[(3, Delta::Add(0))], 1);
    world.settle();
    for step in 2..120 {
        let site = dice.roll(2) as usize;
        let device = &mut devices[site];
        let (number, parent) = (row(10 + dice.roll(30)), row(10 + dice.roll(30)));
        let fresh = row(1_000 + step);
        match dice.roll(14) {
            0 => drop(world.enter(
                site,
                device,
                Op::Insert,
                (HOUSE, number),
                &[(1, text("h"))],
                step,
            )),
            1 => drop(world.enter(
                site,
                device,
                Op::Insert,
                (PERSON, fresh),
                &[(1, refer(parent))],
                step,
            )),
            2 => drop(world.enter(
                site,
                device,
                Op::Insert,
                (LOCAL, number),
                &[(1, text("l")), (2, refer(parent))],
                step,
            )),
            3 => drop(world.enter(
                site,
                device,
                Op::Insert,
                (REPORT, fresh),
                &[(1, text("r"))],
                step,
            )),
            4 => drop(world.enter(
                site,
                device,
                Op::Insert,
                (REMARK, fresh),
                &[(1, refer(parent))],
                step,
            )),
            5 => {
                drop(world.enter(site, device, Op::Insert, (LINK, fresh), &[(2, text("k"))], step))
            }
            6 => drop(world.enter(site, device, Op::Delete, (LOCAL, number), &[], step)),
            7 => drop(world.enter(
                site,
                device,
                Op::Update,
                (HOUSE, number),
                &[(1, text("n")), (2, text("m"))],
                step,
            )),
            8 | 9 => {
                world.enter(site, device, Op::Update, house, &[(3, Delta::Add(1))], step);
                brought += 1;
            }
            10 | 11 => world.sync(site),
            12 => copies.push(copy(&world.sites[0], 100 + step)),
            _ if !copies.is_empty() => {
                let at = dice.roll(copies.len() as u64) as usize;
                let mut other = copies[at].clone();
                other.run = RunId(500 + step);
                // Its handheld has kept what the hub did not confirm, and offers it again.
                let mut kept = world.sites[0].own.clone();
                kept.retain(|(change, _)| !other.own.iter().any(|(own, _)| own.dot == change.dot));
                for (change, _) in kept {
                    other.runs.extend(world.sites[0].runs.clone());
                    other.own.push((change, None));
                }
                if other.chain != world.sites[0].chain && !other.is_known(&mut world.hub) {
                    other.rejoin(&mut world.hub, "site-0");
                    copies.push(std::mem::replace(&mut world.sites[0], other));
                }
            }
            _ => {}
        }
    }
    world.settle();
    world.check();
    assert_eq!(count(&world, 1), brought, "seed {seed}");
    let restored = live(&world.sites[0]);
    world.sites[0] = Site::new(GatewayId(1));
    world.sites[0].rejoin(&mut world.hub, "site-0");
    world.settle();
    world.check();
    assert_eq!(restored, live(&world.sites[0]), "seed {seed}");
}
