//! A handheld's file of an older layout is brought up to date, whole or not at all,
//! and a copy of what it was is kept; one of a newer layout is left alone.
use tempfile::TempDir;

use super::*;

struct Phone {
    folder: TempDir,
}

impl Phone {
    /// A file of the first layout, with the name of its device to know it by.
    fn new() -> Phone {
        let phone = Phone { folder: tempfile::tempdir().unwrap() };
        assert!(phone.open(&LAYOUTS[..1]).unwrap().1, "created");
        phone
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("phone.db")
    }

    fn open(&self, layouts: &[&str]) -> Result<(Store, bool), StoreError> {
        let opening = Opening {
            path: self.path(),
            label: Some("anna".into()),
            create: true,
            origin: Origin { machine: "m".into(), boot: "b".into() },
            draw: Draw::default(),
        };
        Store::open_by(&opening, layouts)
    }
}

/// The layout of a file that is whole and anna's.
fn layout(path: &Path) -> i64 {
    let db = copy::open_to_read(path).unwrap();
    assert_eq!(copy::faults(&db).unwrap(), None);
    let label: String =
        db.query_row("SELECT label FROM wadi_device", (), |row| row.get(0)).unwrap();
    assert_eq!(label, "anna");
    db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn an_older_file_is_brought_up_to_date_and_its_copy_is_its_owners_alone() {
    let phone = Phone::new();
    let steps = [&LAYOUTS[..1], &["CREATE TABLE more (a)"]].concat();
    let key = phone.open(&LAYOUTS[..1]).unwrap().0.keys().public();
    let (store, created) = phone.open(&steps).unwrap();
    assert!(!created && store.keys().public() == key, "it is who it was");
    drop(store);
    assert_eq!(layout(&phone.path()), 2);
    let old = copy::beside(&phone.path(), "-before-v2");
    assert_eq!((layout(&old), copy::mode_of(&old)), (1, 0o600));
    // Nothing is left to do, and the older program says so instead of trying.
    drop(phone.open(&steps).unwrap());
    let error = phone.open(&LAYOUTS[..1]).err().unwrap();
    assert!(matches!(error, StoreError::Newer(2, 1)), "{error}");
    assert!(error.to_string().contains("use the newer program"), "{error}");
    assert_eq!(layout(&phone.path()), 2);
}

#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let phone = Phone::new();
    let broken =
        [LAYOUTS[0], "CREATE TABLE more (a); UPDATE wadi_device SET label = 'b'", "broken"];
    assert!(phone.open(&broken).is_err());
    assert_eq!(layout(&phone.path()), 1);
    drop(phone.open(&LAYOUTS[..1]).unwrap());
    assert_eq!(layout(&copy::beside(&phone.path(), "-before-v3")), 1);
}

#[test]
fn without_its_copy_an_older_file_is_not_touched() {
    let phone = Phone::new();
    std::fs::create_dir(copy::beside(&phone.path(), "-before-v2")).unwrap();
    let error = phone.open(&[LAYOUTS[0], "CREATE TABLE more (a)"]).err().unwrap();
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(layout(&phone.path()), 1);
}
