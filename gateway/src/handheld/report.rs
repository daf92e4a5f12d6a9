//! What the commands tell people and programs: the end of a sync, the status.
use std::io::{self, Write};

use super::store::{Status, Store};
use super::synced::Synced;

/// The end of a sync, in one line and what is to be known.
pub fn synced(synced: &Synced) {
    if let Some(version) = synced.schema {
        println!("schema version {version} learnt");
    }
    println!(
        "offered {}, durable {}, pulled {}, held back {}, refused {}",
        synced.offered, synced.durable, synced.pulled, synced.held_back, synced.refused
    );
    if let Some((site, key)) = &synced.met {
        eprintln!("first contact with site {site:?}: the key of its gateway is {key}");
    }
    if synced.refused > 0 {
        eprintln!("the gateway refused changes, which stay here: {}", synced.refusal);
    }
    if synced.noise > 0 {
        eprintln!("{} frames were garbled on the line and sent again", synced.noise);
    }
}

/// The status for programs.
pub fn status_json(store: &Store, status: &Status) -> serde_json::Value {
    let undecided: Vec<_> = status
        .undecided
        .iter()
        .map(|change| {
            serde_json::json!({
                "dot": change.dot, "table": change.table, "id": change.row,
                "custody": change.custody, "reason": change.reason,
            })
        })
        .collect();
    let devices: Vec<_> = status
        .devices
        .iter()
        .map(|(label, id, run, seq)| serde_json::json!({"label": label, "device": id, "run": run, "seq": seq}))
        .collect();
    serde_json::json!({
        "device": store.device().label,
        "schema": status.schema,
        "site": status.site,
        "last_sync_s": status.last_sync_s,
        "feed": {"run": status.feed.run.to_string(), "seq": status.feed.seq},
        "changes": status.changes,
        "rows": status.rows,
        "devices": devices,
        "undecided": undecided,
    })
}

/// The status for people.
pub fn status(out: &mut impl Write, store: &Store, status: &Status) -> io::Result<()> {
    writeln!(out, "device       {}", store.device().label)?;
    let synced = match status.last_sync_s {
        Some(second) => jiff::Timestamp::from_second(second as i64)
            .map_or_else(|_| second.to_string(), |time| time.to_string()),
        None => "never".to_owned(),
    };
    let place = status.site.iter().map(|site| format!(" at {site}")).collect::<String>();
    writeln!(out, "last sync    {synced}{place}")?;
    writeln!(
        out,
        "schema       {}",
        if status.schema == 0 { "none yet".into() } else { format!("version {}", status.schema) }
    )?;
    let told = [
        ("pending", "only in this file"),
        ("taken", "at the gateway, not at the hub"),
        ("parked", "at the hub, wait for what they need"),
        ("quarantined", "at the hub, put aside"),
        ("durable", "at the hub"),
    ];
    for (custody, meaning) in told {
        writeln!(out, "{custody:<12} {:>8}  {meaning}", status.changes.get(custody).unwrap_or(&0))?;
    }
    for (table, rows) in &status.rows {
        writeln!(out, "rows         {rows:>8}  {table}")?;
    }
    for change in &status.undecided {
        writeln!(
            out,
            "{}  {} {} {}: {}",
            change.custody, change.dot, change.table, change.row, change.reason
        )?;
    }
    Ok(())
}
