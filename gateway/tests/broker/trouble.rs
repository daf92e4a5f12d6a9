//! After both sides agreed: silence, floods, garbage, full sockets.
use std::time::Duration;

use wadi_gateway::carrier::Carrier;
use wadi_gateway::mqtt::{Phase, Target};

use crate::PATIENCE;
use crate::script::{Script, TOPIC, open, publish, target, told};

/// Until the link ends; how many messages came before.
async fn end(link: &mut wadi_gateway::mqtt::Link) -> (usize, wadi_gateway::mqtt::LinkError) {
    let mut messages = 0;
    let ended = async {
        loop {
            match link.next().await {
                Ok(_) => messages += 1,
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    (messages, error)
}

#[tokio::test]
async fn a_probe_finds_a_dead_connection_and_keeps_a_living_one() {
    let (port, broker) = Script::agreeing().stay().run().await;
    let mut link = open(&target(port)).await.unwrap();
    link.probe();
    let (_, error) = end(&mut link).await;
    told(&error, Phase::Session, port, &["nothing comes back", "made anew"]);
    assert_eq!(broker.bytes(2).await, [0xc0, 0], "one ping and nothing else");

    let (port, broker) = Script::agreeing().pong().run().await;
    let mut link = open(&target(port)).await.unwrap();
    for pings in 1..=3 {
        link.probe();
        broker.heard(2 + pings).await;
        let quiet = tokio::time::timeout(Duration::from_millis(500), link.next()).await;
        assert!(quiet.is_err(), "it answers, and was given up: {quiet:?}");
    }
    assert!(link.check_address().is_ok());
}

/// On an idle link a ping goes out at each keep-alive, and not beside traffic.
#[tokio::test]
async fn pings_are_for_idle_links() {
    let (port, broker) = Script::agreeing().pong().run().await;
    let mut target = target(port);
    target.keep_alive = Duration::from_millis(400);
    let link = open(&target).await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        link.send("wadi/1/up", vec![vec![1]]).await.unwrap();
    }
    // A slow machine may stretch a pause beyond the keep-alive once or twice.
    assert!(broker.pings() <= 3, "{} pings beside traffic", broker.pings());
    let busy = broker.heard(22).await.len();
    broker.heard(busy + 2).await;
    assert!(broker.pings() >= 2);
}

/// Each answer to a ping makes the next silence longer; none, twice, makes it shorter.
#[tokio::test]
async fn what_the_carrier_bears_is_learned_ping_by_ping() {
    let carrier = Carrier::new(1, 2, Duration::from_secs(900));
    let (port, broker) = Script::agreeing().pong().run().await;
    let mut target = target(port);
    target.carrier = carrier.clone();
    let link = open(&target).await.unwrap();
    broker.heard(4).await;
    assert_eq!(carrier.interval(), Duration::from_secs(2));
    broker.heard(5).await;
    drop(link);
    for after in [2, 1] {
        let (port, broker) = Script::agreeing().stay().run().await;
        let mut link = open(&Target { port, ..target.clone() }).await.unwrap();
        let (_, error) = end(&mut link).await;
        told(&error, Phase::Session, port, &["nothing comes back"]);
        assert_eq!(broker.bytes(2).await, [0xc0, 0]);
        // As the worker does.
        carrier.lost();
        assert_eq!(carrier.interval(), Duration::from_secs(after));
    }
}

/// A broker may ask for pings more often, or say that it needs none: neither spins.
#[tokio::test]
async fn a_broker_with_its_own_keep_alive() {
    for (seconds, pings_max) in [(0, 0), (1, 3)] {
        let connack = [0x20, 6, 0, 0, 3, 19, 0, seconds];
        let script = Script::new().expect(b"CONNECT").say(&connack).expect(b"SUBSCRIBE");
        let (port, broker) = script.say(crate::script::SUBACK).pong().run().await;
        let mut link = open(&target(port)).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1_500), link.next()).await.is_err());
        assert!(broker.pings() <= pings_max, "{} pings", broker.pings());
    }
}

/// A broker that reads nothing: the queue and the socket fill, and that is the end.
#[tokio::test]
async fn a_full_socket_ends_the_connection() {
    let (port, _broker) = Script::agreeing().deaf().run().await;
    let mut link = open(&target(port)).await.unwrap();
    // Both deadlines run out at once: a driver that was first takes what is sent, and drops it.
    let filled = async {
        for _ in 0..4_000 {
            if let Err(error) = link.send("wadi/1/up", vec![vec![7; 16_000]; 16]).await {
                return Some(error);
            }
        }
        None
    };
    if let Some(error) = tokio::time::timeout(PATIENCE, filled).await.expect("bounded") {
        told(&error, Phase::Session, port, &["took no message within 300 ms"]);
    }
    let (_, error) = end(&mut link).await;
    told(&error, Phase::Session, port, &["took no bytes within 300 ms"]);
}

#[tokio::test]
async fn malformed_oversized_and_unasked_packets_end_the_connection() {
    let cases: [(&[u8], &str); 8] = [
        (&[0x30, 0xff, 0xff, 0xff, 0xff], "malformed"),
        (&[0x30, 0xff, 0xff, 0xff, 0x7f], "more than"),
        (&[0x30, 3, 0xff, 0xff, 0], "malformed"),
        (&[0xf0, 0], "nobody asked for"),
        (&[0x40, 2, 0, 1], "nobody asked for"),
        (&[0x20, 3, 0, 0, 0], "not asked"),
        (&publish("wadi/2/down", b"x"), "nobody asked for"),
        (
            &[
                0x32, 17, 0, 11, b'w', b'a', b'd', b'i', b'/', b'1', b'/', b'd', b'o', b'w', b'n',
                0, 1, 0, 0,
            ],
            "nobody asked for",
        ),
    ];
    for (bytes, word) in cases {
        let (port, broker) = Script::agreeing().say(bytes).stay().run().await;
        let mut link = open(&target(port)).await.unwrap();
        let (messages, error) = end(&mut link).await;
        assert_eq!(messages, 0);
        told(&error, Phase::Session, port, &["does not keep to MQTT 5", word]);
        drop(link);
        broker.closed().await;
    }
}

/// Who does not take messages makes the broker wait, and holds a bounded few.
#[tokio::test]
async fn a_flood_waits_in_the_network_and_not_in_memory() {
    let packet = publish(TOPIC, &[7; 10_000]);
    let (port, broker) = Script::agreeing().flood(packet.clone()).run().await;
    let mut link = open(&target(port)).await.unwrap();
    // Until nothing moves any more.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = broker.flooded();
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    // The sockets of loopback hold some megabytes; the queue 64 messages.
    assert!(before < 32 << 20, "{before} bytes were taken");
    // And the link is alive: both directions still work.
    for _ in 0..500 {
        assert_eq!(link.next().await.unwrap().len(), 10_000);
    }
    link.send("wadi/1/up", vec![vec![1]]).await.unwrap();
}

/// A topic alias would be kept for ever: 65,535 of them are a gigabyte.
#[tokio::test]
async fn topic_aliases_are_not_collected() {
    let mut packet = vec![0x30, 2 + 11 + 4, 0, 11];
    packet.extend(TOPIC.as_bytes());
    packet.extend([3, 35, 0, 1]);
    let (port, _broker) = Script::agreeing().flood(packet).run().await;
    let mut link = open(&target(port)).await.unwrap();
    let (messages, error) = end(&mut link).await;
    assert_eq!(messages, 0);
    told(&error, Phase::Session, port, &["nobody asked for"]);
}

/// A broker whose limit is below our messages says so before anything is sent.
#[tokio::test]
async fn a_message_above_the_brokers_limit_is_not_sent() {
    let connack = [0x20, 8, 0, 0, 5, 39, 0, 0, 1, 0];
    let script = Script::new().expect(b"CONNECT").say(&connack).expect(b"SUBSCRIBE");
    let (port, _broker) = script.say(crate::script::SUBACK).stay().run().await;
    let link = open(&target(port)).await.unwrap();
    link.send("wadi/1/up", vec![vec![0; 100]]).await.unwrap();
    let error = link.send("wadi/1/up", vec![vec![0; 300]]).await.unwrap_err();
    told(&error, Phase::Session, port, &["at most 256 bytes", "greatest packet size"]);
}
