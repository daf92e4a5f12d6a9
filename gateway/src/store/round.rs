//! The outbox: the round machine's state, its changeset and the staged page.
//!
//! One input is one step: the machine says what to store, that is committed, and
//! only then are the messages rendered. An open round goes on after a restart
//! from what is stored here.
use rusqlite::Connection;
use wadi_protocol::id::RunId;
use wadi_protocol::round::Step;
use wadi_protocol::round::gateway::{Changeset, GatewayRound, Input, Phase, Say, Write};
use wadi_protocol::wire::batch::content_hash;
use wadi_protocol::wire::brief::is_brief;
use wadi_protocol::wire::coded::{CODEC_PLAIN, Written};
use wadi_protocol::wire::message::{self, Down, MessageError, Refused, UpBody};

use super::assemble::assemble;
use super::brief::Read;
use super::error::{Problem, StoreError};
use super::models::{self, Direction};
use super::work::{Work, decode, encode};
use super::{Store, brief, page, recode, restored, spent, telling};

/// What happens to the round. `Begin` while one is open asks nothing and says nothing.
#[derive(Clone, Debug)]
pub enum RoundInput {
    /// Open a round with what is pending, or with nothing, to fetch.
    Begin {
        /// The hub is to decide at once, if all fits one message each way.
        delegate: bool,
        /// Only what is urgent, either way: the rest waits, see [`crate::spending`].
        urgent: bool,
    },
    /// A message from the hub.
    Heard(Down),
    /// A message from the hub in brief, see [`wadi_protocol::wire::brief`].
    Brief(Vec<u8>),
    /// A deadline passed, or the link came back.
    Retry,
}

impl RoundInput {
    /// A message from the hub as it came, whole or in brief.
    ///
    /// # Errors
    /// A whole one that does not decode; a brief one is only understood where it is heard.
    pub fn read(bytes: &[u8]) -> Result<RoundInput, MessageError> {
        match is_brief(bytes) {
            true => Ok(RoundInput::Brief(bytes.to_vec())),
            false => message::decode(bytes).map(RoundInput::Heard),
        }
    }
}

/// What an input led to. The messages may leave.
#[derive(Clone, Debug, Default)]
pub struct RoundAnswer {
    /// Encoded, in order.
    pub messages: Vec<Vec<u8>>,
    /// No round is open now.
    pub idle: bool,
    /// Changes wait to be sent in a next round.
    pub pending: bool,
    /// The hub has more for this gateway than the round brought, or the round was dropped.
    pub more: bool,
    /// Why the hub refuses to go on, while it does.
    pub refused: Option<Refused>,
    /// Why the input led to nothing.
    pub ignored: Option<&'static str>,
    /// The round that the input met, open or the next to be.
    pub round: u64,
    /// The stage that the input found it at, for the log.
    pub stage: &'static str,
}

pub(super) type GatewayStep = Step<GatewayRound, Write, Say>;

impl Store {
    /// One input to the round.
    pub fn round(&mut self, input: RoundInput, now_s: u64) -> Result<RoundAnswer, StoreError> {
        let held = self.ground.round.clone();
        let mut before = held.clone();
        let staged = match (&held.phase, &input) {
            (Phase::Committing { .. }, RoundInput::Heard(_)) => self.read(|db, _| staged(db))?,
            _ => 0,
        };
        let mut in_brief = false;
        let steps = match input {
            RoundInput::Begin { .. } if !held.is_idle() => Vec::new(),
            RoundInput::Begin { delegate, urgent } => {
                in_brief = self.ground.brief;
                self.write(now_s, |work| begin(work, delegate, urgent))?
            }
            RoundInput::Brief(bytes) => {
                match self.write(now_s, |work| brief::read(work, &bytes))? {
                    Read::Whole(down) => self.take(held.step(Input::Heard(&down)), now_s)?,
                    Read::Unclear => self.take(held.step(Input::Retry), now_s)?,
                    Read::Ignored(why) => vec![Step::ignore(held, why)],
                }
            }
            RoundInput::Retry => self.take(held.step(Input::Retry), now_s)?,
            RoundInput::Heard(down) => self.take(held.step(Input::Heard(&down)), now_s)?,
        };
        let (round, stage) = (before.round, telling::stage(&before.phase));
        for step in &steps {
            telling::tell(&before, step, staged);
            before = step.next.clone();
        }
        Ok(RoundAnswer { round, stage, ..self.answer(steps, in_brief)? })
    }

    /// Make a step durable, if there is anything of it that is not.
    fn take(&mut self, step: GatewayStep, now_s: u64) -> Result<Vec<GatewayStep>, StoreError> {
        if step.next == self.ground.round && step.writes.is_empty() {
            return Ok(vec![step]);
        }
        self.write(now_s, |work| {
            let mut steps = vec![step];
            store(work, &steps[0])?;
            if let Some(bytes) = recode::asked(work, &steps[0].writes)? {
                let recoded = work.ground.round.clone().step(Input::Recoded(bytes));
                store(work, &recoded)?;
                steps.push(recoded);
            }
            if let Some(check) = page::check_whole(work)? {
                let checked = work.ground.round.clone().step(Input::Checked(check));
                store(work, &checked)?;
                steps.push(checked);
            }
            Ok(steps)
        })
    }

    fn answer(&self, steps: Vec<GatewayStep>, in_brief: bool) -> Result<RoundAnswer, StoreError> {
        let (body, pending, told, model) = self.read(|db, ground| {
            let model = models::newest(db, Direction::Down)?;
            Ok((body(db)?, is_pending(db)?, last_told(db, ground.round.hub)?, model))
        })?;
        let round = &self.ground.round;
        let mut answer = RoundAnswer {
            idle: round.is_idle(),
            pending,
            refused: round.refused.clone(),
            ..RoundAnswer::default()
        };
        for step in steps {
            answer.ignored = answer.ignored.or(step.ignored);
            // What a dropped round was to bring is still to be brought.
            answer.more |= step.writes.iter().any(|write| match write {
                Write::Finish { committed, .. } => committed.more,
                Write::Drop => true,
                Write::StagePart(_)
                | Write::DropPage
                | Write::Recode { .. }
                | Write::Restart { .. } => false,
            });
            let state = step.next.clone();
            for say in step.committed() {
                let mut up = state.message(&say, self.ground.run, &body);
                if let UpBody::Prepare(head) = &mut up.body {
                    head.ahead = told.saturating_sub(head.heard());
                    head.model = model;
                    head.narrow = self.ground.narrow;
                    head.spent.clone_from(&self.ground.spent.told);
                    if self.ground.plain_pages {
                        head.codec = CODEC_PLAIN;
                    }
                }
                let brief = if in_brief { brief::write(&up) } else { None };
                answer.messages.push(brief.unwrap_or_else(|| message::encode(&up)));
            }
        }
        Ok(answer)
    }
}

/// The greatest sequence that the hub of this run gave a change here, and base does not hold
/// yet, be it that it cannot be laid; after a loss at least where the two hubs part, for what lies before is not returned.
/// With one that we never heard we begin with nothing.
fn last_told(db: &Connection, hub: RunId) -> Result<u64, Problem> {
    if hub == RunId::NONE {
        return Ok(0);
    }
    let sql = "SELECT max(
                   coalesce((SELECT max(hub_seq) FROM wadi_change
                             WHERE laid = 1 AND hub_seq IS NOT NULL), 0),
                   coalesce((SELECT max(hub_seq) FROM wadi_change
                             WHERE laid = 2 AND hub_seq IS NOT NULL), 0),
                   coalesce((SELECT max(fork) FROM wadi_lost), 0))";
    Ok(db.prepare_cached(sql)?.query_row((), |row| row.get::<_, i64>(0))? as u64)
}

/// Assemble a changeset and open a round.
fn begin(work: &mut Work<'_>, delegate: bool, urgent: bool) -> Result<Vec<GatewayStep>, Problem> {
    spent::begins(work, urgent)?;
    work.ground.narrow = urgent;
    let (ids, batch, Written { bytes: body, after }) = assemble(work, urgent)?;
    if let Some(after) = after {
        work.ground.models.keep(after);
    }
    let returned = restored::returned(work, &ids, &batch.changes)?;
    let changeset = Changeset {
        returned,
        content: content_hash(&batch),
        bytes: body.len() as u32,
        changes: ids.len() as u32,
        schema: work.ground.schema.as_ref().map_or(0, |schema| schema.version),
        delegated: delegate,
    };
    work.run("UPDATE wadi_round SET body = ?, changes = ?", (body, encode(&ids)))?;
    let step = work.ground.round.clone().step(Input::Begin(changeset));
    store(work, &step)?;
    Ok(vec![step])
}

/// A step's state and writes, in the transaction.
fn store(work: &mut Work<'_>, step: &GatewayStep) -> Result<(), Problem> {
    let before = std::mem::replace(&mut work.ground.round, step.next.clone());
    let hub = step.next.hub;
    if hub != RunId::NONE && !work.ground.hubs.contains(&hub) {
        work.run("INSERT INTO wadi_hub (run) VALUES (?)", (hub.0 as i64,))?;
        std::sync::Arc::make_mut(&mut work.ground.hubs).insert(hub);
    }
    for write in &step.writes {
        match write {
            Write::StagePart(part) => {
                work.run(
                    "INSERT OR REPLACE INTO wadi_page_part (part, bytes) VALUES (?, ?)",
                    (part.index, &part.bytes),
                )?;
            }
            Write::DropPage => drop_page(work)?,
            Write::Finish { committed, paged } => {
                let changes: Option<Vec<u8>> =
                    work.one("SELECT changes FROM wadi_round", (), |row| row.get(0))?;
                let changes: Vec<i64> =
                    decode("the round's changes", &changes.unwrap_or_default())?;
                page::finish(work, &changes, committed, *paged, &before)?;
                work.ground.brief = *paged;
                recode::learn(work)?;
                work.run(
                    "UPDATE wadi_store SET rounds = rounds + 1, last_round_s = ?",
                    (work.now_s as i64,),
                )?;
                drop_round(work)?;
            }
            Write::Drop => {
                work.ground.brief = false;
                drop_round(work)?;
            }
            // The caller does, and tells the machine.
            Write::Recode { .. } => {}
            Write::Restart { line } => restored::restart(work, &before, line)?,
        }
    }
    if work.ground.round.is_answered() {
        // The page is looked at in this same transaction; what comes of that is stored.
        assert!(step.writes.is_empty(), "an answer that is to be checked writes nothing");
        return Ok(());
    }
    // A restart names a hub beside what the machine knows.
    work.run("UPDATE wadi_round SET state = ?", (encode(&work.ground.round),))?;
    Ok(())
}

fn drop_page(work: &Work<'_>) -> Result<(), Problem> {
    work.run("DELETE FROM wadi_page_part", ()).map(drop)
}

fn drop_round(work: &Work<'_>) -> Result<(), Problem> {
    drop_page(work)?;
    let none = encode(&Vec::<i64>::new());
    work.run("UPDATE wadi_round SET body = x'', changes = ?", (none,)).map(drop)
}

/// Bytes of the page that are staged.
fn staged(db: &Connection) -> Result<u64, Problem> {
    let sql = "SELECT coalesce(sum(length(bytes)), 0) FROM wadi_page_part";
    Ok(db.prepare_cached(sql)?.query_row((), |row| row.get::<_, i64>(0))? as u64)
}

pub(super) fn body(db: &Connection) -> Result<Vec<u8>, Problem> {
    Ok(db.prepare_cached("SELECT body FROM wadi_round")?.query_row((), |row| row.get(0))?)
}

/// Whether changes wait that no open round carries.
fn is_pending(db: &Connection) -> Result<bool, Problem> {
    let carried: Vec<u8> =
        db.prepare_cached("SELECT changes FROM wadi_round")?.query_row((), |row| row.get(0))?;
    let carried: Vec<i64> = decode("the round's changes", &carried)?;
    // Everything that is carried is pending still.
    let sql = "SELECT count(*) FROM (
                   SELECT 1 FROM wadi_change WHERE custody = 0 AND custody <> 1 LIMIT ?)";
    let enough = carried.len() as i64 + 1;
    let found: i64 = db.prepare_cached(sql)?.query_row((enough,), |row| row.get(0))?;
    Ok(found == enough)
}

/// The name of a phase.
pub(super) fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Idle => "idle",
        Phase::Preparing { .. } => "preparing",
        Phase::Fetching { .. } => "fetching",
        Phase::Committing { .. } => "committing",
        Phase::Aborting { .. } => "aborting",
        Phase::Answered { .. } => "answered",
    }
}
