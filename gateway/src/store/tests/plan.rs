//! What a plan says of the backlog, and what rounds then make of it.
use wadi_protocol::wire::coded::CODEC_NEWEST;

use super::rounds::finish_open;
use super::*;
use crate::store::plan::{self, Load};

/// Of places that rarely repeat.
fn insert(seq: u64) -> Change {
    let name = format!("{:x}", seq.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let fields = vec![set(1, text(&name)), set(3, Value::Int((seq * 7_919 % 4_001) as i64))];
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), fields)
}

/// The rounds that carry everything: changes and bytes of each.
fn rounds(village: &mut Village) -> Vec<(u64, u64)> {
    let mut rounds = Vec::new();
    let mut next = 1;
    while village.store().waiting() > 0 {
        let (_, body) = changeset(&village.begin());
        let count = village.store().ground.round.changeset().unwrap().changes;
        rounds.push((count.into(), body.len() as u64));
        finish_open(village, 0, applied(count, next));
        next += u64::from(count);
    }
    rounds
}

#[test]
fn rounds_take_what_was_planned() {
    for coded in [false, true] {
        let mut village = Village::new();
        if coded {
            village.round(&Page { codec: CODEC_NEWEST, ..page(0, vec![]) }, vec![]);
        }
        assert_eq!(plan::read(&village.path).unwrap(), []);
        village.take((1..=3_000).map(insert).collect());
        let planned = plan::read(&village.path).unwrap();
        let taken = rounds(&mut village);
        let each: Vec<(u64, u64)> =
            planned.iter().map(|load: &Load| (load.changes, load.bytes)).collect();
        let bytes = |all: &[(u64, u64)]| all.iter().map(|(_, bytes)| bytes).sum::<u64>();
        println!("planned {} bytes, taken {}", bytes(&each), bytes(&taken));
        assert_eq!(each.iter().map(|(changes, _)| changes).sum::<u64>(), 3_000);
        assert!(taken.len().abs_diff(each.len()) <= 1, "{each:?} {taken:?}");
        assert!(bytes(&each).abs_diff(bytes(&taken)) * 50 < bytes(&taken), "{each:?} {taken:?}");
        assert_eq!(plan::read(&village.path).unwrap(), [], "nothing waits any more");
    }
}

#[test]
fn what_is_urgent_is_planned_first_and_much_is_not_written_out() {
    let mut village = Village::of(|schema| schema.tables[1].lane = Lane::Urgent);
    let visit = |seq| change(PHONE, seq, Op::Insert, (VISIT, row(seq)), vec![]);
    village.take((1..=9_000).map(insert).chain((9_001..=9_010).map(visit)).collect());
    let planned = plan::read(&village.path).unwrap();
    assert_eq!((planned[0].urgent, planned[0].changes), (true, 10));
    assert!(planned[1..].iter().all(|load| !load.urgent && load.bytes <= 8 * 1024 + 64));
    assert_eq!(planned.iter().map(|load| load.changes).sum::<u64>(), 9_010);
}
