//! Whether the budgets let the link be used, and for what; and the wait if not.
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use super::Worker;
use crate::control::Met;
use crate::mqtt::LinkError;
use crate::spending::{Allowance, Gate, Why};
use crate::store::Standing;

/// Counts are written down this often, beside those that go along with rounds.
pub const COUNT_EVERY: Duration = Duration::from_secs(900);
/// While only what is urgent goes, the hub is asked this often whether it has any.
const POLL_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// A wait for a new day is looked at again after this: the clock may be set meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// What the budgets are, and what was done about them.
pub struct Frugality {
    allowance: Arc<Allowance>,
    written: Instant,
    polled: Option<Instant>,
    /// Since when a wait was logged.
    told: Gate,
}

/// What a round may be about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// Everything.
    All,
    /// What is urgent.
    Urgent,
    /// There is to be none.
    Nothing,
}

impl Frugality {
    /// Nothing was counted yet.
    pub fn new(allowance: Allowance) -> Frugality {
        let allowance = Arc::new(allowance);
        Frugality { allowance, written: Instant::now(), polled: None, told: Gate::Open }
    }

    /// What a round may be about now. A person who asks need not wait for cheap hours.
    fn leave(&self, standing: &Standing, asked: bool) -> Leave {
        let poll = standing.urgent_tables
            && self.polled.is_none_or(|polled| polled.elapsed() >= POLL_EVERY);
        match standing.gate {
            Gate::Open => Leave::All,
            Gate::Urgent(Why::CheapHours, _) if asked => Leave::All,
            Gate::Urgent(..) if standing.urgent_waits || poll => Leave::Urgent,
            Gate::Urgent(..) | Gate::Shut(..) => Leave::Nothing,
        }
    }
}

impl Worker {
    /// Bring what was counted to the store; how things stand. `write`: nothing is to be left
    /// in memory.
    pub(super) async fn stand(&mut self, write: bool) -> Standing {
        let bill = self.target.meter.take();
        let write = write || self.frugality.written.elapsed() >= COUNT_EVERY;
        if write {
            self.frugality.written = Instant::now();
        }
        self.handle.spend(bill, &self.frugality.allowance, write).await
    }

    /// What the next round may be about.
    pub(super) async fn leave(&mut self) -> (Leave, Standing) {
        let standing = self.stand(false).await;
        let leave = self.frugality.leave(&standing, self.is_asked());
        if standing.gate != self.frugality.told {
            // Who looks at the file sees why.
            self.stand(true).await;
            self.frugality.told = standing.gate;
            info!(phase = "budget", "{}", standing.gate);
        }
        (leave, standing)
    }

    /// Whether not even an open round may go on.
    pub(super) async fn is_shut(&mut self) -> bool {
        matches!(self.leave().await.1.gate, Gate::Shut(..))
    }

    /// A round begins, about so much.
    pub(super) fn note_round(&mut self, leave: Leave) {
        if leave == Leave::Urgent {
            self.frugality.polled = Some(Instant::now());
        }
    }

    /// Whether a person waits for a sync.
    fn is_asked(&self) -> bool {
        *self.desk.wanted.borrow() > self.desk.met.borrow().request
    }

    /// Who asked for a sync hears that there is none.
    pub(super) fn refuse(&mut self, standing: &Standing) {
        let failed = Some(LinkError::held(&standing.gate).to_string());
        let request = *self.desk.wanted.borrow_and_update();
        self.desk.met.send_replace(Met { request, failed });
    }

    /// Nothing may be sent: until that may be otherwise.
    pub(super) async fn hold(&mut self, standing: &Standing) {
        let (Gate::Urgent(_, until_s) | Gate::Shut(_, until_s)) = standing.gate else { return };
        self.refuse(standing);
        let wait = Duration::from_secs(until_s.saturating_sub(standing.now_s).max(1));
        self.desk.board.held(&standing.gate.to_string(), wait);
        let only_urgent = matches!(standing.gate, Gate::Urgent(..));
        tokio::select! {
            () = sleep(wait.min(LOOK_AGAIN)) => {}
            _ = self.activity.changed(), if only_urgent => {}
            _ = self.desk.wanted.changed() => {}
            _ = self.shutdown.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_goes_and_the_hub_is_asked_for_it_now_and_then() {
        let mut frugality = Frugality::new(Allowance::default());
        let standing = |gate, urgent_waits, urgent_tables| Standing {
            gate,
            urgent_waits,
            urgent_tables,
            now_s: 0,
        };
        let (day, cheap) = (Gate::Urgent(Why::Day, 9), Gate::Urgent(Why::CheapHours, 9));
        let shut = Gate::Shut(Why::Month, 9);
        let cases = [
            (Gate::Open, false, false, false, Leave::All),
            (day, false, false, false, Leave::Nothing),
            (day, true, true, false, Leave::Urgent),
            (day, false, true, false, Leave::Urgent),
            (day, false, false, true, Leave::Nothing),
            (cheap, false, false, true, Leave::All),
            (cheap, false, false, false, Leave::Nothing),
            (shut, true, true, true, Leave::Nothing),
        ];
        for (gate, waits, tables, asked, expected) in cases {
            let leave = frugality.leave(&standing(gate, waits, tables), asked);
            assert_eq!(leave, expected, "{gate} {waits} {tables} {asked}");
        }
        frugality.polled = Some(Instant::now());
        assert_eq!(frugality.leave(&standing(day, false, true), false), Leave::Nothing);
        assert_eq!(frugality.leave(&standing(day, true, true), false), Leave::Urgent);
    }
}
