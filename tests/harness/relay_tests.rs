//! The relay against an echo, and its MQTT form against a real mosquitto.
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
    relay.trouble().limit_rate(20_000);
    let start = Instant::now();
    assert_eq!(ask(relay.port(), &[7; 10_000]).len(), 10_000);
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
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
