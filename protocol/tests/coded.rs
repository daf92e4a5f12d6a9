//! Changesets and pages against models: whatever is written comes back, and only from the
//! model that it was written against.
mod arbitrary;
mod sample;

use arbitrary::any_batch;
use arbitrary::pages::page;
use proptest::collection::vec;
use proptest::prelude::*;
use wadi_protocol::id::{DeviceId, RowId, RunId};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::{self, BatchError};
use wadi_protocol::wire::coded::{
    Making, ModelName, Named, Writing, read_batch, write_batch, writing,
};
use wadi_protocol::wire::coded_page::{coded_rows, read_page, write_page};
use wadi_protocol::wire::downlink::{self, PageError, PageRow, RowState};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_learn_the_same(batches in vec(any_batch(), 1..4), pages in vec(page(), 1..4)) {
        let (mut writer, mut reader) = (Named::empty(), Named::empty());
        let mut made = Making::begin();
        for batch in &batches {
            let written = write_batch(Some(&writer), batch);
            let (back, after) = read_batch(&written.bytes, Some(&reader)).unwrap();
            prop_assert_eq!(&back, batch);
            let Writing::Against(name, coded) = writing(&written.bytes) else {
                return Err(TestCaseError::fail("it was not coded"));
            };
            prop_assert_eq!(name, writer.name);
            made.teach(coded);
            (writer, reader) = (written.after.unwrap(), after.unwrap());
            prop_assert!(writer.name == reader.name && writer.model == reader.model);
        }
        let made = made.end().expect("it was read before");
        prop_assert!(made.name == reader.name && made.model == reader.model);
        for page in &pages {
            let written = write_page(Some(&writer), page);
            let (back, after) = read_page(&written.bytes, Some(&reader)).unwrap();
            prop_assert_eq!(&back, page);
            prop_assert_eq!(written.after.is_some(), after.is_some());
            if let (Writing::Against(name, framed), Some(after)) = (writing(&written.bytes), after) {
                prop_assert_eq!(name.after(coded_rows(framed).unwrap()), after.name);
                (writer, reader) = (written.after.unwrap(), after);
                prop_assert!(writer.name == reader.name && writer.model == reader.model);
            }
        }
    }

    #[test]
    fn what_is_plain_needs_no_model(batch in any_batch(), page in page()) {
        let written = write_batch(None, &batch);
        prop_assert!(written.after.is_none() && written.bytes == batch::encode(&batch));
        prop_assert_eq!(read_batch(&written.bytes, None).map(|(batch, _)| batch), Ok(batch));
        let written = write_page(None, &page);
        prop_assert!(written.after.is_none() && written.bytes == downlink::encode(&page));
        prop_assert_eq!(read_page(&written.bytes, None).map(|(page, _)| page), Ok(page));
    }

    #[test]
    fn hostile_bytes_are_survived(bytes in vec(any::<u8>(), 0..300), page in page()) {
        let model = Named::empty();
        let framed = [&[2][..], &model.name.0, &bytes].concat();
        let _ = read_batch(&framed, Some(&model));
        let _ = read_page(&framed, Some(&model));
        let mut spoilt = write_page(Some(&model), &page).bytes;
        for (at, byte) in (0..).zip(&bytes) {
            let place = (at * 37 + usize::from(*byte)) % spoilt.len();
            spoilt[place] ^= byte;
        }
        let _ = read_page(&spoilt, Some(&model));
    }
}

#[test]
fn another_model_is_told() {
    let page = downlink::Page { rows: vec![live(1)], ..downlink::Page::default() };
    let first = write_page(Some(&Named::empty()), &page);
    let second = write_page(first.after.as_ref(), &page);
    assert_eq!(read_page(&second.bytes, None).map(drop), Err(PageError::OtherModel));
    assert!(read_page(&second.bytes, Some(&Named::empty())).is_err());
    assert!(read_page(&second.bytes, first.after.as_ref()).is_ok());
    let batch = sample::day();
    let written = write_batch(first.after.as_ref(), &batch);
    let other = Err(BatchError::Malformed("written against another model"));
    assert_eq!(read_batch(&written.bytes, Some(&Named::empty())).map(drop), other);
    // A way of writing that is newer, and a frame that was cut.
    assert_eq!(writing(&[3, 1, 2, 3, 4, 5]), Writing::Unknown(3));
    assert_eq!(read_batch(&[3, 1], None).map(drop), Err(BatchError::Version(3)));
    assert_eq!(read_batch(&[2, 1], None).map(drop), Err(BatchError::Version(2)));
    assert_eq!(read_page(&[2, 1], None).map(drop), Err(PageError::Version(2)));
}

#[test]
fn a_name_says_what_was_learnt() {
    let empty = ModelName::empty();
    assert_eq!(empty, Named::empty().name);
    assert_ne!(empty.after(b"a").after(b"b"), empty.after(b"b").after(b"a"));
    assert_ne!(empty.after(b"ab"), empty.after(b"a").after(b"b"));
}

/// Rows that come again cost few bytes, and those that are unusual keep their places.
#[test]
fn the_rows_of_pages_are_learnt() {
    let mut model = Named::empty();
    let mut sizes = Vec::new();
    for first in [1, 101, 201] {
        let mut rows: Vec<PageRow> = (first..first + 100).map(live).collect();
        rows[7].review = vec![1];
        rows[70] = PageRow { state: RowState::Left, fields: vec![], whole: false, ..live(70) };
        let page = downlink::Page { rows, ..downlink::Page::default() };
        let written = write_page(Some(&model), &page);
        let plain = downlink::encode(&page).len();
        assert_eq!(read_page(&written.bytes, Some(&model)).unwrap().0, page);
        sizes.push((written.bytes.len(), plain));
        model = written.after.expect("the rows are usual");
    }
    let (coded, plain) = sizes[2];
    assert!(coded * 5 < plain, "{sizes:?}");
}

fn live(number: u64) -> PageRow {
    PageRow {
        table: 1,
        row: RowId::derive(DeviceId(5), RunId(6), number),
        version: 1000 + number,
        state: RowState::Live,
        fields: vec![
            (1, Value::Text(if number.is_multiple_of(2) { "measles" } else { "cholera" }.into())),
            (2, Value::Int(number as i64 % 7)),
        ],
        whole: true,
        review: Vec::new(),
        followed: Vec::new(),
    }
}
