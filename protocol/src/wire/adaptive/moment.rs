//! When a change was made, and what is unusual about it.
use super::BatchError;
use super::engine::hash;
use super::model::FAMILY_STAMP;
use super::number::Site;
use super::work::Work;
use crate::change::{Change, Group};
use crate::stamp::Stamp;

// What is unusual about a change, as bits.
pub(super) const CONTAINED: i64 = 1;
pub(super) const ABOVE: i64 = 2;
pub(super) const CLOSURE: i64 = 4;
pub(super) const SAME_GROUP: i64 = 8;
pub(super) const OTHER_GROUP: i64 = 16;
pub(super) const ENTERED: i64 = 32;
pub(super) const COUNTER: i64 = 64;
pub(super) const SCHEMA: i64 = 128;
pub(super) const RIGHTS: i64 = 256;
pub(super) const ODDS: i64 = 511;

impl Work<'_> {
    /// What is unusual.
    pub(super) fn odd(
        &mut self,
        given: Option<&Change>,
        name: usize,
        last: Option<Group>,
        did: u32,
    ) -> Result<i64, BatchError> {
        let wanted = given.map_or(0, |change| {
            let of_name = &self.model.names[name];
            let when = |is: bool, bit: i64| if is { bit } else { 0 };
            let group = match change.group {
                None => 0,
                group if group == last => SAME_GROUP,
                Some(_) => OTHER_GROUP,
            };
            let counter = foreseen(of_name.stamp_s, of_name.counter, change.stamp.seconds);
            when(change.contained.is_some(), CONTAINED)
                | when(!change.seen.above.is_empty(), ABOVE)
                | when(!change.closure.is_empty(), CLOSURE)
                | group
                | when(change.entered_s != change.stamp.seconds, ENTERED)
                | when(change.stamp.counter != counter, COUNTER)
                | when(change.schema != of_name.schema, SCHEMA)
                | when(change.rights != of_name.rights, RIGHTS)
        });
        let before = self.model.before.odd;
        let odd = self.head(10, &[before, did, name as u32], &[before.into()], wanted);
        self.check()?;
        if odd & !ODDS != 0 || odd & SAME_GROUP != 0 && last.is_none() {
            return Err(BatchError::Malformed("what is unusual about a change"));
        }
        self.model.before.odd = odd as u32;
        Ok(odd)
    }

    /// A number that is what is expected, or otherwise.
    pub(super) fn otherwise(
        &mut self,
        tag: u32,
        odd: i64,
        expected: u64,
        given: Option<u64>,
    ) -> u64 {
        if odd == 0 {
            return expected;
        }
        let apart = given.map_or(0, |given| given.wrapping_sub(expected)).cast_signed();
        expected.wrapping_add(self.head(tag, &[], &[], apart).cast_unsigned())
    }

    pub(super) fn stamp(&mut self, given: Option<Stamp>, name: usize, did: u32, odd: i64) -> Stamp {
        let before = self.model.before.clone();
        let of_name = &self.model.names[name];
        let (name_s, counter) = (of_name.stamp_s, of_name.counter);
        let apart = |seconds: u64| seconds.wrapping_sub(before.stamp_s).cast_signed();
        let mine = hash(0x57a3, hash(did, name as u32));
        let step = self.model.memo.get(mine).map_or(0, |note| note.last);
        let field = 0x57a2;
        let last = self.model.memo.get(field).map_or(0, |note| note.last);
        let who = name as u32;
        let mut site = Site { family: FAMILY_STAMP, field, ..Site::default() };
        site.sides = [
            hash(1, did),
            hash(hash(2, did), before.did),
            hash(hash(3, who), before.name),
            hash(hash(4, did), last as u32),
            hash(hash(hash(5, did), before.did), before.dids),
            hash(6, (before.stamp_s % 60) as u32),
        ];
        site.named[0] = Some(apart(name_s.wrapping_add(step.cast_unsigned())));
        site.named[1] = Some(step);
        site.near = [site.named[0], Some(last), Some(apart(name_s)), Some(0)];
        let seconds = given.map_or(0, |stamp| apart(stamp.seconds));
        let seconds = before.stamp_s.wrapping_add(self.number(&site, seconds).cast_unsigned());
        let expected = foreseen(name_s, counter, seconds);
        let counter = self.otherwise(
            11,
            odd & COUNTER,
            expected.into(),
            given.map(|stamp| stamp.counter.into()),
        );
        self.model.memo.keep(mine, seconds.wrapping_sub(name_s).cast_signed());
        self.model.before.stamp_s = seconds;
        // Beyond 16 bits only if bytes are hostile: any counter will do.
        Stamp { seconds, counter: counter as u16 }
    }

    pub(super) fn contained(
        &mut self,
        given: Option<Stamp>,
        stamp: Stamp,
    ) -> Result<Stamp, BatchError> {
        let seconds = self.otherwise(12, 1, stamp.seconds, given.map(|given| given.seconds));
        let counter = self.otherwise(13, 1, 0, given.map(|given| given.counter.into()));
        let counter =
            u16::try_from(counter).map_err(|_| BatchError::Malformed("counter of a stamp"))?;
        Ok(Stamp { seconds, counter })
    }

    pub(super) fn group(
        &mut self,
        given: Option<Group>,
        odd: i64,
        last: Option<Group>,
        seq: u64,
    ) -> Result<Option<Group>, BatchError> {
        if odd & SAME_GROUP != 0 {
            return Ok(last);
        }
        if odd & OTHER_GROUP == 0 {
            return Ok(None);
        }
        let first = self.otherwise(14, 1, seq, given.map(|group| group.first));
        let len = self.otherwise(15, 1, 0, given.map(|group| group.len.into()));
        let len = u16::try_from(len).map_err(|_| BatchError::Malformed("length of a group"))?;
        Ok(Some(Group { first, len }))
    }
}

/// The counter of a stamp of these seconds, after the one before.
fn foreseen(before_s: u64, counter: u16, seconds: u64) -> u16 {
    if before_s == seconds { counter.wrapping_add(1) } else { 0 }
}
