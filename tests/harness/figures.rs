//! What `status --json` says, read in one place.
use anyhow::{Context, Result};
use serde_json::Value;

use crate::gateway::Gateway;
use crate::handheld::Handheld;
use crate::hub::Operator;

/// Where the changes are, as the hub counts them.
#[derive(Clone, Debug, Default)]
pub struct HubFigures {
    /// Committed and applied; the operators' own are not counted.
    pub durable: i64,
    /// Committed, waiting for a parent.
    pub parked: i64,
    /// Kept whole, outside the tables.
    pub quarantined: i64,
    /// Fields with two or more candidates.
    pub conflicts: i64,
    /// Cases that wait for a person.
    pub reviews: i64,
    /// The hub sequence.
    pub head: i64,
    /// Of each gateway in the order of their numbers: whether it has something to fetch,
    /// by where it stood when it asked last.
    pub behind: Vec<bool>,
}

impl HubFigures {
    /// Ask the hub.
    pub fn ask(operator: &Operator) -> Result<HubFigures> {
        let status = operator.json(&["status"])?;
        let sites = status.get("sites").and_then(Value::as_array).context("status has no sites")?;
        Ok(HubFigures {
            durable: number(&status, "durable")?,
            parked: number(&status, "parked")?,
            quarantined: number(&status, "quarantined")?,
            conflicts: number(&status, "conflicts")?,
            reviews: number(&status, "reviews")?,
            head: number(&status, "head")?,
            behind: behind_by_number(sites),
        })
    }

    /// Changes that are somewhere at the hub.
    pub fn accounted(&self) -> i64 {
        self.durable + self.parked + self.quarantined
    }
}

/// Status has the worst site first.
fn behind_by_number(sites: &[Value]) -> Vec<bool> {
    let mut sites: Vec<&Value> = sites.iter().collect();
    sites.sort_by_key(|site| site["gateway"].as_u64());
    sites.iter().map(|site| site["behind"] != false).collect()
}

/// Why a gateway (from 0) has not caught up with the hub; none = it has.
pub fn behind(gateway: &Gateway, at: usize, hub: &HubFigures) -> Result<Option<String>> {
    let status = gateway.json(&["status"])?;
    let pending =
        status.get("pending").and_then(Value::as_array).context("status has no pending")?;
    if !pending.is_empty() {
        return Ok(Some(format!("pending {pending:?}")));
    }
    let cursors =
        status.get("cursors").and_then(Value::as_array).context("status has no cursors")?;
    let least = cursors.iter().filter_map(Value::as_i64).min().unwrap_or(0);
    if least >= hub.head || hub.behind.get(at) == Some(&false) {
        return Ok(None);
    }
    Ok(Some(format!("at {least} of {}", hub.head)))
}

/// Where a handheld's own changes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandheldFigures {
    /// At the handheld only, or at a gateway.
    pub open: i64,
    /// At the hub, but not in its tables: parked or in quarantine.
    pub held_back: i64,
    /// Committed and applied.
    pub durable: i64,
}

impl HandheldFigures {
    /// Ask a handheld.
    pub fn ask(handheld: &Handheld) -> Result<HandheldFigures> {
        let status = handheld.status()?;
        let changes = status.get("changes").context("status has no changes")?;
        Ok(HandheldFigures {
            open: number(changes, "pending")? + number(changes, "taken")?,
            held_back: number(changes, "parked")? + number(changes, "quarantined")?,
            durable: number(changes, "durable")?,
        })
    }
}

/// A number that must be there.
pub fn number(status: &Value, key: &str) -> Result<i64> {
    status
        .get(key)
        .and_then(Value::as_i64)
        .with_context(|| format!("no number {key:?} in {status}"))
}
