//! Both ends of the round against each other over a channel that loses, doubles,
//! reorders and delays, with crashes between commit and send, from one seed.
mod alone;
mod channel;
mod lineage;
mod world;

use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::round::gateway::{GatewayRound, Input, Phase};
use wadi_protocol::wire::message::{self, Down, DownBody, Refused, Up, UpBody};

use world::{HUB, RUN, World};

#[test]
fn every_round_commits_exactly_once_over_a_bad_channel() {
    let mut alone = 0;
    for seed in 1..=200 {
        let mut world = World::new(seed);
        world.delegates = seed % 4 > 0;
        for step in 0..1500 {
            world.calm = step > 1000;
            if world.gateway.is_idle() && step < 1000 {
                world.begin();
            } else if world.dice.roll(10) == 0 {
                world.gateway_step(Input::Retry);
            } else {
                world.deliver();
            }
        }
        assert!(world.gateway.is_idle(), "seed {seed}: drained when the faults stop");
        assert!(world.finished.len() > 3, "seed {seed}: made progress");
        let finished: Vec<Hash> = world.finished.iter().map(|(content, _)| *content).collect();
        assert_eq!(world.committed, finished, "seed {seed}: the same rounds, once, in order");
        assert_eq!(world.gateway.chain, world.hub.chain, "seed {seed}");
        assert!(world.finished.iter().all(|(_, paged)| *paged), "seed {seed}");
        alone += world.alone;
    }
    assert!(alone > 500, "{alone} rounds of two messages");
}

/// A link that bears a few messages at a time: what is on its way is lost with it, what
/// is staged at the other end never travels again.
#[test]
fn a_staged_part_never_travels_again() {
    let (mut cuts, mut parts) = (0, 0);
    for seed in 1..=20 {
        let mut world = World::new(seed);
        world.calm = true;
        for _ in 0..8 {
            world.begin();
            parts += world.check_parts();
            while !world.gateway.is_idle() {
                for _ in 0..6 + world.dice.roll(8) {
                    world.deliver();
                    parts += world.check_parts();
                }
                if !world.gateway.is_idle() {
                    cuts += 1;
                    world.cut();
                }
            }
        }
        assert_eq!(world.finished.len(), 8, "seed {seed}");
    }
    assert!(cuts > 200 && parts > 2_000, "{cuts} cuts, {parts} parts");
}

#[test]
fn no_late_message_revives_a_round() {
    let mut world = World::new(1);
    world.calm = true;
    world.begin();
    let late = world.channel.up.clone();
    while !world.gateway.is_idle() {
        world.deliver();
    }
    for bytes in late {
        world.hub_step(&message::decode(&bytes).unwrap());
    }
    assert_eq!(world.committed.len(), 1);
    assert!(world.hub.staged.is_none());
    assert!(matches!(world.last_answer(), DownBody::Committed(_)), "the last round is told again");
}

#[test]
fn an_aborted_round_stays_aborted() {
    let mut world = World::new(3);
    world.calm = true;
    world.begin();
    let prepare = world.channel.up.clone();
    world.hub_step(&Up { run: RUN, hub: RunId::NONE, round: 1, body: UpBody::Abort });
    for bytes in prepare {
        world.hub_step(&message::decode(&bytes).unwrap());
    }
    assert!(world.hub.staged.is_none() && world.committed.is_empty());
    assert_eq!(world.last_answer(), DownBody::Refused(Refused::BelowFloor { floor: 2 }));
}

#[test]
fn why_a_round_was_aborted_stays_known() {
    let mut world = World::new(6);
    world.calm = true;
    world.begin();
    let refused = Refused::Undecodable { reason: "no schema".into() };
    let answer = |body| Down { hub: HUB, known: RunId::NONE, round: 1, body };
    world.gateway_step(Input::Heard(&answer(DownBody::Refused(refused.clone()))));
    assert!(matches!(world.gateway.phase, Phase::Aborting { .. }));
    world.gateway_step(Input::Heard(&answer(DownBody::Aborted { floor: 2 })));
    assert!(world.gateway.is_idle());
    assert_eq!(world.gateway.refused, Some(refused), "or the worker would begin again at once");
    world.finish_round();
    assert_eq!(world.gateway.refused, None);
}

#[test]
fn a_number_that_is_used_up_is_no_refusal_to_go_on() {
    let mut world = World::new(7);
    world.calm = true;
    world.begin();
    let below = |floor| {
        let body = DownBody::Refused(Refused::BelowFloor { floor });
        Down { hub: HUB, known: RunId::NONE, round: 1, body }
    };
    world.gateway_step(Input::Heard(&below(5)));
    assert_eq!((world.gateway.round, world.gateway.is_idle()), (5, true));
    assert_eq!(world.gateway.refused, None);
    // But a hub that names a floor which is none makes no loop.
    world.begin();
    world.gateway_step(Input::Heard(&Down { round: 5, ..below(5) }));
    assert_eq!(world.gateway.refused, Some(Refused::BelowFloor { floor: 5 }));
}

#[test]
fn a_restored_gateway_is_recognised_by_its_parent() {
    let mut world = World::new(4);
    world.calm = true;
    let before = world.gateway.clone();
    world.finish_round();
    world.gateway = GatewayRound { round: 2, ..before };
    world.begin();
    let up: Up = message::decode(&world.channel.up.remove(0)).unwrap();
    world.hub_step(&up);
    assert_eq!(world.last_answer(), DownBody::Refused(Refused::OtherParent));
}

#[test]
fn hostile_stretches_and_rounds_are_harmless() {
    let mut world = World::new(5);
    world.calm = true;
    world.begin();
    let body = DownBody::Staged { missing: vec![(0, u16::MAX); 3000] };
    world.gateway_step(Input::Heard(&Down { hub: HUB, known: RunId::NONE, round: 1, body }));
    for _ in 0..2 {
        world.hub_step(&Up { run: RUN, hub: RunId::NONE, round: u64::MAX, body: UpBody::Abort });
    }
    assert_eq!(world.hub.floor, u64::MAX);
}
