//! What operators do at the hub: they settle cases, one or many alike, and undo that;
//! they repair what is in quarantine, map codes, or reject with a reason.
use std::collections::BTreeSet;

use wadi_hub::store::quarantine::Quarantined;
use wadi_hub::store::repair::{Became, Edits};
use wadi_hub::store::review::Case;
use wadi_hub::store::settle::Decision;
use wadi_hub::store::{Store, StoreError};
use wadi_protocol::id::Dot;

use crate::model::Told;
use crate::sample::{KINDS, TAGS, UNKNOWN_KIND, UNKNOWN_TAG, flaws};
use crate::schema::LATER;
use crate::screen;
use crate::world::{Outcome, World, survived};

/// Things that operators do in a step, at most.
const ACTS_MAX: u64 = 3;
/// Closed cases among which one is chosen to be opened again.
const CLOSED_MAX: usize = 50;
/// How often what left quarantine is repaired once more.
const AGAIN_PERMILLE: u64 = 150;

/// What came of asking the hub for something.
enum Answer<T> {
    Done(T),
    /// The reason, for people.
    Refused(String),
    /// Its disk was in the way.
    Off,
}

impl World {
    /// Operators do a few things, if the hub lets them.
    pub fn operator(&mut self) -> Outcome<()> {
        for _ in 0..1 + self.dice.below(ACTS_MAX) {
            self.operate()?;
        }
        Ok(())
    }

    fn operate(&mut self) -> Outcome<()> {
        let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
        let loss = survived(&self.hub.machine, "loss", store.loss())?.unwrap_or_default();
        if loss.stopped_s > 0 {
            return self.operators_go_on();
        }
        match self.dice.below(8) {
            0..=2 => self.settle()?,
            3 => self.settle_alike()?,
            4 => self.undo()?,
            5 => self.map_codes()?,
            _ => self.quarantine()?,
        }
        self.look_at_hub()
    }

    /// Everything that is still in quarantine is decided about; whether there was anything.
    pub fn operators_end(&mut self) -> Outcome<bool> {
        let mut passed: BTreeSet<Dot> = BTreeSet::new();
        loop {
            let next = self.aside()?.into_iter().find(|kept| {
                kept.rejected.is_none() && !kept.repaired && !passed.contains(&kept.dot)
            });
            let Some(kept) = next else { break };
            passed.insert(kept.dot);
            self.decide(&kept)?;
            self.look_at_hub()?;
        }
        Ok(!passed.is_empty())
    }

    fn ask<T>(
        &mut self,
        what: &'static str,
        act: impl FnOnce(&mut Store, u64) -> Result<T, StoreError>,
    ) -> Outcome<Answer<T>> {
        let now_s = self.hub.machine.skew.now_s(self.now_s);
        let Some(store) = self.hub.store.as_mut() else { return Ok(Answer::Off) };
        let answer = match act(store, now_s) {
            Err(StoreError::Refused(why)) => Answer::Refused(why),
            outcome => match survived(&self.hub.machine, what, outcome)? {
                Some(done) => Answer::Done(done),
                None => Answer::Off,
            },
        };
        match &answer {
            Answer::Done(_) => self.tally.note(what),
            Answer::Refused(why) => {
                let why = why.clone();
                self.tell(|| format!("operators: {what}: {why}"));
            }
            Answer::Off => self.hub.stop(),
        }
        Ok(answer)
    }

    fn cases(&mut self) -> Outcome<Vec<Case>> {
        let Some(store) = self.hub.store.as_mut() else { return Ok(Vec::new()) };
        Ok(survived(&self.hub.machine, "cases", store.cases())?.unwrap_or_default())
    }

    fn aside(&mut self) -> Outcome<Vec<Quarantined>> {
        let Some(store) = self.hub.store.as_mut() else { return Ok(Vec::new()) };
        Ok(survived(&self.hub.machine, "quarantine", store.quarantined())?.unwrap_or_default())
    }

    /// What somebody decides about a case, and by which name that is counted.
    fn decision(&mut self, case: &Case) -> (&'static str, Decision) {
        match self.dice.below(5) {
            0 => ("settled by a pick", Decision::Pick(1 + self.dice.index(2))),
            1 => ("settled by the newest", Decision::Newest),
            2 => {
                let site = self.dice.pick(&self.villages).site.clone();
                ("settled by a site", Decision::Site(site))
            }
            3 => ("settled by joining", Decision::Join(" / ".into())),
            _ => {
                let value = match case.field {
                    0 => (*self.dice.pick(&["keep", "delete"])).to_owned(),
                    _ => self.model.name("s"),
                };
                ("settled by a value", Decision::Value(value))
            }
        }
    }

    /// A case is settled, and then is no more; but that a value picked has a twin still.
    fn settle(&mut self) -> Outcome<()> {
        let cases = self.cases()?;
        if cases.is_empty() {
            return Ok(());
        }
        let case = self.dice.pick(&cases).clone();
        let (what, decision) = self.decision(&case);
        let number = case.number;
        if let Answer::Done(_) =
            self.ask(what, |store, now_s| store.settle(number, &decision, now_s))?
        {
            self.tally.note("case settled");
            self.tell(|| format!("case {number} of {:?} is settled: {decision:?}", case.names));
            let open = self.cases()?.into_iter().any(|other| other.number == number);
            if open && case.names.1 != "code" {
                return Err(format!("hub: case {number} was settled, {decision:?}, and is open"));
            }
        }
        Ok(())
    }

    /// All cases of a field are settled alike.
    fn settle_alike(&mut self) -> Outcome<()> {
        let cases = self.cases()?;
        if cases.is_empty() {
            return Ok(());
        }
        let case = self.dice.pick(&cases).clone();
        let (_, decision) = self.decision(&case);
        let (table, field) = case.names.clone();
        let answer = self.ask("settled alike", |store, now_s| {
            store.settle_alike((&table, &field), &decision, now_s)
        })?;
        if let Answer::Done(settled) = answer {
            let open: BTreeSet<u64> = self.cases()?.iter().map(|case| case.number).collect();
            self.tell(|| format!("{table}.{field} is settled alike, {decision:?}: {settled:?}"));
            let done = settled.done.iter().find(|(number, _)| open.contains(number));
            if let Some((number, _)) = done.filter(|_| field != "code") {
                return Err(format!("hub: case {number} was settled alike, and is open"));
            }
            // Where two rows clash, one that moves out of the way ends the case of the other.
            let left = settled.left.iter().find(|(it, _)| !open.contains(it));
            if let Some((number, _)) = left.filter(|_| field != "code") {
                return Err(format!("hub: case {number} was left, and is not open"));
            }
        }
        Ok(())
    }

    /// A settle is undone.
    fn undo(&mut self) -> Outcome<()> {
        let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
        let closed = survived(&self.hub.machine, "closed", store.closed_cases(CLOSED_MAX))?;
        let mut closed = closed.unwrap_or_default();
        closed.retain(|(_, _, by_settle)| *by_settle);
        if closed.is_empty() {
            return Ok(());
        }
        let number = self.dice.pick(&closed).0.number;
        if let Answer::Done(undone) =
            self.ask("settle undone", |store, now_s| store.undo(number, now_s))?
        {
            self.tell(|| format!("case {number}: {undone:?}"));
            if undone.case.is_some() {
                self.tally.note("case opened again");
            }
        }
        Ok(())
    }

    /// A code that devices use and no schema has becomes another, wherever it is.
    fn map_codes(&mut self) -> Outcome<()> {
        let (field, from, to) = match self.dice.below(2) {
            0 => ("kind", UNKNOWN_KIND, *self.dice.pick(&KINDS)),
            _ => ("tags", UNKNOWN_TAG, *self.dice.pick(&TAGS)),
        };
        let answer = self.ask("code mapped", |store, now_s| {
            store.map_code(("sample", field), (from, to), now_s)
        })?;
        match answer {
            Answer::Done(mapped) if mapped.released > 0 => {
                self.tally.note("released by mapping a code");
                self.tell(|| format!("{field} {from} is {to}: {mapped:?}"));
                Ok(())
            }
            Answer::Refused(why) => Err(format!("hub: no code can be mapped: {why}")),
            _ => Ok(()),
        }
    }

    /// Something in quarantine is decided about, or what left it is repaired once more.
    fn quarantine(&mut self) -> Outcome<()> {
        if self.dice.permille(AGAIN_PERMILLE) {
            return self.repair_again();
        }
        let aside = self.aside()?;
        if aside.is_empty() {
            return Ok(());
        }
        let kept = self.dice.pick(&aside).clone();
        self.decide(&kept)
    }

    fn decide(&mut self, kept: &Quarantined) -> Outcome<()> {
        if kept.first.is_some() || self.dice.permille(self.faults.rejected) {
            return self.reject(kept.dot);
        }
        if self.dice.permille(100) {
            self.judge_anew(kept.dot)?;
        }
        self.repair(kept.dot)
    }

    fn reject(&mut self, dot: Dot) -> Outcome<()> {
        let reason = self.model.name("nobody knows what is meant, ");
        let answer = self.ask("rejected", |store, now_s| store.reject(dot, &reason, now_s))?;
        match answer {
            Answer::Done(_) => self.tell(|| format!("{dot} is rejected: {reason}")),
            Answer::Refused(why) if !why.contains("was repaired") => {
                return Err(format!("hub: {dot} cannot be rejected: {why}"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Without edits what was not sound is not; but a mate of such a one is by itself.
    fn judge_anew(&mut self, dot: Dot) -> Outcome<()> {
        let known = |told: &&Told| screen::table(told.key.0).since <= self.schema;
        let Some(told) = self.model.told.get(&dot).filter(known) else { return Ok(()) };
        let sound = flaws(told.key, self.model.form(told)).is_empty();
        let answer =
            self.ask("judged anew", |store, now_s| store.repair(dot, &Edits::default(), now_s))?;
        if let Answer::Done(became) = &answer {
            self.note(became);
        }
        match (answer, sound) {
            (Answer::Done(_), false) => {
                Err(format!("hub: {dot} is not sound and was released as it is"))
            }
            (Answer::Refused(why), true) => {
                Err(format!("hub: {dot} is sound and cannot be released: {why}"))
            }
            _ => Ok(()),
        }
    }

    /// Fields that are not sound get values that are, or the change does not touch them.
    fn edits(&mut self, fields: &[&'static str], may_unset: bool) -> Edits {
        let mut edits = Edits::default();
        for field in fields {
            if may_unset && self.dice.permille(200) {
                edits.unset.push((*field).into());
                continue;
            }
            let value = match *field {
                "kind" => (*self.dice.pick(&KINDS)).to_owned(),
                "level" => self.dice.below(100).to_string(),
                "tags" => format!("{{\"add\":[\"{}\"]}}", self.dice.pick(&TAGS)),
                "code" => self.model.name("u"),
                _ => self.model.name("e"),
            };
            edits.set.push(((*field).into(), value));
        }
        edits
    }

    fn repair(&mut self, dot: Dot) -> Outcome<()> {
        let Some(told) = self.model.told.get(&dot) else { return Ok(()) };
        let fields = flaws(told.key, self.model.form(told));
        let many = told.change.fields.len() > fields.len();
        if fields.is_empty() && self.model.is_sound(told) {
            return self.release(dot);
        }
        if fields.is_empty() {
            // Another of its group is not.
            return Ok(());
        }
        let edits = self.edits(&fields, many);
        self.repair_with(dot, &edits)
    }

    /// What a hub that was put back did not know: it may know it now.
    fn release(&mut self, dot: Dot) -> Outcome<()> {
        let answer =
            self.ask("released", |store, now_s| store.repair(dot, &Edits::default(), now_s))?;
        match answer {
            Answer::Refused(_) if self.schema as usize <= LATER.len() => self.publish_next(),
            Answer::Refused(why) => Err(format!("hub: {dot} cannot be released: {why}")),
            _ => Ok(()),
        }
    }

    /// What was released is given another value, at its own place.
    fn repair_again(&mut self) -> Outcome<()> {
        let repaired = |told: &&Told| self.model.is_repaired(told.change.dot);
        let samples = self.model.told.values().filter(|told| told.key.0 == "sample");
        let dots: Vec<Dot> = samples.filter(repaired).map(|told| told.change.dot).collect();
        if dots.is_empty() {
            return Ok(());
        }
        let dot = *self.dice.pick(&dots);
        let field = *self.dice.pick(&["kind", "level", "code"]);
        let edits = self.edits(&[field], false);
        self.tally.note("repaired once more");
        self.repair_with(dot, &edits)
    }

    fn repair_with(&mut self, dot: Dot, edits: &Edits) -> Outcome<()> {
        let answer = self.ask("repaired", |store, now_s| store.repair(dot, edits, now_s))?;
        match answer {
            Answer::Refused(why) => Err(format!("hub: {dot} cannot be repaired: {why}: {edits:?}")),
            Answer::Off => Ok(()),
            Answer::Done(became) => {
                self.note(&became);
                self.tell(|| format!("{dot} is repaired, {edits:?}: {became:?}"));
                self.look_at_hub()?;
                self.check_repair(dot, edits)
            }
        }
    }

    fn note(&mut self, became: &Became) {
        self.tally.note(match became {
            Became::Applied { .. } => "repaired and applied",
            Became::Parked => "repaired and parked",
            Became::Waits { .. } => "repaired and waits for its group",
        });
    }

    /// The hub keeps of a change what the operators left of it, and what they gave it.
    fn check_repair(&self, dot: Dot, edits: &Edits) -> Outcome<()> {
        let Some(told) = self.model.told.get(&dot) else { return Ok(()) };
        let form = self.model.form(told);
        for (field, value) in &edits.set {
            let cell = crate::sample::delta_of(told.key, form, field);
            let shown = format!("{cell:?}");
            let word = value.trim_matches(|it: char| !it.is_alphanumeric());
            let word = word.rsplit('"').next().unwrap_or(word);
            if !shown.contains(word) {
                return Err(format!("hub: {dot} was to have {field} {value}, it has {shown}"));
            }
        }
        let marks = screen::table(told.key.0).marks;
        for field in marks {
            let (before, after) = (
                crate::sample::delta_of(told.key, &told.change, field),
                crate::sample::delta_of(told.key, form, field),
            );
            if before != after {
                return Err(format!("hub: a repair of {dot} made {field} {before:?} {after:?}"));
            }
        }
        Ok(())
    }
}
