//! Restarts: nothing that was acknowledged is lost, no number is given twice.
use super::*;
use std::collections::BTreeSet;

#[test]
fn a_second_gateway_on_the_file_is_refused() {
    let village = Village::new();
    let error = Store::open(&village.opening()).err().unwrap();
    assert!(error.to_string().contains("another wadi-gateway is running"), "{error}");
    assert!(status::read(&village.path).is_ok() && ledger::read(&village.path).is_ok());
    assert_eq!(status::schema(&village.path).unwrap(), Some(schema()));
}

#[test]
fn files_that_are_not_ours_are_refused_and_left_alone() {
    let mut village = Village::bare();
    village.store = None;
    let other = Opening { site: "south".into(), ..village.opening() };
    assert!(
        Store::open(&other)
            .err()
            .unwrap()
            .to_string()
            .contains("belongs to gateway 1 of site \"north\"")
    );
    let db = Connection::open(&village.path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    assert!(Store::open(&village.opening()).err().unwrap().to_string().contains("newer"));
    drop(db);
    std::fs::remove_file(&village.path).unwrap();
    assert!(matches!(status::read(&village.path).unwrap_err().problem, Problem::Missing));
    let db = Connection::open(&village.path).unwrap();
    db.execute_batch("CREATE TABLE own (a)").unwrap();
    assert!(
        Store::open(&village.opening())
            .err()
            .unwrap()
            .to_string()
            .contains("not a gateway's database")
    );
    let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    drop(db);
    std::fs::write(&village.path, "Dear diary, ".repeat(100)).unwrap();
    assert!(
        Store::open(&village.opening())
            .err()
            .unwrap()
            .to_string()
            .contains("not an SQLite database")
    );
}

#[test]
fn what_a_program_wrote_while_nobody_ran_is_found() {
    let mut village = Village::new();
    village.store = None;
    village
        .program()
        .execute_batch("INSERT INTO place(name) VALUES ('a'); UPDATE place SET stock = 4")
        .unwrap();
    village.start();
    assert_eq!(village.changes().len(), 2);
    assert!(
        village
            .changes()
            .iter()
            .all(|change| change.dot.run == village.store.as_ref().unwrap().run())
    );
}

#[test]
fn a_copied_card_never_gives_a_dot_twice() {
    let mut village = Village::new();
    village.program().execute_batch("INSERT INTO place(name) VALUES ('a')").unwrap();
    village.drain();
    village.store = None;
    let copy = village.path.with_extension("copy");
    std::fs::copy(&village.path, &copy).unwrap();
    let mut dots = BTreeSet::new();
    for _ in 0..2 {
        village.start();
        village.program().execute_batch("INSERT INTO place(name) VALUES ('b')").unwrap();
        village.drain();
        dots.insert(village.changes()[1].dot);
        village.store = None;
        std::fs::copy(&copy, &village.path).unwrap();
    }
    assert_eq!(dots.len(), 2);
}

/// The image that a power cut leaves, taken from the files of a living store.
#[test]
fn the_files_as_they_are_hold_what_was_acknowledged() {
    let mut village = Village::new();
    for seq in 1..=20 {
        village.take(vec![change(
            PHONE,
            seq,
            Op::Insert,
            (PLACE, row(seq)),
            vec![set(1, text("a"))],
        )]);
        let image = village.path.with_extension(format!("image-{seq}"));
        let beside = |path: &std::path::Path| PathBuf::from(format!("{}-wal", path.display()));
        std::fs::copy(&village.path, &image).unwrap();
        std::fs::copy(beside(&village.path), beside(&image)).unwrap();
        let opening = Opening { path: image, ..village.opening() };
        let store = Store::open(&opening).unwrap();
        let ledger = store.ledger().unwrap();
        assert_eq!((ledger.total.pending, ledger.runs[0].last, ledger.faults.len()), (seq, seq, 0));
    }
}

#[test]
fn the_ledger_names_gaps() {
    let mut village = Village::new();
    let insert = |seq| change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("a"))]);
    village.take(vec![insert(1), insert(4), insert(9)]);
    let known = wadi_protocol::wire::downlink::KnownRuns {
        device: PHONE,
        run: PHONE_RUN,
        spans: vec![(5, 8)],
    };
    village.round(&Page { known: vec![known], ..page(1, vec![]) }, applied(3, 2));
    let ledger = village.store().ledger().unwrap();
    assert_eq!(ledger.runs[0].gaps, [(2, 3, false), (5, 8, true)]);
    assert_eq!(
        (ledger.runs[0].first, ledger.runs[0].last, ledger.runs[0].counts.committed),
        (1, 9, 3)
    );
}
