//! A network of its own for one gateway (a Linux network namespace), with one link
//! to the outside that can be cut, moved and given back as a cellular one is.
//!
//! Needs root and iproute2. Where that is not permitted, making one fails, and the
//! test with it, unless `WADITEST_NO_NETNS=1` says that it may be left out.
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::run;

/// A command of iproute2 must be done after this.
const DEADLINE: Duration = Duration::from_secs(20);
/// Before each packet on a link of this kind.
const ETHERNET_HEADER_BYTES: u64 = 14;
/// Of a village that is hushed: one of those that nobody is given.
const INNER_ADDRESS: &str = "02:00:00:00:00:02";
/// Where the system looks for the resolver's settings of a namespace.
const SETTINGS: &str = "/etc/netns";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A network of its own.
#[derive(Debug)]
pub struct Village {
    name: String,
    outer: String,
    net: String,
}

impl Village {
    /// A network whose link is down; none if tests may do without (and says so).
    pub fn new() -> Result<Option<Village>> {
        if std::env::var_os("WADITEST_NO_NETNS").is_some_and(|value| value == "1") {
            eprintln!("NOT TESTED: network namespaces are left out (WADITEST_NO_NETNS=1)");
            return Ok(None);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = std::process::id().wrapping_mul(8).wrapping_add(number);
        let village = Village {
            name: format!("wadi-{unique}"),
            outer: format!("wadi{}", unique % 1_000_000),
            // Of the range for benchmarks of networks: nobody's real one.
            net: format!("198.{}.{}", 18 + unique / 256 % 2, unique % 256),
        };
        let why = "network namespaces need root and iproute2 (`ip`); WADITEST_NO_NETNS=1 leaves these tests out";
        ip(&["netns", "add", &village.name]).context(why)?;
        let inner = ["peer", "name", "up0", "netns", &village.name];
        ip(&[&["link", "add", &village.outer, "type", "veth"], &inner[..]].concat())?;
        let host = format!("{}/24", village.host());
        ip(&["address", "add", &host, "dev", &village.outer])?;
        ip(&["link", "set", &village.outer, "up"])?;
        village.inside(&["link", "set", "lo", "up"])?;
        village.name_host()?;
        Ok(Some(village))
    }

    /// The address of this machine as the village sees it.
    pub fn host(&self) -> String {
        format!("{}.1", self.net)
    }

    /// An address of the village.
    pub fn address(&self, last: u8) -> String {
        format!("{}.{last}", self.net)
    }

    /// The gateway's own interface comes up with an address, as after dialling in.
    pub fn dial(&self, last: u8) -> Result<()> {
        self.inside(&["link", "set", "up0", "up"])?;
        self.inside(&["address", "add", &format!("{}/24", self.address(last)), "dev", "up0"])
    }

    /// The same, and nothing but what is spoken over it passes the link: neighbours are
    /// known, and there is no IPv6. For the meter's sake.
    pub fn dial_quietly(&self, last: u8) -> Result<()> {
        self.inside(&["link", "set", "up0", "addrgenmode", "none"])?;
        self.inside(&["link", "set", "up0", "address", INNER_ADDRESS])?;
        ip(&["link", "set", &self.outer, "addrgenmode", "none"])?;
        self.dial(last)?;
        let file = format!("/sys/class/net/{}/address", self.outer);
        let outer_address = std::fs::read_to_string(file)?;
        let (host, address) = (self.host(), self.address(last));
        let known = ["nud", "permanent", "dev"];
        let outer = ["neighbour", "replace", &host, "lladdr", outer_address.trim()];
        self.inside(&[&outer[..], &known, &["up0"]].concat())?;
        let inner = ["neighbour", "replace", &address, "lladdr", INNER_ADDRESS];
        ip(&[&inner[..], &known, &[&self.outer]].concat())
    }

    /// Every TCP connection over the link breaks, at both ends.
    pub fn sever(&self) -> Result<()> {
        let mut command = Command::new("ss");
        command.args(["--net", &self.name, "-K", "dst", &self.host()]);
        let severed = run(&mut command, "", DEADLINE)?.ok()?;
        ensure!(severed.lines().count() > 1, "nothing to sever, or the kernel cannot: {severed}");
        Ok(())
    }

    /// The address and the interface go.
    pub fn hang_up(&self) -> Result<()> {
        self.inside(&["address", "flush", "dev", "up0"])?;
        self.inside(&["link", "set", "up0", "down"])
    }

    /// The carrier comes or goes; the address stays.
    pub fn carrier(&self, there: bool) -> Result<()> {
        ip(&["link", "set", &self.outer, if there { "up" } else { "down" }])
    }

    /// What went over the link so far, both ways: bytes of IP packets, and packets. The
    /// kernel counts the header of each Ethernet frame too.
    pub fn traffic(&self) -> Result<(u64, u64)> {
        let folder = PathBuf::from("/sys/class/net").join(&self.outer).join("statistics");
        let count = |name: &str| -> Result<u64> {
            Ok(std::fs::read_to_string(folder.join(name))?.trim().parse()?)
        };
        let packets = count("rx_packets")? + count("tx_packets")?;
        let bytes = count("rx_bytes")? + count("tx_bytes")?;
        Ok((bytes - packets * ETHERNET_HEADER_BYTES, packets))
    }

    /// A command of iproute2 in the village.
    pub fn inside(&self, words: &[&str]) -> Result<()> {
        ip(&[&["-n", &self.name], words].concat())
    }

    /// The same command, but run in the village; it keeps its process id.
    pub fn wrap(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("ip");
        wrapped.args(["netns", "exec", &self.name]).arg(command.get_program());
        wrapped.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// In the village `localhost` is this machine: what may be unsealed on loopback
    /// only can then be tested across a link.
    fn name_host(&self) -> Result<()> {
        let folder = self.settings();
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(folder.join("hosts"), format!("{} localhost\n", self.host()))?)
    }

    /// No name is known any more; all are asked of this address, patiently.
    pub fn resolver(&self, address: &str) -> Result<()> {
        let folder = self.settings();
        std::fs::write(folder.join("hosts"), "")?;
        let text = format!("nameserver {address}\noptions timeout:30 attempts:3\n");
        Ok(std::fs::write(folder.join("resolv.conf"), text)?)
    }

    fn settings(&self) -> PathBuf {
        PathBuf::from(SETTINGS).join(&self.name)
    }
}

impl Drop for Village {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.settings());
        let _ = ip(&["link", "delete", &self.outer]);
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let outcome = run(Command::new("ip").args(words), "", DEADLINE)?;
    ensure!(outcome.code == Some(0), "ip {}: {}", words.join(" "), outcome.text());
    Ok(())
}
