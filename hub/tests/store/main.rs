//! The hub's store against a tiny model of gateways: real files, real messages.
#![allow(missing_docs)]
mod alone;
mod backups;
mod brief;
mod clashes;
mod coding;
mod commits;
mod conflicts;
mod copied;
mod deletes;
mod greedy;
mod hostile;
mod lineage;
mod model;
mod models;
mod moves;
mod newcomers;
mod order;
mod quarantine;
mod refusals;
mod restored;
mod scopes;
mod story;
mod undo;
mod versions;
mod wanted;
mod world;
