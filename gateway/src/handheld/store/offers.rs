//! What of the outbox goes out: offers that fit the line, questions about fates.
//!
//! Reading only; what comes of them is written by the outbox itself.
use std::collections::{BTreeMap, BTreeSet};

use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, RunId, RunInfo};
use wadi_protocol::limits::{FATES_CHANGES_MAX, FATES_SPANS_MAX, OFFER_BYTES_TARGET};
use wadi_protocol::link::envelope::MESSAGE_BYTES_MAX;
use wadi_protocol::wire::batch::{self, Batch};

use super::devices::line;
use super::{Store, StoreError, all, decode, device_of};

/// Bytes of a message that the question around an offer takes, at most.
const ASK_BYTES: usize = 16;

/// A batch to offer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Encoded.
    pub batch: Vec<u8>,
    /// Where its changes stand in the outbox.
    pub places: Vec<i64>,
    /// How many groups (and lone changes) they are.
    pub groups: usize,
}

/// A stretch of own changes: device, run, first and last sequence.
pub type Span = (DeviceId, RunId, u64, u64);

impl Store {
    /// The next offer: pending changes from the front of the outbox, groups whole,
    /// at most `groups_max` of them, those at `skipped` places left out.
    pub fn offer(
        &self,
        groups_max: usize,
        skipped: &BTreeSet<i64>,
    ) -> Result<Option<Offer>, StoreError> {
        let mut changes: Vec<Change> = Vec::new();
        let (mut places, mut ends) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        let sql = "SELECT place, seq, group_last, size_bytes, body FROM wadi_change
                   WHERE custody = 'pending' ORDER BY place";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let place: i64 = row.get(0)?;
            if skipped.contains(&place) {
                continue;
            }
            // Only between groups may the batch end.
            let between = ends.last().copied().unwrap_or(0) == changes.len();
            let size: i64 = row.get(3)?;
            if between
                && (ends.len() == groups_max
                    || (bytes > 0 && bytes + size as usize > OFFER_BYTES_TARGET))
            {
                break;
            }
            bytes += size as usize;
            places.push(place);
            changes.push(decode(&row.get::<_, Vec<u8>>(4)?, "a change")?);
            if row.get::<_, i64>(1)? == row.get::<_, i64>(2)? {
                ends.push(changes.len());
            }
        }
        self.batch(changes, places, ends)
    }

    /// Encode; leave groups off the end until the batch fits a frame.
    fn batch(
        &self,
        mut changes: Vec<Change>,
        mut places: Vec<i64>,
        mut ends: Vec<usize>,
    ) -> Result<Option<Offer>, StoreError> {
        while let Some(&end) = ends.last() {
            changes.truncate(end);
            places.truncate(end);
            let runs = self.lines_of(&changes)?;
            let batch = Batch { runs, changes };
            let bytes = batch::encode(&batch);
            if bytes.len() + ASK_BYTES <= MESSAGE_BYTES_MAX || ends.len() == 1 {
                return Ok(Some(Offer { batch: bytes, places, groups: ends.len() }));
            }
            changes = batch.changes;
            ends.pop();
        }
        Ok(None)
    }

    /// The runs that changes name, and those on their lines.
    fn lines_of(&self, changes: &[Change]) -> Result<Vec<RunInfo>, StoreError> {
        let named: BTreeSet<(DeviceId, RunId)> =
            changes.iter().map(|change| (change.dot.device, change.dot.run)).collect();
        let mut runs = BTreeMap::new();
        for (device, run) in named {
            for info in line(&self.db, device, run)? {
                runs.insert((info.device, info.run), info);
            }
        }
        Ok(runs.into_values().collect())
    }

    /// Own changes whose end is not known, from `after` on, as stretches that fit
    /// one question; and where the next question goes on.
    pub fn undecided(&self, after: Option<Dot>) -> Result<(Vec<Span>, Option<Dot>), StoreError> {
        let (device, run, seq) = after.map_or((i64::MIN, 0, 0), |dot| {
            (dot.device.0 as i64, dot.run.0 as i64, dot.seq as i64)
        });
        let dots = all(
            &self.db,
            "SELECT device, run, seq FROM wadi_change
             WHERE custody IN ('taken', 'parked', 'quarantined')
               AND (device, run, seq) > (?, ?, ?) ORDER BY device, run, seq LIMIT ?",
            (device, run, seq, FATES_CHANGES_MAX as i64),
            |row| {
                Ok(Dot {
                    device: device_of(row.get(0)?),
                    run: RunId(row.get::<_, i64>(1)? as u64),
                    seq: row.get::<_, i64>(2)? as u64,
                })
            },
        )?;
        let mut spans: Vec<Span> = Vec::new();
        let mut last = None;
        for dot in dots {
            let next =
                |span: &&mut Span| (span.0, span.1, span.3 + 1) == (dot.device, dot.run, dot.seq);
            if let Some(span) = spans.last_mut().filter(next) {
                span.3 = dot.seq;
            } else if spans.len() == FATES_SPANS_MAX {
                break;
            } else {
                spans.push((dot.device, dot.run, dot.seq, dot.seq));
            }
            last = Some(dot);
        }
        Ok((spans, last))
    }
}
