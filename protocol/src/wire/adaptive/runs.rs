//! The runs that a batch names: those that its changes were made in and their
//! lines, as they are known; only what differs from that is said.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Batch;
use super::BatchError;
use super::engine::hash;
use super::work::Work;
use crate::change::Change;
use crate::id::{DeviceId, RunId, RunInfo};
use crate::limits::CHANGESET_BYTES_MAX;

/// Runs that follow each other on one line are looked up so far.
const LINE_MAX: usize = 64;

impl Work<'_> {
    /// The runs of a batch whose changes are known.
    pub(super) fn runs(
        &mut self,
        given: Option<&Batch>,
        changes: &[Change],
    ) -> Result<Vec<RunInfo>, BatchError> {
        let foreseen = self.foreseen(changes);
        if self.flag(50, 0, given.is_some_and(|batch| batch.runs == foreseen)) {
            self.charge(foreseen.len() * 2 * size_of::<RunInfo>())?;
            return Ok(foreseen);
        }
        let given = given.map_or(&[][..], |batch| &batch.runs);
        let count = self.count(51, &[], "runs", CHANGESET_BYTES_MAX, given.len())?;
        let mut runs = Vec::new();
        for at in 0..count {
            self.charge(2 * size_of::<RunInfo>())?;
            runs.push(self.run(given.get(at))?);
        }
        Ok(runs)
    }

    fn run(&mut self, given: Option<&RunInfo>) -> Result<RunInfo, BatchError> {
        let name = self.name_among(52, &[], given.map(|info| (info.device, info.run)))?;
        let of_name = self.model.names[name].clone();
        let (device, run) = (DeviceId(of_name.device), of_name.run);
        let known = RunInfo { device, run, parent: of_name.parent, label: of_name.label };
        if self.flag(53, of_name.told.into(), of_name.told && given == Some(&known)) {
            self.charge(known.label.len())?;
            return Ok(known);
        }
        let parent = given.and_then(|info| info.parent);
        let parent = match self.flag(54, 0, parent.is_some()) {
            false => None,
            true => {
                let (run, seq) = parent.unwrap_or_default();
                let name =
                    self.name_among(55, &[], Some((device, run)).filter(|_| given.is_some()))?;
                let seq = self.head(56, &[], &[], seq.cast_signed()).cast_unsigned();
                let of_name = &self.model.names[name];
                if of_name.device != device.0 {
                    return Err(BatchError::Malformed("parent of a run"));
                }
                Some((of_name.run, seq))
            }
        };
        let label = self.spell(hash(57, 0), &[], given.map_or("", |info| &info.label))?;
        // The place may have gone to the parent, if there were no others.
        if let Some(at) = self.model.name(device, run) {
            self.model.tell(at, parent, &label);
        }
        Ok(RunInfo { device, run, parent, label })
    }

    /// What is known of the runs of the changes and of their lines.
    fn foreseen(&self, changes: &[Change]) -> Vec<RunInfo> {
        let mut runs: BTreeMap<(DeviceId, RunId), RunInfo> = BTreeMap::new();
        for change in changes {
            let mut run = Some(change.dot.run);
            for _ in 0..LINE_MAX {
                let device = change.dot.device;
                let Some(here) = run.filter(|run| !runs.contains_key(&(device, *run))) else {
                    break;
                };
                let Some(at) = self.model.name(device, here) else { break };
                let name = &self.model.names[at];
                if !name.told {
                    break;
                }
                let (parent, label) = (name.parent, name.label.clone());
                runs.insert((device, here), RunInfo { device, run: here, parent, label });
                run = parent.map(|(run, _)| run);
            }
        }
        runs.into_values().collect()
    }
}
