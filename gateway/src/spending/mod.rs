//! What the link to the hub costs, in bytes as the carrier bills them, and how much of it
//! the site may spend.
//!
//! [`Meter`] counts: by the counters of a network interface where one is named, else by what
//! the kernel tells of the connection (`diag`), or by what went through it (`tap`). The store
//! keeps the counts by day. [`Allowance`] says what may be sent, of plain numbers.
//!
//! ```text
//! mqtt (connect, pings) -> Meter -> sync worker -> store (wadi_spent) -> Allowance -> Standing
//! ```
use serde::{Deserialize, Serialize};

mod allowance;
pub mod config;
mod diag;
mod meter;
mod tap;

pub use allowance::{Allowance, Gate, Moment, Sums, Why, Window};
pub use meter::Meter;
pub use tap::Tap;

/// What bytes were for. The number is what `wadi_spent.purpose` holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Changesets and pages of rounds that were committed, as coded.
    Payload = 0,
    /// What carries them: heads, MQTT, TCP, IP, acknowledgements; and what was sent again.
    Protocol = 1,
    /// To connect: TCP, the handshake of TLS, and to introduce ourselves to the broker.
    Connect = 2,
    /// To keep an idle connection.
    Idle = 3,
    /// Of other programs, on an interface that is counted whole.
    Others = 4,
}

impl Purpose {
    /// All of them, in the order of their numbers.
    pub const ALL: [Purpose; 5] =
        [Purpose::Payload, Purpose::Protocol, Purpose::Connect, Purpose::Idle, Purpose::Others];

    /// The purpose of a stored number; one that is not known is what carried something.
    pub fn of(number: u8) -> Purpose {
        let known = Purpose::ALL.into_iter().find(|purpose| *purpose as u8 == number);
        known.unwrap_or(Purpose::Protocol)
    }

    /// Its name, for people and machines.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Payload => "payload",
            Purpose::Protocol => "protocol",
            Purpose::Connect => "connect",
            Purpose::Idle => "idle",
            Purpose::Others => "others",
        }
    }
}

/// Bytes both ways.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Traffic {
    /// From the gateway.
    pub up: u64,
    /// To the gateway.
    pub down: u64,
}

impl Traffic {
    /// Both ways together.
    pub fn total(self) -> u64 {
        self.up.saturating_add(self.down)
    }

    /// What came on top of an earlier count; all of it where the count began anew.
    pub fn since(self, before: Traffic) -> Traffic {
        let beyond = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Traffic { up: beyond(self.up, before.up), down: beyond(self.down, before.down) }
    }

    /// Without so much of it; never below nothing.
    pub fn less(self, other: Traffic) -> Traffic {
        Traffic { up: self.up.saturating_sub(other.up), down: self.down.saturating_sub(other.down) }
    }
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.up = self.up.saturating_add(other.up);
        self.down = self.down.saturating_add(other.down);
    }
}

/// Traffic by purpose.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bill([Traffic; Purpose::ALL.len()]);

impl Bill {
    /// More of a purpose.
    pub fn add(&mut self, purpose: Purpose, traffic: Traffic) {
        self.0[purpose as usize] += traffic;
    }

    /// All of another bill.
    pub fn add_all(&mut self, other: &Bill) {
        other.each().for_each(|(purpose, traffic)| self.add(purpose, traffic));
    }

    /// What is on it.
    pub fn each(&self) -> impl Iterator<Item = (Purpose, Traffic)> {
        let all = Purpose::ALL.into_iter().zip(self.0);
        all.filter(|(_, traffic)| *traffic != Traffic::default())
    }

    /// Of one purpose.
    pub fn of(&self, purpose: Purpose) -> Traffic {
        self.0[purpose as usize]
    }

    /// Everything on it, both ways.
    pub fn total(&self) -> u64 {
        self.each().map(|(_, traffic)| traffic.total()).sum()
    }
}
