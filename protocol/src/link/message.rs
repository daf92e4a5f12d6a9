//! The messages of the link.
//!
//! The handheld asks, the gateway answers each question once, in order. A
//! frame that is lost is asked for again; every question may be repeated. A
//! message is the postcard of [`Ask`] or [`Answer`]; it travels sealed in an
//! [`envelope`](crate::link::envelope), which names the version.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::budget;
use crate::change::Seen;
use crate::id::{DeviceId, Dot, RowId, RunId};
use crate::limits::LINK_MEMORY_BYTES_MAX;
use crate::link::envelope::{LinkError, MESSAGE_BYTES_MAX};
use crate::schema::LANES;
use crate::value::Value;

/// From a handheld: a question and its number, which the answer repeats.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Counts up within a session.
    pub number: u32,
    /// The question.
    pub body: AskBody,
}

/// What a handheld asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AskBody {
    /// Who is there? Opens (or opens again) a session.
    Hello {
        /// The handheld's own device.
        device: DeviceId,
        /// Its name for people.
        label: String,
        /// The schema version it holds; 0 = none.
        schema: u32,
        /// Where its replica of the feed stands.
        feed: FeedCursor,
    },
    /// Bytes of the gateway's schema (postcard of [`crate::schema::Schema`]) from `offset`.
    Schema {
        /// From where.
        offset: u32,
    },
    /// Changes, as a [`crate::wire::batch`]; answered once they are durable at the gateway.
    Offer {
        /// The encoded batch, groups whole.
        batch: Vec<u8>,
    },
    /// What became of these changes? Stretches of own dots that are not durable yet.
    Fates {
        /// Device, run, first and last sequence; at most 64 stretches.
        spans: Vec<(DeviceId, RunId, u64, u64)>,
    },
    /// Rows that changed since the cursor.
    Pull {
        /// From where.
        feed: FeedCursor,
    },
}

/// A place in a gateway's feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FeedCursor {
    /// The gateway's run that gave the sequence; none = from the beginning.
    pub run: RunId,
    /// The feed sequence.
    pub seq: u64,
}

/// From a gateway: the answer to a question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The question's number.
    pub number: u32,
    /// The answer.
    pub body: AnswerBody,
}

/// What a gateway answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AnswerBody {
    /// To Hello.
    Welcome {
        /// The site's name.
        site: String,
        /// The gateway's run now.
        run: RunId,
        /// The schema version it holds; 0 = none.
        schema: u32,
        /// Bytes of the schema's encoding.
        schema_bytes: u32,
        /// Whether it continues the feed of the cursor in Hello: if not, the
        /// handheld pulls from the beginning and offers again all that is not durable.
        continues: bool,
        /// The gateway's clock, seconds since 1970.
        clock_s: u64,
    },
    /// To Schema.
    Schema {
        /// Bytes from the offset, at most 8 KiB; empty at the end.
        bytes: Vec<u8>,
    },
    /// To Offer: every change of the batch is fsynced here (or was before).
    Taken,
    /// To Offer, Hello or any: not now. Nothing was taken.
    Busy {
        /// Why, for people.
        reason: String,
        /// When to ask again.
        retry_ms: u32,
    },
    /// Not ever, until something is done about it. Nothing was taken.
    Refused {
        /// Why and what to do, for people.
        reason: String,
    },
    /// To Fates: those with something to tell; the others are pending here.
    Fates {
        /// First and last sequence of stretches that share a fate.
        fates: Vec<(DeviceId, RunId, u64, u64, Fate)>,
    },
    /// To Pull.
    Page(FeedPage),
    /// To any but Hello: nobody has said hello here (the gateway was started anew).
    NoHello,
}

/// What became of a handheld's change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fate {
    /// Committed at the hub.
    Durable,
    /// Committed at the hub, waits for a parent.
    Parked,
    /// Kept whole at the hub, outside the tables.
    Quarantined {
        /// Why, for people.
        reason: String,
    },
    /// This gateway does not have it: offer it (again).
    Unknown,
}

/// One page of the feed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FeedPage {
    /// Rows in feed order; at most one entry a row.
    pub rows: Vec<FeedRow>,
    /// Where the replica stands after this page.
    pub feed: FeedCursor,
    /// Whether there is more.
    pub more: bool,
    /// The lanes' cursors of the gateway's base, for people.
    pub cursors: [u64; LANES],
    /// Of the asking device's runs: the last sequence taken here, so that the
    /// handheld knows which of its edits the rows already hold.
    pub taken: Vec<(DeviceId, RunId, u64)>,
}

/// One row as the village sees it: base and overlay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeedRow {
    /// Its table.
    pub table: u16,
    /// The row.
    pub row: RowId,
    /// Whether it is there; a row that is not has no fields.
    pub live: bool,
    /// Its values but nulls, sorted by number.
    pub fields: Vec<(u16, Value)>,
    /// What someone shown this image has seen.
    pub seen: Seen,
    /// Fields that wait for a person; 0 is the row's existence.
    pub review: Vec<u16>,
    /// Own changes of the village in the row that the hub has not taken into its
    /// tables (quarantined, parked): for marks.
    pub marked: Vec<Dot>,
}

/// The bytes of a question or an answer; they may turn out too many for a frame.
pub fn encode<M: Serialize>(message: &M) -> Vec<u8> {
    postcard::to_allocvec(message).expect("messages always encode")
}

/// The question or answer of opened bytes.
pub fn decode<M: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<M, LinkError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(LinkError::TooLarge(bytes.len()));
    }
    budget::decode(bytes, LINK_MEMORY_BYTES_MAX).map_err(|_| LinkError::Malformed)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes_of_a_question() {
        let feed = FeedCursor { run: RunId(2), seq: 300 };
        let hello = AskBody::Hello { device: DeviceId(1), label: "tab-1".into(), schema: 3, feed };
        assert_eq!(
            encode(&Ask { number: 7, body: hello }),
            b"\x07\x00\x01\x05tab-1\x03\x02\xac\x02"
        );
        let pull = Ask { number: 8, body: AskBody::Pull { feed } };
        assert_eq!(encode(&pull), b"\x08\x04\x02\xac\x02");
    }

    #[test]
    fn golden_bytes_of_an_answer() {
        assert_eq!(encode(&Answer { number: 9, body: AnswerBody::Taken }), b"\x09\x02");
        let no_hello = AnswerBody::NoHello;
        assert_eq!(encode(&Answer { number: 9, body: no_hello }), b"\x09\x07");
        let busy = AnswerBody::Busy { reason: "full".into(), retry_ms: 500 };
        assert_eq!(encode(&Answer { number: 9, body: busy }), b"\x09\x03\x04full\xf4\x03");
        let row = FeedRow {
            table: 1,
            row: RowId([5; 16]),
            live: true,
            fields: vec![(2, Value::Int(-1)), (3, Value::Text("x".into()))],
            seen: Seen::default(),
            review: vec![3],
            marked: vec![],
        };
        let page = FeedPage {
            rows: vec![row],
            feed: FeedCursor { run: RunId(2), seq: 4 },
            more: true,
            cursors: [6, 7],
            taken: vec![(DeviceId(1), RunId(2), 3)],
        };
        let mut golden = b"\x09\x06\x01\x01".to_vec();
        golden.extend([5; 16]);
        golden.extend(b"\x01\x02\x02\x01\x01\x03\x03\x01x\x00\x00\x00\x01\x03\x00");
        golden.extend(b"\x02\x04\x01\x06\x07\x01\x01\x02\x03");
        assert_eq!(encode(&Answer { number: 9, body: AnswerBody::Page(page) }), golden);
    }

    #[test]
    fn bytes_left_over_or_missing_are_no_message() {
        assert_eq!(decode::<Ask>(&[]), Err(LinkError::Malformed));
        assert_eq!(decode::<Answer>(&[9, 2, 0]), Err(LinkError::Malformed), "bytes left over");
    }

    proptest! {
        #[test]
        fn hostile_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 1..300)) {
            let _ = decode::<Ask>(&body);
            let _ = decode::<Answer>(&body);
        }
    }
}
