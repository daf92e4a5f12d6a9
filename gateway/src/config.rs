//! The gateway's configuration: defaults, then what enrolment installed, the file,
//! `conf.d/*.toml` beside it, and `WADI_*` from the environment. An unknown or bad
//! key is an error that names its file or variable and the key; the process ends
//! with exit code 78 and stays down until somebody mends it. `template.toml` says
//! the same for people; a test keeps the two together.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::layers::ConfigError;
use crate::layers::{self, Layer, Origins};
use crate::serial::PORTS_MAX;
pub use crate::spending::config::Data;
use crate::store::compact::Keep;
use crate::store::handhelds::Admit;

/// Where the file is unless told otherwise.
pub const FILE: &str = "/etc/wadi/gateway.toml";
/// Every key with its meaning, unit and default.
pub const TEMPLATE: &str = include_str!("template.toml");

use crate::patience::{DEADLINE_MS_MAX, DEADLINE_MS_MIN};

/// Megabytes that may be kept free, at least (but none) and at most.
const RESERVE_MB_MIN: u32 = 4;
const RESERVE_MB_MAX: u32 = 4_096;
/// Days for which changes that are in a backup may be kept.
const KEEP_DAYS_MAX: u32 = 365;

/// What to do where no configuration is.
const MISSING: &str = "there is no such file; `wadi-gateway enrol FILE` makes it, with the file that \
     `wadi-hub gateway add` wrote at the hub; or `wadi-gateway config --template` prints one to begin with";

/// Everything that can be configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The site's name.
    pub site: String,
    /// The number that `wadi-hub gateway add` gave.
    pub gateway: u32,
    /// The database; relative to the configuration file.
    pub database: PathBuf,
    /// What enrolment installed; relative to the configuration file.
    pub identity: PathBuf,
    /// The MQTT broker between this gateway and the hub.
    pub broker: Broker,
    /// Serial ports with handhelds on them.
    pub serial: Vec<Serial>,
    /// Handhelds on the local network; absent = none.
    pub lan: Option<Lan>,
    /// Which handhelds may come in.
    pub handhelds: Handhelds,
    /// When and how patiently to sync.
    pub sync: Sync,
    /// How long durable changes are kept whole.
    pub changelog: Changelog,
    /// Room on the disk.
    pub disk: Disk,
    /// What the link to the hub may cost.
    pub data: Data,
    /// Figures for Prometheus.
    pub metrics: Metrics,
    /// Where each value came from.
    #[serde(skip)]
    pub origins: Origins,
}

/// An MQTT 5 broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Seconds between pings on an idle link, at least 5: to begin with, and in the worst case.
    pub keep_alive_s: u16,
    /// The same in the best case: what the carrier bears is learned.
    pub keep_alive_max_s: u16,
    /// Whether to speak TLS; none = unless it is on loopback.
    pub tls: Option<bool>,
}

/// A serial port.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Serial {
    /// A device file; best a stable name below `/dev/serial/by-id`.
    pub path: PathBuf,
    /// Bits a second.
    pub baud: u32,
}

/// The local network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lan {
    /// Address and port to listen on.
    pub listen: String,
    /// Whether handhelds may find the gateway by name.
    pub announce: bool,
}

/// Figures for Prometheus.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address and port to listen on, loopback only; none = nowhere.
    pub listen: Option<SocketAddr>,
}

/// Who may come in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handhelds {
    /// `allowed`: those that `wadi-gateway handheld allow` named. `anyone`: whoever
    /// comes, for demonstrations and tests.
    pub admit: Admit,
}

/// Times of the sync worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// Seconds between rounds that only ask for news.
    pub interval_s: u64,
    /// Milliseconds before the first attempt to connect again.
    pub retry_min_ms: u64,
    /// Milliseconds between attempts to connect, at most.
    pub retry_max_ms: u64,
    /// Milliseconds without an answer before a question is asked again; after
    /// three in a row the connection is given up and made anew. Also how long each
    /// phase of connecting may take. 100 to 12,000.
    pub deadline_ms: u64,
    /// Stay connected also where to leave a silent link and to come back costs less.
    pub stay: bool,
}

/// What is kept of changes that are at the hub and in a backup of it. Others are kept
/// in any case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Changelog {
    /// Days after a backup was heard of that holds them, 365 at most.
    pub keep_days: u32,
    /// Megabytes (of 2^20 bytes), at most: beyond it the oldest go before their time.
    pub keep_mb: u32,
}

/// Room that is kept for the changelog.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disk {
    /// Megabytes (of 2^20 bytes), 4 to 4,096, at most a quarter of the disk; 0 = none.
    pub reserve_mb: u32,
}

impl Disk {
    /// The same in bytes.
    pub fn reserve_bytes(&self) -> u64 {
        u64::from(self.reserve_mb) << 20
    }
}

impl Default for Disk {
    fn default() -> Disk {
        Disk { reserve_mb: 32 }
    }
}

impl Changelog {
    /// The same in seconds and bytes.
    pub fn keep(&self) -> Keep {
        Keep { age_s: u64::from(self.keep_days) * 86_400, bytes: u64::from(self.keep_mb) << 20 }
    }
}

impl Default for Changelog {
    fn default() -> Changelog {
        Changelog { keep_days: 7, keep_mb: 32 }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            site: String::new(),
            gateway: 0,
            database: "gateway.db".into(),
            identity: "identity.toml".into(),
            broker: Broker::default(),
            serial: Vec::new(),
            lan: None,
            handhelds: Handhelds::default(),
            sync: Sync::default(),
            changelog: Changelog::default(),
            disk: Disk::default(),
            data: Data::default(),
            metrics: Metrics::default(),
            origins: Origins::default(),
        }
    }
}

impl Default for Serial {
    fn default() -> Serial {
        Serial { path: PathBuf::new(), baud: 115_200 }
    }
}

impl Default for Lan {
    fn default() -> Lan {
        Lan { listen: String::new(), announce: true }
    }
}

impl Default for Broker {
    fn default() -> Broker {
        Broker {
            host: "127.0.0.1".into(),
            port: 1883,
            keep_alive_s: 60,
            keep_alive_max_s: 1_200,
            tls: None,
        }
    }
}

impl Default for Sync {
    fn default() -> Sync {
        Sync {
            interval_s: 1_800,
            retry_min_ms: 1_000,
            retry_max_ms: 300_000,
            deadline_ms: 10_000,
            stay: false,
        }
    }
}

impl Config {
    /// Read everything, with no enrolment below it.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        Config::read_over(file, |_| Ok(Vec::new()))
    }

    /// Read everything. `enrolment` gets the path of the identity and gives the
    /// layers that go below the file.
    pub fn read_over(
        file: &Path,
        enrolment: impl FnOnce(&Path) -> Result<Vec<Layer>, ConfigError>,
    ) -> Result<Config, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new("."));
        if matches!(file.try_exists(), Ok(false)) {
            return Err(ConfigError { origin: file.display().to_string(), reason: MISSING.into() });
        }
        let mut written = vec![Layer::file(file)?];
        written.extend(Layer::beside(file)?);
        written.extend(Layer::environment(std::env::vars_os())?);
        let (first, _): (Config, _) = layers::lay(&written)?;
        let mut all = enrolment(&folder.join(&first.identity))?;
        all.extend(written);
        let (mut config, origins): (Config, _) = layers::lay(&all)?;
        config.check().map_err(|(key, reason)| ConfigError {
            origin: origins.of(key).map_or_else(|| file.display().to_string(), Into::into),
            reason: format!("{key}: {reason}"),
        })?;
        config.database = folder.join(&config.database);
        config.identity = folder.join(&config.identity);
        config.origins = origins;
        Ok(config)
    }

    /// Where the identity belongs, before there is one; the file need not be complete,
    /// nor be there.
    pub fn place_of_identity(file: &Path) -> Result<PathBuf, ConfigError> {
        let mut written = if file.exists() { vec![Layer::file(file)?] } else { Vec::new() };
        written.extend(Layer::beside(file)?);
        written.extend(Layer::environment(std::env::vars_os())?);
        let (config, _): (Config, _) = layers::lay(&written)?;
        Ok(file.parent().unwrap_or(Path::new(".")).join(config.identity))
    }

    /// Every key with its value and where that came from.
    pub fn effective(&self) -> String {
        layers::effective(self, &self.origins)
    }

    fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !wadi_protocol::limits::is_name(&self.site) {
            return Err((
                "site",
                "a name of 1 to 63 bytes of text is needed; enrol with `wadi-gateway enrol FILE`, or write it",
            ));
        }
        if self.gateway == 0 {
            return Err((
                "gateway",
                "the number that `wadi-hub gateway add` gave is needed; enrol with `wadi-gateway enrol FILE`, or write it",
            ));
        }
        if self.database.as_os_str().is_empty() {
            return Err(("database", "a file is needed"));
        }
        if self.identity.as_os_str().is_empty() {
            return Err(("identity", "a file is needed"));
        }
        if self.broker.host.is_empty() {
            return Err(("broker.host", "a host is needed"));
        }
        if self.broker.port == 0 {
            return Err(("broker.port", "a port from 1 to 65535 is needed"));
        }
        if !self.broker.is_loopback() && !self.broker.tls() {
            return Err((
                "broker.tls",
                "false is for loopback only: what crosses a network is sealed by TLS",
            ));
        }
        if self.broker.keep_alive_s < 5 {
            return Err(("broker.keep_alive_s", "at least 5 seconds are needed"));
        }
        if self.serial.iter().any(|port| port.path.as_os_str().is_empty() || port.baud == 0) {
            return Err(("serial", "each port needs its `path`, and a `baud` above 0"));
        }
        if self.serial.len() > PORTS_MAX {
            return Err(("serial", "at most 64 ports are served"));
        }
        let twice =
            |at: usize| self.serial[..at].iter().any(|port| port.path == self.serial[at].path);
        if (0..self.serial.len()).any(twice) {
            return Err(("serial", "two entries have the same `path`; leave one out"));
        }
        if self.lan.as_ref().is_some_and(|lan| !lan.is_host_and_port()) {
            return Err((
                "lan.listen",
                "the address and port to listen on are needed, as 192.168.4.1:7420",
            ));
        }
        if self.sync.interval_s == 0 {
            return Err(("sync.interval_s", "it must be above 0"));
        }
        if self.sync.retry_min_ms == 0 || self.sync.retry_max_ms < self.sync.retry_min_ms {
            return Err((
                "sync.retry_max_ms",
                "retry_min_ms must be above 0, and retry_max_ms not below retry_min_ms",
            ));
        }
        if !(DEADLINE_MS_MIN..=DEADLINE_MS_MAX).contains(&self.sync.deadline_ms) {
            return Err((
                "sync.deadline_ms",
                "between 100 and 12000 is needed, so that a dead link is noticed within 90 s",
            ));
        }
        if self.changelog.keep_days > KEEP_DAYS_MAX {
            return Err(("changelog.keep_days", "at most 365 days are remembered"));
        }
        let reserve_mb = self.disk.reserve_mb;
        if reserve_mb != 0 && !(RESERVE_MB_MIN..=RESERVE_MB_MAX).contains(&reserve_mb) {
            return Err(("disk.reserve_mb", "between 4 and 4096 are kept, or none with 0"));
        }
        self.data.check()?;
        if self.metrics.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            return Err((
                "metrics.listen",
                "only loopback (as 127.0.0.1:9420): the figures are for programs of this machine",
            ));
        }
        Ok(())
    }
}

impl Lan {
    fn is_host_and_port(&self) -> bool {
        let parts = self.listen.rsplit_once(':');
        parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    }
}

impl Broker {
    /// Whether to speak TLS.
    pub fn tls(&self) -> bool {
        self.tls.unwrap_or(!self.is_loopback())
    }

    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
