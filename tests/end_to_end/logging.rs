//! What the log tells of a small run, at both ends, as journald gets it: every
//! line with the stage it belongs to, rounds with their numbers and bytes, records
//! with device and table; and no secret, whatever the level.
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;
use wadi_harness::binaries;
use wadi_harness::journal::{Journal, Record};
use wadi_harness::process::Process;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"clinic\"\n[tables.visit.fields]\npatient = { type = \"text\" }\nage = { type = \"integer\", max = 130 }\n";
/// Records of one handheld that are in order; one more is not.
const VISITS: u64 = 60;
/// What a run of a dozen rounds may write at the level that is the default.
const INFO_LINES_MAX: usize = 60;

/// Both ends, each with a journal.
struct Logged {
    world: World,
    ends: [(Journal, Process); 2],
}

impl Logged {
    fn start(seed: u64) -> Logged {
        let mut world = World::start(SCHEMA, 1, false, seed).unwrap();
        world.stop().unwrap();
        let start = |program: &str, config: &str, word: &str| {
            let journal = Journal::listen(world.folder(), program).unwrap();
            let mut command = binaries::command(program).unwrap();
            command.arg("--config").arg(world.folder().join(config)).arg(word);
            command.env("WADI_LOG", "info,wadi_gateway=trace,wadi_hub=trace");
            let log = world.folder().join(format!("{program}.stderr"));
            let process = journal.start(program, &command, &log).unwrap();
            (journal, process)
        };
        let ends = [
            start("wadi-gateway", "gateway-1.toml", "run"),
            start("wadi-hub", "hub.toml", "serve"),
        ];
        Logged { world, ends }
    }

    fn records(&self, end: usize) -> Vec<Record> {
        self.ends[end].0.records().unwrap()
    }

    /// Wait for a record of an end that has these fields with these values.
    fn until(&self, end: usize, wanted: &[(&str, &str)]) -> Record {
        let is =
            |record: &Record| wanted.iter().all(|(name, value)| record.one(name) == Some(*value));
        until(&format!("{wanted:?}"), PATIENCE, || {
            let records = self.ends[end].0.records()?;
            let found = records.iter().find(|record| is(record)).cloned();
            let near = |record: &&Record| record.one(wanted[0].0) == Some(wanted[0].1);
            let near: Vec<_> = records.iter().filter(near).rev().take(5).collect();
            Ok(found.map_or(Look::NotYet(format!("{near:?}")), Look::Found))
        })
        .unwrap()
    }
}

const GATEWAY: usize = 0;
const HUB: usize = 1;

fn number(record: &Record, name: &str) -> u64 {
    record.number(name).unwrap_or_else(|| panic!("no number {name}: {record:?}"))
}

/// Strings of a file that look like keys: whoever has one is somebody else.
fn secrets(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let words =
        text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"+/=".contains(letter));
    words.filter(|word| word.len() >= 32).map(str::to_owned).collect()
}

#[test]
fn a_run_is_told_with_fields_at_both_ends() {
    if !Journal::is_possible() {
        return;
    }
    let logged = Logged::start(91);
    let anna = logged.world.handheld("anna");
    logged
        .until(GATEWAY, &[("MESSAGE", "running"), ("WADI_SITE", "site-1"), ("WADI_GATEWAY", "1")]);
    let visit = |age: u64| json!({"op": "insert", "table": "visit", "fields": {"patient": "p", "age": age}});
    (0..VISITS).for_each(|age| anna.put(&visit(age)).unwrap());
    logged.world.enter(&anna, 0, &visit(999)).unwrap();

    // The handheld, at the gateway.
    let hello = logged.until(GATEWAY, &[("MESSAGE", "hello"), ("WADI_HANDHELD", "anna")]);
    let device = hello.one("WADI_DEVICE").expect("whose hello it is").to_owned();
    assert!(device.len() == 16 && u64::from_str_radix(&device, 16).is_ok(), "{device}");
    assert!(hello.one("WADI_PEER").unwrap().parse::<SocketAddr>().is_ok(), "{hello:?}");
    let taken = logged.until(
        GATEWAY,
        &[("MESSAGE", "fsynced"), ("WADI_TABLE", "visit"), ("WADI_PHASE", "intake")],
    );
    assert_eq!(taken.one("WADI_DEVICE"), Some(device.as_str()));
    assert!((1..=VISITS + 1).contains(&number(&taken, "WADI_CHANGES")), "{taken:?}");
    let taken = logged.until(GATEWAY, &[("MESSAGE", "taken"), ("WADI_HANDHELD", "anna")]);
    assert!(number(&taken, "WADI_BYTES") > 0, "{taken:?}");

    // What breaks the schema, at the hub.
    let aside = logged.until(HUB, &[("MESSAGE", "quarantined"), ("PRIORITY", "4")]);
    assert_eq!(aside.one("WADI_DEVICE"), Some(device.as_str()), "{aside:?}");
    assert_eq!((aside.one("WADI_TABLE"), aside.one("WADI_SITE")), (Some("visit"), Some("site-1")));
    assert!(aside.one("WADI_REASON").unwrap().contains("age"), "{aside:?}");

    // Its round, stage by stage, and the same at both ends.
    let round = aside.one("WADI_ROUND").expect("which round it came with").to_owned();
    let of_round = |phase: &'static str, message: &'static str| {
        [("MESSAGE", message), ("WADI_PHASE", phase), ("WADI_ROUND", &*round.clone().leak())]
    };
    let begins = logged.until(GATEWAY, &of_round("prepare", "a round begins"));
    let prepared = logged.until(HUB, &of_round("prepare", "a round is prepared"));
    let committed = logged.until(HUB, &of_round("commit", "a round is committed"));
    let applied =
        logged.until(GATEWAY, &of_round("apply", "a round is committed, and applied here"));
    for record in [&prepared, &committed, &applied] {
        let (up, down) = (number(record, "WADI_BYTES_UP"), number(record, "WADI_BYTES_DOWN"));
        assert_eq!(up, number(&begins, "WADI_BYTES"), "{record:?}");
        assert_eq!(number(record, "WADI_BYTES"), up + down, "{record:?}");
        assert!(up > 0 && down > 0, "{record:?}");
        assert_eq!(number(record, "WADI_QUARANTINED"), 1, "{record:?}");
    }
    for record in [&committed, &applied] {
        assert_eq!(number(record, "WADI_CHANGES"), number(&begins, "WADI_CHANGES"), "{record:?}");
        assert_eq!(record.one("WADI_BYTES"), prepared.one("WADI_BYTES"), "{record:?}");
        assert_eq!(record.one("PRIORITY"), Some("6"), "once a round, so it is there by default");
    }
    assert_eq!(
        (committed.one("WADI_GATEWAY"), committed.one("WADI_SITE")),
        (Some("1"), Some("site-1"))
    );
    assert!(number(&committed, "WADI_SEQUENCE") >= number(&committed, "WADI_CHANGES") - 1);

    // The link, from its first moment to its last.
    let link =
        logged.until(GATEWAY, &[("MESSAGE", "connected to the broker"), ("WADI_PHASE", "link")]);
    assert!(link.one("WADI_BROKER").unwrap().parse::<SocketAddr>().is_ok(), "{link:?}");
    logged.world.offline(0);
    let over =
        logged.until(GATEWAY, &[("MESSAGE", "the connection is over"), ("WADI_PHASE", "link")]);
    assert!(number(&over, "WADI_BYTES_UP") > number(&begins, "WADI_BYTES"), "{over:?}");
    assert_eq!(over.one("WADI_BROKER"), link.one("WADI_BROKER"));

    let secrets: Vec<String> =
        ["hub-identity.toml", "gateway-1.db-key", "add-site-1.enrolment.toml"]
            .iter()
            .flat_map(|name| secrets(&logged.world.folder().join(name)))
            .collect();
    assert!(secrets.len() > 10, "the test knows what to look for: {}", secrets.len());
    for end in [GATEWAY, HUB] {
        let records = logged.records(end);
        judge(&records, &secrets);
        let info = records.iter().filter(|record| record.number("PRIORITY") <= Some(6)).count();
        assert!(info < INFO_LINES_MAX, "{info} lines are no line a round");
    }
    for (_, process) in logged.ends {
        assert!(process.stop().unwrap().success());
    }
}

/// What holds for every record of ours.
fn judge(records: &[Record], secrets: &[String]) {
    for record in records {
        for (name, values) in record.fields() {
            let told =
                values.iter().find(|value| secrets.iter().any(|secret| value.contains(secret)));
            assert_eq!(told, None, "a secret in {name}");
            if name.starts_with("WADI_") {
                assert_eq!(values.len(), 1, "{name} says several things: {record:?}");
            }
        }
        let ours = record.one("TARGET").is_some_and(|target| target.starts_with("wadi_"));
        for name in ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"] {
            assert!(record.one(name).is_some(), "no {name}: {record:?}");
        }
        if ours {
            let phase = record.one("WADI_PHASE").unwrap_or_else(|| panic!("no phase: {record:?}"));
            assert!(PHASES.contains(&phase), "{phase} is not in the README's table: {record:?}");
        }
        for name in ["ROUND", "BYTES", "BYTES_UP", "BYTES_DOWN", "CHANGES", "GATEWAY", "UNLOGGED"] {
            let name = format!("WADI_{name}");
            if record.one(&name).is_some() {
                number(record, &name);
            }
        }
    }
}

/// The stages, as the README lists them.
const PHASES: [&str; 27] = [
    "start",
    "stop",
    "migration",
    "store",
    "backup",
    "certificate",
    "announce",
    "control",
    "figures",
    "service",
    "intake",
    "capture",
    "link",
    "route",
    "resolve",
    "connect",
    "tls",
    "mqtt",
    "subscribe",
    "session",
    "hub",
    "news",
    "prepare",
    "fetch",
    "commit",
    "apply",
    "abort",
];
