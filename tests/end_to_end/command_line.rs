//! What people meet first: errors that say what was wrong, where, and what to do.
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use wadi_harness::binaries;
use wadi_harness::handheld::{Handheld, Link, UNAVAILABLE};
use wadi_harness::ports;
use wadi_harness::process::{Outcome, run};
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

const DEADLINE: Duration = Duration::from_secs(60);
/// Exit code: wrong usage.
const USAGE: Option<i32> = Some(2);
/// Exit code: bad configuration.
const CONFIG: Option<i32> = Some(78);
/// Words that only a programmer reads.
const JARGON: [&str; 5] = ["panicked", "RUST_BACKTRACE", "Error {", "Some(", "unwrap"];

fn call(program: &str, words: &[&str]) -> Outcome {
    let mut command = binaries::command(program).unwrap();
    let outcome = run(command.args(words), "", DEADLINE).unwrap();
    for jargon in JARGON {
        assert!(!outcome.text().contains(jargon), "{program} {words:?}: {outcome:?}");
    }
    outcome
}

fn with_config(program: &str, folder: &Path, text: &str, words: &[&str]) -> Outcome {
    let file = folder.join("settings.toml");
    std::fs::write(&file, text).unwrap();
    call(program, &[&["--config", file.to_str().unwrap()], words].concat())
}

#[test]
fn help_and_usage() {
    for program in ["wadi-gateway", "wadi-hub", "wadi-handheld"] {
        let help = call(program, &["--help"]);
        assert_eq!(help.code, Some(0), "{help:?}");
        assert!(help.stdout.contains("Usage"), "{help:?}");
        assert_eq!(call(program, &["--version"]).code, Some(0));
        let unknown = call(program, &["--frobnicate"]);
        assert_eq!(unknown.code, USAGE, "{unknown:?}");
        assert!(unknown.stderr.contains("--frobnicate"), "{unknown:?}");
    }
}

/// The commands that a help lists, each with what is said of it.
fn listed(help: &str) -> Vec<(String, String)> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = commands.take_while(|line| line.starts_with("  "));
    let words = lines.filter_map(|line| line.trim().split_once(' ').or(Some((line.trim(), ""))));
    words.map(|(word, says)| (word.into(), says.trim().into())).collect()
}

/// Every command, below every other, explains itself and each of its words.
fn explains(program: &str, path: &[&str]) -> usize {
    let help = call(program, &[path, &["--help"]].concat());
    assert_eq!(help.code, Some(0), "{help:?}");
    let entries = help.stdout.lines().enumerate().filter(|(_, line)| {
        line.starts_with("  ") && line.trim_start().starts_with(['-', '<', '['])
    });
    for (at, line) in entries {
        let below = help.stdout.lines().nth(at + 1).unwrap_or_default();
        let said = line.trim().contains("  ") || below.starts_with("          ");
        assert!(said, "{program} {path:?}: {line} is not explained\n{}", help.stdout);
    }
    let mut commands = 1;
    for (word, says) in listed(&help.stdout).iter().filter(|(word, _)| word != "help") {
        assert!(!says.is_empty(), "{program} {path:?}: {word} is not explained");
        commands += explains(program, &[path, &[word.as_str()]].concat());
    }
    commands
}

#[test]
fn every_command_explains_itself() {
    let count = |program| explains(program, &[]);
    assert!(count("wadi-handheld") > 8 && count("wadi-gateway") > 12 && count("wadi-hub") > 20);
    for program in ["wadi-gateway", "wadi-hub"] {
        let help = call(program, &["--help"]);
        assert!(help.stdout.contains("WADI_LOG=debug"), "{help:?}");
    }
}

#[test]
fn a_plan_of_nothing_and_rates_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let settings = "database = \"gateway.db\"\nsite = \"north\"\ngateway = 1\n";
    let plan = |rate: &str| {
        with_config("wadi-gateway", folder.path(), settings, &["plan", "--rate", rate])
    };
    let bad = plan("fast");
    assert!(bad.code == USAGE && bad.stderr.contains("bits a second"), "{bad:?}");
    let none = plan("30k");
    assert!(none.code != Some(0) && none.stderr.contains("gateway.db"), "{none:?}");
}

/// The commands that a text names between backticks, with the words before the first
/// that is a value or an option.
fn named(text: &str) -> Vec<Vec<String>> {
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let quoted = text.split('`').skip(1).step_by(2);
    let commands = quoted.filter(|part| part.starts_with("wadi-"));
    let words = commands.map(|part| {
        let words = part.split_whitespace().take_while(is_word);
        words.take_while(|word| !word.starts_with("--")).map(Into::into).collect()
    });
    words.filter(|words: &Vec<String>| words.len() > 1).collect()
}

/// What people are told to type can be typed.
#[test]
fn commands_that_messages_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting =
        vec![root.join("gateway/src"), root.join("hub/src"), root.join("protocol/src")];
    let mut found = std::collections::BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let text = std::fs::read_to_string(path).unwrap();
            // Line by line: an odd backtick turns only its own around.
            text.lines().for_each(|line| found.extend(named(line)));
        }
    }
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    readme.lines().for_each(|line| found.extend(named(line)));
    assert!(found.len() > 20, "{found:?}");
    for words in found {
        let (program, words) = words.split_first().unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let help = call(program, &[&words[..], &["--help"]].concat());
        assert_eq!(help.code, Some(0), "`{program} {}` is named: {help:?}", words.join(" "));
    }
}

#[test]
fn a_bad_configuration_names_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = "site = \"north\"\ngateway = 1\ndatabase = \"g.db\"\n";
    let cases = [
        ("wadi-gateway", format!("{gateway}colour = \"red\"\n"), "colour"),
        ("wadi-gateway", format!("{gateway}[broker]\nhots = \"x\"\n"), "hots"),
        ("wadi-gateway", format!("{gateway}[broker]\nport = \"many\"\n"), "port"),
        ("wadi-gateway", "site = \"north\"\ndatabase = \"g.db\"\n".into(), "gateway"),
        ("wadi-hub", "database = \"hub.db\"\nbrocker = 1\n".into(), "brocker"),
        ("wadi-hub", "database = \"hub.db\"\n[embedded]\nlisten = \"nowhere\"\n".into(), "listen"),
    ];
    for (program, text, key) in cases {
        let outcome = with_config(program, folder.path(), &text, &["status"]);
        assert_eq!(outcome.code, CONFIG, "{text}: {outcome:?}");
        assert!(outcome.stderr.contains(key), "{key} is not named: {outcome:?}");
        assert!(outcome.stderr.contains("settings.toml"), "the file is not named: {outcome:?}");
    }
    let missing = call("wadi-gateway", &["--config", "/nowhere/gateway.toml", "status"]);
    assert_eq!(missing.code, CONFIG);
    assert!(missing.stderr.contains("/nowhere/gateway.toml"), "{missing:?}");
}

#[test]
fn a_schema_with_faults_is_refused_with_each_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("schema.toml");
    let schema = "name = \"x\"\n[tables.a.fields]\nid = { type = \"text\" }\nb = { type = \"reference\", table = \"nowhere\", on_delete = \"restrict\" }\n";
    std::fs::write(&file, schema).unwrap();
    let words = ["schema", "check", file.to_str().unwrap()];
    let outcome = with_config("wadi-hub", folder.path(), "database = \"hub.db\"\n", &words);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    for fault in ["id", "nowhere"] {
        assert!(outcome.text().contains(fault), "{fault} is not told: {outcome:?}");
    }
}

#[test]
fn a_handheld_with_nobody_to_talk_to_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let handheld = Handheld::new(folder.path(), "anna");
    handheld.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}})).unwrap();
    let port = ports::free();
    let outcome = handheld.sync(&Link::Tcp(port)).unwrap();
    assert_eq!(outcome.code, Some(UNAVAILABLE), "{outcome:?}");
    assert!(outcome.stderr.contains(&port.to_string()), "{outcome:?}");
    let outcome = handheld.sync(&Link::Serial("/dev/nowhere".into())).unwrap();
    assert_eq!(outcome.code, Some(UNAVAILABLE), "{outcome:?}");
    assert!(outcome.stderr.contains("/dev/nowhere"), "{outcome:?}");
    let bad = handheld.command(&["put", "{\"op\":\"insert\"}"], "").unwrap();
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.stderr.contains("table"), "{bad:?}");
}

#[test]
fn an_operator_who_asks_for_what_is_not_there_is_told() {
    let schema = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
    let mut world = World::start(schema, 1, false, 61).unwrap();
    let nowhere = "8dd32ccf-ea43-49e0-8514-58eeb8336913";
    for words in [
        &["history", "visit", nowhere][..],
        &["history", "vist", nowhere],
        &["history", "visit", "seven"],
        &["review", "show", "7"],
        &["review", "settle", "7", "--pick", "1"],
        &["quarantine", "show", "1.2.3"],
    ] {
        let outcome = world.hub.operator.command(words).unwrap();
        assert_eq!(outcome.code, Some(1), "{words:?}: {outcome:?}");
        assert!(!outcome.stderr.trim().is_empty(), "{words:?}: {outcome:?}");
    }
    let neither = world.hub.operator.command(&["review", "settle", "7"]).unwrap();
    assert_eq!(neither.code, USAGE, "{neither:?}");
    world.until_schema().unwrap();
    let anna = world.handheld("anna");
    anna.put(&json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}})).unwrap();
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    let listed = anna.command(&["list", "vist"], "").unwrap();
    assert!(listed.stderr.contains("there is no table vist; there are: visit"), "{listed:?}");
    assert!(world.hub.operator.list(&["review", "list"]).unwrap().is_empty());
    assert_eq!(world.hub.operator.list(&["gateway", "list"]).unwrap().len(), 1);
    world.stop().unwrap();
}

/// The hub takes an enrolment back, and then gives another: the box says what to run.
#[test]
fn a_gateway_that_is_not_taken_any_more_says_what_to_run() {
    let schema = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n";
    let mut world = World::start(schema, 1, false, 62).unwrap();
    let until_refused = |world: &World, words: &str| {
        until(words, PATIENCE, || {
            let outcome = world.gateways[0].command(&["sync"])?;
            let told = outcome.code == Some(69) && outcome.stderr.contains(words);
            Ok(Look::when(told, || format!("{outcome:?}")))
        })
        .unwrap();
    };
    world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
    world.hub.operator.command(&["gateway", "revoke", "site-1"]).unwrap().ok().unwrap();
    until_refused(&world, "not synced: the hub revoked this gateway: if that was a mistake, run");
    world.hub.enrol_again("site-1").unwrap();
    until_refused(&world, "not synced: this gateway was enrolled anew: run `wadi-gateway enrol`");
    world.stop().unwrap();
}

#[test]
fn cargo_demo_hands_its_options_on() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/.cargo/config.toml");
    let config: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
    let alias = config["alias"]["demo"].as_str().unwrap();
    // `cargo demo -- --out DIR` brings the one `--` that there may be.
    assert!(!alias.split_whitespace().any(|word| word == "--"), "{alias}");
}
