//! One world a test: a broker, a hub, gateways, each behind a relay of its own.
//!
//! When a test fails, the world says what its processes logged last and keeps
//! its folder.
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use wadi_harness::broker::Broker;
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::line::Line;
use wadi_harness::plan::{Cell, Plan};
use wadi_harness::relay::Relay;
use wadi_harness::tables::{self, Tables, until_equal, until_there};
use wadi_harness::wait::{Look, until};

/// What a quiet world needs to come to rest, generously: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Everything that runs in one test.
pub struct World {
    pub hub: Hub,
    pub gateways: Vec<Gateway>,
    pub broker: Broker,
    /// Between each gateway and the broker.
    pub uplinks: Vec<Relay>,
    /// Between the hub and the broker.
    pub hub_link: Relay,
    /// The serial line to the first gateway, if there is one.
    pub line: Option<Line>,
    pub plan: Plan,
    folder: Option<tempfile::TempDir>,
}

impl World {
    /// A world with a number of gateways that all run; the first has a serial port if `serial`.
    pub fn start(schema: &str, gateways: u32, serial: bool, seed: u64) -> Result<World> {
        let folder = tempfile::Builder::new().prefix("wadi-").tempdir()?;
        let path = folder.path();
        let broker = Broker::start(path, true)?;
        let hub_link = Relay::mqtt(broker.port(), seed)?;
        let mut hub = Hub::lay_out(path, BrokerAt::Port(hub_link.port()), schema)?;
        let line = if serial { Some(Line::lay(path, "line", seed + 1)?) } else { None };
        let (mut uplinks, mut running) = (Vec::new(), Vec::new());
        for number in 1..=gateways {
            let site = format!("site-{number}");
            let enrolment = hub.add_gateway(&site)?;
            let uplink = Relay::mqtt(broker.port(), seed + 10 + u64::from(number))?;
            let port = line.as_ref().filter(|_| number == 1).map(Line::gateway_port);
            let settings = Settings {
                number,
                enrolment: &enrolment,
                broker_port: uplink.port(),
                serial: port.into_iter().collect(),
                interval_s: 1,
            };
            running.push(Gateway::lay_out(path, &settings)?);
            uplinks.push(uplink);
        }
        hub.start()?;
        for gateway in &mut running {
            gateway.start()?;
        }
        let plan = Plan::read(schema)?;
        let folder = Some(folder);
        Ok(World { hub, gateways: running, broker, uplinks, hub_link, line, plan, folder })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("there until the end").path()
    }

    /// A handheld of this world.
    pub fn handheld(&self, name: &str) -> Handheld {
        Handheld::new(self.folder(), name)
    }

    /// The local link of a gateway, from 0.
    pub fn lan(&self, gateway: usize) -> Link {
        Link::Tcp(self.gateways[gateway].port())
    }

    /// The serial line of the first gateway.
    pub fn serial(&self) -> Link {
        Link::Serial(self.line.as_ref().expect("a world with a line").handheld_port().to_path_buf())
    }

    /// Cut a gateway off from the broker.
    pub fn offline(&self, gateway: usize) {
        self.uplinks[gateway].trouble().refuse(true);
        self.uplinks[gateway].cut();
    }

    /// Let it connect again.
    pub fn online(&self, gateway: usize) {
        self.uplinks[gateway].trouble().refuse(false);
    }

    /// The databases of the hub and of every gateway.
    pub fn databases(&self) -> Vec<PathBuf> {
        let gateways = self.gateways.iter().map(|gateway| gateway.database().to_path_buf());
        std::iter::once(self.hub.database().to_path_buf()).chain(gateways).collect()
    }

    /// Wait until hub and gateways hold exactly these tables.
    pub fn until_all_equal(&mut self, expected: &Tables, deadline: Duration) -> Result<()> {
        for database in self.databases() {
            until_equal(&database, &self.plan, expected, deadline)?;
        }
        self.check()
    }

    /// Wait until a cell has this value at the hub and at every gateway; none = no such row.
    pub fn until_cell(&self, row: (&str, &str), column: &str, wanted: Option<Cell>) -> Result<()> {
        for database in self.databases() {
            until_cell(&database, row, column, &wanted)?;
        }
        Ok(())
    }

    /// Wait until every gateway has the tables of the schema.
    pub fn until_schema(&self) -> Result<()> {
        let mut gateways = self.gateways.iter();
        gateways.try_for_each(|gateway| until_there(gateway.database(), &self.plan, PATIENCE))
    }

    /// Put a record into a handheld and bring it to a gateway.
    pub fn enter(&self, handheld: &Handheld, gateway: usize, record: &Value) -> Result<()> {
        handheld.put(record)?;
        handheld.sync_well(&self.lan(gateway), PATIENCE)
    }

    /// Nothing ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.hub.check()?;
        self.gateways.iter_mut().try_for_each(Gateway::check)
    }

    /// Stop everything in good order: SIGTERM, and each process must end with success.
    pub fn stop(&mut self) -> Result<()> {
        self.check()?;
        for gateway in &mut self.gateways {
            gateway.stop()?;
        }
        self.hub.stop()
    }
}

/// Wait until a cell of one database has this value.
pub fn until_cell(
    database: &Path,
    row: (&str, &str),
    column: &str,
    wanted: &Option<Cell>,
) -> Result<()> {
    let what = format!("{} {}.{column} = {wanted:?} in {}", row.0, row.1, database.display());
    until(&what, PATIENCE, || {
        let found = tables::value(database, row.0, row.1, column)?;
        Ok(Look::when(found == *wanted, || format!("{found:?}")))
    })
}

/// Wait until a handheld's replica shows a value; it syncs before each look.
pub fn until_shown(
    handheld: &Handheld,
    link: &Link,
    row: (&str, &str),
    column: &str,
    wanted: &Option<Cell>,
) -> Result<()> {
    until(&format!("the handheld to show {wanted:?}"), PATIENCE, || {
        let outcome = handheld.sync(link)?;
        ensure!(outcome.code == Some(0), "{outcome:?}");
        let found = handheld.value(row.0, row.1, column)?;
        Ok(Look::when(found == *wanted, || format!("{found:?}")))
    })
}

/// Text as a cell.
pub fn text(text: &str) -> Option<Cell> {
    Some(Cell::Text(text.into()))
}

/// A number as a cell.
pub fn number(number: i64) -> Option<Cell> {
    Some(Cell::Integer(number))
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("{}", self.hub.tail());
        for gateway in &self.gateways {
            eprintln!("{}", gateway.tail());
        }
        if let Some(folder) = self.folder.take() {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}
