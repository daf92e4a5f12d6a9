//! Delegated rounds at the hub: two messages where all fits, and the answer as often as it
//! is asked for, with its page, until the gateway goes on.
use wadi_protocol::change::Op;
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::wire::coded::{CODEC_NEWEST, CODEC_PLAIN, ModelName, Writing, writing};
use wadi_protocol::wire::message::{Committed, Down, DownBody, Outcome, Prepare, Up, UpBody};

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, World, row, text};

/// A world whose second site delegates, with something to send and something to fetch.
fn begun() -> (World, Device) {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    world.sites[1].delegates = true;
    world.enter(0, &mut ben, Op::Insert, (HOUSE, row(1)), &[(1, text("theirs"))], 100);
    world.sites[0].settle(&mut world.hub);
    world.enter(1, &mut anna, Op::Insert, (HOUSE, row(2)), &[(1, text("ours"))], 100);
    (world, anna)
}

fn say(world: &mut World, up: &Up) -> Vec<Down> {
    world.hub.hear(world.sites[1].number, up, NOW_S).unwrap()
}

/// The second site's Prepare, asked again: the head alone, and maybe otherwise.
fn again(world: &World, other: impl Fn(&mut Prepare)) -> Up {
    let mut up = world.sites[1].prepare_whole();
    let UpBody::Prepare(head) = &mut up.body else { panic!("{up:?}") };
    head.first.clear();
    other(head);
    up
}

fn committed(answers: &[Down]) -> &Committed {
    match answers {
        [Down { body: DownBody::Committed(committed), .. }] => committed,
        other => panic!("expected Committed, got {other:?}"),
    }
}

fn page_of(answers: &[Down]) -> &[u8] {
    &committed(answers).page.as_ref().expect("a page").bytes
}

fn count(world: &World, sql: &str) -> i64 {
    let db = rusqlite::Connection::open(world.folder.path().join("hub.db")).unwrap();
    db.query_row(sql, (), |row| row.get(0)).unwrap()
}

#[test]
fn a_small_round_takes_two_messages() {
    let (mut world, _) = begun();
    let up = world.sites[1].prepare_whole();
    let answers = say(&mut world, &up);
    assert_eq!(committed(&answers).outcomes.len(), 1);
    assert!(matches!(committed(&answers).outcomes[0], (1, Outcome::Applied { .. })));
    assert_eq!(count(&world, "SELECT count(*) FROM wadi_stage"), 0);
    assert_eq!(count(&world, "SELECT count(*) FROM wadi_prepared WHERE gateway = 2"), 1);
    world.sites[1].take(&answers);
    assert!(world.sites[1].rows.contains_key(&(HOUSE, row(1))), "and it brought something");
    world.settle();
    world.check();
}

#[test]
fn nothing_under_the_name_of_something_is_refused() {
    let (mut world, _) = begun();
    for delegated in [true, false] {
        let mut up = world.sites[1].prepare_whole();
        let UpBody::Prepare(head) = &mut up.body else { panic!("{up:?}") };
        (head.bytes, head.parts, head.delegated) = (0, 0, delegated);
        head.first.clear();
        let answers = say(&mut world, &up);
        let [Down { body: DownBody::Refused(refused), .. }] = &answers[..] else {
            panic!("expected a refusal, got {answers:?}");
        };
        assert!(refused.to_string().contains("not the one announced"), "{refused}");
    }
}

#[test]
fn a_lost_answer_is_told_again_to_the_byte() {
    let (mut world, mut anna) = begun();
    let up = world.sites[1].prepare_whole();
    let answers = say(&mut world, &up);
    let rounds = "SELECT rounds FROM wadi_gateway WHERE number = 2";
    let before = count(&world, rounds);
    let bodies = [again(&world, |_| ()).body, UpBody::Commit, UpBody::Abort];
    for body in bodies.into_iter().chain([UpBody::Fetch { missing: vec![(1, 3)] }]) {
        world.crash();
        let up = world.sites[1].up(body);
        assert_eq!(committed(&say(&mut world, &up)), committed(&answers));
    }
    assert_eq!(count(&world, rounds), before, "committed once");
    let old = world.sites[1].up(UpBody::Abort);
    world.sites[1].take(&answers);
    // The gateway goes on: what it has need not be told again.
    world.enter(1, &mut anna, Op::Update, (HOUSE, row(2)), &[(1, text("more"))], 200);
    let up = world.sites[1].prepare_whole();
    let next = say(&mut world, &up);
    assert_eq!(committed(&say(&mut world, &up)), committed(&next));
    let refused = say(&mut world, &old);
    assert!(matches!(refused[0].body, DownBody::Aborted { .. }), "{refused:?}");
    world.sites[1].take(&next);
    world.settle();
    world.check();
}

#[test]
fn a_page_is_written_anew_though_its_round_is_committed() {
    let (mut world, mut anna) = begun();
    let up = world.sites[1].prepare_whole();
    let answers = say(&mut world, &up);
    let models = world.sites[1].models.clone().unwrap();
    assert_eq!(writing(page_of(&answers)).model(), Some(models.down.name));
    // Of a model that is not here nothing is known: one that everybody has.
    let up = again(&world, |head| head.model = ModelName([1; 4]));
    let otherwise = say(&mut world, &up);
    assert_eq!(writing(page_of(&otherwise)).model(), Some(ModelName::empty()));
    let up = again(&world, |head| head.codec = CODEC_PLAIN);
    let plain = say(&mut world, &up);
    assert_eq!(writing(page_of(&plain)), Writing::Plain);
    let page = wadi_protocol::wire::downlink::decode(page_of(&plain)).unwrap();
    assert_eq!((page.codec, page.rows.len()), (CODEC_PLAIN, 1));
    // Asked for as in the beginning it is the same again, and both ends learn it once.
    let up = again(&world, |_| ());
    let first = say(&mut world, &up);
    assert_eq!(committed(&first), committed(&answers));
    world.sites[1].take(&first);
    for at in 0..3 {
        world.enter(1, &mut anna, Op::Update, (HOUSE, row(2)), &[(1, text("on"))], 200 + at);
        let up = world.sites[1].prepare_whole();
        let UpBody::Prepare(head) = &up.body else { panic!() };
        assert_eq!((head.codec, head.model), (CODEC_NEWEST, down(&world)));
        let answers = say(&mut world, &up);
        let against = writing(page_of(&answers)).model();
        assert!(against.is_none_or(|name| name == down(&world)));
        world.sites[1].take(&answers);
    }
    world.settle();
    world.check();
}

fn down(world: &World) -> ModelName {
    world.sites[1].models.as_ref().unwrap().down.name
}

#[test]
fn what_does_not_fit_one_message_is_prepared_first() {
    let (mut world, _) = begun();
    let mut cleo = Device::new(3);
    let long = |at: u64| text(&format!("{at:0400}"));
    for at in 0..40 {
        world.enter(0, &mut cleo, Op::Insert, (HOUSE, row(100 + at)), &[(1, long(at))], 100);
    }
    world.sites[0].settle(&mut world.hub);
    let up = world.sites[1].prepare_whole();
    let answers = say(&mut world, &up);
    assert!(matches!(&answers[0].body, DownBody::Prepared(_)), "{:?}", answers[0]);
    // Asked again it is as it was.
    let up = again(&world, |_| ());
    assert_eq!(say(&mut world, &up)[0], answers[0]);
    world.settle();
    assert!(world.sites[1].page_bytes_most > PART_BYTES_MAX);
    world.check();
}

/// A copy of a box that stands elsewhere is told what became of the round and has no page
/// of it; what that told it is told on a line of its own.
#[test]
fn who_stands_elsewhere_gets_no_page_and_catches_up() {
    let (mut world, _) = begun();
    let up = world.sites[1].prepare_whole();
    let answers = say(&mut world, &up);
    let up = again(&world, |head| head.cursors = [0, 1]);
    let otherwise = say(&mut world, &up);
    assert_eq!(committed(&otherwise).page, None);
    assert_eq!(committed(&otherwise).chain, committed(&answers).chain);
    let batch = world.sites[1].batch();
    world.sites[1].finish_without_page(&batch, committed(&otherwise));
    world.settle();
    assert_eq!(world.sites[1].line, 1);
    assert!(world.sites[1].rows.contains_key(&(HOUSE, row(1))));
    world.check();
}
