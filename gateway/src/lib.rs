//! The village end of Wadi: the gateway, and the reference handheld.
//!
//! Imports point down: `main` and [`config`] wire things up; the sync worker
//! and the link sessions own clocks and sockets; store, MQTT, serial and LAN
//! are edges that know the protocol and never each other.
pub mod bridle;
pub mod carrier;
pub mod command;
pub mod compaction;
pub mod config;
pub mod control;
pub mod disk;
pub mod door;
pub mod handheld;
pub mod handheld_command;
pub mod http;
pub mod identity;
pub mod lan;
pub mod layers;
pub mod links;
pub mod live;
pub mod logging;
pub mod mdns;
pub mod metrics;
pub mod mqtt;
pub mod netlink;
pub mod noise;
pub mod overview;
pub mod owner;
pub mod pace;
pub mod patience;
pub mod plugs;
pub mod problems;
pub mod reception;
pub mod rescue;
pub mod reserve;
pub mod route;
pub mod seal;
pub mod secret;
pub mod serial;
pub mod service;
pub mod session;
pub mod spending;
pub mod store;
pub mod sync;
pub mod tls;
pub mod words;
