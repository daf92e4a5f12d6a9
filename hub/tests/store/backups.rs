//! What gateways hear of the hub's backup: up to where they are no longer needed.
use wadi_hub::store::Store;
use wadi_protocol::change::Op;
use wadi_protocol::wire::batch::Batch;

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, World, row, text};

/// The watermark that the next page of the first site tells.
fn told(world: &mut World) -> u64 {
    let batch = Batch::default();
    let site = &mut world.sites[0];
    let mut answers = Vec::new();
    for up in site.prepare(&batch) {
        answers.extend(world.hub.hear(site.number, &up, NOW_S).unwrap());
    }
    let page = site.page(&answers);
    let committed = site.commit(&mut world.hub);
    site.finish(&batch, &page, &committed);
    page.backup
}

#[test]
fn a_page_tells_how_far_a_backup_reaches() {
    let mut world = World::new(1);
    let mut anna = Device::new(1);
    let mut enter = |world: &mut World, number| {
        let name = [(1, text("a"))];
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(number)), &name, 100);
        world.settle();
    };
    enter(&mut world, 1);
    assert_eq!(told(&mut world), 0, "there is none");
    let head = |world: &World| world.hub.status().unwrap().head;
    let first = world.folder.path().join("first.backup");
    world.hub.backup(&first, false, NOW_S).unwrap();
    let reached = head(&world);
    assert_eq!((told(&mut world), reached > 0), (reached, true));
    enter(&mut world, 2);
    assert_eq!(told(&mut world), reached, "the rest is in none");
    world.crash();
    assert_eq!(told(&mut world), reached, "whatever the run");
    let second = world.folder.path().join("second.backup");
    world.hub.backup(&second, false, NOW_S).unwrap();
    assert_eq!(told(&mut world), head(&world));

    // The first one put in its place holds no more than itself.
    let mut restored = Store::open(&first).unwrap();
    restored.begin_run(NOW_S).unwrap();
    let watermark = restored.watermark().unwrap().unwrap();
    assert_eq!(watermark.seq, reached);
}
