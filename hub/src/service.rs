//! What systemd hears of this process: ready, a line of status, stopping, and that
//! the store still answers. Without systemd nothing happens.
//!
//! A hung store is one whose thread ends nothing at all, whatever waits for it; one
//! that waits out another program's lock ends each attempt, so it lives. The pings
//! of a hung store stop, and systemd kills and starts the process.
use std::time::Duration;

use sd_notify::NotifyState;

/// Between two pings, at least.
const PING_MIN: Duration = Duration::from_millis(10);

/// It serves; `status` is for people.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Ping systemd's watchdog, if it is set, for as long as the store's thread
/// `lives`. Never returns.
pub async fn watchdog(lives: impl AsyncFn()) -> std::convert::Infallible {
    match sd_notify::watchdog_enabled() {
        Some(limit) => {
            watch((limit / 2).max(PING_MIN), lives, || tell(&[NotifyState::Watchdog])).await
        }
        None => std::future::pending().await,
    }
}

async fn watch(
    every: Duration,
    lives: impl AsyncFn(),
    ping: impl Fn(),
) -> std::convert::Infallible {
    loop {
        lives().await;
        ping();
        tokio::time::sleep(every).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(phase = "service", "systemd cannot be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::sync::watch;

    use super::*;

    const STEP: Duration = Duration::from_millis(5);

    async fn beat(mut beats: watch::Receiver<u64>) {
        beats.mark_unchanged();
        beats.changed().await.unwrap();
    }

    #[tokio::test]
    async fn pings_stop_while_nothing_is_ended() {
        let (beats, heard) = watch::channel(0_u64);
        let pings = Cell::new(0);
        let ping = || pings.set(pings.get() + 1);
        let watching = super::watch(STEP * 2, async || beat(heard.clone()).await, ping);
        let story = async {
            let lively = async |wanted: u32| {
                while pings.get() < wanted {
                    tokio::time::sleep(STEP).await;
                    beats.send_modify(|beats| *beats += 1);
                }
            };
            lively(5).await;
            let before = pings.get();
            tokio::time::sleep(STEP * 60).await;
            let hung = pings.get();
            assert!(hung <= before + 1, "pings went on: {before}, then {hung}");
            lively(hung + 3).await;
        };
        tokio::select! {
            _ = watching => {}
            () = story => {}
        }
    }
}
