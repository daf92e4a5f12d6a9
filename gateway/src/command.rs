//! What people ask of a gateway beside the running one: `status`, `schema`,
//! `ledger`. Read from the file alone; a page of plain words, problems first,
//! or JSON for programs.
use std::io::{self, Write};
use std::path::Path;

use wadi_protocol::schema::{Field, Kind, Schema};

use crate::store::StoreError;
use crate::store::ledger::{self, Ledger};
use crate::store::status::{self, Status};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// At the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// At the output.
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
}

/// A page about the gateway.
pub fn status(
    database: &Path,
    json: bool,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let status = status::read(database)?;
    if json {
        return Ok(writeln!(out, "{}", to_json(&status))?);
    }
    writeln!(out, "gateway {} of site {}", status.gateway, status.site)?;
    problems(&status, out)?;
    match status.last_round_s {
        Some(when) => writeln!(out, "last sync       {}", ago(now_s, when))?,
        None => writeln!(out, "last sync       never")?,
    }
    let pending: u64 = status.pending.iter().map(|(_, count)| count).sum();
    match status.oldest_pending_s {
        Some(when) => {
            writeln!(
                out,
                "pending         {pending} changes, the oldest taken {}",
                ago(now_s, when)
            )?;
            for (table, count) in &status.pending {
                writeln!(out, "                {count:>8} {table}")?;
            }
        }
        None => writeln!(out, "pending         nothing: all is durable at the hub")?,
    }
    writeln!(out, "shown           {} rows", status.rows)?;
    writeln!(
        out,
        "round           {} ({}), {} committed",
        status.round, status.phase, status.rounds
    )?;
    writeln!(out, "schema          version {}", status.schema)?;
    Ok(())
}

/// What somebody should look at, if anything.
fn problems(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    if let Some(refused) = &status.refused {
        writeln!(out, "PROBLEM         {refused}")?;
    }
    if status.schema == 0 {
        writeln!(
            out,
            "PROBLEM         no schema yet: it comes with the first sync; nothing is shown until then"
        )?;
    }
    for quarantined in &status.quarantined {
        writeln!(out, "QUARANTINED     {}: {}", quarantined.dot, quarantined.reason)?;
    }
    if status.lock_waits > 0 {
        writeln!(
            out,
            "LOCKED          {} times another program held the database for over 5 s: end its transactions sooner",
            status.lock_waits
        )?;
    }
    // Without a schema nothing can be shown, and nothing is wrong with it.
    let unfit = if status.schema == 0 { 0 } else { status.unlaid };
    for (count, what) in [
        (status.parked, "changes wait at the hub for a row that they reference"),
        (status.held, "changes are kept here at the hub's request"),
        (unfit, "changes do not fit the schema and are not shown; the hub will put them aside"),
        (status.review_rows, "rows wait for a person at the hub"),
    ] {
        if count > 0 {
            writeln!(out, "WAITING         {count} {what}")?;
        }
    }
    Ok(())
}

/// Every change by custody; false if the books do not balance.
pub fn ledger(database: &Path, json: bool, out: &mut dyn Write) -> Result<bool, CommandError> {
    let ledger = ledger::read(database)?;
    if json {
        writeln!(out, "{}", to_json(&ledger))?;
        return Ok(ledger.faults.is_empty());
    }
    writeln!(
        out,
        "device\tlabel\trun\tfirst\tlast\tchanges\tpending\tcommitted\tparked\theld\tquarantined"
    )?;
    for run in &ledger.runs {
        write!(out, "{}\t{}\t{}\t{}\t{}", run.device, run.label, run.run, run.first, run.last)?;
        counts(&run.counts, out)?;
        for (first, last, known) in &run.gaps {
            let why = if *known { "came to the hub by another way" } else { "never came here" };
            writeln!(out, "\t{first} to {last}: {why}")?;
        }
    }
    write!(out, "total\t\t\t\t")?;
    counts(&ledger.total, out)?;
    say_faults(&ledger, out)?;
    Ok(ledger.faults.is_empty())
}

fn counts(counts: &ledger::Counts, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\t{}\t{}\t{}\t{}\t{}\t{}",
        counts.changes,
        counts.pending,
        counts.committed,
        counts.parked,
        counts.held,
        counts.quarantined
    )
}

fn say_faults(ledger: &Ledger, out: &mut dyn Write) -> io::Result<()> {
    ledger.faults.iter().try_for_each(|fault| writeln!(out, "FAULT\t{fault}"))
}

/// The schema that the gateway holds.
pub fn schema(database: &Path, out: &mut dyn Write) -> Result<(), CommandError> {
    let Some(schema) = status::schema(database)? else {
        return Ok(writeln!(out, "no schema yet: it comes with the first sync")?);
    };
    writeln!(out, "{} version {}", schema.name, schema.version)?;
    for table in &schema.tables {
        writeln!(out, "\n{}", table.name)?;
        for field in &table.fields {
            writeln!(out, "  {:<24} {}", field.name, describe(&schema, field))?;
        }
    }
    Ok(())
}

fn describe(schema: &Schema, field: &Field) -> String {
    let kind = match &field.kind {
        Kind::Integer => "integer".into(),
        Kind::Decimal { scale } => format!("decimal with {scale} places"),
        Kind::Text => "text".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Date => "date".into(),
        Kind::Timestamp => "timestamp".into(),
        Kind::Enum { values } => format!("one of {} codes", values.len()),
        Kind::Set { .. } => "set".into(),
        Kind::Reference { table, .. } => {
            let name = schema.table(*table).map_or("?", |table| table.name.as_str());
            format!("reference to {name}")
        }
    };
    let required = if field.required { ", required" } else { "" };
    format!("{kind}{required}, {:?}", field.merge)
}

/// How long before `now_s`, in words.
fn ago(now_s: u64, then_s: u64) -> String {
    let Some(seconds) = now_s.checked_sub(then_s) else {
        return "in the future, by this clock".into();
    };
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data always serialises")
}
