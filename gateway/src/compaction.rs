//! When the changelog is compacted: after rounds, for the hub may have said more of its
//! backup, and every hour, for what is kept grows older. What may go is the store's
//! decision; here is only when it is asked, and that others get their turn in between.
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::store::compact::Keep;
use crate::store::thread::Handle;

/// Between two passes for the sake of age.
const INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two steps of a pass: whoever hands over records comes first.
const PAUSE: Duration = Duration::from_millis(50);

/// Keep the changelog within bounds, for ever.
pub async fn run(handle: Handle, keep: Keep) {
    let mut rounds = handle.rounds();
    let (mut anew, mut next) = (true, Instant::now() + INTERVAL);
    loop {
        while handle.compact(keep, std::mem::take(&mut anew)).await {
            sleep(PAUSE).await;
        }
        tokio::select! {
            // Once the store has failed, it answers no more: the next question waits for ever.
            _ = rounds.changed() => {}
            () = sleep_until(next) => {
                anew = true;
                next = Instant::now() + INTERVAL;
            }
        }
    }
}
