//! How things stand, at a glance: for `status` and for the figures.
//!
//! One query for each kind of fact, whatever the number of sites, and none that
//! reads what grows without end; whether there is something to fetch for a site
//! is looked for within a bound.
use std::collections::BTreeMap;

use rusqlite::Connection;
use wadi_protocol::id::{RowId, RunId};
use wadi_protocol::limits::ROW_BYTES_MAX;

use super::backup::Watermark;
use super::copied::{self, Copied};
use super::gateway::Gateway;
use super::line::{self, Other};
use super::restored::{self, Loss};
use super::spent::{self, Costs};
use super::sql::{key_at, number_at};
use super::wanted::{self, Missing};
use super::{Catalog, Store, StoreError, head, page, run};

/// Lines of the log that one status looks at, for all sites together.
const LINES_LOOKED_MAX: usize = 50_000;

/// Rows that are too large to travel and are told of by name.
const LARGE_ROWS_MAX: u32 = 16;
// The index that knows them names its bound in SQL.
const _: () = assert!(ROW_BYTES_MAX == 1_048_576);

const CONFLICTS: &str = "SELECT
    (SELECT count(*) FROM (SELECT 1 FROM wadi_candidate GROUP BY tbl, row, field HAVING count(*) > 1))
    + (SELECT count(*) FROM wadi_row WHERE kept)";

/// Two indices know it, and no change need be read but the operators' own.
const DURABLE: &str = "SELECT
    (SELECT count(*) FROM wadi_change WHERE hub_seq IS NOT NULL)
    - (SELECT count(*) FROM wadi_change WHERE gateway = 0 AND hub_seq IS NOT NULL)";

/// The state of the hub and its sites. Times are seconds since 1970; 0 = never.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The hub's run.
    pub run: RunId,
    /// When the first run began; 0 = the hub never served.
    pub began_s: u64,
    /// When this one began.
    pub run_s: u64,
    /// The hub sequence.
    pub head: u64,
    /// The schema's name and version, if one was published.
    pub schema: Option<(String, u32)>,
    /// Live rows of each table; empty where they were not asked for.
    pub tables: Vec<(String, u64)>,
    /// Changes applied, operators' own left out.
    pub durable: u64,
    /// Changes that wait for what they need.
    pub parked: u64,
    /// Changes in quarantine that nobody has rejected.
    pub quarantined: u64,
    /// Changes that operators rejected.
    pub rejected: u64,
    /// Rows that parked changes wait for, longest first, the first few.
    pub missing: Vec<Missing>,
    /// Rows that are too large to travel, the first few: tables' names and ids.
    pub large: Vec<(String, RowId)>,
    /// Fields (and existences) with two or more candidates, and deletes that were not obeyed.
    pub conflicts: u64,
    /// Open cases.
    pub reviews: u64,
    /// When the oldest of them was opened.
    pub reviews_oldest_s: u64,
    /// Up to where a backup exists.
    pub backup: Option<Watermark>,
    /// What is known of a loss, if the database was restored.
    pub loss: Loss,
    /// Devices that go on in two places, the latest first.
    pub copied: Vec<Copied>,
    /// Every site, by number.
    pub sites: Vec<Site>,
}

/// One site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its gateway.
    pub gateway: Gateway,
    /// Whether there is something for it to fetch; none = not found out within the bound.
    pub behind: Option<bool>,
    /// Hub sequences that it has not passed yet, the slower lane's.
    pub sequences_behind: u64,
    /// Its changes that wait for what they need.
    pub parked: Waiting,
    /// Its changes in quarantine that nobody has rejected.
    pub quarantined: Waiting,
    /// What its link cost, as far as it told; none = it told nothing.
    pub costs: Option<Costs>,
    /// Open cases about rows that it brought.
    pub reviews: Waiting,
    /// When its last round was committed.
    pub round_s: u64,
    /// How often it was refused.
    pub refusals: u64,
    /// When last.
    pub refused_s: u64,
    /// Why then.
    pub refusal: String,
    /// The box that comes under its number with another history, if one does.
    pub other_line: Option<Other>,
}

/// How many wait, and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// When the oldest of them came.
    pub oldest_s: u64,
}

type BySite = BTreeMap<u32, Waiting>;

impl Store {
    /// How things stand.
    pub fn status(&self) -> Result<Status, StoreError> {
        self.look(true)
    }

    /// How things stand, without counting rows.
    pub fn figures(&self) -> Result<Status, StoreError> {
        self.look(false)
    }

    fn look(&self, with_rows: bool) -> Result<Status, StoreError> {
        let gateways = self.gateways()?;
        let backup = self.watermark()?;
        self.read(|tx, catalog| {
            let count = |sql: &str| tx.query_row(sql, [], |row| number_at(row, 0));
            let newest = catalog.newest();
            let (reviews, reviews_oldest_s) = tx.query_row(
                "SELECT count(*), coalesce(min(opened_s), 0) FROM wadi_review WHERE closed_seq IS NULL",
                [],
                |row| Ok((number_at(row, 0)?, number_at(row, 1)?)),
            )?;
            Ok(Status {
                run: run::current_run(tx)?,
                began_s: count("SELECT coalesce(min(started_s), 0) FROM wadi_hub_run")?,
                run_s: count("SELECT coalesce((SELECT started_s FROM wadi_hub_run ORDER BY number DESC LIMIT 1), 0)")?,
                head: head(tx)?,
                schema: newest.map(|schema| (schema.name.clone(), schema.version)),
                tables: if with_rows { rows(tx, catalog)? } else { Vec::new() },
                durable: count(DURABLE)?,
                conflicts: count(CONFLICTS)?,
                parked: count("SELECT count(*) FROM wadi_change WHERE hub_seq IS NULL")?,
                quarantined: count(&aside("IS NULL"))?,
                rejected: count(&aside("IS NOT NULL"))?,
                missing: wanted::missing(tx, catalog)?,
                large: large(tx, catalog)?,
                reviews,
                reviews_oldest_s,
                backup,
                loss: restored::loss(tx)?,
                copied: copied::list(tx)?,
                sites: sites(tx, catalog, gateways)?,
            })
        })
    }
}

/// Counts what is kept outside the tables, rejected or not.
fn aside(rejected: &str) -> String {
    format!(
        "SELECT (SELECT count(*) FROM wadi_quarantine WHERE rejected {rejected})
             + (SELECT count(*) FROM wadi_clash WHERE rejected {rejected})"
    )
}

fn rows(db: &Connection, catalog: &Catalog) -> Result<Vec<(String, u64)>, StoreError> {
    let mut rows = Vec::new();
    for table in catalog.newest().map(|schema| &schema.tables[..]).unwrap_or_default() {
        let count = format!("SELECT count(*) FROM \"{}\"", table.name);
        rows.push((table.name.clone(), db.query_row(&count, [], |row| number_at(row, 0))?));
    }
    Ok(rows)
}

fn large(db: &Connection, catalog: &Catalog) -> Result<Vec<(String, RowId)>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT tbl, row FROM wadi_row WHERE length(fields) > 1048576 ORDER BY tbl, row LIMIT ?1",
    )?;
    let rows = query.query_map([LARGE_ROWS_MAX], |row| key_at(row, 0))?;
    rows.map(|key| key.map(|key| Ok((catalog.table(key.table)?.name.clone(), key.row)))?).collect()
}

fn sites(
    db: &Connection,
    catalog: &Catalog,
    gateways: Vec<Gateway>,
) -> Result<Vec<Site>, StoreError> {
    let head = head(db)?;
    let parked = by_site(
        db,
        "SELECT gateway, count(*), min(received_s) FROM wadi_change WHERE hub_seq IS NULL GROUP BY gateway",
    )?;
    let quarantined = by_site(
        db,
        "SELECT gateway, count(*), min(received_s) FROM (
             SELECT gateway, received_s FROM wadi_quarantine WHERE rejected IS NULL
             UNION ALL SELECT gateway, received_s FROM wadi_clash WHERE rejected IS NULL)
         GROUP BY gateway",
    )?;
    let reviews = by_site(
        db,
        "SELECT r.site, count(*), min(o.opened_s) FROM wadi_review o
             JOIN wadi_row r ON r.tbl = o.tbl AND r.row = o.row
         WHERE o.closed_seq IS NULL GROUP BY r.site",
    )?;
    let costs = spent::costs(db)?;
    let mut lines_left = LINES_LOOKED_MAX;
    let mut sites = Vec::with_capacity(gateways.len());
    let mut notes = db.prepare_cached(
        "SELECT number, round_s, refusals, refused_s, refusal FROM wadi_gateway ORDER BY number",
    )?;
    let mut notes = notes.query([])?;
    for gateway in gateways {
        let number = gateway.number.0;
        let Gateway { cursors, schema, .. } = gateway;
        let waiting = |all: &BySite| all.get(&number).copied().unwrap_or_default();
        let mut site = Site {
            behind: page::look_ahead(db, catalog, number, cursors, schema, &mut lines_left)?,
            sequences_behind: head.saturating_sub(cursors.into_iter().min().unwrap_or(0)),
            parked: waiting(&parked),
            quarantined: waiting(&quarantined),
            costs: costs.get(&number).copied(),
            reviews: waiting(&reviews),
            round_s: 0,
            refusals: 0,
            refused_s: 0,
            refusal: String::new(),
            other_line: line::other(db, number)?,
            gateway,
        };
        // Both are by number, and a gateway is never taken out again.
        while let Some(note) = notes.next()? {
            if note.get::<_, u32>(0)? == number {
                site.round_s = number_at(note, 1)?;
                site.refusals = number_at(note, 2)?;
                site.refused_s = number_at(note, 3)?;
                site.refusal = note.get(4)?;
                break;
            }
        }
        sites.push(site);
    }
    Ok(sites)
}

fn by_site(db: &Connection, sql: &str) -> Result<BySite, StoreError> {
    let mut query = db.prepare_cached(sql)?;
    let rows = query.query_map([], |row| {
        let waiting = Waiting { count: number_at(row, 1)?, oldest_s: number_at(row, 2)? };
        Ok((row.get(0)?, waiting))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
