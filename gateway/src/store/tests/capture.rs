//! The capture door: what another program writes becomes what it meant.
use super::*;

const ID: &str = "8dd32ccf-ea43-49e0-8514-58eeb8336913";

fn id() -> RowId {
    ID.parse().unwrap()
}

/// What a change does: operation and deltas.
type Done = (Op, Vec<(FieldRef, Delta)>);

/// What a program did, as the changes that it became: operation and deltas.
fn became(recursive: bool, statements: &[&str]) -> Vec<Done> {
    let mut village = Village::new();
    let program = village.program();
    program.pragma_update(None, "recursive_triggers", recursive).unwrap();
    for sql in statements {
        program.execute_batch(&sql.replace("ID", &format!("'{ID}'"))).unwrap();
    }
    village.drain();
    let shown = village.text("SELECT group_concat(quote(name) || quote(stock)) FROM place");
    // Drained again, nothing more comes of it; shown is what the program left.
    village.drain();
    assert_eq!(village.text("SELECT group_concat(quote(name) || quote(stock)) FROM place"), shown);
    village.changes().into_iter().map(|change| (change.op, change.fields)).collect()
}

#[test]
fn statements_become_what_they_meant() {
    let insert = (Op::Insert, vec![set(1, text("a")), add(2, 5)]);
    let cases: [(&[&str], Vec<Done>); 9] = [
        (&["INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)"], vec![insert.clone()]),
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "UPDATE place SET stock = stock - 7, name = 'a'",
            ],
            vec![insert.clone(), (Op::Update, vec![add(2, -7)])],
        ),
        (
            &["INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)", "DELETE FROM place"],
            vec![insert.clone(), (Op::Delete, vec![])],
        ),
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "INSERT OR REPLACE INTO place(id, name) VALUES (ID, 'b')",
            ],
            vec![insert.clone(), (Op::Update, vec![set(1, text("b")), add(2, -5)])],
        ),
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "INSERT OR IGNORE INTO place(id, name) VALUES (ID, 'b')",
            ],
            vec![insert.clone()],
        ),
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "INSERT INTO place(id, name) VALUES (ID, 'b') ON CONFLICT DO UPDATE SET name = excluded.name",
            ],
            vec![insert.clone(), (Op::Update, vec![set(1, text("b"))])],
        ),
        // What IGNORE left behind does not turn a later delete and insert into an update.
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "INSERT OR IGNORE INTO place(id, name) VALUES (ID, 'b')",
                "DELETE FROM place",
                "INSERT INTO place(id, name) VALUES (ID, 'c')",
            ],
            vec![insert.clone(), (Op::Delete, vec![]), (Op::Insert, vec![set(1, text("c"))])],
        ),
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "INSERT INTO place(id, name) VALUES (ID, 'b') ON CONFLICT DO NOTHING",
                "DELETE FROM place WHERE name = 'a'",
            ],
            vec![insert.clone(), (Op::Delete, vec![])],
        ),
        (
            &[
                "INSERT INTO place(id, name, stock) VALUES (ID, 'a', 5)",
                "REPLACE INTO place(id, name, stock) VALUES (ID, 'a', 5)",
            ],
            vec![insert.clone()],
        ),
    ];
    for recursive in [false, true] {
        for (statements, changes) in &cases {
            assert_eq!(
                became(recursive, statements),
                *changes,
                "recursive {recursive}: {statements:?}"
            );
        }
    }
}

#[test]
fn lists_become_edits_and_entries() {
    let mut village = Village::new();
    let program = village.program();
    program
        .execute_batch(&format!(
            "INSERT INTO place(id, tags, notes) VALUES ('{ID}', '[\"a\",\"b\"]', '[\"one\"]');
             UPDATE place SET tags = '[\"b\",\"c\"]', notes = '[\"one\",\"two\",\"three\"]';"
        ))
        .unwrap();
    assert_eq!(village.drain(), 3);
    let edit = |add: &[&str], remove: &[&str]| {
        let list = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        (FieldRef::Number(4), Delta::Edit { add: list(add), remove: list(remove) })
    };
    let note = |entry: &str| (FieldRef::Number(5), Delta::Append(entry.into()));
    let fields: Vec<_> =
        village.changes().into_iter().map(|c| (c.op, c.group.is_some(), c.fields)).collect();
    assert_eq!(
        fields,
        [
            (Op::Insert, false, vec![edit(&["a", "b"], &[]), note("one")]),
            (Op::Update, false, vec![edit(&["c"], &["a"]), note("two")]),
            (Op::Update, false, vec![note("three")]),
        ]
        .map(|(op, _, fields)| (op, op == Op::Update, fields))
    );
    assert_eq!(
        village.text("SELECT tags || notes FROM place"),
        "[\"b\",\"c\"][\"one\",\"two\",\"three\"]"
    );
}

#[test]
fn an_insert_without_an_id_gets_one() {
    let mut village = Village::new();
    let program = village.program();
    program.execute_batch("INSERT INTO place(name) VALUES ('a'), ('b'), (NULL)").unwrap();
    assert_eq!(village.drain(), 3);
    let mut ids: Vec<RowId> = village.changes().iter().map(|change| change.row).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn refusals_say_what_to_do() {
    let village = Village::new();
    let program = village.program();
    let refused = |sql: &str| program.execute_batch(sql).unwrap_err().to_string();
    for id in [
        "7",
        "8DD32CCF-ea43-49e0-8514-58eeb8336913",
        "8dd32ccf-ea43-49e0-8514-58eeb833691g",
        "--------ea43-49e0-8514-58eeb8336913",
    ] {
        let said = refused(&format!("INSERT INTO place(id) VALUES ('{id}')"));
        assert!(said.starts_with("wadi: an id must be a UUID in lower case"), "{said}");
    }
    program.execute_batch(&format!("INSERT INTO place(id) VALUES ('{ID}')")).unwrap();
    let said = refused("UPDATE place SET id = lower(hex(randomblob(16)))");
    assert!(said.starts_with("wadi: the id of a row cannot be changed"), "{said}");
    let said = refused("UPDATE place SET name = hex(zeroblob(40000))");
    assert!(said.starts_with("wadi: the row is too large"), "{said}");
    program.execute_batch("UPDATE wadi_switch SET full = 1").unwrap();
    let said = refused("DELETE FROM place");
    assert!(said.starts_with("wadi: the changelog is full"), "{said}");
}

#[test]
fn a_transaction_of_too_many_changes_is_refused_whole() {
    let mut village = Village::new();
    let program = village.program();
    let many = |count: u32| {
        program.execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO place(stock) SELECT i FROM n"
        ))
    };
    program.execute_batch("BEGIN; INSERT INTO wadi_group(name) VALUES ('visit')").unwrap();
    let said = many(257).unwrap_err().to_string();
    let group = "wadi: a group holds at most 256 changes; close it with DELETE FROM wadi_group";
    assert!(said.starts_with(group), "{said}");
    program.execute_batch("ROLLBACK").unwrap();
    let said = many(CAPTURED_CHANGES_MAX + 1).unwrap_err().to_string();
    assert!(said.starts_with("wadi: 10000 changes already wait for the gateway"), "{said}");
    assert_eq!(village.text("SELECT '' || count(*) FROM place"), "0");
    many(CAPTURED_CHANGES_MAX).unwrap();
    assert_eq!(village.drain(), u64::from(CAPTURED_CHANGES_MAX));
    many(1).unwrap();
}

#[test]
fn a_program_marks_what_belongs_together() {
    let mut village = Village::new();
    let program = village.program();
    program
        .execute_batch(
            "BEGIN;
             INSERT INTO place(name) VALUES ('alone');
             INSERT INTO wadi_group(name) VALUES ('visit');
             INSERT INTO place(name) VALUES ('a');
             INSERT INTO place(name) VALUES ('b');
             INSERT INTO wadi_group(name) VALUES ('other visit');
             INSERT INTO place(name) VALUES ('c');
             INSERT INTO place(name) VALUES ('d');
             COMMIT;",
        )
        .unwrap();
    village.drain();
    let spans: Vec<_> = village.changes().iter().map(Change::group_span).collect();
    assert_eq!(spans, [(1, 1), (2, 3), (2, 3), (4, 5), (4, 5)]);
    // The mark that was left open does not last.
    program.execute_batch("INSERT INTO place(name) VALUES ('alone')").unwrap();
    village.drain();
    assert_eq!(village.changes()[5].group, None);
}

#[test]
fn hostile_texts_arrive_as_they_are() {
    let mut village = Village::new();
    let program = village.program();
    let texts =
        ["it's", "','", "NULL", "X'00'", "a\0b", "", "é\u{1f600}\n", "'); DROP TABLE place; --"];
    for text in texts {
        program.execute("INSERT INTO place(name) VALUES (?)", (text,)).unwrap();
    }
    program.execute_batch("INSERT INTO place(name) VALUES (CAST(x'ff41' AS TEXT))").unwrap();
    village.drain();
    let found: Vec<_> = village.changes().into_iter().map(|change| change.fields).collect();
    let expected: Vec<_> =
        texts.iter().chain(&["\u{fffd}A"]).map(|name| vec![set(1, text(name))]).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_senseless_write_is_kept_for_the_hub_and_taken_off_the_table() {
    let mut village = Village::new();
    let program = village.program();
    program
        .execute_batch(&format!(
            "INSERT INTO place(id, name, open) VALUES ('{ID}', 'a', 1);
             UPDATE place SET open = 7;
             UPDATE place SET height = 99999999;
             INSERT INTO visit(place, what) VALUES ('nowhere', 'x');"
        ))
        .unwrap();
    assert_eq!(village.drain(), 4);
    assert_eq!(village.shown((PLACE, id())).unwrap(), [(1, text("a")), (6, Value::Bool(true))]);
    assert_eq!(village.text("SELECT '' || count(*) FROM visit"), "0");
    let status = village.store().status().unwrap();
    assert_eq!((status.unlaid, pending(&status)), (3, vec![("place", 3), ("visit", 1)]));
    let raw = village.changes()[1].fields.clone();
    assert_eq!(raw, [set(6, Value::Int(7))]);
}

#[test]
fn a_sum_may_cross_its_whole_range() {
    let mut village = Village::new();
    let program = village.program();
    program
        .execute_batch(&format!(
            "INSERT INTO place(id, stock) VALUES ('{ID}', {});
             UPDATE place SET stock = {};",
            i64::MIN,
            i64::MAX,
        ))
        .unwrap();
    village.drain();
    let total: i128 = village
        .changes()
        .iter()
        .flat_map(|change| &change.fields)
        .map(|(_, delta)| {
            let Delta::Add(by) = delta else { panic!("{delta:?}") };
            i128::from(*by)
        })
        .sum();
    assert_eq!(total, i128::from(i64::MAX));
}

#[test]
fn the_view_shows_decimals() {
    let village = Village::new();
    village.program().execute_batch("INSERT INTO place(height) VALUES (-12345)").unwrap();
    assert_eq!(village.text("SELECT '' || height FROM place_view"), "-123.45");
}

#[test]
fn a_delete_names_what_went_with_it() {
    let mut village = Village::new();
    let program = village.program();
    let child = row(9);
    program
        .execute_batch(&format!(
            "INSERT INTO place(id) VALUES ('{ID}');
             INSERT INTO log(id, place) VALUES ('{child}', '{ID}');"
        ))
        .unwrap();
    village.drain();
    program.execute_batch("BEGIN; DELETE FROM place; DELETE FROM log; COMMIT").unwrap();
    village.drain();
    let delete = village.changes().remove(2);
    let closure: Vec<_> = delete.closure.iter().map(|row| (row.table, row.row)).collect();
    assert_eq!(closure, [(LOG, child)]);
}

#[test]
fn lines_that_no_trigger_wrote_are_passed_over() {
    let mut village = Village::new();
    village
        .program()
        .execute_batch(&format!(
            "INSERT INTO wadi_capture (tbl, id, op) VALUES (-3, '{ID}', 'D'), (65536, '{ID}', 'D');
             INSERT INTO wadi_capture (tbl, id, op) VALUES (1, CAST(X'ff' AS TEXT), 'D');
             INSERT INTO wadi_capture (tbl, id, op, new) VALUES (1, '{ID}', 'I', CAST(X'27ff' AS TEXT));
             INSERT INTO wadi_capture (tbl, id, op, old) VALUES (1, '{ID}', 'D', 'NULL,''x'',NULL,NULL,NULL,NULL');
             INSERT INTO place(name) VALUES ('a');"
        ))
        .unwrap();
    assert_eq!(village.drain(), 1);
    assert_eq!(village.text("SELECT count(*) || '' FROM wadi_capture"), "0");
}
