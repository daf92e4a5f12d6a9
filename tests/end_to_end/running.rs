//! What a service manager sees: ready, pings, a clean stop in time, exit codes that
//! tell what to do, and a log where it belongs.
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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

/// journald's socket has one fixed path: a mount namespace gives this process a
/// `/run` of its own. Only root may make one; elsewhere only the other half is looked at.
#[test]
fn the_log_goes_to_journald_with_fields_or_to_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let words = lay_out(folder.path(), ports::free(), ports::free());
    let log = std::fs::File::create(folder.path().join("stderr")).unwrap();
    let (device, inode) = log.metadata().map(|it| (it.dev(), it.ino())).unwrap();
    // Not what stderr is: systemd's journal is somewhere else.
    let (program, word) = words[0];
    let mut elsewhere = command(folder.path(), program, word);
    elsewhere.env("JOURNAL_STREAM", format!("{device}:{}", inode + 1));
    let other = folder.path().join("elsewhere");
    let process = Process::start(program, &mut elsewhere, &other).unwrap();
    until("the log on stderr", PATIENCE, || {
        let text = std::fs::read_to_string(&other)?;
        Ok(Look::when(text.contains("running"), || text))
    })
    .unwrap();
    process.stop().unwrap();

    if !rustix::process::geteuid().is_root() {
        return;
    }
    for (program, word) in words {
        let _ = std::fs::remove_file(folder.path().join("socket"));
        let socket = UnixDatagram::bind(folder.path().join("socket")).unwrap();
        let inner = command(folder.path(), program, word);
        let mounts = "mount -t tmpfs none /run && mkdir -p /run/systemd/journal \
                      && mount --bind \"$1\" /run/systemd/journal && shift && exec \"$@\"";
        let mut outer = Command::new("unshare");
        outer.args(["-m", "sh", "-c", mounts, "sh"]).arg(folder.path());
        outer.arg(inner.get_program()).args(inner.get_args());
        outer.env("JOURNAL_STREAM", format!("{device}:{inode}"));
        outer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone().unwrap());
        let mut child = outer.spawn().unwrap();
        let heard = hear(&socket, "WADI_PHASE");
        child.kill().unwrap();
        child.wait().unwrap();
        for word in ["SYSLOG_IDENTIFIER", program, "PRIORITY", "MESSAGE"] {
            assert!(heard.contains(word), "no {word}: {heard}");
        }
    }
}
