//! What the log says of rounds, once each step is durable: a line when a round
//! begins, is prepared, asks for its commit and is over. Only what is over goes
//! at the level `info`: once a round. Nothing here decides anything.
use tracing::{debug, info};
use wadi_protocol::change::TableRef;
use wadi_protocol::round::gateway::{Changeset, GatewayRound, Phase, Write};
use wadi_protocol::schema::Schema;
use wadi_protocol::wire::message::{Committed, Outcome};

use super::round::GatewayStep;

/// The stage of a round, as the log's `phase`.
pub(super) fn stage(phase: &Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Preparing { .. } => "prepare",
        Phase::Fetching { .. } => "fetch",
        Phase::Committing { .. } => "commit",
        Phase::Aborting { .. } => "abort",
        Phase::Answered { .. } => "apply",
    }
}

/// A step that is durable. `page_bytes` is what was staged of the page before it.
pub(super) fn tell(before: &GatewayRound, step: &GatewayStep, page_bytes: u64) {
    let round = before.round;
    for write in &step.writes {
        match write {
            Write::Finish { committed, paged } => {
                let changeset = before.changeset().expect("what is committed was open");
                let bytes = committed.page.as_ref().map_or(page_bytes, |it| it.bytes.len() as u64);
                committed_as(round, changeset, committed, if *paged { bytes } else { 0 });
            }
            Write::Drop => info!(phase = "abort", round, "given up: its changes wait for the next"),
            Write::Recode { .. } => {
                debug!(phase = "prepare", round, "the hub has another model: written anew");
            }
            Write::StagePart(_) | Write::DropPage | Write::Restart { .. } => {}
        }
    }
    match (&before.phase, &step.next.phase) {
        (Phase::Idle, Phase::Preparing { changeset, .. }) => {
            let Changeset { bytes, changes, .. } = changeset;
            debug!(phase = "prepare", round, changes, bytes, "a round begins");
        }
        (Phase::Preparing { .. }, Phase::Fetching { changeset, page, .. }) => {
            let (changes, bytes) = (changeset.changes, page.bytes);
            debug!(phase = "prepare", round, changes, bytes, "prepared at the hub: its page comes");
        }
        (Phase::Fetching { .. }, Phase::Committing { changeset, .. }) => {
            let changes = changeset.changes;
            debug!(phase = "commit", round, changes, "prepared here: the hub is asked to commit");
        }
        _ => {}
    }
}

fn committed_as(round: u64, changeset: &Changeset, committed: &Committed, page_bytes: u64) {
    let count = |wanted: fn(&Outcome) -> bool| -> u64 {
        let of = committed.outcomes.iter().filter(|(_, outcome)| wanted(outcome));
        of.map(|(count, _)| u64::from(*count)).sum()
    };
    let bytes_up = u64::from(changeset.bytes);
    info!(
        phase = "apply",
        round,
        changes = changeset.changes,
        quarantined = count(|outcome| matches!(outcome, Outcome::Quarantined)),
        parked = count(|outcome| matches!(outcome, Outcome::Parked)),
        held = count(|outcome| matches!(outcome, Outcome::Held)),
        bytes = bytes_up + page_bytes,
        bytes_up,
        bytes_down = page_bytes,
        more = committed.more,
        "a round is committed, and applied here"
    );
}

/// A table by its name; as it was referred to where the schema does not have it.
pub(super) fn table_name(schema: Option<&Schema>, table: &TableRef) -> String {
    match table {
        TableRef::Number(number) => match schema.and_then(|schema| schema.table(*number)) {
            Some(table) => table.name.clone(),
            None => number.to_string(),
        },
        TableRef::Name(name) => name.clone(),
    }
}
