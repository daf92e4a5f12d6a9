//! The play: the base reaches everybody, then the trickle comes slice by slice, each
//! change by the handheld of its device, until everything is durable everywhere.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use wadi_harness::figures::{HandheldFigures, HubFigures, behind};
use wadi_harness::handheld::{TRY_LATER, UNAVAILABLE};
use wadi_harness::tables::until_there;
use wadi_harness::wait::{Look, until};

use crate::progress::Progress;
use crate::stage::{Crew, Stage};

/// How many times a handheld comes by during the trickle.
const SLICES: usize = 20;
/// Everything must have settled this long after the last change; larger workloads get longer.
const SETTLE_DEADLINE_MIN: Duration = Duration::from_secs(180);
/// A sync over broken links is tried again this often.
const ATTEMPTS_MAX: u32 = 60;

/// All of it.
pub fn all(stage: &mut Stage, progress: &Progress) -> Result<()> {
    for gateway in &stage.gateways {
        until_there(gateway.database(), &stage.plan, SETTLE_DEADLINE_MIN)?;
    }
    each_crew(&everybody(stage), |crew| crew.handheld.learn(&crew.link, SETTLE_DEADLINE_MIN))?;
    progress.phase("base");
    each_crew(&everybody(stage), |crew| {
        take_in(crew, crew.base.iter().map(|record| record.line.as_str()), progress)
    })?;
    settle(stage, progress)?;
    progress.phase("trickle");
    // The handhelds see what the others brought, then record what comes next. The serial
    // line carries the base for as long as the others take for all that follows.
    let (serial, others): (Vec<&Crew>, Vec<&Crew>) =
        stage.crews.iter().partition(|crew| crew.serial);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| visits(&serial, stage.changes, progress));
        let fast = visits(&others, stage.changes, progress);
        fast.and(slow.join().expect("no worker panics"))
    })?;
    stage.check()?;
    progress.phase("settling");
    settle(stage, progress)?;
    each_crew(&everybody(stage), sync)?;
    each_crew(&everybody(stage), |crew| {
        let figures = HandheldFigures::ask(&crew.handheld)?;
        let database = crew.handheld.database().display();
        ensure!(figures.open == 0, "{database} still waits for {} changes", figures.open);
        Ok(())
    })
}

fn everybody(stage: &Stage) -> Vec<&Crew> {
    stage.crews.iter().collect()
}

/// The trickle slice by slice: nobody begins the next before all have brought theirs.
fn visits(crews: &[&Crew], changes: usize, progress: &Progress) -> Result<()> {
    each_crew(crews, sync)?;
    let slice = changes.div_ceil(SLICES).max(1);
    for first in (0..changes).step_by(slice) {
        each_crew(crews, |crew| {
            let now = first..first + slice;
            let inside = crew.trickle.iter().filter(|(place, _)| now.contains(place));
            take_in(crew, inside.map(|(_, record)| record.line.as_str()), progress)
        })?;
    }
    Ok(())
}

/// Run something for every handheld side by side; the first error, if any.
fn each_crew(crews: &[&Crew], work: impl Fn(&Crew) -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = crews.iter().map(|crew| scope.spawn(move || work(crew))).collect();
        // All are joined before the first error ends the play.
        let results: Vec<Result<()>> =
            threads.into_iter().map(|thread| thread.join().expect("no worker panics")).collect();
        results.into_iter().collect()
    })
}

/// Import records and bring them to the gateway.
fn take_in<'a>(
    crew: &Crew,
    lines: impl Iterator<Item = &'a str>,
    progress: &Progress,
) -> Result<()> {
    let lines: Vec<&str> = lines.collect();
    if lines.is_empty() {
        return Ok(());
    }
    let text = lines.join("\n") + "\n";
    crew.handheld.import_text(&text)?.ok().context("the import failed")?;
    progress.collected(lines.len(), text.len());
    sync(crew)
}

/// Sync until it succeeds; a link that was cut is tried again.
fn sync(crew: &Crew) -> Result<()> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let outcome = crew.handheld.sync(&crew.link)?;
        match outcome.code {
            Some(0) => return Ok(()),
            Some(UNAVAILABLE | TRY_LATER) => last = outcome.text(),
            _ => return outcome.ok().map(|_| ()),
        }
    }
    anyhow::bail!(
        "{} did not get through in {ATTEMPTS_MAX} attempts: {last}",
        crew.handheld.database().display()
    )
}

/// Wait until the hub has everything, and both gateways what the hub has.
fn settle(stage: &mut Stage, progress: &Progress) -> Result<()> {
    let deadline =
        SETTLE_DEADLINE_MIN + Duration::from_millis(10 * progress.collected_count() as u64);
    until("everything to be durable and known everywhere", deadline, || {
        stage.check()?;
        let figures = HubFigures::ask(&stage.hub.operator)?;
        let waiting = progress.collected_count() as i64 - figures.accounted();
        if waiting != 0 {
            return Ok(Look::NotYet(format!("{waiting} changes on their way")));
        }
        for (at, gateway) in stage.gateways.iter().enumerate() {
            if let Some(why) = behind(gateway, at, &figures)? {
                return Ok(Look::NotYet(format!("gateway-{}: {why}", at + 1)));
            }
        }
        Ok(Look::Found(()))
    })
}
