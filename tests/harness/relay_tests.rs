//! The relay against an echo, and its MQTT form against a real mosquitto.
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::process::Command;

use super::*;
use crate::broker::Broker;
use crate::process::{begin, run};
use crate::wait::{Look, until};

const DEADLINE: Duration = Duration::from_secs(30);

/// A port that sends back what it gets.
fn echo() -> u16 {
    let port = ports::free();
    let socket = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            std::thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut reader, &mut &stream);
            });
        }
    });
    port
}

fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut back = Vec::new();
    let mut buffer = [0; 4096];
    while back.len() < bytes.len() {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(len) => back.extend_from_slice(&buffer[..len]),
        }
    }
    back
}

/// Sends without closing its half, and counts what comes back.
fn ask(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut back = vec![0; bytes.len()];
    match stream.read_exact(&mut back) {
        Ok(()) => back,
        Err(_) => Vec::new(),
    }
}

#[test]
fn bytes_pass_unchanged_and_are_counted() {
    let relay = Relay::tcp(echo(), 1).unwrap();
    let bytes: Vec<u8> = (0..50_000u32).map(|at| at as u8).collect();
    assert_eq!(ask(relay.port(), &bytes), bytes);
    assert_eq!(relay.trouble().bytes.load(Ordering::Relaxed), 100_000);
}

#[test]
fn a_connection_is_cut_within_its_budget() {
    let relay = Relay::tcp(echo(), 2).unwrap();
    relay.trouble().cut_after(Some(1000..2000));
    let back = send(relay.port(), &[5; 10_000]);
    assert!(back.len() < 2000, "{}", back.len());
    until("the cut to be counted", DEADLINE, || {
        Ok(Look::when(relay.trouble().cuts.load(Ordering::Relaxed) > 0, || "no cut".into()))
    })
    .unwrap();
    relay.trouble().heal();
    assert_eq!(ask(relay.port(), b"well again"), b"well again");
}

#[test]
fn the_rate_is_kept() {
    let relay = Relay::tcp(echo(), 3).unwrap();
    relay.lay(Link::of_rate(20_000));
    let start = Instant::now();
    assert_eq!(ask(relay.port(), &[7; 10_000]).len(), 10_000);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
}

/// Waits until it holds, looking at the relay.
fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, DEADLINE, || Ok(Look::when(holds(), String::new))).unwrap();
}

#[test]
fn a_link_takes_its_time_and_counts_what_it_carries() {
    let relay = Relay::tcp(echo(), 6).unwrap();
    relay.lay(Link { latency_ms: 100, ..Link::OPEN });
    let start = Instant::now();
    let bytes: Vec<u8> = (0..5_000u32).map(|at| at as u8).collect();
    assert_eq!(ask(relay.port(), &bytes), bytes, "in order");
    // To connect, and there and back.
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
    assert_eq!(ask(relay.port(), b"another").len(), 7);
    let each = relay.connections();
    assert_eq!((each.len(), each[0].up.bytes, each[1].down.bytes), (2, 5_000, 7));
    let all = relay.carried();
    assert_eq!((all.up.bytes, all.down.bytes, all.up.lost_bytes), (5_007, 5_007, 0));
    let least = 5_007 + 5 * HEADER_BYTES as u64;
    assert!(all.up.ip_bytes >= least, "{all:?}: five packets at least");
}

#[test]
fn a_cut_loses_what_is_on_its_way() {
    let relay = Relay::tcp(echo(), 7).unwrap();
    relay.lay(Link { latency_ms: 60_000, ..Link::OPEN });
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    wait_for("the connection", || !relay.connections().is_empty());
    relay.lay(Link { up_bit_s: 8_000, latency_ms: 60_000, ..Link::OPEN });
    relay.cut();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(matches!(stream.read(&mut [0; 4]), Ok(0) | Err(_)), "the client hears of it");

    // A second of the link's capacity has left, none has arrived, the rest never left.
    relay.lay(Link { up_bit_s: 80_000, latency_ms: 2_000, ..Link::OPEN });
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    stream.write_all(&[1; 30_000]).unwrap();
    std::thread::sleep(Duration::from_millis(4_600));
    relay.cut();
    wait_for("the loss to be counted", || relay.carried().up.lost_bytes > 0);
    let up = relay.carried().up;
    assert!(up.bytes == up.lost_bytes && up.bytes < 30_000, "{up:?}");
    assert_eq!(relay.carried().down.bytes, 0);
}

#[test]
fn a_half_open_link_swallows_and_says_nothing() {
    let relay = Relay::tcp(echo(), 8).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    let mut back = [0; 4];
    stream.write_all(b"well").unwrap();
    stream.read_exact(&mut back).unwrap();
    relay.trouble().swallow(true);
    wait_for("both ways to end", || relay.trouble().cuts.load(Ordering::Relaxed) == 2);
    stream.write_all(b"hush").unwrap();
    wait_for("it to be swallowed", || relay.carried().up.lost_bytes == 4);
    // It never comes back, even where the link does; new connections are well.
    relay.trouble().swallow(false);
    stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    let heard = stream.read(&mut back).map_err(|error| error.kind());
    assert!(matches!(heard, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut)), "{heard:?}");
    assert_eq!(ask(relay.port(), b"anew"), b"anew");
}

#[test]
fn the_other_end_of_a_connection_that_lingers_hears_nothing_of_the_cut() {
    let target = ports::listen("127.0.0.1").unwrap();
    let relay = Relay::tcp(target.local_addr().unwrap().port(), 9).unwrap();
    relay.lay(Link { latency_ms: 300, lingers: true, ..Link::OPEN });
    let mut client = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    client.write_all(b"late").unwrap();
    let (mut server, _) = target.accept().unwrap();
    // After the connection is there, before it arrives.
    std::thread::sleep(Duration::from_millis(750));
    relay.cut();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(client.read(&mut [0; 4]).unwrap(), 0, "the client is cut off");
    let mut heard = [0; 4];
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"late");
    server.write_all(b"nobody").unwrap();
    wait_for("it to go nowhere", || relay.carried().down.lost_bytes == 6);
    server.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    assert!(server.read(&mut heard).is_err(), "it stays open");
}

#[test]
fn a_link_opens_for_a_while_only() {
    let relay = Relay::tcp(echo(), 10).unwrap();
    assert_eq!(relay.window(), None);
    relay.open_for(Duration::from_millis(300), Duration::from_millis(200));
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(matches!(stream.read(&mut [0; 4]), Ok(0) | Err(_)), "it is cut");
    wait_for("a connection in a later window", || ask(relay.port(), b"again") == b"again");
    let window = relay.window().unwrap();
    assert!(window.number >= 1 && window.at < Duration::from_millis(500), "{window:?}");
}

#[test]
fn a_silent_link_keeps_what_it_was_given() {
    let relay = Relay::tcp(echo(), 4).unwrap();
    relay.trouble().go_silent(true);
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).unwrap();
    stream.write_all(b"hush").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    assert!(stream.read(&mut [0; 4]).is_err());
    relay.trouble().go_silent(false);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hush");
}

#[test]
fn publishes_through_a_real_broker_are_doubled_and_reordered() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), false).unwrap();
    let relay = Relay::mqtt(broker.port(), 5).unwrap();
    relay.trouble().shuffle(300, 400, 80, 0);
    let count = 60;
    // The subscriber listens through the proxy, and long enough for what is delayed.
    let (proxied, direct) = (relay.port().to_string(), broker.port().to_string());
    let mut subscriber = Command::new("mosquitto_sub");
    subscriber.args(["-V", "5", "-p", &proxied, "-t", "test/#", "-W", "3"]);
    let subscriber = begin(&mut subscriber, "").unwrap();
    // Retained, so that it is heard whenever the subscription begins.
    let mut publisher = Command::new("mosquitto_pub");
    publisher.args(["-V", "5", "-p", &direct, "-t", "test/ready", "-r", "-m", "ready"]);
    run(&mut publisher, "", DEADLINE).unwrap().ok().unwrap();
    let passed = || relay.trouble().bytes.load(Ordering::Relaxed);
    until("the subscription", DEADLINE, || Ok(Look::when(passed() > 60, || passed().to_string())))
        .unwrap();
    let lines: String = (0..count).map(|at| format!("{at}\n")).collect();
    let mut publisher = Command::new("mosquitto_pub");
    publisher.args(["-V", "5", "-p", &direct, "-t", "test/a", "-q", "0", "-l"]);
    run(&mut publisher, &lines, DEADLINE).unwrap().ok().unwrap();
    let heard = subscriber.finish(DEADLINE).unwrap().stdout;
    let heard: Vec<u32> = heard.lines().filter_map(|line| line.parse().ok()).collect();
    let distinct: std::collections::BTreeSet<u32> = heard.iter().copied().collect();
    assert_eq!(distinct.len(), count, "every one arrives");
    assert!(heard.len() > count, "none doubled: {heard:?}");
    assert!(heard.windows(2).any(|pair| pair[0] > pair[1]), "none overtaken: {heard:?}");
}
