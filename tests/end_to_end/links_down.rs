//! Brokers and links that are of no use: what people are told, how often it is
//! tried, and that the village works on meanwhile.
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::puppet::{Manner, Puppet};
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};
use wadi_harness::{hub, ports};

use crate::world::{PATIENCE, World, text};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
/// Exit code: no link to the hub.
const UNAVAILABLE: Option<i32> = Some(69);
/// Attempts in a row that links may cause, the product's own limit: tests that run
/// beside this one lay links.
const LINK_ATTEMPTS_MAX: u64 = 5;
/// A gateway under attack may take this much memory: its idle need is some 15 MB.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

fn lay_out(folder: &Path, broker_port: u16) -> Gateway {
    let enrolment = &hub::enrolment(folder, "north").unwrap();
    let settings =
        Settings { number: 1, enrolment, broker_port, serial: Vec::new(), interval_s: 1 };
    Gateway::lay_out(folder, &settings).unwrap()
}

/// Change the configuration of a gateway that is laid out.
fn configure(folder: &Path, before: &str, after: &str) {
    let file = folder.join("gateway-1.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(before), "{before} is not in {text}");
    std::fs::write(&file, text.replace(before, after)).unwrap();
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("gateway-1.log")).unwrap_or_default()
}

/// Records come in from a handheld, whatever the broker does.
fn intake_works(folder: &Path, gateway: &Gateway) {
    let handheld = Handheld::new(folder, "anna");
    let record = json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}});
    handheld.put(&record).unwrap();
    let outcome = handheld.sync(&Link::Tcp(gateway.port())).unwrap();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let ledger = gateway.json(&["ledger"]).unwrap();
    assert!(ledger["total"]["changes"].as_u64() >= Some(1), "{ledger}");
}

/// `wadi-gateway sync` names the phase, the address and what to check.
#[test]
fn sync_says_what_failed_where_and_what_to_do() {
    let nobody = ports::free();
    let cases: [(Option<Manner>, &[&str]); 8] = [
        (None, &["cannot connect", "connection refused", "broker.port", "SIM credit"]),
        (Some(Manner::Silent), &["no CONNACK within 1000 ms", "broker.port"]),
        (Some(Manner::Closing), &["lost", "this site's link"]),
        (Some(Manner::Refusing(0x87)), &["not authorised", "wadi-hub gateway list"]),
        (Some(Manner::Refusing(0x8a)), &["banned", "ask who runs the broker"]),
        (Some(Manner::Forbidding(0x87)), &["refuses the topic wadi/1/down", "not authorised"]),
        (Some(Manner::Ending(0x9d)), &["server moved", "broker.host"]),
        (Some(Manner::Empty), &["no answer to 3 questions", "wadi-hub serve"]),
    ];
    for (manner, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let puppet = manner.as_ref().map(|manner| Puppet::start(manner.clone()).unwrap());
        let port = puppet.as_ref().map_or(nobody, Puppet::port);
        let outcome = lay_out(folder.path(), port).command(&["sync"]).unwrap();
        assert_eq!(outcome.code, UNAVAILABLE, "{manner:?}: {outcome:?}");
        for word in words.iter().copied().chain(["not synced"]) {
            assert!(outcome.stderr.contains(word), "{manner:?}: `{word}` in {outcome:?}");
        }
        // Behind a broker that works, the hub is what is missing.
        let address = format!("127.0.0.1:{port}");
        let is_hub = matches!(manner, Some(Manner::Empty));
        assert!(is_hub || outcome.stderr.contains(&address), "{manner:?}: {outcome:?}");
        assert!(puppet.is_none_or(|puppet| puppet.connects() == 1), "{manner:?}: once");
    }
}

/// A hub that answers nothing yet: whoever asked waits no longer than they said, and
/// is told the same whether a gateway runs or not.
#[test]
fn a_sync_ends_when_its_patience_does() {
    let folder = tempfile::tempdir().unwrap();
    let puppet = Puppet::start(Manner::Empty).unwrap();
    let mut gateway = lay_out(folder.path(), puppet.port());
    configure(folder.path(), "deadline_ms = 1000", "deadline_ms = 12000");
    let impatient = |gateway: &Gateway| {
        let outcome = gateway.command(&["sync", "--within", "2"]).unwrap();
        assert_eq!(outcome.code, UNAVAILABLE, "{outcome:?}");
        for word in ["not synced", "not everything was exchanged within 2 s", "try again"] {
            assert!(outcome.stderr.contains(word), "`{word}` in {outcome:?}");
        }
    };
    impatient(&gateway);
    gateway.start().unwrap();
    impatient(&gateway);
    let never = gateway.command(&["sync", "--within", "0"]).unwrap();
    assert!(never.code == Some(2) && never.stderr.contains("1..=86400"), "{never:?}");
    gateway.stop().unwrap();
}

#[test]
fn a_deadline_that_breaks_the_promise_is_refused() {
    for bad in ["0", "99", "12001"] {
        let folder = tempfile::tempdir().unwrap();
        let gateway = lay_out(folder.path(), ports::free());
        configure(folder.path(), "deadline_ms = 1000", &format!("deadline_ms = {bad}"));
        let outcome = gateway.command(&["status"]).unwrap();
        assert_eq!(outcome.code, Some(78), "{outcome:?}");
        for word in ["gateway-1.toml", "sync.deadline_ms", "between 100 and 12000", "90 s"] {
            assert!(outcome.stderr.contains(word), "{outcome:?}");
        }
    }
}

/// Whatever a broker does, attempts come no faster than the configured least wait,
/// and handhelds are served.
#[test]
fn useless_brokers_are_tried_calmly_and_the_village_works_on() {
    for (manner, word) in [
        (Manner::Silent, "no CONNACK"),
        (Manner::Closing, "lost"),
        (Manner::Refusing(0x89), "server busy"),
        (Manner::Ending(0x97), "quota exceeded"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let puppet = Puppet::start(manner.clone()).unwrap();
        let mut gateway = lay_out(folder.path(), puppet.port());
        configure(folder.path(), "retry_min_ms = 50", "retry_min_ms = 400");
        let start = Instant::now();
        gateway.start().unwrap();
        until("four attempts", PATIENCE, || {
            let connects = puppet.connects();
            Ok(Look::when(connects >= 4, || format!("{connects} attempts")))
        })
        .unwrap();
        intake_works(folder.path(), &gateway);
        let most = start.elapsed().as_millis() as u64 / 400 + 2 + LINK_ATTEMPTS_MAX;
        assert!(puppet.connects() <= most, "{manner:?}: {} attempts", puppet.connects());
        assert!(log(folder.path()).contains(word), "{manner:?}: {}", gateway.tail());
        gateway.stop().unwrap();
    }
}

/// A malicious broker: floods of garbage, of messages, of what is malformed.
#[test]
fn a_flood_hurts_nobody() {
    let message = |payload: &[u8]| {
        let topic = b"wadi/1/down";
        let len = 2 + topic.len() + 1 + payload.len();
        let head = [0x30, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8, 0, topic.len() as u8];
        [&head[..], topic, &[0], payload].concat()
    };
    for (bytes, word) in [
        (message(&[0xff; 8_000]), "64 messages in a row"),
        (message(&[0; 300]), "64 messages in a row"),
        (vec![0xd0, 0], ""),
        (vec![0x30, 0xff, 0xff, 0xff, 0x7f], "does not keep to MQTT 5"),
        (vec![0xff; 4_000], "does not keep to MQTT 5"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let puppet = Puppet::start(Manner::Flooding(bytes)).unwrap();
        let mut gateway = lay_out(folder.path(), puppet.port());
        gateway.start().unwrap();
        until("two connections", PATIENCE, || {
            let connects = puppet.connects();
            Ok(Look::when(connects >= 2, || format!("{connects} connections")))
        })
        .unwrap();
        intake_works(folder.path(), &gateway);
        gateway.check().unwrap();
        let memory = memory_kib(folder.path());
        assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
        assert!(log(folder.path()).contains(word), "{}", gateway.tail());
        // What the flood leaves in the log is bounded too.
        assert!(log(folder.path()).len() < 1 << 20, "{} bytes of log", log(folder.path()).len());
        gateway.stop().unwrap();
    }
}

/// Resident memory of the gateway whose database is in the folder.
fn memory_kib(folder: &Path) -> u64 {
    let name = folder.join("gateway-1.toml");
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |file| std::fs::read_to_string(process.path().join(file)).unwrap_or_default();
        if read("cmdline").contains(name.to_str().unwrap()) {
            let status = read("status");
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
            return line.split_whitespace().nth(1).unwrap().parse().unwrap();
        }
    }
    panic!("no process has {} open", name.display());
}

/// A half-open link swallows everything and closes nothing. It is noticed by the
/// questions that get no answer, and what waited arrives over the next one.
#[test]
fn a_half_open_link_is_noticed_and_replaced() {
    let mut world = World::start(SCHEMA, 1, false, 71).unwrap();
    world.until_schema().unwrap();
    let uplink = &world.uplinks[0];
    uplink.trouble().go_silent(true);
    let before = uplink.trouble().connects.load(std::sync::atomic::Ordering::Relaxed);
    let handheld = world.handheld("anna");
    let id = "8dd32ccf-ea43-49e0-8514-58eeb8336913";
    let record = json!({"op": "insert", "table": "visit", "id": id, "fields": {"patient": "p"}});
    world.enter(&handheld, 0, &record).unwrap();
    until("the gateway to give the link up", PATIENCE, || {
        let connects = uplink.trouble().connects.load(std::sync::atomic::Ordering::Relaxed);
        Ok(Look::when(connects > before, || format!("{connects} connections")))
    })
    .unwrap();
    let said = log(world.folder());
    assert!(said.contains("no answer to 3 questions"), "{said}");
    assert_eq!(count(world.hub.database(), "select count(*) from visit").unwrap(), 0);
    uplink.trouble().go_silent(false);
    world.until_cell(("visit", id), "patient", text("p")).unwrap();
    world.stop().unwrap();
}

/// An idle link costs a ping at each keep-alive, and no question before its time.
#[test]
fn an_idle_link_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let puppet = Puppet::start(Manner::Empty).unwrap();
    let mut gateway = lay_out(folder.path(), puppet.port());
    configure(folder.path(), "deadline_ms = 1000", "deadline_ms = 12000");
    gateway.start().unwrap();
    until("a connection", PATIENCE, || Ok(Look::when(puppet.connects() == 1, || "none".into())))
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // Tests that run beside this one lay links, and a changed link is worth a ping.
    let probes = log(folder.path()).matches("is the broker still there?").count() as u64;
    assert_eq!(puppet.connects(), 1);
    assert!(puppet.pings() <= probes, "{} pings, {probes} probes", puppet.pings());
    gateway.stop().unwrap();
}
