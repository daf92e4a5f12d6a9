//! The bytes between handheld and gateway, over serial or LAN alike.
//!
//! [`frame`] cuts a noisy stream into checked frames; [`envelope`] is what they
//! hold, sealed but for greetings; [`message`] is what is sealed in them;
//! [`collector`] and [`station`] are the two ends, sans I/O. Who seals and opens
//! stays outside: keys need randomness.
pub mod collector;
pub mod envelope;
pub mod frame;
pub mod message;
pub mod station;
