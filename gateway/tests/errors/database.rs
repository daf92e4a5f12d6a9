//! A database that cannot be used: another's, newer, older, damaged, locked, not to be
//! written. Each names the file and says what to do; the exit code tells systemd
//! whether trying again helps.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::stranger::set_mode;
use crate::{CONFIG, FAILED, LATER, command, folder, gateway, gateway_of_stranger};

/// Wait for what a started gateway does.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !there() {
        assert!(Instant::now() < deadline, "no {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start(folder: &Path) -> Child {
    let mut command = command("wadi-gateway", folder, &["--config", "gateway.toml", "run"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("control socket", || folder.join("gateway.db-control").exists());
    child
}

/// A database that a gateway has made.
fn made(folder: &Path) -> Connection {
    let mut child = start(folder);
    child.kill().unwrap();
    child.wait().unwrap();
    Connection::open(folder.join("gateway.db")).unwrap()
}

#[test]
fn what_is_no_database_of_this_gateway_is_told_apart() {
    let folder = folder("");
    let file = folder.path().join("gateway.db");
    let status = |code, parts: &[&str]| {
        let said = gateway(folder.path(), &["status"]);
        said.told(code, parts);
        said.told(code, &["database gateway.db: "]);
    };
    status(FAILED, &["there is no such file; `wadi-gateway run` creates it"]);
    std::fs::write(&file, "Dear diary, ".repeat(100)).unwrap();
    status(CONFIG, &["this is not an SQLite database; give another file in `database`"]);
    std::fs::remove_file(&file).unwrap();
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
    status(CONFIG, &["this is not a gateway's database; give another file in `database`"]);
    std::fs::remove_file(&file).unwrap();

    let db = made(folder.path());
    let layout: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    let allow = &["handheld", "allow", "anna"];
    db.pragma_update(None, "user_version", 1).unwrap();
    gateway(folder.path(), allow)
        .told(FAILED, &["gateway.db: ", "older wadi-gateway; start `wadi-gateway run` once"]);
    db.pragma_update(None, "user_version", 99).unwrap();
    status(CONFIG, &["newer wadi-gateway (layout 99, this one knows ", "install that version"]);
    db.pragma_update(None, "user_version", layout).unwrap();
    let text = "site = \"south\"\ngateway = 2\n";
    std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
    let other = gateway(folder.path(), &["run"]);
    other.told(CONFIG, &["gateway.db: it belongs to gateway 1 of site \"north\"; correct"]);
}

#[test]
fn a_damaged_database_names_what_is_damaged_and_what_to_do() {
    let folder = folder("");
    let db = made(folder.path());
    db.execute_batch("UPDATE wadi_round SET state = x'ffffffff'").unwrap();
    let said = gateway(folder.path(), &["run"]);
    let rescue = "copy it aside and restore a backup, and see README";
    said.told(CONFIG, &["gateway.db: damaged: the round does not decode; nothing more is", rescue]);
    // From then on it is not opened, so not written, whatever else there is to it.
    db.execute_batch("UPDATE wadi_round SET state = x''").unwrap();
    let (file, note) = (folder.path().join("gateway.db"), "gateway.db-damaged");
    let before = std::fs::read(&file).unwrap();
    let said = gateway(folder.path(), &["run"]);
    let found = "gateway.db-damaged says: the round does not decode; nothing more is";
    said.told(CONFIG, &["gateway.db: damaged, as ", found, rescue]);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::remove_file(folder.path().join(note)).unwrap();
    drop(db);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4_096..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    for ending in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.path().join(format!("gateway.db{ending}")));
    }
    let said = gateway(folder.path(), &["run"]);
    said.told(CONFIG, &["gateway.db: damaged (", rescue]);
    let said = gateway(folder.path(), &["run"]);
    said.told(CONFIG, &["gateway.db-damaged says: ", rescue]);
}

#[test]
fn a_database_that_another_has_is_tried_later() {
    let folder = folder("");
    let mut child = start(folder.path());
    let second = gateway(folder.path(), &["run"]);
    let restore = gateway(folder.path(), &["restore", "gateway.db"]);
    child.kill().unwrap();
    child.wait().unwrap();
    second.told(LATER, &["gateway.db: another wadi-gateway is running on it; stop that one"]);
    restore.told(LATER, &["gateway.db: another wadi-gateway is running on it; stop that one"]);

    let db = Connection::open(folder.path().join("gateway.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let locked = gateway(folder.path(), &["handheld", "allow", "anna", "--key", KEY]);
    locked.told(FAILED, &["gateway.db: another program has held its write lock for 5 s; end"]);
}

const KEY: &str = "3f2a91c077e10b5d3f2a91c077e10b5d3f2a91c077e10b5d3f2a91c077e10b5d";

#[test]
fn places_where_nothing_can_be_written_are_named() {
    let folder = folder("database = \"nowhere/gateway.db\"\n");
    let said = gateway(folder.path(), &["run"]);
    said.told(
        FAILED,
        &["nowhere/gateway.db: its lock file cannot be opened: ", "check its folder"],
    );
    std::fs::create_dir_all(folder.path().join("nowhere/gateway.db")).unwrap();
    let said = gateway(folder.path(), &["run"]);
    said.told(FAILED, &["nowhere/gateway.db: it cannot be opened; check that its folder is there"]);
}

#[test]
fn a_database_that_may_not_be_written_says_what_to_check() {
    let folder = folder("");
    let db = made(folder.path());
    db.pragma_update(None, "journal_mode", "DELETE").unwrap();
    drop(db);
    for file in ["gateway.db", "gateway.db-key", "gateway.db-lock"] {
        set_mode(&folder.path().join(file), 0o444);
    }
    let digits = "ab".repeat(32);
    let allow = &["handheld", "allow", "anna", "--key", &digits];
    gateway_of_stranger(folder.path(), allow)
        .told(FAILED, &["gateway.db: it cannot be written; check its owner and mode"]);
    let said = gateway_of_stranger(folder.path(), &["run"]);
    let lock = "gateway.db: its lock file cannot be opened: ";
    said.told(FAILED, &[lock, "check its folder, and the owner and mode of that"]);
}

#[test]
fn a_copy_that_cannot_be_made_names_its_file() {
    let folder = folder("");
    drop(made(folder.path()));
    std::fs::write(folder.path().join("there"), "mine").unwrap();
    let backup = |to: &str| gateway(folder.path(), &["backup", to]);
    backup("there").told(FAILED, &["there: ", "exists", "--force"]);
    backup("nowhere/copy").told(FAILED, &["nowhere/copy.part: ", "there is no such folder"]);
    let part = std::fs::File::create(folder.path().join("busy.part")).unwrap();
    part.lock().unwrap();
    backup("busy").told(FAILED, &["busy.part: another process is writing it; wait for its end"]);
    let restore = |from: &str| gateway(folder.path(), &["restore", from]);
    restore("nowhere").told(FAILED, &["nowhere: there is no such file; nothing was changed"]);
    restore("there").told(FAILED, &["there: this is no whole gateway's database", "changed"]);
    std::fs::write(folder.path().join("empty"), "").unwrap();
    restore("empty").told(FAILED, &["empty: it is empty; nothing was changed"]);
}

#[test]
fn a_key_file_that_holds_none_says_how_to_go_on() {
    let folder = folder("");
    drop(made(folder.path()));
    let file = folder.path().join("gateway.db-key");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&file, "not a key").unwrap();
    for words in [&["run"][..], &["handheld", "list"]] {
        let said = gateway(folder.path(), words);
        said.told(FAILED, &["gateway.db-key: it does not hold a key of 64 hex", "restore it from"]);
        assert!(!said.errors.contains("not a key\n"), "what it holds is not shown");
    }
}
