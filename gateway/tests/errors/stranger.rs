//! Running a program as somebody who owns nothing here: modes bind everybody but root.
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Nobody, by Debian's and the kernel's custom.
const NOBODY: u32 = 65_534;

/// Give a file or folder this mode.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A program as it is run by nobody; by its owner, where we are not root and the modes
/// bind us as well. It is copied into the folder, which opens to all, since nobody may
/// walk to where it was built.
pub fn stranger(program: &str, folder: &Path) -> Command {
    set_mode(folder, 0o755);
    let copy = folder.join(Path::new(program).file_name().unwrap());
    if !copy.exists() {
        fs::copy(program, &copy).unwrap();
    }
    let mut command = Command::new(copy);
    command.current_dir(folder);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.gid(NOBODY).uid(NOBODY);
    }
    command
}
