//! A socket beside the database, through which commands ask the running
//! gateway: to sync now, and how it does.
//!
//! ```text
//! asks "sync S\n"; answers "ok\n" or "failed: why\n" once everything is exchanged,
//!                  or S seconds are over (120 where none are named)
//! asks "status\n"; answers one line of JSON (a `Live`) or "failed: why\n"
//! ```
//! Only the gateway's own user may connect (mode 0600). Several are served at
//! once, each with deadlines, so that one that waits or says nothing holds up
//! nobody; syncs take fewer places than there are, so that a look always fits.
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::bridle::Bridle;
use crate::live::{Board, Live, Observer};
use crate::mqtt::LinkError;

/// How many seconds one `sync` may take, unless its caller says more or less.
pub const SYNC_PATIENCE_S: u32 = 120;
/// A caller may say this at most: a day.
pub const SYNC_PATIENCE_S_MAX: u32 = 86_400;
/// How long a look may take; the store may wait for another program's lock.
const STATUS_PATIENCE: Duration = Duration::from_secs(8);
/// How long the question may take to come, and an answer to be taken.
const LINE_PATIENCE: Duration = Duration::from_secs(5);
/// Connections served at once; more are hung up on.
const CONNECTIONS_MAX: usize = 16;
/// How many of them may be syncs.
const SYNCS_MAX: usize = 8;
/// Bytes of a question, and of the answer to `sync`.
const LINE_BYTES_MAX: u64 = 1024;
/// Bytes of the answer to `status`: 65 links of 1 KiB each and some.
const STATUS_BYTES_MAX: u64 = 128 * 1024;
/// After an accept that failed (out of file handles, say).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The worker's side: what is asked for, what is done, how the link does.
pub struct Desk {
    /// Counts the requests to sync.
    pub wanted: watch::Receiver<u64>,
    /// The last request that was met, or could not be.
    pub met: watch::Sender<Met>,
    /// How the link does.
    pub board: Board,
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

/// What the gateway on a database says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It runs.
    Running(Box<Live>),
    /// None does.
    Absent,
    /// It cannot be asked: why, and what to do.
    Unknown(String),
}

/// Both sides; `broker` is what the board shows.
pub fn desk(broker: String) -> (Desk, Counter) {
    let (wanted, wanted_heard) = watch::channel(0);
    let (met, met_heard) = watch::channel(Met::default());
    let desk = Desk { wanted: wanted_heard, met, board: Board::new(broker) };
    (desk, Counter { wanted, met: met_heard })
}

/// Where the socket of a database is.
pub fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_os_string();
    name.push("-control");
    PathBuf::from(name)
}

/// Answer until the task is dropped. Without a socket the gateway still works.
pub async fn serve(database: &Path, counter: Counter, observer: Arc<Observer>) {
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
                phase = "control",
                file = %path.display(),
                "control socket {}: {error}; `wadi-gateway sync` and `status` will not reach this gateway",
                path.display()
            );
            return std::future::pending().await;
        }
    };
    let clerk = Arc::new(Clerk { counter, observer, syncs: Semaphore::new(SYNCS_MAX) });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let bridle = Bridle::default();
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => match Arc::clone(&places).try_acquire_owned() {
                Ok(place) => {
                    let clerk = Arc::clone(&clerk);
                    connections.spawn(async move {
                        let _place = place;
                        if let Err(error) = clerk.answer(stream).await {
                            debug!(phase = "control", "control socket: {error}");
                        }
                    });
                }
                Err(_) => {
                    if let Some(unlogged) = bridle.may_log() {
                        warn!(
                            phase = "control",
                            unlogged,
                            "control socket: {CONNECTIONS_MAX} connections are open already"
                        );
                    }
                    // A fresh socket has room for it; if not, hanging up says enough.
                    let _ = stream.try_write(b"failed: too many are asking; ask again\n");
                }
            },
            Err(error) => {
                if let Some(unlogged) = bridle.may_log() {
                    warn!(phase = "control", unlogged, "control socket: {error}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers questions.
struct Clerk {
    counter: Counter,
    observer: Arc<Observer>,
    syncs: Semaphore,
}

impl Clerk {
    async fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        let mut reader = BufReader::new(reader.take(LINE_BYTES_MAX));
        timeout(LINE_PATIENCE, reader.read_line(&mut line)).await??;
        let line = line.trim();
        let mut said = match line.strip_prefix("sync").map(patience) {
            Some(Some(patience)) => self.sync(patience).await,
            None if line == "status" => self.status().await,
            _ => failed("unknown question"),
        };
        said.push('\n');
        timeout(LINE_PATIENCE, writer.write_all(said.as_bytes())).await?
    }

    async fn sync(&self, patience: Duration) -> String {
        let Ok(_place) = self.syncs.try_acquire() else {
            return failed("others are waiting for a sync already; see `wadi-gateway status`");
        };
        let mut number = 0;
        self.counter.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        let mut met = self.counter.met.clone();
        let ended = met.wait_for(|met| met.request >= number);
        // The guard of the watched value must not live across the next await.
        let ended = match timeout(patience, ended).await {
            Ok(Ok(met)) => met.failed.clone(),
            Ok(Err(_)) => Some("the gateway ended meanwhile".into()),
            Err(_) => Some(LinkError::unfinished(patience).to_string()),
        };
        ended.map_or_else(|| "ok".into(), |why| failed(&why))
    }

    async fn status(&self) -> String {
        let Ok(live) = timeout(STATUS_PATIENCE, self.observer.look()).await else {
            return failed("its store is busy: another program holds the database's write lock");
        };
        serde_json::to_string(&live).expect("plain data always serialises")
    }
}

fn failed(why: &str) -> String {
    format!("failed: {}", why.replace('\n', " "))
}

/// The seconds behind the word `sync`.
fn patience(words: &str) -> Option<Duration> {
    let seconds = match words.trim() {
        "" => SYNC_PATIENCE_S,
        some => some.parse().ok().filter(|seconds| (1..=SYNC_PATIENCE_S_MAX).contains(seconds))?,
    };
    Some(Duration::from_secs(seconds.into()))
}

/// Ask the gateway that runs on a database to sync within some seconds; none if no
/// gateway answers there.
pub async fn ask(database: &Path, within_s: u32) -> Option<Result<(), String>> {
    let mut stream = UnixStream::connect(path(database)).await.ok()?;
    stream.write_all(format!("sync {within_s}\n").as_bytes()).await.ok()?;
    let mut said = String::new();
    let read = BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut said).await;
    match (read, said.trim()) {
        (Ok(_), "ok") => Some(Ok(())),
        (Ok(0), _) | (Err(_), _) => Some(Err("the gateway ended meanwhile".into())),
        (Ok(_), said) => Some(Err(said.trim_start_matches("failed: ").into())),
    }
}

/// Ask the gateway that runs on a database how it does.
pub async fn look(database: &Path) -> Presence {
    let stream = match UnixStream::connect(path(database)).await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Presence::Absent,
                io::ErrorKind::PermissionDenied => Presence::Unknown(
                    "only its own user may ask it: run this command as that user or as root".into(),
                ),
                _ => Presence::Unknown(error.to_string()),
            };
        }
    };
    match timeout(STATUS_PATIENCE + LINE_PATIENCE, hear_live(stream)).await {
        Ok(presence) => presence,
        Err(_) => Presence::Unknown(
            "it does not answer: if that lasts, see its log and start it again".into(),
        ),
    }
}

async fn hear_live(mut stream: UnixStream) -> Presence {
    let mut said = String::new();
    let read = match stream.write_all(b"status\n").await {
        Ok(()) => BufReader::new(stream.take(STATUS_BYTES_MAX)).read_line(&mut said).await,
        Err(error) => Err(error),
    };
    if let Some(why) = said.trim_end().strip_prefix("failed: ") {
        return Presence::Unknown(why.into());
    }
    match read {
        Ok(0) => Presence::Unknown("it is too busy to answer, or just ended: ask again".into()),
        Ok(_) => match serde_json::from_str(&said) {
            Ok(live) => Presence::Running(Box::new(live)),
            Err(_) => Presence::Unknown(
                "it is of another version than this command: start it again".into(),
            ),
        },
        Err(error) => Presence::Unknown(error.to_string()),
    }
}
