//! The gateway's own doors: the figures' page, the control socket, and what is typed
//! about handhelds.
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::stranger::{set_mode, stranger};
use crate::{FAILED, Said, UNAVAILABLE, USAGE, command, folder, gateway, path};

fn start(folder: &std::path::Path) -> Child {
    let mut command = command("wadi-gateway", folder, &["--config", "gateway.toml", "run"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while UnixStream::connect(folder.join("gateway.db-control")).is_err() {
        assert!(Instant::now() < deadline, "no control socket");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = folder(&format!("[metrics]\nlisten = \"{address}\"\n"));
    let said = gateway(folder.path(), &["run"]);
    let what = format!("[metrics] listen {address}: ");
    said.told(FAILED, &[&what, "in use", "give another port, or end the program"]);
}

/// A socket that answers as gateways in trouble do.
fn answering(folder: &std::path::Path, answer: &'static str) -> std::thread::JoinHandle<()> {
    let path = folder.join("gateway.db-control");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut question = [0; 16];
        let _ = stream.read(&mut question).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    })
}

#[test]
fn a_gateway_that_only_its_user_may_ask_says_so() {
    let folder = folder("");
    let mut child = start(folder.path());
    for file in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        set_mode(&folder.path().join(file), 0o644);
    }
    set_mode(&folder.path().join("gateway.db-control"), 0);
    let mut status = stranger(path("wadi-gateway"), folder.path());
    let said = status.args(["--config", "gateway.toml", "status"]).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let page = String::from_utf8(said.stdout).unwrap();
    let what = "only its own user may ask it: run this command as that user or as root";
    assert!(page.contains(what) && said.status.success(), "{page}");
}

#[test]
fn a_running_gateway_that_cannot_answer_is_told_with_what_to_do() {
    let folder = folder("");
    let mut child = start(folder.path());
    // Nobody may fill the places of those who look: syncs have fewer of them.
    let socket = folder.path().join("gateway.db-control");
    let held: Vec<UnixStream> = (0..9)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(b"sync\n").unwrap();
            stream
        })
        .collect();
    let mut refused = 0;
    for mut stream in &held {
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut said = [0; 256];
        let length = stream.read(&mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        refused += usize::from(said.contains("others are waiting for a sync already; see"));
        let known = ["", "failed: others", "failed: this gateway is not enrolled"];
        assert!(known.iter().any(|known| said.starts_with(known)), "{said}");
    }
    drop(held);
    let many: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut hung_up = 0;
    for mut stream in &many {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut said = [0; 256];
        let length = stream.read(&mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        hung_up += usize::from(said.contains("too many are asking; ask again"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(hung_up >= 40 - 16, "{hung_up} were told, and {refused} syncs");

    for (answer, parts) in [
        ("", &["not synced: the gateway ended meanwhile"][..]),
        ("failed: no network\n", &["not synced: no network"]),
    ] {
        let thread = answering(folder.path(), answer);
        gateway(folder.path(), &["sync"]).told(UNAVAILABLE, parts);
        thread.join().unwrap();
    }
    for (answer, remedy) in [
        ("", "it is too busy to answer, or just ended: ask again"),
        ("[]\n", "it is of another version than this command: start it again"),
        ("failed: its store is busy\n", "its store is busy"),
    ] {
        let thread = answering(folder.path(), answer);
        let words = ["--config", "gateway.toml", "status"];
        let output = command("wadi-gateway", folder.path(), &words).output().unwrap();
        let page = String::from_utf8(output.stdout).unwrap();
        assert!(page.contains("PROBLEM       the gateway could not be asked"), "{page}");
        assert!(page.contains(remedy), "{page}");
        thread.join().unwrap();
    }
}

#[test]
fn who_is_meant_must_be_clear_to_let_a_handheld_in() {
    let folder = folder("");
    let mut child = start(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let say = |words: &[&str]| gateway(folder.path(), &[&["handheld"], words].concat());
    say(&["allow", "anna"]).told(
        FAILED,
        &["no handheld \"anna\" is known here; let it sync once, or give all 64 digits of"],
    );
    let of_key = "no handheld \"anna\" of this key is known here";
    say(&["allow", "anna", "--key", "3f2a91c077e10b5d"]).told(FAILED, &[of_key]);
    for key in ["3f2a91c077e10b5d", "77e10b5d3f2a91c0"] {
        say(&["allow", "anna", "--key", &key.repeat(4)]).told(0, &[]);
    }
    let several = "several handhelds go by the name \"anna\": say which with --key";
    say(&["revoke", "anna"]).told(FAILED, &[several, "3f2a 91c0", "77e1 0b5d"]);
    say(&["allow", "anna", "--key", "3f2a"])
        .told(USAGE, &["--key", "not a key: type the 16 digits that `wadi-handheld key` shows"]);
    say(&["allow", &"n".repeat(64)]).told(USAGE, &["a name of 1 to 63 bytes of text is needed"]);
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let folder = folder("");
    let mut child = start(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    for words in [&["status"][..], &["ledger"], &["handheld", "list"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let words = [&["--config", "gateway.toml"], words].concat();
        let mut command = command("wadi-gateway", folder.path(), &words);
        let output = command.stdout(full).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let said = Said { code: output.status.code(), errors, words: format!("{words:?}") };
        said.told(FAILED, &["No space left on device"]);
    }
}
