//! Committing: changes come in, and those that may go are numbered and applied.
//!
//! One path for gateways' rounds and operators' decisions. Everything happens
//! in the caller's transaction; only I/O can make it fail.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::Change;
use wadi_protocol::id::{Dot, RunInfo};
use wadi_protocol::wire::batch::Batch;
use wadi_protocol::wire::downlink::Notice;
use wadi_protocol::wire::message::Outcome;

use super::changes::{self, Arrival, Entered, Form};
use super::clash::Standing;
use super::judge::{GroupKey, group_key};
use super::sql::Bits;
use super::work::Work;
use super::{StoreError, admit, apply, clash, copied, judge, kept, notice, operators, release};

/// Parked changes of one gateway; beyond it the hub hands changes back, to be held there.
const PARKED_CHANGES_MAX: usize = 4_096;
/// Quarantined changes of one gateway; beyond it the same.
const QUARANTINED_CHANGES_MAX: u64 = 16_384;

/// Commit a judged changeset: what became of its changes, in their order.
pub(super) fn commit(
    work: &mut Work<'_>,
    (gateway, round): (u32, u64),
    batch: Batch,
    verdicts: &[(u32, String)],
) -> Result<Vec<Outcome>, StoreError> {
    let standings = clash::standings(work.db, (gateway, round), work.now_s, &batch)?;
    let verdicts: BTreeMap<usize, &str> =
        verdicts.iter().map(|(index, reason)| (*index as usize, reason.as_str())).collect();
    let mut groups = Groups::of(&batch.changes, &standings);
    groups.make_room(work, gateway, &batch.changes, &standings, &verdicts)?;
    let dots: Vec<Dot> = batch.changes.iter().map(|change| change.dot).collect();
    let mut settled: BTreeMap<usize, Outcome> = BTreeMap::new();
    let mut arrivals = Vec::new();
    let mut clashes = Vec::new();
    let mut aside = Vec::new();
    learn_runs(work, &batch.runs)?;
    copied::notice(work.db, &batch.runs, &batch.changes, work.now_s)?;
    for (index, (change, standing)) in batch.changes.into_iter().zip(&standings).enumerate() {
        let dot = change.dot;
        if *standing == Standing::Known(0) {
            notice::also(work.db, gateway, dot)?;
        }
        let outcome = match standing {
            Standing::Doubled(_) => continue,
            Standing::Known(seq) => {
                if let Some(key) = changes::contain(work.db, dot, change.contained)? {
                    work.row(key)?;
                }
                Outcome::Known { seq: *seq }
            }
            _ => match why(work, &groups, &change, standing, verdicts.get(&index).copied()) {
                Ok(typed) => {
                    arrivals.push(Arrival { original: change, typed, gateway, round });
                    continue;
                }
                Err(reason) => {
                    let held = groups.is_held(&change);
                    let outcome = if held { Outcome::Held } else { Outcome::Quarantined };
                    if verdicts.get(&index).copied() != Some(reason.as_str()) {
                        let (outcome, reason) = (outcome.clone(), reason.clone());
                        notice::put(work.db, gateway, &Notice { dot, outcome, reason })?;
                    }
                    match standing {
                        _ if held => {}
                        Standing::Clash(first) => clashes.push((index, *first, change, reason)),
                        _ => {
                            kept::put(work, (gateway, round), &change, &reason)?;
                            aside.push(dot);
                        }
                    }
                    outcome
                }
            },
        };
        settled.insert(index, outcome);
    }
    let taken = take(work, arrivals)?;
    let outcome = |index: usize| settled.get(&index).or_else(|| taken.get(&dots[index])).cloned();
    let mut outcomes = Vec::with_capacity(dots.len());
    for (index, standing) in standings.iter().enumerate() {
        let of = if let Standing::Doubled(first) = standing { *first } else { index };
        outcomes.push(outcome(of).expect("every change has an outcome"));
    }
    for (index, first, change, reason) in clashes {
        // The other is of this changeset, and went back: so does this one.
        if first.index.is_some_and(|first| outcomes[first] == Outcome::Held) {
            outcomes[index] = Outcome::Held;
        } else {
            clash::keep(work.db, (gateway, round), work.now_s, first, &change, &reason)?;
        }
    }
    let ruled = release::ruled(work.db, &aside)?;
    if !ruled.is_empty() {
        // What was committed is written: it is read anew.
        *work = Work::new(work.db, work.catalog, work.now_s)?;
        release::heed(work, &ruled, Vec::new())?;
    }
    Ok(outcomes)
}

/// Groups of which some change cannot be taken, whatever had been judged.
struct Groups {
    /// Why.
    bad: BTreeMap<GroupKey, String>,
    /// Those for which there is no room in quarantine: their gateway keeps them.
    held: BTreeSet<GroupKey>,
}

impl Groups {
    fn of(changes: &[Change], standings: &[Standing]) -> Groups {
        let mut groups = Groups { bad: BTreeMap::new(), held: BTreeSet::new() };
        for (change, standing) in changes.iter().zip(standings) {
            if let Some(reason) = standing.reason_of_group() {
                groups.bad.entry(group_key(change)).or_insert_with(|| judge::cut(&reason));
            }
            if matches!(standing, Standing::NoRoom(_)) {
                groups.held.insert(group_key(change));
            }
        }
        groups
    }

    /// Hold the groups for which quarantine has no room.
    fn make_room(
        &mut self,
        work: &Work<'_>,
        gateway: u32,
        changes: &[Change],
        standings: &[Standing],
        verdicts: &BTreeMap<usize, &str>,
    ) -> Result<(), StoreError> {
        let mut sizes: BTreeMap<GroupKey, u64> = BTreeMap::new();
        for (index, (change, standing)) in changes.iter().zip(standings).enumerate() {
            let key = group_key(change);
            let fresh = matches!(standing, Standing::New | Standing::Posed);
            if fresh && (verdicts.contains_key(&index) || self.bad.contains_key(&key)) {
                *sizes.entry(key).or_default() += 1;
            }
        }
        if sizes.is_empty() {
            return Ok(());
        }
        let mut room = QUARANTINED_CHANGES_MAX.saturating_sub(kept::count(work.db, gateway)?);
        for (key, size) in sizes {
            match room.checked_sub(size) {
                Some(left) => room = left,
                None => {
                    self.held.insert(key);
                }
            }
        }
        Ok(())
    }

    fn is_held(&self, change: &Change) -> bool {
        self.held.contains(&group_key(change))
    }
}

/// The typed form of a change that may be taken, or why it may not: as quarantine says that
/// has it already, as it was judged, or because another route has brought one of its group since.
fn why(
    work: &Work<'_>,
    groups: &Groups,
    change: &Change,
    standing: &Standing,
    verdict: Option<&str>,
) -> Result<Change, String> {
    // Operators may have rejected it since it was judged.
    if let Standing::Quarantined(reason) = standing {
        return Err(judge::cut(reason));
    }
    if let Some(reason) = verdict {
        return Err(reason.to_owned());
    }
    if let Some(reason) = standing.reason() {
        return Err(judge::cut(&reason));
    }
    match groups.bad.get(&group_key(change)) {
        Some(reason) => Err(reason.clone()),
        None => judge::typed(work.catalog, change),
    }
}

/// Enter changes, apply what may go (with what was parked), and bring the tables up to date.
pub(super) fn take(
    work: &mut Work<'_>,
    arrivals: Vec<Arrival>,
) -> Result<BTreeMap<Dot, Outcome>, StoreError> {
    let mut fresh = Vec::with_capacity(arrivals.len());
    for arrival in arrivals {
        fresh.push(changes::enter(work.db, arrival, work.now_s)?);
    }
    go(work, fresh, Some(PARKED_CHANGES_MAX))
}

/// The same of changes that are ready to be stored; of one gateway no more than
/// `parked_max` are parked, the others it keeps.
pub(super) fn go(
    work: &mut Work<'_>,
    fresh: Vec<(Entered, Form)>,
    parked_max: Option<usize>,
) -> Result<BTreeMap<Dot, Outcome>, StoreError> {
    let mut waiting = changes::parked(work.db)?;
    let parked_before = waiting.len();
    let mut outcomes = BTreeMap::new();
    let (entries, forms): (Vec<Entered>, Vec<Form>) = fresh.into_iter().unzip();
    waiting.extend(entries);
    for place in admit::admit(work, &waiting)? {
        let entered = &mut waiting[place];
        entered.seq = work.next_seq();
        let dot = entered.change.dot;
        let outcome = entered.outcome();
        if place < parked_before {
            changes::number(work.db, entered)?;
            let notice = Notice { dot, outcome, reason: String::new() };
            notice::put_all(work.db, entered.gateway, &notice)?;
        } else {
            changes::store(work.db, entered, &forms[place - parked_before])?;
            outcomes.insert(dot, outcome);
        }
        touch(work, entered)?;
    }
    let held = match parked_max {
        Some(parked_max) => held(&waiting, parked_before, parked_max),
        None => BTreeSet::new(),
    };
    for (entered, form) in waiting[parked_before..].iter_mut().zip(&forms) {
        if entered.seq != 0 {
            continue;
        }
        let dot = entered.change.dot;
        let outcome = if held.contains(&dot) {
            Outcome::Held
        } else {
            changes::store(work.db, entered, form)?;
            Outcome::Parked
        };
        outcomes.insert(dot, outcome);
    }
    release::promote(work)?;
    apply::finish(work)?;
    Ok(outcomes)
}

/// Of the arrivals that would be parked, those for which there is no room, groups whole:
/// their gateway keeps them until parked ones of it are released.
fn held(waiting: &[Entered], parked_before: usize, parked_max: usize) -> BTreeSet<Dot> {
    let is_parked = |entered: &&Entered| entered.seq == 0;
    let (before, arrived) = waiting.split_at(parked_before);
    let mut groups: BTreeMap<_, Vec<&Entered>> = BTreeMap::new();
    for entered in arrived.iter().filter(is_parked) {
        let change = &entered.change;
        let group = (change.dot.device, change.dot.run, change.group_span().0);
        groups.entry(group).or_default().push(entered);
    }
    let mut held = BTreeSet::new();
    let Some(gateway) = arrived.first().map(|entered| entered.gateway) else {
        return held;
    };
    let mut parked =
        before.iter().filter(is_parked).filter(|entered| entered.gateway == gateway).count();
    for group in groups.values() {
        if parked + group.len() <= parked_max {
            parked += group.len();
        } else {
            held.extend(group.iter().map(|entered| entered.change.dot));
        }
    }
    held
}

fn touch(work: &mut Work<'_>, entered: &Entered) -> Result<(), StoreError> {
    work.row(entered.key())?.touches.push(entered.clone());
    Ok(())
}

/// Learn of runs. Where one closes a gap in a line that was judged by before, the rows
/// of its device are resolved again.
fn learn_runs(work: &mut Work<'_>, runs: &[RunInfo]) -> Result<(), StoreError> {
    let operators = operators::device(work.db)?;
    for run in runs {
        // Of their own runs the hub need not be told.
        if run.device == operators {
            continue;
        }
        let joins = changes::has_child_run(work.db, run)?;
        let told = changes::insert_run(work.db, run)?;
        if told && (joins || told_otherwise(work, run)?) {
            for key in changes::rows_of(work.db, run.device)? {
                work.row(key)?;
            }
        }
    }
    Ok(())
}

/// Whether changes of a run had been applied before this was told of it.
fn told_otherwise(work: &Work<'_>, run: &RunInfo) -> Result<bool, StoreError> {
    let mut query = work.db.prepare_cached(
        "SELECT 1 FROM wadi_change WHERE device = ?1 AND run = ?2 AND hub_seq IS NOT NULL",
    )?;
    Ok(query.exists([Bits(run.device.0), Bits(run.run.0)])?)
}

/// Outcomes as stretches, as the message wants them.
pub(super) fn stretches(outcomes: &[Outcome]) -> Vec<(u32, Outcome)> {
    let mut stretches: Vec<(u32, Outcome)> = Vec::new();
    for outcome in outcomes {
        if let Some((len, last)) = stretches.last_mut()
            && continues(last, *len, outcome)
        {
            *len += 1;
        } else {
            stretches.push((1, outcome.clone()));
        }
    }
    stretches
}

/// Whether an outcome continues a stretch. Known ones stand alone: their sequences do not count up.
fn continues(first: &Outcome, len: u32, next: &Outcome) -> bool {
    match (first, next) {
        (Outcome::Applied { seq: first }, Outcome::Applied { seq }) => {
            *seq == first + u64::from(len)
        }
        (Outcome::Parked, Outcome::Parked)
        | (Outcome::Quarantined, Outcome::Quarantined)
        | (Outcome::Held, Outcome::Held) => true,
        _ => false,
    }
}
