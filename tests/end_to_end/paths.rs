//! Names and files that play tricks: nothing is written where it was not meant to be.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wadi_harness::binaries;
use wadi_harness::process::run;

const DEADLINE: Duration = Duration::from_secs(60);

/// What a command said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// An empty folder within another, with a hub's configuration.
struct Den {
    outer: tempfile::TempDir,
}

impl Den {
    fn new() -> Den {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir_all(outer.path().join("etc")).unwrap();
        fs::create_dir_all(outer.path().join("a/den")).unwrap();
        fs::write(outer.path().join("etc/precious"), "precious").unwrap();
        let den = Den { outer };
        fs::write(den.path("hub.toml"), "database = \"hub.db\"\n").unwrap();
        den
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.outer.path().join("a/den").join(name)
    }

    fn call(&self, program: &str, words: &[&str]) -> Said {
        let mut command: Command = binaries::command(program).unwrap();
        command.current_dir(self.path(".")).args(words);
        let run = run(&mut command, "", DEADLINE).unwrap();
        Said { code: run.code, stdout: run.stdout, stderr: run.stderr }
    }

    fn hub(&self, words: &[&str]) -> Said {
        self.call("wadi-hub", &[&["--config", "hub.toml"], words].concat())
    }

    /// What is outside the folder is as it was.
    fn untouched(&self) {
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.outer.path()), ["a", "etc"]);
        assert_eq!(names(&self.outer.path().join("a")), ["den"]);
        assert_eq!(names(&self.outer.path().join("etc")), ["precious"]);
        let precious = self.outer.path().join("etc/precious");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_ne!(precious.metadata().unwrap().permissions().mode() & 0o044, 0, "still readable");
    }
}

#[test]
fn a_sites_name_is_never_a_path() {
    let den = Den::new();
    for (at, site) in
        ["../../evil", "/etc/passwd", "..", "a/b", "-rf", "$(reboot)"].iter().enumerate()
    {
        let added = den.hub(&["gateway", "add", "--", site]);
        assert_eq!(added.code, Some(0), "{site}: {added:?}");
        assert!(den.path(&format!("gateway-{}.enrolment.toml", at + 1)).is_file(), "{site}");
    }
    for site in ["", "two\nlines", "\u{1b}[31mred", &"x".repeat(64)] {
        let added = den.hub(&["gateway", "add", "--", site]);
        assert_ne!(added.code, Some(0), "{site:?}");
        assert!(added.stderr.contains("is no site name: use 1 to 63 bytes"), "{added:?}");
        assert!(!added.stderr.contains('\u{1b}'), "no terminal is taken over: {added:?}");
    }
    let listed = den.hub(&["gateway", "list"]);
    assert!(listed.stdout.contains("../../evil"), "{listed:?}");
    den.untouched();
}

#[test]
fn links_are_not_followed_where_secrets_are_written() {
    let den = Den::new();
    let precious = den.outer.path().join("etc/precious");
    for name in
        ["gateway-1.enrolment.toml", "gateway-1.enrolment.toml.new", "hub-identity.toml", "copy.db"]
    {
        symlink(&precious, den.path(name)).unwrap();
    }
    let added = den.hub(&["gateway", "add", "north"]);
    den.untouched();
    // Who put a link in the identity's place owns the folder: nothing is made up.
    assert_ne!(added.code, Some(0), "{added:?}");
    assert!(added.stderr.contains("hub-identity.toml"), "{added:?}");
    fs::remove_file(den.path("hub-identity.toml")).unwrap();
    let added = den.hub(&["gateway", "add", "north"]);
    den.untouched();
    if added.code == Some(0) {
        let file = den.path("gateway-1.enrolment.toml");
        let found = file.symlink_metadata().unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o077 == 0, "{found:?}");
    } else {
        assert!(added.stderr.contains("gateway-1.enrolment.toml"), "{added:?}");
        fs::remove_file(den.path("gateway-1.enrolment.toml")).unwrap();
        assert_eq!(den.hub(&["gateway", "add", "north"]).code, Some(0));
    }

    let backup = den.hub(&["backup", "copy.db"]);
    assert_ne!(backup.code, Some(0), "{backup:?}");
    assert!(backup.stderr.contains("copy.db"), "{backup:?}");
    den.untouched();
}

#[test]
fn an_enrolment_file_is_no_program() {
    let den = Den::new();
    assert_eq!(den.hub(&["gateway", "add", "north"]).code, Some(0));
    let file = den.path("gateway-1.enrolment.toml");
    let good = fs::read_to_string(&file).unwrap();
    let site = good.lines().find(|line| line.starts_with("site")).unwrap();
    for (bad, says) in [
        (good.replace(site, "site = \"two\\nlines\""), "site"),
        (good.replace(site, &format!("site = \"{}\"", "x".repeat(1_000))), "site"),
        (good.replace(site, ""), "site"),
        (format!("database = \"../../etc/precious\"\n{good}"), "database"),
        ("x".repeat(3 << 20), "enrolment"),
        (String::new(), "enrolment"),
    ] {
        fs::write(&file, &bad).unwrap();
        let words = ["--config", "gateway.toml", "enrol", "gateway-1.enrolment.toml"];
        let enrolled = den.call("wadi-gateway", &words);
        assert_ne!(enrolled.code, Some(0), "{enrolled:?}");
        assert!(enrolled.stderr.contains(says), "{says}: {enrolled:?}");
        den.untouched();
    }
}
