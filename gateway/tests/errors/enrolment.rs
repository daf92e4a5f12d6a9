//! Enrolment files that cannot be used, enrolments that do not fit, and none at all.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::{CONFIG, FAILED, UNAVAILABLE, folder, gateway};

/// A file in the form that the hub writes; its certificates hold nothing.
fn file(site: &str, number: u32) -> String {
    let pem = |what: &str| format!("-----BEGIN {what}-----\nAAAA\n-----END {what}-----\n");
    let (certificate, key) = (pem("CERTIFICATE"), pem("PRIVATE KEY"));
    let tag_key = "5e".repeat(32);
    format!(
        "site = \"{site}\"\ngateway = {number}\nenrolment = 1\naddress = \"127.0.0.1:1\"\n\
         until_s = 2000000000\ntag_key = \"{tag_key}\"\nauthority = '''{certificate}'''\n\
         certificate = '''{certificate}'''\nkey = '''{key}'''\n"
    )
}

fn put(folder: &Path, name: &str, text: &str, mode: u32) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_is_no_enrolment_names_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let good = file("north", 1);
    let unchanged = "use the file that `wadi-hub gateway add` wrote, unchanged";
    for (text, parts) in [
        (
            good.replace("\"north\"", "\"\""),
            &["site: a name of 1 to 63 bytes of text is needed"][..],
        ),
        (good.replace("gateway = 1", "gateway = 0"), &["counted from 1"]),
        (good.replace("127.0.0.1:1", "nowhere"), &["address: host:port is needed"]),
        (good.replace("5e5e", "5e"), &["tag_key is damaged"]),
        (good.replacen("-----BEGIN CERT", "-----BEGIN NOT", 1), &["authority is damaged"]),
        (good.replace("-----BEGIN PRIVATE", "-----BEGIN NOT"), &["key is damaged"]),
        (good.replace("site =", "sight ="), &["sight"]),
        (String::new(), &["missing"]),
    ] {
        put(folder.path(), "bad.toml", &text, 0o600);
        let said = gateway(folder.path(), &["enrol", "bad.toml"]);
        said.told(FAILED, parts);
        said.told(FAILED, &["enrolment file bad.toml: ", unchanged]);
        assert!(!said.errors.contains("5e5e5e"), "a secret is shown: {}", said.errors);
    }
    let said = gateway(folder.path(), &["enrol", "nowhere.toml"]);
    said.told(FAILED, &["enrolment file nowhere.toml: there is no such file"]);
    let said = gateway(folder.path(), &["enrol", "."]);
    said.told(FAILED, &["enrolment file .: this is no enrolment file"]);
    put(folder.path(), "long.toml", &"#".repeat(1 << 20), 0o600);
    let said = gateway(folder.path(), &["enrol", "long.toml"]);
    said.told(FAILED, &["enrolment file long.toml: this is no enrolment file"]);
}

#[test]
fn an_enrolment_that_does_not_fit_says_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "north.toml", &file("north", 1), 0o600);
    put(folder.path(), "south.toml", &file("south", 2), 0o600);
    gateway(folder.path(), &["enrol", "north.toml"]).told(0, &[]);
    gateway(folder.path(), &["enrol", "south.toml"]).told(
        FAILED,
        &["south.toml: it is for gateway 2 of site south, but this is gateway 1 of site north: move "],
    );
    put(folder.path(), "gateway.toml", "site = \"south\"\ngateway = 2\n", 0o644);
    let said = gateway(folder.path(), &["status"]);
    let whose = "it says gateway 2 of site south, but the enrolment in ";
    said.told(CONFIG, &["gateway.toml: ", whose, "leave `site` and `gateway` out, or enrol with"]);
}

#[test]
fn an_installed_enrolment_is_guarded_and_its_damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "north.toml", &file("north", 1), 0o600);
    gateway(folder.path(), &["enrol", "north.toml"]).told(0, &[]);
    let identity = "identity.toml";
    put(folder.path(), identity, &file("north", 1), 0o644);
    let said = gateway(folder.path(), &["status"]);
    said.told(CONFIG, &[identity, "mode 644 lets others read its key: run `chmod 600 "]);
    put(folder.path(), identity, &file("north", 1).replace("5e5e", "5e"), 0o600);
    let said = gateway(folder.path(), &["status"]);
    let again = "enrol again with a file of `wadi-hub gateway enrol`";
    said.told(CONFIG, &[identity, "tag_key is damaged", again]);
}

#[test]
fn a_sync_without_a_good_enrolment_says_how_to_get_one() {
    let bare = folder("");
    let none = gateway(bare.path(), &["sync"]);
    none.told(UNAVAILABLE, &["not synced: this gateway is not enrolled", "`wadi-gateway enrol`"]);
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "north.toml", &file("north", 1), 0o600);
    gateway(folder.path(), &["enrol", "north.toml"]).told(0, &[]);
    let text = "[broker]\nhost = \"127.0.0.1\"\nport = 1\ntls = true\n";
    put(folder.path(), "gateway.toml", text, 0o644);
    let said = gateway(folder.path(), &["sync"]);
    said.told(UNAVAILABLE, &["the enrolment does not serve for TLS: ", "enrol anew with a file"]);
    put(folder.path(), "gateway.toml", "[broker]\nhost = \"127.0.0.1\"\nport = 1\n", 0o644);
    let said = gateway(folder.path(), &["sync"]);
    said.told(UNAVAILABLE, &["cannot connect to the broker at 127.0.0.1:1: ", "broker.port"]);
}
