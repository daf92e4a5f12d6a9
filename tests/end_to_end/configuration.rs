//! Configuration in layers, as people meet it: the template, where a value came
//! from, and errors that name the file or the variable.
use std::path::Path;
use std::time::Duration;

use wadi_harness::binaries;
use wadi_harness::process::{Outcome, run};

const DEADLINE: Duration = Duration::from_secs(60);
/// Exit code: bad configuration.
const CONFIG: Option<i32> = Some(78);

fn call(program: &str, file: &Path, variables: &[(&str, &str)], words: &[&str]) -> Outcome {
    let mut command = binaries::command(program).unwrap();
    command.arg("--config").arg(file).args(words).envs(variables.iter().copied());
    run(&mut command, "", DEADLINE).unwrap()
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_default()
}

#[test]
fn the_template_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["wadi-gateway", "wadi-hub"] {
        let file = folder.path().join(format!("{program}.toml"));
        let template = call(program, Path::new("/nowhere"), &[], &["config", "--template"]);
        let text = template.ok().unwrap();
        let written = text.replace("#site =", "site =").replace("#gateway =", "gateway =");
        std::fs::write(&file, written).unwrap();
        let shown = call(program, &file, &[], &["config"]).ok().unwrap();
        assert!(line(&shown, "database").contains(file.to_str().unwrap()), "{shown}");
    }
}

#[test]
fn each_value_says_where_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.toml");
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let extra = folder.path().join("conf.d/10-broker.toml");
    std::fs::write(&file, "site = \"north\"\ngateway = 1\n[broker]\nhost = \"a\"\n").unwrap();
    std::fs::write(&extra, "[broker]\nhost = \"b\"\nport = 8883\n").unwrap();
    let shown = call("wadi-gateway", &file, &[("WADI_BROKER__PORT", "9")], &["config"]);
    let shown = shown.ok().unwrap();
    for (key, value, origin) in [
        ("site", "\"north\"", file.to_str().unwrap()),
        ("broker.host", "\"b\"", extra.to_str().unwrap()),
        ("broker.port", "9", "WADI_BROKER__PORT"),
        ("sync.interval_s", "1800", "default"),
    ] {
        let line = line(&shown, key);
        assert!(line.contains(value) && line.ends_with(origin), "{key}: {line}\n{shown}");
    }
}

#[test]
fn an_error_names_its_own_layer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("main.toml");
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    let extra = folder.path().join("conf.d/10-extra.toml");
    for (program, text) in [
        ("wadi-gateway", "site = \"north\"\ngateway = 1\n"),
        ("wadi-hub", "database = \"hub.db\"\n"),
    ] {
        std::fs::write(&file, text).unwrap();
        std::fs::write(&extra, "").unwrap();
        let told = |variables: &[(&str, &str)], words: &[&str]| {
            let outcome = call(program, &file, variables, &["status"]);
            assert_eq!(outcome.code, CONFIG, "{outcome:?}");
            for word in words {
                assert!(outcome.stderr.contains(word), "{word} is not told: {outcome:?}");
            }
            assert!(!outcome.stderr.contains("main.toml"), "the wrong file: {outcome:?}");
        };
        told(&[("WADI_BROKER__PORT", "abc")], &["WADI_BROKER__PORT", "abc", "broker.port"]);
        told(&[("WADI_COLOUR", "red")], &["WADI_COLOUR", "colour"]);
        told(&[("WADI_BROKER__KEEP_ALIVE_S", "1")], &["WADI_BROKER__KEEP_ALIVE_S", "5 seconds"]);
        told(&[("WADI_METRICS__LISTEN", "0.0.0.0:9420")], &["WADI_METRICS__LISTEN", "loopback"]);
        std::fs::write(&extra, "[broker]\nhots = \"x\"\n").unwrap();
        told(&[], &["10-extra.toml", "hots"]);
        std::fs::write(&extra, "[broker]\nport = 0\n").unwrap();
        told(&[], &["10-extra.toml", "broker.port"]);
        std::fs::write(&extra, "[broker\n").unwrap();
        told(&[], &["10-extra.toml", "line 1"]);
    }
}

#[test]
fn what_both_ends_have_word_for_word_stays_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["layers", "service", "http", "words", "disk", "bridle", "store/copy"] {
        let file = format!("src/{name}.rs");
        let of = |end: &str| std::fs::read_to_string(folder.join(end).join(&file)).unwrap();
        assert!(of("gateway") == of("hub"), "{file} differs between gateway and hub");
    }
}
