//! Sealing and opening messages once the handshake is over.
//!
//! A message of more bytes than Noise allows goes in two pieces. The nonce of a
//! piece says which message of this direction it belongs to, which piece it is,
//! and whether it is the last, so that none can be left out or taken elsewhere:
//! ```text
//! nonce = counter (32 bits) | piece (1 bit) | last (1 bit)
//! ```
//! No counter is used twice for a key: a message that is sent again is sealed
//! again. A counter that is not above the last one accepted is refused.
use snow::{HandshakeState, StatelessTransportState};
use wadi_protocol::link::envelope::{MESSAGE_BYTES_MAX, SEAL_BYTES, SEALS_MAX};

/// Bytes of one Noise message, its seal included.
const PIECE_BYTES_MAX: usize = 65_535;
const _: () = assert!(MESSAGE_BYTES_MAX <= SEALS_MAX * (PIECE_BYTES_MAX - SEAL_BYTES));

/// The keys of a session, for both directions.
pub(super) struct Seal {
    transport: StatelessTransportState,
    /// The last counter used; none is 0.
    sent: u32,
    /// The last counter accepted.
    heard: u32,
}

impl Seal {
    /// The keys that a finished handshake agreed on.
    pub fn new(handshake: HandshakeState) -> Option<Seal> {
        let transport = handshake.into_stateless_transport_mode().ok()?;
        Some(Seal { transport, sent: 0, heard: 0 })
    }

    /// Seal a message under the next counter; none if they are used up.
    pub fn close(&mut self, message: &[u8]) -> Option<(u32, Vec<u8>)> {
        assert!(message.len() <= MESSAGE_BYTES_MAX, "whoever makes a message measures it");
        self.sent = self.sent.checked_add(1)?;
        let room = PIECE_BYTES_MAX - SEAL_BYTES;
        let count = message.len().div_ceil(room).max(1);
        let mut sealed = vec![0; message.len() + count * SEAL_BYTES];
        let mut rest = sealed.as_mut_slice();
        for at in 0..count {
            let piece = &message[at * room..message.len().min((at + 1) * room)];
            let nonce = nonce(self.sent, at, at + 1 == count);
            let written = self.transport.write_message(nonce, piece, rest).ok()?;
            rest = &mut rest[written..];
        }
        Some((self.sent, sealed))
    }

    /// Open a message; none if it is not of this session, was altered, or came before.
    pub fn open(&mut self, counter: u32, sealed: &[u8]) -> Option<Vec<u8>> {
        let count = sealed.len().div_ceil(PIECE_BYTES_MAX);
        if counter <= self.heard || !(1..=SEALS_MAX).contains(&count) {
            return None;
        }
        let mut message = vec![0; sealed.len()];
        let mut length = 0;
        for (at, piece) in sealed.chunks(PIECE_BYTES_MAX).enumerate() {
            if piece.len() < SEAL_BYTES {
                return None;
            }
            let nonce = nonce(counter, at, at + 1 == count);
            length += self.transport.read_message(nonce, piece, &mut message[length..]).ok()?;
        }
        self.heard = counter;
        message.truncate(length);
        Some(message)
    }
}

fn nonce(counter: u32, piece: usize, last: bool) -> u64 {
    u64::from(counter) << 2 | (piece as u64) << 1 | u64::from(last)
}
