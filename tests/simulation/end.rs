//! The faults stop: everything drains, and all that people are shown is the same.
use std::collections::BTreeMap;

use crate::clock::Skew;
use crate::faults::Faults;
use crate::schema::TABLES;
use crate::screen;
use crate::world::{Outcome, World};

/// Each pass, every phone comes to its village and every village has its rounds.
const PASSES_MAX: usize = 40;
/// Operators do so much while changes are still on their way.
const OPERATORS_LAST: usize = 6;
/// Rounds of a village in one pass.
const ROUNDS_MAX: usize = 200;

impl World {
    pub fn end(&mut self) -> Outcome<()> {
        self.faults = Faults { rejected: self.faults.rejected, ..Faults::default() };
        self.net.clear();
        self.now_s += 400 * 86_400;
        self.calm()?;
        self.keep_promises()?;
        for _ in 0..OPERATORS_LAST {
            self.operator()?;
        }
        let mut before = String::new();
        for pass in 0..PASSES_MAX {
            for at in 0..self.phones.len() {
                // Phones stay at one village now.
                if !self.meet(at, at % self.villages.len())? {
                    self.tell(|| format!("pass {pass}: phone {at} did not finish"));
                }
            }
            for at in 0..self.villages.len() {
                self.rounds(at)?;
            }
            let now = self.state()?;
            let still = now == before && self.is_drained()?.is_none();
            if still && !self.operators_end()? {
                return self.compare();
            }
            // What they decided goes all the way back.
            before = if still { String::new() } else { now };
        }
        let left = self.is_drained()?.unwrap_or("something moves for ever".into());
        Err(format!("after {PASSES_MAX} passes without faults: {left}"))
    }

    /// Power everywhere, and true clocks.
    fn calm(&mut self) -> Outcome<()> {
        self.hub.stop();
        self.hub.machine.skew = Skew::True;
        self.start_hub()?;
        for at in 0..self.villages.len() {
            self.villages[at].stop();
            self.villages[at].machine.skew = Skew::True;
            self.villages[at].away_until_s = 0;
            self.start_village(at)?;
        }
        for at in 0..self.phones.len() {
            self.phones[at].stop();
            self.phones[at].machine.skew = Skew::True;
            self.start_phone(at)?;
        }
        Ok(())
    }

    /// Rounds until the village has nothing more to say.
    fn rounds(&mut self, at: usize) -> Outcome<()> {
        for _ in 0..ROUNDS_MAX {
            let before = self.head_of(at)?;
            self.villages[at].refused = false;
            self.round(at, true, false)?;
            self.round(at, false, false)?;
            while let Some(packet) = self.net.pop_front() {
                self.arrive(packet)?;
            }
            // Another box has taken its place meanwhile, or the hub waits for operators.
            let wanted = self.wants_operators(at)?;
            if wanted {
                self.operators_go_on()?;
            }
            if !wanted && !self.villages[at].refused && self.head_of(at)? == before {
                return Ok(());
            }
        }
        Err(format!("{}: no end of rounds", self.villages[at].machine.name))
    }

    fn wants_operators(&mut self, at: usize) -> Outcome<bool> {
        let run = self.villages[at].store.as_ref().map(|store| store.run());
        let store = self.hub.store.as_ref().expect("on");
        let other = store.other_line(self.villages[at].number).map_err(|e| e.to_string())?;
        let loss = store.loss().map_err(|error| error.to_string())?;
        let is_other = other.is_some_and(|other| Some(other.run) == run);
        Ok(is_other || loss.stopped_s > 0 || !loss.waiting.is_empty())
    }

    /// What a round moves but the count of rounds.
    fn head_of(&mut self, at: usize) -> Outcome<(u64, Vec<u8>, u64)> {
        let waiting = self.villages[at].store.as_ref().map_or(0, |store| store.waiting());
        let hub_head = self.head;
        let number = self.villages[at].number.0;
        let eye = self.hub.machine.eye().expect("on");
        let sql = "SELECT cursor_urgent || '-' || cursor_routine || '-' || schema FROM wadi_gateway WHERE number = ?";
        let cursors = eye
            .prepare_cached(sql)
            .and_then(|mut query| query.query_row([number], |row| row.get::<_, String>(0)));
        Ok((waiting, cursors.map_err(|error| error.to_string())?.into_bytes(), hub_head))
    }

    /// Everything that is shown anywhere.
    fn state(&mut self) -> Outcome<String> {
        let mut all = String::new();
        let machines = std::iter::once(&mut self.hub.machine)
            .chain(self.villages.iter_mut().map(|it| &mut it.machine))
            .chain(self.phones.iter_mut().map(|it| &mut it.machine));
        for machine in machines {
            let name = machine.name.clone();
            let eye = machine.eye().expect("on");
            for table in &TABLES {
                let rows = screen::whole(eye, table.name).map_err(|error| error.to_string())?;
                all += &format!("{name} {} {rows:?}\n", table.name);
            }
        }
        Ok(all)
    }

    /// What has not reached its end yet.
    fn is_drained(&mut self) -> Outcome<Option<String>> {
        for village in &mut self.villages {
            let eye = village.machine.eye().expect("on");
            let sql = "SELECT count(*) FROM wadi_change WHERE custody IN (0, 3)";
            let open = screen::one_number(eye, sql, ()).map_err(|error| error.to_string())?;
            if open > 0 {
                return Ok(Some(format!("{}: {open} changes are undecided", village.machine.name)));
            }
        }
        for phone in &mut self.phones {
            let eye = phone.machine.eye().expect("on");
            let sql = "SELECT count(*) FROM wadi_change WHERE custody IN ('pending', 'taken')";
            let open = screen::one_number(eye, sql, ()).map_err(|error| error.to_string())?;
            if open > 0 {
                return Ok(Some(format!("{}: {open} changes are undecided", phone.machine.name)));
            }
        }
        Ok(None)
    }

    /// Everybody shows the same, and what adds up is right.
    fn compare(&mut self) -> Outcome<()> {
        for at in 0..self.villages.len() {
            for table in &TABLES {
                let hub = self.hub.machine.eye().expect("on");
                let there = screen::whole(hub, table.name).map_err(|error| error.to_string())?;
                let machine = &mut self.villages[at].machine;
                let here = screen::whole(machine.eye().expect("on"), table.name);
                let here = here.map_err(|error| error.to_string())?;
                let name = machine.name.clone();
                self.compare_one(&name, (table.name, table.global), &here, &there)?;
            }
        }
        for at in 0..self.phones.len() {
            let with = at % self.villages.len();
            for table in &TABLES {
                let village = self.villages[with].machine.eye().expect("on");
                let there =
                    screen::whole(village, table.name).map_err(|error| error.to_string())?;
                let machine = &mut self.phones[at].machine;
                let here = screen::whole(machine.eye().expect("on"), table.name);
                let here = here.map_err(|error| error.to_string())?;
                let name = machine.name.clone();
                self.compare_one(&name, (table.name, true), &here, &there)?;
            }
        }
        self.homes()?;
        self.account()?;
        self.custody()?;
        self.sums()?;
        self.truth()?;
        self.gathered()?;
        self.cases_at_the_end()?;
        self.emptied()?;
        self.words()?;
        self.tally.note("runs that converged");
        Ok(())
    }

    /// Every change that anybody made is at the hub.
    fn account(&mut self) -> Outcome<()> {
        for (dot, told) in &self.model.told {
            if !self.model.is_at_hub(*dot) && !self.model.eras.lost.contains(dot) {
                return Err(format!("{dot} of {:?} never came to the hub", told.key));
            }
        }
        for (village, store) in self.villages.iter().filter_map(|it| Some((it, it.store.as_ref()?)))
        {
            let ledger = store.ledger().map_err(|error| error.to_string())?;
            if !ledger.faults.is_empty() {
                return Err(format!("{}: {:?}", village.machine.name, ledger.faults));
            }
        }
        let ledger = self.hub.store.as_ref().expect("on").ledger().map_err(|e| e.to_string())?;
        if !ledger.wrong.is_empty() {
            return Err(format!("hub: {:?}", ledger.wrong));
        }
        Ok(())
    }

    /// Both ends agree on what is parked, and on the line of rounds unless a box was
    /// restored or replaced.
    fn custody(&mut self) -> Outcome<()> {
        let hub = self.hub.machine.eye().expect("on");
        let sql = "SELECT coalesce(max(line), 0) FROM wadi_gateway";
        let line: i64 = hub.query_row(sql, (), |row| row.get(0)).map_err(|e| e.to_string())?;
        if line > 0 && !self.went_back() {
            return Err("hub: a village is taken for a box with another history".into());
        }
        for village in &mut self.villages {
            let name = village.machine.name.clone();
            let eye = village.machine.eye().expect("on");
            let sql = "r.device, r.run, c.seq FROM wadi_change AS c
                       JOIN wadi_run AS r ON r.id = c.run WHERE c.custody = 2";
            let parked = screen::dots(eye, sql).map_err(|error| error.to_string())?;
            if let Some(dot) = parked.difference(&self.model.parked).next() {
                return Err(format!("{name}: {dot} is parked, and not at the hub"));
            }
        }
        Ok(())
    }

    /// Each row at the hub is what its changes say.
    fn truth(&mut self) -> Outcome<()> {
        let eye = self.hub.machine.eye().expect("on");
        let runs = screen::runs(eye).map_err(|error| error.to_string())?;
        for key in self.model.plain_rows() {
            let Some(truth) = self.model.truth(key, &runs) else { continue };
            let (table, row) = key;
            let sql = "SELECT deleted FROM wadi_row WHERE row = ?";
            let deleted =
                screen::one_number(eye, sql, [row.0]).map_err(|error| error.to_string())?;
            let deleted = deleted != 0;
            if deleted != truth.deleted {
                let (is, not) = if deleted { ("is", "not") } else { ("is not", "so") };
                return Err(format!("hub: {table} {row} {is} deleted, its changes say {not}"));
            }
            let shown = screen::row(eye, key).map_err(|error| error.to_string())?;
            for (field, mark) in &truth.marks {
                if let Some(shown) = shown.as_ref().filter(|shown| shown[field] != *mark) {
                    let shown = &shown[field];
                    return Err(format!(
                        "hub: {field} of {table} {row} is {shown:?}, by its changes {mark:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What was added by all is what the hub shows.
    fn sums(&mut self) -> Outcome<()> {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for (dot, told) in &self.model.told {
            if self.model.eras.seq(*dot).is_some() {
                *sums.entry(told.key.1.to_string()).or_default() += told.adds;
            }
        }
        let eye = self.hub.machine.eye().expect("on");
        let mut query =
            eye.prepare_cached("SELECT id, count FROM house").map_err(|e| e.to_string())?;
        let rows = query
            .query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)));
        for row in rows.map_err(|error| error.to_string())? {
            let (id, count) = row.map_err(|error| error.to_string())?;
            let sum = sums.get(&id).copied().unwrap_or_default();
            // What a row began with before it was deleted and made anew no longer counts.
            let anew = self.model.was_made_anew(&id);
            if count.unwrap_or_default() != sum && !anew {
                return Err(format!("house {id}: the hub shows {count:?}, {sum} was added"));
            }
        }
        Ok(())
    }
}

impl World {
    /// A table here is as it is there; but people see what they entered themselves until
    /// somebody has decided about it, so such rows may differ.
    fn compare_one(
        &self,
        name: &str,
        (table, all): (&str, bool),
        here: &BTreeMap<String, Vec<String>>,
        there: &BTreeMap<String, Vec<String>>,
    ) -> Outcome<()> {
        let rows = self.model.open_rows();
        let open = |id: &String| rows.contains(id);
        for (id, row) in here {
            match there.get(id) {
                Some(other) if other == row => {}
                _ if open(id) => {}
                other => {
                    return Err(format!("{name}: {table} {id} is {row:?}, elsewhere {other:?}"));
                }
            }
        }
        match there.keys().find(|id| all && !here.contains_key(*id) && !open(id)) {
            Some(id) => Err(format!("{name} lacks {table} {id}: {:?}", there[id])),
            None => Ok(()),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Stores write when they close; their disks go with the machines.
        self.hub.store = None;
        self.villages.iter_mut().for_each(|village| village.store = None);
        self.phones.iter_mut().for_each(|phone| phone.store = None);
    }
}
