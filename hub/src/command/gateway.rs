//! `wadi-hub gateway add | enrol | rejoin | revoke | list`.
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value as Json, json};
use wadi_protocol::tag::hex;

use super::{CommandError, line};
use crate::identity::{self, Identity, Subject};
use crate::store::enrolment::Certificate;
use crate::store::{Store, text};

const DAY_S: u64 = 86_400;

/// What enrolling needs besides the store.
pub struct Enroller<'a> {
    /// The hub's authority.
    pub identity: &'a Identity,
    /// Host and port where gateways reach the broker.
    pub address: &'a str,
    /// Whether it speaks TLS even on loopback.
    pub tls: bool,
    /// How long a certificate lasts.
    pub days: u32,
}

/// The enrolment file, see the gateway's identity.
#[derive(Serialize)]
struct Enrolment<'a> {
    site: &'a str,
    gateway: u32,
    enrolment: u32,
    address: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
    until_s: u64,
    tag_key: String,
    authority: &'a str,
    certificate: String,
    key: String,
}

/// Enrol the gateway of a site and write its enrolment file; with `again` a gateway
/// that is there, whose former enrolment ends with this.
pub fn gateway_enrol(
    store: &mut Store,
    enroller: &Enroller<'_>,
    (site, again): (&str, bool),
    file: Option<&Path>,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let until_s = now_s + u64::from(enroller.days) * DAY_S;
    let mut written = PathBuf::new();
    let certificate = store.enrol(site, again, (now_s, until_s), |certificate| {
        written = file.map_or_else(|| default_file(certificate), Path::to_path_buf);
        make(enroller, site, certificate, &written)
    })?;
    let file = written.display();
    writeln!(
        out,
        "gateway {} of site {site} is enrolled until {}",
        certificate.gateway,
        text::time(until_s)
    )?;
    writeln!(out, "its enrolment file: {file}")?;
    if is_loopback(enroller.address) {
        writeln!(
            out,
            "it will look for the broker at {}, on its own machine: for one elsewhere, set `address` \
             and run `wadi-hub gateway enrol {site}`",
            enroller.address
        )?;
    }
    writeln!(out, "on the gateway run: wadi-gateway enrol {file}")?;
    Ok(writeln!(out, "the file holds the gateway's key: carry it safely and delete it afterwards")?)
}

/// Whether a host and port lead nowhere but to the machine itself.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// By number alone: a site's name may hold anything.
fn default_file(certificate: Certificate) -> PathBuf {
    PathBuf::from(format!("gateway-{}.enrolment.toml", certificate.gateway))
}

/// Make key and certificate and write them to the file; the public key comes back.
fn make(
    enroller: &Enroller<'_>,
    site: &str,
    certificate: Certificate,
    file: &Path,
) -> Result<Vec<u8>, String> {
    let Certificate { gateway, enrolment, .. } = certificate;
    let keyed =
        enroller.identity.issue(&subject(certificate)).map_err(|error| error.to_string())?;
    let whole = Enrolment {
        site,
        gateway: gateway.0,
        enrolment,
        address: enroller.address,
        tls: enroller.tls,
        until_s: certificate.until_s,
        tag_key: hex(enroller.identity.tag_key(gateway, enrolment).bytes()),
        authority: enroller.identity.authority_pem(),
        certificate: keyed.certificate_pem,
        key: keyed.key_pem,
    };
    let body = toml::to_string_pretty(&whole).expect("plain texts always serialise");
    let head = "# The enrolment of a Wadi gateway, secret key included: run `wadi-gateway enrol` with it.\n";
    identity::write_secret(file, &format!("{head}{body}")).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "; move it away, or name another file with --out",
            _ => "",
        };
        format!("{}: {error}{advice}", file.display())
    })?;
    Ok(keyed.public)
}

/// A certificate of the store, as the authority names it.
pub fn subject(certificate: Certificate) -> Subject {
    let Certificate { gateway, enrolment, issue, until_s } = certificate;
    Subject { gateway, enrolment, issue, until_s }
}

/// Go on with the box that came last with another history.
pub fn gateway_rejoin(
    store: &mut Store,
    site: &str,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let (gateway, other) = store.rejoin(site)?;
    let what = if other.is_empty() { "an empty box" } else { "restored or cloned" };
    writeln!(
        out,
        "gateway {gateway} of site {site} goes on with the box of run {} ({what}), from its next attempt on",
        other.run
    )?;
    writeln!(
        out,
        "it gets what it lacks, and what it still holds is taken; changes that are here already count once"
    )?;
    Ok(writeln!(
        out,
        "a box that goes on from where the hub was is refused from now on, and keeps what it holds; for \
         that to come too, run `wadi-hub gateway enrol {site}` and `wadi-gateway enrol` on it"
    )?)
}

/// Believe a gateway no longer.
pub fn gateway_revoke(
    store: &mut Store,
    site: &str,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let gateway = store.revoke(site, now_s)?;
    writeln!(
        out,
        "gateway {gateway} of site {site} is revoked: the hub takes nothing of it any more"
    )?;
    writeln!(
        out,
        "what it committed stays; what it still holds can come after `wadi-hub gateway enrol {site}`"
    )?;
    Ok(writeln!(
        out,
        "with a broker of your own, run `wadi-hub broker-config` again for its list of revoked certificates"
    )?)
}

/// List enrolled gateways.
pub fn gateway_list(store: &Store, as_json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    let gateways = store.gateways()?;
    if as_json {
        let all: Vec<Json> = gateways
            .iter()
            .map(|gateway| {
                json!({
                    "gateway": gateway.number.0,
                    "site": gateway.site,
                    "added_s": gateway.added_s,
                    "heard_s": gateway.heard_s,
                    "rounds": gateway.rounds,
                    "schema": gateway.schema,
                    "cursors": gateway.cursors,
                    "until_s": gateway.until_s,
                    "revoked": gateway.revoked,
                })
            })
            .collect();
        return Ok(super::json(out, &Json::from(all))?);
    }
    line(out, &["gateway", "site", "added", "heard", "rounds", "schema", "certificate"])?;
    for gateway in gateways {
        let certificate = match (gateway.revoked, gateway.until_s) {
            (true, _) => "revoked".to_owned(),
            (false, 0) => "none: not enrolled".to_owned(),
            (false, until_s) => format!("until {}", text::time(until_s)),
        };
        line(
            out,
            &[
                &gateway.number.to_string(),
                &gateway.site,
                &text::time(gateway.added_s),
                &text::time(gateway.heard_s),
                &gateway.rounds.to_string(),
                &gateway.schema.to_string(),
                &certificate,
            ],
        )?;
    }
    Ok(())
}
