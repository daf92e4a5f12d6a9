//! What a bad link is, and when each packet on it arrives: numbers and arithmetic.
//!
//! Time comes as an argument, so that this is tested without waiting; bytes and
//! sockets are the relay's. A lost packet is what TCP makes of it: a stall of one
//! retransmission for it and all behind it on its connection.
use std::time::{Duration, Instant};

use crate::random::Random;

/// Bytes of a connection in one packet, at most.
pub const PACKET_BYTES_MAX: usize = 1_400;
/// IPv4 and TCP with timestamps, before each packet: they take time on the link too.
pub const HEADER_BYTES: usize = 52;
/// Bytes that wait to leave, each way: the memory of a modem. Above it nothing more is
/// taken, so that whoever sends feels the link.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024;
/// Behind a round trip, before a lost packet is sent again: the least that Linux waits.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(200);

/// A link, as its operator would describe it. 0 = without that limit or fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Bits a second from the client.
    pub up_bit_s: u64,
    /// Bits a second to the client.
    pub down_bit_s: u64,
    /// On the way, one way.
    pub latency_ms: u64,
    /// More than that, at most; drawn for each packet, which never overtakes another.
    pub jitter_ms: u64,
    /// Packets of a thousand that are lost, and sent again.
    pub loss_per_mille: u64,
    /// The client's end of a connection that is cut closes, and the other end hears
    /// nothing of it: what has left still arrives there, and a new connection comes
    /// beside the old one.
    pub lingers: bool,
}

/// The links that tests know by name.
pub const PRESETS: [(&str, Link); 4] = [
    ("gprs", Link { up_bit_s: 30_000, down_bit_s: 30_000, latency_ms: 300, ..Link::OPEN }),
    (
        "edge",
        Link {
            up_bit_s: 80_000,
            down_bit_s: 160_000,
            latency_ms: 200,
            jitter_ms: 60,
            loss_per_mille: 5,
            lingers: false,
        },
    ),
    (
        "3g",
        Link {
            up_bit_s: 384_000,
            down_bit_s: 1_500_000,
            latency_ms: 60,
            jitter_ms: 20,
            loss_per_mille: 2,
            lingers: false,
        },
    ),
    (
        "satellite",
        Link {
            up_bit_s: 128_000,
            down_bit_s: 512_000,
            latency_ms: 320,
            jitter_ms: 10,
            loss_per_mille: 10,
            lingers: false,
        },
    ),
];

impl Link {
    /// Nothing is in the way.
    pub const OPEN: Link = Link {
        up_bit_s: 0,
        down_bit_s: 0,
        latency_ms: 0,
        jitter_ms: 0,
        loss_per_mille: 0,
        lingers: false,
    };

    /// The link of this name in [`PRESETS`].
    pub fn preset(name: &str) -> Link {
        let found = PRESETS.iter().find(|(preset, _)| *preset == name);
        found.unwrap_or_else(|| panic!("no link is called {name}")).1
    }

    /// So many bytes a second each way, and nothing else.
    pub fn of_rate(bytes_s: u64) -> Link {
        Link { up_bit_s: bytes_s * 8, down_bit_s: bytes_s * 8, ..Link::OPEN }
    }

    /// There and back, at least.
    pub fn round_trip(&self) -> Duration {
        Duration::from_millis(2 * self.latency_ms)
    }

    /// Both directions, up first.
    pub fn lanes(&self, seed: u64, now: Instant) -> [Lane; 2] {
        let mut random = Random::seeded(seed);
        [self.up_bit_s, self.down_bit_s].map(|rate_bit_s| Lane {
            link: *self,
            rate_bit_s,
            free_at: now,
            random: random.fork(),
        })
    }
}

/// One direction of a link, for all connections on it.
#[derive(Debug)]
pub struct Lane {
    link: Link,
    rate_bit_s: u64,
    /// When everything that was taken so far has left.
    free_at: Instant,
    random: Random,
}

/// When a packet has left and when it arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passage {
    /// Its last bit leaves.
    pub leaves: Instant,
    /// It is there.
    pub arrives: Instant,
}

impl Lane {
    /// Bytes to take at once.
    pub fn chunk_bytes(&self, at_most: usize) -> usize {
        if self.link == Link::OPEN { at_most } else { at_most.min(PACKET_BYTES_MAX) }
    }

    /// How long until there is room for more.
    pub fn full_for(&self, now: Instant) -> Duration {
        let queue = self.duration(QUEUE_BYTES_MAX);
        self.free_at.saturating_duration_since(now).saturating_sub(queue)
    }

    /// Bytes of one connection go on their way, behind what that one sent before.
    pub fn pass(&mut self, now: Instant, bytes: usize, behind: &mut Instant) -> Passage {
        let wire_bytes = bytes + packets(bytes) * HEADER_BYTES;
        let mut leaves = self.free_at.max(now) + self.duration(wire_bytes);
        let mut on_the_way = Duration::from_millis(self.link.latency_ms);
        on_the_way += Duration::from_micros(self.random.within(0..self.link.jitter_ms * 1000 + 1));
        if self.random.chance(self.link.loss_per_mille) {
            leaves += self.duration(wire_bytes);
            on_the_way += self.link.round_trip() + RETRANSMIT_AFTER;
        }
        self.free_at = leaves;
        *behind = (leaves + on_the_way).max(*behind);
        Passage { leaves, arrives: *behind }
    }

    /// What waits to leave is gone.
    pub fn clear(&mut self, now: Instant) {
        self.free_at = self.free_at.min(now);
    }

    fn duration(&self, bytes: usize) -> Duration {
        match self.rate_bit_s {
            0 => Duration::ZERO,
            rate => Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / rate),
        }
    }
}

/// Packets that so many bytes make.
pub fn packets(bytes: usize) -> usize {
    bytes.div_ceil(PACKET_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends packets whenever there is room; when each left and arrived.
    fn play(link: Link, seed: u64, count: usize) -> (Instant, Vec<Passage>) {
        let start = Instant::now();
        let [mut lane, _] = link.lanes(seed, start);
        let (mut now, mut behind) = (start, start);
        let passages = (0..count).map(|_| {
            now += lane.full_for(now);
            lane.pass(now, PACKET_BYTES_MAX, &mut behind)
        });
        (start, passages.collect())
    }

    #[test]
    fn the_rate_is_kept_to_the_bit() {
        let (start, passages) = play(Link::preset("gprs"), 1, 100);
        let bits = 100 * 8 * (PACKET_BYTES_MAX + HEADER_BYTES) as u64;
        let took = passages[99].leaves - start;
        assert_eq!(took.as_micros() as u64, bits * 1_000_000 / 30_000);
        assert!(passages.iter().all(|at| at.arrives == at.leaves + Duration::from_millis(300)));
    }

    #[test]
    fn both_directions_have_their_own_rate() {
        let (now, link) =
            (Instant::now(), Link { up_bit_s: 8_000, down_bit_s: 80_000, ..Link::OPEN });
        let [mut up, mut down] = link.lanes(1, now);
        let took = |lane: &mut Lane| lane.pass(now, 948, &mut { now }).leaves - now;
        assert_eq!(
            (took(&mut up), took(&mut down)),
            (Duration::from_secs(1), Duration::from_millis(100))
        );
    }

    #[test]
    fn nothing_overtakes_and_losses_stall() {
        let link = Link { jitter_ms: 500, loss_per_mille: 200, ..Link::preset("gprs") };
        let (_, passages) = play(link, 7, 1_000);
        assert!(passages.windows(2).all(|pair| pair[0].arrives <= pair[1].arrives));
        assert!(passages.windows(2).all(|pair| pair[0].leaves < pair[1].leaves));
        // What is lost takes the link twice.
        let bits = 1_000 * 8 * (PACKET_BYTES_MAX + HEADER_BYTES) as u64;
        let once = Duration::from_millis(bits * 1_000 / 30_000);
        let took = passages[999].leaves - (passages[0].leaves - once / 1_000);
        let again = (took.as_secs_f64() / once.as_secs_f64() - 1.0) * 1_000.0;
        assert!((150.0..250.0).contains(&again), "{again} of 1,000 were sent again");
        let late = Duration::from_millis(300 + 600 + 200);
        assert!(passages.iter().any(|at| at.arrives >= at.leaves + late), "none stalled");
    }

    #[test]
    fn connections_share_a_link_and_do_not_wait_for_each_others_losses() {
        let now = Instant::now();
        let [mut lane, _] = Link::preset("gprs").lanes(1, now);
        let (mut one, mut other) = (now + Duration::from_secs(60), now);
        let first = lane.pass(now, 100, &mut one);
        let second = lane.pass(now, 100, &mut other);
        assert!(second.leaves > first.leaves && second.arrives < first.arrives);
    }

    #[test]
    fn what_waits_to_leave_is_bounded() {
        let now = Instant::now();
        let [mut lane, _] = Link::preset("gprs").lanes(1, now);
        let mut taken = 0;
        while lane.full_for(now).is_zero() {
            lane.pass(now, PACKET_BYTES_MAX, &mut { now });
            taken += PACKET_BYTES_MAX + HEADER_BYTES;
        }
        let most = QUEUE_BYTES_MAX + PACKET_BYTES_MAX + HEADER_BYTES;
        assert!((QUEUE_BYTES_MAX..=most).contains(&taken), "{taken} bytes");
        assert!(lane.full_for(now + Duration::from_secs(5)).is_zero());
        lane.clear(now);
        assert!(lane.full_for(now).is_zero());
        let [open, _] = Link::OPEN.lanes(1, now);
        assert_eq!((open.full_for(now), open.chunk_bytes(5_000)), (Duration::ZERO, 5_000));
    }

    #[test]
    fn presets_are_found_by_name() {
        let gprs = Link::preset("gprs");
        assert_eq!((gprs.up_bit_s, gprs.round_trip()), (30_000, Duration::from_millis(600)));
        for (name, link) in PRESETS {
            assert_eq!(Link::preset(name), link);
            assert!(link.up_bit_s > 0 && link.down_bit_s >= link.up_bit_s, "{name}");
        }
    }
}
