//! `wadi-hub broker-config mosquitto`: what a broker of one's own needs, so that
//! a gateway can publish and read only its own topics.
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{CommandError, gateway};
use crate::config::Config;
use crate::identity::{HUB_CLIENT, Identity};
use crate::store::Store;

/// Where MQTT over TLS is usual.
const PORT: u16 = 8883;
/// Topics by the name in the certificate: the gateway's number, or the hub's.
const ACL: &str =
    "# Wadi: a gateway publishes wadi/<its number>/up and reads wadi/<its number>/down.
pattern write wadi/%u/up
pattern read wadi/%u/down

user wadi-hub
topic read wadi/+/up
topic write wadi/+/down
";

/// Of the broker's TLS library, which mosquitto's own configuration cannot reach. As it is,
/// it gives two tickets on each connection with the whole session in it, the gateway's
/// certificate too, and gets one back with each resumption: some 1,200 bytes each time.
const OPENSSL: &str =
    "# Wadi: a resumed session costs a gateway few bytes: the broker remembers it, and gives
# one ticket that only names it.
openssl_conf = wadi

[wadi]
ssl_conf = programs

[programs]
system_default = broker

[broker]
MinProtocol = TLSv1.3
CipherString = DEFAULT:@SECLEVEL=2
Options = -SessionTicket
NumTickets = 1
";

/// Write the files of a mosquitto into a folder: configuration, topics, certificates,
/// and the certificates that are revoked. Whatever stands there is replaced, but for
/// the broker's own key.
pub fn broker_config(
    store: &Store,
    config: &Config,
    identity: &Identity,
    (folder, port): (&Path, Option<u16>),
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let made = |error: crate::identity::IdentityError| CommandError::File {
        file: folder.display().to_string(),
        reason: error.to_string(),
    };
    fs::create_dir_all(folder).map_err(|error| CommandError::File {
        file: folder.display().to_string(),
        reason: error.to_string(),
    })?;
    let folder = fs::canonicalize(folder)?;
    let port = port.or(config.broker.as_ref().map(|broker| broker.port)).unwrap_or(PORT);
    let revoked: Vec<_> = store.revoked(now_s)?.into_iter().map(gateway::subject).collect();
    put(&folder, "mosquitto.conf", 0o644, &conf(&folder, port))?;
    put(&folder, "openssl.cnf", 0o644, OPENSSL)?;
    put(&folder, "acl", 0o600, ACL)?;
    put(&folder, "authority.pem", 0o644, identity.authority_pem())?;
    put(&folder, "revoked.pem", 0o644, &identity.revocations(&revoked, now_s).map_err(made)?)?;
    if !folder.join("broker.key").exists() {
        let broker = identity.issue_broker().map_err(made)?;
        put(&folder, "broker.pem", 0o644, &broker.certificate_pem)?;
        put(&folder, "broker.key", 0o600, &broker.key_pem)?;
    }
    writeln!(
        out,
        "written to {}: mosquitto.conf, openssl.cnf, acl, authority.pem, revoked.pem, broker.pem, broker.key",
        folder.display()
    )?;
    writeln!(out, "give the files to the broker's user: chown -R mosquitto {}", folder.display())?;
    writeln!(
        out,
        "and run: OPENSSL_CONF={} mosquitto -c {}",
        folder.join("openssl.cnf").display(),
        folder.join("mosquitto.conf").display()
    )?;
    // Who has not said so yet would wonder why nobody connects.
    if !config.broker.as_ref().is_some_and(|broker| broker.port == port && broker.tls()) {
        let host = config.broker.as_ref().map_or("127.0.0.1", |broker| &broker.host);
        writeln!(
            out,
            "the hub does not use it yet: write [broker] with host = {host:?}, port = {port}, tls = true \
             into its configuration; gateways are enrolled after that"
        )?;
    }
    Ok(writeln!(
        out,
        "after `gateway revoke` or `gateway enrol` run this again and restart the broker (SIGHUP is not enough for revoked.pem)"
    )?)
}

fn conf(folder: &Path, port: u16) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "# Wadi's broker, made by `wadi-hub broker-config mosquitto`. It stores nothing: all that\n\
         # matters is at the gateways and at the hub.\n\
         listener {port}\n\
         cafile {}\ncertfile {}\nkeyfile {}\ncrlfile {}\n\
         tls_version tlsv1.3\n\
         require_certificate true\n\
         # Who somebody is stands in the certificate ({HUB_CLIENT}, or a gateway's number), and\n\
         # nobody can take another's place by its client id.\n\
         use_identity_as_username true\n\
         use_username_as_clientid true\n\
         allow_anonymous false\n\
         acl_file {}\n\
         persistence false\n\
         max_packet_size 20480\n\
         max_queued_messages 1000\n\
         set_tcp_nodelay true\n",
        at("authority.pem"),
        at("broker.pem"),
        at("broker.key"),
        at("revoked.pem"),
        at("acl"),
    )
}

/// Write a file of ours anew.
fn put(folder: &Path, name: &str, mode: u32, text: &str) -> Result<(), CommandError> {
    let path = folder.join(name);
    let write = || {
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| CommandError::File {
        file: path.display().to_string(),
        reason: error.to_string(),
    })
}
