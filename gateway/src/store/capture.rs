//! The capture door, SQL side: plain triggers that write down what any other
//! program does to a typed table.
//!
//! They hold raw old and new values and no strategy, and use core SQL only, so
//! they work from the `sqlite3` shell and from Python alike. What they write is
//! turned into changes by `drain`.
//!
//! ```text
//! INSERT            before: saves the row it finds  after: I, or U of the saved row
//! INSERT OR REPLACE the same; with recursive_triggers a D comes between, and is taken back
//! ON CONFLICT DO UPDATE, OR IGNORE   the row saved before is never taken, and
//!                   forgotten by the next INSERT of that id or the drain
//! ```
use wadi_protocol::limits::{CHANGE_BYTES_HARD_MAX, GROUP_CHANGES_MAX};
use wadi_protocol::schema::{Field, Table};

use super::CAPTURED_CHANGES_MAX;
use super::image::{ident, is_integer};

/// The triggers of a table: name and SQL.
pub(crate) fn triggers(table: &Table) -> Vec<(String, String)> {
    let name = ident(&table.name);
    let number = table.number;
    let on = |when: &str, what: &str, body: String| {
        let trigger = format!("wadi_{when}_{what}_{}", table.name);
        let sql = format!(
            "CREATE TRIGGER {} {when} {what} ON {name} WHEN (SELECT capturing FROM wadi_switch) BEGIN\n{body}END",
            ident(&trigger),
        );
        (trigger, sql)
    };
    vec![
        on("before", "insert", before_insert(table)),
        on("after", "insert", after_insert(table)),
        on("after", "update", after_update(table)),
        on("after", "delete", {
            let old = row_literals(table, "OLD");
            format!(
                "{}{}",
                limits(),
                record(&format!("VALUES ({number}, OLD.id, 'D', {GROUP}, {old}, NULL)"))
            )
        }),
    ]
}

const GROUP: &str = "(SELECT max(id) FROM wadi_group)";

fn before_insert(table: &Table) -> String {
    let (name, number) = (ident(&table.name), table.number);
    let found = row_literals(table, &name);
    // Delete, then insert: the outer statement's OR IGNORE or OR REPLACE would
    // override any conflict clause here, so none may be needed.
    format!(
        "DELETE FROM wadi_replaced WHERE tbl = {number} AND id = NEW.id;\n\
         INSERT INTO wadi_replaced (tbl, id, mark, old) \
         SELECT {number}, id, (SELECT coalesce(max(n), 0) FROM wadi_capture), {found} \
         FROM {name} WHERE id = NEW.id;\n"
    )
}

fn after_insert(table: &Table) -> String {
    let number = table.number;
    let new = row_literals(table, "NEW");
    let take = format!("tbl = {number} AND id = NEW.id");
    let record = record(&format!(
        "SELECT {number}, NEW.id, CASE WHEN r.id IS NULL THEN 'I' ELSE 'U' END, {GROUP}, r.old, {new} \
         FROM (SELECT 1) LEFT JOIN wadi_replaced r ON r.tbl = {number} AND r.id = NEW.id"
    ));
    format!(
        "SELECT RAISE(ABORT, 'wadi: an id must be a UUID in lower case, such as \
         8dd32ccf-ea43-49e0-8514-58eeb8336913; leave the id out to have one made') \
         WHERE NOT ({});\n\
         {}\
         DELETE FROM wadi_capture WHERE {take} AND op = 'D' \
         AND n > (SELECT mark FROM wadi_replaced WHERE {take});\n\
         {record}\
         DELETE FROM wadi_replaced WHERE {take};\n",
        is_uuid("NEW.id"),
        limits() + &size_limit(&new),
    )
}

fn after_update(table: &Table) -> String {
    let number = table.number;
    let (old, new) = (row_literals(table, "OLD"), row_literals(table, "NEW"));
    format!(
        "SELECT RAISE(ABORT, 'wadi: the id of a row cannot be changed; delete the row and insert another') \
         WHERE NEW.id IS NOT OLD.id;\n{}{}",
        limits() + &size_limit(&new),
        record(&format!("VALUES ({number}, NEW.id, 'U', {GROUP}, {old}, {new})")),
    )
}

fn record(values: &str) -> String {
    format!(
        "INSERT INTO wadi_capture (tbl, id, op, grp, old, new) {values};\n\
         UPDATE wadi_switch SET captured = captured + 1;\n"
    )
}

/// Refusals, each with what to do about it.
fn limits() -> String {
    format!(
        "SELECT RAISE(ABORT, 'wadi: {CAPTURED_CHANGES_MAX} changes already wait for the gateway; \
         split the transaction, or start wadi-gateway so that it takes them') \
         FROM wadi_switch WHERE captured >= {CAPTURED_CHANGES_MAX};\n\
         SELECT RAISE(ABORT, 'wadi: the changelog is full; let wadi-gateway reach the hub first') \
         FROM wadi_switch WHERE full = 1;\n\
         SELECT RAISE(ABORT, 'wadi: the disk is nearly full; make room on it first') \
         FROM wadi_switch WHERE full = 2;\n\
         SELECT RAISE(ABORT, 'wadi: a group holds at most {GROUP_CHANGES_MAX} changes; \
         close it with DELETE FROM wadi_group') \
         WHERE {GROUP} IS NOT NULL AND (SELECT count(*) FROM wadi_capture WHERE grp = {GROUP}) >= {GROUP_CHANGES_MAX};\n"
    )
}

/// A row must fit one change. Literals of text take two digits a byte.
fn size_limit(new: &str) -> String {
    let bytes = CHANGE_BYTES_HARD_MAX - 4096;
    format!(
        "SELECT RAISE(ABORT, 'wadi: the row is too large; it may hold {bytes} bytes: shorten its values') \
         WHERE length({new}) > {};\n",
        2 * bytes,
    )
}

fn is_uuid(value: &str) -> String {
    format!(
        "length({value}) = 36 AND {value} GLOB '????????-????-????-????-????????????' \
         AND {value} NOT GLOB '*[^0-9a-f-]*' AND length(replace({value}, '-', '')) = 32"
    )
}

/// `quote()` of every field, by comma. Text goes through a BLOB: `quote()` cuts
/// text at a NUL, and would pass on text that is not UTF-8.
fn row_literals(table: &Table, row: &str) -> String {
    let one = |field: &Field| {
        let column = ident(&field.name);
        if is_integer(field) {
            format!("quote({row}.{column})")
        } else {
            format!("quote(CAST({row}.{column} AS BLOB))")
        }
    };
    let all: Vec<String> = table.fields.iter().map(one).collect();
    if all.is_empty() { "''".into() } else { all.join("||','||") }
}
