//! The hub's store against a tiny model of gateways: real files, real messages.
#![allow(missing_docs)]
mod clashes;
mod commits;
mod conflicts;
mod deletes;
mod greedy;
mod hostile;
mod model;
mod order;
mod quarantine;
mod refusals;
mod scopes;
mod story;
mod undo;
mod world;
