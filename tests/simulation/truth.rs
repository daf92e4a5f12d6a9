//! What the hub must show and may let wait, found out again from what every change says:
//! plainly, by paths from change to change, with none of the product's rules.
//!
//! Left out are rows whose existence operators have settled, and what was shown by a hub
//! that is lost; which references take a row along is for `screen::orphans`. Fields that
//! gather what all say are for [`crate::gathered`].
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::value::Value;

use crate::model::{Key, Model, Told};
use crate::schema::number_of;
use crate::screen;

/// Where each run began: its parent and the last sequence there.
pub type Runs = BTreeMap<(DeviceId, RunId), (RunId, u64)>;

/// What the hub must hold of a row.
pub struct Truth {
    /// Whether its own changes delete it; what references make of that comes after.
    pub deleted: bool,
    /// The mark of each field of which that is plain, none = no value.
    pub marks: BTreeMap<&'static str, Option<String>>,
}

impl Model {
    /// What waits at the hub although everything that it needs is there or waits with it.
    pub fn parked_for_nothing(&self) -> Option<Dot> {
        let told = |dot: Dot| self.told.get(&dot).map(|told| (dot, told));
        let known: BTreeSet<Key> =
            self.eras.committed_now().filter_map(told).map(|it| it.1.key).collect();
        let mut waiting: BTreeMap<Dot, &Told> =
            self.parked.iter().copied().filter_map(told).collect();
        loop {
            let comes: BTreeSet<RowId> = waiting
                .values()
                .filter(|told| told.change.op == Op::Insert)
                .map(|told| told.key.1)
                .chain(known.iter().map(|key| key.1))
                .collect();
            let whole = |change: &Change| {
                let (first, last) = change.group_span();
                (first..=last).all(|seq| waiting.contains_key(&Dot { seq, ..change.dot }))
            };
            let lacks = |told: &&Told| {
                let own = told.change.op != Op::Insert && !comes.contains(&told.key.1);
                own || !whole(&told.change)
                    || references(&told.change).any(|to| !comes.contains(&to))
            };
            let left: Vec<Dot> =
                waiting.iter().filter(|(_, told)| lacks(told)).map(|(dot, _)| *dot).collect();
            if left.is_empty() {
                return waiting.into_keys().next();
            }
            waiting.retain(|dot, _| !left.contains(dot));
        }
    }

    /// The rows about which the truth can be told.
    pub fn plain_rows(&self) -> BTreeSet<Key> {
        let ruled = self.rulings.rows(&self.eras);
        let at_hub = self.eras.committed_now();
        let rows = at_hub.filter_map(|dot| self.told.get(&dot)).map(|told| told.key);
        rows.filter(|key| !ruled.contains(key)).collect()
    }

    /// What the hub must hold of a row; none where that is not plain.
    pub fn truth(&self, key: Key, runs: &Runs) -> Option<Truth> {
        let told = self.applied(key);
        let changes: Vec<&Change> = told.iter().map(|told| self.form(told)).collect();
        let inserts = changes.iter().filter(|change| change.op == Op::Insert).count();
        let vague = |change: &&Change| self.is_vague(change);
        if inserts != 1 || changes.iter().any(vague) {
            return None;
        }
        let fields: BTreeSet<u16> =
            changes.iter().flat_map(|change| numbers(key, change)).collect();
        let graph = |field| Graph::new(self, &changes, key, field, runs);
        let existence = graph(None);
        let deletes: Vec<usize> = existence.ends();
        let missed = |delete: usize| {
            let dot = existence.dot(delete);
            std::iter::once(None).chain(fields.iter().copied().map(Some)).any(|field| {
                let graph = graph(field);
                let at = graph.place(dot);
                let beside = |other: usize| !graph.before(other, at) && !graph.before(at, other);
                (0..graph.changes.len())
                    .any(|other| other != at && graph.gives(other) && beside(other))
            })
        };
        let deleted = match key.0 {
            "person" => deletes.iter().any(|&delete| !missed(delete)),
            "photo" => !deletes.is_empty() && !existence.open_deletes().any(missed),
            _ => !deletes.is_empty(),
        };
        let mut marks = BTreeMap::new();
        for name in screen::table(key.0).marks.iter().filter(|name| **name != "note") {
            let mark = |change: &Change| {
                let told = self.told.get(&change.dot)?;
                told.marks.iter().find(|(at, _)| at == name).map(|(_, mark)| mark.clone())
            };
            let graph = graph(Some(number_of(key.0, name)?));
            let mut candidates = graph.candidates();
            candidates.sort_by_key(|&at| self.order(graph.changes[at]));
            let winner = if *name == "first" { candidates.first() } else { candidates.last() };
            let winner = graph.changes[*winner?];
            // A record that does not carry the field has it from its past.
            if key.0 != "card" || mark(winner).is_some() {
                marks.insert(*name, mark(winner));
            }
        }
        Some(Truth { deleted, marks })
    }

    pub fn order(&self, change: &Change) -> (wadi_protocol::stamp::Stamp, Dot) {
        let contained = self.contained.get(&change.dot).copied();
        (contained.unwrap_or(change.stamp), change.dot)
    }

    /// Whether one change of a row comes straight before another: it was seen, or made
    /// earlier on the line of its device.
    fn is_seen(&self, before: &Change, after: &Change, runs: &Runs) -> bool {
        let (one, other) = (before.dot, after.dot);
        let version = after.seen.version;
        let in_image = self.eras.seq_in(version, one).is_some_and(|seq| seq <= version.seq);
        if after.seen.above.contains(&one) || in_image {
            return true;
        }
        self.is_on_line(one, other, runs)
    }

    /// Whether a change was made earlier on the line of another's device.
    pub fn is_on_line(&self, one: Dot, other: Dot, runs: &Runs) -> bool {
        if one.device != other.device {
            return false;
        }
        let (mut run, mut end) = (other.run, other.seq - 1);
        for _ in 0..=runs.len() {
            if run == one.run {
                return one.seq <= end;
            }
            match runs.get(&(other.device, run)) {
                Some((parent, last)) => (run, end) = (*parent, *last),
                None => return false,
            }
        }
        false
    }
}

/// The changes of one field of a row (none: whether it is there), and what precedes what.
pub struct Graph<'a> {
    pub changes: Vec<&'a Change>,
    /// Whether the first of a pair precedes the second, by whatever path.
    paths: BTreeSet<(usize, usize)>,
    field: Option<u16>,
    key: Key,
}

impl<'a> Graph<'a> {
    pub fn new(
        model: &Model,
        changes: &[&'a Change],
        key: Key,
        field: Option<u16>,
        runs: &Runs,
    ) -> Graph<'a> {
        let touches = |change: &&Change| {
            let assigns = numbers(key, change).any(|at| Some(at) == field);
            matches!(change.op, Op::Insert | Op::Delete) || assigns || key.0 == "card"
        };
        let changes: Vec<&Change> = changes.iter().copied().filter(touches).collect();
        let mut paths = BTreeSet::new();
        for (at, after) in changes.iter().enumerate() {
            let seen = |before: &&Change| model.is_seen(before, after, runs);
            let before = (0..changes.len()).filter(|&other| other != at && seen(&changes[other]));
            paths.extend(before.map(|other| (other, at)));
        }
        for by in 0..changes.len() {
            let from: Vec<usize> =
                (0..changes.len()).filter(|&it| paths.contains(&(it, by))).collect();
            let to: Vec<usize> =
                (0..changes.len()).filter(|&it| paths.contains(&(by, it))).collect();
            from.iter().for_each(|&one| paths.extend(to.iter().map(|&other| (one, other))));
        }
        Graph { changes, paths, field, key }
    }

    fn dot(&self, at: usize) -> Dot {
        self.changes[at].dot
    }

    fn place(&self, dot: Dot) -> usize {
        self.changes.iter().position(|change| change.dot == dot).expect("it touches every field")
    }

    pub fn before(&self, one: usize, other: usize) -> bool {
        self.paths.contains(&(one, other))
    }

    /// Whether a change gives the field a value; of existence, whether it makes the row.
    pub fn gives(&self, at: usize) -> bool {
        let change = self.changes[at];
        match change.op {
            Op::Insert => true,
            Op::Update if self.key.0 == "card" => self.field.is_some(),
            Op::Update | Op::Settle => {
                numbers(self.key, change).any(|field| Some(field) == self.field)
            }
            _ => false,
        }
    }

    /// Who gives a value that no other follows.
    fn candidates(&self) -> Vec<usize> {
        let given: Vec<usize> = (0..self.changes.len()).filter(|&at| self.gives(at)).collect();
        let last = |at: &&usize| !given.iter().any(|&other| self.before(**at, other));
        given.iter().filter(last).copied().collect()
    }

    /// The deletes after which nobody made the row anew: he may have, though the one who
    /// made it first waits.
    fn open_deletes(&self) -> impl Iterator<Item = usize> {
        let all = 0..self.changes.len();
        let anew = move |at: usize| {
            all.clone().any(|other| self.changes[other].op == Op::Insert && self.before(at, other))
        };
        self.all_deletes().filter(move |&at| !anew(at))
    }

    fn all_deletes(&self) -> impl Iterator<Item = usize> {
        (0..self.changes.len()).filter(|&at| self.changes[at].op == Op::Delete)
    }

    /// The open deletes that no other follows.
    fn ends(&self) -> Vec<usize> {
        let last = |at: &usize| !self.all_deletes().any(|other| self.before(*at, other));
        self.open_deletes().filter(last).collect()
    }
}

/// The numbers of the fields of a change; who had no schema yet gave their names.
fn numbers(key: Key, change: &Change) -> impl Iterator<Item = u16> {
    change.fields.iter().filter_map(move |(field, _)| match field {
        FieldRef::Number(number) => Some(*number),
        FieldRef::Name(name) => number_of(key.0, name),
    })
}

/// The rows that a change references.
pub fn references(change: &Change) -> impl Iterator<Item = RowId> {
    change.fields.iter().filter_map(|(_, delta)| match delta {
        Delta::Set(Value::Row(row)) => Some(*row),
        Delta::Set(Value::Text(text)) => text.parse().ok(),
        _ => None,
    })
}
