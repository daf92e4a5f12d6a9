//! Keyed tags: who a round's message is from, whatever carried it.
//!
//! ```text
//! sealed message = message | tag (8 bytes)
//! tag            = first 8 bytes of HMAC-SHA256(key, way (1) | gateway (4, LE) | message)
//! key            = HMAC-SHA256(master, "wadi gateway" | gateway (4, LE) | enrolment (4, LE))
//! ```
//! A broker, or whoever holds its place, can lose, delay and repeat messages,
//! and rounds bear that; it cannot make or alter one. Each direction and each
//! gateway has tags of its own. Eight bytes: a guess costs a message on the
//! link, and 2^64 of them cannot be sent.
use core::fmt;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::id::GatewayId;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 8;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From a gateway to the hub.
    Up = 1,
    /// From the hub to a gateway.
    Down = 2,
}

/// The key that one enrolment of a gateway shares with the hub.
#[derive(Clone, PartialEq, Eq)]
pub struct TagKey([u8; KEY_BYTES]);

impl TagKey {
    /// A key as it was written down.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> TagKey {
        TagKey(bytes)
    }

    /// The key of an enrolment (counted from 1), from the hub's master secret.
    pub fn derive(master: &[u8; KEY_BYTES], gateway: GatewayId, enrolment: u32) -> TagKey {
        let mut mac = keyed(master);
        mac.update(b"wadi gateway");
        mac.update(&gateway.0.to_le_bytes());
        mac.update(&enrolment.to_le_bytes());
        TagKey(mac.finalize().into_bytes().into())
    }

    /// Its bytes, for writing it down.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A message with its tag behind it.
    pub fn seal(&self, gateway: GatewayId, way: Way, mut message: Vec<u8>) -> Vec<u8> {
        let tag = self.mac(gateway, way, &message).finalize().into_bytes();
        message.extend_from_slice(&tag[..TAG_BYTES]);
        message
    }

    /// The message, if its tag is right. The comparison takes the same time wherever they differ.
    pub fn open<'a>(&self, gateway: GatewayId, way: Way, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (message, tag) = sealed.split_at(sealed.len().checked_sub(TAG_BYTES)?);
        self.mac(gateway, way, message).verify_truncated_left(tag).ok()?;
        Some(message)
    }

    fn mac(&self, gateway: GatewayId, way: Way, message: &[u8]) -> Hmac<Sha256> {
        let mut mac = keyed(&self.0);
        mac.update(&[way as u8]);
        mac.update(&gateway.0.to_le_bytes());
        mac.update(message);
        mac
    }
}

/// Never the key itself: logs are read by many.
impl fmt::Debug for TagKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TagKey(secret)")
    }
}

/// A secret as it is written down: hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A key as it was written down; none if these are not its digits.
pub fn unhex(digits: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * KEY_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; KEY_BYTES];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

fn keyed(key: &[u8; KEY_BYTES]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASTER: [u8; KEY_BYTES] = [7; KEY_BYTES];
    const GATEWAY: GatewayId = GatewayId(3);

    #[test]
    fn golden_bytes_of_a_tag() {
        let key = TagKey::derive(&MASTER, GATEWAY, 1);
        let sealed = key.seal(GATEWAY, Way::Up, b"hello".to_vec());
        assert_eq!(sealed, b"hello\x5f\xe2\xba\x53\xe0\x3c\xe8\x7d");
    }

    #[test]
    fn a_tag_is_for_one_key_one_gateway_and_one_way() {
        let key = TagKey::derive(&MASTER, GATEWAY, 1);
        let sealed = key.seal(GATEWAY, Way::Up, b"hello".to_vec());
        assert_eq!(key.open(GATEWAY, Way::Up, &sealed), Some(&b"hello"[..]));
        assert_eq!(key.open(GATEWAY, Way::Down, &sealed), None);
        assert_eq!(key.open(GatewayId(4), Way::Up, &sealed), None);
        assert_eq!(TagKey::derive(&MASTER, GATEWAY, 2).open(GATEWAY, Way::Up, &sealed), None);
        assert_eq!(TagKey::derive(&[8; 32], GATEWAY, 1).open(GATEWAY, Way::Up, &sealed), None);
    }

    #[test]
    fn a_key_is_written_and_read() {
        assert_eq!(unhex(&hex(&MASTER)), Some(MASTER));
        assert_eq!(hex(&[0, 0xab]), "00ab");
        let digits = hex(&MASTER);
        for not_a_key in ["", &digits[1..], &digits.replace('7', "+"), &digits.replace("07", "é")]
        {
            assert_eq!(unhex(not_a_key), None, "{not_a_key}");
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        assert!(!format!("{:?}", TagKey::from_bytes([0xab; 32])).contains("171"));
    }

    proptest! {
        #[test]
        fn any_altered_or_cut_message_is_refused(
            message in prop::collection::vec(any::<u8>(), 0..200),
            place in any::<prop::sample::Index>(), flip in 1u8.., cut in any::<prop::sample::Index>(),
        ) {
            let key = TagKey::derive(&MASTER, GATEWAY, 1);
            let sealed = key.seal(GATEWAY, Way::Down, message.clone());
            prop_assert_eq!(key.open(GATEWAY, Way::Down, &sealed), Some(&message[..]));
            let mut altered = sealed.clone();
            altered[place.index(sealed.len())] ^= flip;
            prop_assert_eq!(key.open(GATEWAY, Way::Down, &altered), None);
            let short = &sealed[..cut.index(sealed.len())];
            prop_assert_eq!(key.open(GATEWAY, Way::Down, short), None);
        }
    }
}
