//! Addresses that cannot be had, brokers that are away, a stop that comes early.
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::{FAILED, command, folder, hub};

#[test]
fn an_address_that_is_taken_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let embedded = "give another address in [embedded] listen, or end the program that has this";
    for (text, what, advice) in [
        (
            format!("[embedded]\nlisten = \"{address}\"\n"),
            format!("embedded broker on {address}: "),
            embedded,
        ),
        (
            format!("[embedded]\nlisten = \"{address}\"\ntls = true\n"),
            format!("[embedded] listen {address}: "),
            embedded,
        ),
        (
            format!("[embedded]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"{address}\"\n"),
            format!("[metrics] listen {address}: "),
            "give another port, or end the program that has it",
        ),
    ] {
        let folder = folder(&text);
        hub(folder.path(), &["serve"]).told(FAILED, &[&what, "in use", advice]);
    }
}

/// It goes on trying, so the log says what to check.
#[test]
fn a_broker_that_is_not_there_is_named_with_what_to_check() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broker = format!("[broker]\nhost = \"127.0.0.1\"\nport = {}\n", free.port());
    let folder = folder(&broker);
    let mut child = command(folder.path(), &["serve"]).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let told = lines.map_while(Result::ok).find(|line| line.contains("no broker: "));
    child.kill().unwrap();
    child.wait().unwrap();
    let told = told.expect("it says that there is none");
    for part in ["WARN", "refused", "check that it runs, and [broker]", &free.to_string()] {
        assert!(told.contains(part), "no {part:?} in: {told}");
    }
}

/// The database is busy and the hub waits for it, when systemd changes its mind.
#[test]
fn a_stop_that_comes_early_is_a_clean_one() {
    let folder = folder("[embedded]\nlisten = \"127.0.0.1:0\"\n");
    hub(folder.path(), &["gateway", "add", "north"]).told(0, &[]);
    let db = Connection::open(folder.path().join("hub.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut child = command(folder.path(), &["serve"]).stderr(Stdio::null()).spawn().unwrap();
    let lock = folder.path().join("hub.db-lock");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !File::open(&lock).is_ok_and(|lock| lock.try_lock().is_err()) {
        assert!(Instant::now() < deadline, "it does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    db.execute_batch("ROLLBACK").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "it ended by the signal");
}
