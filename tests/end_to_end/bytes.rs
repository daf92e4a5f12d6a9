//! What a round costs on an open link, in bytes of IP packets both ways, as an operator
//! bills them: TCP with timestamps, its acknowledgements, TLS 1.3, MQTT, the round.
//!
//! The gateway is alone behind a link of its own, whose kernel counts. `--nocapture` shows
//! the figures.
use std::path::Path;
use std::time::Duration;

use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::plan::Plan;
use wadi_harness::ports;
use wadi_harness::tables::until_there;
use wadi_harness::village::Village;

use crate::identity::{edit, mosquitto, until_durable};
use crate::village_links::Site;
use crate::world::PATIENCE;

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n\
                      temperature = { type = \"decimal\", scale = 1 }\n";
/// Rounds of each kind; the middle one counts, for the kernel has words of its own.
const ROUNDS: usize = 9;
/// Acknowledgements that wait for something to go along with have left by then.
const REST: Duration = Duration::from_millis(400);
/// A small round on an open link costs no more.
const SMALL_ROUND_BYTES_MAX: u64 = 350;
/// Between pings of the gateway, seconds, and how many are waited for.
const KEEP_ALIVE_S: u64 = 5;
const PINGS: u64 = 3;
/// A ping, its answer, and an acknowledgement.
const PING_BYTES_MAX: u64 = 210;

#[test]
fn a_small_round_and_an_idle_link_cost_few_bytes_of_ip() {
    let Some(village) = Village::new().unwrap() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let port = ports::free();
    let mut hub = Hub::lay_out(path, BrokerAt::Port(port), SCHEMA).unwrap();
    edit(&path.join("hub.toml"), "[broker]", "[broker]\ntls = true");
    let enrolment = hub.add_gateway("north").unwrap();
    let broker = mosquitto(&hub, path, port);
    hub.start().unwrap();
    village.dial(2).unwrap();
    let mut site = Site::lay_out(&village, (path, &enrolment), port, 100, 3_000);
    edit(&site.config, "[broker]", "[broker]\ntls = true");
    site.start();
    until_there(&site.database, &Plan::read(SCHEMA).unwrap(), PATIENCE).unwrap();

    // What the link costs before anything is settled does not count.
    let mut made = 0;
    let mut write = |sql: String| {
        program(&site.database, &sql);
        made += 1;
        until_durable(&hub, made);
        site.until_heard();
        std::thread::sleep(REST);
    };
    // Its id is made by the database, at random.
    let insert =
        |at: usize| format!("insert into visit (patient, temperature) values ('p{at}', 37{at})");
    for at in 0..3 {
        write(insert(at));
    }
    let mut figures = Vec::new();
    for (what, sql) in [
        ("insert", &insert as &dyn Fn(usize) -> String),
        ("update", &|at| format!("update visit set temperature = 38{at} where patient = 'p{at}'")),
    ] {
        let mut costs: Vec<(u64, u64)> = (3..3 + ROUNDS)
            .map(|at| {
                let before = village.traffic().unwrap();
                write(sql(at));
                let after = village.traffic().unwrap();
                (after.0 - before.0, after.1 - before.1)
            })
            .collect();
        costs.sort_unstable();
        let (bytes, packets) = costs[ROUNDS / 2];
        println!("one {what}: {bytes} bytes of IP in {packets} packets ({costs:?})");
        figures.push((what, bytes));
    }
    site.stop();
    let always =
        format!("[broker]\nkeep_alive_s = {KEEP_ALIVE_S}\nkeep_alive_max_s = {KEEP_ALIVE_S}");
    edit(&site.config, "[broker]", &always);
    edit(&site.config, "[sync]", "[sync]\nstay = true");
    site.start();
    std::thread::sleep(Duration::from_secs(KEEP_ALIVE_S));
    let before = village.traffic().unwrap();
    std::thread::sleep(Duration::from_secs(PINGS * KEEP_ALIVE_S));
    let after = village.traffic().unwrap();
    let (bytes, packets) = (after.0 - before.0, after.1 - before.1);
    println!("{PINGS} pings: {bytes} bytes of IP in {packets} packets");
    site.stop();
    hub.stop().unwrap();
    broker.kill();
    let dear: Vec<_> = figures.iter().filter(|(_, bytes)| *bytes > SMALL_ROUND_BYTES_MAX).collect();
    assert!(dear.is_empty(), "more than {SMALL_ROUND_BYTES_MAX} bytes: {dear:?}");
    // One more may fall into the time.
    assert!(bytes <= (PINGS + 1) * PING_BYTES_MAX, "{bytes} bytes for {PINGS} pings");
}

/// A program at the site writes.
fn program(database: &Path, sql: &str) {
    let db = rusqlite::Connection::open(database).unwrap();
    db.busy_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(db.execute(sql, ()).unwrap(), 1, "{sql}");
}
