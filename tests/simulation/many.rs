//! Many seeds, on all cores: a process for each core, since SQLite has one lock for the memory
//! of a whole process.
//!
//! The test binary calls itself, each worker plays every n-th seed and says what came of it,
//! a line a seed.
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{number, play};

/// The name of the test that workers run.
const TEST: &str = "every_promise_holds_under_every_fault";
/// Before what a worker says, among what test harnesses say.
const PLAYED: &str = "played ";
/// How often a long run says how far it is, in seeds.
const PROGRESS_SEEDS: u64 = 1_000;

/// What many seeds came to.
#[derive(Default)]
pub struct Found {
    /// Seeds that were played.
    pub seeds: u64,
    /// How often what happened.
    pub tally: BTreeMap<String, u64>,
    /// Seeds that failed, and what was wrong.
    pub wrong: Vec<(u64, String)>,
}

/// Which seeds, and when to stop.
pub struct Plan {
    pub first: u64,
    pub seeds: u64,
    pub limit: Option<Duration>,
    pub until_found: bool,
}

/// Whether this process is a worker; it has played its seeds then.
pub fn is_worker(plan: &Plan) -> bool {
    let Some(worker) = number("WADITEST_WORKER") else { return false };
    let workers = number("WADITEST_WORKERS").expect("set together");
    let began = Instant::now();
    for seed in (plan.first + worker..plan.first + plan.seeds).step_by(workers as usize) {
        if plan.limit.is_some_and(|limit| began.elapsed() > limit) {
            break;
        }
        let (tally, wrong) = match play(seed) {
            Ok((tally, _)) => (tally.0, None),
            Err((wrong, _)) => (BTreeMap::new(), Some(wrong)),
        };
        println!("{PLAYED}{}", json!({ "seed": seed, "tally": tally, "wrong": wrong }));
        if plan.until_found && wrong.is_some() {
            break;
        }
    }
    true
}

/// Play the seeds. A worker that dies is wrong too.
pub fn play_all(plan: &Plan) -> Found {
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let mut found = Found::default();
    std::thread::scope(|scope| {
        let (say, heard) = channel();
        let mut children = Vec::new();
        for worker in 0..workers {
            let mut child = Command::new(std::env::current_exe().expect("this test"))
                .args([TEST, "--exact", "--nocapture"])
                .env("WADITEST_WORKER", worker.to_string())
                .env("WADITEST_WORKERS", workers.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .expect("it runs already");
            let lines = BufReader::new(child.stdout.take().expect("piped"));
            let say = say.clone();
            scope.spawn(move || listen(lines, &say));
            children.push(child);
        }
        drop(say);
        for played in heard {
            found.take(&played);
            if plan.until_found && !found.wrong.is_empty() {
                children.iter_mut().for_each(|child| drop(child.kill()));
            }
            if found.seeds.is_multiple_of(PROGRESS_SEEDS) {
                let failed = found.wrong.len();
                println!("{} seeds in {:?}, {failed} failed", found.seeds, began.elapsed());
            }
        }
        for mut child in children {
            let ended = child.wait().expect("our child");
            if !ended.success() && found.wrong.is_empty() {
                found.wrong.push((0, format!("a worker died: {ended}")));
            }
        }
    });
    found.wrong.sort();
    found
}

fn listen(lines: impl BufRead, say: &Sender<Value>) {
    for line in lines.lines().map_while(Result::ok) {
        let played = line.find(PLAYED).map(|at| &line[at + PLAYED.len()..]);
        if let Some(played) = played.and_then(|text| serde_json::from_str(text).ok()) {
            say.send(played).expect("somebody listens");
        }
    }
}

impl Found {
    fn take(&mut self, played: &Value) {
        self.seeds += 1;
        for (what, count) in played["tally"].as_object().into_iter().flatten() {
            *self.tally.entry(what.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
        if let (Some(seed), Some(wrong)) = (played["seed"].as_u64(), played["wrong"].as_str()) {
            println!("seed {seed}: {wrong}");
            self.wrong.push((seed, wrong.to_owned()));
        }
    }
}
