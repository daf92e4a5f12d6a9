//! Which handhelds may come in: the table, and what those hear who may not.
//!
//! The running gateway asks at each hello; people change the table beside it
//! (see [`roster`](super::roster)). Whoever knocks without being allowed costs a
//! bounded number of rows and few writes.
use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};

use super::Store;
use super::error::{Problem, StoreError};

/// Handhelds remembered that wait to be allowed; further new ones are refused
/// without being remembered.
pub const WAITING_MAX: u64 = 64;
/// How often it is written down that one handheld was here, at most, in seconds.
const NOTE_INTERVAL_S: u64 = 60;
/// And that it was sent away: it may knock all day, and the card wears.
const NOTE_REFUSED_INTERVAL_S: u64 = 600;

/// Who may come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admit {
    /// Those that somebody has allowed.
    #[default]
    Allowed,
    /// Whoever comes and is not revoked: for demonstrations and tests.
    Anyone,
}

/// How a handheld stands here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has knocked, and nobody has decided.
    Waiting,
    /// It may come in.
    Allowed,
    /// It may not any more.
    Revoked,
}

impl State {
    /// As the table has it.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Allowed => "allowed",
            State::Revoked => "revoked",
        }
    }

    fn of(name: &str) -> State {
        match name {
            "waiting" => State::Waiting,
            "allowed" => State::Allowed,
            // The table's CHECK leaves no other, and whatever it were would not come in.
            _ => State::Revoked,
        }
    }
}

/// Bytes of a public key.
pub const KEY_BYTES: usize = 32;
/// A public key.
pub type Key = [u8; KEY_BYTES];

/// A handheld of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Handheld {
    /// Its key.
    pub key: Key,
    /// Its name for people.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// When it was first there or named, seconds since 1970.
    pub first_s: u64,
    /// When it was last there.
    pub last_s: Option<u64>,
    /// How often it was sent away.
    pub refused: u64,
}

pub(super) const COLUMNS: &str = "key, name, state, first_s, last_s, refused";

impl Handheld {
    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Handheld> {
        Ok(Handheld {
            key: row.get(0)?,
            name: row.get(1)?,
            state: State::of(&row.get::<_, String>(2)?),
            first_s: row.get::<_, i64>(3)? as u64,
            last_s: row.get::<_, Option<i64>>(4)?.map(|seconds| seconds as u64),
            refused: row.get::<_, i64>(5)? as u64,
        })
    }
}

/// What a hello leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may come in.
    Welcome,
    /// It has been revoked.
    Revoked,
    /// Its key is known under this other name.
    OtherName(String),
    /// Nobody has allowed it. Whether another key goes by its name.
    Unknown {
        /// Another key goes by the same name: it has to be named by its key.
        ambiguous: bool,
    },
    /// Nobody has allowed it, and [`WAITING_MAX`] others wait already.
    Full,
}

/// Refusals that are not in the table yet, by key; only of keys that are in it.
pub(super) type Refusals = BTreeMap<Key, u64>;

impl Store {
    /// A handheld that has proved its key says hello under a name.
    pub fn admit(
        &mut self,
        key: Key,
        name: &str,
        admit: Admit,
        now_s: u64,
    ) -> Result<Verdict, StoreError> {
        let (held, namesakes, waiting) = self
            .read(|db, _| Ok((held(db, &key)?, namesakes(db, &key, name)?, count_waiting(db)?)))?;
        let verdict = match &held {
            Some(held) if held.state == State::Revoked => Verdict::Revoked,
            Some(held) if held.name != name => Verdict::OtherName(held.name.clone()),
            Some(held) if held.state == State::Allowed => Verdict::Welcome,
            _ if admit == Admit::Anyone => Verdict::Welcome,
            None if waiting >= WAITING_MAX => Verdict::Full,
            _ => Verdict::Unknown { ambiguous: namesakes > 0 },
        };
        let remembered = held.is_some() || matches!(verdict, Verdict::Unknown { .. });
        if remembered {
            self.note(key, name, held.as_ref(), verdict == Verdict::Welcome, now_s)?;
        }
        Ok(verdict)
    }

    /// Whether a handheld that was let in may stay.
    pub fn may_stay(&self, key: Key, admit: Admit) -> Result<bool, StoreError> {
        let held = self.read(|db, _| held(db, &key))?;
        Ok(match held.map(|held| held.state) {
            Some(State::Allowed) => true,
            Some(State::Revoked) => false,
            Some(State::Waiting) | None => admit == Admit::Anyone,
        })
    }

    /// Write down that it was here, seldom enough for the card.
    fn note(
        &mut self,
        key: Key,
        name: &str,
        held: Option<&Handheld>,
        welcome: bool,
        now_s: u64,
    ) -> Result<(), StoreError> {
        if !welcome {
            *self.refusals.entry(key).or_default() += 1;
        }
        let last_s = held.and_then(|held| held.last_s);
        let interval_s = if welcome { NOTE_INTERVAL_S } else { NOTE_REFUSED_INTERVAL_S };
        if last_s.is_some_and(|last_s| now_s.abs_diff(last_s) < interval_s) {
            return Ok(());
        }
        let refused = self.refusals.get(&key).copied().unwrap_or(0) as i64;
        let written = self.write(now_s, |work| {
            work.run(
                "INSERT INTO wadi_handheld (key, name, state, first_s, last_s, refused)
                 VALUES (?1, ?2, 'waiting', ?3, ?3, ?4)
                 ON CONFLICT (key) DO UPDATE SET last_s = ?3, refused = refused + ?4",
                (key, name, now_s as i64, refused),
            )
        });
        match written {
            Ok(_) => {
                self.refusals.remove(&key);
                Ok(())
            }
            // Somebody holds the lock: it is written down another time.
            Err(error) if error.problem.is_passing() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn held(db: &Connection, key: &Key) -> Result<Option<Handheld>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM wadi_handheld WHERE key = ?");
    Ok(db.prepare_cached(&sql)?.query_row((key,), Handheld::of).optional()?)
}

fn namesakes(db: &Connection, key: &Key, name: &str) -> Result<u64, Problem> {
    let sql = "SELECT count(*) FROM wadi_handheld WHERE name = ? AND key <> ?";
    let count: i64 = db.prepare_cached(sql)?.query_row((name, key), |row| row.get(0))?;
    Ok(count as u64)
}

pub(super) fn count_waiting(db: &Connection) -> Result<u64, Problem> {
    let sql = "SELECT count(*) FROM wadi_handheld WHERE state = 'waiting'";
    Ok(db.prepare_cached(sql)?.query_row((), |row| row.get::<_, i64>(0))? as u64)
}
