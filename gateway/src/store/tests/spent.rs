//! What the link cost is kept by day, divided by what it carried, told to the hub, and asked
//! before anything is sent.
use wadi_protocol::limits::DAYS_TOLD_MAX;

use super::rounds::finish_with;
use super::*;
use crate::spending::config::Data;
use crate::spending::{Allowance, Bill, Gate, Purpose, Traffic, Why};
use crate::store::costs::{self, Costs};

const DAY_S: u64 = 86_400;

fn bill(purpose: Purpose, up: u64, down: u64) -> Bill {
    let mut bill = Bill::default();
    bill.add(purpose, Traffic { up, down });
    bill
}

impl Village {
    fn spend(&mut self, bill: &Bill, write: bool) -> Gate {
        self.spend_under(&Allowance::default(), bill, write)
    }

    fn spend_under(&mut self, allowance: &Allowance, bill: &Bill, write: bool) -> Gate {
        let now_s = self.now_s;
        self.store().spend(bill, allowance, now_s, write).unwrap().gate
    }

    fn costs(&self, data: &Data) -> Costs {
        costs::read(&self.path, data, self.now_s).unwrap()
    }
}

#[test]
fn a_round_finds_its_payload_in_what_was_counted() {
    let mut village = Village::of(|schema| schema.tables[1].lane = Lane::Urgent);
    let place = |seq| change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("here"))]);
    let visit = |seq| change(PHONE, seq, Op::Insert, (VISIT, row(seq)), vec![]);
    village.take((1..=6).map(place).chain((7..=8).map(visit)).collect());
    // Connected; what that took is written along with the round.
    village.spend(&bill(Purpose::Connect, 1_000, 2_000), false);
    let ups = village.begin();
    let (_, body) = changeset(&ups);
    village.spend(&bill(Purpose::Protocol, 900, 400), false);
    let rows = vec![told((PLACE, row(40)), 3, RowState::Live, vec![(1, text("there"))])];
    let bytes = downlink::encode(&page(4, rows.clone())).len() as u64;
    finish_with(&mut village, &page(4, rows), applied(8, 1));

    let costs = village.costs(&Data::default());
    let payload = body.len() as u64 + bytes;
    assert_eq!(costs.today.payload_bytes, payload);
    assert_eq!(costs.today.protocol_bytes, 1_300 - payload);
    assert_eq!((costs.today.connect_bytes, costs.today.bytes), (3_000, 4_300));
    assert_eq!((costs.month, costs.rounds_today), (costs.today, 1));
    assert_eq!(costs.last_round, Traffic { up: 900, down: 400 });
    assert_eq!((costs.may_send, costs.held_by), ("all", None));
    let [dear, cheap] = &costs.tables[..] else { panic!("{costs:?}") };
    assert_eq!((dear.table.as_str(), dear.urgent), ("place", false));
    assert_eq!((cheap.table.as_str(), cheap.urgent, cheap.down_bytes), ("visit", true, 0));
    assert_eq!(dear.up_bytes + cheap.up_bytes, body.len() as u64);
    assert_eq!(dear.down_bytes, bytes);
    assert!(dear.up_bytes > cheap.up_bytes, "{costs:?}");
}

#[test]
fn counts_are_kept_by_day_and_old_days_go() {
    let mut village = Village::new();
    let begun_s = village.now_s;
    for day in 0..450 {
        village.now_s = begun_s + day * DAY_S;
        village.spend(&bill(Purpose::Idle, 100, 104), day % 2 == 0);
    }
    village.spend(&Bill::default(), true);
    let costs = village.costs(&Data::default());
    assert_eq!((costs.today.bytes, costs.today.idle_bytes), (204, 204));
    let days: i64 =
        village.text("SELECT CAST(count(*) AS TEXT) FROM wadi_spent_day").parse().unwrap();
    assert!((399..=401).contains(&days), "{days}");
    // A restart keeps what was written.
    village.crash();
    assert_eq!(village.costs(&Data::default()), costs);
    // A clock that was lost gives no new budget.
    let limited = Allowance { day: Some(200_000), ..Allowance::default() };
    village.spend_under(&limited, &bill(Purpose::Idle, 190_000, 9_000), true);
    assert!(matches!(village.spend_under(&limited, &Bill::default(), false), Gate::Shut(..)));
    village.now_s = 7;
    assert!(matches!(village.spend_under(&limited, &Bill::default(), false), Gate::Shut(..)));
}

/// Another program's lock must not end the gateway over its counts.
#[test]
fn counts_wait_for_a_lock_to_be_let_go() {
    let mut village = Village::new();
    let program = village.program();
    program.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(village.spend(&bill(Purpose::Idle, 100, 104), true), Gate::Open);
    assert_eq!(village.costs(&Data::default()).today.bytes, 0);
    program.execute_batch("COMMIT").unwrap();
    village.spend(&Bill::default(), true);
    assert_eq!(village.costs(&Data::default()).today.bytes, 204);
}

#[test]
fn budgets_count_what_is_in_memory_as_well() {
    let mut village = Village::of(|schema| schema.tables[1].lane = Lane::Urgent);
    let data = Data { day_kb: Some(200), month_mb: Some(1), ..Data::default() };
    let allowance = Allowance { zone: jiff::tz::TimeZone::UTC, ..data.allowance() };
    let gate = |village: &mut Village, up| {
        village.spend_under(&allowance, &bill(Purpose::Protocol, up, 0), false)
    };
    let midnight_s = village.now_s.next_multiple_of(DAY_S);
    assert_eq!(gate(&mut village, 100_000), Gate::Open);
    assert_eq!(gate(&mut village, 60_000), Gate::Urgent(Why::Day, midnight_s));
    assert_eq!(gate(&mut village, 40_000), Gate::Shut(Why::Day, midnight_s));
    village.spend(&Bill::default(), true);
    let costs = village.costs(&data);
    assert_eq!((costs.today.counted_bytes, costs.today.budget_bytes), (200_000, Some(200_000)));
    assert_eq!((costs.may_send, costs.held_by), ("nothing", Some(Why::Day)));
    village.now_s = midnight_s;
    assert_eq!(gate(&mut village, 0), Gate::Open);
    // What waits is told where it matters.
    let now_s = village.now_s;
    let stand = |village: &mut Village| {
        village.store().spend(&bill(Purpose::Idle, 170_000, 0), &allowance, now_s, false).unwrap()
    };
    assert!(!stand(&mut village).urgent_waits);
    village.take(vec![change(PHONE, 1, Op::Insert, (VISIT, row(1)), vec![])]);
    let standing = stand(&mut village);
    assert!(standing.urgent_waits && standing.urgent_tables, "{standing:?}");
}

#[test]
fn a_frugal_round_carries_only_what_is_urgent_and_asks_for_no_more() {
    let mut village = Village::of(|schema| schema.tables[1].lane = Lane::Urgent);
    let place = |seq| change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a"))]);
    let visit = |seq| {
        let refers = set(1, Value::Row(row(3)));
        change(PHONE, seq, Op::Insert, (VISIT, row(seq)), vec![refers])
    };
    village.take((1..=5).map(place).chain([visit(6)]).collect());
    let now_s = village.now_s;
    let begin = RoundInput::Begin { delegate: true, urgent: true };
    let answer = village.store().round(begin, now_s).unwrap();
    let ups: Vec<Up> = answer.messages.iter().map(|m| message::decode(m).unwrap()).collect();
    let (head, body) = changeset(&ups);
    assert!(head.narrow, "{head:?}");
    let batch = batch::decode(&body).unwrap();
    let rows: Vec<RowId> = batch.changes.iter().map(|change| change.row).collect();
    assert_eq!(rows, [row(3), row(6)], "and what it refers to");
    let asked = village.store().round(RoundInput::Retry, now_s).unwrap();
    let asked: Up = message::decode(&asked.messages[0]).unwrap();
    assert!(matches!(asked.body, UpBody::Prepare(head) if head.narrow));
}

#[test]
fn the_hub_hears_of_days_that_are_over_once() {
    let mut village = Village::new();
    let begun_s = village.now_s;
    for day in 0..40 {
        village.now_s = begun_s + day * DAY_S;
        village.spend(&bill(Purpose::Connect, 1_000 + day, 0), true);
    }
    let told = |village: &mut Village| {
        let ups = village.begin();
        let (head, _) = changeset(&ups);
        head.spent
    };
    let first = told(&mut village);
    assert_eq!(first.len(), DAYS_TOLD_MAX);
    assert_eq!((first[0].connect, first[30].connect), (1_000, 1_030));
    assert_eq!(u64::from(first[0].day), begun_s / DAY_S);
    // A round that is asked about again says the same; after a restart it says nothing.
    let again = village.store().round(RoundInput::Retry, begun_s).unwrap();
    let again: Up = message::decode(&again.messages[0]).unwrap();
    assert!(matches!(again.body, UpBody::Prepare(head) if head.spent == first));
    village.crash();
    finish_with(&mut village, &page(0, vec![]), vec![]);
    village.spend(&Bill::default(), false);
    assert_eq!(told(&mut village), first, "nobody has heard of them yet");
    finish_with(&mut village, &page(0, vec![]), vec![]);
    let second = told(&mut village);
    assert_eq!((second.len(), second[0].connect), (8, 1_031), "all but today");
    finish_with(&mut village, &page(0, vec![]), vec![]);
    assert_eq!(told(&mut village), []);
}
