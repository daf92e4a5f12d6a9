//! The disks of all machines: SQLite's file system in memory, that knows what was synced.
//!
//! A file has what programs read, what would be there after a power cut, and the writes
//! between. A cut keeps the synced bytes and any of the later writes, whole, in part or
//! not at all; so nothing survives that was not synced, but by luck. Machines are
//! folders. Besides a cut before or after any write or sync, a machine can meet a full
//! disk or a failed write.
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use sqlite_plugin::flags::{AccessFlags, LockLevel, OpenOpts, ShmLockMode};
use sqlite_plugin::vars;
use sqlite_plugin::vfs::{RegisterOpts, Vfs, VfsHandle, VfsResult, register_static};

use crate::dice::Dice;

/// What a power cut tears a write into.
const SECTOR_BYTES: usize = 512;
/// Locks of a WAL index.
const SHM_LOCKS: usize = 8;

/// What may happen at a write or a sync.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The power goes just before it.
    CutBefore,
    /// The power goes just after it.
    CutAfter,
    /// No room.
    Full,
    /// The card fails.
    Broken,
}

/// Trouble to come, so many writes and syncs from now.
#[derive(Clone, Debug)]
struct Plan {
    after: u32,
    trouble: Trouble,
    /// How often it happens in a row: a disk stays full for a while.
    times: u32,
    dice: Dice,
}

/// A machine's disk.
#[derive(Default)]
struct Machine {
    files: BTreeMap<String, Arc<Mutex<Body>>>,
    plan: Option<Plan>,
    /// The power is off: what was there at the cut, until it comes back.
    off: Option<BTreeMap<String, Vec<u8>>>,
    happened: Option<Trouble>,
}

/// A write since the last sync.
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// A file.
#[derive(Default)]
struct Body {
    data: Vec<u8>,
    synced: Vec<u8>,
    /// Whether its name was ever synced.
    named: bool,
    since: Vec<Write>,
    locks: HashMap<u64, LockLevel>,
    shm: Vec<Box<[u8]>>,
    shm_users: HashMap<u64, [Option<bool>; SHM_LOCKS]>,
}

/// An open file.
pub struct Handle {
    id: u64,
    path: Option<String>,
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

type Machines = Mutex<HashMap<PathBuf, Arc<Mutex<Machine>>>>;

static MACHINES: LazyLock<Machines> = LazyLock::new(|| {
    let opts = RegisterOpts { make_default: true };
    let registered = register_static(CString::new("simulation").expect("no zero"), Disk, opts);
    assert!(registered.is_ok(), "SQLite takes the file system");
    Mutex::default()
});
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The file system, as SQLite sees it.
struct Disk;

fn machine(folder: &Path) -> Arc<Mutex<Machine>> {
    let mut all = MACHINES.lock().expect("no panic inside");
    Arc::clone(all.entry(folder.to_owned()).or_default())
}

fn of_file(path: &str) -> Arc<Mutex<Machine>> {
    machine(Path::new(path).parent().expect("absolute paths"))
}

/// Make a folder's databases live here. Call it before any is opened.
pub fn install(folder: &Path) {
    drop(machine(folder));
}

/// Forget a folder.
pub fn remove(folder: &Path) {
    MACHINES.lock().expect("no panic inside").remove(folder);
}

/// Let something happen at one of the next writes and syncs of a machine.
pub fn plan(folder: &Path, trouble: Trouble, after: u32, times: u32, dice: Dice) {
    machine(folder).lock().expect("no panic inside").plan =
        Some(Plan { after, trouble, times, dice });
}

/// What happened since the last look.
pub fn happened(folder: &Path) -> Option<Trouble> {
    machine(folder).lock().expect("no panic inside").happened.take()
}

/// Whether something happened that nobody has looked at yet.
pub fn is_troubled(folder: &Path) -> bool {
    machine(folder).lock().expect("no panic inside").happened.is_some()
}

pub fn is_off(folder: &Path) -> bool {
    machine(folder).lock().expect("no panic inside").off.is_some()
}

/// Whether there is such a file, on a machine that is on.
pub fn holds(path: &Path) -> bool {
    let machine = of_file(path.to_str().expect("UTF-8"));
    let machine = machine.lock().expect("no panic inside");
    machine.off.is_none() && machine.files.contains_key(path.to_str().expect("UTF-8"))
}

/// The power is back; nothing is planned any more.
pub fn power(folder: &Path) {
    let machine = machine(folder);
    let mut machine = machine.lock().expect("no panic inside");
    machine.plan = None;
    machine.happened = None;
    if let Some(image) = machine.off.take() {
        machine.files = image.into_iter().map(|(path, bytes)| (path, Body::of(bytes))).collect();
    }
}

/// Everything that a machine's files hold, by their names in the folder.
pub fn image(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let machine = machine(folder);
    let machine = machine.lock().expect("no panic inside");
    let name = |path: &String| {
        let name = Path::new(path).file_name().expect("a file");
        name.to_str().expect("our own names").to_owned()
    };
    let bytes = |body: &Arc<Mutex<Body>>| body.lock().expect("no panic inside").data.clone();
    machine.files.iter().map(|(path, body)| (name(path), bytes(body))).collect()
}

/// A file of a folder gets another name.
pub fn rename(folder: &Path, from: &str, to: &str) {
    let machine = machine(folder);
    let mut machine = machine.lock().expect("no panic inside");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let body = machine.files.remove(&path(from)).expect("it is there");
    body.lock().expect("no panic inside").sync();
    machine.files.insert(path(to), body);
}

/// A file of a folder goes, if it is there.
pub fn forget(folder: &Path, name: &str) {
    let machine = machine(folder);
    let path = folder.join(name).to_str().expect("UTF-8").to_owned();
    machine.lock().expect("no panic inside").files.remove(&path);
}

/// Put files into a folder, in the place of all that was there.
pub fn restore(folder: &Path, image: &BTreeMap<String, Vec<u8>>) {
    let machine = machine(folder);
    let mut machine = machine.lock().expect("no panic inside");
    let path = |name: &String| folder.join(name).to_str().expect("UTF-8").to_owned();
    machine.files =
        image.iter().map(|(name, bytes)| (path(name), Body::of(bytes.clone()))).collect();
    (machine.off, machine.plan) = (None, None);
}

impl Machine {
    fn cut(&mut self, dice: &mut Dice) {
        if self.off.is_some() {
            return;
        }
        let mut image = BTreeMap::new();
        for (path, body) in &self.files {
            let body = body.lock().expect("no panic inside");
            if body.named || dice.permille(500) {
                image.insert(path.clone(), body.after_cut(dice));
            }
        }
        self.off = Some(image);
    }

    /// A write or a sync is about to happen: whether it does.
    fn meet(&mut self, full: i32, broken: i32) -> VfsResult<Option<Dice>> {
        if self.off.is_some() {
            return Err(broken);
        }
        let Some(plan) = &mut self.plan else { return Ok(None) };
        if plan.after > 0 {
            plan.after -= 1;
            return Ok(None);
        }
        let (trouble, mut dice) = (plan.trouble, plan.dice.clone());
        plan.times -= 1;
        if plan.times == 0 {
            self.plan = None;
        }
        self.happened = Some(trouble);
        match trouble {
            Trouble::CutBefore => {
                self.cut(&mut dice);
                Err(broken)
            }
            Trouble::CutAfter => Ok(Some(dice)),
            Trouble::Full => Err(full),
            Trouble::Broken => Err(broken),
        }
    }
}

impl Body {
    fn of(bytes: Vec<u8>) -> Arc<Mutex<Body>> {
        Arc::new(Mutex::new(Body {
            synced: bytes.clone(),
            data: bytes,
            named: true,
            ..Body::default()
        }))
    }

    fn sync(&mut self) {
        self.named = true;
        for write in std::mem::take(&mut self.since) {
            apply(&mut self.synced, &write);
        }
    }

    /// The synced bytes, and any of what was written since.
    fn after_cut(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let manner = dice.below(4);
        let first = dice.index(self.since.len() + 1);
        for (at, write) in self.since.iter().enumerate() {
            match manner {
                0 => {}
                1 => apply(&mut bytes, write),
                2 if at < first => apply(&mut bytes, write),
                2 if at == first => tear(&mut bytes, write, dice),
                2 => {}
                _ if dice.permille(500) => tear(&mut bytes, write, dice),
                _ => {}
            }
        }
        bytes
    }

    fn may_lock(&self, id: u64, level: LockLevel) -> bool {
        let others = || self.locks.iter().filter(|(other, _)| **other != id).map(|(_, at)| *at);
        match level {
            LockLevel::Unlocked => true,
            LockLevel::Shared => others().all(|at| at < LockLevel::Pending),
            LockLevel::Reserved | LockLevel::Pending => others().all(|at| at < LockLevel::Reserved),
            LockLevel::Exclusive => others().all(|at| at == LockLevel::Unlocked),
        }
    }
}

fn apply(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Bytes(offset, part) => {
            let end = offset + part.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(part);
        }
        Write::Length(length) => bytes.resize(*length, 0),
    }
}

/// Some sectors of a write.
fn tear(bytes: &mut Vec<u8>, write: &Write, dice: &mut Dice) {
    let Write::Bytes(offset, part) = write else {
        return apply(bytes, write);
    };
    for (at, sector) in part.chunks(SECTOR_BYTES).enumerate() {
        if dice.permille(700) {
            apply(bytes, &Write::Bytes(offset + at * SECTOR_BYTES, sector.to_vec()));
        }
    }
}

impl Disk {
    /// Do what writes, unless the machine's trouble comes in between.
    fn change(&self, handle: &Handle, broken: i32, act: impl FnOnce(&mut Body)) -> VfsResult<()> {
        let machine = handle.path.as_deref().map(of_file);
        let Some(machine) = machine else {
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
        match &handle.path {
            Some(path) if of_file(path).lock().expect("no panic inside").off.is_some() => {
                Err(error)
            }
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
            return Ok(Handle { id, path: None, body: Arc::default(), deleted_on_close, readonly });
        };
        let machine = of_file(path);
        let mut machine = machine.lock().expect("no panic inside");
        if machine.off.is_some() || (readonly && !machine.files.contains_key(path)) {
            return Err(vars::SQLITE_CANTOPEN);
        }
        let body = Arc::clone(machine.files.entry(path.to_owned()).or_default());
        Ok(Handle { id, path: Some(path.to_owned()), body, deleted_on_close, readonly })
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
        self.change(handle, vars::SQLITE_IOERR_TRUNCATE, |body| {
            body.data.resize(size, 0);
            body.since.push(Write::Length(size));
        })
    }

    fn write(&self, handle: &mut Handle, offset: usize, data: &[u8]) -> VfsResult<usize> {
        self.change(handle, vars::SQLITE_IOERR_WRITE, |body| {
            let write = Write::Bytes(offset, data.to_vec());
            apply(&mut body.data, &write);
            body.since.push(write);
        })?;
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

impl Body {
    /// The index is of no use once nobody maps it: who comes next builds it anew.
    fn leave_shm(&mut self, id: u64) {
        self.shm_users.remove(&id);
        if self.shm_users.is_empty() {
            self.shm.clear();
        }
    }
}
