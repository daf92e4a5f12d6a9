//! Handhelds find their gateway by name on the local network.
//!
//! On loopback with a multicast DNS of the test's own port, and across a cable
//! between two network namespaces where that is allowed.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use wadi_harness::handheld::{Handheld, UNAVAILABLE};
use wadi_harness::process::{Outcome, Process, run};
use wadi_harness::wait::{Look, until};
use wadi_harness::{binaries, broker, ports};

const DEADLINE: Duration = Duration::from_secs(60);
/// Announcing takes three probes and a bit.
const FOUND_DEADLINE: Duration = Duration::from_secs(60);
const PORT_VARIABLE: &str = "WADITEST_MDNS_PORT";

struct Village {
    process: Process,
    port: u16,
}

fn configure(folder: &Path, number: u32, site: &str, listen: &str, more: &str) -> PathBuf {
    let config = folder.join(format!("{site}.toml"));
    let text = format!(
        "site = \"{site}\"\ngateway = {number}\ndatabase = \"{site}.db\"\n[broker]\nhost = \"127.0.0.1\"\nport = {}\n[handhelds]\nadmit = \"anyone\"\n[lan]\nlisten = \"{listen}\"\n{more}",
        ports::free()
    );
    std::fs::write(&config, text).unwrap();
    config
}

fn village(folder: &Path, number: u32, site: &str, mdns_port: u16, more: &str) -> Village {
    let port = ports::free();
    let config = configure(folder, number, site, &format!("127.0.0.1:{port}"), more);
    let mut command = binaries::command("wadi-gateway").unwrap();
    command.arg("--config").arg(config).arg("run").env(PORT_VARIABLE, mdns_port.to_string());
    let log = folder.join(format!("{site}.log"));
    let mut process = Process::start("wadi-gateway", &mut command, &log).unwrap();
    broker::listening(port, "the gateway", || process.check()).unwrap();
    Village { process, port }
}

fn sync(handheld: &Handheld, mdns_port: u16, words: &[&str]) -> Outcome {
    let mut command = handheld.compose(&[&["sync", "--schema-only"], words].concat()).unwrap();
    run(command.env(PORT_VARIABLE, mdns_port.to_string()), "", DEADLINE).unwrap()
}

fn until_outcome(what: &str, look: impl Fn() -> Outcome, wanted: impl Fn(&Outcome) -> bool) {
    until(what, FOUND_DEADLINE, || {
        let outcome = look();
        Ok(Look::when(wanted(&outcome), || format!("{outcome:?}")))
    })
    .unwrap();
}

#[test]
fn a_gateway_is_found_by_its_site_and_no_longer_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mdns_port = ports::free();
    let anna = Handheld::new(folder.path(), "anna");
    let nobody = sync(&anna, mdns_port, &["--lan"]);
    assert_eq!(nobody.code, Some(UNAVAILABLE), "{nobody:?}");
    assert!(nobody.stderr.contains("Wi-Fi") && nobody.stderr.contains("--tcp"), "{nobody:?}");

    let north = village(folder.path(), 1, "north", mdns_port, "");
    let quiet = village(folder.path(), 3, "quiet", mdns_port, "announce = false\n");
    let reached = |outcome: &Outcome| outcome.code == Some(0);
    until_outcome("north to be found", || sync(&anna, mdns_port, &["--lan", "north"]), reached);
    let only = sync(&anna, mdns_port, &["--lan"]);
    assert!(reached(&only), "{only:?}");

    let south = village(folder.path(), 2, "Süd 2", mdns_port, "");
    until_outcome("the other one", || sync(&anna, mdns_port, &["--lan", "Süd 2"]), reached);
    let both = sync(&anna, mdns_port, &["--lan"]);
    assert_eq!(both.code, Some(1), "{both:?}");
    for said in ["north", "Süd 2", "--lan SITE"] {
        assert!(both.stderr.contains(said), "{said} is not told: {both:?}");
    }
    assert!(!both.stderr.contains("quiet"), "it does not announce itself: {both:?}");
    for port in [north.port, south.port] {
        assert!(both.stderr.contains(&port.to_string()), "{port} is not told: {both:?}");
    }

    assert!(north.process.stop().unwrap().success());
    let gone = sync(&anna, mdns_port, &["--lan", "north"]);
    assert_eq!(gone.code, Some(UNAVAILABLE), "{gone:?}");
    assert!(gone.stderr.contains("Süd 2"), "who is there is told: {gone:?}");
    for village in [south, quiet] {
        assert!(village.process.stop().unwrap().success());
    }
}

#[test]
fn a_place_is_needed_and_only_one() {
    let folder = tempfile::tempdir().unwrap();
    let anna = Handheld::new(folder.path(), "anna");
    for words in [&["sync"][..], &["sync", "--lan", "--tcp", "127.0.0.1:1"]] {
        let outcome = anna.command(words, "").unwrap();
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("--lan"), "{outcome:?}");
    }
}

/// Two namespaces with a cable between them, removed with the last of its names.
struct Cable {
    names: [String; 2],
}

fn ip(words: &[&str]) -> bool {
    Command::new("ip").args(words).output().is_ok_and(|output| output.status.success())
}

impl Cable {
    fn lay() -> Option<Cable> {
        let id = std::process::id();
        let names = [format!("wadi-g{id}"), format!("wadi-h{id}")];
        let cable = Cable { names };
        let [one, two] = &cable.names;
        let (left, right) = (format!("wg{id}"), format!("wh{id}"));
        let laid = ip(&["netns", "add", one])
            && ip(&["netns", "add", two])
            && ip(&[
                "-n", one, "link", "add", &left, "type", "veth", "peer", "name", &right, "netns",
                two,
            ])
            && ip(&["-n", one, "addr", "add", "192.168.77.1/24", "dev", &left])
            && ip(&["-n", two, "addr", "add", "192.168.77.2/24", "dev", &right])
            && ip(&["-n", one, "link", "set", &left, "up"])
            && ip(&["-n", two, "link", "set", &right, "up"])
            && ip(&["-n", one, "link", "set", "lo", "up"]);
        laid.then_some(cable)
    }

    /// A command inside one of them.
    fn inside(&self, end: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end]]).arg(binaries::path(program).unwrap());
        command
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

/// As in a village: the real port of multicast DNS, an address of a real interface.
#[test]
fn a_gateway_is_found_across_a_real_interface() {
    let Some(cable) = Cable::lay() else {
        eprintln!("not tried: network namespaces need root and `ip`");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), 1, "north", "192.168.77.1:7420", "");
    let mut gateway = cable.inside(0, "wadi-gateway");
    gateway.arg("--config").arg(config).arg("run");
    let log = folder.path().join("north.log");
    let process = Process::start("wadi-gateway", &mut gateway, &log).unwrap();
    let sync = || {
        let mut handheld = cable.inside(1, "wadi-handheld");
        handheld.arg("--db").arg(folder.path().join("anna.db"));
        run(handheld.args(["sync", "--schema-only", "--lan"]), "", DEADLINE).unwrap()
    };
    until_outcome("north to be found", sync, |outcome| outcome.code == Some(0));
    assert!(process.stop().unwrap().success());
}
