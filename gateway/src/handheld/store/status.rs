//! What is where, for people: nothing here is remembered, everything is counted.
use std::collections::BTreeMap;

use wadi_protocol::link::message::FeedCursor;

use super::{Store, StoreError, all};

/// The state of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Status {
    /// Own changes by custody: all that were ever made are in one of them.
    pub changes: BTreeMap<String, u64>,
    /// Own changes that are put aside, parked or refused, with the reason; the first hundred.
    pub undecided: Vec<Undecided>,
    /// Rows shown, by table.
    pub rows: BTreeMap<String, u64>,
    /// Devices: label, id, run, last sequence.
    pub devices: Vec<(String, String, String, u64)>,
    /// The schema version; 0 = none yet.
    pub schema: u32,
    /// The site of the gateway synced with last.
    pub site: Option<String>,
    /// Where the replica stands.
    pub feed: FeedCursor,
    /// When everything was last offered and pulled, seconds since 1970.
    pub last_sync_s: Option<u64>,
}

/// A change that something is to be known about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Undecided {
    /// Its dot.
    pub dot: String,
    /// Its table.
    pub table: String,
    /// Its row.
    pub row: String,
    /// Where it is.
    pub custody: String,
    /// Why.
    pub reason: String,
}

const UNDECIDED_SHOWN_MAX: u32 = 100;

impl Store {
    /// Count everything, in one picture: a sync may run beside this.
    pub fn status(&self) -> Result<Status, StoreError> {
        let _snapshot = self.db.unchecked_transaction()?;
        let mut changes: BTreeMap<String, u64> =
            ["pending", "taken", "parked", "quarantined", "durable"]
                .into_iter()
                .map(|custody| (custody.to_owned(), 0))
                .collect();
        let kept = all(
            &self.db,
            "SELECT custody, count(*) FROM wadi_change GROUP BY custody",
            (),
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)? as u64)),
        )?;
        changes.extend(kept);
        let dropped: i64 =
            self.db.query_row("SELECT coalesce(sum(durable), 0) FROM wadi_run", (), |row| {
                row.get(0)
            })?;
        *changes.entry("durable".into()).or_default() += dropped as u64;
        let mut rows = BTreeMap::new();
        for table in self.schema().iter().flat_map(|schema| &schema.tables) {
            let sql = format!("SELECT count(*) FROM \"{}\"", table.name);
            let count: i64 = self.db.query_row(&sql, (), |row| row.get(0))?;
            rows.insert(table.name.clone(), count as u64);
        }
        let (site, last_sync_s) =
            self.db.query_row("SELECT site, last_sync_s FROM wadi_file", (), |row| {
                Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(|second| second as u64)))
            })?;
        let devices = self.ground.devices.values().map(|device| {
            (device.label.clone(), device.id.to_string(), device.run.to_string(), device.seq)
        });
        Ok(Status {
            changes,
            undecided: self.told()?,
            rows,
            devices: devices.collect(),
            schema: self.schema().map_or(0, |schema| schema.version),
            site,
            feed: self.feed(),
            last_sync_s,
        })
    }

    fn told(&self) -> Result<Vec<Undecided>, StoreError> {
        let sql = "SELECT device, run, seq, tbl, row, custody, reason FROM wadi_change
                   WHERE custody IN ('parked', 'quarantined') OR reason IS NOT NULL
                   ORDER BY place LIMIT ?";
        all(&self.db, sql, (UNDECIDED_SHOWN_MAX,), |row| {
            let device = super::device_of(row.get(0)?);
            let run = wadi_protocol::id::RunId(row.get::<_, i64>(1)? as u64);
            let dot = wadi_protocol::id::Dot { device, run, seq: row.get::<_, i64>(2)? as u64 };
            let bytes: [u8; 16] = row.get(4)?;
            Ok(Undecided {
                dot: dot.to_string(),
                table: row.get(3)?,
                row: wadi_protocol::id::RowId(bytes).to_string(),
                custody: row.get(5)?,
                reason: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            })
        })
    }
}
