//! `wadi-hub ledger --against`: whether the accounts of gateways and the hub's agree,
//! change by change, and which changes are in none of them.
//!
//! A gateway may be behind the hub (the answer to its last round is on its way) and
//! may have what the hub has not. It never has as committed what is not so here.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::{CommandError, line};
use crate::store::Store;
use crate::store::ledger::{Ledger, Run};

/// A gateway's account of more bytes is none.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Here: nothing of it came in.
const NOWHERE: &str = "-";

/// What `wadi-gateway ledger --json` writes, as far as it is compared.
#[derive(Debug, Deserialize)]
struct Account {
    site: String,
    runs: Vec<AccountRun>,
    faults: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct AccountRun {
    device: String,
    run: String,
    stretches: Vec<(u64, u64, String)>,
}

/// How the accounts stand to each other.
#[derive(Debug, Default)]
struct Agreement {
    /// Changes by site, custody there, custody here.
    states: BTreeMap<(String, String, &'static str), u64>,
    /// What cannot be.
    wrong: Vec<String>,
    /// Stretches that the hub lacks and no account has, by run.
    missing: Vec<String>,
}

/// Compare the hub's ledger with gateways' accounts; false if they contradict.
pub fn agreement(
    store: &Store,
    files: &[PathBuf],
    as_json: bool,
    out: &mut dyn Write,
) -> Result<bool, CommandError> {
    let accounts = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let found = compare(&store.ledger()?, &accounts);
    let agree = found.wrong.is_empty();
    if as_json {
        let state = |((site, there, here), changes): (&(String, String, &str), &u64)| json!({ "site": site, "there": there, "here": here, "changes": changes });
        let states: Vec<_> = found.states.iter().map(state).collect();
        let (wrong, missing) = (&found.wrong, &found.missing);
        super::json(
            out,
            &json!({ "agree": agree, "states": states, "wrong": wrong, "missing": missing }),
        )?;
        return Ok(agree);
    }
    line(out, &["site", "there", "here", "changes"])?;
    for ((site, there, here), changes) in &found.states {
        line(out, &[site, there, here, &changes.to_string()])?;
    }
    found.missing.iter().try_for_each(|missing| writeln!(out, "MISSING: {missing}"))?;
    found.wrong.iter().try_for_each(|wrong| writeln!(out, "WRONG: {wrong}"))?;
    Ok(agree)
}

fn read(file: &Path) -> Result<Account, CommandError> {
    let bad = |reason: String| CommandError::File { file: file.display().to_string(), reason };
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| bad(error.to_string()))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(bad(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    serde_json::from_str(&text).map_err(|error| {
        bad(format!("{error}; it must be what `wadi-gateway ledger --json` wrote"))
    })
}

fn compare(ledger: &Ledger, accounts: &[Account]) -> Agreement {
    let mut found = Agreement::default();
    let ours: BTreeMap<(String, String), &Run> = ledger
        .runs
        .iter()
        .map(|run| ((run.device.to_string(), run.run.to_string()), run))
        .collect();
    found.wrong.extend(ledger.wrong.iter().map(|wrong| format!("here: {wrong}")));
    // What the hub lacks and somebody accounts for, by run.
    let mut elsewhere: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
    for account in accounts {
        let site = &account.site;
        found.wrong.extend(account.faults.iter().map(|fault| format!("site {site}: {fault}")));
        for run in &account.runs {
            let key = (run.device.clone(), run.run.clone());
            let held = ours.get(&key).copied();
            for (first, last, there) in &run.stretches {
                for (from, to, here) in pieces(held, (*first, *last)) {
                    let state = (site.clone(), there.clone(), here);
                    *found.states.entry(state).or_default() += to - from + 1;
                    if here == NOWHERE {
                        elsewhere.entry(key.clone()).or_default().push((from, to));
                    }
                    if !may_be(there, here, held, from) {
                        let dots = dots(&key, (from, to));
                        found
                            .wrong
                            .push(format!("site {site}: {dots}: {there} there, {here} here"));
                    }
                }
            }
        }
    }
    for (key, run) in &ours {
        let known = elsewhere.get(key).map(Vec::as_slice).unwrap_or_default();
        for gap in run.gaps.iter().flat_map(|gap| without(*gap, known)) {
            found.missing.push(format!(
                "{} of {}: in none of these accounts; on a handheld, at another gateway, or lost",
                dots(key, gap),
                run.label
            ));
        }
    }
    found
}

/// A stretch, cut where the custody here changes.
fn pieces(run: Option<&Run>, (first, last): (u64, u64)) -> Vec<(u64, u64, &'static str)> {
    let mut pieces = Vec::new();
    let mut next = first;
    let held = run.map(|run| run.stretches.as_slice()).unwrap_or_default();
    for &(from, to, here) in held.iter().filter(|(from, to, _)| *from <= last && *to >= first) {
        if from > next {
            pieces.push((next, from - 1, NOWHERE));
        }
        pieces.push((from.max(next), to.min(last), here));
        next = to.saturating_add(1);
    }
    if next <= last {
        pieces.push((next, last, NOWHERE));
    }
    pieces
}

/// Whether a gateway may believe this of changes that stand so here.
fn may_be(there: &str, here: &str, run: Option<&Run>, seq: u64) -> bool {
    match (there, here) {
        ("committed", "committed") | ("parked", "parked" | "committed") => true,
        ("quarantined", "quarantined") => true,
        // It was put aside since another change has its number.
        ("quarantined", _) => run.is_some_and(|run| run.clashing.binary_search(&seq).is_ok()),
        // The answer is on its way, or the changes are still to come.
        ("pending" | "held", _) => true,
        _ => false,
    }
}

/// What of a stretch lies in none of the others.
fn without((first, last): (u64, u64), others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut others = others.to_vec();
    others.sort_unstable();
    let mut rest = Vec::new();
    let mut next = first;
    for (from, to) in others.into_iter().filter(|(from, to)| *from <= last && *to >= first) {
        if from > next {
            rest.push((next, from - 1));
        }
        next = next.max(to.saturating_add(1));
    }
    if next <= last {
        rest.push((next, last));
    }
    rest
}

fn dots((device, run): &(String, String), (first, last): (u64, u64)) -> String {
    match first == last {
        true => format!("{device}.{run}.{first}"),
        false => format!("{device}.{run}.{first} to {last}"),
    }
}

#[cfg(test)]
#[path = "agreement_tests.rs"]
mod tests;
