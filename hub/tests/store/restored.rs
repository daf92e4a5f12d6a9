//! A hub restored from an older copy of its database, by the book and by hand.
use wadi_hub::store::settle::Decision;
use wadi_hub::store::{Store, backup};
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::wire::message::{Down, DownBody, Prepare, Refused, Returned, Up, UpBody};

use crate::model::{Device, NOW_S, Site};
use crate::world::{HOUSE, World, row, text};

/// Two sites that have synced, restored to before their last rounds.
fn restored() -> World {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let house = (HOUSE, row(1));
    world.enter(0, &mut anna, Op::Insert, house, &[(2, text("a"))], 100);
    world.settle();
    let copy = world.folder.path().join("hub.backup");
    world.hub.backup(&copy, false, NOW_S).unwrap();
    world.enter(0, &mut anna, Op::Update, house, &[(3, Delta::Add(5))], 101);
    world.sync(0);
    let elsewhere = tempfile::tempdir().unwrap();
    let none = Store::open(&elsewhere.path().join("none.db")).unwrap();
    drop(std::mem::replace(&mut world.hub, none));
    let database = world.folder.path().join("hub.db");
    backup::restore(&copy, &database, "then", NOW_S).unwrap();
    world.hub = Store::open(&database).unwrap();
    world.hub.begin_run(NOW_S + 2).unwrap();
    world
}

fn answer(world: &mut World, site: usize, up: &Up) -> Refused {
    let number = world.sites[site].number;
    match &world.hub.hear(number, up, NOW_S + 3).unwrap()[..] {
        [Down { body: DownBody::Refused(refused), .. }] => refused.clone(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn a_restored_hub_numbers_nothing_until_somebody_confirms() {
    let mut world = restored();
    let head = world.hub.head().unwrap();
    assert_eq!(world.sites[0].refused(&mut world.hub), Refused::Stopped, "it knows more");
    assert_eq!(world.sites[1].refused(&mut world.hub), Refused::Stopped, "it does not");
    let settled = world.hub.settle(1, &Decision::Pick(1), NOW_S).unwrap_err().to_string();
    assert!(settled.contains("numbers nothing yet: first run `wadi-hub resume`"), "{settled}");
    let loss = world.hub.loss().unwrap();
    assert_eq!((loss.stopped_s, loss.waiting, loss.last), (NOW_S, vec!["site-0".into()], 0));
    assert_eq!(world.hub.resume(NOW_S + 3).unwrap(), 1);
    assert_eq!(world.hub.head().unwrap(), head);
    let twice = world.hub.resume(NOW_S + 3).unwrap_err().to_string();
    assert!(
        twice.contains("nothing waits for this") && twice.contains("wadi-hub status"),
        "{twice}"
    );
    // Who knows no more goes on; who does is told to begin anew, in whatever it was.
    world.sites[1].sync(&mut world.hub);
    let Refused::Restored { line } = world.sites[0].refused(&mut world.hub) else { panic!() };
    assert_eq!(line[0].0, world.hub.run());
    assert_eq!(line.last().unwrap().1, head, "the two part where the backup was made");
}

/// Its last rounds brought only its own changes, so neither a run nor a cursor gives it away.
#[test]
fn a_gateway_whose_rounds_alone_are_lost_is_not_taken_for_a_copy() {
    let mut world = restored();
    let site = &world.sites[0];
    assert!(site.cursors.iter().all(|&cursor| cursor <= world.hub.head().unwrap()));
    world.hub.resume(NOW_S + 3).unwrap();
    assert!(matches!(world.sites[0].refused(&mut world.hub), Refused::Restored { .. }));
    assert_eq!(world.hub.other_line(world.sites[0].number).unwrap(), None);
    // A late word of the lost time lets nobody else in.
    let clone = Site { round: 4, chain: Hash([9; 16]), ..world.sites[0].clone() };
    let up = clone.prepare(&clone.batch())[0].clone();
    assert!(matches!(
        answer(&mut world, 0, &up),
        Refused::BelowFloor { .. } | Refused::OtherParent
    ));
}

/// The simulator found it: of two boxes under one number the other one's rounds went on, so
/// that this one's numbers give nothing away, nor do its cursors; only what it was told.
#[test]
fn a_copied_box_that_the_lost_hub_told_more_is_not_taken_for_a_mere_copy() {
    let mut world = restored();
    world.hub.resume(NOW_S + 3).unwrap();
    let mut copy = world.sites[0].clone();
    (copy.round, copy.chain) = (1, Hash([9; 16]));
    let up = |copy: &Site, ahead| {
        let UpBody::Prepare(head) = copy.prepare(&copy.batch())[0].body.clone() else { panic!() };
        copy.up(UpBody::Prepare(Prepare { ahead, ..head }))
    };
    let below = up(&copy, 0);
    let Refused::BelowFloor { floor } = answer(&mut world, 0, &below) else { panic!() };
    copy.round = floor;
    let (less, more) = (up(&copy, 0), up(&copy, 1 + world.hub.head().unwrap()));
    assert_eq!(answer(&mut world, 0, &less), Refused::OtherParent);
    assert!(matches!(answer(&mut world, 0, &more), Refused::Restored { .. }));
}

/// The simulator found it: it was refused for ever, and operators were told of nobody.
#[test]
fn who_holds_a_newer_schema_waits_for_operators_though_it_was_confirmed_before() {
    let mut world = restored();
    world.hub.resume(NOW_S + 3).unwrap();
    let UpBody::Prepare(head) = world.sites[0].prepare(&world.sites[0].batch())[0].body.clone()
    else {
        panic!()
    };
    let known = world.sites[0].up(UpBody::Prepare(head.clone()));
    assert!(matches!(answer(&mut world, 0, &known), Refused::Restored { .. }));
    assert_eq!(world.hub.loss().unwrap().waiting, [] as [String; 0]);
    let newer = world.sites[0].up(UpBody::Prepare(Prepare { schema: 9, ..head }));
    assert_eq!(answer(&mut world, 0, &newer), Refused::OtherHub);
    let loss = world.hub.loss().unwrap();
    assert_eq!((loss.waiting, loss.schema), (vec!["site-0".into()], 9));
    let why = world.hub.resume(NOW_S + 4).unwrap_err().to_string();
    assert!(why.contains("first publish"), "{why}");
}

/// Nobody can prove what a lost hub said: who claims it is refused, and nobody else.
#[test]
fn a_gateway_that_claims_another_hub_stops_only_itself() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    world.settle();
    let liar = world.sites[1].clone();
    let up = |body| Up { hub: RunId(77), ..liar.up(body) };
    let UpBody::Prepare(head) = liar.prepare(&liar.batch())[0].body.clone() else { panic!() };
    for body in [
        UpBody::Prepare(Prepare { schema: 9, ..head }),
        UpBody::Commit,
        UpBody::Fetch { missing: vec![] },
    ] {
        assert_eq!(answer(&mut world, 1, &up(body)), Refused::OtherHub);
    }
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
    world.sync(0);
    assert!(world.row((HOUSE, row(1))).is_some(), "the other goes on");
    let loss = world.hub.loss().unwrap();
    assert_eq!((loss.stopped_s, loss.waiting), (0, vec!["site-1".into()]));
    // What was published since the backup would be missing for what comes back.
    let early = world.hub.resume(NOW_S).unwrap_err().to_string();
    assert!(early.contains("hold version 9 of the schema, this database has 1"), "{early}");
    assert!(early.contains("`wadi-hub schema publish FILE`"), "{early}");
    // As itself it is as welcome as before, and its claim is no more.
    world.sites[1].sync(&mut world.hub);
    assert_eq!(world.hub.loss().unwrap().waiting, [""; 0]);
    world.settle();
    world.check();
}

/// It may name lost runs and sequences without end: what is kept of that has one.
#[test]
fn a_gateway_that_returns_without_end_is_kept_within_bounds() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
    world.settle();
    for round in 0..8 {
        let site = &world.sites[0];
        let UpBody::Prepare(head) = site.prepare(&site.batch())[0].body.clone() else { panic!() };
        let runs = (0..100).map(|run| RunId(1_000 * round + run + 1)).collect();
        let returned = Returned { fork: u64::MAX, runs, seqs: vec![(u32::MAX, u64::MAX); 300] };
        let head = Prepare { returned: Some(returned), ..head };
        let (batch, up) = (site.batch(), site.up(UpBody::Prepare(head)));
        let answers = world.hub.hear(site.number, &up, NOW_S).unwrap();
        let page = world.sites[0].page(&answers);
        let committed = world.sites[0].commit(&mut world.hub);
        world.sites[0].finish(&batch, &page, &committed);
    }
    let db = rusqlite::Connection::open(world.folder.path().join("hub.db")).unwrap();
    let runs = "SELECT count(*) FROM wadi_lost_run";
    assert_eq!(db.query_row(runs, [], |row| row.get::<_, i64>(0)), Ok(256));
    assert_eq!(world.hub.loss().unwrap().last, 0);
    world.settle();
    world.check();
}
