//! Every key that can be wrong by itself: the file, the key and what is needed are named.
use std::os::unix::ffi::OsStringExt;

use crate::{CONFIG, command, ended, folder, gateway};

#[test]
fn a_value_that_cannot_be_is_told_with_its_key_and_what_is_needed() {
    let many = (0..65).map(|at| format!("[[serial]]\npath = \"/dev/{at}\"\n")).collect::<String>();
    let twice = "[[serial]]\npath = \"/dev/a\"\n[[serial]]\npath = \"/dev/a\"\n";
    for (text, parts) in [
        ("gateway = 1\n", &["site: ", "1 to 63 bytes", "wadi-gateway enrol"][..]),
        ("site = \"north\"\n", &["gateway: ", "`wadi-hub gateway add` gave", "enrol"]),
        ("database = \"\"\n", &["database: ", "a file is needed"]),
        ("identity = \"\"\n", &["identity: ", "a file is needed"]),
        ("[broker]\nhost = \"\"\n", &["broker.host: ", "a host is needed"]),
        ("[broker]\nport = 0\n", &["broker.port: ", "from 1 to 65535 is needed"]),
        ("[broker]\nhost = \"hub.example\"\ntls = false\n", &["broker.tls: ", "loopback only"]),
        ("[broker]\nkeep_alive_s = 4\n", &["broker.keep_alive_s: ", "at least 5 seconds"]),
        ("[[serial]]\nbaud = 9600\n", &["serial: ", "each port needs its `path`"]),
        ("[[serial]]\npath = \"/dev/a\"\nbaud = 0\n", &["serial: ", "a `baud` above 0"]),
        (&many, &["serial: ", "at most 64 ports"]),
        (twice, &["serial: ", "the same `path`; leave one out"]),
        ("[lan]\nlisten = \"7420\"\n", &["lan.listen: ", "as 192.168.4.1:7420"]),
        ("[sync]\ninterval_s = 0\n", &["sync.interval_s: ", "above 0"]),
        ("[sync]\nretry_min_ms = 0\n", &["sync.retry_max_ms: ", "retry_min_ms must be above 0"]),
        ("[sync]\nretry_max_ms = 5\n", &["sync.retry_max_ms: ", "not below retry_min_ms"]),
        ("[sync]\ndeadline_ms = 99\n", &["sync.deadline_ms: ", "between 100 and 12000"]),
        ("[metrics]\nlisten = \"0.0.0.0:1\"\n", &["metrics.listen: ", "only loopback"]),
        ("[broker]\nport = 18.5\n", &["broker.port: ", "no key takes a fraction"]),
        ("[broker]\nport = true\n", &["broker.port: ", "a boolean does not fit here"]),
    ] {
        let whole = text.starts_with("gateway =") || text.starts_with("site =");
        let folder = folder(if whole { "" } else { text });
        if whole {
            std::fs::write(folder.path().join("gateway.toml"), text).unwrap();
        }
        let said = gateway(folder.path(), &["status"]);
        said.told(CONFIG, parts);
        said.told(CONFIG, &["wadi-gateway: configuration gateway.toml: "]);
    }
}

#[test]
fn files_and_variables_that_cannot_be_read_are_named() {
    let folder = folder("");
    let status = &["--config", "gateway.toml", "status"];
    let of = |variable: &str, value: std::ffi::OsString| {
        ended(command("wadi-gateway", folder.path(), status).env(variable, value))
    };
    of("WADI_LOG", "loud".into()).told(CONFIG, &["WADI_LOG", "\"loud\" is no level; use one of"]);
    of("WADI_SITE", OsStringExt::from_vec(vec![0xff]))
        .told(CONFIG, &["WADI_SITE: its value is not UTF-8 text"]);
    of("WADI_LOG", OsStringExt::from_vec(vec![0xff])).told(CONFIG, &["WADI_LOG: it is not UTF-8"]);
    let more = folder.path().join("conf.d");
    std::fs::create_dir(&more).unwrap();
    for at in 0..=256 {
        std::fs::write(more.join(format!("{at}.toml")), "").unwrap();
    }
    let many = gateway(folder.path(), &["status"]);
    many.told(CONFIG, &["conf.d: it holds more than ", " files; join some"]);
}
