//! The table: what was measured, ours, the baseline, their ratio, the aim.
use std::fmt;
use std::ops::AddAssign;
use std::time::Instant;

use anyhow::Result;

/// Measured values of one thing.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The values in order.
    fn sorted(&self) -> Vec<f64> {
        let mut all = self.0.clone();
        all.sort_by(f64::total_cmp);
        all
    }

    /// The middle one.
    pub fn median(&self) -> f64 {
        let all = self.sorted();
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn spread(&self) -> (f64, f64) {
        let all = self.sorted();
        let at = |place: Option<&f64>| place.copied().unwrap_or(f64::NAN);
        (at(all.first()), at(all.last()))
    }
}

/// What something took, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// By the clock on the wall.
    pub wall: f64,
    /// Of this thread's processor: what a busy machine or a slow disk hardly change.
    pub cpu: f64,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// Ours and the baseline, block by block.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    ours: Sample,
    base: Sample,
    ratio: Sample,
    cpu: Sample,
}

impl Pairs {
    /// Let both take turns: each call does a block and says what it took. Who goes
    /// first changes with every block.
    pub fn take(
        blocks: usize,
        mut ours: impl FnMut() -> Result<Spent>,
        mut base: impl FnMut() -> Result<Spent>,
    ) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        for block in 0..blocks {
            let (a, b);
            if block % 2 == 0 {
                a = ours()?;
                b = base()?;
            } else {
                b = base()?;
                a = ours()?;
            }
            pairs.push(a, b);
        }
        Ok(pairs)
    }

    /// One more pair.
    pub fn push(&mut self, ours: Spent, base: Spent) {
        self.push_exact(ours.wall, base.wall);
        // Another process's is not known.
        if ours.cpu.is_finite() {
            self.cpu.push(ours.cpu / base.cpu);
        }
    }

    /// One more pair of what takes no time.
    pub fn push_exact(&mut self, ours: f64, base: f64) {
        self.ours.push(ours);
        self.base.push(base);
        self.ratio.push(ours / base);
    }
}

/// What something took.
pub fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(Spent, T)> {
    let (cpu, start) = (cpu_s(), Instant::now());
    let out = what()?;
    let wall = start.elapsed().as_secs_f64();
    Ok((Spent { wall, cpu: cpu_s() - cpu }, out))
}

/// Seconds that this thread has had of a processor.
fn cpu_s() -> f64 {
    // The kernel brings the figure up to date when a thread yields.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    nanos.unwrap_or(f64::NAN) / 1e9
}

#[derive(Clone, Debug, Default)]
struct Line {
    what: String,
    ours: String,
    base: String,
    ratio: String,
    spread: String,
    cpu: String,
    aim: String,
}

/// The table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// A line of pairs; `show` renders the value of a block.
    pub fn pairs(&mut self, what: &str, pairs: &Pairs, show: impl Fn(f64) -> String, aim: &str) {
        let (least, greatest) = pairs.ratio.spread();
        self.lines.push(Line {
            what: what.into(),
            ours: show(pairs.ours.median()),
            base: show(pairs.base.median()),
            ratio: format!("{:.2}", pairs.ratio.median()),
            spread: format!("{least:.2} to {greatest:.2}"),
            cpu: if pairs.cpu.0.is_empty() {
                String::new()
            } else {
                format!("{:.2}", pairs.cpu.median())
            },
            aim: aim.into(),
        });
    }

    /// A line without a baseline.
    pub fn alone(&mut self, what: &str, ours: String, aim: &str) {
        let (what, aim) = (what.into(), aim.into());
        self.lines.push(Line { what, ours, aim, ..Line::default() });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | Wadi | baseline | ratio | spread | ratio of CPU | aim |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
        for Line { what, ours, base, ratio, spread, cpu, aim } in &self.lines {
            writeln!(f, "| {what} | {ours} | {base} | {ratio} | {spread} | {cpu} | {aim} |")?;
        }
        Ok(())
    }
}

/// Seconds of a block of so many as microseconds each.
pub fn micros_each(count: usize) -> impl Fn(f64) -> String {
    move |seconds| format!("{:.1} µs", seconds * 1e6 / count as f64)
}

/// Seconds of a block of so many as a rate.
pub fn rate(count: usize) -> impl Fn(f64) -> String {
    move |seconds| {
        let rate = count as f64 / seconds;
        let thousands = (rate / 1000.0) as u64;
        format!("{thousands},{:03}/s", rate as u64 % 1000)
    }
}

/// Seconds as milliseconds.
pub fn millis(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}
