//! The intake door: whole or not at all, exactly once, whatever it holds.
use super::*;
use wadi_protocol::change::Group;
use wadi_protocol::link::message::Fate;

fn insert(seq: u64, number: u64, name: &str) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(number)), vec![set(1, text(name))])
}

#[test]
fn several_callers_share_a_transaction_and_one_is_refused_alone() {
    let mut village = Village::new();
    let mut half = insert(5, 5, "half");
    half.group = Some(Group { first: 5, len: 2 });
    let batches =
        [batch(vec![insert(1, 1, "a")]), batch(vec![half]), batch(vec![insert(2, 2, "b")])];
    let answers = village.store().intake(&batches, NOW_S).unwrap();
    assert_eq!(answers[0], Ok(()));
    assert!(
        matches!(&answers[1], Err(IntakeError::Refused { reason }) if reason.contains("group"))
    );
    assert_eq!(answers[2], Ok(()));
    assert_eq!(village.changes().len(), 2);
    assert_eq!(village.shown((PLACE, row(2))).unwrap(), [(1, text("b"))]);
}

#[test]
fn what_was_taken_is_not_taken_twice() {
    let mut village = Village::new();
    village.take(vec![
        insert(1, 1, "a"),
        change(PHONE, 2, Op::Update, (PLACE, row(1)), vec![add(2, 5)]),
    ]);
    village.take(vec![change(PHONE, 2, Op::Update, (PLACE, row(1)), vec![add(2, 5)])]);
    village.crash();
    village.take(vec![change(PHONE, 2, Op::Update, (PLACE, row(1)), vec![add(2, 5)])]);
    assert_eq!(village.changes().len(), 2);
    assert_eq!(village.shown((PLACE, row(1))).unwrap(), [(1, text("a")), (2, Value::Int(5))]);
}

#[test]
fn a_poison_change_is_acknowledged_and_hides_its_group_only() {
    let mut village = Village::new();
    let group = Some(Group { first: 2, len: 2 });
    let good = Change { group, ..insert(2, 2, "good") };
    let bad = Change {
        group,
        ..change(
            PHONE,
            3,
            Op::Insert,
            (PLACE, row(3)),
            vec![(FieldRef::Name("weight".into()), Delta::Set(Value::Number("1e999".into())))],
        )
    };
    let lost = Change { table: TableRef::Name("nowhere".into()), ..insert(4, 4, "lost") };
    village.take(vec![insert(1, 1, "a"), good, bad, lost, insert(5, 5, "b")]);
    assert_eq!(village.changes().len(), 5);
    for (number, shown) in [(1, true), (2, false), (3, false), (4, false), (5, true)] {
        assert_eq!(village.shown((PLACE, row(number))).is_some(), shown, "row {number}");
    }
    let status = village.store().status().unwrap();
    assert_eq!(pending(&status), [("place", 4), ("?", 1)]);
    // All of them go to the hub, which judges.
    let (head, body) = changeset(&village.begin());
    assert_eq!(batch::decode(&body).unwrap().changes.len(), 5);
    assert_eq!(head.schema, 1);
}

#[test]
fn what_came_before_the_schema_is_laid_when_it_comes() {
    let mut village = Village::bare();
    let mut early = insert(1, 1, "a");
    early.schema = 0;
    early.table = TableRef::Name("place".into());
    early.fields = vec![(FieldRef::Name("name".into()), Delta::Set(text("a")))];
    village.take(vec![early]);
    assert_eq!(village.store().status().unwrap().unlaid, 1);
    let news = Page { schema: Some(schema()), ..page(0, vec![]) };
    village.round(&news, applied(1, 7));
    assert_eq!(village.shown((PLACE, row(1))).unwrap(), [(1, text("a"))]);
    assert_eq!(village.store().status().unwrap().unlaid, 0);
}

#[test]
fn limits_are_refusals_with_a_reason() {
    let mut village = Village::new();
    let huge = insert(1, 1, &"x".repeat(70_000));
    let own =
        Change { dot: Dot { device: village.store().device(), ..huge.dot }, ..insert(1, 1, "a") };
    let nameless = Batch { runs: vec![], ..batch(vec![insert(1, 1, "a")]) };
    for (batch, word) in
        [(batch(vec![huge]), "bytes"), (batch(vec![own]), "own"), (nameless, "name")]
    {
        let answers = village.store().intake(&[batch], NOW_S).unwrap();
        assert!(
            matches!(&answers[0], Err(IntakeError::Refused { reason }) if reason.contains(word)),
            "{answers:?}"
        );
    }
    village.store().ground.waiting = PENDING_CHANGES_MAX;
    let answers = village.store().intake(&[batch(vec![insert(1, 1, "a")])], NOW_S).unwrap();
    assert!(
        matches!(&answers[0], Err(IntakeError::Busy { reason, .. }) if reason.contains("500000")),
        "{answers:?}"
    );
    assert_eq!(village.changes().len(), 0);
}

#[test]
fn another_programs_lock_is_busy_and_named_in_status() {
    let mut village = Village::new();
    village.store().db.busy_timeout(std::time::Duration::from_millis(10)).unwrap();
    let program = village.program();
    program.execute_batch("BEGIN IMMEDIATE; INSERT INTO place(name) VALUES ('held')").unwrap();
    let answers = village.store().intake(&[batch(vec![insert(1, 1, "a")])], NOW_S).unwrap();
    assert!(
        matches!(&answers[0], Err(IntakeError::Busy { reason, .. }) if reason.contains("another program"))
    );
    program.execute_batch("COMMIT").unwrap();
    village.take(vec![insert(1, 1, "a")]);
    let status = village.store().status().unwrap();
    assert_eq!((status.lock_waits, status.last_lock_wait_s), (1, Some(NOW_S)));
    // What the program wrote came first.
    let order: Vec<_> = village.changes().iter().map(|change| change.dot.device == PHONE).collect();
    assert_eq!(order, [false, true]);
}

#[test]
fn a_full_disk_is_busy_and_nothing_is_half_done() {
    let mut village = Village::new();
    let pages: i64 =
        village.store().db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    village.store().db.pragma_update(None, "max_page_count", pages + 8).unwrap();
    let many: Vec<Change> = (1..200).map(|seq| insert(seq, seq, &"x".repeat(500))).collect();
    let answers = village.store().intake(&[batch(many)], NOW_S).unwrap();
    assert!(
        matches!(&answers[0], Err(IntakeError::Busy { reason, .. }) if reason.contains("disk is full")),
        "{answers:?}"
    );
    assert_eq!((village.changes().len(), village.store().waiting()), (0, 0));
    village.take(vec![insert(1, 1, "a")]);
    assert_eq!(village.changes().len(), 1);
}

#[test]
fn a_clock_of_2099_is_contained_once_the_hub_has_confirmed_ours() {
    let mut village = Village::new();
    let future = |seq| Change {
        stamp: Stamp { seconds: 4_070_908_800, counter: 0 },
        ..insert(seq, seq, "a")
    };
    village.take(vec![future(1)]);
    village.round(&page(0, vec![]), applied(1, 1));
    village.take(vec![future(2)]);
    let contained: Vec<_> = village.changes().into_iter().map(|change| change.contained).collect();
    let bound = Stamp { seconds: NOW_S + 24 * 3600, counter: 0 };
    assert_eq!(contained, [None, Some(bound)]);
}

#[test]
fn fates_are_told_for_what_is_no_longer_pending() {
    let mut village = Village::new();
    village.take((1..=6).map(|seq| insert(seq, seq, "a")).collect());
    let outcomes = vec![
        (2, Outcome::Applied { seq: 11 }),
        (1, Outcome::Parked),
        (1, Outcome::Quarantined),
        (1, Outcome::Held),
        (1, Outcome::Known { seq: 9 }),
    ];
    let verdicts = Page { verdicts: vec![(3, "weight is no field".into())], ..page(0, vec![]) };
    village.round(&verdicts, outcomes);
    village.take(vec![insert(7, 7, "b")]);
    let fates =
        village.store().fates(&[(PHONE, PHONE_RUN, 1, 9), (OTHER_PHONE, PHONE_RUN, 1, 2)]).unwrap();
    let quarantined = Fate::Quarantined { reason: "weight is no field".into() };
    assert_eq!(
        fates,
        [
            (PHONE, PHONE_RUN, 1, 2, Fate::Durable),
            (PHONE, PHONE_RUN, 3, 3, Fate::Parked),
            (PHONE, PHONE_RUN, 4, 4, quarantined),
            (PHONE, PHONE_RUN, 6, 6, Fate::Durable),
            (PHONE, PHONE_RUN, 8, 9, Fate::Unknown),
            (OTHER_PHONE, PHONE_RUN, 1, 2, Fate::Unknown),
        ]
    );
    let ledger = village.store().ledger().unwrap();
    let counts = ledger::Counts {
        changes: 7,
        pending: 1,
        committed: 3,
        compacted: 0,
        parked: 1,
        held: 1,
        quarantined: 1,
    };
    assert_eq!((ledger.total, ledger.faults.len()), (counts, 0));
    assert_eq!(village.store().waiting(), 2);
}

#[test]
fn where_there_is_no_room_both_doors_say_so_and_rounds_go_on() {
    let mut village = Village::new();
    village.take(vec![insert(1, 1, "a")]);
    village.store().make_known(Some("the disk is nearly full"), NOW_S).unwrap();
    let answers = village.store().intake(&[batch(vec![insert(2, 2, "b")])], NOW_S).unwrap();
    assert!(
        matches!(&answers[0], Err(IntakeError::Busy { reason, retry_ms: 10_000 }) if reason.contains("nearly full")),
        "{answers:?}"
    );
    let program = village.program();
    let said = program.execute("INSERT INTO place(name) VALUES ('c')", ()).unwrap_err().to_string();
    assert!(said.starts_with("wadi: the disk is nearly full; make room"), "{said}");
    village.store().make_known(None, NOW_S).unwrap();
    program.execute("INSERT INTO place(name) VALUES ('c')", ()).unwrap();
    village.take(vec![insert(2, 2, "b")]);
    assert_eq!(village.changes().len(), 3);
}
