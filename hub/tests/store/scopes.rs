//! Who receives what: scopes, lanes, pages, commands beside a serving store.
use wadi_hub::store::Store;
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::limits::DOWNLINK_BYTES_TARGET;
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use crate::model::{Device, NOW_S, Site};
use crate::world::{ALARM, HOUSE, LOCAL, REMARK, REPORT, World, enrol, refer, row, text};

#[test]
fn rows_go_where_their_scope_says() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    world.enter(0, &mut anna, Op::Insert, (LOCAL, row(1)), &[(1, text("mine"))], 100);
    world.enter(0, &mut anna, Op::Insert, (REPORT, row(2)), &[(1, text("up"))], 100);
    world.settle();
    assert!(world.sites[0].rows.contains_key(&(LOCAL, row(1))));
    assert!(!world.sites[1].rows.contains_key(&(LOCAL, row(1))));
    for site in &world.sites {
        assert!(!site.rows.contains_key(&(REPORT, row(2))), "upload rows stay at the hub alone");
    }
    assert!(world.row((REPORT, row(2))).is_some());
    world.check();
}

/// Two sites; the first one's device made both rows.
fn a_local_row_that_a_remark_brings_to_the_other_site() -> (World, Device) {
    let (mut world, mut anna) = (World::new(2), Device::new(1));
    world.enter(0, &mut anna, Op::Insert, (LOCAL, row(1)), &[(1, text("mine"))], 100);
    world.enter(0, &mut anna, Op::Insert, (REMARK, row(2)), &[(1, refer(row(1)))], 101);
    world.settle();
    (world, anna)
}

#[test]
fn a_scope_includes_its_parents_and_lets_them_go() {
    let (mut world, mut anna) = a_local_row_that_a_remark_brings_to_the_other_site();
    let (mut ben, local, remark) = (Device::new(2), (LOCAL, row(1)), (REMARK, row(2)));
    assert_eq!(world.sites[1].rows[&local].fields[&1], Value::Text("mine".into()));
    world.enter(0, &mut anna, Op::Update, local, &[(1, text("renamed"))], 102);
    world.settle();
    assert_eq!(world.sites[1].rows[&local].fields[&1], Value::Text("renamed".into()));
    world.check();
    let none = Delta::Set(Value::Null);
    world.enter(1, &mut ben, Op::Update, remark, &[(1, none)], 103);
    world.settle();
    assert!(!world.sites[1].rows.contains_key(&local), "nothing refers to it here any more");
    assert!(world.sites[0].rows.contains_key(&local));
    world.check();
}

/// Somebody edits a row while it leaves the site: the edit counts, the row still goes.
#[test]
fn an_edit_in_flight_of_a_row_that_left_counts_and_the_row_leaves_again() {
    let (mut world, mut anna) = a_local_row_that_a_remark_brings_to_the_other_site();
    let (mut ben, local, remark) = (Device::new(2), (LOCAL, row(1)), (REMARK, row(2)));
    let edit = world.enter(1, &mut ben, Op::Update, local, &[(1, text("by ben"))], 200).dot;
    world.enter(0, &mut anna, Op::Delete, remark, &[], 201);
    world.sync(0);
    world.settle();
    assert!(matches!(world.sites[1].outcomes[&edit], Outcome::Applied { .. }));
    assert_eq!(world.row(local).unwrap()["name"], "by ben");
    assert_eq!(world.sites[0].rows[&local].fields[&1], Value::Text("by ben".into()));
    assert!(!world.sites[1].rows.contains_key(&local), "no orphan stays behind");
    world.check();
    // Made by whoever has not heard that it left.
    let late = ben.change(Op::Update, local, &[(1, text("late"))], 300);
    world.sites[1].enter(&ben, late);
    world.settle();
    assert_eq!(world.row(local).unwrap()["name"], "late");
    assert!(!world.sites[1].rows.contains_key(&local), "it was told to let go once more");
    world.check();
}

#[test]
fn a_new_site_gets_everything_page_by_page() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    let long = "x".repeat(300);
    for number in 0..600 {
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(number)), &[(1, text(&long))], 100);
        if number % 100 == 99 {
            world.sync(0);
        }
    }
    world.enter(0, &mut anna, Op::Insert, (ALARM, row(1000)), &[(1, text("fire"))], 100);
    world.settle();
    let mut late = Site::new(enrol(&mut world.hub, "late"));
    late.sync(&mut world.hub);
    assert!(late.rows.contains_key(&(ALARM, row(1000))), "urgent rows come first");
    assert!(late.more && !late.rows.contains_key(&(HOUSE, row(599))));
    late.settle(&mut world.hub);
    assert!(late.page_bytes_most <= DOWNLINK_BYTES_TARGET + 1024, "{}", late.page_bytes_most);
    assert!(late.cursors[1] >= 600);
    world.sites.push(late);
    world.check();
}

#[test]
fn own_changes_stay_home() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    world.enter(
        0,
        &mut anna,
        Op::Insert,
        (HOUSE, row(1)),
        &[(1, text("x")), (3, Delta::Add(2))],
        100,
    );
    world.enter(0, &mut anna, Op::Update, (HOUSE, row(1)), &[(3, Delta::Add(2))], 101);
    world.sync(0);
    assert!(!world.sites[0].more, "there is nothing to fetch");
    assert_eq!(world.hub.behind().unwrap(), []);
    let ups = world.sites[0].prepare(&Default::default());
    let answers = world.hub.hear(world.sites[0].number, &ups[0], NOW_S).unwrap();
    assert_eq!(world.sites[0].page(&answers).rows, []);
    let committed = world.sites[0].commit(&mut world.hub);
    let page = world.sites[0].page(&answers);
    world.sites[0].finish(&Default::default(), &page, &committed);
    world.check();
    assert!(world.sites[0].rows[&(HOUSE, row(1))].live);
}

#[test]
fn commands_run_beside_a_serving_store() {
    let mut world = World::new(1);
    let before = world.hub.data_version().unwrap();
    let mut beside = Store::open(&world.folder.path().join("hub.db")).unwrap();
    let wider = crate::world::SCHEMA.replace(
        "[tables.person]",
        "[tables.extra.fields]\ntext = { type = \"text\" }\n[tables.person]",
    );
    beside.publish_schema(&wider, NOW_S).unwrap();
    assert_ne!(world.hub.data_version().unwrap(), before);
    assert_eq!(world.hub.behind().unwrap(), [world.sites[0].number]);
    world.settle();
    assert_eq!(world.sites[0].schema.as_ref().unwrap().version, 2);
    assert!(world.sites[0].schema.as_ref().unwrap().table_named("extra").is_some());
}

#[test]
fn a_schema_that_narrows_is_refused() {
    let mut world = World::new(0);
    let narrower = crate::world::SCHEMA
        .replace("caption = { type = \"text\" }", "caption = { type = \"integer\" }");
    let error = world.hub.publish_schema(&narrower, NOW_S).unwrap_err().to_string();
    assert!(error.contains("photo.caption"), "{error}");
    assert!(world.hub.check_schema("name = 7").is_err());
    assert_eq!(world.schema().version, 1);
}
