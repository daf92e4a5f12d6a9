//! What the log says of a round at the hub, once its transaction is durable: a line when it
//! is prepared and when it is committed (both at once, where that was delegated), and one for
//! each of the first few changes that were put aside. Whose round it is the caller's span says.
use tracing::{debug, info, warn};
use wadi_protocol::change::TableRef;
use wadi_protocol::id::Dot;
use wadi_protocol::wire::batch::Batch;
use wadi_protocol::wire::message::{Outcome, Prepare};

use super::Catalog;

/// Quarantined changes of one round that get a line each; the rest are counted.
const LINES_MAX: usize = 10;

/// What a transaction did that is worth a line.
pub(super) enum Told {
    /// A changeset is whole and judged.
    Prepared { head: Prepare, page_bytes: usize, quarantined: usize },
    /// It is committed.
    Committed(Committed),
}

/// A committed round.
pub(super) struct Committed {
    pub head: Prepare,
    pub page_bytes: usize,
    pub outcomes: Vec<Outcome>,
    /// The changes that were put aside: the first few, each with its table and why.
    pub aside: Vec<(Dot, String, String)>,
    pub sequence: u64,
}

impl Told {
    /// To be called when the transaction is durable.
    pub(super) fn tell(self, round: u64) {
        match self {
            Told::Prepared { head, page_bytes, quarantined } => debug!(
                phase = "prepare",
                round,
                quarantined,
                bytes = head.bytes as usize + page_bytes,
                bytes_up = head.bytes,
                bytes_down = page_bytes,
                "a round is prepared"
            ),
            Told::Committed(committed) => committed.tell(round),
        }
    }
}

impl Committed {
    fn tell(self, round: u64) {
        let Committed { head, page_bytes, outcomes, aside, sequence } = self;
        let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|it| wanted(it)).count();
        let quarantined = count(|outcome| matches!(outcome, Outcome::Quarantined));
        for (dot, table, reason) in &aside {
            let (device, change) = (dot.device, dot);
            warn!(phase = "commit", round, %device, table, %change, reason, "quarantined");
        }
        if quarantined > aside.len() {
            let unlogged = quarantined - aside.len();
            warn!(phase = "commit", round, unlogged, "quarantined more: see `quarantine list`");
        }
        info!(
            phase = "commit",
            round,
            changes = outcomes.len(),
            quarantined,
            parked = count(|outcome| matches!(outcome, Outcome::Parked)),
            held = count(|outcome| matches!(outcome, Outcome::Held)),
            bytes = head.bytes as usize + page_bytes,
            bytes_up = head.bytes,
            bytes_down = page_bytes,
            sequence,
            "a round is committed"
        );
    }
}

/// The names of a batch's changes, before it is taken apart.
pub(super) fn names(batch: &Batch) -> Vec<(Dot, TableRef)> {
    batch.changes.iter().map(|change| (change.dot, change.table.clone())).collect()
}

/// The first changes that were put aside, each with its table and why.
pub(super) fn aside(
    catalog: &Catalog,
    names: Vec<(Dot, TableRef)>,
    outcomes: &[Outcome],
    verdicts: &[(u32, String)],
) -> Vec<(Dot, String, String)> {
    let aside = (0..).zip(names).zip(outcomes);
    let aside = aside.filter(|(_, outcome)| **outcome == Outcome::Quarantined);
    let told = aside.map(|((index, (dot, table)), _)| {
        let table = match table {
            TableRef::Number(number) => match catalog.table(number) {
                Ok(table) => table.name.clone(),
                Err(_) => number.to_string(),
            },
            TableRef::Name(name) => name,
        };
        let reason = verdicts.iter().find(|(at, _)| *at == index);
        let reason = reason.map_or("see `quarantine show`", |(_, reason)| reason.as_str());
        (dot, table, reason.to_owned())
    });
    told.take(LINES_MAX).collect()
}
