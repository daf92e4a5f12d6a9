//! The gateway's configuration: defaults, then the file, then `WADI_*` from the
//! environment. An unknown or bad key is an error that names file and key; the
//! process ends with exit code 78 and stays down until somebody mends it.
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The site's name.
    pub site: String,
    /// The number that `wadi-hub gateway add` gave.
    pub gateway: u32,
    /// The database; relative to the configuration file.
    pub database: PathBuf,
    /// The MQTT broker between this gateway and the hub.
    #[serde(default)]
    pub broker: Broker,
    /// Serial ports with handhelds on them.
    #[serde(default)]
    pub serial: Vec<Serial>,
    /// Handhelds on the local network; absent = none.
    #[serde(default)]
    pub lan: Option<Lan>,
    /// When and how patiently to sync.
    #[serde(default)]
    pub sync: Sync,
}

/// An MQTT 5 broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Broker {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Seconds between pings on an idle link, at least 5.
    pub keep_alive_s: u16,
}

/// A serial port.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serial {
    /// A device file; best a stable name below `/dev/serial/by-id`.
    pub path: PathBuf,
    /// Bits a second.
    #[serde(default = "default_baud")]
    pub baud: u32,
}

/// The local network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lan {
    /// Address and port to listen on.
    pub listen: String,
}

/// Times of the sync worker.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// Seconds between rounds that only ask for news.
    pub interval_s: u64,
    /// Milliseconds before the first attempt to connect again.
    pub retry_min_ms: u64,
    /// Milliseconds between attempts to connect, at most.
    pub retry_max_ms: u64,
    /// Milliseconds without an answer before a question is asked again; after
    /// three in a row the connection is given up and made anew.
    pub deadline_ms: u64,
}

impl Default for Broker {
    fn default() -> Broker {
        Broker { host: "127.0.0.1".into(), port: 1883, keep_alive_s: 60 }
    }
}

impl Default for Sync {
    fn default() -> Sync {
        Sync { interval_s: 900, retry_min_ms: 1_000, retry_max_ms: 300_000, deadline_ms: 10_000 }
    }
}

fn default_baud() -> u32 {
    115_200
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("configuration {file}: {reason}")]
pub struct ConfigError {
    file: String,
    reason: String,
}

impl Config {
    /// Read a file and the environment.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let bad = |reason: String| ConfigError { file: file.display().to_string(), reason };
        let mut config: Config = config::Config::builder()
            .add_source(config::File::from(file).format(config::FileFormat::Toml).required(true))
            .add_source(
                config::Environment::with_prefix("WADI").separator("__").prefix_separator("_"),
            )
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| bad(error.to_string()))?;
        let folder = file.parent().unwrap_or(Path::new("."));
        config.database = folder.join(&config.database);
        config.check().map_err(bad)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.site.is_empty() || self.site.len() > wadi_protocol::limits::NAME_BYTES_MAX {
            return Err("site: a name of 1 to 63 bytes is needed".into());
        }
        if self.gateway == 0 {
            return Err("gateway: use the number that `wadi-hub gateway add` printed".into());
        }
        if self.broker.keep_alive_s < 5 {
            return Err("broker.keep_alive_s: at least 5 seconds are needed".into());
        }
        let sync = &self.sync;
        if sync.retry_min_ms == 0 || sync.retry_max_ms < sync.retry_min_ms || sync.deadline_ms == 0
        {
            return Err(
                "sync: retry_min_ms and deadline_ms must be above 0, and retry_max_ms not below retry_min_ms"
                    .into(),
            );
        }
        Ok(())
    }
}
