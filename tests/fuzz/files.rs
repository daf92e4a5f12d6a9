//! Files that people put in place: settings of both ends, enrolments, identities, keys.
//!
//! One that cannot be used is refused by name: the file, and the key where one is
//! unknown; and no refusal shows a secret, since logs are read by many.
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wadi_gateway::layers::Layer;
use wadi_gateway::{config, identity, noise};
use wadi_hub::command::{Enroller, gateway_enrol};

use crate::model::NOW_S;
use crate::script::Script;
use crate::{corpus, folder, fuzz};

/// So many characters of a secret in a row show it.
const SHOWN_CHARS: usize = 16;

/// Files with secrets, as they are made.
struct Secrets {
    enrolment: Vec<u8>,
    hub: Vec<u8>,
    key: Vec<u8>,
}

#[test]
fn a_file_is_refused_by_name_or_usable() {
    let secrets = secrets();
    let place = Place(folder::new());
    fuzz!(move |input: &[u8]| {
        let mut script = Script(input);
        match script.byte() % 8 {
            0 => place.enrolment(&script.altered(secrets.enrolment.clone()), &secrets),
            1 => place.hubs_identity(&script.altered(secrets.hub.clone()), &secrets),
            2 => place.key(&script.altered(secrets.key.clone()), &secrets),
            3 => variables(&mut script),
            4 => place.unknown_key(&mut script),
            _ => place.settings(&mut script),
        }
    });
}

fn secrets() -> Secrets {
    let folder = folder::new();
    let at = |name: &str| folder.path().join(name);
    let identity = wadi_hub::identity::Identity::open(&at("hub.toml"), NOW_S).expect("made");
    let mut store = wadi_hub::store::Store::open(&at("hub.db")).expect("made");
    let enroller =
        Enroller { identity: &identity, address: "hub.example:8883", tls: true, days: 30 };
    let file = at("north.toml");
    gateway_enrol(&mut store, &enroller, ("north", false), Some(&file), NOW_S, &mut Vec::new())
        .expect("enrolled");
    noise::file::read_or_make(&at("gateway.db")).expect("made");
    let read = |name| fs::read(at(name)).expect("a file");
    Secrets { enrolment: read("north.toml"), hub: read("hub.toml"), key: read("gateway.db-key") }
}

/// No line of a secret shows in what is said.
fn keeps(secret: &[u8], said: &str) {
    let text = String::from_utf8_lossy(secret);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        // Certificates are public, but nothing of them helps anybody either.
        let value = line.split_once("= ").map_or(line, |(_, value)| value).trim_matches('"');
        if value.len() >= 2 * SHOWN_CHARS && !value.contains(' ') {
            for piece in value.as_bytes().chunks_exact(SHOWN_CHARS) {
                let piece = std::str::from_utf8(piece).expect("ASCII");
                assert!(!said.contains(piece), "{piece} is shown: {said}");
            }
        }
    }
}

struct Place(TempDir);

impl Place {
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("there is room");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }

    fn enrolment(&self, bytes: &[u8], secrets: &Secrets) {
        let file = self.file("north.enrolment.toml", bytes);
        let installed = self.0.path().join("identity.toml");
        let _ = fs::remove_file(&installed);
        match identity::install(&file, &installed) {
            Ok(one) => {
                let held = identity::Identity::read(&installed).expect("what was installed");
                assert_eq!(held.map(|held| held.gateway), Some(one.gateway));
            }
            Err(error) => refused(&error.to_string(), &file, &secrets.enrolment),
        }
    }

    fn hubs_identity(&self, bytes: &[u8], secrets: &Secrets) {
        let file = self.file("hub-identity.toml", bytes);
        match wadi_hub::identity::Identity::read(&file) {
            Ok(one) => drop(one.expect("there is a file").own()),
            Err(error) => refused(&error.to_string(), &file, &secrets.hub),
        }
    }

    fn key(&self, bytes: &[u8], secrets: &Secrets) {
        let file = self.file("gateway.db-key", bytes);
        match noise::file::read(&self.0.path().join("gateway.db")) {
            Ok(keys) => drop(keys.expect("there is a file")),
            Err(error) => refused(&error.to_string(), &file, &secrets.key),
        }
    }

    /// Spoiled settings of either end.
    fn settings(&self, script: &mut Script<'_>) {
        let gateway = script.one_in(2);
        let sample = if gateway { corpus::GATEWAY } else { corpus::HUB };
        let bytes = script.altered(sample.as_bytes().to_vec());
        if let Err(said) = self.read(gateway, &bytes) {
            let file = self.0.path().join("settings.toml");
            assert!(said.contains(&file.display().to_string()), "{said}");
        }
    }

    /// Sound settings with one key that is none: it is named, and so is its file.
    fn unknown_key(&self, script: &mut Script<'_>) {
        let gateway = script.one_in(2);
        let sample = if gateway { corpus::GATEWAY } else { corpus::HUB };
        let mut lines: Vec<&str> = sample.lines().collect();
        lines.insert(script.below(lines.len() + 1), "zebra = 1");
        let said = self.read(gateway, lines.join("\n").as_bytes()).expect_err("zebra is no key");
        let file = self.0.path().join("settings.toml").display().to_string();
        assert!(said.contains("zebra") && said.contains(&file), "{said}");
    }

    fn read(&self, gateway: bool, bytes: &[u8]) -> Result<(), String> {
        let file = self.file("settings.toml", bytes);
        if gateway {
            config::Config::read(&file)
                .map(|config| drop(config.effective()))
                .map_err(|error| error.to_string())
        } else {
            wadi_hub::config::Config::read(&file)
                .map(|config| drop(config.effective()))
                .map_err(|error| error.to_string())
        }
    }
}

fn refused(said: &str, file: &Path, secret: &[u8]) {
    assert!(said.contains(&file.display().to_string()), "{said}");
    // A key is named as it is written; faults that copy a secret into its name go too far.
    if !said.contains("unknown field") {
        keeps(secret, said);
    }
}

/// Variables of the environment, of any name and value; an error names the variable.
fn variables(script: &mut Script<'_>) {
    let names: [&[u8]; 5] =
        [b"WADI_SITE", b"WADI_BROKER__PORT", b"WADI_LOG", b"WADI_A__B__C__D__E", b"PATH"];
    let mut all = Vec::new();
    for _ in 0..=script.byte() % 4 {
        let mut name = script.pick(&names).to_vec();
        if script.one_in(2) {
            name = script.altered(name);
        }
        let value = script.altered(b"north".to_vec());
        all.push((OsString::from_vec(name), OsString::from_vec(value)));
    }
    if let Err(error) = Layer::environment(all.iter().cloned()) {
        assert!(
            all.iter().any(|(name, _)| error.to_string().contains(&*name.to_string_lossy())),
            "{error}"
        );
    }
}
