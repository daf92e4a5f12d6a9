//! Settles that are undone, and many cases settled alike.
use wadi_hub::store::StoreError;
use wadi_hub::store::history::Fate;
use wadi_hub::store::settle::{Decision, Settled};
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::value::Value;

use crate::model::{Device, Key, NOW_S};
use crate::world::{HOUSE, World, row, text};

/// Houses of which two sites have changed the note, each a case.
fn cases(houses: u64) -> (World, Device, Device) {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    for house in 1..=houses {
        let fields = [(2, text("new")), (3, Delta::Add(1))];
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(house)), &fields, 100);
    }
    world.settle();
    for house in 1..=houses {
        world.enter(0, &mut anna, Op::Update, (HOUSE, row(house)), &[(2, text("broken"))], 200);
        world.enter(1, &mut ben, Op::Update, (HOUSE, row(house)), &[(2, text("mended"))], 300);
    }
    world.settle();
    assert_eq!(world.hub.cases().unwrap().len() as u64, houses);
    (world, anna, ben)
}

fn key(house: u64) -> Key {
    (HOUSE, row(house))
}

fn note(world: &World, house: u64) -> String {
    world.row(key(house)).unwrap()["note"].as_str().unwrap().into()
}

fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>, part: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains(part), "{part} is not in: {error}");
}

#[test]
fn an_undone_settle_opens_the_case_for_all_who_had_seen_it() {
    let (mut world, _, mut ben) = cases(1);
    let number = world.hub.cases().unwrap()[0].number;
    refused(world.hub.undo(number, NOW_S), "is open: there is nothing to undo");
    refused(world.hub.undo(99, NOW_S), "no case 99");
    world.hub.settle(number, &Decision::Pick(1), NOW_S).unwrap();
    world.settle();
    assert_eq!(note(&world, 1), "broken");
    // Whoever was shown the decision edits on: no case, until the decision is undone.
    let sold = world.enter(1, &mut ben, Op::Update, key(1), &[(2, text("sold"))], 50).dot;
    world.settle();
    assert_eq!((note(&world, 1), world.hub.cases().unwrap().len()), ("sold".into(), 0));
    let undone = world.hub.undo(number, NOW_S).unwrap();
    world.settle();
    let open = &world.hub.cases().unwrap()[0];
    assert_eq!((undone.case, open.number != number), (Some(open.number), true));
    let (_, candidates) = world.hub.case(open.number).unwrap();
    let candidates: Vec<_> = candidates.iter().map(|one| one.dot).collect();
    // Ben's edit joined the case and took the place of his own.
    assert!(candidates.len() == 2 && candidates.contains(&sold), "{candidates:?}");
    assert_eq!(note(&world, 1), "broken");
    for site in &world.sites {
        assert_eq!(site.rows[&key(1)].review, [2]);
    }
    world.check();
    let history = world.hub.history("house", row(1)).unwrap();
    let settle = history.iter().find(|past| past.dot == undone.settle).unwrap();
    assert_eq!((&settle.fate, settle.rulings.len()), (&Fate::Undone, 1));
    refused(world.hub.undo(number, NOW_S), "its settle is undone already");
    // Settled anew, it is closed for good, or until that is undone too.
    let anew = undone.case.unwrap();
    world.hub.settle(anew, &Decision::Value("gone".into()), NOW_S).unwrap();
    world.settle();
    assert_eq!((note(&world, 1), world.hub.cases().unwrap().len()), ("gone".into(), 0));
    world.check();
}

#[test]
fn a_case_that_people_closed_has_no_settle_to_undo() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    world.enter(0, &mut anna, Op::Insert, key(1), &[(3, Delta::Add(900))], 100);
    world.settle();
    world.enter(0, &mut anna, Op::Update, key(1), &[(3, Delta::Add(200))], 200);
    world.settle();
    let number = world.hub.cases().unwrap()[0].number;
    world.enter(1, &mut ben, Op::Update, key(1), &[(3, Delta::Add(-300))], 300);
    world.settle();
    refused(world.hub.undo(number, NOW_S), "was closed by no decision about it");
    let closed = world.hub.closed_cases(10).unwrap();
    assert_eq!((closed.len(), closed[0].2), (1, false));
}

#[test]
fn a_settled_total_and_a_settled_twin_are_undone() {
    let (mut world, mut anna, mut ben) = cases(1);
    world.enter(0, &mut anna, Op::Update, key(1), &[(3, Delta::Add(1_500))], 400);
    world.enter(0, &mut anna, Op::Insert, key(2), &[(4, text("A"))], 400);
    world.enter(1, &mut ben, Op::Insert, key(3), &[(4, text("A"))], 400);
    world.settle();
    let before = world.export();
    for case in world.hub.cases().unwrap() {
        let value = ["x", "7", "B"][usize::from(case.field) - 2];
        let settled = world.hub.settle(case.number, &Decision::Value(value.into()), NOW_S);
        // The twin of one that was settled waits no more.
        assert!(settled.is_ok() || case.field == 4, "{settled:?}");
    }
    world.settle();
    assert_eq!(world.row(key(1)).unwrap()["count"], 7);
    assert_eq!(world.hub.cases().unwrap(), []);
    let closed = world.hub.closed_cases(10).unwrap();
    for (case, ..) in closed.iter().filter(|(.., settled)| *settled) {
        world.hub.undo(case.number, NOW_S).unwrap();
    }
    world.settle();
    assert_eq!(world.export(), before);
    assert_eq!(world.hub.cases().unwrap().len(), 4);
    world.check();
}

#[test]
fn many_cases_are_settled_alike() {
    let (mut world, mut anna, _) = cases(3);
    let of = ("house", "note");
    let join = Decision::Join(" / ".into());
    let would = world.hub.would_settle(of, &join).unwrap();
    assert_eq!(would.done.len(), 3);
    assert_eq!(would.done[0].1, "broken / mended");
    assert_eq!(world.hub.cases().unwrap().len(), 3, "nothing is done");
    let first = world.hub.cases().unwrap()[0].number;
    world.hub.settle(first, &join, NOW_S).unwrap();
    world.hub.settle_alike(of, &Decision::Site("site-0".into()), NOW_S).unwrap();
    world.settle();
    assert_eq!([1, 2, 3].map(|house| note(&world, house)), ["broken / mended", "broken", "broken"]);
    assert_eq!(world.hub.cases().unwrap(), []);
    world.check();
    // Each is undone by itself, and settled by another rule.
    let numbers: Vec<u64> =
        world.hub.closed_cases(10).unwrap().iter().map(|(case, ..)| case.number).collect();
    for number in numbers {
        world.hub.undo(number, NOW_S).unwrap();
    }
    let nobody = world.hub.settle_alike(of, &Decision::Site("site-7".into()), NOW_S).unwrap();
    assert_eq!(
        (nobody.done.len(), &nobody.left[0].1[..]),
        (0, "no candidate is of site \"site-7\"")
    );
    world.hub.settle_alike(of, &Decision::Newest, NOW_S).unwrap();
    world.settle();
    assert_eq!(note(&world, 1), "mended");
    let none = world.hub.settle_alike(of, &Decision::Newest, NOW_S).unwrap();
    assert_eq!(none, Settled::default());
    refused(
        world.hub.settle_alike(("house", "nota"), &Decision::Newest, NOW_S),
        "no field \"nota\"",
    );
    world.enter(0, &mut anna, Op::Update, key(1), &[(3, Delta::Add(2_000))], 400);
    world.settle();
    let parts = world.hub.settle_alike(("house", "count"), &join, NOW_S).unwrap();
    assert!(
        parts.left[0].1.contains("house.count holds no text that could be joined"),
        "{parts:?}"
    );
    let newest = world.hub.settle_alike(("house", "count"), &Decision::Newest, NOW_S).unwrap();
    assert!(newest.left[0].1.contains("the newest candidate is a part of the value"), "{newest:?}");
}

#[test]
fn a_case_says_what_each_had_seen() {
    let (mut world, _, mut ben) = cases(1);
    let number = world.hub.cases().unwrap()[0].number;
    world.enter(1, &mut ben, Op::Update, key(1), &[(2, text("sold"))], 400);
    let mut cleo = Device::new(3);
    let stranger = cleo.change(Op::Update, key(1), &[(2, text("mine"))], 500);
    world.sites[0].enter(&cleo, stranger);
    world.settle();
    let (_, candidates) = world.hub.case(number).unwrap();
    let seen: Vec<Option<Value>> = candidates.into_iter().map(|one| one.had_seen).collect();
    let value = |text: &str| Some(Value::Text(text.into()));
    // Anna had been shown the new house, Ben the open case, Cleo no such row.
    assert_eq!(seen, [value("new"), value("mended"), None]);
}

/// A row that an operator let go takes its children with it, and brings them back.
#[test]
fn an_undone_delete_brings_back_what_went_with_it() {
    let schema = "name = \"x\"\n[tables.house]\ndelete = \"review\"\n[tables.house.fields]\n\
                  name = { type = \"text\" }\n[tables.person.fields]\n\
                  house = { type = \"reference\", table = \"house\", on_delete = \"cascade\" }\n";
    let mut world = World::with(2, schema);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let person = (2, row(2));
    world.enter(0, &mut anna, Op::Insert, key(1), &[(1, text("a"))], 100);
    world.enter(0, &mut anna, Op::Insert, person, &[(1, crate::world::refer(row(1)))], 100);
    world.settle();
    world.enter(0, &mut anna, Op::Delete, key(1), &[], 200);
    world.enter(1, &mut ben, Op::Update, key(1), &[(1, text("b"))], 200);
    world.settle();
    let before = world.export();
    let number = world.hub.cases().unwrap()[0].number;
    world.hub.settle(number, &Decision::Value("delete".into()), NOW_S).unwrap();
    world.settle();
    assert_eq!((world.row(key(1)), world.row(person)), (None, None));
    world.check();
    world.hub.undo(number, NOW_S).unwrap();
    world.settle();
    assert_eq!(world.export(), before);
    assert!(world.row(person).is_some() && world.sites[1].rows[&person].live);
    world.check();
}
