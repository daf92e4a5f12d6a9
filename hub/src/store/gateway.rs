//! Enrolled gateways.
use rusqlite::{OptionalExtension, params};
use wadi_protocol::id::GatewayId;
use wadi_protocol::limits::NAME_BYTES_MAX;
use wadi_protocol::round::hub::HubRound;
use wadi_protocol::schema::LANES;

use super::sql::{Bits, number_at, pack};
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
    /// How far it has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
}

impl Store {
    /// Enrol a gateway for a site that has none.
    pub fn add_gateway(&mut self, site: &str, now_s: u64) -> Result<GatewayId, StoreError> {
        if site.is_empty() || site.len() > NAME_BYTES_MAX || site.chars().any(char::is_control) {
            let text = format!("{site:?} is no site name: use 1 to {NAME_BYTES_MAX} bytes of text");
            return Err(StoreError::Refused(text));
        }
        self.write(|tx, _| {
            let taken = tx
                .query_row("SELECT number FROM wadi_gateway WHERE site = ?1", [site], |row| {
                    row.get::<_, u32>(0)
                })
                .optional()?;
            if let Some(number) = taken {
                let text =
                    format!("site {site:?} has gateway {number} already: choose another name");
                return Err(StoreError::Refused(text));
            }
            tx.execute(
                "INSERT INTO wadi_gateway (site, added_s, machine) VALUES (?1, ?2, ?3)",
                params![site, Bits(now_s), pack(&HubRound::new())],
            )?;
            let number = u32::try_from(tx.last_insert_rowid())
                .map_err(|_| StoreError::Refused("there are too many gateways".into()))?;
            Ok(GatewayId(number))
        })
    }

    /// Every gateway, by number.
    pub fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT number, site, added_s, heard_s, rounds, schema, cursor_urgent, cursor_routine
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
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gateways that were heard once and for which there is something to fetch.
    pub fn behind(&self) -> Result<Vec<GatewayId>, StoreError> {
        let gateways = self.gateways()?;
        self.read(|tx, catalog| {
            let mut behind = Vec::new();
            for gateway in gateways.iter().filter(|gateway| gateway.heard_s != 0) {
                let Gateway { number, cursors, schema, .. } = gateway;
                if page::has_more(tx, catalog, number.0, *cursors, *schema)? {
                    behind.push(*number);
                }
            }
            Ok(behind)
        })
    }
}
