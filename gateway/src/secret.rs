//! Files with secrets: written whole or not at all, for their user only.
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::owner;

/// Put a text in a file's place. Written beside and renamed: after a power cut at any
/// instruction there is the old one or the new one.
pub fn replace(place: &Path, text: &str) -> io::Result<()> {
    let mut draft = place.as_os_str().to_os_string();
    draft.push(".new");
    let draft = Path::new(&draft);
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = owner::create(draft, 0o600)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, place)?;
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
