//! How changesets and pages of a link are written: against its models, where both ends
//! have one, see [`super::models`].
use rusqlite::Connection;
use wadi_protocol::round::hub::Unread;
use wadi_protocol::wire::batch::{Batch, BatchError, content_hash};
use wadi_protocol::wire::coded::{
    CODEC_PLAIN, Held, MODELS_TOLD_MAX, ModelName, Named, Writing, read_batch, writing,
};
use wadi_protocol::wire::coded_page::{coded_rows, write_page};
use wadi_protocol::wire::downlink::Page;
use wadi_protocol::wire::message::Prepare;

use super::models::{self, Way};
use super::{StoreError, judge};

/// The link of a gateway.
pub(super) struct Link<'a> {
    pub db: &'a Connection,
    pub gateway: u32,
}

impl Link<'_> {
    /// A staged changeset, decoded; or what the gateway has to write it anew with.
    pub(super) fn read(
        &self,
        held: &mut Held,
        head: &Prepare,
        bytes: &[u8],
    ) -> Result<Result<Batch, Unread>, StoreError> {
        if writing(bytes) == Writing::Plain {
            return Ok(judge::decode(head, bytes).map_err(Unread::Refused));
        }
        match self.decode(held, bytes)? {
            Ok((batch, after)) if content_hash(&batch) == head.content => {
                after.into_iter().for_each(|after| held.keep(after));
                Ok(Ok(batch))
            }
            // Of another model, or the two ends do not agree about one of this name.
            _ => {
                let of = writing(bytes).model();
                let holds = models::names(self.db, Way::up(self.gateway), MODELS_TOLD_MAX)?;
                let holds = holds.into_iter().filter(|name| Some(*name) != of).collect();
                Ok(Err(Unread::OtherModel { of, holds }))
            }
        }
    }

    /// A changeset as it came, and the model behind it. Nothing is an empty one.
    pub(super) fn decode(
        &self,
        held: &mut Held,
        bytes: &[u8],
    ) -> Result<Result<(Batch, Option<Named>), BatchError>, StoreError> {
        if bytes.is_empty() {
            return Ok(Ok((Batch::default(), None)));
        }
        let model = match writing(bytes).model() {
            Some(name) => models::find(held, self.db, Way::up(self.gateway), name)?,
            None => None,
        };
        Ok(read_batch(bytes, model.as_ref()))
    }

    /// A page as the gateway can read it. One that has a model which is not here begins
    /// with nothing, as the page tells.
    pub(super) fn write(
        &self,
        held: &mut Held,
        name: ModelName,
        page: &Page,
    ) -> Result<Vec<u8>, StoreError> {
        let model = match page.codec <= CODEC_PLAIN {
            true => None,
            false => {
                let found = models::find(held, self.db, Way::down(self.gateway), name)?;
                Some(found.unwrap_or_else(Named::empty))
            }
        };
        let written = write_page(model.as_ref(), page);
        written.after.into_iter().for_each(|after| held.keep(after));
        Ok(written.bytes)
    }

    /// The round is decided: what it carried both ways is what the models know.
    pub(super) fn learn(
        &self,
        held: &mut Held,
        changeset: &[u8],
        page: &[u8],
    ) -> Result<(), StoreError> {
        if let Writing::Against(name, coded) = writing(changeset) {
            models::learn(held, self.db, Way::up(self.gateway), name, coded)?;
        }
        if let Writing::Against(name, framed) = writing(page) {
            let coded = coded_rows(framed).unwrap_or_default();
            models::learn(held, self.db, Way::down(self.gateway), name, coded)?;
        }
        Ok(())
    }
}
