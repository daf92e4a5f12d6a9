//! The figures of a hub, in OpenMetrics text.
//!
//! Made anew from an [`Overview`] and the [`Counts`] at each scrape. Names say
//! the unit; labels are enrolled sites, as many as the broker takes, and codes of
//! problems: nothing that others could make up. What is not known is left out.
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::live::Counts;
use crate::overview::{Overview, SiteSeen};

/// Sites with figures of their own, the worst first; no broker of ours takes more.
const SITES_MAX: usize = 2_000;

type Labels = Vec<(&'static str, String)>;

/// The text of a scrape.
pub fn text(seen: &Overview, counts: &Counts) -> String {
    let mut page = Page(Registry::with_prefix("wadi_hub"));
    page.hub(seen);
    page.sites(&seen.sites);
    page.counts(counts);
    let mut text = String::new();
    encode(&mut text, &page.0).expect("a string takes whatever is written");
    text
}

struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<u64>>) {
        if let Some(value) = value.into() {
            let gauge: Gauge<u64, AtomicU64> = Gauge::default();
            gauge.set(value);
            self.0.register(name, help, gauge);
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        self.0.register(name, help, counter);
    }

    fn gauges(&mut self, name: &str, help: &str, values: impl Iterator<Item = (Labels, u64)>) {
        let family: Family<Labels, Gauge<u64, AtomicU64>> = Family::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    fn hub(&mut self, seen: &Overview) {
        let version = vec![("version", env!("CARGO_PKG_VERSION").into())];
        self.gauges("info", "The program", [(version, 1)].into_iter());
        let hub = seen.problems.iter().filter(|problem| problem.site.is_none());
        let hub = hub.map(|problem| (vec![("code", problem.code.into())], 1));
        self.gauges("problem", "Something to see to at the hub, by its code", hub);
        for (name, help, value) in [
            ("head_sequence", "The hub sequence", seen.head),
            ("applied_changes", "Changes applied, operators' own left out", seen.durable),
            ("parked_changes", "Changes that wait for what they need", seen.parked),
            ("quarantined_changes", "Changes in quarantine", seen.quarantined),
            ("conflicts", "Fields with two or more candidates", seen.conflicts),
            ("open_reviews", "Cases that wait for a person", seen.reviews),
            ("sites", "Sites enrolled", seen.sites.len() as u64),
            ("database_bytes", "Of the database file", seen.disk.database_bytes),
            ("wal_bytes", "Of the database's write-ahead log", seen.disk.wal_bytes),
        ] {
            self.gauge(name, help, value);
        }
        self.gauge(
            "schema_version",
            "Version published",
            seen.schema.as_ref().map(|s| s.version.into()),
        );
        self.gauge(
            "oldest_review_age_seconds",
            "Of the oldest open case",
            seen.reviews_oldest_age_s,
        );
        self.gauge("disk_free_bytes", "Free where the database lies", seen.disk.free_bytes);
        self.gauge(
            "disk_total_bytes",
            "Of the file system where the database lies",
            seen.disk.total_bytes,
        );
        let backup = seen.backup;
        self.gauge("backup_age_seconds", "Of the last backup", backup.and_then(|b| b.age_s));
        self.gauge("backup_sequence", "That the last backup holds", backup.map(|b| b.seq));
    }

    fn sites(&mut self, sites: &[SiteSeen]) {
        let sites = &sites[..sites.len().min(SITES_MAX)];
        let mut each = |name, help, value: fn(&SiteSeen) -> Option<u64>| {
            let values = sites
                .iter()
                .filter_map(|site| Some((vec![("site", site.site.clone())], value(site)?)));
            self.gauges(name, help, values);
        };
        each("site_heard_age_seconds", "Since its gateway was heard", |s| s.heard_age_s);
        each("site_last_round_age_seconds", "Since its last round", |s| s.round_age_s);
        each("site_rounds_committed", "Rounds committed since it was enrolled", |s| Some(s.rounds));
        each("site_to_fetch", "Whether there is something for it to fetch", |s| {
            s.behind.map(u64::from)
        });
        each("site_sequences_behind", "Hub sequences that it has not passed", |s| {
            Some(s.sequences_behind)
        });
        each("site_schema_versions_behind", "Schema versions that it lacks", |s| {
            Some(s.schema_behind.into())
        });
        each("site_parked_changes", "Its changes that wait for what they need", |s| Some(s.parked));
        each("site_quarantined_changes", "Its changes in quarantine", |s| Some(s.quarantined));
        each("site_open_reviews", "Open cases about rows that it brought", |s| Some(s.reviews));
        each("site_times_refused", "Refusals since it was enrolled", |s| Some(s.refusals));
        let data = sites.iter().filter_map(|site| Some((site, site.data.as_ref()?)));
        let data = data.flat_map(|(site, data)| {
            let each = [
                ("payload", data.payload),
                ("protocol", data.protocol),
                ("connect", data.connect),
                ("idle", data.idle),
                ("others", data.others),
            ];
            let labels =
                |purpose: &str| vec![("site", site.site.clone()), ("purpose", purpose.into())];
            each.map(|(purpose, bytes)| (labels(purpose), bytes))
        });
        self.gauges("site_data_bytes_30_days", "What its link cost, in bytes of IP", data);
        let problems = sites.iter().flat_map(|site| {
            let codes = site.problems.iter();
            codes.map(|code| (vec![("site", site.site.clone()), ("code", (*code).into())], 1))
        });
        self.gauges("site_problem", "Something to see to at a site, by its code", problems);
    }

    fn counts(&mut self, counts: &Counts) {
        let connected = counts.connections.get() > counts.disconnections.get();
        self.gauge("link_connected", "Whether the broker is connected", u64::from(connected));
        for (name, help, count) in [
            ("link_connections", "Connections to the broker", &counts.connections),
            ("received_messages", "Messages of gateways", &counts.heard),
            ("received_bytes", "Their payload bytes", &counts.heard_bytes),
            (
                "inbox_dropped_messages",
                "Messages that the store could not keep up with; gateways ask again",
                &counts.dropped,
            ),
            ("unreadable_messages", "Messages that could not be read", &counts.unreadable),
            ("stray_messages", "Messages on no gateway's topic", &counts.stray),
            (
                "forged_messages",
                "Messages without the tag of their topic's gateway",
                &counts.forged,
            ),
            ("refused_messages", "Messages that were refused", &counts.refused),
            ("sent_messages", "Messages to gateways", &counts.sent),
            ("sent_bytes", "Their payload bytes", &counts.sent_bytes),
        ] {
            self.counter(name, help, count.get());
        }
    }
}
