//! The gateway's key: made at first start, kept in a file beside the database.
//!
//! Not in the database, which people of the site's group may read.
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wadi_protocol::tag::hex;

use super::key::{KeyPair, Typed};
use crate::secret;

/// The key file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("key file {}: {reason}", path.display())]
pub struct KeyFileError {
    path: PathBuf,
    reason: String,
}

/// The key file of a database.
pub fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_os_string();
    name.push("-key");
    PathBuf::from(name)
}

/// The key of the gateway of a database; none if it was never started.
pub fn read(database: &Path) -> Result<Option<KeyPair>, KeyFileError> {
    let path = path(database);
    let bad = |reason: String| KeyFileError { path: path.clone(), reason };
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(Typed::Whole(secret)) => Ok(Some(KeyPair::of(secret.0))),
            _ => Err(bad("it does not hold a key of 64 hexadecimal digits; restore it from a \
                 backup, or remove it: then a new key is made, and every handheld has to run \
                 `wadi-handheld forget` once"
                .into())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// The key of the gateway of a database, made if it has none.
pub fn read_or_make(database: &Path) -> Result<KeyPair, KeyFileError> {
    let path = path(database);
    let bad = |error: io::Error| KeyFileError { path: path.clone(), reason: error.to_string() };
    if let Some(keys) = read(database)? {
        let mode = fs::metadata(&path).map_err(bad)?.permissions().mode();
        if mode & 0o077 != 0 {
            let file = path.display();
            tracing::warn!(phase = "start", %file, "others could read the key; its mode is 0600 now");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(bad)?;
        }
        return Ok(keys);
    }
    let keys = KeyPair::draw().map_err(bad)?;
    secret::replace(&path, &format!("{}\n", hex(keys.secret()))).map_err(bad)?;
    let file = path.display();
    tracing::info!(phase = "start", %file, key = %keys.public(), "this gateway has a key now");
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("gateway.db");
        assert!(read(&database).unwrap().is_none());
        let keys = read_or_make(&database).unwrap();
        let file = path(&database);
        let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read_or_make(&database).unwrap(), keys);
        assert_eq!(mode(), 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_damaged_key_is_an_error_that_names_the_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("gateway.db");
        for text in ["", "3f2a91c077e10b5d", "not a key"] {
            fs::write(path(&database), text).unwrap();
            let said = read_or_make(&database).unwrap_err().to_string();
            assert!(said.contains("gateway.db-key") && said.contains("forget"), "{said}");
            assert_eq!(
                fs::read_to_string(path(&database)).unwrap(),
                text,
                "nothing is overwritten"
            );
        }
    }
}
