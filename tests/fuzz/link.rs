//! Both ends of the link, told anything in any order.
use wadi_protocol::link::collector::{Collector, Opening, Phase, Supplied, Timing, Turn};
use wadi_protocol::link::envelope::MESSAGE_BYTES_MAX;
use wadi_protocol::link::message::{self, Answer, Ask, FeedCursor};
use wadi_protocol::link::station::{Question, Reaction, Station, bytes_of};

use crate::decoders::{BATCHES, LINK};
use crate::fuzz;
use crate::sample::{HANDHELD, RUN};
use crate::script::Script;

/// Turns that a collector may take without anything heard.
const TURNS_MAX: usize = 64;

#[test]
fn a_station_answers_whatever_it_hears() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let mut station = Station::new();
        while !script.is_over() {
            let mut body = script.spoiled(&LINK);
            // Some offers carry a batch.
            if let Ok(mut ask) = message::decode::<Ask>(&body)
                && let message::AskBody::Offer { batch } = &mut ask.body
            {
                *batch = script.spoiled(&BATCHES);
                body = message::encode(&ask);
            }
            match station.hear(&body) {
                Reaction::Answer(answer) => {
                    assert!(bytes_of(answer).len() <= MESSAGE_BYTES_MAX);
                }
                Reaction::Store(_, Question::Fates(spans)) => {
                    assert!(spans.iter().all(|(_, _, first, last)| first <= last));
                }
                Reaction::Store(..) | Reaction::Stale(_) | Reaction::Unreadable(_) => {}
            }
        }
    });
}

#[test]
fn a_collector_comes_to_an_end_whatever_it_hears() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let feed = FeedCursor { run: RUN, seq: 7 };
        let opening = Opening { device: HANDHELD, label: "drv-2".into(), schema: 2, feed };
        let mut collector = Collector::new(opening, Timing::lan(), script.number() as u32);
        let (mut now_ms, mut number, mut idle) = (0u64, 0, 0);
        while idle < TURNS_MAX {
            idle += usize::from(script.is_over());
            match collector.turn(now_ms) {
                Turn::Send { bytes, .. } => {
                    number = message::decode::<Ask>(&bytes).expect("a question").number;
                }
                Turn::Wait { until_ms } => {
                    assert!(until_ms > now_ms);
                    match script.byte() % 3 {
                        0 => now_ms = until_ms,
                        1 => collector.stirred(now_ms),
                        _ => hear(&mut collector, &mut script, number, now_ms),
                    }
                    if script.is_over() {
                        now_ms = until_ms;
                    }
                }
                Turn::Heard(_) => {}
                Turn::Supply(phase) => supply(&mut collector, &mut script, phase),
                Turn::Done | Turn::Failed(_) => return,
            }
        }
        panic!("nothing is heard any more, and it goes on: {collector:?}");
    });
}

fn hear(collector: &mut Collector, script: &mut Script<'_>, number: u32, now_ms: u64) {
    let mut body = script.spoiled(&LINK);
    if let Ok(mut answer) = message::decode::<Answer>(&body)
        && !script.byte().is_multiple_of(8)
    {
        answer.number = number;
        body = message::encode(&answer);
    }
    collector.hear(&body, now_ms);
}

fn supply(collector: &mut Collector, script: &mut Script<'_>, phase: Phase) {
    let more = !script.is_over() && script.byte().is_multiple_of(2);
    let next = match phase {
        Phase::Offers if more => Supplied::Offer(script.spoiled(&BATCHES)),
        Phase::Fates if more => Supplied::Fates(vec![(HANDHELD, RUN, 1, script.number())]),
        Phase::Pulls => Supplied::Pull(FeedCursor { run: RUN, seq: script.number() }),
        _ => Supplied::Nothing,
    };
    collector.supply(next).expect("samples fit a frame");
}
