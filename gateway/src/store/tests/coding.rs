//! Changesets and pages against models: begun when the hub proposes it, learnt when a round
//! is committed, found again after a crash, and never a reason to stop.
use wadi_protocol::limits::MODEL_ENTRIES_MAX;
use wadi_protocol::wire::coded::{
    CODEC_NEWEST, CODEC_PLAIN, ModelName, Named, read_batch, writing,
};
use wadi_protocol::wire::coded_page::write_page;
use wadi_protocol::wire::message::Prepare;

use super::*;

fn edit(seq: u64) -> Change {
    let fields = vec![set(1, text(&format!("place {}", seq % 3)))];
    let op = if seq == 1 { Op::Insert } else { Op::Update };
    change(PHONE, seq, op, (PLACE, row(1)), fields)
}

/// The hub's end of a link.
struct Hub {
    village: Village,
    up: Named,
    down: Named,
    seq: u64,
}

impl Hub {
    /// A gateway to which it was proposed to write against models.
    fn new() -> Hub {
        let mut village = Village::new();
        village.round(&Page { codec: CODEC_NEWEST, ..page(0, vec![]) }, vec![]);
        Hub { village, up: Named::empty(), down: Named::empty(), seq: 0 }
    }

    /// Open a round with one more change.
    fn begin(&mut self) -> (Prepare, Vec<u8>) {
        self.seq += 1;
        self.village.take(vec![edit(self.seq)]);
        changeset(&self.village.begin())
    }

    /// Answer it with a page that tells of a row, and commit.
    fn answer(&mut self, (head, body): (Prepare, Vec<u8>)) {
        let (batch, after) = read_batch(&body, Some(&self.up)).unwrap();
        assert_eq!(batch::content_hash(&batch), head.content);
        assert_eq!((head.codec, head.model), (CODEC_NEWEST, self.down.name));
        let fields = vec![(1, text(&format!("told {}", self.seq % 5)))];
        let told = told((PLACE, row(2)), self.seq, RowState::Live, fields);
        let page = Page { codec: CODEC_NEWEST, ..page(self.seq, vec![told]) };
        let down = self.down.clone();
        let said = self.say(&head, &page, &down);
        let messages = said.messages;
        let last = message::decode::<Up>(messages.last().unwrap()).unwrap();
        assert_eq!(last.body, UpBody::Commit);
        self.commit(&head);
        self.up = after.unwrap_or_else(|| self.up.clone());
        self.down = write_page(Some(&self.down), &page).after.unwrap();
    }

    /// Send a page that is written against a model.
    fn say(&mut self, head: &Prepare, page: &Page, model: &Named) -> RoundAnswer {
        let bytes = write_page(Some(model), page).bytes;
        let told = page_head(head.stand(), &downlink::encode(page), &bytes);
        let (content, first) = (head.content, bytes);
        let parts = told.parts;
        assert_eq!(parts, 1);
        self.village.hear(DownBody::Prepared(message::Prepared {
            content,
            page: told.hash,
            bytes: told.bytes,
            parts,
            first,
        }))
    }

    fn commit(&mut self, head: &Prepare) {
        let outcomes = applied(1, self.seq);
        self.village.chain = chain(self.village.chain, head.content, &outcomes);
        let committed =
            Committed { outcomes, chain: self.village.chain, paged: true, more: false, page: None };
        assert!(self.village.hear(DownBody::Committed(committed)).idle);
    }

    /// The hub has not got the model.
    fn refuse(&mut self, of: Option<ModelName>, codec: u8, holds: &[ModelName]) -> Vec<Up> {
        let answer = self.village.hear(DownBody::OtherModel { codec, of, holds: holds.to_vec() });
        answer.messages.iter().map(|m| message::decode(m).unwrap()).collect()
    }

    fn count(&self, of: &str) -> usize {
        let count = self.village.text(&format!("SELECT '' || count(*) FROM wadi_model WHERE {of}"));
        count.parse().unwrap()
    }
}

fn name_of(body: &[u8]) -> Option<ModelName> {
    writing(body).model()
}

#[test]
fn nothing_is_written_against_a_model_before_the_hub_proposes_it() {
    let mut village = Village::new();
    village.take(vec![edit(1)]);
    let (head, body) = changeset(&village.begin());
    assert_eq!((head.codec, name_of(&body)), (CODEC_NEWEST, None));
}

#[test]
fn both_ends_learn_by_what_is_committed_and_by_nothing_else() {
    let mut hub = Hub::new();
    let mut sizes = Vec::new();
    for at in 0..12 {
        let sent = hub.begin();
        sizes.push(sent.1.len());
        if at % 3 == 0 {
            // Made again from what is stored; the same round, to the byte.
            hub.village.crash();
            hub.village.store().round(RoundInput::Retry, NOW_S).unwrap();
        }
        hub.answer(sent);
    }
    assert!(sizes[11] < sizes[0] && sizes[11] <= 16, "{sizes:?}");
    let told = hub.village.shown((PLACE, row(2))).unwrap();
    assert_eq!(told[0], (1, text("told 2")));
    // What is given up teaches nobody.
    let (_, body) = hub.begin();
    let other = Refused::Undecodable { reason: "for a test".into() };
    hub.village.hear(DownBody::Refused(other));
    assert!(hub.village.hear(DownBody::Aborted { floor: 0 }).idle);
    let (_, again) = changeset(&hub.village.begin());
    assert_eq!((name_of(&again), again.len()), (name_of(&body), body.len()));
    hub.up = read_batch(&again, Some(&hub.up)).map(|_| hub.up.clone()).unwrap();
}

#[test]
fn a_changeset_is_written_anew_with_the_newest_model_that_both_have() {
    let mut hub = Hub::new();
    let mut models = vec![hub.up.clone()];
    for _ in 0..4 {
        let sent = hub.begin();
        hub.answer(sent);
        models.push(hub.up.clone());
    }
    let (head, body) = hub.begin();
    assert_eq!(name_of(&body), Some(models[4].name));
    let holds = [ModelName([7; 4]), models[2].name, models[1].name];
    let ups = hub.refuse(name_of(&body), CODEC_NEWEST, &holds);
    let (again, body) = changeset(&ups);
    assert_eq!((again.content, name_of(&body)), (head.content, Some(models[2].name)));
    // The same answer again, or one about another model, is late.
    assert_eq!(hub.refuse(Some(models[4].name), CODEC_NEWEST, &holds), []);
    hub.up = models[2].clone();
    hub.answer((again, body));
    // The models that were taught otherwise are gone.
    let (_, body) = hub.begin();
    assert_eq!(name_of(&body), Some(hub.up.name));
    let ups = hub.refuse(name_of(&body), CODEC_NEWEST, &[models[4].name, models[3].name]);
    let (_, body) = changeset(&ups);
    assert_eq!(name_of(&body), Some(ModelName::empty()));
    let ups = hub.refuse(Some(ModelName::empty()), CODEC_NEWEST, &[models[1].name]);
    let (head, body) = changeset(&ups);
    assert_eq!(name_of(&body), None, "there is nothing older to write it against");
    hub.answer((head, body));
    let (_, body) = hub.begin();
    assert_eq!(name_of(&body), Some(hub.up.name), "what travels plainly teaches nobody");
}

#[test]
fn a_hub_that_reads_only_plain_ones_gets_them() {
    let mut hub = Hub::new();
    let (_, body) = hub.begin();
    assert_eq!(name_of(&body), Some(ModelName::empty()));
    hub.village.crash();
    hub.village.store().round(RoundInput::Retry, NOW_S).unwrap();
    let ups = hub.refuse(None, CODEC_PLAIN, &[]);
    let sent = changeset(&ups);
    assert_eq!(name_of(&sent.1), None);
    hub.answer(sent);
}

#[test]
fn a_page_that_cannot_be_read_is_asked_for_otherwise() {
    let mut hub = Hub::new();
    for _ in 0..3 {
        let sent = hub.begin();
        hub.answer(sent);
    }
    let (head, _) = hub.begin();
    let told = told((PLACE, row(2)), 4, RowState::Live, vec![(1, text("new"))]);
    let page = Page { codec: CODEC_NEWEST, ..page(4, vec![told]) };
    // As if the two ends did not agree: the right name, taught something else.
    let wrong =
        |name: ModelName| Named { name, ..write_page(Some(&Named::empty()), &page).after.unwrap() };
    let asks = |answer: &RoundAnswer| -> Prepare {
        let last = answer.messages.last().map(|m| message::decode::<Up>(m).unwrap());
        let Some(Up { body: UpBody::Prepare(head), .. }) = last else { panic!("{last:?}") };
        head
    };
    let again = asks(&hub.say(&head, &page, &wrong(head.model)));
    assert_eq!((again.codec, again.model), (CODEC_NEWEST, ModelName::empty()));
    assert_eq!(hub.count("direction = 1"), 0);
    // One that another box asked for changes nothing.
    let other = asks(&hub.say(&head, &page, &wrong(head.model)));
    assert_eq!((other.codec, other.model), (again.codec, again.model));
    let plain = asks(&hub.say(&head, &page, &wrong(again.model)));
    assert_eq!(plain.codec, CODEC_PLAIN);
    let bytes = downlink::encode(&page);
    let answer = hub.village.hear(prepared(head.stand(), head.content, &bytes));
    let last = message::decode::<Up>(answer.messages.last().unwrap()).unwrap();
    assert_eq!(last.body, UpBody::Commit);
    hub.commit(&head);
    assert_eq!(hub.village.shown((PLACE, row(2))).unwrap()[0], (1, text("new")));
}

/// What is stored of models stays bounded, and a damaged one is learnt anew.
#[test]
fn models_are_stored_now_and_then() {
    let mut hub = Hub::new();
    for _ in 0..2 * MODEL_ENTRIES_MAX + 20 {
        let sent = hub.begin();
        hub.answer(sent);
    }
    for direction in 0..2 {
        let of = |what: &str| hub.count(&format!("direction = {direction} AND {what}"));
        assert_eq!(of("whole"), 2);
        assert!(of("NOT whole") <= 2 * MODEL_ENTRIES_MAX, "{}", of("NOT whole"));
    }
    hub.village.crash();
    let sent = hub.begin();
    hub.answer(sent);
    let program = hub.village.program();
    program.execute("UPDATE wadi_model SET bytes = zeroblob(99) WHERE whole", ()).unwrap();
    hub.village.crash();
    let (head, body) = hub.begin();
    assert_eq!(name_of(&body), Some(ModelName::empty()));
    hub.up = Named::empty();
    let plain = downlink::encode(&Page { codec: CODEC_NEWEST, ..page(hub.seq, vec![]) });
    hub.village.hear(prepared(head.stand(), head.content, &plain));
    hub.commit(&head);
    assert_eq!(hub.count("direction = 0"), 1);
}
