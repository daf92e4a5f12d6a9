//! Cost follows the changes: the same batches at a site whose data set is small, and at one
//! whose is large. Bytes of messages, and pages that both ends read, as bytes that the
//! kernel counts for this thread: neither depends on the machine, so they are bounds.
//!
//! The rows come from another site, so the model of what goes up has learnt the same.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use wadi_gateway::store::Store;
use wadi_protocol::id::{GatewayId, RowId};
use wadi_protocol::wire::batch::Batch;

use crate::centre::Site;
use crate::figures::{Pairs, Table};
use crate::samples::{NOW_S, Source};
use crate::{Scale, intake, village};

/// Rows of the small data set.
const ROWS_SMALL: usize = 1_000;
/// Changes that come to the hub at once.
const CHANGES: usize = 1_000;
/// Changes of each batch.
const BATCH: usize = 100;
/// Batches of each kind before the one that is looked at.
const BEFORE: usize = 3;
/// Of a table that has rows enough, changed by a program.
const UPDATE: &str = "UPDATE trip SET arr_delay = coalesce(arr_delay, 0) + 7 WHERE id = ?1";
const PAGE_BYTES: u64 = 4_096;
/// Large against small. Rows anywhere in a data set are on a page each once that is large
/// enough, so pages of such a batch are told only; so are bytes of what comes down, whose
/// model has learnt what is in the data set.
const BYTES_RATIO_MAX: f64 = 1.02;
const PAGES_RATIO_MAX: f64 = 2.0;

/// Fill the lines of growth.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let small = World::new(&folder.join("small"), ROWS_SMALL)?.costs()?;
    let large = World::new(&folder.join("large"), scale.grown)?.costs()?;
    let mut dear = Vec::new();
    for (large, small) in large.iter().zip(&small) {
        let mut line = |what: &str, ours: f64, base: f64, bound: bool, most: f64| {
            let mut pairs = Pairs::default();
            pairs.push_exact(ours, base);
            let what =
                format!("{what} {BATCH} {}, {} rows against {ROWS_SMALL}", large.what, scale.grown);
            let aim = if bound { most.to_string() } else { String::new() };
            table.pairs(&what, &pairs, |value| value.to_string(), &aim);
            if bound && ours > base * most {
                dear.push(format!("{what}: {ours} against {base}"));
            }
        };
        let (ours, base) = (large.bytes as f64, small.bytes as f64);
        line("bytes of", ours, base, large.bounds.0, BYTES_RATIO_MAX);
        let (ours, base) = (large.pages as f64, small.pages as f64);
        line("pages read for", ours, base, large.bounds.1, PAGES_RATIO_MAX);
    }
    ensure!(dear.is_empty(), "{}\n{table}", dear.join("\n"));
    Ok(())
}

/// What one batch took.
struct Cost {
    what: &'static str,
    /// Of all messages, both ways, with what carries them.
    bytes: usize,
    /// By both ends.
    pages: u64,
    /// Whether its bytes, and its pages, are bound by those of the small data set.
    bounds: (bool, bool),
}

/// A hub, a site that brought the data set, and a gateway that has all of it.
struct World {
    others: Site,
    store: Option<Store>,
    path: PathBuf,
    number: GatewayId,
    other: Source,
    own: Source,
    /// Rows all over the data set.
    spread: Vec<RowId>,
}

impl World {
    fn new(folder: &Path, rows: usize) -> Result<World> {
        std::fs::create_dir(folder)?;
        let mut others = Site::new(&folder.join("hub.db"))?;
        let mut filler = Source::new(7)?;
        let trip = filler.table("trip").context("tests/data has trips")?;
        let mut trips = Vec::new();
        for _ in 0..rows / CHANGES {
            let changes = filler.inserts(CHANGES);
            let of_table = changes.iter().filter(|change| change.table_number() == Some(trip));
            trips.extend(of_table.map(|change| change.row));
            others.round(&filler.batch(changes))?;
        }
        let wanted = BATCH * (BEFORE + 1);
        ensure!(trips.len() >= wanted, "only {} trips", trips.len());
        let step = trips.len() / wanted;
        // Batch after batch goes through the whole set.
        let spread = (0..wanted).map(|at| trips[(at % BATCH * (BEFORE + 1) + at / BATCH) * step]);
        let spread = spread.collect();
        let number = others.neighbour()?;
        let path = folder.join("gateway.db");
        let store = Some(village::open_at(&path, number)?);
        let (other, own) = (Source::new(8)?, Source::new(9)?);
        let mut world = World { others, store, path, number, other, own, spread };
        world.sync()?;
        Ok(world)
    }

    /// Every kind of batch, after some like it.
    fn costs(mut self) -> Result<Vec<Cost>> {
        let mut costs = Vec::new();
        for at in 0..=BEFORE {
            costs.clear();
            let inserts = self.own.inserts(BATCH);
            let batch = self.own.batch(inserts.clone());
            costs.push(self.cost("inserts", (true, true), |world| world.take(batch))?);
            let updates = self.own.updates(&inserts);
            let batch = self.own.batch(updates);
            let what = "of their rows updated, where there are updates";
            costs.push(self.cost(what, (true, true), |world| world.take(batch))?);
            let what = "inserts of another site";
            costs.push(self.cost(what, (false, true), |world| world.others_insert(BATCH))?);
            let rows = self.spread[at * BATCH..(at + 1) * BATCH].to_vec();
            let what = "rows anywhere updated by a program";
            costs.push(self.cost(what, (true, false), |world| world.program(&rows))?);
        }
        Ok(costs)
    }

    /// What it takes until all have all, on an open link of ends that have just started and
    /// carried a change each way: so they have the models of the link, which every start
    /// reads, and little else.
    fn cost(
        &mut self,
        what: &'static str,
        bounds: (bool, bool),
        act: impl FnOnce(&mut World) -> Result<()>,
    ) -> Result<Cost> {
        self.store = None;
        self.others.restart()?;
        self.store = Some(village::open_at(&self.path, self.number)?);
        let first = self.own.inserts(1);
        let first = self.own.batch(first);
        self.take(first)?;
        self.sync()?;
        self.others_insert(1)?;
        self.sync()?;
        let before = read_bytes()?;
        act(self)?;
        // The round behind it folds what the hub has decided into what the site is shown.
        let bytes = self.sync()? + self.sync()?;
        let pages = (read_bytes()? - before) / PAGE_BYTES;
        Ok(Cost { what, bytes, pages, bounds })
    }

    fn take(&mut self, batch: Batch) -> Result<()> {
        let store = self.store.as_mut().context("the store is open")?;
        intake::take(store, batch).map(drop)
    }

    fn others_insert(&mut self, count: usize) -> Result<()> {
        let changes = self.other.inserts(count);
        self.others.round(&self.other.batch(changes)).map(drop)
    }

    fn sync(&mut self) -> Result<usize> {
        let store = self.store.as_mut().context("the store is open")?;
        village::sync(store, self.others.hub(), self.number)
    }

    /// Another program changes rows in the gateway's file.
    fn program(&mut self, rows: &[RowId]) -> Result<()> {
        let mut db = Connection::open(&self.path)?;
        let transaction = db.transaction()?;
        for row in rows {
            let changed = transaction.execute(UPDATE, [row.to_string()])?;
            ensure!(changed == 1, "{changed} rows are {row}");
        }
        transaction.commit()?;
        self.store.as_mut().context("the store is open")?.drain(NOW_S)?;
        Ok(())
    }
}

/// What this thread has read of files so far.
fn read_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/io")?;
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    Ok(count.context("the kernel counts what is read")?.parse()?)
}
