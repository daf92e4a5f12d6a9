//! The bad channel: what is on its way is lost, doubled and reordered, from one seed.

pub struct Dice(pub u64);

impl Dice {
    pub fn seeded(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A message comes to an end of the channel.
pub enum Arrival {
    ToHub(Vec<u8>),
    ToGateway(Vec<u8>),
}

/// What is on its way.
#[derive(Default)]
pub struct Channel {
    pub up: Vec<Vec<u8>>,
    pub down: Vec<Vec<u8>>,
}

impl Channel {
    /// One message of either direction, if it has any: the oldest of them while all is calm.
    pub fn take(&mut self, dice: &mut Dice, calm: bool) -> Option<Arrival> {
        let is_up = dice.roll(2) == 0;
        let queue = if is_up { &mut self.up } else { &mut self.down };
        if queue.is_empty() {
            return None;
        }
        let at = if calm { 0 } else { dice.0 as usize % queue.len() };
        let bytes = queue.remove(at);
        match if calm { 5 } else { dice.roll(6) } {
            0 => return None,
            1 => queue.push(bytes.clone()),
            _ => {}
        }
        Some(if is_up { Arrival::ToHub(bytes) } else { Arrival::ToGateway(bytes) })
    }

    pub fn clear(&mut self) {
        self.up.clear();
        self.down.clear();
    }
}
