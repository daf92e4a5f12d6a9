//! One change: who, what, which row, when, what had been seen, and the fields.
use alloc::vec::Vec;

use super::BatchError;
use super::cell::Kind;
use super::engine::hash;
use super::model::{WIDTH_MAX, field_key_of};
use super::moment::{ABOVE, CLOSURE, CONTAINED, ENTERED, RIGHTS, SCHEMA};
use super::neighbours::Neighbours;
use super::scene::{Scene, field_key};
use super::values::Spot;
use super::what::{EACH, LISTED, What};
use super::work::Work;
use crate::change::{Change, Delta, FieldRef, Group, Op, Seen};
use crate::id::{DeviceId, Dot};
use crate::limits::CHANGE_FIELDS_MAX;
use crate::stamp::Stamp;

impl Work<'_> {
    pub(super) fn change(
        &mut self,
        given: Option<&Change>,
        last: Option<Group>,
    ) -> Result<Change, BatchError> {
        let name = self.name(given.map(|change| change.dot))?;
        let dot = self.dot(given.map(|change| change.dot.seq), name);
        let what = self.what(given, name)?;
        let did = hash(what.key, what.class.into());
        let odd = self.odd(given, name, last, did)?;
        let (row, at) = self.row(given.map(|change| change.row), name, &what)?;
        let stamp = self.stamp(given.map(|change| change.stamp), name, did, odd);
        let entered_s =
            self.otherwise(2, odd & ENTERED, stamp.seconds, given.map(|change| change.entered_s));
        let (schema, rights) = self.versions(given, name, odd)?;
        let group = self.group(given.and_then(|change| change.group), odd, last, dot.seq)?;
        let contained = match odd & CONTAINED {
            0 => None,
            _ => Some(self.contained(given.and_then(|change| change.contained), stamp)?),
        };
        let touched = at.map(|at| self.model.rows.get(at).touched);
        let version =
            self.version(given.map(|change| change.seen.version), touched, what.op as u32)?;
        let above = match odd & ABOVE {
            0 => Vec::new(),
            _ => self.above(given.map_or(&[], |change| &change.seen.above))?,
        };
        let closure = match odd & CLOSURE {
            0 => Vec::new(),
            _ => self.closure(given.map_or(&[], |change| &change.closure))?,
        };
        let mut scene = self.scene(&what, name, at, stamp);
        let fields = self.fields(&mut scene, &what, given)?;
        self.check()?;
        let table = what.table.clone();
        let seen = Seen { version, above };
        let op = what.op;
        let change = Change {
            dot,
            stamp,
            entered_s,
            contained,
            schema,
            rights,
            group,
            table,
            row,
            op,
            fields,
            seen,
            closure,
        };
        self.remember(&scene, &what, at, &change);
        Ok(change)
    }

    /// The dot of the next change of a name.
    fn dot(&mut self, given: Option<u64>, name: usize) -> Dot {
        let expected = self.model.names[name].seq.wrapping_add(1);
        let apart = given.map_or(0, |seq| seq.wrapping_sub(expected)).cast_signed();
        let seq = expected.wrapping_add(self.head(1, &[], &[], apart).cast_unsigned());
        let name = &self.model.names[name];
        Dot { device: DeviceId(name.device), run: name.run, seq }
    }

    /// The versions of the schema and of rights.
    fn versions(
        &mut self,
        given: Option<&Change>,
        name: usize,
        odd: i64,
    ) -> Result<(u32, u32), BatchError> {
        let of_name = &self.model.names[name];
        let (schema, rights) = (u64::from(of_name.schema), u64::from(of_name.rights));
        let wanted = given.map(|change| change.schema.into());
        let schema = self.otherwise(3, odd & SCHEMA, schema, wanted);
        let wanted = given.map(|change| change.rights.into());
        let rights = self.otherwise(4, odd & RIGHTS, rights, wanted);
        match (u32::try_from(schema), u32::try_from(rights)) {
            (Ok(schema), Ok(rights)) => Ok((schema, rights)),
            _ => Err(BatchError::Malformed("version of a schema or of rights")),
        }
    }

    fn scene(&mut self, what: &What, name: usize, at: Option<u16>, stamp: Stamp) -> Scene {
        let model = &*self.model;
        let mut before = Vec::new();
        if let Some(at) = at {
            model.rows.cells(at, &mut before);
        }
        let neighbours =
            Neighbours::gather(model, what.place as u8, what.key, what.class, name as u8, at);
        let mut scene = Scene::new(what.key, name, what.class, before, neighbours);
        scene.time(stamp.seconds, at.map(|at| model.rows.get(at).stamp_s));
        scene.keep(what.set >> 1);
        scene
    }

    fn fields(
        &mut self,
        scene: &mut Scene,
        what: &What,
        given: Option<&Change>,
    ) -> Result<Vec<(FieldRef, Delta)>, BatchError> {
        if what.shape == LISTED {
            return self.listed(scene, what, given);
        }
        self.charge(what.set.count_ones() as usize * size_of::<(FieldRef, Delta)>())?;
        let mut fields = Vec::with_capacity(what.set.count_ones() as usize);
        let mut rest = given.map_or(&[][..], |change| &change.fields);
        for number in (0..64u16).filter(|number| what.set >> number & 1 != 0) {
            let mut carried = None;
            if let Some(((FieldRef::Number(at), delta), after)) = rest.split_first()
                && *at == number
            {
                carried = Some(delta);
                rest = after;
            }
            let slot = usize::from(number).checked_sub(1).filter(|slot| *slot < WIDTH_MAX);
            let spot = Spot { field: field_key(what.key, number.into()), slot };
            match self.delta(scene, spot, carried)? {
                Some(delta) => fields.push((FieldRef::Number(number), delta)),
                None if what.shape == EACH => {}
                None => return Err(BatchError::Malformed("a field that is not there")),
            }
        }
        Ok(fields)
    }

    /// Fields that are not numbered in order, each with what it is called.
    fn listed(
        &mut self,
        scene: &mut Scene,
        what: &What,
        given: Option<&Change>,
    ) -> Result<Vec<(FieldRef, Delta)>, BatchError> {
        let given = given.map_or(&[][..], |change| &change.fields);
        let count =
            self.count(16, &[what.key], "fields in a change", CHANGE_FIELDS_MAX, given.len())?;
        let mut fields = Vec::new();
        let mut before = 0;
        for at in 0..count {
            let (number, name) = match given.get(at) {
                Some((FieldRef::Number(number), _)) => (i64::from(*number), ""),
                Some((FieldRef::Name(name), _)) => (-1, name.as_str()),
                None => (0, ""),
            };
            self.charge(size_of::<(FieldRef, Delta)>())?;
            let number = self.head(17, &[what.key, before], &[], number);
            let (field, key) = if number < 0 {
                let name_spot = Spot { field: hash(what.key, 0x0a3e), slot: None };
                let sides = [before, at as u32, what.key, 0, 0, 0];
                let (name, _) = self.text(scene, name_spot, sides, Kind::Text, name)?;
                let key = field_key_of(what.key, &name);
                (FieldRef::Name(name), key)
            } else {
                let number = u16::try_from(number)
                    .map_err(|_| BatchError::Malformed("number of a field"))?;
                (FieldRef::Number(number), field_key(what.key, number.into()))
            };
            before = key;
            let spot = Spot { field: key, slot: None };
            let delta = self.delta(scene, spot, given.get(at).map(|(_, delta)| delta))?;
            fields.push((field, delta.ok_or(BatchError::Malformed("a field that is not there"))?));
        }
        Ok(fields)
    }

    /// Leave the model as the change makes it.
    fn remember(&mut self, scene: &Scene, what: &What, at: Option<u16>, change: &Change) {
        scene.learn(self.model);
        let did = hash(what.key, what.class.into());
        let changes = self.model.changes;
        let at = at.unwrap_or_else(|| {
            let called = self.model.called(change.row);
            if let Some(stranger) = self.model.rows.find(called) {
                self.model.rows.remove(stranger);
            }
            let table = &mut self.model.tables[what.place];
            let ordinal = table.rows;
            table.rows = table.rows.wrapping_add(1);
            if what.op == Op::Insert {
                let newest = hash(0x9e33, what.place as u32);
                self.model.memo.keep(newest, ordinal.into());
                self.model.memo.keep(hash(newest, scene.name as u32), ordinal.into());
            }
            self.model.rows.add(called, what.place as u8, ordinal)
        });
        let when = (changes, change.stamp.seconds as u16);
        self.model.rows.touch(at, when, (scene.name as u8, what.class), &scene.cells);
        let name = &mut self.model.names[scene.name];
        name.seq = change.dot.seq;
        (name.stamp_s, name.counter) = (change.stamp.seconds, change.stamp.counter);
        (name.did, name.used) = (did, changes);
        (name.schema, name.rights) = (change.schema, change.rights);
        self.model.tables[what.place].used = changes;
        let before = &mut self.model.before;
        before.name = scene.name as u32;
        before.dids = hash(before.did, did);
        before.did = did;
        self.model.changes = changes.wrapping_add(1).max(1);
    }
}
