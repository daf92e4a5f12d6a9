//! The table: what was measured, ours, the baseline, their ratio, the aim.
use std::fmt;
use std::time::{Duration, Instant};

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

/// Ours and the baseline, block by block.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    ours: Sample,
    base: Sample,
    ratio: Sample,
}

impl Pairs {
    /// Let both take turns: each call does a block and says how long it took. Who goes
    /// first changes with every block.
    pub fn take(
        blocks: usize,
        mut ours: impl FnMut() -> Result<Duration>,
        mut base: impl FnMut() -> Result<Duration>,
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
            pairs.push(a.as_secs_f64(), b.as_secs_f64());
        }
        Ok(pairs)
    }

    /// One more pair.
    pub fn push(&mut self, ours: f64, base: f64) {
        self.ours.push(ours);
        self.base.push(base);
        self.ratio.push(ours / base);
    }
}

/// How long something took.
pub fn timed<T>(what: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let out = what()?;
    Ok((start.elapsed(), out))
}

#[derive(Clone, Debug, Default)]
struct Line {
    what: String,
    ours: String,
    base: String,
    ratio: String,
    spread: String,
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
        writeln!(f, "| what | Wadi | baseline | ratio | spread | aim |")?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
        for Line { what, ours, base, ratio, spread, aim } in &self.lines {
            writeln!(f, "| {what} | {ours} | {base} | {ratio} | {spread} | {aim} |")?;
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
