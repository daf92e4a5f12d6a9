//! Lines of rounds: which of the boxes that come under one number the hub goes on with.
//!
//! Whose last round is the last that the hub committed has brought all that the hub
//! believes it has, and nothing else: that is a line. A restored, cloned or new box comes
//! with another history. It is refused and operators are told; whether the other box
//! still runs nobody can know, so one of them decides ([`Store::rejoin`]). An enrolment
//! has decided already: only who was given its secrets can come under it. A copy that asked
//! about the last round just as the box itself would was told what became of it, and lacks
//! only what the page of that round told: nothing of its own parts the two, so it is taken.
//!
//! A box that is taken begins a line: all that came before travels to it (see
//! [`super::page_row`]), no matter who brought it, as far as its cursors have not passed
//! it. The former line is refused from then on, and keeps what it has.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::id::{GatewayId, Hash, RunId};
use wadi_protocol::round::hub::HubRound;
use wadi_protocol::schema::LANES;
use wadi_protocol::wire::message::{Prepare, Up, UpBody};

use super::enrolment::{known, unknown};
use super::sql::{Bits, number_at, pack};
use super::{Store, StoreError, head, round};

/// A box that comes under a gateway's number with another history than the hub's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Other {
    /// The chain hash of its last round; zero = it never had one.
    pub parent: Hash,
    /// Its run when it came last.
    pub run: RunId,
    /// How far it has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// When it came first, seconds since 1970.
    pub first_s: u64,
    /// When it came last.
    pub last_s: u64,
}

impl Other {
    /// Whether it is a box that never finished a round: a new one, or one that lost its database.
    pub fn is_empty(&self) -> bool {
        self.parent == Hash::default()
    }
}

impl Store {
    /// Go on with the box that came last to a site with another history.
    pub fn rejoin(&mut self, site: &str) -> Result<(GatewayId, Other), StoreError> {
        self.write(|tx, _| {
            let gateway = known(tx, site)?.ok_or_else(|| unknown(site))?;
            let other = other(tx, gateway.0)?.ok_or_else(|| {
                StoreError::Refused(format!(
                    "no box with another history has come as site {site:?}: start the one that is \
                     to rejoin, and look again when `wadi-hub status` names it"
                ))
            })?;
            let machine = round::machine(tx, gateway)?.ok_or_else(|| unknown(site))?;
            let machine = begin(tx, gateway.0, machine, (other.parent, other.cursors))?;
            tx.execute(
                "UPDATE wadi_gateway SET machine = ?2 WHERE number = ?1",
                params![gateway.0, pack(&machine)],
            )?;
            Ok((gateway, other))
        })
    }

    /// The box that came last to a gateway's number with another history.
    pub fn other_line(&self, gateway: GatewayId) -> Result<Option<Other>, StoreError> {
        other(&self.db, gateway.0)
    }
}

/// What of a line decides what travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Line {
    /// How many there were before.
    pub number: u32,
    /// The hub sequence at which it began.
    pub from: u64,
    /// Whether it began with an empty box.
    pub blank: bool,
}

/// The present line of a gateway.
pub(super) fn of(db: &Connection, gateway: u32) -> Result<Line, StoreError> {
    let mut query =
        db.prepare_cached("SELECT line, home_from, blank FROM wadi_gateway WHERE number = ?1")?;
    let line = query.query_row([gateway], |row| {
        Ok(Line { number: row.get(0)?, from: number_at(row, 1)?, blank: row.get(2)? })
    });
    Ok(line.optional()?.unwrap_or_default())
}

/// A round begins on another line: take the box, if its enrolment says so, or remember
/// it for operators.
pub(super) fn met(
    db: &Connection,
    gateway: u32,
    machine: HubRound,
    up: &Up,
    now_s: u64,
) -> Result<HubRound, StoreError> {
    let UpBody::Prepare(head) = &up.body else {
        return Ok(machine);
    };
    let Prepare { parent, cursors, .. } = head;
    let mut query = db.prepare_cached("SELECT any_line FROM wadi_gateway WHERE number = ?1")?;
    // 2: only one that begins with nothing, since the hub was restored.
    let allowed: u8 = query.query_row([gateway], |row| row.get(0))?;
    let blank = *parent == Hash::default();
    if allowed == 1 || (allowed == 2 && blank) || machine.has_missed(head) {
        return begin(db, gateway, machine, (*parent, *cursors));
    }
    db.prepare_cached(
        "INSERT INTO wadi_other_line (gateway, parent, run, urgent, routine, first_s, last_s)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
         ON CONFLICT DO UPDATE SET
             first_s = iif(parent = excluded.parent, first_s, excluded.first_s),
             parent = excluded.parent, run = excluded.run, last_s = excluded.last_s,
             urgent = excluded.urgent, routine = excluded.routine",
    )?
    .execute(params![
        gateway,
        parent.0.as_slice(),
        Bits(up.run.0),
        Bits(cursors[0]),
        Bits(cursors[1]),
        Bits(now_s),
    ])?;
    Ok(machine)
}

/// Begin a line behind a round that has this chain hash, at these cursors.
fn begin(
    db: &Connection,
    gateway: u32,
    machine: HubRound,
    (parent, cursors): (Hash, [u64; LANES]),
) -> Result<HubRound, StoreError> {
    db.execute(
        "UPDATE wadi_gateway SET line = line + 1, home_from = ?2, cursor_urgent = ?3,
             cursor_routine = ?4, blank = ?5, refusals = 0, refused_s = 0, refusal = ''
         WHERE number = ?1",
        params![
            gateway,
            Bits(head(db)?),
            Bits(cursors[0]),
            Bits(cursors[1]),
            parent == Hash::default()
        ],
    )?;
    // What it brings to others is as before; it itself may not have what this was.
    db.execute(
        "UPDATE wadi_change SET stray = 1 WHERE hub_seq IS NULL AND gateway = ?1",
        [gateway],
    )?;
    db.execute("UPDATE wadi_presence SET held = 2 WHERE gateway = ?1", [gateway])?;
    for table in ["wadi_stage", "wadi_prepared", "wadi_other_line"] {
        db.execute(&format!("DELETE FROM {table} WHERE gateway = ?1"), [gateway])?;
    }
    Ok(machine.rejoin(parent))
}

/// The box that came last to a gateway's number with another history.
pub(super) fn other(db: &Connection, gateway: u32) -> Result<Option<Other>, StoreError> {
    let mut query = db.prepare_cached(
        "SELECT parent, run, urgent, routine, first_s, last_s FROM wadi_other_line
         WHERE gateway = ?1",
    )?;
    let other = query.query_row([gateway], |row| {
        Ok(Other {
            parent: Hash(row.get(0)?),
            run: RunId(number_at(row, 1)?),
            cursors: [number_at(row, 2)?, number_at(row, 3)?],
            first_s: number_at(row, 4)?,
            last_s: number_at(row, 5)?,
        })
    });
    Ok(other.optional()?)
}
