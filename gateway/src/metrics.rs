//! The figures of a gateway, in OpenMetrics text.
//!
//! Made anew from an [`Overview`] at each scrape. Names say the unit; labels are
//! tables of the schema, configured links and codes of problems, nothing that
//! others could make up. What is not known is left out, never 0.
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::links::LinkStatus;
use crate::live::Live;
use crate::overview::Overview;
use crate::store::costs::Costs;

type Labels = Vec<(&'static str, String)>;

/// The text of a scrape.
pub fn text(seen: &Overview) -> String {
    let mut page = Page(Registry::with_prefix("wadi_gateway"));
    page.whose(seen);
    page.stored(seen);
    page.around(seen);
    page.data(&seen.data);
    if let Some(live) = &seen.live {
        page.live(live);
    }
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
        self.family(name, help, family);
    }

    fn counters(&mut self, name: &str, help: &str, values: impl Iterator<Item = (Labels, u64)>) {
        let family: Family<Labels, Counter> = Family::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.family(name, help, family);
    }

    fn family(&mut self, name: &str, help: &str, family: impl Metric) {
        self.0.register(name, help, family);
    }

    fn whose(&mut self, seen: &Overview) {
        let labels = vec![
            ("site", seen.stored.site.clone()),
            ("gateway", seen.stored.gateway.to_string()),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ];
        self.gauges("info", "Whose figures these are", [(labels, 1)].into_iter());
        let problems = seen.problems.iter().map(|found| (vec![("code", found.code.into())], 1));
        self.gauges("problem", "Something to see to, by its code; see status", problems);
    }

    fn stored(&mut self, seen: &Overview) {
        let stored = &seen.stored;
        let pending = stored
            .pending
            .iter()
            .map(|table| (vec![("table", table.table.clone())], table.changes));
        self.gauges("pending_changes", "Changes that only this gateway has", pending);
        for (name, help, value) in [
            (
                "captured_changes",
                "Changes of other programs not in the changelog yet",
                stored.captured,
            ),
            ("held_changes", "Changes kept here at the hub's request", stored.held),
            (
                "parked_changes",
                "Changes at the hub that wait for a row they reference",
                stored.parked,
            ),
            ("quarantined_changes", "Changes that the hub put aside", stored.quarantined_changes),
            (
                "unlaid_changes",
                "Changes that could not be laid over the hub's state",
                stored.unlaid,
            ),
            ("changelog_changes", "Changes kept here whole", stored.changelog_changes),
            (
                "compacted_changes",
                "Changes let go, since a backup of the hub has them",
                stored.compacted_changes,
            ),
            (
                "hub_backup_sequence",
                "Up to which sequence the hub told of a backup; 0 = none",
                stored.backup_seq,
            ),
            ("review_rows", "Rows that wait for a person at the hub", stored.review_rows),
            ("shown_rows", "Rows shown", stored.rows),
            ("handhelds_waiting", "Handhelds that wait to be allowed", stored.handhelds_waiting),
            ("schema_version", "Version of the schema held; 0 = none", stored.schema.into()),
            ("hub_refuses", "Whether the hub refuses to go on", stored.refused.is_some().into()),
        ] {
            self.gauge(name, help, value);
        }
        self.gauge("last_round_age_seconds", "Since the last round", seen.last_round_age_s);
        self.gauge(
            "oldest_pending_age_seconds",
            "Of the oldest pending change",
            seen.oldest_pending_age_s,
        );
        self.counter("rounds", "Rounds committed", stored.rounds);
        self.counter(
            "lock_waits",
            "Waits for another program's lock that ran out",
            stored.lock_waits,
        );
    }

    fn around(&mut self, seen: &Overview) {
        let disk = &seen.disk;
        self.gauge("disk_free_bytes", "Free where the database lies", disk.free_bytes);
        self.gauge(
            "disk_total_bytes",
            "Of the file system where the database lies",
            disk.total_bytes,
        );
        let read_only = u64::from(disk.read_only);
        self.gauge("disk_read_only", "Whether the file system cannot be written", read_only);
        self.gauge("database_bytes", "Of the database file", disk.database_bytes);
        self.gauge("wal_bytes", "Of the database's write-ahead log", disk.wal_bytes);
        if let Some(offset_s) = seen.clock.hub_offset_s {
            let gauge: Gauge = Gauge::default();
            gauge.set(offset_s);
            self.0.register("clock_offset_seconds", "The hub's clock minus this one", gauge);
        }
        let confirmed = seen.clock.confirmed.map(u64::from);
        self.gauge("clock_confirmed", "Whether the hub confirmed this clock", confirmed);
        let ends_s = seen.certificate.map(|certificate| certificate.ends_s);
        self.gauge("certificate_end_timestamp_seconds", "When the certificate ends", ends_s);
    }

    fn data(&mut self, data: &Costs) {
        let month = &data.month;
        let each = month.each().into_iter();
        let purposes = each.map(|(what, bytes)| (vec![("purpose", what.word().into())], bytes));
        self.gauges("data_month_bytes", "Of IP in the month of the contract", purposes);
        self.gauge("data_today_bytes", "Of IP since midnight", data.today.bytes);
        self.gauge("data_month_budget_bytes", "The month's budget", month.budget_bytes);
        self.gauge("data_today_budget_bytes", "The day's budget", data.today.budget_bytes);
        let held = data.held_by.is_some();
        self.gauge("data_held", "Whether a budget or an hour holds changes back", u64::from(held));
    }

    fn live(&mut self, live: &Live) {
        self.gauge("uptime_seconds", "Since the gateway started", live.up_s);
        let scarce = u64::from(live.disk_scarce);
        self.gauge("disk_scarce", "Whether records are refused for want of room", scarce);
        let link = &live.link;
        self.gauge("link_connected", "Whether the broker is connected", u64::from(link.connected));
        self.gauge("link_state_seconds", "Since that is so", link.for_s);
        for (name, help, value) in [
            ("link_attempts", "Attempts to connect to the broker", link.attempts),
            ("link_connections", "Connections to the broker", link.connections),
            ("link_sent_messages", "Messages to the hub", link.sent_messages),
            ("link_sent_bytes", "Payload bytes to the hub", link.sent_bytes),
            ("link_received_messages", "Messages from the hub", link.received_messages),
            ("link_received_bytes", "Payload bytes from the hub", link.received_bytes),
            (
                "link_unreadable_messages",
                "Messages from the hub that could not be read",
                link.unreadable,
            ),
            ("hub_refusals", "Answers by which the hub refused to go on", link.refusals),
        ] {
            self.counter(name, help, value);
        }
        let sessions = live.local.iter().map(|link| link.sessions).sum::<u64>();
        self.gauge("handheld_sessions", "Handhelds being served", sessions);
        let local = |value: fn(&LinkStatus) -> u64| {
            live.local.iter().map(move |link| {
                let labels = vec![("kind", link.kind.name().into()), ("name", link.name.clone())];
                (labels, value(link))
            })
        };
        self.gauges(
            "local_link_open",
            "Whether handhelds can reach the gateway by it",
            local(|l| l.open.into()),
        );
        self.counters(
            "answered_questions",
            "Questions of handhelds answered",
            local(|l| l.answered),
        );
        self.counters(
            "garbled_frames",
            "Frames lost to noise; asked for again",
            local(|l| l.garbled_frames),
        );
        for (name, help, value) in [
            (
                "refused_questions",
                "Questions of handhelds refused",
                (|l| l.refused) as fn(&LinkStatus) -> u64,
            ),
            ("link_losses", "Local links lost: unplugged, or failed", |l| l.lost),
            ("babbling_stops", "Times that a babbling peer was not read for a while", |l| {
                l.babbling_stops
            }),
            ("turned_away", "Peers told to come back later, or hung up on", |l| l.turned_away),
            ("too_slow", "Peers that lost their place: silent, or slow to read", |l| l.too_slow),
        ] {
            self.counters(name, help, local(value));
        }
        self.counters("garbled_bytes", "Their bytes", local(|l| l.garbled_bytes));
    }
}
