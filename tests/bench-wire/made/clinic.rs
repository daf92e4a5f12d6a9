//! A clinic: patients, visits with vital signs and free notes.
use serde_json::{Value, json};

use super::Desk;
use super::dice::{day, decimal};

pub const SCHEMA: &str = r#"
name = "clinic"
[tables.patient.fields]
card = { type = "text" }
name = { type = "text" }
sex = { type = "enum", values = ["f", "m"] }
born = { type = "date" }
home = { type = "text" }
phone = { type = "text" }
[tables.visit.fields]
patient = { type = "reference", table = "patient", on_delete = "restrict" }
seen_on = { type = "date" }
reason = { type = "enum", values = ["antenatal", "child", "chronic", "fever", "injury", "other"] }
temperature = { type = "decimal", scale = 1 }
pulse = { type = "integer" }
systolic = { type = "integer" }
diastolic = { type = "integer" }
weight = { type = "decimal", scale = 1 }
code = { type = "text" }
drug = { type = "text" }
tablets = { type = "integer" }
referred = { type = "boolean" }
next_visit = { type = "date" }
notes = { type = "text" }
"#;

pub fn make(desk: &mut Desk) {
    let (first, last, words) = (desk.dice.words(60), desk.dice.words(90), desk.dice.words(400));
    let homes: Vec<String> = desk.dice.words(9);
    let drugs = desk.dice.words(25);
    let mut patients: Vec<(String, i64, i64)> = Vec::new();
    let mut visits = Vec::new();
    for number in 0..1900 {
        desk.wait_or(500, 25, 40_000);
        let device = *desk.dice.usual(&["nurse-1", "nurse-2", "doctor"]);
        if patients.is_empty() || desk.dice.one_in(4) {
            let age = desk.dice.between(30, 20_000) as u64;
            let fields = json!({
                "card": format!("K-{:05}", 10_400 + patients.len() as u64 * 3 + desk.dice.below(3)),
                "name": desk.dice.name(&first, &last),
                "sex": if desk.dice.one_in(2) { "f" } else { "m" },
                "born": day(desk.now_s() / 86_400 - age),
                "home": desk.dice.usual(&homes),
                "phone": (!desk.dice.one_in(3)).then(|| format!("+25577{:07}", desk.dice.below(10_000_000))),
            });
            let id = desk.insert(device, "patient", fields);
            let weight =
                if age < 5_000 { 60 + age as i64 / 12 } else { desk.dice.between(420, 900) };
            patients.push((id, weight, desk.dice.between(105, 150)));
            desk.wait(60);
        }
        let recent = patients.len().saturating_sub(40);
        let at = if desk.dice.one_in(3) {
            desk.dice.below(patients.len() as u64) as usize
        } else {
            recent + desk.dice.below((patients.len() - recent) as u64) as usize
        };
        let reason =
            *desk.dice.usual(&["fever", "child", "chronic", "antenatal", "injury", "other"]);
        let heat = if reason == "fever" { 385 } else { 367 };
        let systolic = patients[at].2 + desk.dice.noise(8);
        let weight = patients[at].1 + desk.dice.noise(8);
        let drug = if desk.dice.one_in(3) { Value::Null } else { json!(desk.dice.usual(&drugs)) };
        let today = desk.now_s() / 86_400;
        let long = if desk.dice.one_in(2) { desk.dice.below(4) } else { 4 + desk.dice.below(25) };
        let fields = json!({
            "patient": patients[at].0,
            "seen_on": desk.today(),
            "reason": reason,
            "temperature": decimal(heat + desk.dice.noise(5), 1),
            "pulse": 60 + 2 * desk.dice.between(0, 30),
            "systolic": systolic,
            "diastolic": systolic * 2 / 3 + desk.dice.noise(4),
            "weight": decimal(weight, 1),
            "code": format!("{}{:02}", desk.dice.usual(&["J", "B", "Z", "A", "K", "S"]), desk.dice.usual(&[18, 54, 34, 9, 30, 61, 11, 2])),
            "drug": drug,
            "tablets": if drug.is_null() { Value::Null } else { json!(*desk.dice.usual(&[6, 10, 12, 20, 24, 30])) },
            "referred": desk.dice.one_in(20),
            "next_visit": desk.dice.one_in(2).then(|| day(today + *desk.dice.usual(&[7, 14, 28, 3]))),
            "notes": (long > 0).then(|| desk.dice.prose(&words, long)),
        });
        visits.push((desk.insert(device, "visit", fields), number));
    }
    for _ in 0..1500 {
        desk.wait(700);
        let device = *desk.dice.usual(&["nurse-1", "nurse-2", "doctor"]);
        let from = visits.len() - 300;
        let visit = visits[from + desk.dice.below(300) as usize].0.clone();
        let at = desk.dice.below(patients.len() as u64) as usize;
        let today = desk.now_s() / 86_400;
        let (id, fields) = match desk.dice.below(5) {
            0 => (
                visit,
                json!({"next_visit": day(today + *desk.dice.usual(&[7, 14, 28, 3])), "referred": true}),
            ),
            1 => (visit, json!({"notes": desk.dice.prose(&words, 8)})),
            2 => (
                patients[at].0.clone(),
                json!({"phone": format!("+25577{:07}", desk.dice.below(10_000_000))}),
            ),
            3 => (patients[at].0.clone(), json!({"home": desk.dice.usual(&homes)})),
            _ => (
                visit,
                json!({"weight": decimal(patients[at].1 + desk.dice.noise(8), 1), "temperature": decimal(370 + desk.dice.noise(6), 1)}),
            ),
        };
        desk.update(device, &id, fields);
    }
}
