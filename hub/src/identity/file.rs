//! The file of the hub's identity: read with care, written once, for its user only.
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use wadi_protocol::tag::{hex, unhex};

use super::{Identity, IdentityError};
use crate::layers::without_values;
use crate::owner;

/// More is not ours.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Says to whoever opens it what it is.
const HEAD: &str = "# The identity of this Wadi hub: its certificate authority and the secrets of all sites.\n\
                    # Keep it secret, and with every backup: without it every site must be enrolled anew.\n";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    made_s: u64,
    master: String,
    authority_key: String,
    authority: String,
    key: String,
    certificate: String,
}

/// The identity in a file; none where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Identity>, IdentityError> {
    let bad = |reason: String| IdentityError::File { file: path.display().to_string(), reason };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    let mode = file.metadata().map_err(|error| bad(error.to_string()))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(bad(format!(
            "mode {mode:o} lets others read secrets: run `chmod 600 {}`",
            path.display()
        )));
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    let damaged =
        |what: &str| bad(format!("{what} is damaged: put the file of a backup in its place"));
    read.map_err(|error| damaged(&format!("the file ({error})")))?;
    let stored: Stored = toml::from_str(&text)
        .map_err(|error| damaged(&format!("the file ({})", without_values(error.message()))))?;
    let master = unhex(&stored.master).ok_or_else(|| damaged("master"))?;
    let authority =
        KeyPair::from_pem(&stored.authority_key).map_err(|_| damaged("authority_key"))?;
    parse_pair(&stored.certificate, &stored.key).map_err(|_| damaged("key or certificate"))?;
    Ok(Some(Identity {
        made_s: stored.made_s,
        authority,
        authority_pem: stored.authority,
        key_pem: stored.key,
        certificate_pem: stored.certificate,
        master,
    }))
}

/// Put a new identity into a file, unless another process was first: then it is that one's.
pub(super) fn keep(path: &Path, identity: &Identity) -> Result<Identity, IdentityError> {
    let bad = |error: io::Error| IdentityError::File {
        file: path.display().to_string(),
        reason: error.to_string(),
    };
    let stored = Stored {
        made_s: identity.made_s,
        master: hex(&identity.master),
        authority_key: identity.authority.serialize_pem(),
        authority: identity.authority_pem.clone(),
        key: identity.key_pem.clone(),
        certificate: identity.certificate_pem.clone(),
    };
    let text = toml::to_string_pretty(&stored).expect("plain texts always serialise");
    let mut draft = path.as_os_str().to_os_string();
    draft.push(format!(".{}", std::process::id()));
    write_secret(Path::new(&draft), &format!("{HEAD}{text}")).map_err(bad)?;
    // Linking fails where a file is: of two processes one wins, and no half file is ever seen.
    let linked = fs::hard_link(&draft, path);
    let _ = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(bad(error)),
        _ => sync_folder(path).map_err(bad)?,
    }
    read(path)?.ok_or_else(|| bad(io::ErrorKind::NotFound.into()))
}

/// Write a new file for its user only, durably.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = owner::create(path, 0o600)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// A certificate and its key, out of PEM.
pub(super) fn parse_pair(
    certificate: &str,
    key: &str,
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
    let bad = |error: rustls::pki_types::pem::Error| IdentityError::File {
        file: "hub identity".into(),
        reason: format!("{error:?}"),
    };
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(bad)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(bad)?;
    Ok((certificate, key))
}
