//! Which row a change is about.
use super::BatchError;
use super::engine::hash;
use super::model::FAMILY_PICK;
use super::number::Site;
use super::rows::Called;
use super::what::What;
use super::work::Work;
use crate::id::RowId;

/// The next row that the maker of the change makes.
const NEXT: i64 = 0;
/// A row of the table that is remembered.
const KNOWN: i64 = 1;
/// Any other.
const OTHER: i64 = 2;

impl Work<'_> {
    /// The row of a change, and its place if it is remembered.
    pub(super) fn row(
        &mut self,
        given: Option<RowId>,
        name: usize,
        what: &What,
    ) -> Result<(RowId, Option<u16>), BatchError> {
        let next = Called::Made {
            maker: name as u8,
            counter: self.model.names[name].made.wrapping_add(1),
        };
        let called = given.map(|row| self.model.called(row));
        let place = called.and_then(|called| self.model.rows.find(called));
        let place = place.filter(|at| {
            let row = self.model.rows.get(*at);
            usize::from(row.table) == what.place
                && self.model.rows.nth(row.table, row.ordinal) == Some(*at)
        });
        let how = match (place, called) {
            (Some(_), _) => KNOWN,
            (None, Some(called)) if called == next => NEXT,
            _ => OTHER,
        };
        let sides = [hash(what.key, what.class.into()), name as u32];
        let how = self.head(hash(40, what.op as u32), &sides, &[], how);
        let row = match how {
            NEXT => self.model.row_id(next),
            KNOWN => {
                let at = self.pick(place, name, what)?;
                return Ok((self.model.row_id(self.model.rows.called(at)), Some(at)));
            }
            _ => self.row_outright(name, given)?,
        };
        if let Called::Made { maker, counter } = self.model.called(row) {
            let made = &mut self.model.names[usize::from(maker)].made;
            *made = (*made).max(counter);
        }
        // Hostile bytes may say outright what is remembered.
        let at = self.model.rows.find(self.model.called(row));
        Ok((row, at.filter(|at| usize::from(self.model.rows.get(*at).table) == what.place)))
    }

    /// One of the rows of the table.
    fn pick(&mut self, given: Option<u16>, name: usize, what: &What) -> Result<u16, BatchError> {
        let class = hash(what.key, what.class.into());
        let field = hash(class, 0x41c);
        let mine = hash(field, name as u32);
        let last = self.model.memo.get(field).map_or(0, |note| note.last);
        let at_device = self.model.memo.get(mine).map_or(0, |note| note.last);
        let newest = hash(0x9e33, what.place as u32);
        let newest = self.model.memo.get(hash(newest, name as u32)).map(|note| note.last);
        let touched = hash(0x70c, hash(what.key, name as u32));
        let touched_mine = self.model.memo.get(touched).map(|note| note.last);
        let mut site = Site { family: FAMILY_PICK, field, ..Site::default() };
        site.named[0] = Some(at_device.wrapping_add(1));
        site.named[1] = Some(last.wrapping_add(1));
        site.named[2] = newest;
        site.named[3] = touched_mine;
        site.near = [Some(at_device), Some(last), newest, touched_mine];
        let wanted = given.map_or(0, |at| self.model.rows.get(at).ordinal.into());
        let ordinal = self.number(&site, wanted);
        self.model.memo.keep(mine, ordinal);
        self.model.memo.keep(touched, ordinal);
        let row = u16::try_from(ordinal)
            .ok()
            .and_then(|ordinal| self.model.rows.nth(what.place as u8, ordinal));
        row.ok_or(BatchError::Malformed("ordinal of a row"))
    }
}
