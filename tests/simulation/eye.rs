//! A connection of another program to a machine's file: all checks read by it.
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// Statements that stay prepared: all that the checks ask, and more.
const STATEMENTS: usize = 128;

/// The connection. It remembers which tables are missing, as long as the file's schema
/// stays as it is: a statement that cannot be prepared is tried anew each time else.
pub struct Eye {
    db: Connection,
    missing: RefCell<(i64, BTreeSet<&'static str>)>,
}

impl Eye {
    pub fn open(path: &Path) -> Eye {
        let db = Connection::open(path).expect("a file");
        db.busy_timeout(Duration::ZERO).expect("set");
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        Eye { db, missing: RefCell::default() }
    }

    /// Whether a table is known to be missing still.
    pub fn lacks(&self, table: &str) -> rusqlite::Result<bool> {
        if !self.missing.borrow().1.contains(table) {
            return Ok(false);
        }
        Ok(self.missing.borrow().0 == self.version()?)
    }

    /// A table is missing.
    pub fn missed(&self, table: &'static str) -> rusqlite::Result<()> {
        let version = self.version()?;
        let mut missing = self.missing.borrow_mut();
        if missing.0 != version {
            *missing = (version, BTreeSet::new());
        }
        missing.1.insert(table);
        Ok(())
    }

    /// SQLite's number of the file's schema, which moves with each change of it.
    fn version(&self) -> rusqlite::Result<i64> {
        self.db.prepare_cached("PRAGMA schema_version")?.query_row((), |row| row.get(0))
    }
}

impl Deref for Eye {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}
