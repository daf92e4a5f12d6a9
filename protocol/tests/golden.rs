//! The bytes of every format, written down: gateways in the field read and
//! write exactly these.
//!
//! A failing test means that the format changed. That is allowed only together
//! with its version number (`BATCH_VERSION`, `ADAPTIVE_VERSION`, `PAGE_VERSION`, `MESSAGE_VERSION`,
//! `LINK_VERSION`); then write the files anew with
//! `WADITEST_BLESS=1 cargo test -p wadi-protocol --test golden`.
mod sample;

use std::fmt::Write;
use std::path::Path;

use wadi_protocol::id::{DeviceId, RowId};
use wadi_protocol::link::{envelope, frame, message as link};
use wadi_protocol::schema::Schema;
use wadi_protocol::wire::{adaptive, batch, downlink, message};

/// Named byte strings of one format.
type Entries = Vec<(&'static str, Vec<u8>)>;

const LINE_BYTES: usize = 32;

/// A name a line, its bytes on the lines that follow.
fn written(entries: &Entries) -> String {
    let mut text = String::new();
    for (name, bytes) in entries {
        writeln!(text, "{name}").unwrap();
        for line in bytes.chunks(LINE_BYTES) {
            let line: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "  {line}").unwrap();
        }
    }
    text
}

fn check(file: &str, entries: &Entries) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    let now = written(entries);
    if std::env::var_os("WADITEST_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        return std::fs::write(&path, now).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (then, now) in golden.lines().zip(now.lines()) {
        assert_eq!(
            then, now,
            "{file} differs: bump the version of the format, then WADITEST_BLESS=1"
        );
    }
    assert_eq!(
        golden.len(),
        now.len(),
        "{file} differs: bump the version of the format, then WADITEST_BLESS=1"
    );
}

#[test]
fn batch_bytes() {
    let day = sample::day();
    let alone =
        batch::Batch { runs: day.runs[1..2].to_vec(), changes: day.changes[12..13].to_vec() };
    let empty = batch::Batch::default();
    let bytes = |batch| {
        let bytes = batch::encode(batch);
        assert_eq!(batch::decode(&bytes).as_ref(), Ok(batch));
        bytes
    };
    check(
        "batch.hex",
        &vec![
            ("batch_of_a_day", bytes(&day)),
            ("batch_of_one_update", bytes(&alone)),
            ("batch_of_nothing", bytes(&empty)),
        ],
    );
}

#[test]
fn adaptive_bytes() {
    // The third time nearly nothing is new: these bytes are the model's arithmetic.
    let mut model = adaptive::Model::new();
    let days = ["day", "day_again", "day_once_more"];
    let entries = days.map(|name| (name, adaptive::encode(&mut model, &sample::day()).unwrap()));
    check("adaptive.hex", &entries.into());
}

#[test]
fn page_bytes() {
    let pages = [("page", sample::page()), ("page_of_nothing", downlink::Page::default())];
    let entries = pages.map(|(name, page)| {
        let bytes = downlink::encode(&page);
        assert_eq!(downlink::decode(&bytes), Ok(page));
        (name, bytes)
    });
    check("page.hex", &entries.into());
}

#[test]
fn message_bytes() {
    let ups = sample::ups().into_iter().map(|(name, up)| {
        let bytes = message::encode(&up);
        assert_eq!(message::decode(&bytes), Ok(up));
        (name, bytes)
    });
    let downs = sample::downs().into_iter().map(|(name, down)| {
        let bytes = message::encode(&down);
        assert_eq!(message::decode(&bytes), Ok(down));
        (name, bytes)
    });
    check("message.hex", &ups.chain(downs).chain(sample::briefs()).collect());
}

#[test]
fn link_bytes() {
    let asks = sample::link::asks().into_iter().map(|(name, ask)| {
        let bytes = link::encode(&ask);
        assert_eq!(link::decode(&bytes), Ok(ask));
        (name, bytes)
    });
    let answers = sample::link::answers().into_iter().map(|(name, answer)| {
        let bytes = link::encode(&answer);
        assert_eq!(link::decode(&bytes), Ok(answer));
        (name, bytes)
    });
    let envelopes = sample::link::envelopes().into_iter().map(|(name, sent)| {
        let body = envelope::encode(&sent);
        assert_eq!(envelope::decode(&body), Ok(sent));
        (name, body)
    });
    let frames = [("frame", frame::encode(&[1, 0, 2, 0, 0]).unwrap())];
    check("link.hex", &asks.chain(answers).chain(envelopes).chain(frames).collect());
}

/// How gateways and handhelds store and exchange a schema.
#[test]
fn schema_bytes() {
    let schema = sample::schema();
    let bytes = postcard::to_allocvec(&schema).unwrap();
    assert_eq!(postcard::from_bytes::<Schema>(&bytes), Ok(schema));
    check("schema.hex", &vec![("schema", bytes)]);
}

/// Ids and hashes: both ends derive them, so they may never change.
#[test]
fn derived_bytes() {
    let content = batch::content_hash(&sample::day());
    let chain = message::chain(sample::hash("parent"), content, &sample::outcomes());
    let row = |counter| RowId::derive(sample::HANDHELD, sample::RUN, counter).0.to_vec();
    check(
        "derived.hex",
        &vec![
            ("first_row", row(1)),
            ("last_row", row((1 << 40) - 1)),
            ("device_of_key", DeviceId::of_key(&[7; 32], "drv-2").0.to_be_bytes().to_vec()),
            ("content_hash", content.0.to_vec()),
            ("chain_hash", chain.0.to_vec()),
        ],
    );
}
