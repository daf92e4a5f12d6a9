//! Links as bad as the field has them, over TLS and a real mosquitto: what a backlog costs
//! on GPRS that is cut every 20 s, and that nothing of what is urgent waits for it.
//!
//! `--nocapture` shows the figures.
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link as Local};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::link::{Link, PRESETS};
use wadi_harness::model::Model;
use wadi_harness::plan::Plan;
use wadi_harness::ports;
use wadi_harness::process::Process;
use wadi_harness::random::Random;
use wadi_harness::records::{self, Record};
use wadi_harness::relay::{Carried, Relay, Window};
use wadi_harness::tables::{count, until_equal, until_there};
use wadi_harness::wait::{Look, until};

use crate::identity::{edit, mosquitto};
use crate::world::PATIENCE;

/// What is urgent, beside the tables of the sample.
const URGENT: &str = "[tables.alarm]\nlane = \"urgent\"\n[tables.alarm.fields]\n\
                      what = { type = \"text\" }\n";
/// Inserts of the backlog, and where among them something urgent is.
const BACKLOG: usize = 5_000;
const URGENT_AT: usize = 2_500;
/// The link is open so long, and shut so long.
const OPEN: Duration = Duration::from_secs(20);
const SHUT: Duration = Duration::from_secs(2);
/// Longer than any test.
const ALWAYS: Duration = Duration::from_secs(3_600);
/// What is urgent is durable so soon after the link opened, as the link counts.
const URGENT_WITHIN: Duration = Duration::from_secs(10);
/// The same backlog drains so often over a link that is cut, and the middle one counts:
/// where a cut strikes is chance, and the machine may be busy.
const CUT_DRAINS: u64 = 3;
/// Of a thousand bytes that a backlog takes, those that are sent again because of cuts.
const AGAIN_PER_MILLE_MAX: u64 = 50;
/// Milliseconds for an answer: what a gateway has unless told otherwise, and less, where a
/// test waits until nothing comes.
const DEADLINE_MS: u64 = 10_000;
const SHORT_DEADLINE_MS: u64 = 1_000;
/// A link that carries nothing back is left within this, see `gateway/src/patience.rs`.
const HALF_OPEN_MAX: Duration = Duration::from_secs(90);
/// Records on the better links.
const FEW: usize = 400;
/// Old sessions that new ones come beside.
const SESSIONS: usize = 6;

/// A hub, a mosquitto with TLS, and one gateway whose link is shut.
struct Site {
    hub: Hub,
    gateway: Gateway,
    uplink: Relay,
    plan: Plan,
    broker: Option<Process>,
    folder: tempfile::TempDir,
}

impl Site {
    /// It has the schema, and the link is shut.
    fn start(seed: u64, deadline_ms: u64) -> Site {
        let folder = tempfile::Builder::new().prefix("wadi-").tempdir().unwrap();
        let path = folder.path();
        let schema = format!("{}{URGENT}", records::sample_schema().unwrap());
        let port = ports::free();
        let mut hub = Hub::lay_out(path, BrokerAt::Port(port), &schema).unwrap();
        edit(&path.join("hub.toml"), "[broker]", "[broker]\ntls = true");
        let enrolment = hub.add_gateway("north").unwrap();
        let broker = mosquitto(&hub, path, port);
        hub.start().unwrap();
        let uplink = Relay::tcp(port, seed).unwrap();
        let mut gateway = lay_out(path, (&enrolment, uplink.port()), deadline_ms);
        gateway.start().unwrap();
        let plan = Plan::read(&schema).unwrap();
        until_there(gateway.database(), &plan, PATIENCE).unwrap();
        uplink.trouble().refuse(true);
        uplink.cut();
        Site { hub, gateway, uplink, plan, broker: Some(broker), folder }
    }

    /// Records come in at the gateway, device by device.
    fn enter(&self, records: &[Record]) {
        for (device, records) in records::by_device(records) {
            let handheld = Handheld::new(self.folder.path(), &device);
            handheld.import(&records).unwrap();
            handheld.sync_well(&Local::Tcp(self.gateway.port()), PATIENCE).unwrap();
        }
    }

    /// The link is this one from now on, and open.
    fn open(&self, link: Link) {
        self.uplink.lay(link);
        self.uplink.trouble().refuse(false);
    }

    /// Wait until the hub has this alarm; when that was, as the link counts.
    fn until_alarmed(&self, number: u64) -> Window {
        let sql = format!("SELECT count(*) FROM alarm WHERE what = '{number}'");
        until(&format!("alarm {number} at the hub"), PATIENCE, || {
            let found = count(self.hub.database(), &sql)?;
            let window = self.uplink.window().expect("the link has windows");
            let seen = || Look::NotYet(format!("not there, {window:?}"));
            Ok(if found == 1 { Look::Found(window) } else { seen() })
        })
        .unwrap()
    }

    /// What the gateway logged.
    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("gateway-1.log")).unwrap()
    }

    /// Wait until the hub and the gateway hold this, and the gateway has heard that it does.
    fn until_equal(&self, records: &[Record]) {
        let expected = Model::of(&self.plan, records).unwrap().tables();
        let open = "SELECT count(*) FROM wadi_change WHERE custody = 0";
        until("the gateway to hear that all is committed", PATIENCE * 4, || {
            let open = count(self.gateway.database(), open)?;
            Ok(Look::when(open == 0, || format!("{open} changes are open")))
        })
        .unwrap();
        for database in [self.hub.database(), self.gateway.database()] {
            until_equal(database, &self.plan, &expected, PATIENCE).unwrap();
        }
        let ledger = self.hub.operator.json(&["ledger"]).unwrap();
        assert_eq!(ledger["committed"], json!(records.len()), "each once: {ledger}");
    }

    fn stop(mut self) {
        self.gateway.stop().unwrap();
        self.hub.stop().unwrap();
        self.broker.take().expect("it runs").kill();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.hub.tail(), self.gateway.tail());
        }
    }
}

fn lay_out(folder: &Path, (enrolment, broker_port): (&Path, u16), deadline_ms: u64) -> Gateway {
    let settings =
        Settings { number: 1, enrolment, broker_port, serial: Vec::new(), interval_s: 3_600 };
    let gateway = Gateway::lay_out(folder, &settings).unwrap();
    let file = folder.join("gateway-1.toml");
    edit(&file, "[broker]", "[broker]\ntls = true");
    edit(&file, "deadline_ms = 1000", &format!("deadline_ms = {deadline_ms}"));
    gateway
}

/// Something urgent; each has an id of its own.
fn alarm(number: u64) -> Record {
    let id = Random::seeded(number).uuid();
    let fields = json!({"what": number.to_string()});
    let ts = 1_767_571_200_000 + number;
    let record = json!({"op": "insert", "table": "alarm", "id": id, "ts": ts,
                        "device": "siren", "fields": fields});
    Record::of(record)
}

/// The first inserts of the sample.
fn inserts(count: usize) -> Vec<Record> {
    let folder = records::sample_folder();
    let mut records = records::read(&folder, "insert").unwrap().expect("tests/data has inserts");
    records.truncate(count);
    records
}

/// What it took to drain a backlog.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// From the first window on.
    carried: Carried,
    connections: u64,
    /// Up, of a connection that had nothing to carry.
    set_up_bytes: u64,
    /// Since the first window opened.
    took: Duration,
    /// Since its window opened, until something urgent was durable: entered amid the
    /// backlog, and (where there is one) in the first pause.
    amid: Duration,
    later: Option<Duration>,
}

impl Cost {
    /// Bytes up that were needed once, if nothing was sent again.
    fn up_bytes(&self) -> u64 {
        self.carried.up.bytes - self.connections * self.set_up_bytes
    }
}

/// Drain the backlog over GPRS; nothing urgent waits for it.
fn drain(seed: u64, cuts: bool) -> Cost {
    let site = Site::start(seed, DEADLINE_MS);
    let mut records = inserts(BACKLOG);
    records.insert(URGENT_AT, alarm(1));
    site.enter(&records);
    let set_up = site.uplink.connections();
    let (open, shut) = if cuts { (OPEN, SHUT) } else { (ALWAYS, Duration::ZERO) };
    site.open(Link::preset("gprs"));
    site.uplink.open_for(open, shut);
    let start = Instant::now();
    let amid = site.until_alarmed(1).at;
    let mut later = None;
    if cuts {
        until("the first pause", PATIENCE, || {
            let window = site.uplink.window();
            Ok(Look::when(window.is_some_and(|at| at.over), || format!("{window:?}")))
        })
        .unwrap();
        records.push(alarm(2));
        site.enter(&records[BACKLOG + 1..]);
        let durable = site.until_alarmed(2);
        assert_eq!((durable.number, durable.over), (1, false), "in the next window");
        later = Some(durable.at);
    }
    site.until_equal(&records);
    let took = start.elapsed();
    let all = site.uplink.connections();
    let cost = Cost {
        carried: sum(&all[set_up.len()..]),
        connections: (all.len() - set_up.len()) as u64,
        set_up_bytes: set_up[0].up.bytes,
        took,
        amid,
        later,
    };
    site.stop();
    cost
}

#[test]
fn a_backlog_drains_over_gprs_that_is_cut_every_20_s() {
    let (whole, cut) = std::thread::scope(|scope| {
        let whole = scope.spawn(|| drain(200, false));
        let cut: Vec<_> =
            (1..=CUT_DRAINS).map(|at| scope.spawn(move || drain(200 + at, true))).collect();
        let cut = cut.into_iter().map(|cost| cost.join().unwrap());
        (whole.join().unwrap(), cut.collect::<Vec<_>>())
    });
    let needed = whole.up_bytes();
    let again = |cost: &Cost| cost.up_bytes().saturating_sub(needed) * 1_000 / needed;
    let per_mille = middle(cut.iter().map(again));
    let amid = middle(cut.iter().map(|cost| cost.amid));
    for cost in [&[whole], &cut[..]].concat() {
        println!(
            "{} inserts over gprs: {} bytes up, {} down ({} and {} of IP) in {} connections, \
             {:.0} s; again {:.1} %; urgent after {:.1} s and {:.1?}",
            BACKLOG,
            cost.carried.up.bytes,
            cost.carried.down.bytes,
            cost.carried.up.ip_bytes,
            cost.carried.down.ip_bytes,
            cost.connections,
            cost.took.as_secs_f64(),
            (cost.up_bytes() as f64 / needed as f64 - 1.0) * 100.0,
            cost.amid.as_secs_f64(),
            cost.later,
        );
    }
    assert!(amid < URGENT_WITHIN, "{cut:?}");
    assert!(cut.iter().all(|cost| cost.connections > 2), "they were cut: {cut:?}");
    assert!(per_mille <= AGAIN_PER_MILLE_MAX, "{per_mille} of 1,000 bytes were sent again");
}

/// The middle one of several.
fn middle<T: Ord>(all: impl Iterator<Item = T>) -> T {
    let mut all: Vec<T> = all.collect();
    all.sort();
    all.swap_remove(all.len() / 2)
}

/// A small backlog, on every link that has a name.
#[test]
fn better_links_drain_in_spite_of_jitter_and_loss() {
    std::thread::scope(|scope| {
        for (at, (name, link)) in PRESETS.into_iter().enumerate().skip(1) {
            scope.spawn(move || {
                let site = Site::start(210 + at as u64, DEADLINE_MS);
                let records = inserts(FEW);
                site.enter(&records);
                let before = site.uplink.connections().len();
                site.open(link);
                site.uplink.open_for(ALWAYS, Duration::ZERO);
                site.until_equal(&records);
                let all = site.uplink.connections();
                let Carried { up, down } = sum(&all[before..]);
                println!("{FEW} inserts over {name}: {} bytes up, {} down", up.bytes, down.bytes);
                assert_eq!(all.len(), before + 1, "{name}: one connection is enough");
                site.stop();
            });
        }
    });
}

/// What vanishes is never said to have vanished: only the missing answers tell.
#[test]
fn a_half_open_link_is_left_and_what_vanished_is_sent_again() {
    let site = Site::start(220, SHORT_DEADLINE_MS);
    site.open(Link::preset("3g"));
    site.enter(&[alarm(1)]);
    site.uplink.open_for(ALWAYS, Duration::ZERO);
    site.until_alarmed(1);
    let before = site.uplink.connections().len();
    site.uplink.trouble().swallow(true);
    site.enter(&[alarm(2)]);
    until("another connection", HALF_OPEN_MAX, || {
        let now = site.uplink.connections().len();
        Ok(Look::when(now > before, || format!("{now} connections")))
    })
    .unwrap();
    assert!(site.uplink.carried().up.lost_bytes > 0, "something vanished");
    assert!(site.said().contains("no answer to 3 questions"), "{}", site.said());
    site.uplink.trouble().swallow(false);
    site.until_equal(&[alarm(1), alarm(2)]);
    site.stop();
}

/// The broker has not heard that a connection is gone when the next one comes, and what
/// had left on the old one still arrives.
#[test]
fn old_sessions_beside_new_ones_do_no_harm() {
    let site = Site::start(230, DEADLINE_MS);
    site.open(Link { lingers: true, ..Link::preset("edge") });
    let mut records = inserts(FEW);
    for session in 0..SESSIONS {
        let slice = FEW / SESSIONS * session..FEW / SESSIONS * (session + 1);
        let before = site.uplink.carried().up.bytes;
        site.enter(&records[slice]);
        until("a part of it to have arrived", PATIENCE, || {
            let now = site.uplink.carried().up.bytes;
            Ok(Look::when(now > before + 1_000, || format!("{} bytes", now - before)))
        })
        .unwrap();
        site.uplink.cut();
    }
    records.truncate(FEW / SESSIONS * SESSIONS);
    site.until_equal(&records);
    assert!(site.uplink.connections().len() > SESSIONS, "each cut led to a connection");
    site.stop();
}

fn sum(connections: &[Carried]) -> Carried {
    connections.iter().fold(Carried::default(), |sum, &one| sum.plus(one))
}
