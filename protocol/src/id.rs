//! Names of things: devices, runs, dots, rows, versions, gateways, hashes.
//!
//! All are plain numbers, cheap to copy and to compare. Nothing here draws
//! randomness: whoever creates a store passes the random bits in.
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whoever makes changes: a handheld, a gateway, an operator. A handheld's are
/// derived from its key ([`DeviceId::of_key`]); gateways and operators draw 64
/// random bits once. A label for people is kept beside it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct DeviceId(pub u64);

/// A short random id (48 bits) that a store draws when it is created and
/// whenever it may not be what it was. Zero means *none*.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct RunId(pub u64);

/// The name of a change, for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Dot {
    /// Who made it.
    pub device: DeviceId,
    /// Under which run.
    pub run: RunId,
    /// The how-manyth of the run, from 1.
    pub seq: u64,
}

/// A row's id: a UUID. Ours are derivable, see [`RowId::derive`]; any other is accepted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowId(pub [u8; 16]);

/// The hub (run, sequence) at which a row image was current; sequence 0 = nothing was shown.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct RowVersion {
    /// The hub's run that gave the sequence.
    pub hub: RunId,
    /// The hub sequence.
    pub seq: u64,
}

/// The number that the hub gave a gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct GatewayId(pub u32);

/// Half of a SHA-256: content hashes and the chain of rounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hash(pub [u8; 16]);

/// A run, where it came from, and whose it is.
///
/// All runs of a device form a tree; the path from a run up to its root is its
/// *line*. A copied phone gives two runs with one parent, which are concurrent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunInfo {
    /// The device.
    pub device: DeviceId,
    /// The run.
    pub run: RunId,
    /// The run before it and the last sequence of that run which precedes this one.
    pub parent: Option<(RunId, u64)>,
    /// The device's name for people.
    pub label: alloc::string::String,
}

const RUN_BITS: u32 = 48;

/// What a handheld's device ids are hashed under, so that no other hash is ever one.
const DEVICE_DOMAIN: &[u8] = b"wadi device of key 1";

impl DeviceId {
    /// The device that `label` names at the handheld of a public key. So nobody
    /// else can speak for it: whoever proves the key can be asked for the label,
    /// and 2^64 keys or labels would have to be tried to meet another's device.
    ///
    /// The first 8 bytes, as a big-endian number, of
    /// SHA-256( "wadi device of key 1" | public key, 32 bytes | label, UTF-8 ).
    pub fn of_key(public: &[u8; 32], label: &str) -> DeviceId {
        use sha2::Digest;
        let mut state = sha2::Sha256::new();
        for part in [DEVICE_DOMAIN, public, label.as_bytes()] {
            state.update(part);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&state.finalize()[..8]);
        DeviceId(u64::from_be_bytes(first))
    }
}

impl RunId {
    /// No run.
    pub const NONE: RunId = RunId(0);

    /// A run from random bits; never [`RunId::NONE`].
    pub fn from_random(bits: u64) -> RunId {
        RunId((bits >> (64 - RUN_BITS)).max(1))
    }
}

impl Hash {
    /// SHA-256 over `parts`, each preceded by its length (u64, little endian), cut to 16 bytes.
    pub fn of(parts: &[&[u8]]) -> Hash {
        use sha2::Digest;
        let mut state = sha2::Sha256::new();
        for part in parts {
            state.update((part.len() as u64).to_le_bytes());
            state.update(part);
        }
        let mut out = [0; 16];
        out.copy_from_slice(&state.finalize()[..16]);
        Hash(out)
    }
}

impl RowId {
    /// The id of the `counter`th row made by `device` in `run`, in UUID form (version 8):
    /// run 48 bits | 8 | device bits 33..22 | 10 | device bits 21..0 | counter 40 bits.
    ///
    /// Unique without coordination; the receiver of a change can derive it again,
    /// so it need not travel.
    pub fn derive(device: DeviceId, run: RunId, counter: u64) -> RowId {
        let high = (run.0 << 16) | 0x8000 | ((device.0 >> 22) & 0xfff);
        let low = (0b10 << 62) | ((device.0 & 0x3f_ffff) << 40) | (counter & 0xff_ffff_ffff);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        bytes[8..].copy_from_slice(&low.to_be_bytes());
        RowId(bytes)
    }

    /// Who made the row, as far as its id tells: the device's lowest 34 bits, the run and
    /// the counter, from which the id can be derived again. None if it was made elsewhere.
    pub fn maker(self) -> Option<(DeviceId, RunId, u64)> {
        let bits = u128::from_be_bytes(self.0);
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        let device = DeviceId((high & 0xfff) << 22 | (low >> 40 & 0x3f_ffff));
        let (run, counter) = (RunId(high >> 16), low & 0xff_ffff_ffff);
        (RowId::derive(device, run, counter) == self).then_some((device, run, counter))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.device, self.run, self.seq)
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                at += 1;
            }
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        f.write_str(core::str::from_utf8(&text).expect("hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the id that was expected there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not {0}")]
pub struct BadId(&'static str);

impl FromStr for RowId {
    type Err = BadId;

    /// The canonical form, 8-4-4-4-12 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<RowId, BadId> {
        const BAD: BadId = BadId("a UUID such as 8dd32ccf-ea43-49e0-8514-58eeb8336913");
        let text = text.as_bytes();
        if text.len() != 36 {
            return Err(BAD);
        }
        let mut digits = [0u8; 32];
        let mut at = 0;
        for (place, &byte) in text.iter().enumerate() {
            if matches!(place, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return Err(BAD);
                }
                continue;
            }
            digits[at] = (byte as char).to_digit(16).ok_or(BAD)? as u8;
            at += 1;
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(RowId(bytes))
    }
}

impl FromStr for Dot {
    type Err = BadId;

    /// `device.run.sequence`, as [`Dot`] is displayed.
    fn from_str(text: &str) -> Result<Dot, BadId> {
        const BAD: BadId = BadId("a dot (device.run.sequence)");
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(BAD);
        let device = u64::from_str_radix(next()?, 16).map_err(|_| BAD)?;
        let run = u64::from_str_radix(next()?, 16).map_err(|_| BAD)?;
        let seq = next()?.parse().map_err(|_| BAD)?;
        if parts.next().is_some() || run >> RUN_BITS != 0 {
            return Err(BAD);
        }
        Ok(Dot { device: DeviceId(device), run: RunId(run), seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn derived_row_id_is_a_uuid_of_version_8() {
        let id = RowId::derive(DeviceId(0x0123_4567_89ab_cdef), RunId(0xa1b2_c3d4_e5f6), 7);
        assert_eq!(id.to_string(), "a1b2c3d4-e5f6-8e26-abcd-ef0000000007");
        assert_eq!(id.to_string().parse(), Ok(id));
        let (device, run, counter) = id.maker().unwrap();
        assert_eq!((device.0, run.0, counter), (0x3_89ab_cdef, 0xa1b2_c3d4_e5f6, 7));
        let elsewhere: RowId = "8dd32ccf-ea43-49e0-8514-58eeb8336913".parse().unwrap();
        assert_eq!(elsewhere.maker(), None);
    }

    #[test]
    fn row_ids_that_are_not_uuids_are_refused() {
        for text in
            ["", "7", "8dd32ccf-ea43-49e0-8514-58eeb833691", "8dd32ccfXea43-49e0-8514-58eeb8336913"]
        {
            assert!(text.parse::<RowId>().is_err(), "{text}");
        }
    }

    #[test]
    fn dot_survives_its_text() {
        let dot = Dot { device: DeviceId(9), run: RunId(0xffff_ffff_ffff), seq: 12 };
        assert_eq!(dot.to_string().parse(), Ok(dot));
        assert!("1.2".parse::<Dot>().is_err());
        assert!("1.1000000000000.1".parse::<Dot>().is_err());
    }

    #[test]
    fn a_device_is_of_one_key_and_one_label() {
        let anna = DeviceId::of_key(&[1; 32], "anna");
        assert_eq!(anna, DeviceId::of_key(&[1; 32], "anna"));
        for other in [DeviceId::of_key(&[2; 32], "anna"), DeviceId::of_key(&[1; 32], "Anna")] {
            assert_ne!(anna, other);
        }
    }

    #[test]
    fn hash_separates_its_parts() {
        assert_ne!(Hash::of(&[b"ab", b"c"]), Hash::of(&[b"a", b"bc"]));
    }
}
