//! What a gateway's file takes once all is durable, in the hub's backup and compacted,
//! against a plain database of the same typed tables and indexes.
use std::path::Path;

use anyhow::{Result, ensure};
use rusqlite::Connection;
use wadi_gateway::store::Store;
use wadi_gateway::store::compact::Keep;
use wadi_hub::store::Store as Hub;
use wadi_protocol::schema::{Kind, Schema};

use crate::figures::{Pairs, Table};
use crate::plain::{Plain, writes};
use crate::samples::{self, NOW_S, Source};
use crate::{Scale, intake, village};

/// Changes in a batch.
const BATCH: usize = 500;

/// Fill the lines of storage.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let schema = samples::schema()?;
    let mut hub = Hub::open(&folder.join("hub.db"))?;
    hub.begin_run(NOW_S)?;
    hub.publish_schema(&wadi_harness::records::sample_schema()?, NOW_S)?;
    let gateway = samples::enrol(&mut hub, "bench")?;
    let path = folder.join("gateway.db");
    let mut store = village::open_at(&path, gateway)?;
    village::sync(&mut store, &mut hub, gateway)?;
    let mut plain = Plain::new(&folder.join("plain.db"), &schema)?;
    index(&folder.join("plain.db"), &schema)?;

    let mut source = Source::new(7)?;
    for _ in 0..scale.rows.div_ceil(BATCH) {
        // Rows come, and half as many changes to rows that are there.
        let inserts = source.inserts(BATCH);
        let updates = source.updates(&inserts[..BATCH / 2]);
        for changes in [inserts, updates] {
            plain.commit(&writes(&schema, &changes))?;
            let batch = source.batch(changes);
            intake::take(&mut store, batch)?;
        }
    }
    let plain_bytes = bytes(&folder.join("plain.db"))?;
    let mut line = |what: &str, store: &Store| -> Result<()> {
        let mut pairs = Pairs::default();
        pairs.push_exact(bytes(store.path())?, plain_bytes);
        let aim = if what.contains("compacted") { "1.3" } else { "" };
        let rows = scale.rows;
        table.pairs(&format!("gateway's file, {rows} rows, {what}"), &pairs, mega, aim);
        Ok(())
    };
    line("all pending", &store)?;
    village::sync(&mut store, &mut hub, gateway)?;
    line("all at the hub", &store)?;
    hub.backup(&folder.join("hub.backup"), false, NOW_S)?;
    village::sync(&mut store, &mut hub, gateway)?;
    let keep = Keep { age_s: 0, bytes: 0 };
    while store.compact(keep, false, NOW_S)?.more {}
    let kept = store.status()?.changelog_changes;
    ensure!(kept == 0, "{kept} changes were not let go");
    line("all in its backup and compacted", &store)?;
    eprint!("{}", weights(&path, &schema)?);
    Ok(())
}

/// What the gateway has beside the tables: an ordinary program would have it too.
fn index(path: &Path, schema: &Schema) -> Result<()> {
    let db = Connection::open(path)?;
    for table in &schema.tables {
        for field in &table.fields {
            if matches!(field.kind, Kind::Reference { .. }) {
                let (table, field) = (&table.name, &field.name);
                db.execute_batch(&format!(
                    "CREATE INDEX \"ref_{table}_{field}\" ON \"{table}\" (\"{field}\")"
                ))?;
            }
        }
    }
    Ok(())
}

/// Bytes of a whole database, what its log holds included.
fn bytes(path: &Path) -> Result<f64> {
    let db = Connection::open(path)?;
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    Ok((pragma("page_count")? * pragma("page_size")?) as f64)
}

/// Bytes by what they are for, heaviest first: ours by table and index, the rest together.
fn weights(path: &Path, schema: &Schema) -> Result<String> {
    let db = Connection::open(path)?;
    let mut statement =
        db.prepare("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")?;
    let mut rows = statement.query(())?;
    let (mut typed, mut text) = (0, String::new());
    while let Some(row) = rows.next()? {
        let (name, bytes): (String, i64) = (row.get(0)?, row.get(1)?);
        let refs = name.strip_prefix("wadi_ref_").unwrap_or(&name);
        if schema.tables.iter().any(|table| refs.starts_with(table.name.as_str())) {
            typed += bytes;
        } else if bytes > 64 << 10 {
            text += &format!("  {name}: {}\n", mega(bytes as f64));
        }
    }
    Ok(format!(
        "what a compacted file holds:\n  typed tables and their indexes: {}\n{text}",
        mega(typed as f64)
    ))
}

fn mega(bytes: f64) -> String {
    format!("{:.2} MB", bytes / 1e6)
}
