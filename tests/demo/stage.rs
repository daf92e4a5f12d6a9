//! The stage: hub, gateways, handhelds and the links between them, in one folder.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::line::Line;
use wadi_harness::plan::Plan;
use wadi_harness::random::Random;
use wadi_harness::records::{self, Record};
use wadi_harness::relay::Relay;
use wadi_harness::{ports, tables};

use crate::options::Options;

/// Handhelds at most: more devices than this share them.
const HANDHELDS_MAX: usize = 12;
/// Gateways.
pub const GATEWAYS: usize = 2;
/// A connection between a handheld and its gateway is cut after this many bytes.
const LAN_CUT_BYTES: std::ops::Range<u64> = 60_000..300_000;
/// The serial line loses a frame or two after this many bytes.
const LINE_CUT_BYTES: std::ops::Range<u64> = 60_000..200_000;
/// A connection between a gateway and the broker is cut after this many bytes.
const UPLINK_CUT_BYTES: std::ops::Range<u64> = 30_000..150_000;

/// A handheld with the devices whose records it takes in.
pub struct Crew {
    pub handheld: Handheld,
    pub base: Vec<Record>,
    /// Each with its place in the stream.
    pub trickle: Vec<(usize, Record)>,
    pub serial: bool,
    pub link: Link,
}

/// Everything that runs.
pub struct Stage {
    pub hub: Hub,
    pub gateways: Vec<Gateway>,
    /// Between each gateway and the hub's broker.
    pub uplinks: Vec<Relay>,
    /// Between the handhelds on TCP and each gateway.
    pub lans: Vec<Relay>,
    /// To the first gateway.
    pub line: Line,
    pub crews: Vec<Crew>,
    pub plan: Plan,
    /// How many changes of the trickle are played.
    pub changes: usize,
    // Last, so that the ports go after those who use them.
    _ports: tempfile::TempDir,
}

impl Stage {
    /// Read the workload, lay everything out in `out`, start it.
    pub fn set(options: &Options, out: &Path) -> Result<Stage> {
        let folder = &options.workload;
        let schema_file = folder.join("schema.toml");
        let schema = std::fs::read_to_string(&schema_file).with_context(|| {
            format!("--workload {}: no schema.toml can be read there", folder.display())
        })?;
        let plan = Plan::read(&schema).with_context(|| schema_file.display().to_string())?;
        let base = records::read(folder, "base")?.unwrap_or_default();
        let mut trickle = records::read(folder, "trickle")?.with_context(|| {
            format!("--workload {}: no trickle.jsonl or trickle.jsonl.gz there", folder.display())
        })?;
        trickle.truncate(options.changes);
        clear(out)?;

        let mut random = Random::seeded(options.seed);
        let broker_port = ports::free();
        let mut hub = Hub::lay_out(out, BrokerAt::Embedded(broker_port), &schema)?;
        let ports = tempfile::Builder::new().prefix("wadi-demo-").tempdir()?;
        let line = Line::lay(ports.path(), "line", random.bits())?;
        line.trouble().cut_after(Some(LINE_CUT_BYTES));
        let (mut gateways, mut uplinks, mut lans) = (Vec::new(), Vec::new(), Vec::new());
        hub.start()?;
        for at in 0..GATEWAYS {
            let site = ["north", "south"][at];
            let enrolment = hub.add_gateway(site)?;
            let uplink = Relay::tcp(broker_port, random.bits())?;
            uplink.trouble().cut_after(Some(UPLINK_CUT_BYTES));
            let settings = Settings {
                number: at as u32 + 1,
                enrolment: &enrolment,
                broker_port: uplink.port(),
                serial: if at == 0 { vec![line.gateway_port()] } else { Vec::new() },
                interval_s: 5,
            };
            let mut gateway = Gateway::lay_out(out, &settings)?;
            gateway.start()?;
            let lan = Relay::tcp(gateway.port(), random.bits())?;
            lan.trouble().cut_after(Some(LAN_CUT_BYTES));
            gateways.push(gateway);
            uplinks.push(uplink);
            lans.push(lan);
        }
        let changes = trickle.len();
        let crews = share_out(out, base, trickle, &lans, &line);
        ensure!(!crews.is_empty(), "--workload {}: the streams are empty", folder.display());
        Ok(Stage { hub, gateways, uplinks, lans, line, crews, plan, changes, _ports: ports })
    }

    /// Hub and gateways by name, with their databases.
    pub fn databases(&self) -> Vec<(String, &Path)> {
        let gateways = self.gateways.iter().enumerate();
        let gateways =
            gateways.map(|(at, gateway)| (format!("gateway-{}", at + 1), gateway.database()));
        std::iter::once(("hub".to_string(), self.hub.database())).chain(gateways).collect()
    }

    /// Nothing ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.hub.check()?;
        self.gateways.iter_mut().try_for_each(Gateway::check)
    }

    /// Stop everything in good order; what is left behind are whole files.
    pub fn stop(&mut self) -> Result<()> {
        for gateway in &mut self.gateways {
            gateway.stop()?;
        }
        self.hub.stop()?;
        let handhelds = self.crews.iter().map(|crew| crew.handheld.database());
        for database in self.databases().into_iter().map(|(_, path)| path).chain(handhelds) {
            tables::make_whole(database)?;
        }
        Ok(())
    }
}

/// The folder, without what an earlier demo left in it.
fn clear(out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("--out {}", out.display()))?;
    for entry in std::fs::read_dir(out)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ours = ["hub.", "gateway-", "handheld-"].iter().any(|prefix| name.starts_with(prefix));
        let kind =
            [".db", ".db-", ".toml", ".log", ".jsonl"].iter().any(|part| name.contains(part));
        if ours && kind {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Handhelds for the devices, shared out between the gateways; the one with the fewest
/// changes to play goes onto the serial line.
fn share_out(
    out: &Path,
    base: Vec<Record>,
    trickle: Vec<Record>,
    lans: &[Relay],
    line: &Line,
) -> Vec<Crew> {
    // Those that only have a base come first: the serial line should carry something live.
    let mut devices: BTreeMap<String, usize> =
        base.iter().map(|record| (record.device.clone(), usize::MAX)).collect();
    for record in &trickle {
        let count = devices.entry(record.device.clone()).or_default();
        *count = if *count == usize::MAX { 1 } else { *count + 1 };
    }
    let mut by_load: Vec<(String, usize)> = devices.into_iter().collect();
    by_load.sort_by(|one, two| (two.1, &two.0).cmp(&(one.1, &one.0)));
    let count = by_load.len().min(HANDHELDS_MAX);
    let shared = by_load.len() > HANDHELDS_MAX;
    let mut crews: Vec<Crew> = (0..count)
        .map(|at| {
            let name = if shared { format!("{:02}", at + 1) } else { file_name(&by_load[at].0) };
            let serial = at + 1 == count;
            let gateway = if serial { 0 } else { at % GATEWAYS };
            let link = match serial {
                true => Link::Serial(line.handheld_port().to_path_buf()),
                false => Link::Tcp(lans[gateway].port()),
            };
            let handheld = Handheld::new(out, &name);
            Crew { handheld, base: Vec::new(), trickle: Vec::new(), serial, link }
        })
        .collect();
    let crew_of: BTreeMap<String, usize> =
        by_load.into_iter().enumerate().map(|(at, (device, _))| (device, at % count)).collect();
    for record in base {
        crews[crew_of[&record.device]].base.push(record);
    }
    for (place, record) in trickle.into_iter().enumerate() {
        crews[crew_of[&record.device]].trickle.push((place, record));
    }
    crews
}

/// A device's name as part of a file's.
fn file_name(device: &str) -> String {
    let plain = |letter: char| {
        if letter.is_ascii_alphanumeric() { letter } else { '-' }
    };
    device.chars().map(plain).take(48).collect()
}
