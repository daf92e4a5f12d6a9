//! What a change does: its table, its operation, and which fields it carries.
use super::BatchError;
use super::engine::hash;
use super::model::{SETS_MAX, WIDTH_MAX, table_key};
use super::work::Work;
use crate::change::{Change, FieldRef, Op, TableRef};

// How the fields of a change are said.
/// Each field of the table says whether it is there.
pub(super) const EACH: i64 = 0;
/// As a set of fields, bit by bit.
pub(super) const BITS: i64 = 1;
/// One by one, by number or name.
pub(super) const LISTED: i64 = 2;
/// A set that is known, this one and those that follow.
pub(super) const KNOWN: i64 = 3;

pub(super) const OPS: [Op; 5] = [Op::Insert, Op::Update, Op::Delete, Op::Settle, Op::Undone];

/// What changes, and which fields.
pub(super) struct What {
    pub(super) table: TableRef,
    /// Hash of the table.
    pub(super) key: u32,
    /// Place of the table.
    pub(super) place: usize,
    pub(super) op: Op,
    /// One of [`EACH`], [`BITS`], [`LISTED`], [`KNOWN`].
    pub(super) shape: i64,
    /// The fields as bits; those that may be there, if each says it.
    pub(super) set: u64,
    /// Operation and fields as one number.
    pub(super) class: u8,
}

impl Work<'_> {
    /// Table, operation, and which fields.
    pub(super) fn what(&mut self, given: Option<&Change>, name: usize) -> Result<What, BatchError> {
        let before = &self.model.before;
        let (did, dids, mine) = (before.did, before.dids, self.model.names[name].did);
        let who = name as u32;
        let sides = [who, hash(who, did), mine, hash(mine, did), dids, hash(who, dids)];
        let known = given.and_then(|change| self.model.table(table_key(&change.table)));
        let known = known.filter(|place| self.model.tables[*place].named.is_some());
        let place = self.head(5, &sides, &[], known.map_or(0, |place| place as i64 + 1));
        let (table, place) = if place == 0 {
            let table = self.table_outright(given.map(|change| &change.table))?;
            let key = table_key(&table);
            let place = self.model.table(key).unwrap_or_else(|| self.model.add_table(key, &table));
            (table, place)
        } else {
            let place = usize::try_from(place.wrapping_sub(1))
                .ok()
                .filter(|place| self.model.tables.get(*place).is_some_and(|table| table.key != 0));
            let place = place.ok_or(BatchError::Malformed("place of a table"))?;
            let table =
                self.model.tables[place].named.clone().ok_or(BatchError::Malformed("table"))?;
            self.charge_table(&table)?;
            (table, place)
        };
        let key = self.model.tables[place].key;
        let sides = [
            key,
            hash(key, who),
            hash(key, mine),
            hash(key, did),
            hash(hash(key, did), mine),
            hash(key, dids),
        ];
        let op = self.head(6, &sides, &[], given.map_or(0, |change| change.op as i64));
        let op = usize::try_from(op).ok().and_then(|op| OPS.get(op));
        let op = *op.ok_or(BatchError::Malformed("what a change does"))?;
        let (shape, set) = self.shape(given, place, op, &sides)?;
        let of_class = if op == Op::Insert { 0 } else { (set ^ set >> 32) as u32 };
        let class = hash(hash(0xc1a5, op as u32), of_class) as u8;
        Ok(What { table, key, place, op, shape, set, class })
    }

    /// Which fields are carried.
    fn shape(
        &mut self,
        given: Option<&Change>,
        place: usize,
        op: Op,
        sides: &[u32],
    ) -> Result<(i64, u64), BatchError> {
        let table = self.model.tables[place].clone();
        let mask = given.map(mask_of);
        let width = table.width;
        let shape = match mask {
            None => 0,
            Some(None) => LISTED,
            Some(Some(set)) => {
                let each = set & 1 == 0 && set >> width >> 1 == 0 && op == Op::Insert && width > 0;
                let known = table.sets.iter().position(|known| *known == set);
                match (each, known) {
                    (true, _) => EACH,
                    (_, Some(at)) => KNOWN + at as i64,
                    _ => BITS,
                }
            }
        };
        let tag = hash(hash(7, table.key), op as u32);
        let shape = self.head(tag, sides, &[], shape);
        self.check()?;
        match shape {
            EACH => Ok((shape, (2 << width) - 2)),
            LISTED => Ok((shape, 0)),
            BITS => {
                let set = mask.flatten().unwrap_or(0);
                let mut built = 0;
                for at in 0..64 {
                    let bit = self.flag(
                        hash(tag, 0xb175),
                        at << 1 | (built << 1 >> at & 1) as u32,
                        set >> at & 1 != 0,
                    );
                    built |= u64::from(bit) << at;
                }
                let table = &mut self.model.tables[place];
                if table.sets.len() == SETS_MAX {
                    table.sets.remove(0);
                }
                table.sets.push(built);
                if op == Op::Insert {
                    let top = (64 - built.leading_zeros()).saturating_sub(1) as u8;
                    table.width = table.width.max(top.min(WIDTH_MAX as u8));
                }
                Ok((shape, built))
            }
            known => {
                let set = usize::try_from(known.wrapping_sub(KNOWN))
                    .ok()
                    .and_then(|at| table.sets.get(at));
                Ok((shape, *set.ok_or(BatchError::Malformed("set of fields"))?))
            }
        }
    }

    fn table_outright(&mut self, given: Option<&TableRef>) -> Result<TableRef, BatchError> {
        let (number, name) = match given {
            Some(TableRef::Number(number)) => (i64::from(*number), ""),
            Some(TableRef::Name(name)) => (-1, name.as_str()),
            None => (0, ""),
        };
        let number = self.head(8, &[], &[], number);
        self.charge(size_of::<TableRef>())?;
        if number < 0 {
            return Ok(TableRef::Name(self.spell(9, &[], name)?));
        }
        let number =
            u16::try_from(number).map_err(|_| BatchError::Malformed("number of a table"))?;
        Ok(TableRef::Number(number))
    }

    fn charge_table(&mut self, table: &TableRef) -> Result<(), BatchError> {
        match table {
            TableRef::Number(_) => Ok(()),
            TableRef::Name(name) => self.charge(name.len()),
        }
    }
}

/// The fields as bits, if they are numbered in order and low enough.
fn mask_of(change: &Change) -> Option<u64> {
    let mut mask = 0u64;
    for (field, _) in &change.fields {
        let FieldRef::Number(number) = field else { return None };
        if *number > 63 || mask >> number != 0 {
            return None;
        }
        mask |= 1 << number;
    }
    Some(mask)
}
