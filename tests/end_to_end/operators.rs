//! What operators do about bad changes and open cases, by the commands that they type,
//! and what then reaches gateways and handhelds.
use serde_json::{Value, json};
use wadi_harness::handheld::Handheld;
use wadi_harness::random::Random;
use wadi_harness::wait::{Look, until};

use crate::merging::Pair;
use crate::world::{PATIENCE, World, number, text, until_shown};

const SCHEMA: &str = r#"
name = "clinic"

[tables.patient.fields]
name = { type = "text", required = true }
kind = { type = "enum", values = ["man", "woman"] }

[tables.visit.fields]
patient = { type = "reference", table = "patient", on_delete = "cascade" }
age = { type = "integer", min = 0, max = 130 }
"#;

/// What an operator's command says, which must succeed.
fn says(world: &World, words: &[&str]) -> String {
    world.hub.operator.command(words).unwrap().ok().unwrap()
}

/// What an operator's command says when it refuses.
fn refuses(world: &World, words: &[&str]) -> String {
    let outcome = world.hub.operator.command(words).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    outcome.stderr
}

/// The dots in quarantine, once there are so many, with their rows.
fn quarantined(world: &World, count: usize) -> Vec<(String, String)> {
    until(&format!("{count} changes in quarantine"), PATIENCE, || {
        let list = world.hub.operator.list(&["quarantine", "list"])?;
        Ok(match list.len() == count {
            true => Look::Found(list.iter().map(|at| (at[0].clone(), at[2].clone())).collect()),
            false => Look::NotYet(format!("{list:?}")),
        })
    })
    .unwrap()
}

/// Sync a handheld until its status is as wanted.
fn until_status(
    world: &World,
    handheld: &Handheld,
    gateway: usize,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) {
    until(what, PATIENCE, || {
        handheld.sync_well(&world.lan(gateway), PATIENCE)?;
        let status = handheld.status()?;
        Ok(Look::when(wanted(&status), || status.to_string()))
    })
    .unwrap();
}

fn insert(table: &str, id: &str, fields: Value) -> Value {
    json!({"op": "insert", "table": table, "id": id, "fields": fields})
}

#[test]
fn a_repaired_record_counts_everywhere_and_what_waited_follows() {
    let mut world = World::start(SCHEMA, 2, false, 71).unwrap();
    let mut random = Random::seeded(71);
    let (anna, ben) = (world.handheld("anna"), world.handheld("ben"));
    let (patient, visit) = (random.uuid(), random.uuid());
    for record in [
        insert("patient", &patient, json!({"name": "an", "kind": "girl"})),
        json!({"op": "update", "table": "patient", "id": patient, "fields": {"name": "ana"}}),
        insert("visit", &visit, json!({"patient": patient, "age": 3})),
    ] {
        anna.put(&record).unwrap();
    }
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    let [(dot, _)] = &quarantined(&world, 1)[..] else { panic!("one") };
    until_status(&world, &anna, 0, "anna to hear of the quarantine", |status| {
        status["changes"]["quarantined"] == 1 && status["changes"]["parked"] == 2
    });

    let shown = says(&world, &["quarantine", "show", dot]);
    for part in [
        "reason    patient.kind: \"girl\" is not one of man, woman",
        "came    kind = \"girl\"",
        "wrong   patient.kind: \"girl\" is not one of man, woman",
        "came    name = \"an\"",
        "read    name=an",
    ] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let still = refuses(&world, &["quarantine", "repair", dot, "--set", "kind=boy"]);
    assert!(still.contains("it would still break the schema: patient.kind: \"boy\""), "{still}");
    let unsaid = world.hub.operator.command(&["quarantine", "repair", dot, "--set", "kind"]);
    assert!(unsaid.unwrap().stderr.contains("say FIELD=VALUE, as in age=13"));
    let said = says(&world, &["quarantine", "repair", dot, "--set", "kind=woman"]);
    assert!(said.contains(&format!("{dot} is released, at sequence ")), "{said}");
    assert!(said.contains(", and 2 that waited for it with it"), "{said}");

    world.until_cell(("patient", &patient), "kind", text("woman")).unwrap();
    world.until_cell(("patient", &patient), "name", text("ana")).unwrap();
    world.until_cell(("visit", &visit), "age", number(3)).unwrap();
    until_status(&world, &anna, 0, "all of anna's to be durable", |status| {
        status["changes"]["durable"] == 3 && status["undecided"] == json!([])
    });
    for (handheld, gateway) in [(&anna, 0), (&ben, 1)] {
        let link = world.lan(gateway);
        let row = ("patient", &patient[..]);
        until_shown(handheld, &link, row, "kind", &text("woman")).unwrap();
    }
    let history = says(&world, &["history", "patient", &patient]);
    for part in ["came as", "kind=girl", &format!("repair of {dot}\tcounts"), "kind=woman"] {
        assert!(history.contains(part), "{part} is not in\n{history}");
    }
    assert_eq!(world.hub.operator.json(&["ledger"]).unwrap()["wrong"], json!([]));

    // Repaired once more, it is what that says.
    says(&world, &["quarantine", "repair", dot, "--set", "kind=man"]);
    world.until_cell(("patient", &patient), "kind", text("man")).unwrap();
    let late = refuses(&world, &["quarantine", "reject", dot, "--reason", "twice"]);
    assert!(late.contains("is in the changelog: it cannot be rejected any more"), "{late}");
    world.stop().unwrap();
}

#[test]
fn a_rejected_record_tells_whoever_made_it_why() {
    let mut world = World::start(SCHEMA, 1, false, 72).unwrap();
    let mut random = Random::seeded(72);
    let anna = world.handheld("anna");
    let visit = random.uuid();
    world.enter(&anna, 0, &insert("visit", &visit, json!({"age": 131}))).unwrap();
    let [(dot, _)] = &quarantined(&world, 1)[..] else { panic!("one") };
    let said = says(&world, &["quarantine", "reject", dot, "--reason", "nobody is so old"]);
    assert!(said.contains("is rejected; its gateway hears why"), "{said}");
    let why = "rejected by the operators: nobody is so old";
    until_status(&world, &anna, 0, "the reason at the handheld", |status| {
        status["undecided"][0]["reason"] == why
    });
    let told = anna.command(&["status"], "").unwrap().ok().unwrap();
    assert!(told.contains(why), "{told}");
    let list = says(&world, &["quarantine", "list"]);
    assert!(list.contains(why), "{list}");
    let status = world.hub.operator.json(&["status"]).unwrap();
    assert_eq!((&status["quarantined"], &status["rejected"]), (&json!(0), &json!(1)), "{status}");
    assert_eq!(
        status["problems"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|at| at["code"] == "quarantined")
            .count(),
        0
    );

    // Somebody finds the paper: it is released after all.
    says(&world, &["quarantine", "repair", dot, "--set", "age=31"]);
    world.until_cell(("visit", &visit), "age", number(31)).unwrap();
    until_status(&world, &anna, 0, "it to be durable", |status| status["changes"]["durable"] == 1);
    world.stop().unwrap();
}

#[test]
fn one_command_maps_a_code_for_all_who_used_it() {
    let mut world = World::start(SCHEMA, 1, false, 73).unwrap();
    let mut random = Random::seeded(73);
    let anna = world.handheld("anna");
    let mut patients = Vec::new();
    for at in 0..5 {
        let id = random.uuid();
        let name = if at == 4 { Value::Null } else { json!(format!("p{at}")) };
        anna.put(&insert("patient", &id, json!({"name": name, "kind": "m"}))).unwrap();
        patients.push(id);
    }
    anna.sync_well(&world.lan(0), PATIENCE).unwrap();
    quarantined(&world, 5);
    let said = says(&world, &["quarantine", "map", "patient", "kind", "m", "man"]);
    assert!(said.contains("4 changes are released"), "{said}");
    assert!(
        said.contains("stays\tit would still break the schema: patient.name: required"),
        "{said}"
    );
    for patient in &patients[..4] {
        world.until_cell(("patient", patient), "kind", text("man")).unwrap();
    }
    let [(left, row)] = &quarantined(&world, 1)[..] else { panic!("one") };
    assert_eq!(*row, patients[4]);
    let same = refuses(&world, &["quarantine", "release", left]);
    assert!(same.contains("it would still break the schema"), "{same}");
    world
        .hub
        .publish(
            &SCHEMA.replace("\"woman\"]", "\"woman\", \"m\"]").replace(", required = true", ""),
        )
        .unwrap();
    says(&world, &["quarantine", "release", left]);
    world.until_cell(("patient", &patients[4]), "kind", text("m")).unwrap();
    world.stop().unwrap();
}

#[test]
fn cases_are_settled_alike_and_undone() {
    let mut pair = Pair::start(74).unwrap();
    pair.edit_apart([(60, json!({"verdict": "broken"})), (90, json!({"verdict": "mended"}))])
        .unwrap();
    pair.until("verdict", text("mended")).unwrap();
    let cases = |world: &World| world.hub.operator.list(&["review", "list"]).unwrap();
    until("one open case", PATIENCE, || {
        let cases = cases(&pair.world);
        Ok(Look::when(cases.len() == 1, || format!("{cases:?}")))
    })
    .unwrap();
    let alike = ["review", "settle-alike", "item", "verdict"];
    let first = cases(&pair.world)[0][0].clone();
    let show = says(&pair.world, &["review", "show", &first]);
    let lines: Vec<&str> = show.lines().filter(|line| line.contains("\tnew\t")).collect();
    assert_eq!(lines.len(), 2, "both had seen the new one:\n{show}");
    let join = [&alike[..], &["--join", " or "]].concat();
    let would = says(&pair.world, &[&join[..], &["--dry-run"]].concat());
    assert!(would.contains("would be settled to\tbroken or mended"), "{would}");
    assert_eq!(cases(&pair.world).len(), 1);
    let did = says(&pair.world, &join);
    assert!(did.contains(&format!("case {first}\tsettled to\tbroken or mended")), "{did}");
    pair.until("verdict", text("broken or mended")).unwrap();
    assert!(says(&pair.world, &alike_newest(&alike)).contains("no open case about item.verdict"));

    let closed = says(&pair.world, &["review", "list", "--closed"]);
    assert!(closed.contains(&first) && closed.contains("settle"), "{closed}");
    let undone = says(&pair.world, &["review", "undo", &first]);
    let again = cases(&pair.world)[0][0].clone();
    assert!(undone.contains(&format!("it is open again as case {again}")), "{undone}");
    pair.until("verdict", text("mended")).unwrap();
    pair.until_shown("verdict", text("mended")).unwrap();
    let twice = refuses(&pair.world, &["review", "undo", &first]);
    assert!(twice.contains("its settle is undone already"), "{twice}");
    let open = refuses(&pair.world, &["review", "undo", &again]);
    assert!(open.contains(&format!("case {again} is open: there is nothing to undo")), "{open}");
    says(&pair.world, &["review", "settle", &again, "--site", "site-1"]);
    pair.until("verdict", text("broken")).unwrap();
    pair.until_shown("verdict", text("broken")).unwrap();
    says(&pair.world, &["review", "undo", &again]);
    let last = cases(&pair.world)[0][0].clone();
    says(&pair.world, &["review", "settle", &last, "--value", "-5"]);
    pair.until("verdict", text("-5")).unwrap();
    pair.world.stop().unwrap();
}

fn alike_newest<'a>(alike: &[&'a str]) -> Vec<&'a str> {
    alike.iter().copied().chain(["--newest"]).collect()
}
