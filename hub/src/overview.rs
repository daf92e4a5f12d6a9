//! Everything that is to be known of a hub and its sites, put together, with
//! what somebody should see to.
//!
//! A plain function of facts; `status`, `status --json` and the figures all show
//! this. The JSON is stable: programs rely on its names, which are the fields
//! here. A key may be added; a test (`command/status.keys`)
//! tells of one that goes. Times are seconds since 1970, 0 = never; ages are
//! seconds before `now_s`, none = never, or the clock says that it lies ahead.
use std::collections::BTreeMap;

use serde::Serialize;
use wadi_protocol::schema::LANES;

use crate::disk::Disk;
use crate::live::{LinkState, Presence};
use crate::problems::{self, Problem};
use crate::store::backup::Watermark;
use crate::store::copied::Copied;
use crate::store::spent::Costs;
use crate::store::status::{Site, Status};
use crate::words::day;

/// One picture of a hub.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Overview {
    /// What somebody should see to, worst first.
    pub problems: Vec<Problem>,
    /// The system's time.
    pub now_s: u64,
    /// Whether a hub serves; none = that cannot be found out.
    pub serving: Option<bool>,
    /// Its link to the broker; none = it does not serve, or has not told.
    pub link: Option<LinkSeen>,
    /// The hub's run.
    pub run: String,
    /// When it began.
    pub run_s: u64,
    /// When the first run began.
    pub began_s: u64,
    /// The hub sequence.
    pub head: u64,
    /// The schema; none = none was published.
    pub schema: Option<SchemaSeen>,
    /// Live rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// Changes applied, operators' own left out.
    pub durable: u64,
    /// Changes that wait for what they need.
    pub parked: u64,
    /// Changes in quarantine that nobody has rejected.
    pub quarantined: u64,
    /// Changes that operators rejected.
    pub rejected: u64,
    /// Rows that parked changes wait for, longest first, the first few.
    pub missing_rows: Vec<MissingRow>,
    /// Rows that are too large to travel to sites, the first few: table and id.
    pub large_rows: Vec<String>,
    /// Fields with two or more candidates, and deletes that were not obeyed.
    pub conflicts: u64,
    /// Cases that wait for a person.
    pub reviews: u64,
    /// Age of the oldest of them.
    pub reviews_oldest_age_s: Option<u64>,
    /// The last backup; none = none was made.
    pub backup: Option<Backup>,
    /// What is known of a loss, if the database was restored from an older backup.
    pub loss: LossSeen,
    /// Devices that go on in two places, the latest first.
    pub copied: Vec<CopiedSeen>,
    /// Room.
    pub disk: Disk,
    /// Every site, worst first.
    pub sites: Vec<SiteSeen>,
}

/// The link to the broker.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LinkSeen {
    /// How it is.
    #[serde(flatten)]
    pub state: LinkState,
    /// For how many seconds.
    pub for_s: u64,
}

/// A schema.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SchemaSeen {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

/// A backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Backup {
    /// The hub sequence that it holds.
    pub seq: u64,
    /// When it was made.
    pub made_s: u64,
    /// How long ago.
    pub age_s: Option<u64>,
    /// Sequences since.
    pub sequences_since: u64,
}

/// A device whose file was copied, or put back from an older copy.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CopiedSeen {
    /// Its name.
    pub device: String,
    /// The two runs in which it goes on.
    pub runs: [String; 2],
    /// When that was noticed.
    pub noticed_s: u64,
}

/// What a restored database lacks.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LossSeen {
    /// Since when nothing is numbered; 0 = it is.
    pub stopped_s: u64,
    /// Sites whose gateways know more, and no operator has confirmed it.
    pub waiting: Vec<String>,
    /// The last sequence that the lost hub and this one have alike.
    pub fork: u64,
    /// The last one that the lost hub is known to have given; 0 = none is known to be lost.
    pub last: u64,
    /// How many of those between them came back.
    pub returned: u64,
}

/// A row that parked changes wait for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MissingRow {
    /// Its table.
    pub table: String,
    /// Its id.
    pub row: String,
    /// How many changes wait for it, of the oldest that wait at all.
    pub changes: u64,
    /// For how long the first of them has.
    pub oldest_age_s: Option<u64>,
    /// Whether what makes it is in quarantine.
    pub quarantined: bool,
}

/// One site.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SiteSeen {
    /// Codes of its problems, worst first.
    pub problems: Vec<&'static str>,
    /// Its gateway's number.
    pub gateway: u32,
    /// Its name.
    pub site: String,
    /// When its gateway was enrolled.
    pub added_s: u64,
    /// When its gateway was heard last.
    pub heard_s: u64,
    /// How long ago.
    pub heard_age_s: Option<u64>,
    /// Rounds committed.
    pub rounds: u64,
    /// When the last one was.
    pub round_s: u64,
    /// How long ago.
    pub round_age_s: Option<u64>,
    /// The schema version that it holds; 0 = none.
    pub schema: u32,
    /// Versions that it is behind.
    pub schema_behind: u32,
    /// How far it has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// Whether there is something for it to fetch; none = not found out within the bound.
    pub behind: Option<bool>,
    /// Hub sequences that it has not passed yet, the slower lane's.
    pub sequences_behind: u64,
    /// Its changes that wait for what they need.
    pub parked: u64,
    /// Age of the oldest of them.
    pub parked_oldest_age_s: Option<u64>,
    /// Its changes in quarantine.
    pub quarantined: u64,
    /// What its link cost, as far as it told.
    pub data: Option<DataSeen>,
    /// Cases that wait for a person, about rows that it brought.
    pub reviews: u64,
    /// When the certificate of its gateway ends; 0 = not enrolled yet.
    pub until_s: u64,
    /// Whether its gateway was revoked: it is not expected to come then.
    pub revoked: bool,
    /// How often it was refused.
    pub refusals: u64,
    /// When last.
    pub refused_s: u64,
    /// Why then.
    pub refusal: String,
    /// The box that comes under its number with another history than the hub's; none = none does.
    pub other_line: Option<OtherLine>,
}

/// What a gateway's link cost, in bytes of IP both ways together: on the last day that it told
/// of, and in the 30 days to that.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DataSeen {
    /// That day, by the site's calendar.
    pub day: String,
    /// On it.
    pub day_bytes: u64,
    /// In the 30 days.
    pub bytes_30_days: u64,
    /// Changesets and pages, as coded.
    pub payload: u64,
    /// What carried them.
    pub protocol: u64,
    /// To connect.
    pub connect: u64,
    /// To keep an idle connection.
    pub idle: u64,
    /// Of other programs, where an interface is counted whole.
    pub others: u64,
}

impl DataSeen {
    fn of(costs: Costs) -> DataSeen {
        DataSeen {
            day: day(costs.day.saturating_mul(86_400)),
            day_bytes: costs.day_bytes,
            bytes_30_days: costs.total(),
            payload: costs.payload,
            protocol: costs.protocol,
            connect: costs.connect,
            idle: costs.idle,
            others: costs.others,
        }
    }
}

/// A box that was restored, cloned or replaced, and not taken.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct OtherLine {
    /// Its run when it came last.
    pub run: String,
    /// Whether it never finished a round: a new box, or one that lost its database.
    pub empty: bool,
    /// How far it has the hub's sequence, a lane each.
    pub cursors: [u64; LANES],
    /// When it came first.
    pub first_s: u64,
    /// When it came last.
    pub last_s: u64,
    /// How long ago.
    pub last_age_s: Option<u64>,
}

impl Overview {
    /// Put facts together.
    pub fn of(status: Status, presence: Presence, disk: Disk, now_s: u64) -> Overview {
        let newest = status.schema.as_ref().map_or(0, |(_, version)| *version);
        let head = status.head;
        let large = status.large.iter().map(|(table, row)| format!("{table} {row}"));
        let missing = status.missing.into_iter().map(|missing| MissingRow {
            table: missing.table,
            row: missing.row.to_string(),
            changes: missing.changes,
            oldest_age_s: age(now_s, missing.since_s),
            quarantined: missing.quarantined,
        });
        let mut overview = Overview {
            problems: Vec::new(),
            now_s,
            serving: presence.serving,
            link: presence.link.map(|state| {
                let for_s = now_s.saturating_sub(state.since_s);
                LinkSeen { state, for_s }
            }),
            run: status.run.to_string(),
            run_s: status.run_s,
            began_s: status.began_s,
            head,
            schema: status.schema.map(|(name, version)| SchemaSeen { name, version }),
            tables: status.tables.into_iter().collect(),
            durable: status.durable,
            parked: status.parked,
            quarantined: status.quarantined,
            rejected: status.rejected,
            conflicts: status.conflicts,
            missing_rows: missing.collect(),
            large_rows: large.collect(),
            reviews: status.reviews,
            reviews_oldest_age_s: age(now_s, status.reviews_oldest_s),
            backup: status.backup.map(|Watermark { seq, s: made_s, .. }| Backup {
                seq,
                made_s,
                age_s: age(now_s, made_s),
                sequences_since: head.saturating_sub(seq),
            }),
            loss: LossSeen {
                stopped_s: status.loss.stopped_s,
                waiting: status.loss.waiting,
                fork: status.loss.fork,
                last: status.loss.last,
                returned: status.loss.returned,
            },
            copied: status.copied.into_iter().map(copied).collect(),
            disk,
            sites: status.sites.into_iter().map(|site| seen(site, newest, now_s)).collect(),
        };
        let mut of_sites = Vec::new();
        for site in &mut overview.sites {
            let found = problems::of_site(site, now_s);
            site.problems = found.iter().map(|problem| problem.code).collect();
            let heard_s = site.heard_s;
            of_sites.extend(found.into_iter().map(|problem| (heard_s, problem)));
        }
        // Worst first, then whoever was silent longest.
        of_sites.sort_by_key(|(heard_s, problem)| (problems::rank(problem.code), *heard_s));
        overview.sites.sort_by_key(|site| {
            let worst = site.problems.first().map_or(usize::MAX, |code| problems::rank(code));
            (worst, site.heard_s, site.gateway)
        });
        overview.problems = problems::of_hub(&overview);
        overview.problems.extend(of_sites.into_iter().map(|(_, problem)| problem));
        overview
    }
}

fn copied(copied: Copied) -> CopiedSeen {
    let runs = [copied.runs.0.to_string(), copied.runs.1.to_string()];
    CopiedSeen { device: copied.label, runs, noticed_s: copied.noticed_s }
}

fn seen(site: Site, newest: u32, now_s: u64) -> SiteSeen {
    SiteSeen {
        problems: Vec::new(),
        gateway: site.gateway.number.0,
        site: site.gateway.site,
        added_s: site.gateway.added_s,
        heard_s: site.gateway.heard_s,
        heard_age_s: age(now_s, site.gateway.heard_s),
        rounds: site.gateway.rounds,
        round_s: site.round_s,
        round_age_s: age(now_s, site.round_s),
        schema: site.gateway.schema,
        schema_behind: newest.saturating_sub(site.gateway.schema),
        cursors: site.gateway.cursors,
        behind: site.behind,
        sequences_behind: site.sequences_behind,
        parked: site.parked.count,
        parked_oldest_age_s: age(now_s, site.parked.oldest_s),
        quarantined: site.quarantined.count,
        data: site.costs.map(DataSeen::of),
        reviews: site.reviews.count,
        until_s: site.gateway.until_s,
        revoked: site.gateway.revoked,
        refusals: site.refusals,
        refused_s: site.refused_s,
        refusal: site.refusal,
        other_line: site.other_line.map(|other| OtherLine {
            run: other.run.to_string(),
            empty: other.is_empty(),
            cursors: other.cursors,
            first_s: other.first_s,
            last_s: other.last_s,
            last_age_s: age(now_s, other.last_s),
        }),
    }
}

/// How long before `now_s`; none for never and for what lies ahead.
fn age(now_s: u64, then_s: u64) -> Option<u64> {
    now_s.checked_sub(then_s).filter(|_| then_s > 0)
}
