//! The gateway's end of a link session, sans I/O.
//!
//! Opened messages go in; out comes what to ask the store, or an
//! answer at once. It knows who said hello and which question came last, so
//! that a stale question is ignored and a repeated one is answered again (every
//! question may be repeated). It never waits, keeps no queue and forgets
//! everything when the session ends.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::id::{DeviceId, RunId};
use crate::limits::{
    FATES_CHANGES_MAX, FATES_SPANS_MAX, GROUP_CHANGES_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX,
    SEQUENCE_MAX,
};
use crate::link::envelope::{LinkError, MESSAGE_BYTES_MAX};
use crate::link::message::{self, Answer, AnswerBody, Ask, AskBody, FeedCursor};
use crate::wire::batch::{self, Batch};

/// What a handheld wants of the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Welcome it: answered by `Welcome`.
    Welcome {
        /// The handheld's own device.
        device: DeviceId,
        /// Its name for people.
        label: String,
        /// Where its replica of the feed stands.
        feed: FeedCursor,
    },
    /// Bytes of the schema: answered by `Schema`.
    Schema {
        /// From where.
        offset: u32,
    },
    /// Take these changes in: answered by `Taken`, `Busy` or `Refused`.
    Intake(Batch),
    /// What became of these: answered by `Fates`.
    Fates(Vec<(DeviceId, RunId, u64, u64)>),
    /// A page of the feed: answered by `Page`.
    Feed {
        /// Who asks.
        device: DeviceId,
        /// From where.
        feed: FeedCursor,
    },
}

/// What one body leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reaction {
    /// Ask the store, then answer under this number.
    Store(u32, Question),
    /// Answer at once.
    Answer(Answer),
    /// A question older than one already heard.
    Stale(u32),
    /// It was sealed by the handheld and yet is no question: a fault.
    Unreadable(LinkError),
}

/// One session.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Station {
    greeted: Option<(DeviceId, String)>,
    last: u32,
}

impl Station {
    /// A session in which nobody has said hello.
    pub fn new() -> Station {
        Station::default()
    }

    /// Who said hello: device and label.
    pub fn handheld(&self) -> Option<(DeviceId, &str)> {
        self.greeted.as_ref().map(|(device, label)| (*device, label.as_str()))
    }

    /// A body came.
    pub fn hear(&mut self, body: &[u8]) -> Reaction {
        let ask: Ask = match message::decode(body) {
            Ok(ask) => ask,
            Err(error) => return Reaction::Unreadable(error),
        };
        let number = ask.number;
        if let AskBody::Hello { device, label, schema: _, feed } = ask.body {
            // A hello opens the session anew, whatever number it counts from.
            self.last = number;
            if label.len() > NAME_BYTES_MAX {
                return refuse(number, format!("a device name has at most {NAME_BYTES_MAX} bytes"));
            }
            self.greeted = Some((device, label.clone()));
            return Reaction::Store(number, Question::Welcome { device, label, feed });
        }
        let Some((device, _)) = self.greeted else {
            return Reaction::Answer(Answer { number, body: AnswerBody::NoHello });
        };
        if (number.wrapping_sub(self.last) as i32) < 0 {
            return Reaction::Stale(number);
        }
        self.last = number;
        match question(device, ask.body) {
            Ok(question) => Reaction::Store(number, question),
            Err(reason) => refuse(number, reason),
        }
    }
}

fn refuse(number: u32, reason: String) -> Reaction {
    Reaction::Answer(Answer { number, body: AnswerBody::Refused { reason } })
}

/// The question of a greeted handheld, its limits checked.
fn question(device: DeviceId, body: AskBody) -> Result<Question, String> {
    Ok(match body {
        AskBody::Hello { .. } => unreachable!("handled before"),
        AskBody::Schema { offset } => Question::Schema { offset },
        AskBody::Offer { batch } => Question::Intake(offered(&batch)?),
        AskBody::Fates { spans } => {
            let changes = spans.iter().try_fold(0u64, |sum, &(_, _, first, last)| {
                sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
            });
            if spans.len() > FATES_SPANS_MAX || changes.is_none_or(|sum| sum > FATES_CHANGES_MAX) {
                return Err(format!(
                    "a question about fates names at most {FATES_SPANS_MAX} stretches \
                     and {FATES_CHANGES_MAX} changes"
                ));
            }
            Question::Fates(spans)
        }
        AskBody::Pull { feed } => Question::Feed { device, feed },
    })
}

/// The batch of an offer, its groups whole.
fn offered(bytes: &[u8]) -> Result<Batch, String> {
    let batch =
        batch::decode(bytes).map_err(|error| format!("the offer does not decode: {error}"))?;
    let mut at = 0;
    while let Some(first) = batch.changes.get(at) {
        if first.dot.seq > SEQUENCE_MAX
            || first.group.is_some_and(|group| group.first > SEQUENCE_MAX)
        {
            return Err(format!("change {} has a sequence beyond {SEQUENCE_MAX}", first.dot));
        }
        let (from, to) = first.group_span();
        let len = usize::try_from(to - from + 1).unwrap_or(usize::MAX);
        let members = batch.changes.get(at..at.saturating_add(len)).unwrap_or_default();
        let whole = len <= GROUP_CHANGES_MAX
            && members.len() == len
            && (from..).zip(members).all(|(seq, member)| {
                member.group == first.group
                    && (member.dot.device, member.dot.run) == (first.dot.device, first.dot.run)
                    && member.dot.seq == seq
            });
        if !whole || from == 0 {
            return Err(format!("the offer splits the group of change {}", first.dot));
        }
        at += len;
    }
    Ok(batch)
}

/// The bytes of an answer. One that does not fit a frame is cut (fates that go
/// untold are told next time) or turned into a refusal that says so.
pub fn bytes_of(mut answer: Answer) -> Vec<u8> {
    loop {
        let bytes = message::encode(&answer);
        if bytes.len() <= MESSAGE_BYTES_MAX {
            return bytes;
        }
        match &mut answer.body {
            AnswerBody::Fates { fates } if fates.len() > 1 => fates.truncate(fates.len() / 2),
            AnswerBody::Refused { reason } => *reason = cut(reason, REASON_BYTES_MAX),
            body => {
                let reason = format!("an answer of {} bytes does not fit the link", bytes.len());
                *body = AnswerBody::Refused { reason };
            }
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    let end = (0..=bytes_max.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    String::from(&text[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::change::{Change, Group, Op, Seen, TableRef};
    use crate::id::{Dot, RowId};
    use crate::link::message::Fate;
    use crate::stamp::Stamp;

    const DEVICE: DeviceId = DeviceId(7);

    fn ask(number: u32, body: AskBody) -> Vec<u8> {
        message::encode(&Ask { number, body })
    }

    fn hello(number: u32) -> Vec<u8> {
        let feed = FeedCursor::default();
        ask(number, AskBody::Hello { device: DEVICE, label: "tab".into(), schema: 0, feed })
    }

    fn change(seq: u64, group: Option<Group>) -> Change {
        Change {
            dot: Dot { device: DEVICE, run: RunId(3), seq },
            stamp: Stamp::default(),
            entered_s: 0,
            contained: None,
            schema: 0,
            rights: 0,
            group,
            table: TableRef::Name("note".into()),
            row: RowId([1; 16]),
            op: Op::Delete,
            fields: vec![],
            seen: Seen::default(),
            closure: vec![],
        }
    }

    fn offer(number: u32, changes: Vec<Change>) -> Vec<u8> {
        let batch = batch::encode(&Batch { runs: vec![], changes });
        ask(number, AskBody::Offer { batch })
    }

    fn refused(reaction: &Reaction) -> bool {
        matches!(reaction, Reaction::Answer(Answer { body: AnswerBody::Refused { .. }, .. }))
    }

    #[test]
    fn a_hello_is_needed_before_anything_else() {
        let mut station = Station::new();
        let asked = station.hear(&ask(5, AskBody::Schema { offset: 0 }));
        let body = AnswerBody::NoHello;
        assert_eq!(asked, Reaction::Answer(Answer { number: 5, body }));
        assert!(matches!(station.hear(&hello(6)), Reaction::Store(6, Question::Welcome { .. })));
        assert_eq!(station.handheld(), Some((DEVICE, "tab")));
        let schema = station.hear(&ask(7, AskBody::Schema { offset: 0 }));
        assert_eq!(schema, Reaction::Store(7, Question::Schema { offset: 0 }));
    }

    #[test]
    fn repeated_questions_are_answered_again_and_stale_ones_are_not() {
        let mut station = Station::new();
        station.hear(&hello(u32::MAX));
        let pull = |number| ask(number, AskBody::Pull { feed: FeedCursor::default() });
        assert!(matches!(station.hear(&pull(0)), Reaction::Store(0, _)), "numbers wrap");
        assert!(matches!(station.hear(&pull(0)), Reaction::Store(0, _)));
        assert!(matches!(station.hear(&pull(1)), Reaction::Store(1, _)));
        assert_eq!(station.hear(&pull(0)), Reaction::Stale(0));
        assert!(matches!(station.hear(&hello(0)), Reaction::Store(0, _)), "hello opens anew");
        assert!(matches!(station.hear(&pull(1)), Reaction::Store(1, _)));
    }

    #[test]
    fn groups_come_whole() {
        let group = Some(Group { first: 2, len: 2 });
        let cases = [
            (vec![change(1, None), change(2, group), change(3, group)], true),
            (vec![change(2, group)], false),
            (vec![change(3, group)], false),
            (vec![change(2, group), change(3, None)], false),
            (vec![change(2, group), change(4, group)], false),
            (vec![change(0, None)], false),
            (vec![change(u64::MAX, Some(Group { first: u64::MAX, len: 9 }))], false),
        ];
        for (changes, whole) in cases {
            let mut station = Station::new();
            station.hear(&hello(1));
            let reaction = station.hear(&offer(2, changes.clone()));
            assert_eq!(!refused(&reaction), whole, "{changes:?}");
        }
    }

    #[test]
    fn an_offer_that_does_not_decode_is_refused_and_the_session_lives() {
        let mut station = Station::new();
        station.hear(&hello(1));
        assert!(refused(&station.hear(&ask(2, AskBody::Offer { batch: vec![0xee; 9] }))));
        assert_eq!(station.hear(&[9, 9]), Reaction::Unreadable(LinkError::Malformed));
        assert!(matches!(station.hear(&offer(3, vec![change(1, None)])), Reaction::Store(3, _)));
    }

    #[test]
    fn too_many_fates_are_refused() {
        let mut station = Station::new();
        station.hear(&hello(1));
        let one = (DEVICE, RunId(3), 1, 1);
        let spans = vec![one; FATES_SPANS_MAX + 1];
        assert!(refused(&station.hear(&ask(2, AskBody::Fates { spans }))));
        for (first, last) in [(1, u64::MAX), (2, 1), (0, u64::MAX)] {
            let spans = vec![one, (DEVICE, RunId(3), first, last)];
            assert!(refused(&station.hear(&ask(3, AskBody::Fates { spans }))));
        }
        let spans = vec![one; FATES_SPANS_MAX];
        assert!(!refused(&station.hear(&ask(4, AskBody::Fates { spans }))));
    }

    #[test]
    fn the_fates_of_one_question_fit_a_frame_whatever_they_are() {
        let worst = |seq| {
            let reason = "x".repeat(REASON_BYTES_MAX);
            (DeviceId(u64::MAX), RunId(u64::MAX), seq, seq, Fate::Quarantined { reason })
        };
        let fates: Vec<_> = (0..FATES_CHANGES_MAX).map(|at| worst(u64::MAX - at)).collect();
        let body = AnswerBody::Fates { fates: fates.clone() };
        let heard = bytes_of(Answer { number: u32::MAX, body: body.clone() });
        assert_eq!(message::decode::<Answer>(&heard).unwrap().body, body);
    }

    #[test]
    fn an_answer_too_large_for_a_frame_becomes_a_refusal() {
        let bytes = vec![0; MESSAGE_BYTES_MAX];
        let heard = bytes_of(Answer { number: 4, body: AnswerBody::Schema { bytes } });
        let answer: Answer = message::decode(&heard).unwrap();
        assert!(matches!(answer.body, AnswerBody::Refused { .. }));
    }
}
