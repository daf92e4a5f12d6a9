//! An operator asks for what cannot be: by sites, schemas, rows, cases, changes.
use rusqlite::Connection;

use crate::{FAILED, Said, USAGE, command, folder, hub};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
const ROW: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";

#[test]
fn enrolling_says_which_name_or_file_is_in_the_way() {
    let folder = folder("");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    let long = "n".repeat(64);
    for (words, parts) in [
        (
            &["add", "north"][..],
            &["site \"north\" has gateway 1 already: ", "`wadi-hub gateway enrol north`"][..],
        ),
        (&["enrol", "south"], &["there is no site \"south\": `wadi-hub gateway list` names them"]),
        (&["revoke", "south"], &["there is no site \"south\": `wadi-hub gateway list` names them"]),
        (&["add", ""], &["\"\" is no site name: use 1 to 63 bytes of text"]),
        (&["add", "a\nb"], &["\"a\\nb\" is no site name: use"]),
        (&["add", &long], &["is no site name: use 1 to 63 bytes"]),
        (&["add", "south", "--out", "hub.toml"], &["hub.toml: ", "move it away, or name another"]),
        (&["add", "south", "--out", "nowhere/south"], &["nowhere/south: No such file"]),
    ] {
        hub(folder.path(), &[&["gateway"], words].concat()).told(FAILED, parts);
    }
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    db.execute_batch("UPDATE wadi_gateway SET enrolment = 1000").unwrap();
    hub(folder.path(), &["gateway", "enrol", "north"])
        .told(FAILED, &["site \"north\" was enrolled 1000 times: use another site name"]);
    let out = &["broker-config", "mosquitto", "--out", "hub.toml"];
    hub(folder.path(), out).told(FAILED, &["hub.toml: "]);
}

#[test]
fn a_schema_that_cannot_be_published_names_its_file_and_line() {
    let folder = folder("");
    hub(folder.path(), &["schema", "publish", "nowhere.toml"])
        .told(FAILED, &["nowhere.toml: no such file or directory"]);
    let file = folder.path().join("schema.toml");
    std::fs::write(&file, "name = \"x\"\ntables = 7\n").unwrap();
    let publish = || hub(folder.path(), &["schema", "publish", "schema.toml"]);
    publish().told(FAILED, &["schema.toml: ", "line 2"]);
    std::fs::write(&file, SCHEMA).unwrap();
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    db.execute_batch("CREATE VIEW visit AS SELECT 1").unwrap();
    publish().told(FAILED, &["visit: the database has a view of this name; rename one of them"]);
    db.execute_batch("DROP VIEW visit").unwrap();
    publish().told(0, &[]);
    std::fs::write(&file, SCHEMA.replace("text", "integer")).unwrap();
    publish().told(FAILED, &["schema.toml: ", "visit.patient"]);
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let folder = folder("");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    let history = |table: &str, row: &str| hub(folder.path(), &["history", table, row]);
    history("visit", ROW).told(FAILED, &["no schema: run `wadi-hub schema publish FILE`"]);
    std::fs::write(folder.path().join("schema.toml"), SCHEMA).unwrap();
    hub(folder.path(), &["schema", "publish", "schema.toml"]).told(0, &[]);
    history("vist", ROW).told(FAILED, &["no table \"vist\"; there are visit"]);
    history("visit", "seven").told(FAILED, &["\"seven\" is not a UUID"]);
    let unheard = format!("visit {ROW}: the hub never heard of this row: check the table and");
    history("visit", ROW).told(FAILED, &[&unheard]);
    for (words, code, part) in [
        (&["review", "show", "7"][..], FAILED, "no case 7: see `wadi-hub review list`"),
        (
            &["review", "settle", "7", "--pick", "1"],
            FAILED,
            "no case 7: see `wadi-hub review list`",
        ),
        (&["review", "settle", "7"], USAGE, "--pick <N>|--value <VALUE>|--newest|--site <SITE>"),
        (&["review", "settle-alike", "nest", "comments"], USAGE, "--value <VALUE>|--newest|--site"),
        (
            &["review", "settle-alike", "nest", "x", "--newest", "--join", "/"],
            USAGE,
            "--join <TEXT>",
        ),
        (&["review", "undo"], USAGE, "<CASE>"),
        (&["quarantine", "reject", "x"], USAGE, "--reason <TEXT>"),
        (&["quarantine", "repair", "x", "--set", "age"], USAGE, "say FIELD=VALUE, as in age=13"),
        (&["review", "settle", "7", "--pick", "1", "--value", "x"], USAGE, "--value"),
        (&["review", "show", "x"], USAGE, "'x'"),
        (&["quarantine", "show", "x"], FAILED, "\"x\" is not a dot (device.run.sequence)"),
        (&["quarantine", "show", "1.2.3"], FAILED, "is not in quarantine: see `wadi-hub quar"),
    ] {
        hub(folder.path(), words).told(code, &[part]);
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let folder = folder("");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    for words in [&["status"][..], &["gateway", "list"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command(folder.path(), words).stdout(full).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let said = Said { code: output.status.code(), errors, words: format!("{words:?}") };
        said.told(FAILED, &["writing the answer: No space left on device"]);
    }
}
