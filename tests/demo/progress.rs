//! What the demo shows while it runs: one line that refreshes itself on a terminal,
//! a line now and then elsewhere.
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wadi_harness::figures::HubFigures;
use wadi_harness::hub::Operator;
use wadi_harness::trouble::Meter;

use crate::stage::Stage;

/// Between two looks.
const REFRESH: Duration = Duration::from_millis(500);
/// Between two lines where nothing can be refreshed.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// The thread that shows it, and what it counts.
pub struct Progress {
    counts: Arc<Counts>,
    thread: JoinHandle<()>,
}

struct Counts {
    collected: AtomicUsize,
    /// Bytes of the collected records as JSON.
    json_bytes: AtomicUsize,
    phase: Mutex<&'static str>,
    ended: AtomicBool,
    operator: Operator,
    uplinks: Vec<Meter>,
    line: Meter,
    began: Instant,
}

/// Where everything stood when it ended.
pub struct Totals {
    pub collected: usize,
    pub figures: HubFigures,
    /// Bytes on the links between gateways and broker, both ways.
    pub link_bytes: u64,
    /// Bytes of the records as JSON, once.
    pub json_bytes: usize,
}

impl Progress {
    /// Begin to show.
    pub fn begin(stage: &Stage) -> Progress {
        let counts = Arc::new(Counts {
            collected: AtomicUsize::new(0),
            json_bytes: AtomicUsize::new(0),
            phase: Mutex::new("start"),
            ended: AtomicBool::new(false),
            operator: stage.hub.operator.clone(),
            uplinks: stage.uplinks.iter().map(|uplink| uplink.meter()).collect(),
            line: stage.line.meter(),
            began: Instant::now(),
        });
        let their_counts = counts.clone();
        let thread = std::thread::spawn(move || show(&their_counts));
        Progress { counts, thread }
    }

    /// What is being done now.
    pub fn phase(&self, phase: &'static str) {
        *self.counts.phase.lock().expect("no holder panics") = phase;
    }

    /// Records went into a handheld.
    pub fn collected(&self, records: usize, json_bytes: usize) {
        self.counts.collected.fetch_add(records, Ordering::Relaxed);
        self.counts.json_bytes.fetch_add(json_bytes, Ordering::Relaxed);
    }

    /// How many went in so far.
    pub fn collected_count(&self) -> usize {
        self.counts.collected.load(Ordering::Relaxed)
    }

    /// Stop showing; the totals.
    pub fn end(self) -> Totals {
        self.counts.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.counts.totals()
    }
}

impl Counts {
    fn totals(&self) -> Totals {
        Totals {
            collected: self.collected.load(Ordering::Relaxed),
            figures: HubFigures::ask(&self.operator).unwrap_or_default(),
            link_bytes: self.uplinks.iter().map(Meter::bytes).sum(),
            json_bytes: self.json_bytes.load(Ordering::Relaxed),
        }
    }

    fn line(&self) -> String {
        let totals = self.totals();
        let figures = &totals.figures;
        let pending = (totals.collected as i64 - figures.accounted()).max(0);
        format!(
            "{:>4} s  {:<8}  collected {:>6}  pending {:>5}  durable {:>6}  conflicts {}  serial {}  MQTT {} (as JSON {})",
            self.began.elapsed().as_secs(),
            self.phase.lock().expect("no holder panics"),
            totals.collected,
            pending,
            figures.durable,
            figures.conflicts,
            bytes(self.line.bytes()),
            bytes(totals.link_bytes),
            // Each record goes up to the hub once, and down to the other gateway once.
            bytes(2 * totals.json_bytes as u64),
        )
    }
}

fn show(counts: &Counts) {
    let terminal = std::io::stdout().is_terminal();
    let mut last_line = Instant::now();
    while !counts.ended.load(Ordering::Relaxed) {
        if terminal {
            print!("\r{}\x1b[K", counts.line());
            let _ = std::io::stdout().flush();
        } else if last_line.elapsed() > LINE_INTERVAL {
            println!("{}", counts.line());
            last_line = Instant::now();
        }
        std::thread::sleep(REFRESH);
    }
    let start = if terminal { "\r" } else { "" };
    println!("{start}{}{}", counts.line(), if terminal { "\x1b[K" } else { "" });
}

/// Bytes as people read them.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
