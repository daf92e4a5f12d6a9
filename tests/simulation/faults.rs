//! The faults, each a named option, and the tally of what really happened.
use std::collections::BTreeMap;

use crate::dice::Dice;

/// How often what goes wrong, in thousandths; 0 = never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A message is lost.
    pub loss: u64,
    /// A message comes twice.
    pub double: u64,
    /// A message is late by up to months.
    pub late: u64,
    /// The broker forgets all that is on its way.
    pub wiped: u64,
    /// A site has no link for days.
    pub partition: u64,
    /// A link between handheld and gateway is cut.
    pub cut_link: u64,
    /// The power goes at a write or a sync.
    pub power: u64,
    /// A process dies and nothing written is lost.
    pub crash: u64,
    /// The disk is full for some writes.
    pub full: u64,
    /// A write or a sync fails.
    pub broken: u64,
    /// A clock is set to 1970, to 2099 or jumps.
    pub clock: u64,
    /// A handheld's file is copied to another phone.
    pub copied: u64,
    /// A gateway's card is put back as it was a while ago.
    pub restored: u64,
    /// A gateway's card is copied, and both boxes run.
    pub cloned: u64,
    /// The hub's database is lost, and a backup takes its place.
    pub hub_lost: u64,
    /// A text is long, so that pages, offers and changesets are full.
    pub bulky: u64,
    /// Somebody enters what judges refuse.
    pub poison: u64,
    /// Operators reject rather than repair.
    pub rejected: u64,
}

impl Faults {
    /// Each with even chances, at a rate of its own.
    pub fn of(dice: &mut Dice) -> Faults {
        let mut rate = |max: u64| if dice.permille(500) { 1 + dice.below(max) } else { 0 };
        Faults {
            loss: rate(300),
            double: rate(200),
            late: rate(100),
            wiped: rate(20),
            partition: rate(20),
            cut_link: rate(100),
            power: rate(80),
            crash: rate(60),
            full: rate(30),
            broken: rate(30),
            clock: rate(40),
            copied: rate(15),
            restored: rate(60),
            cloned: rate(25),
            hub_lost: rate(60),
            bulky: if rate(4) == 4 { 250 } else { 0 },
            poison: rate(500),
            rejected: rate(600),
        }
    }
}

/// What a long run must have seen.
pub const ALL: [&str; 59] = [
    "Abort",
    "Commit",
    "Fetch",
    "Part",
    "Prepare",
    "SQL REPLACE",
    "SQL REPLACE of a row",
    "SQL written",
    "answer about a round that is over",
    "answer in brief",
    "box rejoined",
    "broker wiped",
    "card kept",
    "card restored",
    "case settled",
    "clock at 1970",
    "clock at 2099",
    "clock jumps",
    "clock set right",
    "commit",
    "compacted",
    "disk full",
    "fetch",
    "frugal round",
    "gateway cloned",
    "gateway started",
    "group entered",
    "handheld copied",
    "handheld started",
    "hub backed up",
    "hub lost",
    "hub resumed",
    "hub started",
    "idle",
    "message doubled",
    "message into a partition",
    "message late",
    "message lost",
    "messages reordered",
    "months of silence",
    "partition",
    "power cut after a write",
    "power cut before a write",
    "prepare",
    "process killed",
    "question in brief",
    "question in brief unclear",
    "record assigned to a site",
    "record entered",
    "reference ahead of its row",
    "refused: another line of rounds",
    "refused: begin anew",
    "refused: below the floor",
    "refused: the hub is stopped",
    "round of four messages",
    "schema published",
    "small round",
    "sync of a handheld",
    "write failed",
];

/// What operators must have done there.
pub const OPERATORS: [&str; 17] = [
    "case opened again",
    "code mapped",
    "judged anew",
    "rejected",
    "released by mapping a code",
    "repaired",
    "repaired and applied",
    "repaired and parked",
    "repaired and waits for its group",
    "repaired once more",
    "settle undone",
    "settled alike",
    "settled by a pick",
    "settled by a site",
    "settled by a value",
    "settled by joining",
    "settled by the newest",
];

/// The branches of the rules that must have been taken there.
pub const RULES: [&str; 29] = [
    "rule: a delete that was shown is revived",
    "rule: a delete waits for a person",
    "rule: a reference is emptied",
    "rule: a row is made anew",
    "rule: a value is left out",
    "rule: a value is superseded",
    "rule: a whole record wins",
    "rule: an edit joins a case",
    "rule: append beside another",
    "rule: append by two",
    "rule: cascade takes a row",
    "rule: contained stamp",
    "rule: delete wins",
    "rule: first write wins",
    "rule: last write wins",
    "rule: parked",
    "rule: parked and released",
    "rule: quarantined",
    "rule: released with its group",
    "rule: repaired",
    "rule: restrict keeps a row",
    "rule: set add against removal",
    "rule: set beside another",
    "rule: several say whether a row is there",
    "rule: several wait for a person",
    "rule: sum by two",
    "rule: the reason reached the device",
    "rule: twins",
    "rule: update wins",
];

/// All of these.
pub fn all() -> impl Iterator<Item = &'static &'static str> {
    ALL.iter().chain(&OPERATORS).chain(&RULES)
}

/// How often each named thing happened.
#[derive(Clone, Debug, Default)]
pub struct Tally(pub BTreeMap<&'static str, u64>);

impl Tally {
    pub fn note(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}
