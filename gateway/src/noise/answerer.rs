//! The gateway's end of the seal.
//!
//! It holds one open session and one that is being opened beside it: whoever
//! plays a recorded first message into a line does not end the session that is
//! open there. Only a third message that proves its key does.
use std::sync::Arc;

use snow::HandshakeState;
use wadi_protocol::link::envelope::{self, Content, Envelope, LinkError};

use super::key::{KeyPair, PublicKey};
use super::seal::Seal;
use super::{FIRST_BYTES, SECOND_BYTES, THIRD_BYTES, handshake, remote, say};

/// What a handheld of link version 1 is told.
const TOO_OLD: &str = "this gateway speaks a newer link version: update wadi-handheld";

/// What one body leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// Answer with this body, plain.
    Reply(Vec<u8>),
    /// A new session is open with the holder of this key; what was before is over.
    Opened(PublicKey),
    /// A message of the open session.
    Message(Vec<u8>),
    /// It means nothing: a repeat, of a session before, altered.
    Nothing(&'static str),
    /// It cannot be read.
    Unreadable(LinkError),
}

/// The gateway's end on one stream.
pub struct Answerer {
    keys: Arc<KeyPair>,
    pending: Option<Pending>,
    open: Option<Open>,
}

struct Pending {
    session: u32,
    first: Vec<u8>,
    second: Vec<u8>,
    handshake: Box<HandshakeState>,
}

struct Open {
    session: u32,
    seal: Box<Seal>,
}

impl Answerer {
    /// An end that nobody has called yet.
    pub fn new(keys: Arc<KeyPair>) -> Answerer {
        Answerer { keys, pending: None, open: None }
    }

    /// A checked body came.
    pub fn hear(&mut self, body: &[u8]) -> Heard {
        let Envelope { session, content } = match envelope::decode(body) {
            Ok(envelope) => envelope,
            Err(error) => {
                let refusal = envelope::refusal_of_version_1(body, TOO_OLD);
                return refusal.map_or(Heard::Unreadable(error), Heard::Reply);
            }
        };
        match content {
            Content::First(message) => self.first(session, message),
            Content::Third(message) => self.third(session, message),
            Content::Sealed { counter, bytes } => self.sealed(session, counter, bytes),
            Content::Second(_) | Content::StartOver | Content::Busy { .. } => {
                Heard::Nothing("a gateway's word from a handheld")
            }
        }
    }

    /// The body of a sealed message; none if no session is open or its counters are used up.
    pub fn seal(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let Open { session, seal } = self.open.as_mut()?;
        let (counter, bytes) = seal.close(message)?;
        let content = Content::Sealed { counter, bytes: &bytes };
        Some(envelope::encode(&Envelope { session: *session, content }))
    }

    fn first(&mut self, session: u32, message: &[u8]) -> Heard {
        if self.open.as_ref().is_some_and(|open| open.session == session) {
            return Heard::Nothing("the first message of the open session again");
        }
        if message.len() != FIRST_BYTES {
            return Heard::Nothing("a first message of the wrong length");
        }
        let held = self.pending.as_ref();
        if let Some(pending) = held.filter(|held| held.session == session && held.first == message)
        {
            return Heard::Reply(pending.second.clone());
        }
        let mut handshake = Box::new(handshake(&self.keys, session, false));
        if handshake.read_message(message, &mut [0; FIRST_BYTES]).is_err() {
            return Heard::Nothing("a first message that is none");
        }
        let second = say(&mut handshake, SECOND_BYTES);
        let content = Content::Second(&second);
        let second = envelope::encode(&Envelope { session, content });
        let first = message.to_vec();
        self.pending = Some(Pending { session, first, second: second.clone(), handshake });
        Heard::Reply(second)
    }

    fn third(&mut self, session: u32, message: &[u8]) -> Heard {
        if self.open.as_ref().is_some_and(|open| open.session == session) {
            return Heard::Nothing("the third message of the open session again");
        }
        let Some(mut pending) = self.pending.take_if(|pending| pending.session == session) else {
            return start_over(session);
        };
        if message.len() != THIRD_BYTES
            || pending.handshake.read_message(message, &mut [0; THIRD_BYTES]).is_err()
        {
            return start_over(session);
        }
        let key = remote(&pending.handshake);
        let Some((key, seal)) = key.zip(Seal::new(*pending.handshake)) else {
            return start_over(session);
        };
        self.open = Some(Open { session, seal: Box::new(seal) });
        Heard::Opened(key)
    }

    fn sealed(&mut self, session: u32, counter: u32, bytes: &[u8]) -> Heard {
        if let Some(open) = self.open.as_mut().filter(|open| open.session == session) {
            return match open.seal.open(counter, bytes) {
                Some(message) => Heard::Message(message),
                None => Heard::Nothing("a message that came before or was altered"),
            };
        }
        if self.pending.as_ref().is_some_and(|pending| pending.session == session) {
            // Its third message was lost; the handheld sends both again.
            return Heard::Nothing("a message before its session is open");
        }
        start_over(session)
    }
}

fn start_over(session: u32) -> Heard {
    Heard::Reply(envelope::encode(&Envelope { session, content: Content::StartOver }))
}
