//! What the hub held and showed, from one loss of its database to the next.
//!
//! A version that somebody was shown names a run of the hub, and so an era: behind the
//! backup that took the lost database's place, the same sequences mean other changes.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use wadi_protocol::id::{Dot, RowVersion, RunId};

use crate::model::Key;

/// A field of a row.
type Place = (Key, &'static str);
/// Since which hub sequence, which mark; none where the row was not shown at all.
type Stood = (u64, Option<Option<String>>);

/// From one loss to the next.
#[derive(Clone, Default)]
struct Era {
    seqs: BTreeMap<Dot, u64>,
    images: HashMap<Place, Vec<Stood>>,
}

/// All of them; the last is the present one.
pub struct Eras {
    all: Vec<Era>,
    of_run: HashMap<RunId, usize>,
    /// The runs that the hub itself knows of.
    told: Vec<RunId>,
    /// Where each ended, but the last.
    forks: Vec<u64>,
    /// Every change that was ever committed.
    ever: BTreeSet<Dot>,
    /// Changes that may be nowhere any more: all that had them was lost.
    pub lost: BTreeSet<Dot>,
    /// What a backup has, be it that an older one took the hub's place since.
    backed_up: BTreeSet<Dot>,
}

impl Eras {
    pub fn new() -> Eras {
        Eras {
            all: vec![Era::default()],
            of_run: HashMap::new(),
            told: Vec::new(),
            forks: Vec::new(),
            ever: BTreeSet::new(),
            lost: BTreeSet::new(),
            backed_up: BTreeSet::new(),
        }
    }

    fn now(&self) -> &Era {
        self.all.last().expect("there is always one")
    }

    fn now_mut(&mut self) -> &mut Era {
        self.all.last_mut().expect("there is always one")
    }

    fn era_of(&self, version: RowVersion) -> &Era {
        self.of_run.get(&version.hub).map_or(self.now(), |&at| &self.all[at])
    }

    /// The hub has drawn these runs: at a start, or for an operator's command.
    pub fn begun(&mut self, runs: impl Iterator<Item = RunId>) {
        self.told = runs.collect();
        for &run in &self.told {
            self.of_run.entry(run).or_insert(self.all.len() - 1);
        }
    }

    /// The hub's database is one that reached to `fork`. Those of its changes that are not
    /// in it any more.
    pub fn fall_back(&mut self, fork: u64) -> Vec<Dot> {
        let mut next = self.now().clone();
        let gone = next.seqs.iter().filter(|(_, seq)| **seq > fork).map(|(dot, _)| *dot).collect();
        next.seqs.retain(|_, seq| *seq <= fork);
        next.images.values_mut().for_each(|stood| stood.retain(|(since, _)| *since <= fork));
        self.all.push(next);
        self.forks.push(fork);
        gone
    }

    /// The hub took a change into its tables; which sequence it gave it before, if it did.
    pub fn committed(&mut self, dot: Dot, seq: u64) -> Option<u64> {
        self.ever.insert(dot);
        self.now_mut().seqs.insert(dot, seq)
    }

    /// A backup was made.
    pub fn back_up(&mut self) {
        let all: Vec<Dot> = self.committed_now().collect();
        self.backed_up.extend(all);
    }

    /// Whether a backup had it, so that it may go elsewhere.
    pub fn is_backed_up(&self, dot: Dot) -> bool {
        self.backed_up.contains(&dot)
    }

    /// Whether the hub ever committed it, be it that its database is lost.
    pub fn was_committed(&self, dot: Dot) -> bool {
        self.ever.contains(&dot)
    }

    /// Every change that it ever committed.
    pub fn committed_ever(&self) -> impl Iterator<Item = Dot> {
        self.ever.iter().copied()
    }

    /// What the hub has committed and has still.
    pub fn committed_now(&self) -> impl Iterator<Item = Dot> {
        self.now().seqs.keys().copied()
    }

    /// Whether a version says more than what is left of the hub that it is of, or is of a run
    /// that a backup does not name: who cannot say what that means takes it for nothing.
    pub fn is_lost(&self, version: RowVersion) -> bool {
        if version.seq > 0 && !self.told.contains(&version.hub) {
            return true;
        }
        let at = self.of_run.get(&version.hub).copied().unwrap_or(self.all.len() - 1);
        self.forks[at..].iter().any(|fork| version.seq > *fork)
    }

    /// The sequence of a change at the hub.
    pub fn seq(&self, dot: Dot) -> Option<u64> {
        self.now().seqs.get(&dot).copied()
    }

    /// The sequence that a change had where a version comes from.
    pub fn seq_in(&self, version: RowVersion, dot: Dot) -> Option<u64> {
        self.era_of(version).seqs.get(&dot).copied()
    }

    /// The hub shows this of a field since a sequence.
    pub fn shows(&mut self, place: Place, seq: u64, mark: Option<Option<String>>) {
        self.now_mut().images.entry(place).or_default().push((seq, mark));
    }

    /// Whether the hub showed a mark of a field at some time since it had a change, be it
    /// before it was lost.
    pub fn stood_with(&self, place: Place, mark: &Option<String>, dot: Dot) -> bool {
        let stood_in = |era: &Era| {
            let (Some(&seq), Some(stood)) = (era.seqs.get(&dot), era.images.get(&place)) else {
                return false;
            };
            let until = stood.iter().skip(1).map(|(since, _)| *since).chain([u64::MAX]);
            let mut times = stood.iter().zip(until);
            times.any(|((_, shown), until)| shown.as_ref() == Some(mark) && until > seq)
        };
        self.all.iter().any(stood_in)
    }

    /// What the hub showed of a field at a version; none if the row was not there.
    pub fn image(&self, place: Place, version: RowVersion) -> Option<&Option<String>> {
        let stood = self.era_of(version).images.get(&place)?;
        let found = stood.iter().rev().find(|(since, _)| *since <= version.seq);
        found.and_then(|(_, mark)| mark.as_ref())
    }
}
