//! Wiring of the enrolment: installing it, and reading it below the configuration.
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use wadi_gateway::config::{self, Config, ConfigError};
use wadi_gateway::identity::{self, Identity};
use wadi_gateway::layers::Layer;

/// Install an enrolment file; a configuration to begin with is written where there is none.
pub fn enrol(configuration: &Path, file: &Path, out: &mut dyn Write) -> Result<()> {
    let place = Config::place_of_identity(configuration)?;
    let identity = identity::install(file, &place)?;
    writeln!(out, "this is gateway {} of site {} now", identity.gateway, identity.site)?;
    writeln!(out, "installed: {}; delete {}", place.display(), file.display())?;
    if !configuration.exists() {
        std::fs::write(configuration, config::TEMPLATE)
            .with_context(|| configuration.display().to_string())?;
        writeln!(
            out,
            "written: {}, with every key; say there which ports handhelds use",
            configuration.display()
        )?;
    }
    Ok(writeln!(out, "a running gateway must be started again to use it")?)
}

/// The configuration over the enrolment, and the enrolment, if there is one.
pub fn read(configuration: &Path) -> Result<(Config, Option<Identity>), ConfigError> {
    let mut identity = None;
    let config = Config::read_over(configuration, |place| {
        identity = Identity::read(place).map_err(|error| ConfigError {
            origin: "of this gateway".into(),
            reason: error.to_string(),
        })?;
        Ok(identity.iter().map(|identity| layer(identity, place)).collect())
    })?;
    if let Some(identity) = &identity
        && (config.gateway != identity.gateway.0 || config.site != identity.site)
    {
        let reason = format!(
            "it says gateway {} of site {}, but the enrolment in {} is for gateway {} of site {}: \
             leave `site` and `gateway` out, or enrol with the right file",
            config.gateway,
            config.site,
            config.identity.display(),
            identity.gateway,
            identity.site
        );
        return Err(ConfigError { origin: configuration.display().to_string(), reason });
    }
    Ok((config, identity))
}

fn layer(identity: &Identity, place: &Path) -> Layer {
    let (host, port) = identity.address.clone();
    let values = [
        ("site", identity.site.clone().into()),
        ("gateway", u64::from(identity.gateway.0).into()),
        ("broker.host", host.into()),
        ("broker.port", u64::from(port).into()),
    ];
    let values = values.map(|(key, value)| (key.to_owned(), value));
    Layer::new(&place.display().to_string(), values)
}
