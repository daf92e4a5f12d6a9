//! One of each message of the link.
use wadi_protocol::change::Seen;
use wadi_protocol::id::RowVersion;
use wadi_protocol::link::envelope::{Content, Envelope};
use wadi_protocol::link::message::{
    Answer, AnswerBody, Ask, AskBody, Fate, FeedCursor, FeedPage, FeedRow,
};
use wadi_protocol::value::Value;

use super::{HANDHELD, HUB, RUN, TABLET_RUN, dot, row};

const FEED: FeedCursor = FeedCursor { run: TABLET_RUN, seq: 70 };

/// Every question, by name.
pub fn asks() -> Vec<(&'static str, Ask)> {
    let ask = |body| Ask { number: 300, body };
    let hello = AskBody::Hello { device: HANDHELD, label: "drv-2".into(), schema: 3, feed: FEED };
    vec![
        ("ask_hello", ask(hello)),
        ("ask_schema", ask(AskBody::Schema { offset: 8192 })),
        ("ask_offer", ask(AskBody::Offer { batch: vec![1, 2, 3] })),
        ("ask_fates", ask(AskBody::Fates { spans: vec![(HANDHELD, RUN, 1, 20)] })),
        ("ask_pull", ask(AskBody::Pull { feed: FEED })),
    ]
}

/// Every answer, by name.
pub fn answers() -> Vec<(&'static str, Answer)> {
    let answer = |body| Answer { number: 300, body };
    let reason = String::from("why");
    let welcome = AnswerBody::Welcome {
        site: "north".into(),
        run: TABLET_RUN,
        schema: 3,
        schema_bytes: 5000,
        continues: true,
        clock_s: 1_766_700_000,
    };
    let fates =
        [Fate::Durable, Fate::Parked, Fate::Quarantined { reason: reason.clone() }, Fate::Unknown];
    let fates =
        (1u64..).zip(fates).map(|(seq, fate)| (HANDHELD, RUN, seq, seq + 5, fate)).collect();
    let feed_row = FeedRow {
        table: 4,
        row: row(7),
        live: true,
        fields: vec![(2, Value::Text("AA".into())), (3, Value::Int(-300))],
        seen: Seen { version: RowVersion { hub: HUB, seq: 4711 }, above: vec![dot(9)] },
        review: vec![0, 3],
        marked: vec![dot(8)],
    };
    let page = FeedPage {
        rows: vec![feed_row],
        feed: FEED,
        more: true,
        cursors: [4711, 4700],
        taken: vec![(HANDHELD, RUN, 20)],
    };
    vec![
        ("answer_welcome", answer(welcome)),
        ("answer_schema", answer(AnswerBody::Schema { bytes: vec![0, 1] })),
        ("answer_taken", answer(AnswerBody::Taken)),
        ("answer_busy", answer(AnswerBody::Busy { reason: reason.clone(), retry_ms: 5000 })),
        ("answer_refused", answer(AnswerBody::Refused { reason })),
        ("answer_fates", answer(AnswerBody::Fates { fates })),
        ("answer_page", answer(AnswerBody::Page(page))),
    ]
}

/// Every kind of envelope, by name.
pub fn envelopes() -> Vec<(&'static str, Envelope<'static>)> {
    let sent = |content| Envelope { session: 0x0102_0304, content };
    vec![
        ("envelope_first", sent(Content::First(&[1, 2, 3]))),
        ("envelope_second", sent(Content::Second(&[4, 5, 6]))),
        ("envelope_third", sent(Content::Third(&[7, 8, 9]))),
        ("envelope_sealed", sent(Content::Sealed { counter: 300, bytes: &[10, 11] })),
        ("envelope_start_over", sent(Content::StartOver)),
        ("envelope_busy", sent(Content::Busy { retry_ms: 2000, reason: "full" })),
    ]
}
