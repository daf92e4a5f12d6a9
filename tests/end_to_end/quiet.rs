//! The workload on links that work: 5,000 changes through a pty and through TCP.
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::model::Model;
use wadi_harness::plan::Plan;
use wadi_harness::records::{self, Record, by_device};
use wadi_harness::tables::Tables;

use crate::ledger;
use crate::world::{PATIENCE, World};

const CHANGES: usize = 5_000;
/// These come over the serial line; some 1,500 changes at 115200 baud.
const SERIAL_DEVICES: [&str; 2] = ["drv-3", "agri-1"];

/// All records enter at the first gateway; the second only receives.
#[test]
fn five_thousand_changes_through_a_pty_and_tcp_equal_the_model_everywhere() {
    let schema = records::sample_schema().unwrap();
    let records = records::sample(CHANGES).unwrap();
    let mut world = World::start(&schema, 2, true, 1).unwrap();
    let devices: Vec<(Handheld, Vec<Record>)> = by_device(&records)
        .into_iter()
        .map(|(device, records)| (world.handheld(&device), records))
        .collect();
    let is_serial = |handheld: &Handheld| {
        SERIAL_DEVICES
            .iter()
            .any(|name| handheld.database().ends_with(format!("handheld-{name}.db")))
    };
    let (serial, tcp): (Vec<_>, Vec<_>) =
        devices.into_iter().partition(|(handheld, _)| is_serial(handheld));
    let (line, lan) = (world.serial(), world.lan(0));
    std::thread::scope(|scope| {
        // One line carries one handheld at a time; TCP carries them side by side.
        scope.spawn(|| collect(&serial, &line));
        for handheld in tcp.chunks(3) {
            let lan = &lan;
            scope.spawn(move || collect(handheld, lan));
        }
    });
    let expected = Model::of(&world.plan, &records).unwrap().tables();
    world.until_all_equal(&expected, PATIENCE).unwrap();
    ledger::settled(&world, &[&serial[..], &tcp[..]].concat(), &lan, CHANGES).unwrap();
    a_replica_equals(&world.plan, &world.handheld("reader"), &world.lan(1), &expected);
    world.stop().unwrap();
}

/// Import in two halves, each followed by a sync.
fn collect(devices: &[(Handheld, Vec<Record>)], link: &Link) {
    for (handheld, records) in devices {
        for half in records.chunks(records.len().div_ceil(2)) {
            handheld.import(half).unwrap();
            handheld.sync_well(link, PATIENCE * 2).unwrap();
        }
    }
}

/// A handheld that never wrote anything is shown the same by the second gateway.
fn a_replica_equals(plan: &Plan, reader: &Handheld, link: &Link, expected: &Tables) {
    reader.sync_well(link, PATIENCE).unwrap();
    let found = Tables::read(reader.database(), plan).unwrap();
    assert_eq!(expected.differences(&found), Vec::<String>::new());
}
