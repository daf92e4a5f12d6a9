//! The template and the structs say the same; every layer names its own faults.
use std::collections::BTreeSet;
use std::ffi::OsString;

use serde_json::Value as Json;

use super::*;

/// The template as somebody would have it who sets every key.
fn everything() -> String {
    let set = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_string(),
        _ => line.to_string(),
    };
    TEMPLATE.lines().map(set).collect::<Vec<_>>().join("\n")
}

fn lay(text: &str) -> Result<(Config, Origins), ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("FILE.toml");
    std::fs::write(&file, text).unwrap();
    layers::lay(&[Layer::file(&file)?])
}

fn keys(prefix: &str, value: &Json, into: &mut BTreeSet<String>) {
    match value {
        Json::Object(fields) => {
            fields.iter().for_each(|(name, value)| keys(&format!("{prefix}.{name}"), value, into));
        }
        Json::Array(items) => items.iter().for_each(|item| keys(prefix, item, into)),
        Json::Null => panic!("{prefix} is not in the template"),
        _ => drop(into.insert(prefix.to_string())),
    }
}

#[test]
fn the_template_is_the_defaults() {
    let (config, _) = lay(TEMPLATE).unwrap();
    let text = |config: &Config| serde_json::to_string_pretty(config).unwrap();
    assert_eq!(text(&config), text(&Config::default()));
}

#[test]
fn every_key_is_in_the_template_with_a_comment() {
    let (config, origins) = lay(&everything()).unwrap();
    let mut known = BTreeSet::new();
    keys("", &serde_json::to_value(&config).unwrap(), &mut known);
    for key in known {
        let flat = key.trim_start_matches('.');
        let listed = flat.replacen("serial.", "serial[0].", 1);
        assert!(origins.of(&listed).is_some(), "{flat} is not in the template");
        let name = flat.rsplit('.').next().unwrap();
        let lines: Vec<&str> = TEMPLATE.lines().collect();
        let set = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{name} ="));
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| set(line)) {
            assert!(lines[at - 1].starts_with("# "), "{flat} has no comment");
        }
    }
    config.check().unwrap();
}

#[test]
fn a_variable_names_itself() {
    let variables = |name: &str, value: &str| {
        Layer::environment([(OsString::from(name), OsString::from(value))].into_iter())
            .and_then(|layers| layers::lay::<Config>(&layers))
    };
    for (name, value, word) in [
        ("WADI_BROKER__PORT", "abc", "broker.port"),
        ("WADI_BROKER__PORT", "70000", "broker.port"),
        ("WADI_COLOUR", "red", "colour"),
        ("WADI_BROKER", "red", "broker"),
        ("WADI_BROKER__PORT__X", "1", "broker.port"),
        ("WADI_", "1", "unknown key"),
        ("WADI_SERIAL[4000000000]__PATH", "1", "unknown key"),
        ("WADI_A__B__C__D__E__F", "1", "unknown key"),
    ] {
        let error = variables(name, value).unwrap_err();
        assert_eq!(error.origin, name);
        assert!(error.reason.contains(word), "{name}={value}: {error}");
    }
    let (config, origins) = variables("WADI_METRICS__LISTEN", "127.0.0.1:9420").unwrap();
    assert!(config.metrics.listen.is_some());
    assert_eq!(origins.of("metrics.listen"), Some("WADI_METRICS__LISTEN"));
    assert!(variables("WADI_LOG", "debug").is_ok());
}

#[test]
fn hostile_files_are_refused_in_words() {
    let nested = format!("a = {}", "[".repeat(200_000));
    let dotted = format!("{} = 1", vec!["a"; 100_000].join("."));
    let tables = format!("a = {}", "{a = ".repeat(100_000));
    for text in [&nested, &dotted, &tables] {
        assert!(lay(text).is_err());
    }
    for (text, words) in [
        ("\"serial[4000000000]\" = 1", "unknown key"),
        ("\"broker.port\" = 1", "unknown key"),
        ("[broker]\nport = 1883.7", "broker.port"),
        ("[broker]\nport = true", "broker.port"),
        ("[broker]\nport = -1", "broker.port"),
        ("[broker]\nhost = [1]", "broker.host"),
        ("database = 1979-05-27\ndatabase = 1", "line 2"),
        ("password = hunter2", "line 1"),
    ] {
        let error = lay(text).unwrap_err();
        assert!(error.reason.contains(words), "{text}: {error}");
        assert!(error.origin.ends_with("FILE.toml"), "{error}");
        assert!(!error.reason.contains("hunter2"), "{error}");
    }
}

#[test]
fn files_that_are_none_are_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("main.toml");
    let refused = |path: &Path, word: &str| {
        let error = Layer::file(path).unwrap_err();
        assert!(error.reason.contains(word), "{error}");
        assert!(error.origin.contains(path.to_str().unwrap()), "{error}");
    };
    refused(&file, "no such file");
    refused(folder.path(), "not a regular file");
    refused(Path::new("/dev/zero"), "not a regular file");
    std::fs::write(&file, b"database = \"x\"\nsite = \"\xff\"\n").unwrap();
    refused(&file, "line 2 is not UTF-8");
    std::fs::write(&file, vec![b'#'; 1 + layers::FILE_BYTES_MAX as usize]).unwrap();
    refused(&file, "larger than");

    std::fs::write(folder.path().join("conf.d"), "").unwrap();
    assert!(Layer::beside(&file).is_err());
    std::fs::remove_file(folder.path().join("conf.d")).unwrap();
    let more = folder.path().join("conf.d");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("20-b.toml"), "database = \"b.db\"").unwrap();
    std::fs::write(more.join("10-a.toml"), "database = \"a.db\"").unwrap();
    std::fs::write(more.join(".hidden.toml"), "nonsense").unwrap();
    std::fs::write(more.join("note.txt"), "nonsense").unwrap();
    std::os::unix::fs::symlink(more.join("note.txt"), more.join("link")).unwrap();
    let (config, origins): (Config, _) = layers::lay(&Layer::beside(&file).unwrap()).unwrap();
    assert_eq!(config.database, Path::new("b.db"));
    assert!(origins.of("database").unwrap().ends_with("conf.d/20-b.toml"));
    std::os::unix::fs::symlink("/nowhere", more.join("30-c.toml")).unwrap();
    let error = Layer::beside(&file).unwrap_err();
    assert!(error.origin.ends_with("conf.d/30-c.toml"), "{error}");
    std::fs::remove_file(more.join("30-c.toml")).unwrap();
    std::fs::create_dir(more.join("40-d.toml")).unwrap();
    let error = Layer::beside(&file).unwrap_err();
    assert!(error.origin.ends_with("conf.d/40-d.toml"), "{error}");
}

#[test]
fn secrets_are_not_shown() {
    let layer = Layer::new("here", [("database".to_string(), "x.db".into())]);
    let (config, origins): (Config, _) = layers::lay(&[layer]).unwrap();
    let shown = layers::effective(&config, &origins);
    assert!(shown.contains("database = \"x.db\"") && shown.contains("# here"), "{shown}");
    let hidden = serde_json::json!({ "a": { "api_key": "hunter2" }, "token": "hunter2" });
    let shown = layers::effective(&hidden, &origins);
    assert!(!shown.contains("hunter2") && shown.contains("(hidden)"), "{shown}");
}
