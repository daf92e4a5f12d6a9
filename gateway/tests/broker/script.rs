//! A broker that follows a script for one connection, and remembers what it heard.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wadi_gateway::carrier::Carrier;
use wadi_gateway::mqtt::{Link, LinkError, Phase, Resolver, Target};
use wadi_gateway::patience::Deadlines;
use wadi_gateway::spending::Meter;

use crate::PATIENCE;

pub const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
pub const SUBACK: &[u8] = &[0x90, 4, 0, 1, 0, 0];
pub const TOPIC: &str = "wadi/1/down";
/// Each phase of a link under test.
const DEADLINE_MS: u64 = 300;

enum Step {
    Expect(&'static [u8]),
    Say(Vec<u8>),
    Flood(Vec<u8>),
    Pong,
    Stay,
    Deaf,
}

/// What the broker does, in order; then it closes.
pub struct Script(Vec<Step>);

impl Script {
    pub fn new() -> Script {
        Script(Vec::new())
    }

    /// One that lets the gateway in.
    pub fn agreeing() -> Script {
        Script::new().expect(b"CONNECT").say(CONNACK).expect(b"SUBSCRIBE").say(SUBACK)
    }

    fn then(mut self, step: Step) -> Script {
        self.0.push(step);
        self
    }

    /// Wait for a packet of this kind.
    pub fn expect(self, kind: &'static [u8]) -> Script {
        self.then(Step::Expect(kind))
    }

    pub fn say(self, bytes: &[u8]) -> Script {
        self.then(Step::Say(bytes.to_vec()))
    }

    pub fn message(self, topic: &str, payload: &[u8]) -> Script {
        self.then(Step::Say(publish(topic, payload)))
    }

    /// Say this for ever.
    pub fn flood(self, bytes: Vec<u8>) -> Script {
        self.then(Step::Flood(bytes))
    }

    /// Answer every ping.
    pub fn pong(self) -> Script {
        self.then(Step::Pong)
    }

    /// Read, say nothing, never close.
    pub fn stay(self) -> Script {
        self.then(Step::Stay)
    }

    /// Do not even read.
    pub fn deaf(self) -> Script {
        self.then(Step::Deaf)
    }

    pub fn close(self) -> Script {
        self
    }

    /// Serve one connection.
    pub async fn run(self) -> (u16, Heard) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Heard::default();
        let log = heard.clone();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // The other side may end it at any time; that ends the script.
            let _ = play(self.0, &mut stream, &log).await;
            log.0.lock().unwrap().closed = true;
        });
        (port, heard)
    }
}

async fn play(steps: Vec<Step>, stream: &mut TcpStream, heard: &Heard) -> std::io::Result<()> {
    for step in steps {
        match step {
            Step::Expect(kind) => while read(stream, heard).await? != kind {},
            Step::Say(bytes) => stream.write_all(&bytes).await?,
            Step::Flood(bytes) => loop {
                stream.write_all(&bytes).await?;
                heard.0.lock().unwrap().flooded += bytes.len();
            },
            Step::Pong => loop {
                if read(stream, heard).await? == b"PINGREQ" {
                    stream.write_all(&[0xd0, 0]).await?;
                }
            },
            Step::Stay => {
                let mut bytes = [0; 1024];
                loop {
                    let len = stream.read(&mut bytes).await?;
                    if len == 0 {
                        return Ok(());
                    }
                    heard.0.lock().unwrap().bytes.extend(&bytes[..len]);
                }
            }
            Step::Deaf => std::future::pending().await,
        }
    }
    Ok(())
}

async fn read(stream: &mut TcpStream, heard: &Heard) -> std::io::Result<&'static [u8]> {
    let kind = stream.read_u8().await? >> 4;
    let (mut len, mut shift) = (0usize, 0);
    loop {
        let byte = stream.read_u8().await?;
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body).await?;
    let name: &[u8] = match kind {
        1 => b"CONNECT",
        3 => b"PUBLISH",
        8 => b"SUBSCRIBE",
        12 => b"PINGREQ",
        14 => b"DISCONNECT",
        _ => b"?",
    };
    heard.0.lock().unwrap().packets.push(String::from_utf8_lossy(name).into());
    Ok(name)
}

/// What a broker heard.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    packets: Vec<String>,
    bytes: Vec<u8>,
    flooded: usize,
    closed: bool,
}

impl Heard {
    async fn until<T>(&self, mut look: impl FnMut(&Log) -> Option<T>) -> T {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(found) = look(&self.0.lock().unwrap()) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the broker hears it in time")
    }

    /// The first packets.
    pub async fn heard(&self, count: usize) -> Vec<String> {
        self.until(|log| (log.packets.len() >= count).then(|| log.packets.clone())).await
    }

    /// Bytes that were not read as packets.
    pub async fn bytes(&self, count: usize) -> Vec<u8> {
        self.until(|log| (log.bytes.len() >= count).then(|| log.bytes.clone())).await
    }

    /// The connection ended.
    pub async fn closed(&self) {
        self.until(|log| log.closed.then_some(())).await;
    }

    /// Pings so far.
    pub fn pings(&self) -> usize {
        self.0.lock().unwrap().packets.iter().filter(|kind| *kind == "PINGREQ").count()
    }

    /// Bytes that the gateway took of a flood.
    pub fn flooded(&self) -> usize {
        self.0.lock().unwrap().flooded
    }
}

pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.push(0);
    body.extend(payload);
    let mut packet = vec![0x30];
    let mut len = body.len();
    loop {
        let more = len > 0x7f;
        packet.push((len & 0x7f) as u8 | if more { 0x80 } else { 0 });
        len >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(body);
    packet
}

pub fn target(port: u16) -> Target {
    Target {
        host: "127.0.0.1".into(),
        port,
        client: "wadi-gateway-1".into(),
        carrier: Carrier::new(60, 60, Duration::from_secs(900)),
        meter: Meter::new(None),
        keep_alive: Duration::from_secs(60),
        listen: TOPIC.into(),
        deadlines: Deadlines::of(DEADLINE_MS),
        tls: None,
    }
}

pub async fn open(target: &Target) -> Result<Link, LinkError> {
    tokio::time::timeout(PATIENCE, Link::open(target, &mut Resolver::default()))
        .await
        .expect("every phase has its deadline")
}

pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// The error says its phase, where, and these words.
#[track_caller]
pub fn told(error: &LinkError, phase: Phase, port: u16, words: &[&str]) {
    assert_eq!(error.phase, phase, "{error}");
    let text = error.to_string();
    let address = format!("127.0.0.1:{port}");
    for word in words.iter().copied().chain([address.as_str()]) {
        assert!(text.contains(word), "`{word}` is missing: {text}");
    }
    assert!(!text.contains("Error {") && !text.contains("Some("), "{text}");
}
