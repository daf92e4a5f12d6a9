//! Whether a row is there, by its own changes: deletes against what they missed.
//!
//! Existence is a field of its own that inserts, deletes and an operator's
//! settles touch. A delete candidate is *contested* if it missed a concurrent
//! change in some field. An update that had seen the delete does not revive the
//! row; only an insert or a settle that follows the delete does. Where the table's
//! policy is `review`, a contested delete waits until an insert or a settle follows it.
use alloc::vec;
use alloc::vec::Vec;

use super::history::{History, affirms, deletes};
use super::standing::Standing;
use super::{Existence, Image};
use crate::change::{Change, Op};
use crate::schema::DeletePolicy;

/// Decide it; indices are places. `existence` stands for the field of that name,
/// `standings` for the fields with values (in `record` mode the row).
pub(super) fn resolve(
    policy: DeletePolicy,
    base: Option<&Image>,
    history: &History<'_>,
    existence: &Standing,
    standings: &[&Standing],
) -> Existence {
    let change = |place: usize| history.change(place);
    let marks = |who: &dyn Fn(&Change) -> bool| -> Vec<u64> {
        let members = existence.graph.members.iter();
        members.map(|&place| u64::from(who(change(place)))).collect()
    };
    // What no change of these kinds follows, among the changes of these kinds.
    let last = |who: &dyn Fn(&Change) -> bool, among: &dyn Fn(&Change) -> bool| -> Vec<usize> {
        let followed = existence.graph.after(&marks(who));
        let members = existence.graph.members.iter().zip(followed);
        let last = members.filter(|&(&place, followed)| followed == 0 && among(change(place)));
        last.map(|(&place, _)| place).collect()
    };
    let any = |change: &Change| affirms(change) || deletes(change);
    let candidates = last(&any, &any);
    let asking: Vec<usize> =
        candidates.iter().copied().filter(|&place| deletes(change(place))).collect();

    let missed = contested(&asking, existence, standings);
    let conflict = candidates.len() > 1 || missed.contains(&true);
    let unopposed = asking.iter().zip(&missed).filter(|(_, missed)| !**missed);
    let unopposed: Vec<usize> = unopposed.map(|(&place, _)| place).collect();
    // Another delete does not close a case, even if its writer had seen both sides.
    let closes = |change: &Change| any(change) && change.op != Op::Delete;
    let review = policy == DeletePolicy::Review && {
        let open = last(&closes, &deletes);
        contested(&open, existence, standings).contains(&true)
    };
    let deletes = match policy {
        DeletePolicy::DeleteWins => asking,
        DeletePolicy::UpdateWins => unopposed,
        DeletePolicy::Review if review => Vec::new(),
        DeletePolicy::Review => asking,
    };
    let op = |op: Op| history.changes.iter().any(|placed| placed.change.op == op);
    let inserted =
        op(Op::Insert) || base.is_some_and(|base| base.live || op(Op::Update) || op(Op::Settle));
    Existence { inserted, deletes, candidates, conflict: conflict || review, review }
}

/// Which of these deletes missed a change, in any field that it touches, that had
/// not seen the delete either. 64 deletes at a time.
fn contested(asks: &[usize], existence: &Standing, standings: &[&Standing]) -> Vec<bool> {
    let mut contested = vec![0u64; asks.len().div_ceil(64)];
    for (block, contested) in asks.chunks(64).zip(&mut contested) {
        for standing in standings.iter().copied().chain([existence]) {
            let graph = &standing.graph;
            let mut own = vec![0u64; graph.members.len()];
            for (at, place) in block.iter().enumerate() {
                let node = graph.members.binary_search(place);
                own[node.expect("a delete touches every field")] |= 1 << at;
            }
            let (after, before) = (graph.after(&own), graph.before(&own));
            let all = u64::MAX >> (64 - block.len());
            let edits = (0..own.len()).filter(|&node| standing.edit[node]);
            *contested |= edits
                .fold(0, |missed, node| missed | all & !(after[node] | before[node] | own[node]));
        }
    }
    (0..asks.len()).map(|at| contested[at / 64] >> (at % 64) & 1 == 1).collect()
}
