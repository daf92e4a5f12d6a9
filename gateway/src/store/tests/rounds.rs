//! The outbox: what a round carries, and what its end does.
use super::*;
use wadi_protocol::change::Group;
use wadi_protocol::limits::{CHANGESET_BYTES_TARGET, CHANGESET_CHANGES_MAX};
use wadi_protocol::wire::downlink::Notice;
use wadi_protocol::wire::message::{Refused, without_page};

fn insert(seq: u64, name: &str) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text(name))])
}

#[test]
fn a_changeset_fills_its_target_with_whole_groups_in_order() {
    let mut village = Village::new();
    let group = |first: u64| {
        (first..first + 5).map(move |seq| Change {
            group: Some(Group { first, len: 5 }),
            ..insert(seq, &noise(seq, 300))
        })
    };
    village.take((0..40).flat_map(|at| group(1 + at * 5)).collect());
    let mut next = 1;
    while next <= 200 {
        let (head, body) = changeset(&village.begin());
        let batch = batch::decode(&body).unwrap();
        let count = batch.changes.len() as u64;
        assert!(
            body.len() <= CHANGESET_BYTES_TARGET && count.is_multiple_of(5) && count > 0,
            "{count}"
        );
        assert!(body.len() > CHANGESET_BYTES_TARGET / 2 || next + count > 200, "{}", body.len());
        assert_eq!(head.content, batch::content_hash(&batch));
        let seqs: Vec<u64> = batch.changes.iter().map(|change| change.dot.seq).collect();
        assert_eq!(seqs, (next..next + count).collect::<Vec<_>>());
        // The same round over again, for the end of it.
        village.crash();
        let again = village.store().round(RoundInput::Retry, NOW_S).unwrap();
        assert!(!again.idle && again.pending == (next + count <= 200));
        let outcomes = applied(count as u32, next);
        finish_open(&mut village, 0, outcomes);
        next += count;
    }
    assert_eq!(village.store().waiting(), 0);
}

/// Answer a round that is already open, with a page that ends there.
pub fn finish_open(village: &mut Village, to: u64, outcomes: Vec<(u32, Outcome)>) {
    finish_with(village, &page(to, vec![]), outcomes);
}

/// The same with any page that fits one part.
pub fn finish_with(village: &mut Village, page: &Page, outcomes: Vec<(u32, Outcome)>) {
    let content = village.store().ground.round.changeset().unwrap().content;
    let bytes = downlink::encode(page);
    let prepared = prepared(village.store().ground.round.stand(), content, &bytes);
    village.hear(prepared);
    let parent = village.store().ground.round.chain;
    let chain = chain(parent, content, &outcomes);
    village.chain = chain;
    let committed = Committed { outcomes, chain, paged: true, more: false, page: None };
    assert!(village.hear(DownBody::Committed(committed)).idle);
}

#[test]
fn small_changes_are_counted_too() {
    let mut village = Village::new();
    let update = |seq| change(PHONE, seq, Op::Update, (PLACE, row(1)), vec![add(2, 1)]);
    village.take((1..=2 * CHANGESET_CHANGES_MAX as u64).map(update).collect());
    let (_, body) = changeset(&village.begin());
    let count = batch::decode(&body).unwrap().changes.len();
    assert!(
        count <= CHANGESET_CHANGES_MAX
            && (count == CHANGESET_CHANGES_MAX || body.len() > CHANGESET_BYTES_TARGET / 2),
        "{count}"
    );
}

#[test]
fn a_round_names_the_lines_of_its_runs() {
    let mut village = Village::new();
    village.program().execute_batch("INSERT INTO place(name) VALUES ('a')").unwrap();
    // Runs without a change of their own leave no trace.
    for _ in 0..3 {
        village.crash();
    }
    village.program().execute_batch("INSERT INTO place(name) VALUES ('b')").unwrap();
    let (_, body) = changeset(&village.begin());
    let batch = batch::decode(&body).unwrap();
    let dots: Vec<Dot> = batch.changes.iter().map(|change| change.dot).collect();
    assert_eq!((batch.runs.len(), dots[0].seq, dots[1].seq), (2, 1, 1));
    let last = batch.runs.iter().find(|info| info.run == dots[1].run).unwrap();
    assert_eq!((last.parent, last.label.as_str()), (Some((dots[0].run, 1)), "north"));
}

#[test]
fn a_crash_in_any_phase_goes_on_with_the_same_round() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    let mut place = told((PLACE, row(9)), 4, RowState::Live, vec![(1, text(&noise(1, 20_000)))]);
    place.whole = true;
    let (_, committed) = village.prepare(&page(4, vec![place]), applied(1, 5));
    village.crash();
    let retry = village.store().round(RoundInput::Retry, NOW_S).unwrap();
    let up: Up = message::decode(&retry.messages[0]).unwrap();
    assert_eq!(up.body, UpBody::Commit);
    assert!(village.hear(DownBody::Committed(committed.clone())).idle);
    village.crash();
    assert_eq!(village.store().ground.round.cursors, [0, 4]);
    assert_eq!(village.store().ground.round.chain, committed.chain);
    assert!(village.shown((PLACE, row(9))).is_some());
    let status = village.store().status().unwrap();
    assert_eq!((status.rounds, status.last_round_s, status.phase), (1, Some(NOW_S), "idle"));
    assert_eq!(status.pending, []);
    let glance = village.store().glance();
    let unknown = (false, None);
    assert_eq!((glance.clock_confirmed, glance.hub_offset_s), unknown, "since it was opened");
}

#[test]
fn a_page_that_cannot_be_used_aborts_and_changes_nothing() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    let strange = |fields| page(4, vec![told((PLACE, row(9)), 4, RowState::Live, fields)]);
    for bad in [
        strange(vec![(99, text("x"))]),
        strange(vec![(2, text("x"))]),
        page(4, vec![told((99, row(9)), 4, RowState::Live, vec![])]),
    ] {
        let (head, _) = changeset(&village.begin());
        let bytes = downlink::encode(&bad);
        let prepared = prepared(head.stand(), head.content, &bytes);
        let answer = village.hear(prepared);
        let up: Up = message::decode(&answer.messages[0]).unwrap();
        assert_eq!(up.body, UpBody::Abort);
        let floor = village.store().ground.round.round + 1;
        assert!(
            village.hear(DownBody::Aborted { floor }).pending,
            "its change waits for the next round"
        );
        assert_eq!(village.shown((PLACE, row(9))), None);
    }
}

/// A copy of this box is in a round of the same number with as little to send, and both hear
/// what the hub tells it: its cursors are not ours.
#[test]
fn a_page_for_another_box_of_the_same_number_is_not_taken() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    village.round(&page(4, vec![]), vec![(1, Outcome::Applied { seq: 4 })]);
    let (head, _) = changeset(&village.begin());
    let bytes = downlink::encode(&page(9, vec![]));
    for stand in [(head.parent, [0, 8]), (Hash::default(), head.cursors)] {
        let prepared = prepared(stand, head.content, &bytes);
        let said = village.hear(prepared).messages;
        let said: Vec<Up> = said.iter().map(|bytes| message::decode(bytes).unwrap()).collect();
        let [Up { body: UpBody::Prepare(again), .. }] = &said[..] else { panic!("{said:?}") };
        assert_eq!((again.content, again.cursors), (head.content, head.cursors));
        assert_eq!(village.store().ground.round.cursors, head.cursors);
    }
    finish_open(&mut village, 9, vec![]);
    assert_eq!(village.store().ground.round.cursors, [0, 9]);
}

/// A restored hub lets this box give up its round, or speaks to a copy of it: what it has,
/// and how far, is still of the hub that is lost, and it must say so.
#[test]
fn a_hub_is_believed_only_when_it_commits() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    village.round(&page(4, vec![]), vec![(1, Outcome::Applied { seq: 4 })]);
    let hub = village.store().ground.round.hub;
    village.begin();
    let round = village.store().ground.round.round;
    let down = |body| Down { hub: RunId(0xbad), known: hub, round, body };
    let now_s = village.now_s;
    for body in [
        DownBody::Staged { missing: vec![] },
        DownBody::Refused(Refused::OtherContent),
        DownBody::Aborted { floor: round + 1 },
    ] {
        village.store().round(RoundInput::Heard(down(body)), now_s).unwrap();
        assert_eq!(village.store().ground.round.hub, hub);
    }
    assert!(village.store().ground.round.is_idle());
}

#[test]
fn a_parked_change_that_is_released_lets_held_ones_go_again() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a"), insert(2, "b")]);
    village.round(&page(0, vec![]), vec![(1, Outcome::Parked), (1, Outcome::Held)]);
    assert_eq!(changeset(&village.begin()).1.len(), 0, "held back");
    let dot = Dot { device: PHONE, run: PHONE_RUN, seq: 1 };
    let notice = Notice { dot, outcome: Outcome::Applied { seq: 8 }, reason: String::new() };
    let (head, _) = (village.store().ground.round.clone(), ());
    let stand = head.stand();
    let Phase::Preparing { changeset: open, .. } = head.phase else { panic!() };
    let bytes = downlink::encode(&Page { notices: vec![notice], ..page(8, vec![]) });
    village.hear(prepared(stand, open.content, &bytes));
    let chain = chain(head.chain, open.content, &[]);
    let committed = Committed { outcomes: vec![], chain, paged: true, more: true, page: None };
    let answer = village.hear(DownBody::Committed(committed));
    assert!(answer.more && answer.pending);
    assert_eq!(batch::decode(&changeset(&village.begin()).1).unwrap().changes[0].dot.seq, 2);
    assert_eq!(village.text("SELECT '' || laid FROM wadi_change WHERE seq = 1"), "0", "folded");
    assert!(village.shown((PLACE, row(1))).is_some());
}

#[test]
fn a_committed_round_whose_page_was_not_asked_for_moves_no_cursor() {
    let mut village = Village::new();
    village.take(vec![insert(1, "a")]);
    let (_, mut committed) = village.prepare(&page(9, vec![]), applied(1, 10));
    committed.paged = false;
    assert!(village.hear(DownBody::Committed(committed)).idle);
    assert_eq!(village.store().ground.round.cursors, [0, 0]);
    assert_eq!(village.store().waiting(), 0);
    let parent = village.store().ground.round.chain;
    assert_eq!(parent, without_page(village.chain), "the hub hears that it lacks a page");
    assert!(village.shown((PLACE, row(1))).is_some());
}

#[test]
fn a_refusal_is_told_until_it_ends() {
    let mut village = Village::new();
    village.begin();
    let answer = village.hear(DownBody::Refused(Refused::UnknownGateway));
    assert_eq!(answer.refused, Some(Refused::UnknownGateway));
    village.crash();
    assert!(village.store().status().unwrap().refused.unwrap().contains("gateway add"));
}

/// As after a restore: what is wrong is found out at once, not a round later.
#[test]
fn a_round_whose_number_is_used_up_is_followed_by_another_at_once() {
    let mut village = Village::new();
    village.begin();
    let answer = village.hear(DownBody::Refused(Refused::BelowFloor { floor: 9 }));
    assert!(answer.idle && answer.more && !answer.pending, "{answer:?}");
    assert_eq!(answer.refused, None);
    village.begin();
    let answer = village.hear(DownBody::Refused(Refused::OtherParent));
    assert_eq!(answer.refused, Some(Refused::OtherParent));
}

#[test]
fn a_new_schema_brings_columns_and_what_waited_for_them() {
    let mut village = Village::new();
    village.take(vec![change(PHONE, 1, Op::Insert, (PLACE, row(1)), vec![set(7, text("x"))])]);
    assert_eq!(village.shown((PLACE, row(1))), None);
    let mut next = schema();
    next.version = 2;
    next.tables[0].fields.push(field(7, "colour", Kind::Text, Merge::LastWrite));
    let mut place = told((PLACE, row(9)), 4, RowState::Live, vec![(7, text("red"))]);
    place.whole = true;
    village.program().execute_batch("INSERT INTO place(name) VALUES ('before')").unwrap();
    let news = Page { schema: Some(next), ..page(4, vec![place]) };
    let (batch, committed) = village.prepare(&news, applied(2, 5));
    assert_eq!(batch.changes.len(), 2);
    village.program().execute_batch("UPDATE place SET name = 'meanwhile'").unwrap();
    assert!(village.hear(DownBody::Committed(committed)).idle);
    village
        .program()
        .execute_batch("UPDATE place SET colour = 'blue' WHERE name = 'meanwhile'")
        .unwrap();
    village.drain();
    assert_eq!(
        village.text(
            "SELECT group_concat(colour, ',') FROM (SELECT colour FROM place ORDER BY colour)"
        ),
        "blue,red,x"
    );
    assert_eq!(village.changes().last().unwrap().schema, 2);
}

#[test]
fn a_table_takes_the_name_of_a_view() {
    let mut village = Village::new();
    let mut next = schema();
    next.version = 2;
    next.tables.push(table(4, "place_view", vec![field(1, "n", Kind::Integer, Merge::LastWrite)]));
    village.round(&Page { schema: Some(next), ..page(1, vec![]) }, vec![]);
    village.program().execute_batch("INSERT INTO place_view (n) VALUES (7)").unwrap();
    assert_eq!(village.drain(), 1);
    village.crash();
    assert_eq!(village.text("SELECT n || '' FROM place_view"), "7");
}

/// The hub knows the table, and its page with the schema is lost.
#[test]
fn what_is_committed_before_its_table_is_known_waits_for_the_schema() {
    let mut village = Village::new();
    let mut next = schema();
    next.version = 2;
    next.tables.push(table(4, "well", vec![field(1, "name", Kind::Text, Merge::LastWrite)]));
    let deep = change(PHONE, 1, Op::Insert, (4, row(1)), vec![set(1, text("deep"))]);
    village.take(vec![Change { schema: 2, ..deep }]);
    let (_, mut committed) = village.prepare(&page(4, vec![]), applied(1, 5));
    committed.paged = false;
    assert!(village.hear(DownBody::Committed(committed)).idle);
    village.chain = without_page(village.chain);
    assert_eq!(village.store().waiting(), 0);
    village.round(&page(4, vec![]), vec![]);
    village.round(&Page { schema: Some(next), ..page(6, vec![]) }, vec![]);
    assert_eq!(village.text("SELECT name FROM well"), "deep");
    assert_eq!(village.store().ledger().unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_hub_that_applied_what_no_column_holds_stops_nothing() {
    let mut village = Village::new();
    let bad = change(PHONE, 1, Op::Insert, (PLACE, row(1)), vec![set(3, text("high"))]);
    village.take(vec![bad, insert(2, "b")]);
    village.round(&page(9, vec![]), applied(2, 5));
    village.round(&page(10, vec![]), vec![]);
    assert_eq!(village.store().waiting(), 0);
    assert!(village.shown((PLACE, row(2))).is_some());
}

#[test]
fn a_schema_that_cannot_follow_the_one_held_is_not_taken() {
    let other_kind = |version| {
        let mut next = schema();
        next.version = version;
        next.tables[0].fields[5].kind = Kind::Text;
        next
    };
    for version in [1, 2] {
        let mut village = Village::new();
        let mut place = told((PLACE, row(1)), 4, RowState::Live, vec![(6, text("wide"))]);
        place.whole = true;
        let news = Page { schema: Some(other_kind(version)), ..page(4, vec![place]) };
        let bytes = downlink::encode(&news);
        let head = changeset(&village.begin()).0;
        let prepared = prepared(head.stand(), head.content, &bytes);
        let said = village.hear(prepared).messages;
        let said: Vec<Up> = said.iter().map(|bytes| message::decode(bytes).unwrap()).collect();
        assert!(matches!(said.as_slice(), [Up { body: UpBody::Abort, .. }]), "{said:?}");
        assert_eq!(village.store().schema().as_deref(), Some(&schema()));
    }
}

#[test]
fn urgent_changes_go_first_with_what_they_need() {
    let mut village = Village::of(|schema| schema.tables[1].lane = Lane::Urgent);
    let bulk = (1..=200).map(|seq| insert(seq, &noise(seq, 500)));
    village.take(bulk.collect());
    // The place of the visit, in a group with a note; then the visit itself.
    let group = Some(Group { first: 201, len: 2 });
    let place = Change { group, ..insert(201, "place of the visit") };
    let note = Change { group, ..insert(202, "with it") };
    let more = change(PHONE, 203, Op::Update, (PLACE, row(201)), vec![add(2, 1)]);
    let visited = vec![set(1, Value::Row(row(201)))];
    let visit = change(PHONE, 204, Op::Insert, (VISIT, row(204)), visited);
    village.take(vec![place, note, more, visit]);
    let (head, body) = changeset(&village.begin());
    assert_eq!(head.parts, 1, "one message, of {} bytes", body.len());
    assert!(body.len() <= 2 * 1024, "half a second at 30 kbit/s: {} bytes", body.len());
    let batch = batch::decode(&body).unwrap();
    let seqs: Vec<u64> = batch.changes.iter().map(|change| change.dot.seq).collect();
    assert_eq!(seqs[..5], [201, 202, 203, 204, 1], "others are not left for ever");
    let count = seqs.len() as u32;
    assert!(count < 204 && village.store().round(RoundInput::Retry, NOW_S).unwrap().pending);
}

#[test]
fn where_something_may_be_urgent_a_round_is_not_long() {
    let sizes = [Lane::Routine, Lane::Urgent].map(|lane| {
        let mut village = Village::of(|schema| schema.tables[1].lane = lane);
        village.take((1..=100).map(|seq| insert(seq, &noise(seq, 500))).collect());
        changeset(&village.begin()).1.len()
    });
    assert!((12 * 1024..=16 * 1024).contains(&sizes[0]), "{sizes:?}");
    assert!((6 * 1024..=8 * 1024).contains(&sizes[1]), "{sizes:?}");
}

#[test]
fn much_that_is_urgent_fills_a_changeset_alone() {
    let mut village = Village::of(|schema| schema.tables[0].lane = Lane::Urgent);
    let visit = |seq| change(PHONE, seq, Op::Insert, (VISIT, row(seq)), vec![]);
    village.take(
        (1..=20).map(visit).chain((21..=40).map(|seq| insert(seq, &noise(seq, 500)))).collect(),
    );
    let (_, body) = changeset(&village.begin());
    assert!((2 * 1024..=16 * 1024).contains(&body.len()), "{} bytes", body.len());
    let changes = batch::decode(&body).unwrap().changes;
    assert!(changes.len() == 20 && changes.iter().all(|change| change.dot.seq > 20), "{changes:?}");
}

#[test]
fn what_the_hub_asks_for_goes_first_even_if_it_was_held() {
    let mut village = Village::new();
    let group = Some(Group { first: 2, len: 2 });
    let held = [Change { group, ..insert(2, "b") }, Change { group, ..insert(3, "c") }];
    village.take([vec![insert(1, "a")], held.to_vec(), vec![insert(4, "d")]].concat());
    village.round(&page(0, vec![]), vec![(4, Outcome::Held)]);
    village.take((5..=200).map(|seq| insert(seq, &noise(seq, 500))).collect());
    village.take(vec![change(PHONE, 201, Op::Update, (PLACE, row(200)), vec![add(2, 1)])]);
    let wanted = vec![(PLACE, row(3)), (PLACE, row(200)), (VISIT, row(77))];
    village.begin();
    let sent = sent_count(&mut village);
    finish_with(&mut village, &Page { wanted, ..page(0, vec![]) }, applied(sent, 1));
    assert_eq!(village.store().status().unwrap().held, 2, "1 and 4 still are");
    village.crash();
    let (_, body) = changeset(&village.begin());
    let seqs: Vec<u64> =
        batch::decode(&body).unwrap().changes.iter().map(|change| change.dot.seq).collect();
    assert_eq!(seqs[..4], [2, 3, 200, 201], "the group of one, and all of the other");
    let sent = sent_count(&mut village);
    finish_with(&mut village, &page(0, vec![]), applied(sent, 100));
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_wanted"), "3", "until it asks again");
    let fresh = Page { wanted: (0..99).map(|at| (PLACE, row(at))).collect(), ..page(0, vec![]) };
    village.begin();
    let sent = sent_count(&mut village);
    finish_with(&mut village, &fresh, applied(sent, 200));
    assert_eq!(village.text("SELECT '' || count(*) FROM wadi_wanted"), "16");
}

/// How many changes the open round carries.
fn sent_count(village: &mut Village) -> u32 {
    village.store().ground.round.changeset().unwrap().changes
}
