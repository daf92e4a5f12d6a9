//! What the changes that wait will take: changesets as rounds would fill and write them,
//! from the file alone, so that it can be asked beside a running gateway.
//!
//! The first ones are written to the byte, against the model that the link has; the others
//! are taken to be like those. Groups may be split here, which rounds do not do.
use std::path::Path;

use rusqlite::Connection;
use wadi_protocol::limits::{CHANGESET_CHANGES_MAX, CODED_CHANGES_TARGET};
use wadi_protocol::schema::Schema;
use wadi_protocol::wire::coded::{CODEC_PLAIN, Named};

use super::assemble::{patient_bytes, write};
use super::error::{Problem, StoreError};
use super::install;
use super::models::{self, Direction};
use super::open::open_to_look;
use super::promote::urgent_list;
use super::work::decode;

/// Changesets that are written out; a small computer does that in a few seconds.
const WRITTEN_MAX: usize = 16;

/// One changeset to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Changes.
    pub changes: u64,
    /// Its bytes, as coded.
    pub bytes: u64,
    /// Something of it is urgent.
    pub urgent: bool,
}

/// What waits in a database file, changeset by changeset.
pub fn read(path: &Path) -> Result<Vec<Load>, StoreError> {
    let loads = open_to_look(path).and_then(|db| {
        let snapshot = db.unchecked_transaction()?;
        loads(&snapshot)
    });
    loads.map_err(|problem| problem.at(path))
}

fn loads(db: &Connection) -> Result<Vec<Load>, Problem> {
    let schema = install::newest(db)?;
    let urgent = urgent_list(schema.as_deref());
    let mut writer = Writer::new(db, schema.as_deref())?;
    let mut loads = Vec::new();
    for (is_urgent, which) in [(true, "IN"), (false, "NOT IN")] {
        let sql = format!(
            "SELECT body FROM wadi_change WHERE custody = 0 AND custody <> 1 AND tbl {which} ({urgent})
             ORDER BY id"
        );
        let mut statement = db.prepare(&sql)?;
        let mut bodies = statement.query_map((), |row| row.get::<_, Vec<u8>>(0))?;
        while let Some(first) = bodies.next() {
            let at_most = writer.changes_max();
            let bodies = std::iter::once(first).chain(bodies.by_ref().take(at_most - 1));
            writer.waiting.extend(bodies.collect::<Result<Vec<_>, _>>()?);
            writer.write(is_urgent, at_most, &mut loads)?;
        }
        while !writer.waiting.is_empty() {
            writer.write(is_urgent, 1, &mut loads)?;
        }
    }
    Ok(loads)
}

/// Writes changesets one after the other.
struct Writer<'a> {
    db: &'a Connection,
    schema: Option<&'a Schema>,
    target: usize,
    model: Option<Named>,
    written: usize,
    /// Bodies of changes that wait.
    waiting: Vec<Vec<u8>>,
    /// Of what was written: changes and bytes.
    so_far: (u64, u64),
}

impl<'a> Writer<'a> {
    fn new(db: &'a Connection, schema: Option<&'a Schema>) -> Result<Writer<'a>, Problem> {
        let codec: u8 = db.query_row("SELECT codec FROM wadi_store", (), |row| row.get(0))?;
        let model = match codec > CODEC_PLAIN {
            true => Some(models::look(db, Direction::Up)?),
            false => None,
        };
        let (waiting, so_far) = (Vec::new(), (0, 0));
        let target = patient_bytes(schema);
        Ok(Writer { db, schema, target, model, written: 0, waiting, so_far })
    }

    fn changes_max(&self) -> usize {
        if self.model.is_some() { CODED_CHANGES_TARGET } else { CHANGESET_CHANGES_MAX }
    }

    /// The next changeset, if so many changes wait at least.
    fn write(&mut self, urgent: bool, least: usize, loads: &mut Vec<Load>) -> Result<(), Problem> {
        while self.waiting.len() >= least.max(1) {
            let mut take = self.waiting.len().min(self.changes_max());
            let bytes = match self.written < WRITTEN_MAX {
                true => self.written(&mut take)?,
                false => self.likely(&mut take),
            };
            self.waiting.drain(..take);
            loads.push(Load { changes: take as u64, bytes, urgent });
        }
        Ok(())
    }

    /// Written out: its bytes; `take` becomes what fits.
    fn written(&mut self, take: &mut usize) -> Result<u64, Problem> {
        loop {
            let bodies = self.waiting[..*take].iter();
            let changes: Result<Vec<_>, _> = bodies.map(|body| decode("a change", body)).collect();
            let (_, written) = write(self.db, self.schema, self.model.as_ref(), &changes?)?;
            let len = written.bytes.len();
            if len <= self.target || *take == 1 {
                self.model = written.after.or(self.model.take());
                self.written += 1;
                self.so_far.0 += *take as u64;
                self.so_far.1 += len as u64;
                return Ok(len as u64);
            }
            *take = (*take * self.target / len).clamp(1, *take - 1);
        }
    }

    /// As those that were written out are.
    fn likely(&self, take: &mut usize) -> u64 {
        let (changes, bytes) = self.so_far;
        let fit = (self.target as u64 * changes / bytes.max(1)).max(1);
        *take = (*take).min(fit as usize);
        (*take as u64 * bytes).div_ceil(changes.max(1))
    }
}
