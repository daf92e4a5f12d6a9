//! Every key that can be wrong by itself: the file, the key and what is needed are named.
use crate::{CONFIG, folder, hub};

#[test]
fn a_value_that_cannot_be_is_told_with_its_key_and_what_is_needed() {
    let plain = "false is for loopback only: what crosses a network is sealed by TLS";
    for (text, parts) in [
        ("database = \"\"\n", &["database: a file is needed"][..]),
        ("identity = \"\"\n", &["identity: a file is needed"]),
        ("address = \"hub.example\"\n", &["address: host and port are needed, as in \"hub."]),
        ("certificate_days = 29\n", &["certificate_days: at least 30 days are needed"]),
        ("[broker]\nhost = \"\"\n", &["broker.host: a host is needed"]),
        ("[broker]\nport = 0\n", &["broker.port: a port from 1 to 65535 is needed"]),
        ("[broker]\nkeep_alive_s = 4\n", &["broker.keep_alive_s: at least 5 seconds"]),
        ("[broker]\nhost = \"hub.example\"\ntls = false\n", &["broker.tls: ", plain]),
        ("[embedded]\nlisten = \"0.0.0.0:1\"\ntls = false\n", &["embedded.tls: ", plain]),
        ("[embedded]\nlisten = \"nowhere\"\n", &["embedded.listen", "socket address"]),
        ("[metrics]\nlisten = \"0.0.0.0:1\"\n", &["metrics.listen: only loopback (as 127.0.0.1"]),
        ("databse = \"x\"\n", &["unknown field", "databse"]),
    ] {
        let folder = folder(text);
        let said = hub(folder.path(), &["status"]);
        said.told(CONFIG, parts);
        said.told(CONFIG, &["wadi-hub: configuration hub.toml: "]);
    }
}

#[test]
fn gateways_must_be_told_where_the_hub_is() {
    let folder = folder("[embedded]\nlisten = \"0.0.0.0:8883\"\n");
    let said = hub(folder.path(), &["gateway", "add", "north"]);
    said.told(CONFIG, &["address: say where gateways reach the broker, as in address = \"hub."]);
}
