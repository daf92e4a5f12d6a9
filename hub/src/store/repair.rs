//! What operators do about quarantined changes: repair them, or reject them.
//!
//! A repair is composed here and judged alone, as any change is; one that does not
//! pass is refused and leaves nothing. What it then does is [`super::release`]'s.
//! References may be to rows that are there, or stay those of the record: else a
//! later repair could ask to take back what an earlier one has let out.
use std::collections::BTreeSet;

use rusqlite::Connection;
use wadi_protocol::change::{Change, Delta, FieldRef, TableRef};
use wadi_protocol::id::Dot;
use wadi_protocol::ruling::{self, Repair, Ruling, Word};
use wadi_protocol::schema::{Schema, Table};
use wadi_protocol::value::Value;

use super::entered::delta_of;
use super::operators::{self, Act, Names};
use super::quarantine::Kept;
use super::release::{self, Heeded, references};
use super::sql::number_at;
use super::work::load;
use super::{Catalog, Store, StoreError, changes, judge, quarantine, rulings, run};

/// Bytes of the reason for which a change is rejected.
pub const REJECT_BYTES_MAX: usize = 160;
/// Changes that one command repairs at most.
pub const AT_ONCE_MAX: usize = 4_096;

/// What is to be different about a change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edits {
    /// Its table, where the schema does not know the one that it names.
    pub table: Option<String>,
    /// Fields and what they are to hold, as people type it.
    pub set: Vec<(String, String)>,
    /// Fields that it is not to touch.
    pub unset: Vec<String>,
}

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

/// A change that may be repaired.
struct Subject {
    original: Change,
    /// The repairs of it, the one that counts first.
    repairs: Vec<Repair>,
    is_applied: bool,
}

impl Store {
    /// Repair a change with edits (none: only judge it anew, by the schema of today), and
    /// release it with all that waits for it.
    pub fn repair(&mut self, dot: Dot, edits: &Edits, now_s: u64) -> Result<Became, StoreError> {
        self.write(|tx, catalog| {
            let subject = subject(tx, dot)?;
            let repair = compose(tx, catalog, &subject, edits)?;
            run::begin_run(tx, now_s)?;
            let mut names = Names::draw(tx)?;
            let parked = parked(tx)?;
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
            for dot in quarantine::undecided(tx)? {
                let Some(kept) = quarantine::find(tx, dot)? else { continue };
                let subject = of_kept(tx, kept)?;
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
                                run::begin_run(tx, now_s)?;
                                names.insert(Names::draw(tx)?)
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
        self.write(|tx, catalog| {
            let kept = quarantine::find(tx, dot)?;
            if kept.is_none() && !quarantine::has_clash(tx, dot)? {
                let told = "it cannot be rejected any more: others may have built on it; correct \
                            its row with a record of your own";
                return Err(not_there(tx, dot, told)?);
            }
            let mates = match kept {
                Some(kept) => quarantine::mates(tx, &kept.change)?,
                None => Vec::new(),
            };
            let mut names = Names::draw(tx)?;
            let mut dots: BTreeSet<Dot> = mates.iter().map(|kept| kept.change.dot).collect();
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

impl Subject {
    /// What it carries, as it counts or would count.
    fn fields(&self) -> &[(FieldRef, Delta)] {
        self.repairs.first().map_or(&self.original.fields, |repair| &repair.fields)
    }

    /// The table that it is of, as far as the newest schema knows it.
    fn table_in<'c>(&self, catalog: &'c Catalog) -> Option<&'c Table> {
        let named = self.repairs.first().map_or(&self.original.table, |repair| &repair.table);
        match named {
            TableRef::Number(number) => catalog.newest()?.table(*number),
            TableRef::Name(name) => catalog.newest()?.table_named(name),
        }
    }
}

fn subject(db: &Connection, dot: Dot) -> Result<Subject, StoreError> {
    if dot.device == operators::device(db)? {
        return Err(StoreError::Refused(format!(
            "{dot} poses as an operator's, and those are made here: it can only be rejected"
        )));
    }
    if let Some(kept) = quarantine::find(db, dot)? {
        return of_kept(db, kept);
    }
    if !release::is_released(db, dot)? {
        let told = "it needs no repair: correct its row with a record of your own";
        return Err(not_there(db, dot, told)?);
    }
    let (Some(original), Some(stored)) = (changes::as_made(db, dot)?, changes::find(db, dot)?)
    else {
        return Err(StoreError::Broken(format!("{dot} left quarantine for nowhere")));
    };
    Ok(Subject { original, repairs: repairs(db, dot)?, is_applied: stored.seq != 0 })
}

fn of_kept(db: &Connection, kept: Kept) -> Result<Subject, StoreError> {
    let repairs = repairs(db, kept.change.dot)?;
    Ok(Subject { original: kept.change, repairs, is_applied: false })
}

fn repairs(db: &Connection, dot: Dot) -> Result<Vec<Repair>, StoreError> {
    let rulings = rulings::about(db, dot)?;
    Ok(ruling::repairs(&rulings).into_iter().map(|(_, repair)| repair.clone()).collect())
}

/// Why a change that is not in quarantine under its own number cannot be ruled about.
fn not_there(db: &Connection, dot: Dot, committed: &str) -> Result<StoreError, StoreError> {
    Ok(StoreError::Refused(if quarantine::has_clash(db, dot)? {
        format!(
            "{dot} is the number of another change: what came under it too can only be rejected, \
             and recorded anew"
        )
    } else if changes::sequence(db, dot)?.is_some() {
        format!("{dot} is in the changelog: {committed}")
    } else {
        format!("{dot} is not in quarantine: see `wadi-hub quarantine list`")
    }))
}

fn compose(
    db: &Connection,
    catalog: &Catalog,
    subject: &Subject,
    edits: &Edits,
) -> Result<Repair, StoreError> {
    let refuse = |why: String| Err(StoreError::Refused(why));
    let table = match (subject.table_in(catalog), &edits.table) {
        (Some(table), Some(name)) if table.name != *name => {
            return refuse(format!(
                "it is of table {}, and a repair moves no record to another: reject it, and \
                 record it anew",
                table.name
            ));
        }
        (Some(table), _) => table,
        (None, Some(name)) => catalog.table_named(name)?,
        (None, None) => {
            let named = changes::table_text(&subject.original.table);
            return refuse(format!("table {named:?} is in no schema: say which it is by --table"));
        }
    };
    let schema = newest(catalog)?;
    let mut fields = subject.fields().to_vec();
    for name in &edits.unset {
        let number = table.field_named(name).map(|field| FieldRef::Number(field.number));
        let before = fields.len();
        fields.retain(|(at, _)| Some(at) != number.as_ref() && *at != FieldRef::Name(name.clone()));
        if fields.len() == before {
            return refuse(format!("it carries no field {name:?}"));
        }
    }
    for (name, text) in &edits.set {
        let field = known_field(table, name)?;
        let delta = delta_of(schema, table, field, text)?;
        let number = FieldRef::Number(field.number);
        fields.retain(|(at, _)| *at != number && *at != FieldRef::Name(name.clone()));
        fields.push((number, delta));
    }
    judged(db, catalog, subject, table, fields)
}

/// A repair that stands alone, its fields as the newest schema has them.
fn judged(
    db: &Connection,
    catalog: &Catalog,
    subject: &Subject,
    table: &Table,
    fields: Vec<(FieldRef, Delta)>,
) -> Result<Repair, StoreError> {
    let schema = newest(catalog)?.version;
    let repair = Repair { schema, table: TableRef::Number(table.number), fields };
    let form = judge::typed(catalog, &ruling::repaired(&subject.original, &repair))
        .map_err(|why| StoreError::Refused(format!("it would still break the schema: {why}")))?;
    let of_record = references(table, &subject.original.fields);
    for (field, parent) in references(table, &form.fields) {
        let kept = |fields: &[_]| references(table, fields).get(&field) == Some(&parent);
        let stays = of_record.get(&field) == Some(&parent)
            && !subject.is_applied
            && subject.repairs.iter().all(|repair| kept(&repair.fields));
        if !stays && load(db, parent)?.is_none() {
            return Err(StoreError::Refused(format!(
                "{}.{}: there is no row {} to refer to; give the id of one that is there",
                table.name,
                super::text::field_name(table, field),
                parent.row
            )));
        }
    }
    Ok(Repair { fields: form.fields, ..repair })
}

fn newest(catalog: &Catalog) -> Result<&Schema, StoreError> {
    catalog
        .newest()
        .ok_or_else(|| StoreError::Refused("no schema: run `wadi-hub schema publish FILE`".into()))
}

/// A field of a table by the name that a person gave.
pub(super) fn known_field<'t>(
    table: &'t Table,
    name: &str,
) -> Result<&'t wadi_protocol::schema::Field, StoreError> {
    table.field_named(name).ok_or_else(|| {
        let names: Vec<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
        StoreError::Refused(format!(
            "no field {name:?} in table {}; there are {}",
            table.name,
            names.join(", ")
        ))
    })
}

/// Put a code in the place of another; how often it stood there.
fn replace(delta: &mut Delta, from: &str, to: &str) -> usize {
    let in_list = |list: &mut Vec<String>| {
        let found = list.iter_mut().filter(|entry| *entry == from);
        found.map(|entry| to.clone_into(entry)).count()
    };
    match delta {
        Delta::Set(Value::Text(code)) if code == from => {
            to.clone_into(code);
            1
        }
        Delta::Set(Value::List(list)) => in_list(list),
        Delta::Edit { add, .. } => in_list(add),
        Delta::Set(_) | Delta::Add(_) | Delta::Append(_) => 0,
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
