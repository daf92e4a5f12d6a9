//! How candidates become values, strategy by strategy, read aloud.
use super::*;

fn alone(model: &Model<'_>, field: &Field, at: usize) -> Value {
    match model.changes[at].change.delta(field.number) {
        Some(Delta::Set(value)) => value.clone(),
        None => Value::Null,
        Some(other) => panic!("{other:?} in a field that takes values"),
    }
}

pub(super) fn record_field(
    table: &Table,
    field: &Field,
    base: Value,
    row: &Model<'_>,
    runs: &[RunInfo],
) -> Resolution {
    let reviewed = table.fields.iter().any(|field| field.merge == Merge::Review);
    let candidates = if reviewed { row.case(runs) } else { row.candidates() };
    let first = table.fields.iter().all(|field| field.merge == Merge::FirstWrite);
    let pick = |from: &[usize]| if first { from.first() } else { from.last() }.copied();
    let winner = pick(&candidates);
    let mut giver = winner;
    while let Some(at) = giver.filter(|&at| !gives(&row.changes[at].change, field.number)) {
        let past = |e: usize| row.precedes[e][at];
        let lives =
            |e: &usize| row.value[*e] && past(*e) && !row.ended(*e, &|g| past(g) || g == at);
        let lives: Vec<usize> = row.all().filter(lives).collect();
        let maximal = |e: &&usize| !lives.iter().any(|&g| row.precedes[**e][g]);
        giver = pick(&row.sorted(lives.iter().filter(maximal).copied().collect()));
    }
    let conflict = candidates.len() > 1;
    Resolution {
        field: field.number,
        value: giver.map_or(base, |at| alone(row, field, at)),
        shown: Vec::from_iter(giver),
        winner,
        conflict,
        review: conflict && field.merge == Merge::Review,
        candidates,
    }
}

pub(super) fn plain_field(
    field: &Field,
    base: Value,
    model: &Model<'_>,
    runs: &[RunInfo],
) -> Resolution {
    let review = field.merge == Merge::Review;
    let candidates = if review { model.case(runs) } else { model.candidates() };
    let conflict = candidates.len() > 1;
    let delta = |at: usize| model.changes[at].change.delta(field.number);
    let (mut value, mut winner, mut shown, mut review) =
        (base.clone(), None, vec![], review && conflict);
    let list = |value: &Value| match value {
        Value::List(list) => list.clone(),
        _ => vec![],
    };
    match field.merge {
        Merge::Sum => {
            let total =
                |at: usize| matches!(delta(at), Some(Delta::Set(_))) && model.op(at) != Op::Insert;
            let totals: Vec<usize> =
                model.kept_from(&total).into_iter().filter(|&at| total(at)).collect();
            let chosen = totals.last().copied();
            let part = |at: usize| -> Option<i128> {
                let replaced = chosen.is_some_and(|chosen| model.precedes[at][chosen]);
                match delta(at) {
                    _ if replaced || total(at) && Some(at) != chosen => None,
                    Some(Delta::Add(number)) => Some((*number).into()),
                    Some(Delta::Set(Value::Int(number))) => Some((*number).into()),
                    _ => None,
                }
            };
            shown =
                model.sorted(model.alive().into_iter().filter(|&at| part(at).is_some()).collect());
            let from = match (&base, chosen) {
                (Value::Int(number), None) => i128::from(*number),
                _ => 0,
            };
            let sum = shown.iter().filter_map(|&at| part(at)).sum::<i128>() + from;
            if !shown.is_empty() {
                value = Value::Int(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
                let (min, max) = (field.min.unwrap_or(i64::MIN), field.max.unwrap_or(i64::MAX));
                review = sum < min.into() || sum > max.into();
            }
            review |= totals.len() > 1;
        }
        Merge::Append => {
            let whole =
                |at: usize| matches!(delta(at), Some(Delta::Set(_))) && model.op(at) == Op::Settle;
            let mut all =
                if model.alive().iter().any(|&at| whole(at)) { vec![] } else { list(&base) };
            for at in model.kept_from(&whole) {
                let entries = match delta(at) {
                    Some(Delta::Append(entry)) => vec![entry.clone()],
                    Some(Delta::Set(value)) => list(value),
                    _ => vec![],
                };
                if !entries.is_empty() || whole(at) {
                    shown.push(at);
                }
                all.extend(entries);
            }
            value = if all.is_empty() { Value::Null } else { Value::List(all) };
        }
        Merge::Set => {
            let adds = |at: usize, entry: &String| match delta(at) {
                Some(Delta::Edit { add, .. }) => add.contains(entry),
                Some(Delta::Set(value)) => list(value).contains(entry),
                _ => false,
            };
            let removes = |at: usize, entry: &String| match delta(at) {
                Some(Delta::Edit { remove, .. }) => remove.contains(entry) && !adds(at, entry),
                Some(Delta::Set(_)) => !adds(at, entry),
                _ => false,
            };
            let alive = model.alive();
            let mut there = vec![];
            for entry in ["a", "b", "c", "d"].map(String::from) {
                let removed =
                    |e: usize| alive.iter().any(|&r| removes(r, &entry) && model.precedes[e][r]);
                let stays = |&&e: &&usize| adds(e, &entry) && !removed(e);
                let stays: Vec<usize> = alive.iter().filter(stays).copied().collect();
                let based =
                    list(&base).contains(&entry) && !alive.iter().any(|&r| removes(r, &entry));
                let known = list(&base).contains(&entry) || alive.iter().any(|&e| adds(e, &entry));
                if based || !stays.is_empty() {
                    there.push(entry.clone());
                } else {
                    let explicit = |r: usize| !matches!(delta(r), Some(Delta::Set(_))) || known;
                    let gone = |&&r: &&usize| removes(r, &entry) && explicit(r);
                    shown.extend(alive.iter().filter(gone).copied());
                }
                shown.extend(stays);
            }
            shown = model.sorted(shown);
            shown.dedup();
            value = if there.is_empty() { Value::Null } else { Value::List(there) };
        }
        merge => {
            let of = |at: usize| alone(model, field, at);
            let better = |a: usize, b: usize| match merge {
                Merge::FirstWrite => false,
                Merge::Max => of(b).is_null() || !of(a).is_null() && of(a) >= of(b),
                Merge::Min => of(b).is_null() || !of(a).is_null() && of(a) <= of(b),
                _ => true,
            };
            for &at in &candidates {
                winner = Some(winner.filter(|&best| !better(at, best)).unwrap_or(at));
            }
            shown = Vec::from_iter(winner);
            value = winner.map_or(base, of);
        }
    }
    Resolution { field: field.number, value, candidates, winner, shown, conflict, review }
}
