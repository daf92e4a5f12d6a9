//! What is decoded from others than our own ends: brokers, the kernel, announcements
//! on the network, people who type; and the tags and seals that keep strangers out.
use std::sync::{Arc, LazyLock};

use bytes::BytesMut;
use mdns_sd::ServiceInfo;
use wadi_gateway::handheld::record;
use wadi_gateway::mdns;
use wadi_gateway::mqtt::packet::{self, Heard as Said, PACKET_BYTES_MAX};
use wadi_gateway::noise::answerer::{Answerer, Heard};
use wadi_gateway::noise::caller::{Caller, Step};
use wadi_gateway::noise::key::{KeyPair, Typed};
use wadi_gateway::route::{Change, Interfaces};
use wadi_protocol::id::{Dot, GatewayId, RowId};
use wadi_protocol::limits::{CHANGE_FIELDS_MAX, GROUP_CHANGES_MAX, NAME_BYTES_MAX};
use wadi_protocol::link::collector::Timing;
use wadi_protocol::link::envelope::{self, MESSAGE_BYTES_MAX};
use wadi_protocol::link::frame::Accumulator;
use wadi_protocol::tag::{TAG_BYTES, TagKey, Way, hex, unhex};

use crate::decoders::MESSAGES;
use crate::script::Script;
use crate::{corpus, fuzz, memory, sample};

/// The first byte says whose bytes they are.
#[test]
fn bytes_of_the_network_are_taken_or_passed_over() {
    let (mqtt, netlink) = (corpus::mqtt(), corpus::netlink());
    fuzz!(move |input: &[u8]| {
        let mut script = Script(input);
        match script.byte() % 4 {
            0 => a_brokers_bytes(&mut script, &mqtt),
            1 => the_kernels_bytes(&mut script, &netlink),
            2 => an_announcement(&mut script),
            _ => a_tagged_message(&mut script),
        }
    });
}

/// The same packets, however the bytes are cut.
fn a_brokers_bytes(script: &mut Script<'_>, samples: &[Vec<u8>]) {
    let mut bytes = Vec::new();
    for _ in 0..=script.byte() % 4 {
        bytes.extend(script.spoiled(samples));
    }
    let mut whole = Vec::new();
    memory::packets(bytes.len(), || whole = packets([bytes.as_slice()]));
    let cut = script.below(bytes.len() + 1);
    assert_eq!(packets([&bytes[..cut], &bytes[cut..]]), whole);
}

/// What is heard until the first error, if there is one.
pub fn packets<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Said, String>> {
    let mut buffer = BytesMut::new();
    let mut heard = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match packet::take(&mut buffer, corpus::TOPIC) {
                Ok(None) => break,
                Ok(Some(said)) => {
                    if let Said::Message(message) = &said {
                        assert!(message.len() <= PACKET_BYTES_MAX);
                    }
                    heard.push(Ok(said));
                }
                Err(strange) => {
                    heard.push(Err(strange.to_string()));
                    return heard;
                }
            }
        }
    }
    heard
}

fn the_kernels_bytes(script: &mut Script<'_>, samples: &[Vec<u8>]) {
    let mut interfaces = Interfaces::default();
    while !script.is_over() {
        let mut datagram = script.spoiled(samples);
        // Several messages in one.
        if script.one_in(4) {
            datagram.extend(script.spoiled(samples));
        }
        let mut first = Change::default();
        interfaces.read(&datagram, &mut first);
        let mut again = Change::default();
        interfaces.read(&[], &mut again);
        assert_eq!(again, Change::default(), "no bytes tell of no change");
    }
}

/// What the mDNS crate makes of packets; its own parser is fuzzed by its authors.
fn an_announcement(script: &mut Script<'_>) {
    let lengths = [0, 1, NAME_BYTES_MAX, NAME_BYTES_MAX + 1, 200];
    let text = |script: &mut Script<'_>| -> String {
        let length = *script.pick(&lengths);
        (0..length).map(|_| char::from(script.byte())).collect()
    };
    let (site, version) = (text(script), text(script));
    let texts = [("site", site.as_str()), ("version", version.as_str())];
    let texts = &texts[script.below(2)..];
    let addresses: Vec<String> =
        (0..script.byte()).map(|_| format!("{}.0.{}.1", script.byte(), script.byte())).collect();
    let port = script.number() as u16;
    let service = ServiceInfo::new(
        "_wadi._tcp.local.",
        "x",
        "x.local.",
        addresses.join(",").as_str(),
        port,
        texts,
    );
    let Ok(service) = service else { return };
    if let Some(found) = mdns::understood(&service.as_resolved_service()) {
        assert!((1..=NAME_BYTES_MAX).contains(&found.site.len()));
        assert!(!found.site.chars().any(char::is_control));
        assert!((1..=8).contains(&found.addresses.len()));
        assert!(found.addresses.iter().all(|address| address.port() == port && port != 0));
    }
}

/// Only what was sealed so opens, and opens as it was.
fn a_tagged_message(script: &mut Script<'_>) {
    let key = TagKey::derive(&[7; 32], GatewayId(3), 1);
    let message = script.spoiled(&MESSAGES);
    let sealed = key.seal(GatewayId(3), Way::Up, message.clone());
    assert_eq!(key.open(GatewayId(3), Way::Up, &sealed), Some(message.as_slice()));
    let altered = script.altered(sealed.clone());
    let opened = key.open(GatewayId(3), Way::Up, &altered);
    assert_eq!(opened.is_some(), altered == sealed, "{} bytes", altered.len());
    let cut = &sealed[script.below(sealed.len() + 1)..];
    assert_eq!(key.open(GatewayId(3), Way::Up, cut).is_some(), cut.len() == sealed.len());
    assert_eq!(key.open(GatewayId(3), Way::Down, &sealed), None);
    assert_eq!(key.open(GatewayId(4), Way::Up, &sealed), None);
    assert!(sealed.len() == message.len() + TAG_BYTES);
}

/// What people and programs type: record lines, keys, ids.
#[test]
fn what_is_typed_is_refused_or_whole() {
    let records = corpus::records();
    let row = sample::row(7).to_string();
    let dot = sample::dot(9).to_string();
    let words: Vec<Vec<u8>> =
        [hex(&[0x5e; 32]), row, dot, "5e5e 5e5e 5e5e 5e5e".into()].map(String::into_bytes).into();
    fuzz!(move |input: &[u8]| {
        let mut script = Script(input);
        if script.one_in(4) {
            return a_word(&String::from_utf8_lossy(&script.spoiled(&words)));
        }
        let bytes = script.spoiled(&records);
        let line = String::from_utf8_lossy(&bytes);
        let mut parsed = None;
        memory::records(line.len(), || parsed = Some(record::parse(&line)));
        match parsed.expect("parsed") {
            Ok(records) => {
                assert!((1..=GROUP_CHANGES_MAX).contains(&records.len()));
                for record in records {
                    assert!((1..=NAME_BYTES_MAX).contains(&record.table.len()));
                    assert!(record.fields.len() <= CHANGE_FIELDS_MAX);
                }
            }
            Err(reason) => assert!(!reason.is_empty()),
        }
    });
}

/// A word is what it says, or nothing.
fn a_word(word: &str) {
    if let Ok(row) = word.parse::<RowId>() {
        assert_eq!(row.to_string(), word.to_lowercase());
    }
    if let Ok(dot) = word.parse::<Dot>() {
        assert_eq!(dot.to_string().parse(), Ok(dot));
    }
    if let Some(key) = unhex(word) {
        assert_eq!(hex(&key), word.to_lowercase());
    }
    if let Ok(typed) = word.parse::<Typed>() {
        assert!(
            word.chars().filter(char::is_ascii_hexdigit).count().is_multiple_of(16),
            "{typed:?}"
        );
    }
}

static HANDHELD: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::of([9; 32]));
static GATEWAY: LazyLock<Arc<KeyPair>> = LazyLock::new(|| Arc::new(KeyPair::of([7; 32])));

/// Somebody sits on the line between a handheld and a gateway.
struct Line {
    caller: Caller,
    answerer: Answerer,
    /// Bodies said so far, by either end.
    said: Vec<Vec<u8>>,
    /// Messages that each end has sealed, to be opened there at most once.
    asked: Vec<Vec<u8>>,
    answered: Vec<Vec<u8>>,
    now_ms: u64,
}

#[test]
fn both_ends_of_the_seal_open_only_what_the_other_sealed() {
    let samples: Vec<Vec<u8>> =
        sample::link::envelopes().into_iter().map(|(_, one)| envelope::encode(&one)).collect();
    fuzz!(move |input: &[u8]| {
        let mut script = Script(input);
        let mut line = Line {
            caller: Caller::new(&HANDHELD, 0x0102_0304, Timing::lan()),
            answerer: Answerer::new(Arc::clone(&GATEWAY)),
            said: samples.clone(),
            asked: Vec::new(),
            answered: Vec::new(),
            now_ms: 0,
        };
        for _ in 0..32 {
            if script.is_over() {
                break;
            }
            line.step(&mut script);
        }
    });
}

impl Line {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 | 1 => self.call(),
            2 => {
                let message = vec![script.byte(); script.below(600)];
                if let Some(line) = self.caller.seal(&message, true) {
                    self.asked.push(message);
                    self.put(&line);
                }
            }
            3 => {
                let message = vec![script.byte(); script.below(600)];
                if let Some(body) = self.answerer.seal(&message) {
                    self.answered.push(message);
                    self.said.push(body);
                }
            }
            4 => {
                let body = script.spoiled(&self.said);
                self.give_gateway(&body);
                self.give_handheld(&body);
            }
            5 => {
                let body = script.pick(&self.said).clone();
                self.give_handheld(&body);
            }
            _ => {
                let body = script.pick(&self.said).clone();
                self.give_gateway(&body);
            }
        }
    }

    /// Until the session is open, honestly; then nothing.
    fn call(&mut self) {
        match self.caller.step(self.now_ms) {
            Step::Send(bytes) => self.put(&bytes),
            Step::Wait { until_ms } => self.now_ms = self.now_ms.max(until_ms),
            Step::Open(key) => assert_eq!(key, GATEWAY.public(), "nobody else has proved a key"),
            Step::Failed(_) => {}
        }
        if let Some(body) = self.said.last().cloned() {
            self.give_gateway(&body);
            if let Some(body) = self.said.last().cloned() {
                self.give_handheld(&body);
            }
        }
    }

    fn put(&mut self, line: &[u8]) {
        let mut accumulator = Accumulator::new();
        let mut rest = line;
        while let Some(body) = accumulator.next_body(&mut rest) {
            self.said.push(body);
        }
    }

    fn give_gateway(&mut self, body: &[u8]) {
        let (answerer, mut heard) = (&mut self.answerer, None);
        memory::seals(body.len(), || heard = Some(answerer.hear(body)));
        match heard.expect("heard") {
            Heard::Reply(body) => self.said.push(body),
            Heard::Opened(key) => assert_eq!(key, HANDHELD.public(), "nobody else has a key here"),
            Heard::Message(message) => take(&mut self.asked, &message),
            Heard::Nothing(_) | Heard::Unreadable(_) => {}
        }
    }

    fn give_handheld(&mut self, body: &[u8]) {
        let (caller, now_ms, mut heard) = (&mut self.caller, self.now_ms, None);
        memory::seals(body.len(), || heard = caller.hear(body, now_ms));
        if let Some(message) = heard {
            take(&mut self.answered, &message);
        }
    }
}

/// Strike out a message that was opened: it was sealed, and opens once.
fn take(sealed: &mut Vec<Vec<u8>>, message: &[u8]) {
    assert!(message.len() <= MESSAGE_BYTES_MAX);
    let place = sealed.iter().position(|one| one == message);
    sealed.remove(place.expect("only what was sealed opens, and once"));
}
