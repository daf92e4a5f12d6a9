//! Everything that is to be known of a gateway, put together: what the file
//! says, what the running gateway says, room and time around them.
//!
//! A plain function of facts; `status`, `status --json` and the figures all show
//! this. The JSON is stable: programs rely on its names, which are the fields
//! here, of [`Status`], [`Live`] and [`Disk`]. A key may be added; a test
//! (`command/status.keys`) tells of one that goes.
//! Times are seconds since 1970; ages are seconds before `now_s`.
use serde::Serialize;

use crate::config::Config;
use crate::control::Presence;
use crate::disk::Disk;
use crate::live::Live;
use crate::problems::{self, Problem};
use crate::store::StoreError;
use crate::store::costs::{self, Costs};
use crate::store::status::{self, Status, Term};

/// One picture of a gateway.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Overview {
    /// What somebody should see to, worst first.
    pub problems: Vec<Problem>,
    /// The system's time.
    pub now_s: u64,
    /// What the file says.
    #[serde(flatten)]
    pub stored: Status,
    /// Age of the last round; none = never synced, or the clock says that it lies ahead.
    pub last_round_age_s: Option<u64>,
    /// Age of the oldest pending change.
    pub oldest_pending_age_s: Option<u64>,
    /// Whether the gateway runs; none = it could not be asked.
    pub running: Option<bool>,
    /// Why it could not be asked.
    pub not_asked: Option<String>,
    /// What the running gateway says.
    pub live: Option<Live>,
    /// What the link cost, and may.
    pub data: Costs,
    /// Room.
    pub disk: Disk,
    /// Time.
    pub clock: Clock,
    /// The certificate by which the hub knows this gateway; none = not enrolled with one.
    pub certificate: Option<Certificate>,
}

/// How the system's time stands against the hub's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Clock {
    /// Whether the hub has confirmed it since the gateway started; none = it does not run.
    pub confirmed: Option<bool>,
    /// The hub's clock minus this one in seconds, when it told last.
    pub hub_offset_s: Option<i64>,
    /// Seconds by which this clock lies before the latest time known.
    pub behind_s: u64,
}

/// A certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Certificate {
    /// When it ends.
    pub ends_s: u64,
    /// Whole days left; 0 = less than one, or it is over.
    pub days_left: u64,
}

/// The facts of an [`Overview`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// What the file says.
    pub stored: Status,
    /// What the running gateway says.
    pub presence: Presence,
    /// What the link cost, and may.
    pub data: Costs,
    /// Room.
    pub disk: Disk,
    /// The system's time.
    pub now_s: u64,
    /// When the certificate ends, if there is one.
    pub certificate_ends_s: Option<u64>,
}

/// Look at a gateway: its file and the room around it, beside what it said itself.
/// `enrolled` is of its identity; what the hub renewed since counts instead.
pub fn see(
    config: &Config,
    presence: Presence,
    now_s: u64,
    enrolled: Option<Term>,
) -> Result<Overview, StoreError> {
    let database = &config.database;
    let stored = status::read(database)?;
    let data = costs::read(database, &config.data, now_s)?;
    let counts =
        |own: Term| stored.renewed.filter(|term| term.enrolment == own.enrolment).unwrap_or(own);
    let certificate_ends_s = enrolled.map(|own| counts(own).until_s);
    let disk = Disk::around(database);
    Ok(Overview::of(Facts { stored, presence, data, disk, now_s, certificate_ends_s }))
}

impl Overview {
    /// Put facts together.
    pub fn of(facts: Facts) -> Overview {
        let Facts { mut stored, presence, data, disk, now_s, certificate_ends_s } = facts;
        for table in &mut stored.pending {
            table.oldest_age_s = now_s.saturating_sub(table.oldest_s);
        }
        let (running, live, not_asked) = match presence {
            Presence::Running(live) => (Some(true), Some(*live), None),
            Presence::Absent => (Some(false), None, None),
            Presence::Unknown(why) => (None, None, Some(why)),
        };
        let age = |then_s: Option<u64>| then_s.and_then(|then_s| now_s.checked_sub(then_s));
        let mut overview = Overview {
            problems: Vec::new(),
            now_s,
            last_round_age_s: age(stored.last_round_s),
            oldest_pending_age_s: age(stored.oldest_pending_s),
            clock: Clock {
                confirmed: live.as_ref().map(|live| live.clock_confirmed),
                hub_offset_s: live.as_ref().and_then(|live| live.hub_offset_s),
                behind_s: stored.learnt_s.saturating_sub(now_s),
            },
            certificate: certificate_ends_s.map(|ends_s| Certificate {
                ends_s,
                days_left: ends_s.saturating_sub(now_s) / 86_400,
            }),
            stored,
            running,
            not_asked,
            live,
            data,
            disk,
        };
        overview.problems = problems::of(&overview);
        overview
    }
}
