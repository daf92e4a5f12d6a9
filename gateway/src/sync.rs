//! The sync worker: owns the link to the hub, every deadline and every retry.
//!
//! It never decides anything about changes: the round machine in the store
//! does, and what it says is sent only after the store has committed. A link
//! that brings no answer to three questions in a row is given up and made anew,
//! whatever the sockets claim.
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};
use wadi_protocol::backoff;
use wadi_protocol::wire::message::{self, Down, DownBody};

use crate::config::Config;
use crate::control::{Desk, Met};
use crate::mqtt::{Link, LinkError, Target};
use crate::store::thread::{Handle, OwnedInput, RoundAnswer};

/// Questions without an answer before the connection is given up.
const UNANSWERED_MAX: u32 = 3;
/// Changes that arrive together should travel together: a round begins this
/// long after the first of them.
const GATHER: Duration = Duration::from_millis(200);

/// The worker and what it needs.
pub struct Worker {
    handle: Handle,
    target: Target,
    topic: String,
    deadline: Duration,
    interval: Duration,
    retry_ms: (u64, u64),
    desk: Desk,
    shutdown: watch::Receiver<bool>,
}

/// What a session on one connection is waiting for.
struct Waits {
    /// When the question that is open is asked again.
    ask_again: Option<Instant>,
    unanswered: u32,
    /// When a round that only asks for news begins.
    interval: Instant,
    /// When a round for gathered changes begins.
    gather: Option<Instant>,
    /// A round was wished for while one was open.
    again: bool,
    /// The request to sync that the round now open meets.
    meets: u64,
    /// Refusals in a row.
    refusals: u32,
    /// Nothing begins by itself before this time: somebody has to act first.
    calm_until: Option<Instant>,
}

impl Worker {
    /// A worker for a configuration.
    pub fn new(
        config: &Config,
        handle: Handle,
        desk: Desk,
        shutdown: watch::Receiver<bool>,
    ) -> Worker {
        let deadline = Duration::from_millis(config.sync.deadline_ms);
        let target = Target {
            host: config.broker.host.clone(),
            port: config.broker.port,
            client: format!("wadi-gateway-{}", config.gateway),
            keep_alive: Duration::from_secs(config.broker.keep_alive_s.into()),
            listen: format!("wadi/{}/down", config.gateway),
            deadline,
        };
        Worker {
            handle,
            target,
            topic: format!("wadi/{}/up", config.gateway),
            deadline,
            interval: Duration::from_secs(config.sync.interval_s),
            retry_ms: (config.sync.retry_min_ms, config.sync.retry_max_ms),
            desk,
            shutdown,
        }
    }

    /// Keep the link and the rounds going until shutdown.
    pub async fn run(mut self) {
        let mut wait_ms = 0;
        while !*self.shutdown.borrow() {
            match self.connected(None).await {
                Ok(()) => return,
                Err((error, progressed)) => {
                    if progressed {
                        wait_ms = 0;
                    }
                    wait_ms = backoff::next_ms(wait_ms, self.retry_ms.0, self.retry_ms.1, random());
                    info!(phase = "link", wait_ms, "no link to the hub: {error}");
                    let request = *self.desk.wanted.borrow();
                    self.desk.met.send_replace(Met { request, failed: Some(error.to_string()) });
                }
            }
            tokio::select! {
                () = sleep(Duration::from_millis(wait_ms)) => {}
                _ = self.desk.wanted.changed() => {}
                _ = self.shutdown.changed() => return,
            }
        }
    }

    /// Connect once and sync until nothing is left to do either way.
    pub async fn once(mut self, patience: Duration) -> Result<(), LinkError> {
        self.connected(Some(Instant::now() + patience)).await.map_err(|(error, _)| error)
    }

    /// One connection. With `until`: ends well once everything is exchanged. On
    /// an error says whether any answer had come.
    async fn connected(&mut self, until: Option<Instant>) -> Result<(), (LinkError, bool)> {
        let mut link = Link::open(&self.target).await.map_err(|error| (error, false))?;
        info!(phase = "link", host = self.target.host, "connected to the broker");
        let mut progressed = false;
        self.session(&mut link, until, &mut progressed).await.map_err(|error| (error, progressed))
    }

    async fn session(
        &mut self,
        link: &mut Link,
        until: Option<Instant>,
        progressed: &mut bool,
    ) -> Result<(), LinkError> {
        let mut activity = self.handle.activity();
        let mut waits = Waits {
            ask_again: None,
            unanswered: 0,
            interval: Instant::now() + self.interval,
            gather: None,
            again: false,
            meets: *self.desk.wanted.borrow_and_update(),
            refusals: 0,
            calm_until: None,
        };
        // An open round is asked about; else one begins, if only to hear the news.
        let answer = self.handle.round(OwnedInput::Retry).await;
        let answer = if answer.idle { self.handle.round(OwnedInput::Begin).await } else { answer };
        self.send(link, answer, &mut waits).await?;
        loop {
            tokio::select! {
                heard = link.next() => {
                    let heard = heard?;
                    if let Some(answer) = self.hear(&heard, &mut waits).await {
                        *progressed = true;
                        let done = answer.idle && !answer.pending && !answer.more;
                        let refused = self.note_refusal(&answer, &mut waits);
                        self.send(link, answer, &mut waits).await?;
                        let failed = refused.as_ref().map(ToString::to_string);
                        if done || failed.is_some() {
                            self.desk.met.send_replace(Met { request: waits.meets, failed });
                        }
                        match refused {
                            Some(refused) if until.is_some() => return Err(refused),
                            None if done && until.is_some() => return Ok(()),
                            _ => {}
                        }
                    }
                }
                () = at(waits.ask_again) => {
                    waits.unanswered += 1;
                    if waits.unanswered >= UNANSWERED_MAX {
                        return Err(LinkError::silent(waits.unanswered));
                    }
                    let answer = self.handle.round(OwnedInput::Retry).await;
                    self.send(link, answer, &mut waits).await?;
                }
                _ = self.desk.wanted.changed() => {
                    waits.gather = Some(Instant::now());
                }
                _ = activity.changed() => {
                    let soon = Instant::now() + GATHER;
                    waits.gather.get_or_insert(waits.calm_until.map_or(soon, |calm| calm.max(soon)));
                }
                () = at(waits.gather) => self.begin(link, &mut waits).await?,
                () = sleep_until(waits.interval) => self.begin(link, &mut waits).await?,
                () = at(until) => return Err(LinkError::silent(waits.unanswered)),
                _ = self.shutdown.changed() => return Ok(()),
            }
        }
    }

    async fn hear(&self, bytes: &[u8], waits: &mut Waits) -> Option<RoundAnswer> {
        let down: Down = match message::decode(bytes) {
            Ok(down) => down,
            Err(error) => {
                warn!(phase = "round", bytes = bytes.len(), "from the hub: {error}");
                return None;
            }
        };
        if let DownBody::News { head } = down.body {
            debug!(phase = "news", head);
            waits.gather.get_or_insert(Instant::now());
            return None;
        }
        let answer = self.handle.round(OwnedInput::Heard(down)).await;
        if let Some(why) = answer.ignored {
            debug!(phase = "round", "ignored: {why}");
            return None;
        }
        waits.unanswered = 0;
        Some(answer)
    }

    /// Begin a round. While one is open the wish waits for its end.
    async fn begin(&self, link: &Link, waits: &mut Waits) -> Result<(), LinkError> {
        waits.gather = None;
        waits.interval = Instant::now() + self.interval;
        if waits.ask_again.is_some() {
            waits.again = true;
            return Ok(());
        }
        waits.meets = *self.desk.wanted.borrow();
        let answer = self.handle.round(OwnedInput::Begin).await;
        self.send(link, answer, waits).await
    }

    /// Send what a step says, and set the next deadline.
    async fn send(
        &self,
        link: &Link,
        answer: RoundAnswer,
        waits: &mut Waits,
    ) -> Result<(), LinkError> {
        for message in answer.messages {
            link.send(&self.topic, message).await?;
        }
        // After a committed round, whatever is left goes on at once.
        let left = answer.more || answer.pending || waits.again;
        if answer.idle && left && answer.refused.is_none() {
            waits.again = false;
            waits.gather = Some(Instant::now());
        }
        let patience = match answer.refused {
            Some(_) => self.calm(waits.refusals),
            None => self.deadline * (1 << waits.unanswered),
        };
        waits.ask_again = (!answer.idle).then(|| Instant::now() + patience);
        Ok(())
    }

    /// After a refusal there is nothing to be gained by asking often.
    fn note_refusal(&self, answer: &RoundAnswer, waits: &mut Waits) -> Option<LinkError> {
        let Some(refused) = &answer.refused else {
            (waits.refusals, waits.calm_until) = (0, None);
            return None;
        };
        waits.refusals = waits.refusals.saturating_add(1);
        let calm = self.calm(waits.refusals);
        waits.calm_until = Some(Instant::now() + calm);
        warn!(phase = "round", calm_s = calm.as_secs(), "the hub refuses: {refused}");
        Some(LinkError::refused(refused))
    }

    /// How long to wait after so many refusals in a row.
    fn calm(&self, refusals: u32) -> Duration {
        let most = Duration::from_millis(self.retry_ms.1).max(self.deadline * 6);
        (self.deadline * 6 * (1 << refusals.saturating_sub(1).min(8))).min(most)
    }
}

/// Waits until then; for ever if there is no then.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}
