//! Fuzzing: hostile bytes and inputs against every decoder, state machine and store.
//!
//! Each target is a test that runs for `WADITEST_FUZZ_SECONDS` (60 by default)
//! on random input and prints what broke it. Bytes seldom get past a first
//! check, so most inputs are scripts: they say how to spoil valid samples (see
//! [`script`]), or what hostile changes, answers and messages to make
//! ([`hostile`], [`paper`]). `tests/fuzz/run HOURS` runs them for longer.
//!
//! [`centre`], [`village`] and [`session`] drive the real stores on real files.
//! There are 22 targets, so that a minute for each takes 11 on two cores. Small
//! decoders therefore share one, chosen by the input: [`files`], and two of
//! [`strangers`].
//!
//! A failure becomes a named test beside the code that failed.
#![allow(missing_docs)]
mod adaptive;
mod beginning;
mod centre;
mod corpus;
mod decoders;
mod files;
mod folder;
mod hostile;
mod link;
mod memory;
#[path = "../../hub/tests/store/model.rs"]
#[allow(dead_code, reason = "the hub's own tests use the rest")]
mod model;
#[path = "../../hub/tests/store/models.rs"]
mod models;
mod paper;
mod rounds;
#[path = "../../protocol/tests/sample/mod.rs"]
mod sample;
mod schema;
mod script;
mod session;
mod strangers;
mod village;
#[path = "../../hub/tests/store/world.rs"]
#[allow(dead_code, reason = "the hub's own tests use the rest")]
mod world;

use std::time::Duration;

/// How long each target runs, unless the environment says otherwise.
const SECONDS: u64 = 60;
/// How long a failing input is made smaller.
const SHRINK_TIME: Duration = Duration::from_secs(5);
/// Bytes of one input at most.
const INPUT_BYTES_MAX: usize = 4_096;

/// Run a target on byte inputs until its time is over. A macro, so that each test is a
/// target of its own to the engines.
macro_rules! fuzz {
    ($target:expr) => {{
        let target = $target;
        // Said outright: left to itself the engine makes inputs of 64 bytes at most.
        let inputs = bolero::produce::<Vec<u8>>().with().len(0..=$crate::INPUT_BYTES_MAX);
        bolero::check!()
            .with_generator(inputs)
            .with_max_len(2 * $crate::INPUT_BYTES_MAX)
            .with_shrink_time($crate::SHRINK_TIME)
            .with_test_time($crate::time_each())
            .for_each(|input: &Vec<u8>| target(input.as_slice()))
    }};
}
use fuzz;

/// How long each target runs.
fn time_each() -> Duration {
    let seconds = std::env::var("WADITEST_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}
