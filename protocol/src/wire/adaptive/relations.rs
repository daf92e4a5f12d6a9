//! Exact relations between the numbers of a record: copies, sums, differences,
//! products, times of day. They are found where they hold by chance, and kept where they hold on.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::engine::place;

/// Fields whose relations are kept.
const FIELDS: usize = 192;
/// Relations of one field.
const KEPT: usize = 4;
/// Numbers that relations may draw on.
pub(super) const SOURCES: usize = 72;

/// The numbers at hand, by place.
pub(super) type Sources = [Option<i64>; SOURCES];

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Relation {
    how: u8,
    a: u8,
    b: u8,
    /// What is added, where that is a constant.
    by: i16,
    /// How well it has held, of 255; 0 = none.
    score: u8,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Relations {
    fields: Vec<(u32, [Relation; KEPT])>,
}

const COPY: u8 = 0;
const SUM: u8 = 1;
const DIFFERENCE: u8 = 2;
/// Minutes from one time of day (as hours * 100 + minutes) to another.
const MINUTES: u8 = 3;
/// A time of day so many minutes after another.
const LATER: u8 = 4;
/// As much more than another as it was before.
const SHIFTED: u8 = 5;
/// A price and a quantity, say.
const PRODUCT: u8 = 6;
const DAY_MIN: i64 = 24 * 60;

impl Relations {
    pub(super) fn new() -> Relations {
        Relations { fields: vec![(0, [Relation::default(); KEPT]); FIELDS] }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<(u32, [Relation; KEPT])>() * self.fields.capacity()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.fields.len() == FIELDS
    }

    /// What the two best relations of a field say, with how well they have held (0 to 3).
    pub(super) fn say(&self, field: u32, sources: &Sources) -> [Option<(i64, u8)>; 2] {
        let mut best = [None; 2];
        let (key, kept) = &self.fields[place(field, FIELDS)];
        if *key != field {
            return best;
        }
        let mut said: Vec<(u8, i64)> = kept
            .iter()
            .filter(|relation| relation.score != 0)
            .filter_map(|relation| Some((relation.score, relation.reckon(sources)?)))
            .collect();
        said.sort_by(|a, b| b.cmp(a));
        said.dedup_by_key(|(_, number)| *number);
        for (best, (score, number)) in best.iter_mut().zip(said) {
            *best = Some((number, score >> 6));
        }
        best
    }

    /// Learn from what the number was.
    pub(super) fn learn(&mut self, field: u32, sources: &Sources, number: i64, turn: u32) {
        let (key, kept) = &mut self.fields[place(field, FIELDS)];
        if *key != field {
            *key = field;
            *kept = [Relation::default(); KEPT];
        }
        let mut held = false;
        for relation in kept.iter_mut().filter(|relation| relation.score != 0) {
            if let Some(said) = relation.reckon(sources) {
                if said == number {
                    held = true;
                    relation.score += (255 - relation.score).div_ceil(8);
                } else {
                    relation.score -= relation.score.div_ceil(8);
                }
            }
        }
        let found = || find(sources, number, kept).or_else(|| shifted(sources, number, turn));
        if !held && let Some(found) = found() {
            let weakest = kept.iter_mut().min_by_key(|relation| relation.score).expect("kept");
            if weakest.score < 48 {
                *weakest = Relation { score: 48, ..found };
            } else {
                weakest.score -= 2;
            }
        }
    }
}

impl Relation {
    fn reckon(self, sources: &Sources) -> Option<i64> {
        let a = sources[usize::from(self.a)]?;
        match self.how {
            COPY => return Some(a),
            SHIFTED => return a.checked_add(self.by.into()),
            _ => {}
        }
        let b = sources[usize::from(self.b)]?;
        reckon(self.how, a, b)
    }
}

fn reckon(how: u8, a: i64, b: i64) -> Option<i64> {
    match how {
        SUM => a.checked_add(b),
        DIFFERENCE => a.checked_sub(b),
        PRODUCT => a.checked_mul(b),
        MINUTES => {
            let apart = (minutes(a)? - minutes(b)?).rem_euclid(DAY_MIN);
            Some(if apart > DAY_MIN * 3 / 4 { apart - DAY_MIN } else { apart })
        }
        LATER => {
            let time = (minutes(a)? + b.checked_rem(DAY_MIN)?).rem_euclid(DAY_MIN);
            Some(time / 60 * 100 + time % 60)
        }
        _ => None,
    }
}

/// Minutes since midnight of a time of day.
fn minutes(time: i64) -> Option<i64> {
    let sound = (0..=2400).contains(&time) && time % 100 < 60;
    sound.then(|| time / 100 * 60 + time % 100)
}

/// How far the number lies from one of the sources: another one at each turn.
fn shifted(sources: &Sources, number: i64, turn: u32) -> Option<Relation> {
    let count = sources.iter().flatten().count();
    let turn = (turn as usize).checked_rem(count)?;
    let mut there = sources.iter().enumerate().filter(|(_, source)| source.is_some());
    let (a, source) = there.nth(turn)?;
    let by = i16::try_from(number.checked_sub((*source)?)?).ok()?;
    Some(Relation { how: SHIFTED, a: a as u8, b: 0, by, score: 0 })
}

/// A relation that gives this number and is not kept yet.
fn find(sources: &Sources, number: i64, kept: &[Relation; KEPT]) -> Option<Relation> {
    let fresh = |how: u8, a: usize, b: usize| {
        let (a, b) = (a as u8, b as u8);
        let known =
            kept.iter().any(|kept| kept.score != 0 && (kept.how, kept.a, kept.b) == (how, a, b));
        (!known).then_some(Relation { how, a, b, by: 0, score: 0 })
    };
    let there: Vec<(usize, i64)> =
        sources.iter().enumerate().filter_map(|(at, source)| Some((at, (*source)?))).collect();
    for (at, source) in &there {
        if *source == number
            && let Some(found) = fresh(COPY, *at, 0)
        {
            return Some(found);
        }
    }
    for (a, x) in &there {
        for (b, y) in &there {
            // What is nothing or the same says nothing.
            if a == b || *x == 0 || *y == 0 {
                continue;
            }
            for how in [SUM, DIFFERENCE, PRODUCT, MINUTES, LATER] {
                // Either order gives the same; and once a number is itself.
                let twin = how == SUM && a > b || how == PRODUCT && (a > b || *x == 1 || *y == 1);
                if !twin
                    && reckon(how, *x, *y) == Some(number)
                    && let Some(found) = fresh(how, *a, *b)
                {
                    return Some(found);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether, after some records, the number is named before it comes.
    fn is_found(number: impl Fn(i64, i64) -> i64) -> bool {
        let mut relations = Relations::new();
        let mut last = false;
        for turn in 1..200 {
            let mut sources = [None; SOURCES];
            let (a, b) = (turn * 37 % 24 * 100 + turn * 7 % 60, turn * 13 % 90 + 1);
            (sources[3], sources[9], sources[20]) = (Some(a), Some(b), Some(turn * turn));
            let wanted = number(a, b);
            last = relations.say(1, &sources)[0].is_some_and(|(said, _)| said == wanted);
            relations.learn(1, &sources, wanted, turn as u32);
        }
        last
    }

    #[test]
    fn relations_are_found_where_they_hold() {
        assert!(is_found(|a, _| a));
        assert!(is_found(|a, b| a + b));
        assert!(is_found(|a, b| b - a));
        assert!(is_found(|a, b| a * b));
        assert!(is_found(|_, b| b + 20));
        // So many minutes after a time of day.
        assert!(is_found(|a, b| {
            let minutes = (a / 100 * 60 + a % 100 + b) % (24 * 60);
            minutes / 60 * 100 + minutes % 60
        }));
        assert!(!is_found(|a, b| (a * 7919 + b * 104_729) % 1_000_003));
    }

    #[test]
    fn numbers_beyond_the_clock_are_no_times() {
        assert_eq!(reckon(MINUTES, 15, 2350), Some(25));
        assert_eq!(reckon(MINUTES, 2350, 15), Some(-25));
        assert_eq!((reckon(MINUTES, 60, 0), reckon(LATER, -1, 0)), (None, None));
        assert_eq!((reckon(LATER, 2350, -10), reckon(LATER, 2350, 20)), (Some(2340), Some(10)));
        assert!(reckon(LATER, 2350, i64::MIN).is_some());
        assert_eq!((reckon(SUM, i64::MAX, 1), reckon(DIFFERENCE, i64::MIN, 1)), (None, None));
    }
}
