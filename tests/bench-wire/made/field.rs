//! What instruments record: sensors at regular times, and tracks of vehicles.
use serde_json::json;

use super::Desk;
use super::dice::{decimal, time};

pub const SENSORS: &str = r#"
name = "sensors"
[tables.sensor.fields]
name = { type = "text" }
depth = { type = "decimal", scale = 1 }
latitude = { type = "decimal", scale = 5 }
longitude = { type = "decimal", scale = 5 }
state = { type = "enum", values = ["fault", "ok", "quiet"] }
last = { type = "decimal", scale = 2 }
[tables.reading.fields]
sensor = { type = "reference", table = "sensor", on_delete = "restrict" }
at = { type = "timestamp" }
moisture = { type = "decimal", scale = 2 }
warmth = { type = "decimal", scale = 3 }
salt = { type = "integer" }
battery = { type = "integer" }
signal = { type = "integer" }
"#;

pub fn sensors(desk: &mut Desk) {
    let mut sensors = Vec::new();
    for at in 0..12 {
        desk.wait(50);
        let fields = json!({
            "name": format!("plot {}", at / 3 + 1),
            "depth": decimal([100, 300, 600][at % 3], 1),
            "latitude": decimal(-678_123 + desk.dice.between(-900, 900), 5),
            "longitude": decimal(3_712_345 + desk.dice.between(-900, 900), 5),
            "state": "ok",
        });
        let id = desk.insert("base", "sensor", fields);
        sensors.push((
            id,
            desk.dice.between(1500, 4000),
            21_000,
            desk.dice.between(200, 900),
            3_600,
        ));
    }
    let mut clock_s = desk.now_s() / 600 * 600 + 600;
    for _ in 0..170 {
        for (id, moisture, warmth, salt, battery) in &mut sensors {
            desk.wait(1);
            *moisture = (*moisture + desk.dice.noise(12)).max(0);
            *warmth += desk.dice.noise(60);
            *salt = (*salt + desk.dice.noise(3)).max(0);
            *battery -= i64::from(desk.dice.one_in(5));
            let fields = json!({
                "sensor": id,
                "at": time(clock_s, true),
                "moisture": decimal(*moisture, 2),
                "warmth": decimal(*warmth, 3),
                "salt": *salt,
                "battery": *battery,
                "signal": -80 + desk.dice.noise(4),
            });
            desk.insert("base", "reading", fields);
        }
        clock_s += 600;
        desk.wait(580);
    }
    for _ in 0..1500 {
        desk.wait(300);
        let at = desk.dice.below(12) as usize;
        sensors[at].1 += desk.dice.noise(12);
        let mut fields = json!({"last": decimal(sensors[at].1, 2)});
        if desk.dice.one_in(10) {
            fields["state"] = json!(desk.dice.usual(&["ok", "quiet", "fault"]));
        }
        let id = sensors[at].0.clone();
        desk.update("base", &id, fields);
    }
}

pub const TRACKS: &str = r#"
name = "tracks"
[tables.trip.fields]
driver = { type = "text" }
plate = { type = "text" }
from = { type = "text" }
to = { type = "text" }
started = { type = "timestamp" }
metres = { type = "integer" }
[tables.point.fields]
trip = { type = "reference", table = "trip", on_delete = "cascade" }
at = { type = "timestamp" }
latitude = { type = "decimal", scale = 6 }
longitude = { type = "decimal", scale = 6 }
speed = { type = "decimal", scale = 1 }
heading = { type = "integer" }
accuracy = { type = "decimal", scale = 1 }
"#;

pub fn tracks(desk: &mut Desk) {
    let places = desk.dice.words(12);
    let drivers = desk.dice.words(5);
    let mut trips = Vec::new();
    for number in 0..60 {
        desk.wait(5_000);
        let of = number % 5;
        let device = ["van-1", "van-2", "van-3", "bike-1", "bike-2"][of];
        let fields = json!({
            "driver": drivers[of],
            "plate": format!("T {} KLM", 301 + 17 * of),
            "from": desk.dice.usual(&places),
            "to": desk.dice.usual(&places),
            "started": time(desk.now_s(), false),
            "metres": 0,
        });
        let trip = desk.insert(device, "trip", fields);
        let (mut north, mut east) =
            (-6_812_000 + desk.dice.noise(40_000), 39_280_000 + desk.dice.noise(40_000));
        let (mut speed, mut heading, mut metres) = (80, desk.dice.between(0, 359), 0);
        for _ in 0..desk.dice.between(20, 60) {
            desk.wait(30);
            speed = (speed + desk.dice.noise(25)).clamp(0, 250);
            heading = (heading + desk.dice.noise(12)).rem_euclid(360);
            // Thirty seconds at so many decimetres a second; a quarter turn by eighths.
            let (up, right) =
                [(9, 0), (6, 6), (0, 9), (-6, 6), (-9, 0), (-6, -6), (0, -9), (6, -6)]
                    [(heading / 45) as usize];
            north += speed * 3 * up + desk.dice.noise(20);
            east += speed * 3 * right + desk.dice.noise(20);
            metres += speed * 3;
            let fields = json!({
                "trip": trip,
                "at": time(desk.now_s(), true),
                "latitude": decimal(north, 6),
                "longitude": decimal(east, 6),
                "speed": decimal(speed, 1),
                "heading": heading,
                "accuracy": decimal(desk.dice.between(3, 9) * 10 / 2, 1),
            });
            desk.insert(device, "point", fields);
        }
        trips.push((trip, device, metres));
    }
    for _ in 0..1500 {
        desk.wait(300);
        let last = trips.len() - 5;
        let at = last + desk.dice.below(5) as usize;
        trips[at].2 += 20 * desk.dice.between(0, 80);
        let (id, device, metres) = trips[at].clone();
        desk.update(device, &id, json!({"metres": metres}));
    }
}
