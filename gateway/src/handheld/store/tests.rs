//! Situations of a handheld's file. The gateway is what the test says.
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{Dot, RowVersion, RunId};
use wadi_protocol::link::collector::Welcome;
use wadi_protocol::link::message::{Fate, FeedCursor, FeedPage, FeedRow};
use wadi_protocol::schema::{
    DeletePolicy, Field, History, Kind, Lane, Merge, Mode, OnDelete, Schema, Scope, Table,
};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch;

use super::super::entry::{Entered, enter};
use super::super::record::parse;
use super::*;
use crate::noise::key::PublicKey;

const NOW_S: u64 = 1_800_000_000;
const GATEWAY: RunId = RunId(0x6a);
const ROW: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";

fn field(number: u16, name: &str, kind: Kind, merge: Merge) -> Field {
    let name = name.into();
    Field {
        number,
        name,
        kind,
        merge,
        required: false,
        min: None,
        max: None,
        unique: false,
        label: None,
        unit: None,
    }
}

fn schema(version: u32) -> Schema {
    let reference = Kind::Reference { table: 1, on_delete: OnDelete::Cascade };
    let mut places = vec![
        field(1, "name", Kind::Text, Merge::LastWrite),
        field(2, "stock", Kind::Integer, Merge::Sum),
        field(3, "height", Kind::Decimal { scale: 2 }, Merge::LastWrite),
        field(4, "tags", Kind::Set { values: vec![] }, Merge::Set),
        field(5, "notes", Kind::Text, Merge::Append),
    ];
    if version > 1 {
        places.push(field(6, "open", Kind::Boolean, Merge::LastWrite));
    }
    let tables =
        [(1, "place", places), (2, "visit", vec![field(1, "place", reference, Merge::LastWrite)])];
    let tables = tables.map(|(number, name, fields)| Table {
        number,
        name: name.into(),
        fields,
        mode: Mode::Field,
        delete: DeletePolicy::DeleteWins,
        scope: Scope::Global,
        site: None,
        lane: Lane::Routine,
        history: History::Full,
        retention_days: None,
    });
    Schema { name: "test".into(), version, tables: tables.to_vec() }
}

struct Phone {
    folder: TempDir,
    store: Store,
}

impl Phone {
    fn bare() -> Phone {
        let folder = tempfile::tempdir().unwrap();
        let store = open_as(&folder, "boot-1").unwrap();
        Phone { folder, store }
    }

    fn new() -> Phone {
        let mut phone = Phone::bare();
        phone.learn(1);
        phone
    }

    fn learn(&mut self, version: u32) {
        let bytes = encode(&schema(version));
        self.store.write(NOW_S, |work| work.install_schema(&bytes)).unwrap();
    }

    /// Close, and open after this boot.
    fn reopen(self, boot: &str) -> Phone {
        let Phone { folder, store } = self;
        drop(store);
        let store = open_as(&folder, boot).unwrap();
        Phone { folder, store }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("phone.db")
    }

    fn try_put(&mut self, line: &str) -> Result<Entered, String> {
        let records = parse(line)?;
        self.store.write(NOW_S, |work| enter(work, &records, "phone")).unwrap()
    }

    fn put(&mut self, line: &str) -> Entered {
        self.try_put(line).expect(line)
    }

    fn update(&mut self, fields: &str) -> Change {
        self.put(&format!(r#"{{"op":"update","table":"place","id":"{ROW}","fields":{fields}}}"#));
        self.changes().pop().unwrap()
    }

    fn changes(&self) -> Vec<Change> {
        let bodies =
            all(&self.store.db, "SELECT body FROM wadi_change ORDER BY place", (), |row| {
                row.get::<_, Vec<u8>>(0)
            });
        bodies.unwrap().iter().map(|body| decode(body, "a change").unwrap()).collect()
    }

    fn text(&self, sql: &str) -> String {
        let rows = all(&self.store.db, sql, (), |row| row.get::<_, Option<String>>(0)).unwrap();
        rows.into_iter().map(|text| text.unwrap_or("null".into())).collect::<Vec<_>>().join("|")
    }

    fn custody(&self) -> String {
        self.text("SELECT custody FROM wadi_change ORDER BY place")
    }

    fn hello(&mut self, continues: bool) {
        let welcome =
            Welcome { site: "north".into(), run: GATEWAY, schema: 1, continues, clock_s: NOW_S };
        self.store.write(NOW_S, |work| work.welcome(&welcome)).unwrap();
    }

    /// Offer everything; the changes in their order.
    fn offer(&mut self) -> Vec<Change> {
        let mut offered = Vec::new();
        while let Some(offer) = self.store.offer(usize::MAX, &BTreeSet::new()).unwrap() {
            offered.extend(batch::decode(&offer.batch).unwrap().changes);
            self.store.write(NOW_S, |work| work.taken(&offer.places)).unwrap();
        }
        offered
    }

    fn page(&mut self, seq: u64, rows: Vec<FeedRow>) {
        let page = FeedPage { rows, feed: FeedCursor { run: GATEWAY, seq }, ..FeedPage::default() };
        self.store.write(NOW_S, |work| work.page(&page)).unwrap();
    }

    fn fate(&mut self, dot: Dot, fate: Fate) -> (u64, u64) {
        let fates = [(dot.device, dot.run, dot.seq, dot.seq, fate)];
        self.store.write(NOW_S, |work| work.fates(&fates)).unwrap()
    }
}

fn open_as(folder: &TempDir, boot: &str) -> Result<Store, StoreError> {
    let opening = Opening {
        path: folder.path().join("phone.db"),
        label: Some("phone".into()),
        create: true,
        origin: Origin { machine: "m".into(), boot: boot.into() },
        draw: Draw::default(),
    };
    Store::open(&opening).map(|(store, _)| store)
}

fn fed(name: &str, stock: i64, version: u64, above: Vec<Dot>) -> FeedRow {
    FeedRow {
        table: 1,
        row: ROW.parse().unwrap(),
        live: true,
        fields: vec![(1, Value::Text(name.into())), (2, Value::Int(stock))],
        seen: Seen { version: RowVersion { hub: RunId(0x4b), seq: version }, above },
        review: vec![],
        marked: vec![],
    }
}

fn foreign(seq: u64) -> Dot {
    Dot { device: DeviceId(0xf0), run: RunId(0xf1), seq }
}

const PLACE: &str = "SELECT name || ' ' || stock FROM place";

#[test]
fn own_edits_stay_on_the_screen_until_the_village_counts_them() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 10, 5, vec![])]);
    assert_eq!(phone.text(PLACE), "well 10");
    phone.update(r#"{"name":"deep well","stock":{"add":3}}"#);
    assert_eq!(phone.text(PLACE), "deep well 13");
    // The village changes the row before it hears of our edit.
    phone.page(2, vec![fed("old well", 20, 6, vec![])]);
    assert_eq!(phone.text(PLACE), "deep well 23");
    let mut shown = Vec::new();
    let table = schema(1).tables.remove(0);
    phone
        .store
        .list(&table, |row| {
            shown.push(row);
            Ok(())
        })
        .unwrap();
    let village = shown[0].village.clone().flatten().unwrap();
    assert_eq!(village.fields[&1], Value::Text("old well".into()));
    assert_eq!(shown[0].undecided, 1);
    // It takes our edit: the image counts it, and nothing is laid over twice.
    assert_eq!(phone.offer().len(), 1);
    phone.page(3, vec![fed("deep well", 23, 6, vec![])]);
    assert_eq!(phone.text(PLACE), "deep well 23");
    assert_eq!(phone.custody(), "taken");
}

#[test]
fn what_was_taken_but_never_acknowledged_is_not_counted_twice() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 10, 5, vec![])]);
    let dot = phone.update(r#"{"stock":{"add":3}}"#).dot;
    // The receipt was lost and the gateway is busy since; its page says what it took.
    let page = FeedPage {
        rows: vec![fed("well", 13, 5, vec![])],
        feed: FeedCursor { run: GATEWAY, seq: 2 },
        taken: vec![(dot.device, dot.run, dot.seq)],
        ..FeedPage::default()
    };
    phone.store.write(NOW_S, |work| work.page(&page)).unwrap();
    assert_eq!(phone.text(PLACE), "well 13");
    assert_eq!(phone.custody(), "pending", "it is offered again all the same");
}

#[test]
fn a_change_is_kept_until_it_is_durable_and_shown() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.put(&format!(
        r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":1}}}}"#
    ));
    let dot = phone.changes()[0].dot;
    assert_eq!(phone.fate(dot, Fate::Durable), (0, 0), "nobody can have it yet");
    assert_eq!(phone.custody(), "pending");
    phone.offer();
    assert_eq!(phone.fate(dot, Fate::Durable), (1, 0));
    assert_eq!((phone.custody().as_str(), phone.text(PLACE).as_str()), ("durable", "well 1"));
    phone.page(1, vec![fed("well", 1, 1, vec![])]);
    assert_eq!((phone.custody().as_str(), phone.text(PLACE).as_str()), ("", "well 1"));
    assert_eq!(phone.store.status().unwrap().changes["durable"], 1);
}

/// As after a record went to another village: it is no longer here, and what was entered
/// about it meanwhile is not lost with it.
#[test]
fn a_row_that_left_goes_and_an_edit_of_it_still_travels() {
    let mut phone = Phone::new();
    phone.hello(true);
    let gone = || FeedRow { live: false, fields: vec![], ..fed("", 0, 6, vec![]) };
    phone.page(1, vec![fed("well", 10, 5, vec![])]);
    phone.page(2, vec![gone()]);
    assert_eq!(phone.text(PLACE), "");
    phone.page(3, vec![fed("well", 10, 7, vec![])]);
    let dot = phone.update(r#"{"name":"mine"}"#).dot;
    phone.page(4, vec![gone()]);
    assert_eq!(phone.text("SELECT name FROM place"), "mine", "nobody has decided about it");
    let offered = phone.offer();
    assert_eq!((offered.len(), offered[0].dot), (1, dot));
    phone.page(5, vec![gone()]);
    assert_eq!(phone.text(PLACE), "", "the village has it, and the row is not here");
    assert_eq!(phone.fate(dot, Fate::Durable), (1, 0));
    phone.page(6, vec![gone()]);
    assert_eq!((phone.custody().as_str(), phone.text(PLACE).as_str()), ("", ""));
    assert_eq!(phone.store.status().unwrap().changes["durable"], 1);
}

#[test]
fn unknown_fates_and_another_gateway_bring_changes_out_again() {
    let mut phone = Phone::new();
    phone.hello(true);
    let put = format!(
        r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":1}}}}"#
    );
    phone.put(&put);
    let dot = phone.offer()[0].dot;
    assert_eq!(phone.fate(dot, Fate::Unknown), (0, 1));
    assert_eq!(phone.offer().len(), 1);
    phone.fate(dot, Fate::Quarantined { reason: "no".into() });
    assert_eq!(phone.custody(), "quarantined");
    phone.page(9, vec![fed("well", 1, 1, vec![])]);
    phone.hello(false);
    assert_eq!((phone.custody().as_str(), phone.store.feed().seq), ("pending", 0));
    assert_eq!(phone.text(PLACE), "well 1", "the old replica stays until the new one is there");
    assert_eq!(phone.offer().len(), 1);
    phone.page(1, vec![]);
    assert_eq!(phone.text(PLACE), "", "this village does not show it");
}

#[test]
fn seen_says_what_the_screen_showed() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 10, 5, vec![foreign(3)])]);
    let first = phone.update(r#"{"name":"a"}"#);
    assert_eq!(first.seen.version.seq, 5);
    assert_eq!(first.seen.above, [foreign(3)]);
    let second = phone.update(r#"{"name":"b"}"#);
    assert_eq!(second.seen.above, [foreign(3)], "own earlier changes are implied");
    // Another device in the same file has seen what is laid over.
    phone.put(&format!(
        r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"stock":5}},"device":"tab-9"}}"#
    ));
    let other = phone.changes().pop().unwrap();
    assert_ne!(other.dot.device, second.dot.device);
    let mut above = vec![foreign(3), second.dot];
    above.sort();
    assert_eq!(other.seen.above, above);
    // What the village shows of our own line is not named, that of a copy's other branch is.
    let branch = Dot { device: first.dot.device, run: RunId(0xbad), seq: 1 };
    phone.page(2, vec![fed("c", 1, 7, vec![first.dot, branch])]);
    assert_eq!(
        phone
            .update(r#"{"name":"d"}"#)
            .seen
            .above
            .iter()
            .filter(|dot| dot.device == first.dot.device)
            .collect::<Vec<_>>(),
        [&branch]
    );
}

#[test]
fn new_values_become_what_the_strategy_takes() {
    let mut phone = Phone::new();
    phone.put(&format!(r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"w","stock":4,"height":1.5,"tags":["b","a"],"notes":"first"}}}}"#));
    let delta = |change: &Change, field| change.delta(field).cloned();
    let insert = phone.changes().remove(0);
    assert_eq!(delta(&insert, 2), Some(Delta::Add(4)));
    assert_eq!(delta(&insert, 3), Some(Delta::Set(Value::Int(150))));
    assert_eq!(delta(&insert, 5), Some(Delta::Append("first".into())));
    let update = phone.update(r#"{"stock":10,"tags":["a","c"],"notes":["first","second"]}"#);
    assert_eq!(delta(&update, 2), Some(Delta::Add(6)));
    assert_eq!(
        delta(&update, 4),
        Some(Delta::Edit { add: vec!["c".into()], remove: vec!["b".into()] })
    );
    assert_eq!(delta(&update, 5), Some(Delta::Append("second".into())));
    let update = phone.update(r#"{"stock":{"add":-3},"tags":{"add":["z"]}}"#);
    assert_eq!(delta(&update, 2), Some(Delta::Add(-3)));
    assert_eq!(
        phone.text("SELECT name || stock || height || tags || notes FROM place"),
        r#"w7150["a","c","z"]["first","second"]"#
    );
    assert_eq!(phone.text("SELECT height || '' FROM place_view"), "1.5");
}

#[test]
fn what_does_not_type_stays_as_it_was_and_is_warned_of() {
    let mut phone = Phone::new();
    let entered = phone.put(
        r#"{"op":"insert","table":"place","fields":{"name":"w","stock":"many","colour":"red"}}"#,
    );
    assert_eq!(entered.warnings.len(), 1);
    let change = phone.changes().remove(0);
    assert_eq!(change.table, TableRef::Number(1));
    let raw = |name: &str, value: &str| {
        (FieldRef::Name(name.into()), Delta::Set(Value::Text(value.into())))
    };
    let name = (FieldRef::Number(1), Delta::Set(Value::Text("w".into())));
    assert_eq!(change.fields, [name, raw("colour", "red"), raw("stock", "many")]);
    assert_eq!(
        phone.put(r#"{"op":"insert","table":"nowhere","fields":{"a":1}}"#).warnings.len(),
        1
    );
    assert_eq!(phone.text("SELECT name FROM place"), "", "it does not stand, so it is not shown");
}

#[test]
fn without_a_schema_records_are_taken_raw_and_shown_once_it_comes() {
    let mut phone = Phone::bare();
    let entered = phone.put(&format!(r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":2,"height":0.25}}}}"#));
    assert!(entered.warnings.is_empty());
    phone.put(&format!(r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"name":"pump"}},"device":"other"}}"#));
    let changes = phone.changes();
    assert_eq!((changes[0].schema, &changes[0].table), (0, &TableRef::Name("place".into())));
    assert_eq!(changes[1].seen.above, [changes[0].dot]);
    let add = r#"{"op":"insert","table":"place","fields":{"stock":{"add":1}}}"#;
    let refused = phone.try_put(add).unwrap_err();
    assert!(refused.contains("field stock: adding needs the schema: run `sync"), "{refused}");
    phone.learn(1);
    assert_eq!(phone.text("SELECT name || stock || height FROM place"), "pump225");
    phone.learn(2);
    assert_eq!(phone.text("SELECT name || stock || coalesce(open, '-') FROM place"), "pump2-");
}

#[test]
fn a_group_is_taken_whole_or_not_at_all() {
    let mut phone = Phone::new();
    let good = format!(r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"stock":1}}}}"#);
    let later = format!(r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"stock":5}}}}"#);
    let huge = format!(
        r#"{{"op":"insert","table":"place","fields":{{"name":"{}"}}}}"#,
        "x".repeat(70_000)
    );
    assert!(
        phone.try_put(&format!(r#"{{"group":[{good},{huge}]}}"#)).unwrap_err().contains("record 2")
    );
    assert_eq!((phone.changes().len(), phone.text(PLACE).as_str()), (0, ""));
    phone.put(&good);
    phone.put(&format!(r#"{{"group":[{later},{later}]}}"#));
    let changes = phone.changes();
    assert_eq!(changes.iter().map(|change| change.dot.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(changes[2].group, Some(wadi_protocol::change::Group { first: 2, len: 2 }));
    assert_eq!(changes[2].delta(2), None, "the second says what is shown already");
    assert_eq!(phone.offer().len(), 3);
}

#[test]
fn offers_end_between_groups_and_fit_the_line() {
    let mut phone = Phone::new();
    let insert =
        format!(r#"{{"op":"insert","table":"place","fields":{{"name":"{}"}}}}"#, "x".repeat(3_000));
    let group = format!(r#"{{"group":[{}]}}"#, vec![insert.as_str(); 18].join(","));
    phone.put(&insert);
    phone.put(&group);
    phone.put(&insert);
    phone.put(&insert);
    phone.put(&insert);
    let mut sizes = Vec::new();
    let mut skipped = BTreeSet::new();
    while let Some(offer) = phone.store.offer(usize::MAX, &skipped).unwrap() {
        sizes.push(offer.places.len());
        assert!(offer.batch.len() < wadi_protocol::link::envelope::MESSAGE_BYTES_MAX);
        skipped.extend(offer.places);
    }
    assert_eq!(sizes.iter().sum::<usize>(), 22);
    assert!(sizes.contains(&18) || sizes.contains(&19), "{sizes:?}");
    let over = format!(r#"{{"group":[{}]}}"#, vec![insert.as_str(); 24].join(","));
    assert!(phone.try_put(&over).unwrap_err().contains("group"));
}

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
fn a_delete_names_the_rows_that_go_with_it() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 1, 5, vec![])]);
    let visit = phone
        .put(&format!(
            r#"{{"op":"insert","table":"visit","fields":{{"place":"{ROW}"}},"device":"tab-9"}}"#
        ))
        .rows[0];
    phone.put(&format!(r#"{{"op":"delete","table":"place","id":"{ROW}"}}"#));
    let delete = phone.changes().pop().unwrap();
    assert_eq!(delete.op, Op::Delete);
    assert_eq!(delete.closure.len(), 1);
    assert_eq!((delete.closure[0].table, delete.closure[0].row), (2, visit));
    assert_eq!(delete.closure[0].seen.above.len(), 1);
    assert_eq!(phone.text(PLACE), "");
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
fn the_stretches_of_questions_about_fates_stay_within_their_limits() {
    let mut phone = Phone::new();
    let insert = r#"{"op":"insert","table":"place","fields":{"name":"w"}}"#;
    for _ in 0..500 {
        phone.put(insert);
    }
    phone.put(r#"{"op":"insert","table":"place","fields":{"name":"w"},"device":"tab-9"}"#);
    phone.offer();
    let (mut after, mut asked) = (None, 0);
    loop {
        let (spans, last) = phone.store.undecided(after).unwrap();
        if spans.is_empty() {
            break;
        }
        let changes: u64 = spans.iter().map(|(_, _, first, last)| last - first + 1).sum();
        assert!(changes <= wadi_protocol::limits::FATES_CHANGES_MAX);
        asked += changes;
        after = last;
    }
    assert_eq!(asked, 501);
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
