//! Static keys: made at first use, kept in one place, known to people by a fingerprint.
use std::fmt;
use std::io;
use std::str::FromStr;

use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a public key that people compare: making another key with the same
/// ones takes 2^64 tries.
const FINGERPRINT_BYTES: usize = 8;

/// Who somebody is. Shown as its fingerprint, the first 16 digits in groups of four.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; KEY_BYTES]);

impl PublicKey {
    /// All 64 hexadecimal digits.
    pub fn whole(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The fingerprint without spaces, as it is typed.
    pub fn typed(&self) -> String {
        self.whole()[..2 * FINGERPRINT_BYTES].to_owned()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pair) in self.0[..FINGERPRINT_BYTES].chunks(2).enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{:02x}{:02x}", pair[0], pair[1])?;
        }
        Ok(())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What somebody typed to name a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typed {
    /// The fingerprint.
    Fingerprint([u8; FINGERPRINT_BYTES]),
    /// The whole key.
    Whole(PublicKey),
}

/// It names no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not a key: type the 16 digits that `wadi-handheld key` shows, or all 64 (spaces do not count)"
)]
pub struct BadKey;

impl Typed {
    /// Whether it names this key.
    pub fn names(&self, key: &PublicKey) -> bool {
        match self {
            Typed::Fingerprint(first) => key.0.starts_with(first),
            Typed::Whole(whole) => whole == key,
        }
    }
}

impl FromStr for Typed {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Typed, BadKey> {
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        let mut high = None;
        for letter in text.chars().filter(|letter| !matches!(letter, ' ' | '-' | ':')) {
            let digit = letter.to_digit(16).ok_or(BadKey)? as u8;
            match high.take() {
                None => high = Some(digit << 4),
                Some(_) if bytes.len() == KEY_BYTES => return Err(BadKey),
                Some(first) => bytes.push(first | digit),
            }
        }
        match (high, bytes.len()) {
            (None, KEY_BYTES) => Ok(Typed::Whole(PublicKey(bytes.try_into().expect("measured")))),
            (None, FINGERPRINT_BYTES) => {
                Ok(Typed::Fingerprint(bytes.try_into().expect("measured")))
            }
            _ => Err(BadKey),
        }
    }
}

/// Who we are. Never shown but for its public half.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    secret: [u8; KEY_BYTES],
    public: PublicKey,
}

impl KeyPair {
    /// A new one, from the operating system's randomness.
    pub fn draw() -> io::Result<KeyPair> {
        let mut secret = [0; KEY_BYTES];
        getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(KeyPair::of(secret))
    }

    /// That of a secret kept before.
    pub fn of(secret: [u8; KEY_BYTES]) -> KeyPair {
        const OURS: &str = "Curve25519 is built in, and its public keys have 32 bytes";
        let mut curve = DefaultResolver.resolve_dh(&DHChoice::Curve25519).expect(OURS);
        curve.set(&secret);
        let public = PublicKey(curve.pubkey().try_into().expect(OURS));
        KeyPair { secret, public }
    }

    /// The half to show.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The half to keep.
    pub fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.secret
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_known_by_its_first_digits() {
        let keys = KeyPair::of([0x5e; KEY_BYTES]);
        assert!(!format!("{keys:?}").contains("5e5e"), "a secret is never shown");
        let public = keys.public();
        assert_eq!(public.to_string().replace(' ', ""), public.typed());
        for text in [public.to_string(), public.typed(), public.whole().to_uppercase()] {
            assert!(text.parse::<Typed>().unwrap().names(&public), "{text}");
        }
        assert!(!public.typed().parse::<Typed>().unwrap().names(&PublicKey([0; 32])));
        for text in ["", "3f2a", "zz", "3f2a91c0 77e10b5", &format!("{}00", public.whole())] {
            assert_eq!(text.parse::<Typed>(), Err(BadKey), "{text}");
        }
    }

    #[test]
    fn the_public_half_is_that_of_the_rfc() {
        // RFC 7748, 6.1: Alice's private and public key.
        let secret = [
            0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2,
            0x66, 0x45, 0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5,
            0x1d, 0xb9, 0x2c, 0x2a,
        ];
        assert_eq!(
            KeyPair::of(secret).public().whole(),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
        );
    }
}
