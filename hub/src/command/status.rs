//! `wadi-hub status`.
use std::io::Write;

use serde_json::{Value as Json, json};

use super::{CommandError, line};
use crate::store::Store;
use crate::store::status::{Site, Status};

/// How things stand, at a glance.
pub fn status(
    store: &Store,
    as_json: bool,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let status = store.status()?;
    if as_json {
        return Ok(super::json(out, &as_value(&status, now_s))?);
    }
    match &status.schema {
        Some((name, version)) => writeln!(out, "schema {name}, version {version}")?,
        None => writeln!(out, "no schema: run `wadi-hub schema publish FILE`")?,
    }
    writeln!(
        out,
        "run {}, sequence {}: {} changes applied, {} parked, {} in quarantine",
        status.run, status.head, status.durable, status.parked, status.quarantined
    )?;
    writeln!(out, "{} conflicts, {} cases for people", status.conflicts, status.reviews)?;
    let rows: Vec<String> =
        status.tables.iter().map(|(name, rows)| format!("{name} {rows}")).collect();
    writeln!(out, "rows: {}", if rows.is_empty() { "-".into() } else { rows.join(", ") })?;
    if status.sites.is_empty() {
        writeln!(out, "no gateways: run `wadi-hub gateway add SITE`")?;
        return Ok(());
    }
    writeln!(out)?;
    line(
        out,
        &["gateway", "site", "heard", "rounds", "behind", "to fetch", "parked", "quarantined"],
    )?;
    for site in &status.sites {
        line(
            out,
            &[
                &site.gateway.number.to_string(),
                &site.gateway.site,
                &ago(site.gateway.heard_s, now_s),
                &site.gateway.rounds.to_string(),
                &site.sequences_behind.to_string(),
                if site.behind { "yes" } else { "no" },
                &site.parked.to_string(),
                &site.quarantined.to_string(),
            ],
        )?;
    }
    Ok(())
}

/// How long ago, in the unit that fits.
fn ago(then_s: u64, now_s: u64) -> String {
    if then_s == 0 {
        return "never".into();
    }
    match now_s.saturating_sub(then_s) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

fn as_value(status: &Status, now_s: u64) -> Json {
    let site = |site: &Site| {
        json!({
            "gateway": site.gateway.number.0,
            "site": site.gateway.site,
            "heard_s": site.gateway.heard_s,
            "rounds": site.gateway.rounds,
            "schema": site.gateway.schema,
            "cursors": site.gateway.cursors,
            "behind": site.behind,
            "sequences_behind": site.sequences_behind,
            "parked": site.parked,
            "quarantined": site.quarantined,
        })
    };
    let tables: serde_json::Map<String, Json> =
        status.tables.iter().map(|(name, rows)| (name.clone(), json!(rows))).collect();
    json!({
        "run": status.run.to_string(),
        "head": status.head,
        "schema": status.schema.as_ref().map(|(name, version)| json!({ "name": name, "version": version })),
        "tables": tables,
        "durable": status.durable,
        "parked": status.parked,
        "quarantined": status.quarantined,
        "conflicts": status.conflicts,
        "reviews": status.reviews,
        "backup": status.backup.map(|mark| json!({
            "seq": mark.seq, "s": mark.s, "age": now_s.saturating_sub(mark.s),
        })),
        "sites": status.sites.iter().map(site).collect::<Vec<Json>>(),
    })
}
