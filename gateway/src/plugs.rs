//! Hears from the kernel when something changes where a device is to appear (inotify, see
//! inotify(7)), so that a port is opened as soon as it is plugged in, and costs nothing
//! while it is away.
//!
//! What changed is not read, only that something did: the path itself is looked at
//! afterwards. Whoever waits here needs a timer as well, for what cannot be heard.
use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::{Path, absolute};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, read};
use tokio::io::unix::AsyncFd;

/// Names that come and go, rights that change, a folder that goes itself. Not what is
/// written into files: the folder may hold others.
const CHANGES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);
/// Links that lead to one another; udev's are one.
const LINKS_MAX: usize = 8;
/// Changes that are read away at once: some dozens. One takes at most 272.
const READ_BYTES: usize = 4096;

/// Changes around one path.
#[derive(Debug)]
pub struct Plugs(Option<AsyncFd<OwnedFd>>);

impl Plugs {
    /// Hears nothing until a path is watched; nothing ever, where the kernel has no more
    /// of these to give. Call it inside a runtime.
    #[expect(deprecated, reason = "of types whose descriptor may change; an OwnedFd's does not")]
    pub fn listen() -> Plugs {
        let heard = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Plugs(heard.ok().and_then(|heard| AsyncFd::new(heard).ok()))
    }

    /// Hear of whatever changes what a path leads to, from now on: look at the path
    /// afterwards. Not all of it can be heard if the answer is false.
    pub fn watch(&self, path: &Path) -> bool {
        let (Some(heard), Ok(mut path)) = (&self.0, absolute(path)) else {
            return false;
        };
        for _ in 0..LINKS_MAX {
            if !watch_folder(heard.get_ref(), &path) {
                return false;
            }
            match (path.read_link(), path.parent()) {
                (Ok(target), Some(folder)) => path = folder.join(target),
                _ => return true,
            }
        }
        false
    }

    /// Resolves when something has changed since the last time.
    pub async fn changed(&self) {
        let Some(heard) = &self.0 else {
            return pending().await;
        };
        loop {
            let Ok(mut ready) = heard.readable().await else {
                return pending().await;
            };
            let read_away = |heard: &AsyncFd<OwnedFd>| {
                Ok(read(heard.get_ref(), &mut [0; READ_BYTES]).map(|_| ())?)
            };
            match ready.try_io(read_away) {
                Ok(Ok(())) => return,
                Ok(Err(_)) => return pending().await,
                Err(_nothing_yet) => {}
            }
        }
    }
}

/// Watch the folder of a path, or the nearest above that is there.
fn watch_folder(heard: &OwnedFd, path: &Path) -> bool {
    let mut missing: Option<&Path> = None;
    for folder in path.ancestors().skip(1) {
        match inotify::add_watch(heard, folder, CHANGES) {
            // What came before the one above was watched, nobody tells of.
            Ok(_) => return missing.is_none_or(|missing| missing.symlink_metadata().is_err()),
            Err(Errno::NOENT | Errno::NOTDIR) => missing = Some(folder),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Far more than it takes; only a change that is not heard waits for its end.
    const PATIENCE: Duration = Duration::from_secs(20);
    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn each_step_of_an_adapter_that_is_plugged_in_and_out_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let port = at("serial/by-id/usb-terminal");
        let plugs = Plugs::listen();
        // As udev does it, and back.
        let steps: [(&str, &dyn Fn()); 10] = [
            ("node", &|| fs::write(at("ttyUSB0"), "").unwrap()),
            ("folder", &|| fs::create_dir(at("serial")).unwrap()),
            ("folder in it", &|| fs::create_dir(at("serial/by-id")).unwrap()),
            ("name", &|| symlink("../../ttyUSB0", &port).unwrap()),
            ("rights", &|| {
                let mut rights = at("ttyUSB0").metadata().unwrap().permissions();
                rights.set_readonly(true);
                fs::set_permissions(at("ttyUSB0"), rights).unwrap();
            }),
            ("node gone", &|| fs::remove_file(at("ttyUSB0")).unwrap()),
            ("node back", &|| fs::write(at("ttyUSB0"), "").unwrap()),
            ("name gone", &|| fs::remove_file(&port).unwrap()),
            ("folder gone", &|| fs::remove_dir(at("serial/by-id")).unwrap()),
            ("folder above gone", &|| fs::remove_dir(at("serial")).unwrap()),
        ];
        for (what, step) in steps {
            assert!(plugs.watch(&port), "before {what}");
            while timeout(MOMENT, plugs.changed()).await.is_ok() {}
            step();
            timeout(PATIENCE, plugs.changed()).await.expect(what);
        }
    }

    #[tokio::test]
    async fn bytes_that_are_written_beside_it_are_not_heard() {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("gateway.db-wal");
        fs::write(&beside, "").unwrap();
        let plugs = Plugs::listen();
        assert!(plugs.watch(&folder.path().join("port")));
        fs::write(&beside, "records").unwrap();
        assert!(timeout(MOMENT, plugs.changed()).await.is_err());
    }

    #[tokio::test]
    async fn links_in_a_circle_are_not_followed_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        symlink(&one, &other).unwrap();
        symlink(&other, &one).unwrap();
        assert!(!Plugs::listen().watch(&one));
    }
}
