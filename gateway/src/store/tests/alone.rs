//! Delegated rounds: the page comes with the hub's answer, and is checked and applied in
//! one transaction with it.
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::wire::coded::{CODEC_NEWEST, CODEC_PLAIN, ModelName, Named, read_batch};
use wadi_protocol::wire::coded_page::write_page;
use wadi_protocol::wire::message::without_page;

use super::*;

/// A page that tells of a row.
fn telling(to: u64) -> Page {
    let mut told = told((PLACE, row(90 + to)), to, RowState::Live, vec![(1, text("theirs"))]);
    told.whole = true;
    Page { codec: CODEC_NEWEST, ..page(to, vec![told]) }
}

/// Open a round that the hub may decide; its only message.
fn begin(village: &mut Village) -> Prepare {
    let now_s = village.now_s;
    // What is said in brief is the same, see the tests of that.
    village.store().ground.brief = false;
    let answer =
        village.store().round(RoundInput::Begin { delegate: true, urgent: false }, now_s).unwrap();
    assert_eq!(answer.messages.len(), 1);
    asked(&answer)
}

/// The last message that it asks by.
fn asked(answer: &RoundAnswer) -> Prepare {
    match message::decode::<Up>(answer.messages.last().expect("a message")).unwrap().body {
        UpBody::Prepare(head) => head,
        other => panic!("expected Prepare, got {other:?}"),
    }
}

/// The round is over; nothing more is said.
fn hear(village: &mut Village, committed: &Committed) {
    let answer = village.hear(DownBody::Committed(committed.clone()));
    assert!(answer.idle && answer.messages.is_empty() && answer.ignored.is_none(), "{answer:?}");
}

#[test]
fn a_small_round_takes_two_messages() {
    let mut village = Village::new();
    village.take(vec![ours(1)]);
    let head = begin(&mut village);
    assert!(head.delegated && !head.first.is_empty());
    let committed = plainly(&head, 1, &telling(4));
    hear(&mut village, &committed);
    village.crash();
    let round = village.store().ground.round.clone();
    assert_eq!((round.cursors, round.chain, round.round), ([0, 4], committed.chain, 2));
    assert!(village.shown((PLACE, row(94))).is_some());
    assert_eq!(village.store().waiting(), 0);
    assert_eq!(village.text("SELECT custody || '-' || hub_seq FROM wadi_change"), "1-5");
    // A round that only fetches goes the same way.
    let head = begin(&mut village);
    assert_eq!((head.delegated, head.parts), (true, 0));
    hear(&mut village, &plainly(&head, 0, &telling(6)));
    assert_eq!(village.store().ground.round.cursors, [0, 6]);
}

#[test]
fn a_power_cut_before_the_answer_asks_the_same_again() {
    let mut village = Village::new();
    village.take(vec![ours(1)]);
    let head = begin(&mut village);
    for _ in 0..2 {
        village.crash();
        village.take(vec![ours(2)]);
        let again = village.store().round(RoundInput::Retry, NOW_S).unwrap();
        let again = asked(&again);
        assert_eq!(again, Prepare { first: Vec::new(), ..head.clone() });
    }
    let committed = plainly(&head, 1, &telling(4));
    hear(&mut village, &committed);
    // Once more, and late: nothing.
    let round = village.store().ground.round.clone();
    assert!(village.hear(DownBody::Committed(committed)).ignored.is_some());
    assert_eq!(village.store().ground.round, round);
    assert_eq!(village.store().waiting(), 1);
}

#[test]
fn a_hub_that_says_prepared_gets_its_commit() {
    let mut village = Village::new();
    village.take(vec![ours(1)]);
    let head = begin(&mut village);
    let page = telling(4);
    let said = village.hear(prepared(head.stand(), head.content, &downlink::encode(&page)));
    let commit: Up = message::decode(&said.messages[0]).unwrap();
    assert_eq!(commit.body, UpBody::Commit);
    hear(&mut village, &Committed { page: None, ..plainly(&head, 1, &page) });
    assert_eq!(village.store().ground.round.cursors, [0, 4]);
}

#[test]
fn a_changeset_of_several_parts_is_not_delegated() {
    let mut village = Village::new();
    let long = |seq: u64| {
        let name: String = (0..40).map(|at| format!("{:x}", seq * 7919 + at * seq * seq)).collect();
        change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text(&name))])
    };
    village.take((1..=120).map(long).collect());
    let now_s = village.now_s;
    let answer =
        village.store().round(RoundInput::Begin { delegate: true, urgent: false }, now_s).unwrap();
    let ups: Vec<Up> = answer.messages.iter().map(|m| message::decode(m).unwrap()).collect();
    let (head, body) = changeset(&ups);
    assert!(!head.delegated && body.len() > PART_BYTES_MAX);
}

#[test]
fn asked_to_abort_the_hub_may_say_that_it_has_committed() {
    let mut village = Village::new();
    village.take(vec![ours(1)]);
    let head = begin(&mut village);
    let refused = Refused::Undecodable { reason: "for a test".into() };
    let answer = village.hear(DownBody::Refused(refused));
    let abort: Up = message::decode(&answer.messages[0]).unwrap();
    assert_eq!(abort.body, UpBody::Abort);
    hear(&mut village, &plainly(&head, 1, &telling(4)));
    assert_eq!(village.store().ground.round.cursors, [0, 4]);
    assert_eq!(village.store().waiting(), 0);
}

/// The round is committed, whatever its page is: it ends without, and the hub hears so.
#[test]
fn a_page_that_is_not_for_this_box_or_cannot_be_used_is_left_out() {
    for foreign in [true, false] {
        let mut village = Village::new();
        village.take(vec![ours(1)]);
        let head = begin(&mut village);
        let mut page = telling(4);
        if !foreign {
            page.rows[0].fields.push((77, text("of no field")));
        }
        let mut committed = plainly(&head, 1, &page);
        if foreign {
            let stand = (head.parent, [9, 9]);
            let hash = message::page_hash(stand, &downlink::encode(&page));
            let bytes = downlink::encode(&page);
            committed.page = Some(Attached { hash, bytes });
        }
        hear(&mut village, &committed);
        village.crash();
        let round = village.store().ground.round.clone();
        assert_eq!((round.cursors, round.chain), ([0, 0], without_page(committed.chain)));
        assert_eq!(village.shown((PLACE, row(94))), None);
        assert_eq!(village.text("SELECT custody || '-' || hub_seq FROM wadi_change"), "1-5");
        assert_eq!(begin(&mut village).parent, without_page(committed.chain));
    }
}

/// Of a page that is written against a model, the two ends may think differently: it is
/// asked for otherwise, of the round that is committed.
#[test]
fn a_page_that_cannot_be_read_is_asked_for_otherwise() {
    let mut village = Village::new();
    let page = telling(1);
    let (mut up, mut down) = (Named::empty(), Named::empty());
    for seq in 1..=3 {
        village.take(vec![ours(seq)]);
        let head = begin(&mut village);
        assert_eq!(head.model, down.name);
        if seq > 1 {
            up = read_batch(&head.first, Some(&up)).unwrap().1.unwrap();
        }
        let page = Page { to: [0, seq], ..page.clone() };
        let written = write_page(Some(&down), &page);
        hear(&mut village, &answer(&head, 1, &page, written.bytes));
        down = written.after.unwrap();
    }
    village.take(vec![ours(4)]);
    let head = begin(&mut village);
    assert!(read_batch(&head.first, Some(&up)).is_ok(), "both ends have learnt the same");
    let page = telling(7);
    // The right name, taught something else.
    let wrong = |name: ModelName| {
        let other = write_page(Some(&Named::empty()), &telling(5)).after.unwrap();
        write_page(Some(&Named { name, ..other }), &page).bytes
    };
    let say = |village: &mut Village, bytes: Vec<u8>| {
        let committed = answer(&head, 1, &page, bytes);
        asked(&village.hear(DownBody::Committed(committed)))
    };
    let again = say(&mut village, wrong(down.name));
    assert_eq!((again.codec, again.model), (CODEC_NEWEST, ModelName::empty()));
    assert!(again.delegated && again.first.is_empty() && again.content == head.content);
    village.crash();
    let again = asked(&village.store().round(RoundInput::Retry, NOW_S).unwrap());
    assert_eq!(again.model, ModelName::empty(), "as it asked before the power went");
    let again = say(&mut village, wrong(ModelName::empty()));
    assert_eq!(again.codec, CODEC_PLAIN);
    assert_eq!(village.store().waiting(), 1, "nothing is applied by halves");
    hear(&mut village, &plainly(&head, 1, &page));
    assert_eq!(village.store().ground.round.cursors, [0, 7]);
    assert!(village.shown((PLACE, row(97))).is_some());
}

#[test]
fn a_page_of_impossible_size_is_not_looked_at() {
    let mut village = Village::new();
    let head = begin(&mut village);
    for bytes in [Vec::new(), vec![1; PART_BYTES_MAX + 1]] {
        let committed = answer(&head, 0, &telling(4), bytes);
        let answer = village.hear(DownBody::Committed(committed));
        assert!(!answer.idle && answer.ignored.is_some());
    }
    hear(&mut village, &plainly(&head, 0, &telling(4)));
}
