//! What a round commits: poison, parents to come, doubles, crashes.
use wadi_protocol::change::{Change, Delta, Group, Op, TableRef};
use wadi_protocol::id::{GatewayId, RunId};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::{Down, DownBody, Outcome, Refused, UpBody};

use crate::model::{Device, NOW_S, Site};
use crate::world::{HOUSE, LOCAL, PERSON, SCHEMA, VISIT, World, refer, row, text};

#[test]
fn a_poison_change_stops_only_itself() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("good"))], 100);
    let mut poison = anna.change(Op::Insert, (HOUSE, row(2)), &[], 101);
    poison.table = TableRef::Name("hous".into());
    let bad_table = world.sites[0].enter(&anna, poison);
    let mut typed =
        anna.change(Op::Insert, (HOUSE, row(3)), &[(1, Delta::Set(Value::Int(3)))], 102);
    typed.schema = 1;
    let bad_type = world.sites[0].enter(&anna, typed);
    let huge = "x".repeat(9_000);
    let oversize =
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(4)), &[(1, text(&huge))], 103).dot;
    let orphan =
        world.enter(0, &mut anna, Op::Update, (HOUSE, row(3)), &[(1, text("late"))], 104).dot;
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(5)), &[(1, text("good too"))], 105);
    world.sync(0);
    assert!(world.row((HOUSE, row(1))).is_some() && world.row((HOUSE, row(5))).is_some());
    for dot in [bad_table, bad_type, oversize] {
        assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined);
        assert!(!world.sites[0].reasons[&dot].is_empty());
        let kept = world.hub.quarantined_changes(dot).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].reason, world.sites[0].reasons[&dot]);
    }
    assert_eq!(world.sites[0].outcomes[&orphan], Outcome::Parked);
    assert_eq!(world.hub.quarantined().unwrap().len(), 3);
    world.settle();
    world.check();
}

#[test]
fn a_group_shares_custody() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    let group = Some(Group { first: 1, len: 2 });
    let mut good = anna.change(Op::Insert, (HOUSE, row(1)), &[(1, text("good"))], 100);
    let mut bad = anna.change(Op::Insert, (HOUSE, row(2)), &[(1, Delta::Set(Value::Int(1)))], 100);
    good.group = group;
    bad.group = group;
    let (good, bad) = (world.sites[0].enter(&anna, good), world.sites[0].enter(&anna, bad));
    world.sync(0);
    for dot in [good, bad] {
        assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined);
    }
    assert_eq!(world.row((HOUSE, row(1))), None);
}

#[test]
fn children_wait_for_their_parent_across_rounds_and_sites() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let visit =
        world.enter(0, &mut anna, Op::Insert, (VISIT, row(3)), &[(1, refer(row(2)))], 100).dot;
    let person =
        world.enter(0, &mut anna, Op::Insert, (PERSON, row(2)), &[(1, refer(row(1)))], 101).dot;
    world.settle();
    assert_eq!(world.sites[0].outcomes[&visit], Outcome::Parked);
    assert_eq!(world.sites[0].outcomes[&person], Outcome::Parked);
    assert_eq!(world.hub.status().unwrap().parked, 2);
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("house"))], 102);
    world.settle();
    for dot in [visit, person] {
        assert!(matches!(world.sites[0].outcomes[&dot], Outcome::Applied { .. }));
    }
    assert_eq!(world.hub.status().unwrap().parked, 0);
    world.check();
}

#[test]
fn a_change_by_two_routes_counts_once() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let key = (HOUSE, row(1));
    let insert = world.enter(0, &mut anna, Op::Insert, key, &[(3, Delta::Add(5))], 100);
    let more = world.enter(0, &mut anna, Op::Update, key, &[(3, Delta::Add(2))], 101);
    world.sites[1].enter(&anna, insert.clone());
    world.sites[1].enter(&anna, more);
    world.settle();
    assert_eq!(world.row(key).unwrap()["count"], 7);
    assert!(matches!(world.sites[1].outcomes[&insert.dot], Outcome::Known { seq: 1 }));
    world.check();
}

#[test]
fn commit_is_idempotent_after_a_crash() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(3, Delta::Add(5))], 100);
    let batch = world.sites[0].batch();
    let mut answers = Vec::new();
    for up in world.sites[0].prepare(&batch) {
        answers.extend(world.hub.hear(GatewayId(1), &up, NOW_S).unwrap());
    }
    world.crash();
    let again = world.hub.hear(GatewayId(1), &world.sites[0].prepare(&batch)[0], NOW_S).unwrap();
    let page = world.sites[0].page(&again);
    assert_eq!(page, world.sites[0].page(&answers));
    let first = world.sites[0].commit(&mut world.hub);
    let export = world.export();
    world.crash();
    assert_eq!(world.sites[0].commit(&mut world.hub), first);
    assert_eq!(world.export(), export);
    world.sites[0].finish(&batch, &page, &first);
    world.settle();
    world.check();
    assert_eq!(world.hub.head().unwrap(), 1);
}

#[test]
fn a_late_part_of_an_old_round_changes_nothing() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(3, Delta::Add(5))], 100);
    let old = world.sites[0].prepare(&world.sites[0].batch());
    world.settle();
    let export = world.export();
    for up in old {
        world.hub.hear(GatewayId(1), &up, NOW_S).unwrap();
    }
    assert_eq!(world.export(), export);
    world.settle();
}

#[test]
fn strangers_are_refused() {
    let mut world = World::new(1);
    let stranger = Site { schema: world.sites[0].schema.clone(), ..Site::new(GatewayId(9)) };
    assert_eq!(stranger.refused(&mut world.hub), Refused::UnknownGateway);
    let mut elsewhere = Site::new(GatewayId(1));
    elsewhere.round = 7;
    elsewhere.hub = RunId(77);
    assert_eq!(elsewhere.refused(&mut world.hub), Refused::OtherHub);
    elsewhere.hub = world.hub.run();
    elsewhere.cursors = [1_000, 0];
    assert_eq!(elsewhere.refused(&mut world.hub), Refused::OtherHub);
    elsewhere.cursors = [0, 0];
    assert_eq!(elsewhere.refused(&mut world.hub), Refused::OtherParent);
}

#[test]
fn an_aborted_round_leaves_nothing() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
    for up in world.sites[0].prepare(&world.sites[0].batch()) {
        world.hub.hear(GatewayId(1), &up, NOW_S).unwrap();
    }
    let answers = world.hub.hear(GatewayId(1), &world.sites[0].up(UpBody::Abort), NOW_S).unwrap();
    assert!(matches!(answers[..], [Down { body: DownBody::Aborted { .. }, .. }]));
    assert_eq!(world.row((HOUSE, row(1))), None);
    world.sites[0].round += 1;
    world.settle();
    assert!(world.row((HOUSE, row(1))).is_some());
    world.check();
}

/// Between the two phases others edit the same row, operators and schemas go on, the hub
/// is started anew; what was prepared is decided by what there is when it is committed.
#[test]
fn a_prepared_round_blocks_nobody_and_is_committed_a_year_later() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let house = (HOUSE, row(1));
    world.enter(0, &mut anna, Op::Insert, house, &[(3, Delta::Add(1))], 100);
    world.settle();
    let mine = [(1, text("mine")), (3, Delta::Add(10))];
    world.enter(0, &mut anna, Op::Update, house, &mine, 900);
    let batch = world.sites[0].batch();
    let mut answers = Vec::new();
    for up in world.sites[0].prepare(&batch) {
        answers.extend(world.hub.hear(GatewayId(1), &up, NOW_S).unwrap());
    }
    let page = world.sites[0].page(&answers);
    let theirs = [(1, text("theirs")), (2, text("note")), (3, Delta::Add(100))];
    world.enter(1, &mut ben, Op::Update, house, &theirs, 200);
    world.sync(1);
    assert_eq!(world.row(house).unwrap()["count"], 101, "the other round is committed");
    let wider = SCHEMA
        .replace("[tables.photo.fields]", "[tables.photo.fields]\nsize = { type = \"integer\" }");
    world.hub.publish_schema(&wider, NOW_S).unwrap();
    world.hub.enrol("later", false, (NOW_S, NOW_S + 9), |_| Ok(Vec::new())).unwrap();
    world.crash();
    let year_s = 365 * 86_400;
    let answers = world.hub.hear(GatewayId(1), &world.sites[0].up(UpBody::Commit), NOW_S + year_s);
    let [Down { body: DownBody::Committed(committed), .. }] = &answers.unwrap()[..] else {
        panic!("it is decided")
    };
    world.sites[0].finish(&batch, &page, committed);
    world.settle();
    let shown = world.row(house).unwrap();
    assert_eq!((&shown["name"], &shown["note"]), (&"mine".into(), &"note".into()));
    assert_eq!(shown["count"], 111);
    world.check();
}

/// A phone that went round two villages: both are told when what waited is taken.
#[test]
fn everybody_who_offered_a_change_that_waits_is_told_of_its_end() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let local = (LOCAL, row(1));
    let waits = world.enter(0, &mut anna, Op::Insert, local, &[(2, refer(row(9)))], 100);
    world.sites[1].enter(&anna, waits.clone());
    world.sync(0);
    world.sync(1);
    for site in &world.sites {
        let outcome = &site.outcomes[&waits.dot];
        assert!(matches!(outcome, Outcome::Parked | Outcome::Known { seq: 0 }), "{outcome:?}");
    }
    world.enter(0, &mut ben, Op::Insert, (HOUSE, row(9)), &[(1, text("at last"))], 101);
    world.settle();
    for site in &world.sites {
        let outcome = &site.outcomes[&waits.dot];
        let told = matches!(outcome, Outcome::Applied { .. } | Outcome::Known { seq: 1.. });
        assert!(told, "{outcome:?}");
    }
    world.check();
}

#[test]
fn beyond_the_limit_of_parked_changes_the_gateway_holds_them() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    for number in 0..4_100 {
        let key = (PERSON, row(10_000 + number));
        world.enter(0, &mut anna, Op::Insert, key, &[(1, refer(row(1)))], 100);
        if number % 1_500 == 0 {
            world.sync(0);
        }
    }
    world.sync(0);
    let held = |world: &World| {
        let outcomes = world.sites[0].outcomes.values();
        outcomes.filter(|&outcome| *outcome == Outcome::Held).count()
    };
    assert_eq!((held(&world), world.hub.status().unwrap().parked), (4, 4_096));
    // Their parent comes: what was parked is released, and that tells the gateway
    // to offer again what it holds.
    world.enter(1, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("house"))], 102);
    world.sync(1);
    assert_eq!(world.hub.status().unwrap().parked, 0);
    world.sites[0].outcomes.retain(|_, outcome| *outcome != Outcome::Held);
    world.settle();
    assert_eq!((held(&world), world.hub.status().unwrap().durable), (0, 4_101));
    world.check();
}

#[test]
fn the_least_containment_stamp_counts_by_whatever_route() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let key = (HOUSE, row(1));
    world.enter(0, &mut anna, Op::Insert, key, &[(1, text("house"))], 100);
    world.settle();
    let fast =
        world.enter(0, &mut anna, Op::Update, key, &[(1, text("fast clock"))], 4_000_000_000);
    world.enter(1, &mut ben, Op::Update, key, &[(1, text("right clock"))], 500);
    world.settle();
    assert_eq!(world.row(key).unwrap()["name"], "fast clock");
    // The same change by the other gateway, whose intake did contain it.
    let stamp = Stamp { seconds: 400, counter: 0 };
    world.sites[1].enter(&anna, Change { contained: Some(stamp), ..fast });
    world.settle();
    assert_eq!(world.row(key).unwrap()["name"], "right clock");
    world.check();
}

#[test]
fn the_ledger_names_gaps_and_what_is_wrong() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
    anna.seq += 3;
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(2)), &[(1, text("b"))], 100);
    world.settle();
    let ledger = world.hub.ledger().unwrap();
    assert_eq!(ledger.wrong, Vec::<String>::new());
    let [run] = &ledger.runs[..] else { panic!("one run") };
    assert_eq!((run.first, run.last, run.committed), (1, 5, 2));
    assert_eq!(run.gaps, [(2, 4)]);
    let db = rusqlite::Connection::open(world.folder.path().join("hub.db")).unwrap();
    db.execute("DELETE FROM wadi_log WHERE seq = 1", []).unwrap();
    let [wrong] = &world.hub.ledger().unwrap().wrong[..] else { panic!("one thing is wrong") };
    assert!(wrong.contains("no line of the log"), "{wrong}");
}
