//! The sync worker: owns the link to the hub, every deadline and every retry.
//!
//! It never decides anything about changes: the round machine in the store
//! does, and what it says is sent only after the store has committed. Here is
//! when to connect: by a timer that backs off, at once when a link comes up or a
//! person asks. What happens on a connection is in `session`, times are in `waits`.
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, error_span, info};

use crate::bridle::Bridle;
use crate::carrier::Carrier;
use crate::config::Config;
use crate::control::{Desk, Met};
use crate::identity::Identity;
use crate::mqtt::{Link, LinkError, Resolver, Target};
use crate::patience::Deadlines;
use crate::route::Route;
use crate::seal::Seal;
use crate::spending::Meter;
use crate::store::thread::Handle;

mod frugal;
mod session;
mod waits;

use frugal::{Frugality, Leave};
use waits::Pace;

/// How a connection ends that nothing went wrong with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    /// All is done, or the gateway stops.
    Done,
    /// It cost more to stay than to come back.
    Left,
    /// The budgets of data let nothing more be sent.
    Held,
}

/// The worker and what it needs.
pub struct Worker {
    handle: Handle,
    /// Changes that come to wait.
    activity: watch::Receiver<u64>,
    target: Target,
    resolver: Resolver,
    topic: String,
    deadlines: Deadlines,
    interval: Duration,
    /// Never leave the link by itself.
    stay: bool,
    retry_max: Duration,
    pace: Pace,
    route: Route,
    /// What may be sent.
    frugality: Frugality,
    /// None: not enrolled, so there is nobody to sync with.
    seal: Option<Seal>,
    use_tls: bool,
    desk: Desk,
    shutdown: watch::Receiver<bool>,
    /// Of messages that nobody can read.
    bridle: Bridle,
    /// Of links that come up and change.
    routes: Bridle,
    /// Of attempts that lead to no link.
    away: Bridle,
    /// The broker as people know it, host and port.
    broker: String,
}

impl Worker {
    /// A worker for a configuration. `route` tells of links that come and go.
    pub fn new(
        config: &Config,
        identity: Option<Identity>,
        handle: Handle,
        desk: Desk,
        route: Route,
        shutdown: watch::Receiver<bool>,
    ) -> Worker {
        let deadlines = Deadlines::of(config.sync.deadline_ms);
        let (least_s, greatest_s) = (config.broker.keep_alive_s, config.broker.keep_alive_max_s);
        let interval = Duration::from_secs(config.sync.interval_s);
        let target = Target {
            host: config.broker.host.clone(),
            port: config.broker.port,
            client: format!("wadi-gateway-{}", config.gateway),
            carrier: Carrier::new(least_s, greatest_s, interval),
            meter: Meter::new(config.data.interface.as_deref()),
            keep_alive: Duration::from_secs(least_s.max(greatest_s).into()),
            listen: format!("wadi/{}/down", config.gateway),
            deadlines,
            tls: None,
        };
        Worker {
            activity: handle.activity(),
            handle,
            target,
            resolver: Resolver::default(),
            topic: format!("wadi/{}/up", config.gateway),
            deadlines,
            interval,
            stay: config.sync.stay,
            retry_max: Duration::from_millis(config.sync.retry_max_ms),
            pace: Pace::new(config.sync.retry_min_ms, config.sync.retry_max_ms),
            route,
            frugality: Frugality::new(config.data.allowance()),
            seal: identity.map(Seal::new),
            use_tls: config.broker.tls(),
            desk,
            shutdown,
            bridle: Bridle::default(),
            routes: Bridle::default(),
            away: Bridle::default(),
            broker: format!("{}:{}", config.broker.host, config.broker.port),
        }
    }

    /// Keep the link and the rounds going until shutdown.
    pub async fn run(mut self) {
        while !*self.shutdown.borrow() {
            if let (Leave::Nothing, standing) = self.leave().await {
                self.hold(&standing).await;
                continue;
            }
            let next = match self.connected(None).await {
                Ok(Ended::Done) => break,
                Ok(Ended::Held) => continue,
                Ok(Ended::Left) => {
                    self.away().await;
                    continue;
                }
                Err((error, progressed)) => {
                    let now = Instant::now();
                    let next = self.pace.failed(progressed, random(), now);
                    let wait_ms = next.duration_since(now).as_millis() as u64;
                    if let Some(unlogged) = self.away.may_log() {
                        let (phase, broker) = (error.phase.word(), &self.broker);
                        info!(phase, broker, wait_ms, unlogged, "no link to the hub: {error}");
                    }
                    self.desk.board.lost(&error.to_string(), next.duration_since(now));
                    let request = *self.desk.wanted.borrow();
                    self.desk.met.send_replace(Met { request, failed: Some(error.to_string()) });
                    next
                }
            };
            self.rest(next).await;
        }
        self.stand(true).await;
    }

    /// Connect once and sync until nothing is left to do either way.
    pub async fn once(mut self, patience: Duration) -> Result<(), LinkError> {
        if let (Leave::Nothing, standing) = self.leave().await {
            return Err(LinkError::held(&standing.gate));
        }
        let ended = self.connected(Some(patience)).await;
        let standing = self.stand(true).await;
        match ended {
            Ok(Ended::Held) => Err(LinkError::held(&standing.gate)),
            Ok(Ended::Done | Ended::Left) => Ok(()),
            Err((error, _)) => Err(error),
        }
    }

    /// Wait for the next attempt: until then, or until there is a reason to hurry.
    async fn rest(&mut self, mut next: Instant) {
        let mut hurried = false;
        loop {
            tokio::select! {
                () = sleep_until(next) => return,
                _ = self.desk.wanted.changed() => return,
                _ = self.shutdown.changed() => return,
                change = self.route.changed(), if !hurried => if change.up {
                    hurried = true;
                    next = next.min(self.pace.link_came_up(Instant::now()));
                    if let Some(unlogged) = self.routes.may_log() {
                        info!(phase = "route", unlogged, "a link came up");
                    }
                }
            }
        }
    }

    /// Off the link, which is silent for longer than it pays: until something is to be
    /// sent, a person asks, or the time has come to hear the news.
    async fn away(&mut self) {
        let next = Instant::now() + self.interval;
        info!(phase = "link", wait_s = self.interval.as_secs(), "left: its pings cost more");
        self.desk.board.left(self.interval);
        tokio::select! {
            () = sleep_until(next) => {}
            _ = self.activity.changed() => {}
            _ = self.desk.wanted.changed() => {}
            _ = self.shutdown.changed() => {}
        }
    }

    /// One connection. With `patience`: ends well once everything is exchanged. On
    /// an error says whether any answer had come.
    async fn connected(&mut self, patience: Option<Duration>) -> Result<Ended, (LinkError, bool)> {
        self.desk.board.trying();
        self.prepare().await.map_err(|error| (error, false))?;
        let mut link = match self.open().await {
            Some(Ok(link)) => link,
            Some(Err(error)) => return Err((error, false)),
            None => return Ok(Ended::Done),
        };
        self.desk.board.connected();
        let span = error_span!("link", broker = link.broker());
        let mut progressed = false;
        let before = self.desk.board.state();
        let ended = async {
            info!(phase = "link", "connected to the broker");
            let ended = self.session(&mut link, patience, &mut progressed).await;
            let now = self.desk.board.state();
            let bytes_up = now.sent_bytes - before.sent_bytes;
            let bytes_down = now.received_bytes - before.received_bytes;
            let bytes = bytes_up + bytes_down;
            info!(phase = "link", bytes, bytes_up, bytes_down, "the connection is over");
            ended
        };
        let ended = ended.instrument(span).await;
        link.close().await;
        if ended.is_err() {
            self.target.carrier.lost();
        }
        ended.map_err(|error| (error, progressed))
    }

    /// Who we are to whoever answers.
    async fn prepare(&mut self) -> Result<(), LinkError> {
        let seal = self.seal.as_mut().ok_or_else(LinkError::not_enrolled)?;
        if self.use_tls {
            let renewed = self.handle.certificate().await;
            self.target.tls = Some(seal.tls(renewed).map_err(LinkError::identity)?);
        }
        Ok(())
    }

    /// Connect; none = shutdown came first.
    async fn open(&mut self) -> Option<Result<Link, LinkError>> {
        let opening = Link::open(&self.target, &mut self.resolver);
        tokio::pin!(opening);
        loop {
            tokio::select! {
                opened = &mut opening => return Some(opened),
                _ = self.shutdown.changed() => return None,
                // Not begun again: a link that has nothing to do with it may flap.
                change = self.route.changed() => if change.up {
                    self.pace.link_came_up_meanwhile(Instant::now());
                }
            }
        }
    }
}

fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}
