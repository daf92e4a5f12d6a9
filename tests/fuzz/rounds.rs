//! Both ends of the round, told anything in any order.
use serde::de::DeserializeOwned;
use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::round::gateway::{Changeset, Check, GatewayRound, Input};
use wadi_protocol::round::hub::{HubRound, Judged, Todo, Unread, page_head};
use wadi_protocol::wire::message::{
    self, Committed, Down, DownBody, Outcome, Refused, Up, UpBody, chain,
};

use crate::fuzz;
use crate::sample::{self, HUB, RUN};
use crate::script::Script;

/// Bytes of the page that a hub answers with, in the making of its head.
const PAGE: &[u8] = &[7; 9_000];
/// One that goes along with an answer.
const SMALL: &[u8] = &[7; 900];

/// A sample with faults, or none.
fn spoiled<M: DeserializeOwned>(script: &mut Script<'_>, samples: &[Vec<u8>]) -> Option<M> {
    message::decode(&script.spoiled(samples)).ok()
}

#[test]
fn the_hubs_end_takes_any_message() {
    let samples: Vec<Vec<u8>> =
        sample::ups().into_iter().map(|(_, up)| message::encode(&up)).collect();
    fuzz!(move |input: &[u8]| {
        let mut script = Script(input);
        let mut hub = HubRound::new();
        let mut page = PAGE;
        while !script.is_over() {
            let Some(mut up) = spoiled::<Up>(&mut script, &samples) else { continue };
            if script.byte() % 4 != 0 {
                up.round = hub.floor.saturating_add(u64::from(script.byte() % 2));
            }
            if let UpBody::Prepare(head) = &mut up.body
                && script.byte() % 4 != 0
            {
                head.parent = hub.chain;
            }
            let floor = hub.floor;
            let (mut step, mut todo) = hub.hear(&up);
            while let Some(next) = todo {
                let hub = step.next;
                (step, todo) = match next {
                    Todo::Judge if script.byte() % 4 == 0 => {
                        let reason = "much".into();
                        hub.judged(Err(Unread::Refused(Refused::TooLarge { reason })))
                    }
                    Todo::Judge => {
                        let head = &hub.staged.as_ref().expect("what is judged").head;
                        page = if script.byte() % 2 == 0 { PAGE } else { SMALL };
                        let told = page_head(head.stand(), page, page);
                        let judged = Judged { page: told, plain_bytes: page.len(), changes: 1 };
                        hub.judged(Ok(judged))
                    }
                    Todo::Commit => {
                        (hub.decided(RunId(1), vec![(1, Outcome::Parked)], false), None)
                    }
                    Todo::Rewrite => {
                        let stand = hub.attached.as_ref().expect("what is written anew").stand;
                        page = &SMALL[..700];
                        (hub.rewritten(page_head(stand, SMALL, page)), None)
                    }
                };
            }
            hub = step.next.clone();
            assert!(hub.floor >= floor, "a floor never sinks");
            for say in step.committed() {
                message::encode(&hub.message(&say, &up, HUB, page));
            }
        }
    });
}

#[test]
fn the_gateways_end_takes_any_message() {
    let samples: Vec<Vec<u8>> =
        sample::downs().into_iter().map(|(_, down)| message::encode(&down)).collect();
    fuzz!(move |input: &[u8]| {
        let mut script = Script(input);
        let mut gateway = GatewayRound::new();
        let mut body = Vec::new();
        while !script.is_over() {
            let before = gateway.clone();
            let step = match script.byte() % 8 {
                0 if gateway.is_idle() => {
                    body = vec![9; *script.pick(&[0, 5_000, 9_000])];
                    gateway.step(Input::Begin(Changeset {
                        content: sample::hash("content"),
                        bytes: body.len() as u32,
                        changes: u32::from(script.byte() % 4),
                        schema: 3,
                        returned: None,
                        delegated: script.byte() % 4 > 0,
                    }))
                }
                // An answer is checked before anything else.
                byte if gateway.is_answered() || (byte == 1 && gateway.whole_page().is_some()) => {
                    gateway.step(Input::Checked(*script.pick(&[
                        Check::Good([5, 6]),
                        Check::Corrupt,
                        Check::Unusable,
                    ])))
                }
                2 => gateway.step(Input::Retry),
                _ => {
                    let Some(mut down) = spoiled::<Down>(&mut script, &samples) else { continue };
                    likely(&mut script, &gateway, &mut down);
                    gateway.step(Input::Heard(&down))
                }
            };
            gateway = step.next.clone();
            assert!(gateway.round >= before.round, "a round never comes again");
            for say in step.committed() {
                message::encode(&gateway.message(&say, RUN, &body));
            }
        }
    });
}

/// Make a message one that the machine may believe.
fn likely(script: &mut Script<'_>, gateway: &GatewayRound, down: &mut Down) {
    if script.byte().is_multiple_of(8) {
        return;
    }
    down.round = gateway.round;
    down.known = gateway.hub;
    if let DownBody::Aborted { floor } = &mut down.body {
        *floor = script.number();
    }
    if let DownBody::Committed(committed) = &mut down.body {
        let count = u32::from(script.byte() % 4);
        let outcomes = vec![(count, Outcome::Applied { seq: script.number() })];
        let content: Hash = sample::hash("content");
        *committed = Committed {
            chain: chain(gateway.chain, content, &outcomes),
            outcomes,
            ..committed.clone()
        };
    }
}
