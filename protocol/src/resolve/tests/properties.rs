//! What holds of any changes whatever: forged, circular, copied, twice told.
use proptest::prelude::*;

use super::model::resolve_plainly;
use super::*;

/// One random change, before it is fitted to a table.
#[derive(Clone, Debug)]
struct Draft {
    device: u8,
    run: u64,
    seq: u64,
    stamp: u64,
    contained: bool,
    op: u8,
    fields: Vec<(u8, u8, i64)>,
    above: Vec<usize>,
    hub: (u64, u64),
}

fn drafts(len: usize) -> impl Strategy<Value = Vec<Draft>> {
    let name = (0u8..3, 1u64..4, 1u64..4, 0u64..4, any::<bool>());
    let fields = prop::collection::vec((0u8..3, 0u8..8, -2i64..4), 0..3);
    let seen = prop::collection::vec(0..len.max(1), 0..3);
    let hub = prop_oneof![Just((0, 0)), (0u64..8, 0u64..8)];
    let draft = (name, 0u8..10, fields, seen, hub).prop_map(|(name, op, fields, above, hub)| {
        let (device, run, seq, stamp, contained) = name;
        Draft { device, run, seq, stamp, contained, op, fields, above, hub }
    });
    prop::collection::vec(draft, 0..len)
}

/// Every run's parent, if any: circles and strangers included.
fn runs() -> impl Strategy<Value = Vec<RunInfo>> {
    let parent = prop::option::of((0u64..5, 0u64..4));
    prop::collection::vec(parent, 9).prop_map(|parents| {
        let info = |(at, parent): (usize, Option<(u64, u64)>)| RunInfo {
            device: DeviceId(at as u64 / 3),
            run: RunId(at as u64 % 3 + 1),
            parent: parent.map(|(run, last)| (RunId(run), last)),
            label: String::new(),
        };
        parents.into_iter().enumerate().map(info).collect()
    })
}

fn tables() -> impl Strategy<Value = Table> {
    use Merge::*;
    let merge =
        prop::sample::select(vec![LastWrite, FirstWrite, Max, Min, Sum, Append, Set, Review]);
    let mode = prop::sample::select(vec![Mode::Field, Mode::Field, Mode::Record]);
    let policies = vec![DeletePolicy::DeleteWins, DeletePolicy::UpdateWins, DeletePolicy::Review];
    (merge, mode, prop::sample::select(policies)).prop_map(|(merge, mode, policy)| {
        let gathers = matches!(merge, Sum | Append | Set);
        let mode = if gathers { Mode::Field } else { mode };
        let mut table = table(merge, mode, policy);
        (table.fields[0].min, table.fields[0].max) = (Some(-1), Some(4));
        table
    })
}

fn bases() -> impl Strategy<Value = Option<(bool, u8)>> {
    prop::option::of((any::<bool>(), 0u8..3))
}

fn base_image(merge: Merge, drawn: Option<(bool, u8)>) -> Option<Image> {
    let (live, which) = drawn?;
    let text = match (merge, which) {
        (_, 0) => "null",
        (Merge::Append | Merge::Set, 1) => "[a]",
        (Merge::Append | Merge::Set, _) => "[b, c]",
        (_, 1) => "2",
        _ => "-1",
    };
    Some(image(live, text))
}

fn delta_of(merge: Merge, op: Op, how: u8, number: i64) -> Delta {
    let entries = |bits: i64| -> Vec<String> {
        (0..4).filter(|at| bits >> at & 1 == 1).map(|at| ["a", "b", "c", "d"][at].into()).collect()
    };
    let whole = how == 7 || matches!(op, Op::Settle | Op::Undone) && how > 4;
    match merge {
        Merge::Sum if whole => Delta::Set(Value::Int(number)),
        Merge::Sum => Delta::Add(number),
        Merge::Append if whole => Delta::Set(Value::List(entries(number + 2))),
        Merge::Append => Delta::Append(format!("{how}")),
        Merge::Set if whole => Delta::Set(Value::List(entries(number + 2))),
        Merge::Set => Delta::Edit { add: entries(how.into()), remove: entries(number + 2) },
        _ if how == 0 => Delta::Set(Value::Null),
        _ if how == 6 && matches!(op, Op::Insert | Op::Update) => Delta::Passed,
        _ => Delta::Set(Value::Int(number)),
    }
}

fn fit(table: &Table, drafts: &[Draft]) -> Vec<Told> {
    let dot = |draft: &Draft| Dot {
        device: DeviceId(draft.device.into()),
        run: RunId(draft.run),
        seq: draft.seq,
    };
    let told = |draft: &Draft| {
        let mut change = change(dot(draft), draft.stamp);
        change.contained =
            draft.contained.then_some(Stamp { seconds: draft.stamp / 2, counter: 0 });
        change.op = match draft.op {
            0 | 1 => Op::Insert,
            2 => Op::Delete,
            3 => Op::Settle,
            4 => Op::Undone,
            _ => Op::Update,
        };
        for &(field, how, number) in draft.fields.iter().filter(|_| change.op != Op::Delete) {
            let delta = match field {
                0 if !matches!(change.op, Op::Settle | Op::Undone) => continue,
                0 => Delta::Set(Value::Bool(how > 3)),
                1 => delta_of(table.fields[0].merge, change.op, how, number),
                _ => delta_of(Merge::LastWrite, change.op, how, number),
            };
            change.fields.push((FieldRef::Number(field.into()), delta));
        }
        change.fields.sort();
        change.fields.dedup_by_key(|(field, _)| field.clone());
        change.seen.above = draft.above.iter().filter_map(|&at| drafts.get(at)).map(dot).collect();
        let (seq, seen_seq) = draft.hub;
        Told { name: String::new(), change, seq, seen_seq }
    };
    drafts.iter().map(told).collect()
}

fn lines(runs: &[RunInfo]) -> Lines {
    let mut lines = Lines::new();
    runs.iter().for_each(|info| lines.add(info));
    lines
}

/// The answer with every index put through `name`.
fn renamed(mut resolved: Resolved, name: impl Fn(usize) -> usize) -> Resolved {
    let all = |indices: &mut Vec<usize>| indices.iter_mut().for_each(|at| *at = name(*at));
    all(&mut resolved.existence.deletes);
    all(&mut resolved.existence.candidates);
    for field in &mut resolved.fields {
        all(&mut field.candidates);
        all(&mut field.shown);
        field.winner = field.winner.map(&name);
    }
    resolved
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn the_answer_is_that_of_the_rules_read_aloud(
        table in tables(),
        drafts in drafts(8),
        runs in runs(),
        base in bases(),
    ) {
        let mut told = fit(&table, &drafts);
        let mut dots = vec![];
        told.retain(|told| !dots.contains(&told.change.dot) && { dots.push(told.change.dot); true });
        let base = base_image(table.fields[0].merge, base);
        let found = resolve(&table, base.as_ref(), &placed(&told), &lines(&runs));
        let wanted = resolve_plainly(&table, base.as_ref(), &told, &runs);
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn the_order_of_arrival_is_no_matter(
        table in tables(),
        drafts in drafts(12),
        runs in runs(),
        base in bases(),
        (shuffle, shuffled_runs) in (any::<u64>(), any::<bool>()),
    ) {
        let told = fit(&table, &drafts);
        let mut order: Vec<usize> = (0..told.len()).collect();
        let mut state = shuffle;
        for at in (1..order.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            order.swap(at, (state >> 33) as usize % (at + 1));
        }
        let other: Vec<Told> = order.iter().map(|&at| told[at].clone()).collect();
        let other_runs: Vec<RunInfo> = match shuffled_runs {
            true => runs.iter().rev().cloned().collect(),
            false => runs.clone(),
        };
        let base = base_image(table.fields[0].merge, base);
        let one = resolve(&table, base.as_ref(), &placed(&told), &lines(&runs));
        let two = resolve(&table, base.as_ref(), &placed(&other), &lines(&other_runs));
        // A dot told twice with the same content is the same change under either index.
        let same = |at: usize| {
            let alike = |told_too: &&Told| format!("{told_too:?}") == format!("{:?}", told[at]);
            told.iter().position(|other| alike(&other)).expect("itself at least")
        };
        prop_assert_eq!(renamed(one, same), renamed(two, |at| same(order[at])));
    }

    /// The short way gives what the general way gives, for histories that are a chain
    /// and for those that nearly are.
    #[test]
    fn the_short_way_is_the_general_way(
        table in tables(),
        drafts in drafts(8),
        (straight, flaw) in (0usize..9, any::<bool>()),
        reversed in any::<bool>(),
    ) {
        let mut told = fit(&table, &drafts);
        for (at, told) in told.iter_mut().enumerate().filter(|(at, _)| *at < straight) {
            told.change.dot = Dot { device: DeviceId(1), run: RunId(1), seq: at as u64 + 1 };
            told.change.seen.above.clear();
            told.change.op = if at == 0 { Op::Insert } else { Op::Update };
            if !flaw {
                (told.seq, told.seen_seq) = (at as u64 + 1, told.seen_seq.min(at as u64));
            }
        }
        if reversed {
            told.reverse();
        }
        if let Some(short) = chain::resolve(&table, &placed(&told)) {
            let general = resolve_any(&table, None, &placed(&told), &Lines::new());
            prop_assert_eq!(short, general);
        }
        // The same, grown change by change as a store that applies them does.
        told.retain(|told| told.seq > 0);
        told.sort_by_key(|told| told.seq);
        told.dedup_by_key(|told| told.seq);
        if chain::end(&table, &placed(&told)).is_some() {
            let general = resolve_any(&table, None, &placed(&told), &Lines::new());
            let mut fields = BTreeMap::new();
            told.iter().for_each(|told| chain::grow(&table, &mut fields, &told.change));
            for field in &general.fields {
                prop_assert_eq!(&field.value, fields.get(&field.field).unwrap_or(&Value::Null));
                prop_assert!(!field.conflict && !field.review);
            }
            prop_assert!(general.existence.live());
            prop_assert!(!general.existence.conflict && !general.existence.review);
        }
    }

    /// What its own writer has replaced may be left out: nobody sees a difference.
    #[test]
    fn values_that_their_writer_replaced_say_nothing(
        table in tables(),
        drafts in drafts(9),
        base in bases(),
    ) {
        let field = &table.fields[0];
        let mut table = table.clone();
        table.history = History::Latest;
        table.mode = Mode::Field;
        if !table.leaves_out(field) {
            return Ok(());
        }
        let mut told = fit(&table, &drafts);
        for (at, told) in told.iter_mut().enumerate() {
            let seq = at as u64 + 1;
            let dot = told.change.dot;
            told.change.dot = Dot { run: RunId(dot.run.0.min(2)), seq, ..dot };
            (told.seq, told.seen_seq) = (seq, told.seen_seq.min(at as u64));
        }
        let dots: Vec<Dot> = told.iter().map(|told| told.change.dot).collect();
        for (at, told) in told.iter_mut().enumerate() {
            let above = drafts[at].above.iter().filter(|&&other| other < at);
            told.change.seen.above = above.map(|&other| dots[other]).collect();
        }
        let mut net = told.clone();
        for (at, left) in net.iter_mut().enumerate() {
            let (dot, op) = (left.change.dot, left.change.op);
            for (number, delta) in &mut left.change.fields {
                let replaced = told[at + 1..].iter().any(|later| {
                    let (change, dot_too) = (&later.change, later.change.dot);
                    (dot_too.device, dot_too.run, change.op) == (dot.device, dot.run, Op::Update)
                        && change.fields.iter().any(|(other, delta)| {
                            other == number && matches!(delta, Delta::Set(_))
                        })
                });
                if replaced && matches!(op, Op::Insert | Op::Update) {
                    *delta = Delta::Passed;
                }
            }
        }
        let base = base_image(table.fields[0].merge, base);
        let whole = resolve(&table, base.as_ref(), &placed(&told), &Lines::new());
        let found = resolve(&table, base.as_ref(), &placed(&net), &Lines::new());
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn what_fits_no_field_hurts_nobody(
        table in tables(),
        stranger in tables(),
        drafts in drafts(10),
        runs in runs(),
        reversed in any::<bool>(),
    ) {
        // Deltas of another strategy, fields out of order.
        let mut told = fit(&stranger, &drafts);
        if reversed {
            told.iter_mut().for_each(|told| told.change.fields.reverse());
        }
        let resolved = resolve(&table, None, &placed(&told), &lines(&runs));
        prop_assert_eq!(resolved.fields.len(), table.fields.len());
    }

    #[test]
    fn earlier_is_a_strict_order(runs in runs(), names in prop::collection::vec((0u64..3, 1u64..4, 1u64..5), 3)) {
        let lines = lines(&runs);
        let dot = |at: usize| Dot { device: DeviceId(names[at].0), run: RunId(names[at].1), seq: names[at].2 };
        let [a, b, c] = [dot(0), dot(1), dot(2)];
        prop_assert!(!(lines.earlier(a, b) && lines.earlier(b, a)));
        prop_assert!(!(lines.earlier(a, b) && lines.earlier(b, c)) || lines.earlier(a, c));
    }
}

/// What the short way takes, and what it leaves to the general one.
#[test]
fn a_chain_is_taken_the_short_way() {
    let table = table(Merge::Review, Mode::Field, DeletePolicy::Review);
    let mut told: Vec<Told> = Vec::new();
    for at in 0..2_000u64 {
        let mut change =
            change(Dot { device: DeviceId(1), run: RunId(9), seq: at + 1 }, 5_000 - at);
        change.op = if at == 0 { Op::Insert } else { Op::Update };
        change.fields = vec![(FieldRef::Number(1), Delta::Set(Value::Int(at as i64)))];
        told.push(Told { name: String::new(), change, seq: at + 1, seen_seq: at / 2 });
    }
    let short = chain::resolve(&table, &placed(&told)).expect("a chain");
    assert_eq!(short.fields[0].value, Value::Int(1_999));
    assert_eq!(short.fields[1].candidates, vec![0]);
    assert_eq!(short, resolve_any(&table, None, &placed(&told), &Lines::new()));
    assert_eq!(chain::end(&table, &placed(&told)), told.last().map(|told| told.change.dot));

    // One that claims to have seen what lies behind it, another run, a delete.
    let refused = |spoil: &dyn Fn(&mut Told)| {
        let mut told = told.clone();
        spoil(&mut told[1_000]);
        let placed = placed(&told);
        chain::resolve(&table, &placed).is_none() && chain::end(&table, &placed).is_none()
    };
    assert!(refused(&|told| told.seen_seq = 1_002));
    assert!(refused(&|told| told.change.dot.run = RunId(8)));
    assert!(refused(&|told| told.change.op = Op::Delete));
}

/// 10,000 deltas in one row, by ten devices, half of them seen by row version.
#[test]
fn a_row_of_ten_thousand_changes() {
    for merge in [Merge::Sum, Merge::Review, Merge::LastWrite] {
        let table = table(merge, Mode::Field, DeletePolicy::Review);
        let mut told = told("A1@1 insert w=1 #1");
        for at in 0..10_000u64 {
            let dot = Dot { device: DeviceId(at % 10), run: RunId(9), seq: at / 10 + 1 };
            let mut change = change(dot, at);
            change.fields = vec![(FieldRef::Number(1), delta_of(merge, Op::Update, 1, 1))];
            let seen_seq = if at % 2 == 0 { at.saturating_sub(30) } else { 1 };
            told.push(Told { name: String::new(), change, seq: at + 2, seen_seq });
        }
        let resolved = resolve(&table, None, &placed(&told), &Lines::new());
        if merge == Merge::Sum {
            assert_eq!(resolved.fields[0].value, Value::Int(10_000));
        }
        assert!(resolved.fields[0].conflict);
    }
}

/// As many deletes as updates, none of which saw another, and a circle through all.
#[test]
fn a_row_of_hostile_changes() {
    let table = table(Merge::Review, Mode::Record, DeletePolicy::Review);
    for circle in [false, true] {
        let mut told: Vec<Told> = vec![];
        for at in 0..4000u64 {
            let dot = |at: u64| Dot { device: DeviceId(at), run: RunId(1), seq: 1 };
            let mut change = change(dot(at), 7);
            change.op = if at % 2 == 0 { Op::Delete } else { Op::Insert };
            change.seen.above = vec![dot((at + 1) % 4000)];
            change.seen.above.retain(|_| circle);
            told.push(Told { name: String::new(), change, seq: 0, seen_seq: 0 });
        }
        let resolved = resolve(&table, None, &placed(&told), &Lines::new());
        assert!(resolved.existence.review && resolved.existence.live());
        assert_eq!(resolved.fields[0].candidates.len(), 2000);
    }
}
