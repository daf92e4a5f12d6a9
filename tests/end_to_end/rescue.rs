//! Backup and restore, beside running processes and after them.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;
use wadi_harness::handheld::Link;
use wadi_harness::process::{Outcome, Process, begin, run};
use wadi_harness::{binaries, broker, ports};

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
const DEADLINE: Duration = Duration::from_secs(60);
/// Exit code: try again later.
const LATER: Option<i32> = Some(75);

fn patients(database: &Path) -> Vec<String> {
    let db = Connection::open(database).unwrap();
    let mut rows = db.prepare("SELECT patient FROM visit ORDER BY patient").unwrap();
    rows.query_map((), |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A gateway's or hub's configuration of its own, whose database is in an empty folder.
struct Elsewhere {
    program: &'static str,
    folder: tempfile::TempDir,
}

impl Elsewhere {
    fn new(program: &'static str) -> Elsewhere {
        let folder = tempfile::tempdir().unwrap();
        let whose = if program == "wadi-gateway" { "site = \"site-1\"\ngateway = 1\n" } else { "" };
        let config = format!("{whose}database = \"data.db\"\n");
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Elsewhere { program, folder }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("data.db")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = binaries::command(self.program).unwrap();
        command.arg("--config").arg(self.folder.path().join("config.toml")).args(words);
        command
    }

    fn call(&self, words: &[&str]) -> Outcome {
        run(&mut self.command(words), "", DEADLINE).unwrap()
    }
}

#[test]
fn a_backup_beside_running_processes_restores_to_the_same_tables() {
    let mut world = World::start(SCHEMA, 1, false, 81).unwrap();
    let handheld = world.handheld("anna");
    let link = Link::Tcp(world.gateways[0].port());
    let folder = tempfile::tempdir().unwrap();
    let mut backups = Vec::new();
    // The schema must have come: a backup from before has no tables to compare.
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    // Intake and rounds go on around every backup.
    for number in 0..4 {
        for line in 0..20 {
            let fields = json!({"patient": format!("p{number}-{line:02}")});
            handheld.put(&json!({"op": "insert", "table": "visit", "fields": fields})).unwrap();
        }
        handheld.sync_well(&link, PATIENCE).unwrap();
        let hub = folder.path().join(format!("hub-{number}.backup"));
        let gateway = folder.path().join(format!("gateway-{number}.backup"));
        world.hub.operator.command(&["backup", text(&hub)]).unwrap().ok().unwrap();
        world.gateways[0].command(&["backup", text(&gateway)]).unwrap().ok().unwrap();
        backups.push((hub, gateway));
    }
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    let (hub, gateway) = backups.pop().unwrap();
    let again = world.hub.operator.command(&["backup", text(&hub)]).unwrap();
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.stderr.contains("exists") && again.stderr.contains("--force"), "{again:?}");
    world.hub.operator.command(&["backup", text(&hub), "--force"]).unwrap().ok().unwrap();
    world.gateways[0].command(&["backup", text(&gateway), "--force"]).unwrap().ok().unwrap();
    let status = world.hub.operator.json(&["status"]).unwrap();
    assert_eq!(status["backup"]["seq"], status["head"], "{status}");
    assert!(status["backup"]["age_s"].as_u64().unwrap() < 600, "{status}");

    // While they run nothing is restored over them.
    for outcome in [
        world.gateways[0].command(&["restore", text(&gateway)]).unwrap(),
        world.hub.operator.command(&["restore", text(&hub)]).unwrap(),
    ] {
        assert_eq!(outcome.code, LATER, "{outcome:?}");
        assert!(outcome.stderr.contains("stop that one first"), "{outcome:?}");
    }
    let (hub_rows, gateway_rows) =
        (patients(world.hub.database()), patients(world.gateways[0].database()));
    assert_eq!(hub_rows.len(), 80);
    for (program, file, rows) in
        [("wadi-hub", &hub, &hub_rows), ("wadi-gateway", &gateway, &gateway_rows)]
    {
        let elsewhere = Elsewhere::new(program);
        let told = elsewhere.call(&["restore", text(file)]).ok().unwrap();
        assert!(told.contains("new run"), "{told}");
        assert_eq!(&patients(&elsewhere.database()), rows);
        elsewhere.call(&["ledger"]).ok().unwrap();
    }
    // Older backups are whole as well, each with what there was then.
    for (number, (hub, gateway)) in backups.iter().enumerate() {
        for (program, file) in [("wadi-hub", hub), ("wadi-gateway", gateway)] {
            let elsewhere = Elsewhere::new(program);
            elsewhere.call(&["restore", text(file)]).ok().unwrap();
            elsewhere.call(&["ledger"]).ok().unwrap();
            assert!(patients(&elsewhere.database()).len() <= 20 * (number + 1));
        }
    }

    // Over what is there: put aside, never deleted; both serve again and agree.
    world.gateways[0].stop().unwrap();
    world.hub.stop().unwrap();
    let told = world.hub.operator.command(&["restore", text(&hub)]).unwrap().ok().unwrap();
    let aside = told.lines().find_map(|line| line.split_once("was there: ")).unwrap().1;
    assert_eq!(patients(Path::new(aside)), hub_rows);
    world.gateways[0].command(&["restore", text(&gateway)]).unwrap().ok().unwrap();
    world.hub.start().unwrap();
    world.gateways[0].start().unwrap();
    assert_eq!(patients(world.hub.database()), hub_rows);
    assert_eq!(patients(world.gateways[0].database()), gateway_rows);
    world.stop().unwrap();
}

/// The digits and lines by which somebody could be this gateway, and their bytes.
fn secrets(identity: &Path, key: &Path) -> Vec<Vec<u8>> {
    let identity: toml::Table = std::fs::read_to_string(identity).unwrap().parse().unwrap();
    let digits = [
        identity["tag_key"].as_str().unwrap().to_owned(),
        std::fs::read_to_string(key).unwrap().trim().to_owned(),
    ];
    let bytes = digits.iter().map(|digits| {
        assert_eq!(digits.len(), 64);
        let pairs = (0..32).map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap());
        pairs.collect::<Vec<u8>>()
    });
    let lines = identity["key"].as_str().unwrap().lines().filter(|line| !line.starts_with('-'));
    let lines = lines.map(|line| line.as_bytes().to_vec());
    bytes.chain(lines).chain(digits.iter().map(|digits| digits.as_bytes().to_vec())).collect()
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn with_its_identity_a_gateway_is_restored_into_an_empty_folder() {
    let mut world = World::start(SCHEMA, 1, false, 89).unwrap();
    let handheld = world.handheld("anna");
    let record =
        |patient: &str| json!({"op": "insert", "table": "visit", "fields": {"patient": patient}});
    world.enter(&handheld, 0, &record("before")).unwrap();
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (bare, whole) = (folder.path().join("bare"), folder.path().join("whole"));
    let told = world.gateways[0].command(&["backup", text(&bare)]).unwrap().ok().unwrap();
    assert!(told.contains("not in it: ") && told.contains("--with-identity"), "{told}");
    let words = ["backup", text(&whole), "--with-identity"];
    world.gateways[0].command(&words).unwrap().ok().unwrap();
    let beside = |file: &Path, ending: &str| PathBuf::from(format!("{}{ending}", text(file)));
    let key = beside(world.gateways[0].database(), "-key");
    let identity = world.folder().join("gateway-1.identity.toml");
    for (source, ending) in [(&identity, ".identity"), (&key, ".key")] {
        assert!(!beside(&bare, ending).exists(), "{ending} without being asked");
        let copy = beside(&whole, ending);
        assert_eq!(
            (mode(&copy), std::fs::read(&copy).unwrap()),
            (0o600, std::fs::read(source).unwrap())
        );
    }
    let secrets = secrets(&identity, &key);
    for file in [&bare, &whole] {
        let bytes = std::fs::read(file).unwrap();
        assert!(bytes.windows(6).any(|window| window == b"before"), "what is looked for is found");
        for secret in &secrets {
            let found = bytes.windows(secret.len()).any(|window| window == &secret[..]);
            assert!(!found, "{} holds a secret", file.display());
        }
    }

    world.gateways[0].kill();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let config = home.join("gateway.toml");
    let command = |words: &[&str]| {
        let mut command = binaries::command("wadi-gateway").unwrap();
        command.arg("--config").arg(&config).args(words);
        command
    };
    let call = |words: &[&str]| run(&mut command(words), "", DEADLINE).unwrap();
    // Without its identity nobody knows whose it is; a bad one leaves nothing to begin with.
    let unknown = call(&["restore", text(&bare)]);
    assert_eq!(unknown.code, Some(78), "{unknown:?}");
    assert!(unknown.stderr.contains("wadi-gateway enrol"), "{unknown:?}");
    let spoilt = folder.path().join("spoilt");
    std::fs::write(&spoilt, &std::fs::read(&whole).unwrap()[..9_000]).unwrap();
    std::fs::copy(beside(&whole, ".identity"), beside(&spoilt, ".identity")).unwrap();
    let refused = call(&["restore", text(&spoilt)]);
    assert!(refused.stderr.contains("nothing was changed"), "{refused:?}");
    assert!(!config.exists() && !home.join("identity.toml").exists());

    let told = call(&["restore", text(&whole)]).ok().unwrap();
    for (name, ending) in [("identity.toml", ".identity"), ("gateway.db-key", ".key")] {
        assert!(told.contains(&format!("{name}: restored too")), "{told}");
        let file = home.join(name);
        assert_eq!(
            (mode(&file), std::fs::read(&file).unwrap()),
            (0o600, std::fs::read(beside(&whole, ending)).unwrap())
        );
    }
    let again = call(&["restore", text(&whole)]).ok().unwrap();
    assert_eq!(again.matches("left as it is").count(), 2, "{again}");
    // Its ports are all that is to be said; then it is who it was, for both sides.
    let lan = ports::free();
    let ours = format!("\n[lan]\nlisten = \"127.0.0.1:{lan}\"\nannounce = false\n");
    let template = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, template.replace("admit = \"allowed\"", "admit = \"anyone\"") + &ours)
        .unwrap();
    let log = home.join("log");
    let mut process = Process::start("wadi-gateway", &mut command(&["run"]), &log).unwrap();
    broker::listening(lan, "the gateway", || process.check()).unwrap();
    handheld.put(&record("after")).unwrap();
    let synced = handheld.sync(&Link::Tcp(lan)).unwrap();
    assert_eq!(synced.code, Some(0), "the key that it knows: {synced:?}");
    call(&["sync"]).ok().unwrap();
    assert_eq!(patients(world.hub.database()), ["after", "before"]);
    assert!(process.stop().unwrap().success());
    world.hub.stop().unwrap();
}

#[test]
fn what_is_no_backup_is_refused_and_nothing_changes() {
    let mut world = World::start(SCHEMA, 1, false, 83).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (hub, gateway) = (folder.path().join("hub"), folder.path().join("gateway"));
    world.hub.operator.command(&["backup", text(&hub)]).unwrap().ok().unwrap();
    world.gateways[0].command(&["backup", text(&gateway)]).unwrap().ok().unwrap();
    world.stop().unwrap();
    for (program, good, other) in [("wadi-hub", &hub, &gateway), ("wadi-gateway", &gateway, &hub)] {
        let elsewhere = Elsewhere::new(program);
        elsewhere.call(&["restore", text(good)]).ok().unwrap();
        let before = std::fs::read(elsewhere.database()).unwrap();
        let whole = std::fs::read(good).unwrap();
        let bad = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let mut torn = whole.clone();
        let page = whole.len() / 4096 / 2 * 4096;
        torn[page..page + 4096].fill(0xa5);
        for (file, word) in [
            (other.clone(), "database"),
            (bad("cut", &whole[..whole.len() / 2]), "whole"),
            (bad("torn", &torn), "damaged"),
            (bad("empty", b""), "empty"),
            (bad("diary", &b"Dear diary, ".repeat(500)), "database"),
            (folder.path().join("nowhere"), "no such file"),
        ] {
            let outcome = elsewhere.call(&["restore", text(&file)]);
            assert_ne!(outcome.code, Some(0), "{program} {file:?}: {outcome:?}");
            assert!(outcome.stderr.contains("nothing was changed"), "{file:?}: {outcome:?}");
            assert!(outcome.stderr.contains(text(&file)), "{file:?}: {outcome:?}");
            let fits = outcome.stderr.contains(word) || outcome.stderr.contains("whole");
            assert!(fits, "{file:?}: {outcome:?}");
        }
        assert!(std::fs::read(elsewhere.database()).unwrap() == before, "{program}");
    }
    let stranger = Elsewhere::new("wadi-gateway");
    let config = "site = \"south\"\ngateway = 9\ndatabase = \"data.db\"\n";
    std::fs::write(stranger.folder.path().join("config.toml"), config).unwrap();
    let outcome = stranger.call(&["restore", text(&gateway)]);
    assert!(outcome.stderr.contains("belongs to gateway 1"), "{outcome:?}");
    assert!(!stranger.database().exists());
}

#[test]
fn an_interrupted_backup_and_a_full_disk_leave_no_half_file() {
    let mut world = World::start(SCHEMA, 1, false, 87).unwrap();
    // The table is there once a round has brought the schema.
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
                INSERT INTO visit (patient) SELECT hex(randomblob(200)) FROM n";
    let db = Connection::open(world.gateways[0].database()).unwrap();
    db.busy_timeout(DEADLINE).unwrap();
    db.execute_batch(many).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    let source = Elsewhere::new("wadi-gateway");
    let first = folder.path().join("first");
    world.gateways[0].command(&["backup", text(&first)]).unwrap().ok().unwrap();
    source.call(&["restore", text(&first)]).ok().unwrap();
    let mut killed = 0;
    for step in 0..20 {
        let running = begin(&mut source.command(&["backup", text(&file)]), "").unwrap();
        let was_killed = running.kill_after(Duration::from_millis(step * 15)).unwrap();
        killed += u32::from(was_killed);
        if file.exists() {
            let db = Connection::open(&file).unwrap();
            let fault: String =
                db.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
            assert_eq!(fault, "ok");
            std::fs::remove_file(&file).unwrap();
        }
    }
    assert!(killed > 0, "every backup was done before it was killed");
    source.call(&["backup", text(&file)]).ok().unwrap();

    if rustix::process::geteuid().is_root() {
        let small = folder.path().join("small");
        std::fs::create_dir(&small).unwrap();
        let inner = source.command(&["backup", text(&small.join("backup"))]);
        let mounts =
            "mount -t tmpfs -o size=256k none \"$0\" && \"$@\"; code=$?; ls -A \"$0\"; exit $code";
        let mut outer = Command::new("unshare");
        outer.args(["-m", "sh", "-c", mounts]).arg(&small);
        outer.arg(inner.get_program()).args(inner.get_args());
        let outcome = run(&mut outer, "", DEADLINE).unwrap();
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains("disk is full"), "{outcome:?}");
        assert!(!outcome.stdout.contains("backup"), "half a file lies there: {outcome:?}");
    }
    world.stop().unwrap();
}
