//! Waiting for a state, never for a time.
//!
//! A wait names what it waits for and how long at most; when it fails it tells
//! the last thing it saw.
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks at the state.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// Look until `look` finds what it looks for, or fail after `deadline` with what it saw last.
pub fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<T> {
    let start = Instant::now();
    // Looking is not free on two cores: back off to a tenth of what was waited.
    let mut interval = LOOK_INTERVAL;
    loop {
        let seen = match look()? {
            Look::Found(found) => return Ok(found),
            Look::NotYet(seen) => seen,
        };
        if start.elapsed() > deadline {
            bail!("waited {} s for {what}; last seen: {seen}", deadline.as_secs());
        }
        std::thread::sleep(interval);
        interval = (start.elapsed() / 10).clamp(LOOK_INTERVAL, LOOK_INTERVAL * 20);
    }
}

/// One look.
pub enum Look<T> {
    /// The state is there.
    Found(T),
    /// It is not; this is what was seen instead.
    NotYet(String),
}

impl Look<()> {
    /// Found if `there`, else what was seen.
    pub fn when(there: bool, seen: impl FnOnce() -> String) -> Look<()> {
        if there { Look::Found(()) } else { Look::NotYet(seen()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_gives_up() {
        let mut count = 0;
        let found = until("three", Duration::from_secs(5), || {
            count += 1;
            Ok(if count == 3 { Look::Found(count) } else { Look::NotYet(count.to_string()) })
        });
        assert_eq!(found.unwrap(), 3);
        let error = until::<()>("never", Duration::ZERO, || Ok(Look::NotYet("nothing".into())));
        assert!(error.unwrap_err().to_string().contains("last seen: nothing"));
    }
}
