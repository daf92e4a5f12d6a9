//! A malicious gateway, enrolled and on the wire: it can hurt only its own data.
//!
//! Each attack is played by site 1 between honest rounds of site 0; after it the
//! books balance, the honest rows are as they were, and site 0 goes on.
use wadi_hub::store::repair::Edits;
use wadi_hub::store::settle::Decision;
use wadi_protocol::change::{Change, Delta, Group, Op, Seen};
use wadi_protocol::id::{DeviceId, Dot, Hash, RowVersion, RunId, RunInfo};
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::coded::{CODEC_PLAIN, ModelName};
use wadi_protocol::wire::message::{Down, DownBody, Outcome, Part, Prepare, Refused, Up, UpBody};

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, PERSON, World, refer, row, text};

pub const HONEST: usize = 0;
pub const EVIL: usize = 1;

/// A hub with an honest row, and what it looks like.
pub fn attacked() -> (World, Device, String) {
    let mut world = World::new(3);
    let mut anna = Device::new(1);
    world.enter(HONEST, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("honest"))], 100);
    world.settle();
    let export = world.export();
    (world, anna, export)
}

fn hear(world: &mut World, up: &Up) -> Vec<Down> {
    world.hub.hear(world.sites[EVIL].number, up, NOW_S).unwrap()
}

fn refused(answers: &[Down]) -> Option<&Refused> {
    match answers {
        [Down { body: DownBody::Refused(refused), .. }] => Some(refused),
        _ => None,
    }
}

/// The books balance, and whoever is honest goes on.
pub fn goes_on(world: &mut World, anna: &mut Device) {
    assert_eq!(world.hub.ledger().unwrap().wrong, Vec::<String>::new());
    assert_eq!(world.row((HOUSE, row(1))).unwrap()["name"], "honest");
    let key = (HOUSE, row(2));
    let dot = world.enter(HONEST, anna, Op::Insert, key, &[(1, text("more"))], 200).dot;
    for site in [HONEST, 2] {
        let mut rounds = 0;
        while rounds == 0 || world.sites[site].more {
            world.sync(site);
            rounds += 1;
            assert!(rounds < 100, "site {site} does not come to rest");
        }
    }
    assert!(matches!(world.sites[HONEST].outcomes[&dot], Outcome::Applied { .. }));
    assert!(world.sites[2].rows[&key].live, "the other site has it");
}

#[test]
fn heads_beyond_every_limit_are_refused() {
    let (mut world, mut anna, export) = attacked();
    let head = |bytes, parts| Prepare {
        parent: world.sites[EVIL].chain,
        cursors: world.sites[EVIL].cursors,
        schema: 1,
        content: Hash::default(),
        bytes,
        parts,
        first: Vec::new(),
        returned: None,
        ahead: 0,
        codec: CODEC_PLAIN,
        model: ModelName::empty(),
        delegated: false,
        narrow: false,
        spent: Vec::new(),
    };
    let heads = [head(u32::MAX, u16::MAX), head(5_000, 1), head(0, 9), head(4 << 20 | 1, 1025)];
    for head in heads {
        let up = world.sites[EVIL].up(UpBody::Prepare(head));
        let answers = hear(&mut world, &up);
        assert!(matches!(refused(&answers), Some(Refused::TooLarge { .. })), "{answers:?}");
    }
    assert_eq!(world.export(), export);
    goes_on(&mut world, &mut anna);
}

#[test]
fn parts_that_were_not_announced_and_other_heads_change_nothing() {
    let (mut world, mut anna, export) = attacked();
    let bytes = 2 * PART_BYTES_MAX + 800;
    let head = Prepare {
        parent: world.sites[EVIL].chain,
        cursors: world.sites[EVIL].cursors,
        schema: 1,
        content: Hash::of(&[b"never to come"]),
        bytes: bytes as u32,
        parts: 3,
        first: Vec::new(),
        returned: None,
        ahead: 0,
        codec: CODEC_PLAIN,
        model: ModelName::empty(),
        delegated: false,
        narrow: false,
        spent: Vec::new(),
    };
    let up = world.sites[EVIL].up(UpBody::Prepare(head.clone()));
    hear(&mut world, &up);
    for index in [3, 4, 1_000, u16::MAX, 1, 1, 1] {
        for len in [0, 1, PART_BYTES_MAX - 1, PART_BYTES_MAX + 1, 12_000] {
            let part = UpBody::Part(Part { index, bytes: vec![7; len] });
            let up = world.sites[EVIL].up(part);
            assert_eq!(hear(&mut world, &up), []);
        }
    }
    let other = Prepare { content: Hash::default(), ..head.clone() };
    let up = world.sites[EVIL].up(UpBody::Prepare(other));
    assert_eq!(refused(&hear(&mut world, &up)), Some(&Refused::OtherContent));
    for index in 0..3 {
        let len = if index == 2 { bytes - 2 * PART_BYTES_MAX } else { PART_BYTES_MAX };
        // 1: as if it were written plainly.
        let up = world.sites[EVIL].up(UpBody::Part(Part { index, bytes: vec![1; len] }));
        let answers = hear(&mut world, &up);
        if index == 2 {
            assert!(matches!(refused(&answers), Some(Refused::Undecodable { .. })));
        }
    }
    assert_eq!(world.export(), export);
    goes_on(&mut world, &mut anna);
}

#[test]
fn rounds_of_the_end_of_time_wedge_only_whoever_names_them() {
    let (mut world, mut anna, export) = attacked();
    world.sites[EVIL].round = u64::MAX;
    let abort = world.sites[EVIL].up(UpBody::Abort);
    for _ in 0..3 {
        assert!(matches!(
            hear(&mut world, &abort)[..],
            [Down { body: DownBody::Aborted { floor: u64::MAX }, .. }]
        ));
    }
    for round in [0, 1, 7, u64::MAX - 1] {
        let up = Up { round, ..world.sites[EVIL].up(UpBody::Commit) };
        assert!(refused(&hear(&mut world, &up)).is_some());
    }
    assert_eq!(world.export(), export);
    goes_on(&mut world, &mut anna);
}

#[test]
fn replayed_and_aborted_rounds_change_nothing() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    let mut seen = Vec::new();
    for number in 10..20 {
        let change = evil.change(Op::Insert, (HOUSE, row(number)), &[(3, Delta::Add(1))], 100);
        world.sites[EVIL].enter(&evil, change);
        let batch = world.sites[EVIL].batch();
        seen.extend(world.sites[EVIL].prepare(&batch));
        seen.push(world.sites[EVIL].up(UpBody::Commit));
        world.sync(EVIL);
        let prepared = world.sites[EVIL].prepare(&batch);
        for up in prepared.into_iter().chain([world.sites[EVIL].up(UpBody::Abort)]) {
            seen.push(up.clone());
            hear(&mut world, &up);
        }
        world.sites[EVIL].round += 1;
    }
    let export = world.export();
    for up in seen.iter().rev().chain(&seen) {
        hear(&mut world, up);
    }
    assert_eq!(world.export(), export);
    goes_on(&mut world, &mut anna);
}

/// Changes of an evil device, one for each thing that can be forged.
fn forged(anna: &Device) -> Vec<Change> {
    let mut evil = Device::new(9);
    let mut make = |at: u64| evil.change(Op::Insert, (HOUSE, row(at)), &[(1, text("evil"))], 100);
    let far = RowVersion { hub: RunId(77), seq: u64::MAX };
    let theirs = Dot { device: anna.id, run: anna.run, seq: u64::MAX };
    let stamp = |seconds| Stamp { seconds, counter: u16::MAX };
    let group = |first, len| Some(Group { first, len });
    let mut all = vec![
        Change { seen: Seen { version: far, above: vec![] }, ..make(10) },
        Change { seen: Seen { version: far, above: vec![theirs] }, ..make(11) },
        Change { stamp: stamp(4_070_908_800), ..make(12) },
        Change { stamp: stamp(0), entered_s: 0, ..make(13) },
        Change { stamp: stamp(u64::MAX), entered_s: u64::MAX, ..make(14) },
        Change { contained: Some(stamp(0)), ..make(15) },
        Change { contained: Some(stamp(u64::MAX)), ..make(16) },
        Change { group: group(0, 0), ..make(17) },
        Change { group: group(1, u16::MAX), ..make(18) },
        Change { group: group(u64::MAX, 2), ..make(19) },
        Change { schema: u32::MAX, rights: u32::MAX, ..make(20) },
        Change { op: Op::Settle, ..make(1) },
        Change { op: Op::Settle, fields: vec![], ..make(1) },
        Change { op: Op::Undone, ..make(1) },
        Change { op: Op::Delete, ..make(1) },
    ];
    for seq in [0, 1 << 56, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
        let change = make(30 + (seq & 15));
        all.push(Change { dot: Dot { seq, ..change.dot }, ..change });
    }
    all
}

#[test]
fn forged_changes_stop_at_themselves() {
    let (mut world, mut anna, _) = attacked();
    let evil = Device::new(9);
    for change in forged(&anna) {
        let (op, seq) = (change.op, change.dot.seq);
        let dot = world.sites[EVIL].enter(&evil, change);
        world.sync(EVIL);
        let an_operators = matches!(op, Op::Settle | Op::Undone);
        if an_operators || op == Op::Delete || seq == 0 || seq >= 1 << 56 {
            assert_eq!(world.sites[EVIL].outcomes[&dot], Outcome::Quarantined, "{op:?} {seq}");
        }
        assert_eq!(world.hub.ledger().unwrap().wrong, Vec::<String>::new());
    }
    goes_on(&mut world, &mut anna);
    // Whatever it is, an operator can reject it; none of it can be repaired into a settle.
    for one in world.hub.quarantined().unwrap() {
        let repaired = world.hub.repair(one.dot, &Edits::default(), NOW_S);
        let an_operators = matches!(one.change.op, Op::Settle | Op::Undone);
        assert!(!an_operators || repaired.is_err(), "{one:?}");
        if repaired.is_err() {
            world.hub.reject(one.dot, "forged", NOW_S).unwrap();
        }
    }
    assert_eq!(world.hub.status().unwrap().quarantined, 0);
    assert_eq!(world.hub.ledger().unwrap().wrong, Vec::<String>::new());
    goes_on(&mut world, &mut anna);
}

#[test]
fn a_sequence_at_the_end_of_numbers_does_not_reach_other_gateways() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    let change = evil.change(Op::Insert, (HOUSE, row(10)), &[(1, text("evil"))], 100);
    let dot = Dot { seq: u64::MAX, ..change.dot };
    world.sites[EVIL].enter(&evil, Change { dot, ..change });
    world.sync(EVIL);
    assert_eq!(world.sites[EVIL].outcomes[&dot], Outcome::Quarantined);
    assert!(world.sites[EVIL].reasons[&dot].contains("sequence"));
    goes_on(&mut world, &mut anna);
}

#[test]
fn runs_that_are_their_own_ancestors_bring_no_loop() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    let info = |device: DeviceId, run: u64, parent: u64| RunInfo {
        device,
        run: RunId(run),
        parent: Some((RunId(parent), u64::MAX)),
        label: "evil".into(),
    };
    for (number, runs) in [
        vec![info(evil.id, evil.run.0, evil.run.0)],
        vec![info(evil.id, 50, 51), info(evil.id, 51, 52), info(evil.id, 52, 50)],
        vec![info(evil.id, evil.run.0, 50)],
        vec![info(anna.id, anna.run.0, anna.run.0), info(anna.id, 60, anna.run.0)],
        vec![info(DeviceId(1234), 1, 2)],
    ]
    .into_iter()
    .enumerate()
    {
        let key = (HOUSE, row(10 + number as u64));
        let change = evil.change(Op::Insert, key, &[(1, text("evil"))], 100);
        world.sites[EVIL].enter(&evil, change);
        for run in runs {
            world.sites[EVIL].runs.insert((run.device, run.run), run);
        }
        world.sync(EVIL);
    }
    goes_on(&mut world, &mut anna);
}

#[test]
fn changes_of_a_run_that_the_changeset_does_not_name_are_refused() {
    let (mut world, mut anna, export) = attacked();
    let mut evil = Device::new(9);
    let change = evil.change(Op::Insert, (HOUSE, row(10)), &[(1, text("evil"))], 100);
    world.sites[EVIL].enter(&evil, change);
    world.sites[EVIL].runs.clear();
    let batch = world.sites[EVIL].batch();
    let head = world.sites[EVIL].prepare(&batch).remove(0);
    let answers = hear(&mut world, &head);
    let Some(Refused::Undecodable { reason }) = refused(&answers) else { panic!("{answers:?}") };
    assert!(reason.contains("0000000000000009.0000000003f1.1"), "{reason}");
    assert_eq!(world.export(), export);
    goes_on(&mut world, &mut anna);
}

#[test]
fn cycles_of_references_and_parents_that_never_come_are_parked() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    for number in 0..50 {
        let key = (PERSON, row(100 + number));
        let change = evil.change(Op::Insert, key, &[(1, refer(row(99)))], 100);
        world.sites[EVIL].enter(&evil, change);
    }
    world.sync(EVIL);
    assert_eq!(world.hub.status().unwrap().parked, 50);
    goes_on(&mut world, &mut anna);
}

#[test]
fn a_round_of_thousands_of_bad_changes_harms_nobody() {
    let (mut world, mut anna, _) = attacked();
    let mut evil = Device::new(9);
    for number in 0..2_000 {
        let bad = [(1, Delta::Set(Value::Int(number)))];
        let change = evil.change(Op::Insert, (HOUSE, row(100)), &bad, 100);
        world.sites[EVIL].enter(&evil, change);
    }
    world.sync(EVIL);
    assert_eq!(world.hub.status().unwrap().quarantined, 2_000);
    goes_on(&mut world, &mut anna);
}

/// The operators' device and run, as everybody learns them from what they settle.
#[test]
fn nobody_but_the_hub_makes_an_operators_change() {
    let (mut world, mut anna, _) = attacked();
    let mut ben = Device::new(2);
    let key = (HOUSE, row(1));
    world.enter(HONEST, &mut anna, Op::Update, key, &[(2, text("one"))], 110);
    world.enter(2, &mut ben, Op::Update, key, &[(2, text("two"))], 110);
    world.settle();
    let case = world.hub.cases().unwrap()[0].number;
    world.hub.settle(case, &Decision::Pick(1), NOW_S).unwrap();
    let settled = world.hub.history("house", row(1)).unwrap();
    let Dot { device, run, .. } =
        settled.iter().find(|past| past.change.op == Op::Settle).expect("the settle").dot;
    let export = world.export();

    let mut posing = Device { id: device, run, seq: 1, parent: None };
    let change = posing.change(Op::Update, key, &[(1, text("evil")), (2, text("evil"))], 200);
    let dot = world.sites[EVIL].enter(&posing, change);
    let line = RunInfo { parent: Some((RunId(5), 1)), ..posing.info() };
    world.sites[EVIL].runs.insert((device, run), line);
    world.sync(EVIL);
    assert_eq!(world.sites[EVIL].outcomes[&dot], Outcome::Quarantined);
    assert!(world.sites[EVIL].reasons[&dot].contains("claims to be an operator's"));
    assert_eq!(world.export(), export);
    assert_eq!(world.hub.cases().unwrap(), []);
    goes_on(&mut world, &mut anna);
}
