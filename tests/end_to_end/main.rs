//! The whole path on built binaries as processes: handhelds on ptys and TCP,
//! gateways, a real mosquitto, a hub; compared with an independent model.
//!
//! One file a situation. Tests share nothing but the binaries, so they run side by
//! side; each folder is kept when its test fails.
mod backups;
mod bad_links;
mod bytes;
mod carrier;
mod chaos;
mod command_line;
mod compaction;
mod configuration;
mod crowded;
mod disk;
mod handheld_errors;
mod handhelds;
mod identity;
mod ledger;
mod lineage;
mod links_down;
mod logging;
mod memory;
mod merging;
mod metered;
mod money;
mod nearby;
mod newcomer;
mod operators;
mod paths;
mod poison;
mod quiet;
mod references;
mod rescue;
mod review;
mod running;
mod seeing;
mod sessions;
mod sql;
mod stopping;
mod unplugs;
mod upkeep;
mod village_links;
mod world;
