//! The stored corpus: what others write, a few of each. What we encode ourselves is
//! made by code, from the same samples as the golden bytes of the protocol.
use wadi_gateway::route::{Change, Interfaces};

use crate::strangers::packets;

/// Lines that a handheld is given.
pub fn records() -> Vec<Vec<u8>> {
    include_str!("corpus/records.jsonl").lines().map(Into::into).collect()
}

/// A gateway's configuration with every key.
pub const GATEWAY: &str = include_str!("corpus/gateway.toml");
/// A hub's.
pub const HUB: &str = include_str!("corpus/hub.toml");

/// The topic of the packets below.
pub const TOPIC: &str = "wadi/1/down";

/// Bytes of a broker.
pub fn mqtt() -> Vec<Vec<u8>> {
    hex(include_str!("corpus/mqtt.hex"))
}

/// Datagrams of the kernel.
pub fn netlink() -> Vec<Vec<u8>> {
    hex(include_str!("corpus/netlink.hex"))
}

fn hex(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let digit = |byte: u8| (byte as char).to_digit(16).expect("hexadecimal digits") as u8;
    let line = |line: &str| {
        line.as_bytes().chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    };
    lines.map(line).collect()
}

#[test]
fn stored_bytes_mean_what_the_corpus_says_of_them() {
    let heard: Vec<_> = mqtt().iter().map(|bytes| packets([bytes.as_slice()])).collect();
    let count = |one: &Vec<Result<_, _>>| one.iter().filter(|said| said.is_ok()).count();
    let good: Vec<usize> = heard.iter().map(count).collect();
    assert_eq!(good, [1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 5], "{heard:?}");
    let mut change = Change::default();
    for datagram in netlink() {
        Interfaces::default().read(&datagram, &mut change);
    }
    assert_eq!(change, Change { up: true, down: true });
}
