//! Who is who between gateways, broker and hub: enrolment, TLS, revocation,
//! renewal, a broker of one's own, and a broker that lies.
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::plan::Plan;
use wadi_harness::process::{Outcome, Process};
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};
use wadi_harness::{binaries, broker, ports};

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
/// Exit code: no link to the hub.
const UNAVAILABLE: Option<i32> = Some(69);

/// A hub whose embedded broker speaks TLS on loopback.
fn hub(folder: &Path, port: u16) -> Hub {
    let hub = Hub::lay_out(folder, BrokerAt::Embedded(port), SCHEMA).unwrap();
    edit(&folder.join("hub.toml"), "[embedded]", "[embedded]\ntls = true");
    hub
}

fn gateway(folder: &Path, number: u32, enrolment: &Path, port: u16) -> Gateway {
    let settings =
        Settings { number, enrolment, broker_port: port, serial: Vec::new(), interval_s: 1 };
    let gateway = Gateway::lay_out(folder, &settings).unwrap();
    edit(&folder.join(format!("gateway-{number}.toml")), "[broker]", "[broker]\ntls = true");
    gateway
}

pub fn edit(file: &Path, before: &str, after: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(before), "{before} is not in {text}");
    std::fs::write(file, text.replacen(before, after, 1)).unwrap();
}

fn enter(folder: &Path, gateway: &Gateway, name: &str) {
    let handheld = Handheld::new(folder, name);
    handheld.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": name}})).unwrap();
    handheld.sync_well(&Link::Tcp(gateway.port()), PATIENCE).unwrap();
}

fn durable(hub: &Hub) -> u64 {
    hub.operator.json(&["status"]).unwrap()["durable"].as_u64().unwrap()
}

pub fn until_durable(hub: &Hub, wanted: u64) {
    until(&format!("{wanted} durable changes"), PATIENCE, || {
        let found = durable(hub);
        Ok(Look::when(found >= wanted, || format!("{found}")))
    })
    .unwrap();
}

/// `wadi-gateway sync` until it fails for this reason.
fn until_refused(gateway: &Gateway, words: &str) -> Outcome {
    until(&format!("a sync that fails with `{words}`"), PATIENCE, || {
        let outcome = gateway.command(&["sync"])?;
        let told = outcome.code == UNAVAILABLE && outcome.stderr.contains(words);
        Ok(if told { Look::Found(outcome) } else { Look::NotYet(format!("{outcome:?}")) })
    })
    .unwrap()
}

#[test]
fn a_gateway_is_enrolled_revoked_and_enrolled_anew_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = ports::free();
    let mut hub = hub(path, port);
    let mut north = gateway(path, 1, &hub.add_gateway("north").unwrap(), port);
    let second = hub.add_gateway("south").unwrap();
    hub.start().unwrap();
    north.start().unwrap();
    enter(path, &north, "anna");
    until_durable(&hub, 1);

    hub.operator.command(&["gateway", "revoke", "north"]).unwrap().ok().unwrap();
    enter(path, &north, "berta");
    let refused = until_refused(&north, "not authori");
    assert!(refused.stderr.contains("revoked"), "{refused:?}");
    assert_eq!(durable(&hub), 1, "nothing of a revoked gateway is taken");
    let list = hub.operator.command(&["gateway", "list"]).unwrap().ok().unwrap();
    assert!(list.contains("revoked"), "{list}");

    // The file of another site is not taken for this one's.
    let wrong = north.command(&["enrol", second.to_str().unwrap()]).unwrap();
    assert_ne!(wrong.code, Some(0));
    assert!(wrong.stderr.contains("south") && wrong.stderr.contains("north"), "{wrong:?}");

    let again = hub.enrol_again("north").unwrap();
    north.stop().unwrap();
    north.enrol(&again).unwrap();
    north.start().unwrap();
    until_durable(&hub, 2);

    // The secrets of both ends are nobody else's.
    for name in ["gateway-1.identity.toml", "hub-identity.toml"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    north.stop().unwrap();
    hub.stop().unwrap();
}

#[test]
fn the_certificates_of_another_hub_are_worth_nothing() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let port = ports::free();
    let mut hub = hub(path, port);
    hub.add_gateway("north").unwrap();
    hub.start().unwrap();
    let rogue = wadi_harness::hub::enrolment(other.path(), "north").unwrap();
    let mut gateway = gateway(path, 1, &rogue, port);
    gateway.start().unwrap();
    enter(path, &gateway, "anna");
    let refused = until_refused(&gateway, "TLS");
    assert!(refused.stderr.contains("enrolment"), "{refused:?}");
    assert_eq!(durable(&hub), 0);
    gateway.stop().unwrap();
    hub.stop().unwrap();
}

#[test]
fn a_gateway_that_is_not_enrolled_collects_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let lan = ports::free();
    let config = path.join("gateway.toml");
    std::fs::write(
        &config,
        format!(
            "site = \"north\"\ngateway = 1\n[handhelds]\nadmit = \"anyone\"\n[lan]\nlisten = \"127.0.0.1:{lan}\"\n"
        ),
    )
    .unwrap();
    let call = |word: &str| {
        let mut command = binaries::command("wadi-gateway").unwrap();
        command.arg("--config").arg(&config).arg(word);
        command
    };
    let process = Process::start("wadi-gateway", &mut call("run"), &path.join("log")).unwrap();
    broker::listening(lan, "the gateway", || Ok(())).unwrap();
    let handheld = Handheld::new(path, "anna");
    handheld.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}})).unwrap();
    let offered = handheld.sync(&Link::Tcp(lan)).unwrap();
    assert_eq!(offered.code, Some(0), "{offered:?}");
    let outcome = wadi_harness::process::run(&mut call("sync"), "", PATIENCE).unwrap();
    assert_eq!(outcome.code, UNAVAILABLE, "{outcome:?}");
    assert!(outcome.stderr.contains("wadi-gateway enrol"), "{outcome:?}");
    process.stop().unwrap();
}

#[test]
fn a_certificate_is_renewed_over_the_sync() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = ports::free();
    let mut hub = hub(path, port);
    edit(&path.join("hub.toml"), "database", "certificate_days = 30\ndatabase");
    let mut north = gateway(path, 1, &hub.add_gateway("north").unwrap(), port);
    let until_s = |hub: &Hub| {
        let list = hub.operator.json(&["gateway", "list"]).unwrap();
        list[0]["until_s"].as_u64().unwrap()
    };
    let first = until_s(&hub);
    edit(&path.join("hub.toml"), "certificate_days = 30", "certificate_days = 400");
    hub.start().unwrap();
    north.start().unwrap();
    // The hub has given it out before the gateway has it.
    until("the gateway to have its new certificate", PATIENCE, || {
        let held: Option<Vec<u8>> = rusqlite::Connection::open(north.database())?.query_row(
            "SELECT certificate FROM wadi_store",
            (),
            |row| row.get(0),
        )?;
        let now = until_s(&hub);
        let there = held.is_some_and(|held| held.len() > 100) && now > first + 300 * 86_400;
        Ok(Look::when(there, || format!("until {now}")))
    })
    .unwrap();
    let seen = north.json(&["status"]).unwrap();
    assert_eq!(seen["certificate"]["ends_s"], until_s(&hub), "what counts is what status tells");
    // It is the one in use from the next connection on.
    north.stop().unwrap();
    north.start().unwrap();
    enter(path, &north, "anna");
    until_durable(&hub, 1);
    north.stop().unwrap();
    hub.stop().unwrap();
}

/// A mosquitto as `broker-config` lays it out.
pub fn mosquitto(hub: &Hub, folder: &Path, port: u16) -> Process {
    let out = folder.join("broker");
    let words = ["broker-config", "mosquitto", "--out", out.to_str().unwrap(), "--port"];
    let port_word = port.to_string();
    hub.operator.command(&[&words[..], &[&port_word]].concat()).unwrap().ok().unwrap();
    let mut conf = std::fs::read_to_string(out.join("mosquitto.conf")).unwrap();
    // As root it would change to a user who may not enter our folder.
    conf += "user root\n";
    std::fs::write(out.join("test.conf"), conf).unwrap();
    let mut command = Command::new(broker::program().unwrap());
    command.arg("-c").arg(out.join("test.conf")).env("OPENSSL_CONF", out.join("openssl.cnf"));
    let process = Process::start("mosquitto", &mut command, &folder.join("mosquitto.log")).unwrap();
    broker::listening(port, "mosquitto", || Ok(())).unwrap();
    process
}

#[test]
fn a_broker_of_ones_own_gives_each_gateway_its_own_topics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = ports::free();
    let mut hub = Hub::lay_out(path, BrokerAt::Port(port), SCHEMA).unwrap();
    edit(&path.join("hub.toml"), "[broker]", "[broker]\ntls = true");
    let mut north = gateway(path, 1, &hub.add_gateway("north").unwrap(), port);
    let mut south = gateway(path, 2, &hub.add_gateway("south").unwrap(), port);
    let broker = mosquitto(&hub, path, port);
    hub.start().unwrap();
    north.start().unwrap();
    south.start().unwrap();
    enter(path, &north, "anna");
    until_durable(&hub, 1);
    let plan = Plan::read(SCHEMA).unwrap();
    wadi_harness::tables::until_there(south.database(), &plan, PATIENCE).unwrap();
    until("the row at the other gateway", PATIENCE, || {
        let rows = count(south.database(), "SELECT count(*) FROM visit")?;
        Ok(Look::when(rows == 1, || format!("{rows} rows")))
    })
    .unwrap();

    // South's own certificate does not open north's topics, nor the hub's.
    let identity = std::fs::read_to_string(path.join("gateway-2.identity.toml")).unwrap();
    let identity: toml::Table = identity.parse().unwrap();
    for (key, file) in [("certificate", "south.pem"), ("key", "south.key")] {
        std::fs::write(path.join(file), identity[key].as_str().unwrap()).unwrap();
    }
    let hearing = Command::new("mosquitto_sub")
        .args([
            "-V",
            "5",
            "-h",
            "localhost",
            "-p",
            &port.to_string(),
            "--insecure",
            "-v",
            "-W",
            "4",
        ])
        .args(["-t", "wadi/1/up", "-t", "wadi/+/up", "-t", "#", "-t", "wadi/1/down"])
        .arg("--cafile")
        .arg(path.join("broker/authority.pem"))
        .arg("--cert")
        .arg(path.join("south.pem"))
        .arg("--key")
        .arg(path.join("south.key"))
        .output()
        .unwrap();
    let heard = String::from_utf8_lossy(&hearing.stdout).into_owned();
    assert!(!heard.contains("wadi/1/"), "{heard:?} {hearing:?}");

    hub.operator.command(&["gateway", "revoke", "south"]).unwrap().ok().unwrap();
    broker.kill();
    let broker = mosquitto(&hub, path, port);
    enter(path, &south, "berta");
    until_refused(&south, "wadi-gateway");
    enter(path, &north, "clara");
    until_durable(&hub, 2);
    assert_eq!(durable(&hub), 2, "of the revoked one nothing");
    north.stop().unwrap();
    south.stop().unwrap();
    hub.stop().unwrap();
    broker.kill();
}

#[test]
fn a_broker_that_lies_can_only_lose_what_it_carries() {
    let mut world = World::start(SCHEMA, 2, false, 4_711).unwrap();
    world.until_schema().unwrap();
    for uplink in &world.uplinks {
        uplink.trouble().forge(300);
    }
    let handheld = world.handheld("anna");
    for at in 0..12 {
        let record =
            json!({"op": "insert", "table": "visit", "fields": {"patient": format!("p{at}")}});
        world.enter(&handheld, at % 2, &record).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    until("lies that were told", PATIENCE, || {
        let told: u64 =
            world.uplinks.iter().map(|link| link.trouble().forgeries.load(Ordering::Relaxed)).sum();
        Ok(Look::when(told >= 10, || format!("{told} lies")))
    })
    .unwrap();
    world.uplinks.iter().for_each(|uplink| uplink.trouble().heal());
    for database in world.databases() {
        until("every row everywhere", PATIENCE, || {
            let rows = count(&database, "SELECT count(*) FROM visit WHERE patient LIKE 'p%'")?;
            Ok(Look::when(rows == 12, || format!("{rows} rows in {}", database.display())))
        })
        .unwrap();
    }
    let all = world.hub.operator.json(&["status"]).unwrap();
    assert_eq!((&all["quarantined"], &all["durable"]), (&json!(0), &json!(12)), "{all}");
    assert!(world.hub.tail().contains("without the tag"), "the hub says that it dropped some");
    world.stop().unwrap();
}

#[test]
fn enrolling_in_an_empty_folder_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let enrolment = wadi_harness::hub::enrolment(path, "north").unwrap();
    let home = path.join("home");
    let config = home.join("gateway.toml");
    let call = |words: &[&str]| {
        let mut command = binaries::command("wadi-gateway").unwrap();
        command.arg("--config").arg(&config).args(words);
        wadi_harness::process::run(&mut command, "", PATIENCE).unwrap()
    };
    let early = call(&["enrol", enrolment.to_str().unwrap()]);
    let advice = format!("make it: mkdir -p {}", home.display());
    assert!(early.stderr.contains(&advice), "{early:?}");
    std::fs::create_dir(&home).unwrap();
    call(&["enrol", enrolment.to_str().unwrap()]).ok().unwrap();
    let effective = call(&["config"]).ok().unwrap();
    for key in ["site", "gateway", "broker.host", "broker.port"] {
        let said = effective
            .lines()
            .any(|line| line.trim_start().starts_with(key) && line.contains("identity.toml"));
        assert!(said, "{key} is not the enrolment's:\n{effective}");
    }
    // What is no enrolment, or a damaged one, is named and changes nothing.
    let text = std::fs::read_to_string(&enrolment).unwrap();
    for (spoilt, word) in [
        (text.replace("gateway = 1", "gateway = 0"), "gateway"),
        (text.replace("tag_key = \"", "tag_key = \"zz"), "tag_key"),
        (text.replace("-----BEGIN PRIVATE", "-----BEGIN NOTHING"), "key"),
        (text.replace("site =", "sight ="), "sight"),
        (String::new(), "site"),
    ] {
        let file = path.join("spoilt.toml");
        std::fs::write(&file, spoilt).unwrap();
        let outcome = call(&["enrol", file.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(1), "{word}: {outcome:?}");
        assert!(outcome.stderr.contains("spoilt.toml"), "{word}: {outcome:?}");
        assert!(outcome.stderr.contains(word), "{word} is not named: {outcome:?}");
        let secret = text.lines().find(|line| line.starts_with("tag_key")).unwrap();
        let secret = secret.split('"').nth(1).unwrap();
        assert!(!outcome.text().contains(secret), "a secret is shown: {outcome:?}");
    }
    assert_eq!(call(&["config"]).ok().unwrap(), effective);
}
