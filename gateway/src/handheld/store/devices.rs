//! Devices of the file and their runs: who numbers changes, and how.
use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId, RunInfo};
use wadi_protocol::resolve::Lines;
use wadi_protocol::stamp::{Clock, Stamp};

use super::{Draw, StoreError, Work, all, device_of};
use crate::noise::key::PublicKey;

/// Runs of one line that an offer names, the newest; a longer line claims less.
const LINE_RUNS_MAX: usize = 64;

/// A device that makes changes in this file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its name for people.
    pub label: String,
    /// Its run now.
    pub run: RunId,
    /// The last sequence given in the run.
    pub seq: u64,
    /// The last counter given to a row id in the run.
    pub rows: u64,
    /// Whether the next change needs a new run.
    pub moved: bool,
    /// The greatest stamp issued.
    pub issued: Stamp,
}

impl Device {
    /// That of a label at the handheld of a key, with a new run.
    pub(super) fn derive(
        key: &PublicKey,
        label: String,
        draw: &Draw,
    ) -> Result<Device, StoreError> {
        let id = DeviceId::of_key(&key.0, &label);
        let run = RunId::from_random(draw.bits()?);
        let issued = Stamp::default();
        Ok(Device { id, label, run, seq: 0, rows: 0, moved: false, issued })
    }

    /// Put a new one and its run into the file.
    pub(super) fn insert(
        &self,
        db: &Connection,
        parent: Option<(RunId, u64)>,
    ) -> Result<(), StoreError> {
        db.prepare_cached("INSERT INTO wadi_device (device, label, run) VALUES (?, ?, ?)")?
            .execute((self.id.0 as i64, &self.label, self.run.0 as i64))?;
        self.insert_run(db, parent)
    }

    fn insert_run(&self, db: &Connection, parent: Option<(RunId, u64)>) -> Result<(), StoreError> {
        let (parent_run, parent_seq) = parent.map(|(run, seq)| (run.0 as i64, seq as i64)).unzip();
        db.prepare_cached(
            "INSERT INTO wadi_run (device, run, parent_run, parent_seq) VALUES (?, ?, ?, ?)",
        )?
        .execute((self.id.0 as i64, self.run.0 as i64, parent_run, parent_seq))?;
        Ok(())
    }
}

pub(super) fn read_devices(db: &Connection) -> Result<BTreeMap<String, Device>, StoreError> {
    let sql =
        "SELECT device, label, run, seq, rows, moved, issued_s, issued_counter FROM wadi_device";
    let devices = all(db, sql, (), |row| {
        let seconds = row.get::<_, i64>(6)? as u64;
        Ok(Device {
            id: device_of(row.get(0)?),
            label: row.get(1)?,
            run: RunId(row.get::<_, i64>(2)? as u64),
            seq: row.get::<_, i64>(3)? as u64,
            rows: row.get::<_, i64>(4)? as u64,
            moved: row.get(5)?,
            issued: Stamp { seconds, counter: row.get(7)? },
        })
    })?;
    Ok(devices.into_iter().map(|device| (device.label.clone(), device)).collect())
}

pub(super) fn read_lines(db: &Connection) -> Result<Lines, StoreError> {
    let mut lines = Lines::new();
    for info in runs(db, None)? {
        lines.add(&info);
    }
    Ok(lines)
}

/// The runs of a device, or of all.
fn runs(db: &Connection, device: Option<DeviceId>) -> Result<Vec<RunInfo>, StoreError> {
    let sql = "SELECT r.device, r.run, r.parent_run, r.parent_seq, d.label
               FROM wadi_run AS r JOIN wadi_device AS d ON d.device = r.device
               WHERE ?1 IS NULL OR r.device = ?1";
    all(db, sql, (device.map(|device| device.0 as i64),), |row| {
        let parent_run: Option<i64> = row.get(2)?;
        let parent_seq: Option<i64> = row.get(3)?;
        Ok(RunInfo {
            device: device_of(row.get(0)?),
            run: RunId(row.get::<_, i64>(1)? as u64),
            parent: parent_run.zip(parent_seq).map(|(run, seq)| (RunId(run as u64), seq as u64)),
            label: row.get(4)?,
        })
    })
}

/// A run and those above it on its line, newest first, at most [`LINE_RUNS_MAX`].
pub(super) fn line(
    db: &Connection,
    device: DeviceId,
    run: RunId,
) -> Result<Vec<RunInfo>, StoreError> {
    let known: BTreeMap<RunId, RunInfo> =
        runs(db, Some(device))?.into_iter().map(|info| (info.run, info)).collect();
    let mut line = Vec::new();
    let mut at = Some(run);
    while let Some(info) = at.and_then(|run| known.get(&run)) {
        line.push(info.clone());
        at = info.parent.map(|(parent, _)| parent).filter(|_| line.len() < LINE_RUNS_MAX);
    }
    Ok(line)
}

/// What a new change is named.
pub(super) struct Named {
    pub dot: Dot,
    pub stamp: Stamp,
    pub entered_s: u64,
}

impl Work<'_> {
    /// The device of a label, made if it is new here, ready to make changes.
    pub(super) fn device(&mut self, label: &str) -> Result<Device, StoreError> {
        if !self.ground.devices.contains_key(label) {
            let device = Device::derive(&self.ground.keys.public(), label.to_owned(), self.draw)?;
            device.insert(&self.tx, None)?;
            self.learn_run(&device, None);
            self.ground.devices.insert(label.to_owned(), device);
        }
        let mut device = self.ground.devices[label].clone();
        if device.moved {
            self.new_run(&mut device)?;
        }
        Ok(device)
    }

    /// Draw a run. A run in which nothing was made is left out of the line.
    fn new_run(&mut self, device: &mut Device) -> Result<(), StoreError> {
        let key = (device.id.0 as i64, device.run.0 as i64);
        let parent = if device.seq > 0 {
            Some((device.run, device.seq))
        } else {
            let line = line(&self.tx, device.id, device.run)?;
            self.run("DELETE FROM wadi_run WHERE device = ? AND run = ?", key)?;
            line.first().and_then(|info| info.parent)
        };
        device.run = RunId::from_random(self.draw.bits()?);
        (device.seq, device.rows, device.moved) = (0, 0, false);
        device.insert_run(&self.tx, parent)?;
        self.learn_run(device, parent);
        self.keep(device.clone());
        Ok(())
    }

    fn learn_run(&mut self, device: &Device, parent: Option<(RunId, u64)>) {
        let info =
            RunInfo { device: device.id, run: device.run, parent, label: device.label.clone() };
        Arc::make_mut(&mut self.ground.lines).add(&info);
    }

    /// Name the next change of a device, entered at `entered_s` or now.
    pub(super) fn name(&self, device: &mut Device, entered_s: Option<u64>) -> Named {
        let mut clock = Clock { issued: device.issued, learnt_s: self.ground.learnt_s };
        let stamp = match entered_s {
            Some(entered_s) => clock.issue_at(entered_s),
            None => clock.issue(self.now_s),
        };
        device.issued = clock.issued;
        device.seq += 1;
        let dot = Dot { device: device.id, run: device.run, seq: device.seq };
        Named { dot, stamp, entered_s: entered_s.unwrap_or(self.now_s) }
    }

    /// A new row's id.
    pub(super) fn new_row(&self, device: &mut Device) -> RowId {
        device.rows += 1;
        RowId::derive(device.id, device.run, device.rows)
    }

    /// Remember what a device gave last; it is written at commit.
    pub(super) fn keep(&mut self, device: Device) {
        self.touched.insert(device.label.clone());
        self.ground.devices.insert(device.label.clone(), device);
    }

    /// Write the devices that changed.
    pub(super) fn write_devices(&mut self) -> Result<(), StoreError> {
        for label in std::mem::take(&mut self.touched) {
            let device = &self.ground.devices[&label];
            self.run(
                "UPDATE wadi_device SET run = ?, seq = ?, rows = ?, moved = ?, issued_s = ?,
                 issued_counter = ? WHERE device = ?",
                (
                    device.run.0 as i64,
                    device.seq as i64,
                    device.rows as i64,
                    device.moved,
                    device.issued.seconds as i64,
                    device.issued.counter,
                    device.id.0 as i64,
                ),
            )?;
        }
        Ok(())
    }
}
