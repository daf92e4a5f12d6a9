//! Admission and order against the plainest reading of their rules.
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn item(needs: &[&str], gives: &[&str], with: &[usize]) -> Item<String> {
    let own = |keys: &[&str]| keys.iter().map(|&key| key.into()).collect();
    Item { needs: own(needs), gives: own(gives), with: with.into() }
}

#[test]
fn a_child_goes_with_its_parent_and_not_without() {
    let child = item(&["parent"], &["child"], &[]);
    let grandchild = item(&["child"], &[], &[]);
    let parent = item(&["station"], &["parent"], &[]);
    let all = [grandchild.clone(), child.clone(), parent];
    assert_eq!(admit(&all, |key| key == "station"), [true, true, true]);
    assert_eq!(admit(&all, |_| false), [false, false, false]);
    assert_eq!(admit(&all[..2], |key| key == "station"), [false, false]);
}

#[test]
fn rows_that_reference_one_another_go_together() {
    let all = [item(&["b"], &["a"], &[]), item(&["a"], &["b"], &[])];
    assert_eq!(admit(&all, |_| false), [true, true]);
}

#[test]
fn a_group_waits_for_its_last_member() {
    let all = [item(&[], &["a"], &[1]), item(&["gone"], &[], &[0]), item(&["a"], &[], &[])];
    assert_eq!(admit(&all, |_| false), [false, false, false]);
    assert_eq!(admit(&all, |key| key == "gone"), [true, true, true]);
    assert_eq!(
        admit(&[item(&[], &[], &[7])], |_| true),
        [false],
        "a companion that does not exist"
    );
}

#[test]
fn a_key_given_twice_stands_until_both_givers_fall() {
    let all = [item(&["x"], &["a"], &[]), item(&[], &["a"], &[]), item(&["a"], &[], &[])];
    assert_eq!(admit(&all, |_| false), [false, true, true]);
}

#[test]
fn components_keep_the_given_order_where_they_may() {
    assert_eq!(components(4, &[]), [[0], [1], [2], [3]]);
    assert_eq!(components(4, &[(3, 0)]), [[1], [2], [3], [0]]);
    assert_eq!(components(4, &[(2, 0), (0, 2), (2, 1)]), [vec![0, 2], vec![1], vec![3]]);
    assert_eq!(components(2, &[(0, 0), (9, 1), (1, 9)]), [[0], [1]], "loops and strangers");
}

#[test]
fn a_chain_of_a_million_needs_no_stack() {
    let len = 1_000_000;
    let mut before: Vec<_> = (1..len).map(|at| (at, at - 1)).collect();
    assert_eq!(components(len, &before).len(), len);
    before.push((0, len - 1));
    assert_eq!(components(len, &before).len(), 1);
}

/// Takes out one item after another until nothing is wrong: the rule read aloud.
fn admit_plainly(items: &[Item<u8>], known: impl Fn(&u8) -> bool) -> Vec<bool> {
    let mut admitted = vec![true; items.len()];
    loop {
        let given = |key: &u8| {
            known(key) || (0..items.len()).any(|at| admitted[at] && items[at].gives.contains(key))
        };
        let fails = |at: &usize| {
            admitted[*at]
                && !(items[*at].needs.iter().all(given)
                    && items[*at].with.iter().all(|&other| admitted.get(other) == Some(&true)))
        };
        let Some(at) = (0..items.len()).find(fails) else {
            return admitted;
        };
        admitted[at] = false;
    }
}

fn items() -> impl Strategy<Value = Vec<Item<u8>>> {
    let keys = || prop::collection::vec(0u8..8, 0..3);
    let with = prop::collection::vec(0usize..12, 0..2);
    let item = (keys(), keys(), with).prop_map(|(needs, gives, with)| Item { needs, gives, with });
    prop::collection::vec(item, 0..12)
}

proptest! {
    #[test]
    fn admission_is_the_greatest_set(items in items(), known in 0u8..4) {
        prop_assert_eq!(admit(&items, |key| *key < known), admit_plainly(&items, |key| *key < known));
    }

    #[test]
    fn components_respect_what_lies_before(
        len in 0usize..12,
        before in prop::collection::vec((0usize..12, 0usize..12), 0..20),
    ) {
        let order = components(len, &before);
        let mut all: Vec<usize> = order.iter().flatten().copied().collect();
        let place = |at: usize| order.iter().position(|part| part.contains(&at));
        for &(a, b) in before.iter().filter(|&&(a, b)| a < len && b < len) {
            prop_assert!(place(a) <= place(b));
        }
        all.sort();
        prop_assert_eq!(all, (0..len).collect::<Vec<_>>());
        let closure = closure(len, &before);
        for (a, b) in (0..len).flat_map(|a| (0..len).map(move |b| (a, b))) {
            let together = a == b || closure[a][b] && closure[b][a];
            prop_assert_eq!(place(a) == place(b), together);
        }
    }
}

fn closure(len: usize, before: &[(usize, usize)]) -> Vec<Vec<bool>> {
    let mut closure = vec![vec![false; len]; len];
    before.iter().filter(|&&(a, b)| a < len && b < len).for_each(|&(a, b)| closure[a][b] = true);
    for via in 0..len {
        for from in 0..len {
            for to in 0..len {
                closure[from][to] |= closure[from][via] && closure[via][to];
            }
        }
    }
    closure
}
