//! The ledger at both ends, when everything has come to rest.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde_json::{Value, json};
use wadi_harness::figures::{HandheldFigures, HubFigures, number};
use wadi_harness::gateway::Gateway;
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::random::Random;
use wadi_harness::records::Record;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

/// Every acknowledged change is durable at the hub, by every account: each
/// handheld's, each gateway's, the hub's.
pub fn settled(
    world: &World,
    devices: &[(Handheld, Vec<Record>)],
    link: &Link,
    changes: usize,
) -> Result<()> {
    for (handheld, records) in devices {
        until("the handheld to hear that all is durable", PATIENCE, || {
            handheld.sync_well(link, PATIENCE)?;
            let figures = HandheldFigures::ask(handheld)?;
            let wanted = HandheldFigures { open: 0, held_back: 0, durable: records.len() as i64 };
            Ok(Look::when(figures == wanted, || format!("{figures:?}")))
        })?;
    }
    let hub = HubFigures::ask(&world.hub.operator)?;
    ensure!(
        hub.durable == changes as i64,
        "{changes} changes were acknowledged, the hub has {hub:?}"
    );
    ensure!(hub.parked == 0 && hub.quarantined == 0, "{hub:?}");
    // Exit code 1 if the books do not balance.
    let ledger = world.hub.operator.json(&["ledger"])?;
    ensure!(number(&ledger, "missing")? == 0, "{ledger}");
    ensure!(number(&ledger, "committed")? == changes as i64, "{ledger}");
    let mut brought = 0;
    for gateway in &world.gateways {
        let total = gateway.json(&["ledger"])?["total"].clone();
        let committed = number(&total, "committed")?;
        ensure!(number(&total, "changes")? == committed, "not all is at the hub: {total}");
        brought += committed;
    }
    // A handheld that roamed may have offered a change at two gateways.
    ensure!(
        brought >= changes as i64,
        "{changes} changes were acknowledged, gateways have {brought}"
    );
    // And change by change.
    let found = agreement(world)?;
    let differ = |names: &[String; 3]| names[1..] != ["committed", "committed"];
    ensure!(!states(&found).keys().any(differ) && found["missing"] == json!([]), "{found}");
    Ok(())
}

/// What the hub finds when it compares its ledger with those of all gateways.
pub fn agreement(world: &World) -> Result<Value> {
    let mut words = vec!["ledger".to_owned(), "--against".to_owned()];
    for (at, gateway) in world.gateways.iter().enumerate() {
        let file = world.folder().join(format!("ledger-{at}.json"));
        std::fs::write(&file, gateway.json(&["ledger"])?.to_string())?;
        words.push(file.to_str().context("a path in UTF-8")?.to_owned());
    }
    // Exit code 1 if they contradict.
    world.hub.operator.json(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Of an agreement: changes by site, custody there and custody here.
pub fn states(agreement: &Value) -> BTreeMap<[String; 3], i64> {
    let text = |state: &Value, key: &str| state[key].as_str().unwrap_or_default().to_owned();
    let states = agreement["states"].as_array().into_iter().flatten();
    states
        .map(|state| {
            let names = ["site", "there", "here"].map(|key| text(state, key));
            (names, state["changes"].as_i64().unwrap_or(-1))
        })
        .collect()
}

const SCHEMA: &str = r#"
name = "clinic"
[tables.house.fields]
name = { type = "text" }
rooms = { type = "integer", max = 9 }
[tables.person.fields]
house = { type = "reference", table = "house", on_delete = "cascade" }
"#;

/// Every custody at once: both ends name the same changes in the same state, also where
/// a gateway has let go of them.
#[test]
fn the_ledgers_agree_state_by_state() {
    let mut world = World::start(SCHEMA, 2, false, 141).unwrap();
    world.until_schema().unwrap();
    let mut random = Random::seeded(141);
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    let house = |id: &str, rooms: i64| {
        let fields = json!({"name": "mill", "rooms": rooms});
        json!({"op": "insert", "table": "house", "id": id, "fields": fields})
    };
    let person =
        |house: &str| json!({"op": "insert", "table": "person", "fields": {"house": house}});
    let (missing, known) = (random.uuid(), random.uuid());
    anna.learn(&world.lan(0), PATIENCE).unwrap();
    for record in [house(&known, 3), house(&random.uuid(), 99), person(&known), person(&missing)] {
        anna.put(&record).unwrap();
    }
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    let until_states = |world: &World, what: &str, wanted: &[(&str, &str, &str, i64)]| {
        let name = |&(site, there, here, changes): &(&str, &str, &str, i64)| {
            ([site, there, here].map(str::to_owned), changes)
        };
        let wanted: BTreeMap<_, _> = wanted.iter().map(name).collect();
        until(what, PATIENCE, || {
            let found = agreement(world)?;
            Ok(Look::when(states(&found) == wanted, || found.to_string()))
        })
        .unwrap();
    };
    let first = [
        ("site-1", "committed", "committed", 2),
        ("site-1", "parked", "parked", 1),
        ("site-1", "quarantined", "quarantined", 1),
    ];
    until_states(&world, "both to account for the four", &first);

    // The second gateway is alone with two changes, of which one is what anna's waits for.
    world.offline(1);
    world.enter(&ben, 1, &house(&missing, 1)).unwrap();
    world.enter(&ben, 1, &person(&known)).unwrap();
    let alone = [&first[..], &[("site-2", "pending", "-", 2)]].concat();
    until_states(&world, "what waits in the village to be named", &alone);
    assert_eq!(agreement(&world).unwrap()["missing"], json!([]));
    world.online(1);
    let file = world.folder().join("hub.backup");
    let settled = [
        ("site-1", "committed", "committed", 3),
        ("site-1", "quarantined", "quarantined", 1),
        ("site-2", "committed", "committed", 2),
    ];
    until_states(&world, "what waited to be released", &settled);
    world.hub.operator.command(&["backup", file.to_str().unwrap()]).unwrap().ok().unwrap();
    until("the gateways to let go", PATIENCE, || {
        let gone = |gateway: &Gateway| number(&gateway.json(&["status"])?, "compacted_changes");
        let gone = (gone(&world.gateways[0])?, gone(&world.gateways[1])?);
        Ok(Look::when(gone == (3, 2), || format!("{gone:?}")))
    })
    .unwrap();
    until_states(&world, "the same accounts", &settled);

    // A hub that has lost what a gateway had heard to be there.
    let (hub, lost) = (world.hub.database().to_path_buf(), "DELETE FROM wadi_quarantine");
    Connection::open(hub).unwrap().execute_batch(lost).unwrap();
    let file = world.folder().join("ledger-0.json");
    let words = ["ledger", "--against", file.to_str().unwrap()];
    let outcome = world.hub.operator.command(&words).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("WRONG: site site-1: "), "{outcome:?}");
    assert!(outcome.stdout.contains("quarantined there, - here"), "{outcome:?}");
    world.stop().unwrap();
}
