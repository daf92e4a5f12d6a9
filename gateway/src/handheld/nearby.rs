//! Which gateway of the local network a sync goes to, and what to say if that
//! is not clear. It looks and chooses; it connects to nobody.
use wadi_protocol::link::envelope::LINK_VERSION;

use super::sync::Place;
use super::synced::SyncError;
use crate::mdns::{self, FIND_TIMEOUT, Found};

/// Find the gateway of a site, or the only one that is there.
pub async fn nearby(site: Option<&str>) -> Result<Place, SyncError> {
    let found = mdns::find(site).await.map_err(|error| {
        SyncError::NoLink(format!("{error}; name the gateway's address with --tcp HOST:PORT"))
    })?;
    choose(site, found)
}

fn choose(site: Option<&str>, mut found: Vec<Found>) -> Result<Place, SyncError> {
    let seconds = FIND_TIMEOUT.as_secs();
    let listed = list(&found);
    if let Some(site) = site {
        found.retain(|found| found.site == site);
    }
    match (found.pop(), found.is_empty(), site) {
        (None, _, None) => Err(SyncError::NoLink(format!(
            "no gateway announced itself here within {seconds} s; check that this device is on the gateway's Wi-Fi and that the gateway runs with [lan] announce = true, or name its address with --tcp HOST:PORT"
        ))),
        (None, _, Some(site)) if listed.is_empty() => Err(SyncError::NoLink(format!(
            "no gateway announced site {site} here within {seconds} s, nor any other; check that this device is on the gateway's Wi-Fi and that the gateway runs with [lan] announce = true, or name its address with --tcp HOST:PORT"
        ))),
        (None, _, Some(site)) => Err(SyncError::NoLink(format!(
            "no gateway announced site {site} here within {seconds} s; there are: {listed}; name one of these"
        ))),
        (Some(_), false, _) => Err(SyncError::Unclear(format!(
            "several gateways are here: {listed}; name the site: sync --lan SITE"
        ))),
        (Some(only), true, _) if only.version != LINK_VERSION => Err(SyncError::Unclear(format!(
            "the gateway of site {} speaks version {} of the link and this handheld version {LINK_VERSION}; update the older one",
            only.site, only.version
        ))),
        (Some(only), true, _) => Ok(Place::Lan { site: only.site, addresses: only.addresses }),
    }
}

fn list(found: &[Found]) -> String {
    let one = |found: &Found| match found.addresses.first() {
        Some(address) => format!("{} ({address})", found.site),
        None => found.site.clone(),
    };
    found.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(site: &str, at: u8) -> Found {
        let addresses = vec![([10, 0, 0, at], 7420).into()];
        Found { site: site.into(), version: LINK_VERSION, addresses }
    }

    fn error(site: Option<&str>, found: Vec<Found>) -> String {
        choose(site, found).unwrap_err().to_string()
    }

    #[test]
    fn the_only_one_or_the_named_one_is_chosen() {
        let north = Place::Lan { site: "north".into(), addresses: found("north", 1).addresses };
        assert_eq!(choose(None, vec![found("north", 1)]).unwrap(), north);
        let both = vec![found("north", 1), found("south", 2)];
        assert_eq!(choose(Some("north"), both).unwrap(), north);
    }

    #[test]
    fn what_is_not_clear_is_told_with_what_to_do() {
        let both = vec![found("north", 1), found("south", 2)];
        for said in ["north (10.0.0.1:7420)", "south (10.0.0.2:7420)", "--lan SITE"] {
            assert!(error(None, both.clone()).contains(said), "{}", error(None, both));
        }
        let other = error(Some("west"), both);
        assert!(other.contains("west") && other.contains("south (10.0.0.2:7420)"), "{other}");
        for site in [None, Some("west")] {
            let nobody = error(site, vec![]);
            assert!(nobody.contains("Wi-Fi") && nobody.contains("--tcp"), "{nobody}");
        }
        let mut newer = found("north", 1);
        newer.version = LINK_VERSION + 1;
        assert!(error(None, vec![newer]).contains("update"));
    }
}
