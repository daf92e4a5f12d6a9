//! The centre of Wadi: the hub's store, its rounds, and what operators type.
//!
//! Imports point down: `main` and `config` wire things up; [`serve`] is the
//! worker that owns the clock and the link; [`store`], [`mqtt`] and [`broker`]
//! are edges that know the protocol and never each other; [`command`] is one
//! function for each thing an operator can ask.
pub mod bridle;
pub mod broker;
pub mod command;
pub mod config;
pub mod disk;
pub mod door;
pub mod front;
pub mod http;
pub mod identity;
pub mod layers;
pub mod live;
pub mod logging;
pub mod metrics;
pub mod mqtt;
pub mod overview;
pub mod owner;
pub mod problems;
pub mod serve;
pub mod service;
pub mod store;
pub mod tls;
pub mod words;
