//! Serial ports that are unplugged in mid-frame, again and again.
//!
//! Several lines at once; each is pulled out while bytes flow and plugged in
//! again under its name, handhelds offering records all the time. In the end
//! every record is there once, and the gateway has not spun.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use wadi_harness::handheld::{Handheld, Link, TRY_LATER, UNAVAILABLE};
use wadi_harness::line::Line;
use wadi_harness::process::Process;
use wadi_harness::random::{Random, seed};
use wadi_harness::records::Record;
use wadi_harness::tables::count;
use wadi_harness::wait::{Look, until};
use wadi_harness::{binaries, ports};

/// How often cables are pulled in all, unless this variable says otherwise.
const UNPLUGS_VARIABLE: &str = "WADITEST_UNPLUGS";
const UNPLUGS: u64 = 200;
const LINES: usize = 8;
/// What a handheld needs once nobody pulls any more, generously.
const PATIENCE: Duration = Duration::from_secs(90);
/// A cable is pulled after so many bytes: in a greeting, an offer or an answer.
const BYTES_BEFORE: std::ops::Range<u64> = 20..1_500;
/// Or after so long, if nobody talks.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// A gateway has its port open again 2 s after that is plugged in; the rest is slack.
const RETURN_MAX: Duration = Duration::from_secs(2 + 8);
/// Records entered at once.
const RECORDS: usize = 100;
/// So long all ports are away, and so often its threads wake meanwhile at most: for the
/// clock, and a hub that is not there. Looking at each port twice a second makes it 160.
const AWAY: Duration = Duration::from_secs(4);
const WAKES_MAX: u64 = 100;
/// Ticks a second of the times in /proc.
const TICKS_S: f64 = 100.0;

#[test]
fn cables_pulled_in_mid_frame_lose_and_double_nothing() {
    let seed = seed("cables_pulled_in_mid_frame_lose_and_double_nothing");
    let unplugs = std::env::var(UNPLUGS_VARIABLE).map_or(UNPLUGS, |text| text.parse().unwrap());
    let folder = tempfile::Builder::new().prefix("wadi-").tempdir().unwrap();
    let mut lines = lay(folder.path(), seed);
    let mut process = start(folder.path(), &lines);
    let gateway = process.id();
    let start = Instant::now();
    let before = cpu_s(gateway);
    let ended = AtomicBool::new(false);
    let (entered, mid_frame) = std::thread::scope(|scope| {
        let handhelds: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(at, line)| {
                let handheld = Handheld::new(folder.path(), &format!("tab-{at}"));
                let link = Link::Serial(line.handheld_port().to_path_buf());
                let ended = &ended;
                scope.spawn(move || offer(&handheld, &link, ended).unwrap())
            })
            .collect();
        let pullers: Vec<_> = lines
            .iter_mut()
            .zip(1..)
            .map(|(line, at)| {
                let random = Random::seeded(seed + at);
                scope.spawn(move || pull(line, gateway, unplugs / LINES as u64, random).unwrap())
            })
            .collect();
        let mid_frame: u64 = pullers.into_iter().map(|puller| puller.join().unwrap()).sum();
        ended.store(true, Ordering::Relaxed);
        let entered: usize = handhelds.into_iter().map(|handheld| handheld.join().unwrap()).sum();
        (entered, mid_frame)
    });
    let (spent, passed) = (cpu_s(gateway) - before, start.elapsed().as_secs_f64());
    eprintln!(
        "{unplugs} unplugs, {mid_frame} amid bytes, {entered} records, {passed:.0} s, {spent:.1} s of CPU"
    );
    assert!(mid_frame * 2 > unplugs / LINES as u64 * LINES as u64, "too few in mid-frame");
    assert!(spent < passed * 0.8, "{spent} s of CPU in {passed} s: it spins");

    // Every port away: nothing to do but to hear of one that comes.
    drop(lines);
    std::thread::sleep(Duration::from_secs(1));
    let before = wakes(gateway);
    std::thread::sleep(AWAY);
    let woken = wakes(gateway) - before;
    eprintln!("woken {woken} times in {AWAY:?} with no port");
    assert!(woken < WAKES_MAX, "woken {woken} times in {AWAY:?} with no port: it polls");

    // There is no hub here: every change waits, under one dot each.
    let database = folder.path().join("gateway.db");
    let all = count(&database, "SELECT count(*) FROM wadi_change").unwrap();
    assert_eq!(all, entered as i64, "records lost or doubled");
    process.check().unwrap();
    assert!(process.stop().unwrap().success());
}

/// Lines to the gateway.
fn lay(folder: &Path, seed: u64) -> Vec<Line> {
    let lay = |at| {
        let line = Line::lay(folder, &format!("line-{at}"), seed + at).unwrap();
        // Faster than a real one, so that more happens.
        line.trouble().limit_rate(50_000);
        line
    };
    (0..LINES as u64).map(lay).collect()
}

/// A gateway that has nobody but its handhelds.
fn start(folder: &Path, lines: &[Line]) -> Process {
    let mut text = format!(
        "site = \"north\"\ngateway = 1\ndatabase = \"gateway.db\"\n[handhelds]\nadmit = \"anyone\"\n[broker]\nhost = \"127.0.0.1\"\nport = {}\n",
        ports::free()
    );
    for line in lines {
        text += &format!("[[serial]]\npath = \"{}\"\n", line.gateway_port().display());
    }
    let config = folder.join("gateway.toml");
    std::fs::write(&config, text).unwrap();
    let mut command = binaries::command("wadi-gateway").unwrap();
    command.arg("--config").arg(config).arg("run");
    Process::start("wadi-gateway", &mut command, &folder.join("gateway.log")).unwrap()
}

/// Enter and sync until told to end, and then until all is taken; how many records.
fn offer(handheld: &Handheld, link: &Link, ended: &AtomicBool) -> Result<usize> {
    let mut entered = 0;
    while !ended.load(Ordering::Relaxed) {
        let name = handheld.database().display();
        let record = |at| {
            let fields = json!({ "patient": format!("{name} {at}") });
            Record::of(json!({"op": "insert", "table": "visit", "fields": fields}))
        };
        handheld.import(&(entered..entered + RECORDS).map(record).collect::<Vec<_>>())?;
        entered += RECORDS;
        while !ended.load(Ordering::Relaxed) {
            let outcome = handheld.sync(link)?;
            if outcome.code == Some(0) {
                break;
            }
            let again = matches!(outcome.code, Some(UNAVAILABLE | TRY_LATER));
            ensure!(again, "{outcome:?}");
        }
    }
    handheld.sync_well(link, PATIENCE)?;
    Ok(entered)
}

/// Pull the cable and plug it in so many times; how often bytes were on their way.
fn pull(line: &mut Line, gateway: u32, times: u64, mut random: Random) -> Result<u64> {
    let (mut mid_frame, mut slowest) = (0, Duration::ZERO);
    for _ in 0..times {
        let (meter, plugged) = (line.meter(), Instant::now());
        until("the gateway to open the port", RETURN_MAX, || {
            Ok(Look::when(has_open(gateway, line.gateway_port())?, || "closed".into()))
        })?;
        slowest = slowest.max(plugged.elapsed());
        let wanted = meter.bytes() + random.within(BYTES_BEFORE);
        let silent = Instant::now();
        while meter.bytes() < wanted && silent.elapsed() < SILENCE_MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
        mid_frame += u64::from(meter.bytes() >= wanted);
        line.replug()?;
    }
    eprintln!("{}: back within {slowest:?}", line.gateway_port().display());
    Ok(mid_frame)
}

/// Whether a process has the file open that a link leads to now.
fn has_open(process: u32, link: &Path) -> Result<bool> {
    let wanted = std::fs::read_link(link)?;
    let open = std::fs::read_dir(format!("/proc/{process}/fd"))?;
    // A device that was pulled out shows as deleted.
    Ok(open.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|path| path == wanted)))
}

/// Seconds of CPU that a process has used.
fn cpu_s(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').expect("its name is in brackets").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS_S
}

/// How often the threads of a process have been put to sleep, and so woken.
fn wakes(process: u32) -> u64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |status: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    };
    // A thread may end meanwhile.
    let statuses = threads
        .filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("status")).ok());
    statuses.map(|status| of_thread(&status)).sum()
}
