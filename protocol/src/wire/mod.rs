//! The bytes between gateway and hub.
//!
//! [`message`] holds the envelope of rounds, [`brief`] that of small ones; [`batch`] a changeset (and an
//! offer on the link), [`adaptive`] the same against what both ends have learnt;
//! [`downlink`] what comes back; [`coded`] and [`coded_page`] are the two as they travel
//! between ends that share a model. Each has golden bytes: a changed golden file means a
//! new version number. Nothing here does I/O; every decoder takes hostile bytes.
pub mod adaptive;
pub mod batch;
pub mod brief;
pub mod coded;
pub mod coded_page;
pub mod downlink;
pub mod message;
