//! What the link cost, for `status`: today and in the month of the contract, by purpose and
//! by table, and what may still be sent.
//!
//! The names of the fields are those of `status --json`.
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;
use wadi_protocol::schema::{Lane, Schema};

use super::error::{Problem, StoreError};
use super::open::open_to_look;
use super::{install, spent};
use crate::spending::config::Data;
use crate::spending::{Gate, Purpose, Traffic, Why, Window};

/// The costs. Bytes are of IP, both ways together unless said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Costs {
    /// Whose bytes: the interface, or none = the connection's own.
    pub interface: Option<String>,
    /// Since midnight.
    pub today: Period,
    /// Since the month of the contract began.
    pub month: Period,
    /// Rounds committed today.
    pub rounds_today: u64,
    /// What the last round took.
    pub last_round: Traffic,
    /// The payload by table, in the month.
    pub tables: Vec<TableCost>,
    /// What may be sent now: `all`, `urgent` or `nothing`.
    pub may_send: &'static str,
    /// Why not all, in words.
    pub held: Option<String>,
    /// What holds the rest back.
    pub held_by: Option<Why>,
    /// Until when, seconds since 1970.
    pub held_until_s: Option<u64>,
}

/// A stretch of days.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Period {
    /// All that was counted.
    pub bytes: u64,
    /// As much of it as counts for the budget.
    pub counted_bytes: u64,
    /// The budget; none = no bound.
    pub budget_bytes: Option<u64>,
    /// Changesets and pages, as coded.
    pub payload_bytes: u64,
    /// What carried them.
    pub protocol_bytes: u64,
    /// To connect.
    pub connect_bytes: u64,
    /// To keep an idle connection.
    pub idle_bytes: u64,
    /// Of other programs.
    pub others_bytes: u64,
}

impl Period {
    /// By purpose.
    pub fn each(&self) -> [(Purpose, u64); Purpose::ALL.len()] {
        [
            (Purpose::Payload, self.payload_bytes),
            (Purpose::Protocol, self.protocol_bytes),
            (Purpose::Connect, self.connect_bytes),
            (Purpose::Idle, self.idle_bytes),
            (Purpose::Others, self.others_bytes),
        ]
    }
}

/// The payload of a table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TableCost {
    /// The table; "-" = what is of none, as a schema.
    pub table: String,
    /// Whether it is urgent.
    pub urgent: bool,
    /// Its changes.
    pub up_bytes: u64,
    /// Its rows.
    pub down_bytes: u64,
}

/// The costs of a database file, under the bounds of a configuration.
pub fn read(path: &Path, data: &Data, now_s: u64) -> Result<Costs, StoreError> {
    let costs = open_to_look(path).and_then(|db| {
        let snapshot = db.unchecked_transaction()?;
        costs(&snapshot, data, now_s)
    });
    costs.map_err(|problem| problem.at(path))
}

fn costs(db: &Connection, data: &Data, now_s: u64) -> Result<Costs, Problem> {
    let allowance = data.allowance();
    let at = allowance.moment(spent::now_of(db, now_s)?);
    let sums = spent::sums(db, None, &at, allowance.cheap_free)?;
    let gate = allowance.gate(&at, sums);
    let (may_send, held) = match gate {
        Gate::Open => ("all", None),
        Gate::Urgent(why, until_s) => ("urgent", Some((why, until_s))),
        Gate::Shut(why, until_s) => ("nothing", Some((why, until_s))),
    };
    let rounds = "SELECT coalesce(sum(rounds), 0) FROM wadi_spent_day WHERE day = ?";
    let last = "SELECT last_round_up, last_round_down FROM wadi_store";
    let number = |row: &rusqlite::Row<'_>, at| Ok(row.get::<_, i64>(at)?.max(0).cast_unsigned());
    Ok(Costs {
        interface: data.interface.clone(),
        today: period(db, &at.day, sums.day, allowance.day)?,
        month: period(db, &at.month, sums.month, allowance.month)?,
        rounds_today: db.query_row(rounds, (at.day.days.start,), |row| number(row, 0))?,
        last_round: db.query_row(last, (), |row| {
            Ok::<_, rusqlite::Error>(Traffic { up: number(row, 0)?, down: number(row, 1)? })
        })?,
        tables: tables(db, &at.month, install::newest(db)?.as_deref())?,
        may_send,
        held: held.map(|_| gate.to_string()),
        held_by: held.map(|(why, _)| why),
        held_until_s: held.map(|(_, until_s)| until_s),
    })
}

fn period(
    db: &Connection,
    window: &Window,
    counted_bytes: u64,
    budget_bytes: Option<u64>,
) -> Result<Period, Problem> {
    let mut period = Period { counted_bytes, budget_bytes, ..Period::default() };
    let mut statement = db.prepare(
        "SELECT purpose, sum(up + down) FROM wadi_spent WHERE day >= ? AND day < ? GROUP BY purpose",
    )?;
    let mut rows = statement.query((window.days.start, window.days.end))?;
    while let Some(row) = rows.next()? {
        let (purpose, bytes): (u8, i64) = (row.get(0)?, row.get(1)?);
        let bytes = bytes.max(0).cast_unsigned();
        period.bytes += bytes;
        *match Purpose::of(purpose) {
            Purpose::Payload => &mut period.payload_bytes,
            Purpose::Protocol => &mut period.protocol_bytes,
            Purpose::Connect => &mut period.connect_bytes,
            Purpose::Idle => &mut period.idle_bytes,
            Purpose::Others => &mut period.others_bytes,
        } += bytes;
    }
    Ok(period)
}

/// The dearest first.
fn tables(
    db: &Connection,
    month: &Window,
    schema: Option<&Schema>,
) -> Result<Vec<TableCost>, Problem> {
    let mut statement = db.prepare(
        "SELECT tbl, sum(up), sum(down) FROM wadi_spent WHERE day >= ? AND day < ? AND purpose = 0
         GROUP BY tbl ORDER BY sum(up + down) DESC",
    )?;
    let tables = statement.query_map((month.days.start, month.days.end), |row| {
        let number: u16 = row.get(0)?;
        let table = schema.and_then(|schema| schema.table(number));
        Ok(TableCost {
            table: table.map_or_else(|| "-".to_owned(), |table| table.name.clone()),
            urgent: table.is_some_and(|table| table.lane == Lane::Urgent),
            up_bytes: row.get::<_, i64>(1)?.max(0).cast_unsigned(),
            down_bytes: row.get::<_, i64>(2)?.max(0).cast_unsigned(),
        })
    })?;
    Ok(tables.collect::<Result<_, _>>()?)
}
