//! The store behind a channel: one thread owns it, everybody else asks.
//!
//! All intakes that wait share one transaction and so one fsync. The thread owns
//! the clock. When the store fails the thread ends and says why once
//! ([`Failure`]): the process is to exit and to recover from disk; whoever still
//! asks waits in vain.
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use wadi_protocol::id::{DeviceId, RunId};
use wadi_protocol::link::message::{Fate, FeedCursor, FeedPage};
use wadi_protocol::wire::batch::Batch;

use super::compact::Keep;
use super::error::{IntakeError, StoreError};
use super::feed::Welcome;
use super::handhelds::{Admit, Key, Verdict};
pub use super::round::{RoundAnswer, RoundInput as OwnedInput};
use super::status::Status;
use super::telling::table_name;
use super::{Glance, Standing, Store};
use crate::reserve::Reserve;
use crate::spending::{Allowance, Bill};

/// Questions that may wait for the thread; more wait at their askers.
const QUEUE_MAX: usize = 256;
/// Changes that share one transaction, at most: a lock held long keeps others out.
const SHARED_CHANGES_MAX: usize = 5_000;

/// Tells the time, in seconds since 1970.
pub type ClockFn = Box<dyn Fn() -> u64 + Send>;

/// Resolves when the store has failed; the thread is gone then.
pub type Failure = oneshot::Receiver<StoreError>;

type Reply<T> = oneshot::Sender<T>;
type Spans = Vec<(DeviceId, RunId, u64, u64)>;
type Told = Vec<(DeviceId, RunId, u64, u64, Fate)>;

enum Job {
    Intake(Batch, Reply<Result<(), IntakeError>>),
    Feed(DeviceId, FeedCursor, Reply<FeedPage>),
    Fates(Spans, Reply<Told>),
    Welcome(FeedCursor, Reply<Welcome>),
    Admit(Key, String, Admit, Reply<Verdict>),
    MayStay(Key, Admit, Reply<bool>),
    Schema(Reply<Arc<Vec<u8>>>),
    Round(OwnedInput, Reply<RoundAnswer>),
    Drain(Reply<u64>),
    Compact(Keep, bool, Reply<bool>),
    Status(Reply<Box<Status>>),
    Ping(Reply<()>),
    Certificate(Reply<Option<Vec<u8>>>),
    Glance(Reply<Glance>),
    Spend(Bill, Arc<Allowance>, bool, Reply<Standing>),
}

/// A way to ask the store.
#[derive(Clone, Debug)]
pub struct Handle {
    jobs: mpsc::Sender<Job>,
    activity: watch::Receiver<u64>,
    rounds: watch::Receiver<u64>,
    beats: watch::Receiver<u64>,
}

/// Start the thread. It ends, and closes the store, when the last handle is gone. It
/// keeps the `reserve`, if there is one.
pub fn start(store: Store, clock: ClockFn, reserve: Option<Reserve>) -> (Handle, Failure) {
    let (jobs, waiting) = mpsc::channel(QUEUE_MAX);
    let (bump, activity) = watch::channel(0);
    let (failed, failure) = oneshot::channel();
    let (beat, beats) = watch::channel(0);
    let (over, rounds) = watch::channel(store.next_round());
    let owner = Owner { store, clock, reserve, bump, over, beat };
    std::thread::Builder::new()
        .name("store".into())
        .spawn(move || {
            if let Err(error) = owner.run(waiting) {
                // Whoever started us may be gone already; the log keeps it.
                tracing::error!(phase = "store", file = %error.path.display(), "{error}");
                let _ = failed.send(error);
            }
        })
        .expect("the system has a thread to give");
    (Handle { jobs, activity, rounds, beats }, failure)
}

impl Handle {
    /// Take changes: when it returns, they are fsynced.
    ///
    /// # Errors
    /// Nothing was taken; the error says when to ask again, or what is wrong.
    pub async fn intake(&self, batch: Batch) -> Result<(), IntakeError> {
        self.ask(|reply| Job::Intake(batch, reply)).await
    }

    /// Rows that came to be shown otherwise since the cursor.
    pub async fn feed(&self, device: DeviceId, cursor: FeedCursor) -> FeedPage {
        self.ask(|reply| Job::Feed(device, cursor, reply)).await
    }

    /// What became of stretches of changes; what is pending here is left out.
    pub async fn fates(&self, spans: Spans) -> Told {
        self.ask(|reply| Job::Fates(spans, reply)).await
    }

    /// The answer to a handheld's hello.
    pub async fn welcome(&self, _device: DeviceId, feed: FeedCursor) -> Welcome {
        self.ask(|reply| Job::Welcome(feed, reply)).await
    }

    /// A handheld that has proved its key says hello: whether it may come in.
    pub async fn admit(&self, key: Key, name: String, admit: Admit) -> Verdict {
        self.ask(|reply| Job::Admit(key, name, admit, reply)).await
    }

    /// Whether a handheld that was let in may stay.
    pub async fn may_stay(&self, key: Key, admit: Admit) -> bool {
        self.ask(|reply| Job::MayStay(key, admit, reply)).await
    }

    /// The schema as handhelds fetch it; empty while there is none.
    pub async fn schema_bytes(&self) -> Vec<u8> {
        self.ask(Job::Schema).await.to_vec()
    }

    /// One input to the round; the messages of the answer may leave.
    pub async fn round(&self, input: OwnedInput) -> RoundAnswer {
        self.ask(|reply| Job::Round(input, reply)).await
    }

    /// Put into the changelog what other programs wrote; how many changes it
    /// became. Cheap when they wrote nothing: to be asked every so often.
    pub async fn drain(&self) -> u64 {
        self.ask(Job::Drain).await
    }

    /// One step of compaction; whether there is more to do. See [`Store::compact`].
    pub async fn compact(&self, keep: Keep, anew: bool) -> bool {
        self.ask(|reply| Job::Compact(keep, anew, reply)).await
    }

    /// The facts of `status`.
    pub async fn status(&self) -> Status {
        *self.ask(Job::Status).await
    }

    /// The certificate that the hub renewed, if it did.
    pub async fn certificate(&self) -> Option<Vec<u8>> {
        self.ask(Job::Certificate).await
    }

    /// What the store knows and the file does not; cheap.
    pub async fn glance(&self) -> Glance {
        self.ask(Job::Glance).await
    }

    /// Count what the link took, and hear what may be sent, see [`Store::spend`].
    pub async fn spend(&self, bill: Bill, allowance: &Arc<Allowance>, write: bool) -> Standing {
        self.ask(|reply| Job::Spend(bill, Arc::clone(allowance), write, reply)).await
    }

    /// Bumps when changes have come to wait for the hub.
    pub fn activity(&self) -> watch::Receiver<u64> {
        self.activity.clone()
    }

    /// Changes when a round is over.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// Returns when the thread has ended something, if only this question: it is
    /// not hung. Many that wait are no hang, nor is a lock that is waited out.
    pub async fn lives(&self) {
        tokio::select! {
            () = self.ask(Job::Ping) => {}
            () = beat(self.beats.clone()) => {}
        }
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> T {
        let (reply, answer) = oneshot::channel();
        let sent = self.jobs.send(job(reply)).await;
        match (sent, answer.await) {
            (Ok(()), Ok(answer)) => answer,
            // The store has failed: the process is about to end.
            _ => std::future::pending().await,
        }
    }
}

async fn beat(mut beats: watch::Receiver<u64>) {
    beats.mark_unchanged();
    if beats.changed().await.is_err() {
        // The thread is gone: the process is about to end.
        std::future::pending().await
    }
}

struct Owner {
    store: Store,
    clock: ClockFn,
    reserve: Option<Reserve>,
    bump: watch::Sender<u64>,
    over: watch::Sender<u64>,
    beat: watch::Sender<u64>,
}

impl Owner {
    fn run(mut self, mut waiting: mpsc::Receiver<Job>) -> Result<(), StoreError> {
        let mut queue = VecDeque::new();
        while let Some(job) = waiting.blocking_recv() {
            queue.push_back(job);
            while let Ok(job) = waiting.try_recv() {
                queue.push_back(job);
            }
            self.intakes(&mut queue)?;
            for job in queue.drain(..) {
                self.answer(job)?;
                self.beat.send_modify(|count| *count += 1);
            }
        }
        Ok(())
    }

    /// Everything to be taken in, first and together.
    fn intakes(&mut self, queue: &mut VecDeque<Job>) -> Result<(), StoreError> {
        let mut batches = Vec::new();
        let mut replies = Vec::new();
        let mut rest = VecDeque::new();
        let mut changes = 0;
        for job in queue.drain(..) {
            match job {
                Job::Intake(batch, reply)
                    if replies.is_empty()
                        || changes + batch.changes.len() <= SHARED_CHANGES_MAX =>
                {
                    changes += batch.changes.len();
                    batches.push(batch);
                    replies.push(reply);
                }
                job => rest.push_back(job),
            }
        }
        *queue = rest;
        if batches.is_empty() {
            return Ok(());
        }
        self.look_for_room()?;
        let answers = self.tracked(|store, now_s| store.intake(&batches, now_s))?;
        self.beat.send_modify(|count| *count += 1);
        for (batch, answer) in batches.iter().zip(&answers) {
            self.tell(batch, answer);
        }
        for (reply, answer) in replies.into_iter().zip(answers) {
            // An asker that is gone asks again, and hears that it was taken.
            let _ = reply.send(answer);
        }
        Ok(())
    }

    /// What was taken in, for the log: a line for each device and table of a batch.
    fn tell(&self, batch: &Batch, answer: &Result<(), IntakeError>) {
        if answer.is_err() || !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let schema = self.store.schema();
        let mut taken: BTreeMap<(DeviceId, String), u64> = BTreeMap::new();
        for change in &batch.changes {
            let table = table_name(schema.as_deref(), &change.table);
            *taken.entry((change.dot.device, table)).or_default() += 1;
        }
        for ((device, table), changes) in taken {
            tracing::debug!(phase = "intake", %device, table, changes, "fsynced");
        }
    }

    fn answer(&mut self, job: Job) -> Result<(), StoreError> {
        match job {
            Job::Intake(batch, reply) => {
                let batches = [batch];
                self.look_for_room()?;
                let mut answers = self.tracked(|store, now_s| store.intake(&batches, now_s))?;
                self.tell(&batches[0], &answers[0]);
                let _ = reply.send(answers.remove(0));
            }
            Job::Feed(device, cursor, reply) => {
                self.drain()?;
                let _ = reply.send(self.store.feed(device, cursor)?);
            }
            Job::Fates(spans, reply) => {
                let _ = reply.send(self.store.fates(&spans)?);
            }
            Job::Welcome(feed, reply) => {
                let _ = reply.send(self.store.welcome(feed, (self.clock)())?);
            }
            Job::Admit(key, name, admit, reply) => {
                let now_s = (self.clock)();
                let _ = reply.send(self.store.admit(key, &name, admit, now_s)?);
            }
            Job::MayStay(key, admit, reply) => {
                let _ = reply.send(self.store.may_stay(key, admit)?);
            }
            Job::Schema(reply) => {
                let _ = reply.send(Arc::new(self.store.schema_bytes()));
            }
            Job::Round(input, reply) => {
                self.look_for_room()?;
                let _ = reply.send(self.round(input)?);
            }
            Job::Drain(reply) => {
                self.look_for_room()?;
                let _ = reply.send(self.drain()?);
            }
            Job::Compact(keep, anew, reply) => {
                self.look_for_room()?;
                let _ = reply.send(self.compact(keep, anew)?);
            }
            Job::Ping(reply) => {
                let _ = reply.send(());
            }
            Job::Certificate(reply) => {
                let _ = reply.send(self.store.certificate()?);
            }
            Job::Glance(reply) => {
                let _ = reply.send(self.store.glance());
            }
            Job::Spend(bill, allowance, write, reply) => {
                let spend = |store: &mut Store, now_s| store.spend(&bill, &allowance, now_s, write);
                let _ = reply.send(self.tracked(spend)?);
            }
            Job::Status(reply) => {
                let _ = reply.send(Box::new(self.store.status()?));
            }
        }
        Ok(())
    }

    /// Before anything that writes, and every so often: whether the disk has room.
    fn look_for_room(&mut self) -> Result<(), StoreError> {
        let Some(reserve) = &mut self.reserve else { return Ok(()) };
        reserve.look();
        self.store.make_known(reserve.refusal(), (self.clock)())
    }

    /// A lock of another program in the way is no failure here: what it wrote is
    /// drained once it lets go.
    fn drain(&mut self) -> Result<u64, StoreError> {
        match self.tracked(Store::drain) {
            Err(error) if error.problem.is_passing() => Ok(0),
            other => other,
        }
    }

    /// What a lock is in the way of is done another time.
    fn compact(&mut self, keep: Keep, anew: bool) -> Result<bool, StoreError> {
        match self.tracked(|store, now_s| store.compact(keep, anew, now_s)) {
            Err(error) if error.problem.is_passing() => Ok(false),
            other => Ok(other?.more),
        }
    }

    /// An input that could not be stored now is as if its message had been lost.
    fn round(&mut self, input: OwnedInput) -> Result<RoundAnswer, StoreError> {
        match self.tracked(|store, now_s| store.round(input, now_s)) {
            Err(error) if error.problem.is_passing() => {
                tracing::warn!(phase = "store", file = %error.path.display(), "{error}");
                let ignored = Some("the database cannot be written just now");
                Ok(RoundAnswer { ignored, ..RoundAnswer::default() })
            }
            other => {
                let next = self.store.next_round();
                self.over.send_if_modified(|round| std::mem::replace(round, next) != next);
                other
            }
        }
    }

    /// Do something, and tell those who listen if more changes wait then.
    fn tracked<T>(
        &mut self,
        work: impl FnOnce(&mut Store, u64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = self.store.appended();
        let now_s = (self.clock)();
        let value = work(&mut self.store, now_s)?;
        if self.store.appended() != before {
            self.bump.send_modify(|count| *count += 1);
        }
        Ok(value)
    }
}
