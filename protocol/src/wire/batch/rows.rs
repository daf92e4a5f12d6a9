//! Row ids: most need not travel.
//!
//! An id's last 5 bytes count the rows of its maker, the first 11 (see
//! [`RowId::derive`]). The makers known from the start are the batch's names;
//! others join as they come. Any UUID has this form, so none is refused.
//! ```text
//! row = NEXT | OWN, distance | MAKER, maker, distance | RAW, 16 bytes
//!     | BACK + how many other rows came since that one came first
//! ```
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::BatchError;
use super::stream::{Reader, Writer, apart, together};
use crate::id::{DeviceId, RowId, RunId};

/// The change's own maker's next row.
const NEXT: u64 = 0;
/// Another row of the change's own maker.
const OWN: u64 = 1;
/// A row of a known maker.
const MAKER: u64 = 2;
/// Any other; its maker joins.
const RAW: u64 = 3;
/// A row that came before.
const BACK: u64 = 4;

const MAKER_BYTES: usize = 11;
const COUNTER_BITS: u32 = 40;

struct Maker {
    prefix: [u8; MAKER_BYTES],
    /// Counter of the row that came last.
    last: u64,
}

/// Both ends' state of the batch's rows.
pub(super) struct Rows {
    makers: Vec<Maker>,
    came: Vec<RowId>,
    /// The writer's indices.
    maker_places: BTreeMap<[u8; MAKER_BYTES], usize>,
    row_places: BTreeMap<RowId, usize>,
}

impl Rows {
    /// No rows yet; the makers are the names, in their order.
    pub(super) fn new(names: &[(DeviceId, RunId)]) -> Rows {
        let mut rows = Rows {
            makers: Vec::with_capacity(names.len()),
            came: Vec::new(),
            maker_places: BTreeMap::new(),
            row_places: BTreeMap::new(),
        };
        for (device, run) in names {
            let (prefix, _) = split(RowId::derive(*device, *run, 0));
            rows.maker_places.entry(prefix).or_insert(rows.makers.len());
            rows.makers.push(Maker { prefix, last: 0 });
        }
        rows
    }

    /// Write a row where nobody's own rows are expected.
    pub(super) fn put(&mut self, out: &mut Writer, row: RowId) {
        let mut details = Writer::default();
        let code = self.put_own(&mut details, row, None);
        out.number(code);
        out.bytes(&details.out);
    }

    /// The code of a row, changed by the name `own`; what the code announces goes to `details`.
    pub(super) fn put_own(&mut self, details: &mut Writer, row: RowId, own: Option<usize>) -> u64 {
        if let Some(place) = self.row_places.get(&row) {
            return BACK + (self.came.len() - 1 - place) as u64;
        }
        self.row_places.insert(row, self.came.len());
        self.came.push(row);
        let (prefix, counter) = split(row);
        let own = own.filter(|own| self.makers[*own].prefix == prefix);
        let Some(place) = own.or_else(|| self.maker_places.get(&prefix).copied()) else {
            self.maker_places.insert(prefix, self.makers.len());
            self.makers.push(Maker { prefix, last: counter });
            details.bytes(&row.0);
            return RAW;
        };
        let last = core::mem::replace(&mut self.makers[place].last, counter);
        if own.is_some() && counter == last + 1 {
            return NEXT;
        }
        if own.is_none() {
            details.count(place);
        }
        details.number(apart(counter, last));
        if own.is_some() { OWN } else { MAKER }
    }

    pub(super) fn take(&mut self, from: &mut Reader<'_>) -> Result<RowId, BatchError> {
        let code = from.number()?;
        self.take_own(from, code, None)
    }

    pub(super) fn take_own(
        &mut self,
        from: &mut Reader<'_>,
        code: u64,
        own: Option<usize>,
    ) -> Result<RowId, BatchError> {
        const BAD: BatchError = BatchError::Malformed("row");
        if let Some(back) = code.checked_sub(BACK) {
            let place =
                usize::try_from(back).ok().and_then(|back| self.came.len().checked_sub(back + 1));
            return place.map(|place| self.came[place]).ok_or(BAD);
        }
        from.charge(size_of::<RowId>() + size_of::<Maker>())?;
        let row = match code {
            NEXT => self.counted(own.ok_or(BAD)?, 2)?,
            OWN => self.counted(own.ok_or(BAD)?, from.number()?)?,
            MAKER => {
                let place = from.small("maker of a row")?;
                self.counted(place, from.number()?)?
            }
            _ => {
                let row = RowId(from.array()?);
                let (prefix, last) = split(row);
                self.makers.push(Maker { prefix, last });
                row
            }
        };
        self.came.push(row);
        Ok(row)
    }

    /// The row of a maker whose counter lies `apart` from its last.
    fn counted(&mut self, place: usize, apart: u64) -> Result<RowId, BatchError> {
        let maker = self.makers.get_mut(place).ok_or(BatchError::Malformed("maker of a row"))?;
        let counter = together(apart, maker.last);
        if counter >> COUNTER_BITS != 0 {
            return Err(BatchError::Malformed("counter of a row"));
        }
        maker.last = counter;
        let mut bytes = [0; 16];
        bytes[..MAKER_BYTES].copy_from_slice(&maker.prefix);
        bytes[MAKER_BYTES..].copy_from_slice(&counter.to_be_bytes()[3..]);
        Ok(RowId(bytes))
    }
}

fn split(row: RowId) -> ([u8; MAKER_BYTES], u64) {
    let mut prefix = [0; MAKER_BYTES];
    prefix.copy_from_slice(&row.0[..MAKER_BYTES]);
    let counter = row.0[MAKER_BYTES..].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    (prefix, counter)
}
