//! Everything that is decoded from a line, a broker or a file.
use std::sync::LazyLock;

use wadi_protocol::link::envelope;
use wadi_protocol::link::frame::{self, Accumulator, BODY_BYTES_MAX};
use wadi_protocol::link::message::{self as link, Answer, Ask};
use wadi_protocol::wire::batch::{self, Batch};
use wadi_protocol::wire::brief::{self, BRIEF_VERSION};
use wadi_protocol::wire::downlink;
use wadi_protocol::wire::message::{self, Down, Up};

use crate::script::Script;
use crate::{fuzz, memory, sample};

/// Messages of the link.
pub static LINK: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let asks = sample::link::asks().into_iter().map(|(_, ask)| link::encode(&ask));
    let answers = sample::link::answers().into_iter().map(|(_, answer)| link::encode(&answer));
    asks.chain(answers).collect()
});

pub static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let ups = sample::ups().into_iter().map(|(_, up)| message::encode(&up));
    let downs = sample::downs().into_iter().map(|(_, down)| message::encode(&down));
    let briefs = sample::briefs().into_iter().map(|(_, bytes)| bytes);
    ups.chain(downs).chain(briefs).collect()
});

/// A day, and each of its changes alone.
pub static BATCHES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let day = sample::day();
    let alone = day.changes.iter().map(|change| {
        batch::encode(&Batch { runs: day.runs.clone(), changes: vec![change.clone()] })
    });
    std::iter::once(batch::encode(&day)).chain(alone).collect()
});

static PAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    vec![
        downlink::encode(&sample::page()),
        downlink::encode(&downlink::Page { schema: None, ..sample::page() }),
    ]
});

#[test]
fn a_line_gives_only_whole_bodies() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let frames: Vec<Vec<u8>> =
            LINK.iter().map(|body| frame::encode(body).expect("samples fit")).collect();
        let mut accumulator = Accumulator::new();
        let mut bytes = 0;
        while !script.is_over() {
            let piece = script.spoiled(&frames);
            bytes += piece.len() as u64;
            let mut rest = piece.as_slice();
            while let Some(body) = accumulator.next_body(&mut rest) {
                assert!(body.len() <= BODY_BYTES_MAX);
            }
            assert!(rest.is_empty());
        }
        assert!(accumulator.noise().bytes <= bytes);
    });
}

#[test]
fn envelopes_decode_to_what_they_encode() {
    let samples: Vec<Vec<u8>> = sample::link::envelopes()
        .into_iter()
        .map(|(_, envelope)| envelope::encode(&envelope))
        .collect();
    fuzz!(move |input: &[u8]| {
        let bytes = Script(input).spoiled(&samples);
        if let Ok(one) = envelope::decode(&bytes) {
            assert_eq!(envelope::decode(&envelope::encode(&one)), Ok(one));
        }
        let _ = envelope::refusal_of_version_1(&bytes, "update");
    });
}

#[test]
fn messages_of_the_link_decode_to_what_they_encode() {
    fuzz!(|input: &[u8]| {
        let bytes = Script(input).spoiled(&LINK);
        memory::links(&bytes);
        if let Ok(ask) = link::decode::<Ask>(&bytes) {
            assert_eq!(link::decode::<Ask>(&link::encode(&ask)), Ok(ask));
        }
        if let Ok(answer) = link::decode::<Answer>(&bytes) {
            assert_eq!(link::decode::<Answer>(&link::encode(&answer)), Ok(answer));
        }
    });
}

#[test]
fn messages_of_rounds_decode_to_what_they_encode() {
    fuzz!(|input: &[u8]| {
        let bytes = Script(input).spoiled(&MESSAGES);
        memory::messages(&bytes);
        if let Ok(up) = message::decode::<Up>(&bytes) {
            assert_eq!(message::decode::<Up>(&message::encode(&up)), Ok(up));
        }
        if let Ok(down) = message::decode::<Down>(&bytes) {
            assert_eq!(message::decode::<Down>(&message::encode(&down)), Ok(down));
        }
        let brief = [&[BRIEF_VERSION], &bytes[bytes.len().min(1)..]].concat();
        memory::messages(&brief);
        if let Ok(up) = brief::read_up(&brief) {
            assert!(up.changeset.len() < brief.len());
        }
        if let Ok(down) = brief::read_down(&brief) {
            assert!(down.page.len() < brief.len());
        }
    });
}

#[test]
fn batches_decode_to_what_they_encode() {
    fuzz!(|input: &[u8]| {
        let bytes = Script(input).spoiled(&BATCHES);
        memory::batches(&bytes);
        if let Ok(one) = batch::decode(&bytes) {
            let again = batch::encode(&one);
            assert_eq!(batch::decode(&again).as_ref(), Ok(&one));
            assert_eq!(batch::encode(&one), again);
        }
    });
}

#[test]
fn pages_decode_to_what_they_encode() {
    fuzz!(|input: &[u8]| {
        let bytes = Script(input).spoiled(&PAGES);
        memory::pages(&bytes);
        if let Ok(page) = downlink::decode(&bytes) {
            assert_eq!(downlink::decode(&downlink::encode(&page)), Ok(page));
        }
    });
}
