//! The file itself: who opens it, and whose it is.
use super::*;

#[test]
fn another_boot_draws_new_runs_in_line() {
    let mut phone = Phone::new();
    phone.put(r#"{"op":"insert","table":"place","fields":{"name":"a"}}"#);
    let mut phone = phone.reopen("boot-2").reopen("boot-3");
    phone.put(r#"{"op":"insert","table":"place","fields":{"name":"b"}}"#);
    let changes = phone.changes();
    assert_ne!(changes[0].dot.run, changes[1].dot.run);
    assert_ne!(changes[0].row, changes[1].row);
    assert!(phone.store.ground.lines.earlier(changes[0].dot, changes[1].dot));
    let runs = batch::decode(&phone.store.offer(9, &BTreeSet::new()).unwrap().unwrap().batch)
        .unwrap()
        .runs;
    assert_eq!(runs.len(), 2, "boots in which nothing was made leave no run");
    let same = phone.reopen("boot-3");
    assert!(!same.store.device().moved);
}

#[test]
fn typed_tables_are_read_only_for_others() {
    let mut phone = Phone::new();
    phone.put(&format!(
        r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":1}}}}"#
    ));
    let other = Connection::open(phone.path()).unwrap();
    for sql in
        ["DELETE FROM place", "UPDATE place SET name = 'x'", "INSERT INTO place (id) VALUES ('y')"]
    {
        assert!(other.execute(sql, ()).unwrap_err().to_string().contains("read-only"), "{sql}");
    }
    assert_eq!(phone.text(PLACE), "well 1");
}

#[test]
fn two_processes_share_the_file() {
    let mut phone = Phone::new();
    let mut second = open_as(&phone.folder, "boot-1").unwrap();
    let put = |store: &mut Store| {
        let records = parse(r#"{"op":"insert","table":"place","fields":{"name":"w"}}"#).unwrap();
        store.write(NOW_S, |work| enter(work, &records, "phone")).unwrap().unwrap();
    };
    for _ in 0..3 {
        put(&mut phone.store);
        put(&mut second);
    }
    let seqs: Vec<u64> = phone.changes().iter().map(|change| change.dot.seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn other_programs_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let db = Connection::open(folder.path().join("phone.db")).unwrap();
    db.execute_batch("CREATE TABLE mine (a); INSERT INTO mine VALUES (1)").unwrap();
    assert!(matches!(open_as(&folder, "b").err(), Some(StoreError::Foreign)));
}

#[test]
fn a_device_is_derived_from_the_key_and_a_copy_is_the_same_one() {
    let mut phone = Phone::new();
    phone.put(r#"{"op":"insert","table":"place","fields":{"name":"a"},"device":"tab-9"}"#);
    let key = phone.store.keys().public();
    assert_eq!(phone.store.device().id, DeviceId::of_key(&key.0, "phone"));
    assert_eq!(phone.changes()[0].dot.device, DeviceId::of_key(&key.0, "tab-9"));
    // The runs of an offer name each device with the label it is derived from.
    let offer = phone.store.offer(9, &BTreeSet::new()).unwrap().unwrap();
    for info in batch::decode(&offer.batch).unwrap().runs {
        assert_eq!(info.device, DeviceId::of_key(&key.0, &info.label));
    }
    let phone = phone.reopen("elsewhere");
    assert_eq!(phone.store.keys().public(), key);
    assert_ne!(Phone::new().store.keys().public(), key, "each file has its own");
}

#[test]
fn what_cannot_be_added_is_told_with_its_field() {
    let mut phone = Phone::new();
    for (fields, part) in [
        (r#"{"stack":{"add":1}}"#, "field stack: it is not in the schema, so nothing can be added"),
        (r#"{"stock":{"add":1.5}}"#, "field stock: 1.5 cannot be added to it"),
    ] {
        let line = format!(r#"{{"op":"insert","table":"place","fields":{fields}}}"#);
        let refused = phone.try_put(&line).unwrap_err();
        assert!(refused.contains(part), "{refused}");
    }
    let least = format!(
        r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"stock":-9223372036854775808}}}}"#
    );
    phone.put(&least);
    let line = format!(
        r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"stock":9223372036854775807}}}}"#
    );
    let refused = phone.try_put(&line).unwrap_err();
    assert!(refused.contains("field stock: the difference to what is shown is too"), "{refused}");
}

#[test]
fn the_first_key_of_a_site_is_kept_until_it_is_forgotten() {
    let mut phone = Phone::new();
    let (one, other) = (PublicKey([1; 32]), PublicKey([2; 32]));
    let mut pin = |site: &str, key| phone.store.write(NOW_S, |work| work.pin(site, key)).unwrap();
    assert_eq!(pin("north", one), Pin::First);
    assert_eq!(pin("south", other), Pin::First, "handhelds roam");
    assert_eq!(pin("north", one), Pin::Same);
    assert_eq!(pin("north", other), Pin::Other(one));
    for site in 2..SITES_MAX {
        pin(&site.to_string(), other);
    }
    assert_eq!(pin("one more", other), Pin::Full);
    assert!(phone.store.write(NOW_S, |work| work.forget_site("north")).unwrap());
    assert!(!phone.store.write(NOW_S, |work| work.forget_site("north")).unwrap());
    assert_eq!(phone.store.write(NOW_S, |work| work.pin("north", other)).unwrap(), Pin::First);
}
