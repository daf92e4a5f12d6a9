//! Samples by hand: a day of a village, and one of each message.
#![allow(dead_code, reason = "each test uses its own part")]
pub mod link;

use wadi_protocol::change::{Change, Delta, FieldRef, Group, Op, Seen, SeenRow, TableRef};
use wadi_protocol::id::{DeviceId, Dot, Hash, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::schema::{
    DeletePolicy, Field, History, Kind, Lane, Merge, Mode, OnDelete, Schema, Scope, Table,
};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::Batch;
use wadi_protocol::wire::brief;
use wadi_protocol::wire::coded::ModelName;
use wadi_protocol::wire::downlink::{KnownRuns, Notice, Page, PageRow, Renewal, RowState};
use wadi_protocol::wire::message::{
    Attached, Committed, Down, DownBody, Outcome, Part, Prepare, Prepared, Refused, Returned,
    Spent, Up, UpBody,
};

pub const HANDHELD: DeviceId = DeviceId(0x0123_4567_89ab_cdef);
pub const TABLET: DeviceId = DeviceId(0xfedc_ba98_7654_3210);
pub const RUN: RunId = RunId(0xa1b2_c3d4_e5f6);
pub const TABLET_RUN: RunId = RunId(0x0000_0000_1111);
pub const HUB: RunId = RunId(0x7777_7777_7777);

pub fn dot(seq: u64) -> Dot {
    Dot { device: HANDHELD, run: RUN, seq }
}

pub fn row(counter: u64) -> RowId {
    RowId::derive(HANDHELD, RUN, counter)
}

pub fn text(text: &str) -> Delta {
    Delta::Set(Value::Text(text.into()))
}

pub fn int(number: i64) -> Delta {
    Delta::Set(Value::Int(number))
}

pub fn fields<const N: usize>(fields: [(u16, Delta); N]) -> Vec<(FieldRef, Delta)> {
    fields.into_iter().map(|(number, delta)| (FieldRef::Number(number), delta)).collect()
}

/// A change made a few minutes after the one before.
pub fn change(seq: u64, op: Op, table: u16, row: RowId, fields: Vec<(FieldRef, Delta)>) -> Change {
    let entered_s = 1_766_700_000 + seq * 217;
    Change {
        dot: dot(seq),
        stamp: Stamp { seconds: entered_s, counter: 0 },
        entered_s,
        contained: None,
        schema: 3,
        rights: 0,
        group: None,
        table: TableRef::Number(table),
        row,
        op,
        fields,
        seen: Seen::default(),
        closure: Vec::new(),
    }
}

/// Twenty changes of the usual and the unusual kinds.
pub fn day() -> Batch {
    let mut changes = Vec::new();
    for seq in 1..=6 {
        let tail = format!("N{}AA", 320 + seq);
        let number = i64::try_from(seq).unwrap();
        let vehicle = fields([(1, text(&tail)), (2, int(1986 + number)), (5, text("767-223"))]);
        changes.push(change(seq, Op::Insert, 3, row(seq), vehicle));
        let trip = fields([
            (1, Delta::Set(Value::Row(row(seq)))),
            (2, text("AA")),
            (3, int(300 + number)),
            (7, text("2026-01-14")),
            (10, int(733)),
            (11, text("scheduled")),
        ]);
        changes.push(change(seq + 6, Op::Insert, 4, row(seq + 6), trip));
    }
    changes.sort_by_key(|change| change.dot);
    for change in &mut changes[2..5] {
        change.group = Some(Group { first: 3, len: 3 });
    }
    let shown = Seen { version: RowVersion { hub: HUB, seq: 4711 }, above: vec![] };
    let above = |seen: &Seen, seqs: &[u64]| Seen {
        above: seqs.iter().map(|seq| Dot { device: TABLET, run: TABLET_RUN, seq: *seq }).collect(),
        ..seen.clone()
    };
    let departed = fields([(11, text("departed")), (12, int(1546)), (13, int(-6))]);
    let mut update = change(13, Op::Update, 4, row(8), departed.clone());
    update.seen = shown.clone();
    changes.push(update);
    let mut update = change(14, Op::Update, 4, row(9), departed);
    update.seen = above(&shown, &[7, 9]);
    changes.push(update);
    let elsewhere = "8dd32ccf-ea43-49e0-8514-58eeb8336913".parse().unwrap();
    let merged = fields([
        (1, Delta::Set(Value::Null)),
        (2, Delta::Add(-40)),
        (3, Delta::Append("limps".into())),
        (4, Delta::Edit { add: vec!["cough".into()], remove: vec!["fever".into(), "rash".into()] }),
        (5, Delta::Set(Value::Bool(true))),
        (6, Delta::Set(Value::List(vec!["a".into(), "b".into()]))),
        (7, Delta::Set(Value::Row(elsewhere))),
    ]);
    changes.push(change(15, Op::Update, 9, elsewhere, merged));
    let mut early = change(16, Op::Update, 4, row(8), fields([(12, int(1550))]));
    early.stamp = Stamp { seconds: 4_070_908_800, counter: 3 };
    early.contained = Some(Stamp { seconds: 1_766_790_000, counter: 0 });
    changes.push(early);
    let mut raw = change(17, Op::Insert, 0, row(17), Vec::new());
    raw.table = TableRef::Name("visitor".into());
    raw.schema = 0;
    raw.fields = vec![
        (FieldRef::Name("weight".into()), Delta::Set(Value::Number("12.5e0".into()))),
        (FieldRef::Name("village".into()), text("north")),
    ];
    changes.push(raw);
    let mut delete = change(18, Op::Delete, 3, row(2), Vec::new());
    delete.seen = shown.clone();
    delete.closure = vec![
        SeenRow { table: 4, row: row(8), seen: above(&shown, &[9]) },
        SeenRow { table: 4, row: row(1000), seen: Seen::default() },
    ];
    changes.push(delete);
    let mut tablets =
        change(1, Op::Insert, 3, RowId::derive(TABLET, TABLET_RUN, 1), fields([(1, text("N1"))]));
    tablets.dot = Dot { device: TABLET, run: TABLET_RUN, seq: 1 };
    changes.push(tablets);
    changes.push(change(19, Op::Settle, 4, row(9), fields([(0, Delta::Set(Value::Bool(true)))])));
    let info =
        |device, run, parent, label: &str| RunInfo { device, run, parent, label: label.into() };
    let first = RunId(0x0000_0a0a_0a0a);
    Batch {
        runs: vec![
            info(HANDHELD, first, None, "drv-2"),
            info(HANDHELD, RUN, Some((first, 120)), "drv-2"),
            info(TABLET, TABLET_RUN, None, "tab-4"),
        ],
        changes,
    }
}

fn field(number: u16, name: &str, kind: Kind, merge: Merge) -> Field {
    Field {
        number,
        name: name.into(),
        kind,
        merge,
        required: false,
        min: None,
        max: None,
        unique: false,
        label: None,
        unit: None,
    }
}

/// A schema in which every variant stands once.
pub fn schema() -> Schema {
    let table = |number, name: &str, fields| Table {
        number,
        name: name.into(),
        fields,
        mode: Mode::Field,
        delete: DeletePolicy::DeleteWins,
        scope: Scope::Global,
        site: None,
        lane: Lane::Routine,
        history: History::Full,
        retention_days: None,
    };
    let codes = vec![String::from("f"), "m".into()];
    let reference = |on_delete| Kind::Reference { table: 1, on_delete };
    let weight = Field {
        required: true,
        min: Some(5),
        max: Some(2500),
        unique: true,
        label: Some("Weight".into()),
        unit: Some("kg".into()),
        ..field(2, "weight", Kind::Decimal { scale: 1 }, Merge::FirstWrite)
    };
    let visit = vec![
        field(1, "doses", Kind::Integer, Merge::Sum),
        weight,
        field(3, "notes", Kind::Text, Merge::Append),
        field(4, "urgent", Kind::Boolean, Merge::LastWrite),
        field(5, "day", Kind::Date, Merge::Max),
        field(6, "seen_at", Kind::Timestamp, Merge::Review),
        field(7, "sex", Kind::Enum { values: codes.clone() }, Merge::LastWrite),
        field(8, "symptoms", Kind::Set { values: codes }, Merge::Set),
        field(9, "village", reference(OnDelete::Restrict), Merge::LastWrite),
        field(10, "clinic", reference(OnDelete::Cascade), Merge::LastWrite),
        field(11, "nurse", reference(OnDelete::SetNull), Merge::LastWrite),
        field(12, "least", Kind::Integer, Merge::Min),
    ];
    Schema {
        name: "clinic".into(),
        version: 3,
        tables: vec![
            table(1, "place", vec![field(1, "name", Kind::Text, Merge::LastWrite)]),
            Table {
                mode: Mode::Record,
                delete: DeletePolicy::UpdateWins,
                scope: Scope::Site,
                lane: Lane::Urgent,
                history: History::Latest,
                retention_days: Some(90),
                ..table(2, "visit", visit)
            },
            Table {
                delete: DeletePolicy::Review,
                scope: Scope::Upload,
                ..table(3, "log", vec![field(1, "line", Kind::Text, Merge::LastWrite)])
            },
        ],
    }
}

/// A page with a bit of everything.
pub fn page() -> Page {
    let page_row = |counter, state| PageRow {
        table: 4,
        row: row(counter),
        version: 4700 + counter,
        state,
        fields: vec![
            (1, Value::Row(row(1))),
            (11, Value::Text("arrived".into())),
            (12, Value::Int(-3)),
        ],
        whole: true,
        review: vec![0, 11],
        followed: vec![(dot(3), vec![0, 11])],
    };
    Page {
        schema: Some(schema()),
        verdicts: vec![(2, "visit.day: \"x\" is not a date".into())],
        notices: vec![Notice { dot: dot(9), outcome: Outcome::Parked, reason: "waits".into() }],
        to: [4711, 4712],
        rows: vec![
            page_row(7, RowState::Live),
            PageRow { fields: vec![], whole: false, review: vec![], ..page_row(8, RowState::Dead) },
            PageRow { fields: vec![], followed: vec![], ..page_row(9, RowState::Left) },
        ],
        known: vec![KnownRuns { device: TABLET, run: TABLET_RUN, spans: vec![(1, 6), (8, 9)] }],
        clock_s: 1_766_700_000,
        certificate: Some(Renewal { enrolment: 1, until_s: 1_924_467_000, der: vec![0x30, 0x82] }),
        line: 3,
        codec: 2,
        backup: 4000,
        wanted: vec![(4, row(5))],
    }
}

pub fn hash(of: &str) -> Hash {
    Hash::of(&[of.as_bytes()])
}

/// Every outcome.
pub fn outcomes() -> Vec<(u32, Outcome)> {
    vec![
        (3, Outcome::Applied { seq: 4712 }),
        (1, Outcome::Known { seq: 12 }),
        (1, Outcome::Parked),
        (2, Outcome::Quarantined),
        (1, Outcome::Held),
    ]
}

/// Every message of a gateway, by name.
pub fn ups() -> Vec<(&'static str, Up)> {
    let up = |body| Up { run: RUN, hub: HUB, round: 300, body };
    let prepare = Prepare {
        parent: hash("parent"),
        cursors: [4711, 4700],
        schema: 3,
        content: hash("content"),
        bytes: 5000,
        parts: 2,
        first: vec![1, 2, 3],
        returned: None,
        ahead: 12,
        codec: 2,
        model: ModelName([1, 2, 3, 4]),
        delegated: false,
        narrow: false,
        spent: Vec::new(),
    };
    let returned = Returned { fork: 4000, runs: vec![HUB], seqs: vec![(7, 4100), (2, 0)] };
    let delegated = Prepare { bytes: 3, parts: 1, delegated: true, ..prepare.clone() };
    let day =
        Spent { day: 20_780, payload: 40_000, protocol: 9_000, idle: 300, ..Spent::default() };
    let frugal = Prepare { narrow: true, spent: vec![day], ..prepare.clone() };
    let returning = Prepare { returned: Some(returned), ..prepare.clone() };
    vec![
        ("up_prepare", up(UpBody::Prepare(prepare))),
        ("up_prepare_delegated", up(UpBody::Prepare(delegated))),
        ("up_prepare_returning", up(UpBody::Prepare(returning))),
        ("up_prepare_frugal", up(UpBody::Prepare(frugal))),
        ("up_part", up(UpBody::Part(Part { index: 1, bytes: vec![0, 255] }))),
        ("up_fetch", up(UpBody::Fetch { missing: vec![(1, 3), (7, 7)] })),
        ("up_commit", up(UpBody::Commit)),
        ("up_abort", up(UpBody::Abort)),
    ]
}

/// The messages that can be said in brief.
pub fn briefs() -> Vec<(&'static str, Vec<u8>)> {
    let up = ups().into_iter().find_map(|(_, up)| brief::up(&up));
    let down = downs().into_iter().find_map(|(_, down)| brief::down(&down));
    vec![
        ("brief_prepare", up.expect("one is brief")),
        ("brief_committed", down.expect("one is brief")),
    ]
}

/// Every message of the hub, by name.
pub fn downs() -> Vec<(&'static str, Down)> {
    let down = |body| Down { hub: HUB, known: HUB, round: 300, body };
    let refused = |refused| down(DownBody::Refused(refused));
    let prepared = Prepared {
        content: hash("content"),
        page: hash("page"),
        bytes: 9000,
        parts: 3,
        first: vec![4, 5],
    };
    let committed = Committed {
        outcomes: outcomes(),
        chain: hash("chain"),
        paged: true,
        more: false,
        page: None,
    };
    let page = Some(Attached { hash: hash("page"), bytes: vec![6, 7, 8] });
    let paged = Committed { page, ..committed.clone() };
    let reason = String::from("why");
    vec![
        ("down_staged", down(DownBody::Staged { missing: vec![(0, 2)] })),
        (
            "down_other_model",
            down(DownBody::OtherModel {
                codec: 2,
                of: Some(ModelName([1, 2, 3, 4])),
                holds: vec![ModelName([5, 6, 7, 8]), ModelName([9, 10, 11, 12])],
            }),
        ),
        ("down_prepared", down(DownBody::Prepared(prepared))),
        ("down_part", down(DownBody::Part(Part { index: 2, bytes: vec![9] }))),
        ("down_committed", down(DownBody::Committed(committed))),
        ("down_committed_paged", down(DownBody::Committed(paged))),
        ("down_aborted", down(DownBody::Aborted { floor: 301 })),
        ("down_refused_unknown_gateway", refused(Refused::UnknownGateway)),
        ("down_refused_below_floor", refused(Refused::BelowFloor { floor: 301 })),
        ("down_refused_other_parent", refused(Refused::OtherParent)),
        ("down_refused_other_hub", refused(Refused::OtherHub)),
        ("down_refused_other_content", refused(Refused::OtherContent)),
        ("down_refused_undecodable", refused(Refused::Undecodable { reason: reason.clone() })),
        ("down_refused_not_prepared", refused(Refused::NotPrepared)),
        ("down_refused_too_large", refused(Refused::TooLarge { reason })),
        ("down_refused_stopped", refused(Refused::Stopped)),
        ("down_refused_restored", refused(Refused::Restored { line: vec![(HUB, 4000)] })),
        ("down_news", down(DownBody::News { head: 4800 })),
    ]
}
