//! What decoding may take: measured on this thread, against the named limits.
use allocation_counter::measure;
use wadi_gateway::mqtt::packet::PACKET_BYTES_MAX;
use wadi_protocol::id::{DeviceId, Dot, RowId, RunId};
use wadi_protocol::limits::{
    BATCH_MEMORY_BYTES_MAX, CHANGESET_BYTES_MAX, DOWNLINK_BYTES_MAX, DOWNLINK_MEMORY_BYTES_MAX,
    FRAME_BYTES_MAX, LINK_MEMORY_BYTES_MAX, MESSAGE_MEMORY_BYTES_MAX, SCHEMA_BYTES_MAX,
    SCHEMA_MEMORY_BYTES_MAX,
};
use wadi_protocol::link::message::{self as link, Answer, Ask};
use wadi_protocol::schema::Schema;
use wadi_protocol::value::Value;
use wadi_protocol::wire::adaptive::{self, Model};
use wadi_protocol::wire::brief;
use wadi_protocol::wire::downlink::{self, Page, PageRow, RowState};
use wadi_protocol::wire::message::{self, Down, Up};
use wadi_protocol::wire::{batch, batch::Batch};

use crate::sample;

/// A sequence that grows holds its old place beside the new one, which may be half empty.
const GROWTH: u64 = 3;
/// What a decoder takes besides: errors, and the first place of a sequence that lies
/// about its length (serde gives it 1 MiB at most), a few of them one in another.
const BESIDES_BYTES: u64 = 4 * 1024 * 1024;

/// The most that `work` had allocated at one time.
fn most(work: impl FnOnce()) -> u64 {
    measure(work).bytes_max
}

fn assert_within(name: &str, work: impl FnOnce(), charged_max: usize, bytes_max: usize) {
    let taken = most(work);
    let allowed = GROWTH * charged_max as u64 + bytes_max as u64 + BESIDES_BYTES;
    assert!(taken <= allowed, "{name}: {taken} bytes at once, {allowed} are allowed");
}

pub fn messages(bytes: &[u8]) {
    let work = || {
        drop(message::decode::<Up>(bytes));
        drop(message::decode::<Down>(bytes));
        drop(brief::read_up(bytes));
        drop(brief::read_down(bytes));
    };
    assert_within("message", work, MESSAGE_MEMORY_BYTES_MAX, bytes.len());
}

pub fn links(bytes: &[u8]) {
    let work = || {
        drop(link::decode::<Ask>(bytes));
        drop(link::decode::<Answer>(bytes));
    };
    assert_within("link message", work, LINK_MEMORY_BYTES_MAX, bytes.len());
}

pub fn pages(bytes: &[u8]) {
    let work = || drop(downlink::decode(bytes));
    assert_within("page", work, DOWNLINK_MEMORY_BYTES_MAX, bytes.len());
}

pub fn schemas(bytes: &[u8]) {
    let work = || drop(Schema::decode(bytes));
    assert_within("schema", work, SCHEMA_MEMORY_BYTES_MAX, bytes.len());
}

pub fn batches(bytes: &[u8]) {
    let work = || drop(batch::decode(bytes));
    assert_within("batch", work, BATCH_MEMORY_BYTES_MAX, bytes.len());
}

/// What decoding takes beside the model.
pub fn adaptive(model: &mut Model, bytes: &[u8]) {
    let work = || drop(adaptive::decode(model, bytes));
    assert_within("adaptive batch", work, BATCH_MEMORY_BYTES_MAX, bytes.len());
}

/// Packets of a broker out of so many bytes.
pub fn packets(bytes: usize, work: impl FnOnce()) {
    assert_within("packets", work, PACKET_BYTES_MAX + bytes, bytes);
}

/// The records of a line of so many bytes: a list entry of two bytes becomes a text.
pub fn records(bytes: usize, work: impl FnOnce()) {
    assert_within("records", work, size_of::<String>() * bytes, bytes);
}

/// A body of so many bytes at either end of the seal.
pub fn seals(bytes: usize, work: impl FnOnce()) {
    assert_within("seals", work, FRAME_BYTES_MAX, bytes);
}

/// One input of a store: it may hold a batch and a page, each decoded.
pub fn stores(work: impl FnOnce()) {
    assert_within("store", work, BATCH_MEMORY_BYTES_MAX + DOWNLINK_MEMORY_BYTES_MAX, 0);
}

/// A number as postcard writes it, and then as many bytes of what an empty element is.
fn many(before: &[u8], element: &[u8], bytes_max: usize) -> Vec<u8> {
    let count = (bytes_max - before.len() - 8) / element.len();
    let mut bytes = postcard::to_extend(&count, before.to_vec()).unwrap();
    bytes.extend(element.repeat(count));
    bytes
}

#[test]
fn a_page_of_empty_texts_stops_at_its_budget() {
    let page = |entries: usize| {
        let row = PageRow {
            table: 1,
            row: RowId([0; 16]),
            version: 1,
            state: RowState::Live,
            fields: vec![(1, Value::List(vec![String::new(); entries]))],
            whole: false,
            review: Vec::new(),
            followed: Vec::new(),
        };
        downlink::encode(&Page { rows: vec![row], ..Page::default() })
    };
    // They differ first where they count the entries.
    let (none, one) = (page(0), page(1));
    let count = none.iter().zip(&one).position(|(a, b)| a != b).expect("one entry more");
    let before = &none[..count];
    let bytes = many(before, &[0], DOWNLINK_BYTES_MAX);
    assert_eq!(downlink::decode(&bytes), Err(downlink::PageError::Memory));
    pages(&bytes);
}

#[test]
fn a_page_of_many_small_rows_is_within_its_budget() {
    let dot = Dot { device: DeviceId(1), run: RunId(1), seq: 1 };
    let row = |number: u32| PageRow {
        table: 1,
        row: RowId(u128::from(number).to_be_bytes()),
        version: 1,
        state: RowState::Dead,
        fields: Vec::new(),
        whole: false,
        review: Vec::new(),
        followed: if number == 0 { vec![(dot, vec![0])] } else { Vec::new() },
    };
    let page = Page { rows: (0..300_000).map(row).collect(), ..Page::default() };
    let bytes = downlink::encode(&page);
    assert_eq!(downlink::decode(&bytes), Ok(page));
    pages(&bytes);
}

#[test]
fn a_schema_of_empty_codes_stops_at_its_budget() {
    let mut schema = sample::schema();
    schema.tables.truncate(1);
    schema.tables[0].fields[0].kind = wadi_protocol::schema::Kind::Set { values: Vec::new() };
    let whole = postcard::to_allocvec(&schema).unwrap();
    let empty = whole.iter().rposition(|&byte| byte == 7).expect("the kind of a set");
    let bytes = many(&whole[..=empty], &[0], SCHEMA_BYTES_MAX);
    assert!(Schema::decode(&bytes).is_err());
    schemas(&bytes);
}

#[test]
fn a_batch_of_one_great_lie_stays_within_its_budget() {
    let whole = batch::encode(&Batch { runs: Vec::new(), changes: sample::day().changes });
    for place in 0..whole.len() {
        let mut bytes = whole[..place].to_vec();
        bytes.extend([255, 255, 255, 127]);
        bytes.extend(&whole[place..]);
        batches(&bytes);
        bytes.resize(CHANGESET_BYTES_MAX.min(200_000), 0);
        batches(&bytes);
    }
}
