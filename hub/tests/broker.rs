//! The embedded broker and the hub's own link to it, on a free loopback port.
use std::net::SocketAddr;
use std::time::Duration;

use wadi_hub::broker::Embedded;
use wadi_hub::mqtt::{Link, Target};

fn target(address: SocketAddr, client: &str, listen: &str) -> Target {
    Target {
        host: address.ip().to_string(),
        port: address.port(),
        client: client.into(),
        keep_alive: Duration::from_secs(30),
        listen: listen.into(),
        deadline: Duration::from_secs(5),
    }
}

#[tokio::test]
async fn messages_pass_between_gateway_and_hub() {
    let broker = Embedded::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let mut hub = Link::open(&target(broker.address(), "hub", "wadi/+/up")).await.unwrap();
    let mut gateway = Link::open(&target(broker.address(), "g", "wadi/7/down")).await.unwrap();
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
    let broker = Embedded::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let mut link = Link::open(&target(broker.address(), "hub", "wadi/+/up")).await.unwrap();
    drop(broker);
    let ended = tokio::time::timeout(Duration::from_secs(10), link.next()).await;
    assert!(ended.expect("noticed in time").is_err());
}

#[tokio::test]
async fn no_broker_is_an_error_with_a_reason() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Link::open(&target(unused, "hub", "x")).await.err().unwrap().to_string();
    assert!(error.contains("refused"), "{error}");
}
