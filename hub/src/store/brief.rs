//! Messages as they come: whole ones, and those of which the rest is known here.
use rusqlite::params;
use wadi_protocol::id::{GatewayId, Hash};
use wadi_protocol::round::hub::HubRound;
use wadi_protocol::wire::batch::{Batch, content_hash};
use wadi_protocol::wire::brief::{self, Known};
use wadi_protocol::wire::coded::{CODEC_NEWEST, Held, ModelName, read_batch, writing};
use wadi_protocol::wire::message::{self, Down, DownBody, MessageError, Up};

use super::models::{self, Way};
use super::sql::number_at;
use super::{Store, StoreError, round};

/// What a gateway said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// All of it.
    Whole(Up),
    /// Briefly, and it may be answered so.
    Brief(Up),
    /// Briefly, and it cannot be told here what: the answer.
    Unclear(Down),
}

impl Store {
    /// A message of a gateway as it came.
    pub fn read_up(
        &mut self,
        gateway: GatewayId,
        bytes: &[u8],
    ) -> Result<Result<Said, MessageError>, StoreError> {
        if !brief::is_brief(bytes) {
            return Ok(message::decode(bytes).map(Said::Whole));
        }
        let brief = match brief::read_up(bytes) {
            Ok(brief) => brief,
            Err(error) => return Ok(Err(error)),
        };
        let mut models = std::mem::replace(&mut self.models, Held::of(0));
        let known = self.known(gateway, &mut models, brief.changeset);
        self.models = models;
        let up = known?.and_then(|(known, content)| brief.whole(&known, content));
        Ok(Ok(match up {
            Some(up) => Said::Brief(up),
            None => {
                let (hub, round) = (self.run(), brief.round);
                Said::Unclear(Down { hub, known: hub, round, body: DownBody::Unclear })
            }
        }))
    }

    /// What is believed of a gateway, and the content of its changeset; none if it cannot be read.
    fn known(
        &self,
        gateway: GatewayId,
        models: &mut Held,
        changeset: &[u8],
    ) -> Result<Option<(Known, Hash)>, StoreError> {
        let Some(machine) = round::machine(&self.db, gateway)? else { return Ok(None) };
        let Some(content) = self.content(gateway, models, changeset)? else { return Ok(None) };
        let HubRound { run, chain: parent, .. } = machine;
        let model = models::names(&self.db, Way::down(gateway.0), 1)?.pop();
        let mut query = self.db.prepare_cached(
            "SELECT cursor_urgent, cursor_routine, schema FROM wadi_gateway WHERE number = ?1",
        )?;
        let known = query.query_row(params![gateway.0], |row| {
            Ok(Known {
                run,
                hub: self.run(),
                parent,
                cursors: [number_at(row, 0)?, number_at(row, 1)?],
                schema: row.get(2)?,
                codec: CODEC_NEWEST,
                model: model.unwrap_or_else(ModelName::empty),
            })
        })?;
        Ok(Some((known, content)))
    }

    fn content(
        &self,
        gateway: GatewayId,
        held: &mut Held,
        changeset: &[u8],
    ) -> Result<Option<Hash>, StoreError> {
        if changeset.is_empty() {
            return Ok(Some(content_hash(&Batch::default())));
        }
        let model = match writing(changeset).model() {
            Some(name) => models::find(held, &self.db, Way::up(gateway.0), name)?,
            None => None,
        };
        Ok(read_batch(changeset, model.as_ref()).ok().map(|(batch, _)| content_hash(&batch)))
    }
}

/// An answer as it travels: in brief to whoever asked so.
pub fn write_down(down: &Down, in_brief: bool) -> Vec<u8> {
    let brief = if in_brief { brief::down(down) } else { None };
    brief.unwrap_or_else(|| message::encode(down))
}
