//! What a collector meets: files that are not a handheld's, records that cannot be
//! taken, and nobody to talk to.
use std::net::TcpListener;
use std::process::Command;

use rusqlite::Connection;
use wadi_gateway::handheld::store::{Draw, Opening, Origin, Store};
use wadi_gateway::handheld::sync::{Place, Sync};
use wadi_gateway::handheld::synced::Synced;

use crate::{FAILED, LATER, UNAVAILABLE, USAGE, ended, handheld, path};

const GOOD: &str = r#"{"op":"insert","table":"visit","fields":{"patient":"p"}}"#;

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.db");
    let status = |parts: &[&str]| {
        let said = handheld(folder.path(), &["status"]);
        said.told(FAILED, parts);
        said.told(FAILED, &["wadi-handheld: my.db: "]);
    };
    status(&["there is no such file; `put`, `import` or `sync` makes one"]);
    std::fs::write(&file, "Dear diary, ".repeat(100)).unwrap();
    status(&["this is not a handheld's file; name another with --db"]);
    std::fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    status(&["this is not a handheld's file; name another with --db"]);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    status(&["it cannot be opened; check that its folder is there"]);
    std::fs::remove_dir(&file).unwrap();

    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    let db = Connection::open(&file).unwrap();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    db.pragma_update(None, "user_version", version + 1).unwrap();
    status(&["the file has version ", "this program knows", "use the newer program"]);
    db.pragma_update(None, "user_version", version).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let said = handheld(folder.path(), &["put", GOOD]);
    said.told(FAILED, &["my.db: another program has held it for 5 s; wait for its end"]);
    db.execute_batch("ROLLBACK").unwrap();
    db.execute_batch("UPDATE wadi_file SET device = 0").unwrap();
    status(&["the own device does not decode: the file is damaged; keep it, and restore a copy"]);
}

#[test]
fn a_file_that_keeps_too_much_says_how_to_make_room() {
    let folder = tempfile::tempdir().unwrap();
    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    // As many as it may keep; what is in them does not matter here.
    let db = Connection::open(folder.path().join("my.db")).unwrap();
    db.execute_batch(
        "DROP INDEX wadi_change_custody; DROP INDEX wadi_change_laid; DROP INDEX wadi_change_row;
         WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)
         INSERT INTO wadi_change (device, run, seq, tbl, row, group_last, size_bytes, body)
         SELECT 1, 1, i, '', x'', i, 0, x'' FROM n",
    )
    .unwrap();
    let full = "my.db: the file keeps 500000 changes that are not durable yet: run `sync` first";
    handheld(folder.path(), &["put", GOOD]).told(FAILED, &[full]);
}

#[test]
fn a_record_that_cannot_be_taken_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let id = "8dd32ccf-ea43-49e0-8514-58eeb8336913";
    let update = |fields: &str| {
        format!(r#"{{"op":"update","table":"t","id":"{id}","fields":{{{fields}}}}}"#)
    };
    let many: String = (0..600).map(|at| format!("\"f{at}\":1,")).collect();
    let of = |device: &str| format!(r#"{{"op":"insert","table":"t","device":"{device}"}}"#);
    let group = |records: &[&str]| format!(r#"{{"group":[{}]}}"#, records.join(","));
    let large =
        format!(r#"{{"op":"insert","table":"t","fields":{{"a":"{}"}}}}"#, "x".repeat(70_000));
    for (record, part) in [
        ("{", "not a record: "),
        (r#"{"table":"t"}"#, "\"op\" is missing: insert, update or delete"),
        (r#"{"op":"upsert","table":"t"}"#, "op \"upsert\": use insert, update or delete"),
        (r#"{"op":"insert"}"#, "\"table\" is missing"),
        (r#"{"op":"insert","table":""}"#, "a table has a name of 1 to 63 bytes, not 0"),
        (r#"{"op":"insert","table":"t","id":"7"}"#, "id \"7\": not a UUID"),
        (r#"{"op":"delete","table":"t"}"#, "\"id\" is missing: only an insert may leave it out"),
        (
            r#"{"op":"insert","table":"t","ts":-1}"#,
            "ts -1: a whole number of milliseconds since 1970 is needed",
        ),
        (&update("\"a\":1").replace("update", "delete"), "a delete has no fields"),
        (&update(""), "an update without fields changes nothing"),
        (&update(many.trim_end_matches(',')), "600 fields, at most "),
        (&update("\"a\":[1]"), "field a: a list holds texts only"),
        (&update("\"a\":{\"b\":1}"), "field a: values are numbers, texts, true, false"),
        (
            &update("\"a\":{\"add\":1}"),
            "field a: adding needs the schema: run `sync --schema-only`",
        ),
        (&group(&[]), "a group has 1 to "),
        (&group(&[&of("a"), &of("b")]), "the records of a group are of one device"),
        (&group(&[&of("a"), &group(&[&of("a")])]), "record 2 of the group: a group cannot hold"),
        (&group(&[&of("a"), "{\"op\":\"up\"}"]), "record 2 of the group: op \"up\": use insert"),
        (r#"{"op":"insert","group":[]}"#, "\"group\" stands alone; other keys go into its records"),
        (&large, "are allowed in one record"),
    ] {
        let said = handheld(folder.path(), &["put", record]);
        said.told(FAILED, &["not taken: ", part]);
    }
}

#[test]
fn an_import_names_lines_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.jsonl");
    handheld(folder.path(), &["import", "nowhere"])
        .told(FAILED, &["nowhere: no such file or directory"]);
    std::fs::write(&file, "").unwrap();
    handheld(folder.path(), &["import", "in.jsonl", "--rejects", "in.jsonl"])
        .told(FAILED, &["--rejects names the file to import itself: name another"]);
    let long = "x".repeat((1 << 20) + 1);
    let text = [GOOD.as_bytes(), b"\n{bad\n\xff\n", long.as_bytes(), b"\n"].concat();
    std::fs::write(&file, text).unwrap();
    let said = handheld(folder.path(), &["import", "in.jsonl"]);
    said.told(
        FAILED,
        &[
            "2: put aside: not a record",
            "3: put aside: not UTF-8",
            "4: put aside: a line of 1048578 bytes, at most",
        ],
    );
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let folder = tempfile::tempdir().unwrap();
    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    handheld(folder.path(), &["list", "visit"])
        .told(FAILED, &["no schema yet: run `sync` once, so that there are tables"]);
    handheld(folder.path(), &["forget", "north"])
        .told(FAILED, &["no key of site \"north\" is known here; known: none"]);
    handheld(folder.path(), &["delete", "visit", "7"]).told(FAILED, &["id \"7\": not a UUID"]);
    handheld(folder.path(), &["--device", "", "put", GOOD])
        .told(USAGE, &["--device", "a name of 1 to 63 bytes of text is needed"]);
    handheld(folder.path(), &["sync"]).told(USAGE, &["--serial", "--tcp", "--lan"]);
}

#[test]
fn nobody_to_talk_to_is_told_with_what_to_check() {
    let folder = tempfile::tempdir().unwrap();
    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    handheld(folder.path(), &["sync", "--tcp", &free]).told(
        UNAVAILABLE,
        &["no link: ", &free, "check the network, the address, and that the gateway runs"],
    );
    handheld(folder.path(), &["sync", "--serial", "/dev/nowhere"])
        .told(UNAVAILABLE, &["/dev/nowhere: ", "check the cable, the path, the 115200 baud"]);
}

#[test]
fn a_link_that_is_cut_again_and_again_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    let cut = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = cut.local_addr().unwrap().to_string();
    // Whoever comes is hung up on.
    std::thread::spawn(move || cut.incoming().for_each(drop));
    let again = "what was taken stays taken, run `sync` again";
    handheld(folder.path(), &["sync", "--tcp", &address])
        .told(LATER, &["not finished: ", &address, "the link is cut again and again (", again]);
}

#[test]
fn a_gateway_that_says_nothing_is_told_after_some_tries() {
    let folder = tempfile::tempdir().unwrap();
    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    // The kernel takes the connection; nobody ever reads from it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    handheld(folder.path(), &["sync", "--tcp", &address])
        .told(UNAVAILABLE, &["no link: ", &address, "nobody answers (4 tries); check the"]);
}

#[test]
fn a_gateway_that_was_found_and_went_away_is_told_by_its_site() {
    let folder = tempfile::tempdir().unwrap();
    let opening = Opening {
        path: folder.path().join("my.db"),
        label: None,
        create: true,
        origin: Origin::here(),
        draw: Draw::default(),
    };
    let (mut store, _) = Store::open(&opening).unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::Lan { site: "north".into(), addresses: vec![free] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tell = |_: &Synced| {};
    let sync = Sync::new(&mut store, place, false, || 1_800_000_000, &mut tell);
    let said = runtime.block_on(sync.run()).1.unwrap_err().to_string();
    for part in ["no link: site north at ", &free.to_string(), "still on the gateway's network"] {
        assert!(said.contains(part), "no {part:?} in: {said}");
    }
}

/// Multicast DNS needs sockets of its own; a device that has none left says so.
#[test]
fn seeking_that_fails_names_the_way_around_it() {
    let folder = tempfile::tempdir().unwrap();
    handheld(folder.path(), &["put", GOOD]).told(0, &[]);
    let with = |files: u32| {
        let limited = format!("ulimit -n {files}; exec \"$0\" --db my.db sync --lan north");
        let mut shell = Command::new("sh");
        ended(shell.current_dir(folder.path()).args(["-c", &limited, path("wadi-handheld")]))
    };
    // How many files the runtime takes for itself is its own affair.
    let said = (12..32).map(with).find(|said| said.errors.contains("multicast DNS: "));
    said.expect("too few files").told(UNAVAILABLE, &["name the gateway's address with --tcp"]);
}
