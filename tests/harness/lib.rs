//! What the end-to-end tests and the demo stand on: the built binaries as
//! processes, a real broker, ptys, relays that misbehave on demand, and a model
//! of the workload that shares no code with the product.
//!
//! Nothing here sleeps instead of protocol: every wait polls real state under
//! a deadline ([`wait`]). Every random choice comes from a seed ([`random`]).

pub mod binaries;
pub mod broker;
pub mod desk;
pub mod disk;
pub mod figures;
pub mod gateway;
pub mod handheld;
pub mod hub;
pub mod journal;
pub mod line;
pub mod link;
pub mod model;
pub mod mqtt;
pub mod plan;
pub mod ports;
pub mod process;
#[cfg(test)]
mod promises;
mod pump;
pub mod puppet;
pub mod random;
pub mod records;
pub mod relay;
pub mod tables;
pub mod trouble;
pub mod village;
pub mod wait;
