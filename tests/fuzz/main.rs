//! Fuzzing: hostile bytes and inputs against every decoder and state machine.
//!
//! Each target is a test that runs for `WADITEST_FUZZ_SECONDS` (20 by default)
//! on random input and prints what broke it. Bytes seldom get past a first
//! check, so most inputs are scripts: they say how to spoil valid samples (see
//! [`script`]). `tests/fuzz/run HOURS` runs them for longer.
//!
//! A failure becomes a named test beside the code that failed.
#![allow(missing_docs)]
mod decoders;
mod link;
mod memory;
mod rounds;
#[path = "../../protocol/tests/sample/mod.rs"]
mod sample;
mod schema;
mod script;

use std::time::Duration;

/// How long each target runs, unless the environment says otherwise.
const SECONDS: u64 = 20;
/// Bytes of one input at most.
const INPUT_BYTES_MAX: usize = 4_096;

/// Run a target on byte inputs until its time is over. A macro, so that each test is a
/// target of its own to the engines.
macro_rules! fuzz {
    ($target:expr) => {
        bolero::check!()
            .with_max_len($crate::INPUT_BYTES_MAX)
            .with_test_time($crate::time_each())
            .for_each($target)
    };
}
use fuzz;

/// How long each target runs.
fn time_each() -> Duration {
    let seconds = std::env::var("WADITEST_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}
