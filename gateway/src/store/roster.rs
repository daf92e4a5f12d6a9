//! Allowing and revoking handhelds, beside a running gateway or without one.
//!
//! The table is small and every write short, so it is simply written; the
//! running gateway reads it at each hello. Who is meant has to be clear: a name
//! that several keys go by is not enough.
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::LOCK_WAIT_MS;
use super::error::{Problem, StoreError};
use super::handhelds::{COLUMNS, Handheld, Key, State};
use super::open::{MIGRATIONS, check_layout, open_to_read};

/// The layout that brought the table.
const LAYOUT: i64 = 3;

/// Who is meant.
pub struct Whom<'a> {
    /// By name.
    pub name: &'a str,
    /// And by key, if one was named: whether it is this one.
    pub key: Option<&'a dyn Fn(&Key) -> bool>,
    /// The whole key, if it was named: it may be one that was never here.
    pub whole: Option<Key>,
}

/// What a command came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It stands so now; it stood otherwise before.
    Done(Handheld),
    /// It stood so already.
    Already(Handheld),
    /// Nobody of this name or key is known; these are.
    Nobody(Vec<Handheld>),
    /// Several keys go by this name.
    Several(Vec<Handheld>),
}

/// All handhelds, those that wait first.
pub fn list(path: &Path) -> Result<Vec<Handheld>, StoreError> {
    let read = || {
        let db = open_to_read(path)?;
        recent_enough(check_layout(&db, MIGRATIONS.len())?)?;
        all(&db)
    };
    read().map_err(|problem: Problem| problem.at(path))
}

/// Let a handheld stand so from now on.
pub fn set(path: &Path, whom: &Whom<'_>, state: State, now_s: u64) -> Result<Outcome, StoreError> {
    try_set(path, whom, state, now_s).map_err(|problem| problem.at(path))
}

fn try_set(path: &Path, whom: &Whom<'_>, state: State, now_s: u64) -> Result<Outcome, Problem> {
    if !path.exists() {
        return Err(Problem::Missing);
    }
    let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(Duration::from_millis(LOCK_WAIT_MS.into()))?;
    recent_enough(check_layout(&db, MIGRATIONS.len())?)?;
    db.pragma_update(None, "synchronous", "full")?;
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let outcome = outcome(all(&tx)?, whom, state, now_s);
    if let Outcome::Done(held) = &outcome {
        tx.execute(
            "INSERT INTO wadi_handheld (key, name, state, first_s) VALUES (?, ?, ?, ?)
             ON CONFLICT (key) DO UPDATE SET state = excluded.state",
            (held.key, &held.name, held.state.name(), held.first_s as i64),
        )?;
    }
    tx.commit()?;
    Ok(outcome)
}

/// What the command comes to, of those that are known.
fn outcome(known: Vec<Handheld>, whom: &Whom<'_>, state: State, now_s: u64) -> Outcome {
    let named = |held: &&Handheld| held.name == whom.name;
    let mut meant: Vec<&Handheld> = known.iter().filter(named).collect();
    match whom.key {
        Some(is_it) => meant.retain(|held| is_it(&held.key)),
        // Whoever may not come in anyway is not meant by a revocation.
        None if state == State::Revoked && meant.len() > 1 => {
            meant.retain(|held| held.state == State::Allowed);
        }
        None => {}
    }
    match (meant.as_slice(), whom.whole) {
        ([], Some(key)) if known.iter().all(|held| held.key != key) => {
            let name = whom.name.to_owned();
            Outcome::Done(Handheld { key, name, state, first_s: now_s, last_s: None, refused: 0 })
        }
        ([], _) => Outcome::Nobody(known),
        ([held], _) if held.state == state => Outcome::Already((*held).clone()),
        ([held], _) => Outcome::Done(Handheld { state, ..(*held).clone() }),
        _ => Outcome::Several(meant.into_iter().cloned().collect()),
    }
}

fn recent_enough(layout: i64) -> Result<(), Problem> {
    if layout < LAYOUT { Err(Problem::Older) } else { Ok(()) }
}

fn all(db: &Connection) -> Result<Vec<Handheld>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM wadi_handheld ORDER BY state <> 'waiting', name, key");
    let mut statement = db.prepare(&sql)?;
    let rows = statement.query_map((), Handheld::of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
