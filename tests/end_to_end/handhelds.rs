//! Who may come in: a handheld is unknown, allowed, revoked; a gateway is another
//! one than before. Everything is done by typing what the programs say.
//!
//! No hub: a gateway takes records in without one. Malicious handhelds are
//! tried in `gateway/tests/reception.rs`, with the link's own keys in their hands.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};

use wadi_harness::process::Outcome;
use wadi_harness::wait::{Look, until};
use wadi_harness::{hub, ports};

use crate::world::PATIENCE;

const FAILED: Option<i32> = Some(1);
const SUCCESS: Option<i32> = Some(0);

/// A gateway that lets in only whom somebody allowed, and has no hub.
fn strict(folder: &Path) -> Gateway {
    let enrolment = hub::enrolment(folder, "north").unwrap();
    let settings = Settings {
        number: 1,
        enrolment: &enrolment,
        broker_port: ports::free(),
        serial: Vec::new(),
        interval_s: 60,
    };
    let mut gateway = Gateway::lay_out(folder, &settings).unwrap();
    gateway.admit_allowed_only().unwrap();
    gateway.start().unwrap();
    gateway
}

fn link(gateway: &Gateway) -> Link {
    Link::Tcp(gateway.port())
}

fn collector(folder: &Path, name: &str, records: usize) -> Handheld {
    let handheld = Handheld::new(folder, name);
    for at in 0..records {
        handheld
            .put(&json!({"op": "insert", "table": "visit", "fields": {"patient": at}}))
            .unwrap();
    }
    handheld
}

/// Type the command that an error ends with, as a shell takes it apart.
fn type_advice(gateway: &Gateway, refused: &Outcome) -> Outcome {
    let (_, advice) = refused.stderr.split_once("on the gateway run: ").expect("advice");
    let words: Vec<&str> = advice.split_whitespace().collect();
    assert_eq!(words[0], "wadi-gateway", "{refused:?}");
    gateway.command(&words[1..]).unwrap()
}

fn listed(gateway: &Gateway) -> Vec<Value> {
    gateway.json(&["handheld", "list"]).unwrap()["handhelds"].as_array().unwrap().clone()
}

#[test]
fn an_unknown_handheld_is_told_what_to_type_and_comes_in_once_it_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = strict(folder.path());
    let anna = collector(folder.path(), "anna", 3);
    let refused = anna.sync(&link(&gateway)).unwrap();
    assert_eq!(refused.code, FAILED, "{refused:?}");
    let known = anna.command(&["key"], "").unwrap().ok().unwrap();
    let key = known.lines().find_map(|line| line.strip_prefix("key    ")).unwrap();
    let expected = format!(
        "the gateway refused: this gateway does not know handheld \"anna\" (key {key}): \
         on the gateway run: wadi-gateway handheld allow anna"
    );
    assert!(refused.stderr.contains(&expected), "{refused:?}");
    assert_eq!(listed(&gateway)[0]["state"], "waiting");
    let page = gateway.command(&["handheld", "list"]).unwrap().ok().unwrap();
    assert!(page.contains(&format!("waiting  {key}  \"anna\"")), "{page}");

    let allowed = type_advice(&gateway, &refused);
    assert_eq!(allowed.code, SUCCESS, "{allowed:?}");
    let synced = anna.sync(&link(&gateway)).unwrap();
    assert_eq!(synced.code, SUCCESS, "{synced:?}");
    assert!(synced.stdout.contains("offered 3"), "{synced:?}");
    assert!(synced.stderr.contains("first contact with site \"north\""), "{synced:?}");

    gateway.command(&["handheld", "revoke", "anna"]).unwrap().ok().unwrap();
    let refused = anna.sync(&link(&gateway)).unwrap();
    assert_eq!(refused.code, FAILED, "{refused:?}");
    assert!(refused.stderr.contains("was revoked on this gateway"), "{refused:?}");
    assert_eq!(type_advice(&gateway, &refused).code, SUCCESS, "that was a mistake");
    anna.sync_well(&link(&gateway), PATIENCE).unwrap();
    gateway.stop().unwrap();
}

#[test]
fn two_handhelds_of_one_name_are_told_apart_by_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = strict(folder.path());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = folders.each_ref().map(|folder| collector(folder.path(), "tablet", 1));
    one.sync(&link(&gateway)).unwrap();
    let refused = other.sync(&link(&gateway)).unwrap();
    let unclear = gateway.command(&["handheld", "allow", "tablet"]).unwrap();
    assert_eq!(unclear.code, FAILED, "{unclear:?}");
    assert!(unclear.stderr.contains("say which with --key"), "{unclear:?}");
    let mut keys: Vec<String> =
        listed(&gateway).iter().map(|held| held["fingerprint"].to_string()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert!(unclear.stderr.contains(key.trim_matches('"')), "{key}: {unclear:?}");
    }
    assert_eq!(type_advice(&gateway, &refused).code, SUCCESS);
    other.sync_well(&link(&gateway), PATIENCE).unwrap();
    assert_eq!(one.sync(&link(&gateway)).unwrap().code, FAILED, "the other one was meant");
    gateway.stop().unwrap();
}

#[test]
fn one_is_allowed_before_it_was_ever_here_by_its_whole_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = strict(folder.path());
    let anna = collector(folder.path(), "anna", 1);
    let known = anna.command(&["key"], "").unwrap().ok().unwrap();
    let line = |name: &str| known.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    for words in [
        &["handheld", "allow", "anna"][..],
        &["handheld", "revoke", "anna"],
        &["handheld", "allow", "anna", "--key", line("key    ")],
    ] {
        let nobody = gateway.command(words).unwrap();
        assert_eq!(nobody.code, FAILED, "{nobody:?}");
        assert!(nobody.stderr.contains("no handheld \"anna\""), "{nobody:?}");
    }
    let bad = gateway.command(&["handheld", "allow", "anna", "--key", "3f2a"]).unwrap();
    assert_eq!(bad.code, Some(2), "{bad:?}");
    assert!(bad.stderr.contains("wadi-handheld key"), "{bad:?}");
    let whole = line("whole  ");
    gateway.command(&["handheld", "allow", "anna", "--key", whole]).unwrap().ok().unwrap();
    anna.sync_well(&link(&gateway), PATIENCE).unwrap();
    gateway.stop().unwrap();
}

#[test]
fn another_key_for_a_known_site_stops_the_handheld_until_it_is_told_to_forget() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = strict(folder.path());
    let anna = collector(folder.path(), "anna", 1);
    let refused = anna.sync(&link(&gateway)).unwrap();
    type_advice(&gateway, &refused);
    anna.sync_well(&link(&gateway), PATIENCE).unwrap();
    anna.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": "new"}})).unwrap();
    gateway.stop().unwrap();
    // The card was replaced; only the database came back from the backup.
    let mut key = gateway.database().as_os_str().to_owned();
    key.push("-key");
    std::fs::remove_file(&key).unwrap();
    gateway.start().unwrap();
    let stopped = anna.sync(&link(&gateway)).unwrap();
    assert_eq!(stopped.code, FAILED, "{stopped:?}");
    for part in ["another gateway answers for site \"north\"", "wadi-handheld forget north"] {
        assert!(stopped.stderr.contains(part), "{part}: {stopped:?}");
    }
    let own = gateway.json(&["handheld", "list"]).unwrap()["gateway_key"].clone();
    let first_digits = own.as_str().unwrap()[..4].to_owned();
    assert!(stopped.stderr.contains(&first_digits), "both keys are named: {stopped:?}");
    assert_eq!(anna.status().unwrap()["changes"]["pending"], 1);
    let unknown = anna.command(&["forget", "nroth"], "").unwrap();
    assert_eq!(unknown.code, FAILED, "{unknown:?}");
    assert!(unknown.stderr.contains("known: \"north\""), "{unknown:?}");
    anna.command(&["forget", "north"], "").unwrap().ok().unwrap();
    anna.sync_well(&link(&gateway), PATIENCE).unwrap();
    gateway.stop().unwrap();
}

#[test]
fn strangers_who_babble_at_the_door_keep_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = strict(folder.path());
    let anna = collector(folder.path(), "anna", 5);
    type_advice(&gateway, &anna.sync(&link(&gateway)).unwrap());
    // Nearly as many as one address may have, each with noise; they hang up when they like.
    let mut strangers = Vec::new();
    for at in 0..6u8 {
        let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
        let noise: Vec<u8> = (0..5_000u32).map(|byte| (byte * u32::from(at + 3)) as u8).collect();
        // Noise may be refused in the middle; that is not what is tried here.
        let _ = stream.write_all(&noise);
        strangers.push(stream);
    }
    anna.sync_well(&link(&gateway), PATIENCE).unwrap();
    drop(strangers);
    // A hello of link version 1, in its frame: number 1, device 1, "old", no schema.
    let body = b"\x01\x01\x00\x01\x03old\x00\x00\x00";
    let frame = old_frame(body);
    let mut stream = TcpStream::connect(("127.0.0.1", gateway.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&frame).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != 0 {
        answer.push(byte[0]);
    }
    assert!(String::from_utf8_lossy(&answer).contains("update wadi-handheld"), "{answer:?}");
    until("the gateway to be well", PATIENCE, || {
        gateway.check()?;
        let states: Vec<Value> =
            listed(&gateway).iter().map(|held| held["state"].clone()).collect();
        Ok(Look::when(states == [json!("allowed")], || format!("{states:?}")))
    })
    .unwrap();
    gateway.stop().unwrap();
}

/// COBS( body | CRC-32C ) | 0, written down anew: the test shares no code with the product.
fn old_frame(body: &[u8]) -> Vec<u8> {
    let mut crc = !0u32;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (0u32.wrapping_sub(crc & 1)));
        }
    }
    let plain = [body, &(!crc).to_le_bytes()].concat();
    let mut frame = Vec::new();
    for piece in plain.split(|byte| *byte == 0) {
        frame.push(piece.len() as u8 + 1);
        frame.extend_from_slice(piece);
    }
    frame.push(0);
    frame
}
