//! What may stand in two accounts at once, as a table, and what is named.
use wadi_protocol::id::{DeviceId, RunId};

use super::*;

fn ours(stretches: &[(u64, u64, &'static str)], gaps: &[(u64, u64)], clashing: &[u64]) -> Ledger {
    let run = Run {
        device: DeviceId(0xa),
        run: RunId(0xb),
        label: "anna".into(),
        first: 1,
        last: stretches.last().map_or(0, |last| last.1),
        committed: 0,
        parked: 0,
        quarantined: 0,
        clashes: clashing.len() as u64,
        stretches: stretches.to_vec(),
        clashing: clashing.to_vec(),
        gaps: gaps.to_vec(),
    };
    Ledger { head: 9, runs: vec![run], wrong: vec![] }
}

fn theirs(site: &str, stretches: &[(u64, u64, &str)]) -> Account {
    let stretches = stretches.iter().map(|&(first, last, of)| (first, last, of.into())).collect();
    let (device, run) = (DeviceId(0xa).to_string(), RunId(0xb).to_string());
    Account { site: site.into(), runs: vec![AccountRun { device, run, stretches }], faults: vec![] }
}

#[test]
fn what_may_be_there_while_it_is_so_here() {
    let table = [
        ("committed", "committed", true),
        ("committed", "parked", false),
        ("committed", "quarantined", false),
        ("parked", "parked", true),
        ("parked", "committed", true),
        ("parked", "quarantined", false),
        ("quarantined", "quarantined", true),
        ("quarantined", "committed", false),
        ("pending", "committed", true),
        ("pending", "quarantined", true),
        ("held", "parked", true),
        ("forgotten", "committed", false),
    ];
    for (there, here, may) in table {
        let found = compare(&ours(&[(1, 5, here)], &[], &[]), &[theirs("north", &[(2, 3, there)])]);
        assert_eq!(found.wrong.is_empty(), may, "{there} there, {here} here: {found:?}");
        assert_eq!(found.states.len(), 1);
    }
    for (there, may) in [("committed", false), ("parked", false), ("pending", true)] {
        let found =
            compare(&ours(&[(1, 1, "committed")], &[], &[]), &[theirs("n", &[(2, 3, there)])]);
        assert_eq!(found.wrong.is_empty(), may, "{there} there, nowhere here");
    }
    let clash =
        compare(&ours(&[(1, 5, "committed")], &[], &[3]), &[theirs("n", &[(3, 3, "quarantined")])]);
    assert!(clash.wrong.is_empty(), "{clash:?}");
}

#[test]
fn stretches_are_cut_where_the_two_differ_and_counted() {
    let here = [(1, 10, "committed"), (11, 12, "parked"), (16, 20, "committed")];
    let north = theirs("north", &[(1, 11, "committed"), (12, 14, "pending")]);
    let south = theirs("south", &[(5, 12, "parked"), (20, 22, "pending")]);
    let found = compare(&ours(&here, &[(13, 15)], &[]), &[north, south]);
    let count = |site: &str, there: &str, here| {
        *found.states.get(&(site.into(), there.into(), here)).unwrap_or(&0)
    };
    assert_eq!(
        (count("north", "committed", "committed"), count("north", "committed", "parked")),
        (10, 1)
    );
    assert_eq!((count("north", "pending", "parked"), count("north", "pending", NOWHERE)), (1, 2));
    assert_eq!((count("south", "parked", "committed"), count("south", "parked", "parked")), (6, 2));
    assert_eq!(
        (count("south", "pending", "committed"), count("south", "pending", NOWHERE)),
        (1, 2)
    );
    let dots = |seqs| format!("{}.{}.{seqs}", DeviceId(0xa), RunId(0xb));
    let wrong = format!("site north: {}: committed there, parked here", dots("11"));
    assert_eq!(found.wrong, [wrong]);
    assert_eq!(found.missing.len(), 1, "13 and 14 wait in the north: {:?}", found.missing);
    assert!(found.missing[0].starts_with(&format!("{} of anna: in none", dots("15"))));
}

#[test]
fn faults_of_either_side_are_wrong_and_a_run_that_never_came_is_not() {
    let mut account = theirs("north", &[(1, 2, "pending")]);
    account.runs[0].run = "c".into();
    assert!(compare(&ours(&[], &[], &[]), &[account]).wrong.is_empty());
    let mut account = theirs("north", &[]);
    account.faults = vec!["two custodies".into()];
    let ledger = Ledger { wrong: vec!["a hole".into()], ..ours(&[], &[], &[]) };
    assert_eq!(compare(&ledger, &[account]).wrong, ["here: a hole", "site north: two custodies"]);
}

#[test]
fn a_file_that_is_no_account_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("north.json");
    let said = |file: &Path| read(file).unwrap_err().to_string();
    assert!(said(&file).contains("north.json: No such file"), "{}", said(&file));
    std::fs::write(&file, "{}").unwrap();
    assert!(said(&file).contains("it must be what `wadi-gateway ledger --json` wrote"));
}
