//! The hub's configuration: defaults, then the file, `conf.d/*.toml` beside it, and
//! `WADI_*` from the environment. An unknown or bad key is an error that names its
//! file or variable and the key; the process ends with exit code 78.
//! `template.toml` says the same for people; a test keeps the two together.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::layers::ConfigError;
use crate::layers::{self, Layer, Origins};

/// Where the file is unless told otherwise.
pub const FILE: &str = "/etc/wadi/hub.toml";
/// Every key with its meaning, unit and default.
pub const TEMPLATE: &str = include_str!("template.toml");
/// Days for which a certificate must be good at least: a gateway may be offline for weeks.
const CERTIFICATE_DAYS_MIN: u32 = 30;

/// Everything that can be configured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The database; relative to the configuration file.
    pub database: PathBuf,
    /// The hub's own identity; relative to the configuration file.
    pub identity: PathBuf,
    /// Host and port where gateways reach the broker.
    pub address: Option<String>,
    /// Days for which certificates of gateways are good.
    pub certificate_days: u32,
    /// The MQTT broker; absent = the embedded one.
    pub broker: Option<Broker>,
    /// The embedded broker, used where `broker` is absent.
    pub embedded: Embedded,
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
    /// Seconds between pings on an idle link, at least 5.
    pub keep_alive_s: u16,
    /// Whether to speak TLS; none = unless it is on loopback.
    pub tls: Option<bool>,
}

/// The embedded broker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedded {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Whether to speak TLS; none = unless it is on loopback.
    pub tls: Option<bool>,
}

/// Figures for Prometheus.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Address and port to listen on, loopback only; none = nowhere.
    pub listen: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            database: "hub.db".into(),
            identity: "hub-identity.toml".into(),
            address: None,
            certificate_days: 1825,
            broker: None,
            embedded: Embedded::default(),
            metrics: Metrics::default(),
            origins: Origins::default(),
        }
    }
}

impl Default for Broker {
    fn default() -> Broker {
        Broker { host: "127.0.0.1".into(), port: 1883, keep_alive_s: 30, tls: None }
    }
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded { listen: SocketAddr::from(([127, 0, 0, 1], 1883)), tls: None }
    }
}

impl Config {
    /// Read everything.
    pub fn read(file: &Path) -> Result<Config, ConfigError> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut written = vec![Layer::file(file)?];
        written.extend(Layer::beside(file)?);
        written.extend(Layer::environment(std::env::vars_os())?);
        let (mut config, origins): (Config, _) = layers::lay(&written)?;
        config.check().map_err(|(key, reason)| ConfigError {
            origin: origins.of(key).map_or_else(|| file.display().to_string(), Into::into),
            reason: format!("{key}: {reason}"),
        })?;
        config.database = folder.join(&config.database);
        config.identity = folder.join(&config.identity);
        config.origins = origins;
        Ok(config)
    }

    /// Host and port where gateways reach the broker; none if nothing says so.
    pub fn address(&self) -> Option<String> {
        let from_broker = || match &self.broker {
            Some(broker) => Some(format!("{}:{}", broker.host, broker.port)),
            None if self.embedded.listen.ip().is_unspecified() => None,
            None => Some(self.embedded.listen.to_string()),
        };
        self.address.clone().or_else(from_broker)
    }

    /// Whether the broker speaks TLS, as the hub itself meets it.
    pub fn broker_tls(&self) -> bool {
        self.broker.as_ref().map_or_else(|| self.embedded.tls(), Broker::tls)
    }

    /// Every key with its value and where that came from.
    pub fn effective(&self) -> String {
        layers::effective(self, &self.origins)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let bad = |key, reason: &str| Err((key, reason.to_string()));
        if self.database.as_os_str().is_empty() {
            return bad("database", "a file is needed");
        }
        if self.identity.as_os_str().is_empty() {
            return bad("identity", "a file is needed");
        }
        if self.address.as_ref().is_some_and(|address| !is_host_and_port(address)) {
            return bad("address", "host and port are needed, as in \"hub.example:8883\"");
        }
        if self.certificate_days < CERTIFICATE_DAYS_MIN {
            return bad("certificate_days", "at least 30 days are needed");
        }
        if let Some(broker) = &self.broker {
            if broker.host.is_empty() {
                return bad("broker.host", "a host is needed");
            }
            if broker.port == 0 {
                return bad("broker.port", "a port from 1 to 65535 is needed");
            }
            if broker.keep_alive_s < 5 {
                return bad("broker.keep_alive_s", "at least 5 seconds are needed");
            }
        }
        if self.metrics.listen.is_some_and(|listen| !listen.ip().is_loopback()) {
            return bad(
                "metrics.listen",
                "only loopback (as 127.0.0.1:9421): the figures are for programs of this machine",
            );
        }
        let plain = "false is for loopback only: what crosses a network is sealed by TLS";
        if self.broker.is_none() && !self.embedded.is_loopback() && !self.embedded.tls() {
            return bad("embedded.tls", plain);
        }
        if self.broker.as_ref().is_some_and(|broker| !broker.is_loopback() && !broker.tls()) {
            return bad("broker.tls", plain);
        }
        Ok(())
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

impl Embedded {
    /// Whether to speak TLS.
    pub fn tls(&self) -> bool {
        self.tls.unwrap_or(!self.is_loopback())
    }

    fn is_loopback(&self) -> bool {
        self.listen.ip().is_loopback()
    }
}

/// A host (a name, or an address; IPv6 in brackets) and a port above 0.
fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bare = !host.is_empty() && !host.contains(|c: char| c == ':' || c.is_whitespace());
    let bracketed = host.starts_with('[') && host.ends_with(']');
    (bare || bracketed) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
