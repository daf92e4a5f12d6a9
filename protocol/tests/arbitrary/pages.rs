//! Pages of any kind.
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wadi_protocol::wire::downlink::{KnownRuns, Notice, Page, PageRow, Renewal, RowState};
use wadi_protocol::wire::message::Outcome;

use super::{device, dot, number, row, run, text, value};

pub fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<u64>().prop_map(|seq| Outcome::Applied { seq }),
        any::<u64>().prop_map(|seq| Outcome::Known { seq }),
        Just(Outcome::Parked),
        Just(Outcome::Quarantined),
        Just(Outcome::Held),
    ]
}

pub fn page() -> impl Strategy<Value = Page> {
    let state = prop_oneof![Just(RowState::Live), Just(RowState::Dead), Just(RowState::Left)];
    let followed = vec((dot(), vec(any::<u16>(), 0..3)), 0..3);
    let fields = vec((any::<u16>(), value()), 0..4);
    let wanted = vec((any::<u16>(), row()), 0..3);
    let row = (
        any::<u16>(),
        row(),
        number(),
        state,
        fields,
        any::<bool>(),
        vec(any::<u16>(), 0..3),
        followed,
    );
    let row = row.prop_map(|(table, row, version, state, fields, whole, review, followed)| {
        PageRow { table, row, version, state, fields, whole, review, followed }
    });
    let notice = (dot(), outcome(), text()).prop_map(|(dot, outcome, reason)| Notice {
        dot,
        outcome,
        reason,
    });
    let known = (device(), run(), vec((number(), number()), 0..3))
        .prop_map(|(device, run, spans)| KnownRuns { device, run, spans });
    let schema = any::<bool>().prop_map(|there| there.then(crate::sample::schema));
    let to = [any::<u64>(), any::<u64>()];
    let verdicts = vec((any::<u32>(), text()), 0..3);
    let renewal = (any::<u32>(), number(), vec(any::<u8>(), 0..5));
    let renewal = renewal.prop_map(|(enrolment, until_s, der)| Renewal { enrolment, until_s, der });
    let certificate = option::of(renewal);
    let last = (number(), certificate, any::<u32>(), number(), wanted);
    (schema, verdicts, vec(notice, 0..3), to, vec(row, 0..4), vec(known, 0..3), last).prop_map(
        |(schema, verdicts, notices, to, rows, known, last)| {
            let (clock_s, certificate, line, backup, wanted) = last;
            Page {
                schema,
                verdicts,
                notices,
                to,
                rows,
                known,
                clock_s,
                certificate,
                line,
                backup,
                wanted,
                codec: 2,
            }
        },
    )
}
