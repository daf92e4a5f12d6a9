//! What stands around the values: names, rows outright, versions, what was seen, runs.
use alloc::vec::Vec;

use super::BatchError;
use super::engine::hash;
use super::model::{FAMILY_PICK, HUBS_MAX, NAMES_MAX};
use super::number::Site;
use super::rows::Called;
use super::work::Work;
use crate::change::{Seen, SeenRow};
use crate::id::{DeviceId, Dot, RowId, RowVersion, RunId};
use crate::limits::{CLOSURE_ROWS_MAX, SEEN_DOTS_MAX};

const RUN_BITS: u32 = 48;

impl Work<'_> {
    /// The place of the name of a dot.
    pub(super) fn name(&mut self, given: Option<Dot>) -> Result<usize, BatchError> {
        let before = &self.model.before;
        let sides = [
            before.name,
            before.did,
            hash(before.name, before.did),
            before.dids,
            hash(before.name, before.dids),
        ];
        self.name_among(20, &sides, given.map(|dot| (dot.device, dot.run)))
    }

    pub(super) fn name_among(
        &mut self,
        tag: u32,
        sides: &[u32],
        given: Option<(DeviceId, RunId)>,
    ) -> Result<usize, BatchError> {
        let known = given.and_then(|(device, run)| self.model.name(device, run));
        let place = self.head(tag, sides, &[], known.map_or(0, |place| place as i64 + 1));
        self.check()?;
        if place != 0 {
            let place = usize::try_from(place.wrapping_sub(1))
                .ok()
                .filter(|place| *place < NAMES_MAX && self.model.names[*place].used != 0);
            return place.ok_or(BatchError::Malformed("name"));
        }
        let (device, run) = given.unwrap_or((DeviceId(0), RunId(0)));
        let device = self.raw(64, device.0);
        let wide = self.flag(21, 0, run.0 >> RUN_BITS != 0);
        let run = self.raw(if wide { 64 } else { RUN_BITS }, run.0);
        let (device, run) = (DeviceId(device), RunId(run));
        let known = self.model.name(device, run);
        Ok(known.unwrap_or_else(|| self.model.add_name(device, run)))
    }

    /// A row that the model does not remember.
    pub(super) fn row_outright(
        &mut self,
        name: usize,
        given: Option<RowId>,
    ) -> Result<RowId, BatchError> {
        let called = given.map(|row| self.model.called(row));
        let made = !matches!(called, Some(Called::Foreign(_)));
        if self.flag(22, 0, made) {
            let (maker, counter) = match called {
                Some(Called::Made { maker, counter }) => (usize::from(maker), counter),
                _ => (0, 0),
            };
            let maker = self.head(23, &[name as u32], &[name as i64], maker as i64);
            let maker = usize::try_from(maker).ok().filter(|maker| *maker < NAMES_MAX);
            let maker = maker.ok_or(BatchError::Malformed("maker of a row"))?;
            let made = self.model.names[maker].made;
            let apart = self.head(24, &[], &[], i64::from(counter) - i64::from(made));
            let counter =
                i64::from(made).checked_add(apart).and_then(|counter| u32::try_from(counter).ok());
            let counter = counter.ok_or(BatchError::Malformed("counter of a row"))?;
            return Ok(self.model.row_id(Called::Made { maker: maker as u8, counter }));
        }
        let given = given.map_or([0; 16], |row| row.0);
        let mut id = [0; 16];
        for (at, byte) in id.iter_mut().enumerate() {
            // Most UUIDs say here how they were made; the rest is random.
            let told = match at {
                6 => 4,
                8 => 2,
                _ => 0,
            };
            for bit in 0..8 {
                let wanted = given[at] >> (7 - bit) & 1 != 0;
                let found = match bit < told {
                    true => self.flag(hash(33, at as u32), bit, wanted),
                    false => self.raw(1, wanted.into()) != 0,
                };
                *byte = *byte << 1 | u8::from(found);
            }
        }
        self.check()?;
        Ok(RowId(id))
    }

    /// What had been seen at the hub.
    pub(super) fn version(
        &mut self,
        given: Option<RowVersion>,
        touched: Option<u32>,
        op: u32,
    ) -> Result<RowVersion, BatchError> {
        let wanted = given.unwrap_or_default();
        let before = self.model.before.clone();
        let place = self.model.hubs.iter().position(|hub| *hub == wanted.hub);
        let place =
            self.head(25, &[op, hash(op, before.hub)], &[], place.map_or(-1, |place| place as i64));
        let hub = if place < 0 {
            let wide = self.flag(21, 1, wanted.hub.0 >> RUN_BITS != 0);
            let hub = RunId(self.raw(if wide { 64 } else { RUN_BITS }, wanted.hub.0));
            // The first stands for none and stays.
            if !self.model.hubs.contains(&hub) {
                self.model.hubs[1..HUBS_MAX].rotate_right(1);
                self.model.hubs[1] = hub;
            }
            hub
        } else {
            let hub = usize::try_from(place).ok().and_then(|place| self.model.hubs.get(place));
            *hub.ok_or(BatchError::Malformed("place of a hub run"))?
        };
        self.model.before.hub = u32::from(hub != RunId::NONE);
        if hub == RunId::NONE {
            let seq = self.head(26, &[], &[], wanted.seq.cast_signed());
            return Ok(RowVersion { hub, seq: seq.cast_unsigned() });
        }
        let apart = |seq: u64| seq.wrapping_sub(before.version).cast_signed();
        let at_batch = i64::from(self.model.batch).wrapping_add(before.ahead);
        let at_row =
            touched.map_or(at_batch, |touched| i64::from(touched).wrapping_add(before.ahead_row));
        let named = [0, apart(at_batch.cast_unsigned()), apart(at_row.cast_unsigned())];
        let seq = self.head(27, &[op], &named, apart(wanted.seq));
        let seq = before.version.wrapping_add(seq.cast_unsigned());
        self.model.before.ahead = seq.cast_signed().wrapping_sub(self.model.batch.into());
        self.model.before.ahead_row = touched
            .map_or(before.ahead_row, |touched| seq.cast_signed().wrapping_sub(touched.into()));
        self.model.before.version = seq;
        Ok(RowVersion { hub, seq })
    }

    /// Dots seen above a version.
    pub(super) fn above(&mut self, given: &[Dot]) -> Result<Vec<Dot>, BatchError> {
        let count = self.count(28, &[], "dots seen", SEEN_DOTS_MAX, given.len())?;
        self.charge(count * size_of::<Dot>())?;
        let mut above = Vec::with_capacity(count);
        let mut last = 0;
        for at in 0..count {
            let dot = given.get(at);
            let name = self.name_among(29, &[last], dot.map(|dot| (dot.device, dot.run)))?;
            last = name as u32 + 1;
            let of_name = &self.model.names[name];
            let (device, run, made) = (DeviceId(of_name.device), of_name.run, of_name.seq);
            let apart = dot.map_or(0, |dot| dot.seq.wrapping_sub(made)).cast_signed();
            let seq = made.wrapping_add(self.head(30, &[], &[], apart).cast_unsigned());
            above.push(Dot { device, run, seq });
        }
        Ok(above)
    }

    /// The rows that go with a deleted one.
    pub(super) fn closure(&mut self, given: &[SeenRow]) -> Result<Vec<SeenRow>, BatchError> {
        let count = self.count(31, &[], "rows in a closure", CLOSURE_ROWS_MAX, given.len())?;
        self.charge(count * size_of::<SeenRow>())?;
        let mut closure = Vec::with_capacity(count);
        let mut last = 0;
        for at in 0..count {
            let row = given.get(at);
            let table =
                self.head(32, &[last], &[last.into()], row.map_or(0, |row| row.table.into()));
            let table =
                u16::try_from(table).map_err(|_| BatchError::Malformed("number of a table"))?;
            last = table.into();
            let id = self.row_anywhere(row.map(|row| row.row))?;
            let version = self.version(row.map(|row| row.seen.version), None, 9)?;
            let above = self.above(row.map_or(&[], |row| &row.seen.above))?;
            closure.push(SeenRow { table, row: id, seen: Seen { version, above } });
        }
        Ok(closure)
    }

    /// A row of any table: its place among those that are remembered, or outright.
    fn row_anywhere(&mut self, given: Option<RowId>) -> Result<RowId, BatchError> {
        let known = given.and_then(|row| self.model.rows.find(self.model.called(row)));
        let site = Site { family: FAMILY_PICK, field: 0x40f, ..Site::default() };
        let at = self.number(&site, known.map_or(-1, i64::from));
        if at < 0 {
            return self.row_outright(0, given);
        }
        let at = u16::try_from(at).ok().filter(|at| self.model.rows.is_there(*at));
        let at = at.ok_or(BatchError::Malformed("place of a row"))?;
        Ok(self.model.row_id(self.model.rows.called(at)))
    }
}
