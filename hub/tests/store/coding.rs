//! Changesets and pages against models: both ends find a common one.
use wadi_protocol::change::Op;
use wadi_protocol::limits::MODEL_ENTRIES_MAX;
use wadi_protocol::value::Value;
use wadi_protocol::wire::coded::{CODEC_NEWEST, ModelName, Named, Writing, read_batch, writing};
use wadi_protocol::wire::coded_page::read_page;
use wadi_protocol::wire::downlink;
use wadi_protocol::wire::message::{Down, DownBody, Prepare, UpBody, page_hash};

use crate::model::{Device, NOW_S, Site};
use crate::models::Models;
use crate::world::{HOUSE, World, row, text};

fn update(world: &mut World, device: &mut Device, value: &str) {
    world.enter(1, device, Op::Update, (HOUSE, row(1)), &[(1, text(value))], 200);
}

/// A world whose second site has had a round with changes both ways.
fn begun() -> (World, Device) {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    world.enter(1, &mut anna, Op::Insert, (HOUSE, row(1)), &[(1, text("a"))], 100);
    world.settle();
    assert!(world.sites[1].models.is_some(), "the second site writes against models");
    (world, anna)
}

/// What the hub says to a changeset as the site writes it now.
fn said(world: &mut World) -> DownBody {
    let site = world.sites[1].clone();
    let mut answers = Vec::new();
    for up in site.prepare(&site.batch()) {
        answers.extend(world.hub.hear(site.number, &up, NOW_S).unwrap());
    }
    answers.remove(0).body
}

#[test]
fn what_comes_again_takes_few_bytes() {
    let (mut world, mut anna) = begun();
    let mut sizes = Vec::new();
    for at in 0..20 {
        update(&mut world, &mut anna, &format!("value {}", at % 3));
        let site = &world.sites[1];
        let UpBody::Prepare(head) = &site.prepare(&site.batch())[0].body else { panic!() };
        sizes.push(head.bytes);
        world.settle();
    }
    assert!(sizes[19] <= 16, "{sizes:?}");
    assert!(sizes[0] > sizes[19], "{sizes:?}");
}

#[test]
fn a_restored_gateway_goes_on_with_the_model_that_it_has() {
    let (mut world, mut anna) = begun();
    let old = world.sites[1].models.clone().unwrap();
    for at in 0..5 {
        update(&mut world, &mut anna, &format!("value {at}"));
        world.settle();
    }
    let newest = world.sites[1].models.clone().unwrap();
    assert_ne!(old.up.name, newest.up.name);
    // The hub reads what is written against an older one, and writes pages against that.
    world.sites[1].models = Some(old.clone());
    update(&mut world, &mut anna, "restored");
    assert!(matches!(said(&mut world), DownBody::Prepared(_)));
    world.settle();
    // Now the newer ones are no more: they were taught otherwise.
    let goes_on = world.sites[1].models.clone();
    world.sites[1].models = Some(Models { down: goes_on.clone().unwrap().down, ..newest.clone() });
    update(&mut world, &mut anna, "the copy");
    let DownBody::OtherModel { codec, of, holds } = said(&mut world) else { panic!() };
    assert_eq!((codec, of), (CODEC_NEWEST, Some(newest.up.name)));
    assert_eq!(holds.first(), Some(&goes_on.as_ref().unwrap().up.name));
    assert!(holds.contains(&old.up.name), "the one that both have: {holds:?}");
    // Written anew it is the same round.
    world.sites[1].models = goes_on;
    assert!(matches!(said(&mut world), DownBody::Prepared(_)));
    world.settle();
}

#[test]
fn an_unknown_model_or_a_newer_way_of_writing_is_no_error() {
    let (mut world, mut anna) = begun();
    update(&mut world, &mut anna, "b");
    let site = world.sites[1].clone();
    let UpBody::Prepare(head) = site.prepare(&site.batch())[0].body.clone() else { panic!() };
    for (first, of) in [
        ([&[2, 9, 9, 9, 9][..], &head.first[5..]].concat(), Some(ModelName([9; 4]))),
        // Of the right name, and spoilt.
        ([&head.first[..5], &[0xa5; 9]].concat(), Some(site.models.as_ref().unwrap().up.name)),
        (vec![7, 1, 2, 3], None),
    ] {
        let head = Prepare { bytes: first.len() as u32, first, ..head.clone() };
        let up = site.up(UpBody::Prepare(head));
        let answers = world.hub.hear(site.number, &up, NOW_S).unwrap();
        let [Down { body, .. }] = &answers[..] else { panic!() };
        let DownBody::OtherModel { of: asked, holds, .. } = body else { panic!("{body:?}") };
        assert_eq!(*asked, of);
        assert!(of.is_none_or(|of| !holds.contains(&of)));
    }
    // Nothing is staged of them, and the round is as good as before.
    world.settle();
}

#[test]
fn a_page_is_written_anew_for_who_asks_with_another_model() {
    let (mut world, mut anna) = begun();
    let mut bert = Device::new(2);
    world.enter(0, &mut bert, Op::Insert, (HOUSE, row(2)), &[(1, text("x"))], 100);
    world.sites[0].settle(&mut world.hub);
    update(&mut world, &mut anna, "b");
    let site = world.sites[1].clone();
    let ask = |world: &mut World, model: ModelName, codec: u8| {
        let UpBody::Prepare(head) = site.prepare(&site.batch())[0].body.clone() else { panic!() };
        let up = site.up(UpBody::Prepare(Prepare { model, codec, ..head }));
        let answers = world.hub.hear(site.number, &up, NOW_S).unwrap();
        let DownBody::Prepared(prepared) = &answers[0].body else { panic!("{answers:?}") };
        (prepared.page, prepared.first.clone())
    };
    let down = site.models.as_ref().unwrap().down.clone();
    let (_, first) = ask(&mut world, down.name, CODEC_NEWEST);
    assert_eq!(writing(&first), Writing::Against(down.name, &first[5..]));
    let (hash, first) = ask(&mut world, ModelName([1; 4]), CODEC_NEWEST);
    let Writing::Against(name, _) = writing(&first) else { panic!() };
    assert_eq!(name, ModelName::empty(), "of a model that is not here nothing is known");
    let page = read_page(&first, Some(&Named::empty())).unwrap().0;
    let stand = (site.chain, site.cursors);
    assert_eq!(page_hash(stand, &downlink::encode(&page)), hash);
    let (_, first) = ask(&mut world, down.name, 1);
    assert_eq!(writing(&first), Writing::Plain);
    world.settle();
}

/// A link of years: models are stored now and then, and what is stored stays bounded.
#[test]
fn what_is_stored_of_models_is_bounded() {
    let (mut world, mut anna) = begun();
    let count = |world: &World, of: &str| -> i64 {
        let db = rusqlite::Connection::open(world.folder.path().join("hub.db")).unwrap();
        let sql = format!("SELECT count(*) FROM wadi_model WHERE direction = 0 AND {of}");
        db.query_row(&sql, (), |row| row.get(0)).unwrap()
    };
    for at in 0..2 * MODEL_ENTRIES_MAX + 40 {
        update(&mut world, &mut anna, &format!("value {}", at % 7));
        let site = &mut world.sites[1];
        site.sync(&mut world.hub);
    }
    assert_eq!(count(&world, "whole"), 2);
    assert!(count(&world, "NOT whole") <= 2 * MODEL_ENTRIES_MAX as i64);
    // Made again from what is stored, by a hub that has just started, it is the same.
    world.crash();
    update(&mut world, &mut anna, "the last");
    let site = world.sites[1].clone();
    let UpBody::Prepare(head) = &site.prepare(&site.batch())[0].body else { panic!() };
    let up = site.models.as_ref().unwrap().up.clone();
    assert!(read_batch(&head.first, Some(&up)).is_ok());
    assert!(matches!(said(&mut world), DownBody::Prepared(_)));
    world.settle();
}

#[test]
fn sites_that_write_plainly_are_served_beside() {
    let (mut world, mut anna) = begun();
    world.sites[1].models = None;
    update(&mut world, &mut anna, "plainly");
    world.settle();
    let site: &Site = &world.sites[1];
    assert_eq!(site.rows[&(HOUSE, row(1))].fields[&1], Value::Text("plainly".into()));
}
