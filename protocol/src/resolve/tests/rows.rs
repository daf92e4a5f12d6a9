//! Whether a row is there: deletes against what they missed.
use super::*;

/// Situation, changes, and for each policy (delete-wins, update-wins, review)
/// whether the row is there; marks of the existence under each.
type RowCase = (&'static str, &'static str, [(bool, &'static str); 3]);

const HERE: (bool, &str) = (true, "");
const GONE: (bool, &str) = (false, "");
const HERE_CONFLICT: (bool, &str) = (true, "conflict");
const GONE_CONFLICT: (bool, &str) = (false, "conflict");
const HERE_REVIEW: (bool, &str) = (true, "conflict review");

fn check_rows(mode: Mode, base: Option<&Image>, cases: &[RowCase]) {
    let policies = [DeletePolicy::DeleteWins, DeletePolicy::UpdateWins, DeletePolicy::Review];
    for (situation, text, wanted) in cases {
        for (policy, wanted) in policies.into_iter().zip(wanted) {
            let table = table(Merge::LastWrite, mode, policy);
            let mut told = told(text);
            for _ in 0..2 {
                let found = resolve(&table, base, &placed(&told), &copied()).existence;
                let found = (found.live(), marks(found.conflict, found.review));
                assert_eq!(found, *wanted, "{situation} under {policy:?}");
                told.reverse();
            }
        }
    }
}

/// Found by chance: insert and delete are ordered in every field that the table has,
/// one way here and the other there. That nothing orders them in a field which only
/// they touch is no conflict where there is no such field.
#[test]
fn a_field_that_is_not_there_contests_nothing() {
    let text = "A1@1 w=0 saw B3 | B3@2 delete | A2@3 insert #1 | B1@4 settle v=0 is=true upto=1";
    check_rows(Mode::Field, None, &[("seen in a circle, field by field", text, [GONE; 3])]);
}

#[test]
fn deletes() {
    for mode in [Mode::Field, Mode::Record] {
        #[rustfmt::skip]
        check_rows(mode, None, &[
            // situation                           changes                                                   delete-wins    update-wins    review
            ("inserted",                           "A1@10 insert v=1",                                       [HERE; 3]),
            ("never inserted",                     "A1@10 v=1",                                              [GONE; 3]),
            ("deleted by one who saw it",          "A1@90 insert v=1 | B1@20 delete saw A1",                 [GONE; 3]),
            ("deleted by two, side by side",       "A1@90 insert v=1 | B1@20 delete saw A1 | C1@20 delete saw A1", [GONE_CONFLICT; 3]),
            ("updated beside the delete",          "A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1",
                [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
            ("it did not travel, but was missed",  "A1@10 insert v=1 | A2@20 v=… | B1@15 delete saw A1 | A3@30 v=3 saw B1",
                [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
            ("of two deletes one saw the update",  "A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1 | D1@1 delete saw A1 C1",
                [GONE_CONFLICT, GONE_CONFLICT, HERE_REVIEW]),
            ("updated by one who saw the delete",  "A1@10 insert v=1 | B1@20 delete saw A1 | C1@30 v=2 saw B1", [GONE; 3]),
            ("inserted again by one who saw it",   "A1@10 insert v=1 | B1@20 delete saw A1 | C1@5 insert v=2 saw B1", [HERE; 3]),
            ("and deleted again",                  "A1@10 insert v=1 | B1@20 delete saw A1 | C1@5 insert v=2 saw B1 | C2@6 delete", [GONE; 3]),
            ("inserted beside the delete",         "A1@10 insert v=1 | B1@20 delete saw A1 | C1@30 insert v=2",
                [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
            ("settled: the row is",                "A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1 | O1@30 settle is=true saw B1 C1", [HERE; 3]),
            ("that is undone: as before",          "A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1 | O1@30 undone is=true saw B1 C1",
                [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
            ("settled: the row is not",            "A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1 | O1@30 settle is=false saw B1 C1", [GONE; 3]),
            ("an update that the settle missed",   "A1@10 insert v=1 | B1@20 delete saw A1 | O1@30 settle is=false saw B1 | C1@15 v=2 saw A1",
                [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
            ("a delete that the settle missed",    "A1@10 insert v=1 | B1@20 delete saw A1 | O1@30 settle is=true saw A1",
                [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
            ("another delete closes no case",      "A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1 | D1@40 delete saw B1 C1",
                [GONE, GONE, HERE_REVIEW]),
        ]);
    }
}

#[test]
fn a_delete_that_saw_one_field_of_an_update_missed_the_other() {
    // B1 follows C1 on v only through D1, which touches v alone.
    let case = "A1@10 insert | C1@15 v=2 w=2 saw A1 | D1@16 v=3 saw C1 | B1@20 delete saw A1 D1";
    #[rustfmt::skip]
    check_rows(Mode::Field, None, &[("per field", case, [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW])]);
    #[rustfmt::skip]
    check_rows(Mode::Record, None, &[("the row is one field", case, [GONE; 3])]);
}

#[test]
fn over_a_base_image() {
    #[rustfmt::skip]
    check_rows(Mode::Field, Some(&image(true, "7")), &[
        ("no change",                  "",                            [HERE; 3]),
        ("a delete hides",             "A1@10 delete",                [GONE; 3]),
        ("after an own edit",          "A1@10 v=1 | A2@11 delete",    [GONE; 3]),
        ("beside an edit",             "A1@10 v=1 | B1@11 delete",    [GONE_CONFLICT, HERE_CONFLICT, HERE_REVIEW]),
    ]);
    #[rustfmt::skip]
    check_rows(Mode::Field, Some(&image(false, "7")), &[
        ("dead, no change",                     "",                   [GONE; 3]),
        ("an own edit keeps it on the screen",  "A1@10 v=1",          [HERE; 3]),
        ("born anew",                           "A1@10 insert v=1",   [HERE; 3]),
        ("deleted here as well",                "A1@10 delete",       [GONE; 3]),
    ]);
}

#[test]
fn who_deletes_and_who_stands() {
    let told =
        told("A1@10 insert v=1 | B1@20 delete saw A1 | C1@15 v=2 saw A1 | D1@1 delete saw A1 C1");
    let wins = |policy| {
        let table = table(Merge::LastWrite, Mode::Field, policy);
        let found = resolve(&table, None, &placed(&told), &copied()).existence;
        (names(&told, &found.deletes), names(&told, &found.candidates))
    };
    assert_eq!(wins(DeletePolicy::DeleteWins), ("D1 B1".into(), "D1 B1".into()));
    assert_eq!(wins(DeletePolicy::UpdateWins), ("D1".into(), "D1 B1".into()));
    assert_eq!(wins(DeletePolicy::Review), ("".into(), "D1 B1".into()));
}
