//! The file system that SQLite is given: its files are those of [`crate::disk`], and what
//! is planned there happens at its writes and syncs.
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sqlite_plugin::flags::{AccessFlags, LockLevel, OpenOpts, ShmLockMode};
use sqlite_plugin::vars;
use sqlite_plugin::vfs::{Vfs, VfsHandle, VfsResult};

use crate::body::Body;
use crate::disk::{Machine, of_file};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// An open file.
pub struct Handle {
    id: u64,
    path: Option<String>,
    /// Whose it is; nobody's without a name.
    machine: Option<Arc<Mutex<Machine>>>,
    body: Arc<Mutex<Body>>,
    deleted_on_close: bool,
    readonly: bool,
}

impl VfsHandle for Handle {
    fn readonly(&self) -> bool {
        self.readonly
    }

    fn in_memory(&self) -> bool {
        false
    }
}

/// The file system, as SQLite sees it.
pub struct Disk;

impl Disk {
    /// Do what writes, unless the machine's trouble comes in between.
    fn change(&self, handle: &Handle, broken: i32, act: impl FnOnce(&mut Body)) -> VfsResult<()> {
        let Some(machine) = &handle.machine else {
            act(&mut handle.body.lock().expect("no panic inside"));
            return Ok(());
        };
        let mut machine = machine.lock().expect("no panic inside");
        let cut = machine.meet(vars::SQLITE_FULL, broken)?;
        act(&mut handle.body.lock().expect("no panic inside"));
        match cut {
            Some(mut dice) => {
                machine.cut(&mut dice);
                Err(broken)
            }
            None => Ok(()),
        }
    }

    fn is_on(&self, handle: &Handle, error: i32) -> VfsResult<()> {
        match &handle.machine {
            Some(machine) if machine.lock().expect("no panic inside").off.is_some() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Vfs for Disk {
    type Handle = Handle;

    fn open(&self, path: Option<&str>, opts: OpenOpts) -> VfsResult<Handle> {
        let readonly = opts.mode().is_readonly();
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let deleted_on_close = opts.delete_on_close();
        let Some(path) = path else {
            let (path, machine, body) = (None, None, Arc::default());
            return Ok(Handle { id, path, machine, body, deleted_on_close, readonly });
        };
        let machine = of_file(path);
        let mut here = machine.lock().expect("no panic inside");
        if here.off.is_some() || (readonly && !here.files.contains_key(path)) {
            return Err(vars::SQLITE_CANTOPEN);
        }
        let body = Arc::clone(here.files.entry(path.to_owned()).or_default());
        drop(here);
        let (path, machine) = (Some(path.to_owned()), Some(machine));
        Ok(Handle { id, path, machine, body, deleted_on_close, readonly })
    }

    fn delete(&self, path: &str) -> VfsResult<()> {
        let machine = of_file(path);
        let mut machine = machine.lock().expect("no panic inside");
        if machine.off.is_some() {
            return Err(vars::SQLITE_IOERR_DELETE);
        }
        match machine.files.remove(path) {
            Some(_) => Ok(()),
            None => Err(vars::SQLITE_IOERR_DELETE_NOENT),
        }
    }

    fn access(&self, path: &str, _: AccessFlags) -> VfsResult<bool> {
        Ok(of_file(path).lock().expect("no panic inside").files.contains_key(path))
    }

    fn file_size(&self, handle: &mut Handle) -> VfsResult<usize> {
        self.is_on(handle, vars::SQLITE_IOERR_FSTAT)?;
        Ok(handle.body.lock().expect("no panic inside").data.len())
    }

    fn truncate(&self, handle: &mut Handle, size: usize) -> VfsResult<()> {
        self.change(handle, vars::SQLITE_IOERR_TRUNCATE, |body| body.truncate(size))
    }

    fn write(&self, handle: &mut Handle, offset: usize, data: &[u8]) -> VfsResult<usize> {
        self.change(handle, vars::SQLITE_IOERR_WRITE, |body| body.write(offset, data))?;
        Ok(data.len())
    }

    fn read(&self, handle: &mut Handle, offset: usize, into: &mut [u8]) -> VfsResult<usize> {
        self.is_on(handle, vars::SQLITE_IOERR_READ)?;
        let body = handle.body.lock().expect("no panic inside");
        let from = offset.min(body.data.len());
        let length = into.len().min(body.data.len() - from);
        into[..length].copy_from_slice(&body.data[from..from + length]);
        Ok(length)
    }

    fn sync(&self, handle: &mut Handle) -> VfsResult<()> {
        self.change(handle, vars::SQLITE_IOERR_FSYNC, Body::sync)
    }

    fn lock(&self, handle: &mut Handle, level: LockLevel) -> VfsResult<()> {
        let mut body = handle.body.lock().expect("no panic inside");
        if !body.may_lock(handle.id, level) {
            return Err(vars::SQLITE_BUSY);
        }
        body.locks.insert(handle.id, level);
        Ok(())
    }

    fn unlock(&self, handle: &mut Handle, level: LockLevel) -> VfsResult<()> {
        let mut body = handle.body.lock().expect("no panic inside");
        match level {
            LockLevel::Unlocked => drop(body.locks.remove(&handle.id)),
            level => drop(body.locks.insert(handle.id, level)),
        }
        Ok(())
    }

    fn check_reserved_lock(&self, handle: &mut Handle) -> VfsResult<bool> {
        let body = handle.body.lock().expect("no panic inside");
        Ok(body.locks.values().any(|&level| level >= LockLevel::Reserved))
    }

    fn close(&self, handle: Handle) -> VfsResult<()> {
        let mut body = handle.body.lock().expect("no panic inside");
        body.locks.remove(&handle.id);
        body.leave_shm(handle.id);
        drop(body);
        match &handle.path {
            Some(path) if handle.deleted_on_close => self.delete(path),
            _ => Ok(()),
        }
    }

    fn device_characteristics(&self, _: &mut Handle) -> VfsResult<i32> {
        Ok(vars::SQLITE_IOCAP_POWERSAFE_OVERWRITE)
    }

    fn shm_map(
        &self,
        handle: &mut Handle,
        region: usize,
        bytes: usize,
        extend: bool,
    ) -> VfsResult<Option<NonNull<u8>>> {
        self.is_on(handle, vars::SQLITE_IOERR_SHMMAP)?;
        let mut body = handle.body.lock().expect("no panic inside");
        body.shm_users.entry(handle.id).or_default();
        while body.shm.len() <= region {
            if !extend {
                return Ok(None);
            }
            body.shm.push(vec![0; bytes].into_boxed_slice());
        }
        Ok(Some(NonNull::from(&mut body.shm[region][0])))
    }

    fn shm_lock(
        &self,
        handle: &mut Handle,
        offset: u32,
        count: u32,
        mode: ShmLockMode,
    ) -> VfsResult<()> {
        let mut body = handle.body.lock().expect("no panic inside");
        for slot in offset as usize..(offset + count) as usize {
            let taken = |exclusive: bool| {
                let mut others = body.shm_users.iter().filter(|(id, _)| **id != handle.id);
                others.any(|(_, held)| held[slot].is_some_and(|other| exclusive || other))
            };
            let busy = match mode {
                ShmLockMode::LockShared => taken(false),
                ShmLockMode::LockExclusive => taken(true),
                ShmLockMode::UnlockShared | ShmLockMode::UnlockExclusive => false,
            };
            if busy {
                return Err(vars::SQLITE_BUSY);
            }
        }
        let held = body.shm_users.entry(handle.id).or_default();
        for slot in &mut held[offset as usize..(offset + count) as usize] {
            *slot = match mode {
                ShmLockMode::LockShared => Some(false),
                ShmLockMode::LockExclusive => Some(true),
                ShmLockMode::UnlockShared | ShmLockMode::UnlockExclusive => None,
            };
        }
        Ok(())
    }

    fn shm_unmap(&self, handle: &mut Handle, _delete: bool) -> VfsResult<()> {
        handle.body.lock().expect("no panic inside").leave_shm(handle.id);
        Ok(())
    }
}
