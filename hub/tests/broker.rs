//! The embedded broker and the hub's own link to it, on a free loopback port.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wadi_hub::broker::Embedded;
use wadi_hub::door::{Door, Entry};
use wadi_hub::identity::HUB_CLIENT;
use wadi_hub::mqtt::{Link, Target};
use wadi_protocol::id::GatewayId;

const SECRET: &str = "between us";

/// A broker with gateways 7 and 8; 9 was revoked.
async fn start(fronted: bool) -> Embedded {
    let door = Door::new(SECRET.into(), fronted);
    let entry = |revoked| Entry { enrolment: 1, revoked };
    let roster = [(7, entry(false)), (8, entry(false)), (9, entry(true))];
    door.set_roster(roster.map(|(number, entry)| (GatewayId(number), entry)).into());
    Embedded::start(SocketAddr::from(([127, 0, 0, 1], 0)), Arc::new(door)).await.unwrap()
}

fn target(address: SocketAddr, client: &str, listen: &str) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        client: client.into(),
        keep_alive: Duration::from_secs(30),
        listen: listen.into(),
        deadline: Duration::from_secs(5),
        tls: None,
        password: (client == HUB_CLIENT).then(|| SECRET.to_owned()),
    }
}

#[tokio::test]
async fn messages_pass_between_gateway_and_hub() {
    let broker = start(false).await;
    let mut hub = Link::open(&target(broker.address(), HUB_CLIENT, "wadi/+/up")).await.unwrap();
    let mut gateway =
        Link::open(&target(broker.address(), "wadi-gateway-7", "wadi/7/down")).await.unwrap();
    let large = vec![7; wadi_protocol::limits::MESSAGE_BYTES_MAX];
    gateway.send("wadi/7/up", large.clone()).await.unwrap();
    let heard = hub.next().await.unwrap();
    assert_eq!((heard.topic.as_str(), heard.message), ("wadi/7/up", large));
    hub.send("wadi/8/down", vec![1]).await.unwrap();
    hub.send("wadi/7/down", vec![2]).await.unwrap();
    assert_eq!(gateway.next().await.unwrap().message, [2], "only its own topic");
}

#[tokio::test]
async fn a_broker_that_goes_away_ends_the_link() {
    let broker = start(false).await;
    let mut link = Link::open(&target(broker.address(), HUB_CLIENT, "wadi/+/up")).await.unwrap();
    drop(broker);
    let ended = tokio::time::timeout(Duration::from_secs(10), link.next()).await;
    assert!(ended.expect("noticed in time").is_err());
}

#[tokio::test]
async fn no_broker_is_an_error_with_a_reason() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Link::open(&target(unused, HUB_CLIENT, "x")).await.err().unwrap().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_gateway_has_only_its_own_topics() {
    let broker = start(false).await;
    let mut hub = Link::open(&target(broker.address(), HUB_CLIENT, "wadi/+/up")).await.unwrap();
    let mut seven =
        Link::open(&target(broker.address(), "wadi-gateway-7", "wadi/7/down")).await.unwrap();
    for (client, listen) in [
        ("wadi-gateway-8", "wadi/7/down"),
        ("wadi-gateway-8", "wadi/+/down"),
        ("wadi-gateway-8", "#"),
        ("wadi-gateway-8", "wadi/8/up"),
        ("wadi-gateway-9", "wadi/9/down"),
        ("wadi-gateway-10", "wadi/10/down"),
        ("wadi-gateway-07", "wadi/7/down"),
        ("wadi-gateway-+7", "wadi/7/down"),
        ("somebody", "wadi/7/down"),
        ("", "wadi/7/down"),
    ] {
        let refused = Link::open(&target(broker.address(), client, listen)).await;
        assert!(refused.is_err(), "{client} listens to {listen}");
    }
    let eight =
        Link::open(&target(broker.address(), "wadi-gateway-8", "wadi/8/down")).await.unwrap();
    for topic in ["wadi/7/up", "wadi/7/down", "wadi/8/down", "wadi/8/up/x"] {
        // Refused quietly, or the link ends: in no case does it arrive.
        let _ = eight.send(topic, vec![8]).await;
    }
    seven.send("wadi/7/up", vec![7]).await.unwrap();
    let heard = hub.next().await.unwrap();
    assert_eq!((heard.topic.as_str(), heard.message), ("wadi/7/up", vec![7]));
    hub.send("wadi/7/down", vec![2]).await.unwrap();
    assert_eq!(seven.next().await.unwrap().message, [2]);
}

#[tokio::test]
async fn nobody_is_taken_for_the_hub_or_comes_round_the_front() {
    let broker = start(false).await;
    let mut thief = target(broker.address(), HUB_CLIENT, "wadi/+/up");
    for password in [None, Some(String::new()), Some("between".into()), Some("between uz".into())] {
        thief.password = password;
        assert!(Link::open(&thief).await.is_err(), "{:?}", thief.password);
    }
    let fronted = start(true).await;
    let round = Link::open(&target(fronted.address(), "wadi-gateway-7", "wadi/7/down")).await;
    assert!(round.is_err(), "a local program came in without a certificate");
    Link::open(&target(fronted.address(), HUB_CLIENT, "wadi/+/up")).await.unwrap();
}
