//! What operators do about quarantined changes: repair them, or reject them.
//!
//! A repair that does not pass (see [`super::compose`]) is refused and leaves nothing.
//! What one that passes then does is [`super::release`]'s.
use std::collections::BTreeSet;

use rusqlite::Connection;
use wadi_protocol::change::FieldRef;
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::{self, Ruling, Word};

pub use super::compose::Edits;
use super::compose::{compose, judged, known_field, not_there, of_kept, replace, subject};
use super::operators::{self, Act, Names};
use super::release::Heeded;
use super::sql::number_at;
use super::{Store, StoreError, changes, kept, rulings, run};

/// Bytes of the reason for which a change is rejected.
pub const REJECT_BYTES_MAX: usize = 160;
/// Changes that one command repairs at most.
pub const AT_ONCE_MAX: usize = 4_096;

/// What became of a repaired change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Became {
    /// It counts, at this hub sequence; so many changes that had waited for it do too.
    Applied {
        /// The sequence.
        seq: u64,
        /// Changes of its group, and those that had been parked.
        followed: u64,
    },
    /// It left quarantine and waits for a row that it references, or that it changes.
    Parked,
    /// It stands alone now; another of its group does not.
    Waits {
        /// Which.
        mate: Dot,
        /// Why not.
        why: String,
    },
}

/// What became of many changes that carried one code.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mapped {
    /// How many left quarantine, changes of their groups included.
    pub released: usize,
    /// Those that wait for another of their group: why that does not stand alone.
    pub waiting: Vec<(Dot, String)>,
    /// Those that would not stand alone even so, and stay as they are: why.
    pub left: Vec<(Dot, String)>,
    /// Whether there are more: [`AT_ONCE_MAX`] was reached.
    pub more: bool,
}

impl Store {
    /// Repair a change with edits (none: only judge it anew, by the schema of today), and
    /// release it with all that waits for it.
    pub fn repair(&mut self, dot: Dot, edits: &Edits, now_s: u64) -> Result<Became, StoreError> {
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            let subject = subject(tx, dot)?;
            let repair = compose(tx, catalog, &subject, edits)?;
            run::begin_run(tx, &draw, now_s)?;
            let mut names = Names::draw(tx, &draw)?;
            // What is parked and follows; this one does not follow itself.
            let itself = u64::from(changes::sequence(tx, dot)? == Some(0));
            let parked = parked(tx)? - itself;
            let act = rule(tx, &mut names, dot, Word::Repair(repair), now_s)?;
            let heeded = operators::take(tx, catalog, &[act], now_s)?;
            became(tx, dot, heeded, parked)
        })
    }

    /// Repair every quarantined change that carries a code in a field, with another code.
    pub fn map_code(
        &mut self,
        (table, field): (&str, &str),
        (from, to): (&str, &str),
        now_s: u64,
    ) -> Result<Mapped, StoreError> {
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            let table = catalog.table_named(table)?;
            let number = known_field(table, field)?.number;
            let named = |at: &FieldRef| match at {
                FieldRef::Number(at) => *at == number,
                FieldRef::Name(name) => name == field,
            };
            let mut mapped = Mapped::default();
            let mut acts = Vec::new();
            let mut names = None;
            for dot in kept::undecided(tx)? {
                let Some(found) = kept::find(tx, dot)? else { continue };
                let subject = of_kept(tx, found)?;
                let mut fields = subject.fields().to_vec();
                let mut codes = 0;
                for (_, delta) in fields.iter_mut().filter(|(at, _)| named(at)) {
                    codes += replace(delta, from, to);
                }
                if codes == 0 || subject.table_in(catalog) != Some(table) {
                    continue;
                }
                mapped.more = acts.len() == AT_ONCE_MAX;
                if mapped.more {
                    break;
                }
                match judged(tx, catalog, &subject, table, fields) {
                    Ok(repair) => {
                        let names = match &mut names {
                            Some(names) => names,
                            None => {
                                run::begin_run(tx, &draw, now_s)?;
                                names.insert(Names::draw(tx, &draw)?)
                            }
                        };
                        acts.push(rule(tx, names, dot, Word::Repair(repair), now_s)?);
                    }
                    Err(StoreError::Refused(why)) => mapped.left.push((dot, why)),
                    Err(error) => return Err(error),
                }
            }
            let heeded = operators::take(tx, catalog, &acts, now_s)?;
            mapped.released = heeded.released.len();
            let of_acts: BTreeSet<Dot> = acts.iter().filter_map(subject_of).collect();
            let waiting = heeded.waiting.into_iter().filter(|(dot, _)| of_acts.contains(dot));
            mapped.waiting =
                waiting.map(|(dot, (mate, why))| (dot, format!("{mate}: {why}"))).collect();
            Ok(mapped)
        })
    }

    /// Reject a change and its group: they are never applied, unless somebody repairs
    /// them after all. Whoever recorded them reads the reason. How many.
    pub fn reject(&mut self, dot: Dot, reason: &str, now_s: u64) -> Result<usize, StoreError> {
        let plain = !reason.chars().any(char::is_control);
        if !plain || reason.trim().is_empty() || reason.len() > REJECT_BYTES_MAX {
            return Err(StoreError::Refused(format!(
                "the reason: a line of 1 to {REJECT_BYTES_MAX} bytes is needed, for whoever recorded it"
            )));
        }
        let draw = self.draw.clone();
        self.write(|tx, catalog| {
            let found = kept::find(tx, dot)?;
            if found.is_none() && !kept::has_clash(tx, dot)? {
                let told = "it cannot be rejected any more: others may have built on it; correct \
                            its row with a record of your own";
                return Err(not_there(tx, dot, told)?);
            }
            let mates = match found {
                Some(found) => kept::mates(tx, &found.change)?,
                None => Vec::new(),
            };
            let mut names = Names::draw(tx, &draw)?;
            let mut dots: BTreeSet<Dot> = mates.iter().map(|mate| mate.change.dot).collect();
            dots.insert(dot);
            let mut acts = Vec::with_capacity(dots.len());
            for &dot in &dots {
                if !ruling::repairs(&rulings::about(tx, dot)?).is_empty() {
                    return Err(StoreError::Refused(format!(
                        "{dot} was repaired, and a repair outdoes every reject: repair it anew, \
                         or repair what its group waits for"
                    )));
                }
                let word = Word::Reject { reason: reason.into() };
                acts.push(rule(tx, &mut names, dot, word, now_s)?);
            }
            operators::take(tx, catalog, &acts, now_s)?;
            Ok(dots.len())
        })
    }
}

/// A ruling, as an act.
pub(super) fn rule(
    db: &Connection,
    names: &mut Names,
    subject: Dot,
    word: Word,
    now_s: u64,
) -> Result<Act, StoreError> {
    let stamp = rulings::clock(db, subject)?.issue(now_s);
    Ok(Act::Rule(Ruling { dot: names.next(), stamp, entered_s: now_s, subject, word }))
}

fn subject_of(act: &Act) -> Option<Dot> {
    match act {
        Act::Rule(ruling) => Some(ruling.subject),
        Act::Settle(_) => None,
    }
}

fn parked(db: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM wadi_change WHERE hub_seq IS NULL";
    Ok(db.query_row(sql, [], |row| number_at(row, 0))?)
}

fn became(
    db: &Connection,
    dot: Dot,
    mut heeded: Heeded,
    parked_before: u64,
) -> Result<Became, StoreError> {
    if let Some((mate, why)) = heeded.waiting.remove(&dot) {
        return Ok(Became::Waits { mate, why });
    }
    let mates = heeded.released.iter().filter(|released| **released != dot).count() as u64;
    match changes::find(db, dot)? {
        Some(stored) if stored.seq != 0 => {
            let followed = mates + parked_before.saturating_sub(parked(db)?);
            Ok(Became::Applied { seq: stored.seq, followed })
        }
        Some(_) => Ok(Became::Parked),
        None => Err(StoreError::Broken(format!("{dot} was repaired and is nowhere"))),
    }
}
