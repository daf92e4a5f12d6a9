//! What the capture triggers cost a program that writes by SQL, on a file and in memory.
use std::path::Path;

use anyhow::Result;
use rusqlite::Connection;
use wadi_gateway::store::Store;
use wadi_protocol::schema::Schema;

use crate::figures::{Pairs, Spent, Table, micros_each, timed};
use crate::plain::{self, Plain, Write};
use crate::samples::{self, NOW_S, Source};
use crate::{Scale, village};

/// Inserts in a transaction.
const EACH: usize = 100;
/// Transactions in a block.
const COMMITS: usize = 10;

/// Fill the lines of the capture.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let schema = samples::schema()?;
    let (store, path) = village::open(folder)?;
    let file = Connection::open(&path)?;
    file.pragma_update(None, "synchronous", "full")?;
    let memory = in_memory(&file)?;
    on_file(&schema, scale, store, file, &folder.join("plain.db"), table)?;
    let mut plain = Plain::in_memory(&schema)?;
    let (mut memory, mut source) = (memory, Source::new(8)?);
    let mut pairs = Pairs::default();
    for _ in 0..scale.blocks {
        let (ours, base) = block(&schema, &mut source, &mut memory, &mut plain)?;
        pairs.push(ours, base);
        memory.execute_batch("DELETE FROM wadi_capture; UPDATE wadi_switch SET captured = 0")?;
    }
    let what = format!("SQL inserts captured, {EACH} a commit, in memory");
    table.pairs(&what, &pairs, micros_each(EACH * COMMITS), "");
    Ok(())
}

fn on_file(
    schema: &Schema,
    scale: Scale,
    mut store: Store,
    mut file: Connection,
    plain: &Path,
    table: &mut Table,
) -> Result<()> {
    let mut plain = Plain::new(plain, schema)?;
    let mut source = Source::new(7)?;
    let (mut pairs, mut drains) = (Pairs::default(), crate::figures::Sample::default());
    for _ in 0..scale.blocks {
        let (ours, base) = block(schema, &mut source, &mut file, &mut plain)?;
        pairs.push(ours, base);
        let (time, _) = timed(|| Ok(store.drain(NOW_S)?))?;
        drains.push(time.wall);
    }
    let (each, what) =
        (micros_each(EACH * COMMITS), format!("SQL inserts captured, {EACH} a commit"));
    table.pairs(&what, &pairs, &each, "");
    table.alone("the gateway puts them into the changelog", each(drains.median()), "");
    Ok(())
}

/// The same rows into both, in turns.
fn block(
    schema: &Schema,
    source: &mut Source,
    ours: &mut Connection,
    base: &mut Plain,
) -> Result<(Spent, Spent)> {
    let mut times = (Spent::default(), Spent::default());
    for at in 0..COMMITS {
        let writes: Vec<Write> = plain::writes(schema, &source.inserts(EACH));
        if at % 2 == 0 {
            times.0 += plain::commit(ours, &writes)?;
            times.1 += base.commit(&writes)?;
        } else {
            times.1 += base.commit(&writes)?;
            times.0 += plain::commit(ours, &writes)?;
        }
    }
    Ok(times)
}

/// The same tables and triggers, in memory.
fn in_memory(file: &Connection) -> Result<Connection> {
    let db = Connection::open_in_memory()?;
    file.set_prepared_statement_cache_capacity(256);
    db.set_prepared_statement_cache_capacity(256);
    let mut query = file.prepare(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
         ORDER BY type = 'trigger', type = 'view', type = 'index'",
    )?;
    let mut rows = query.query(())?;
    while let Some(row) = rows.next()? {
        db.execute_batch(&row.get::<_, String>(0)?)?;
    }
    db.execute_batch("INSERT INTO wadi_switch (one) VALUES (1)")?;
    Ok(db)
}
