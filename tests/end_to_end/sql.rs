//! Other programs write into a running gateway's database.
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wadi_harness::plan::Cell;
use wadi_harness::process::{Outcome, run};
use wadi_harness::random::Random;
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World, number, text};

const SCHEMA: &str = r#"
name = "animals"

[tables.animal.fields]
name = { type = "text" }
kind = { type = "enum", values = ["cow", "goat"] }
weight = { type = "decimal", scale = 1 }
sold = { type = "boolean" }
doses = { type = "integer", merge = "sum" }
"#;

const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// How a program writes SQL.
#[derive(Clone, Copy)]
enum Writer {
    Shell,
    Python,
}

impl Writer {
    /// Run statements in the database, as one script.
    fn run(self, database: &Path, sql: &str) -> Outcome {
        let mut command = match self {
            Writer::Shell => {
                let mut command = Command::new("sqlite3");
                command.args(["-bail", "-cmd", ".timeout 5000"]).arg(database);
                command
            }
            Writer::Python => {
                let mut command = Command::new("python3");
                let program = "import sqlite3, sys\n\
                    connection = sqlite3.connect(sys.argv[1], timeout=5)\n\
                    connection.executescript(sys.stdin.read())\n\
                    connection.commit()\n";
                command.args(["-c", program]).arg(database);
                command
            }
        };
        run(&mut command, sql, COMMAND_DEADLINE).unwrap()
    }

    fn write(self, database: &Path, sql: &str) {
        self.run(database, sql).ok().unwrap();
    }
}

/// Every kind of write that SQL has, one after the other, each reaching hub and neighbour.
fn every_kind_of_write(writer: Writer, seed: u64) {
    let mut world = World::start(SCHEMA, 2, false, seed).unwrap();
    world.until_schema().unwrap();
    let mut random = Random::seeded(seed);
    let ids: Vec<String> = (0..4).map(|_| random.uuid()).collect();
    let database = world.gateways[0].database().to_path_buf();
    let cell = |at: usize, column: &str, wanted: Option<Cell>| {
        world.until_cell(("animal", &ids[at]), column, wanted).unwrap();
    };
    let inserts: Vec<String> = ids
        .iter()
        .map(|id| format!("INSERT INTO animal (id, name, kind, weight, sold, doses) VALUES ('{id}', 'Daisy', 'cow', 4205, 0, 1);"))
        .collect();
    writer.write(&database, &format!("BEGIN; {} COMMIT;", inserts.join(" ")));
    for at in 0..4 {
        cell(at, "weight", number(4205));
        cell(at, "doses", number(1));
    }
    writer.write(
        &database,
        &format!("UPDATE animal SET name = 'Molly', doses = doses + 2 WHERE id = '{}';", ids[0]),
    );
    cell(0, "name", text("Molly"));
    cell(0, "doses", number(3));
    cell(0, "kind", text("cow"));
    // REPLACE deletes and inserts: what it leaves out becomes null.
    writer.write(
        &database,
        &format!("REPLACE INTO animal (id, name, sold) VALUES ('{}', 'Rosa', 1);", ids[1]),
    );
    cell(1, "name", text("Rosa"));
    cell(1, "sold", number(1));
    cell(1, "kind", Some(Cell::Null));
    let upsert = |id: &str, name: &str| {
        format!(
            "INSERT INTO animal (id, name, kind) VALUES ('{id}', '{name}', 'goat') \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name;"
        )
    };
    let fresh = random.uuid();
    writer.write(&database, &format!("{} {}", upsert(&ids[2], "Heidi"), upsert(&fresh, "Zora")));
    cell(2, "name", text("Heidi"));
    cell(2, "kind", text("cow"));
    world.until_cell(("animal", &fresh), "kind", text("goat")).unwrap();
    writer.write(&database, &format!("DELETE FROM animal WHERE id = '{}';", ids[3]));
    cell(3, "name", None);
    // With no id the database makes one.
    writer.write(&database, "INSERT INTO animal (name, kind) VALUES ('Stray', 'goat');");
    for database in world.databases() {
        until("the stray", PATIENCE, || {
            let strays = count(
                &database,
                "SELECT count(*) FROM animal WHERE name = 'Stray' AND length(id) = 36",
            )?;
            Ok(Look::when(strays == 1, || strays.to_string()))
        })
        .unwrap();
        assert_eq!(
            count(&database, "SELECT count(*) FROM animal").unwrap(),
            5,
            "{}",
            database.display()
        );
    }
    world.stop().unwrap();
}

#[test]
fn the_sqlite3_shell_writes_and_the_hub_receives() {
    every_kind_of_write(Writer::Shell, 51);
}

#[test]
fn python_writes_and_the_hub_receives() {
    every_kind_of_write(Writer::Python, 52);
}

/// Written while offline, killed, started again: what SQL committed is pending, not lost.
#[test]
fn rows_written_to_a_stopped_gateway_are_sent_when_it_runs_again() {
    let mut world = World::start(SCHEMA, 1, false, 53).unwrap();
    world.until_schema().unwrap();
    let database = world.gateways[0].database().to_path_buf();
    let mut random = Random::seeded(53);
    let (while_up, while_down) = (random.uuid(), random.uuid());
    let insert = |id: &str| format!("INSERT INTO animal (id, name) VALUES ('{id}', 'Asta');");
    world.offline(0);
    Writer::Shell.write(&database, &insert(&while_up));
    world.gateways[0].kill();
    Writer::Python.write(&database, &insert(&while_down));
    world.online(0);
    world.gateways[0].start().unwrap();
    for id in [&while_up, &while_down] {
        world.until_cell(("animal", id), "name", text("Asta")).unwrap();
    }
    world.stop().unwrap();
}

/// Changing an id would be two changes of two rows: it is refused with a clear text.
#[test]
fn an_id_cannot_be_changed() {
    let mut world = World::start(SCHEMA, 1, false, 54).unwrap();
    world.until_schema().unwrap();
    let database = world.gateways[0].database().to_path_buf();
    let mut random = Random::seeded(54);
    let (id, other) = (random.uuid(), random.uuid());
    Writer::Shell
        .write(&database, &format!("INSERT INTO animal (id, name) VALUES ('{id}', 'Berta');"));
    let sql = format!("UPDATE animal SET id = '{other}' WHERE id = '{id}';");
    for writer in [Writer::Shell, Writer::Python] {
        let outcome = writer.run(&database, &sql);
        assert_ne!(outcome.code, Some(0));
        assert!(outcome.text().contains("id"), "{outcome:?}");
    }
    world.until_cell(("animal", &id), "name", text("Berta")).unwrap();
    world.stop().unwrap();
}
