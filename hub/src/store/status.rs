//! How things stand, at a glance.
use wadi_protocol::id::RunId;

use super::backup::Watermark;
use super::gateway::Gateway;
use super::{Store, StoreError, head, page, run};

const CONFLICTS: &str = "SELECT
    (SELECT count(*) FROM (SELECT 1 FROM wadi_candidate GROUP BY tbl, row, field HAVING count(*) > 1))
    + (SELECT count(*) FROM wadi_row WHERE kept)";

/// The state of the hub and its sites.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The hub's run.
    pub run: RunId,
    /// The hub sequence.
    pub head: u64,
    /// The schema's name and version, if one was published.
    pub schema: Option<(String, u32)>,
    /// Live rows of each table.
    pub tables: Vec<(String, u64)>,
    /// Changes applied, operators' own left out.
    pub durable: u64,
    /// Changes that wait for what they need.
    pub parked: u64,
    /// Changes in quarantine.
    pub quarantined: u64,
    /// Fields (and existences) with two or more candidates, and deletes that were not obeyed.
    pub conflicts: u64,
    /// Open cases.
    pub reviews: u64,
    /// Up to where a backup exists.
    pub backup: Option<Watermark>,
    /// Every site; problems first.
    pub sites: Vec<Site>,
}

/// One site.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Its gateway.
    pub gateway: Gateway,
    /// Whether there is something for it to fetch.
    pub behind: bool,
    /// Hub sequences that it has not passed yet, the slower lane's.
    pub sequences_behind: u64,
    /// Its changes that wait for what they need.
    pub parked: u64,
    /// Its changes in quarantine.
    pub quarantined: u64,
}

impl Store {
    /// How things stand.
    pub fn status(&self) -> Result<Status, StoreError> {
        let gateways = self.gateways()?;
        let backup = self.watermark()?;
        self.read(|tx, catalog| {
            let count = |sql: &str| tx.query_row(sql, [], |row| super::sql::number_at(row, 0));
            let head = head(tx)?;
            let newest = catalog.newest();
            let mut tables = Vec::new();
            for table in newest.map(|schema| &schema.tables[..]).unwrap_or_default() {
                let rows = count(&format!("SELECT count(*) FROM \"{}\"", table.name))?;
                tables.push((table.name.clone(), rows));
            }
            let mut sites = Vec::new();
            for gateway in gateways {
                let number = gateway.number.0;
                sites.push(Site {
                    behind: page::has_more(tx, catalog, number, gateway.cursors, gateway.schema)?,
                    sequences_behind: head.saturating_sub(gateway.cursors.into_iter().min().unwrap_or(0)),
                    parked: count(&format!(
                        "SELECT count(*) FROM wadi_change WHERE hub_seq IS NULL AND gateway = {number}"
                    ))?,
                    quarantined: count(&format!(
                        "SELECT count(*) FROM wadi_quarantine WHERE gateway = {number}"
                    ))?,
                    gateway,
                });
            }
            // Problems first, then whoever was silent longest.
            sites.sort_by_key(|site: &Site| {
                let well = site.parked == 0 && site.quarantined == 0;
                (well, site.gateway.heard_s, site.gateway.number)
            });
            Ok(Status {
                run: run::current_run(tx)?,
                head,
                schema: newest.map(|schema| (schema.name.clone(), schema.version)),
                tables,
                durable: count(
                    "SELECT count(*) FROM wadi_change WHERE hub_seq IS NOT NULL AND gateway <> 0",
                )?,
                conflicts: count(CONFLICTS)?,
                parked: count("SELECT count(*) FROM wadi_change WHERE hub_seq IS NULL")?,
                quarantined: count("SELECT count(*) FROM wadi_quarantine")?,
                reviews: count("SELECT count(*) FROM wadi_review WHERE closed_seq IS NULL")?,
                backup,
                sites,
            })
        })
    }
}
