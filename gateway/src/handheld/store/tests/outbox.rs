//! What is offered to gateways, and what becomes of it.
use super::*;

#[test]
fn unknown_fates_and_another_gateway_bring_changes_out_again() {
    let mut phone = Phone::new();
    phone.hello(true);
    let put = format!(
        r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":1}}}}"#
    );
    phone.put(&put);
    let dot = phone.offer()[0].dot;
    assert_eq!(phone.fate(dot, Fate::Unknown), (0, 1));
    assert_eq!(phone.offer().len(), 1);
    phone.fate(dot, Fate::Quarantined { reason: "no".into() });
    assert_eq!(phone.custody(), "quarantined");
    phone.page(9, vec![fed("well", 1, 1, vec![])]);
    phone.hello(false);
    assert_eq!((phone.custody().as_str(), phone.store.feed().seq), ("pending", 0));
    assert_eq!(phone.text(PLACE), "well 1", "the old replica stays until the new one is there");
    assert_eq!(phone.offer().len(), 1);
    phone.page(1, vec![]);
    assert_eq!(phone.text(PLACE), "", "this village does not show it");
}

#[test]
fn a_group_is_taken_whole_or_not_at_all() {
    let mut phone = Phone::new();
    let good = format!(r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"stock":1}}}}"#);
    let later = format!(r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"stock":5}}}}"#);
    let huge = format!(
        r#"{{"op":"insert","table":"place","fields":{{"name":"{}"}}}}"#,
        "x".repeat(70_000)
    );
    assert!(
        phone.try_put(&format!(r#"{{"group":[{good},{huge}]}}"#)).unwrap_err().contains("record 2")
    );
    assert_eq!((phone.changes().len(), phone.text(PLACE).as_str()), (0, ""));
    phone.put(&good);
    phone.put(&format!(r#"{{"group":[{later},{later}]}}"#));
    let changes = phone.changes();
    assert_eq!(changes.iter().map(|change| change.dot.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(changes[2].group, Some(wadi_protocol::change::Group { first: 2, len: 2 }));
    assert_eq!(changes[2].delta(2), None, "the second says what is shown already");
    assert_eq!(phone.offer().len(), 3);
}

#[test]
fn offers_end_between_groups_and_fit_the_line() {
    let mut phone = Phone::new();
    let insert =
        format!(r#"{{"op":"insert","table":"place","fields":{{"name":"{}"}}}}"#, "x".repeat(3_000));
    let group = format!(r#"{{"group":[{}]}}"#, vec![insert.as_str(); 18].join(","));
    phone.put(&insert);
    phone.put(&group);
    phone.put(&insert);
    phone.put(&insert);
    phone.put(&insert);
    let mut sizes = Vec::new();
    let mut skipped = BTreeSet::new();
    while let Some(offer) = phone.store.offer(usize::MAX, &skipped).unwrap() {
        sizes.push(offer.places.len());
        assert!(offer.batch.len() < wadi_protocol::link::envelope::MESSAGE_BYTES_MAX);
        skipped.extend(offer.places);
    }
    assert_eq!(sizes.iter().sum::<usize>(), 22);
    assert!(sizes.contains(&18) || sizes.contains(&19), "{sizes:?}");
    let over = format!(r#"{{"group":[{}]}}"#, vec![insert.as_str(); 24].join(","));
    assert!(phone.try_put(&over).unwrap_err().contains("group"));
}

#[test]
fn the_stretches_of_questions_about_fates_stay_within_their_limits() {
    let mut phone = Phone::new();
    let insert = r#"{"op":"insert","table":"place","fields":{"name":"w"}}"#;
    for _ in 0..500 {
        phone.put(insert);
    }
    phone.put(r#"{"op":"insert","table":"place","fields":{"name":"w"},"device":"tab-9"}"#);
    phone.offer();
    let (mut after, mut asked) = (None, 0);
    loop {
        let (spans, last) = phone.store.undecided(after).unwrap();
        if spans.is_empty() {
            break;
        }
        let changes: u64 = spans.iter().map(|(_, _, first, last)| last - first + 1).sum();
        assert!(changes <= wadi_protocol::limits::FATES_CHANGES_MAX);
        asked += changes;
        after = last;
    }
    assert_eq!(asked, 501);
}

#[test]
fn a_delete_names_the_rows_that_go_with_it() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 1, 5, vec![])]);
    let visit = phone
        .put(&format!(
            r#"{{"op":"insert","table":"visit","fields":{{"place":"{ROW}"}},"device":"tab-9"}}"#
        ))
        .rows[0];
    phone.put(&format!(r#"{{"op":"delete","table":"place","id":"{ROW}"}}"#));
    let delete = phone.changes().pop().unwrap();
    assert_eq!(delete.op, Op::Delete);
    assert_eq!(delete.closure.len(), 1);
    assert_eq!((delete.closure[0].table, delete.closure[0].row), (2, visit));
    assert_eq!(delete.closure[0].seen.above.len(), 1);
    assert_eq!(phone.text(PLACE), "");
}
