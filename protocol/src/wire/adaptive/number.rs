//! Numbers: binary digits from the top, as far as those of the field have differed.
//!
//! A number first says whether it leaves the stretch that the field's numbers
//! share; then its digits come, each expected by contexts of the digits before
//! it, by how it lies to what is near, and by experts that name a number outright
//! and are heard until they diverge.
use super::coder::Coder;
use super::engine::{Claim, EXPERTS, Question, hash};
use super::model::Model;

/// Contexts of values that a site may add.
pub(super) const SIDES: usize = 6;
/// Numbers near which this one may lie.
pub(super) const NEARS: usize = 4;

/// An expert that is trusted less, of 65536, is not asked about its whole number first.
const LEAD_MIN: u32 = 26_000;
// Cases of experts: digits have those below.
const PHASE_LEAD: u32 = 40;
const PHASE_ESCAPE: u32 = 41;

/// Between numbers of either sign, no high digit changes.
const MIDDLE: u64 = 0x5555_5555_5555_5555;

/// Where a number stands and what is known about it.
#[derive(Clone, Default)]
pub(super) struct Site {
    /// Family of its decisions; the next one is of its escapes.
    pub(super) family: usize,
    /// Hash of the field.
    pub(super) field: u32,
    /// Hashes of other values that may say something.
    pub(super) sides: [u32; SIDES],
    /// Experts: what each names.
    pub(super) named: [Option<i64>; EXPERTS],
    /// How much speaks for each, 0 to 7.
    pub(super) strengths: [u8; EXPERTS],
    /// Numbers near which this one may lie.
    pub(super) near: [Option<i64>; NEARS],
}

fn raised(number: i64) -> u64 {
    number.cast_unsigned().wrapping_add(MIDDLE)
}

fn lowered(raised: u64) -> i64 {
    raised.wrapping_sub(MIDDLE).cast_signed()
}

/// Code one number.
pub(super) fn code(model: &mut Model, coder: &mut Coder<'_>, site: &Site, given: i64) -> i64 {
    let wanted = raised(given);
    let note = *model.memo.note(site.field);
    let anchor = raised(note.last);
    let mut digits =
        Digits { site, wanted, built: anchor, depth: 0, leads: site.named.map(|n| n.map(raised)) };
    if let Some(number) = digits.lead(model, coder) {
        return keep(model, site, lowered(number), anchor);
    }
    let spread = u32::from(note.spread);
    let left = |number: u64| spread < 64 && (number ^ anchor) >> spread != 0;
    let mut below = spread;
    let mut leaves = left(wanted);
    if spread < 64 {
        leaves = digits.escape(model, coder, leaves, left);
    }
    if leaves {
        // The greatest digit that differs, and so is known.
        let top = 63 - (wanted ^ anchor).max(1).leading_zeros();
        below = digits.top(model, coder, top, spread);
        digits.built ^= 1 << below;
    }
    for at in (0..below).rev() {
        digits.digit(model, coder, at);
    }
    keep(model, site, lowered(digits.built), anchor)
}

/// Remember a number, and who was right.
fn keep(model: &mut Model, site: &Site, number: i64, anchor: u64) -> i64 {
    for (at, named) in site.named.iter().enumerate() {
        if let Some(named) = named {
            model.record(hash(site.field, at as u32), *named == number);
        }
    }
    let note = model.memo.note(site.field);
    note.step = number.wrapping_sub(note.last);
    note.last = number;
    let top = 64 - (raised(number) ^ anchor).leading_zeros();
    note.spread = note.spread.max(top as u8);
    number
}

struct Digits<'a> {
    site: &'a Site,
    wanted: u64,
    built: u64,
    depth: u32,
    /// What experts name, as far as it may still be.
    leads: [Option<u64>; EXPERTS],
}

impl Digits<'_> {
    /// Whether the number is what the expert names who is trusted most; asked only
    /// if that is likely.
    fn lead(&mut self, model: &mut Model, coder: &mut Coder<'_>) -> Option<u64> {
        let mut claims = [None; EXPERTS];
        let mut best = (LEAD_MIN, None);
        for (at, place) in claims.iter_mut().enumerate() {
            if self.leads[at].is_some() {
                let claim = self.claim(model, at, true, PHASE_LEAD);
                *place = Some(claim);
                let trust = model.engine.trust(&claim);
                if trust > best.0 {
                    best = (trust, Some(at));
                }
            }
        }
        let (_, Some(best)) = best else { return None };
        let lead = self.leads[best]?;
        for (claim, named) in claims.iter_mut().zip(&self.leads) {
            if let Some(claim) = claim {
                claim.bit = *named == Some(lead);
            }
        }
        let site = self.site;
        let node = hash(hash(site.field, 0x1ead), best as u32);
        let mut contexts = [node; 2 + SIDES];
        contexts[1] = hash(hash(site.field, 0x1eae), lead as u32);
        for (context, side) in contexts[2..].iter_mut().zip(site.sides) {
            *context = hash(node, side);
        }
        let ask =
            Question { family: site.family + 1, site: node, contexts: &contexts, experts: &claims };
        if model.engine.decide(coder, &ask, self.wanted == lead) {
            return Some(lead);
        }
        for named in &mut self.leads {
            if *named == Some(lead) {
                *named = None;
            }
        }
        None
    }

    /// Whether the number leaves the stretch.
    fn escape(
        &mut self,
        model: &mut Model,
        coder: &mut Coder<'_>,
        given: bool,
        left: impl Fn(u64) -> bool,
    ) -> bool {
        let node = hash(self.site.field, 0xe5c0);
        let site = self.site;
        let contexts = [node, hash(node, site.sides[0]), hash(node, site.sides[1])];
        let mut claims = [None; EXPERTS];
        for (at, claim) in claims.iter_mut().enumerate() {
            if let Some(lead) = self.leads[at] {
                *claim = Some(self.claim(model, at, left(lead), PHASE_ESCAPE));
            }
        }
        let family = site.family + 1;
        let ask = Question { family, site: node, contexts: &contexts, experts: &claims };
        model.engine.decide(coder, &ask, given)
    }

    /// The place of the greatest digit that differs, at least `spread`.
    fn top(&mut self, model: &mut Model, coder: &mut Coder<'_>, given: u32, spread: u32) -> u32 {
        let field = hash(self.site.field, 0x70b0 + spread);
        let mut built = 1;
        for at in (0..6).rev() {
            let contexts = [hash(field, built), hash(0x70b, built), hash(0x70c + spread, built)];
            let family = self.site.family + 1;
            let ask = Question { family, site: 0x70b, contexts: &contexts, experts: &[] };
            let bit = model.engine.decide(coder, &ask, given >> at & 1 != 0);
            built = built << 1 | u32::from(bit);
        }
        // Hostile bytes may name a digit of the stretch; then it is the first above.
        (built & 63).max(spread)
    }

    fn claim(&self, model: &Model, at: usize, bit: bool, phase: u32) -> Claim {
        let own = hash(self.site.field, at as u32);
        let past = u32::from(model.recorded(own));
        let case = phase << 8 | u32::from(self.site.strengths[at]) << 4 | past;
        let common = hash((self.site.family * 32 + at) as u32, case);
        Claim {
            bit,
            own: hash(own, phase << 8 | u32::from(self.site.strengths[at]) << 4 | past & 3),
            common,
        }
    }

    fn digit(&mut self, model: &mut Model, coder: &mut Coder<'_>, at: u32) {
        let site = self.site;
        let prefix = self.built >> at >> 1;
        let node = hash(hash(site.field, at), (prefix ^ prefix >> 32) as u32);
        let mut contexts = [0; 1 + SIDES + NEARS];
        contexts[0] = node;
        for (context, side) in contexts[1..].iter_mut().zip(site.sides) {
            *context = hash(node, side);
        }
        let middle = (prefix << 1 | 1) << at;
        for (place, near) in site.near.iter().enumerate() {
            let bucket = near.map_or(99, |near| bucket(raised(near), middle, at));
            let seed = hash(site.field, 0x4ea0 + place as u32);
            contexts[1 + SIDES + place] = hash(seed, at << 8 | bucket);
        }
        let mut claims = [None; EXPERTS];
        for (place, claim) in claims.iter_mut().enumerate() {
            if let Some(lead) = self.leads[place]
                && lead >> at >> 1 == prefix
            {
                let phase = self.depth.min(7) << 2 | at.min(3);
                let bit = lead >> at & 1 != 0;
                *claim = Some(self.claim(model, place, bit, phase));
            }
        }
        let ask = Question {
            family: site.family,
            site: hash(site.field, at),
            contexts: &contexts,
            experts: &claims,
        };
        let bit = model.engine.decide(coder, &ask, self.wanted >> at & 1 != 0);
        self.built = self.built & !(1 << at) | u64::from(bit) << at;
        self.depth += 1;
    }
}

/// How a number lies to the middle of the stretch that a digit halves.
fn bucket(number: u64, middle: u64, at: u32) -> u32 {
    let apart = i128::from(number) - i128::from(middle);
    let scaled = if at >= 2 { apart >> (at - 2) } else { apart << (2 - at) };
    (scaled.clamp(-14, 13) + 14) as u32
}
