//! What both ends of Wadi must agree on: the ground and the rules.
//!
//! Pure by construction: `no_std` with `alloc`, so the compiler keeps out I/O,
//! clocks, randomness and logging; there is no async, no SQL and no MQTT here
//! either. Time and random numbers enter as arguments. A handheld's firmware
//! can use everything in this crate.
//!
//! Floor 0, the ground: [`id`], [`stamp`], [`value`], [`schema`], [`change`], [`ruling`],
//! [`wire`] (bytes of rounds), [`link`] (bytes between handheld and gateway).
//! Floor 1, the rules: `resolve`, `order`, `round`.
//! Imports point down: the ground never imports the rules.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backoff;
mod budget;
pub mod change;
pub mod id;
pub mod keepalive;
pub mod limits;
pub mod link;
pub mod order;
pub mod resolve;
pub mod round;
pub mod ruling;
pub mod schema;
pub mod stamp;
pub mod tag;
pub mod value;
pub mod wire;
