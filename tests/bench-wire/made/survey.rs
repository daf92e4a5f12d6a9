//! Questionnaires, mostly of few answers and many that are skipped; and a school's
//! register, where the same pupils come each day.
use serde_json::{Value, json};

use super::Desk;

pub const SURVEY: &str = r#"
name = "survey"
[tables.household.fields]
number = { type = "integer" }
head = { type = "text" }
hamlet = { type = "text" }
members = { type = "integer" }
children = { type = "integer" }
roof = { type = "enum", values = ["grass", "iron", "tiles"] }
walls = { type = "enum", values = ["brick", "mud", "wood"] }
water = { type = "enum", values = ["borehole", "pipe", "river", "well"] }
minutes_to_water = { type = "integer" }
treats_water = { type = "boolean" }
how = { type = "set", values = ["boil", "chlorine", "filter", "sun"] }
latrine = { type = "boolean" }
shared = { type = "boolean" }
farms = { type = "boolean" }
crops = { type = "set", values = ["beans", "cassava", "coffee", "maize", "rice"] }
acres = { type = "decimal", scale = 1 }
goats = { type = "integer" }
hungry = { type = "enum", values = ["never", "often", "sometimes"] }
net = { type = "boolean" }
slept = { type = "boolean" }
phone = { type = "boolean" }
consent = { type = "boolean" }
status = { type = "enum", values = ["checked", "draft", "final"] }
"#;

pub fn survey(desk: &mut Desk) {
    let (first, last, hamlets) = (desk.dice.words(60), desk.dice.words(80), desk.dice.words(6));
    let mut rows = Vec::new();
    for number in 0..1700u64 {
        desk.wait(if number % 20 == 0 { 50_000 } else { 900 });
        let device = *desk.dice.pick(&["tab-1", "tab-2", "tab-3", "tab-4"]);
        let hamlet = number as usize / 100 % hamlets.len();
        let members = 1 + desk.dice.between(0, 5) + desk.dice.between(0, 4);
        let poor = desk.dice.below(3);
        let water = *desk.dice.usual(&["well", "river", "borehole", "pipe"]);
        let (treats, farms, latrine, net) =
            (desk.dice.one_in(3), !desk.dice.one_in(4), !desk.dice.one_in(5), desk.dice.one_in(2));
        let some = |desk: &mut Desk, of: &[&str]| -> Vec<String> {
            of.iter().filter(|_| desk.dice.one_in(2)).map(|code| code.to_string()).collect()
        };
        let hungry = (poor as usize + usize::from(desk.dice.one_in(5))).min(2);
        let hungry = ["never", "sometimes", "often"][hungry];
        let how = some(desk, &["boil", "chlorine", "filter", "sun"]);
        let crops = some(desk, &["beans", "cassava", "coffee", "maize", "rice"]);
        let if_so = |so: bool, value: Value| if so { value } else { Value::Null };
        let fields = json!({
            "number": 1 + number,
            "head": desk.dice.name(&first, &last),
            "hamlet": hamlets[hamlet],
            "members": members,
            "children": desk.dice.between(0, members - 1),
            "roof": if poor == 0 { "iron" } else { "grass" },
            "walls": if poor == 2 { "mud" } else { *desk.dice.usual(&["brick", "mud", "wood"]) },
            "water": water,
            "minutes_to_water": if_so(water != "pipe", json!(5 * desk.dice.between(1, 12))),
            "treats_water": treats,
            "how": if_so(treats, json!(how)),
            "latrine": latrine,
            "shared": if_so(latrine, json!(desk.dice.one_in(3))),
            "farms": farms,
            "crops": if_so(farms, json!(crops)),
            "acres": if_so(farms, super::dice::decimal(5 * desk.dice.between(1, 12), 1)),
            "goats": if_so(farms, json!(if desk.dice.one_in(2) { 0 } else { desk.dice.between(1, 15) })),
            "hungry": hungry,
            "net": net,
            "slept": if_so(net, json!(!desk.dice.one_in(6))),
            "phone": !desk.dice.one_in(3),
            "consent": true,
            "status": "draft",
        });
        rows.push(desk.insert(device, "household", fields));
    }
    for at in 0..1500 {
        desk.wait(300);
        let device = *desk.dice.pick(&["tab-1", "tab-2", "tab-3", "tab-4"]);
        let (device, id, fields) = match desk.dice.below(4) {
            0 => (
                device,
                rows[desk.dice.below(rows.len() as u64) as usize].clone(),
                json!({"members": desk.dice.between(1, 10)}),
            ),
            1 => ("office", rows[at].clone(), json!({"status": "checked"})),
            _ => ("office", rows[at].clone(), json!({"status": "final"})),
        };
        desk.update(device, &id, fields);
    }
}

pub const SCHOOL: &str = r#"
name = "school"
[tables.pupil.fields]
name = { type = "text" }
class = { type = "enum", values = ["1a", "1b", "2a", "2b", "3a"] }
mark = { type = "integer" }
[tables.attendance.fields]
pupil = { type = "reference", table = "pupil", on_delete = "restrict" }
day = { type = "date" }
present = { type = "boolean" }
why = { type = "enum", values = ["ill", "no reason", "work"] }
meal = { type = "boolean" }
"#;

pub fn school(desk: &mut Desk) {
    let (first, last) = (desk.dice.words(60), desk.dice.words(80));
    let mut pupils = Vec::new();
    for at in 0..150 {
        desk.wait(30);
        let class = ["1a", "1b", "2a", "2b", "3a"][at / 30];
        let name = desk.dice.name(&first, &last);
        pupils.push(desk.insert("head", "pupil", json!({"name": name, "class": class})));
    }
    for _ in 0..14 {
        desk.wait(80_000);
        for (at, pupil) in pupils.iter().enumerate() {
            desk.wait(if at % 30 == 0 { 600 } else { 4 });
            let device = ["teacher-1", "teacher-2"][at / 30 % 2];
            let present = !desk.dice.one_in(9);
            let fields = json!({
                "pupil": pupil,
                "day": desk.today(),
                "present": present,
                "why": (!present).then(|| *desk.dice.usual(&["ill", "no reason", "work"])),
                "meal": present && !desk.dice.one_in(12),
            });
            desk.insert(device, "attendance", fields);
        }
    }
    for at in 0..1500 {
        desk.wait(20);
        let mark = desk.dice.between(35, 75) + desk.dice.noise(12);
        desk.update("head", &pupils[at % 150], json!({"mark": mark}));
    }
}
