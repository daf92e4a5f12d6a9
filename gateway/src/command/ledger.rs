//! `wadi-gateway ledger`: every change by custody.
use std::io::{self, Write};
use std::path::Path;

use super::{CommandError, to_json};
use crate::store::ledger::{self, Ledger};

/// Every change by custody; false if the books do not balance.
pub fn ledger(database: &Path, json: bool, out: &mut dyn Write) -> Result<bool, CommandError> {
    let ledger = ledger::read(database)?;
    if json {
        writeln!(out, "{}", to_json(&ledger))?;
        return Ok(ledger.faults.is_empty());
    }
    writeln!(
        out,
        "device\tlabel\trun\tfirst\tlast\tchanges\tpending\tcommitted\tparked\theld\tquarantined\tcompacted"
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
        "\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
        counts.changes,
        counts.pending,
        counts.committed,
        counts.parked,
        counts.held,
        counts.quarantined,
        counts.compacted
    )
}

fn say_faults(ledger: &Ledger, out: &mut dyn Write) -> io::Result<()> {
    ledger.faults.iter().try_for_each(|fault| writeln!(out, "FAULT\t{fault}"))
}
