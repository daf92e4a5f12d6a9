//! Columns of one number a change.
//!
//! ```text
//! columns   = kinds (2 bits each, the first lowest) | bodies of those not zero
//! plain     = a number for each change
//! stretches = (how many changes, their number) until all have one
//! ```
use alloc::vec;
use alloc::vec::Vec;

use super::BatchError;
use super::stream::{Reader, Writer};

/// How many columns there are; [`super::encode`] and [`super::decode`] name them.
pub(super) const COLUMNS: usize = 15;

/// A change's numbers, one a column.
pub(super) type Numbers = [u64; COLUMNS];

const ZERO: u64 = 0;
const PLAIN: u64 = 1;
const STRETCHES: u64 = 2;

/// Write the columns, each in its shorter form.
pub(super) fn put(out: &mut Writer, changes: &[Numbers]) {
    let mut kinds = 0;
    let mut bodies = Writer::default();
    for column in 0..COLUMNS {
        let numbers = || changes.iter().map(|numbers| numbers[column]);
        if numbers().all(|number| number == 0) {
            continue;
        }
        let mut plain = Writer::default();
        numbers().for_each(|number| plain.number(number));
        let mut stretches = Writer::default();
        for stretch in changes.chunk_by(|a, b| a[column] == b[column]) {
            stretches.count(stretch.len());
            stretches.number(stretch[0][column]);
        }
        let (kind, body) = match stretches.out.len() < plain.out.len() {
            true => (STRETCHES, stretches),
            false => (PLAIN, plain),
        };
        kinds |= kind << (2 * column);
        bodies.bytes(&body.out);
    }
    out.number(kinds);
    out.bytes(&bodies.out);
}

/// Read the columns of `count` changes (whose limit has been checked).
pub(super) fn take(from: &mut Reader<'_>, count: usize) -> Result<Vec<Numbers>, BatchError> {
    from.charge(count * size_of::<Numbers>())?;
    let mut changes = vec![[0; COLUMNS]; count];
    let kinds = from.number()?;
    for column in 0..COLUMNS {
        match kinds >> (2 * column) & 3 {
            ZERO => {}
            PLAIN => {
                for numbers in &mut changes {
                    numbers[column] = from.number()?;
                }
            }
            STRETCHES => {
                let mut rest = changes.as_mut_slice();
                while !rest.is_empty() {
                    let len = from.count("changes in a stretch", rest.len())?;
                    let number = from.number()?;
                    let (stretch, after) = rest.split_at_mut(len);
                    stretch.iter_mut().for_each(|numbers| numbers[column] = number);
                    rest = after;
                }
            }
            _ => return Err(BatchError::Malformed("kind of a column")),
        }
    }
    Ok(changes)
}
