//! Bad company: ports that bring noise or bytes at the wrong speed, and handhelds
//! with long backlogs. Who has little to say and says it well is served meanwhile.
//!
//! No hub: a gateway takes records in without one. What is compared is the order
//! of what happened, never how long it took.
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::handheld::{Handheld, Link};
use wadi_harness::line::Line;
use wadi_harness::random::{Random, seed};
use wadi_harness::records::Record;
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};
use wadi_harness::{hub, ports};

use crate::world::PATIENCE;

/// Of a thousand reads of the honest one's line: how many turn or add a byte.
const NOISE_PER_MILLE: u64 = 60;

fn gateway(folder: &Path, lines: &[Line]) -> Gateway {
    let enrolment = hub::enrolment(folder, "north").unwrap();
    let settings = Settings {
        number: 1,
        enrolment: &enrolment,
        broker_port: ports::free(),
        serial: lines.iter().map(Line::gateway_port).collect(),
        interval_s: 60,
    };
    let mut gateway = Gateway::lay_out(folder, &settings).unwrap();
    gateway.start().unwrap();
    gateway
}

fn collector(folder: &Path, name: &str, records: usize) -> Handheld {
    let handheld = Handheld::new(folder, name);
    let record = |number| {
        let fields = json!({"patient": format!("{name} {number}")});
        Record::of(json!({"op": "insert", "table": "visit", "fields": fields}))
    };
    handheld.import(&(0..records).map(record).collect::<Vec<_>>()).unwrap();
    handheld
}

fn serial(line: &Line) -> Link {
    Link::Serial(line.handheld_port().to_path_buf())
}

fn taken(gateway: &Gateway, name: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM wadi_change c JOIN wadi_run r ON r.id = c.run WHERE r.label = '{name}'"
    );
    count(gateway.database(), &sql).unwrap()
}

/// What status says of a port.
fn port(gateway: &Gateway, line: &Line) -> Value {
    let seen = gateway.json(&["status"]).unwrap();
    let name = line.gateway_port().display().to_string();
    let all = seen["live"]["local"].as_array().unwrap().clone();
    all.into_iter().find(|link| link["name"] == name).unwrap()
}

/// The first words of a real handheld, as they go over a line that nobody answers on.
fn first_words(folder: &Path) -> Vec<u8> {
    let line = Line::lay(folder, "nobody", 1).unwrap();
    let handheld = collector(folder, "lonely", 1);
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut end =
        OpenOptions::new().read(true).custom_flags(flags).open(line.gateway_port()).unwrap();
    let _asking = handheld.begin_sync(&serial(&line)).unwrap();
    let (mut words, mut piece) = (Vec::new(), [0; 60]);
    until("the handheld to say something", PATIENCE, || {
        let length = end.read(&mut piece).unwrap_or(0);
        words.extend_from_slice(&piece[..length]);
        Ok(Look::when(words.len() >= 60, || format!("{} bytes", words.len())))
    })
    .unwrap();
    words
}

/// Says that it is over however a test ends, or the test would wait for who goes on.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The same bytes as a port hears them that listens at half their speed: every bit
/// counts for two, and bytes fall apart where they will.
fn at_half_speed(words: &[u8]) -> Vec<u8> {
    let spread =
        |nibble: u8| (0..4).fold(0, |wide, bit| wide | ((nibble >> bit & 1) * 3) << (2 * bit));
    words.iter().flat_map(|byte| [spread(byte & 15), spread(byte >> 4)]).collect()
}

/// What babbles: torn words, words at the wrong speed, ends of frames, and noise.
fn babble(words: &[u8], random: &mut Random) -> Vec<u8> {
    let cut = random.within(1..words.len() as u64) as usize;
    let noise: Vec<u8> = (0..2_000).map(|_| random.bits() as u8).collect();
    [&words[..cut], &at_half_speed(words), &[0; 40], &noise].concat()
}

#[test]
fn noise_and_a_wrong_speed_on_one_port_starve_nobody_on_another() {
    let seed = seed("noise_and_a_wrong_speed_on_one_port_starve_nobody_on_another");
    let folder = tempfile::Builder::new().prefix("wadi-").tempdir().unwrap();
    let path = folder.path();
    let words = first_words(path);
    let lay = |at: u64| Line::lay(path, &format!("line-{at}"), seed + at).unwrap();
    let lines = [lay(1), lay(2)];
    let [bad, good] = &lines;
    // A device that floods does not keep to 115200 baud.
    bad.trouble().limit_rate(0);
    let mut gateway = gateway(path, &lines);
    let ended = AtomicBool::new(false);
    let anna = collector(path, "anna", 300);
    std::thread::scope(|scope| {
        let babbling = scope.spawn(|| {
            let mut random = Random::seeded(seed);
            let mut end = OpenOptions::new().write(true).open(bad.handheld_port()).unwrap();
            while !ended.load(Ordering::Relaxed) {
                end.write_all(&babble(&words, &mut random)).unwrap();
            }
        });
        let over = Over(&ended);
        until("the gateway to have enough of it", PATIENCE, || {
            let seen = port(&gateway, bad);
            let enough = seen["babbling_stops"].as_u64() >= Some(2);
            Ok(Look::when(enough, || seen.to_string()))
        })
        .unwrap();
        // Garbage before the honest one's frames, amid them and behind them.
        let mut random = Random::seeded(seed + 9);
        let mut spoil = || {
            let mut end = OpenOptions::new().write(true).open(good.handheld_port()).unwrap();
            end.write_all(&babble(&words, &mut random)).unwrap();
        };
        spoil();
        good.trouble().make_noise(NOISE_PER_MILLE);
        anna.sync_well(&serial(good), PATIENCE).unwrap();
        good.trouble().make_noise(0);
        spoil();
        assert!(!babbling.is_finished(), "it babbled all the time");
        drop(over);
    });
    assert_eq!(taken(&gateway, "anna"), 300);

    let (of_bad, of_good) = (port(&gateway, bad), port(&gateway, good));
    let at_least = |seen: &Value, name: &str, least: u64| {
        assert!(seen[name].as_u64() >= Some(least), "{name} is below {least}: {seen}");
    };
    assert_eq!((&of_bad["answered"], &of_bad["open"]), (&json!(0), &json!(true)), "{of_bad}");
    at_least(&of_bad, "garbled_frames", 100);
    at_least(&of_bad, "garbled_bytes", 32 * 1024);
    assert_eq!(
        (&of_good["babbling_stops"], &of_good["open"]),
        (&json!(0), &json!(true)),
        "{of_good}"
    );
    at_least(&of_good, "answered", 4);
    at_least(&of_good, "garbled_frames", 2);
    let page = gateway.command(&["status"]).unwrap().ok().unwrap();
    assert!(page.contains("garbled frames") && page.contains("asked for again"), "{page}");

    // The babbler has gone; an honest one on its line, with the garbage still in it.
    let berta = collector(path, "berta", 20);
    berta.sync_well(&serial(bad), PATIENCE).unwrap();
    assert_eq!(taken(&gateway, "berta"), 20);
    gateway.check().unwrap();
    gateway.stop().unwrap();
}

#[test]
fn a_short_backlog_is_through_before_a_long_one() {
    const LONG: usize = 10_000;
    const SHORT: usize = 20;
    let folder = tempfile::Builder::new().prefix("wadi-").tempdir().unwrap();
    let path = folder.path();
    let lay = |at: u64| Line::lay(path, &format!("line-{at}"), at).unwrap();
    let lines = [lay(1), lay(2)];
    // The gateway alone is what they all wait for.
    lines.iter().for_each(|line| line.trouble().limit_rate(0));
    let mut gateway = gateway(path, &lines);
    let lan = Link::Tcp(gateway.port());
    let crowd = [
        (collector(path, "long-lan", LONG), lan.clone()),
        (collector(path, "long-line", LONG), serial(&lines[0])),
    ];
    let few = [
        (collector(path, "short-lan", SHORT), lan.clone()),
        (collector(path, "short-line", SHORT), serial(&lines[1])),
    ];
    let running: Vec<_> = crowd.iter().map(|(long, link)| long.begin_sync(link).unwrap()).collect();
    until("both long ones to be at it", PATIENCE, || {
        let all = ["long-lan", "long-line"].map(|name| taken(&gateway, name));
        Ok(Look::when(all.iter().all(|taken| *taken > 0), || format!("{all:?}")))
    })
    .unwrap();
    let begun: Vec<_> = few.iter().map(|(short, link)| short.begin_sync(link).unwrap()).collect();
    for short in begun {
        short.finish(PATIENCE).unwrap().ok().unwrap();
    }
    let then = ["long-lan", "long-line"].map(|name| taken(&gateway, name));
    eprintln!("when both short ones were through, of {LONG} each: {then:?}");
    for name in ["short-lan", "short-line"] {
        assert_eq!(taken(&gateway, name), SHORT as i64, "{name}");
    }
    assert!(then.iter().all(|taken| *taken < LONG as i64), "the long ones came first: {then:?}");
    // Who has much gets through too.
    for long in running {
        long.finish(PATIENCE).unwrap().ok().unwrap();
    }
    assert_eq!(["long-lan", "long-line"].map(|name| taken(&gateway, name)), [LONG as i64; 2]);
    gateway.check().unwrap();
    gateway.stop().unwrap();
}
