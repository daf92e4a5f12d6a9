//! The gateway's MQTT connection against brokers that misbehave: silent, slow,
//! refusing, closing anywhere, flooding, malformed. Each is a few lines of bytes.
mod script;
mod trouble;

use std::time::Duration;

use script::{CONNACK, SUBACK, Script, TOPIC, open, target, told};
use wadi_gateway::mqtt::{Link, Phase, Resolver};

/// Everything that a test waits for must come within this.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_broker_that_agrees() {
    let script = Script::new().expect(b"CONNECT").say(CONNACK).expect(b"SUBSCRIBE").say(SUBACK);
    let (port, broker) = script.message(TOPIC, b"news").expect(b"PUBLISH").stay().run().await;
    let mut link = open(&target(port)).await.unwrap();
    assert_eq!(link.next().await.unwrap(), b"news");
    link.send("wadi/1/up", vec![b"question".to_vec()]).await.unwrap();
    assert_eq!(broker.heard(3).await, ["CONNECT", "SUBSCRIBE", "PUBLISH"]);
}

/// Nothing at all, nothing after CONNECT, nothing after SUBSCRIBE: each is told apart.
#[tokio::test]
async fn a_broker_that_says_nothing() {
    let silent = Script::new().stay();
    let after_connect = Script::new().expect(b"CONNECT").stay();
    let after_connack = Script::new().expect(b"CONNECT").say(CONNACK).expect(b"SUBSCRIBE").stay();
    for (script, phase, word) in [
        (silent, Phase::Mqtt, "no CONNACK within 300 ms"),
        (after_connect, Phase::Mqtt, "no CONNACK within 300 ms"),
        (after_connack, Phase::Subscribe, "no SUBACK within 300 ms"),
    ] {
        let (port, _broker) = script.run().await;
        told(&open(&target(port)).await.err().unwrap(), phase, port, &[word, "broker.port"]);
    }
}

#[tokio::test]
async fn a_broker_that_stalls_in_the_tls_handshake() {
    let (port, broker) = Script::new().stay().run().await;
    let mut target = target(port);
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    target.tls = Some(config.into());
    let error = open(&target).await.err().unwrap();
    told(&error, Phase::Tls, port, &["handshake within 300 ms", "TLS port", "clock"]);
    // It was the ClientHello that it read.
    assert_eq!(broker.bytes(1).await[0], 0x16);
    // One that speaks plain MQTT there.
    let (port, _broker) = Script::new().say(CONNACK).stay().run().await;
    target.port = port;
    told(&open(&target).await.err().unwrap(), Phase::Tls, port, &["TLS port"]);
}

#[tokio::test]
async fn nobody_there() {
    let port = script::free_port().await;
    let error = open(&target(port)).await.err().unwrap();
    told(&error, Phase::Connect, port, &["connection refused", "broker.host", "SIM credit"]);
    let mut unknown = target(port);
    unknown.host = "broker.invalid".into();
    let error = open(&unknown).await.err().unwrap();
    assert_eq!(error.phase, Phase::Resolve);
    for word in ["address of the broker broker.invalid", "broker.host", "DNS"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    // A name with several addresses, of which one works.
    let (port, _broker) = Script::agreeing().stay().run().await;
    let mut named = target(port);
    named.host = "localhost".into();
    named.deadlines = wadi_gateway::patience::Deadlines::of(10_000);
    let link = open(&named).await.unwrap();
    assert!(link.broker().contains("localhost") && link.broker().contains("127.0.0.1"));
}

/// The broker closes after each number of bytes that it would say.
#[tokio::test]
async fn a_broker_that_closes_after_any_byte() {
    let message = script::publish(TOPIC, b"answer");
    let conversation = [CONNACK, SUBACK, &message].concat();
    for bytes in 0..conversation.len() {
        let agreed = CONNACK.len() + SUBACK.len();
        let (first, rest) = conversation[..bytes].split_at(bytes.min(CONNACK.len()));
        let (port, _broker) =
            Script::new().expect(b"CONNECT").say(first).say(rest).close().run().await;
        match open(&target(port)).await {
            // SUBACK may come before SUBSCRIBE is read; the end shows afterwards.
            Ok(mut link) => {
                assert!(bytes >= agreed, "agreed after {bytes} bytes");
                told(&link.next().await.unwrap_err(), Phase::Session, port, &["lost", "made anew"]);
            }
            Err(error) => {
                let phase = if bytes < CONNACK.len() { Phase::Mqtt } else { Phase::Subscribe };
                assert!(bytes < agreed + message.len(), "{bytes}: {error}");
                told(&error, phase, port, &["lost", "check"]);
            }
        }
    }
}

/// Every reason code, in every packet that carries one: people read what it means.
#[tokio::test]
async fn a_broker_that_refuses_for_any_reason() {
    let words = [
        (0x85, "client identifier not valid"),
        (0x87, "not authorised"),
        (0x89, "server busy"),
        (0x8a, "banned"),
        (0x97, "quota exceeded"),
        (0x9d, "server moved"),
        (0xee, "a reason that MQTT 5 does not define"),
    ];
    for code in 0x80..=u8::MAX {
        let says = words.iter().find(|(known, _)| *known == code).map_or("reason code", |it| it.1);
        let number = format!("reason code {code}");
        let wanted = [says, &number];
        let refused = [0x20, 3, 0, code, 0];
        let (port, _broker) = Script::new().expect(b"CONNECT").say(&refused).stay().run().await;
        told(&open(&target(port)).await.err().unwrap(), Phase::Mqtt, port, &wanted);

        let refused = [0x90, 4, 0, 1, 0, code];
        let agreed = Script::new().expect(b"CONNECT").say(CONNACK).expect(b"SUBSCRIBE");
        let (port, _broker) = agreed.say(&refused).stay().run().await;
        told(&open(&target(port)).await.err().unwrap(), Phase::Subscribe, port, &wanted);

        let ended = [0xe0, 2, code, 0];
        let (port, _broker) = Script::agreeing().say(&ended).stay().run().await;
        // It may be read together with SUBACK, or after.
        let error = match open(&target(port)).await {
            Ok(mut link) => link.next().await.unwrap_err(),
            Err(error) => panic!("{error}"),
        };
        told(&error, Phase::Session, port, &wanted);
    }
}

/// The reader of an error learns what to do.
#[tokio::test]
async fn a_refusal_says_what_to_do() {
    for (code, advice) in [
        (0x87, "wadi-hub gateway list"),
        (0x89, "tried again"),
        (0x8a, "why this gateway is banned"),
        (0x85, "`gateway` in the configuration"),
        (0x9d, "set broker.host and broker.port"),
    ] {
        let refused = [0x20, 3, 0, code, 0];
        let (port, _broker) = Script::new().expect(b"CONNECT").say(&refused).stay().run().await;
        told(&open(&target(port)).await.err().unwrap(), Phase::Mqtt, port, &[advice]);
    }
}

/// A link that is dropped closes its connection: nothing is left behind.
#[tokio::test]
async fn a_link_that_is_dropped_is_closed() {
    let (port, broker) = Script::agreeing().stay().run().await;
    drop(open(&target(port)).await.unwrap());
    broker.closed().await;
}

/// A resolver may be used again and again, also after a failure.
#[tokio::test]
async fn a_resolver_lives_long() {
    let (port, _broker) = Script::agreeing().stay().run().await;
    let mut resolver = Resolver::default();
    let (mut bad, mut good) = (target(port), target(port));
    bad.host = "broker.invalid".into();
    good.host = "localhost".into();
    good.deadlines = wadi_gateway::patience::Deadlines::of(10_000);
    assert!(Link::open(&bad, &mut resolver).await.is_err());
    // A late answer about another name must not be taken for this one's.
    Link::open(&good, &mut resolver).await.unwrap();
}
