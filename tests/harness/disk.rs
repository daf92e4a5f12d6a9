//! A small disk of its own: an ext4 file system in a file, that a test can fill, empty
//! and have fail. Needs root and loop devices.
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::run;

const DEADLINE: Duration = Duration::from_secs(60);
/// What another program leaves on it.
const HOG: &str = "hog";

/// A mounted disk.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    /// Make and mount one of so many megabytes in `folder`.
    pub fn mount(folder: &Path, megabytes: u64) -> Result<Disk> {
        let disk = Disk { image: folder.join("disk.img"), folder: folder.join("disk") };
        std::fs::create_dir_all(&disk.folder)?;
        File::create(&disk.image)?.set_len(megabytes << 20)?;
        let image = disk.image.to_str().context("a path in UTF-8")?;
        call(Command::new("mkfs.ext4").args(["-q", "-m", "0", image]))?;
        disk.attach()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Mount it, as after a start of the machine: what an abort left is mended.
    pub fn attach(&self) -> Result<()> {
        call(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.folder))
            .context("a disk of its own needs root and loop devices")
    }

    /// Unmount it; fails while a file on it is open.
    pub fn detach(&self) -> Result<()> {
        call(Command::new("umount").arg(&self.folder))
    }

    /// The file system fails: from now on nothing can be written, whoever has it open.
    pub fn fail(&self) -> Result<()> {
        call(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.folder))
    }

    /// Another program takes all the room that there is; how many bytes.
    pub fn fill(&self) -> Result<u64> {
        let path = self.folder.join(HOG);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut taken = 0;
        for size in [1 << 20, 1 << 16, 1 << 12, 1] {
            let bytes = vec![0x5a; size];
            loop {
                match (&file).write(&bytes) {
                    Ok(written) => taken += written as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        file.sync_all()?;
        Ok(taken)
    }

    /// It gives all of it back.
    pub fn empty(&self) -> Result<()> {
        std::fs::remove_file(self.folder.join(HOG))?;
        Ok(File::open(&self.folder)?.sync_all()?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever has files open on it loses them when it ends.
        let _ = call(Command::new("umount").arg("-l").arg(&self.folder));
    }
}

fn call(command: &mut Command) -> Result<()> {
    let outcome = run(command, "", DEADLINE)?;
    ensure!(outcome.code == Some(0), "{command:?}: {}", outcome.text());
    Ok(())
}
