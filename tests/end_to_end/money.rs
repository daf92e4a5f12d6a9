//! What a site's link costs as its gateway counts it, beside what the kernel counts; and the
//! budgets that hold it back.
use std::process::{Command, Stdio};

use serde_json::Value as Json;
use wadi_harness::binaries;
use wadi_harness::process::{Outcome, run};
use wadi_harness::village::Village;
use wadi_harness::wait::{Look, until};

use crate::identity::edit;
use crate::metered::Metered;
use crate::world::PATIENCE;

const SCHEMA: &str = "name = \"x\"\n[tables.note.fields]\nsays = { type = \"text\" }\n\
                      [tables.alarm]\nlane = \"urgent\"\n[tables.alarm.fields]\nsays = { type = \"text\" }\n";
/// What the gateway counts may be off by so much, percent, of what the kernel counts: packets
/// of the kernel's own, and the end of a connection.
const OFF_PERCENT_MAX: u64 = 4;
const DAY_BYTES: u64 = 200_000;
/// Half of it is for alarms.
const RESERVE_PERCENT: u64 = 50;
/// The village's own.
const INTERFACE: &str = "up0";
const NOTE_BYTES: usize = 4_000;

impl Metered<'_> {
    fn ask(&self, words: &[&str]) -> Outcome {
        let mut command = binaries::command("wadi-gateway").unwrap();
        command.arg("--config").arg(&self.site.config).args(words);
        run(&mut self.village.wrap(&command), "", PATIENCE).unwrap()
    }

    fn status(&self) -> Json {
        serde_json::from_str(&self.ask(&["status", "--json"]).stdout).unwrap()
    }

    /// Wait until the status says so.
    fn until_status(&self, what: &str, holds: impl Fn(&Json) -> bool) -> Json {
        until(what, PATIENCE, || {
            let status = self.status();
            Ok(if holds(&status) { Look::Found(status) } else { Look::NotYet(status.to_string()) })
        })
        .unwrap()
    }

    fn insert(&self, table: &str, number: u64, says: &str) {
        let id = format!("8dd32ccf-ea43-49e0-8514-{number:012}");
        self.program(&format!("INSERT INTO {table} (id, says) VALUES ('{id}', '{says}')"));
    }
}

/// What the hub's table holds.
fn says(metered: &Metered<'_>, table: &str) -> Vec<String> {
    let db = rusqlite::Connection::open(metered.hub.database()).unwrap();
    db.busy_timeout(PATIENCE).unwrap();
    let mut rows = db.prepare(&format!("SELECT says FROM {table} ORDER BY id")).unwrap();
    let rows = rows.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

fn until_said(metered: &Metered<'_>, table: &str, words: &str) {
    until("the hub to have it", PATIENCE, || {
        let said = says(metered, table);
        Ok(Look::when(said.iter().any(|said| said == words), || format!("{said:?}")))
    })
    .unwrap();
}

/// Letters that nothing makes small.
fn noise(number: u64) -> String {
    let digest = |at: u64| {
        let mut state =
            (number << 20 | at).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        state ^= state >> 29;
        state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        format!("{:016x}", state ^ state >> 32)
    };
    (0..NOTE_BYTES as u64 / 16).map(digest).collect()
}

#[test]
fn the_gateway_counts_what_the_kernel_counts() {
    let Some(village) = Village::new().unwrap() else { return };
    let mut metered = Metered::start(&village, SCHEMA, "");
    for number in 0..12 {
        metered.insert("note", number, &noise(number));
        metered.until_durable(1);
    }
    // Once more from nothing, with another process.
    metered.site.stop();
    metered.site.start();
    metered.insert("alarm", 1, "fire");
    metered.until_durable(1);
    metered.site.stop();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let (kernel, packets) = village.traffic().unwrap();
    let seen = metered.status()["data"].clone();
    let counted = seen["today"]["bytes"].as_u64().unwrap();
    println!(
        "the kernel counts {kernel} bytes in {packets} packets, the gateway {counted}: {seen}"
    );
    assert!(counted.abs_diff(kernel) * 100 <= kernel * OFF_PERCENT_MAX, "{counted} of {kernel}");
    let of = |what: &str| seen["today"][what].as_u64().unwrap();
    assert!(of("payload_bytes") > 12 * NOTE_BYTES as u64 * 2 / 5, "{seen}");
    assert!(of("connect_bytes") > 2_000 && of("protocol_bytes") > 12 * 100, "{seen}");
    assert_eq!((seen["tables"][0]["table"].as_str(), seen["held"].as_str()), (Some("note"), None));
    assert!(seen["last_round"]["up"].as_u64() > Some(100), "{seen}");
    metered.end();
}

#[test]
fn what_is_urgent_goes_from_the_reserve_and_nothing_beyond_the_cap() {
    let Some(village) = Village::new().unwrap() else { return };
    let data =
        format!("[data]\nday_kb = {}\nreserve_percent = {RESERVE_PERCENT}\n", DAY_BYTES / 1_000);
    let mut metered = Metered::start(&village, SCHEMA, &data);
    let may_send = |status: &Json| status["data"]["may_send"].as_str().unwrap().to_owned();
    // Notes go until half of the budget is spent.
    let mut notes = 0;
    while may_send(&metered.status()) == "all" {
        for _ in 0..4 {
            metered.insert("note", notes, &noise(notes));
            notes += 1;
        }
        assert!(notes < 1_000, "there is no bound");
        metered.until_status("notes to go, or to be held back", |status| {
            status["pending_changes"] == 0 || may_send(status) != "all"
        });
    }
    metered.insert("note", notes, "too late");
    let held = metered.until_status("notes to be held back", |status| {
        status["data"]["held"].is_string() && status["pending_changes"].as_u64() > Some(0)
    });
    assert_eq!(
        (may_send(&held).as_str(), held["data"]["held_by"].as_str()),
        ("urgent", Some("day"))
    );
    assert!(held["data"]["held_until_s"].as_u64() > held["now_s"].as_u64(), "{held}");
    assert_eq!(held["problems"].as_array().map(Vec::len), Some(0), "waiting is no problem: {held}");
    let page = metered.ask(&["status"]).stdout;
    assert!(
        page.contains("the day's budget of data is spent: what is not urgent waits until"),
        "{page}"
    );
    let asked = metered.ask(&["sync", "--within", "20"]);
    assert_eq!(asked.code, Some(69), "{asked:?}");
    assert!(asked.stderr.contains("the day's budget of data is spent"), "{asked:?}");

    // An alarm does not wait; what is not urgent still does.
    metered.insert("alarm", 1, "fire");
    until_said(&metered, "alarm", "fire");
    assert_eq!(may_send(&metered.status()), "urgent");
    assert!(!says(&metered, "note").contains(&"too late".to_owned()));

    // Alarms go until the cap: behind it nothing does.
    let mut alarms = 2;
    let shut = loop {
        let noise = noise(10_000 + alarms);
        metered.insert("alarm", alarms, &noise);
        alarms += 1;
        assert!(alarms < 500, "there is no cap");
        let status = metered.until_status("the alarm to go, or to be held back", |status| {
            may_send(status) == "nothing" || says(&metered, "alarm").contains(&noise)
        });
        if may_send(&status) == "nothing" {
            break status;
        }
    };
    metered.insert("alarm", alarms, "nobody hears this today");
    metered
        .until_status("the link to be left", |status| status["live"]["link"]["connected"] == false);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let (kernel, _) = village.traffic().unwrap();
    println!("{notes} notes and {alarms} alarms: {kernel} of {DAY_BYTES} bytes: {}", shut["data"]);
    assert!(kernel <= DAY_BYTES, "{kernel} bytes went, the cap is {DAY_BYTES}");
    assert!(kernel * 10 > DAY_BYTES * 9, "{kernel} bytes went, there was more");

    // The next contract: all that waited goes.
    metered.site.stop();
    edit(&metered.site.config, &format!("day_kb = {}", DAY_BYTES / 1_000), "day_kb = 900000");
    metered.site.start();
    until_said(&metered, "alarm", "nobody hears this today");
    until_said(&metered, "note", "too late");
    metered.site.until_heard();
    assert_eq!(says(&metered, "note").len() as u64, notes + 1);
    metered.site.stop();
    metered.end();
}

/// The interface is counted whole, with what other programs send.
#[test]
fn an_interface_that_is_named_is_counted_whole() {
    let Some(village) = Village::new().unwrap() else { return };
    let data = format!("[data]\ninterface = \"{INTERFACE}\"\n");
    let mut metered = Metered::start(&village, SCHEMA, &data);
    metered.insert("note", 1, "once");
    metered.until_durable(1);
    let before = village.traffic().unwrap().0;
    for _ in 0..5 {
        let mut other = Command::new("bash");
        let send = format!("head -c 1000 /dev/zero > /dev/udp/{}/9", village.host());
        run(village.wrap(other.args(["-c", &send])).stdin(Stdio::null()), "", PATIENCE).unwrap();
    }
    let others = village.traffic().unwrap().0 - before;
    metered.insert("note", 2, "twice");
    metered.until_durable(1);
    metered.site.stop();
    let seen = metered.status()["data"].clone();
    let (kernel, packets) = village.traffic().unwrap();
    let counted = seen["today"]["bytes"].as_u64().unwrap();
    println!(
        "the kernel counts {kernel} bytes in {packets} packets, the gateway {counted}, {others} of others"
    );
    assert_eq!(seen["interface"].as_str(), Some(INTERFACE));
    assert!(others >= 5_000, "{others}");
    assert!(counted * 100 >= kernel * (100 - OFF_PERCENT_MAX), "{counted} of {kernel}");
    metered.end();
}
