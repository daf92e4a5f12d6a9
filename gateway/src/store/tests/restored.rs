//! The hub was restored from an older backup: what is returned, and what people see meanwhile.
use super::*;
use crate::store::compact::Keep;
use crate::store::overlay::Meta;
use wadi_protocol::id::RowVersion;
use wadi_protocol::wire::downlink::{KnownRuns, Notice};

const OLD_RUN: RunId = RunId(0x4b);
const LOST_RUN: RunId = RunId(0x4c);
const NEW_RUN: RunId = RunId(0x4d);

fn insert(seq: u64, name: &str) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text(name)), add(2, 1)])
}

fn whole(number: u64, version: u64, name: &str) -> PageRow {
    let fields = vec![(1, text(name)), (2, Value::Int(1))];
    PageRow { whole: true, ..told((PLACE, row(number)), version, RowState::Live, fields) }
}

fn names(village: &Village) -> String {
    village.text("SELECT group_concat(name || stock, ' ') FROM (SELECT * FROM place ORDER BY name)")
}

/// One change before the fork, three behind it (committed, parked, in quarantine), a row
/// of another site, and a change that is on its way when the hub is lost.
fn village() -> Village {
    let mut village = Village::new();
    village.take(vec![insert(1, "kept")]);
    village.round(&page(0, vec![]), applied(1, 1));
    village.hub = LOST_RUN;
    village.take(vec![insert(2, "lost"), insert(3, "parked"), insert(4, "bad")]);
    let outcomes =
        vec![(1, Outcome::Applied { seq: 2 }), (1, Outcome::Parked), (1, Outcome::Quarantined)];
    village.round(&page(1, vec![]), outcomes);
    village.round(&page(3, vec![whole(9, 3, "far")]), vec![]);
    assert_eq!(names(&village), "bad1 far1 kept1 lost1 parked1");
    village.take(vec![insert(5, "late")]);
    village.begin();
    village
}

fn restored(village: &mut Village) -> RoundAnswer {
    village.hub = NEW_RUN;
    let line = vec![(NEW_RUN, 1), (OLD_RUN, 1)];
    village.hear(DownBody::Refused(Refused::Restored { line }))
}

#[test]
fn what_a_restored_hub_lacks_is_returned_with_what_it_was() {
    let mut village = village();
    let answer = restored(&mut village);
    assert!(answer.idle && answer.more && answer.refused.is_none(), "{answer:?}");
    village.crash();
    assert_eq!(names(&village), "bad1 far1 kept1 late1 lost1 parked1", "people see what they saw");
    assert_eq!(village.store().waiting(), 4);
    let ups = village.begin();
    assert_eq!((ups[0].hub, ups[0].round), (OLD_RUN, 5));
    let (head, body) = changeset(&ups);
    assert_eq!(head.ahead, 1, "no hub that ends before the fork can answer this");
    assert_eq!((head.parent, head.cursors), (Hash::default(), [0, 0]));
    let returned = head.returned.clone().expect("what they were");
    assert_eq!((returned.fork, returned.runs), (1, vec![OLD_RUN, LOST_RUN]));
    let batch = batch::decode(&body).unwrap();
    let seqs: Vec<u64> = batch.changes.iter().map(|change| change.dot.seq).collect();
    assert_eq!(seqs, [2, 3, 4, 5]);
    assert_eq!(head.returned.unwrap().seq_of(4), [2, 0, 0, 0]);
}

#[test]
fn screens_follow_the_restored_hub_row_by_row_and_nothing_counts_twice() {
    let mut village = village();
    restored(&mut village);
    village.crash();
    village.chain = Hash::default();
    // The first page tells of one row; the returned ones are numbered anew.
    let outcomes = vec![
        (2, Outcome::Applied { seq: 2 }),
        (1, Outcome::Quarantined),
        (1, Outcome::Applied { seq: 4 }),
    ];
    let first = Page { line: 1, ..page(1, vec![whole(1, 1, "kept")]) };
    let (_, mut committed) = village.prepare(&first, outcomes);
    committed.more = true;
    village.hear(DownBody::Committed(committed));
    assert_eq!(names(&village), "bad1 far1 kept1 late1 lost1 parked1", "the rest may still come");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_row WHERE stale"), "5");
    village.round(&Page { line: 1, ..page(4, vec![]) }, vec![]);
    // Everything is told: of another site's row nobody returned anything.
    assert_eq!(names(&village), "bad1 kept1 late1 lost1 parked1");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_row WHERE stale"), "0");
    assert_eq!(village.store().waiting(), 0);
    assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
    // A new edit claims what was seen of the hub that is there.
    let schema = village.store().schema().unwrap();
    let meta = Meta::load(&village.program(), (PLACE, row(2))).unwrap();
    let version = seen::version(&village.store().ground, &schema, (PLACE, row(2)), &meta);
    assert_eq!((version.hub, version.seq), (NEW_RUN, 4));
}

/// The simulator found it (seed 100): what was returned had been folded into the base of the
/// lost hub, and was let go before the new one had told of its row: values were gone.
#[test]
fn nothing_is_let_go_before_a_restored_hub_has_told_everything() {
    let mut village = village();
    restored(&mut village);
    village.crash();
    village.chain = Hash::default();
    let first = Page { line: 1, backup: 5, ..page(1, vec![whole(1, 1, "kept")]) };
    let (_, mut committed) = village.prepare(&first, applied(4, 2));
    committed.more = true;
    village.hear(DownBody::Committed(committed));
    let let_go = |village: &mut Village| {
        let now_s = village.now_s;
        let mut step =
            || village.store().compact(Keep { age_s: 0, bytes: 0 }, true, now_s).unwrap();
        (0..9).map(|_| step().dropped).sum::<u64>()
    };
    assert_eq!(let_go(&mut village), 0, "rows are still what the lost hub told");
    village.round(&Page { line: 1, backup: 5, ..page(5, vec![]) }, vec![]);
    assert_eq!(names(&village), "bad1 kept1 late1 lost1 parked1");
    assert!(let_go(&mut village) > 0);
    assert_eq!(names(&village), "bad1 kept1 late1 lost1 parked1");
}

/// The simulator found it: the restored hub was lost before it had heard us, and we looked
/// like a new box to the one in its place, which lacked what had not been returned.
#[test]
fn a_hub_that_is_lost_before_the_first_round_with_it_is_noticed() {
    let mut village = village();
    restored(&mut village);
    village.crash();
    village.begin();
    village.hub = RunId(0x4e);
    let older = DownBody::Refused(Refused::Restored { line: vec![(village.hub, 0)] });
    assert!(village.hear(older).idle);
    village.crash();
    let ups = village.begin();
    assert_eq!(ups[0].hub, RunId::NONE, "nothing of it is known here");
    let (head, body) = changeset(&ups);
    let seqs = batch::decode(&body).unwrap().changes.into_iter().map(|change| change.dot.seq);
    assert_eq!((head.ahead, seqs.collect::<Vec<u64>>()), (0, vec![1, 2, 3, 4, 5]));
    assert_eq!(names(&village), "bad1 far1 kept1 late1 lost1 parked1");
}

/// The simulator found it: another gateway had brought the change before the backup, and
/// that its clock was wrong was said by us, after it.
#[test]
fn a_contained_stamp_is_said_again_although_its_change_is_not_lost() {
    for stamped in [true, false] {
        let mut village = Village::new();
        village.round(&page(0, vec![]), vec![]);
        let ahead_s = if stamped { 50 * 365 * 86_400 } else { 0 };
        let stamp = Stamp { seconds: NOW_S + ahead_s, counter: 0 };
        village.take(vec![Change { stamp, ..insert(1, "early") }]);
        assert_eq!(village.changes()[0].contained.is_some(), stamped);
        village.round(&page(0, vec![]), vec![(1, Outcome::Known { seq: 1 })]);
        let known = KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] };
        village.round(&Page { known: vec![known], ..page(1, vec![whole(1, 1, "early")]) }, vec![]);
        village.begin();
        village.hub = NEW_RUN;
        let line = vec![(NEW_RUN, 1), (OLD_RUN, 1)];
        village.hear(DownBody::Refused(Refused::Restored { line }));
        village.chain = Hash::default();
        assert_eq!(village.store().waiting(), u64::from(stamped));
        let told = page(1, vec![whole(1, 1, "early")]);
        let outcomes = if stamped { vec![(1, Outcome::Known { seq: 1 })] } else { vec![] };
        let again = village.round(&told, outcomes);
        assert!(again.changes.iter().all(|change| change.contained.is_some()));
        assert_eq!(names(&village), "early1", "it counts once");
        assert_eq!(village.store().waiting(), 0);
        assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
    }
}

/// A hub that this gateway never heard of cannot have it begin anew, nor can a late word.
#[test]
fn only_the_hub_that_was_asked_can_say_that_it_was_restored() {
    let mut village = village();
    let refused = || DownBody::Refused(Refused::Restored { line: vec![(NEW_RUN, 1)] });
    for (hub, known) in [(NEW_RUN, NEW_RUN), (LOST_RUN, RunId::NONE)] {
        let down = Down { hub, known, round: 4, body: refused() };
        let answer = village.store().round(RoundInput::Heard(down), NOW_S).unwrap();
        assert!(answer.ignored.is_some() && !answer.idle, "{answer:?}");
    }
    restored(&mut village);
    village.begin();
    let late = Down { hub: NEW_RUN, known: LOST_RUN, round: 4, body: refused() };
    assert!(village.store().round(RoundInput::Heard(late), NOW_S).unwrap().ignored.is_some());
}

/// The simulator found it: what was made and committed after the loss was folded into
/// the lost hub's image, and went with that.
#[test]
fn what_the_restored_hub_has_and_does_not_tell_is_not_here() {
    let mut village = Village::new();
    // It is of another site: the cursor had not passed it yet, so it lay over the row.
    village.take(vec![insert(1, "elsewhere")]);
    village.round(&page(0, vec![]), applied(1, 1));
    village.hub = LOST_RUN;
    village.round(&page(0, vec![]), vec![]);
    village.take(vec![insert(2, "late")]);
    village.begin();
    restored(&mut village);
    assert_eq!(names(&village), "elsewhere1 late1", "people see what they saw");
    village.chain = Hash::default();
    village.round(&page(1, vec![]), applied(1, 2));
    assert_eq!(names(&village), "late1");
}

#[test]
fn what_is_made_after_the_loss_is_not_folded_into_what_goes() {
    let mut village = village();
    restored(&mut village);
    village.chain = Hash::default();
    let rename = change(PHONE, 6, Op::Update, (PLACE, row(2)), vec![set(1, text("new"))]);
    village.take(vec![rename]);
    let first = Page { line: 1, ..page(0, vec![]) };
    let (_, mut committed) = village.prepare(&first, applied(5, 2));
    committed.more = true;
    village.hear(DownBody::Committed(committed));
    // It passes the cursor while the row is stale.
    let second = Page { line: 1, ..page(6, vec![]) };
    let (_, mut committed) = village.prepare(&second, vec![]);
    committed.more = true;
    village.hear(DownBody::Committed(committed));
    assert_eq!(names(&village), "bad1 far1 kept1 late1 new1 parked1");
    village.round(&Page { line: 1, ..page(6, vec![whole(1, 1, "kept")]) }, vec![]);
    assert_eq!(names(&village), "bad1 kept1 late1 new1 parked1");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_change WHERE laid = 1"), "0");
}

/// The simulator found it: an edit of what a stale row showed claimed nothing of it.
#[test]
fn who_edits_what_a_lost_hub_told_has_seen_it() {
    let mut village = village();
    restored(&mut village);
    village.crash();
    let schema = village.store().schema().unwrap();
    let mut claims = |number: u64| {
        let key = (PLACE, row(number));
        let meta = Meta::load(&village.program(), key).unwrap();
        seen::version(&village.store().ground, &schema, key, &meta)
    };
    assert_eq!(claims(9), RowVersion { hub: LOST_RUN, seq: 3 }, "told by a page");
    assert_eq!(claims(1), RowVersion { hub: LOST_RUN, seq: 3 }, "nothing happened to it until 3");
    assert_eq!(claims(5), RowVersion::default(), "it was never there");
}

/// Which of two lost hubs told what of a row nobody knows any more.
#[test]
fn of_what_was_stale_at_the_second_loss_nothing_is_claimed() {
    let mut village = village();
    restored(&mut village);
    village.chain = Hash::default();
    let first = Page { line: 1, ..page(1, vec![whole(1, 1, "kept")]) };
    let (_, mut committed) = village.prepare(&first, applied(4, 2));
    committed.more = true;
    village.hear(DownBody::Committed(committed));
    village.begin();
    village.hub = RunId(0x4e);
    let line = vec![(village.hub, 1), (OLD_RUN, 1)];
    village.hear(DownBody::Refused(Refused::Restored { line }));
    let stale = "SELECT group_concat(stale, ' ') FROM (SELECT stale FROM wadi_row ORDER BY row)";
    assert_eq!(village.text(stale), "2 1 1 1 1 1");
}

/// A hub that was restored to between the two has to hear of it.
#[test]
fn a_head_says_how_far_the_hub_had_come_with_own_changes() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a"), insert(2, "b")]);
    village.round(&page(4, vec![]), applied(2, 8));
    let heard = |ups: &[Up]| {
        let head = changeset(ups).0;
        (head.cursors, head.ahead, head.heard())
    };
    let ups = village.begin();
    assert_eq!(heard(&ups), ([0, 4], 5, 9));
    village.crash();
    let again = village.store().round(RoundInput::Retry, NOW_S).unwrap();
    let again: Vec<Up> = again.messages.iter().map(|m| message::decode(m).unwrap()).collect();
    let UpBody::Prepare(head) = &again[0].body else { panic!("{again:?}") };
    assert_eq!((head.cursors, head.heard()), ([0, 4], 9));
    // With the one that takes its place it begins at its beginning; what it had of the lost
    // one is what lies below the fork, folded or not.
    let line = vec![(NEW_RUN, 8), (village.hub, 8)];
    village.hub = NEW_RUN;
    village.hear(DownBody::Refused(Refused::Restored { line }));
    assert_eq!(heard(&village.begin()), ([0, 0], 8, 8));
}

/// The simulator found it: what could not be laid yet was not counted, and the one in the
/// lost hub's place gave its sequences to others.
#[test]
fn a_head_says_so_of_what_waits_for_its_table_too() {
    let mut village = Village::bare();
    village.take(vec![insert(1, "a"), insert(2, "b")]);
    village.round(&page(0, vec![]), applied(2, 8));
    let (head, _) = changeset(&village.begin());
    assert_eq!((head.cursors, head.heard()), ([0, 0], 9));
}

/// The simulator found it: what a handheld offered once more, and base had by another's
/// hands, was not laid over what took that base's place.
#[test]
fn what_the_lost_hub_had_from_elsewhere_is_laid_when_it_is_brought_again() {
    let mut village = Village::new();
    let known = vec![KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] }];
    village.hub = LOST_RUN;
    village.round(&Page { known, ..page(3, vec![whole(1, 3, "far")]) }, vec![]);
    village.take(vec![insert(1, "far")]);
    assert_eq!(names(&village), "far1");
    village.begin();
    village.hub = NEW_RUN;
    village.hear(DownBody::Refused(Refused::Restored { line: vec![(NEW_RUN, 0)] }));
    village.chain = Hash::default();
    village.round(&Page { line: 1, ..page(0, vec![]) }, applied(1, 1));
    assert_eq!(names(&village), "far1");
    village.round(&Page { line: 1, ..page(1, vec![]) }, vec![]);
    assert_eq!(names(&village), "far1");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_change WHERE laid = 1"), "0");
}

/// The simulator found it: what base had by another's hands lay over what the restored hub told
/// until it was brought again, though that hub had called it known, and had a change that
/// followed it. Who edited the row then claimed what the screen did not show.
#[test]
fn what_the_restored_hub_calls_known_is_not_laid_over_what_followed_it() {
    let mut village = Village::new();
    let last = 300;
    let known = vec![KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(last, last)] }];
    village.hub = LOST_RUN;
    village.round(&Page { known: known.clone(), ..page(3, vec![whole(last, 3, "far")]) }, vec![]);
    // More than one round takes lies before it.
    village.take((1..last).map(|seq| insert(seq, &noise(seq, 500))).collect());
    village.take(vec![insert(last, "far")]);
    village.begin();
    village.hub = NEW_RUN;
    village.hear(DownBody::Refused(Refused::Restored { line: vec![(NEW_RUN, 0)] }));
    village.chain = Hash::default();
    let since = Page { line: 1, known, ..page(5, vec![whole(last, 4, "since")]) };
    let mut seq = 6;
    let mut shown = vec![];
    while village.store().waiting() > 0 {
        let behind = page(seq, vec![]);
        let page = if shown.is_empty() { since.clone() } else { behind };
        village.judged(&Page { line: 1, ..page }, |brought| {
            let count = brought.changes.iter().filter(|it| it.dot.seq < last).count() as u32;
            let known = brought.changes.len() as u32 > count;
            let mut outcomes = applied(count, seq);
            outcomes.extend(known.then_some((1, Outcome::Known { seq: 1 })));
            seq += u64::from(count);
            outcomes
        });
        shown.push(village.shown((PLACE, row(last))).unwrap()[0].1.clone());
    }
    assert!(shown.len() > 1 && shown.iter().all(|name| *name == text("since")), "{shown:?}");
}

/// The simulator found it: what a handheld offered once more to a village whose hub was lost lay
/// over what that had told of the row, though it was in it, and followed there.
#[test]
fn what_the_lost_hub_called_known_is_not_laid_over_what_it_told() {
    let mut village = Village::new();
    let known = vec![KnownRuns { device: PHONE, run: PHONE_RUN, spans: vec![(1, 1)] }];
    village.hub = LOST_RUN;
    village.round(&Page { known, ..page(3, vec![whole(1, 3, "since")]) }, vec![]);
    village.begin();
    village.hub = NEW_RUN;
    village.hear(DownBody::Refused(Refused::Restored { line: vec![(NEW_RUN, 0)] }));
    village.take(vec![insert(1, "far"), insert(2, "near")]);
    assert_eq!(names(&village), "near1 since1");
    // The new hub has nothing of the row but what is brought now.
    village.chain = Hash::default();
    village.round(&Page { line: 1, ..page(0, vec![]) }, applied(2, 1));
    assert_eq!(names(&village), "far1 near1");
    village.round(&Page { line: 1, ..page(2, vec![]) }, vec![]);
    assert_eq!(names(&village), "far1 near1");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_change WHERE laid = 1"), "0");
}

/// The simulator found it: a delete of a row that the first restored hub never told of was
/// folded into nothing, and forgotten when the second one did tell of the row.
#[test]
fn what_was_folded_into_nothing_is_laid_over_what_the_next_hub_tells() {
    let mut village = Village::new();
    let key = (PLACE, row(1));
    village.hub = LOST_RUN;
    village.round(&page(1, vec![whole(1, 1, "far")]), vec![]);
    village.take(vec![change(PHONE, 2, Op::Delete, key, vec![])]);
    for (hub, rows) in [(NEW_RUN, vec![]), (RunId(0x4e), vec![whole(1, 1, "far")])] {
        village.begin();
        village.hub = hub;
        village.hear(DownBody::Refused(Refused::Restored { line: vec![(hub, 0)] }));
        village.chain = Hash::default();
        village.round(&Page { line: 1, ..page(1, rows) }, applied(1, 2));
        village.round(&Page { line: 1, ..page(2, vec![]) }, vec![]);
        assert_eq!(village.shown(key), None);
        assert_eq!(village.text("SELECT '' || count(*) FROM wadi_change WHERE laid = 1"), "0");
    }
}

/// The simulator found it: a village lost what the lost hub had taken and the one in its place,
/// which lacked the table of its group's mate, put into quarantine; and did so for good, for
/// whoever brought a change is not told of it when it is released.
#[test]
fn what_only_the_restored_hub_refuses_stays_on_the_screen() {
    let mut village = Village::new();
    village.hub = LOST_RUN;
    village.take(vec![insert(1, "a")]);
    village.round(&page(3, vec![]), applied(1, 2));
    village.begin();
    village.hub = NEW_RUN;
    village.hear(DownBody::Refused(Refused::Restored { line: vec![(NEW_RUN, 0)] }));
    village.chain = Hash::default();
    village.round(&Page { line: 1, ..page(0, vec![]) }, vec![(1, Outcome::Quarantined)]);
    assert_eq!(names(&village), "a1");
    let released = vec![Notice {
        dot: Dot { device: PHONE, run: PHONE_RUN, seq: 1 },
        outcome: Outcome::Applied { seq: 4 },
        reason: String::new(),
    }];
    village.round(&Page { line: 1, notices: released, ..page(5, vec![]) }, vec![]);
    assert_eq!(names(&village), "a1");
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_change WHERE laid = 1"), "0");
}
