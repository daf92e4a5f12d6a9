//! Delegated rounds: two messages where everything fits, four where it does not, and the
//! hub's answer as often as anybody asks for it.
use wadi_protocol::limits::{
    CHANGESET_CHANGES_MAX, DELEGATED_CHANGES_MAX, MESSAGE_BYTES_MAX, PART_BYTES_MAX, SEQUENCE_MAX,
};
use wadi_protocol::round::gateway::{Changeset, Check, Say, WholePage, Write};
use wadi_protocol::round::hub::{HubRound, Judged, page_head};
use wadi_protocol::wire::coded::CODEC_PLAIN;
use wadi_protocol::wire::message::{
    Attached, Committed, Outcome, Prepare, page_hash, without_page,
};

use super::*;

/// A world without faults whose gateway delegates; the round that is open is small.
fn begun(seed: u64) -> World {
    let mut world = World::new(seed);
    (world.calm, world.delegates) = (true, true);
    world.begin_with(700);
    world
}

/// The hub hears the Prepare until it commits at once: of pages that are larger it tells
/// in the other form. What is on its way back is its answer.
fn decided() -> World {
    (1..50)
        .map(|seed| {
            let mut world = begun(seed);
            let up: Up = message::decode(&world.channel.up.remove(0)).unwrap();
            world.hub_step(&up);
            world
        })
        .find(|world| world.hub.attached.is_some())
        .expect("half of all pages are small")
}

fn asked(world: &World) -> Prepare {
    match message::decode::<Up>(world.channel.up.last().unwrap()).unwrap().body {
        UpBody::Prepare(head) => head,
        other => panic!("{other:?}"),
    }
}

fn answered(world: &World) -> Committed {
    match world.last_answer() {
        DownBody::Committed(committed) => committed,
        other => panic!("{other:?}"),
    }
}

fn hear(world: &mut World, committed: Committed) {
    let (known, round) = (world.gateway.hub, world.gateway.round);
    let body = DownBody::Committed(committed);
    world.gateway_step(Input::Heard(&Down { hub: HUB, known, round, body }));
}

#[test]
fn a_small_round_takes_two_messages() {
    let mut world = decided();
    assert_eq!((world.channel.up.len(), world.channel.down.len()), (0, 1));
    world.gateway_step(Input::Heard(&message::decode(&world.channel.down[0]).unwrap()));
    assert!(world.gateway.is_idle() && world.channel.up.is_empty());
    assert_eq!((world.finished.len(), world.finished[0].1), (1, true));
    assert_eq!(world.gateway.cursors, [1, 0], "they moved");
    assert_eq!(world.gateway.chain, world.hub.chain);
    assert!(world.staged.is_empty(), "of the changeset nothing is kept");
}

#[test]
fn what_does_not_fit_takes_four() {
    // A changeset of two parts is not delegated at all.
    let mut world = World::new(1);
    (world.calm, world.delegates) = (true, true);
    world.begin_with(PART_BYTES_MAX + 1);
    let first: Up = message::decode(&world.channel.up[0]).unwrap();
    assert!(matches!(&first.body, UpBody::Prepare(head) if !head.delegated));
    // Of a large page the hub tells first, and decides when it is asked to.
    let mut large = (1..50).map(begun).find_map(|mut world| {
        let up: Up = message::decode(&world.channel.up.remove(0)).unwrap();
        world.hub_step(&up);
        (world.plain.len() > PART_BYTES_MAX).then_some(world)
    });
    let world = large.as_mut().unwrap();
    assert!(matches!(
        message::decode::<Down>(&world.channel.down[0]).unwrap().body,
        DownBody::Prepared(_)
    ));
    assert!(world.committed.is_empty());
    while !world.gateway.is_idle() {
        world.deliver();
    }
    assert_eq!((world.finished.len(), world.alone), (1, 0));
}

#[test]
fn a_lost_answer_is_told_again_until_the_gateway_goes_on() {
    let mut world = decided();
    let first = world.channel.down.clone();
    let page = world.page.clone();
    for _ in 0..3 {
        world.cut();
        assert!(asked(&world).delegated, "it asks as it began");
        let up: Up = message::decode(&world.channel.up.remove(0)).unwrap();
        world.hub_step(&up);
        assert_eq!(world.channel.down, first, "to the byte");
    }
    // Commit and Abort are answered in the same way.
    for body in [UpBody::Commit, UpBody::Abort] {
        world.hub_step(&Up { run: RUN, hub: RunId::NONE, round: 1, body });
        assert_eq!(answered(&world).page.unwrap().bytes, page);
    }
    world.gateway_step(Input::Heard(&message::decode(&first[0]).unwrap()));
    world.begin_with(0);
    let up: Up = message::decode(world.channel.up.last().unwrap()).unwrap();
    world.hub_step(&up);
    assert_eq!(world.committed.len() + usize::from(world.hub.staged.is_some()), 2);
    // Of the round before only the outcomes are told from now on.
    world.hub.last = Some((1, answered_first(&first)));
    world.hub.attached = None;
    world.hub_step(&Up { run: RUN, hub: RunId::NONE, round: 1, body: UpBody::Abort });
    assert_eq!(answered(&world).page, None);
}

fn answered_first(down: &[Vec<u8>]) -> Committed {
    match message::decode::<Down>(&down[0]).unwrap().body {
        DownBody::Committed(committed) => Committed { page: None, ..committed },
        other => panic!("{other:?}"),
    }
}

#[test]
fn asked_to_abort_the_hub_says_that_it_has_committed() {
    let mut world = decided();
    let body = DownBody::Refused(Refused::Undecodable { reason: "for a test".into() });
    world.gateway_step(Input::Heard(&Down { hub: HUB, known: RunId::NONE, round: 1, body }));
    assert!(matches!(world.gateway.phase, Phase::Aborting { .. }), "it only asks");
    let abort: Up = message::decode(world.channel.up.last().unwrap()).unwrap();
    assert_eq!(abort.body, UpBody::Abort);
    world.channel.down.clear();
    world.hub_step(&abort);
    world.gateway_step(Input::Heard(&message::decode(&world.channel.down[0]).unwrap()));
    assert_eq!((world.finished.len(), world.alone), (1, 1), "with its page");
    assert_eq!(world.gateway.chain, world.hub.chain);
}

#[test]
fn a_page_that_cannot_be_read_is_written_otherwise_though_its_round_is_committed() {
    let mut world = decided();
    let state = world.gateway.clone();
    let down: Down = message::decode(&world.channel.down[0]).unwrap();
    let step = state.step(Input::Heard(&down));
    assert!(step.next.is_answered() && step.writes.is_empty());
    let Some(WholePage::Attached(page)) = step.next.whole_page() else { panic!() };
    assert_eq!(page.bytes[0], 2, "it is written against a model");
    let hash = page.hash;
    let step = step.next.step(Input::Checked(Check::Corrupt));
    assert_eq!(step.writes, [Write::DropPage]);
    world.gateway = step.next;
    world.codec = CODEC_PLAIN;
    world.cut();
    let up: Up = message::decode(&world.channel.up.remove(0)).unwrap();
    world.hub_step(&up);
    let committed = answered(&world);
    let plain = committed.page.clone().unwrap();
    assert_eq!((plain.hash, &plain.bytes), (hash, &world.plain));
    assert_eq!(world.committed.len(), 1, "committed once");
    // The first answer comes once more: it is good as well.
    hear(&mut world, committed);
    assert_eq!(world.finished, [(world.committed[0], true)]);
}

/// Where two copies of a box stand apart, a page is good for one of them: the other ends
/// the round without it, and says so from then on.
#[test]
fn a_page_for_another_box_is_not_applied() {
    let mut world = decided();
    let committed = answered(&world);
    let chain = committed.chain;
    // The hub gives none to who stands elsewhere, and does not write it anew for that one.
    let mut up: Up = {
        world.cut();
        message::decode(&world.channel.up.remove(0)).unwrap()
    };
    let UpBody::Prepare(head) = &mut up.body else { panic!() };
    (head.cursors, head.codec) = ([9, 9], CODEC_PLAIN);
    let kept = world.hub.attached.clone();
    world.hub_step(&up);
    assert_eq!((answered(&world).page, &world.hub.attached), (None, &kept));
    // And what is overheard is known by its hash.
    let plain = world.plain.clone();
    let hash = page_hash((world.gateway.chain, [9, 9]), &plain);
    let other = Committed { page: Some(Attached { hash, bytes: plain }), ..committed };
    let (known, round) = (RunId::NONE, 1);
    let down = Down { hub: HUB, known, round, body: DownBody::Committed(other) };
    let step = world.gateway.clone().step(Input::Heard(&down));
    let step = step.next.step(Input::Checked(Check::Corrupt));
    let [Write::Finish { paged: false, .. }] = &step.writes[..] else { panic!("{step:?}") };
    assert_eq!((step.next.cursors, step.next.chain), ([0, 0], without_page(chain)));
    assert!(step.next.is_idle());
}

#[test]
fn a_page_that_no_hub_would_attach_is_ignored() {
    let mut world = decided();
    let committed = answered(&world);
    for bytes in [vec![], vec![1; PART_BYTES_MAX + 1]] {
        let page = Some(Attached { hash: Hash::default(), bytes });
        hear(&mut world, Committed { page, ..committed.clone() });
        assert!(matches!(world.gateway.phase, Phase::Preparing { .. }));
    }
    hear(&mut world, committed);
    assert!(world.gateway.is_idle());
}

/// Whatever became of the changes, the answer and its page are one message; where there
/// are too many for that, the hub says Prepared first.
#[test]
fn the_answer_fits_one_message() {
    for (count, alone) in [(DELEGATED_CHANGES_MAX, true), (CHANGESET_CHANGES_MAX, false)] {
        let mut world = decided();
        world.hub = HubRound::new();
        let mut up: Up = {
            world.cut();
            message::decode(&world.channel.up.remove(0)).unwrap()
        };
        let UpBody::Prepare(head) = &mut up.body else { panic!() };
        head.first.clone_from(&world.body);
        let stand = head.stand();
        let (step, _) = world.hub.clone().hear(&up);
        let bytes = vec![1; PART_BYTES_MAX];
        let page = page_head(stand, &bytes, &bytes);
        let plain_bytes = bytes.len();
        let judged = Judged { page, plain_bytes, changes: count };
        let (step, todo) = step.next.judged(Ok(judged));
        assert_eq!(todo.is_some(), alone);
        if alone {
            let outcomes =
                (0..count as u64).map(|at| (1, Outcome::Known { seq: SEQUENCE_MAX - at }));
            let step = step.next.decided(RunId(1), outcomes.collect(), true);
            let says = step.next.clone();
            let said = says.message(&step.committed()[0], &up, HUB, &bytes);
            let bytes = message::encode(&said).len();
            assert!(bytes + 64 < MESSAGE_BYTES_MAX, "{bytes} bytes, and its tag");
        }
    }
}

/// Only the size of what is to be sent says whether the hub may decide.
#[test]
fn a_round_keeps_its_form_whatever_it_is_written_like() {
    let changeset = Changeset {
        content: Hash::default(),
        bytes: 9,
        changes: 1,
        schema: 1,
        returned: None,
        delegated: true,
    };
    let step = GatewayRound::new().step(Input::Begin(changeset));
    let delegated = |state: &GatewayRound, bytes: usize| {
        let say = Say::Prepare { first: true };
        match state.message(&say, RUN, &vec![0; bytes]).body {
            UpBody::Prepare(head) => head.delegated,
            other => panic!("{other:?}"),
        }
    };
    assert!(delegated(&step.next, 9));
    let large = step.next.step(Input::Recoded(Some(5_000)));
    assert!(!delegated(&large.next, 5_000), "written anew it does not fit any more");
    let small = large.next.step(Input::Recoded(Some(12)));
    assert!(delegated(&small.next, 12));
}
