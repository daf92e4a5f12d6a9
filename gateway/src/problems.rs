//! What somebody should see to at a gateway, and what to do about it.
//!
//! A plain function of an [`Overview`]: every bound is a named constant here.
//! That the network is away for days is what this is built for, and no problem;
//! what grows or lasts beyond its bound is.
use serde::Serialize;
use wadi_protocol::limits::{CLOCK_S_MAX, CLOCK_S_MIN};

use crate::links::LinkKind;
use crate::overview::Overview;
use crate::store::{CAPTURED_CHANGES_MAX, PENDING_CHANGES_MAX};
use crate::words;

/// Nothing synced for so long is a problem.
pub const SILENT_S_MAX: u64 = 3 * 86_400;
/// Less free room than this is a problem, bytes.
pub const FREE_BYTES_MIN: u64 = 200 << 20;
/// Less free room than this is a problem, percent.
pub const FREE_PERCENT_MIN: u64 = 5;
/// A larger write-ahead log is a problem, bytes: somebody keeps it from being folded.
pub const WAL_BYTES_MAX: u64 = 256 << 20;
/// A clock further from the hub's is a problem, seconds.
pub const CLOCK_OFFSET_S_MAX: u64 = 600;
/// A certificate with fewer days left is a problem: it renews itself long before.
pub const CERTIFICATE_DAYS_MIN: u64 = 20;
/// A backlog above so many hundredths of its limit is a problem.
pub const FULL_PERCENT_MAX: u64 = 80;
/// So many changes kept here, while the hub's backup lags behind by as many, are a problem.
pub const UNBACKED_CHANGES_MAX: u64 = 100_000;
/// A lock held too long is a problem for so long afterwards.
pub const LOCK_S_MAX: u64 = 86_400;

/// Something to see to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// A stable name, for programs.
    pub code: &'static str,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

fn problem(code: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Problem {
    Problem { code, text: text.into(), remedy: remedy.into() }
}

/// All of them, worst first.
pub fn of(seen: &Overview) -> Vec<Problem> {
    let all = [
        presence(seen),
        disk(seen),
        backlog(seen),
        backup(seen),
        refused(seen),
        certificate(seen),
        clock(seen),
        silence(seen),
        schema(seen),
        local(seen),
        others(seen),
    ];
    all.into_iter().flatten().collect()
}

fn presence(seen: &Overview) -> Vec<Problem> {
    match (seen.running, &seen.not_asked) {
        (Some(false), _) => vec![problem(
            "not-running",
            "the gateway does not run: handhelds cannot hand over, nothing is synced",
            "start it: systemctl start wadi-gateway",
        )],
        (None, Some(why)) => {
            vec![problem("not-asked", "the gateway could not be asked how it does", why)]
        }
        _ => Vec::new(),
    }
}

fn disk(seen: &Overview) -> Vec<Problem> {
    let disk = &seen.disk;
    let mut found = Vec::new();
    if disk.read_only {
        found.push(problem(
            "read-only",
            "the disk cannot be written: no records are taken, nothing is synced",
            "start the box again, so that the file system is checked; if it comes back, replace \
             the card: README, \"When the disk is full, or fails\"",
        ));
    }
    if seen.live.as_ref().is_some_and(|live| live.disk_scarce) {
        found.push(problem(
            "no-room",
            "the disk is so full that no records are taken; handhelds keep theirs",
            "make room now: remove old logs and files; it goes on by itself then",
        ));
    }
    let scarce = disk.free_bytes.is_some_and(|free| free < FREE_BYTES_MIN)
        || disk.free_percent.is_some_and(|percent| percent < FREE_PERCENT_MIN);
    if scarce {
        let free = words::bytes(disk.free_bytes.unwrap_or(0));
        found.push(problem(
            "disk",
            format!("the disk is nearly full: {free} free ({} %)", disk.free_percent.unwrap_or(0)),
            "make room before records are refused: remove old logs and files, or use a larger card",
        ));
    }
    if disk.wal_bytes > WAL_BYTES_MAX {
        found.push(problem(
            "wal",
            format!("the write-ahead log has grown to {}", words::bytes(disk.wal_bytes)),
            "some program keeps a transaction open on the database: end it",
        ));
    }
    found
}

fn backlog(seen: &Overview) -> Vec<Problem> {
    let stored = &seen.stored;
    let mut found = Vec::new();
    let waiting = stored.pending_changes + stored.held;
    if waiting >= PENDING_CHANGES_MAX / 100 * FULL_PERCENT_MAX {
        found.push(problem(
            "backlog",
            format!(
                "{waiting} changes wait for the hub; at {PENDING_CHANGES_MAX} no more are taken"
            ),
            "bring the gateway to a place with a network, or see below why it does not sync",
        ));
    }
    if stored.captured >= u64::from(CAPTURED_CHANGES_MAX) / 100 * FULL_PERCENT_MAX {
        found.push(problem(
            "captured",
            format!(
                "{} changes of other programs are not in the changelog yet; at {CAPTURED_CHANGES_MAX} their writes fail",
                stored.captured
            ),
            "the gateway takes them in while it runs: start it",
        ));
    }
    found
}

/// What the hub has is kept here all the same while no backup of the hub has it too.
fn backup(seen: &Overview) -> Vec<Problem> {
    let stored = &seen.stored;
    let kept = stored.changelog_changes.saturating_sub(stored.pending_changes + stored.held);
    let heard = stored.cursors.into_iter().max().unwrap_or(0);
    let behind = heard.saturating_sub(stored.backup_seq);
    if kept.min(behind) < UNBACKED_CHANGES_MAX {
        return Vec::new();
    }
    let last = match stored.backup_seq {
        0 => "it has told of none".to_owned(),
        _ => format!("the last one it told of ends {behind} changes ago"),
    };
    vec![problem(
        "backup",
        format!("{kept} changes are kept here until a backup of the hub holds them; {last}"),
        "run `wadi-hub backup` at the hub, best every night; nothing is lost meanwhile, but the \
         disk here fills",
    )]
}

fn refused(seen: &Overview) -> Vec<Problem> {
    let refused = seen.stored.refused.iter();
    refused
        .map(|why| {
            problem(
                "refused",
                format!("the hub refuses to go on: {why}"),
                "tell the hub's operators: `wadi-hub status` there says what to do; records stay \
                 safe here meanwhile",
            )
        })
        .collect()
}

fn certificate(seen: &Overview) -> Vec<Problem> {
    let Some(certificate) = &seen.certificate else {
        return Vec::new();
    };
    let remedy =
        "on the hub run `wadi-hub gateway enrol` for this site, and `wadi-gateway enrol` here";
    if certificate.ends_s <= seen.now_s {
        let when = words::day(certificate.ends_s);
        let text = format!("the certificate ended on {when}: the hub will not let this gateway in");
        return vec![problem("certificate", text, remedy)];
    }
    if certificate.days_left < CERTIFICATE_DAYS_MIN {
        let text = format!(
            "the certificate ends in {} days and has not been renewed",
            certificate.days_left
        );
        let remedy = format!("let it sync: that renews it; if it does sync, {remedy}");
        return vec![problem("certificate", text, remedy)];
    }
    Vec::new()
}

fn clock(seen: &Overview) -> Vec<Problem> {
    let says = format!("the clock says {}", words::time(seen.now_s));
    let remedy = "set it: timedatectl set-time, or let it reach a time server; what was seen first still wins, \
                  but times of records are wrong";
    let wrong = |text: String| vec![problem("clock", text, remedy)];
    if seen.now_s < CLOCK_S_MIN || seen.now_s > CLOCK_S_MAX {
        return wrong(format!("{says}, which cannot be"));
    }
    // What the hub told last is nearer to the truth than what it told once.
    if let Some(offset_s) = seen.clock.hub_offset_s {
        if offset_s.unsigned_abs() > CLOCK_OFFSET_S_MAX {
            let way = if offset_s > 0 { "behind" } else { "ahead of" };
            let by = words::span(offset_s.unsigned_abs());
            return wrong(format!("{says}, {by} {way} the hub's"));
        }
        return Vec::new();
    }
    if seen.clock.behind_s > CLOCK_OFFSET_S_MAX {
        let by = words::span(seen.clock.behind_s);
        return wrong(format!("{says}, {by} before what was known earlier"));
    }
    Vec::new()
}

fn silence(seen: &Overview) -> Vec<Problem> {
    let text = match (seen.stored.last_round_s, seen.last_round_age_s) {
        (Some(_), Some(age_s)) if age_s > SILENT_S_MAX => {
            format!("nothing was synced for {}", words::span(age_s))
        }
        _ => return Vec::new(),
    };
    let why = seen.live.as_ref().and_then(|live| live.link.last_error.as_deref());
    let remedy = match why {
        Some(why) => format!("check SIM, antenna and credit; the last attempt said: {why}"),
        None => "check SIM, antenna and credit, then run `wadi-gateway sync`".into(),
    };
    vec![problem("silent", text, remedy)]
}

fn schema(seen: &Overview) -> Vec<Problem> {
    if seen.stored.schema != 0 {
        return Vec::new();
    }
    vec![problem(
        "no-schema",
        "no schema yet: records are taken, but none is shown",
        "it comes with the first sync: run `wadi-gateway sync` where there is a network",
    )]
}

fn local(seen: &Overview) -> Vec<Problem> {
    let links = seen.live.iter().flat_map(|live| &live.local);
    links
        .filter(|link| !link.open)
        .map(|link| {
            let why = link.why.as_deref().unwrap_or("it does not open");
            let remedy = if link.kind == LinkKind::Lan {
                "check the address of [lan] listen in the configuration"
            } else {
                "plug the cable in, or correct its path in the configuration"
            };
            problem("link", format!("{}: {why}", link.name), remedy)
        })
        .collect()
}

fn others(seen: &Overview) -> Vec<Problem> {
    let stored = &seen.stored;
    let lately = |then_s: u64| seen.now_s.abs_diff(then_s) <= LOCK_S_MAX;
    if stored.lock_waits == 0 || !stored.last_lock_wait_s.is_none_or(lately) {
        return Vec::new();
    }
    vec![problem(
        "locked",
        format!("another program held the database for over 5 s, {} times", stored.lock_waits),
        "end its transactions sooner: handhelds hear \"busy\" meanwhile",
    )]
}
