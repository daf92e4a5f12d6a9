//! The seal of the link: who is at the other end, and that nobody between reads,
//! alters or repeats what is said.
//!
//! Noise_XX_25519_ChaChaPoly_SHA256 by the `snow` crate: both ends show a static
//! [`key`], which is who they are. [`caller`] is the handheld's end and
//! [`answerer`] the gateway's, both sans I/O: bodies of checked frames go in and
//! out. A handshake takes three messages, each of a fixed length:
//! ```text
//! handheld                                   gateway
//!   |-- first: e ------------------------------>|
//!   |<------------------ second: e, ee, s, es --|
//!   |-- third: s, se --------------------------->|   goes in front of every message
//!   |-- sealed: hello -------------------------->|   until one is answered
//! ```
//! Lines lose, double and reorder frames, so a repeated first is answered by the
//! same second, a repeated third means nothing, and sealed messages carry their
//! nonce. Nothing here decides who may come in.
pub mod answerer;
pub mod caller;
pub mod file;
pub mod key;
mod seal;

#[cfg(test)]
mod tests;

use snow::{Builder, HandshakeState};
use wadi_protocol::link::envelope::SEAL_BYTES;

use key::{KeyPair, PublicKey};

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_SHA256";
/// Bytes of the handshake's messages: e; e, s and two seals; s and two seals.
const FIRST_BYTES: usize = 32;
const SECOND_BYTES: usize = 32 + 48 + 16;
const THIRD_BYTES: usize = 48 + 16;
/// Both ends hash it in: what the keys are used for, and under which version.
const PROLOGUE: &[u8] = b"wadi link 2";

/// A handshake of a session.
fn handshake(keys: &KeyPair, session: u32, initiator: bool) -> HandshakeState {
    const OURS: &str = "the pattern, the key's length and the system's randomness are in order";
    let prologue = [PROLOGUE, &session.to_le_bytes()].concat();
    let builder = Builder::new(PATTERN.parse().expect(OURS));
    let builder = builder.prologue(&prologue).expect(OURS);
    let builder = builder.local_private_key(keys.secret()).expect(OURS);
    let built = if initiator { builder.build_initiator() } else { builder.build_responder() };
    built.expect(OURS)
}

/// The next message of a handshake, which is ours to say.
fn say(handshake: &mut HandshakeState, bytes: usize) -> Vec<u8> {
    // Even a message that is not sealed is given the room of a seal.
    let mut message = vec![0; bytes + SEAL_BYTES];
    let written = handshake.write_message(&[], &mut message);
    assert_eq!(written.ok(), Some(bytes), "a message of the handshake has its length");
    message.truncate(bytes);
    message
}

/// The key that the other end has proved to hold.
fn remote(handshake: &HandshakeState) -> Option<PublicKey> {
    handshake.get_remote_static()?.try_into().ok().map(PublicKey)
}
