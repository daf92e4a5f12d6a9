//! What collectors are shown, and what their next edit claims to have seen.
use super::*;

#[test]
fn own_edits_stay_on_the_screen_until_the_village_counts_them() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 10, 5, vec![])]);
    assert_eq!(phone.text(PLACE), "well 10");
    phone.update(r#"{"name":"deep well","stock":{"add":3}}"#);
    assert_eq!(phone.text(PLACE), "deep well 13");
    // The village changes the row before it hears of our edit.
    phone.page(2, vec![fed("old well", 20, 6, vec![])]);
    assert_eq!(phone.text(PLACE), "deep well 23");
    let mut shown = Vec::new();
    let table = schema(1).tables.remove(0);
    phone
        .store
        .list(&table, |row| {
            shown.push(row);
            Ok(())
        })
        .unwrap();
    let village = shown[0].village.clone().flatten().unwrap();
    assert_eq!(village.fields[&1], Value::Text("old well".into()));
    assert_eq!(shown[0].undecided, 1);
    // It takes our edit: the image counts it, and nothing is laid over twice.
    assert_eq!(phone.offer().len(), 1);
    phone.page(3, vec![fed("deep well", 23, 6, vec![])]);
    assert_eq!(phone.text(PLACE), "deep well 23");
    assert_eq!(phone.custody(), "taken");
}

#[test]
fn what_was_taken_but_never_acknowledged_is_not_counted_twice() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 10, 5, vec![])]);
    let dot = phone.update(r#"{"stock":{"add":3}}"#).dot;
    // The receipt was lost and the gateway is busy since; its page says what it took.
    let page = FeedPage {
        rows: vec![fed("well", 13, 5, vec![])],
        feed: FeedCursor { run: GATEWAY, seq: 2 },
        taken: vec![(dot.device, dot.run, dot.seq)],
        ..FeedPage::default()
    };
    phone.store.write(NOW_S, |work| work.page(&page)).unwrap();
    assert_eq!(phone.text(PLACE), "well 13");
    assert_eq!(phone.custody(), "pending", "it is offered again all the same");
}

#[test]
fn a_change_is_kept_until_it_is_durable_and_shown() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.put(&format!(
        r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":1}}}}"#
    ));
    let dot = phone.changes()[0].dot;
    assert_eq!(phone.fate(dot, Fate::Durable), (0, 0), "nobody can have it yet");
    assert_eq!(phone.custody(), "pending");
    phone.offer();
    assert_eq!(phone.fate(dot, Fate::Durable), (1, 0));
    assert_eq!((phone.custody().as_str(), phone.text(PLACE).as_str()), ("durable", "well 1"));
    phone.page(1, vec![fed("well", 1, 1, vec![])]);
    assert_eq!((phone.custody().as_str(), phone.text(PLACE).as_str()), ("", "well 1"));
    assert_eq!(phone.store.status().unwrap().changes["durable"], 1);
}

/// As after a record went to another village: it is no longer here, and what was entered
/// about it meanwhile is not lost with it.
#[test]
fn a_row_that_left_goes_and_an_edit_of_it_still_travels() {
    let mut phone = Phone::new();
    phone.hello(true);
    let gone = || FeedRow { live: false, fields: vec![], ..fed("", 0, 6, vec![]) };
    phone.page(1, vec![fed("well", 10, 5, vec![])]);
    phone.page(2, vec![gone()]);
    assert_eq!(phone.text(PLACE), "");
    phone.page(3, vec![fed("well", 10, 7, vec![])]);
    let dot = phone.update(r#"{"name":"mine"}"#).dot;
    phone.page(4, vec![gone()]);
    assert_eq!(phone.text("SELECT name FROM place"), "mine", "nobody has decided about it");
    let offered = phone.offer();
    assert_eq!((offered.len(), offered[0].dot), (1, dot));
    phone.page(5, vec![gone()]);
    assert_eq!(phone.text(PLACE), "", "the village has it, and the row is not here");
    assert_eq!(phone.fate(dot, Fate::Durable), (1, 0));
    phone.page(6, vec![gone()]);
    assert_eq!((phone.custody().as_str(), phone.text(PLACE).as_str()), ("", ""));
    assert_eq!(phone.store.status().unwrap().changes["durable"], 1);
}

#[test]
fn seen_says_what_the_screen_showed() {
    let mut phone = Phone::new();
    phone.hello(true);
    phone.page(1, vec![fed("well", 10, 5, vec![foreign(3)])]);
    let first = phone.update(r#"{"name":"a"}"#);
    assert_eq!(first.seen.version.seq, 5);
    assert_eq!(first.seen.above, [foreign(3)]);
    let second = phone.update(r#"{"name":"b"}"#);
    assert_eq!(second.seen.above, [foreign(3)], "own earlier changes are implied");
    // Another device in the same file has seen what is laid over.
    phone.put(&format!(
        r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"stock":5}},"device":"tab-9"}}"#
    ));
    let other = phone.changes().pop().unwrap();
    assert_ne!(other.dot.device, second.dot.device);
    let mut above = vec![foreign(3), second.dot];
    above.sort();
    assert_eq!(other.seen.above, above);
    // What the village shows of our own line is not named, that of a copy's other branch is.
    let branch = Dot { device: first.dot.device, run: RunId(0xbad), seq: 1 };
    phone.page(2, vec![fed("c", 1, 7, vec![first.dot, branch])]);
    assert_eq!(
        phone
            .update(r#"{"name":"d"}"#)
            .seen
            .above
            .iter()
            .filter(|dot| dot.device == first.dot.device)
            .collect::<Vec<_>>(),
        [&branch]
    );
}

#[test]
fn new_values_become_what_the_strategy_takes() {
    let mut phone = Phone::new();
    phone.put(&format!(r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"w","stock":4,"height":1.5,"tags":["b","a"],"notes":"first"}}}}"#));
    let delta = |change: &Change, field| change.delta(field).cloned();
    let insert = phone.changes().remove(0);
    assert_eq!(delta(&insert, 2), Some(Delta::Add(4)));
    assert_eq!(delta(&insert, 3), Some(Delta::Set(Value::Int(150))));
    assert_eq!(delta(&insert, 5), Some(Delta::Append("first".into())));
    let update = phone.update(r#"{"stock":10,"tags":["a","c"],"notes":["first","second"]}"#);
    assert_eq!(delta(&update, 2), Some(Delta::Add(6)));
    assert_eq!(
        delta(&update, 4),
        Some(Delta::Edit { add: vec!["c".into()], remove: vec!["b".into()] })
    );
    assert_eq!(delta(&update, 5), Some(Delta::Append("second".into())));
    let update = phone.update(r#"{"stock":{"add":-3},"tags":{"add":["z"]}}"#);
    assert_eq!(delta(&update, 2), Some(Delta::Add(-3)));
    assert_eq!(
        phone.text("SELECT name || stock || height || tags || notes FROM place"),
        r#"w7150["a","c","z"]["first","second"]"#
    );
    assert_eq!(phone.text("SELECT height || '' FROM place_view"), "1.5");
}

#[test]
fn what_does_not_type_stays_as_it_was_and_is_warned_of() {
    let mut phone = Phone::new();
    let entered = phone.put(
        r#"{"op":"insert","table":"place","fields":{"name":"w","stock":"many","colour":"red"}}"#,
    );
    assert_eq!(entered.warnings.len(), 1);
    let change = phone.changes().remove(0);
    assert_eq!(change.table, TableRef::Number(1));
    let raw = |name: &str, value: &str| {
        (FieldRef::Name(name.into()), Delta::Set(Value::Text(value.into())))
    };
    let name = (FieldRef::Number(1), Delta::Set(Value::Text("w".into())));
    assert_eq!(change.fields, [name, raw("colour", "red"), raw("stock", "many")]);
    assert_eq!(
        phone.put(r#"{"op":"insert","table":"nowhere","fields":{"a":1}}"#).warnings.len(),
        1
    );
    assert_eq!(phone.text("SELECT name FROM place"), "", "it does not stand, so it is not shown");
}

#[test]
fn without_a_schema_records_are_taken_raw_and_shown_once_it_comes() {
    let mut phone = Phone::bare();
    let entered = phone.put(&format!(r#"{{"op":"insert","table":"place","id":"{ROW}","fields":{{"name":"well","stock":2,"height":0.25}}}}"#));
    assert!(entered.warnings.is_empty());
    phone.put(&format!(r#"{{"op":"update","table":"place","id":"{ROW}","fields":{{"name":"pump"}},"device":"other"}}"#));
    let changes = phone.changes();
    assert_eq!((changes[0].schema, &changes[0].table), (0, &TableRef::Name("place".into())));
    assert_eq!(changes[1].seen.above, [changes[0].dot]);
    let add = r#"{"op":"insert","table":"place","fields":{"stock":{"add":1}}}"#;
    let refused = phone.try_put(add).unwrap_err();
    assert!(refused.contains("field stock: adding needs the schema: run `sync"), "{refused}");
    phone.learn(1);
    assert_eq!(phone.text("SELECT name || stock || height FROM place"), "pump225");
    phone.learn(2);
    assert_eq!(phone.text("SELECT name || stock || coalesce(open, '-') FROM place"), "pump2-");
}
