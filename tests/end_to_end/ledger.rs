//! The ledger at both ends, when everything has come to rest.
use anyhow::{Result, ensure};
use wadi_harness::figures::{HandheldFigures, HubFigures, number};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::records::Record;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

/// Every acknowledged change is durable at the hub, by every account: each
/// handheld's, each gateway's, the hub's.
pub fn settled(
    world: &World,
    devices: &[(Handheld, Vec<Record>)],
    link: &Link,
    changes: usize,
) -> Result<()> {
    for (handheld, records) in devices {
        until("the handheld to hear that all is durable", PATIENCE, || {
            handheld.sync_well(link, PATIENCE)?;
            let figures = HandheldFigures::ask(handheld)?;
            let wanted = HandheldFigures { open: 0, held_back: 0, durable: records.len() as i64 };
            Ok(Look::when(figures == wanted, || format!("{figures:?}")))
        })?;
    }
    let hub = HubFigures::ask(&world.hub.operator)?;
    ensure!(
        hub.durable == changes as i64,
        "{changes} changes were acknowledged, the hub has {hub:?}"
    );
    ensure!(hub.parked == 0 && hub.quarantined == 0, "{hub:?}");
    // Exit code 1 if the books do not balance.
    let ledger = world.hub.operator.json(&["ledger"])?;
    ensure!(number(&ledger, "missing")? == 0, "{ledger}");
    ensure!(number(&ledger, "committed")? == changes as i64, "{ledger}");
    let mut brought = 0;
    for gateway in &world.gateways {
        let total = gateway.json(&["ledger"])?["total"].clone();
        let committed = number(&total, "committed")?;
        ensure!(number(&total, "changes")? == committed, "not all is at the hub: {total}");
        brought += committed;
    }
    // A handheld that roamed may have offered a change at two gateways.
    ensure!(
        brought >= changes as i64,
        "{changes} changes were acknowledged, gateways have {brought}"
    );
    Ok(())
}
