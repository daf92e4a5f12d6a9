//! The simulator: one hub, villages, phones that roam between them, operators and other
//! SQL programs; the real stores on SQLite files, virtual time, and every fault; all from
//! one seed.
//!
//! After every step the machine that acted is held against an independent [`model`]; at
//! the end the faults stop, everything must drain, and all must show the same. A failure
//! prints its seed; `WADITEST_SEED=N` plays that one again, and prints what happened and
//! what the machines hold of the rows that the failure names (`WADITEST_ROWS=ID` adds others).
//!
//! [`disk`] holds the files that power cuts, torn writes and full disks happen to, by [`vfs`];
//! [`machines`] hub, gateways and phones, [`eye`] how the checks read them; [`world`] one run, [`trouble`] its faults,
//! [`lineage`] storage that goes back in time; [`acts`] what people do, [`meet`] a phone at
//! a gateway, [`rounds`] a gateway and the hub; [`look`] the checks after each step, [`end`]
//! those of the end, [`truth`] what the hub must show there,
//! [`homes`] which villages have the records that are of one. `tests/mutants` plants bugs and
//! demands that these checks catch each. To add a fault: an option in [`faults`], its deed
//! in [`trouble`], its name in `faults::ALL`. What operators do is in [`operators`], what their
//! words make of changes in [`rulings`]; [`sample`] fields of other types than text, and what
//! judges refuse; [`gathered`] what such fields must hold, [`counted`] sums between rounds, [`cases`] who competes where people decide; [`branches`] names the branches of
//! the rules that were really taken.
#![allow(missing_docs)]
mod act;
mod acts;
mod body;
mod branches;
mod cases;
mod clock;
mod counted;
mod dice;
mod disk;
mod end;
mod eras;
mod eye;
mod faults;
mod gathered;
mod homes;
mod lineage;
mod look;
mod machines;
mod many;
mod meet;
mod model;
mod operators;
mod rounds;
mod rulings;
mod sample;
mod schema;
mod screen;
mod trouble;
mod truth;
mod vfs;
mod world;

use std::time::{Duration, Instant};

use faults::Tally;
use many::{Found, Plan};
use world::World;

/// Seeds of a run of all tests.
const SEEDS: u64 = 200;
/// Steps of a seed.
const STEPS: usize = 200;

/// What a seed came to: the tally, or what was wrong; and its story.
type Played = Result<(Tally, Vec<String>), (String, Vec<String>)>;

/// Play a seed to its end. A panic of the product is wrong like anything else.
fn play(seed: u64) -> Played {
    let played = std::panic::catch_unwind(|| play_on(seed)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        Err((format!("panic: {text}"), Vec::new()))
    });
    // Long texts are filled up with these.
    played.map_err(|(wrong, trace)| (wrong.replace("~~~~", ""), trace))
}

fn play_on(seed: u64) -> Played {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        if let Err(wrong) = world.step() {
            let mut trace = std::mem::take(&mut world.trace);
            let rows = std::env::var("WADITEST_ROWS").unwrap_or_default();
            trace.extend(world.dump(&format!("{wrong} {rows}")));
            return Err((format!("step {step}: {wrong}"), trace));
        }
    }
    match world.end() {
        Ok(()) => Ok((std::mem::take(&mut world.tally), std::mem::take(&mut world.trace))),
        Err(wrong) => {
            let mut trace = std::mem::take(&mut world.trace);
            let rows = std::env::var("WADITEST_ROWS").unwrap_or_default();
            trace.extend(world.dump(&format!("{wrong} {rows}")));
            Err((format!("at the end: {wrong}"), trace))
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn every_promise_holds_under_every_fault() {
    if let Some(seed) = number("WADITEST_SEED") {
        let (trace, wrong) = match play(seed) {
            Ok((tally, trace)) => {
                println!("{tally:#?}");
                (trace, None)
            }
            Err((wrong, trace)) => (trace, Some(wrong)),
        };
        trace.iter().for_each(|line| println!("{line}"));
        assert_eq!(wrong, None, "seed {seed}");
        return;
    }
    let plan = Plan {
        first: number("WADITEST_FIRST_SEED").unwrap_or(1),
        seeds: number("WADITEST_SEEDS").unwrap_or(SEEDS),
        limit: number("WADITEST_SECONDS").map(Duration::from_secs),
        until_found: number("WADITEST_UNTIL_FOUND").is_some(),
    };
    if many::is_worker(&plan) {
        return;
    }
    let began = Instant::now();
    let Found { seeds, tally, wrong } = many::play_all(&plan);
    println!("{seeds} seeds of {STEPS} steps in {:?}", began.elapsed());
    for (what, count) in &tally {
        println!("{count:>10} {what}");
    }
    if number("WADITEST_COVERAGE").is_some() {
        let never: Vec<&&str> = faults::all().filter(|what| !tally.contains_key(**what)).collect();
        assert_eq!(never, Vec::<&&str>::new(), "what never happened proves nothing");
    }
    assert!(
        wrong.is_empty(),
        "{} of {seeds} seeds fail: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(12)]
    );
    let whole = plan.limit.is_some() || seeds == plan.seeds;
    assert!(whole, "{seeds} of {} seeds were played", plan.seeds);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in [1, 2, 3] {
        let trace = |seed| match play(seed) {
            Ok((_, trace)) => trace,
            Err((wrong, mut trace)) => {
                trace.push(wrong);
                trace
            }
        };
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}
