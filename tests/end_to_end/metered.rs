//! A hub, a mosquitto with TLS 1.3 and a gateway that is alone behind a link of its own,
//! whose kernel counts: what something costs in bytes of IP packets both ways, as an
//! operator bills them.
use std::fmt;
use std::path::Path;
use std::time::Duration;

use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::plan::Plan;
use wadi_harness::ports;
use wadi_harness::process::Process;
use wadi_harness::tables::until_there;
use wadi_harness::village::Village;
use wadi_harness::wait::{Look, until};

use crate::identity::{edit, mosquitto, until_durable};
use crate::village_links::Site;
use crate::world::PATIENCE;

/// Who has said nothing for so long has said all.
const QUIET: Duration = Duration::from_secs(1);
/// The gateway's address on its link.
const ADDRESS: u8 = 2;
/// A broken connection is not made anew before the meter was read.
const RETRY_MS: u64 = 2_000;
const DEADLINE_MS: u64 = 3_000;

/// What went over the link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cost {
    pub bytes: u64,
    pub packets: u64,
}

impl Cost {
    /// The middle one: the kernel has words of its own.
    pub fn middle(mut costs: Vec<Cost>) -> Cost {
        costs.sort_unstable();
        costs[costs.len() / 2]
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes in {} packets", self.bytes, self.packets)
    }
}

/// The three, and the link.
pub struct Metered<'a> {
    pub folder: tempfile::TempDir,
    pub hub: Hub,
    pub site: Site<'a>,
    pub village: &'a Village,
    broker: Process,
    /// Changes at the hub.
    durable: u64,
}

impl Metered<'_> {
    /// All of them run, and the gateway has the schema.
    pub fn start<'a>(village: &'a Village, schema: &str, settings: &str) -> Metered<'a> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let port = ports::free();
        let mut hub = Hub::lay_out(path, BrokerAt::Port(port), schema).unwrap();
        edit(&path.join("hub.toml"), "[broker]", "[broker]\ntls = true");
        let enrolment = hub.add_gateway("north").unwrap();
        let broker = mosquitto(&hub, path, port);
        hub.start().unwrap();
        let mut site = Site::lay_out(village, (path, &enrolment), port, RETRY_MS, DEADLINE_MS);
        edit(&site.config, "[broker]", "[broker]\ntls = true");
        edit(&site.config, "[sync]", &format!("{settings}\n[sync]"));
        village.dial_quietly(ADDRESS).unwrap();
        site.start();
        until_there(&site.database, &Plan::read(schema).unwrap(), PATIENCE).unwrap();
        Metered { folder, hub, site, village, broker, durable: 0 }
    }

    /// The link is there again.
    pub fn dial(&self) {
        self.village.dial_quietly(ADDRESS).unwrap();
    }

    /// A program at the site writes.
    pub fn program(&self, sql: &str) {
        let db = rusqlite::Connection::open(&self.site.database).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(db.execute(sql, ()).unwrap(), 1, "{sql}");
    }

    /// Wait until so many more changes are at the hub and the gateway has heard it.
    pub fn until_durable(&mut self, more: u64) {
        self.durable += more;
        until_durable(&self.hub, self.durable);
        self.site.until_heard();
    }

    /// What this costs, and what follows of it until the link is quiet.
    pub fn cost(&mut self, act: impl FnOnce(&mut Self)) -> Cost {
        let before = self.village.traffic().unwrap();
        act(self);
        let after = self.until_quiet(before);
        Cost { bytes: after.0 - before.0, packets: after.1 - before.1 }
    }

    /// Wait until something was said since, and nothing more is; the meter.
    fn until_quiet(&self, since: (u64, u64)) -> (u64, u64) {
        until("the link to be quiet", PATIENCE, || {
            let before = self.village.traffic()?;
            std::thread::sleep(QUIET);
            let after = self.village.traffic()?;
            let quiet = before == after && after != since;
            Ok(if quiet { Look::Found(after) } else { Look::NotYet(format!("{after:?}")) })
        })
        .unwrap()
    }

    /// The end of all, once the gateway has stopped.
    pub fn end(mut self) {
        self.hub.stop().unwrap();
        self.broker.kill();
    }

    /// The folder of all.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}
