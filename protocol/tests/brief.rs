//! Brief messages: put together again they are the whole ones, or nothing at all.

use proptest::collection::vec;
use proptest::prelude::*;
use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::wire::brief::{self, BRIEF_VERSION, Known};
use wadi_protocol::wire::coded::ModelName;
use wadi_protocol::wire::message::{
    self, Attached, Committed, Down, DownBody, MessageError, Outcome, Prepare, Up, UpBody, chain,
};

const RUN: RunId = RunId(0x1122_3344_5566);
const HUB: RunId = RunId(0x6655_4433_2211);
const PARENT: Hash = Hash([7; 16]);
const CONTENT: Hash = Hash([8; 16]);
const PAGE: Hash = Hash([9; 16]);

fn known() -> Known {
    let (codec, model) = (2, ModelName([1, 2, 3, 4]));
    Known { run: RUN, hub: HUB, parent: PARENT, cursors: [70_000, 70_001], schema: 3, codec, model }
}

fn prepare() -> Prepare {
    let Known { parent, cursors, schema, codec, model, .. } = known();
    let first = vec![2; 17];
    Prepare {
        parent,
        cursors,
        schema,
        content: CONTENT,
        bytes: first.len() as u32,
        parts: 1,
        first,
        returned: None,
        ahead: 5,
        codec,
        model,
        delegated: true,
        narrow: false,
        spent: Vec::new(),
    }
}

fn up(head: Prepare) -> Up {
    Up { run: RUN, hub: HUB, round: 300, body: UpBody::Prepare(head) }
}

fn committed() -> Committed {
    let outcomes = vec![(1, Outcome::Applied { seq: 70_002 })];
    let page = Some(Attached { hash: PAGE, bytes: vec![3; 21] });
    let chain = chain(PARENT, CONTENT, &outcomes);
    Committed { outcomes, chain, paged: true, more: false, page }
}

fn down(committed: Committed) -> Down {
    Down { hub: HUB, known: HUB, round: 300, body: DownBody::Committed(committed) }
}

#[test]
fn a_question_comes_back_whole_to_who_believes_the_same() {
    let whole = up(prepare());
    let bytes = brief::up(&whole).unwrap();
    // Beside the changeset: version, check, a round of two bytes, and how far ahead.
    assert_eq!(bytes.len() - prepare().first.len(), 8);
    assert!(message::encode(&whole).len() > bytes.len() + 40);
    let read = brief::read_up(&bytes).unwrap();
    assert_eq!(read.whole(&known(), CONTENT), Some(whole));
    for other in [
        Known { run: HUB, ..known() },
        Known { hub: RUN, ..known() },
        Known { parent: PAGE, ..known() },
        Known { cursors: [70_000, 70_002], ..known() },
        Known { schema: 4, ..known() },
        Known { codec: 1, ..known() },
        Known { model: ModelName([1, 2, 3, 5]), ..known() },
    ] {
        assert_eq!(read.whole(&other, CONTENT), None, "{other:?}");
    }
    assert_eq!(read.whole(&known(), PAGE), None, "the changeset decodes to something else");
}

#[test]
fn an_answer_comes_back_whole_to_who_believes_the_same() {
    let whole = down(committed());
    let bytes = brief::down(&whole).unwrap();
    assert!(message::encode(&whole).len() > bytes.len() + 40);
    let read = brief::read_down(&bytes).unwrap();
    assert_eq!(read.whole(HUB, PARENT, CONTENT, PAGE), Some(whole));
    assert_eq!(read.whole(RUN, PARENT, CONTENT, PAGE), None, "another hub");
    assert_eq!(read.whole(HUB, PAGE, CONTENT, PAGE), None, "behind another round");
    assert_eq!(read.whole(HUB, PARENT, PAGE, PAGE), None, "of another changeset");
    assert_eq!(read.whole(HUB, PARENT, CONTENT, CONTENT), None, "a page for somebody else");
}

#[test]
fn what_needs_more_words_is_not_said_in_brief() {
    let returned = Some(message::Returned::default());
    assert_eq!(brief::up(&up(Prepare { returned, ..prepare() })), None);
    assert_eq!(brief::up(&up(Prepare { delegated: false, ..prepare() })), None);
    assert_eq!(brief::up(&up(Prepare { first: vec![], ..prepare() })), None, "a head alone");
    assert_eq!(brief::up(&Up { body: UpBody::Commit, ..up(prepare()) }), None);
    assert_eq!(brief::down(&down(Committed { page: None, ..committed() })), None);
    assert_eq!(brief::down(&Down { known: RUN, ..down(committed()) }), None);
    assert_eq!(brief::down(&Down { body: DownBody::Unclear, ..down(committed()) }), None);
    let empty = brief::up(&up(Prepare { bytes: 0, parts: 0, first: vec![], ..prepare() }));
    assert_eq!(empty.map(|bytes| bytes.len()), Some(8), "nothing to send can be said");
}

#[test]
fn whole_and_brief_are_told_apart() {
    let (whole, brief) = (message::encode(&up(prepare())), brief::up(&up(prepare())).unwrap());
    assert!(brief::is_brief(&brief) && !brief::is_brief(&whole) && !brief::is_brief(&[]));
    assert_eq!(message::decode::<Up>(&brief), Err(MessageError::Version(BRIEF_VERSION)));
    assert_eq!(brief::read_up(&whole), Err(MessageError::Version(1)));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(mut bytes in vec(any::<u8>(), 1..200), whole: bool) {
        bytes[0] = BRIEF_VERSION;
        if whole {
            let at = bytes[bytes.len() / 2] as usize;
            let mut spoilt = brief::up(&up(prepare())).unwrap();
            let at = 1 + at % (spoilt.len() - 1);
            spoilt[at] ^= bytes[bytes.len() - 1];
            bytes = spoilt;
        }
        if let Ok(read) = brief::read_up(&bytes) {
            let whole = read.whole(&known(), CONTENT);
            prop_assert!(whole.is_none_or(|whole| brief::up(&whole) == Some(bytes.clone())));
        }
        if let Ok(read) = brief::read_down(&bytes) {
            prop_assert_eq!(read.whole(HUB, PARENT, CONTENT, PAGE), None);
        }
    }
}
