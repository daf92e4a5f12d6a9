//! What a frame holds: a step of the handshake, a sealed message, or a plain word.
//!
//! ```text
//! body   = version (1 byte) | kind (1) | session (4, little endian) | rest
//! first  = kind 1, second = kind 2, third = kind 3: a Noise handshake message
//! sealed = kind 4: counter (4, little endian) | one or two Noise transport messages
//! start over = kind 5: nothing
//! busy   = kind 6: retry_ms (4, little endian) | reason, UTF-8
//! ```
//! The handheld draws the session at each first message, so that what is left on
//! a line of a session before is never taken for this one's. Only what is sealed
//! is to be believed; the plain words can cost no more than a new beginning.
//! Nothing here seals or opens: keys are the business of whoever has randomness.
use alloc::vec::Vec;

use crate::limits::REASON_BYTES_MAX;
use crate::link::frame::BODY_BYTES_MAX;

/// The first byte of every frame body. Version 1 was not sealed.
pub const LINK_VERSION: u8 = 2;
/// Bytes of a body before its content: version, kind, session.
pub const HEAD_BYTES: usize = 6;
/// Bytes of the counter of a sealed message.
pub const COUNTER_BYTES: usize = 4;
/// Bytes that the seal of one Noise message takes.
pub const SEAL_BYTES: usize = 16;
/// Noise messages that one sealed message consists of, at most.
pub const SEALS_MAX: usize = 2;
/// Bytes of a message before it is sealed.
pub const MESSAGE_BYTES_MAX: usize =
    BODY_BYTES_MAX - HEAD_BYTES - COUNTER_BYTES - SEALS_MAX * SEAL_BYTES;

/// A body that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LinkError {
    /// More bytes than a frame holds.
    #[error("link message of {0} bytes, at most {BODY_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// The first byte is not [`LINK_VERSION`].
    #[error("link version {0}, this side speaks {LINK_VERSION}: update the older of the two")]
    Version(u8),
    /// The rest is not what it should be.
    #[error("link message does not decode")]
    Malformed,
}

/// A frame's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope<'a> {
    /// Which session it is of; the handheld draws it.
    pub session: u32,
    /// What it holds.
    pub content: Content<'a>,
}

/// What an envelope holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content<'a> {
    /// The handheld's first handshake message.
    First(&'a [u8]),
    /// The gateway's.
    Second(&'a [u8]),
    /// The handheld's last.
    Third(&'a [u8]),
    /// A message.
    Sealed {
        /// Greater than that of every message sealed before, in this direction.
        counter: u32,
        /// The Noise messages.
        bytes: &'a [u8],
    },
    /// The gateway knows no such session: begin again.
    StartOver,
    /// The gateway serves others: ask again later.
    Busy {
        /// How much later.
        retry_ms: u32,
        /// Why, for people.
        reason: &'a str,
    },
}

/// The body of an envelope.
pub fn encode(envelope: &Envelope<'_>) -> Vec<u8> {
    let (kind, number, bytes) = match envelope.content {
        Content::First(bytes) => (1, None, bytes),
        Content::Second(bytes) => (2, None, bytes),
        Content::Third(bytes) => (3, None, bytes),
        Content::Sealed { counter, bytes } => (4, Some(counter), bytes),
        Content::StartOver => (5, None, [].as_slice()),
        Content::Busy { retry_ms, reason } => (6, Some(retry_ms), cut(reason).as_bytes()),
    };
    let mut body = Vec::with_capacity(HEAD_BYTES + COUNTER_BYTES + bytes.len());
    body.extend([LINK_VERSION, kind]);
    body.extend(envelope.session.to_le_bytes());
    body.extend(number.map(u32::to_le_bytes).into_iter().flatten());
    body.extend_from_slice(bytes);
    body
}

/// The envelope of a body.
pub fn decode(body: &[u8]) -> Result<Envelope<'_>, LinkError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(LinkError::TooLarge(body.len()));
    }
    let (kind, rest) = match body {
        [LINK_VERSION, kind, rest @ ..] => (kind, rest),
        [LINK_VERSION] | [] => return Err(LinkError::Malformed),
        [version, ..] => return Err(LinkError::Version(*version)),
    };
    let (session, rest) = number(rest)?;
    let content = match kind {
        1 => Content::First(rest),
        2 => Content::Second(rest),
        3 => Content::Third(rest),
        4 => {
            let (counter, bytes) = number(rest)?;
            Content::Sealed { counter, bytes }
        }
        5 if rest.is_empty() => Content::StartOver,
        6 => {
            let (retry_ms, reason) = number(rest)?;
            let reason = core::str::from_utf8(reason).map_err(|_| LinkError::Malformed)?;
            if reason.len() > REASON_BYTES_MAX {
                return Err(LinkError::Malformed);
            }
            Content::Busy { retry_ms, reason }
        }
        _ => return Err(LinkError::Malformed),
    };
    Ok(Envelope { session, content })
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), LinkError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(LinkError::Malformed)?;
    Ok((u32::from_le_bytes(*number), rest))
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)]
}

/// The refusal that a handheld of link version 1 can read, if `body` is its
/// question: `1 | postcard(number, question)` is answered `1 | postcard(number,
/// Refused { reason })`, as that version had them.
pub fn refusal_of_version_1(body: &[u8], reason: &str) -> Option<Vec<u8>> {
    const REFUSED: u8 = 4;
    let [1, rest @ ..] = body else {
        return None;
    };
    let (number, _) = postcard::take_from_bytes::<u32>(rest).ok()?;
    let answer = (number, REFUSED, cut(reason));
    Some(postcard::to_extend(&answer, alloc::vec![1]).expect("numbers and texts always encode"))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn golden_bytes_of_each_kind() {
        let body = |content| encode(&Envelope { session: 0x0a0b_0c0d, content });
        assert_eq!(body(Content::First(b"abc")), b"\x02\x01\x0d\x0c\x0b\x0aabc");
        assert_eq!(body(Content::Second(b"")), b"\x02\x02\x0d\x0c\x0b\x0a");
        assert_eq!(body(Content::Third(b"z")), b"\x02\x03\x0d\x0c\x0b\x0az");
        let sealed = Content::Sealed { counter: 258, bytes: b"xy" };
        assert_eq!(body(sealed), b"\x02\x04\x0d\x0c\x0b\x0a\x02\x01\x00\x00xy");
        assert_eq!(body(Content::StartOver), b"\x02\x05\x0d\x0c\x0b\x0a");
        let busy = Content::Busy { retry_ms: 500, reason: "full" };
        assert_eq!(body(busy), b"\x02\x06\x0d\x0c\x0b\x0a\xf4\x01\x00\x00full");
    }

    #[test]
    fn another_version_is_named_and_the_old_one_hears_a_refusal() {
        assert_eq!(decode(&[1, 7, 0]), Err(LinkError::Version(1)));
        let said = decode(&[1, 7, 0]).unwrap_err().to_string();
        assert_eq!(said, "link version 1, this side speaks 2: update the older of the two");
        assert_eq!(decode(&[]), Err(LinkError::Malformed));
        assert_eq!(decode(&[2]), Err(LinkError::Malformed));
        // A hello of version 1: number 300, then the question.
        let hello = b"\x01\xac\x02\x00\x01\x05tab-1\x03\x02\xac\x02";
        assert_eq!(refusal_of_version_1(hello, "old").unwrap(), b"\x01\xac\x02\x04\x03old");
        for not_a_question in [&[][..], &[2, 7, 0], &[1], &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert_eq!(refusal_of_version_1(not_a_question, "old"), None);
        }
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let large = vec![LINK_VERSION; BODY_BYTES_MAX + 1];
        assert_eq!(decode(&large), Err(LinkError::TooLarge(BODY_BYTES_MAX + 1)));
        let long = "ä".repeat(REASON_BYTES_MAX);
        let busy = Envelope { session: 1, content: Content::Busy { retry_ms: 1, reason: &long } };
        let body = encode(&busy);
        assert!(body.len() <= HEAD_BYTES + COUNTER_BYTES + REASON_BYTES_MAX);
        assert!(decode(&body).is_ok(), "it was cut between letters");
        assert_eq!(decode(&[body, vec![b'x'; 9]].concat()), Err(LinkError::Malformed));
    }

    proptest! {
        #[test]
        fn hostile_bodies_never_panic_and_what_is_read_is_what_was_written(
            mut body in prop::collection::vec(any::<u8>(), 1..300), kind in 0u8..9,
        ) {
            body[0] = LINK_VERSION;
            if let Some(byte) = body.get_mut(1) {
                *byte = kind;
            }
            if let Ok(envelope) = decode(&body) {
                prop_assert_eq!(encode(&envelope), body.clone());
            }
            body[0] = 1;
            let _ = refusal_of_version_1(&body, "old");
        }
    }
}
