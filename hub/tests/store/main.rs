//! The hub's store against a tiny model of gateways: real files, real messages.
#![allow(missing_docs)]
mod clashes;
mod commits;
mod conflicts;
mod copied;
mod deletes;
mod greedy;
mod hostile;
mod lineage;
mod model;
mod order;
mod refusals;
mod restored;
mod scopes;
mod world;
