//! A new user, from two empty folders: a hub with a mosquitto, a village, a handheld;
//! the network goes and comes; both ends are lost and restored.
//!
//! What is typed stands in README, word for word but for addresses and folders:
//! where README is wrong or leaves a step out, this fails.
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use wadi_harness::desk::Desk;
use wadi_harness::process::{Process, run};
use wadi_harness::relay::Relay;
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};
use wadi_harness::{broker, ports, records};

use crate::world::PATIENCE;

const RECORD: &str =
    r#"{"op":"insert","table":"nest","fields":{"island":"Dream","body_mass":3750}}"#;

/// The broker, as `broker-config` says to start it.
fn mosquitto(centre: &Desk, port: u16) -> Process {
    let told = centre.well("wadi-hub --config hub.toml broker-config mosquitto --out broker");
    assert!(!told.contains("does not use it yet"), "{told}");
    let line = |head: &str| told.lines().find_map(|line| line.strip_prefix(head)).expect(head);
    if rustix::process::geteuid().is_root() {
        let own = line("give the files to the broker's user: ");
        run(Command::new("sh").args(["-c", own]), "", PATIENCE).unwrap().ok().unwrap();
    }
    let (setting, words) = line("and run: ").split_once(' ').unwrap();
    let (variable, value) = setting.split_once('=').expect("where TLS is set up");
    let words = words.strip_prefix("mosquitto ").expect("the program");
    let mut command = Command::new(broker::program().expect("mosquitto: see tests/run"));
    command.env(variable, value).args(words.split_whitespace());
    let log = centre.folder().join("mosquitto.log");
    let mut process = Process::start("mosquitto", &mut command, &log).unwrap();
    broker::listening(port, "mosquitto", || process.check()).unwrap();
    process
}

/// The village, the centre, and what is between them.
struct Place {
    centre: Desk,
    village: Desk,
    uplink: Relay,
    broker: u16,
    lan: u16,
    // Last, since the others lie in it.
    _folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::Builder::new().prefix("wadi-").tempdir().unwrap();
        // The broker's user comes through here to its own files.
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let (broker, lan) = (ports::free(), ports::free());
        let uplink = Relay::tcp(broker, 5).unwrap();
        let (hub, gateway) = (format!("127.0.0.1:{}", uplink.port()), format!("127.0.0.1:{lan}"));
        let places = [
            ("hub.example:8883", hub.as_str()),
            ("192.168.4.1:7420", &gateway),
            ("/media/disk/", ""),
            ("/media/stick/", ""),
        ];
        let centre = Desk::new(folder.path(), "centre", &places);
        let village = Desk::new(folder.path(), "village", &places);
        Place { centre, village, uplink, broker, lan, _folder: folder }
    }

    fn begin_centre(&self) {
        let centre = &self.centre;
        let schema = records::sample_folder().join("schema.toml");
        std::fs::copy(schema, centre.folder().join("field-survey.toml")).unwrap();
        centre.well("wadi-hub config --template > hub.toml");
        centre.well("wadi-hub --config hub.toml schema check field-survey.toml");
        assert!(!centre.folder().join("hub.db").exists(), "looking makes nothing");
        centre.well("wadi-hub --config hub.toml schema publish field-survey.toml");
        // Whoever does this first is told what is missing.
        let early = centre.well("wadi-hub --config hub.toml broker-config mosquitto --out broker");
        for word in ["[broker]", "port = 8883", "tls = true"] {
            assert!(early.contains(word), "{word}: {early}");
        }
        centre.edits(
            "hub.toml",
            &[
                (
                    "#address = \"hub.example:8883\"",
                    format!("address = \"127.0.0.1:{}\"", self.uplink.port()),
                ),
                ("#[broker]", "[broker]".into()),
                ("#host = \"broker.example\"", "host = \"127.0.0.1\"".into()),
                ("#port = 1883", format!("port = {}", self.broker)),
                ("#tls = true", "tls = true".into()),
            ],
        );
        let told = centre.well("wadi-hub --config hub.toml gateway add north");
        assert!(told.contains("on its own machine"), "where that address leads: {told}");
    }

    fn begin_village(&self) {
        let file = "gateway-1.enrolment.toml";
        let missing = self.village.types("wadi-gateway --config gateway.toml status");
        assert_eq!(missing.code, Some(78), "{missing:?}");
        for said in ["gateway.toml", "wadi-gateway enrol FILE", "wadi-hub gateway add"] {
            assert!(missing.stderr.contains(said), "{said}: {missing:?}");
        }
        std::fs::rename(self.centre.folder().join(file), self.village.folder().join(file)).unwrap();
        self.village.well("wadi-gateway --config gateway.toml enrol gateway-1.enrolment.toml");
        self.village.edits(
            "gateway.toml",
            &[
                ("#[lan]", "[lan]".into()),
                (
                    "#listen = \"192.168.4.1:7420\"",
                    format!("listen = \"127.0.0.1:{}\"\nannounce = false", self.lan),
                ),
            ],
        );
    }

    fn run_gateway(&self) -> Process {
        let mut process = self.village.starts("wadi-gateway --config gateway.toml run");
        broker::listening(self.lan, "the gateway", || process.check()).unwrap();
        process
    }

    /// Put so many records into the handheld and bring them to the gateway.
    fn collects(&self, records: usize) {
        for _ in 0..records {
            self.village.well(&format!("wadi-handheld --db my.db put '{RECORD}'"));
        }
        let told = self.village.well(&self.to_gateway());
        assert!(told.contains(&format!("offered {records},")), "{told}");
    }

    fn to_gateway(&self) -> String {
        format!("wadi-handheld --db my.db sync --tcp 127.0.0.1:{}", self.lan)
    }

    /// Sync now; a link that has only just come back is tried again.
    fn syncs(&self) {
        until("wadi-gateway to sync", PATIENCE, || {
            let outcome = self.village.types("wadi-gateway --config gateway.toml sync");
            Ok(Look::when(outcome.code == Some(0), || format!("{outcome:?}")))
        })
        .unwrap();
    }

    fn hub_status(&self) -> Value {
        self.centre.json("wadi-hub --config hub.toml status")
    }

    fn gateway_status(&self) -> Value {
        self.village.json("wadi-gateway --config gateway.toml status")
    }

    fn rows(&self, database: &str) -> i64 {
        count(&self._folder.path().join(database), "SELECT count(*) FROM nest").unwrap()
    }

    /// Wait until the status of one end is so; the status.
    fn until(&self, what: &str, status: impl Fn() -> Value, so: impl Fn(&Value) -> bool) -> Value {
        let found = until(what, PATIENCE, || {
            let seen = status();
            Ok(if so(&seen) { Look::Found(seen) } else { Look::NotYet(seen.to_string()) })
        });
        found.unwrap()
    }

    fn has_page(&self, desk: &Desk, line: &str, words: &[&str]) {
        let page = desk.well(line);
        for word in words {
            assert!(page.contains(word), "{word:?} is not in\n{page}");
        }
    }
}

fn problems(status: &Value) -> Vec<&str> {
    let all = status["problems"].as_array().unwrap();
    all.iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}

#[test]
fn a_new_user_follows_the_readme_to_a_restored_village() {
    let place = Place::new();
    place.begin_centre();
    let broker = mosquitto(&place.centre, place.broker);
    let hub = place.centre.starts("wadi-hub --config hub.toml serve");
    place.begin_village();
    let gateway = place.run_gateway();
    // Both ends start at once: what the gateway asks before the hub listens, it asks again.
    let has_schema = |status: &Value| status["schema"].as_u64() > Some(0);
    place.until("the schema to be there", || place.gateway_status(), has_schema);

    let records: String = format!("{RECORD}\n").repeat(3);
    std::fs::write(place.village.folder().join("records.jsonl"), records).unwrap();
    place.village.well("wadi-handheld --db my.db --device anna import records.jsonl");
    let refused = place.village.types(&place.to_gateway());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("run: wadi-gateway handheld allow anna"), "{refused:?}");
    let waiting = place.village.well("wadi-gateway --config gateway.toml handheld list");
    assert!(waiting.contains("waiting") && waiting.contains("\"anna\""), "{waiting}");
    place.village.well("wadi-gateway --config gateway.toml handheld allow anna");
    let told = place.village.well(&place.to_gateway());
    assert!(told.contains("offered 3, "), "{told}");
    place.syncs();
    assert_eq!(place.rows("centre/hub.db"), 3);
    let shown = place.village.well("wadi-handheld --db my.db list nest");
    assert_eq!(shown.lines().count(), 3, "{shown}");

    let (broker, hub) = the_network_goes_and_comes(&place, (broker, hub));
    both_ends_are_lost_and_restored(&place, hub, gateway);
    broker.stop().unwrap();
}

fn the_network_goes_and_comes(
    place: &Place,
    (broker, hub): (Process, Process),
) -> (Process, Process) {
    place.uplink.trouble().refuse(true);
    place.uplink.cut();
    place.collects(2);
    let down = |status: &Value| status["live"]["link"]["connected"] == false;
    let seen = place.until("the gateway to miss its link", || place.gateway_status(), down);
    assert_eq!(
        (&seen["pending_changes"], &seen["pending"][0]["table"]),
        (&2.into(), &"nest".into())
    );
    assert!(seen["oldest_pending_s"].is_u64() && seen["oldest_pending_age_s"].is_u64(), "{seen}");
    let link = &seen["live"]["link"];
    assert!(link["for_s"].is_u64() && link["last_error"].is_string(), "{link}");
    assert_eq!(problems(&seen), [""; 0], "a network that is away is no problem");
    let (uplink, broker_at) = (place.uplink.port(), place.broker);
    let lost = format!("no broker at 127.0.0.1:{uplink} for ");
    let status = "wadi-gateway --config gateway.toml status";
    place.has_page(&place.village, status, &["2 changes wait for the hub", "2 nest", &lost]);
    let seen = place.hub_status();
    assert_eq!(
        (&seen["durable"], &seen["sites"][0]["rounds"].is_u64()),
        (&3.into(), &true),
        "{seen}"
    );
    assert!(seen["sites"][0]["heard_age_s"].is_u64(), "since when: {seen}");
    assert_eq!(seen["link"]["connected"], true, "its own link is there: {seen}");

    // The hub's broker as well: nobody can reach it, and it says so.
    broker.stop().unwrap();
    let down = |status: &Value| status["link"]["connected"] == false;
    let seen = place.until("the hub to miss its broker", || place.hub_status(), down);
    assert!(seen["link"]["since_s"].is_u64() && seen["link"]["for_s"].is_u64(), "{seen}");
    let lost = format!("no broker at 127.0.0.1:{broker_at} for ");
    place.has_page(
        &place.centre,
        "wadi-hub --config hub.toml status",
        &["serving       yes", &lost, "last error"],
    );

    let broker = mosquitto(&place.centre, place.broker);
    let up = |status: &Value| status["link"]["connected"] == true;
    place.until("the hub to be back", || place.hub_status(), up);
    place.uplink.trouble().refuse(false);
    place.syncs();
    assert_eq!((place.rows("centre/hub.db"), place.rows("village/gateway.db")), (5, 5));
    assert_eq!(place.gateway_status()["pending_changes"], 0);
    place.village.well(&place.to_gateway());
    let own = place.village.json("wadi-handheld --db my.db status");
    assert_eq!(
        (&own["changes"]["durable"], &own["changes"]["pending"]),
        (&5.into(), &0.into()),
        "{own}"
    );
    (broker, hub)
}

fn both_ends_are_lost_and_restored(place: &Place, hub: Process, gateway: Process) {
    let (centre, village) = (&place.centre, &place.village);
    village.well("wadi-gateway --config gateway.toml backup north.backup");
    // What the hub has and this backup has not.
    place.collects(1);
    place.syncs();
    centre.well("wadi-hub --config hub.toml backup hub.backup");
    assert_eq!(place.hub_status()["backup"]["seq"], place.hub_status()["head"]);
    gateway.kill();
    hub.kill();
    for (desk, name) in [(centre, "hub.db"), (village, "gateway.db")] {
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(desk.folder().join(format!("{name}{ending}")));
        }
    }
    let lost = village.types("wadi-gateway --config gateway.toml status");
    assert!(lost.stderr.contains("there is no such file"), "{lost:?}");
    for told in [
        centre.well("wadi-hub --config hub.toml restore hub.backup"),
        village.well("wadi-gateway --config gateway.toml restore north.backup"),
    ] {
        assert!(told.contains("restored from") && told.contains("begins a new run"), "{told}");
    }
    assert_eq!((place.rows("centre/hub.db"), place.rows("village/gateway.db")), (6, 5));

    let hub = centre.starts("wadi-hub --config hub.toml serve");
    let stopped = |status: &Value| problems(status) == ["stopped"];
    place.until("the hub to wait for somebody", || place.hub_status(), stopped);
    centre.well("wadi-hub --config hub.toml resume");
    let gateway = place.run_gateway();
    let told = |status: &Value| status["refused"].is_string();
    let seen = place.until("the gateway to be refused", || place.gateway_status(), told);
    assert_eq!(problems(&seen), ["refused"], "{seen}");
    let refused = |status: &Value| problems(status) == ["other-line"];
    let seen = place.until("the hub to tell of it", || place.hub_status(), refused);
    assert_eq!(seen["problems"][0]["site"], "north", "{seen}");
    // Who asks hears it at once, and does not wait for the gateway's own next attempt.
    let asked = village.types("wadi-gateway --config gateway.toml sync");
    assert_eq!(asked.code, Some(69), "{asked:?}");
    assert!(asked.stderr.contains("history differs from the hub's"), "{asked:?}");
    assert!(seen["problems"][0]["remedy"].as_str().unwrap().contains("gateway rejoin north"));
    // Until somebody decides: the village works on, and all is there and accounted for.
    // What the restored gateway lacks the handheld has kept, and offers again.
    village.well(&format!("wadi-handheld --db my.db put '{RECORD}'"));
    let told = village.well(&place.to_gateway());
    assert!(told.contains("offered 2, "), "{told}");
    assert_eq!(place.gateway_status()["pending_changes"], 2);
    assert_eq!((place.rows("centre/hub.db"), place.rows("village/gateway.db")), (6, 7));
    centre.well("wadi-hub --config hub.toml ledger");
    village.well("wadi-gateway --config gateway.toml ledger");
    let shown = village.well("wadi-handheld --db my.db list nest");
    assert_eq!(shown.lines().count(), 7, "the handheld shows all of it: {shown}");
    // One command, and both ends have all of it, once.
    centre.well("wadi-hub --config hub.toml gateway rejoin north");
    village.well("wadi-gateway --config gateway.toml sync");
    assert_eq!(place.gateway_status()["pending_changes"], 0);
    assert_eq!((place.rows("centre/hub.db"), place.rows("village/gateway.db")), (7, 7));
    assert_eq!(problems(&place.hub_status()), [""; 0]);
    centre.well("wadi-hub --config hub.toml ledger");
    village.well("wadi-gateway --config gateway.toml ledger");
    assert!(gateway.stop().unwrap().success());
    assert!(hub.stop().unwrap().success());
}
