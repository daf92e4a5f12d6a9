//! Who may do what at the embedded broker: decided here, enforced there.
//!
//! Behind TLS a connection is known by its certificate, which the front leaves
//! here under the port from which it goes on to the broker. On loopback
//! without TLS whoever is on this machine may name a gateway; messages carry
//! tags in any case. Everything that is not allowed is denied.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::pki_types::{CertificateDer, ServerName};
use wadi_protocol::id::GatewayId;

use crate::identity::{HUB_CLIENT, Subject};

/// Client ids of gateways, before their number.
const GATEWAY_CLIENT: &str = "wadi-gateway-";

/// What counts of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its newest enrolment; 0 = none.
    pub enrolment: u32,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denied {
    /// The client id is not one of ours.
    Client,
    /// The certificate, the secret or the place is not that of the client id.
    NotYou,
    /// Revoked, enrolled anew since, or never enrolled.
    NotEnrolled,
}

/// The door of the embedded broker.
pub struct Door {
    /// What the hub itself shows.
    hub_secret: String,
    /// Whether connections come through the TLS front.
    fronted: bool,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    roster: HashMap<GatewayId, Entry>,
    /// Certificates of connections that go on to the broker, by their local port.
    certificates: HashMap<u16, CertificateDer<'static>>,
}

impl Door {
    /// A door that lets nobody but the hub in until it has a roster.
    pub fn new(hub_secret: String, fronted: bool) -> Door {
        Door { hub_secret, fronted, inside: Mutex::default() }
    }

    /// What the hub itself shows.
    pub fn hub_secret(&self) -> &str {
        &self.hub_secret
    }

    /// Who is enrolled now.
    pub fn set_roster(&self, roster: HashMap<GatewayId, Entry>) {
        self.inside().roster = roster;
    }

    /// A connection goes on to the broker from this port of ours.
    pub fn enter(&self, port: u16, certificate: CertificateDer<'static>) {
        self.inside().certificates.insert(port, certificate);
    }

    /// It ended.
    pub fn leave(&self, port: u16) {
        self.inside().certificates.remove(&port);
    }

    /// Whether a client may connect.
    pub fn may_connect(
        &self,
        from: SocketAddr,
        client: &str,
        password: Option<&[u8]>,
    ) -> Result<(), Denied> {
        if client == HUB_CLIENT {
            let known = password.is_some_and(|shown| same(shown, self.hub_secret.as_bytes()));
            return if known { Ok(()) } else { Err(Denied::NotYou) };
        }
        let gateway = gateway_of(client).ok_or(Denied::Client)?;
        let inside = self.inside();
        if !self.fronted {
            return inside.entry(gateway).map(drop);
        }
        let certificate = inside.certificates.get(&from.port()).ok_or(Denied::NotYou)?;
        if !from.ip().is_loopback() || !names(certificate, gateway) {
            return Err(Denied::NotYou);
        }
        let entry = inside.entry(gateway)?;
        let newest = Subject::name(gateway, entry.enrolment);
        if is_for(certificate, &newest) { Ok(()) } else { Err(Denied::NotEnrolled) }
    }

    /// Whether a connected client may publish to a topic.
    pub fn may_publish(&self, client: &str, topic: &str) -> bool {
        if client == HUB_CLIENT {
            return topic.starts_with("wadi/") && topic.ends_with("/down");
        }
        gateway_of(client).is_some_and(|gateway| {
            topic == format!("wadi/{gateway}/up") && self.inside().entry(gateway).is_ok()
        })
    }

    /// Whether a connected client may listen to a filter of topics.
    pub fn may_subscribe(&self, client: &str, filter: &str) -> bool {
        if client == HUB_CLIENT {
            return filter == "wadi/+/up";
        }
        gateway_of(client).is_some_and(|gateway| {
            filter == format!("wadi/{gateway}/down") && self.inside().entry(gateway).is_ok()
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Every change is one assignment: there is no half-made state to be afraid of.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn entry(&self, gateway: GatewayId) -> Result<Entry, Denied> {
        let entry = self.roster.get(&gateway).copied();
        entry.filter(|entry| entry.enrolment > 0 && !entry.revoked).ok_or(Denied::NotEnrolled)
    }
}

/// The gateway of a client id. One spelling only: no signs, no leading zeros.
fn gateway_of(client: &str) -> Option<GatewayId> {
    let digits = client.strip_prefix(GATEWAY_CLIENT)?;
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(GatewayId(number))
}

/// Whether a certificate is one of any enrolment of a gateway.
fn names(certificate: &CertificateDer<'_>, gateway: GatewayId) -> bool {
    let tail = Subject::name(gateway, 0).split_once('.').map(|(_, tail)| tail.to_owned());
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else {
        return false;
    };
    let mut names = certificate.valid_dns_names();
    tail.is_some_and(|tail| {
        names.any(|name| name.split_once('.').is_some_and(|(_, rest)| rest == tail))
    })
}

fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else {
        return false;
    };
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.verify_is_valid_for_subject_name(&name).is_ok())
}

/// Compares without telling by its time where they differ.
fn same(shown: &[u8], secret: &[u8]) -> bool {
    shown.len() == secret.len()
        && shown.iter().zip(secret).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
