//! A field whose conflicts wait for a person.
use serde_json::json;
use wadi_harness::wait::{Look, until};

use crate::merging::Pair;
use crate::world::{PATIENCE, text};

/// The one open case, once there is one.
fn open_case(pair: &Pair) -> String {
    let list = || pair.world.hub.operator.list(&["review", "list"]);
    until("one open case", PATIENCE, || {
        let cases = list()?;
        Ok(match &cases[..] {
            [case] => Look::Found(case[0].clone()),
            _ => Look::NotYet(format!("{cases:?}")),
        })
    })
    .unwrap()
}

fn none_open(pair: &Pair) {
    until("no open case", PATIENCE, || {
        let cases = pair.world.hub.operator.list(&["review", "list"])?;
        Ok(Look::when(cases.is_empty(), || format!("{cases:?}")))
    })
    .unwrap();
}

#[test]
fn a_review_waits_and_one_command_settles_it_everywhere() {
    let mut pair = Pair::start(21).unwrap();
    pair.edit_apart([(60, json!({"verdict": "broken"})), (90, json!({"verdict": "mended"}))])
        .unwrap();
    let case = open_case(&pair);
    // Until somebody settles it, the greatest stamp is shown.
    pair.until("verdict", text("mended")).unwrap();
    let shown = pair.world.hub.operator.command(&["review", "show", &case]).unwrap().ok().unwrap();
    assert!(shown.contains("broken") && shown.contains("mended"), "{shown}");
    pair.world
        .hub
        .operator
        .command(&["review", "settle", &case, "--value", "scrap"])
        .unwrap()
        .ok()
        .unwrap();
    none_open(&pair);
    pair.until("verdict", text("scrap")).unwrap();
    pair.until_shown("verdict", text("scrap")).unwrap();
    // Whoever was shown the decision edits on, without a new case.
    let edit =
        json!({"op": "update", "table": "item", "id": pair.row, "fields": {"verdict": "sold"}});
    pair.world.enter(&pair.handhelds[0], 0, &edit).unwrap();
    pair.until("verdict", text("sold")).unwrap();
    none_open(&pair);
    pair.world.stop().unwrap();
}

/// Candidates are numbered by `review show`; picking needs no typing of values.
#[test]
fn a_candidate_is_picked_by_its_number() {
    let mut pair = Pair::start(22).unwrap();
    pair.edit_apart([(60, json!({"verdict": "broken"})), (90, json!({"verdict": "mended"}))])
        .unwrap();
    let case = open_case(&pair);
    let shown = pair.world.hub.operator.command(&["review", "show", &case]).unwrap().ok().unwrap();
    let line = shown.lines().find(|line| line.contains("broken")).expect("the candidate is shown");
    let digits: String = line.trim_start().chars().take_while(char::is_ascii_digit).collect();
    assert!(!digits.is_empty(), "candidates begin with their number:\n{shown}");
    pair.world
        .hub
        .operator
        .command(&["review", "settle", &case, "--pick", &digits])
        .unwrap()
        .ok()
        .unwrap();
    none_open(&pair);
    pair.until("verdict", text("broken")).unwrap();
    pair.until_shown("verdict", text("broken")).unwrap();
    // A case is settled once.
    let again =
        pair.world.hub.operator.command(&["review", "settle", &case, "--pick", &digits]).unwrap();
    assert_ne!(again.code, Some(0), "{again:?}");
    pair.world.stop().unwrap();
}
