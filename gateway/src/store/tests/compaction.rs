//! What of the changelog goes, what stays, and that nobody notices.
use super::*;
use crate::store::compact::{Compacted, Keep};
use wadi_protocol::change::Group;
use wadi_protocol::link::message::{Fate, FeedCursor};
use wadi_protocol::wire::downlink::{KnownRuns, Notice};
use wadi_protocol::wire::message::Refused;

const NOTHING: Keep = Keep { age_s: 0, bytes: 0 };
const DAY_S: u64 = 86_400;

fn insert(seq: u64) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a")), add(2, 1)])
}

fn update(seq: u64, of: u64) -> Change {
    change(PHONE, seq, Op::Update, (PLACE, row(of)), vec![add(2, 1)])
}

/// A page that moves the cursor and tells of a backup.
fn told_of(to: u64, backup: u64) -> Page {
    Page { backup, ..page(to, vec![]) }
}

impl Village {
    /// Compact to the end of a pass; how many changes went.
    fn compact(&mut self, keep: Keep) -> u64 {
        let mut dropped = 0;
        let mut anew = true;
        loop {
            let step = self.store().compact(keep, anew, NOW_S).unwrap();
            dropped += step.dropped;
            anew = false;
            if !step.more {
                return dropped;
            }
        }
    }

    fn fates(&mut self, first: u64, last: u64) -> Vec<(u64, u64, Fate)> {
        let told = self.store().fates(&[(PHONE, PHONE_RUN, first, last)]).unwrap();
        told.into_iter().map(|(_, _, first, last, fate)| (first, last, fate)).collect()
    }

    /// Changes, committed, let go, faults.
    fn books(&mut self) -> (u64, u64, u64, Vec<String>) {
        let ledger = self.store().ledger().unwrap();
        let total = ledger.total;
        (total.changes, total.committed, total.compacted, ledger.faults)
    }
}

#[test]
fn what_is_decided_folded_and_in_a_backup_goes_and_nothing_else() {
    let mut village = Village::new();
    village.take((1..=6).map(insert).collect());
    let outcomes = vec![
        (3, Outcome::Applied { seq: 11 }),
        (1, Outcome::Parked),
        (1, Outcome::Quarantined),
        (1, Outcome::Held),
    ];
    village.round(&told_of(10, 13), outcomes);
    assert_eq!(village.compact(NOTHING), 0, "base does not hold them yet");
    village.take(vec![insert(7), insert(8)]);
    village.round(&told_of(14, 12), applied(2, 15));
    let before: Vec<_> = (1..=9).map(|at| village.shown((PLACE, row(at)))).collect();
    assert_eq!(village.compact(NOTHING), 2);
    assert_eq!(village.books(), (8, 5, 2, vec![]));
    let kept: Vec<u64> = village.changes().iter().map(|change| change.dot.seq).collect();
    assert_eq!(kept, [3, 4, 5, 6, 7, 8], "3 is in no backup, 7 and 8 lie above the cursor");
    let after: Vec<_> = (1..=9).map(|at| village.shown((PLACE, row(at)))).collect();
    assert_eq!(after, before);
    let status = village.store().status().unwrap();
    let shown = (status.changelog_changes, status.compacted_changes, status.backup_seq);
    assert_eq!(shown, (6, 2, 12));
    let run = &village.store().ledger().unwrap().runs[0];
    let stretches = [(1, 3, "committed"), (4, 4, "parked"), (5, 5, "quarantined"), (6, 6, "held")];
    assert_eq!((run.first, run.last, &run.stretches[..4]), (1, 8, &stretches[..]));
}

#[test]
fn a_copy_of_what_went_is_known_and_taken_only_once() {
    let mut village = Village::new();
    village.take([1, 2, 4, 5].map(insert).to_vec());
    village.round(&told_of(0, 0), applied(4, 1));
    village.round(&told_of(4, 4), vec![]);
    assert_eq!(village.compact(NOTHING), 4);
    for _ in 0..2 {
        village.crash();
        village.take((1..=5).map(insert).collect());
        village.take(vec![insert(5)]);
        assert_eq!(village.changes().len(), 1, "3 alone is new");
        assert_eq!(village.changes()[0].dot.seq, 3);
    }
    let durable = |first, last| (first, last, Fate::Durable);
    let told = village.fates(1, 6);
    assert_eq!(told, [durable(1, 2), durable(4, 5), (6, 6, Fate::Unknown)], "3 is pending");
    assert_eq!(village.fates(2, 2), [durable(2, 2)]);
    village.round(&told_of(5, 5), applied(1, 5));
    village.round(&told_of(5, 5), vec![]);
    assert_eq!(village.compact(NOTHING), 1);
    assert_eq!(village.fates(1, 5), [durable(1, 5)]);
    assert_eq!(
        village.text("SELECT group_concat(first || '-' || last) FROM wadi_compacted"),
        "1-5"
    );
    let feed = village.store().feed(PHONE, FeedCursor::default()).unwrap();
    assert_eq!(feed.taken, [(PHONE, PHONE_RUN, 5)], "the handheld knows which edits it shows");
    assert_eq!((feed.rows.len(), village.books()), (5, (5, 5, 5, vec![])));
}

#[test]
fn a_crash_between_steps_loses_nothing_and_counts_nothing_twice() {
    let mut village = Village::new();
    village.take((1..=1_300).map(insert).collect());
    let mut head = 0;
    while village.store().waiting() > 0 {
        let (waiting, to) = (village.store().waiting(), head);
        let (_, body) = changeset(&village.begin());
        let count = batch::decode(&body).unwrap().changes.len() as u64;
        head += count;
        super::rounds::finish_open(&mut village, to, applied(count as u32, to + 1));
        assert!(village.store().waiting() < waiting);
    }
    village.round(&told_of(head, head), vec![]);
    let mut gone = 0;
    loop {
        let step = village.store().compact(NOTHING, true, NOW_S).unwrap();
        gone += step.dropped;
        assert!(step.dropped <= 500, "a short transaction");
        assert_eq!(village.books(), (1_300, 1_300, gone, vec![]));
        village.take(vec![insert(1), insert(650), insert(1_300)]);
        village.crash();
        if step.dropped == 0 {
            break;
        }
    }
    assert_eq!((gone, village.changes().len()), (1_300, 0));
    assert_eq!(village.fates(1, 1_300), [(1, 1_300, Fate::Durable)]);
}

#[test]
fn a_line_of_runs_goes_on_behind_what_went() {
    let mut village = Village::new();
    village.program().execute_batch("INSERT INTO place(name) VALUES ('a'), ('b')").unwrap();
    village.drain();
    let first = village.changes()[1].dot;
    village.round(&told_of(0, 0), applied(2, 1));
    village.round(&told_of(2, 2), vec![]);
    assert_eq!(village.compact(NOTHING), 2);
    village.crash();
    village.program().execute_batch("UPDATE place SET stock = 4").unwrap();
    let (_, body) = changeset(&village.begin());
    let batch = batch::decode(&body).unwrap();
    let run = batch.runs.iter().find(|info| info.run == batch.changes[0].dot.run).unwrap();
    assert_eq!(run.parent, Some((first.run, first.seq)));
}

#[test]
fn own_edits_stay_on_the_screen_while_the_backup_runs_ahead() {
    let mut village = Village::new();
    village.take(vec![insert(1), update(2, 1)]);
    // The hub says more of its backup than this gateway has of its sequence.
    village.round(&told_of(5, 900), applied(2, 6));
    assert_eq!(village.compact(NOTHING), 0);
    assert_eq!(village.shown((PLACE, row(1))).unwrap()[1], (2, Value::Int(2)));
    // A page tells another value: what lies above it is laid over again.
    let mut base =
        told((PLACE, row(1)), 6, RowState::Live, vec![(1, text("a")), (2, Value::Int(9))]);
    base.whole = true;
    village.round(&Page { backup: 900, ..page(6, vec![base]) }, vec![]);
    assert_eq!(village.compact(NOTHING), 1, "only the insert is in base");
    assert_eq!(village.shown((PLACE, row(1))).unwrap()[1], (2, Value::Int(10)));
    village.round(&told_of(7, 900), vec![]);
    assert_eq!(village.compact(NOTHING), 1);
    assert_eq!(village.shown((PLACE, row(1))).unwrap()[1], (2, Value::Int(10)));
}

#[test]
fn without_a_backup_nothing_goes() {
    let mut village = Village::new();
    village.take(vec![insert(1)]);
    village.round(&told_of(0, 0), applied(1, 1));
    village.round(&told_of(1, 0), vec![]);
    assert_eq!(village.compact(NOTHING), 0);
    assert_eq!(village.books(), (1, 1, 0, vec![]));
}

#[test]
fn while_the_hub_refuses_it_may_want_back_all_that_we_hold() {
    let mut village = Village::new();
    village.take(vec![insert(1)]);
    village.round(&told_of(0, 0), applied(1, 1));
    village.round(&told_of(1, 1), vec![]);
    village.begin();
    village.hear(DownBody::Refused(Refused::OtherHub));
    assert_eq!(village.compact(NOTHING), 0);
    village.crash();
    assert_eq!(village.compact(NOTHING), 0);
    assert_eq!(village.changes().len(), 1);
}

#[test]
fn a_hub_restored_from_an_older_backup_says_less_and_is_believed() {
    let mut village = Village::new();
    village.take(vec![insert(1), insert(2), insert(3)]);
    village.round(&told_of(0, 0), applied(3, 1));
    village.round(&told_of(3, 3), vec![]);
    village.round(&told_of(3, 1), vec![]);
    assert_eq!(village.compact(NOTHING), 1);
    assert_eq!(village.text("SELECT '' || coalesce(max(seq), 0) FROM wadi_backup"), "1");
}

#[test]
fn what_may_go_is_kept_for_a_while_within_a_number_of_bytes() {
    let mut village = Village::new();
    village.take((1..=20).map(insert).collect());
    village.round(&told_of(0, 0), applied(20, 1));
    village.round(&told_of(20, 8), vec![]);
    let week = Keep { age_s: 7 * DAY_S, bytes: 1 << 20 };
    assert_eq!(village.compact(week), 0, "none of its backups is a week old");
    let later = |days| NOW_S + days * DAY_S;
    let heard = |village: &mut Village, backup, now_s| {
        village.store().write(now_s, |work| crate::store::compact::hear(work, backup)).unwrap();
    };
    heard(&mut village, 15, later(3));
    heard(&mut village, 16, later(3) + 60);
    let step = |village: &mut Village, keep, now_s| {
        let step = village.store().compact(keep, true, now_s).unwrap();
        while village.store().compact(keep, false, now_s).unwrap().more {}
        step.dropped
    };
    assert_eq!(step(&mut village, week, later(6)), 0);
    assert_eq!(step(&mut village, week, later(8)), 8, "every backup of the last week has them");
    assert_eq!(step(&mut village, week, later(10)), 7, "the one a minute later counts later");
    let few = Keep { bytes: 0, ..week };
    assert_eq!(step(&mut village, few, later(10)), 1, "but only what is in the newest");
    assert_eq!(village.changes().len(), 4);
    // With room for some, the oldest go first.
    let mut village = Village::new();
    village.take((1..=20).map(insert).collect());
    village.round(&told_of(0, 0), applied(20, 1));
    village.round(&told_of(20, 20), vec![]);
    let some = Keep { age_s: 7 * DAY_S, bytes: 600 };
    let gone = village.compact(some);
    assert!((10..20).contains(&gone), "{gone}");
    assert_eq!(village.changes()[0].dot.seq, gone + 1);
    // A clock in 1970 keeps nothing for ever, and takes nothing that is needed.
    assert_eq!(step(&mut village, week, 0), 20 - gone);
}

fn grouped(first: u64, len: u16, seq: u64) -> Change {
    Change { group: Some(Group { first, len }), ..insert(seq) }
}

/// A hub that is put back as it was before the newest backup gets all of it, or nothing.
#[test]
fn a_group_goes_whole_or_not_at_all() {
    // The second of the group is parked, or is still to be folded.
    for (outcomes, to) in [
        (
            vec![
                (2, Outcome::Applied { seq: 11 }),
                (1, Outcome::Parked),
                (2, Outcome::Applied { seq: 13 }),
            ],
            20,
        ),
        (applied(5, 11), 12),
    ] {
        let mut village = Village::new();
        let group = (2..5).map(|seq| grouped(2, 3, seq));
        village.take([insert(1)].into_iter().chain(group).chain([insert(5)]).collect());
        village.round(&told_of(0, 0), outcomes);
        village.round(&told_of(to, 20), vec![]);
        village.compact(NOTHING);
        let kept: Vec<u64> = village.changes().iter().map(|change| change.dot.seq).collect();
        assert_eq!(kept[..3], [2, 3, 4]);
        assert!(!kept.contains(&1));
    }
}

#[test]
fn neither_a_full_step_nor_the_bytes_that_are_kept_cut_a_group() {
    for bytes in [0, 30_000] {
        let mut village = Village::new();
        for before in [0, 200, 400, 600] {
            village.take((1..=200).map(|at| grouped(before + 1, 200, before + at)).collect());
            village.round(&told_of(before, 0), applied(200, before + 1));
        }
        village.round(&told_of(800, 800), vec![]);
        let keep = Keep { age_s: DAY_S, bytes };
        while village.store().compact(keep, true, NOW_S + DAY_S / 2).unwrap().dropped > 0 {
            let kept = village.changes().len();
            assert!(kept.is_multiple_of(200), "{kept} of {bytes}");
            village.crash();
        }
        let kept = village.changes().len();
        assert!(if bytes == 0 { kept == 0 } else { kept == 200 }, "{kept} of {bytes}");
        assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
    }
}

#[test]
fn a_change_that_another_gateway_brought_goes_with_the_version_of_its_row() {
    let mut village = Village::new();
    village.take(vec![insert(1), update(2, 1)]);
    village.round(&told_of(0, 0), vec![(1, Outcome::Known { seq: 0 }), (1, Outcome::Parked)]);
    let known = KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] };
    let mut base =
        told((PLACE, row(1)), 9, RowState::Live, vec![(1, text("a")), (2, Value::Int(1))]);
    base.whole = true;
    let dot = Dot { device: PHONE, run: PHONE_RUN, seq: 2 };
    let notice = Notice { dot, outcome: Outcome::Applied { seq: 9 }, reason: String::new() };
    let news = Page { known: vec![known], notices: vec![notice], ..page(9, vec![base]) };
    village.round(&Page { backup: 8, ..news }, vec![]);
    assert_eq!(village.compact(NOTHING), 0, "its row was changed in 9, perhaps by it");
    village.round(&told_of(9, 9), vec![]);
    assert_eq!(village.compact(NOTHING), 2);
    assert_eq!(village.books(), (2, 2, 2, vec![]));
}

#[test]
fn a_change_whose_place_at_the_hub_nobody_told_stays() {
    let mut village = Village::new();
    village.take(vec![insert(1)]);
    village.round(&told_of(0, 0), vec![(1, Outcome::Known { seq: 0 })]);
    let known = KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] };
    village.round(&Page { known: vec![known], ..told_of(9, 900) }, vec![]);
    assert_eq!(village.compact(NOTHING), 0);
    assert_eq!(village.books(), (1, 1, 0, vec![]));
}

#[test]
fn a_pass_is_made_when_there_is_cause() {
    let mut village = Village::new();
    village.take(vec![insert(1), insert(2)]);
    village.round(&told_of(0, 0), applied(2, 1));
    village.round(&told_of(2, 1), vec![]);
    let step = |village: &mut Village, anew| village.store().compact(NOTHING, anew, NOW_S).unwrap();
    assert_eq!(step(&mut village, false), Compacted { dropped: 1, more: true });
    assert_eq!(step(&mut village, false), Compacted::default(), "nothing new");
    village.round(&told_of(2, 2), vec![]);
    assert_eq!(step(&mut village, false).dropped, 1);
    assert_eq!(step(&mut village, true), Compacted { dropped: 0, more: true });
}

#[test]
fn the_file_becomes_smaller_in_steps() {
    let mut village = Village::new();
    let long = |seq| {
        change(PHONE, seq, Op::Update, (PLACE, row(1)), vec![set(1, text(&"x".repeat(4_000)))])
    };
    village.take(vec![insert(1)]);
    village.round(&told_of(0, 0), applied(1, 1));
    let mut head = 1;
    for from in (2..=1_400).step_by(100) {
        village.take((from..from + 100).map(long).collect());
        while village.store().waiting() > 0 {
            let (_, body) = changeset(&village.begin());
            let count = batch::decode(&body).unwrap().changes.len() as u64;
            super::rounds::finish_open(&mut village, head, applied(count as u32, head + 1));
            head += count;
        }
    }
    village.round(&told_of(head, head), vec![]);
    let pages = |village: &Village| -> i64 {
        village.program().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    };
    let before = pages(&village);
    assert_eq!(village.compact(NOTHING), head);
    let after = pages(&village);
    assert!(before > 1_500 && after < before / 2, "{before} pages, then {after}");
    assert_eq!(crate::store::copy::faults(&village.program()).unwrap(), None);
}

/// A restored hub numbers anew behind its backup: what the lost one had backed up there
/// says nothing of that.
#[test]
fn the_backups_of_a_lost_hub_say_nothing_of_the_one_in_its_place() {
    let mut village = Village::new();
    village.take((1..=4).map(insert).collect());
    village.round(&told_of(2, 1), applied(4, 3));
    village.round(&told_of(6, 6), vec![]);
    village.take(vec![insert(5)]);
    village.begin();
    let line = vec![(RunId(0x4d), 2), (village.hub, 2)];
    village.hub = RunId(0x4d);
    village.hear(DownBody::Refused(Refused::Restored { line }));
    village.chain = Hash::default();
    let heard = |village: &Village| {
        village.text("SELECT backup_seq || ' ' || (SELECT count(*) FROM wadi_backup WHERE seq > 2) FROM wadi_store")
    };
    assert_eq!(heard(&village), "2 0");
    village.round(&told_of(2, 2), applied(5, 3));
    village.round(&told_of(7, 2), vec![]);
    assert_eq!(village.compact(NOTHING), 0);
    village.round(&told_of(7, 7), vec![]);
    assert_eq!(village.compact(NOTHING), 5);
}

#[test]
fn a_file_of_the_layout_before_is_brought_up_to_date_and_read_only_then() {
    let mut village = Village::new();
    village.take(vec![insert(1)]);
    village.store = None;
    let old = "DROP TABLE wadi_lost_known; DROP TABLE wadi_spent; DROP TABLE wadi_spent_day; ALTER TABLE wadi_store DROP COLUMN last_round_up;
               ALTER TABLE wadi_store DROP COLUMN last_round_down; DROP TABLE wadi_model; ALTER TABLE wadi_store DROP COLUMN codec;
               ALTER TABLE wadi_store DROP COLUMN lost_hub; DROP TABLE wadi_wanted; DROP INDEX wadi_row_gone; ALTER TABLE wadi_store DROP COLUMN feed_floor;
               ALTER TABLE wadi_store DROP COLUMN feed_floor_run; DROP TABLE wadi_compacted; DROP TABLE wadi_backup;
               ALTER TABLE wadi_store DROP COLUMN backup_seq; PRAGMA user_version = 6";
    village.program().execute_batch(old).unwrap();
    for error in [
        status::read(&village.path).unwrap_err().to_string(),
        ledger::read(&village.path).unwrap_err().to_string(),
    ] {
        assert!(error.contains("start `wadi-gateway run` once"), "{error}");
    }
    village.start();
    assert_eq!(village.books(), (1, 0, 0, vec![]));
    assert_eq!(village.compact(NOTHING), 0);
}

/// The same things happen to two villages, of which one compacts after each of them:
/// nobody sees a difference, and the books agree.
#[test]
fn a_village_that_compacts_is_like_one_that_does_not() {
    for seed in 1..=12 {
        let mut dice = super::folding::Dice::of(seed);
        let mut both = [Village::new(), Village::new()];
        let (mut head, mut next) = (0, 1);
        let mut taken: Vec<Change> = Vec::new();
        for _ in 0..40 {
            let to = head;
            match dice.roll(5) {
                0 | 1 => {
                    let mut offer = Vec::new();
                    for _ in 0..dice.roll(6) {
                        // Now and then a number is left out, to come later or never.
                        next += dice.roll(4) / 3;
                        let old = taken.iter().filter(|change| change.op == Op::Insert);
                        let old: Vec<RowId> = old.map(|change| change.row).collect();
                        let fresh = old.is_empty() || dice.roll(2) == 0;
                        let mut made = if fresh { insert(next) } else { update(next, 1) };
                        if !fresh {
                            made.row = old[dice.roll(old.len() as u64) as usize];
                        }
                        next += 1;
                        taken.push(made.clone());
                        offer.push(made);
                    }
                    // And what was taken long ago comes again.
                    for _ in 0..dice.roll(4).min(taken.len() as u64) {
                        offer.push(taken[dice.roll(taken.len() as u64) as usize].clone());
                    }
                    both.iter_mut().for_each(|village| village.take(offer.clone()));
                }
                2 => both.iter_mut().for_each(Village::crash),
                _ => {
                    let (backup, to) = (dice.roll(head + 2).min(head), to);
                    let waiting = both[0].store().waiting();
                    let outcomes =
                        if waiting > 0 { applied(waiting as u32, head + 1) } else { vec![] };
                    head += waiting;
                    both.iter_mut().for_each(|village| {
                        village.round(&told_of(to, backup), outcomes.clone());
                    });
                }
            }
            both[1].compact(NOTHING);
            let [whole, lean] = &mut both;
            let last = next + 2;
            assert_eq!(lean.fates(1, last), whole.fates(1, last), "seed {seed}");
            let feeds =
                [whole, lean].map(|v| v.store().feed(PHONE, FeedCursor::default()).unwrap());
            assert_eq!(feeds[0].rows, feeds[1].rows, "seed {seed}");
            assert_eq!(feeds[0].taken, feeds[1].taken, "seed {seed}");
        }
        let [whole, lean] = &mut both;
        let (kept, gone) = (whole.store().ledger().unwrap(), lean.store().ledger().unwrap());
        assert_eq!(gone.total.changes, taken.len() as u64, "seed {seed}");
        assert_eq!((&gone.faults, gone.total.committed), (&vec![], kept.total.committed));
        let of = |ledger: &ledger::Ledger| -> Vec<_> {
            ledger.runs.iter().map(|run| (run.stretches.clone(), run.gaps.clone())).collect()
        };
        assert_eq!(of(&gone), of(&kept), "seed {seed}");
        assert!(gone.total.compacted > 0, "seed {seed} proves nothing");
    }
}
