//! Messages as they come: whole ones, and those of which the rest is known here.
use rusqlite::params;
use wadi_protocol::id::GatewayId;
use wadi_protocol::round::hub::HubRound;
use wadi_protocol::wire::batch::content_hash;
use wadi_protocol::wire::brief::{self, Known};
use wadi_protocol::wire::coded::{CODEC_NEWEST, ModelName};
use wadi_protocol::wire::message::{self, Down, DownBody, MessageError, Up};

use super::coding::Link;
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
        let link = Link { db: &self.db, gateway: gateway.0 };
        let read = link.decode(&mut self.models, brief.changeset)?;
        let up = match (read, self.known(gateway)?) {
            (Ok((batch, _)), Some(known)) => brief.whole(&known, content_hash(&batch)),
            _ => None,
        };
        Ok(Ok(match up {
            Some(up) => Said::Brief(up),
            None => {
                let (hub, round) = (self.run(), brief.round);
                Said::Unclear(Down { hub, known: hub, round, body: DownBody::Unclear })
            }
        }))
    }

    /// What is believed of a gateway.
    fn known(&self, gateway: GatewayId) -> Result<Option<Known>, StoreError> {
        let Some(machine) = round::machine(&self.db, gateway)? else { return Ok(None) };
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
        Ok(Some(known))
    }
}

/// An answer as it travels: in brief to whoever asked so.
pub fn write_down(down: &Down, in_brief: bool) -> Vec<u8> {
    let brief = if in_brief { brief::down(down) } else { None };
    brief.unwrap_or_else(|| message::encode(down))
}
