//! Compaction: of changes that are safe for ever, only their numbers stay.
//!
//! A change goes when nothing here can need it any more: the hub has committed it,
//! base holds what became of it (so it is not in the overlay), and a *backup* of the hub
//! holds it too: a hub restored from that lacks nothing of it. What stays is its place
//! in a stretch of its run, by which a copy that comes a year late is still known. Such
//! changes are kept a while all the same, within an age and a number of bytes, in case
//! the newest backup turns out unreadable. While the hub refuses to go on, nothing goes:
//! it may have been restored, and want back all that we hold.
//!
//! A pass goes from the newest change to the oldest in short steps, each a transaction
//! of its own, so that intake never waits long.
use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Row};
use wadi_protocol::limits::GROUP_CHANGES_MAX;

use super::error::{Problem, StoreError};
use super::work::{Work, decode};
use super::{Store, restored, stretches};

/// Changes looked at in one step, at most.
const LOOKED_AT_MAX: i64 = 2_000;
/// Changes that go in one step, at most, but for the rest of a group.
const DROPPED_MAX: usize = 500;
/// What a change takes in the changelog beside its body, in bytes, about.
const CHANGE_BYTES: u64 = 64;
/// Free pages of the file that are left for what comes next, 256 KiB; above twice as many
/// the file is made smaller.
const FREE_PAGES: i64 = 64;
/// Pages that one step moves at most.
const MOVED_MAX: i64 = 256;

/// How far apart backup watermarks are written down at least, in seconds.
const HEARD_INTERVAL_S: u64 = 6 * 3_600;
/// Watermarks that are remembered, at most: a year of them.
const HEARD_MAX: i64 = 1_500;

/// How much of what may go is kept all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// For so long after a backup was heard of that holds it, in seconds.
    pub age_s: u64,
    /// Bytes in the changelog, about: beyond it the oldest go, whatever their age.
    pub bytes: u64,
}

/// What a step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compacted {
    /// Changes that went.
    pub dropped: u64,
    /// There is more to do: call again soon.
    pub more: bool,
}

/// Where compaction stands. Only in memory: a pass that a crash ends begins anew.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pass: Option<Pass>,
    /// The backup watermark of the pass that began last.
    backup: u64,
}

/// From the newest change to the oldest.
#[derive(Clone, Copy, Debug)]
struct Pass {
    /// Changes with smaller local ids are still to be looked at.
    below: i64,
    /// Bytes of those that may go and are kept.
    kept_bytes: u64,
    dropped: u64,
}

/// Up to which hub sequences changes may go.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// In a backup.
    backup: u64,
    /// In a backup that was heard of long ago.
    old: u64,
    /// So many bytes between the two are kept.
    bytes: u64,
}

/// A change in the changelog.
struct Line {
    id: i64,
    run: i64,
    seq: i64,
    /// The first sequence of its group.
    group: Option<i64>,
    /// What it takes, in bytes, about.
    bytes: u64,
    /// At or above its hub sequence; none while it is needed here.
    hub_seq: Option<u64>,
}

// Of a change that another gateway brought while it was parked here, the sequence is
// not known; it lies at or below the version that a page told of its row.
const LINE: &str = "SELECT c.id, c.run, c.seq, c.grp, length(c.body),
        CASE WHEN c.custody = 1 AND c.laid = 0 THEN coalesce(c.hub_seq,
            (SELECT nullif(r.version, 0) FROM wadi_row r WHERE r.tbl = c.tbl AND r.row = c.row)) END
    FROM wadi_change c";

impl Line {
    fn of(row: &Row<'_>) -> rusqlite::Result<Line> {
        Ok(Line {
            id: row.get(0)?,
            run: row.get(1)?,
            seq: row.get(2)?,
            group: row.get(3)?,
            bytes: CHANGE_BYTES + row.get::<_, i64>(4)? as u64,
            hub_seq: row.get::<_, Option<i64>>(5)?.map(|seq| seq as u64),
        })
    }
}

impl Store {
    /// One step. A pass begins when the backup watermark has moved, or if it is asked for
    /// `anew`: time has passed.
    pub fn compact(&mut self, keep: Keep, anew: bool, now_s: u64) -> Result<Compacted, StoreError> {
        let backup = self.read(|db, _| watermark(db))?;
        // What a restored hub got back may be committed there before its row is made anew of it.
        let unswept = self.read(|db, _| restored::is_unswept(db))?;
        if self.ground.round.refused.is_some() || backup == 0 || unswept {
            self.progress.pass = None;
            return Ok(Compacted::default());
        }
        let begins = self.progress.pass.is_none() && (anew || backup != self.progress.backup);
        if begins {
            self.progress.pass = Some(Pass { below: i64::MAX, kept_bytes: 0, dropped: 0 });
            self.progress.backup = backup;
        }
        match self.progress.pass {
            Some(pass) => {
                let old = self.read(|db, _| heard_before(db, keep.age_s, now_s))?;
                let old = if keep.age_s == 0 { backup } else { old.min(backup) };
                self.step(pass, Bounds { backup, old, bytes: keep.bytes }, now_s)
            }
            None => Ok(Compacted { dropped: 0, more: self.shrink()? }),
        }
    }

    fn step(
        &mut self,
        mut pass: Pass,
        bounds: Bounds,
        now_s: u64,
    ) -> Result<Compacted, StoreError> {
        let mut gone = Vec::new();
        let whole = self.read(|db, _| look(db, &mut pass, bounds, &mut gone))?;
        let dropped = match gone.is_empty() {
            true => 0,
            false => self.write(now_s, |work| let_go(work, &gone))?,
        };
        pass.dropped += dropped;
        if whole && pass.dropped > 0 {
            let (changes, sequence) = (pass.dropped, bounds.backup);
            tracing::info!(phase = "compact", changes, sequence, "in the hub's backup: let go");
        }
        self.progress.pass = (!whole).then_some(pass);
        Ok(Compacted { dropped, more: true })
    }

    /// Give free pages back to the file system; whether there are more to give.
    fn shrink(&mut self) -> Result<bool, StoreError> {
        let free = self.read(|db, _| free_pages(db))?;
        if free <= 2 * FREE_PAGES {
            return Ok(false);
        }
        let some = (free - FREE_PAGES).min(MOVED_MAX);
        vacuum(&self.db, some).map_err(|problem| problem.at(&self.path))?;
        // A file of an older make cannot: its pages are used again.
        Ok(self.read(|db, _| free_pages(db))? < free)
    }
}

/// Up to which hub sequence a backup of the hub exists, as it told last.
pub(super) fn watermark(db: &Connection) -> Result<u64, Problem> {
    let sql = "SELECT backup_seq FROM wadi_store";
    Ok(db.prepare_cached(sql)?.query_row((), |row| row.get::<_, i64>(0))? as u64)
}

/// What a page says of the hub's backup. A hub that was restored may say less than before.
pub(super) fn hear(work: &Work<'_>, backup: u64) -> Result<(), Problem> {
    let backup = i64::try_from(backup).unwrap_or(i64::MAX);
    let sql = "UPDATE wadi_store SET backup_seq = ?1 WHERE backup_seq <> ?1";
    if work.run(sql, (backup,))? == 0 {
        return Ok(());
    }
    work.run("DELETE FROM wadi_backup WHERE seq >= ?", (backup,))?;
    let newest = "SELECT heard_s FROM wadi_backup ORDER BY seq DESC LIMIT 1";
    let newest = work.one(newest, (), |row| row.get::<_, i64>(0))?;
    let near = |heard_s: i64| work.now_s.abs_diff(heard_s as u64) < HEARD_INTERVAL_S;
    if backup > 0 && !newest.is_some_and(near) {
        let now_s = work.now_s as i64;
        work.run("INSERT INTO wadi_backup (seq, heard_s) VALUES (?, ?)", (backup, now_s))?;
        let forget = "DELETE FROM wadi_backup
            WHERE seq <= (SELECT seq FROM wadi_backup ORDER BY seq DESC LIMIT 1 OFFSET ?)";
        work.run(forget, (HEARD_MAX,))?;
    }
    Ok(())
}

/// The hub was restored and is another one behind `fork`: so are its backups.
pub(super) fn forget_behind(work: &Work<'_>, fork: u64) -> Result<(), Problem> {
    let fork = i64::try_from(fork).unwrap_or(i64::MAX);
    work.run("UPDATE wadi_store SET backup_seq = min(backup_seq, ?)", (fork,))?;
    work.run("DELETE FROM wadi_backup WHERE seq > ?", (fork,))?;
    Ok(())
}

/// The greatest watermark that was heard so long ago; 0 = none was. A clock that was wrong
/// then, or is now, makes it old: that costs spare changes, never one that is needed.
fn heard_before(db: &Connection, age_s: u64, now_s: u64) -> Result<u64, Problem> {
    let mut statement =
        db.prepare_cached("SELECT seq, heard_s FROM wadi_backup ORDER BY seq DESC")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if now_s.abs_diff(row.get::<_, i64>(1)? as u64) >= age_s {
            return Ok(row.get::<_, i64>(0)? as u64);
        }
    }
    Ok(0)
}

/// Look at the next changes; those that go are put to `gone`. Whether the pass is over.
fn look(
    db: &Connection,
    pass: &mut Pass,
    bounds: Bounds,
    gone: &mut Vec<Line>,
) -> Result<bool, Problem> {
    let sql = format!("{LINE} WHERE c.id < ? ORDER BY c.id DESC LIMIT ?");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query((pass.below, LOOKED_AT_MAX))?;
    let (mut looked_at, mut decided) = (0, None);
    while gone.len() < DROPPED_MAX {
        let Some(row) = rows.next()? else {
            return Ok(looked_at < LOOKED_AT_MAX);
        };
        looked_at += 1;
        let line = Line::of(row)?;
        pass.below = line.id;
        let group = line.group.map(|first| (line.run, first));
        if group.is_some() && group == decided {
            continue;
        }
        decided = group;
        let lines = match group {
            Some((run, first)) => of_group(db, run, first)?,
            None => vec![line],
        };
        if pass.goes(bounds, &lines) {
            gone.extend(lines);
        }
    }
    Ok(false)
}

/// What is here of a group.
fn of_group(db: &Connection, run: i64, first: i64) -> Result<Vec<Line>, Problem> {
    let sql = format!("{LINE} WHERE c.run = ?1 AND c.seq BETWEEN ?2 AND ?3 AND c.grp = ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let last = first.saturating_add(GROUP_CHANGES_MAX as i64 - 1);
    let lines = statement.query_map((run, first, last), Line::of)?;
    Ok(lines.collect::<Result<_, _>>()?)
}

impl Pass {
    /// Whether changes that share custody go; if they could and are kept, that is counted.
    fn goes(&mut self, bounds: Bounds, lines: &[Line]) -> bool {
        let seqs = lines.iter().map(|line| line.hub_seq);
        let Some(seqs) = seqs.collect::<Option<Vec<u64>>>() else {
            return false;
        };
        let seq = seqs.into_iter().max().unwrap_or(0);
        let bytes: u64 = lines.iter().map(|line| line.bytes).sum();
        let spare = seq > bounds.old && self.kept_bytes + bytes <= bounds.bytes;
        if seq > bounds.backup {
            return false;
        }
        if spare {
            self.kept_bytes += bytes;
        }
        !spare
    }
}

/// Let changes go: their numbers join the stretches of their runs. How many went.
fn let_go(work: &mut Work<'_>, gone: &[Line]) -> Result<u64, Problem> {
    let open: Option<Vec<u8>> = work.one("SELECT changes FROM wadi_round", (), |row| row.get(0))?;
    let open: Vec<i64> = decode("the round's changes", &open.unwrap_or_default())?;
    let mut runs: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    let mut count = 0;
    for &Line { id, run, seq, .. } in gone {
        let sql = "DELETE FROM wadi_change WHERE id = ? AND custody = 1 AND laid = 0";
        if !open.contains(&id) && work.run(sql, (id,))? == 1 {
            runs.entry(run).or_default().insert(seq);
            count += 1;
        }
    }
    for (run, seqs) in runs {
        for stretch in stretches::of(seqs) {
            stretches::join(work, stretches::COMPACTED, run, stretch)?;
        }
    }
    Ok(count)
}

fn free_pages(db: &Connection) -> Result<i64, Problem> {
    Ok(db.pragma_query_value(None, "freelist_count", |row| row.get(0))?)
}

/// Each row that the statement steps through is a page that is freed.
fn vacuum(db: &Connection, pages: i64) -> Result<(), Problem> {
    let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query(())?;
    while rows.next()?.is_some() {}
    Ok(())
}
