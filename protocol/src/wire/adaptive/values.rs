//! The value of one field: its kind, then what it holds.
use alloc::string::String;
use alloc::vec::Vec;

use super::BatchError;
use super::cell::{Cell, KINDS, Kind};
use super::engine::hash;
use super::model::{FAMILY_KIND, FAMILY_ROW, FAMILY_TEXT, FAMILY_VALUE};
use super::neighbours::Proposal;
use super::number::Site;
use super::scene::Scene;
use super::times;
use super::work::Work;
use crate::change::Delta;
use crate::limits::BATCH_MEMORY_BYTES_MAX;
use crate::value::Value;

/// What a field says beside its number.
const NEW: i64 = 0;

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    /// Hash of table and field.
    pub(super) field: u32,
    /// Its place among the cells, if it is remembered.
    pub(super) slot: Option<usize>,
}

impl Work<'_> {
    /// Code what happens to a field; none if it is not carried.
    pub(super) fn delta(
        &mut self,
        scene: &mut Scene,
        spot: Spot,
        given: Option<&Delta>,
    ) -> Result<Option<Delta>, BatchError> {
        scene.look(self.model, spot);
        let sides = scene.sides(self.model, spot);
        let wanted = given.map_or(Kind::Absent, kind_of);
        let kind = self.kind(scene, spot, sides, wanted)?;
        let mut cell = Cell::new(kind, 0);
        let delta = match kind {
            Kind::Absent => None,
            Kind::Null => Some(Delta::Set(Value::Null)),
            Kind::Passed => {
                cell = scene.old(spot).unwrap_or_default();
                Some(Delta::Passed)
            }
            Kind::Bool | Kind::Int | Kind::Day | Kind::Minute | Kind::Second | Kind::Add => {
                let number = given.map_or(0, number_of);
                cell.number = self.amount(scene, spot, sides, kind, number);
                Some(delta_of(kind, cell.number)?)
            }
            Kind::Text | Kind::Append => {
                let text = given.map_or("", text_of);
                let (text, place) = self.text(scene, spot, sides, kind, text)?;
                cell.number = place;
                Some(match kind {
                    Kind::Text => Delta::Set(Value::Text(text)),
                    _ => Delta::Append(text),
                })
            }
            Kind::Row => {
                let row = match given {
                    Some(Delta::Set(Value::Row(row))) => Some(*row),
                    _ => None,
                };
                let (row, ordinal) = self.reference(scene, spot, sides, row)?;
                cell.number = ordinal;
                Some(Delta::Set(Value::Row(row)))
            }
            Kind::Number => {
                let text = given.map_or("", text_of);
                Some(Delta::Set(Value::Number(self.spell(hash(spot.field, 3), &[], text)?)))
            }
            Kind::List => {
                let list = match given {
                    Some(Delta::Set(Value::List(list))) => list.as_slice(),
                    _ => &[],
                };
                Some(Delta::Set(Value::List(self.list(scene, spot, list)?)))
            }
            Kind::Edit => {
                let (add, remove) = match given {
                    Some(Delta::Edit { add, remove }) => (add.as_slice(), remove.as_slice()),
                    _ => (&[][..], &[][..]),
                };
                let add = self.list(scene, spot, add)?;
                Some(Delta::Edit { add, remove: self.list(scene, spot, remove)? })
            }
        };
        self.check()?;
        scene.know(spot, cell);
        Ok(delta)
    }

    fn kind(
        &mut self,
        scene: &Scene,
        spot: Spot,
        sides: [u32; 6],
        wanted: Kind,
    ) -> Result<Kind, BatchError> {
        let mut site =
            Site { family: FAMILY_KIND, field: hash(spot.field, 0x4b), sides, ..Site::default() };
        let proposed = scene.proposals(spot, |_| true);
        for (at, proposal) in proposed.iter().enumerate() {
            site.named[at] = proposal.map(|proposal| proposal.cell.kind as i64);
            site.strengths[at] = proposal.map_or(0, |proposal| proposal.strength);
        }
        site.named[3] = scene.old(spot).map(|cell| cell.kind as i64);
        let kind = self.number(&site, wanted as i64);
        let kind = usize::try_from(kind).ok().and_then(|kind| KINDS.get(kind));
        kind.copied().ok_or(BatchError::Malformed("kind of a value"))
    }

    /// A number, or what stands as one.
    fn amount(
        &mut self,
        scene: &mut Scene,
        spot: Spot,
        sides: [u32; 6],
        kind: Kind,
        given: i64,
    ) -> i64 {
        let field = hash(spot.field, kind as u32);
        let mut site = Site { family: FAMILY_VALUE, field, sides, ..Site::default() };
        let mine = hash(field, 0xd0 + scene.name as u32);
        let at_device = self.model.memo.get(mine).copied();
        let last = self.model.memo.get(field).copied();
        let proposed = scene.proposals(spot, |cell| cell.kind == kind);
        let old = scene.old(spot).filter(|cell| cell.kind == kind).map(|cell| cell.number);
        let said = self.model.relations.say(field, &scene.sources);
        let likely = scene.shifted(self.model, spot, proposed[0]);
        site.named[0] = old;
        site.named[1] = at_device.map(|note| note.last);
        site.named[2] = at_device.map(|note| note.last.wrapping_add(note.step));
        for (at, proposal) in proposed.iter().enumerate() {
            site.named[3 + at] = proposal.map(|proposal| proposal.cell.number);
            site.strengths[3 + at] = proposal.map_or(0, |proposal| proposal.strength);
        }
        for (at, said) in said.iter().enumerate() {
            site.named[6 + at] = said.map(|(number, _)| number);
            site.strengths[6 + at] = said.map_or(0, |(_, score)| score);
        }
        site.named[8] = likely;
        site.named[9] = last.map(|note| note.last);
        site.near = [
            said[0].map(|(number, _)| number).or(old),
            proposed[0].map(|proposal| proposal.cell.number),
            site.named[1].or(site.named[9]),
            likely,
        ];
        let number = self.number(&site, given);
        self.model.memo.keep(mine, number);
        self.model.relations.learn(field, &scene.sources, number, self.model.changes);
        number
    }

    /// A text: its place among those of its field, or its letters.
    pub(super) fn text(
        &mut self,
        scene: &mut Scene,
        spot: Spot,
        sides: [u32; 6],
        kind: Kind,
        given: &str,
    ) -> Result<(String, i64), BatchError> {
        let field = hash(spot.field, kind as u32);
        let mut site = Site { family: FAMILY_TEXT, field, sides, ..Site::default() };
        let proposed = scene.proposals(spot, |cell| cell.kind == kind);
        let copied = scene.copied(self.model, field);
        let place = |proposal: Option<Proposal>| proposal.map(|proposal| proposal.cell.number);
        for (at, proposal) in proposed.iter().enumerate() {
            site.named[at] = place(*proposal);
            site.strengths[at] = proposal.map_or(0, |proposal| proposal.strength);
        }
        let mine = hash(field, 0xd0 + scene.name as u32);
        site.named[3] = self.model.memo.get(mine).map(|note| note.last);
        site.named[4] = scene.old(spot).filter(|cell| cell.kind == kind).map(|cell| cell.number);
        site.named[5] = copied.as_ref().map(|text| match self.model.texts.find(field, text) {
            Some(place) => i64::from(place) + 1,
            None => NEW,
        });
        let known = self.model.texts.find(field, given.as_bytes());
        let code = self.number(&site, known.map_or(NEW, |place| i64::from(place) + 1));
        let (text, place) = if code == NEW {
            let like = [site.named[0], site.named[3]].into_iter().flatten().find_map(|like| {
                self.model.texts.get(field, u16::try_from(like.wrapping_sub(1)).ok()?)
            });
            let like = copied.clone().or(like).unwrap_or_default();
            let text = self.spell(field, &like, given)?;
            // Hostile bytes may spell what has a place; then it keeps it.
            let known = self.model.texts.find(field, text.as_bytes());
            let place = known.or_else(|| self.model.texts.add(field, text.as_bytes()));
            (text, place)
        } else {
            let place = u16::try_from(code.wrapping_sub(1)).ok();
            let text = place.and_then(|place| self.model.texts.get(field, place));
            let text = text.ok_or(BatchError::Malformed("place of a text"))?;
            self.charge(2 * (text.len() + size_of::<String>()))?;
            let place = place.expect("it was found");
            self.model.texts.touch(field, place);
            (String::from_utf8(text).map_err(|_| BatchError::Malformed("text"))?, Some(place))
        };
        scene.learn_copy(self.model, field, text.as_bytes());
        let place = place.map_or(NEW, |place| i64::from(place) + 1);
        self.model.memo.keep(mine, place);
        Ok((text, place))
    }

    /// A reference: the ordinal of a known row, or a row outright.
    fn reference(
        &mut self,
        scene: &mut Scene,
        spot: Spot,
        sides: [u32; 6],
        given: Option<crate::id::RowId>,
    ) -> Result<(crate::id::RowId, i64), BatchError> {
        let field = hash(spot.field, Kind::Row as u32);
        let found = given.and_then(|row| self.model.rows.find(self.model.called(row)));
        let found = found.filter(|at| {
            let row = self.model.rows.get(*at);
            self.model.rows.nth(row.table, row.ordinal) == Some(*at)
        });
        let table_site = hash(field, 0x7ab);
        let last = self.model.memo.get(table_site).map_or(-1, |note| note.last);
        let wanted = found.map_or(-1, |at| self.model.rows.get(at).table.into());
        let table = self.head(table_site, &[scene.name as u32], &[last], wanted);
        let at = if table < 0 {
            let row = self.row_outright(scene.name, given)?;
            let called = self.model.called(row);
            match self.model.rows.find(called) {
                Some(at) => at,
                None => {
                    self.model.strangers = self.model.strangers.wrapping_add(1);
                    self.model.rows.add_stranger(called, self.model.strangers)
                }
            }
        } else {
            let mut site = Site { family: FAMILY_ROW, field, sides, ..Site::default() };
            let proposed = scene.proposals(spot, |cell| cell.kind == Kind::Row);
            for (at, proposal) in proposed.iter().enumerate() {
                site.named[at] = proposal.map(|proposal| proposal.cell.number);
                site.strengths[at] = proposal.map_or(0, |proposal| proposal.strength);
            }
            let mine = hash(field, 0xd0 + scene.name as u32);
            site.named[3] = self.model.memo.get(mine).map(|note| note.last);
            let newest = hash(0x9e33, table as u32);
            site.named[4] = self.model.memo.get(newest).map(|note| note.last);
            let newest_mine = hash(newest, scene.name as u32);
            site.named[5] = self.model.memo.get(newest_mine).map(|note| note.last);
            site.named[6] =
                scene.old(spot).filter(|cell| cell.kind == Kind::Row).map(|cell| cell.number);
            site.near[0] = site.named[4];
            site.near[1] = site.named[3];
            let wanted = found.map_or(0, |at| self.model.rows.get(at).ordinal.into());
            let ordinal = self.number(&site, wanted);
            self.model.memo.keep(mine, ordinal);
            let row = u16::try_from(ordinal)
                .ok()
                .and_then(|ordinal| self.model.rows.nth(u8::try_from(table).ok()?, ordinal));
            row.ok_or(BatchError::Malformed("ordinal of a row"))?
        };
        let row = *self.model.rows.get(at);
        self.model.memo.keep(table_site, row.table.into());
        self.model.rows.refer(at);
        scene.refer(self.model, at);
        Ok((self.model.row_id(self.model.rows.called(at)), row.ordinal.into()))
    }

    fn list(
        &mut self,
        scene: &mut Scene,
        spot: Spot,
        given: &[String],
    ) -> Result<Vec<String>, BatchError> {
        let max = BATCH_MEMORY_BYTES_MAX / size_of::<String>();
        let count = self.count(hash(spot.field, 5), &[], "entries of a list", max, given.len())?;
        let spot = Spot { field: hash(spot.field, 6), slot: None };
        let mut list = Vec::new();
        for at in 0..count {
            let text = given.get(at).map_or("", String::as_str);
            let sides = [at as u32 + 1, scene.last, 0, 0, 0, 0];
            let (text, place) = self.text(scene, spot, sides, Kind::Text, text)?;
            scene.last = Cell::new(Kind::Text, place).mark();
            self.check()?;
            list.push(text);
        }
        Ok(list)
    }
}

fn kind_of(delta: &Delta) -> Kind {
    match delta {
        Delta::Set(Value::Null) => Kind::Null,
        Delta::Set(Value::Int(_)) => Kind::Int,
        Delta::Set(Value::Bool(_)) => Kind::Bool,
        Delta::Set(Value::Text(text)) => times::parse(text).map_or(Kind::Text, |(kind, _)| kind),
        Delta::Set(Value::Row(_)) => Kind::Row,
        Delta::Set(Value::List(_)) => Kind::List,
        Delta::Set(Value::Number(_)) => Kind::Number,
        Delta::Add(_) => Kind::Add,
        Delta::Append(_) => Kind::Append,
        Delta::Edit { .. } => Kind::Edit,
        Delta::Passed => Kind::Passed,
    }
}

fn number_of(delta: &Delta) -> i64 {
    match delta {
        Delta::Set(Value::Int(number)) | Delta::Add(number) => *number,
        Delta::Set(Value::Bool(flag)) => i64::from(*flag),
        Delta::Set(Value::Text(text)) => times::parse(text).map_or(0, |(_, number)| number),
        _ => 0,
    }
}

fn text_of(delta: &Delta) -> &str {
    match delta {
        Delta::Set(Value::Text(text) | Value::Number(text)) | Delta::Append(text) => text,
        _ => "",
    }
}

fn delta_of(kind: Kind, number: i64) -> Result<Delta, BatchError> {
    Ok(match kind {
        Kind::Bool => match number {
            0 | 1 => Delta::Set(Value::Bool(number == 1)),
            _ => return Err(BatchError::Malformed("boolean")),
        },
        Kind::Int => Delta::Set(Value::Int(number)),
        Kind::Add => Delta::Add(number),
        _ => {
            let text = times::text_of(kind, number);
            Delta::Set(Value::Text(text.ok_or(BatchError::Malformed("date"))?))
        }
    })
}
