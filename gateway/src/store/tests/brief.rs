//! Rounds in brief: said so when the hub must know the rest, and whole when it does not.
use wadi_protocol::wire::brief::{self, Known};
use wadi_protocol::wire::coded::{CODEC_NEWEST, ModelName};

use super::*;

fn telling(to: u64) -> Page {
    Page { codec: CODEC_NEWEST, ..page(to, vec![]) }
}

/// Open a round; what it says.
fn begin(village: &mut Village) -> Vec<u8> {
    let now_s = village.now_s;
    let answer =
        village.store().round(RoundInput::Begin { delegate: true, urgent: false }, now_s).unwrap();
    let [message] = <[_; 1]>::try_from(answer.messages).expect("one message");
    message
}

fn whole(message: &[u8]) -> Prepare {
    match message::decode::<Up>(message).unwrap().body {
        UpBody::Prepare(head) => head,
        other => panic!("expected Prepare, got {other:?}"),
    }
}

/// What the hub has to know to understand a brief message.
fn known(village: &mut Village) -> Known {
    let hub = village.hub;
    let ground = &village.store().ground;
    let (run, round) = (ground.run, ground.round.clone());
    let schema = ground.schema.as_ref().unwrap().version;
    let (codec, model) = (CODEC_NEWEST, ModelName::empty());
    Known { run, hub, parent: round.chain, cursors: round.cursors, schema, codec, model }
}

/// A village that had a round; the second one, whole and as it was said.
fn second() -> (Village, Prepare, Vec<u8>) {
    let mut village = Village::new();
    let first = begin(&mut village);
    assert!(!brief::is_brief(&first), "the hub knows nothing of a box that just started");
    village.hear(DownBody::Committed(plainly(&whole(&first), 0, &telling(4))));
    village.take(vec![ours(1)]);
    let said = begin(&mut village);
    let content = village.store().ground.round.changeset().unwrap().content;
    let up = brief::read_up(&said).unwrap().whole(&known(&mut village), content);
    let UpBody::Prepare(head) = up.expect("the same is believed").body else { unreachable!() };
    (village, head, said)
}

fn briefly(village: &mut Village, committed: Committed) -> Vec<u8> {
    let (hub, round) = (village.hub, village.store().ground.round.round);
    let body = DownBody::Committed(committed);
    brief::down(&Down { hub, known: hub, round, body }).unwrap()
}

fn hear(village: &mut Village, bytes: Vec<u8>) -> RoundAnswer {
    let now_s = village.now_s;
    village.store().round(RoundInput::Brief(bytes), now_s).unwrap()
}

#[test]
fn a_round_behind_another_is_two_brief_messages() {
    let (mut village, head, said) = second();
    assert!(said.len() < head.first.len() + 10, "{} bytes", said.len());
    let committed = plainly(&head, 1, &telling(6));
    let bytes = briefly(&mut village, committed.clone());
    // A late one says nothing any more, and nothing is asked for that.
    for again in [false, true] {
        let heard = hear(&mut village, bytes.clone());
        assert_eq!((heard.idle, heard.ignored.is_some()), (true, again), "{heard:?}");
        assert!(heard.messages.is_empty());
        let round = village.store().ground.round.clone();
        assert_eq!((round.cursors, round.chain), ([0, 6], committed.chain));
    }
    assert_eq!(village.store().waiting(), 0);
    assert!(brief::is_brief(&begin(&mut village)), "and so on");
}

#[test]
fn what_is_unclear_to_either_is_said_whole() {
    let (mut village, head, _) = second();
    let answered = village.hear(DownBody::Unclear);
    assert_eq!(whole(&answered.messages[0]), head, "with the changeset");
    // The hub answers somebody who stands elsewhere.
    let elsewhere = Prepare { cursors: [9, 9], ..head.clone() };
    let bytes = briefly(&mut village, plainly(&elsewhere, 1, &telling(6)));
    let asked = hear(&mut village, bytes);
    assert_eq!(whole(&asked.messages[0]), Prepare { first: Vec::new(), ..head.clone() });
    village.hear(DownBody::Committed(plainly(&head, 1, &telling(6))));
    assert_eq!(village.store().ground.round.cursors, [0, 6]);
    assert!(village.hear(DownBody::Unclear).ignored.is_some(), "nothing is asked any more");
}

#[test]
fn who_started_anew_asks_whole_and_still_understands() {
    let (mut village, head, _) = second();
    village.crash();
    let now_s = village.now_s;
    let again = village.store().round(RoundInput::Retry, now_s).unwrap();
    assert!(!brief::is_brief(&again.messages[0]));
    let bytes = briefly(&mut village, plainly(&head, 1, &telling(6)));
    assert!(hear(&mut village, bytes).idle);
    assert_eq!(village.store().ground.round.cursors, [0, 6]);
    village.crash();
    assert!(!brief::is_brief(&begin(&mut village)), "another run");
}

#[test]
fn damaged_brief_messages_lead_to_nothing() {
    let (mut village, head, _) = second();
    let bytes = briefly(&mut village, plainly(&head, 1, &telling(6)));
    for at in 1..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 1;
        assert!(!hear(&mut village, spoilt).idle, "byte {at}");
        assert!(!hear(&mut village, bytes[..at].to_vec()).idle, "cut at {at}");
    }
    assert!(hear(&mut village, bytes).idle);
}
