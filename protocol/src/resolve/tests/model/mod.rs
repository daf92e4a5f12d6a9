//! The rules read aloud: every definition in its own words, pair by pair
//! and change by change, at whatever cost. Shares no code with what it checks.
mod values;

use super::*;
use values::{plain_field, record_field};

/// The changes of one field (or of the row), and what precedes what among them.
struct Model<'a> {
    changes: &'a [Told],
    /// `precedes[e][f]`, but for pairs that precede each other.
    precedes: Vec<Vec<bool>>,
    value: Vec<bool>,
    /// The same, and those whose value was left out.
    edit: Vec<bool>,
    delete: Vec<bool>,
}

/// Whether `a` lies before `b` on the line of `b`, by these reports of runs (one a run).
fn earlier(runs: &[RunInfo], a: Dot, b: Dot) -> bool {
    let parent = |run: RunId| {
        let info = runs.iter().find(|info| info.device == b.device && info.run == run);
        info.and_then(|info| info.parent).filter(|(run, _)| *run != RunId::NONE)
    };
    let circles = |run: RunId| {
        let mut at = run;
        (0..=runs.len()).any(|_| {
            at = parent(at).map_or(RunId::NONE, |(above, _)| above);
            at == run
        })
    };
    if a.device != b.device {
        return false;
    }
    let (mut run, mut last) = (b.run, b.seq.wrapping_sub(1));
    loop {
        if run == a.run {
            return b.seq > 0 && a.seq <= last;
        }
        match parent(run) {
            Some((above, below)) if !circles(run) => (run, last) = (above, below),
            _ => return false,
        }
    }
}

impl<'a> Model<'a> {
    fn new(
        changes: &'a [Told],
        runs: &[RunInfo],
        touches: impl Fn(&Change) -> bool,
        gives: impl Fn(&Change) -> bool,
    ) -> Model<'a> {
        let len = changes.len();
        let direct = |e: &Told, f: &Told| {
            touches(&e.change)
                && touches(&f.change)
                && e.change.dot != f.change.dot
                && (f.change.seen.above.contains(&e.change.dot)
                    || e.seq != 0 && e.seq <= f.seen_seq
                    || earlier(runs, e.change.dot, f.change.dot))
        };
        let mut closure: Vec<Vec<bool>> =
            changes.iter().map(|e| changes.iter().map(|f| direct(e, f)).collect()).collect();
        for via in 0..len {
            for e in 0..len {
                for f in 0..len {
                    closure[e][f] |= closure[e][via] && closure[via][f];
                }
            }
        }
        let precedes = |e: usize, f: usize| closure[e][f] && !closure[f][e];
        let precedes = (0..len).map(|e| (0..len).map(|f| precedes(e, f)).collect()).collect();
        let value: Vec<bool> = changes.iter().map(|told| gives(&told.change)).collect();
        let delete = changes.iter().map(|told| is_delete(&told.change)).collect();
        Model { changes, precedes, edit: value.clone(), value, delete }
    }

    fn all(&self) -> impl Iterator<Item = usize> + Clone {
        0..self.changes.len()
    }

    /// Sorted by (stamp, dot).
    fn sorted(&self, mut indices: Vec<usize>) -> Vec<usize> {
        indices.sort_by_key(|&at| self.changes[at].change.order());
        indices
    }

    fn op(&self, at: usize) -> Op {
        self.changes[at].change.op
    }

    /// Whether e precedes a delete that an insert follows, both within `inside`.
    fn ended(&self, e: usize, inside: &dyn Fn(usize) -> bool) -> bool {
        let insert = |i: usize| inside(i) && self.op(i) == Op::Insert && self.edit[i];
        let undone = |d: usize| self.all().any(|i| insert(i) && self.precedes[d][i]);
        self.all().any(|d| inside(d) && self.delete[d] && self.precedes[e][d] && undone(d))
    }

    fn alive(&self) -> Vec<usize> {
        self.all().filter(|&e| self.value[e] && !self.ended(e, &|_| true)).collect()
    }

    fn candidates(&self) -> Vec<usize> {
        let followed = |e: usize| self.all().any(|f| self.value[f] && self.precedes[e][f]);
        self.sorted(self.alive().into_iter().filter(|&e| !followed(e)).collect())
    }

    /// Whether an edit's past holds an open case.
    fn joins(&self, f: usize) -> bool {
        let past = |e: usize| self.precedes[e][f];
        let lives =
            |e: &usize| self.value[*e] && past(*e) && !self.ended(*e, &|at| past(at) || at == f);
        let lives: Vec<usize> = self.all().filter(lives).collect();
        let maximal = |e: &&usize| !lives.iter().any(|&g| self.precedes[**e][g]);
        let maximal: Vec<usize> = lives.iter().filter(maximal).copied().collect();
        self.op(f) != Op::Settle
            && match maximal[..] {
                [] => false,
                [only] => self.joins(only),
                _ => true,
            }
    }

    fn case(&self, runs: &[RunInfo]) -> Vec<usize> {
        let dot = |at: usize| self.changes[at].change.dot;
        let replaces = |f: usize, e: usize| {
            self.value[f]
                && self.precedes[e][f]
                && (!self.joins(f) || earlier(runs, dot(e), dot(f)))
        };
        let stands = |e: &usize| !self.all().any(|f| replaces(f, *e));
        self.sorted(self.alive().into_iter().filter(stands).collect())
    }

    /// The values alive that nobody alive and `by` follows, in order.
    fn kept_from(&self, by: &dyn Fn(usize) -> bool) -> Vec<usize> {
        let alive = self.alive();
        let replaced = |e: usize| alive.iter().any(|&f| by(f) && self.precedes[e][f]);
        self.sorted(alive.iter().copied().filter(|&e| !replaced(e)).collect())
    }

    fn reborn(&self) -> bool {
        let insert = |d: usize| self.all().any(|i| self.op(i) == Op::Insert && self.precedes[d][i]);
        self.all().any(|d| self.delete[d] && insert(d))
    }
}

fn is_delete(change: &Change) -> bool {
    let settled = change.delta(0) == Some(&Delta::Set(Value::Bool(false)));
    change.op == Op::Delete || change.op == Op::Settle && settled
}

fn is_there(change: &Change) -> bool {
    let settled = change.delta(0).is_some() && !is_delete(change);
    change.op == Op::Insert || change.op == Op::Settle && settled
}

fn gives(change: &Change, field: u16) -> bool {
    let update = matches!(change.op, Op::Update | Op::Settle);
    let passed = change.delta(field) == Some(&Delta::Passed);
    !passed && (change.op == Op::Insert || update && change.delta(field).is_some())
}

/// Whether it is a settle that was undone, and gave or ended the field until then.
fn gave(change: &Change, field: u16) -> bool {
    let settle = Change { op: Op::Settle, ..change.clone() };
    change.op == Op::Undone && (gives(&settle, field) || is_delete(&settle))
}

/// What [`super::super::resolve`] has to answer. Changes have distinct dots.
pub(super) fn resolve_plainly(
    table: &Table,
    base: Option<&Image>,
    changes: &[Told],
    runs: &[RunInfo],
) -> Resolved {
    let record = table.mode == Mode::Record;
    let model = |field: u16| {
        let passed = |change: &Change| change.delta(field) == Some(&Delta::Passed);
        let stands =
            |change: &Change| gives(change, field) || gave(change, field) || passed(change);
        let touches = |change: &Change| record || stands(change) || is_delete(change);
        let mut model = Model::new(changes, runs, touches, |change| gives(change, field));
        model.edit =
            changes.iter().map(|told| gives(&told.change, field) || passed(&told.change)).collect();
        model
    };
    let row = |change: &Change| table.fields.iter().any(|field| gives(change, field.number));
    let mut row = Model::new(changes, runs, |_| true, row);
    let passed = |change: &Change| {
        table.fields.iter().any(|field| change.delta(field.number) == Some(&Delta::Passed))
    };
    row.edit.iter_mut().zip(changes).for_each(|(edit, told)| *edit |= passed(&told.change));
    let there = |change: &Change| is_there(change) || is_delete(change) || gave(change, 0);
    let existence = Model::new(changes, runs, |change| record || there(change), is_there);
    let models: Vec<Model<'_>> = table.fields.iter().map(|field| model(field.number)).collect();

    let inserted = changes.iter().any(|told| told.change.op == Op::Insert);
    let base_of = |model: &Model<'_>, field: u16| {
        let base = base.filter(|base| !model.reborn() && (base.live || !inserted));
        base.and_then(|base| base.fields.get(&field)).cloned().unwrap_or(Value::Null)
    };
    let fields = table.fields.iter().zip(&models).map(|(field, model)| {
        if record {
            let base = base_of(&row, field.number);
            return record_field(table, field, base, &row, runs);
        }
        let base = base_of(model, field.number);
        plain_field(field, base, model, runs)
    });
    let fields = fields.collect();
    let mut contested_in: Vec<&Model<'_>> =
        if record { vec![&row] } else { models.iter().collect() };
    contested_in.push(&existence);
    let existence = exists(table, base, &existence, &contested_in);
    Resolved { existence, fields }
}

fn exists(
    table: &Table,
    base: Option<&Image>,
    existence: &Model<'_>,
    models: &[&Model<'_>],
) -> Existence {
    let counts = |at: usize| existence.value[at] || existence.delete[at];
    let last = |who: &dyn Fn(usize) -> bool, among: &dyn Fn(usize) -> bool| {
        let followed = |e: usize| existence.all().any(|f| who(f) && existence.precedes[e][f]);
        existence.sorted(existence.all().filter(|&e| among(e) && !followed(e)).collect())
    };
    let contested = |d: usize| {
        models.iter().any(|model| {
            let apart = |u: usize| u != d && !model.precedes[u][d] && !model.precedes[d][u];
            model.all().any(|u| model.edit[u] && apart(u))
        })
    };
    let candidates = last(&counts, &counts);
    let deletes = |from: &[usize]| -> Vec<usize> {
        from.iter().copied().filter(|&d| existence.delete[d]).collect()
    };
    let asking = deletes(&candidates);
    let closes = |f: usize| counts(f) && existence.op(f) != Op::Delete;
    let open = last(&closes, &|d| existence.delete[d]);
    let review = table.delete == DeletePolicy::Review && open.iter().any(|&d| contested(d));
    let conflict = candidates.len() > 1 || review || asking.iter().any(|&d| contested(d));
    let deletes = match table.delete {
        DeletePolicy::DeleteWins => asking,
        DeletePolicy::UpdateWins => asking.into_iter().filter(|&d| !contested(d)).collect(),
        DeletePolicy::Review if review => vec![],
        DeletePolicy::Review => asking,
    };
    let any = |op: Op| existence.all().any(|at| existence.op(at) == op);
    let inserted =
        any(Op::Insert) || base.is_some_and(|base| base.live || any(Op::Update) || any(Op::Settle));
    Existence { inserted, deletes, candidates, conflict, review }
}
