//! Enrolled gateways.
use wadi_protocol::id::GatewayId;
use wadi_protocol::schema::LANES;

use super::sql::number_at;
use super::{Store, StoreError, page};

/// A gateway as the hub knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gateway {
    /// Its number.
    pub number: GatewayId,
    /// Its site.
    pub site: String,
    /// When it was enrolled, seconds since 1970.
    pub added_s: u64,
    /// When it was heard last; 0 = never.
    pub heard_s: u64,
    /// Rounds committed.
    pub rounds: u64,
    /// The schema version it holds; 0 = none.
    pub schema: u32,
    /// When its certificate ends, seconds since 1970; 0 = not enrolled yet.
    pub until_s: u64,
    /// Whether it was revoked.
    pub revoked: bool,
    /// How far it has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
}

impl Store {
    /// Every gateway, by number.
    pub fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT number, site, added_s, heard_s, rounds, schema, cursor_urgent, cursor_routine,
                    until_s, revoked_s IS NOT NULL
             FROM wadi_gateway ORDER BY number",
        )?;
        let rows = query.query_map([], |row| {
            Ok(Gateway {
                number: GatewayId(row.get(0)?),
                site: row.get(1)?,
                added_s: number_at(row, 2)?,
                heard_s: number_at(row, 3)?,
                rounds: number_at(row, 4)?,
                schema: row.get(5)?,
                cursors: [number_at(row, 6)?, number_at(row, 7)?],
                until_s: number_at(row, 8)?,
                revoked: row.get(9)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gateways that were heard once and for which there is something to fetch.
    pub fn behind(&self) -> Result<Vec<GatewayId>, StoreError> {
        let gateways = self.gateways()?;
        self.read(|tx, catalog| {
            let mut behind = Vec::new();
            for gateway in
                gateways.iter().filter(|gateway| gateway.heard_s != 0 && !gateway.revoked)
            {
                let Gateway { number, cursors, schema, .. } = gateway;
                if page::has_more(tx, catalog, number.0, *cursors, *schema)? {
                    behind.push(*number);
                }
            }
            Ok(behind)
        })
    }
}
