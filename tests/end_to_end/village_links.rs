//! Links that come and go as cellular ones do, on network namespaces: what the
//! kernel tells of them is acted upon at once. Timers are set so long that only
//! that can explain it.
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use wadi_harness::binaries;
use wadi_harness::broker::Broker;
use wadi_harness::hub::{self, BrokerAt, Hub};
use wadi_harness::plan::Plan;
use wadi_harness::process::{Process, run};
use wadi_harness::puppet::{Manner, Puppet};
use wadi_harness::relay::Relay;
use wadi_harness::tables::{count, until_there};
use wadi_harness::village::Village;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, text, until_cell};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
/// Far longer than any test: no attempt within one is the timer's.
const NEVER_MS: u64 = 3_600_000;
/// Attempts in a row that links may cause: the product's own limit.
const LINK_ATTEMPTS_MAX: u64 = 5;

/// A gateway in a village.
pub struct Site<'a> {
    village: &'a Village,
    pub config: PathBuf,
    pub database: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Site<'_> {
    pub fn lay_out<'a>(
        village: &'a Village,
        (folder, enrolment): (&Path, &Path),
        port: u16,
        retry_ms: u64,
        deadline_ms: u64,
    ) -> Site<'a> {
        let config = folder.join("gateway.toml");
        let text = format!(
            "database = \"gateway.db\"\n[broker]\nhost = \"localhost\"\nport = {port}\n\
             [sync]\ninterval_s = 3600\nretry_min_ms = {retry_ms}\nretry_max_ms = {retry_ms}\ndeadline_ms = {deadline_ms}\n",
        );
        std::fs::write(&config, text).unwrap();
        let (database, log) = (folder.join("gateway.db"), folder.join("gateway.log"));
        let site = Site { village, config, database, log, process: None };
        let mut enrol = site.command("enrol");
        run(enrol.arg(enrolment), "", PATIENCE).unwrap().ok().unwrap();
        site
    }

    fn command(&self, word: &str) -> std::process::Command {
        let mut command = binaries::command("wadi-gateway").unwrap();
        command.arg("--config").arg(&self.config).arg(word);
        self.village.wrap(&command)
    }

    pub fn start(&mut self) {
        let process = Process::start("wadi-gateway", &mut self.command("run"), &self.log).unwrap();
        self.process = Some(process);
    }

    pub fn stop(&mut self) {
        let status = self.process.take().unwrap().stop().unwrap();
        assert!(status.success(), "{status}\n{}", self.said());
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Wait until the log holds this so often.
    pub fn until_said(&mut self, words: &str, times: usize) {
        until(&format!("the gateway to say `{words}`"), PATIENCE, || {
            self.process.as_mut().unwrap().check()?;
            let said = self.said();
            Ok(Look::when(said.matches(words).count() >= times, || said))
        })
        .unwrap();
    }

    fn write(&self, id: &str, patient: &str) {
        let database = rusqlite::Connection::open(&self.database).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        let row = [id, patient];
        database.execute("insert into visit (id, patient) values (?, ?)", row).unwrap();
    }

    /// Wait until the gateway has heard of everything that it is committed: the hub may have
    /// been told of a round over a connection that is no more.
    pub fn until_heard(&self) {
        until("the gateway to hear that all is committed", PATIENCE, || {
            let database = rusqlite::Connection::open(&self.database)?;
            database.busy_timeout(Duration::from_secs(10))?;
            let open = "SELECT count(*) FROM wadi_change WHERE custody = 0";
            let open: u32 = database.query_row(open, (), |row| row.get(0))?;
            Ok(Look::when(open == 0, || format!("{open} changes are open")))
        })
        .unwrap();
    }
}

fn id(number: u32) -> String {
    format!("8dd32ccf-ea43-49e0-8514-{number:012}")
}

#[test]
fn a_link_that_comes_up_is_used_at_once() {
    let Some(village) = Village::new().unwrap() else { return };
    let folder = tempfile::Builder::new().prefix("wadi-").tempdir().unwrap();
    let broker = Broker::start(folder.path(), true).unwrap();
    let relay = Relay::mqtt_at(&village.host(), broker.port(), 81).unwrap();
    let connects = || relay.trouble().connects.load(Ordering::Relaxed);
    let mut hub = Hub::lay_out(folder.path(), BrokerAt::Port(broker.port()), SCHEMA).unwrap();
    let enrolment = hub.add_gateway("north").unwrap();
    hub.start().unwrap();
    let at = relay.port();
    let mut site = Site::lay_out(&village, (folder.path(), &enrolment), at, NEVER_MS, 3_000);

    // Without any link, the attempt fails at once; the next is an hour away.
    site.start();
    site.until_said("cannot connect to the broker", 1);
    assert_eq!(connects(), 0);

    // Dialled in: the schema comes, and a record goes.
    village.dial(2).unwrap();
    let plan = Plan::read(SCHEMA).unwrap();
    until_there(&site.database, &plan, PATIENCE).unwrap();
    site.write(&id(1), "one");
    let row = |number| ("visit", id(number));
    let arrived = |number: u32, patient: &str| {
        let (table, id) = row(number);
        until_cell(hub.database(), (table, &id), "patient", &text(patient)).unwrap();
    };
    arrived(1, "one");
    assert!(!site.said().contains("connects by timers only"), "{}", site.said());

    // The carrier goes: the address stays, but nothing passes. A probe finds out.
    village.carrier(false).unwrap();
    site.until_said("is the broker still there?", 1);
    site.write(&id(2), "two");
    site.until_said("no link to the hub", 2);
    village.carrier(true).unwrap();
    arrived(2, "two");
    site.until_heard();

    // The network gives another address: the old connection is dropped at once.
    village.inside(&["address", "flush", "dev", "up0"]).unwrap();
    village
        .inside(&["address", "add", &format!("{}/24", village.address(3)), "dev", "up0"])
        .unwrap();
    site.until_said(&format!("the address {} of this machine is gone", village.address(2)), 1);
    site.write(&id(3), "three");
    arrived(3, "three");
    site.until_heard();

    // Hung up, a record, dialled in for another minute.
    village.hang_up().unwrap();
    site.until_said(&format!("the address {} of this machine is gone", village.address(3)), 1);
    site.write(&id(4), "four");
    village.dial(2).unwrap();
    arrived(4, "four");

    // Four links came; no storm of attempts came with them.
    assert!((4..=4 * LINK_ATTEMPTS_MAX).contains(&connects()), "{} connections", connects());
    site.stop();
    hub.stop().unwrap();
}

#[test]
fn a_flapping_link_makes_no_storm() {
    let Some(village) = Village::new().unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let puppet = Puppet::at(&village.host(), Manner::Refusing(0x89)).unwrap();
    let at = puppet.port();
    let enrolment = hub::enrolment(folder.path(), "north").unwrap();
    let mut site = Site::lay_out(&village, (folder.path(), &enrolment), at, NEVER_MS, 3_000);
    site.start();
    site.until_said("cannot connect to the broker", 1);
    let start = std::time::Instant::now();
    for _ in 0..12 {
        village.dial(2).unwrap();
        // Longer than the debounce, so that each is told of.
        std::thread::sleep(Duration::from_millis(500));
        village.hang_up().unwrap();
        std::thread::sleep(Duration::from_millis(400));
    }
    let most = LINK_ATTEMPTS_MAX + start.elapsed().as_secs() / 20 + 1;
    let connects = puppet.connects();
    assert!((2..=most).contains(&connects), "{connects} connections\n{}", site.said());
    site.stop();
}

/// A resolver that hangs is bounded by our own deadline, asks one question at a
/// time, and does not keep the process from ending.
#[test]
fn a_resolver_that_hangs() {
    let Some(village) = Village::new().unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    village.dial(2).unwrap();
    // Nobody has this address; the system's resolver asks it for minutes.
    village.resolver(&village.address(99)).unwrap();
    let enrolment = hub::enrolment(folder.path(), "north").unwrap();
    let mut site = Site::lay_out(&village, (folder.path(), &enrolment), 1883, 50, 300);
    let outcome = run(&mut site.command("sync"), "", Duration::from_secs(25)).unwrap();
    assert_eq!(outcome.code, Some(69), "{outcome:?}");
    for word in ["address of the broker localhost", "no answer within 300 ms", "DNS"] {
        assert!(outcome.stderr.contains(word), "{outcome:?}");
    }
    site.start();
    site.until_said("no answer within 300 ms", 8);
    let pid = site.process.as_ref().unwrap().id();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let names: Vec<String> = names.collect();
    let asking = names.iter().filter(|name| name.trim() == "resolver").count();
    assert!(asking <= 1, "{names:?}");
    site.stop();
    assert_eq!(
        count(&site.database, "select count(*) from sqlite_master where name = 'visit'").unwrap(),
        0
    );
}
