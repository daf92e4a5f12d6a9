//! Who this gateway is: its enrolment by the hub.
//!
//! `wadi-hub gateway add` writes one file, [`install`] puts it beside the
//! configuration, for the gateway's user only. It holds the key and certificate
//! of every connection and the key of every message. A renewed certificate
//! comes with a round and lies in the database, since it is no secret. Intake
//! never looks at any of this: a gateway without an enrolment, or with one that
//! ended, collects as before.
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use wadi_protocol::id::GatewayId;
use wadi_protocol::limits;
use wadi_protocol::tag::{TagKey, unhex};

use crate::layers::without_values;
use crate::secret;
use crate::store::status::Term;
use crate::words::plain;

/// A file of more bytes is not an enrolment.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// An enrolment, as it was checked.
#[derive(Debug)]
pub struct Identity {
    /// The site.
    pub site: String,
    /// The number.
    pub gateway: GatewayId,
    /// Which enrolment of this gateway it is, from 1.
    pub enrolment: u32,
    /// Host and port of the hub's broker when it was enrolled.
    pub address: (String, u16),
    /// Whether that broker speaks TLS even on loopback; elsewhere it always does.
    pub tls: bool,
    /// When the certificate ends, seconds since 1970.
    pub until_s: u64,
    /// The key of messages.
    pub tag_key: TagKey,
    /// The hub's authority.
    pub authority: CertificateDer<'static>,
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// An enrolment that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {file}: {reason}")]
pub struct IdentityError {
    what: &'static str,
    file: String,
    reason: String,
}

/// The file's own form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    site: String,
    gateway: u32,
    enrolment: u32,
    address: String,
    #[serde(default)]
    tls: bool,
    until_s: u64,
    tag_key: String,
    authority: String,
    certificate: String,
    key: String,
}

impl Identity {
    /// How long its own certificate counts.
    pub fn term(&self) -> Term {
        Term { enrolment: self.enrolment, until_s: self.until_s }
    }

    /// Read an installed enrolment; none where there is none.
    pub fn read(path: &Path) -> Result<Option<Identity>, IdentityError> {
        let bad =
            |reason| IdentityError { what: "identity", file: path.display().to_string(), reason };
        let Some((text, mode)) = text_of(path).map_err(|error| bad(error.to_string()))? else {
            return Ok(None);
        };
        if mode & 0o077 != 0 {
            let advice = format!(
                "mode {mode:o} lets others read its key: run `chmod 600 {}`",
                path.display()
            );
            return Err(bad(advice));
        }
        let advice = "enrol again with a file of `wadi-hub gateway enrol`";
        parse(&text).map(Some).map_err(|reason| bad(format!("{reason}; {advice}")))
    }
}

/// Put an enrolment file in its place, readable by its user only. What stood
/// there is replaced: the hub takes only the newest enrolment.
pub fn install(file: &Path, place: &Path) -> Result<Identity, IdentityError> {
    let bad =
        |reason| IdentityError { what: "enrolment file", file: file.display().to_string(), reason };
    let (identity, text) = look_over(file)?;
    if let Some(held) = Identity::read(place).ok().flatten()
        && (held.gateway, &held.site) != (identity.gateway, &identity.site)
    {
        return Err(bad(format!(
            "it is for gateway {} of site {}, but this is gateway {} of site {}: move {} away first if that is wanted",
            identity.gateway,
            identity.site,
            held.gateway,
            held.site,
            place.display()
        )));
    }
    let put = |error: io::Error| IdentityError {
        what: "identity",
        file: place.display().to_string(),
        reason: match (error.kind(), place.parent()) {
            (io::ErrorKind::NotFound, Some(folder)) => {
                format!("there is no such folder; make it: mkdir -p {}", folder.display())
            }
            _ => plain(&error),
        },
    };
    secret::replace(place, &text).map_err(put)?;
    Ok(identity)
}

/// Read an enrolment file where it is, whoever else may read it there.
pub fn look(file: &Path) -> Result<Identity, IdentityError> {
    look_over(file).map(|(identity, _)| identity)
}

fn look_over(file: &Path) -> Result<(Identity, String), IdentityError> {
    let bad =
        |reason| IdentityError { what: "enrolment file", file: file.display().to_string(), reason };
    let text = text_of(file).map_err(|error| bad(error.to_string()))?;
    let (text, _) = text.ok_or_else(|| bad("there is no such file".into()))?;
    match parse(&text) {
        Ok(identity) => Ok((identity, text)),
        Err(reason) => {
            Err(bad(format!("{reason}; use the file that `wadi-hub gateway add` wrote, unchanged")))
        }
    }
}

/// The text of a file and its mode; none where there is none.
fn text_of(path: &Path) -> io::Result<Option<(String, u32)>> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let about = file.metadata()?;
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("this is no enrolment file"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some((text, about.mode() & 0o777)))
}

fn parse(text: &str) -> Result<Identity, String> {
    let stored: Stored = config::Config::builder()
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| without_values(&error.to_string()))?;
    let site = limits::name(&stored.site).map_err(|needed| format!("site: {needed}"))?;
    if stored.gateway == 0 || stored.enrolment == 0 {
        return Err("gateway and enrolment are counted from 1".into());
    }
    let pem = |what: &str| format!("{what} is damaged");
    Ok(Identity {
        site,
        gateway: GatewayId(stored.gateway),
        enrolment: stored.enrolment,
        address: address(&stored.address).ok_or("address: host:port is needed")?,
        tls: stored.tls,
        until_s: stored.until_s,
        tag_key: TagKey::from_bytes(unhex(&stored.tag_key).ok_or_else(|| pem("tag_key"))?),
        authority: CertificateDer::from_pem_slice(stored.authority.as_bytes())
            .map_err(|_| pem("authority"))?,
        certificate: CertificateDer::from_pem_slice(stored.certificate.as_bytes())
            .map_err(|_| pem("certificate"))?,
        key: PrivateKeyDer::from_pem_slice(stored.key.as_bytes()).map_err(|_| pem("key"))?,
    })
}

/// Host and port.
fn address(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|&port| port != 0)?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_cannot_be_read_is_not_shown() {
        let said = parse("site = \"north\"\ntag_key = \"2f1703f6066f5356\n").unwrap_err();
        assert!(said.contains("line 2") && !said.contains("2f17"), "{said}");
    }

    #[test]
    fn a_secret_in_the_place_of_a_number_is_not_shown() {
        let said = parse("site = \"north\"\ngateway = \"2f1703f6066f5356\"\n").unwrap_err();
        assert!(said.contains("gateway") && !said.contains("2f17"), "{said}");
    }
}
