//! What the changelog costs at the intake door: records of a handheld, 1 and 100
//! a commit, against the same rows written plainly.
use std::path::Path;

use anyhow::{Result, ensure};
use wadi_gateway::store::Store;
use wadi_protocol::change::Change;

use crate::figures::{Pairs, Spent, Table, micros_each, timed};
use crate::plain::{self, Plain};
use crate::samples::{self, NOW_S, Source};
use crate::{Scale, village};

/// Commits of 100 records in a block.
const COMMITS_OF_100: usize = 10;

/// Fill the lines of the intake.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let schema = samples::schema()?;
    let (mut store, _) = village::open(folder)?;
    let mut plain = Plain::new(&folder.join("plain.db"), &schema)?;
    let mut source = Source::new(7)?;
    let wide = COMMITS_OF_100.min(scale.commits);
    for (each, commits, aim) in [(1, scale.commits, "1.1"), (100, wide, "2")] {
        let mut pairs = Pairs::default();
        for block in 0..scale.blocks {
            let changes: Vec<Vec<Change>> = (0..commits).map(|_| source.inserts(each)).collect();
            let writes: Vec<_> =
                changes.iter().map(|changes| plain::writes(&schema, changes)).collect();
            let batches: Vec<_> =
                changes.into_iter().map(|changes| source.batch(changes)).collect();
            let (mut ours, mut base) = (Spent::default(), Spent::default());
            // Commit by commit in turns, so that a slow disk slows both.
            for (batch, writes) in batches.into_iter().zip(&writes) {
                if block % 2 == 0 {
                    ours += take(&mut store, batch)?;
                    base += plain.commit(writes)?;
                } else {
                    base += plain.commit(writes)?;
                    ours += take(&mut store, batch)?;
                }
            }
            pairs.push(ours, base);
        }
        let what = format!("intake, {each} record{} a commit", if each == 1 { "" } else { "s" });
        table.pairs(&what, &pairs, micros_each(each * commits), aim);
    }
    Ok(())
}

/// Take a batch in; how long until it was durable.
pub fn take(store: &mut Store, batch: wadi_protocol::wire::batch::Batch) -> Result<Spent> {
    let batch = [batch];
    let (time, answers) = timed(|| Ok(store.intake(&batch, NOW_S)?))?;
    ensure!(answers.iter().all(Result::is_ok), "intake refuses: {answers:?}");
    Ok(time)
}
