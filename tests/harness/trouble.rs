//! What a relay does to the bytes that pass it; may be changed while it runs.
//!
//! Shared by the relay, in both its forms, and the serial line. Counters tell what
//! passed and what was done, so that a test can show that its faults happened.
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::random::Random;

/// The faults of one relay and its counters.
#[derive(Debug)]
pub struct Trouble {
    random: Mutex<Random>,
    rate_bytes_s: AtomicU64,
    silent: AtomicBool,
    swallowing: AtomicBool,
    refusing: AtomicBool,
    cut_bytes: Mutex<Option<Range<u64>>>,
    noise_per_mille: AtomicU64,
    duplicate_per_mille: AtomicU64,
    delay_per_mille: AtomicU64,
    delay_ms: AtomicU64,
    loss_per_mille: AtomicU64,
    forge_per_mille: AtomicU64,
    /// Bytes that passed, both directions together.
    pub bytes: AtomicU64,
    /// Connections that came, refused ones included.
    pub connects: AtomicU64,
    /// Connections cut, or stretches of a line lost.
    pub cuts: AtomicU64,
    /// Bytes of noise put in or bits turned.
    pub noises: AtomicU64,
    /// Packets doubled.
    pub duplicates: AtomicU64,
    /// Packets delayed, so that later ones overtook them.
    pub delays: AtomicU64,
    /// Packets lost.
    pub losses: AtomicU64,
    /// Packets altered.
    pub forgeries: AtomicU64,
}

impl Trouble {
    /// No trouble at all, until some is made.
    pub fn none(seed: u64) -> Trouble {
        Trouble {
            random: Mutex::new(Random::seeded(seed)),
            rate_bytes_s: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            swallowing: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            cut_bytes: Mutex::new(None),
            noise_per_mille: AtomicU64::new(0),
            duplicate_per_mille: AtomicU64::new(0),
            delay_per_mille: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            loss_per_mille: AtomicU64::new(0),
            forge_per_mille: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            noises: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            delays: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            forgeries: AtomicU64::new(0),
        }
    }

    /// At most so many bytes a second in each direction; 0 = as fast as it goes (serial
    /// lines only; the rate of a relay is its link's).
    pub fn limit_rate(&self, bytes_s: u64) {
        self.rate_bytes_s.store(bytes_s, Ordering::Relaxed);
    }

    /// Nothing passes, nothing closes, until it speaks again: then all of it arrives.
    pub fn go_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// A half-open link (relays only): connections that are there or come meanwhile never
    /// carry a byte again, and neither end hears of it.
    pub fn swallow(&self, swallowing: bool) {
        self.swallowing.store(swallowing, Ordering::Relaxed);
    }

    /// New connections are closed at once.
    pub fn refuse(&self, refusing: bool) {
        self.refusing.store(refusing, Ordering::Relaxed);
    }

    /// After a number of bytes drawn from the range a connection is cut wherever it is
    /// (a serial line loses some bytes and carries on); none = never.
    pub fn cut_after(&self, bytes: Option<Range<u64>>) {
        *self.cut_bytes.lock().expect("no holder panics") = bytes;
    }

    /// So many reads in a thousand get a byte of noise (serial lines only).
    pub fn make_noise(&self, per_mille: u64) {
        self.noise_per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// Of a thousand MQTT QoS 0 publishes: how many are doubled, how many are overtaken
    /// by what comes within `delay_ms`, how many are lost.
    pub fn shuffle(
        &self,
        duplicate_per_mille: u64,
        delay_per_mille: u64,
        delay_ms: u64,
        loss_per_mille: u64,
    ) {
        self.duplicate_per_mille.store(duplicate_per_mille, Ordering::Relaxed);
        self.delay_per_mille.store(delay_per_mille, Ordering::Relaxed);
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
        self.loss_per_mille.store(loss_per_mille, Ordering::Relaxed);
    }

    /// Of a thousand MQTT QoS 0 publishes: how many come with an altered byte, as from
    /// a broker that lies.
    pub fn forge(&self, per_mille: u64) {
        self.forge_per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// Alter one of the last bytes of a packet (its payload), if its turn has come.
    pub(crate) fn maybe_forge(&self, packet: &mut [u8]) {
        let per_mille = self.forge_per_mille.load(Ordering::Relaxed);
        let mut random = self.random.lock().expect("no holder panics");
        if per_mille == 0 || !random.chance(per_mille) {
            return;
        }
        let back = random.within(1..packet.len().min(24) as u64) as usize;
        let at = packet.len() - back;
        packet[at] ^= 1 << random.within(0..8);
        self.forgeries.fetch_add(1, Ordering::Relaxed);
    }

    /// Stop everything but the rate; a relay keeps its link too.
    pub fn heal(&self) {
        self.go_silent(false);
        self.swallow(false);
        self.refuse(false);
        self.cut_after(None);
        self.make_noise(0);
        self.shuffle(0, 0, 0, 0);
        self.forge(0);
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(crate) fn is_swallowing(&self) -> bool {
        self.swallowing.load(Ordering::Relaxed)
    }

    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// How many bytes the next connection (or stretch) lives for.
    pub(crate) fn draw_budget(&self) -> Option<u64> {
        let range = self.cut_bytes.lock().expect("no holder panics").clone()?;
        Some(self.random.lock().expect("no holder panics").within(range))
    }

    /// How many bytes a cut of the line loses.
    pub(crate) fn draw_loss(&self, bytes: Range<u64>) -> u64 {
        self.random.lock().expect("no holder panics").within(bytes)
    }

    /// Where noise strikes in a stretch of `len` bytes, and with what bits.
    pub(crate) fn draw_noise(&self, len: usize) -> Option<(usize, u8)> {
        let per_mille = self.noise_per_mille.load(Ordering::Relaxed);
        if per_mille == 0 || len == 0 {
            return None;
        }
        let mut random = self.random.lock().expect("no holder panics");
        if !random.chance(per_mille) {
            return None;
        }
        self.noises.fetch_add(1, Ordering::Relaxed);
        Some((random.within(0..len as u64) as usize, random.within(0..256) as u8))
    }

    /// When the copies of a packet are delivered, from now: none, one or two.
    pub(crate) fn draw_copies(&self) -> Vec<Duration> {
        let mut random = self.random.lock().expect("no holder panics");
        if random.chance(self.loss_per_mille.load(Ordering::Relaxed)) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            return Vec::new();
        }
        let delay_ms = self.delay_ms.load(Ordering::Relaxed).max(1);
        let mut later = || Duration::from_millis(random.within(0..delay_ms) + 1);
        let (second, first) = (later(), later());
        let mut copies = vec![Duration::ZERO];
        if random.chance(self.delay_per_mille.load(Ordering::Relaxed)) {
            self.delays.fetch_add(1, Ordering::Relaxed);
            copies[0] = first;
        }
        if random.chance(self.duplicate_per_mille.load(Ordering::Relaxed)) {
            self.duplicates.fetch_add(1, Ordering::Relaxed);
            copies.push(second);
        }
        copies
    }

    /// Bytes to take at once, so that the rate is smooth.
    pub(crate) fn chunk_bytes(&self, at_most: usize) -> usize {
        match self.rate_bytes_s.load(Ordering::Relaxed) {
            0 => at_most,
            rate => at_most.min((rate / 100).max(1) as usize),
        }
    }
}

/// Reads how much passed a relay or a line, from any thread.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Trouble>);

impl Meter {
    pub(crate) fn of(trouble: &Arc<Trouble>) -> Meter {
        Meter(trouble.clone())
    }

    /// Bytes that passed so far, both directions together.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }
}

/// Keeps one direction to the rate.
#[derive(Debug)]
pub(crate) struct Pace {
    free_at: Instant,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { free_at: Instant::now() }
    }

    /// `bytes` were taken: wait until the line is free again.
    pub(crate) fn spend(&mut self, trouble: &Trouble, bytes: usize) {
        trouble.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let rate = trouble.rate_bytes_s.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let now = Instant::now();
        let took = Duration::from_secs_f64(bytes as f64 / rate as f64);
        self.free_at = self.free_at.max(now) + took;
        std::thread::sleep(self.free_at - now);
    }
}
