//! Situations of the seal: two real ends, and a line between them that does what
//! the test says.
use std::sync::Arc;

use wadi_protocol::link::collector::{Failure, Phase, Timing};
use wadi_protocol::link::envelope::{self, Content, Envelope, MESSAGE_BYTES_MAX};
use wadi_protocol::link::frame::Accumulator;

use super::answerer::{Answerer, Heard};
use super::caller::{Caller, Step};
use super::key::KeyPair;

const SESSION: u32 = 0x5e55;

fn keys(seed: u8) -> Arc<KeyPair> {
    Arc::new(KeyPair::of([seed; 32]))
}

fn caller(session: u32) -> Caller {
    Caller::new(&keys(1), session, Timing::lan())
}

fn answerer() -> Answerer {
    Answerer::new(keys(2))
}

fn bodies(line: &[u8]) -> Vec<Vec<u8>> {
    let (mut accumulator, mut input) = (Accumulator::new(), line);
    std::iter::from_fn(|| accumulator.next_body(&mut input)).collect()
}

/// What the caller wants to send now, as bodies.
fn step(caller: &mut Caller, now_ms: u64) -> Vec<Vec<u8>> {
    match caller.step(now_ms) {
        Step::Send(line) => bodies(&line),
        other => panic!("{other:?}"),
    }
}

fn reply(heard: Heard) -> Vec<u8> {
    match heard {
        Heard::Reply(body) => body,
        other => panic!("{other:?}"),
    }
}

/// The two parts of a first message: the third of the handshake, and the sealed one.
fn say(caller: &mut Caller, message: &[u8]) -> Vec<Vec<u8>> {
    bodies(&caller.seal(message, true).unwrap())
}

/// Both ends of an open session that has been confirmed.
fn open() -> (Caller, Answerer) {
    let (mut caller, mut answerer) = (caller(SESSION), answerer());
    greet(&mut caller, &mut answerer);
    for body in say(&mut caller, b"hello") {
        answerer.hear(&body);
    }
    let welcome = answerer.seal(b"welcome").unwrap();
    assert_eq!(caller.hear(&welcome, 1).as_deref(), Some(&b"welcome"[..]));
    (caller, answerer)
}

/// As far as the caller's side being open.
fn greet(caller: &mut Caller, answerer: &mut Answerer) {
    let first = step(caller, 0).remove(0);
    let second = reply(answerer.hear(&first));
    assert_eq!(caller.hear(&second, 1), None);
    assert_eq!(caller.step(1), Step::Open(keys(2).public()));
}

fn start_over(session: u32) -> Heard {
    let content = Content::StartOver;
    Heard::Reply(envelope::encode(&Envelope { session, content }))
}

#[test]
fn each_end_learns_the_others_key_and_nothing_is_readable_between() {
    let (mut caller, mut answerer) = (caller(SESSION), answerer());
    greet(&mut caller, &mut answerer);
    let sent = say(&mut caller, b"the patient's name");
    assert_eq!(answerer.hear(&sent[0]), Heard::Opened(keys(1).public()));
    assert_eq!(answerer.hear(&sent[1]), Heard::Message(b"the patient's name".to_vec()));
    for body in sent {
        assert!(!body.windows(7).any(|piece| piece == b"patient"));
        assert!(!body.windows(32).any(|piece| piece == keys(1).public().0), "nor who it is");
    }
    let answer = answerer.seal(b"taken").unwrap();
    assert_eq!(caller.hear(&answer, 2).as_deref(), Some(&b"taken"[..]));
    assert_eq!(say(&mut caller, b"next").len(), 1, "the third is not sent once it was answered");
}

#[test]
fn every_frame_of_the_handshake_may_be_lost_or_doubled() {
    for lost in 0..4 {
        let (mut caller, mut answerer) = (caller(SESSION), answerer());
        let mut now_ms = 0;
        let first = step(&mut caller, now_ms).remove(0);
        let mut second = reply(answerer.hear(&first));
        if lost < 2 {
            // The first or the second did not arrive: the first is said again.
            assert!(matches!(caller.step(now_ms), Step::Wait { .. }));
            now_ms += 10_000;
            let again = step(&mut caller, now_ms).remove(0);
            assert_eq!(again, first);
            if lost == 0 {
                answerer = super::tests::answerer();
            }
            second = reply(answerer.hear(&again));
        }
        assert_eq!(answerer.hear(&first), Heard::Reply(second.clone()), "doubled");
        caller.hear(&second, now_ms);
        caller.hear(&second, now_ms);
        let mut sent = say(&mut caller, b"hello");
        if lost == 2 {
            let early = answerer.hear(&sent[1]);
            assert!(matches!(early, Heard::Nothing(_)), "without its third: {early:?}");
        }
        if lost == 3 {
            assert!(matches!(answerer.hear(&sent[0]), Heard::Opened(_)));
        }
        if lost >= 2 {
            sent = say(&mut caller, b"hello");
        }
        for body in &sent {
            answerer.hear(body);
        }
        for body in [&first, &sent[0], &sent[1]] {
            assert!(matches!(answerer.hear(body), Heard::Nothing(_)), "{lost}: doubled");
        }
        let answer = answerer.seal(b"welcome").unwrap();
        assert_eq!(caller.hear(&answer, now_ms).as_deref(), Some(&b"welcome"[..]), "{lost}");
        assert_eq!(caller.hear(&answer, now_ms), None, "doubled");
    }
}

#[test]
fn messages_may_be_lost_but_come_once_and_in_order() {
    let (mut caller, mut answerer) = open();
    let sent: Vec<_> = (0..6u8).map(|at| say(&mut caller, &[at]).remove(0)).collect();
    // 0, 1 lost, 3, 2 late, 3 doubled, 5, then all of them recorded and played again.
    let heard: Vec<_> = [0, 3, 2, 3, 5, 0, 1, 2, 3, 4, 5]
        .into_iter()
        .filter_map(|at: usize| match answerer.hear(&sent[at]) {
            Heard::Message(message) => Some(message[0]),
            Heard::Nothing(_) => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(heard, [0, 3, 5]);
    let answers: Vec<_> = (0..3u8).map(|at| answerer.seal(&[at]).unwrap()).collect();
    let heard: Vec<_> =
        [1, 0, 1, 2].into_iter().filter_map(|at: usize| caller.hear(&answers[at], 9)).collect();
    assert_eq!(heard, [[1], [2]]);
}

#[test]
fn a_question_said_again_is_sealed_again_under_another_counter() {
    let (mut caller, mut answerer) = open();
    let (one, again) = (say(&mut caller, b"pull"), say(&mut caller, b"pull"));
    let counter = |body: &[u8]| match envelope::decode(body).unwrap().content {
        Content::Sealed { counter, .. } => counter,
        other => panic!("{other:?}"),
    };
    assert!(counter(&one[0]) < counter(&again[0]));
    assert_ne!(one[0][10..], again[0][10..]);
    assert_eq!(answerer.hear(&again[0]), Heard::Message(b"pull".to_vec()));
}

#[test]
fn no_byte_of_a_sealed_message_can_be_changed() {
    let (mut caller, mut answerer) = open();
    let sent = say(&mut caller, b"stock 10").remove(0);
    for at in 0..sent.len() {
        let mut altered = sent.clone();
        altered[at] ^= 0x04;
        let heard = answerer.hear(&altered);
        assert!(!matches!(heard, Heard::Message(_) | Heard::Opened(_)), "byte {at}: {heard:?}");
        let answer = answerer.seal(b"10").unwrap();
        let mut altered = answer;
        let at = at % altered.len();
        altered[at] ^= 0x04;
        assert_eq!(caller.hear(&altered, 1), None, "byte {at}");
    }
    assert_eq!(answerer.hear(&sent), Heard::Message(b"stock 10".to_vec()), "none of it did harm");
}

#[test]
fn no_byte_of_the_handshake_can_be_changed() {
    let (mut honest, mut gateway) = (caller(SESSION), answerer());
    let first = step(&mut honest, 0).remove(0);
    let second = reply(gateway.hear(&first));
    for at in 0..second.len() {
        let mut altered = second.clone();
        altered[at] ^= 0x10;
        assert_eq!(honest.hear(&altered, 1), None);
        assert!(matches!(honest.step(1), Step::Wait { .. }), "byte {at} was believed");
    }
    honest.hear(&second, 1);
    assert_eq!(honest.step(1), Step::Open(keys(2).public()), "the true one still counts");
    let third = say(&mut honest, b"hello").remove(0);
    for at in 6..third.len() {
        // Each needs a gateway of its own: one that heard a false third starts over.
        let (mut honest, mut gateway) = (caller(SESSION), answerer());
        greet(&mut honest, &mut gateway);
        let mut sent = say(&mut honest, b"hello");
        sent[0][at] ^= 0x10;
        assert_eq!(gateway.hear(&sent[0]), start_over(SESSION), "byte {at}");
        assert_eq!(gateway.hear(&sent[1]), start_over(SESSION));
        assert!(gateway.seal(b"x").is_none());
    }
    // A first message altered on its way gives a session in which nobody hears the other.
    for at in 6..first.len() {
        let (mut honest, mut gateway) = (caller(SESSION), answerer());
        let mut altered = step(&mut honest, 0).remove(0);
        altered[at] ^= 0x10;
        if let Heard::Reply(second) = gateway.hear(&altered) {
            honest.hear(&second, 1);
            assert!(matches!(honest.step(1), Step::Wait { .. }), "byte {at}");
        }
    }
}

#[test]
fn a_gateway_that_was_started_anew_says_start_over_and_the_handheld_does() {
    let (mut old, _) = open();
    let mut gateway = answerer();
    let sent = say(&mut old, b"pull").remove(0);
    let said = gateway.hear(&sent);
    assert_eq!(said, start_over(SESSION));
    old.hear(&reply(said), 5);
    assert_eq!(old.step(5), Step::Failed(Failure::Forgotten));
    // Said to another session, it means nothing.
    let mut other = caller(SESSION + 1);
    other.hear(&reply(start_over(SESSION)), 5);
    assert!(matches!(other.step(5), Step::Send(_)));
    assert_eq!(other.ignored(), 1);
}

#[test]
fn a_recorded_session_opens_nothing_and_ends_nothing() {
    let (mut first_time, mut gateway) = (caller(SESSION), answerer());
    let mut tape = step(&mut first_time, 0);
    let second = reply(gateway.hear(&tape[0]));
    first_time.hear(&second, 1);
    tape.extend(say(&mut first_time, b"offer"));
    // Played to a gateway that was started anew: it draws another e.
    let mut gateway = answerer();
    assert!(matches!(gateway.hear(&tape[0]), Heard::Reply(_)));
    assert_eq!(gateway.hear(&tape[1]), start_over(SESSION));
    assert_eq!(gateway.hear(&tape[2]), start_over(SESSION));
    // Played into the line of another session, which goes on.
    let (mut honest, mut gateway) = {
        let (mut caller, mut answerer) = (caller(SESSION + 1), answerer());
        greet(&mut caller, &mut answerer);
        say(&mut caller, b"hello").iter().for_each(|body| drop(answerer.hear(body)));
        (caller, answerer)
    };
    for body in &tape {
        let heard = gateway.hear(body);
        assert!(!matches!(heard, Heard::Opened(_) | Heard::Message(_)), "{heard:?}");
    }
    let sent = say(&mut honest, b"pull").pop().unwrap();
    assert_eq!(gateway.hear(&sent), Heard::Message(b"pull".to_vec()));
}

#[test]
fn whoever_lacks_the_key_cannot_be_its_holder() {
    // A man in the middle shows each end his own key: the handheld sees another gateway.
    let (mut honest, mut middle) = (caller(SESSION), Answerer::new(keys(9)));
    let first = step(&mut honest, 0).remove(0);
    honest.hear(&reply(middle.hear(&first)), 1);
    assert_eq!(honest.step(1), Step::Open(keys(9).public()));
    // And what the true session sealed does not open in another of the same number.
    let (mut one, _) = open();
    let (_, mut other) = open();
    let sent = say(&mut one, b"x").remove(0);
    assert!(matches!(other.hear(&sent), Heard::Nothing(_)));
}

#[test]
fn a_message_of_two_pieces_cannot_lose_or_swap_one() {
    let (mut caller, mut answerer) = open();
    for length in [0, 1, 65_518, 65_519, 65_520, MESSAGE_BYTES_MAX] {
        let message: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let sent = say(&mut caller, &message).remove(0);
        for cut in [10 + 65_535, sent.len() - 1, 10 + 15, 10] {
            if cut < sent.len() {
                assert!(matches!(answerer.hear(&sent[..cut]), Heard::Nothing(_)), "{length} {cut}");
            }
        }
        assert_eq!(answerer.hear(&sent), Heard::Message(message.clone()), "{length}");
        let answer = answerer.seal(&message).unwrap();
        assert_eq!(caller.hear(&answer, 1), Some(message));
    }
}

#[test]
fn nobody_there_is_silence_and_a_busy_gateway_is_asked_again_but_not_for_ever() {
    let mut lonely = caller(SESSION);
    let mut now_ms = 0;
    let failure = loop {
        match lonely.step(now_ms) {
            Step::Send(_) => {}
            Step::Wait { until_ms } => now_ms = until_ms,
            Step::Failed(failure) => break failure,
            Step::Open(_) => panic!(),
        }
    };
    assert_eq!(failure, Failure::Silent { phase: Phase::Hello, tries: 4 });
    let mut turned_away = caller(SESSION);
    let content = Content::Busy { retry_ms: 2_000, reason: "full" };
    let busy = envelope::encode(&Envelope { session: SESSION, content });
    let (mut now_ms, mut calls) = (0, 0);
    let failure = loop {
        match turned_away.step(now_ms) {
            Step::Send(_) => {
                calls += 1;
                turned_away.hear(&busy, now_ms);
            }
            Step::Wait { until_ms } => now_ms = until_ms,
            Step::Failed(failure) => break failure,
            Step::Open(_) => panic!(),
        }
    };
    assert_eq!(failure, Failure::Busy { reason: "full".into() });
    assert!((5..15).contains(&calls) && now_ms <= 20_000, "{calls} calls in {now_ms} ms");
}

#[test]
fn an_old_handheld_hears_a_refusal_that_it_can_read() {
    let hello = b"\x01\xac\x02\x00\x01\x05tab-1\x03\x02\xac\x02";
    let said = reply(answerer().hear(hello));
    // Version 1: postcard of the number, of Refused (4), of the reason's length.
    assert_eq!(said[..4], [1, 0xac, 2, 4]);
    assert!(said.ends_with(b"update wadi-handheld"));
    assert!(matches!(answerer().hear(&[9, 9, 9]), Heard::Unreadable(_)));
}

#[test]
fn hostile_bodies_never_panic_nor_open_anything() {
    let mut dice = 0x5eed_u64;
    let mut roll = move || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) as u8
    };
    let (mut caller, mut gateway) = open();
    for length in 0..2_000usize {
        let mut body: Vec<u8> = (0..length % 130).map(|_| roll()).collect();
        if let [version, kind, session @ ..] = body.as_mut_slice() {
            (*version, *kind) = (envelope::LINK_VERSION, *kind % 8);
            if let Some(first) = session.first_chunk_mut()
                && length % 3 > 0
            {
                *first = (SESSION + (length as u32 % 3) - 1).to_le_bytes();
            }
        }
        let heard = gateway.hear(&body);
        assert!(!matches!(heard, Heard::Opened(_) | Heard::Message(_)), "{body:?}: {heard:?}");
        // Only a plain start over may end the handheld's call, and then it calls again.
        let told = matches!(
            envelope::decode(&body),
            Ok(Envelope { session: SESSION, content: Content::StartOver })
        );
        if !told {
            assert_eq!(caller.hear(&body, 1), None);
        }
    }
    assert_eq!(caller.failed(), None);
    let sent = say(&mut caller, b"still here").remove(0);
    assert_eq!(gateway.hear(&sent), Heard::Message(b"still here".to_vec()));
}
