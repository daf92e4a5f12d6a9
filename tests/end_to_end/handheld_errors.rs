//! What wadi-handheld says when it cannot: each message names the file, the line,
//! the field or the place, and what to do; none is for programmers.
use std::path::Path;

use wadi_harness::handheld::{Handheld, Link, UNAVAILABLE};
use wadi_harness::line::Line;
use wadi_harness::process::Outcome;
use wadi_harness::wait::{Look, until};
use wadi_harness::{binaries, process};

use crate::world::{PATIENCE, World};

const FAILED: Option<i32> = Some(1);
const USAGE: Option<i32> = Some(2);
/// Words that only a programmer reads.
const JARGON: [&str; 9] =
    ["panicked", "struct", "i64", "Some(", "Error(", "os error", "typewriter", "code 14", "unwrap"];
const GOOD: &str = r#"{"op":"insert","table":"visit","fields":{"patient":"p"}}"#;

/// It failed with this code and said all of this, in words for people.
fn says(outcome: &Outcome, code: Option<i32>, words: &[&str]) {
    assert_eq!(outcome.code, code, "{outcome:?}");
    for word in words {
        assert!(outcome.stderr.contains(word), "{word:?} is not said: {outcome:?}");
    }
    for jargon in JARGON {
        assert!(!outcome.text().contains(jargon), "{jargon}: {outcome:?}");
    }
}

fn anna(folder: &Path) -> impl Fn(&[&str]) -> Outcome {
    let handheld = Handheld::new(folder, "anna");
    move |words| handheld.command(words, "").unwrap()
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let call = |db: &str, words: &[&str]| {
        let mut command = binaries::command("wadi-handheld").unwrap();
        process::run(command.args(["--db", db]).args(words), "", PATIENCE).unwrap()
    };
    let missing = file("missing.db");
    for words in [&["status"][..], &["list", "visit"], &["forget", "north"]] {
        says(
            &call(&missing, words),
            FAILED,
            &[&missing, "there is no such file", "`put`, `import` or `sync`"],
        );
    }
    assert!(!Path::new(&missing).exists(), "looking makes none");
    let nowhere = file("nowhere/anna.db");
    says(&call(&nowhere, &["put", GOOD]), FAILED, &[&nowhere, "check that its folder is there"]);
    says(&call(&file(""), &["status"]), FAILED, &["cannot be opened"]);
    let (diary, other, newer) = (file("diary.db"), file("other.db"), file("newer.db"));
    std::fs::write(&diary, "Dear diary, ".repeat(500)).unwrap();
    says(&call(&diary, &["status"]), FAILED, &[&diary, "not a handheld's file", "--db"]);
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    says(&call(&other, &["put", GOOD]), FAILED, &[&other, "not a handheld's file", "--db"]);
    call(&newer, &["put", GOOD]).ok().unwrap();
    let db = rusqlite::Connection::open(&newer).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    says(&call(&newer, &["status"]), FAILED, &[&newer, "version 99", "use the newer program"]);
    says(&call(&newer, &["--device", "", "status"]), USAGE, &["--device", "1 to 63 bytes"]);
    let none =
        process::run(binaries::command("wadi-handheld").unwrap().arg("status"), "", PATIENCE);
    says(&none.unwrap(), USAGE, &["--db <FILE>"]);
}

#[test]
fn records_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let call = anna(folder.path());
    let id = "8dd32ccf-ea43-49e0-8514-58eeb8336913";
    let many = format!(r#"{{"group":[{}]}}"#, [GOOD; 257].join(","));
    let cases: [(&str, &[&str]); 17] = [
        ("bad", &["not a record", "one JSON object", "{\"op\":\"insert\""]),
        ("[]", &["one JSON object", "{\"group\":["]),
        ("{bad", &["not a record", "column 2"]),
        (r#"{"op":"insert","table":"t","feilds":{"a":1}}"#, &["`feilds`", "`fields`"]),
        (r#"{"op":5,"table":"t"}"#, &["not a record", "expected a string"]),
        (r#"{"table":"t"}"#, &["\"op\" is missing", "insert, update or delete"]),
        (r#"{"op":"upsert","table":"t"}"#, &["\"upsert\"", "use insert, update or delete"]),
        (r#"{"op":"insert"}"#, &["\"table\" is missing"]),
        (r#"{"op":"update","table":"t","fields":{"a":1}}"#, &["\"id\" is missing"]),
        (r#"{"op":"insert","table":"t","id":"seven"}"#, &["id \"seven\"", id]),
        (r#"{"op":"insert","table":"t","fields":{"a":{"b":1}}}"#, &["field a", "{\"add\":…}"]),
        (r#"{"op":"insert","table":"t","ts":"noon"}"#, &["ts \"noon\"", "milliseconds since 1970"]),
        (r#"{"op":"insert","table":"t","ts":-5}"#, &["ts -5", "milliseconds since 1970"]),
        (r#"{"op":"insert","table":"","fields":{}}"#, &["a table has a name of 1 to 63 bytes"]),
        (r#"{"group":[]}"#, &["a group has 1 to 256 records, this one 0"]),
        (&many, &["a group has 1 to 256 records, this one 257"]),
        (r#"{"group":[{"op":"x","table":"t"}]}"#, &["record 1 of the group", "\"x\""]),
    ];
    for (record, words) in cases {
        let outcome = call(&["put", record]);
        says(&outcome, FAILED, &[words, &["not taken: "]].concat());
    }
    says(&call(&["delete", "visit", "seven"]), FAILED, &["id \"seven\"", id]);
    says(&call(&["list", "visit"]), FAILED, &["no schema yet", "run `sync` once"]);
    let pending = Handheld::new(folder.path(), "anna").status().unwrap();
    assert_eq!(pending["changes"]["pending"], 0, "nothing of it was taken");
}

#[test]
fn imports_that_do_not_go_well() {
    let folder = tempfile::tempdir().unwrap();
    let call = anna(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (missing, records, rejects) =
        (file("missing.jsonl"), file("in.jsonl"), file("in.jsonl.rejects.jsonl"));
    says(&call(&["import", &missing]), FAILED, &[&missing, "no such file"]);
    std::fs::write(&records, format!("{GOOD}\nbad\n{GOOD}\n")).unwrap();
    let same = call(&["import", &records, "--rejects", &records]);
    says(&same, FAILED, &["--rejects", "name another"]);
    let nowhere = file("nowhere/rejects.jsonl");
    says(&call(&["import", &records, "--rejects", &nowhere]), FAILED, &[&nowhere]);
    let outcome = call(&["import", &records]);
    let line = format!("{records}:2: put aside: not a record");
    says(
        &outcome,
        FAILED,
        &["judged at the hub", &line, &rejects, "mend them and import that file"],
    );
    assert!(outcome.stdout.contains("2 changes taken, 1 line put aside"), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(&rejects).unwrap(), "bad\n");
}

#[test]
fn places_where_no_gateway_is() {
    let folder = tempfile::tempdir().unwrap();
    let call = anna(folder.path());
    for bad in ["nohost", "host:", ":7420", "host:0", "host:99999"] {
        says(&call(&["sync", "--tcp", bad]), USAGE, &[bad, "host and port are needed"]);
    }
    let none = Some(UNAVAILABLE);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    says(&call(&["sync", "--serial", file]), none, &[file, "this is no serial port", "[[serial]]"]);
    says(&call(&["sync", "--serial", "/dev/null"]), none, &["/dev/null", "this is no serial port"]);
    says(&call(&["sync", "--serial", file, "--baud", "5"]), USAGE, &["--baud", "300"]);
}

/// A cable whose other end nobody holds. The twelve seconds are what it is patient.
#[test]
fn a_line_that_nobody_answers_on() {
    let folder = tempfile::tempdir().unwrap();
    let line = Line::lay(folder.path(), "line", 1).unwrap();
    let link = Link::Serial(line.handheld_port().to_path_buf());
    let lonely = Handheld::new(folder.path(), "anna").begin_sync(&link).unwrap();
    until("the first one to talk", PATIENCE, || {
        Ok(Look::when(line.meter().bytes() > 0, || "silence".into()))
    })
    .unwrap();
    let port = line.handheld_port().to_str().unwrap();
    let none = Some(UNAVAILABLE);
    let second = Handheld::new(folder.path(), "berta").sync(&link).unwrap();
    says(&second, none, &[port, "another program has this port open"]);
    let outcome = lonely.finish(PATIENCE).unwrap();
    says(&outcome, none, &[port, "nobody answers", "the 115200 baud", "[[serial]]"]);
    assert_eq!(outcome.stdout, "", "there is nothing to sum up");
}

#[test]
fn a_table_that_is_not_there_is_told_with_those_that_are() {
    let schema = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\", required = true }\n[tables.nest.fields]\na = { type = \"text\" }\n";
    let mut world = World::start(schema, 1, false, 95).unwrap();
    world.until_schema().unwrap();
    let handheld = world.handheld("anna");
    handheld.sync_well(&world.lan(0), PATIENCE).unwrap();
    let call = |words: &[&str]| handheld.command(words, "").unwrap();
    says(&call(&["list", "vist"]), FAILED, &["there is no table vist", "visit", "nest"]);
    // What the hub would put aside is taken, and said at once.
    let taken = call(&["put", r#"{"op":"insert","table":"vist","fields":{"patient":"p"}}"#]);
    says(&taken, Some(0), &["taken, but the hub will put it aside", "\"vist\""]);
    let taken = call(&["put", r#"{"op":"insert","table":"visit","fields":{}}"#]);
    says(&taken, Some(0), &["taken, but the hub will put it aside", "visit.patient"]);
    world.stop().unwrap();
}
