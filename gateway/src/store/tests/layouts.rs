//! Files of older layouts are brought up to date, whole or not at all, and a copy
//! of what they were is kept.
use super::*;
use crate::store::copy;
use crate::store::open::{MIGRATIONS, open};

/// The first layout, and what a new run asks of any.
const LAYOUT_1: &str =
    concat!(include_str!("layout_1.sql"), "CREATE TABLE wadi_compacted (run, first, last);");

/// A file as layout 1 left it: with a site that is not written anywhere else.
fn old_file(village: &mut Village) {
    village.store = None;
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(copy::beside(&village.path, ending));
    }
    drop(open(&village.opening(), &[LAYOUT_1]).unwrap());
    village
        .program()
        .execute_batch("CREATE TABLE own_notes (a); INSERT INTO own_notes VALUES (7)")
        .unwrap();
}

fn layout(path: &std::path::Path) -> i64 {
    let db = copy::open_to_read(path).unwrap();
    assert_eq!(copy::faults(&db).unwrap(), None);
    assert_eq!(db.query_row("SELECT a FROM own_notes", (), |row| row.get(0)), Ok(7));
    db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn a_file_of_the_first_layout_is_brought_up_to_date() {
    let mut village = Village::bare();
    old_file(&mut village);
    village.program().execute_batch("DROP TABLE wadi_compacted").unwrap();
    village.start();
    village.store = None;
    assert_eq!(layout(&village.path), MIGRATIONS.len() as i64);
    let steps = [&MIGRATIONS[..], &["CREATE TABLE more (a)"]].concat();
    let older = layout(&village.path);
    drop(open(&village.opening(), &steps).unwrap());
    assert_eq!(layout(&village.path), steps.len() as i64);
    let old = copy::beside(&village.path, &format!("-before-v{}", steps.len()));
    assert_eq!(layout(&old), older);
    assert_eq!(copy::mode_of(&old), copy::mode_of(&village.path));
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let mut village = Village::bare();
    old_file(&mut village);
    let steps = [LAYOUT_1, "CREATE TABLE more (a); UPDATE own_notes SET a = 8", "broken"];
    assert!(open(&village.opening(), &steps).is_err());
    assert_eq!(layout(&village.path), 1);
    let old = copy::beside(&village.path, "-before-v3");
    assert_eq!(layout(&old), 1);
    // The copy of the first attempt stays; what is no copy gives way.
    let written = old.metadata().unwrap().modified().unwrap();
    assert!(open(&village.opening(), &steps).is_err());
    assert_eq!(old.metadata().unwrap().modified().unwrap(), written);
    std::fs::write(&old, "half a copy").unwrap();
    assert!(open(&village.opening(), &steps).is_err());
    assert_eq!(layout(&old), 1);
    let good = [LAYOUT_1, "CREATE TABLE more (a)", "CREATE TABLE still_more (a)"];
    drop(open(&village.opening(), &good).unwrap());
    assert_eq!(layout(&village.path), 3);
}

#[test]
fn without_its_copy_an_old_file_is_not_touched() {
    let mut village = Village::bare();
    old_file(&mut village);
    std::fs::create_dir(copy::beside(&village.path, "-before-v2")).unwrap();
    let error = open(&village.opening(), &[LAYOUT_1, "CREATE TABLE more (a)"]).err().unwrap();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(layout(&village.path), 1);
}
