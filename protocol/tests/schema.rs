//! The schema file, what may follow it, and the judgement of changes under it:
//! tables that an operator could read.
use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::limits::{CHANGE_BYTES_MAX, REASON_BYTES_MAX};
use wadi_protocol::schema::cell::{Cell, from_cell, to_cell};
use wadi_protocol::schema::compat::{check, check_file};
use wadi_protocol::schema::file::SchemaFile;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge::judge;
use wadi_protocol::schema::{History, Kind, Merge, Mode, OnDelete, Schema};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;

const CLINIC: &str = r#"
name = "clinic"
[tables.village]
[tables.village.fields]
name = { type = "text", required = true, unique = true }

[tables.visit]
scope = "site"
lane = "urgent"
delete = "review"
history = "latest"
retention = 90
[tables.visit.fields]
village = { type = "reference", table = "village", on_delete = "cascade" }
day = { type = "date", required = true }
seen_at = { type = "timestamp" }
weight = { type = "decimal", scale = 1, min = 0.5, max = "250.0", unit = "kg", label = "Body weight" }
doses = { type = "integer", merge = "sum", min = 0 }
notes = { type = "text", merge = "append" }
symptoms = { type = "set", values = ["fever", "cough"], merge = "set" }
urgent = { type = "boolean" }
sex = { type = "enum", values = ["f", "m"] }
"#;

fn parse(text: &str) -> SchemaFile {
    toml::from_str(text).expect("the file has the right shape")
}

fn clinic() -> Schema {
    parse(CLINIC).number(None).expect("the schema is right")
}

/// The problems of a schema of one field.
fn problems(field: &str) -> Vec<String> {
    let text = format!("name = \"s\"\n[tables.t.fields]\n{field}\n");
    parse(&text).number(None).err().unwrap_or_default()
}

#[test]
fn the_files_order_gives_the_numbers() {
    let schema = clinic();
    assert_eq!(schema.version, 1);
    let visit = schema.table_named("visit").unwrap();
    let names: Vec<_> =
        visit.fields.iter().map(|field| (field.number, field.name.as_str())).collect();
    assert_eq!(names[..3], [(1, "village"), (2, "day"), (3, "seen_at")]);
    assert_eq!(visit.number, 2);
    assert_eq!(visit.retention_days, Some(90));
    assert_eq!(visit.fields[0].kind, Kind::Reference { table: 1, on_delete: OnDelete::Cascade });
    assert_eq!((visit.fields[3].min, visit.fields[3].max), (Some(5), Some(2500)));
    assert_eq!(visit.fields[1].merge, Merge::LastWrite);
}

#[test]
fn known_names_keep_their_numbers() {
    let old = clinic();
    let text = CLINIC
        .replace(
            "[tables.village]",
            "[tables.early.fields]\nx = { type = \"text\" }\n[tables.village]",
        )
        .replace("day =", "age = { type = \"integer\" }\nday =")
        .replace("[\"f\", \"m\"]", "[\"d\", \"f\", \"m\"]");
    let new = parse(&text).number(Some(&old)).unwrap();
    assert_eq!(check(&old, &new), [""; 0]);
    assert_eq!(new.version, 2);
    assert_eq!(new.table_named("early").unwrap().number, 3);
    let visit = new.table_named("visit").unwrap();
    assert_eq!(visit.field_named("age").unwrap().number, 10);
    assert_eq!(visit.field_named("day").unwrap().number, 2);
    let codes = Kind::Enum { values: ["f", "m", "d"].map(String::from).into() };
    assert_eq!(visit.field_named("sex").unwrap().kind, codes, "codes keep their order");
}

#[test]
fn the_same_file_is_the_same_version() {
    let old = clinic();
    assert_eq!(parse(CLINIC).number(Some(&old)), Ok(old));
}

#[test]
fn what_a_schema_file_may_not_say() {
    for (field, part) in [
        (r#"id = { type = "text" }"#, "t.id: `id` is the row's own id"),
        (r#"Name = { type = "text" }"#, "t.Name: a name starts with a letter"),
        (r#"a = { type = "decimal" }"#, "t.a: a decimal needs `scale`, 0 to 12"),
        (r#"a = { type = "decimal", scale = 13 }"#, "t.a: a decimal needs `scale`, 0 to 12"),
        (r#"a = { type = "text", scale = 2 }"#, "t.a: `scale` belongs to type decimal only"),
        (
            r#"a = { type = "text", min = 2 }"#,
            "t.a: `min` belongs to type integer and decimal only",
        ),
        (r#"a = { type = "enum" }"#, "t.a: an enum needs `values`"),
        (r#"a = { type = "enum", values = ["x", "x"] }"#, "t.a: code \"x\" is listed twice"),
        (
            r#"a = { type = "enum", values = [""] }"#,
            "t.a: a code has 1 to 255 bytes; correct code 1",
        ),
        (r#"a = { type = "reference" }"#, "t.a: a reference needs `table`"),
        (r#"a = { type = "reference", table = "x" }"#, "t.a: table \"x\" is not in this file"),
        (
            r#"a = { type = "reference", table = "t", on_delete = "set-null", required = true }"#,
            "t.a: on_delete \"set-null\" cannot be on a required field",
        ),
        (
            r#"a = { type = "text", merge = "sum" }"#,
            "t.a: this merge fits type integer and decimal only",
        ),
        (
            r#"a = { type = "timestamp", merge = "max" }"#,
            "t.a: this merge fits type integer, decimal and date only",
        ),
        (r#"a = { type = "integer", merge = "append" }"#, "t.a: this merge fits type text only"),
        (r#"a = { type = "text", merge = "set" }"#, "t.a: this merge fits type set only"),
        (r#"a = { type = "integer", min = 3, max = 2 }"#, "t.a: min is greater than max"),
        (r#"a = { type = "integer", min = 0.5 }"#, "t.a: min = 0.5 has more digits"),
        (r#"a = { type = "integer", max = "much" }"#, "t.a: max = much is not a number"),
        (r#"a = { type = "integer", merge = "sum", unique = true }"#, "t.a: unique does not fit"),
        (
            r#"a = { type = "text", retired = ["x"] }"#,
            "t.a: `retired` belongs to type enum and set",
        ),
        (
            r#"a = { type = "enum", values = ["x"], retired = ["x"] }"#,
            "t.a: code \"x\" is in `values` and in `retired`",
        ),
        (r#"a = { type = "enum", retired = ["x"] }"#, "t.a: an enum needs `values`"),
        (r#"a = { type = "set", retired = ["x"] }"#, "t.a: a set without `values` takes any text"),
    ] {
        let problems = problems(field);
        assert!(problems.len() == 1 && problems[0].starts_with(part), "{field}: {problems:?}");
    }
}

#[test]
fn what_a_schema_files_tables_may_not_say() {
    for (tables, part) in [
        ("[tables.wadi_x.fields]\na = { type = \"text\" }", "wadi_x: names that start with wadi_"),
        ("[tables.t]", "t: 0 fields"),
        (
            "[tables.t]\nretention = 0\n[tables.t.fields]\na = { type = \"text\" }",
            "t: retention is in days",
        ),
        (
            "[tables.t.fields]\na = { type = \"text\" }\n[tables.t_view.fields]\na = { type = \"text\" }",
            "t_view: the view for people of table \"t\"",
        ),
        (
            "[tables.t]\nmode = \"record\"\n[tables.t.fields]\na = { type = \"integer\", merge = \"sum\" }",
            "t.a: merge sum, append and set need mode \"field\"",
        ),
        (
            "[tables.t]\nsite = \"a\"\n[tables.t.fields]\na = { type = \"text\" }",
            "t: `site` belongs to scope \"site\" only",
        ),
        (
            "[tables.t]\nscope = \"site\"\nsite = \"b\"\n[tables.t.fields]\na = { type = \"text\" }",
            "t: `site` names \"b\", which is no field",
        ),
        (
            "[tables.t]\nscope = \"site\"\nsite = \"a\"\n[tables.t.fields]\na = { type = \"date\" }",
            "t: `site` names \"a\", which holds no one name",
        ),
        (
            "[tables.t]\nscope = \"site\"\nsite = \"a\"\n[tables.t.fields]\na = { type = \"text\", merge = \"append\" }",
            "t: `site` names \"a\", which holds no one name",
        ),
    ] {
        let problems = parse(&format!("name = \"s\"\n{tables}\n")).number(None).unwrap_err();
        assert!(problems.len() == 1 && problems[0].starts_with(part), "{tables}: {problems:?}");
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let file = "name = \"\"\n[tables.sqlite_t.fields]\na = { type = \"decimal\" }\nb = { type = \"enum\" }";
    assert_eq!(parse(file).number(None).unwrap_err().len(), 4);
}

#[test]
fn unknown_keys_are_refused_with_their_line() {
    let text = "name = \"s\"\n[tables.t.fields]\na = { type = \"text\", requird = true }";
    let error = toml::from_str::<SchemaFile>(text).unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("requird"), "{error}");
}

#[test]
fn what_may_follow_what() {
    // A piece of the file, what it becomes, what the operator reads (nothing: it may).
    for (from, to, part) in [
        ("sex =", "age = { type = \"integer\" }\nsex =", ""),
        (
            "sex =",
            "age = { type = \"integer\", required = true }\nsex =",
            "visit.age: a new field cannot be required",
        ),
        ("\"fever\", ", "", "visit.symptoms: code \"fever\" is missing"),
        ("values = [\"fever\", \"cough\"], ", "", ""),
        ("[\"f\", \"m\"]", "[\"m\"]", "visit.sex: code \"f\" is missing"),
        ("[\"f\", \"m\"]", "[\"m\"], retired = [\"f\"]", ""),
        ("[\"f\", \"m\"]", "[\"m\", \"x\"], retired = [\"f\", \"w\"]", ""),
        ("[\"f\", \"m\"]", "[\"x\"], retired = [\"f\"]", "visit.sex: code \"m\" is missing"),
        ("[\"fever\", \"cough\"]", "[\"cough\"], retired = [\"fever\"]", ""),
        ("0.5", "0.4", ""),
        ("0.5", "0.6", "visit.weight: `min` became narrower"),
        ("\"250.0\"", "200", "visit.weight: `max` became narrower"),
        (", max = \"250.0\"", "", ""),
        ("scale = 1", "scale = 2", "visit.weight: scale 2, but values are kept at scale 1"),
        ("\"boolean\"", "\"integer\"", "visit.urgent: the type changed"),
        ("urgent = {", "hurry = {", "visit.urgent: the field is missing"),
        ("[tables.visit", "[tables.visits", "visit: the table is missing"),
        ("\"cascade\"", "\"restrict\"", "visit.village: `on_delete` changed"),
        (
            "table = \"village\"",
            "table = \"visit\"",
            "visit.village: refers to \"visit\", before to \"village\"",
        ),
        (
            "\"sum\"",
            "\"max\"",
            "visit.doses: `merge` changed, but changes made before would resolve differently",
        ),
        ("\"review\"", "\"delete-wins\"", "visit: `delete` changed"),
        ("scope = \"site\"", "scope = \"global\"", "visit: `scope` changed"),
        ("scope = \"site\"", "scope = \"site\"\nsite = \"sex\"", "visit: `site` changed"),
        ("lane = \"urgent\"", "", "visit: `lane` changed"),
        ("history = \"latest\"", "", ""),
        ("Body weight", "Weight", ""),
        ("required = true, unique = true", "unique = true", ""),
        (
            "type = \"boolean\"",
            "type = \"boolean\", required = true",
            "visit.urgent: `required` was added",
        ),
        ("type = \"date\"", "type = \"date\", unique = true", "visit.day: `unique` was added"),
        ("name = \"clinic\"", "name = \"other\"", "name: this is schema \"other\""),
    ] {
        let old = clinic();
        let text = CLINIC.replace(from, to);
        assert_ne!(text, CLINIC, "{from}");
        let file = parse(&text);
        let problems = check_file(&old, &file.number(Some(&old)).unwrap(), &file);
        let ok = match part {
            "" => problems.is_empty(),
            part => problems.iter().any(|problem| problem.starts_with(part)),
        };
        // A change of scale changes the limits' scale too.
        assert!(ok && (problems.len() <= 1 || from == "scale = 1"), "{from} -> {to}: {problems:?}");
    }
}

fn change(op: Op, fields: &[(&str, Delta)]) -> Change {
    let (device, run) = (DeviceId(7), RunId(9));
    Change {
        dot: Dot { device, run, seq: 1 },
        stamp: Stamp { seconds: 1_800_000_000, counter: 0 },
        entered_s: 1_800_000_000,
        contained: None,
        schema: 1,
        rights: 0,
        group: None,
        table: TableRef::Name("visit".into()),
        row: RowId::derive(device, run, 1),
        op,
        fields: fields
            .iter()
            .map(|(name, delta)| (FieldRef::Name((*name).into()), delta.clone()))
            .collect(),
        seen: Seen::default(),
        closure: Vec::new(),
    }
}

fn text(text: &str) -> Delta {
    Delta::Set(Value::Text(text.into()))
}

fn number(text: &str) -> Delta {
    Delta::Set(Value::Number(text.into()))
}

fn list(entries: &[&str]) -> Vec<String> {
    entries.iter().map(|entry| String::from(*entry)).collect()
}

#[test]
fn raw_inserts_are_typed() {
    let schema = clinic();
    let id = "8dd32ccf-ea43-49e0-8514-58eeb8336913";
    let raw = change(
        Op::Insert,
        &[
            ("urgent", Delta::Set(Value::Int(1))),
            ("village", text(id)),
            ("day", text("2026-11-22")),
            ("seen_at", Delta::Set(Value::Null)),
            ("weight", number("12.50")),
            ("doses", number("2e0")),
            ("notes", text("limps")),
            ("symptoms", Delta::Set(Value::List(list(&["fever", "cough", "fever"])))),
        ],
    );
    let typed = interpret(&schema, &raw).unwrap();
    assert_eq!(typed.table, TableRef::Number(2));
    let want = [
        (1, Delta::Set(Value::Row(id.parse().unwrap()))),
        (2, text("2026-11-22")),
        (4, Delta::Set(Value::Int(125))),
        (5, Delta::Add(2)),
        (6, Delta::Append("limps".into())),
        (7, Delta::Edit { add: list(&["cough", "fever"]), remove: vec![] }),
        (8, Delta::Set(Value::Bool(true))),
    ];
    assert_eq!(typed.fields, want.map(|(number, delta)| (FieldRef::Number(number), delta)));
    assert_eq!(interpret(&schema, &typed), Ok(typed.clone()), "typing twice changes nothing");
    assert_eq!(judge(&schema, &raw), Ok(()));
    assert_eq!(judge(&schema, &typed), Ok(()));
}

#[test]
fn what_an_update_is_judged_for() {
    let schema = clinic();
    for (field, delta, reason) in [
        ("weight", number("12.5"), ""),
        ("weight", text("12.5"), ""),
        ("weight", Delta::Set(Value::Null), ""),
        (
            "weight",
            number("12.55"),
            "visit.weight: \"12.55\" has more than the 1 digits behind the point that are allowed",
        ),
        ("weight", number("0.4"), "visit.weight: 0.4 is below 0.5, the least allowed"),
        ("weight", number("2.501e2"), "visit.weight: 250.1 is above 250.0, the greatest allowed"),
        ("weight", text("heavy"), "visit.weight: \"heavy\" is not a number"),
        ("weight", number("1e99"), "visit.weight: \"1e99\" does not fit 64 bits"),
        (
            "weight",
            Delta::Add(1),
            "visit.weight: takes a new value, not an addition to the old one",
        ),
        ("day", text("2026-02-29"), "visit.day: \"2026-02-29\" is not a date such as 2026-11-22"),
        ("day", number("20261122"), "visit.day: 20261122 is not a date such as 2026-11-22"),
        ("day", Delta::Set(Value::Null), "visit.day: required, it cannot become null"),
        (
            "seen_at",
            text("2026-11-22 10:00"),
            "visit.seen_at: \"2026-11-22 10:00\" is not a time stamp such as 2026-11-22T10:00Z",
        ),
        ("village", text("north"), "visit.village: \"north\" is not the id (a UUID) of a row"),
        ("urgent", number("1"), ""),
        ("urgent", number("2"), "visit.urgent: 2 is not true or false"),
        ("urgent", text("true"), "visit.urgent: \"true\" is not true or false"),
        ("sex", text("x"), "visit.sex: \"x\" is not one of f, m"),
        ("doses", Delta::Add(-3), ""),
        (
            "doses",
            number("3"),
            "visit.doses: a sum takes what is added, {\"add\": n}, not a new total",
        ),
        ("notes", text("limps"), ""),
        (
            "notes",
            Delta::Set(Value::List(list(&["a"]))),
            "visit.notes: append takes one new entry, a text",
        ),
        ("symptoms", Delta::Edit { add: list(&["fever"]), remove: list(&["cough"]) }, ""),
        (
            "symptoms",
            Delta::Edit { add: list(&["rash"]), remove: vec![] },
            "visit.symptoms: \"rash\" is not one of fever, cough",
        ),
        (
            "symptoms",
            Delta::Set(Value::List(list(&["fever"]))),
            "visit.symptoms: a set takes {\"add\": [..], \"remove\": [..]}, not a new list",
        ),
        ("colour", text("red"), "visit: there is no field \"colour\" in this table"),
    ] {
        let found = judge(&schema, &change(Op::Update, &[(field, delta.clone())]));
        assert_eq!(found.err().unwrap_or_default(), reason, "{field} {delta:?}");
    }
}

/// Only a table that keeps the latest may lack a value, of a field where no step matters.
#[test]
fn what_may_be_left_out() {
    let mut schema = clinic();
    let reason = "a value was left out, and its table wants every step";
    let left_out = |schema: &Schema, field: &str| {
        judge(schema, &change(Op::Update, &[(field, Delta::Passed)])).err().unwrap_or_default()
    };
    for (field, refused) in [("weight", false), ("day", false), ("doses", true), ("notes", true)] {
        let found = left_out(&schema, field);
        assert_eq!(found.ends_with(reason), refused, "{field}: {found}");
    }
    let insert = change(Op::Insert, &[("day", Delta::Passed), ("village", Delta::Passed)]);
    assert_eq!(judge(&schema, &insert), Ok(()), "what is required was there");
    for (history, mode) in [(History::Full, Mode::Field), (History::Latest, Mode::Record)] {
        let visit = schema.tables.iter_mut().find(|table| table.name == "visit").unwrap();
        (visit.history, visit.mode) = (history, mode);
        assert_eq!(left_out(&schema, "weight"), format!("visit.weight: {reason}"));
    }
}

#[test]
fn what_a_change_is_judged_for() {
    let schema = clinic();
    let fine = change(Op::Update, &[("sex", text("f"))]);
    let reason = |change: &Change| judge(&schema, change).unwrap_err();
    let altered = |alter: &dyn Fn(&mut Change)| {
        let mut change = fine.clone();
        alter(&mut change);
        reason(&change)
    };
    assert_eq!(judge(&schema, &fine), Ok(()));
    assert_eq!(
        reason(&change(Op::Insert, &[("sex", text("f"))])),
        "visit.day: required, but the insert carries no value"
    );
    assert_eq!(reason(&change(Op::Delete, &[("sex", text("f"))])), "a delete carries no fields");
    assert_eq!(reason(&change(Op::Settle, &[])), "only the hub's operators settle cases");
    assert_eq!(reason(&change(Op::Undone, &[])), "only the hub's operators settle cases");
    assert_eq!(
        altered(&|change| change.table = TableRef::Name("visitor".into())),
        "table \"visitor\" is not in version 1 of the schema"
    );
    assert_eq!(
        altered(&|change| change.table = TableRef::Number(9)),
        "table 9 is not in version 1 of the schema"
    );
    assert_eq!(
        altered(&|change| change.fields.push((FieldRef::Number(9), text("m")))),
        "visit.sex: carried twice; once is allowed"
    );
    assert_eq!(
        altered(&|change| change.group = Some(Group { first: 2, len: 4 })),
        "its group (from 2, 4 changes) does not hold it; it is number 1"
    );
    assert_eq!(
        altered(&|change| change.group = Some(Group { first: u64::MAX, len: u16::MAX })),
        "its group (from 18446744073709551615, 65535 changes) does not hold it; it is number 1"
    );
    assert_eq!(
        altered(&|change| change.group = Some(Group { first: 1, len: 257 })),
        "257 changes in its group; at most 256 are allowed"
    );
    let long = reason(&change(Op::Update, &[("notes", text(&"x".repeat(CHANGE_BYTES_MAX)))]));
    assert!(long.ends_with("bytes (oversize); at most 8192 are allowed"), "{long}");
}

#[test]
fn reasons_stay_within_their_limit() {
    let schema = clinic();
    let letters = "é".repeat(3000);
    for (field, delta) in
        [(letters.as_str(), text("x")), ("sex", text(&letters)), ("day", text(&letters))]
    {
        let reason = judge(&schema, &change(Op::Update, &[(field, delta)])).unwrap_err();
        assert!(reason.len() <= REASON_BYTES_MAX && reason.contains("é…"), "{reason}");
    }
}

#[test]
fn values_survive_their_columns() {
    let schema = clinic();
    let visit = schema.table_named("visit").unwrap();
    let row = RowId::derive(DeviceId(1), RunId(2), 3);
    for (field, value, cell) in [
        ("weight", Value::Int(125), Cell::Int(125)),
        ("weight", Value::Null, Cell::Null),
        ("urgent", Value::Bool(true), Cell::Int(1)),
        ("day", Value::Text("2026-11-22".into()), Cell::Text("2026-11-22".into())),
        ("village", Value::Row(row), Cell::Text(row.to_string())),
        ("notes", Value::List(list(&["b", "a"])), Cell::Text("[\"b\",\"a\"]".into())),
        ("symptoms", Value::List(list(&["cough"])), Cell::Text("[\"cough\"]".into())),
    ] {
        let field = visit.field_named(field).unwrap();
        assert_eq!(to_cell(field, &value), cell);
        assert_eq!(from_cell(field, &cell), Ok(value));
    }
    for (field, cell) in [
        ("weight", Cell::Text("12".into())),
        ("urgent", Cell::Int(2)),
        ("day", Cell::Int(2026)),
        ("village", Cell::Text("north".into())),
        ("notes", Cell::Text("limps".into())),
    ] {
        assert!(from_cell(visit.field_named(field).unwrap(), &cell).is_err(), "{field}");
    }
}
