//! What a site writes and reads against models.
use wadi_protocol::wire::batch::Batch;
use wadi_protocol::wire::coded::{CODEC_NEWEST, ModelName, Named, Writing, write_batch, writing};
use wadi_protocol::wire::coded_page::{read_page, write_page};
use wadi_protocol::wire::downlink::Page;
use wadi_protocol::wire::message::{Prepare, part, parts_of};

/// The models of a site's link.
#[derive(Clone)]
pub struct Models {
    pub up: Named,
    pub down: Named,
}

impl Models {
    /// Taught nothing.
    pub fn new() -> Models {
        Models { up: Named::empty(), down: Named::empty() }
    }

    /// A changeset as it travels, and its head.
    pub fn send(&self, batch: &Batch, head: Prepare) -> (Prepare, Vec<u8>) {
        let bytes = match batch.changes.is_empty() {
            true => Vec::new(),
            false => write_batch(Some(&self.up), batch).bytes,
        };
        let head = Prepare {
            bytes: bytes.len() as u32,
            parts: parts_of(bytes.len()),
            first: part(&bytes, 0).to_vec(),
            codec: CODEC_NEWEST,
            model: self.down.name,
            ..head
        };
        (head, bytes)
    }

    /// A page as it came.
    pub fn read(&self, bytes: &[u8]) -> Page {
        self.try_read(bytes).unwrap()
    }

    /// The same of one that may have been written for another model.
    pub fn try_read(&self, bytes: &[u8]) -> Option<Page> {
        let beginning = Named::empty();
        let model = match writing(bytes) {
            Writing::Against(name, _) if name == beginning.name => &beginning,
            _ => &self.down,
        };
        Some(read_page(bytes, Some(model)).ok()?.0)
    }

    /// The round is committed, and its page was written against a model of this name.
    pub fn learn(&mut self, batch: &Batch, page: &Page, base: ModelName) {
        // One that is too large travels plainly, and teaches nothing.
        if !batch.changes.is_empty()
            && let Some(after) = write_batch(Some(&self.up), batch).after
        {
            self.up = after;
        }
        if base != self.down.name {
            self.down = Named::empty();
        }
        if let Some(after) = write_page(Some(&self.down), page).after {
            self.down = after;
        }
    }
}
