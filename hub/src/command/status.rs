//! `wadi-hub status`: a page for operators, problems first, then every site,
//! worst first.
use std::io::Write;
use std::path::Path;

use super::{CommandError, line};
use crate::disk::Disk;
use crate::live;
use crate::overview::{MissingRow, Overview, SiteSeen};
use crate::store::Store;
use crate::words::{ago, bytes, count, span, time};

/// Problems that the page tells whole; the others show in the list of sites.
const PROBLEMS_SHOWN_MAX: usize = 20;
/// Rows that never came that the page names; JSON has more.
const MISSING_SHOWN_MAX: usize = 5;

/// How things stand; whether there is no problem.
pub fn status(
    store: &Store,
    database: &Path,
    as_json: bool,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<bool, CommandError> {
    let status = store.status()?;
    let seen = Overview::of(status, live::look(database), Disk::around(database), now_s);
    if as_json {
        let json = serde_json::to_value(&seen).expect("plain data always serialises");
        super::json(out, &json)?;
    } else {
        page(&seen, out)?;
    }
    Ok(seen.problems.is_empty())
}

/// The page.
fn page(seen: &Overview, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "hub, {}\n", time(seen.now_s))?;
    for problem in seen.problems.iter().take(PROBLEMS_SHOWN_MAX) {
        let site = problem.site.as_ref().map(|site| format!("site {site}: ")).unwrap_or_default();
        put(out, "PROBLEM", &format!("{site}{}", problem.text))?;
        put(out, "", &format!("-> {}", problem.remedy))?;
    }
    match seen.problems.len() {
        0 => put(out, "no problems", "")?,
        all if all > PROBLEMS_SHOWN_MAX => {
            put(out, "", &format!("and {} more, see the sites below", all - PROBLEMS_SHOWN_MAX))?;
        }
        _ => {}
    }
    writeln!(out)?;
    put(out, "serving", &serving(seen))?;
    for (at, text) in link(seen).iter().enumerate() {
        put(out, if at == 0 { "link" } else { "" }, text)?;
    }
    let schema = seen.schema.as_ref();
    let schema = schema.map(|schema| format!("{}, version {}", schema.name, schema.version));
    put(out, "schema", schema.as_deref().unwrap_or("none"))?;
    put(
        out,
        "changes",
        &format!(
            "{} applied, {} parked, {} in quarantine{}; sequence {}",
            seen.durable,
            seen.parked,
            seen.quarantined,
            if seen.rejected > 0 { format!(", {} rejected", seen.rejected) } else { String::new() },
            seen.head
        ),
    )?;
    for (at, row) in seen.missing_rows.iter().take(MISSING_SHOWN_MAX).enumerate() {
        put(out, if at == 0 { "missing" } else { "" }, &missing(row))?;
    }
    put(out, "conflicts", &conflicts(seen))?;
    put(out, "backup", &backup(seen))?;
    if seen.loss.last > 0 {
        put(out, "lost", &lost(seen))?;
    }
    put(out, "disk", &disk(&seen.disk))?;
    let rows: Vec<String> =
        seen.tables.iter().map(|(name, rows)| format!("{name} {rows}")).collect();
    put(out, "rows", &rows.join(", "))?;
    sites(seen, out)
}

fn put(out: &mut dyn Write, heading: &str, text: &str) -> std::io::Result<()> {
    // What came from elsewhere (reasons, names) must not move the cursor.
    let text: String =
        text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    writeln!(out, "{}", format!("{heading:<13} {text}").trim_end())
}

fn serving(seen: &Overview) -> String {
    match seen.serving {
        Some(true) => format!("yes, run {} began {}", seen.run, ago(seen.now_s, seen.run_s)),
        Some(false) => "no".into(),
        None => "not known: the lock file beside the database cannot be read".into(),
    }
}

fn link(seen: &Overview) -> Vec<String> {
    let Some(link) = &seen.link else { return Vec::new() };
    let (broker, since) = (&link.state.broker, span(link.for_s));
    if link.state.connected {
        return vec![format!("connected to the broker {broker} for {since}")];
    }
    let last = link.state.last_error.iter().map(|why| format!("last error: {why}"));
    std::iter::once(format!("no broker at {broker} for {since}")).chain(last).collect()
}

fn missing(row: &MissingRow) -> String {
    let MissingRow { table, row: id, changes, oldest_age_s, quarantined } = row;
    let wait = count(*changes, "parked change waits", "parked changes wait");
    let since = span(oldest_age_s.unwrap_or(0));
    let where_ = if *quarantined { "what makes it is in quarantine" } else { "nobody brought it" };
    format!("{table} {id}: {wait} for it, for {since}; {where_}")
}

fn conflicts(seen: &Overview) -> String {
    let cases = count(seen.reviews, "case waits", "cases wait");
    match seen.reviews_oldest_age_s {
        Some(age_s) => {
            format!("{}; {cases} for a person, the oldest for {}", seen.conflicts, span(age_s))
        }
        None => format!("{}; {cases} for a person", seen.conflicts),
    }
}

fn backup(seen: &Overview) -> String {
    let Some(backup) = seen.backup else {
        return "none was made".into();
    };
    let since = count(backup.sequences_since, "sequence", "sequences");
    format!("{} ({}), {since} since", ago(seen.now_s, backup.made_s), time(backup.made_s))
}

fn lost(seen: &Overview) -> String {
    let loss = &seen.loss;
    let lost = loss.last.saturating_sub(loss.fork);
    let unknown = lost.saturating_sub(loss.returned);
    format!(
        "a hub that is no more gave sequences {} to {}: {} came back, of {} nobody has returned what they were",
        loss.fork + 1,
        loss.last,
        loss.returned,
        unknown
    )
}

fn disk(disk: &Disk) -> String {
    let free = match (disk.free_bytes, disk.total_bytes) {
        (Some(free), Some(total)) => {
            let percent = disk.free_percent.unwrap_or(0);
            format!("{} free of {} ({percent} %)", bytes(free), bytes(total))
        }
        _ => "free room is not known".into(),
    };
    format!("{free}; database {}, its log {}", bytes(disk.database_bytes), bytes(disk.wal_bytes))
}

fn sites(seen: &Overview, out: &mut dyn Write) -> Result<(), CommandError> {
    if seen.sites.is_empty() {
        return Ok(writeln!(out, "\nno gateways: run `wadi-hub gateway add SITE`")?);
    }
    writeln!(out)?;
    let heading = [
        "site",
        "gateway",
        "heard",
        "last round",
        "rounds",
        "to fetch",
        "sequences behind",
        "schema",
        "parked",
        "quarantined",
        "reviews",
        "data 30 days",
        "problems",
    ];
    line(out, &heading)?;
    for site in &seen.sites {
        line(out, &cells(seen, site).each_ref().map(String::as_str))?;
    }
    Ok(())
}

fn cells(seen: &Overview, site: &SiteSeen) -> [String; 13] {
    let when = |then_s: u64| if then_s == 0 { "never".into() } else { ago(seen.now_s, then_s) };
    let to_fetch = match site.behind {
        Some(true) => "yes",
        Some(false) => "no",
        None => "perhaps",
    };
    let schema = match site.schema_behind {
        0 => site.schema.to_string(),
        behind => format!("{} ({behind} behind)", site.schema),
    };
    let problems = match (site.revoked, site.problems.join(", ")) {
        (true, problems) if problems.is_empty() => "(revoked)".into(),
        (true, problems) => format!("(revoked) {problems}"),
        (false, problems) if problems.is_empty() => "-".into(),
        (false, problems) => problems,
    };
    [
        site.site.clone(),
        site.gateway.to_string(),
        when(site.heard_s),
        when(site.round_s),
        site.rounds.to_string(),
        to_fetch.into(),
        site.sequences_behind.to_string(),
        schema,
        site.parked.to_string(),
        site.quarantined.to_string(),
        site.reviews.to_string(),
        site.data.as_ref().map_or_else(|| "-".into(), |data| bytes(data.bytes_30_days)),
        problems,
    ]
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
