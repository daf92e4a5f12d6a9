//! What one decision is expected to be: counters and experts, mixed.
//!
//! A context counts what followed it, in a slot of a hashed table; an expert says
//! outright what it expects, and is trusted as far as it was right. Each gives log
//! odds; learned weights add them up. Weights stand twice, once for the site and
//! once for all sites of its family, so that a new field starts with what others taught.
use alloc::vec;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::coder::Coder;
use super::curve::{ODDS_MAX, squash, stretch};

/// Contexts of a decision.
pub(super) const CONTEXTS: usize = 12;
/// Experts of a decision.
pub(super) const EXPERTS: usize = 10;
/// A slot gives two inputs, an expert two, and one is always the same.
const INPUTS: usize = 2 * CONTEXTS + 2 * EXPERTS + 1;
/// Kinds of decisions that share weights.
pub(super) const FAMILIES: usize = 16;
/// Sites with weights of their own; more share them.
const SITES: usize = 16;
/// Counters.
const SLOTS: usize = 25 * 1024;
/// How far experts are trusted.
const TRUSTS: usize = 3 * 1024;
/// How fast weights learn: those of a family, those of a site.
const RATES: [i32; 2] = [2, 5];
/// Log odds for each time that a context was one way and never the other, in 256ths.
const ONE_SIDED: i32 = 110;
/// No weight is greater: so no sum of all inputs is beyond 32 bits.
const WEIGHT_MAX: i32 = 32 * ONE;
/// Weights count 65536ths; they are used in 256ths.
const ONE: i32 = 1 << 16;
const WEIGHT_SHIFT: u32 = 8;

/// Everything that learns from decisions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Engine {
    /// check 8 bits | zeros seen 4 | ones seen 4
    slots: Vec<u16>,
    /// For each family, what zeros and ones seen lead to.
    maps: Vec<u16>,
    /// probability 12 bits | how often seen 4
    trusts: Vec<u16>,
    weights: Vec<i32>,
}

/// One decision to be made.
pub(super) struct Question<'a> {
    pub(super) family: usize,
    /// Hash of the site.
    pub(super) site: u32,
    /// Hashes of contexts.
    pub(super) contexts: &'a [u32],
    /// What experts expect, and hashes of the cases in which they do.
    pub(super) experts: &'a [Option<Claim>],
}

/// What an expert expects.
#[derive(Clone, Copy, Default)]
pub(super) struct Claim {
    pub(super) bit: bool,
    /// Hash of its case at this site, and at any.
    pub(super) own: u32,
    pub(super) common: u32,
}

/// Mix a number into a hash.
#[inline]
pub(super) fn hash(seed: u32, with: u32) -> u32 {
    let mixed = (seed ^ with.wrapping_mul(0x9e37_79b1)).wrapping_mul(0x85eb_ca6b);
    (mixed ^ (mixed >> 15)).wrapping_mul(0xc2b2_ae35).rotate_left(13)
}

/// A place in a table of `len` for a hash.
#[inline]
pub(super) fn place(hash: u32, len: usize) -> usize {
    ((u64::from(hash) * len as u64) >> 32) as usize
}

/// How far a probability moves when so many were seen before, in 32768ths.
const PACE: [i32; 17] = {
    let mut pace = [0; 17];
    let mut at = 0;
    while at < 17 {
        pace[at] = 65536 / (2 * at as i32 + 3);
        at += 1;
    }
    pace
};

impl Engine {
    pub(super) fn new() -> Engine {
        let maps = (0..FAMILIES * 256).map(|at| guess(at % 256)).collect();
        let mut weights = vec![0; (3 * FAMILIES + SITES) * INPUTS];
        for set in 0..3 * FAMILIES {
            for input in &mut weights[set * INPUTS..][..INPUTS] {
                *input = ONE / 8;
            }
        }
        Engine { slots: vec![0; SLOTS], maps, trusts: vec![3 << 14; TRUSTS], weights }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        2 * self.slots.capacity()
            + 2 * self.maps.capacity()
            + 2 * self.trusts.capacity()
            + 4 * self.weights.capacity()
    }

    /// Whether all tables have their lengths.
    pub(super) fn is_whole(&self) -> bool {
        self.slots.len() == SLOTS
            && self.maps.len() == FAMILIES * 256
            && self.trusts.len() == TRUSTS
            && self.weights.len() == (3 * FAMILIES + SITES) * INPUTS
    }

    /// How far a claim is believed, of 65536, by what its case has been at its site and at any.
    pub(super) fn trust(&self, claim: &Claim) -> u32 {
        let of = |case: u32| u32::from(self.trusts[place(case, TRUSTS)] & 0xfff0);
        (of(claim.own) * 3 + of(claim.common)) / 4
    }

    /// Make one decision, and learn from it.
    pub(super) fn decide(
        &mut self,
        coder: &mut Coder<'_>,
        ask: &Question<'_>,
        given: bool,
    ) -> bool {
        let mut inputs = [0; INPUTS];
        let mut slots = [0; CONTEXTS];
        let map = ask.family * 256;
        for (at, context) in ask.contexts.iter().enumerate() {
            let slot = self.slot(*context);
            slots[at] = slot;
            let state = self.slots[slot] & 0xff;
            if state != 0 {
                inputs[2 * at] = stretch(self.maps[map + usize::from(state)]);
                inputs[2 * at + 1] = one_sided(state);
            }
        }
        for (at, claim) in ask.experts.iter().enumerate() {
            let Some(claim) = claim else { continue };
            for (side, trust) in [claim.own, claim.common].into_iter().enumerate() {
                let odds = stretch(self.trusts[place(trust, TRUSTS)] & 0xfff0);
                inputs[2 * CONTEXTS + 2 * at + side] = if claim.bit { odds } else { -odds };
            }
        }
        inputs[INPUTS - 1] = 256;
        let parts = [
            0..2 * ask.contexts.len(),
            2 * CONTEXTS..2 * (CONTEXTS + ask.experts.len()),
            INPUTS - 1..INPUTS,
        ];
        let ones = ask.experts.iter().flatten().filter(|claim| claim.bit).count();
        let zeros = ask.experts.iter().flatten().count() - ones;
        let accord = if ones + zeros == 0 { 0 } else { 1 + usize::from(ones * zeros != 0) };
        let sets = [
            (accord * FAMILIES + ask.family) * INPUTS,
            (3 * FAMILIES + place(ask.site, SITES)) * INPUTS,
        ];
        let mut sum = 0;
        for set in sets {
            for part in &parts {
                sum += dot(&self.weights[set..][part.clone()], &inputs[part.clone()]);
            }
        }
        let odds = (sum >> WEIGHT_SHIFT).clamp(-ODDS_MAX, ODDS_MAX);
        let p = squash(odds);
        let bit = coder.bit(p as u32, given);
        let miss = (if bit { 65536 } else { 0 }) - p;
        for (set, rate) in sets.into_iter().zip(RATES) {
            let step = i32::from(((miss >> 4) * rate) as i16);
            for part in &parts {
                let weights = &mut self.weights[set..][part.clone()];
                teach(weights, &inputs[part.clone()], step);
            }
        }
        for slot in &slots[..ask.contexts.len()] {
            self.count(*slot, map, bit);
        }
        for claim in ask.experts.iter().flatten() {
            for trust in [claim.own, claim.common] {
                believe(&mut self.trusts[place(trust, TRUSTS)], claim.bit == bit);
            }
        }
        bit
    }

    /// The slot of a context; the one of its neighbours that saw least gives way.
    fn slot(&mut self, context: u32) -> usize {
        let (first, check) = (place(context, SLOTS) & !3, context as u16 & 0xff);
        let mut least = (first, u16::MAX);
        let offset = (context >> 8 & 3) as usize;
        for step in 0..4 {
            let at = first + (offset ^ step);
            let slot = self.slots[at];
            let seen = (slot >> 4 & 15) + (slot & 15);
            if slot >> 8 == check && seen != 0 {
                return at;
            }
            if seen < least.1 {
                least = (at, seen);
            }
        }
        self.slots[least.0] = check << 8;
        least.0
    }

    fn count(&mut self, slot: usize, map: usize, bit: bool) {
        let state = self.slots[slot] & 0xff;
        if state != 0 {
            let known = &mut self.maps[map + usize::from(state)];
            let target = if bit { 65535 } else { 0 };
            *known = (i32::from(*known) + (target - i32::from(*known)) / 40) as u16;
        }
        let (mut zeros, mut ones) = (state >> 4, state & 15);
        let (hit, missed) = if bit { (&mut ones, &mut zeros) } else { (&mut zeros, &mut ones) };
        *hit = (*hit + 1).min(15);
        if *missed > 2 {
            *missed = (*missed + 4) / 3;
        }
        self.slots[slot] = self.slots[slot] & 0xff00 | zeros << 4 | ones;
    }
}

/// Log odds of what has only ever been one way.
fn one_sided(state: u16) -> i32 {
    let (zeros, ones) = (i32::from(state >> 4), i32::from(state & 15));
    match (zeros, ones) {
        (0, ones) => ONE_SIDED * ones.min(8),
        (zeros, 0) => -ONE_SIDED * zeros.min(8),
        _ => 0,
    }
}

/// What zeros and ones seen lead to, before it is known.
fn guess(state: usize) -> u16 {
    let (zeros, ones) = (state >> 4, state & 15);
    let odds = 65535 * (5 * ones + 2);
    (odds / (5 * (zeros + ones) + 4)) as u16
}

fn believe(trust: &mut u16, right: bool) {
    let (p, seen) = (i32::from(*trust >> 4), i32::from(*trust & 15));
    let target = if right { 4095 } else { 0 };
    let p = p + (((target - p) * PACE[seen as usize + 1]) >> 15);
    *trust = ((p as u16) << 4) | (seen + 1).min(15) as u16;
}

/// Weights learn from a step of 16 bits, as the inputs are: that is multiplied fast on every
/// machine. Nothing here comes near 32 bits ([`WEIGHT_MAX`]): it is not checked, so that several
/// are done at once.
fn teach(weights: &mut [i32], inputs: &[i32], step: i32) {
    for (weight, input) in weights.iter_mut().zip(inputs) {
        let moved = i32::from(*input as i16).wrapping_mul(step).wrapping_add(0x2000) >> 14;
        *weight = weight.wrapping_add(moved).clamp(-WEIGHT_MAX, WEIGHT_MAX);
    }
}

/// The sum of weighted inputs, of weights cut to 16 bits; unchecked as in [`teach`].
fn dot(weights: &[i32], inputs: &[i32]) -> i32 {
    let cut = |weight: i32| i32::from((weight.wrapping_add(1 << 7) >> 8) as i16);
    weights.iter().zip(inputs).fold(0, |sum: i32, (weight, input)| {
        sum.wrapping_add(cut(*weight).wrapping_mul(i32::from(*input as i16)))
    })
}
