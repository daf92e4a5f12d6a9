//! What people and monitoring see: `status` of both ends before the first sync,
//! while the link is down, with quarantined changes, after; the figures over
//! HTTP; and that whoever asks badly hurts nobody.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use wadi_harness::gateway::{Gateway, Settings};
use wadi_harness::hub::{BrokerAt, Hub};
use wadi_harness::ports;
use wadi_harness::wait::{Look, until};

use crate::world::{PATIENCE, World};

const SCHEMA: &str = "name = \"clinic\"\n[tables.visit.fields]\npatient = { type = \"text\" }\nage = { type = \"integer\", max = 130 }\n";
/// A connection to the page of figures is given up by the far end before this.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// What a status says of problems, by their codes.
fn codes(status: &Value) -> Vec<&str> {
    let problems = status["problems"].as_array().expect("problems are a list");
    problems.iter().filter_map(|problem| problem["code"].as_str()).collect()
}

/// Wait until a gateway's status is as wanted; its JSON.
fn until_status(gateway: &Gateway, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = || {
        let status = gateway.json(&["status"])?;
        let seen = status.to_string();
        Ok(if wanted(&status) { Look::Found(status) } else { Look::NotYet(seen) })
    };
    until(what, PATIENCE, look).unwrap()
}

fn page(gateway: &Gateway) -> String {
    gateway.command(&["status"]).unwrap().ok().unwrap()
}

fn append(file: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn status_of_a_gateway_that_has_never_synced() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = ports::free();
    let settings = Settings {
        number: 1,
        enrolment: &wadi_harness::hub::enrolment(folder.path(), "north").unwrap(),
        broker_port: nobody,
        serial: Vec::new(),
        interval_s: 1,
    };
    let mut gateway = Gateway::lay_out(folder.path(), &settings).unwrap();
    let outcome = gateway.command(&["status"]).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("`wadi-gateway run` creates it"), "{outcome:?}");

    gateway.start().unwrap();
    let status = until_status(&gateway, "a failed attempt", |status| {
        status["live"]["link"]["last_error"].is_string()
    });
    assert_eq!(codes(&status), ["no-schema"]);
    assert_eq!((&status["running"], &status["last_round_s"]), (&json!(true), &Value::Null));
    assert_eq!(status["live"]["link"]["connected"], json!(false));
    let said = page(&gateway);
    for line in [
        "PROBLEM       no schema yet",
        "-> it comes with the first sync",
        "last sync     never",
        &format!("no broker at 127.0.0.1:{nobody}"),
        "last error",
        "not confirmed by the hub since the start",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert_eq!(gateway.command(&["status", "--check"]).unwrap().code, Some(1));

    gateway.stop().unwrap();
    let status = gateway.json(&["status"]).unwrap();
    assert_eq!((&status["running"], &status["live"]), (&json!(false), &Value::Null));
    assert!(page(&gateway).contains("-> start it: systemctl start wadi-gateway"));
}

#[test]
fn status_of_both_ends_through_a_cut_link_and_a_bad_record() {
    let mut world = World::start(SCHEMA, 2, false, 81).unwrap();
    let anna = world.handheld("anna");
    until_status(&world.gateways[0], "the first sync", |status| status["schema"] == 1);
    let status =
        until_status(&world.gateways[0], "nothing to see to", |status| codes(status).is_empty());
    assert_eq!((&status["clock"]["confirmed"], &status["running"]), (&json!(true), &json!(true)));
    assert_eq!(world.gateways[0].command(&["status", "--check"]).unwrap().code, Some(0));
    let well = world.hub.operator.command(&["status", "--check"]).unwrap();
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(well.stdout.contains("serving       yes"), "{well:?}");

    world.offline(0);
    let visit = |age: u64| json!({"op": "insert", "table": "visit", "fields": {"patient": "p", "age": age}});
    world.enter(&anna, 0, &visit(30)).unwrap();
    let status = until_status(&world.gateways[0], "a lost link", |status| {
        status["live"]["link"]["connected"] == false && status["pending_changes"] == 1
    });
    assert_eq!(codes(&status), [""; 0], "a cut link is what this is built for");
    assert_eq!(status["pending"][0]["table"], "visit");
    assert!(status["oldest_pending_age_s"].as_u64().unwrap() <= PATIENCE.as_secs());
    let said = page(&world.gateways[0]);
    for line in ["pending       1 change waits for the hub", "1 visit", "no broker at"] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }

    world.online(0);
    world.enter(&anna, 0, &visit(999)).unwrap();
    let status = until_status(&world.gateways[0], "all to be decided", |status| {
        status["pending_changes"] == 0 && status["quarantined_changes"] == 1
    });
    assert!(status["quarantined"][0]["reason"].as_str().unwrap().contains("age"), "{status}");
    assert!(status["live"]["link"]["connections"].as_u64().unwrap() >= 2, "{status}");
    let said = page(&world.gateways[0]);
    assert!(said.contains("1 change put aside at the hub"), "{said}");

    let hub = world.hub.operator.command(&["status", "--check"]).unwrap();
    assert_eq!(hub.code, Some(1), "{hub:?}");
    assert!(hub.stdout.contains("PROBLEM       site site-1: 1 change in quarantine"), "{hub:?}");
    let status = world.hub.operator.json(&["status"]).unwrap();
    assert_eq!(codes(&status), ["quarantined"]);
    let sites: Vec<&str> = status["sites"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|site| site["site"].as_str())
        .collect();
    assert_eq!(sites, ["site-1", "site-2"], "worst first");
    assert_eq!(status["sites"][0]["schema_behind"], 0);
    assert!(status["sites"][0]["round_age_s"].is_u64(), "{status}");

    world.stop().unwrap();
    let status = world.hub.operator.json(&["status"]).unwrap();
    assert_eq!(codes(&status), ["not-serving", "quarantined"]);
}

/// A box that replaced another without being enrolled anew: the hub says so by site.
#[test]
fn the_hub_names_a_site_whose_gateway_it_refuses() {
    let mut world = World::start(SCHEMA, 1, false, 82).unwrap();
    until_status(&world.gateways[0], "the first sync", |status| status["schema"] == 1);
    let anna = world.handheld("anna");
    let visit = json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}});
    world.enter(&anna, 0, &visit).unwrap();
    until_status(&world.gateways[0], "the record to be durable", |status| {
        status["pending_changes"] == 0 && status["cursors"] == json!([1, 1])
    });
    world.gateways[0].stop().unwrap();
    let database = world.gateways[0].database().to_path_buf();
    for end in ["", "-wal", "-shm"] {
        let file = format!("{}{end}", database.display());
        assert!(std::fs::remove_file(&file).is_ok() || !end.is_empty(), "{file}");
    }
    world.gateways[0].start().unwrap();
    let look = || {
        let status = world.hub.operator.json(&["status"])?;
        Ok(Look::when(codes(&status) == ["other-line"], || status.to_string()))
    };
    until("the hub to name the refused site", PATIENCE, look).unwrap();
    let said = world.hub.operator.command(&["status"]).unwrap().ok().unwrap();
    let line = "PROBLEM       site site-1: a box with another history comes under its number";
    assert!(said.contains(line), "{said}");
    assert!(
        said.contains("-> if that is the site's box now, run `wadi-hub gateway rejoin site-1`")
    );
    let told = world.gateways[0].command(&["sync"]).unwrap();
    assert!(told.stderr.contains("not synced: this gateway's history differs"), "{told:?}");
    assert!(told.stderr.contains("tell the hub's operators"), "{told:?}");
    let status = until_status(&world.gateways[0], "to know that it is refused", |status| {
        codes(status).contains(&"refused")
    });
    assert!(status["live"]["link"]["refusals"].as_u64() >= Some(1), "{status}");
    world.stop().unwrap();
}

/// Ask over a fresh connection; head and body of the answer.
fn http(port: u16, request: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(HTTP_TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("no head in {answer:?}"))?;
    Ok((head.into(), body.into()))
}

fn get(port: u16, path: &str) -> Result<(String, String)> {
    http(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// The figures of a page, each name with its labels; a line that is none is an error.
fn figures(port: u16) -> Result<std::collections::BTreeMap<String, f64>> {
    let (head, body) = get(port, "/metrics")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    ensure!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
    ensure!(body.ends_with("# EOF\n"), "{body}");
    let mut figures = std::collections::BTreeMap::new();
    let (mut known, mut told) = (std::collections::BTreeSet::new(), 0);
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.split(' ');
            if words.next() == Some("TYPE") {
                known.insert(words.next().context("a name")?.to_owned());
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
        let family = name.split('{').next().unwrap_or(name);
        let family = family.strip_suffix("_total").unwrap_or(family);
        ensure!(known.contains(family), "{family} has no type");
        ensure!(figures.insert(name.to_owned(), value.parse()?).is_none(), "twice: {line}");
        told += 1;
    }
    ensure!(told > 20, "only {told} figures");
    Ok(figures)
}

/// A world whose hub and first gateway show figures, at these ports.
fn world_with_figures(seed: u64) -> (World, u16, u16) {
    let mut world = World::start(SCHEMA, 1, false, seed).unwrap();
    let (hub, gateway) = (ports::free(), ports::free());
    for (file, port) in [("hub.toml", hub), ("gateway-1.toml", gateway)] {
        let text = format!("\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
        append(&world.folder().join(file), &text);
    }
    world.hub.stop().unwrap();
    world.hub.start().unwrap();
    world.gateways[0].stop().unwrap();
    world.gateways[0].start().unwrap();
    until_status(&world.gateways[0], "a sync", |status| status["clock"]["confirmed"] == true);
    (world, hub, gateway)
}

fn until_figure(port: u16, name: &str, wanted: f64) {
    let look = || match figures(port) {
        Ok(figures) => {
            let found = figures.get(name).copied();
            Ok(Look::when(found == Some(wanted), || format!("{found:?} in {figures:?}")))
        }
        Err(error) => Ok(Look::NotYet(format!("{error:#}"))),
    };
    until(&format!("{name} = {wanted}"), PATIENCE, look).unwrap();
}

#[test]
fn figures_of_both_ends() {
    let (mut world, hub, gateway) = world_with_figures(83);
    let anna = world.handheld("anna");
    world.offline(0);
    let visit = json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}});
    world.enter(&anna, 0, &visit).unwrap();
    until_figure(gateway, "wadi_gateway_pending_changes{table=\"visit\"}", 1.0);
    until_figure(gateway, "wadi_gateway_link_connected", 0.0);
    world.online(0);
    until_figure(hub, "wadi_hub_applied_changes", 1.0);
    until_figure(gateway, "wadi_gateway_link_connected", 1.0);
    let seen = figures(gateway).unwrap();
    for name in [
        "wadi_gateway_last_round_age_seconds",
        "wadi_gateway_disk_free_bytes",
        "wadi_gateway_database_bytes",
        "wadi_gateway_clock_offset_seconds",
        "wadi_gateway_rounds_total",
        "wadi_gateway_handheld_sessions",
    ] {
        assert!(seen.contains_key(name), "{name} is not in {seen:?}");
    }
    for name in ["wadi_gateway_link_sent_bytes_total", "wadi_gateway_link_received_bytes_total"] {
        assert!(seen[name] > 0.0, "{name} {seen:?}");
    }
    let seen = figures(hub).unwrap();
    assert_eq!(seen["wadi_hub_head_sequence"], 1.0);
    assert_eq!(seen["wadi_hub_site_parked_changes{site=\"site-1\"}"], 0.0);
    assert!(seen["wadi_hub_site_heard_age_seconds{site=\"site-1\"}"] < PATIENCE.as_secs_f64());
    assert!(seen["wadi_hub_received_messages_total"] > 0.0);
    for port in [hub, gateway] {
        let (head, body) = get(port, "/healthz").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && body == "ok\n", "{head}\n{body}");
        assert!(get(port, "/else").unwrap().0.starts_with("HTTP/1.1 404"));
    }
    world.stop().unwrap();
}

/// Silent, endless and oversized requests: the page comes back, and rounds never wait for it.
#[test]
fn bad_scrapers_hurt_nobody() {
    let (mut world, hub, gateway) = world_with_figures(84);
    for port in [hub, gateway] {
        let silent: Vec<TcpStream> =
            (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        for (at, mut stream) in silent.iter().enumerate() {
            stream.write_all(&b"GET /metrics HTTP/1.1\r\nX: "[..at % 25]).unwrap();
        }
        // The gateway keeps its own work up meanwhile.
        let anna = world.handheld(&format!("anna-{port}"));
        let visit = json!({"op": "insert", "table": "visit", "fields": {"patient": "p"}});
        world.enter(&anna, 0, &visit).unwrap();
        world.gateways[0].command(&["sync"]).unwrap().ok().unwrap();
        drop(silent);
        let huge = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(4 << 20));
        match http(port, &huge) {
            Ok((head, _)) => assert!(head.starts_with("HTTP/1.1 4"), "{head}"),
            Err(error) => assert!(!format!("{error:#}").contains("timed out"), "{error:#}"),
        }
        let endless = format!("POST /metrics HTTP/1.1\r\nContent-Length: {}\r\n\r\n", u64::MAX);
        if let Ok((head, _)) = http(port, &endless) {
            assert!(head.starts_with("HTTP/1.1 4"), "{head}");
        }
        until("the page to be there again", PATIENCE, || {
            Ok(match figures(port) {
                Ok(_) => Look::Found(()),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .unwrap();
    }
    world.stop().unwrap();
}

/// Who holds the control socket and says nothing keeps nobody from looking or syncing.
#[test]
fn silent_neighbours_at_the_control_socket() {
    let mut world = World::start(SCHEMA, 1, false, 85).unwrap();
    let gateway = &world.gateways[0];
    until_status(gateway, "the first sync", |status| status["schema"] == 1);
    let socket = format!("{}-control", gateway.database().display());
    let mut silent: Vec<UnixStream> =
        (0..10).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let status = gateway.json(&["status"]).unwrap();
    assert_eq!(status["running"], true, "{status}");
    gateway.command(&["sync"]).unwrap().ok().unwrap();
    // Syncs that cannot end leave places for a look.
    world.hub.stop().unwrap();
    world.offline(0);
    for stream in &mut silent {
        // It may have been hung up on by now, which is as good.
        let _ = stream.write_all(b"sync\n");
    }
    let asking: Vec<UnixStream> = (0..12)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            let _ = stream.write_all(b"sync\n");
            stream
        })
        .collect();
    until_status(&world.gateways[0], "an answer", |status| status["running"] == true);
    drop((silent, asking));
    world.online(0);
    world.hub.start().unwrap();
    let mut other = UnixStream::connect(&socket).unwrap();
    other.write_all(&vec![b'x'; 100_000]).ok();
    let mut said = String::new();
    let _ = other.read_to_string(&mut said);
    assert!(said.is_empty() || said.starts_with("failed: unknown question"), "{said}");
    // A hub that is told to stop before it listens to that dies of it.
    until("the hub to be there", PATIENCE, || {
        let outcome = world.gateways[0].command(&["sync"])?;
        Ok(Look::when(outcome.code == Some(0), || format!("{outcome:?}")))
    })
    .unwrap();
    world.stop().unwrap();
}

#[test]
fn figures_off_loopback_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = "[metrics]\nlisten = \"0.0.0.0:9464\"\n";
    for (program, text) in [
        ("wadi-gateway", "site = \"north\"\ngateway = 1\ndatabase = \"g.db\"\n"),
        ("wadi-hub", "database = \"hub.db\"\n"),
    ] {
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, format!("{text}{metrics}")).unwrap();
        let mut command = wadi_harness::binaries::command(program).unwrap();
        let output = command.arg("--config").arg(&file).arg("status").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        for word in ["settings.toml", "metrics.listen", "127.0.0.1"] {
            assert!(said.contains(word), "{word} is not in {said}");
        }
    }
}

/// A port that somebody has already: which one, and what to do.
#[test]
fn a_port_for_figures_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let hub = Hub::lay_out(folder.path(), BrokerAt::Embedded(ports::free()), SCHEMA).unwrap();
    append(
        &folder.path().join("hub.toml"),
        &format!("\n[metrics]\nlisten = \"127.0.0.1:{port}\"\n"),
    );
    let outcome = hub.operator.command(&["serve"]).unwrap();
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let named = format!("[metrics] listen 127.0.0.1:{port}");
    assert!(outcome.stderr.contains(&named), "{outcome:?}");
    assert!(outcome.stderr.contains("give another port"), "{outcome:?}");
}
