//! Opening the store: the lock, the layout, a new run.
use std::collections::{BTreeSet, HashMap};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use wadi_protocol::id::{DeviceId, GatewayId, RunId, RunInfo};
use wadi_protocol::resolve::Lines;
use wadi_protocol::round::gateway::GatewayRound;
use wadi_protocol::stamp::Clock;
use wadi_protocol::wire::coded::Held;

use super::copy;
use super::error::{Problem, StoreError};
use super::handhelds::Refusals;
use super::log::LAST_OF_RUN;
use super::work::{decode, encode};
use super::{
    Ground, LOCK_WAIT_MS, Store, compact, damage, horizon, install, models, restored, spent,
};
use crate::owner;

/// What to open, and for whom.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The database file; created if it is not there.
    pub path: PathBuf,
    /// The site's name.
    pub site: String,
    /// The number that the hub gave this gateway.
    pub gateway: GatewayId,
    /// The system clock, seconds since 1970.
    pub now_s: u64,
    /// Random bits: for the device (used once, at creation) and for the run.
    pub random: [u64; 2],
}

/// In the file's header: a gateway's database.
const APPLICATION_ID: i64 = 0x5741_4447;
/// Layouts, oldest first; `user_version` counts those that are in.
pub(super) const MIGRATIONS: [&str; 13] = [
    include_str!("tables.sql"),
    include_str!("certificate.sql"),
    include_str!("handhelds.sql"),
    include_str!("renewal.sql"),
    include_str!("line.sql"),
    include_str!("restored.sql"),
    include_str!("compact.sql"),
    include_str!("horizon.sql"),
    include_str!("wanted.sql"),
    include_str!("stale.sql"),
    include_str!("models.sql"),
    include_str!("spent.sql"),
    include_str!("lost_known.sql"),
];

impl Store {
    /// Open for a running gateway, creating the file if it is not there. Draws a new run.
    pub fn open(opening: &Opening) -> Result<Store, StoreError> {
        let mut store = open(opening, &MIGRATIONS).map_err(|problem| problem.at(&opening.path))?;
        store.ground.lost_hub = store.read(|db, _| restored::lost_hub(db))?;
        store.drain(opening.now_s)?;
        Ok(store)
    }
}

/// Bring a file up to date by `steps`, the whole list of layouts, and open it.
pub(super) fn open(opening: &Opening, steps: &[&str]) -> Result<Store, Problem> {
    let lock = lock(&opening.path)?;
    damage::check(&opening.path)?;
    // Records of patients: for the gateway's user and its group, the SQL programs
    // of the site. An error shows again when SQLite opens the file.
    let _ = owner::create(&opening.path, 0o660);
    let mut db = Connection::open(&opening.path)?;
    let found = configure(&db, steps.len())?;
    if found > 0 && found < steps.len() as i64 {
        copy::keep_old(&db, &opening.path, found, steps.len()).map_err(Problem::OldCopy)?;
    }
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    migrate(&tx, opening, steps)?;
    install::refresh(&tx)?;
    draw_run(&tx, opening)?;
    let ground = load(&tx)?;
    tx.commit()?;
    // -1: no version is ever that, so the first drain looks.
    Ok(Store {
        path: opening.path.clone(),
        db,
        ground,
        data_version: -1,
        lock_waits: 0,
        progress: compact::Progress::default(),
        refusals: Refusals::new(),
        _lock: lock,
    })
}

/// Open for reading, beside a running gateway or without one.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, Problem> {
    if !path.exists() {
        return Err(Problem::Missing);
    }
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_millis(LOCK_WAIT_MS.into()))?;
    check_layout(&db, MIGRATIONS.len())?;
    Ok(db)
}

/// The same, of a file that has all of what this program keeps.
pub(super) fn open_to_look(path: &Path) -> Result<Connection, Problem> {
    let db = open_to_read(path)?;
    match check_layout(&db, MIGRATIONS.len())? < MIGRATIONS.len() as i64 {
        true => Err(Problem::Older),
        false => Ok(db),
    }
}

/// One process writes. SQLite's own locks are held only within transactions, so
/// the whole life of the process is guarded by a lock file beside the database.
pub(super) fn lock(path: &Path) -> Result<File, Problem> {
    let mut name = path.as_os_str().to_os_string();
    name.push("-lock");
    let file = owner::open(Path::new(&name), 0o644).map_err(Problem::Lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Problem::InUse),
        Err(TryLockError::Error(error)) => Err(Problem::Lock(error)),
    }
}

fn configure(db: &Connection, known: usize) -> Result<i64, Problem> {
    db.busy_timeout(Duration::from_millis(LOCK_WAIT_MS.into()))?;
    // Another file's mode is not to be changed before we know that it is ours.
    let found = check_layout(db, known)?;
    if found == 0 {
        // So that the file can shrink in steps; it has to be said before there is a table.
        db.pragma_update(None, "auto_vacuum", "incremental")?;
    }
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", false)?;
    db.pragma_update(None, "journal_size_limit", 16 << 20)?;
    // A plan is good for any value: else each new value that is compared with the
    // condition of a partial index would prepare the statement anew.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // Triggers are there for other programs. The switch keeps them from what we do, but
    // even so each row would cost two of them and a copy of every page that they might
    // have to give back.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    db.set_prepared_statement_cache_capacity(512);
    Ok(found)
}

/// The layout of the file, 0 if it is empty; an error if it is not ours.
pub(super) fn check_layout(db: &Connection, known: usize) -> Result<i64, Problem> {
    let known = known as i64;
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (found, id) = (pragma("user_version")?, pragma("application_id")?);
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    match (id, found, tables) {
        (APPLICATION_ID, found, _) if found > known => Err(Problem::Newer { found, known }),
        (APPLICATION_ID, found, _) => Ok(found),
        (0, 0, 0) => Ok(0),
        _ => Err(Problem::Foreign),
    }
}

fn migrate(tx: &Transaction<'_>, opening: &Opening, steps: &[&str]) -> Result<(), Problem> {
    let found = check_layout(tx, steps.len())?;
    for sql in &steps[usize::try_from(found).unwrap_or(0)..] {
        tx.execute_batch(sql)?;
    }
    tx.pragma_update(None, "user_version", steps.len() as i64)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    if found == 0 {
        tx.execute(
            "INSERT INTO wadi_store (one, site, gateway, device, run, clock) VALUES (1, ?, ?, ?, 0, ?)",
            (
                &opening.site,
                opening.gateway.0,
                opening.random[0] as i64,
                encode(&Clock::default()),
            ),
        )?;
        tx.execute(
            "INSERT INTO wadi_round (one, state, body, changes) VALUES (1, ?, x'', ?)",
            (encode(&GatewayRound::new()), encode(&Vec::<i64>::new())),
        )?;
    }
    Ok(())
}

/// A new run, whose parent is the old one: a restored or copied file never
/// gives a sequence twice. Runs in which nothing was changed are left out of the
/// line, which travels; the feed's own line keeps them.
fn draw_run(tx: &Transaction<'_>, opening: &Opening) -> Result<(), Problem> {
    let sql = "SELECT site, gateway, device, run, feed_seq, clock FROM wadi_store";
    let (site, gateway, device, old, feed_seq, clock) = tx.query_row(sql, (), |row| {
        let site: String = row.get(0)?;
        let [device, old, feed_seq] = [row.get::<_, i64>(2)?, row.get(3)?, row.get(4)?];
        Ok((site, row.get::<_, u32>(1)?, device, old, feed_seq, row.get::<_, Vec<u8>>(5)?))
    })?;
    if site != opening.site || gateway != opening.gateway.0 {
        return Err(Problem::OtherGateway { site, gateway });
    }
    // A box without a clock of its own wakes in 1970; it is not before what the hub told.
    let now_s = opening.now_s.max(decode::<Clock>("the clock", &clock)?.learnt_s);
    let mut run = RunId::from_random(opening.random[1]);
    // A number drawn before (48 bits: a test's generator rather than chance).
    while tx.prepare("SELECT 1 FROM wadi_life WHERE run = ?")?.exists((run.0 as i64,))? {
        run = RunId::from_random((run.0 << 16).wrapping_add(1 << 16));
    }
    // Also of changes that are no longer kept whole: the line goes on behind them.
    let last = tx
        .query_row(
            &format!("SELECT {LAST_OF_RUN} FROM wadi_run r WHERE r.device = ? AND r.run = ?"),
            (device, old),
            |row| row.get::<_, i64>(0),
        )
        .optional()?
        .unwrap_or(0);
    let parent = if last > 0 {
        Some((old, last))
    } else {
        let parent = tx
            .query_row(
                "SELECT parent_run, parent_seq FROM wadi_run WHERE device = ? AND run = ?",
                (device, old),
                |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?)),
            )
            .optional()?
            .flatten();
        tx.execute(
            "DELETE FROM wadi_run WHERE device = ?1 AND run = ?2
             AND NOT EXISTS (SELECT 1 FROM wadi_known k WHERE k.run = wadi_run.id)",
            (device, old),
        )?;
        parent
    };
    tx.execute(
        "INSERT INTO wadi_run (device, run, parent_run, parent_seq, label) VALUES (?, ?, ?, ?, ?)",
        (device, run.0 as i64, parent.map(|p| p.0), parent.map(|p| p.1), &opening.site),
    )?;
    tx.execute(
        "INSERT INTO wadi_life (run, before, feed_from, began_s) VALUES (?, nullif(?, 0), ?, ?)",
        (run.0 as i64, old, feed_seq, now_s as i64),
    )?;
    tx.execute("UPDATE wadi_store SET run = ?", (run.0 as i64,))?;
    horizon::advance(tx, run, now_s)
}

fn load(tx: &Transaction<'_>) -> Result<Ground, Problem> {
    let (round, waiting) = (load_round(tx)?, load_waiting(tx)?);
    let (runs, lines) = load_runs(tx)?;
    let mut hubs = tx.prepare("SELECT run FROM wadi_hub")?;
    let hubs: BTreeSet<RunId> = hubs
        .query_map((), |row| Ok(RunId(row.get::<_, i64>(0)? as u64)))?
        .collect::<Result<_, _>>()?;
    let schema = install::newest(tx)?;
    let mut statement =
        tx.prepare("SELECT site, gateway, device, run, feed_seq, clock FROM wadi_store")?;
    let (mut ground, clock) = statement.query_row((), |row| {
        let ground = Ground {
            site: row.get(0)?,
            gateway: GatewayId(row.get(1)?),
            device: DeviceId(row.get::<_, i64>(2)? as u64),
            run: RunId(row.get::<_, i64>(3)? as u64),
            last_seq: 0,
            feed_seq: row.get::<_, i64>(4)? as u64,
            clock: Clock::default(),
            clock_confirmed: false,
            hub_offset_s: None,
            schema,
            lines: Arc::new(lines),
            runs: Arc::new(runs),
            hubs: Arc::new(hubs),
            lost_hub: RunId::NONE,
            round,
            models: Held::of(models::HELD_MAX),
            brief: false,
            opened: None,
            plain_pages: false,
            narrow: false,
            spent: spent::Unwritten::default(),
            waiting,
            appended: 0,
            scarce: None,
        };
        Ok((ground, row.get::<_, Vec<u8>>(5)?))
    })?;
    ground.clock = decode("the clock", &clock)?;
    Ok(ground)
}

/// The machine's state, as last committed.
pub(super) fn load_round(db: &Connection) -> Result<GatewayRound, Problem> {
    let state: Vec<u8> = db.query_row("SELECT state FROM wadi_round", (), |row| row.get(0))?;
    decode("the round", &state)
}

fn load_waiting(db: &Connection) -> Result<u64, Problem> {
    let sql = "SELECT count(*) FROM wadi_change WHERE custody <> 1 AND custody IN (0, 3)";
    Ok(db.query_row(sql, (), |row| row.get::<_, i64>(0))? as u64)
}

type Runs = (HashMap<(DeviceId, RunId), i64>, Lines);

fn load_runs(db: &Connection) -> Result<Runs, Problem> {
    let mut ids = HashMap::new();
    let mut lines = Lines::new();
    let mut statement =
        db.prepare("SELECT id, device, run, parent_run, parent_seq, label, told FROM wadi_run")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let info = run_info(row, 1)?;
        ids.insert((info.device, info.run), row.get(0)?);
        if row.get(6)? {
            lines.add(&info);
        }
    }
    Ok((ids, lines))
}

/// A run from the columns device, run, parent_run, parent_seq, label.
pub(super) fn run_info(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<RunInfo> {
    let parent: Option<i64> = row.get(at + 2)?;
    let parent_seq: Option<i64> = row.get(at + 3)?;
    Ok(RunInfo {
        device: DeviceId(row.get::<_, i64>(at)? as u64),
        run: RunId(row.get::<_, i64>(at + 1)? as u64),
        parent: parent.zip(parent_seq).map(|(run, seq)| (RunId(run as u64), seq as u64)),
        label: row.get(at + 4)?,
    })
}
