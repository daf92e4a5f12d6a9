//! Folders for databases and files of the targets: in memory, where the machine has
//! such a place, since each input begins with a store of its own.
use std::path::Path;

use tempfile::TempDir;

/// Linux's folder in memory.
const IN_MEMORY: &str = "/dev/shm";

/// A folder that goes when it is dropped.
pub fn new() -> TempDir {
    let builder = tempfile::Builder::new().prefix("wadi-fuzz-").to_owned();
    match Path::new(IN_MEMORY).is_dir() {
        true => builder.tempdir_in(IN_MEMORY),
        false => builder.tempdir(),
    }
    .expect("a folder can be made")
}
