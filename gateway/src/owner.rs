//! New files, when root makes them for somebody else.
//!
//! People type `sudo wadi-gateway enrol` or `sudo wadi-hub gateway add`, and the service
//! runs as a user of its own: a file of root's in that user's folder would stop it. So what
//! root makes belongs to whom its folder belongs; SQLite does the same for its logs. Nobody
//! else may give files away, and nothing changes for them.
//! The gateway and the hub each have this file, word for word; neither imports the other.
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Make a file that is not there, to be read and written.
///
/// # Errors
/// It is there already, even as a link, or cannot be made.
pub fn create(path: &Path, mode: u32) -> io::Result<File> {
    // Whatever is found there, a link that a user laid for root above all, is never given away.
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let owner = folder.unwrap_or(Path::new(".")).metadata()?;
    if file.metadata()?.uid() == 0 && owner.uid() != 0 {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(file)
}

/// Open a file to write, as it is, or make it.
///
/// # Errors
/// It can be neither made nor opened.
pub fn open(path: &Path, mode: u32) -> io::Result<File> {
    match create(path, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            OpenOptions::new().write(true).open(path)
        }
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn what_is_made_belongs_to_whom_the_folder_belongs() {
        let folder = tempfile::tempdir().unwrap();
        // Only root can give a folder away; for everybody else both are their own.
        let _ = chown(folder.path(), Some(4711), Some(4712));
        let made = create(&folder.path().join("key"), 0o600).unwrap().metadata().unwrap();
        let owner = folder.path().metadata().unwrap();
        assert_eq!((made.uid(), made.gid()), (owner.uid(), owner.gid()));
        assert_eq!(made.mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (others, link) = (folder.path().join("others"), folder.path().join("link"));
        std::fs::write(&others, "theirs").unwrap();
        let before = others.metadata().unwrap();
        symlink(&others, &link).unwrap();
        let _ = chown(folder.path(), Some(4711), Some(4712));
        assert_eq!(create(&link, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(create(&others, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let after = others.metadata().unwrap();
        assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
    }
}
