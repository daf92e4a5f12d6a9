//! The reference handheld: collects offline, syncs when a gateway is in reach.
//!
//! [`record`] is the JSON form of records, [`entry`] makes changes of them,
//! [`store`] keeps them and the replica of the village, [`import`] and [`list`]
//! are the bulk ways in and out, [`nearby`] finds a gateway, [`sync`] drives the [`link`]
//! and [`synced`] is what came of it, [`command`] and [`report`] are the command line. A
//! handheld knows no broker and no hub.
pub mod command;
pub mod entry;
pub mod exchange;
pub mod import;
pub mod link;
pub mod list;
pub mod nearby;
pub mod record;
pub mod report;
pub mod store;
pub mod sync;
pub mod synced;
