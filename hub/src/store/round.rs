//! The hub's end of a round on this store: one message, one transaction.
//!
//! The machine decides, this file executes: it stages parts, judges a whole
//! changeset, commits, and stores the machine's state with it; both at once where the
//! gateway delegated the decision. Messages are rendered and returned only after the
//! transaction is durable.
use rusqlite::{Connection, OptionalExtension, params};
use wadi_protocol::id::{GatewayId, RunId};
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::round::Step;
use wadi_protocol::round::gateway::PageHead;
use wadi_protocol::round::hub::{
    AttachedPage, HubRound, Judged, Say, Todo, Unread, Write, page_head,
};
use wadi_protocol::wire::batch;
use wadi_protocol::wire::coded::{CODEC_NEWEST, Held};
use wadi_protocol::wire::downlink::{self, Page};
use wadi_protocol::wire::message::{Down, DownBody, Outcome, Prepare, Refused, Up, UpBody};

use super::coding::Link;
use super::sql::{Bits, pack, unpack};
use super::telling::{self, Told};
use super::work::Work;
use super::{
    Catalog, Store, StoreError, clash, commit, judge, line, page, restored, spent, wanted,
};

impl Store {
    /// Hear one message of a gateway: what to answer, once that is durable.
    pub fn hear(
        &mut self,
        gateway: GatewayId,
        up: &Up,
        now_s: u64,
    ) -> Result<Vec<Down>, StoreError> {
        self.refresh()?;
        let hub = self.run();
        let continues = self.vouches(up)?;
        let mut models = std::mem::replace(&mut self.models, Held::of(0));
        let outcome = self.write(|tx, catalog| {
            let Some(mut machine) = machine(tx, gateway)? else {
                let body = DownBody::Refused(Refused::UnknownGateway);
                return Ok((vec![Down { hub, known: up.hub, round: up.round, body }], Vec::new()));
            };
            let less = !continues || machine.knows_less(up);
            if let Some(refused) = turned_away(tx, catalog, gateway.0, up, (less, now_s))? {
                let scene = Scene::new(tx, catalog, (gateway, up.run), now_s, &mut models);
                let body = DownBody::Refused(refused);
                let answers = vec![Down { hub, known: up.hub, round: up.round, body }];
                scene.note_refusal(&answers)?;
                return Ok((answers, Vec::new()));
            }
            if machine.is_other_line(up) {
                machine = line::met(tx, gateway.0, machine, up, now_s)?;
            }
            let mut scene = Scene::new(tx, catalog, (gateway, up.run), now_s, &mut models);
            let (mut step, mut todo) = machine.hear(up);
            scene.write(&step.writes)?;
            while let Some(next) = todo {
                (step, todo) = scene.work(step.next, next)?;
                scene.write(&step.writes)?;
            }
            scene.note(up, &step.next)?;
            let page = scene.page()?;
            let next = step.next.clone();
            // This closure ends the transaction; nothing is sent before `write` returns.
            let answers: Vec<Down> =
                step.committed().iter().map(|say| next.message(say, up, hub, &page)).collect();
            scene.note_refusal(&answers)?;
            Ok((answers, scene.told))
        });
        self.models = models;
        let (answers, told) = outcome?;
        told.into_iter().for_each(|told| told.tell(up.round));
        Ok(answers)
    }

    /// Whether this hub is the one that the gateway means. Only a head names cursors;
    /// the other messages are about a round whose head was checked.
    fn vouches(&self, up: &Up) -> Result<bool, StoreError> {
        match &up.body {
            UpBody::Prepare(head) => self.continues(up.hub, head.heard()),
            _ => Ok(up.hub == RunId::NONE || self.continues(up.hub, 0)?),
        }
    }
}

/// Whether this database is an older copy, and the gateway has to wait or to begin anew
/// for that. What is staged stays staged; an abort is always heard.
fn turned_away(
    db: &Connection,
    catalog: &Catalog,
    gateway: u32,
    up: &Up,
    (less, now_s): (bool, u64),
) -> Result<Option<Refused>, StoreError> {
    if less {
        return restored::claimed(db, catalog, gateway, up, now_s).map(Some);
    }
    let waits = up.body != UpBody::Abort && restored::is_stopped(db)?;
    Ok(waits.then_some(Refused::Stopped))
}

/// One transaction about one gateway.
struct Scene<'a> {
    db: &'a Connection,
    catalog: &'a Catalog,
    gateway: u32,
    /// The gateway's.
    run: RunId,
    now_s: u64,
    models: &'a mut Held,
    /// For the log, once the transaction is durable.
    told: Vec<Told>,
}

type HubStep = Step<HubRound, Write, Say>;

impl<'a> Scene<'a> {
    fn new(
        db: &'a Connection,
        catalog: &'a Catalog,
        (gateway, run): (GatewayId, RunId),
        now_s: u64,
        models: &'a mut Held,
    ) -> Scene<'a> {
        Scene { db, catalog, gateway: gateway.0, run, now_s, models, told: Vec::new() }
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            match write {
                Write::StagePart(part) => {
                    self.db
                        .prepare_cached(
                            "INSERT OR REPLACE INTO wadi_stage (gateway, part, bytes)
                             VALUES (?1, ?2, ?3)",
                        )?
                        .execute(params![self.gateway, part.index, part.bytes])?;
                }
                Write::DropStaged => {
                    self.drop_parts()?;
                    self.db
                        .prepare_cached("DELETE FROM wadi_prepared WHERE gateway = ?1")?
                        .execute([self.gateway])?;
                }
                Write::DropParts => {
                    self.drop_parts()?;
                    self.db
                        .prepare_cached(
                            "UPDATE wadi_prepared SET verdicts = x'', batch = x''
                             WHERE gateway = ?1",
                        )?
                        .execute([self.gateway])?;
                }
            }
        }
        Ok(())
    }

    fn drop_parts(&self) -> Result<(), StoreError> {
        self.db
            .prepare_cached("DELETE FROM wadi_stage WHERE gateway = ?1")?
            .execute([self.gateway])?;
        Ok(())
    }

    fn work(&mut self, state: HubRound, todo: Todo) -> Result<(HubStep, Option<Todo>), StoreError> {
        if let (Todo::Rewrite, Some(kept)) = (todo, &state.attached) {
            let page = self.rewrite(kept)?;
            return Ok((state.rewritten(page), None));
        }
        let staged = state.staged.as_ref().expect("work is about what is staged");
        let (round, head) = (staged.round, staged.head.clone());
        if todo == Todo::Judge {
            let judged = self.judge(round, &head)?;
            return Ok(state.judged(judged));
        }
        let (outcomes, more) = self.commit(round, &head)?;
        Ok((state.decided(self.run, outcomes, more), None))
    }

    /// Write the page that is kept of a committed round anew, for who cannot read it as it was.
    fn rewrite(&mut self, kept: &AttachedPage) -> Result<PageHead, StoreError> {
        let mut page = self.plain_page()?;
        page.codec = CODEC_NEWEST.min(kept.codec);
        let plain = downlink::encode(&page);
        let link = Link { db: self.db, gateway: self.gateway };
        let mut bytes = link.write(self.models, kept.model, &page)?;
        if bytes.len() > PART_BYTES_MAX {
            bytes.clone_from(&plain);
        }
        // The models learn it as it is read there, in the place of what they had learnt.
        link.learn(self.models, &[], &bytes)?;
        self.db
            .prepare_cached("UPDATE wadi_prepared SET page = ?2, plain = ?3 WHERE gateway = ?1")?
            .execute(params![self.gateway, bytes, plain])?;
        Ok(page_head(kept.stand, &plain, &bytes))
    }

    /// Judge the staged changeset, build the page that answers it and store both.
    fn judge(&mut self, round: u64, head: &Prepare) -> Result<Result<Judged, Unread>, StoreError> {
        let link = Link { db: self.db, gateway: self.gateway };
        let read = link.read(self.models, head, &self.staged()?)?;
        let whole = |batch| judge::whole(batch, self.catalog).map_err(Unread::Refused);
        let batch = match read.and_then(whole) {
            Ok(batch) => batch,
            Err(unread) => return Ok(Err(unread)),
        };
        let standings = clash::standings(self.db, (self.gateway, round), self.now_s, &batch)?;
        let verdicts = judge::verdicts(self.catalog, &batch, &standings);
        let (mut page, notices_to) = page::build(self.db, self.catalog, self.gateway, head)?;
        page.verdicts.clone_from(&verdicts);
        page.clock_s = self.now_s;
        page.wanted = wanted::ask(self.db, self.catalog, self.gateway, self.now_s)?;
        page.codec = CODEC_NEWEST.min(head.codec);
        let bytes = link.write(self.models, head.model, &page)?;
        let plain = downlink::encode(&page);
        let changes = batch.changes.len();
        let batch = batch::encode(&batch);
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO wadi_prepared
                     (gateway, verdicts, page, notices_to, batch, plain)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![self.gateway, pack(&verdicts), bytes, notices_to, batch, plain])?;
        let (page_bytes, quarantined) = (bytes.len(), verdicts.len());
        self.told.push(Told::Prepared { head: head.clone(), page_bytes, quarantined });
        let page = page_head(head.stand(), &plain, &bytes);
        Ok(Ok(Judged { page, plain_bytes: plain.len(), changes }))
    }

    /// Commit the prepared changeset; what became of it, and whether the gateway should come again.
    fn commit(
        &mut self,
        round: u64,
        head: &Prepare,
    ) -> Result<(Vec<(u32, Outcome)>, bool), StoreError> {
        let mut prepared = self.db.prepare_cached(
            "SELECT verdicts, notices_to, batch FROM wadi_prepared WHERE gateway = ?1",
        )?;
        let prepared = prepared.query_row([self.gateway], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?))
        })?;
        let (verdicts, notices_to, batch): (_, i64, Vec<u8>) = prepared;
        let verdicts: Vec<(u32, String)> = unpack(&verdicts, "wadi_prepared.verdicts")?;
        let bytes = self.page()?;
        let page_bytes = bytes.len();
        let page = self.plain_page()?;
        let batch = judge::decode(head, &batch)
            .map_err(|error| StoreError::Broken(format!("wadi_prepared.batch: {error}")))?;
        let link = Link { db: self.db, gateway: self.gateway };
        link.learn(self.models, &self.staged()?, &bytes)?;
        page::passed(self.db, self.catalog, self.gateway, &page, notices_to)?;
        if !page.wanted.is_empty() {
            wanted::asked(self.db, self.gateway, self.now_s)?;
        }
        let mut work = Work::new(self.db, self.catalog, self.now_s)?;
        if let Some(returned) = &head.returned {
            restored::note(&mut work, self.gateway, returned, &batch.changes)?;
        }
        let names = telling::names(&batch);
        let outcomes = commit::commit(&mut work, (self.gateway, round), batch, &verdicts)?;
        self.db
            .prepare_cached(
                "UPDATE wadi_gateway SET rounds = rounds + 1, round = ?2,
                     cursor_urgent = ?3, cursor_routine = ?4, round_s = ?5, any_line = 0
                 WHERE number = ?1",
            )?
            .execute(params![
                self.gateway,
                Bits(round),
                Bits(page.to[0]),
                Bits(page.to[1]),
                Bits(self.now_s)
            ])?;
        spent::note(self.db, self.gateway, &head.spent)?;
        restored::goes_on(self.db, self.gateway)?;
        let schema = page.schema.as_ref().map_or(head.schema, |schema| schema.version);
        // A narrow page is never the last: behind that one a gateway takes what it was not told
        // of for gone, and folds what is its own by the cursors of both lanes.
        let more =
            head.narrow || page::has_more(self.db, self.catalog, self.gateway, page.to, schema)?;
        let stretches = commit::stretches(&outcomes);
        self.told.push(Told::Committed(telling::Committed {
            aside: telling::aside(self.catalog, names, &outcomes, &verdicts),
            head: head.clone(),
            page_bytes,
            outcomes,
            sequence: super::head(self.db)?,
        }));
        Ok((stretches, more))
    }

    /// Store the machine, and what the message tells of the gateway.
    fn note(&mut self, up: &Up, machine: &HubRound) -> Result<(), StoreError> {
        self.db
            .prepare_cached("UPDATE wadi_gateway SET machine = ?2, heard_s = ?3 WHERE number = ?1")?
            .execute(params![self.gateway, pack(machine), Bits(self.now_s)])?;
        if let UpBody::Prepare(head) = &up.body {
            self.db
                .prepare_cached("UPDATE wadi_gateway SET schema = ?2 WHERE number = ?1")?
                .execute(params![self.gateway, head.schema])?;
        }
        Ok(())
    }

    /// Keep a refusal for `status`. Those that only set a round right are none.
    fn note_refusal(&self, answers: &[Down]) -> Result<(), StoreError> {
        let refused = answers.iter().find_map(|answer| match &answer.body {
            DownBody::Refused(Refused::NotPrepared | Refused::BelowFloor { .. }) => None,
            DownBody::Refused(refused) => Some(refused),
            _ => None,
        });
        if let Some(refused) = refused {
            self.db
                .prepare_cached(
                    "UPDATE wadi_gateway SET refusals = refusals + 1, refused_s = ?2, refusal = ?3
                     WHERE number = ?1",
                )?
                .execute(params![self.gateway, Bits(self.now_s), refused.to_string()])?;
        }
        Ok(())
    }

    /// The staged changeset, its parts in order.
    fn staged(&self) -> Result<Vec<u8>, StoreError> {
        let mut query = self
            .db
            .prepare_cached("SELECT bytes FROM wadi_stage WHERE gateway = ?1 ORDER BY part")?;
        let parts = query.query_map([self.gateway], |row| row.get::<_, Vec<u8>>(0))?;
        Ok(parts.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// The prepared page, as it was before it was written.
    fn plain_page(&self) -> Result<Page, StoreError> {
        let mut query =
            self.db.prepare_cached("SELECT plain FROM wadi_prepared WHERE gateway = ?1")?;
        let plain: Vec<u8> = query.query_row([self.gateway], |row| row.get(0))?;
        downlink::decode(&plain)
            .map_err(|error| StoreError::Broken(format!("wadi_prepared.plain: {error}")))
    }

    /// The prepared page; empty where none is.
    fn page(&self) -> Result<Vec<u8>, StoreError> {
        let mut query =
            self.db.prepare_cached("SELECT page FROM wadi_prepared WHERE gateway = ?1")?;
        Ok(query.query_row([self.gateway], |row| row.get(0)).optional()?.unwrap_or_default())
    }
}

/// The state of a gateway's rounds; none if it is not enrolled.
pub(super) fn machine(db: &Connection, gateway: GatewayId) -> Result<Option<HubRound>, StoreError> {
    let mut query = db.prepare_cached("SELECT machine FROM wadi_gateway WHERE number = ?1")?;
    let bytes = query.query_row([gateway.0], |row| row.get::<_, Vec<u8>>(0)).optional()?;
    bytes.map(|bytes| unpack(&bytes, "wadi_gateway.machine")).transpose()
}
