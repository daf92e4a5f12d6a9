//! What happened at a hub, told so that it means the same at another.
use std::collections::BTreeMap;

use rusqlite::Connection;
use wadi_hub::store::operators::Act;
use wadi_protocol::change::{Change, Seen};
use wadi_protocol::id::{DeviceId, Dot, RunId, RunInfo};
use wadi_protocol::ruling::Ruling;

use crate::model::{Key, key_of};
use crate::world::World;

pub fn database(world: &World) -> Connection {
    Connection::open(world.folder.path().join("hub.db")).unwrap()
}

/// Changes that left quarantine, with their tables.
pub fn released(world: &World) -> Vec<(Dot, u16)> {
    let db = database(world);
    let mut query = db
        .prepare(
            "SELECT device, run, seq, tbl FROM wadi_change
             WHERE (device, run, seq) IN (SELECT device, run, seq FROM wadi_released)
             ORDER BY number",
        )
        .unwrap();
    let dots = query.query_map([], |row| {
        let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
        let dot = Dot { device: DeviceId(number(0)?), run: RunId(number(1)?), seq: number(2)? };
        Ok((dot, row.get(3)?))
    });
    dots.unwrap().map(Result::unwrap).collect()
}

/// What happened, told so that it means the same at another hub.
pub struct Story {
    /// Changes of devices; those of a group together.
    pub groups: Vec<Vec<Change>>,
    /// Their device, as the hub stores it.
    pub operators: i64,
    pub runs: Vec<RunInfo>,
    pub acts: Vec<Act>,
}

pub fn story(world: &World) -> Story {
    let db = database(world);
    let operators = "SELECT value FROM wadi_store WHERE key = 'device'";
    let operators: i64 = db.query_row(operators, [], |row| row.get(0)).unwrap();
    let (made, mut changes): (Vec<Change>, Vec<Change>) = set(&db, "wadi_change")
        .into_iter()
        .partition(|change| change.dot.device == DeviceId(operators.cast_unsigned()));
    changes.extend(set(&db, "wadi_quarantine"));
    let mut groups: BTreeMap<(Dot, u64), Vec<Change>> = BTreeMap::new();
    for change in changes {
        let first = change.group_span().0;
        groups.entry((Dot { seq: first, ..change.dot }, first)).or_default().push(change);
    }
    for group in groups.values_mut() {
        group.sort_by_key(|change| change.dot.seq);
    }
    let mut acts: Vec<Act> = made.into_iter().map(Act::Settle).collect();
    let mut query = db.prepare("SELECT body FROM wadi_ruling").unwrap();
    let rulings = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
    acts.extend(
        rulings.map(|body| Act::Rule(postcard::from_bytes::<Ruling>(&body.unwrap()).unwrap())),
    );
    let sql = "SELECT run, parent_run, parent_seq FROM wadi_run WHERE device = ?1";
    let mut query = db.prepare(sql).unwrap();
    let runs = query.query_map([operators], |row| {
        let parent: (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        let parent = parent.0.zip(parent.1);
        Ok(RunInfo {
            device: DeviceId(operators.cast_unsigned()),
            run: RunId(row.get::<_, i64>(0)?.cast_unsigned()),
            parent: parent.map(|(run, seq)| (RunId(run.cast_unsigned()), seq.cast_unsigned())),
            label: "operator".into(),
        })
    });
    let runs = runs.unwrap().map(Result::unwrap).collect();
    Story { groups: groups.into_values().collect(), operators, runs, acts }
}

/// Every change of a table of the hub, what it had seen written out as dots: no versions,
/// so that it means the same at another hub.
fn set(db: &Connection, table: &str) -> Vec<Change> {
    let sql = format!("SELECT body, seen_seq, closure_seqs FROM {table} ORDER BY device, run, seq");
    let mut query = db.prepare(&sql).unwrap();
    let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.into_iter()
        .map(|(body, seen_seq, closure_seqs)| {
            let mut change: Change = postcard::from_bytes(&body).unwrap();
            let closure_seqs: Vec<u64> = postcard::from_bytes(&closure_seqs).unwrap();
            let key = key_of(&change).unwrap();
            write_out(db, &mut change.seen, key, seen_seq);
            for (row, seq) in change.closure.iter_mut().zip(closure_seqs) {
                write_out(db, &mut row.seen, (row.table, row.row), seq as i64);
            }
            change
        })
        .collect()
}

fn write_out(db: &Connection, seen: &mut Seen, key: Key, seq: i64) {
    let mut query = db
        .prepare("SELECT body FROM wadi_change WHERE tbl = ?1 AND row = ?2 AND hub_seq <= ?3")
        .unwrap();
    let bodies: Vec<Vec<u8>> = query
        .query_map(rusqlite::params![key.0, key.1.0.as_slice(), seq], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    seen.version = Default::default();
    for body in bodies {
        seen.above.push(postcard::from_bytes::<Change>(&body).unwrap().dot);
    }
    seen.above.sort();
    seen.above.dedup();
    assert!(seen.above.len() <= 64, "the test keeps within the limit");
}
