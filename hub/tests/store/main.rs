//! The hub's store against a tiny model of gateways: real files, real messages.
#![allow(missing_docs)]
mod backups;
mod clashes;
mod commits;
mod conflicts;
mod deletes;
mod greedy;
mod hostile;
mod model;
mod order;
mod refusals;
mod scopes;
mod wanted;
mod world;
