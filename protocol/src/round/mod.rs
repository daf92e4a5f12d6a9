//! Both ends of a round: two-phase commit between one gateway and the hub.
//!
//! ```text
//! gateway                              hub
//!   |-- Prepare, Parts ---------------->|  staged durably; when whole: judged
//!   |<-- Prepared, Parts ---------------|  nothing is applied yet
//!   |-- Commit ------------------------>|  one transaction
//!   |<-- Committed ---------------------|
//! ```
//! Where a changeset fits one message, Prepare delegates the decision, and the hub commits as
//! soon as it has judged, if the page fits its answer:
//!
//! ```text
//!   |-- Prepare, delegated ------------->|  judged and committed: one transaction
//!   |<-- Committed, with the page -------|
//! ```
//! The machines are plain functions of state and input. The caller commits a
//! step's state and writes in one transaction and only then sends; the
//! messages cannot be had before ([`Step::committed`]). The gateway owns every
//! timer; the hub only answers. A prepared round holds no locks.
//!
//! Who says Commit has the page of the round, and who goes on behind a delegated one had it with
//! the answer; a copy of that box may be told of the round all the same, and have no page that is
//! its own. The chain of its rounds says so from then on, and the hub begins a line with it.
use alloc::vec::Vec;

pub mod gateway;
pub mod hub;
mod parts;

pub use parts::PartSet;

/// What one input leads to. Messages may leave only after `next` and `writes` are durable.
#[derive(Debug)]
pub struct Step<S, W, M> {
    /// The state to store.
    pub next: S,
    /// What to store with it, in the same transaction.
    pub writes: Vec<W>,
    /// Why the input led to nothing, for the log.
    pub ignored: Option<&'static str>,
    after_commit: Vec<M>,
}

impl<S, W, M> Step<S, W, M> {
    fn to(next: S) -> Step<S, W, M> {
        Step { next, writes: Vec::new(), ignored: None, after_commit: Vec::new() }
    }

    /// Nothing happens, and this is why.
    pub fn ignore(next: S, why: &'static str) -> Step<S, W, M> {
        Step { ignored: Some(why), ..Step::to(next) }
    }

    fn write(mut self, write: W) -> Step<S, W, M> {
        self.writes.push(write);
        self
    }

    fn say(mut self, message: M) -> Step<S, W, M> {
        self.after_commit.push(message);
        self
    }

    /// The caller states that `next` and `writes` are durable, and gets what may leave now.
    pub fn committed(self) -> Vec<M> {
        self.after_commit
    }
}
