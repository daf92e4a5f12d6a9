//! Rulings: what operators decide about one change, by its dot.
//!
//! A ruling has a dot and a stamp of its own, and is never changed or taken
//! back. What a change counts as is a function of the set of rulings about it,
//! in whatever order they came:
//!
//! - *repair*: a change that breaks the schema counts with these values, at its own
//!   place: its dot, its stamp and what it had seen stay. Of several the greatest
//!   (stamp, dot) counts.
//! - *reject*: it is never applied, for this reason. A repair outdoes every reject,
//!   since what others may have built on is never taken away again.
//! - *undo*: a settle counts as if it said nothing; who had seen it has still seen
//!   all that it had seen. Nothing undoes an undo: whoever regrets it settles anew.
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::change::{Change, Delta, FieldRef, Op, TableRef};
use crate::id::Dot;
use crate::stamp::Stamp;

/// What an operator decided about a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ruling {
    /// Its own name.
    pub dot: Dot,
    /// When it was made.
    pub stamp: Stamp,
    /// The hub's clock then, seconds since 1970.
    pub entered_s: u64,
    /// The change that it is about.
    pub subject: Dot,
    /// What is decided.
    pub word: Word,
}

/// What is decided about a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Word {
    /// It counts with these values.
    Repair(Repair),
    /// It is never applied.
    Reject {
        /// Why, for whoever recorded it.
        reason: String,
    },
    /// The settle that it is says nothing any more.
    Undo,
}

/// The values that a change is to have, whole: nothing of the original's is added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Repair {
    /// The schema version in which it is written.
    pub schema: u32,
    /// The table.
    pub table: TableRef,
    /// The fields that the change touches, sorted by field, no twins.
    pub fields: Vec<(FieldRef, Delta)>,
}

/// The repairs among rulings about one change, the one that counts first.
pub fn repairs<'a>(rulings: impl IntoIterator<Item = &'a Ruling>) -> Vec<(&'a Ruling, &'a Repair)> {
    let repair = |ruling: &'a Ruling| match &ruling.word {
        Word::Repair(repair) => Some((ruling, repair)),
        Word::Reject { .. } | Word::Undo => None,
    };
    let mut repairs: Vec<_> = rulings.into_iter().filter_map(repair).collect();
    repairs.sort_by_key(|(ruling, _)| core::cmp::Reverse((ruling.stamp, ruling.dot)));
    repairs
}

/// Why a change is rejected by these rulings about it, if it is.
pub fn rejection<'a>(rulings: impl IntoIterator<Item = &'a Ruling> + Clone) -> Option<&'a str> {
    if !repairs(rulings.clone()).is_empty() {
        return None;
    }
    let rejects = rulings.into_iter().filter_map(|ruling| match &ruling.word {
        Word::Reject { reason } => Some(((ruling.stamp, ruling.dot), reason.as_str())),
        Word::Repair(_) | Word::Undo => None,
    });
    rejects.max_by_key(|(order, _)| *order).map(|(_, reason)| reason)
}

/// A change as it counts by a repair. Whether that stands alone is to be judged.
pub fn repaired(original: &Change, repair: &Repair) -> Change {
    Change {
        schema: repair.schema,
        table: repair.table.clone(),
        fields: repair.fields.clone(),
        ..original.clone()
    }
}

/// A settle as it counts once it is undone; any other change as it is.
pub fn undone(change: &Change) -> Change {
    let op = if change.op == Op::Settle { Op::Undone } else { change.op };
    Change { op, ..change.clone() }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::{DeviceId, RowId, RunId};
    use crate::value::Value;

    fn dot(seq: u64) -> Dot {
        Dot { device: DeviceId(1), run: RunId(1), seq }
    }

    /// `repair 13` or `reject no such person`, made at a second.
    fn ruling(seq: u64, second: u64, text: &str) -> Ruling {
        let word = match text.split_once(' ') {
            Some(("repair", value)) => Word::Repair(Repair {
                schema: 2,
                table: TableRef::Number(1),
                fields: vec![(FieldRef::Number(1), Delta::Set(Value::Text(value.into())))],
            }),
            Some(("reject", reason)) => Word::Reject { reason: reason.into() },
            _ => Word::Undo,
        };
        let stamp = Stamp { seconds: second, counter: 0 };
        Ruling { dot: dot(seq), stamp, entered_s: second, subject: dot(99), word }
    }

    /// What a change counts as by rulings, each (number, second, what).
    fn counts(rulings: &[Ruling]) -> String {
        match (repairs(rulings).first(), rejection(rulings)) {
            (Some((_, repair)), None) => match &repair.fields[0].1 {
                Delta::Set(Value::Text(value)) => alloc::format!("repaired {value}"),
                other => panic!("{other:?}"),
            },
            (None, Some(reason)) => alloc::format!("rejected {reason}"),
            (None, None) => "as it came".into(),
            both => panic!("{both:?}"),
        }
    }

    #[test]
    fn what_counts_is_a_function_of_the_set() {
        /// Number, second and words of each ruling.
        type Told<'a> = &'a [(u64, u64, &'a str)];
        #[rustfmt::skip]
        let cases: [(&str, Told<'_>, &str); 8] = [
            ("nobody ruled",                  &[],                                                        "as it came"),
            ("one repair",                    &[(1, 10, "repair 13")],                                    "repaired 13"),
            ("the later repair",              &[(1, 10, "repair 13"), (2, 20, "repair 14")],              "repaired 14"),
            ("the later by stamp, not dot",   &[(2, 10, "repair 13"), (1, 20, "repair 14")],              "repaired 14"),
            ("equal stamps: the greater dot", &[(1, 10, "repair 13"), (2, 10, "repair 14")],              "repaired 14"),
            ("rejected, the later reason",    &[(1, 10, "reject twice"), (2, 20, "reject no such man")],  "rejected no such man"),
            ("a repair outdoes a reject",     &[(1, 10, "repair 13"), (2, 20, "reject twice")],           "repaired 13"),
            ("before or after it",            &[(1, 10, "reject twice"), (2, 20, "repair 13")],           "repaired 13"),
        ];
        for (situation, told, wanted) in cases {
            let mut rulings: Vec<Ruling> =
                told.iter().map(|&(seq, second, text)| ruling(seq, second, text)).collect();
            for _ in 0..2 {
                assert_eq!(counts(&rulings), wanted, "{situation}");
                rulings.reverse();
            }
        }
    }

    #[test]
    fn a_repair_keeps_the_place_of_the_original() {
        let original = Change {
            dot: dot(7),
            stamp: Stamp { seconds: 5, counter: 1 },
            entered_s: 5,
            contained: None,
            schema: 1,
            rights: 0,
            group: None,
            table: TableRef::Name("vist".into()),
            row: RowId([3; 16]),
            op: Op::Insert,
            fields: vec![(FieldRef::Name("age".into()), Delta::Set(Value::Number("131".into())))],
            seen: Default::default(),
            closure: Vec::new(),
        };
        let Word::Repair(repair) = ruling(1, 10, "repair 13").word else { panic!("a repair") };
        let form = repaired(&original, &repair);
        let place = |change: &Change| (change.dot, change.stamp, change.row, change.op);
        assert_eq!(place(&form), place(&original));
        assert_eq!((form.schema, form.table, form.fields), (2, repair.table, repair.fields));
        assert_eq!(undone(&original), original, "only a settle is undone");
    }
}
