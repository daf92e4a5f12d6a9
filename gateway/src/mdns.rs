//! Multicast DNS: a gateway announces itself as `_wadi._tcp`, handhelds find it.
//!
//! The instance is named after the site; the TXT record holds `site` and
//! `version` (of the link's messages). What is found is hearsay, anybody on the
//! network may claim a site: it leads to an address and proves nothing. The only
//! file that knows the mDNS crate.
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mdns_sd::{
    IfKind, IfPredicate, MDNS_PORT, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent,
    ServiceInfo,
};
use tokio::time::{Instant, timeout, timeout_at};
use wadi_protocol::limits::is_name;
use wadi_protocol::link::envelope::LINK_VERSION;

const SERVICE: &str = "_wadi._tcp.local.";
/// A number in this variable makes a test's own multicast DNS: on that UDP port,
/// over loopback too, where otherwise nothing is announced or sought.
const LOOPBACK_VARIABLE: &str = "WADITEST_MDNS_PORT";
/// How long a gateway is sought.
pub const FIND_TIMEOUT: Duration = Duration::from_secs(5);
/// After the first one, others have so long to answer too.
const OTHERS_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Sites that are listed; more are not looked at.
const SITES_MAX: usize = 32;
/// Addresses of one site that are tried.
const ADDRESSES_MAX: usize = 8;
/// For the farewell at the end.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(300);
/// Bytes of the host name that are taken from the site's name.
const HOST_BYTES_MAX: usize = 40;

/// What went wrong, in the crate's words.
#[derive(Debug, thiserror::Error)]
#[error("multicast DNS: {0}")]
pub struct MdnsError(#[from] mdns_sd::Error);

/// A gateway that is announced until it is withdrawn.
pub struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

/// A site that somebody announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Its name.
    pub site: String,
    /// The version of the link's messages that is spoken there; 0 = not said.
    pub version: u8,
    /// Where, best first.
    pub addresses: Vec<SocketAddr>,
}

/// Announce a site on the interfaces of a listener; none if that is loopback.
pub fn announce(
    site: &str,
    gateway: u32,
    listening: SocketAddr,
) -> Result<Option<Announcement>, MdnsError> {
    let address = listening.ip().to_canonical();
    if address.is_loopback() && test_port().is_none() {
        return Ok(None);
    }
    let daemon = daemon()?;
    let version = LINK_VERSION.to_string();
    let texts = [("site", site), ("version", version.as_str())];
    let host = host(site, gateway);
    let service = if address.is_unspecified() {
        ServiceInfo::new(SERVICE, site, &host, "", listening.port(), &texts[..])?.enable_addr_auto()
    } else {
        daemon.disable_interface(IfKind::All)?;
        daemon.enable_interface(IfKind::Addr(address))?;
        ServiceInfo::new(SERVICE, site, &host, address, listening.port(), &texts[..])?
    };
    let name = service.get_fullname().to_string();
    daemon.register(service)?;
    Ok(Some(Announcement { daemon, name }))
}

impl Announcement {
    /// Say farewell, so that nobody looks for us in vain.
    pub async fn withdraw(self) {
        // It runs out by itself if nobody hears the farewell.
        if let Ok(said) = self.daemon.unregister(&self.name) {
            let _ = timeout(FAREWELL_TIMEOUT, said.recv_async()).await;
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = timeout(FAREWELL_TIMEOUT, ended.recv_async()).await;
        }
    }
}

/// Look for sites: until the wanted one is found, or everybody had time to answer.
pub async fn find(wanted: Option<&str>) -> Result<Vec<Found>, MdnsError> {
    let daemon = daemon()?;
    let events = daemon.browse(SERVICE)?;
    let mut until = Instant::now() + FIND_TIMEOUT;
    let mut sites: BTreeMap<String, Found> = BTreeMap::new();
    while let Ok(Ok(event)) = timeout_at(until, events.recv_async()).await {
        let ServiceEvent::ServiceResolved(service) = event else {
            continue;
        };
        let Some(found) = understood(&service) else {
            continue;
        };
        if sites.len() >= SITES_MAX && !sites.contains_key(&found.site) {
            continue;
        }
        let known = sites
            .entry(found.site.clone())
            .or_insert_with(|| Found { addresses: Vec::new(), ..found.clone() });
        for address in found.addresses {
            if known.addresses.len() < ADDRESSES_MAX && !known.addresses.contains(&address) {
                known.addresses.push(address);
            }
        }
        match wanted {
            Some(wanted) if known.site == wanted => break,
            Some(_) => {}
            None => until = until.min(Instant::now() + OTHERS_TIMEOUT),
        }
    }
    let _ = daemon.shutdown();
    Ok(sites.into_values().collect())
}

/// What a stranger announces, if it can be used and shown.
pub fn understood(service: &ResolvedService) -> Option<Found> {
    let site = service.get_property_val_str("site")?;
    if !is_name(site) {
        return None;
    }
    let version = service.get_property_val_str("version").and_then(|text| text.parse().ok());
    let port = service.get_port();
    let mut addresses: Vec<SocketAddr> =
        service.get_addresses().iter().filter_map(|address| place(address, port)).collect();
    // Link-local addresses last: they need the right interface.
    addresses.sort_by_key(|address| match address {
        SocketAddr::V4(at) => (at.ip().is_link_local(), 0, *address),
        SocketAddr::V6(at) => (at.ip().is_unicast_link_local(), 1, *address),
    });
    addresses.truncate(ADDRESSES_MAX);
    let found = Found { site: site.into(), version: version.unwrap_or(0), addresses };
    (port > 0 && !found.addresses.is_empty()).then_some(found)
}

fn place(address: &ScopedIp, port: u16) -> Option<SocketAddr> {
    match address {
        ScopedIp::V6(at) => {
            Some(SocketAddrV6::new(*at.addr(), port, 0, at.scope_id().index).into())
        }
        other => match other.to_ip_addr() {
            IpAddr::V4(at) => Some(SocketAddr::from((at, port))),
            IpAddr::V6(_) => None,
        },
    }
}

/// A daemon that neither hears loopback nor spends a modem's bytes, except in tests.
fn daemon() -> Result<ServiceDaemon, MdnsError> {
    let test_port = test_port();
    let daemon = ServiceDaemon::new_with_port(test_port.unwrap_or(MDNS_PORT))?;
    if test_port.is_none() {
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    }
    daemon.disable_interface(IfKind::Predicate(IfPredicate::new(|found| is_modem(&found.name))))?;
    Ok(daemon)
}

/// Mobile networks by their kernel's or systemd's names.
fn is_modem(interface: &str) -> bool {
    ["ww", "ppp", "rmnet"].iter().any(|modem| interface.starts_with(modem))
}

fn test_port() -> Option<u16> {
    std::env::var(LOOPBACK_VARIABLE).ok()?.parse().ok()
}

/// A host name that no other gateway of the same hub has.
fn host(site: &str, gateway: u32) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let site: String = site.chars().map(plain).take(HOST_BYTES_MAX).collect();
    format!("wadi-{gateway}-{}.local.", site.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(texts: &[(&str, &str)], addresses: &str, port: u16) -> Option<Found> {
        let service = ServiceInfo::new(SERVICE, "x", "x.local.", addresses, port, texts).unwrap();
        understood(&service.as_resolved_service())
    }

    #[test]
    fn what_strangers_announce_is_understood_or_dropped() {
        let good = [("site", "north"), ("version", "1")];
        let found = announced(&good, "fe80::1,10.0.0.1,fd00::7,169.254.1.1", 7420).unwrap();
        assert_eq!((found.site.as_str(), found.version), ("north", 1));
        let shown: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
        let ordered = ["10.0.0.1:7420", "[fd00::7]:7420", "169.254.1.1:7420", "[fe80::1]:7420"];
        assert_eq!(shown, ordered);
        let odd = announced(&[("site", "north"), ("version", "many")], "10.0.0.1", 1).unwrap();
        assert_eq!(odd.version, 0);
        let long = "x".repeat(wadi_protocol::limits::NAME_BYTES_MAX + 1);
        for site in ["", "two\nlines", "\u{1b}[31mred", &long] {
            assert_eq!(announced(&[("site", site)], "10.0.0.1", 1), None, "{site:?}");
        }
        assert_eq!(announced(&[("version", "1")], "10.0.0.1", 1), None);
        assert_eq!(announced(&good, "10.0.0.1", 0), None);
        let crowd = (1..=200).map(|at| format!("10.0.0.{at}")).collect::<Vec<_>>().join(",");
        assert_eq!(announced(&good, &crowd, 1).unwrap().addresses.len(), ADDRESSES_MAX);
    }

    #[test]
    fn a_host_name_is_plain_and_a_modem_is_left_alone() {
        assert_eq!(host("Nord Süd.3", 7), "wadi-7-nord-s-d-3.local.");
        assert!(host(&"x".repeat(63), 1).len() < 63);
        assert!(is_modem("wwan0") && is_modem("wwp0s20u4") && is_modem("ppp0"));
        assert!(!is_modem("wlan0") && !is_modem("eth0"));
    }
}
