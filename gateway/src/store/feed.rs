//! The feed: what handhelds follow.
//!
//! Every row that comes to be shown otherwise gets the next feed sequence; a
//! handheld asks for what lies beyond its cursor. A cursor of an earlier run of
//! this store is good as far as the feed had come when the next run began: what
//! a restored copy went on to number otherwise is not (see `horizon`).
use rusqlite::Connection;
use wadi_protocol::change::Seen;
use wadi_protocol::id::{DeviceId, RunId};
use wadi_protocol::limits::FEED_BYTES_TARGET;
use wadi_protocol::link::message::{AnswerBody, FeedCursor, FeedPage, FeedRow};
use wadi_protocol::schema::Schema;

use super::error::{Problem, StoreError};
use super::horizon::continues;
use super::image::{Key, read};
use super::log::LAST_OF_RUN;
use super::overlay::Meta;
use super::work::{encode, row_id};
use super::{Ground, Store, seen};

/// Rows in one page, at most.
const FEED_ROWS_MAX: usize = 2_000;

/// What a handheld is told when it says hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The site's name.
    pub site: String,
    /// The gateway's run now.
    pub run: RunId,
    /// The schema version held; 0 = none.
    pub schema: u32,
    /// Bytes of the schema's encoding.
    pub schema_bytes: u32,
    /// Whether the feed of the cursor goes on here.
    pub continues: bool,
    /// The gateway's clock, seconds since 1970.
    pub clock_s: u64,
}

impl From<Welcome> for AnswerBody {
    fn from(welcome: Welcome) -> AnswerBody {
        let Welcome { site, run, schema, schema_bytes, continues, clock_s } = welcome;
        AnswerBody::Welcome { site, run, schema, schema_bytes, continues, clock_s }
    }
}

impl Store {
    /// The answer to a handheld's hello.
    pub fn welcome(&self, feed: FeedCursor, now_s: u64) -> Result<Welcome, StoreError> {
        let continues = self.read(|db, ground| continues(db, ground, feed))?;
        let schema = self.ground.schema.as_deref();
        Ok(Welcome {
            site: self.ground.site.clone(),
            run: self.ground.run,
            schema: schema.map_or(0, |schema| schema.version),
            schema_bytes: self.schema_bytes().len() as u32,
            continues,
            clock_s: now_s.max(self.ground.clock.learnt_s),
        })
    }

    /// The schema as handhelds fetch it; empty while there is none.
    pub fn schema_bytes(&self) -> Vec<u8> {
        self.ground.schema.as_deref().map(encode).unwrap_or_default()
    }

    /// Rows that came to be shown otherwise since the cursor, in one snapshot. A
    /// cursor that is not of this feed counts as none.
    pub fn feed(&self, device: DeviceId, cursor: FeedCursor) -> Result<FeedPage, StoreError> {
        self.read(|db, ground| {
            let from = if continues(db, ground, cursor)? { cursor.seq } else { 0 };
            let mut page = FeedPage {
                feed: FeedCursor { run: ground.run, seq: from },
                cursors: ground.round.cursors,
                taken: taken(db, device)?,
                ..FeedPage::default()
            };
            if let Some(schema) = ground.schema.as_deref() {
                fill(db, ground, schema, &mut page)?;
            }
            Ok(page)
        })
    }
}

fn taken(db: &Connection, device: DeviceId) -> Result<Vec<(DeviceId, RunId, u64)>, Problem> {
    let sql =
        format!("SELECT run, {LAST_OF_RUN} AS last FROM wadi_run r WHERE device = ? AND last > 0");
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map((device.0 as i64,), |row| {
        Ok((device, RunId(row.get::<_, i64>(0)? as u64), row.get::<_, i64>(1)? as u64))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn fill(
    db: &Connection,
    ground: &Ground,
    schema: &Schema,
    page: &mut FeedPage,
) -> Result<(), Problem> {
    let mut statement = db.prepare_cached(
        "SELECT feed_seq, tbl, row FROM wadi_row WHERE feed_seq > ? ORDER BY feed_seq LIMIT ?",
    )?;
    let found: Vec<(u64, Key)> = statement
        .query_map((page.feed.seq as i64, FEED_ROWS_MAX as i64 + 1), |row| {
            Ok((row.get::<_, i64>(0)? as u64, (row.get(1)?, row_id(row, 2)?)))
        })?
        .collect::<Result<_, _>>()?;
    // Rows of tables that the schema lacks are passed over: there may be more behind them.
    page.more = found.len() > FEED_ROWS_MAX;
    let mut bytes = 0;
    for (seq, key) in found {
        let Some(row) = feed_row(db, ground, schema, key)? else {
            page.feed.seq = seq;
            continue;
        };
        let size = encode(&row).len();
        let full = bytes + size > FEED_BYTES_TARGET || page.rows.len() == FEED_ROWS_MAX;
        if full && !page.rows.is_empty() {
            page.more = true;
            break;
        }
        bytes += size;
        page.rows.push(row);
        page.feed.seq = seq;
    }
    Ok(())
}

fn feed_row(
    db: &Connection,
    ground: &Ground,
    schema: &Schema,
    key: Key,
) -> Result<Option<FeedRow>, Problem> {
    let Some(table) = schema.table(key.0) else {
        return Ok(None);
    };
    let meta = Meta::load(db, key)?;
    let fields = if meta.is_shown() { read(db, table, key.1)? } else { None };
    Ok(Some(FeedRow {
        table: key.0,
        row: key.1,
        live: fields.is_some(),
        fields: fields.into_iter().flatten().collect(),
        seen: Seen { version: seen::version(ground, schema, key, &meta), above: meta.sight.above },
        review: meta.sight.review,
        marked: meta.sight.marked,
    }))
}
