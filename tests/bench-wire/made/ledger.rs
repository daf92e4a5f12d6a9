//! Books that add up: a store with running balances, and water meters read each month.
use serde_json::json;

use super::Desk;
use super::dice::decimal;

pub const STOCK: &str = r#"
name = "stock"
[tables.item.fields]
code = { type = "text" }
name = { type = "text" }
unit = { type = "enum", values = ["bag", "box", "litre", "piece"] }
price = { type = "decimal", scale = 2 }
balance = { type = "integer" }
[tables.movement.fields]
item = { type = "reference", table = "item", on_delete = "restrict" }
day = { type = "date" }
kind = { type = "enum", values = ["count", "in", "out"] }
before = { type = "integer" }
quantity = { type = "integer" }
after = { type = "integer" }
price = { type = "decimal", scale = 2 }
total = { type = "decimal", scale = 2 }
voucher = { type = "integer" }
"#;

pub fn stock(desk: &mut Desk) {
    let words = desk.dice.words(150);
    let mut items: Vec<(String, i64, i64)> = Vec::new();
    for number in 0..80 {
        desk.wait(40);
        let (price, balance) = (desk.dice.between(4, 400) * 25, desk.dice.between(20, 600));
        let fields = json!({
            "code": format!("A{:03}", 100 + number),
            "name": format!("{} {}", desk.dice.pick(&words), desk.dice.pick(&words)),
            "unit": desk.dice.usual(&["piece", "box", "bag", "litre"]),
            "price": decimal(price, 2),
            "balance": balance,
        });
        items.push((desk.insert("office", "item", fields), price, balance));
    }
    let mut voucher = 4_410;
    let mut moves = Vec::new();
    for _ in 0..1800 {
        desk.wait_or(240, 30, 30_000);
        let at = items.iter().position(|item| item == desk.dice.usual(&items.clone())).unwrap_or(0);
        let device = *desk.dice.usual(&["store-1", "store-2", "office"]);
        let is_in = items[at].2 < 30 || desk.dice.one_in(7);
        let quantity = if is_in {
            10 * desk.dice.between(5, 40)
        } else {
            desk.dice.between(1, items[at].2.clamp(1, 24))
        };
        let before = items[at].2;
        items[at].2 += if is_in { quantity } else { -quantity };
        if desk.dice.one_in(60) {
            items[at].1 += 25 * desk.dice.between(-4, 8);
        }
        voucher += 1 + i64::from(desk.dice.one_in(12));
        let fields = json!({
            "item": items[at].0,
            "day": desk.today(),
            "kind": if is_in { "in" } else { "out" },
            "before": before,
            "quantity": quantity,
            "after": items[at].2,
            "price": decimal(items[at].1, 2),
            "total": decimal(items[at].1 * quantity, 2),
            "voucher": voucher,
        });
        moves.push(desk.insert(device, "movement", fields));
    }
    for _ in 0..1500 {
        desk.wait(200);
        let at = desk.dice.below(items.len() as u64) as usize;
        let device = *desk.dice.usual(&["store-1", "store-2", "office"]);
        items[at].2 += if desk.dice.one_in(6) {
            desk.dice.between(50, 400)
        } else {
            -desk.dice.between(1, 12)
        };
        let mut fields = json!({"balance": items[at].2});
        if desk.dice.one_in(8) {
            items[at].1 += 25 * desk.dice.between(-4, 8);
            fields["price"] = decimal(items[at].1, 2);
        }
        let id = items[at].0.clone();
        desk.update(device, &id, fields);
    }
}

pub const METERS: &str = r#"
name = "meters"
[tables.meter.fields]
serial = { type = "text" }
owner = { type = "text" }
street = { type = "text" }
house = { type = "integer" }
last = { type = "integer" }
read_on = { type = "date" }
[tables.bill.fields]
meter = { type = "reference", table = "meter", on_delete = "restrict" }
number = { type = "text" }
read_on = { type = "date" }
previous = { type = "integer" }
current = { type = "integer" }
used = { type = "integer" }
fee = { type = "integer" }
due = { type = "integer" }
paid = { type = "boolean" }
"#;

/// A fee for each month, and so much for each unit.
const FEE: i64 = 1_500;
const RATE: i64 = 85;

pub fn meters(desk: &mut Desk) {
    let (first, last, streets) = (desk.dice.words(50), desk.dice.words(70), desk.dice.words(8));
    let mut meters: Vec<(String, i64, i64)> = Vec::new();
    for number in 0..420u64 {
        desk.wait(90);
        let reading = desk.dice.between(100, 9_000);
        let fields = json!({
            "serial": format!("WM{:06}", 220_000 + number * 7 + desk.dice.below(7)),
            "owner": desk.dice.name(&first, &last),
            "street": format!("{} road", streets[(number / 60) as usize]),
            "house": 1 + number % 60,
            "last": reading,
            "read_on": desk.today(),
        });
        meters.push((desk.insert("office", "meter", fields), reading, desk.dice.between(3, 30)));
    }
    let mut number = 70_001;
    let mut bills = Vec::new();
    for month in 0..4 {
        for (at, (meter, reading, habit)) in meters.iter_mut().enumerate() {
            desk.wait(if at % 60 == 0 { 60_000 } else { 110 });
            let device = if at % 120 < 60 { "reader-1" } else { "reader-2" };
            let used = (*habit + desk.dice.noise(3)).max(0);
            let previous = *reading;
            *reading += used;
            let fields = json!({
                "meter": meter,
                "number": format!("B-{number}"),
                "read_on": desk.today(),
                "previous": previous,
                "current": *reading,
                "used": used,
                "fee": FEE,
                "due": FEE + RATE * used,
                "paid": false,
            });
            number += 1;
            bills.push((desk.insert(device, "bill", fields), at));
        }
        desk.wait(86_400 * (20 - month));
    }
    for at in 0..1500 {
        desk.wait(160);
        if desk.dice.one_in(2) {
            let (bill, _) = bills[bills.len() - 1500 + at].clone();
            desk.update("office", &bill, json!({"paid": true}));
        } else {
            let at = at % meters.len();
            meters[at].1 += (meters[at].2 + desk.dice.noise(3)).max(0);
            let (id, today) = (meters[at].0.clone(), desk.today());
            desk.update("reader-1", &id, json!({"last": meters[at].1, "read_on": today}));
        }
    }
}
