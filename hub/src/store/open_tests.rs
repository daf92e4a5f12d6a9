//! Files of older versions are brought up to date, whole or not at all, and a copy
//! of what they were is kept.
use super::*;

const VERSION_1: &str = include_str!("layout_1.sql");

/// A hub's file as version 1 left it.
fn old_file(path: &Path) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(VERSION_1).unwrap();
    db.execute_batch(
        "INSERT INTO wadi_store (key, value) VALUES ('head', 7), ('device', 99);
         INSERT INTO wadi_hub_run (run, parent, start, started_s) VALUES (5, 0, 0, 1);
         INSERT INTO wadi_log (seq, tbl, row, lane, gateway, touched, travels)
             VALUES (7, 2, x'01', 1, 3, x'0102', x'00');
         INSERT INTO wadi_reference (tbl, row, field, to_tbl, to_row)
             VALUES (2, x'01', 4, 1, x'05');
         INSERT INTO wadi_quarantine (device, run, seq, gateway, round, received_s, reason, tbl, row, body)
             VALUES (1, 2, 3, 1, 4, 5, 'too old', '2', x'00112233445566778899aabbccddeeff', x'00');
         PRAGMA user_version = 1;",
    )
    .unwrap();
}

fn pragma(path: &Path, name: &str) -> i64 {
    let db = copy::open_to_read(path).unwrap();
    assert_eq!(copy::faults(&db).unwrap(), None);
    db.pragma_query_value(None, name, |row| row.get(0)).unwrap()
}

#[test]
fn an_old_file_is_copied_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    old_file(&path);
    let store = Store::open(&path).unwrap();
    assert_eq!((store.head().unwrap(), store.run()), (7, RunId(5)));
    drop(store);
    assert_eq!(pragma(&path, "user_version"), MIGRATIONS.len() as i64);
    assert_eq!(pragma(&path, "application_id"), APPLICATION_ID);
    let old = copy::beside(&path, &format!("-before-v{}", MIGRATIONS.len()));
    assert_eq!(pragma(&old, "user_version"), 1);
    assert_eq!(copy::mode_of(&old), copy::mode_of(&path));
    assert!(Store::open(&path).is_ok(), "once more");
}

#[test]
fn what_a_file_holds_outlives_its_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    old_file(&path);
    drop(Store::open(&path).unwrap());
    let db = copy::open_to_read(&path).unwrap();
    let all = |sql: &str| db.query_row(sql, (), |row| row.get::<_, String>(0)).unwrap();
    let log = "SELECT format('%d %d %s %d %d %s %s', seq, tbl, hex(row), lane, gateway,
        hex(touched), hex(travels)) FROM wadi_log";
    assert_eq!(all(log), "7 2 01 1 3 0102 00");
    let reference = "SELECT format('%d %s %d %d %s', tbl, hex(row), field, to_tbl, hex(to_row))
        FROM wadi_reference";
    assert_eq!(all(reference), "2 01 4 1 05");
    // What its writer had seen is not known any more: nothing is claimed.
    let quarantine = "SELECT format('%d %s %d %s %s', seq, reason, seen_seq, hex(closure_seqs),
        rejected) FROM wadi_quarantine";
    assert_eq!(all(quarantine), "3 too old 0 00 ");
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    old_file(&path);
    let steps = [VERSION_1, "CREATE TABLE more (a); UPDATE wadi_store SET value = 8", "broken"];
    assert!(open(&path, &steps, None, Draw::default()).is_err());
    assert_eq!(pragma(&path, "user_version"), 1);
    let old = copy::beside(&path, "-before-v3");
    assert_eq!(pragma(&old, "user_version"), 1);
    let head = |path: &Path| {
        let db = copy::open_to_read(path).unwrap();
        db.query_row("SELECT value FROM wadi_store WHERE key = 'head'", (), |row| row.get(0))
    };
    assert_eq!(head(&path), Ok(7));

    // The copy of the first attempt stays; what is no copy gives way.
    let written = old.metadata().unwrap().modified().unwrap();
    assert!(open(&path, &steps, None, Draw::default()).is_err());
    assert_eq!(old.metadata().unwrap().modified().unwrap(), written);
    std::fs::write(&old, "half a copy").unwrap();
    assert!(open(&path, &steps, None, Draw::default()).is_err());
    assert_eq!((pragma(&old, "user_version"), head(&old)), (1, Ok(7)));
    let good = [VERSION_1, steps[1], "CREATE TABLE still_more (a)"];
    drop(open(&path, &good, None, Draw::default()).unwrap());
    assert_eq!((pragma(&path, "user_version"), head(&path)), (3, Ok(8)));
}

#[test]
fn without_its_copy_an_old_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    old_file(&path);
    std::fs::create_dir(copy::beside(&path, &format!("-before-v{}", MIGRATIONS.len()))).unwrap();
    let error = Store::open(&path).err().unwrap().to_string();
    assert!(error.contains("nothing was changed") && error.contains("-before-v"), "{error}");
    assert_eq!(pragma(&path, "user_version"), 1);
}

#[test]
fn a_serving_hub_is_alone_and_is_not_migrated_under() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let serving = Store::open_to_serve(&path).unwrap();
    assert!(matches!(Store::open_to_serve(&path), Err(StoreError::InUse)));
    assert!(Store::open(&path).is_ok(), "commands go beside it");
    let more = [MIGRATIONS, &["CREATE TABLE more (a)"]].concat();
    assert!(matches!(open(&path, &more, None, Draw::default()), Err(StoreError::InUse)));
    drop(serving);
    assert!(open(&path, &more, None, Draw::default()).is_ok());
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { .. })));
}

#[test]
fn another_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE own (a); PRAGMA user_version = 1").unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Foreign)));
    let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
}
