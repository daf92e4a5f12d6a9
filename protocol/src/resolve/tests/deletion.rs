//! Deletes against references, as cases and against the rule read aloud.
use proptest::prelude::*;

use super::super::deletion::{Node, Verdict, decide};
use super::*;
use crate::schema::OnDelete::{self, Cascade, Restrict, SetNull};

/// A row: whether it is deleted, what it references, whose cascade it survives.
fn node(deleted: bool, references: &[(usize, OnDelete)], survives: &[usize]) -> Node {
    Node { deleted, references: references.into(), survives: survives.into() }
}

fn check(situation: &str, nodes: &[Node], dead: &[usize], kept: &[usize]) {
    let Verdict { dead: found, kept: taken } = decide(nodes);
    let found: Vec<usize> = (0..nodes.len()).filter(|&at| found[at]).collect();
    assert_eq!((&found[..], &taken[..]), (dead, kept), "{situation}");
}

/// Situation, rows, those that are dead, those taken out of T.
type ForeignKeyCase = (&'static str, Vec<Node>, &'static [usize], &'static [usize]);

#[test]
fn foreign_keys() {
    let gone = |references: &[(usize, OnDelete)]| node(true, references, &[]);
    let here = |references: &[(usize, OnDelete)]| node(false, references, &[]);
    #[rustfmt::skip]
    let cases: &[ForeignKeyCase] = &[
        // situation                                  rows                                                              dead         kept
        ("nobody references it",                      vec![gone(&[])],                                                  &[0],        &[]),
        ("restrict keeps it",                         vec![gone(&[]), here(&[(0, Restrict)])],                          &[],         &[0]),
        ("the child is deleted too",                  vec![gone(&[]), gone(&[(0, Restrict)])],                          &[0, 1],     &[]),
        ("cascade takes it along",                    vec![gone(&[]), here(&[(0, Cascade)])],                           &[0, 1],     &[]),
        ("set-null lets it go",                       vec![gone(&[]), here(&[(0, SetNull)])],                           &[0],        &[]),
        ("restrict below a cascade",                  vec![gone(&[]), here(&[(0, Cascade)]), here(&[(1, Restrict)])],   &[],         &[0]),
        ("restrict from within the closure",          vec![gone(&[]), here(&[(0, Cascade)]), here(&[(0, Cascade), (1, Restrict)])], &[0, 1, 2], &[]),
        ("a kept row keeps the next",                 vec![gone(&[]), gone(&[(0, Restrict)]), here(&[(1, Restrict)])],  &[],         &[0, 1]),
        ("what goes with a kept row stays",           vec![gone(&[]), here(&[(0, Cascade)]), here(&[(0, Restrict)])],   &[],         &[0]),
        ("but not with another parent that goes",     vec![gone(&[]), here(&[(0, Cascade), (3, Cascade)]), here(&[(0, Restrict)]), gone(&[])], &[1, 3], &[0]),
        ("a row that references itself",              vec![gone(&[(0, Restrict)])],                                     &[0],        &[]),
        ("a circle of cascades",                      vec![gone(&[(1, Cascade)]), here(&[(0, Cascade)])],               &[0, 1],     &[]),
        ("kept from outside the circle",              vec![gone(&[(1, Cascade)]), here(&[(0, Cascade)]), here(&[(1, Restrict)])], &[], &[0]),
        ("a reference to nowhere",                    vec![gone(&[(9, Restrict)]), here(&[(9, Cascade)])],              &[0],        &[]),
        ("a child that survives",                     vec![gone(&[]), node(false, &[(0, Cascade)], &[0])],              &[],         &[0]),
        ("survives one parent, not the other",        vec![gone(&[]), node(false, &[(0, Cascade), (2, Cascade)], &[0]), gone(&[])], &[1, 2], &[0]),
        ("deleted itself: nothing survives",          vec![gone(&[]), node(true, &[(0, Cascade)], &[0])],               &[0, 1],     &[]),
        ("deleted itself, but kept: it survives",     vec![gone(&[]), node(true, &[(0, Cascade)], &[0]), here(&[(1, Restrict)])], &[], &[0, 1]),
        ("survives a row that it does not go with",   vec![gone(&[]), node(false, &[(0, SetNull)], &[0])],              &[0],        &[]),
    ];
    for (situation, nodes, dead, kept) in cases {
        check(situation, nodes, dead, kept);
    }
}

#[test]
fn a_cascade_of_a_hundred_thousand_rows_needs_no_stack() {
    let len = 100_000usize;
    let mut nodes: Vec<Node> = (0..len)
        .map(|at: usize| node(at == 0, &[(at.wrapping_sub(1), Cascade)][..at.min(1)], &[]))
        .collect();
    assert!(decide(&nodes).dead.iter().all(|&dead| dead));
    nodes.push(node(false, &[(len - 1, Restrict)], &[]));
    assert!(decide(&nodes).dead.iter().all(|&dead| !dead));
}

/// The delete rule, one row taken out of T at a time, the `pick`th that must be.
fn decide_plainly(nodes: &[Node], pick: usize) -> Verdict {
    let len = nodes.len();
    let closure = |from: usize| {
        let mut inside = vec![false; len];
        inside[from] = true;
        for _ in 0..len {
            for (row, node) in nodes.iter().enumerate() {
                let goes =
                    |&(to, how): &(usize, OnDelete)| how == Cascade && to < len && inside[to];
                inside[row] |= node.references.iter().any(goes);
            }
        }
        inside
    };
    let closures: Vec<Vec<bool>> = (0..len).map(closure).collect();
    let mut asks: Vec<bool> = nodes.iter().map(|node| node.deleted).collect();
    let dead = |asks: &[bool]| -> Vec<bool> {
        (0..len).map(|row| (0..len).any(|of| asks[of] && closures[of][row])).collect()
    };
    loop {
        let now = dead(&asks);
        let stays = |of: usize, row: usize| {
            let keeps = |node: &Node| node.references.contains(&(row, Restrict));
            (0..len).any(|other| !now[other] && keeps(&nodes[other]))
                || !asks[row] && nodes[row].survives.contains(&of)
        };
        let must =
            |of: &usize| asks[*of] && (0..len).any(|row| closures[*of][row] && stays(*of, row));
        let must: Vec<usize> = (0..len).filter(must).collect();
        if must.is_empty() {
            let kept = (0..len).filter(|&row| nodes[row].deleted && !asks[row]).collect();
            return Verdict { dead: now, kept };
        }
        asks[must[pick % must.len()]] = false;
    }
}

fn rows() -> impl Strategy<Value = Vec<Node>> {
    let how = prop_oneof![Just(Restrict), Just(Cascade), Just(Cascade), Just(SetNull)];
    let references = prop::collection::vec((0usize..9, how), 0..3);
    let survives = prop::collection::vec(0usize..9, 0..2);
    let row = (any::<bool>(), references, survives);
    let row =
        row.prop_map(|(deleted, references, survives)| Node { deleted, references, survives });
    prop::collection::vec(row, 0..9)
}

proptest! {
    #[test]
    fn the_order_of_taking_out_is_no_matter(nodes in rows(), pick in 0usize..7) {
        prop_assert_eq!(decide(&nodes), decide_plainly(&nodes, pick));
    }

    #[test]
    fn nothing_dead_is_referenced_by_restrict(nodes in rows()) {
        let dead = decide(&nodes).dead;
        for (row, node) in nodes.iter().enumerate().filter(|(row, _)| !dead[*row]) {
            for &(to, how) in &node.references {
                prop_assert!(how == SetNull || !dead.get(to).copied().unwrap_or(false), "{row} {to}");
            }
        }
    }
}
