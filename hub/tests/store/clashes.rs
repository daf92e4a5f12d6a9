//! Two different changes under one dot: nothing is lost, and who came first keeps it.
use wadi_protocol::change::{Change, Group, Op};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::message::Outcome;

use crate::model::Device;
use crate::world::{HOUSE, World, row, text};

/// Clashes that the hub keeps of one gateway.
const CLASHES_MAX: usize = 1_024;

fn insert(device: &mut Device, at: u64, name: &str) -> Change {
    device.change(Op::Insert, (HOUSE, row(at)), &[(1, text(name))], 100)
}

#[test]
fn a_forged_number_does_not_swallow_the_true_change() {
    let mut world = World::new(2);
    let (mut anna, mut forger) = (Device::new(1), Device::new(1));
    let forged = insert(&mut forger, 1, "forged");
    let before = world.hub.ledger().unwrap();
    world.sites[1].enter(&forger, forged);
    world.sync(1);
    let truth = insert(&mut anna, 2, "true");
    let dot = world.sites[0].enter(&anna, truth.clone());
    world.sync(0);
    assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined);
    let reason = &world.sites[0].reasons[&dot];
    for words in ["another change has this number since 2027-", "by gateway 2", "quarantine list"] {
        assert!(reason.contains(words), "{reason}");
    }
    let kept = world.hub.quarantined_changes(dot).unwrap();
    assert_eq!((kept.len(), &kept[0].change, &kept[0].reason), (1, &truth, reason));
    assert_eq!((kept[0].site.as_str(), kept[0].round), ("site-0", world.sites[0].round - 1));
    let first = kept[0].first.as_ref().unwrap();
    assert_eq!((first.site.as_str(), first.round), ("site-1", world.sites[1].round - 1));
    let ledger = world.hub.ledger().unwrap();
    assert_eq!((before.runs.len(), ledger.runs.len()), (0, 1));
    assert_eq!((ledger.runs[0].committed, ledger.runs[0].clashes), (1, 1));
    assert_eq!(world.hub.status().unwrap().quarantined, 1);
    // The forger's own goes on, and so does everybody else's.
    assert!(world.row((HOUSE, row(1))).is_some() && world.row((HOUSE, row(2))).is_none());
    let more = insert(&mut anna, 3, "next");
    world.sites[0].enter(&anna, more);
    world.settle();
    assert!(world.row((HOUSE, row(3))).is_some());
    world.check();
}

#[test]
fn the_same_clash_by_another_route_is_kept_once() {
    let mut world = World::new(3);
    let (mut anna, mut copy) = (Device::new(1), Device::new(1));
    let (one, other) = (insert(&mut anna, 1, "one"), insert(&mut copy, 2, "other"));
    let dot = one.dot;
    world.sites[0].enter(&anna, one);
    world.sync(0);
    for site in 1..3 {
        world.sites[site].enter(&copy, other.clone());
        world.sync(site);
        assert_eq!(world.sites[site].outcomes[&dot], Outcome::Quarantined);
    }
    assert_eq!(world.hub.quarantined_changes(dot).unwrap().len(), 1);
    world.settle();
    world.check();
}

#[test]
fn a_stamp_of_containment_is_no_other_change() {
    let mut world = World::new(3);
    let mut anna = Device::new(1);
    let made = insert(&mut anna, 1, "one");
    for (site, seconds) in [(0, None), (1, Some(90)), (2, Some(80))] {
        let contained = seconds.map(|seconds| Stamp { seconds, counter: 0 });
        world.sites[site].enter(&anna, Change { contained, ..made.clone() });
        world.sync(site);
    }
    assert!(matches!(world.sites[0].outcomes[&made.dot], Outcome::Applied { .. }));
    for site in 1..3 {
        assert!(matches!(world.sites[site].outcomes[&made.dot], Outcome::Known { .. }));
    }
    world.settle();
    world.check();
}

#[test]
fn a_number_in_quarantine_does_not_swallow_another_change() {
    let mut world = World::new(2);
    let (mut anna, mut forger) = (Device::new(1), Device::new(1));
    let poison = forger.change(
        Op::Insert,
        (HOUSE, row(1)),
        &[(1, wadi_protocol::change::Delta::Set(Value::Int(1)))],
        100,
    );
    let dot = world.sites[1].enter(&forger, poison.clone());
    world.sync(1);
    let truth = insert(&mut anna, 2, "true");
    world.sites[0].enter(&anna, truth.clone());
    world.sync(0);
    assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined);
    assert!(world.sites[0].reasons[&dot].contains("another change has this number"));
    let mut kept: Vec<Change> =
        world.hub.quarantined_changes(dot).unwrap().into_iter().map(|one| one.change).collect();
    kept.sort_by_key(|change| change.row);
    assert_eq!(kept, [poison, truth]);
    world.settle();
    world.check();
}

#[test]
fn two_changes_of_one_number_in_one_changeset() {
    let mut world = World::new(1);
    let (mut anna, mut copy) = (Device::new(1), Device::new(1));
    let (one, other) = (insert(&mut anna, 1, "one"), insert(&mut copy, 2, "other"));
    for change in [&one, &one, &other] {
        world.sites[0].enter(&anna, change.clone());
    }
    let batch = world.sites[0].batch();
    assert_eq!(batch.changes.len(), 3);
    world.sync(0);
    let kept = world.hub.quarantined_changes(one.dot).unwrap();
    assert_eq!((kept.len(), &kept[0].change), (1, &other));
    assert!(world.row((HOUSE, row(1))).is_some());
    assert_eq!(world.hub.ledger().unwrap().wrong, Vec::<String>::new());
}

#[test]
fn a_clash_that_came_after_the_verdict_is_told_later() {
    let mut world = World::new(2);
    let (mut anna, mut forger) = (Device::new(1), Device::new(1));
    let truth = insert(&mut anna, 2, "true");
    let mate = insert(&mut anna, 3, "its mate");
    let group = Some(Group { first: 1, len: 2 });
    let dots = [truth, mate].map(|change| {
        let change = Change { group, ..change };
        world.sites[0].enter(&anna, change)
    });
    let batch = world.sites[0].batch();
    let mut answers = Vec::new();
    for up in world.sites[0].prepare(&batch) {
        answers.extend(world.hub.hear(world.sites[0].number, &up, crate::model::NOW_S).unwrap());
    }
    let page = world.sites[0].page(&answers);
    assert_eq!(page.verdicts, []);
    let forged = insert(&mut forger, 1, "forged");
    world.sites[1].enter(&forger, forged);
    world.sync(1);
    let committed = world.sites[0].commit(&mut world.hub);
    world.sites[0].finish(&batch, &page, &committed);
    world.sync(0);
    for dot in dots {
        assert_eq!(world.sites[0].outcomes[&dot], Outcome::Quarantined, "a group shares custody");
        assert!(world.sites[0].reasons[&dot].contains("another change has this number"));
    }
    world.settle();
    world.check();
}

#[test]
fn beyond_the_limit_of_clashes_the_gateway_holds_them() {
    let mut world = World::new(2);
    let (mut anna, mut copy) = (Device::new(1), Device::new(1));
    for number in 0..=CLASHES_MAX as u64 {
        let one = insert(&mut anna, number, "one");
        world.sites[0].enter(&anna, one);
        let other = insert(&mut copy, 10_000 + number, "other");
        world.sites[1].enter(&copy, other);
    }
    world.sync(0);
    world.sync(1);
    let count = |outcome| world.sites[1].outcomes.values().filter(|&one| *one == outcome).count();
    assert_eq!((count(Outcome::Quarantined), count(Outcome::Held)), (CLASHES_MAX, 1));
    let ledger = world.hub.ledger().unwrap();
    assert_eq!((ledger.wrong, ledger.runs[0].clashes), (Vec::new(), CLASHES_MAX as u64));
}
