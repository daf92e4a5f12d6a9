//! The outbox: own changes, from their entry until they are durable and shown.
//!
//! A change is kept until the hub has it *and* the replica's image of its row
//! counts it; only then is its body dropped. What a gateway says of a change
//! that was never offered to it is not believed.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, Seen, SeenRow, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::limits::{
    CHANGE_BYTES_HARD_MAX, CLOSURE_ROWS_MAX, GROUP_BYTES_MAX, SEEN_DOTS_MAX,
};
use wadi_protocol::link::message::Fate;
use wadi_protocol::schema::{Kind, OnDelete, Schema};

use super::{OUTBOX_CHANGES_MAX, StoreError, Work, decode, encode, table_of};

/// A change about to be made.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Draft {
    pub table: TableRef,
    /// The table's name, as the record has it.
    pub name: String,
    /// The row; none = a new one.
    pub row: Option<RowId>,
    pub op: Op,
    /// Sorted.
    pub fields: Vec<(FieldRef, Delta)>,
    pub entered_s: Option<u64>,
}

impl Work<'_> {
    /// Make everything that `work` does count, or none of it: if it ends in the
    /// inner error, the file and the memory of it are as before.
    pub(crate) fn all_or_nothing<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<Result<T, String>, StoreError>,
    ) -> Result<Result<T, String>, StoreError> {
        let ground = self.ground.clone();
        let touched = self.touched.clone();
        self.run("SAVEPOINT line", ())?;
        let outcome = work(self)?;
        if outcome.is_err() {
            self.run("ROLLBACK TO line", ())?;
            self.ground = ground;
            self.touched = touched;
        }
        self.run("RELEASE line", ())?;
        Ok(outcome)
    }

    /// Make a change of a device. The inner error says why it cannot be one.
    pub(crate) fn append(
        &mut self,
        label: &str,
        draft: Draft,
        group_len: usize,
        group_first: &mut Option<u64>,
    ) -> Result<Result<Change, String>, StoreError> {
        if self.ground.kept >= OUTBOX_CHANGES_MAX {
            return Err(StoreError::Full);
        }
        let mut device = self.device(label)?;
        let fresh = draft.row.is_none();
        let row = draft.row.unwrap_or_else(|| self.new_row(&mut device));
        let named = self.name(&mut device, draft.entered_s);
        let first = *group_first.get_or_insert(named.dot.seq);
        let group = (group_len > 1).then(|| Group {
            first,
            len: u16::try_from(group_len).expect("GROUP_CHANGES_MAX is below"),
        });
        let seen = match fresh {
            true => Seen::default(),
            false => self.seen(&draft.name, row, named.dot)?,
        };
        let closure = match draft.op {
            Op::Delete => self.closure(&draft.name, row, named.dot)?,
            _ => Vec::new(),
        };
        let change = Change {
            dot: named.dot,
            stamp: named.stamp,
            entered_s: named.entered_s,
            contained: None,
            schema: self.ground.schema.as_ref().map_or(0, |schema| schema.version),
            rights: 0,
            group,
            table: draft.table,
            row,
            op: draft.op,
            fields: draft.fields,
            seen,
            closure,
        };
        let body = encode(&change);
        if body.len() > CHANGE_BYTES_HARD_MAX {
            return Ok(Err(format!(
                "{} bytes, at most {CHANGE_BYTES_HARD_MAX} are allowed in one record",
                body.len()
            )));
        }
        self.insert(&draft.name, &change, &body)?;
        self.keep(device);
        self.touch(&draft.name, row);
        Ok(Ok(change))
    }

    fn insert(&mut self, table: &str, change: &Change, body: &[u8]) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO wadi_change (device, run, seq, tbl, row, group_last, size_bytes, body)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                change.dot.device.0 as i64,
                change.dot.run.0 as i64,
                change.dot.seq as i64,
                table,
                change.row.0,
                change.group_span().1 as i64,
                body.len() as i64,
                body,
            ),
        )?;
        self.ground.kept += 1;
        Ok(())
    }

    /// Whether the group of these changes can travel: it must fit one offer.
    pub(crate) fn group_fits(&self, changes: &[Change]) -> Result<(), String> {
        let bytes: usize = changes.iter().map(|change| encode(change).len()).sum();
        if changes.len() > 1 && bytes > GROUP_BYTES_MAX {
            return Err(format!("a group of {bytes} bytes, at most {GROUP_BYTES_MAX} are allowed"));
        }
        Ok(())
    }

    /// What the screen shows of a row, as a change of `dot` says it: the replica's
    /// image, and the changes of the file's other devices that are laid over it.
    fn seen(&self, table: &str, row: RowId, dot: Dot) -> Result<Seen, StoreError> {
        let number = table_of(&self.ground.schema, table).map(|table| table.number);
        let fed: Option<Vec<u8>> = self.one(
            "SELECT seen FROM wadi_row WHERE tbl = ? AND row = ?",
            (number, row.0),
            |row| row.get(0),
        )?;
        let mut seen: Seen =
            fed.map(|bytes| decode(&bytes, "what a row had seen")).transpose()?.unwrap_or_default();
        seen.above.retain(|above| !self.ground.lines.earlier(*above, dot));
        let laid = self.all(
            "SELECT body FROM wadi_change
             WHERE shown = 0 AND tbl = ? AND row = ? AND device <> ? ORDER BY place",
            (table, row.0, dot.device.0 as i64),
            |row| row.get::<_, Vec<u8>>(0),
        )?;
        let mut laid_changes = Vec::with_capacity(laid.len());
        for body in laid {
            laid_changes.push(decode::<Change>(&body, "a change")?);
        }
        // Claiming less costs a conflict at most; what this file laid over is the newest.
        let own = latest(&laid_changes);
        seen.above.truncate(SEEN_DOTS_MAX.saturating_sub(own.len()));
        seen.above.extend(own);
        seen.above.sort_unstable();
        seen.above.dedup();
        seen.above.truncate(SEEN_DOTS_MAX);
        Ok(seen)
    }

    /// The rows that are shown as going with a deleted one.
    fn closure(&mut self, table: &str, row: RowId, dot: Dot) -> Result<Vec<SeenRow>, StoreError> {
        let Some(schema) = self.ground.schema.clone() else {
            return Ok(Vec::new());
        };
        let Some(table) = schema.table_named(table) else {
            return Ok(Vec::new());
        };
        self.show_dirty()?;
        let mut reached = BTreeSet::from([(table.number, row)]);
        let mut waiting = vec![(table.number, row)];
        let mut closure = Vec::new();
        while let Some((parent, row)) = waiting.pop() {
            for (child, field) in cascades(&schema, parent) {
                let sql = format!("SELECT id FROM \"{child}\" WHERE \"{field}\" = ?");
                let ids = self.all(&sql, (row.to_string(),), |row| row.get::<_, String>(0))?;
                for id in ids.iter().filter_map(|id| id.parse().ok()) {
                    let number = schema.table_named(child).map_or(0, |table| table.number);
                    if closure.len() < CLOSURE_ROWS_MAX && reached.insert((number, id)) {
                        let seen = self.seen(child, id, dot)?;
                        closure.push(SeenRow { table: number, row: id, seen });
                        waiting.push((number, id));
                    }
                }
            }
        }
        closure.sort_unstable();
        Ok(closure)
    }

    /// An offer was taken: it is durable at the gateway.
    pub fn taken(&mut self, places: &[i64]) -> Result<(), StoreError> {
        for place in places {
            self.run(
                "UPDATE wadi_change SET custody = 'taken', reason = NULL
                 WHERE place = ? AND custody = 'pending'",
                (place,),
            )?;
        }
        Ok(())
    }

    /// A gateway refused these changes: they stay, with its reason.
    pub fn refused(&mut self, places: &[i64], reason: &str) -> Result<(), StoreError> {
        for place in places {
            self.run("UPDATE wadi_change SET reason = ? WHERE place = ?", (reason, place))?;
        }
        Ok(())
    }

    /// What became of own changes; how many are durable now, and how many are to be offered again.
    pub fn fates(
        &mut self,
        fates: &[(DeviceId, RunId, u64, u64, Fate)],
    ) -> Result<(u64, u64), StoreError> {
        let (mut durable, mut unknown) = (0, 0);
        for (device, run, first, last, fate) in fates {
            let (custody, reason) = match fate {
                Fate::Durable => ("durable", None),
                Fate::Parked => ("parked", None),
                Fate::Quarantined { reason } => ("quarantined", Some(reason)),
                Fate::Unknown => ("pending", None),
            };
            let changed = self.run(
                "UPDATE wadi_change SET custody = ?, reason = ?
                 WHERE device = ? AND run = ? AND seq BETWEEN ? AND ?
                   AND custody IN ('taken', 'parked', 'quarantined')",
                (
                    custody,
                    reason,
                    device.0 as i64,
                    run.0 as i64,
                    i64::try_from(*first).unwrap_or(i64::MAX),
                    i64::try_from(*last).unwrap_or(i64::MAX),
                ),
            )?;
            match fate {
                Fate::Durable => durable += changed as u64,
                Fate::Unknown => unknown += changed as u64,
                Fate::Parked | Fate::Quarantined { .. } => {}
            }
        }
        self.drop_decided()?;
        Ok((durable, unknown))
    }

    /// Drop what is durable and shown; the runs keep count of it.
    pub(super) fn drop_decided(&mut self) -> Result<(), StoreError> {
        let counts = self.all(
            "SELECT device, run, count(*) FROM wadi_change
             WHERE custody = 'durable' AND shown = 1 GROUP BY device, run",
            (),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
        )?;
        for (device, run, count) in counts {
            let sql = "UPDATE wadi_run SET durable = durable + ? WHERE device = ? AND run = ?";
            self.run(sql, (count, device, run))?;
        }
        let dropped =
            self.run("DELETE FROM wadi_change WHERE custody = 'durable' AND shown = 1", ())?;
        self.ground.kept = self.ground.kept.saturating_sub(dropped as u64);
        Ok(())
    }
}

/// Tables and fields that reference `parent` and go with it.
fn cascades(schema: &Arc<Schema>, parent: u16) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for table in &schema.tables {
        for field in &table.fields {
            let goes = matches!(field.kind,
                Kind::Reference { table, on_delete: OnDelete::Cascade } if table == parent);
            if goes {
                found.push((table.name.as_str(), field.name.as_str()));
            }
        }
    }
    found
}

/// Of changes of one row in their order, the latest of each field.
fn latest(changes: &[Change]) -> BTreeSet<Dot> {
    let mut whole = None;
    let mut fields: BTreeMap<&FieldRef, Dot> = BTreeMap::new();
    for change in changes {
        if matches!(change.op, Op::Insert | Op::Delete) {
            whole = Some(change.dot);
            fields.clear();
        }
        fields.extend(change.fields.iter().map(|(field, _)| (field, change.dot)));
    }
    fields.into_values().chain(whole).collect()
}
