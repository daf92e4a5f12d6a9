//! What whole sessions cost in bytes of IP packets, beside POST of the same records as JSON
//! over the same TLS. `tests/bench-wire/run` prints the table that README has: it has the
//! figures written to the file that WADITEST_SESSIONS names.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use wadi_harness::broker::listening;
use wadi_harness::handheld::Handheld;
use wadi_harness::ports;
use wadi_harness::process::{Process, run};
use wadi_harness::records::{self, Record, lines};
use wadi_harness::village::Village;

use crate::identity::edit;
use crate::metered::{Cost, Metered};
use crate::world::PATIENCE;

/// Records that were committed before: what the link's model has learnt.
const HISTORY: usize = 2_100;
const HISTORY_BATCH: usize = 300;
const BATCH: usize = 100;
/// Sessions and batches of each kind; the middle one counts.
const TIMES: usize = 3;
/// Everything included, for each of a batch of [`BATCH`] inserts on an open link.
const BATCH_BYTES_A_CHANGE_MAX: u64 = 18;
/// What the gateway's log says of each.
const ROUND: &str = "a round is committed, and applied here";
/// Between pings of the gateway, seconds, and how many are waited for.
const KEEP_ALIVE_S: u64 = 5;
const PINGS: u64 = 4;
/// A ping, its answer, and an acknowledgement.
const PING_BYTES_MAX: u64 = 210;
/// Of which the hour is told.
const KEEP_ALIVES_S: [u64; 4] = [60, 240, 480, 1_200];

#[test]
fn what_sessions_cost_in_bytes_of_ip() {
    let Some(village) = Village::new().unwrap() else { return };
    let lan = ports::free();
    let settings = format!(
        "[lan]\nlisten = \"127.0.0.1:{lan}\"\nannounce = false\n[handhelds]\nadmit = \"anyone\"\n"
    );
    let mut metered = Metered::start(&village, &records::sample_schema().unwrap(), &settings);
    let mut collector = Collector::new(&village, metered.path(), lan);
    while collector.taken < HISTORY {
        collector.take(HISTORY_BATCH);
        metered.until_durable(HISTORY_BATCH as u64);
    }
    let ours = measure(&mut metered, &mut collector);
    let pings = pings(&mut metered);
    metered.site.stop();
    let theirs = post(&metered, &collector.all[HISTORY..]);
    metered.end();

    tell(&ours, &theirs, pings);
    let batch = ours["open hundred"].bytes;
    let most = BATCH_BYTES_A_CHANGE_MAX * BATCH as u64;
    assert!(batch <= most, "{batch} bytes for a batch, more than {most}");
    // One more may fall into the time.
    assert!(pings.bytes <= (PINGS + 1) * PING_BYTES_MAX, "{pings}");
    for what in ["resumed nothing", "resumed one", "resumed hundred"] {
        let cold = ours[what.replace("resumed", "cold").as_str()];
        assert!(ours[what] < cold, "{what}: {}, no less than {cold}", ours[what]);
    }
}

/// The figures: printed, and written where they are asked for.
fn tell(ours: &BTreeMap<&str, Cost>, theirs: &BTreeMap<String, Cost>, pings: Cost) {
    let mut figures = Vec::new();
    let mut note = |encoding: &str, pattern: &str, cost: Cost| {
        println!("{encoding:<16}{pattern:<24}{cost}");
        let size = match pattern.split(' ').next_back() {
            Some("one") => 1,
            Some("hundred") => BATCH,
            _ => 0,
        };
        let Cost { bytes, packets } = cost;
        figures.push(json!({ "encoding": encoding, "pattern": pattern, "size": size,
            "bytes": bytes, "packets": packets, "changes": size }));
    };
    ours.iter().for_each(|(what, cost)| note("Wadi", what, *cost));
    theirs.iter().for_each(|(what, cost)| note("POST of JSON", what, *cost));
    for seconds in KEEP_ALIVES_S {
        let of_hour = |count: u64| 3_600 / seconds * count / PINGS;
        let cost = Cost { bytes: of_hour(pings.bytes), packets: of_hour(pings.packets) };
        note("Wadi", &format!("idle hour at {seconds} s"), cost);
    }
    if let Some(file) = std::env::var_os("WADITEST_SESSIONS") {
        std::fs::write(file, Value::from(figures).to_string()).unwrap();
    }
}

/// Every kind of session, and what an open link carries.
fn measure(
    metered: &mut Metered<'_>,
    collector: &mut Collector<'_>,
) -> BTreeMap<&'static str, Cost> {
    let sizes = [("nothing", 0), ("one", 1), ("hundred", BATCH)];
    let mut costs: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for _ in 0..TIMES {
        for (open, (_, size)) in ["", "open one", "open hundred"].into_iter().zip(sizes) {
            if size > 0 {
                let cost = metered.cost(|metered| {
                    collector.take(size);
                    metered.until_durable(size as u64);
                });
                costs.entry(open).or_default().push(cost);
            }
        }
        for (at, (_, size)) in sizes.into_iter().enumerate() {
            let cold = ["cold nothing", "cold one", "cold hundred"][at];
            let resumed = ["resumed nothing", "resumed one", "resumed hundred"][at];
            let closing = metered.cost(|metered| metered.site.stop());
            costs.entry("closing").or_default().push(closing);
            metered.village.hang_up().unwrap();
            metered.site.start();
            costs.entry(cold).or_default().push(session(metered, collector, size));
            metered.village.sever().unwrap();
            metered.village.hang_up().unwrap();
            costs.entry(resumed).or_default().push(session(metered, collector, size));
        }
    }
    costs.into_iter().map(|(what, costs)| (what, Cost::middle(costs))).collect()
}

/// Records come in while the link is away; then it comes, and one round takes them all.
fn session(metered: &mut Metered<'_>, collector: &mut Collector<'_>, size: usize) -> Cost {
    if size > 0 {
        collector.take(size);
    }
    let rounds = |metered: &Metered<'_>| metered.site.said().matches(ROUND).count();
    let before = rounds(metered);
    let cost = metered.cost(|metered| {
        metered.dial();
        metered.until_durable(size as u64);
        metered.site.until_said(ROUND, before + 1);
    });
    assert_eq!(rounds(metered), before + 1, "rounds for {size} records\n{}", metered.site.said());
    cost
}

fn pings(metered: &mut Metered<'_>) -> Cost {
    metered.site.stop();
    let config = &metered.site.config;
    let always = format!("keep_alive_s = {KEEP_ALIVE_S}\nkeep_alive_max_s = {KEEP_ALIVE_S}");
    edit(config, "[broker]", &format!("[broker]\n{always}"));
    edit(config, "[sync]", "[sync]\nstay = true");
    metered.cost(|metered| metered.site.start());
    let before = metered.village.traffic().unwrap();
    std::thread::sleep(Duration::from_secs(PINGS * KEEP_ALIVE_S));
    let after = metered.village.traffic().unwrap();
    Cost { bytes: after.0 - before.0, packets: after.1 - before.1 }
}

/// A handheld at the site that is given the records of tests/data, in their order.
struct Collector<'a> {
    village: &'a Village,
    handheld: Handheld,
    lan: u16,
    all: Vec<Record>,
    taken: usize,
    /// The ids that rows have here, by those that they have in the data.
    ids: BTreeMap<String, String>,
}

impl Collector<'_> {
    fn new<'a>(village: &'a Village, folder: &Path, lan: u16) -> Collector<'a> {
        let all = records::read(&records::sample_folder(), "insert").unwrap().unwrap();
        let handheld = Handheld::new(folder, "north");
        let collector = Collector { village, handheld, lan, all, taken: 0, ids: BTreeMap::new() };
        collector.sync(&["--schema-only"]);
        collector
    }

    /// The next records, entered at once, and given to the gateway.
    fn take(&mut self, count: usize) {
        let next = self.all[self.taken..self.taken + count].to_vec();
        self.taken += count;
        // Who is referenced first, so that its id is known.
        let (first, rest): (Vec<_>, Vec<_>) =
            next.into_iter().partition(|record| key(record).is_some());
        self.enter(&first);
        for record in &first {
            let (column, value) = key(record).unwrap();
            let table = record.json["table"].as_str().unwrap();
            let sql = format!("SELECT id FROM {table} WHERE {column} = ?1");
            let db = Connection::open(self.handheld.database()).unwrap();
            let id: String = db.query_row(&sql, [value], |row| row.get(0)).unwrap();
            self.ids.insert(record.json["id"].as_str().unwrap().into(), id);
        }
        self.enter(&rest);
        self.sync(&[]);
    }

    /// Records without their ids: the handheld makes them.
    fn enter(&self, records: &[Record]) {
        let own = records.iter().map(|record| {
            let mut json = record.json.clone();
            json.as_object_mut().unwrap().remove("id");
            for value in json["fields"].as_object_mut().unwrap().values_mut() {
                if let Some(id) = value.as_str().and_then(|id| self.ids.get(id)) {
                    *value = Value::from(id.as_str());
                }
            }
            Record::of(json)
        });
        self.handheld.import(&own.collect::<Vec<_>>()).unwrap();
    }

    fn sync(&self, more: &[&str]) {
        let at = format!("127.0.0.1:{}", self.lan);
        let command = self.handheld.compose(&[&["sync", "--tcp", &at], more].concat()).unwrap();
        run(&mut self.village.wrap(&command), "", PATIENCE).unwrap().ok().unwrap();
    }
}

/// By what a row that others reference is known in the data.
fn key(record: &Record) -> Option<(&'static str, &str)> {
    let column = match record.json["table"].as_str()? {
        "station" => "code",
        "vehicle" => "tailnum",
        _ => return None,
    };
    Some((column, record.json["fields"][column].as_str()?))
}

/// The same records by HTTPS, the server with the broker's certificate and the client with
/// the gateway's.
fn post(metered: &Metered<'_>, records: &[Record]) -> BTreeMap<String, Cost> {
    let path = metered.path();
    let identity = std::fs::read_to_string(path.join("identity.toml")).unwrap();
    let identity: toml::Table = identity.parse().unwrap();
    for (key, file) in [("certificate", "own.pem"), ("key", "own.key")] {
        std::fs::write(path.join(file), identity[key].as_str().unwrap()).unwrap();
    }
    std::fs::write(path.join("records.jsonl"), lines(&records[..BATCH])).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/post.py");
    let port = ports::free();
    let compose = |word: &str, [certificate, key]: [&str; 2]| {
        let mut command = Command::new("python3");
        // The one listens everywhere, the other goes over the link.
        let host = if word == "serve" { "0.0.0.0".into() } else { metered.village.host() };
        command.arg(&script).args([word, &host, &port.to_string()]).current_dir(path);
        command.args([certificate, key, "broker/authority.pem"]);
        command
    };
    let mut serve = compose("serve", ["broker/broker.pem", "broker/broker.key"]);
    let mut server = Process::start("post.py", &mut serve, &path.join("post.log")).unwrap();
    listening(port, "post.py", || server.check()).unwrap();
    let mut client = compose("post", ["own.pem", "own.key"]);
    client.arg("records.jsonl");
    let mut client = metered.village.wrap(&client);
    let printed = run(client.current_dir(path), "", PATIENCE).unwrap().ok().unwrap();
    server.kill();
    let costs: BTreeMap<String, Vec<(u64, u64)>> = serde_json::from_str(&printed).unwrap();
    let cost = |(bytes, packets)| Cost { bytes, packets };
    let middle = |costs: Vec<_>| Cost::middle(costs.into_iter().map(cost).collect());
    costs.into_iter().map(|(what, costs)| (what, middle(costs))).collect()
}
