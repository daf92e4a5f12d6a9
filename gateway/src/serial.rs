//! Serial ports: opening them, and serving the handhelds on one.
//!
//! A port that vanishes (an unplugged adapter reads as ended for ever) is
//! closed and opened again by its path, later and later; nothing here spins.
//! The only file that knows the serial crate. Names below `/dev/serial/by-id`
//! stay the same whichever socket the adapter is plugged into.
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_serial::{SerialPortBuilderExt, SerialStream};
use wadi_protocol::limits::FRAME_BYTES_MAX;

use crate::session::{self, Closed, Patience};
use crate::store::thread::Handle;

/// Before a port that vanished is opened again, first and at most.
const REOPEN_MIN: Duration = Duration::from_millis(200);
const REOPEN_MAX: Duration = Duration::from_secs(5);

/// Open a port: 8 data bits, no parity, one stop bit, no flow control.
pub fn open(path: &Path, baud: u32) -> io::Result<SerialStream> {
    let path = path.to_string_lossy();
    Ok(tokio_serial::new(path, baud).open_native_async()?)
}

/// Serve the handhelds on a port, for ever; ends when `shutdown` turns true.
pub async fn serve_serial(
    path: PathBuf,
    baud: u32,
    handle: Handle,
    mut shutdown: watch::Receiver<bool>,
) {
    tokio::select! {
        () = reopen_for_ever(&path, baud, &handle) => {}
        // A sender that is gone means the same.
        _ = shutdown.wait_for(|over| *over) => {}
    }
}

async fn reopen_for_ever(path: &Path, baud: u32, handle: &Handle) {
    let peer = path.display().to_string();
    let mut pause = REOPEN_MIN;
    let mut told = String::new();
    loop {
        match open(path, baud) {
            Ok(port) => {
                tracing::info!(port = peer, baud, "serial port open");
                told.clear();
                let report = session::serve(port, handle, patience(baud), &peer).await;
                if report.answered > 0 {
                    pause = REOPEN_MIN;
                }
                match report.closed {
                    Closed::Failed(error) => {
                        tracing::warn!(port = peer, %error, "serial port lost")
                    }
                    Closed::Ended | Closed::TooSlow => {
                        tracing::warn!(port = peer, "serial port gone")
                    }
                }
            }
            Err(error) => {
                // Once for each reason: an unplugged adapter may stay away for weeks.
                let error = error.to_string();
                if error != told {
                    tracing::warn!(port = peer, error, "serial port does not open; trying on");
                    told = error;
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(REOPEN_MAX);
    }
}

/// A line has no idle limit: nobody may be there for days.
fn patience(baud: u32) -> Patience {
    let longest_us = 2 * 10_000_000 * FRAME_BYTES_MAX as u64 / u64::from(baud.max(1));
    let write = Duration::from_secs(2) + Duration::from_micros(longest_us);
    Patience { frame: None, write, outlives_write: true }
}
