//! One direction of a link: batches go through it, and both ends keep their models.
use anyhow::{Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use wadi_protocol::wire::adaptive::{self, MODEL_BYTES_MAX, Model};
use wadi_protocol::wire::batch::Batch;

/// Bytes of a model's name and of the codec's version, which travel with each batch.
const FRAMING_BYTES: usize = 5;

#[derive(Clone, Default)]
pub struct Link {
    writer: Model,
    reader: Model,
    pub encode_s: f64,
    pub decode_s: f64,
}

impl Link {
    /// The same link, with no time spent yet.
    pub fn rested(&self) -> Link {
        Link { encode_s: 0.0, decode_s: 0.0, ..self.clone() }
    }

    /// Send a batch: bytes of its payload. What comes out is compared with what went in.
    pub fn send(&mut self, batch: &Batch) -> Result<usize> {
        let start = now_s();
        let bytes = adaptive::encode(&mut self.writer, batch)?;
        self.encode_s += now_s() - start;
        let start = now_s();
        let back = adaptive::decode(&mut self.reader, &bytes)?;
        self.decode_s += now_s() - start;
        ensure!(back == *batch, "a batch came back otherwise");
        let memory = self.writer.memory_bytes();
        ensure!(memory <= MODEL_BYTES_MAX, "a model of {memory} bytes");
        Ok(bytes.len() + FRAMING_BYTES)
    }

    /// Look at the models: they must be equal, also as a checkpoint.
    ///
    /// Returns seconds of a clone and of a checkpoint, and bytes of the latter.
    pub fn inspect(&self) -> Result<(f64, f64, usize)> {
        ensure!(self.writer == self.reader, "the models differ");
        let start = now_s();
        let copy = self.writer.clone();
        let clone_s = now_s() - start;
        let start = now_s();
        let checkpoint = copy.checkpoint();
        let checkpoint_s = now_s() - start;
        ensure!(Model::restore(&checkpoint).as_ref() == Some(&copy), "a checkpoint differs");
        Ok((clone_s, checkpoint_s, checkpoint.len()))
    }
}

/// Seconds that the processor has worked for this thread.
fn now_s() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
