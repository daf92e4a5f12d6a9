//! What a service manager sees: ready, pings, a clean stop in time, exit codes that
//! tell what to do, and a log where it belongs.
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wadi_harness::journal::Journal;
use wadi_harness::process::{Process, run};
use wadi_harness::wait::{Look, until};
use wadi_harness::{binaries, ports};

/// For things to happen on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// A stop takes at most 2 s; the rest is for a busy machine to notice.
const STOP: Duration = Duration::from_secs(3);

/// Configurations of both whose broker accepts and says nothing.
fn lay_out(folder: &Path, broker: u16, lan: u16) -> [(&'static str, &'static str); 2] {
    let broker = format!("[broker]\nhost = \"127.0.0.1\"\nport = {broker}\n");
    let gateway = format!("{broker}[lan]\nlisten = \"127.0.0.1:{lan}\"\n");
    std::fs::write(folder.join("wadi-gateway.toml"), gateway).unwrap();
    let enrolment = wadi_harness::hub::enrolment(folder, "north").unwrap();
    let mut enrol = command(folder, "wadi-gateway", "enrol");
    run(enrol.arg(enrolment), "", PATIENCE).unwrap().ok().unwrap();
    std::fs::write(folder.join("wadi-hub.toml"), broker).unwrap();
    [("wadi-gateway", "run"), ("wadi-hub", "serve")]
}

fn command(folder: &Path, program: &str, word: &str) -> Command {
    let mut command = binaries::command(program).unwrap();
    command.arg("--config").arg(folder.join(format!("{program}.toml"))).arg(word);
    command
}

/// What arrives at a notify socket until `last` does.
fn hear(socket: &UnixDatagram, last: &str) -> String {
    let mut all = String::new();
    let deadline = Instant::now() + PATIENCE;
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    while Instant::now() < deadline && !all.contains(last) {
        let mut buffer = [0; 4096];
        if let Ok(length) = socket.recv(&mut buffer) {
            all += &String::from_utf8_lossy(&buffer[..length]);
            all.push('\n');
        }
    }
    assert!(all.contains(last), "no {last}: {all}");
    all
}

#[test]
fn systemd_hears_ready_pings_and_stopping_and_the_stop_is_quick() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lan = ports::free();
    for (program, word) in lay_out(folder.path(), silent.local_addr().unwrap().port(), lan) {
        let path = folder.path().join(format!("{program}.notify"));
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut command = command(folder.path(), program, word);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
        let log = folder.path().join("log");
        let process = Process::start(program, &mut command, &log).unwrap();
        let early = hear(&socket, "READY=1");
        assert!(early.contains("STATUS="), "{early}");
        // A ping more than the first: it goes on.
        hear(&socket, "WATCHDOG=1");
        hear(&socket, "WATCHDOG=1");
        // A broker that says nothing and a handheld that says nothing are no reason to linger.
        let _handheld = std::net::TcpStream::connect(("127.0.0.1", lan));
        let begun = Instant::now();
        let status = process.stop().unwrap();
        let took = begun.elapsed();
        assert!(status.success(), "{program}: {status}");
        assert!(took < STOP, "{program} took {took:?}");
        let late = hear(&socket, "STOPPING=1");
        assert!(!late.contains("READY=1"), "{late}");
    }
}

#[test]
fn a_database_that_cannot_be_used_stays_down() {
    let folder = tempfile::tempdir().unwrap();
    let words = lay_out(folder.path(), ports::free(), ports::free());
    for ((program, word), name) in words.into_iter().zip(["gateway.db", "hub.db"]) {
        let database = folder.path().join(name);
        let ended = |reason: &str| {
            let outcome = run(&mut command(folder.path(), program, word), "", PATIENCE).unwrap();
            assert_eq!(outcome.code, Some(78), "{program} {reason}: {outcome:?}");
            assert!(outcome.stderr.contains(reason), "{program} {reason}: {outcome:?}");
            assert!(outcome.stderr.contains(name), "the file is not named: {outcome:?}");
        };
        std::fs::write(&database, "no database at all, but long enough to be looked at").unwrap();
        ended("not an SQLite database");
        std::fs::remove_file(&database).unwrap();
        let other = rusqlite::Connection::open(&database).unwrap();
        other.execute_batch("CREATE TABLE mine (a); PRAGMA user_version = 1").unwrap();
        drop(other);
        ended("database; give another file");
        std::fs::remove_file(&database).unwrap();
        let log = folder.path().join("log");
        let process =
            Process::start(program, &mut command(folder.path(), program, word), &log).unwrap();
        until("a database", PATIENCE, || {
            let db = rusqlite::Connection::open(&database)?;
            let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            Ok(Look::when(version > 0, || version.to_string()))
        })
        .unwrap();
        process.stop().unwrap();
        let newer = rusqlite::Connection::open(&database).unwrap();
        newer.execute_batch("PRAGMA user_version = 999").unwrap();
        drop(newer);
        ended("newer");
    }
}

#[test]
fn a_bad_log_level_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (program, word) in lay_out(folder.path(), ports::free(), ports::free()) {
        let mut command = command(folder.path(), program, word);
        let outcome = run(command.env("WADI_LOG", "loud"), "", PATIENCE).unwrap();
        assert_eq!(outcome.code, Some(78), "{outcome:?}");
        assert!(outcome.stderr.contains("WADI_LOG"), "{outcome:?}");
        assert!(outcome.stderr.contains("loud"), "{outcome:?}");
    }
}

/// The other half, that its records have fields, is in `logging`.
#[test]
fn the_log_goes_to_journald_or_to_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let words = lay_out(folder.path(), ports::free(), ports::free());
    // Not what stderr is: systemd's journal is somewhere else.
    let log = folder.path().join("elsewhere");
    let metadata = std::fs::File::create(&log).unwrap().metadata().unwrap();
    for (program, word) in words {
        let mut elsewhere = command(folder.path(), program, word);
        let stream = format!("{}:{}", metadata.dev(), metadata.ino() + 1);
        elsewhere.env("JOURNAL_STREAM", stream);
        let log = folder.path().join(format!("{program}.elsewhere"));
        let process = Process::start(program, &mut elsewhere, &log).unwrap();
        until("the log on stderr", PATIENCE, || {
            let text = std::fs::read_to_string(&log)?;
            Ok(Look::when(text.contains("running") && text.contains("phase=\"start\""), || text))
        })
        .unwrap();
        process.stop().unwrap();
        if !Journal::is_possible() {
            continue;
        }
        let journal = Journal::listen(folder.path(), program).unwrap();
        let log = folder.path().join(format!("{program}.log"));
        let inner = command(folder.path(), program, word);
        let process = journal.start(program, &inner, &log).unwrap();
        let first = until("a record", PATIENCE, || {
            let records = journal.records()?;
            let found = records.iter().find(|record| record.one("MESSAGE") == Some("running"));
            Ok(found.cloned().map_or(Look::NotYet(format!("{records:?}")), Look::Found))
        })
        .unwrap();
        process.stop().unwrap();
        assert_eq!(first.one("SYSLOG_IDENTIFIER"), Some(program));
        assert_eq!(first.one("PRIORITY"), Some("6"));
        let left = std::fs::read_to_string(&log).unwrap();
        assert!(!left.contains("running"), "it goes to one place only: {left}");
    }
}
