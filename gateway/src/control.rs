//! A socket beside the database, through which `wadi-gateway sync` asks the
//! running gateway to sync now, and hears when everything is exchanged.
//!
//! ```text
//! asks "sync\n"; answers "ok\n" or "failed: why\n"
//! ```
//! Only the gateway's own user may connect (mode 0600).
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tracing::warn;

/// How long one `sync` may take before its caller is told to look at the link.
pub const SYNC_PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a question or an answer.
const LINE_BYTES_MAX: u64 = 1024;

/// The worker's side: what is asked for, and what is done.
pub struct Desk {
    /// Counts the requests to sync.
    pub wanted: watch::Receiver<u64>,
    /// The last request that was met, or could not be.
    pub met: watch::Sender<Met>,
}

/// How a request to sync ended.
#[derive(Clone, Debug, Default)]
pub struct Met {
    /// Its number; those before it ended too.
    pub request: u64,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// The socket's side.
pub struct Counter {
    wanted: watch::Sender<u64>,
    met: watch::Receiver<Met>,
}

/// Both sides.
pub fn desk() -> (Desk, Counter) {
    let (wanted, wanted_heard) = watch::channel(0);
    let (met, met_heard) = watch::channel(Met::default());
    (Desk { wanted: wanted_heard, met }, Counter { wanted, met: met_heard })
}

/// Where the socket of a database is.
pub fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_os_string();
    name.push("-control");
    PathBuf::from(name)
}

/// Answer until the task is dropped. Without a socket the gateway still works.
pub async fn serve(database: &Path, counter: Counter) {
    let path = path(database);
    // The lock on the database is ours: a socket that lies there is a dead one's.
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            warn!(
                "control socket {}: {error}; `wadi-gateway sync` will not reach this gateway",
                path.display()
            );
            return std::future::pending().await;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = tokio::time::timeout(SYNC_PATIENCE * 2, answer(stream, &counter));
                if let Ok(Err(error)) = answer.await {
                    warn!("control socket: {error}");
                }
            }
            Err(error) => {
                warn!("control socket: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, counter: &Counter) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    if line.trim() != "sync" {
        return writer.write_all(b"failed: unknown question\n").await;
    }
    let mut number = 0;
    counter.wanted.send_modify(|wanted| {
        *wanted += 1;
        number = *wanted;
    });
    let mut met = counter.met.clone();
    let ended = met.wait_for(|met| met.request >= number);
    // The guard of the watched value must not live across the next await.
    let ended = match tokio::time::timeout(SYNC_PATIENCE, ended).await {
        Ok(Ok(met)) => met.failed.clone(),
        _ => Some("the hub gives no answer; see `wadi-gateway status` and the log".into()),
    };
    let said = match ended {
        None => "ok\n".to_string(),
        Some(why) => format!("failed: {}\n", why.replace('\n', " ")),
    };
    writer.write_all(said.as_bytes()).await
}

/// Ask the gateway that runs on a database to sync; none if no gateway answers there.
pub async fn ask(database: &Path) -> Option<Result<(), String>> {
    let mut stream = UnixStream::connect(path(database)).await.ok()?;
    stream.write_all(b"sync\n").await.ok()?;
    let mut said = String::new();
    let read = BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut said).await;
    match (read, said.trim()) {
        (Ok(_), "ok") => Some(Ok(())),
        (Ok(0), _) | (Err(_), _) => Some(Err("the gateway ended meanwhile".into())),
        (Ok(_), said) => Some(Err(said.trim_start_matches("failed: ").into())),
    }
}
