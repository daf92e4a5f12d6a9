//! Questions in brief: put together here if this hub believes the same, answered in kind.
use wadi_hub::store::{Said, write_down};
use wadi_protocol::change::Op;
use wadi_protocol::wire::brief;
use wadi_protocol::wire::coded::{CODEC_NEWEST, ModelName};
use wadi_protocol::wire::message::{self, DownBody, MessageError, Up, UpBody};

use crate::model::{Device, NOW_S};
use crate::world::{HOUSE, World, row, text};

/// A world whose second site had a round and has something to say again.
fn begun() -> (World, Device) {
    let (mut world, mut anna) = (World::new(2), Device::new(1));
    world.sites[1].delegates = true;
    world.enter(1, &mut anna, Op::Insert, (HOUSE, row(2)), &[(1, text("ours"))], 100);
    let up = prepare(&world);
    let answers = world.hub.hear(world.sites[1].number, &up, NOW_S).unwrap();
    world.sites[1].take(&answers);
    world.enter(1, &mut anna, Op::Update, (HOUSE, row(2)), &[(1, text("anew"))], 200);
    (world, anna)
}

/// The second site's Prepare, as a gateway that writes in the newest way says it.
fn prepare(world: &World) -> Up {
    let mut up = world.sites[1].prepare_whole();
    let UpBody::Prepare(head) = &mut up.body else { panic!("{up:?}") };
    (head.codec, head.model) = (CODEC_NEWEST, newest(world));
    up
}

fn newest(world: &World) -> ModelName {
    let db = rusqlite::Connection::open(world.folder.path().join("hub.db")).unwrap();
    let sql = "SELECT name FROM wadi_model WHERE gateway = 2 AND direction = 1 ORDER BY n DESC";
    db.query_row(sql, (), |row| row.get(0)).map_or(ModelName::empty(), ModelName)
}

fn read(world: &mut World, bytes: &[u8]) -> Said {
    world.hub.read_up(world.sites[1].number, bytes).unwrap().unwrap()
}

#[test]
fn a_question_in_brief_is_answered_in_brief() {
    let (mut world, _) = begun();
    let up = prepare(&world);
    assert_eq!(read(&mut world, &message::encode(&up)), Said::Whole(up.clone()));
    let said = brief::up(&up).unwrap();
    assert_eq!(read(&mut world, &said), Said::Brief(up.clone()));
    let answers = world.hub.hear(world.sites[1].number, &up, NOW_S).unwrap();
    let (whole, brief) = (write_down(&answers[0], false), write_down(&answers[0], true));
    assert!(brief::is_brief(&brief) && !brief::is_brief(&whole));
    assert!(brief.len() + 40 < whole.len(), "{} and {} bytes", brief.len(), whole.len());
    // Said twice: the round is over, and that is another place than it was said at.
    assert!(matches!(read(&mut world, &said), Said::Unclear(_)));
    world.sites[1].take(&answers);
    world.settle();
    world.check();
}

#[test]
fn what_is_not_believed_here_is_unclear() {
    let (mut world, _) = begun();
    let up = prepare(&world);
    let UpBody::Prepare(head) = &up.body else { panic!("{up:?}") };
    let (mut stands, mut model, mut bytes) = (head.clone(), head.clone(), head.clone());
    stands.cursors[1] += 1;
    model.model = ModelName([1, 2, 3, 4]);
    // Coded against a model that nobody has.
    bytes.first = [&[CODEC_NEWEST, 9, 9, 9, 9], &[7u8; 20][..]].concat();
    bytes.bytes = bytes.first.len() as u32;
    for other in [stands, model, bytes] {
        let said = brief::up(&Up { body: UpBody::Prepare(other), ..up.clone() }).unwrap();
        let Said::Unclear(down) = read(&mut world, &said) else { panic!("believed") };
        assert_eq!((down.round, down.body), (up.round, DownBody::Unclear));
    }
    let said = brief::up(&up).unwrap();
    world.crash();
    let again = read(&mut world, &said);
    assert!(matches!(again, Said::Unclear(_)), "the hub's run is another: {again:?}");
    let malformed = world.hub.read_up(world.sites[1].number, &[brief::BRIEF_VERSION, 1]).unwrap();
    assert_eq!(malformed, Err(MessageError::Malformed));
}

#[test]
fn somebody_unknown_is_unclear() {
    let (mut world, _) = begun();
    let said = brief::up(&prepare(&world)).unwrap();
    let nobody = wadi_protocol::id::GatewayId(99);
    assert!(matches!(world.hub.read_up(nobody, &said).unwrap().unwrap(), Said::Unclear(_)));
}
