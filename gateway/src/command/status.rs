//! `wadi-gateway status`: a page for whoever stands before the box, or helps
//! by telephone. Problems first, each with what to do; then what is where.
use std::io::Write;

use super::{CommandError, to_json};
use crate::links::{LinkKind, LinkStatus};
use crate::live::Live;
use crate::overview::Overview;
use crate::spending::Purpose;
use crate::store::costs::{Costs, Period};
use crate::words::{ago, bytes, count, day, span, time};

/// Quarantined changes that the page names; JSON has more.
const QUARANTINED_SHOWN_MAX: usize = 10;

/// Show an overview as a page or as JSON; whether there is no problem.
pub fn status(seen: &Overview, json: bool, out: &mut dyn Write) -> Result<bool, CommandError> {
    if json {
        writeln!(out, "{}", to_json(seen))?;
    } else {
        out.write_all(page(seen).as_bytes())?;
    }
    Ok(seen.problems.is_empty())
}

/// The page: a heading for each line, or for several.
struct Page(String);

impl Page {
    /// Lines below one heading; nothing if there are none.
    fn put(&mut self, heading: &str, lines: Vec<String>) {
        let mut heading = heading;
        for line in lines {
            self.0 += &format!("{heading:<13} {}\n", plain(&line));
            heading = "";
        }
    }
}

/// What came from elsewhere (reasons, names) must not move the cursor.
fn plain(line: &str) -> String {
    line.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

fn page(seen: &Overview) -> String {
    let stored = &seen.stored;
    let mut page = Page(format!(
        "gateway {} of site {}, {}\n\n",
        stored.gateway,
        plain(&stored.site),
        time(seen.now_s)
    ));
    for problem in &seen.problems {
        page.put("PROBLEM", vec![problem.text.clone(), format!("-> {}", problem.remedy)]);
    }
    if seen.problems.is_empty() {
        page.put("no problems", vec![String::new()]);
    }
    page.0 += "\n";
    page.put("last sync", vec![last_sync(seen)]);
    page.put("pending", pending(seen));
    page.put("waiting", waiting(seen));
    page.put("link", link(seen));
    page.put("data", data(seen));
    page.put("handhelds", local(seen));
    page.put("disk", vec![disk(seen)]);
    page.put("changelog", vec![changelog(seen)]);
    page.put("clock", vec![clock(seen)]);
    page.put("certificate", certificate(seen));
    page.put("backlog", trend(seen));
    page.put("schema", vec![schema(seen)]);
    // Headings without a text leave blanks behind.
    page.0.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn last_sync(seen: &Overview) -> String {
    let stored = &seen.stored;
    let now = match stored.phase {
        "idle" => String::new(),
        phase => format!("; round {} is under way ({phase})", stored.round),
    };
    match stored.last_round_s {
        None => format!("never{now}"),
        Some(when) => format!(
            "{} ({}), {}{now}",
            ago(seen.now_s, when),
            time(when),
            count(stored.rounds, "round", "rounds")
        ),
    }
}

fn pending(seen: &Overview) -> Vec<String> {
    let stored = &seen.stored;
    let Some(oldest_s) = stored.oldest_pending_s else {
        return vec!["nothing: all is durable at the hub".into()];
    };
    let mut lines = vec![format!(
        "{} for the hub, the oldest taken {}",
        count(stored.pending_changes, "change waits", "changes wait"),
        ago(seen.now_s, oldest_s)
    )];
    for table in &stored.pending {
        let since = ago(seen.now_s, table.oldest_s);
        lines.push(format!("{:>8} {:<20} oldest {since}", table.changes, table.table));
    }
    lines
}

fn waiting(seen: &Overview) -> Vec<String> {
    let stored = &seen.stored;
    // Without a schema nothing can be shown, and nothing is wrong with it.
    let unfit = if stored.schema == 0 { 0 } else { stored.unlaid };
    let kinds = [
        (
            stored.handhelds_waiting,
            "handheld",
            "handhelds",
            "to be allowed here: wadi-gateway handheld list",
        ),
        (stored.review_rows, "row", "rows", "for a person at the hub (review)"),
        (stored.parked, "change", "changes", "at the hub for a row that they reference (parked)"),
        (stored.held, "change", "changes", "here at the hub's request (held)"),
        (
            stored.quarantined_changes,
            "change",
            "changes",
            "put aside at the hub, where operators have them whole (quarantined)",
        ),
        (unfit, "change", "changes", "not shown here: no fit for the schema; the hub will judge"),
        (stored.captured, "change", "changes", "of other programs, to be taken in here"),
    ];
    let mut lines: Vec<String> = kinds
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, several, why)| format!("{} {why}", count(number, one, several)))
        .collect();
    for change in stored.quarantined.iter().take(QUARANTINED_SHOWN_MAX) {
        lines.push(format!("  {}: {}", change.dot, change.reason));
    }
    let left = stored.quarantined_changes.saturating_sub(QUARANTINED_SHOWN_MAX as u64);
    if left > 0 {
        lines.push(format!("  and {left} more: see --json and ledger"));
    }
    if lines.is_empty() {
        lines.push("for nobody".into());
    }
    lines
}

fn link(seen: &Overview) -> Vec<String> {
    let Some(Live { link, up_s, .. }) = &seen.live else {
        return vec!["not known: the gateway was not asked".into()];
    };
    let since = span(link.for_s);
    let mut lines = Vec::new();
    if link.connected {
        lines.push(format!("connected to the broker {} for {since}", link.broker));
    } else if let Some(held) = &link.held {
        lines.push(format!("away from the broker {} for {since}: {held}", link.broker));
    } else if link.left {
        let back = span(link.next_attempt_s.unwrap_or(0));
        lines.push(format!(
            "left the broker {} {since} ago, for pings cost more than to come back: in {back}, or with the next change",
            link.broker
        ));
    } else {
        let next = match link.next_attempt_s {
            Some(wait_s) => format!("next attempt in {}", span(wait_s)),
            None => "trying now".into(),
        };
        lines.push(format!("no broker at {} for {since}; {next}", link.broker));
    }
    if let (Some(why), Some(age_s)) = (&link.last_error, link.last_error_age_s) {
        lines.push(format!("last error {} ago: {why}", span(age_s)));
    }
    lines.push(format!(
        "in {}: sent {}, received {}; {} of {} led to a connection",
        span(*up_s),
        bytes(link.sent_bytes),
        bytes(link.received_bytes),
        link.connections,
        count(link.attempts, "attempt", "attempts"),
    ));
    if link.refusals > 0 || link.unreadable > 0 {
        lines.push(format!(
            "the hub refused {}, {} could not be read",
            count(link.refusals, "time", "times"),
            count(link.unreadable, "message", "messages")
        ));
    }
    lines
}

fn data(seen: &Overview) -> Vec<String> {
    let Costs { today, month, .. } = &seen.data;
    let of = |period: &Period| match period.budget_bytes {
        Some(budget) => format!("{} of {}", bytes(period.counted_bytes), bytes(budget)),
        None => bytes(period.bytes),
    };
    let mut lines = Vec::new();
    lines.extend(seen.data.held.clone());
    lines.push(format!("{} today, {} in this month", of(today), of(month)));
    if month.bytes > 0 {
        let word = |purpose: Purpose| match purpose {
            Purpose::Connect => "to connect",
            Purpose::Others => "other programs",
            Purpose::Payload | Purpose::Protocol | Purpose::Idle => purpose.word(),
        };
        let told = month.each().into_iter().filter(|(_, spent)| *spent > 0);
        let told: Vec<String> =
            told.map(|(what, spent)| format!("{} {}", word(what), bytes(spent))).collect();
        lines.push(told.join(", "));
    }
    if seen.data.last_round.total() > 0 {
        let rounds = count(seen.data.rounds_today, "round", "rounds");
        lines.push(format!("{rounds} today, the last of {}", bytes(seen.data.last_round.total())));
    }
    lines
}

fn local(seen: &Overview) -> Vec<String> {
    let links = seen.live.iter().flat_map(|live| &live.local);
    links.map(local_link).collect()
}

fn local_link(link: &LinkStatus) -> String {
    let mut line = match (link.open, &link.why) {
        (true, _) if link.kind == LinkKind::Lan => {
            format!("{}: {} open", link.name, count(link.sessions, "session", "sessions"))
        }
        (true, _) => format!("{}: open for {}", link.name, span(link.for_s)),
        (false, why) => format!(
            "{}: closed for {}: {}",
            link.name,
            span(link.for_s),
            why.as_deref().unwrap_or("it does not open")
        ),
    };
    line += &format!(", {}", count(link.answered, "question answered", "questions answered"));
    if link.garbled_frames > 0 {
        let frames = count(link.garbled_frames, "garbled frame", "garbled frames");
        line += &format!(", {frames} ({}): asked for again", bytes(link.garbled_bytes));
    }
    line
}

fn disk(seen: &Overview) -> String {
    let disk = &seen.disk;
    let free = match (disk.free_bytes, disk.total_bytes) {
        (Some(free), Some(total)) => {
            let percent = disk.free_percent.unwrap_or(0);
            format!("{} free of {} ({percent} %)", bytes(free), bytes(total))
        }
        _ => "free room is not known".into(),
    };
    format!("{free}; database {}, its log {}", bytes(disk.database_bytes), bytes(disk.wal_bytes))
}

fn changelog(seen: &Overview) -> String {
    let stored = &seen.stored;
    let mut line = count(stored.changelog_changes, "change kept whole", "changes kept whole");
    if stored.compacted_changes > 0 {
        line += &format!(", {} let go", stored.compacted_changes);
    }
    match stored.backup_seq {
        0 => line + "; the hub has told of no backup",
        seq => line + &format!("; the hub's backup holds all up to sequence {seq}"),
    }
}

fn clock(seen: &Overview) -> String {
    match (seen.clock.confirmed, seen.clock.hub_offset_s) {
        (Some(confirmed), Some(offset_s)) => {
            let by = span(offset_s.unsigned_abs());
            let way = if offset_s < 0 { "ahead of" } else { "behind" };
            let word = if confirmed { "confirmed by the hub" } else { "NOT confirmed by the hub" };
            if offset_s == 0 {
                format!("{word}, the same")
            } else {
                format!("{word}, {by} {way} it")
            }
        }
        (Some(_), None) => "not confirmed by the hub since the start".into(),
        _ if seen.stored.learnt_s == 0 => "the hub has told no time yet".into(),
        _ => format!("the latest time known is {}", time(seen.stored.learnt_s)),
    }
}

fn certificate(seen: &Overview) -> Vec<String> {
    let certificate = seen.certificate.iter();
    certificate
        .map(|certificate| {
            let left = count(certificate.days_left, "day left", "days left");
            format!("{left}, to {}", day(certificate.ends_s))
        })
        .collect()
}

fn trend(seen: &Overview) -> Vec<String> {
    let trend = seen.live.iter().filter_map(|live| live.trend);
    trend
        .map(|trend| {
            let by = trend.waiting.abs_diff(trend.before);
            let over = span(trend.over_s);
            match trend.waiting.cmp(&trend.before) {
                std::cmp::Ordering::Less => format!("{by} fewer changes wait than {over} ago"),
                std::cmp::Ordering::Equal => format!("as many changes wait as {over} ago"),
                std::cmp::Ordering::Greater => format!("{by} more changes wait than {over} ago"),
            }
        })
        .collect()
}

fn schema(seen: &Overview) -> String {
    match seen.stored.schema {
        0 => "none".into(),
        version => format!("version {version}; {} shown", count(seen.stored.rows, "row", "rows")),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
