//! The disks of all machines: SQLite's file system in memory, that knows what was synced.
//!
//! A file has what programs read, what would be there after a power cut, and the writes
//! between. A cut keeps the synced bytes and any of the later writes, whole, in part or
//! not at all; so nothing survives that was not synced, but by luck ([`crate::body`]).
//! Machines are folders. Besides a cut before or after any write or sync, a machine can meet a full
//! disk or a failed write.
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use sqlite_plugin::vfs::{RegisterOpts, VfsResult, register_static};

use crate::body::Body;
use crate::dice::Dice;
use crate::vfs::Disk;

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
pub struct Machine {
    pub files: BTreeMap<String, Arc<Mutex<Body>>>,
    plan: Option<Plan>,
    /// The power is off: what was there at the cut, until it comes back.
    pub off: Option<BTreeMap<String, Vec<u8>>>,
    happened: Option<Trouble>,
}

type Machines = Mutex<HashMap<PathBuf, Arc<Mutex<Machine>>>>;

static MACHINES: LazyLock<Machines> = LazyLock::new(|| {
    let opts = RegisterOpts { make_default: true };
    let registered = register_static(CString::new("simulation").expect("no zero"), Disk, opts);
    assert!(registered.is_ok(), "SQLite takes the file system");
    Mutex::default()
});

fn machine(folder: &Path) -> Arc<Mutex<Machine>> {
    let mut all = MACHINES.lock().expect("no panic inside");
    Arc::clone(all.entry(folder.to_owned()).or_default())
}

/// The machine that a file is of.
pub fn of_file(path: &str) -> Arc<Mutex<Machine>> {
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
    pub fn cut(&mut self, dice: &mut Dice) {
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
    pub fn meet(&mut self, full: i32, broken: i32) -> VfsResult<Option<Dice>> {
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
