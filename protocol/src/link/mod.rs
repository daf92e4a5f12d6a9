//! The bytes between handheld and gateway, over serial or LAN alike.
//!
//! [`frame`] cuts a noisy stream into checked frames; [`message`] is what they
//! hold; [`collector`] and [`station`] are the two ends, sans I/O.
pub mod collector;
pub mod frame;
pub mod message;
pub mod station;
