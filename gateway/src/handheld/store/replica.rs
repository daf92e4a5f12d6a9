//! The replica: what a gateway's feed brought, and which own changes it counts.
//!
//! A page is applied in one transaction with the cursor. The rows of a page
//! count every own change that the gateway had taken before the page was asked
//! for; such changes are no longer laid over.
use wadi_protocol::id::{DeviceId, RunId};
use wadi_protocol::link::collector::Welcome;
use wadi_protocol::link::message::{FeedCursor, FeedPage, FeedRow};
use wadi_protocol::stamp::Clock;

use super::{StoreError, Work, encode, row_of};

/// Where the replica stands after a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replica {
    /// The feed.
    pub feed: FeedCursor,
    /// Whether it began anew with this gateway.
    pub anew: bool,
}

/// What a page brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pulled {
    /// Rows.
    pub rows: u64,
}

impl Work<'_> {
    /// A gateway answered. If it does not continue our feed, the replica begins anew
    /// (its rows stay until the new ones are there) and all that is not durable is
    /// offered again.
    pub fn welcome(&mut self, welcome: &Welcome) -> Result<Replica, StoreError> {
        let mut clock = Clock { learnt_s: self.ground.learnt_s, ..Clock::default() };
        clock.learn(welcome.clock_s, self.now_s);
        self.ground.learnt_s = clock.learnt_s;
        self.run(
            "UPDATE wadi_file SET learnt_s = ?, site = ?",
            (clock.learnt_s as i64, &welcome.site),
        )?;
        if !welcome.continues {
            self.run("UPDATE wadi_change SET custody = 'pending' WHERE custody <> 'durable'", ())?;
            self.ground.generation += 1;
            self.run("UPDATE wadi_file SET generation = ?", (self.ground.generation as i64,))?;
        }
        if !welcome.continues || self.ground.feed.run == RunId::NONE {
            // From now on another gateway can tell that this is not its feed.
            self.set_feed(FeedCursor { run: welcome.run, seq: 0 })?;
        }
        Ok(Replica { feed: self.ground.feed, anew: !welcome.continues })
    }

    /// Apply a page and move the cursor.
    pub fn page(&mut self, page: &FeedPage) -> Result<Pulled, StoreError> {
        for row in &page.rows {
            self.put_row(row)?;
            self.count_row(row, &page.taken)?;
        }
        self.set_feed(page.feed)?;
        let [urgent, routine] = page.cursors;
        self.run(
            "UPDATE wadi_file SET cursor_urgent = ?, cursor_routine = ?",
            (urgent as i64, routine as i64),
        )?;
        if !page.more {
            self.feed_end(&page.taken)?;
        }
        self.drop_decided()?;
        Ok(Pulled { rows: page.rows.len() as u64 })
    }

    /// Everything was offered and pulled.
    pub fn synced(&mut self) -> Result<(), StoreError> {
        self.run("UPDATE wadi_file SET last_sync_s = ?", (self.now_s as i64,))?;
        Ok(())
    }

    fn set_feed(&mut self, feed: FeedCursor) -> Result<(), StoreError> {
        self.ground.feed = feed;
        self.run(
            "UPDATE wadi_file SET feed_run = ?, feed_seq = ?",
            (feed.run.0 as i64, feed.seq as i64),
        )?;
        Ok(())
    }

    fn put_row(&mut self, row: &FeedRow) -> Result<(), StoreError> {
        self.run(
            "INSERT OR REPLACE INTO wadi_row (tbl, row, live, fields, seen, review, marked, generation)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.table,
                row.row.0,
                row.live,
                encode(&row.fields),
                encode(&row.seen),
                encode(&row.review),
                encode(&row.marked),
                self.ground.generation as i64,
            ),
        )?;
        self.touch_number(row.table, row.row);
        Ok(())
    }

    /// Own changes of a fed row: those that the gateway had are in its image.
    fn count_row(
        &mut self,
        row: &FeedRow,
        taken: &[(DeviceId, RunId, u64)],
    ) -> Result<(), StoreError> {
        let Some(table) = self.ground.schema.as_ref().and_then(|schema| schema.table(row.table))
        else {
            return Ok(());
        };
        let name = table.name.clone();
        let own = self.all(
            "SELECT place, device, run, seq, custody FROM wadi_change WHERE tbl = ? AND row = ?",
            (&name, row.row.0),
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    (super::device_of(row.get(1)?), RunId(row.get::<_, i64>(2)? as u64)),
                    row.get::<_, i64>(3)? as u64,
                    row.get::<_, String>(4)?,
                ))
            },
        )?;
        for (place, (device, run), seq, custody) in own {
            let there = taken.iter().any(|&(d, r, last)| (d, r) == (device, run) && seq <= last);
            let shown = there || custody != "pending";
            self.run("UPDATE wadi_change SET shown = ? WHERE place = ?", (shown, place))?;
        }
        Ok(())
    }

    /// The replica is as the gateway is: everything taken there is in it, and rows
    /// that a replica begun anew did not bring are gone.
    fn feed_end(&mut self, taken: &[(DeviceId, RunId, u64)]) -> Result<(), StoreError> {
        let sql = "UPDATE wadi_change SET shown = 1 WHERE shown = 0 AND custody <> 'pending'
                   RETURNING tbl, row";
        let counted =
            self.all(sql, (), |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        for (table, row) in counted {
            let row = row_of(row)?;
            self.touch(&table, row);
        }
        for (device, run, last) in taken {
            let sql = "UPDATE wadi_change SET shown = 1
                       WHERE shown = 0 AND device = ? AND run = ? AND seq <= ? RETURNING tbl, row";
            let last = i64::try_from(*last).unwrap_or(i64::MAX);
            let counted = self.all(sql, (device.0 as i64, run.0 as i64, last), |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?;
            for (table, row) in counted {
                let row = row_of(row)?;
                self.touch(&table, row);
            }
        }
        self.drop_left_rows()
    }

    fn drop_left_rows(&mut self) -> Result<(), StoreError> {
        let generation = self.ground.generation as i64;
        let sql = "DELETE FROM wadi_row WHERE generation < ? RETURNING tbl, row";
        let gone = self.all(sql, (generation,), |row| {
            Ok((row.get::<_, u16>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        for (table, row) in gone {
            let row = row_of(row)?;
            self.touch_number(table, row);
            // What the gone image counted and nobody has taken is laid over nothing now.
            let name = self.ground.schema.as_ref().and_then(|schema| schema.table(table));
            if let Some(name) = name.map(|table| table.name.clone()) {
                self.run(
                    "UPDATE wadi_change SET shown = 0 WHERE tbl = ? AND row = ? AND custody = 'pending'",
                    (name, row.0),
                )?;
            }
        }
        Ok(())
    }
}
