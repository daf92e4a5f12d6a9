//! Enrolments: which certificates and message keys of a gateway count.
//!
//! Only the newest enrolment of a gateway counts, and none once it is revoked.
//! A renewed certificate waits here until a committed round has brought it.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::id::GatewayId;
use wadi_protocol::limits::{NAME_BYTES_MAX, is_name};
use wadi_protocol::round::hub::HubRound;
use wadi_protocol::wire::downlink::Renewal;

use super::sql::{Bits, number_at, pack};
use super::{Store, StoreError};

/// Enrolments of one gateway: an older one is still told that it was replaced.
const ENROLMENTS_MAX: u32 = 1_000;

/// One certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Certificate {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its enrolment, from 1.
    pub enrolment: u32,
    /// Counts the certificates of the enrolment, from 1.
    pub issue: u32,
    /// When it ends, seconds since 1970.
    pub until_s: u64,
}

/// What counts of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// The newest enrolment; 0 = none.
    pub enrolment: u32,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// A gateway whose certificate is to be renewed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// The next certificate, its end not decided.
    pub next: Certificate,
    /// The key that it is for.
    pub public_key: Vec<u8>,
}

impl Store {
    /// Enrol the gateway of a site: a new one, or with `again` one that is there. `make`
    /// makes the certificate and hands it over; its public key comes back. If it
    /// fails, nothing has happened.
    pub fn enrol(
        &mut self,
        site: &str,
        again: bool,
        (now_s, until_s): (u64, u64),
        make: impl FnOnce(Certificate) -> Result<Vec<u8>, String>,
    ) -> Result<Certificate, StoreError> {
        check_name(site)?;
        self.write(|tx, _| {
            let (gateway, enrolment) = place(tx, site, again, now_s)?;
            let certificate = Certificate { gateway, enrolment, issue: 1, until_s };
            let public_key = make(certificate).map_err(StoreError::Refused)?;
            tx.execute(
                "UPDATE wadi_gateway SET enrolment = ?2, issue = 1, enrolled_s = ?3, until_s = ?4,
                     public_key = ?5, revoked_s = NULL, renewal = NULL, any_line = ?6
                 WHERE number = ?1",
                params![gateway.0, enrolment, Bits(now_s), Bits(until_s), public_key, again],
            )?;
            note(tx, certificate)?;
            Ok(certificate)
        })
    }

    /// Believe a gateway no longer.
    pub fn revoke(&mut self, site: &str, now_s: u64) -> Result<GatewayId, StoreError> {
        self.write(|tx, _| {
            let gateway = known(tx, site)?.ok_or_else(|| unknown(site))?;
            tx.execute(
                "UPDATE wadi_gateway SET revoked_s = coalesce(revoked_s, ?2), renewal = NULL WHERE number = ?1",
                params![gateway.0, Bits(now_s)],
            )?;
            Ok(gateway)
        })
    }

    /// What counts of a gateway; none if there is no such gateway.
    pub fn standing(&self, gateway: GatewayId) -> Result<Option<Standing>, StoreError> {
        let mut query = self
            .db
            .prepare_cached("SELECT enrolment, revoked_s FROM wadi_gateway WHERE number = ?1")?;
        Ok(query.query_row([gateway.0], standing_at).optional()?)
    }

    /// What counts of every gateway.
    pub fn roster(&self) -> Result<Vec<(GatewayId, Standing)>, StoreError> {
        let mut query =
            self.db.prepare_cached("SELECT enrolment, revoked_s, number FROM wadi_gateway")?;
        let rows = query.query_map([], |row| Ok((GatewayId(row.get(2)?), standing_at(row)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Certificates that are no longer to be believed although they have not ended.
    pub fn revoked(&self, now_s: u64) -> Result<Vec<Certificate>, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT c.gateway, c.enrolment, c.issue, c.until_s
             FROM wadi_certificate c JOIN wadi_gateway g ON g.number = c.gateway
             WHERE (c.enrolment < g.enrolment OR g.revoked_s IS NOT NULL) AND c.until_s > ?1
             ORDER BY 1, 2, 3",
        )?;
        let rows = query.query_map([Bits(now_s)], |row| {
            Ok(Certificate {
                gateway: GatewayId(row.get(0)?),
                enrolment: row.get(1)?,
                issue: row.get(2)?,
                until_s: number_at(row, 3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Gateways whose certificate ends before `before_s` and that have no renewal waiting.
    pub fn renewals_due(&self, before_s: u64) -> Result<Vec<Due>, StoreError> {
        let mut query = self.db.prepare_cached(
            "SELECT number, enrolment, issue, public_key FROM wadi_gateway
             WHERE enrolment > 0 AND revoked_s IS NULL AND renewal IS NULL AND until_s < ?1",
        )?;
        let rows = query.query_map([Bits(before_s)], |row| {
            let gateway = GatewayId(row.get(0)?);
            let (enrolment, issue) = (row.get(1)?, row.get::<_, u32>(2)?.saturating_add(1));
            let next = Certificate { gateway, enrolment, issue, until_s: 0 };
            Ok(Due { next, public_key: row.get(3)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Let the next rounds of a gateway bring a certificate.
    pub fn put_renewal(&mut self, next: Certificate, der: &[u8]) -> Result<(), StoreError> {
        self.write(|tx, _| {
            let changed = tx.execute(
                "UPDATE wadi_gateway SET renewal = ?3, renewal_until_s = ?4, issue = ?5
                 WHERE number = ?1 AND enrolment = ?2 AND revoked_s IS NULL",
                params![next.gateway.0, next.enrolment, der, Bits(next.until_s), next.issue],
            )?;
            // Enrolled anew or revoked meanwhile: then it is for nothing.
            if changed > 0 { note(tx, next) } else { Ok(()) }
        })
    }
}

/// The certificate that a gateway's next page brings, if any.
pub(super) fn renewal(db: &Connection, gateway: u32) -> Result<Option<Renewal>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT enrolment, renewal_until_s, renewal FROM wadi_gateway
         WHERE number = ?1 AND renewal IS NOT NULL",
    )?;
    let renewal = query.query_row([gateway], |row| {
        Ok(Renewal { enrolment: row.get(0)?, until_s: number_at(row, 1)?, der: row.get(2)? })
    });
    Ok(renewal.optional()?)
}

/// A page was committed: the gateway has this certificate.
pub(super) fn renewed(db: &Connection, gateway: u32, certificate: &[u8]) -> Result<(), StoreError> {
    db.prepare_cached(
        "UPDATE wadi_gateway SET until_s = renewal_until_s, renewal = NULL
         WHERE number = ?1 AND renewal = ?2",
    )?
    .execute(params![gateway, certificate])?;
    Ok(())
}

fn check_name(site: &str) -> Result<(), StoreError> {
    if !is_name(site) {
        let text = format!("{site:?} is no site name: use 1 to {NAME_BYTES_MAX} bytes of text");
        return Err(StoreError::Refused(text));
    }
    Ok(())
}

/// The number of a site's gateway and its next enrolment.
fn place(
    tx: &Connection,
    site: &str,
    again: bool,
    now_s: u64,
) -> Result<(GatewayId, u32), StoreError> {
    let Some(gateway) = known(tx, site)? else {
        if again {
            return Err(unknown(site));
        }
        tx.execute(
            "INSERT INTO wadi_gateway (site, added_s, machine) VALUES (?1, ?2, ?3)",
            params![site, Bits(now_s), pack(&HubRound::new())],
        )?;
        let number = u32::try_from(tx.last_insert_rowid())
            .map_err(|_| StoreError::Refused("there are too many gateways".into()))?;
        return Ok((GatewayId(number), 1));
    };
    let sql = "SELECT enrolment FROM wadi_gateway WHERE number = ?1";
    let enrolment: u32 = tx.query_row(sql, [gateway.0], |row| row.get(0))?;
    if !again && enrolment > 0 {
        return Err(StoreError::Refused(format!(
            "site {site:?} has gateway {gateway} already: choose another name, or run \
             `wadi-hub gateway enrol {site}` to enrol it anew"
        )));
    }
    if enrolment >= ENROLMENTS_MAX {
        let text = format!("site {site:?} was enrolled {enrolment} times: use another site name");
        return Err(StoreError::Refused(text));
    }
    Ok((gateway, enrolment + 1))
}

/// The gateway of a site.
pub(super) fn known(tx: &Connection, site: &str) -> Result<Option<GatewayId>, StoreError> {
    let mut query = tx.prepare_cached("SELECT number FROM wadi_gateway WHERE site = ?1")?;
    Ok(query.query_row([site], |row| row.get(0).map(GatewayId)).optional()?)
}

/// There is none.
pub(super) fn unknown(site: &str) -> StoreError {
    StoreError::Refused(format!("there is no site {site:?}: `wadi-hub gateway list` names them"))
}

fn note(tx: &Connection, certificate: Certificate) -> Result<(), StoreError> {
    let Certificate { gateway, enrolment, issue, until_s } = certificate;
    tx.execute(
        "INSERT INTO wadi_certificate (gateway, enrolment, issue, until_s) VALUES (?1, ?2, ?3, ?4)",
        params![gateway.0, enrolment, issue, Bits(until_s)],
    )?;
    Ok(())
}

fn standing_at(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
    let revoked: Option<i64> = row.get(1)?;
    Ok(Standing { enrolment: row.get(0)?, revoked: revoked.is_some() })
}
