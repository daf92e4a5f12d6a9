//! What an operator should see to, and what to do about it.
//!
//! Plain functions of an [`Overview`]; every bound is a named constant here.
use serde::Serialize;
use wadi_protocol::limits::{CLOCK_S_MAX, CLOCK_S_MIN};

use crate::overview::{OtherLine, Overview, SiteSeen};
use crate::words;

/// A site that was not heard for so long is a problem.
pub const SILENT_S_MAX: u64 = 3 * 86_400;
/// A hub that has no broker for so long is a problem: no gateway reaches it.
pub const NO_BROKER_S_MAX: u64 = 60;
/// A change that waits for what it needs for so long is a problem.
pub const PARKED_S_MAX: u64 = 86_400;
/// A case that waits for a person for so long is a problem.
pub const REVIEW_S_MAX: u64 = 7 * 86_400;
/// A box with another history that was not heard for so long is a problem no more.
pub const OTHER_LINE_S_MAX: u64 = 7 * 86_400;
/// That a device was copied is told of for so long.
pub const COPIED_S_MAX: u64 = 30 * 86_400;
/// A hub without a backup for so long is a problem.
pub const BACKUP_S_MAX: u64 = 7 * 86_400;
/// Less free room than this is a problem, bytes.
pub const FREE_BYTES_MIN: u64 = 1 << 30;
/// Less free room than this is a problem, percent.
pub const FREE_PERCENT_MIN: u64 = 5;
/// A larger write-ahead log is a problem, bytes: somebody keeps it from being folded.
pub const WAL_BYTES_MAX: u64 = 1 << 30;

/// Codes of the problems of sites, worst first.
const SITE_CODES: [&str; 8] = [
    "other-line",
    "refused",
    "certificate",
    "silent",
    "never-heard",
    "never-synced",
    "quarantined",
    "parked",
];

/// Something to see to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// A stable name, for programs.
    pub code: &'static str,
    /// The site that it is about; none = the hub itself.
    pub site: Option<String>,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

/// Where a site's problem stands among others: the worst is 0.
pub fn rank(code: &str) -> usize {
    SITE_CODES.iter().position(|known| *known == code).unwrap_or(SITE_CODES.len())
}

/// Problems of the hub itself, worst first.
pub fn of_hub(seen: &Overview) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |code, text: String, remedy: &str| {
        found.push(Problem { code, site: None, text, remedy: remedy.into() });
    };
    if seen.serving == Some(false) {
        let text = "no hub serves: nothing is synced anywhere".into();
        say("not-serving", text, "start it: systemctl start wadi-hub");
    }
    if let Some(link) = &seen.link
        && !link.state.connected
        && link.for_s >= NO_BROKER_S_MAX
    {
        let (broker, for_) = (&link.state.broker, words::span(link.for_s));
        let text = format!("no broker at {broker} for {for_}: no gateway reaches this hub");
        say("no-broker", text, "check that it runs, and [broker] in the hub's configuration");
    }
    restored(seen, &mut say);
    let disk = &seen.disk;
    if disk.free_bytes.is_some_and(|free| free < FREE_BYTES_MIN)
        || disk.free_percent.is_some_and(|percent| percent < FREE_PERCENT_MIN)
    {
        let free = words::bytes(disk.free_bytes.unwrap_or(0));
        let percent = disk.free_percent.unwrap_or(0);
        let text = format!("the disk is nearly full: {free} free ({percent} %)");
        say("disk", text, "make room, or move the database to a larger disk");
    }
    if disk.wal_bytes > WAL_BYTES_MAX {
        let text = format!("the write-ahead log has grown to {}", words::bytes(disk.wal_bytes));
        say("wal", text, "some program keeps a transaction open on the database: end it");
    }
    if seen.now_s < CLOCK_S_MIN || seen.now_s > CLOCK_S_MAX {
        let text = format!("the clock says {}, which cannot be", words::time(seen.now_s));
        say("clock", text, "set it: gateways learn the time from here");
    }
    if seen.schema.is_none() {
        let text = "no schema: nothing that arrives can be shown".into();
        say("no-schema", text, "run `wadi-hub schema publish FILE`");
    }
    if let Some(text) = backup(seen) {
        say("backup", text, "run `wadi-hub backup`, best every night");
    }
    if let Some(first) = seen.large_rows.first() {
        let rows = words::count(seen.large_rows.len() as u64, "row is", "rows are");
        let text = format!("{rows} too large to travel to sites: {first}");
        say("large-row", text, "run `wadi-hub history TABLE ROW`: who writes so much into it?");
    }
    for copied in &seen.copied {
        if seen.now_s.saturating_sub(copied.noticed_s) <= COPIED_S_MAX {
            let [one, other] = &copied.runs;
            let text = format!(
                "device {} goes on in two places (runs {one} and {other}): its file was copied, or an \
                 older one put back; both count",
                copied.device
            );
            let remedy = "ask who has it: of two copies one should begin with a new file";
            say("copied-device", text, remedy);
        }
    }
    if let Some(age_s) = seen.reviews_oldest_age_s.filter(|age_s| *age_s > REVIEW_S_MAX) {
        let cases = words::count(seen.reviews, "case waits", "cases wait");
        let text = format!("{cases} for a person, the oldest for {}", words::span(age_s));
        say(
            "review",
            text,
            "run `wadi-hub review list`, then `review settle`, or `settle-alike` for many",
        );
    }
    found
}

/// What is to be done about a restored database.
fn restored(seen: &Overview, say: &mut impl FnMut(&'static str, String, &str)) {
    let loss = &seen.loss;
    let sites = loss.waiting.join(", ");
    let who = match sites.is_empty() {
        true => "no gateway is known yet that knows more".into(),
        false => format!("gateways of these sites know more: {sites}"),
    };
    let remedy = "publish again what was published of the schema since the backup, then run \
                  `wadi-hub resume`: gateways return what they still hold";
    if loss.stopped_s > 0 {
        let text = format!("the database was restored, and nothing is numbered: {who}");
        say("stopped", text, remedy);
    } else if !sites.is_empty() {
        let text = format!("this database is older than what gateways know of: {who}");
        say("lost", text, remedy);
    }
}

fn backup(seen: &Overview) -> Option<String> {
    match seen.backup {
        Some(backup) => {
            let age_s = backup.age_s.filter(|age_s| *age_s > BACKUP_S_MAX)?;
            Some(format!("the last backup is {} old", words::span(age_s)))
        }
        // A hub that has just begun has nothing to lose yet.
        None => {
            let age_s = seen.now_s.checked_sub(seen.began_s)?;
            let late = seen.began_s > 0 && seen.head > 0 && age_s > BACKUP_S_MAX;
            late.then(|| format!("no backup was ever made, in {}", words::span(age_s)))
        }
    }
}

/// Problems of a site, worst first.
pub fn of_site(site: &SiteSeen, now_s: u64) -> Vec<Problem> {
    let mut found = Vec::new();
    let expected = !site.revoked;
    let mut say = |code, text: String, remedy: &str| {
        let name = Some(site.site.clone());
        found.push(Problem { code, site: name, text, remedy: remedy.into() });
    };
    let other = site.other_line.as_ref().filter(|other| {
        other.last_s >= site.round_s || now_s.saturating_sub(other.last_s) <= OTHER_LINE_S_MAX
    });
    if let Some(other) = other.filter(|_| expected) {
        say("other-line", other_line(site, other), &how_to_rejoin(site, other));
    } else if expected && site.refusals > 0 && site.refused_s >= site.round_s.max(1) {
        let times = words::count(site.refusals, "time", "times");
        say(
            "refused",
            format!("its gateway is refused ({times}): {}", site.refusal),
            "see the hub's log",
        );
    }
    if expected && site.until_s > 0 && site.until_s <= now_s {
        say(
            "certificate",
            format!("the certificate of its gateway ended on {}", words::day(site.until_s)),
            "run `wadi-hub gateway enrol` for it, and `wadi-gateway enrol` on the box",
        );
    }
    match site.heard_age_s {
        _ if !expected => {}
        Some(age_s) if age_s > SILENT_S_MAX => say(
            "silent",
            format!("its gateway was not heard for {}", words::span(age_s)),
            "call the site: is the box on, is there credit on its SIM?",
        ),
        None if site.heard_s == 0 && now_s.saturating_sub(site.added_s) > SILENT_S_MAX => say(
            "never-heard",
            format!("its gateway was enrolled {} and never heard", words::ago(now_s, site.added_s)),
            "call the site: is the box installed, does its configuration name this hub's broker?",
        ),
        Some(_) if site.rounds == 0 && now_s.saturating_sub(site.added_s) > PARKED_S_MAX => say(
            "never-synced",
            "its gateway was heard, but never finished a round".into(),
            "see the hub's log, and `wadi-gateway status` on the box",
        ),
        _ => {}
    }
    if site.quarantined > 0 {
        let changes = words::count(site.quarantined, "change", "changes");
        say(
            "quarantined",
            format!("{changes} in quarantine: what was recorded breaks the schema"),
            "run `wadi-hub quarantine list`: what did people mean to record? Repair it, or reject it",
        );
    }
    if let Some(age_s) = site.parked_oldest_age_s.filter(|age_s| *age_s > PARKED_S_MAX) {
        let changes = words::count(site.parked, "change waits", "changes wait");
        say(
            "parked",
            format!("{changes} for rows that never came, the oldest for {}", words::span(age_s)),
            "below, `missing` names the rows: at another site that has not synced, or in quarantine",
        );
    }
    found
}

/// What is known of a box that comes with another history.
fn other_line(site: &SiteSeen, other: &OtherLine) -> String {
    let what = match other.empty {
        true => "an empty box: a new one, or it lost its database",
        false => "an older copy of its database, restored or cloned",
    };
    let until = match site.round_s > other.first_s {
        true => "; the box that the hub knows has synced meanwhile, so there are two",
        false => "",
    };
    format!("a box with another history comes under its number (run {}): {what}{until}", other.run)
}

fn how_to_rejoin(site: &SiteSeen, other: &OtherLine) -> String {
    let name = &site.site;
    match site.round_s > other.first_s {
        true => format!(
            "switch one of them off; to go on with this one instead run `wadi-hub gateway rejoin {name}`"
        ),
        false => format!(
            "if that is the site's box now, run `wadi-hub gateway rejoin {name}`: it gets what it lacks, \
             nothing is lost or counted twice"
        ),
    }
}
