//! How the candidates of a field become its value, strategy by strategy.
use super::*;

fn by(merge: Merge) -> Table {
    table(merge, Mode::Field, DeletePolicy::DeleteWins)
}

#[test]
fn last_write() {
    #[rustfmt::skip]
    check_values(&by(Merge::LastWrite), None, &[
        // situation                          changes                                                     value  of        marks
        ("nothing but the insert",            "A1@10 insert v=1",                                         "1",    "A1",    ""),
        ("an insert without a value",         "A1@10 insert w=1",                                         "null", "A1",    ""),
        ("an edit that had seen it",          "A1@10 insert v=1 | B1@20 v=2 saw A1",                      "2",    "B1",    ""),
        ("a slow clock, but it had seen it",  "A1@99 insert v=1 | B1@20 v=2 saw A1",                      "2",    "B1",    ""),
        ("a clock of 1970 at the end",        "A1@10 insert v=1 | B1@99 v=2 saw A1 | A2@0 v=3 saw B1",    "3",    "A2",    ""),
        ("two side by side: greatest stamp",  "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1",   "2",    "C1 B1", "conflict"),
        ("equal values still conflict",       "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=2 saw A1",   "2",    "C1 B1", "conflict"),
        ("equal stamps: the greater dot",     "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@20 v=3 saw A1",   "3",    "B1 C1", "conflict"),
        ("somebody who saw both",             "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@1 v=4 saw B1 C1", "4", "D1", ""),
        ("seen through another, late",        "A1@10 insert v=1 | C1@3 v=3 saw B1 | B1@50 v=2 saw A1",    "3",    "C1",    ""),
        ("the own line needs no telling",     "A1@50 insert v=1 | A2@40 v=2 | A3@30 v=3",                 "3",    "A3",    ""),
        ("seen by row version",               "A1@50 insert v=1 #1 | B1@40 v=2 upto=1 #2 | C1@30 v=3 upto=2", "3", "C1",   ""),
        ("an older version misses the rest",  "A1@50 insert v=1 #1 | B1@40 v=2 upto=1 #2 | C1@30 v=3 upto=1", "2", "C1 B1", "conflict"),
        ("two copies of one device",          "A1@10 insert v=1 | A'1@30 v=2 | A\"1@20 v=3",              "2",    "A\"1 A'1", "conflict"),
        ("the original after the copying",    "A1@10 insert v=1 | A'1@30 v=2 | A2@20 v=3",                "2",    "A2 A'1", "conflict"),
        ("forged: each saw the other",        "A1@10 insert v=1 | B1@20 v=2 saw A1 C1 | C1@30 v=3 saw B1", "3",   "B1 C1", "conflict"),
        ("a settle is an edit here",          "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@5 settle v=3 saw B1 C1", "3", "O1", ""),
        ("undone, it still has been seen",    "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@5 undone v=3 saw B1 C1 | D1@1 v=4 saw O1", "4", "D1", ""),
        ("a deleted row keeps its value",     "A1@10 insert v=1 | B1@20 delete saw A1",                   "1",    "A1",    ""),
        ("an insert after a delete",          "A1@90 insert v=1 | B1@20 delete saw A1 | B2@30 insert w=1", "null", "B2",   ""),
        ("what the delete had not seen",      "A1@90 insert v=1 | C1@95 v=7 saw A1 | B1@20 delete saw A1 | B2@30 insert v=2", "7", "B2 C1", "conflict"),
        ("null is a value",                   "A1@10 insert v=1 | B1@20 v=null saw A1",                   "null", "B1",    ""),
        ("replaced before it travelled",      "A1@10 insert v=… | A2@20 v=… | A3@15 v=3",                 "3",    "A3",    ""),
        ("what that had seen is followed",    "A1@10 insert v=1 | B1@50 v=7 saw A1 | A2@20 v=… saw B1 | A3@30 v=3", "3", "A3", ""),
        ("who saw that has seen no more",     "A1@10 insert v=1 | A2@20 v=… | B1@9 v=7 saw A2 | A3@30 v=3", "3",  "B1 A3", "conflict"),
        ("nothing that replaces it: nothing", "A1@10 insert v=1 | A2@20 v=…",                             "1",    "A1",    ""),
        ("the same of an insert",             "A1@10 insert v=… w=1",                                     "null", "",      ""),
    ]);
}

#[test]
fn first_write() {
    #[rustfmt::skip]
    check_values(&by(Merge::FirstWrite), None, &[
        ("two side by side: least stamp",  "A1@10 insert | B1@20 v=2 saw A1 | C1@15 v=3 saw A1",                   "3", "C1 B1", "conflict"),
        ("an edit that had seen the first", "A1@10 insert | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@30 v=4 saw C1", "2", "B1 D1", "conflict"),
    ]);
}

#[test]
fn max_and_min() {
    const TWO: &str = "A1@10 insert v=9 | B1@20 v=2 saw A1 | C1@15 v=5 saw A1";
    const NONE: &str = "A1@10 insert | B1@20 v=null saw A1 | C1@15 v=5 saw A1";
    #[rustfmt::skip]
    check_values(&by(Merge::Max), None, &[
        ("of the candidates, not of the past", TWO,                           "5",    "C1 B1", "conflict"),
        ("lowered by one who saw it",          "A1@10 insert v=9 | B1@20 v=2 saw A1", "2", "B1", ""),
        ("no value never wins",                NONE,                          "5",    "C1 B1", "conflict"),
    ]);
    #[rustfmt::skip]
    check_values(&by(Merge::Min), None, &[
        ("of the candidates",                  TWO,                           "2",    "C1 B1", "conflict"),
        ("no value never wins",                NONE,                          "5",    "C1 B1", "conflict"),
    ]);
}

#[test]
fn sum() {
    let mut stock = by(Merge::Sum);
    (stock.fields[0].min, stock.fields[0].max) = (Some(0), Some(100));
    #[rustfmt::skip]
    check_values(&stock, None, &[
        // situation                        changes                                                        value  of       marks
        ("followed or not, all count",      "A1@10 insert v+10 | A2@11 v-3 | B1@20 v+5 saw A2",            "12",  "B1",    ""),
        ("side by side",                    "A1@10 insert v+10 | B1@20 v+5 saw A1 | C1@15 v-7 saw A1",     "8",   "C1 B1", "conflict"),
        ("no delta, no value",              "A1@10 insert w=1",                                            "null", "A1",   ""),
        ("two sell the last one",           "A1@10 insert v+1 | B1@20 v-1 saw A1 | C1@15 v-1 saw A1",      "-1",  "C1 B1", "conflict review"),
        ("above the range",                 "A1@10 insert v+99 | B1@20 v+2 saw A1",                        "101", "B1",    "review"),
        ("back within it",                  "A1@10 insert v+99 | B1@20 v+2 saw A1 | O1@30 settle v-1 saw B1", "100", "O1", ""),
        ("a settled total",                 "A1@10 insert v+99 | B1@20 v+2 saw A1 | O1@30 settle v=50 saw B1", "50", "O1", ""),
        ("the total is undone",             "A1@10 insert v+99 | B1@20 v+2 saw A1 | O1@30 undone v=50 saw B1", "101", "B1", "review"),
        ("a delta that it had not seen",    "A1@10 insert v+99 | B1@20 v+2 saw A1 | O1@30 settle v=50 saw A1", "52", "B1 O1", "conflict"),
        ("two settled totals",              "A1@10 insert v+99 | O1@20 settle v=50 saw A1 | P1@30 settle v=60 saw A1", "60", "O1 P1", "conflict review"),
        ("born anew: the old deltas ended", "A1@10 insert v+10 | A2@11 v+10 | A3@12 delete | A4@13 insert v+1", "1", "A4", ""),
        ("what the delete had not seen",    "A1@10 insert v+10 | B1@50 v+5 saw A1 | A2@12 delete | A3@13 insert v+1", "6", "A3 B1", "conflict"),
        ("deleted only",                    "A1@10 insert v+10 | A2@12 delete",                            "10",  "A1",    ""),
    ]);
    #[rustfmt::skip]
    check_values(&by(Merge::Sum), None, &[
        ("overflow is held back, marked",   "A1@10 insert v+9223372036854775807 | B1@20 v+1 saw A1",       "9223372036854775807", "B1", "review"),
        ("there and back overflows nothing", "A1@10 insert v+9223372036854775807 | A2@11 v+9 | A3@12 v-9",  "9223372036854775807", "A3", ""),
    ]);
}

#[test]
fn append() {
    #[rustfmt::skip]
    check_values(&by(Merge::Append), None, &[
        ("in order of stamps",            "A1@10 insert v<a | B1@30 v<c saw A1 | C1@20 v<b saw A1",               "[a, b, c]", "C1 B1", "conflict"),
        ("twins stay twins",              "A1@10 insert v<a | B1@20 v<a saw A1",                                  "[a, a]",    "B1",    ""),
        ("an insert's list",              "A1@10 insert v=[b,a] | B1@20 v<c saw A1",                              "[b, a, c]", "B1",    ""),
        ("a settle gives the whole list", "A1@10 insert v<a | B1@20 v<b saw A1 | C1@30 v<c saw A1 | O1@25 settle v=[b] saw B1", "[b, c]", "O1 C1", "conflict"),
        ("the whole list is undone",      "A1@10 insert v<a | B1@20 v<b saw A1 | O1@25 undone v=[b] saw B1",      "[a, b]",    "B1",    ""),
        ("born anew",                     "A1@10 insert v<a | A2@20 delete | A3@30 insert v<b",                   "[b]",       "A3",    ""),
        ("no entry, no value",            "A1@10 insert",                                                         "null",      "A1",    ""),
    ]);
}

#[test]
fn set() {
    #[rustfmt::skip]
    check_values(&by(Merge::Set), None, &[
        // situation                        changes                                                          value     of       marks
        ("additions gather",                "A1@10 insert v+{b} | B1@20 v+{c} saw A1 | C1@15 v+{a} saw A1",  "[a, b, c]", "C1 B1", "conflict"),
        ("removed by one who saw it",       "A1@10 insert v+{a,b} | B1@20 v-{a} saw A1",                     "[b]",    "B1",    ""),
        ("added beside the removal: wins",  "A1@10 insert v+{a} | B1@20 v-{a} saw A1 | C1@15 v+{a} saw A1",  "[a]",    "C1 B1", "conflict"),
        ("both additions had been seen",    "A1@10 insert v+{a} | C1@15 v+{a} saw A1 | B1@20 v-{a} saw A1 C1", "null", "B1",    ""),
        ("the removal's clock is no matter", "A1@90 insert v+{a,b} | B1@20 v-{a} saw A1",                    "[b]",    "B1",    ""),
        ("added again after the removal",   "A1@10 insert v+{a} | B1@20 v-{a} saw A1 | B2@30 v+{a}",         "[a]",    "B2",    ""),
        ("removed before it came",          "A1@10 insert v+{b} | B1@20 v-{a} saw A1 | C1@30 v+{a} saw A1",  "[a, b]", "B1 C1", "conflict"),
        ("a settle gives the whole set",    "A1@10 insert v+{a,b} | B1@20 v+{c} saw A1 | O1@30 settle v=[b,d] saw A1", "[b, c, d]", "B1 O1", "conflict"),
        ("born anew",                       "A1@10 insert v+{a} | A2@20 delete | A3@30 insert v+{b}",        "[b]",    "A3",    ""),
    ]);
}

#[test]
fn review() {
    #[rustfmt::skip]
    check_values(&by(Merge::Review), None, &[
        // situation                           changes                                                                         value of           marks
        ("one after the other",                "A1@10 insert v=1 | B1@20 v=2 saw A1",                                          "2",  "B1",        ""),
        ("side by side opens a case",          "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1",                       "2",  "C1 B1",     "conflict review"),
        ("who saw the case joins it",          "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@30 v=4 saw B1 C1", "4",  "C1 B1 D1",  "conflict review"),
        ("and replaces only its own",          "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | C2@16 v=4 saw B1",    "2",  "C2 B1",     "conflict review"),
        ("again and again",                    "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | C2@16 v=4 saw B1 | B2@40 v=5 saw C2 | B3@41 v=6", "6", "C2 B3", "conflict review"),
        ("who saw one side follows it",        "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@30 v=4 saw B1",    "4",  "C1 D1",     "conflict review"),
        ("a settle closes",                    "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 settle v=3 saw B1 C1", "3", "O1",  ""),
        ("after it, as if nothing had been",   "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 settle v=3 saw B1 C1 | D1@17 v=9 saw O1", "9", "D1", ""),
        ("a settle that missed one",           "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 settle v=3 saw C1", "2", "O1 B1",  "conflict review"),
        ("a joiner that the settle missed",    "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@30 v=4 saw B1 C1 | O1@16 settle v=3 saw B1 C1", "4", "O1 D1", "conflict review"),
        ("an undone settle: open again",       "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 undone v=3 saw B1 C1", "2", "C1 B1", "conflict review"),
        ("who had seen it has seen the case",  "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 undone v=3 saw B1 C1 | D1@17 v=9 saw O1", "2", "C1 D1 B1", "conflict review"),
        ("and settled anew",                   "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 undone v=3 saw B1 C1 | O2@18 settle v=7", "7", "O2", ""),
        ("the second is undone: the first",    "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | O1@16 settle v=3 saw B1 C1 | O2@18 undone v=7", "3", "O1", ""),
        ("a copied device is two people",      "A1@10 insert v=1 | A'1@20 v=2 | A\"1@15 v=3 | A'2@30 v=4 saw A\"1",            "4",  "A\"1 A'2",  "conflict review"),
        ("born anew",                          "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@30 delete saw B1 C1 | D2@31 insert v=5", "5", "D2", ""),
        ("and edited then",                    "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | D1@30 delete saw B1 C1 | D2@31 insert v=5 | E1@40 v=6 saw D2", "6", "E1", ""),
    ]);
}

#[test]
fn record_mode() {
    let record = table(Merge::LastWrite, Mode::Record, DeletePolicy::DeleteWins);
    #[rustfmt::skip]
    check_values(&record, None, &[
        ("edits of different fields conflict", "A1@10 insert v=1 w=1 | B1@20 v=2 saw A1 | C1@30 w=3 saw A1",               "1", "B1 C1", "conflict"),
        ("the winner carries it",              "A1@10 insert v=1 w=1 | B1@40 v=2 saw A1 | C1@30 w=3 saw A1",               "2", "C1 B1", "conflict"),
        ("from the winner's own past",         "A1@10 insert v=1 | B1@20 v=2 saw A1 | C1@15 v=3 saw A1 | B2@30 w=3",       "2", "C1 B2", "conflict"),
        ("seen through another field",         "A1@10 insert v=1 | B1@50 v=2 saw A1 | C1@15 w=3 saw B1 | D1@9 v=4 saw C1", "4", "D1",    ""),
        ("the past of one who saw both",       "A1@10 insert v=1 | B1@50 v=2 saw A1 | C1@15 v=3 saw A1 | D1@9 w=4 saw B1 C1", "2", "D1", ""),
    ]);
    let reviewed = table(Merge::Review, Mode::Record, DeletePolicy::DeleteWins);
    #[rustfmt::skip]
    check_values(&reviewed, None, &[
        ("a case of the row",     "A1@10 insert v=1 w=1 | B1@20 v=2 saw A1 | C1@30 w=3 saw A1",                            "1", "B1 C1", "conflict review"),
        ("closed by a settle",    "A1@10 insert v=1 w=1 | B1@20 v=2 saw A1 | C1@30 w=3 saw A1 | O1@5 settle v=2 saw B1 C1", "2", "O1",   ""),
    ]);
}

#[test]
fn over_a_base_image() {
    let live = |v| image(true, v);
    #[rustfmt::skip]
    check_values(&by(Merge::LastWrite), Some(&live("7")), &[
        ("no change",            "",                                 "7",    "",      ""),
        ("an edit overrides",    "A1@1 v=2",                         "2",    "A1",    ""),
        ("two edits",            "A1@10 v=2 | B1@20 v=3",            "3",    "A1 B1", "conflict"),
        ("deleted, born anew",   "A1@10 delete | A2@20 insert w=1",  "null", "A2",    ""),
        ("another field's edit", "A1@10 w=1",                        "7",    "",      ""),
    ]);
    #[rustfmt::skip]
    check_values(&by(Merge::Sum), Some(&live("7")), &[
        ("no change",            "",                                 "7",    "",      ""),
        ("sums add",             "A1@10 v+2 | B1@20 v-4",            "5",    "A1 B1", "conflict"),
        ("deleted, born anew",   "A1@10 delete | A2@20 insert v+1",  "1",    "A2",    ""),
    ]);
    #[rustfmt::skip]
    check_values(&by(Merge::Append), Some(&live("[x]")), &[
        ("behind the base",      "A1@10 v<a | A2@20 v<b",            "[x, a, b]", "A2", ""),
        ("no change",            "",                                 "[x]",  "",      ""),
    ]);
    #[rustfmt::skip]
    check_values(&by(Merge::Set), Some(&live("[x, y]")), &[
        ("edits apply",          "A1@10 v-{x} | B1@20 v+{z}",        "[y, z]", "A1 B1", "conflict"),
        ("a removal beats base", "A1@10 v-{x} | A2@20 v-{y}",        "null", "A2",    ""),
        ("added beside it",      "A1@10 v-{x} | B1@20 v+{x}",        "[x, y]", "A1 B1", "conflict"),
    ]);
    #[rustfmt::skip]
    check_values(&by(Merge::LastWrite), Some(&image(false, "7")), &[
        ("a dead row's last image",  "A1@10 w=2",        "7",    "",   ""),
        ("a dead row, born anew",    "A1@10 insert w=2", "null", "A1", ""),
    ]);
}

/// The counter-example: *precedes* is per field.
#[test]
fn a_edits_r_then_q_and_b_shown_only_q_has_not_seen_r() {
    // v is r, w is q. B1 had been shown A3 (q), which lies behind A2 (r) on A's line.
    let told = told("A1@10 insert v=1 w=1 | A2@50 v=2 | A3@51 w=2 | B1@20 w=3 saw A3 | B2@21 v=3");
    let resolved = resolve(&by(Merge::LastWrite), None, &placed(&told), &copied());
    let [r, q] = &resolved.fields[..] else { panic!("two fields") };
    assert_eq!(names(&told, &r.candidates), "B2 A2");
    assert_eq!((r.value.clone(), r.conflict), (Value::Int(2), true));
    assert_eq!(names(&told, &q.candidates), "B1");
    assert_eq!((q.value.clone(), q.conflict), (Value::Int(3), false));
}

#[test]
fn a_settle_that_ends_the_row_may_carry_values_too() {
    let told = told("A1@10 insert v=1 | O1@20 settle is=false v=2 saw A1");
    let resolved = resolve(&by(Merge::LastWrite), None, &placed(&told), &copied());
    assert_eq!(resolved.fields[0].value, Value::Int(2));
    assert!(!resolved.existence.live());
}

#[test]
fn a_contained_stamp_counts_in_place_of_the_devices_own() {
    let mut told = told("A1@10 insert | B1@20 v=2 saw A1 | C1@4070908800 v=3 saw A1");
    told[2].change.contained = Some(Stamp { seconds: 15, counter: 0 });
    let resolved = resolve(&by(Merge::LastWrite), None, &placed(&told), &copied());
    assert_eq!(resolved.fields[0].value, Value::Int(2));
}

#[test]
fn laying_one_change_on_a_value() {
    #[rustfmt::skip]
    let cases = [
        (Merge::LastWrite, "1",      "v=2",     "2"),
        (Merge::Max,       "9",      "v=2",     "2"),
        (Merge::Sum,       "5",      "v-7",     "-2"),
        (Merge::Sum,       "null",   "v+7",     "7"),
        (Merge::Append,    "[a]",    "v<a",     "[a, a]"),
        (Merge::Append,    "null",   "v=[b,a]", "[b, a]"),
        (Merge::Set,       "[a, c]", "v+{b,c}", "[a, b, c]"),
        (Merge::Set,       "[a]",    "v-{a}",   "null"),
        (Merge::Set,       "null",   "v-{a}",   "null"),
    ];
    for (merge, before, word, after) in cases {
        let table = by(merge);
        assert_eq!(lay(&table.fields[0], &value(before), &delta(word).1), value(after), "{word}");
    }
}
