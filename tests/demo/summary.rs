//! What the demo leaves on the screen: what was moved, whether it is equal, and
//! where to look.
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wadi_harness::relay::Relay;
use wadi_harness::tables::summary;

use crate::compare::Verdict;
use crate::progress::{Totals, bytes};
use crate::stage::Stage;

/// Print it.
pub fn print(stage: &Stage, totals: &Totals, verdict: &Verdict, took: Duration, out: &Path) {
    println!("\n{:<24}{:>10}{:>12}{:>12}", "rows", "hub", "gateway-1", "gateway-2");
    for (table, counts) in &verdict.rows {
        println!("{table:<24}{:>10}{:>12}{:>12}", counts[0], counts[1], counts[2]);
    }
    let figures = &totals.figures;
    println!(
        "\n{} changes collected by {} handhelds in {} s: {} durable, {} parked, {} in quarantine; {} conflicts, {} in review.",
        totals.collected,
        stage.crews.len(),
        took.as_secs(),
        figures.durable,
        figures.parked,
        figures.quarantined,
        figures.conflicts,
        figures.reviews,
    );
    println!(
        "Links cut {} times between gateways and hub, {} times between handhelds and gateways, {} times on the serial line.",
        cuts(&stage.uplinks),
        cuts(&stage.lans),
        stage.line.trouble().cuts.load(Ordering::Relaxed),
    );
    let json = 2 * totals.json_bytes as u64;
    println!(
        "{} on the MQTT links, all told (up from one gateway, down to the other); the same records as JSON: {}.",
        bytes(totals.link_bytes),
        bytes(json),
    );
    for (name, differences) in &verdict.pairs {
        match differences.is_empty() {
            true => println!("hub = {name}: every row and field."),
            false => println!("hub ≠ {name}: {}", summary(differences)),
        }
    }
    try_these(stage, verdict, out);
}

fn cuts(relays: &[Relay]) -> u64 {
    relays.iter().map(|relay| relay.trouble().cuts.load(Ordering::Relaxed)).sum()
}

/// Where the databases are, and what to ask them.
fn try_these(stage: &Stage, verdict: &Verdict, out: &Path) {
    println!("\nThe databases:");
    let handhelds = stage.crews.iter().map(|crew| crew.handheld.database());
    for path in stage.databases().into_iter().map(|(_, path)| path).chain(handhelds) {
        println!("  {}", path.display());
    }
    let largest = verdict.rows.iter().max_by_key(|(_, counts)| counts[0]);
    let Some((table, _)) = largest else { return };
    let (hub, gateway) = (out.join("hub.db"), out.join("gateway-2.db"));
    println!("\nTry:");
    println!("  sqlite3 -header {} 'SELECT * FROM {table}_view LIMIT 5'", hub.display());
    println!("  sqlite3 {} 'SELECT count(*) FROM {table}'", gateway.display());
    let config = out.join("hub.toml");
    println!("  wadi-hub --config {} status", config.display());
    let last = stage
        .crews
        .iter()
        .flat_map(|crew| &crew.trickle)
        .filter(|(_, record)| record.json["op"] == "update")
        .max_by_key(|(place, _)| *place);
    if let Some((_, record)) = last {
        let (table, id) = (record.json["table"].as_str(), record.json["id"].as_str());
        println!(
            "  wadi-hub --config {} history {} {}",
            config.display(),
            table.unwrap_or_default(),
            id.unwrap_or_default()
        );
    }
}
