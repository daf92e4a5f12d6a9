//! A database or an identity that cannot be used. Each names the file and says what
//! to do; the exit code tells systemd whether trying again helps.
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use crate::stranger::{set_mode, stranger};
use crate::{CONFIG, FAILED, LATER, ended, folder, hub, serving};

#[test]
fn what_is_no_database_of_a_hub_is_told_apart() {
    let folder = folder("");
    let file = folder.path().join("hub.db");
    let status = |code, parts: &[&str]| {
        let said = hub(folder.path(), &["status"]);
        said.told(code, parts);
        said.told(code, &["wadi-hub: hub.db: "]);
    };
    status(FAILED, &["there is no such database; `schema publish`, `gateway add` and `serve`"]);
    std::fs::write(&file, "Dear diary, ".repeat(100)).unwrap();
    status(CONFIG, &["this is not an SQLite database; give another file in `database`"]);
    std::fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    status(CONFIG, &["this is not a hub's database; give another file in `database`"]);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    status(FAILED, &["it cannot be opened; check that its folder is there"]);
    std::fs::remove_dir(&file).unwrap();

    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    let db = Connection::open(&file).unwrap();
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    status(CONFIG, &["the database has version 99, this program knows", "use a newer wadi-hub"]);
    db.pragma_update(None, "user_version", version).unwrap();
    db.execute_batch(
        "INSERT INTO wadi_schema (version, published_s, body, source) VALUES (1, 1, x'ff', '')",
    )
    .unwrap();
    status(CONFIG, &["the database is damaged: wadi_schema.body", "copy the file aside and"]);
    drop(db);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4_096..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("hub.db{ending}")));
    }
    status(CONFIG, &["damaged (", "copy the file aside and restore a backup"]);
}

#[test]
fn a_database_that_another_has_is_tried_later() {
    let folder = folder("[embedded]\nlisten = \"127.0.0.1:0\"\n");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    let mut child = serving(folder.path());
    let second = hub(folder.path(), &["serve"]);
    let restore = hub(folder.path(), &["restore", "hub.db"]);
    child.kill().unwrap();
    child.wait().unwrap();
    for said in [second, restore] {
        said.told(LATER, &["hub.db: another wadi-hub is serving with it; stop that one first"]);
    }
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = hub(folder.path(), &["gateway", "revoke", "north"]);
    locked.told(FAILED, &["another program holds its write lock; end that transaction"]);
}

#[test]
fn places_where_nothing_can_be_written_are_named() {
    let folder = folder("database = \"nowhere/hub.db\"\n");
    let said = hub(folder.path(), &["serve"]);
    said.told(FAILED, &["nowhere/hub.db: its lock file cannot be opened: ", "check its folder"]);
    let said = hub(folder.path(), &["gateway", "add", "north"]);
    said.told(FAILED, &["nowhere/hub.db: ", "it cannot be opened; check that its folder is there"]);
}

#[test]
fn a_database_that_may_not_be_written_says_what_to_check() {
    let folder = folder("");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    for file in ["hub.db", "hub-identity.toml"] {
        set_mode(&folder.path().join(file), 0o444);
    }
    let said = |words: &[&str]| {
        let mut command = stranger(env!("CARGO_BIN_EXE_wadi-hub"), folder.path());
        ended(command.args(["--config", "hub.toml"]).args(words))
    };
    said(&["gateway", "add", "south"])
        .told(CONFIG, &["hub.db: ", "it cannot be written; check its owner and mode"]);
    let lock = "hub.db: its lock file cannot be opened: ";
    said(&["serve"]).told(FAILED, &[lock, "check its folder, and the owner and mode of that"]);
}

#[test]
fn an_identity_is_guarded_and_its_damage_is_told() {
    let folder = folder("");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    let file = folder.path().join("hub-identity.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let secret = good.lines().find_map(|line| line.strip_prefix("master = \"")).unwrap();
    let secret = secret.trim_end_matches('"');
    let misplaced = format!("made_s = \"{secret}\" # ");
    let add = |site: &str| hub(folder.path(), &["gateway", "add", site]);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    add("south")
        .told(FAILED, &["hub-identity.toml: mode 640 lets others read secrets: run `chmod"]);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    for (text, what) in [
        (good.replace("master = \"", "master = \"zz"), "master is damaged"),
        (good.replace("BEGIN PRIVATE", "BEGIN NOTHING"), "authority_key is damaged"),
        (good.replace("master =", "mister ="), "the file (unknown field `mister`"),
        (good.replace("made_s = ", &misplaced), "the file (invalid type: string \"…\""),
        (String::new(), "the file (missing field"),
    ] {
        std::fs::write(&file, text).unwrap();
        let said = add("south");
        said.told(FAILED, &["identity hub-identity.toml: ", what, "put the file of a backup in"]);
        assert!(!said.errors.contains(secret), "a secret is shown");
    }
}

#[test]
fn a_copy_that_cannot_be_made_or_put_back_names_its_file() {
    let folder = folder("");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    std::fs::write(folder.path().join("there"), "mine").unwrap();
    let backup = |to: &str| hub(folder.path(), &["backup", to]);
    backup("there").told(FAILED, &["there: ", "exists", "--force"]);
    backup("nowhere/copy").told(FAILED, &["nowhere/copy", "there is no such folder"]);
    let part = std::fs::File::create(folder.path().join("busy.part")).unwrap();
    part.lock().unwrap();
    backup("busy").told(FAILED, &["busy.part: another process is writing it; wait for its end"]);
    let restore = |from: &str| hub(folder.path(), &["restore", from]);
    restore("nowhere").told(FAILED, &["nowhere: there is no such file; nothing was changed"]);
    restore("there").told(FAILED, &["there: this is no whole hub's database", "changed"]);
    std::fs::write(folder.path().join("empty"), "").unwrap();
    restore("empty").told(FAILED, &["empty: it is empty; nothing was changed"]);
    let mine = Connection::open(folder.path().join("mine")).unwrap();
    mine.execute_batch("CREATE TABLE mine (a)").unwrap();
    restore("mine").told(FAILED, &["mine: this is not a hub's database; nothing was changed"]);
}
