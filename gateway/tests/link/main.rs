//! The link from end to end: the handheld's store and sync, real streams with
//! noise and cuts, sessions, the gateway's store. The hub is one of paper.
mod paper;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_serial::{SerialPort, SerialStream};
use wadi_gateway::door::{SESSIONS_MAX, SESSIONS_PER_ADDRESS_MAX};
use wadi_gateway::handheld::store::SITES_MAX;
use wadi_gateway::handheld::sync::Place;
use wadi_gateway::handheld::synced::SyncError;
use wadi_gateway::links::Links;
use wadi_gateway::noise::answerer::{Answerer, Heard};
use wadi_gateway::noise::key::KeyPair;
use wadi_gateway::session::{Patience, serve};
use wadi_gateway::store::handhelds::{Admit, State};
use wadi_gateway::store::roster::{self, Whom};
use wadi_protocol::id::RunId;
use wadi_protocol::link::frame::{self, Accumulator};
use wadi_protocol::link::message::{Answer, AnswerBody, FeedPage};
use wadi_protocol::link::station::{Question, Reaction, Station, bytes_of};
use wadi_protocol::wire::batch;

use crate::paper::*;

#[tokio::test]
async fn changes_reach_the_gateway_and_come_back_durable() {
    let mut village = Village::new();
    let (place, _stop) = listen(&village).await;
    let mut tab = Handheld::new("tab-1");
    let first = tab.put(&insert(1000));
    tab.put_many(299);
    let synced = tab.sync(place.clone()).await;
    assert_eq!((synced.offered, synced.durable, synced.pulled), (300, 0, 300));
    assert_eq!(tab.custody("taken"), 300);
    assert_eq!(village.count("SELECT count(*) FROM place"), 300);
    assert_eq!(tab.text("SELECT count(*) || '' FROM place"), "300");

    village.commit().await;
    let synced = tab.sync(place.clone()).await;
    assert_eq!((synced.offered, synced.durable), (0, 300));
    assert_eq!(tab.custody("durable"), 300);
    assert_eq!(tab.text("SELECT count(*) || '' FROM wadi_change"), "0", "bodies are dropped");

    let mut other = Handheld::new("tab-2");
    assert_eq!(other.sync(place.clone()).await.pulled, 300);
    // A new total: the difference to what is shown travels.
    other.put(&update(&first, r#"{"stock":1010,"name":"renamed"}"#));
    let shown = format!("SELECT name || ' ' || stock FROM place WHERE id = '{first}'");
    assert_eq!(other.text(&shown), "renamed 1010");
    tab.put(&update(&first, r#"{"stock":{"add":5}}"#));
    assert_eq!(tab.text(&shown), "place 1000 1005");
    other.sync(place.clone()).await;
    tab.sync(place.clone()).await;
    other.sync(place).await;
    for handheld in [&tab, &other] {
        assert_eq!(handheld.text(&shown), "renamed 1015");
    }
    let stock = format!("SELECT stock FROM place WHERE id = '{first}'");
    assert_eq!(village.count(&stock), 1015);
}

#[tokio::test]
async fn a_pty_at_115200_baud_carries_a_thousand_changes_through_noise() {
    let village = Village::new();
    let (gateway_end, line_a) = SerialStream::pair().unwrap();
    let (line_b, handheld_end) = SerialStream::pair().unwrap();
    let path = PathBuf::from(handheld_end.name().expect("a pty has a name"));
    let patience = Patience { frame: None, write: Duration::from_secs(20), outlives_write: true };
    let reception = village.reception(Admit::Anyone);
    let sitting = Links::new().serial(Path::new("pty")).sit("pty");
    tokio::spawn(async move { serve(gateway_end, &reception, patience, sitting).await });
    tokio::spawn(garbled_line(line_a, line_b, 60));

    let mut tab = Handheld::new("tab-1");
    tab.put_many(1000);
    let synced = tab.sync(Place::Serial { path, baud: 115_200 }).await;
    assert_eq!(synced.offered, 1000);
    assert_eq!(village.count("SELECT count(*) FROM place"), 1000);
    assert_eq!(village.count("SELECT sum(stock) FROM place"), 499_500);
    assert_eq!(village.count("SELECT count(*) FROM wadi_change"), 1000);
    assert_eq!(tab.text("SELECT sum(stock) || '' FROM place"), "499500");
}

/// Copies between two ptys, and in one of so many chunks flips a bit, drops bytes or adds some.
async fn garbled_line(mut a: SerialStream, mut b: SerialStream, one_in: u64) {
    let mut dice = 0x5eed_u64;
    let mut roll = move |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) % sides
    };
    let (mut from_a, mut from_b) = (vec![0; 512], vec![0; 512]);
    loop {
        let (mut bytes, to_b) = tokio::select! {
            read = a.read(&mut from_a) => (from_a[..read.unwrap_or(0)].to_vec(), true),
            read = b.read(&mut from_b) => (from_b[..read.unwrap_or(0)].to_vec(), false),
        };
        if bytes.is_empty() {
            return;
        }
        match roll(one_in * 3) {
            0 => bytes[0] ^= 0x10,
            1 => bytes.truncate(bytes.len() / 2),
            2 => bytes.extend([0x55, 0, 0xaa, 0xff, 7]),
            _ => {}
        }
        let written = if to_b { b.write_all(&bytes).await } else { a.write_all(&bytes).await };
        if written.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn tcp_cut_in_mid_frame_again_and_again_loses_and_doubles_nothing() {
    let village = Village::new();
    let (place, _stop) = listen(&village).await;
    let Place::Tcp(target) = place else { unreachable!() };
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let through = Place::Tcp(proxy.local_addr().unwrap().to_string());
    tokio::spawn(async move {
        let mut length = 700;
        while let Ok((client, _)) = proxy.accept().await {
            length = length * 7 % 40_009 + 300;
            tokio::spawn(cut_after(client, target.clone(), length));
        }
    });
    let mut tab = Handheld::new("tab-1");
    tab.put_many(1500);
    let mut syncs = 0;
    while tab.try_sync(through.clone()).await.1.is_err() {
        syncs += 1;
        assert!(syncs < 40, "each sync gets further");
    }
    assert_eq!(tab.custody("pending"), 0);
    assert_eq!(village.count("SELECT count(*) FROM wadi_change"), 1500);
    assert_eq!(village.count("SELECT sum(stock) FROM place"), 1500 * 1499 / 2);
    assert_eq!(tab.text("SELECT count(*) || '' FROM place"), "1500");
}

/// Carries so many bytes in both directions together, then cuts.
async fn cut_after(mut client: TcpStream, target: String, bytes: u64) {
    let Ok(mut gateway) = TcpStream::connect(target).await else {
        return;
    };
    let (mut left, mut from_client, mut from_gateway) = (bytes, [0; 300], [0; 300]);
    while left > 0 {
        let (read, to_gateway) = tokio::select! {
            read = client.read(&mut from_client) => (read.unwrap_or(0), true),
            read = gateway.read(&mut from_gateway) => (read.unwrap_or(0), false),
        };
        let carried = (read as u64).min(left) as usize;
        left -= carried as u64;
        let written = if to_gateway {
            gateway.write_all(&from_client[..carried]).await
        } else {
            client.write_all(&from_gateway[..carried]).await
        };
        if read == 0 || written.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn another_gateway_is_offered_what_is_not_durable_and_the_replica_begins_anew() {
    // Roaming is between sites, or a site's gateway is restored with its key.
    let (one, mut other) = (Village::new(), Village::new());
    other.keys = Arc::clone(&one.keys);
    let (at_one, _stop) = listen(&one).await;
    let (at_other, _stop_other) = listen(&other).await;
    let mut tab = Handheld::new("tab-1");
    let row = tab.put(&insert(7));
    tab.sync(at_one).await;
    let mut resident = Handheld::new("resident");
    resident.put(&insert(9));
    resident.sync(at_other.clone()).await;

    let synced = tab.sync(at_other.clone()).await;
    assert_eq!((synced.offered, synced.pulled), (1, 2));
    assert_eq!(other.count("SELECT count(*) FROM place"), 2);
    assert_eq!(tab.text("SELECT name FROM place ORDER BY name"), "place 7|place 9");
    let stock = format!("SELECT stock || '' FROM place WHERE id = '{row}'");
    assert_eq!(tab.text(&stock), "7");
    assert_eq!(tab.sync(at_other).await.offered, 0);
}

#[tokio::test]
async fn a_copied_file_never_reuses_a_number() {
    let village = Village::new();
    let (place, _stop) = listen(&village).await;
    let mut tab = Handheld::new("tab-1");
    tab.put(&insert(1));
    tab.sync(place.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path().join("handheld.db");
    let db = Connection::open(tab.path()).unwrap();
    db.execute("VACUUM INTO ?", (copied.to_str().unwrap(),)).unwrap();
    drop(db);
    let store = open(&copied, "tab-1");
    let mut copy = Handheld { folder, store };
    assert_ne!(tab.put(&insert(2)), copy.put(&insert(3)));
    assert_eq!(tab.store.device().id, copy.store.device().id);
    tab.sync(place.clone()).await;
    copy.sync(place.clone()).await;
    tab.sync(place).await;
    assert_eq!(village.count("SELECT count(*) FROM place"), 3);
    for handheld in [&tab, &copy] {
        let names = handheld.text("SELECT name FROM place ORDER BY name");
        assert_eq!(names, "place 1|place 2|place 3");
    }
}

#[tokio::test]
async fn a_poison_record_goes_along_and_stops_nobody() {
    let village = Village::new();
    let (place, _stop) = listen(&village).await;
    let mut tab = Handheld::new("tab-1");
    tab.put(r#"{"op":"insert","table":"nowhere","fields":{"a":1}}"#);
    tab.put(r#"{"op":"insert","table":"place","fields":{"name":5,"heigth":1}}"#);
    tab.put(&insert(1));
    let long = "x".repeat(60_000);
    tab.put(&format!(r#"{{"op":"insert","table":"place","fields":{{"name":"{long}"}}}}"#));
    let synced = tab.sync(place).await;
    assert_eq!(synced.offered, 4);
    assert_eq!(village.count("SELECT count(*) FROM wadi_change"), 4);
    assert_eq!(tab.text("SELECT name FROM place"), "place 1");
}

/// A gateway that refuses every offer with a certain change in it.
async fn fussy_gateway(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let (mut station, mut accumulator) = (Station::new(), Accumulator::new());
        let mut answerer = Answerer::new(Arc::new(KeyPair::of([5; 32])));
        let mut buffer = [0; 4096];
        while let Ok(length) = stream.read(&mut buffer).await
            && length > 0
        {
            let mut input = &buffer[..length];
            while let Some(body) = accumulator.next_body(&mut input) {
                let message = match answerer.hear(&body) {
                    Heard::Message(message) => message,
                    Heard::Reply(body) => {
                        stream.write_all(&frame::encode(&body).unwrap()).await.unwrap();
                        continue;
                    }
                    _ => continue,
                };
                let Reaction::Store(number, question) = station.hear(&message) else { panic!() };
                let fussy = |batch: &batch::Batch| format!("{batch:?}").contains("poison");
                let run = RunId(5);
                let body = match question {
                    Question::Welcome { .. } => AnswerBody::Welcome {
                        site: "fussy".into(),
                        run,
                        schema: 0,
                        schema_bytes: 0,
                        continues: true,
                        clock_s: NOW_S,
                    },
                    Question::Intake(batch) if fussy(&batch) => {
                        AnswerBody::Refused { reason: "poison".into() }
                    }
                    Question::Intake(_) => AnswerBody::Taken,
                    Question::Fates(_) => AnswerBody::Fates { fates: vec![] },
                    Question::Feed { .. } => AnswerBody::Page(FeedPage::default()),
                    Question::Schema { .. } => AnswerBody::Schema { bytes: vec![] },
                };
                let sealed = answerer.seal(&bytes_of(Answer { number, body })).unwrap();
                stream.write_all(&frame::encode(&sealed).unwrap()).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_change_that_is_refused_stays_and_the_others_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap().to_string());
    tokio::spawn(fussy_gateway(listener));
    let mut tab = Handheld::new("tab-1");
    tab.put_many(20);
    tab.put(r#"{"op":"insert","table":"place","fields":{"name":"poison"}}"#);
    tab.put_many(200);
    let synced = tab.sync(place).await;
    assert_eq!((synced.offered, synced.refused), (220, 1));
    assert_eq!((tab.custody("taken"), tab.custody("pending")), (220, 1));
    assert_eq!(tab.store.status().unwrap().undecided[0].reason, "poison");
}

#[tokio::test]
async fn nobody_there_is_no_link() {
    let mut tab = Handheld::new("tab-1");
    tab.put(&insert(1));
    let (_, outcome) = tab.try_sync(Place::Tcp("127.0.0.1:9".into())).await;
    assert!(matches!(outcome, Err(SyncError::NoLink(_))));
    assert_eq!(tab.custody("pending"), 1);
}

#[tokio::test]
async fn the_thirty_third_handheld_is_told_that_the_gateway_is_busy_and_comes_back() {
    let village = Village::new();
    let (place, _stop) = listen(&village).await;
    let Place::Tcp(address) = place.clone() else { unreachable!() };
    let mut idle = Vec::new();
    for at in 0..SESSIONS_MAX {
        // So many from each address.
        let socket = TcpSocket::new_v4().unwrap();
        let own = format!("127.0.1.{}:0", 1 + at / SESSIONS_PER_ADDRESS_MAX);
        socket.bind(own.parse().unwrap()).unwrap();
        idle.push(socket.connect(address.parse().unwrap()).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut tab = Handheld::new("tab-1");
    tab.put(&insert(1));
    let freeing = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        idle.clear();
    };
    let ((synced, outcome), ()) = tokio::join!(tab.try_sync(place), freeing);
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(synced.offered, 1);
}

/// Let the handhelds of a name in, or out, as the command does.
fn stand(village: &Village, name: &str, state: State) -> roster::Outcome {
    let whom = Whom { name, key: None, whole: None };
    roster::set(&village.folder.path().join("gateway.db"), &whom, state, NOW_S).unwrap()
}

#[tokio::test]
async fn a_handheld_comes_in_once_it_is_allowed_and_until_it_is_revoked() {
    let village = Village::new();
    let (place, _stop) = listen_behind(village.reception(Admit::Allowed)).await;
    let mut tab = Handheld::new("tab-1");
    tab.put(&insert(1));
    let refused = tab.try_sync(place.clone()).await.1.unwrap_err().to_string();
    let advice = "does not know handheld \"tab-1\" (key ";
    assert!(refused.contains(advice), "{refused}");
    assert!(refused.ends_with("run: wadi-gateway handheld allow tab-1"), "{refused}");
    assert_eq!(village.count("SELECT count(*) FROM place"), 0);
    assert!(matches!(stand(&village, "tab-1", State::Allowed), roster::Outcome::Done(_)));
    assert_eq!(tab.sync(place.clone()).await.offered, 1);
    assert!(matches!(stand(&village, "tab-1", State::Revoked), roster::Outcome::Done(_)));
    tab.put(&insert(2));
    let refused = tab.try_sync(place.clone()).await.1.unwrap_err().to_string();
    assert!(refused.contains("was revoked"), "{refused}");
    assert_eq!(village.count("SELECT count(*) FROM place"), 1);
    assert_eq!(tab.custody("pending"), 1, "nothing of it is lost");
    // By the same name with another key.
    let mut other = Handheld::new("tab-1");
    let refused = other.try_sync(place).await.1.unwrap_err().to_string();
    let key = other.store.keys().public();
    let advice = format!("run: wadi-gateway handheld allow --key {} tab-1", key.typed());
    assert!(refused.ends_with(&advice), "{refused}");
}

#[tokio::test]
async fn another_gateway_of_the_same_site_gets_nothing_until_the_old_one_is_forgotten() {
    let (one, other) = (Village::new(), Village::new());
    let (at_one, _stop) = listen(&one).await;
    let (at_other, _stop_other) = listen(&other).await;
    let mut tab = Handheld::new("tab-1");
    tab.put(&insert(1));
    let met = tab.sync(at_one.clone()).await.met;
    assert_eq!(met, Some(("north".into(), one.keys.public())));
    assert_eq!(tab.sync(at_one).await.met, None);
    tab.put(&insert(2));
    let (_, outcome) = tab.try_sync(at_other.clone()).await;
    let error = outcome.unwrap_err();
    assert!(matches!(&error, SyncError::OtherKey { site, .. } if site == "north"), "{error}");
    assert!(error.to_string().contains("wadi-handheld forget north"), "{error}");
    assert_eq!(other.count("SELECT count(*) FROM wadi_change"), 0);
    assert!(tab.store.write(NOW_S, |work| work.forget_site("north")).unwrap());
    assert_eq!(tab.sync(at_other).await.offered, 2);
}

#[tokio::test]
async fn a_file_that_knows_too_many_sites_says_how_to_make_room() {
    let village = Village::new();
    let (place, _stop) = listen(&village).await;
    let mut tab = Handheld::new("tab-1");
    for site in 0..SITES_MAX {
        tab.store.write(NOW_S, |work| work.pin(&site.to_string(), village.keys.public())).unwrap();
    }
    tab.put(&insert(1));
    let (_, outcome) = tab.try_sync(place.clone()).await;
    let said = outcome.unwrap_err().to_string();
    let known = format!("site \"north\" is new, and this file knows {SITES_MAX} sites: ");
    assert!(said.starts_with(&known), "{said}");
    assert!(said.ends_with("make room with `wadi-handheld forget SITE`"), "{said}");
    assert_eq!(village.count("SELECT count(*) FROM wadi_change"), 0);
    assert!(tab.store.write(NOW_S, |work| work.forget_site("7")).unwrap());
    assert_eq!(tab.sync(place).await.offered, 1);
}
