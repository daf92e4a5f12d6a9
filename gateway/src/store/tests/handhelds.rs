//! Who may come in: the table, and the commands beside the running gateway.
use super::*;
use crate::store::handhelds::{Admit, Handheld, Key, State, Verdict, WAITING_MAX};
use crate::store::roster::{self, Whom};

const ANNA: Key = [1; 32];
const BEN: Key = [2; 32];
const UNKNOWN: Verdict = Verdict::Unknown { ambiguous: false };

impl Village {
    fn knock(&mut self, key: Key, name: &str, now_s: u64) -> Verdict {
        self.store().admit(key, name, Admit::Allowed, now_s).unwrap()
    }

    fn set(&self, name: &str, key: Option<Key>, state: State) -> roster::Outcome {
        let is_it = |held: &Key| key.is_none_or(|key| key == *held);
        let key = key.is_some().then_some(&is_it as &dyn Fn(&Key) -> bool);
        roster::set(&self.path, &Whom { name, key, whole: None }, state, NOW_S).unwrap()
    }

    fn held(&self) -> Vec<(String, State, u64)> {
        let held = roster::list(&self.path).unwrap();
        held.into_iter().map(|held| (held.name, held.state, held.refused)).collect()
    }
}

fn done(outcome: &roster::Outcome) -> bool {
    matches!(outcome, roster::Outcome::Done(_))
}

#[test]
fn one_is_let_in_by_name_until_it_is_revoked() {
    let mut village = Village::new();
    assert_eq!(village.knock(ANNA, "anna", NOW_S), UNKNOWN);
    assert_eq!(village.held(), [("anna".into(), State::Waiting, 1)]);
    assert!(done(&village.set("anna", None, State::Allowed)), "beside the open store");
    assert_eq!(village.knock(ANNA, "anna", NOW_S), Verdict::Welcome);
    assert!(village.store().may_stay(ANNA, Admit::Allowed).unwrap());
    let already = village.set("anna", None, State::Allowed);
    assert!(matches!(already, roster::Outcome::Already(_)));
    assert_eq!(village.knock(ANNA, "Anna", NOW_S), Verdict::OtherName("anna".into()));
    assert!(done(&village.set("anna", None, State::Revoked)));
    assert!(!village.store().may_stay(ANNA, Admit::Allowed).unwrap());
    for admit in [Admit::Allowed, Admit::Anyone] {
        let verdict = village.store().admit(ANNA, "anna", admit, NOW_S).unwrap();
        assert_eq!(verdict, Verdict::Revoked);
    }
    village.crash();
    assert_eq!(village.knock(ANNA, "anna", NOW_S), Verdict::Revoked);
}

#[test]
fn a_name_that_two_keys_go_by_is_not_enough() {
    let mut village = Village::new();
    village.knock(ANNA, "anna", NOW_S);
    village.set("anna", None, State::Allowed);
    assert_eq!(village.knock(BEN, "anna", NOW_S), Verdict::Unknown { ambiguous: true });
    for state in [State::Allowed, State::Waiting] {
        let roster::Outcome::Several(meant) = village.set("anna", None, state) else { panic!() };
        assert_eq!(meant.iter().map(|held| held.key).collect::<Vec<_>>(), [BEN, ANNA]);
    }
    assert_eq!(village.knock(BEN, "anna", NOW_S), Verdict::Unknown { ambiguous: true });
    assert!(done(&village.set("anna", Some(BEN), State::Allowed)));
    assert_eq!(village.knock(BEN, "anna", NOW_S), Verdict::Welcome);
    let both = village.set("anna", None, State::Revoked);
    assert!(matches!(both, roster::Outcome::Several(_)), "both may come in: which one?");
    assert!(done(&village.set("anna", Some(ANNA), State::Revoked)));
    assert!(done(&village.set("anna", None, State::Revoked)), "only one is left to revoke");
    let nobody = village.set("ben", Some(BEN), State::Allowed);
    assert!(matches!(nobody, roster::Outcome::Nobody(_)), "the name has to be right too");
}

#[test]
fn one_that_was_never_here_is_allowed_by_its_whole_key_alone() {
    let mut village = Village::new();
    let nobody = village.set("ben", None, State::Allowed);
    assert_eq!(nobody, roster::Outcome::Nobody(vec![]));
    let is_it = |key: &Key| *key == BEN;
    let whom = Whom { name: "ben", key: Some(&is_it), whole: Some(BEN) };
    let outcome = roster::set(&village.path, &whom, State::Allowed, NOW_S).unwrap();
    let roster::Outcome::Done(Handheld { state: State::Allowed, last_s: None, .. }) = outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(village.knock(BEN, "ben", NOW_S), Verdict::Welcome);
}

#[test]
fn whoever_knocks_all_day_costs_few_rows_and_few_writes() {
    let mut village = Village::new();
    village.knock(ANNA, "anna", NOW_S);
    village.set("anna", None, State::Allowed);
    let key = |number: u64| {
        let mut key = [7; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    };
    for number in 0..WAITING_MAX {
        assert_eq!(village.knock(key(number), &format!("x{number}"), NOW_S), UNKNOWN);
    }
    for number in WAITING_MAX..WAITING_MAX + 500 {
        assert_eq!(village.knock(key(number), "x", NOW_S), Verdict::Full);
    }
    assert_eq!(village.held().len() as u64, WAITING_MAX + 1);
    assert!(village.store().refusals.is_empty(), "those beyond are not remembered");
    assert_eq!(village.knock(ANNA, "anna", NOW_S), Verdict::Welcome, "who is allowed comes in");
    let program = village.program();
    let version = |db: &Connection| work::data_version(db).unwrap();
    let before = version(&program);
    for _ in 0..200 {
        assert_eq!(village.knock(key(3), "x3", NOW_S + 5), UNKNOWN);
    }
    assert_eq!(version(&program), before, "nothing was written");
    village.knock(key(3), "x3", NOW_S + 601);
    let counted = roster::list(&village.path).unwrap();
    let counted = counted.iter().find(|held| held.key == key(3)).unwrap();
    assert_eq!((counted.refused, counted.last_s), (202, Some(NOW_S + 601)));
}

#[test]
fn anyone_comes_in_where_the_configuration_says_so_and_is_not_remembered() {
    let mut village = Village::new();
    for _ in 0..3 {
        let verdict = village.store().admit(ANNA, "anna", Admit::Anyone, NOW_S).unwrap();
        assert_eq!(verdict, Verdict::Welcome);
        assert!(village.store().may_stay(ANNA, Admit::Anyone).unwrap());
    }
    assert!(village.held().is_empty());
    assert!(!village.store().may_stay(ANNA, Admit::Allowed).unwrap());
}

#[test]
fn a_database_of_the_layout_before_gets_the_table_at_the_next_start() {
    let mut village = Village::new();
    village.take(vec![change(PHONE, 1, Op::Insert, (PLACE, row(1)), vec![add(2, 1)])]);
    village.store = None;
    let db = Connection::open(&village.path).unwrap();
    db.execute_batch(
        "DROP TABLE wadi_lost_known; DROP TABLE wadi_spent; DROP TABLE wadi_spent_day; ALTER TABLE wadi_store DROP COLUMN last_round_up;
         ALTER TABLE wadi_store DROP COLUMN last_round_down; DROP TABLE wadi_model; ALTER TABLE wadi_store DROP COLUMN codec;
         DROP TABLE wadi_handheld; ALTER TABLE wadi_store DROP COLUMN certificate_of;
         ALTER TABLE wadi_store DROP COLUMN certificate_until_s;
         ALTER TABLE wadi_store DROP COLUMN line; ALTER TABLE wadi_store DROP COLUMN lost_hub; DROP TABLE wadi_lost;
         DROP INDEX wadi_change_alias; ALTER TABLE wadi_change DROP COLUMN alias;
         DROP INDEX wadi_row_stale; ALTER TABLE wadi_row DROP COLUMN stale;
         DROP TABLE wadi_wanted; DROP INDEX wadi_row_gone; ALTER TABLE wadi_store DROP COLUMN feed_floor;
         ALTER TABLE wadi_store DROP COLUMN feed_floor_run; DROP TABLE wadi_compacted; DROP TABLE wadi_backup;
         ALTER TABLE wadi_store DROP COLUMN backup_seq; PRAGMA user_version = 2",
    )
    .unwrap();
    drop(db);
    let older = roster::list(&village.path).unwrap_err().to_string();
    assert!(older.contains("start `wadi-gateway run` once"), "{older}");
    village.start();
    assert_eq!(village.changes().len(), 1);
    assert_eq!(village.knock(ANNA, "anna", NOW_S), UNKNOWN);
}
