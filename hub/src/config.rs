//! The hub's configuration: defaults, then the file, then `WADI_*` from the
//! environment. An unknown or bad key is an error that names file and key; the
//! process ends with exit code 78.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The database; relative to the configuration file.
    pub database: PathBuf,
    /// The MQTT broker; absent = the embedded one.
    #[serde(default)]
    pub broker: Option<Broker>,
    /// The embedded broker, used where `broker` is absent.
    #[serde(default)]
    pub embedded: Embedded,
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

/// The embedded broker.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedded {
    /// Address and port to listen on; loopback only.
    pub listen: SocketAddr,
}

impl Default for Broker {
    fn default() -> Broker {
        Broker { host: "127.0.0.1".into(), port: 1883, keep_alive_s: 30 }
    }
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded { listen: SocketAddr::from(([127, 0, 0, 1], 1883)) }
    }
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
        let environment =
            config::Environment::with_prefix("WADI").prefix_separator("_").separator("__");
        let mut config: Config = config::Config::builder()
            .add_source(config::File::from(file).format(config::FileFormat::Toml).required(true))
            .add_source(environment)
            .build()
            .and_then(config::Config::try_deserialize)
            .map_err(|error| bad(error.to_string()))?;
        config.database = file.parent().unwrap_or(Path::new(".")).join(&config.database);
        config.check().map_err(bad)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.broker.as_ref().is_some_and(|broker| broker.keep_alive_s < 5) {
            return Err("broker.keep_alive_s: at least 5 seconds are needed".into());
        }
        if self.broker.is_none() && !self.embedded.listen.ip().is_loopback() {
            return Err(format!(
                "embedded.listen: {} is not loopback; the embedded broker has no TLS yet, so for gateways \
                 on other machines run an MQTT 5 broker and name it under [broker]",
                self.embedded.listen
            ));
        }
        Ok(())
    }
}
