//! A database that was found damaged is not written into any more.
//!
//! A page that cannot be read makes SQLite refuse what needs it and nothing else: the
//! next start would write into the file again, and where it is the list of free pages
//! that is damaged, over records that could still be read. So the finding is noted in a
//! file beside it, and a gateway does not open the database while that is there.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::copy::beside;
use super::error::{Problem, StoreError};

/// Behind the database's name.
const ENDING: &str = "-damaged";
/// A note of more bytes is not ours, and is not shown.
const NOTE_BYTES_MAX: u64 = 4_096;

/// Where the finding is noted.
pub fn path(database: &Path) -> PathBuf {
    beside(database, ENDING)
}

/// Note what was found, if it is damage. A disk that takes no note takes no changes either.
pub fn note(error: &StoreError) {
    if !error.problem.is_damage() || path(&error.path).exists() {
        return;
    }
    let noted = fs::File::create_new(path(&error.path))
        .and_then(|mut file| writeln!(file, "{}", error.problem).and_then(|()| file.sync_all()));
    if let Err(failed) = noted {
        tracing::warn!(phase = "store", file = %error.path.display(), "not noted: {failed}");
    }
}

/// An error if damage was found before.
pub(super) fn check(database: &Path) -> Result<(), Problem> {
    let path = path(database);
    let Ok(about) = fs::metadata(&path) else { return Ok(()) };
    let note = if about.len() <= NOTE_BYTES_MAX { fs::read_to_string(&path).ok() } else { None };
    let note = note.unwrap_or_default();
    let found = note.trim_end().strip_prefix("damaged: ").unwrap_or(note.trim_end());
    Err(Problem::FoundDamaged { note: path, found: found.split("; ").next().unwrap_or("").into() })
}

/// The database is another one now.
pub(super) fn forget(database: &Path) {
    let _ = fs::remove_file(path(database));
}
