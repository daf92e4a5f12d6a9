//! What the hub's store says when it refuses, caused for real and read: to gateways,
//! and to operators who settle what cannot be settled so.
use wadi_hub::store::StoreError;
use wadi_hub::store::settle::Decision;
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::id::{GatewayId, RunId};
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::{Down, DownBody, Prepare, Up, UpBody};

use crate::model::{Device, NOW_S, Site};
use crate::world::{HOUSE, PERSON, World, refer, row, text};

/// What a gateway hears, if it is a refusal.
fn heard(world: &mut World, up: &Up) -> String {
    match &world.hub.hear(GatewayId(1), up, NOW_S).unwrap()[..] {
        [Down { body: DownBody::Refused(refused), .. }] => refused.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn gateways_hear_why_their_round_cannot_be() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    let key = |number| (HOUSE, row(number));
    world.enter(0, &mut anna, Op::Insert, key(1), &[(1, text("a"))], 100);
    let old = world.sites[0].prepare(&world.sites[0].batch())[0].clone();
    world.settle();
    let UpBody::Prepare(head) = &old.body else { panic!("a head comes first") };
    let of = |world: &World, change: &dyn Fn(&mut Prepare)| {
        let mut head = Prepare { parent: world.sites[0].chain, ..head.clone() };
        change(&mut head);
        world.sites[0].up(UpBody::Prepare(head))
    };

    let stranger = Site { schema: world.sites[0].schema.clone(), ..Site::new(GatewayId(9)) };
    let unknown = stranger.refused(&mut world.hub).to_string();
    assert!(
        unknown.contains("does not know this gateway: run `wadi-hub gateway add`"),
        "{unknown}"
    );
    for (up, parts) in [
        (
            Up { hub: RunId(77), ..of(&world, &|_| {}) },
            &["the hub is not the one that this gateway knows", "restored from a backup"][..],
        ),
        (
            of(&world, &|head| head.parent = Default::default()),
            &["history differs from the hub's", "restored or cloned, or another box"],
        ),
        (
            Up { round: 1, ..of(&world, &|head| head.content.0[0] ^= 1) },
            &["the round is over; the hub accepts rounds from "],
        ),
        (world.sites[0].up(UpBody::Commit), &["nothing is staged under this round"]),
        (of(&world, &|head| head.bytes = u32::MAX), &["too large: changeset of 4294967295 bytes"]),
        (
            of(&world, &|head| head.content.0[0] ^= 1),
            &["the changeset does not decode: its hash is not the one announced"],
        ),
        (
            of(&world, &|head| head.first[1..].fill(0xff)),
            &["the changeset does not decode: batch does not decode: "],
        ),
    ] {
        let said = heard(&mut world, &up);
        for part in parts {
            assert!(said.contains(part), "{said}");
        }
    }

    world.enter(0, &mut anna, Op::Insert, key(2), &[(1, text("b"))], 100);
    for up in world.sites[0].prepare(&world.sites[0].batch()) {
        world.hub.hear(GatewayId(1), &up, NOW_S).unwrap();
    }
    let other = of(&world, &|head| head.content.0[0] ^= 1);
    assert!(heard(&mut world, &other).contains("another changeset is staged under this round"));
}

/// Two sites set a field of a house; the case of that.
fn case(field: u16, one: Delta, other: Delta) -> (World, u64) {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let key = (HOUSE, row(1));
    world.enter(0, &mut anna, Op::Insert, key, &[(3, Delta::Add(1_000))], 100);
    world.settle();
    world.enter(0, &mut anna, Op::Update, key, &[(field, one)], 200);
    world.enter(1, &mut ben, Op::Update, key, &[(field, other)], 200);
    world.settle();
    let [case] = &world.hub.cases().unwrap()[..] else { panic!("one case") };
    let number = case.number;
    (world, number)
}

fn refused(world: &mut World, case: u64, decision: Decision, parts: &[&str]) {
    let error = world.hub.settle(case, &decision, NOW_S).unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    for part in parts {
        assert!(error.to_string().contains(part), "{decision:?}: {error}");
    }
}

#[test]
fn a_case_that_cannot_be_settled_so_says_how_it_can() {
    let value = |text: &str| Decision::Value(text.into());
    let (mut world, notes) = case(2, text("one"), text("two"));
    let see = format!("no candidate 3: there are 1 to 2, see `wadi-hub review show {notes}`");
    refused(&mut world, notes, Decision::Pick(3), &[&see]);
    refused(&mut world, notes, Decision::Pick(0), &["no candidate 0: there are 1 to 2"]);
    refused(&mut world, 99, value("x"), &["no case 99: see `wadi-hub review list`"]);
    world.hub.settle(notes, &Decision::Pick(1), NOW_S).unwrap();
    let closed = [&format!("case {notes} was closed at 20")[..], "`wadi-hub review list` names"];
    refused(&mut world, notes, Decision::Pick(1), &closed);

    let (mut world, sums) = case(3, Delta::Add(5), Delta::Add(6));
    let part = ["candidate 1 is a part of the value, not a value: use --value"];
    refused(&mut world, sums, Decision::Pick(1), &part);
    refused(&mut world, sums, value("1001"), &["house.count: 1001 is above 1000"]);
    refused(&mut world, sums, value("many"), &["house.count: ", "many"]);
}

/// A review about whether a row is, and one about what it refers to.
#[test]
fn rows_are_kept_or_deleted_and_refer_to_what_is_there() {
    let schema = "name = \"x\"\n[tables.house]\ndelete = \"review\"\n[tables.house.fields]\n\
                  name = { type = \"text\" }\n[tables.person.fields]\n\
                  house = { type = \"reference\", table = \"house\", on_delete = \"cascade\", merge = \"review\" }\n\
                  tags = { type = \"set\", values = [\"a\", \"b\"], merge = \"review\" }\n";
    let mut world = World::with(2, schema);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let (house, person) = ((HOUSE, row(1)), (PERSON, row(2)));
    world.enter(0, &mut anna, Op::Insert, house, &[(1, text("a"))], 100);
    world.enter(0, &mut anna, Op::Insert, (HOUSE, row(3)), &[(1, text("b"))], 100);
    world.enter(0, &mut anna, Op::Insert, person, &[(1, refer(row(1)))], 100);
    world.settle();
    world.enter(0, &mut anna, Op::Update, person, &[(1, refer(row(1)))], 200);
    world.enter(1, &mut ben, Op::Update, person, &[(1, refer(row(3)))], 200);
    world.settle();
    let reference = world.hub.cases().unwrap()[0].number;
    let nowhere = row(99).to_string();
    let parts = [&format!("{nowhere}: there is no such row to refer to")[..], "give the id of one"];
    refused(&mut world, reference, Decision::Value(nowhere.clone()), &parts);
    refused(&mut world, reference, Decision::Value("seven".into()), &["person.house: ", "seven"]);

    world.enter(0, &mut anna, Op::Delete, (HOUSE, row(3)), &[], 300);
    world.enter(1, &mut ben, Op::Update, (HOUSE, row(3)), &[(1, text("new"))], 300);
    world.settle();
    let cases = world.hub.cases().unwrap();
    let existence = cases.iter().find(|case| case.field == 0).expect("a case of the delete").number;
    refused(
        &mut world,
        existence,
        Decision::Value("maybe".into()),
        &["\"maybe\": use keep or delete"],
    );

    let list = |entry: &str| Delta::Set(Value::List(vec![entry.into()]));
    world.enter(0, &mut anna, Op::Update, person, &[(2, list("a"))], 400);
    world.enter(1, &mut ben, Op::Update, person, &[(2, list("b"))], 400);
    world.settle();
    let cases = world.hub.cases().unwrap();
    let tags = cases.iter().find(|case| case.field == 2).expect("a case of the tags").number;
    let parts = ["\"a\": use a JSON list of texts such as [\"a\", \"b\"]"];
    refused(&mut world, tags, Decision::Value("a".into()), &parts);
    refused(&mut world, tags, Decision::Value("[\"c\"]".into()), &["person.tags: ", "\"c\""]);
}
