//! Wiring of the enrolment: installing it, reading it below the configuration, and
//! that a backup brings its own.
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use wadi_gateway::config::{self, Config, ConfigError};
use wadi_gateway::identity::{self, Identity};
use wadi_gateway::layers::Layer;
use wadi_gateway::rescue;
use wadi_gateway::store::copy;

/// Install an enrolment file; a configuration to begin with is written where there is none.
pub fn enrol(configuration: &Path, file: &Path, out: &mut dyn Write) -> Result<()> {
    let place = Config::place_of_identity(configuration)?;
    let identity = identity::install(file, &place)?;
    writeln!(out, "this is gateway {} of site {} now", identity.gateway, identity.site)?;
    writeln!(out, "installed: {}; delete {}", place.display(), file.display())?;
    if !configuration.exists() {
        begin(configuration, out)?;
    }
    Ok(writeln!(out, "a running gateway must be started again to use it")?)
}

/// A configuration with every key, to begin with.
fn begin(configuration: &Path, out: &mut dyn Write) -> Result<()> {
    std::fs::write(configuration, config::TEMPLATE)
        .with_context(|| configuration.display().to_string())?;
    let file = configuration.display();
    Ok(writeln!(out, "written: {file}, with every key; say there which ports handhelds use")?)
}

/// Put a backup back; in an empty folder the enrolment beside it says whose it is.
pub fn restore(configuration: &Path, file: &Path, now_s: u64, out: &mut dyn Write) -> Result<()> {
    let spare = copy::beside(file, rescue::IDENTITY);
    let begins = !configuration.exists() && spare.is_file();
    if begins {
        identity::look(&spare)?;
        begin(configuration, out)?;
    }
    let restored = read_over(configuration, &spare)
        .map_err(Into::into)
        .and_then(|(config, _)| rescue::restore(&config, file, now_s, out));
    if begins && restored.is_err() {
        std::fs::remove_file(configuration).context(configuration.display().to_string())?;
    }
    restored
}

/// The configuration over the enrolment, and the enrolment, if there is one.
pub fn read(configuration: &Path) -> Result<(Config, Option<Identity>), ConfigError> {
    read_over(configuration, Path::new(""))
}

/// The same; where no enrolment is installed, that of the file `spare` counts.
fn read_over(
    configuration: &Path,
    spare: &Path,
) -> Result<(Config, Option<Identity>), ConfigError> {
    let mut identity = None;
    let config = Config::read_over(configuration, |place| {
        identity = Identity::read(place).map_err(|error| ConfigError {
            origin: "of this gateway".into(),
            reason: error.to_string(),
        })?;
        // One that cannot be read is told of when it is to be installed.
        identity = identity.take().or_else(|| identity::look(spare).ok());
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
    // Elsewhere than on loopback it is so by default.
    let tls = identity.tls.then(|| ("broker.tls", true.into()));
    let values = values.into_iter().chain(tls).map(|(key, value)| (key.to_owned(), value));
    Layer::new(&place.display().to_string(), values)
}
