//! A hub of paper: it hears what a gateway says and answers whatever a script says,
//! mostly in words that the gateway has to believe.
use wadi_protocol::change::Delta;
use wadi_protocol::id::{Hash, RunId};
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::round::hub::page_head;
use wadi_protocol::schema::{Kind, OnDelete, Schema};
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch;
use wadi_protocol::wire::coded::{CODEC_PLAIN, ModelName, Named};
use wadi_protocol::wire::coded_page::write_page;
use wadi_protocol::wire::downlink::{self, KnownRuns, Notice, Page, PageRow, Renewal, RowState};
use wadi_protocol::wire::message::{
    Attached, Committed, Down, DownBody, Outcome, Part, Prepare, Prepared, Refused, Up, UpBody,
    chain, part,
};

use crate::hostile::Cast;
use crate::script::Script;

/// Rows in a page, at most.
const ROWS_MAX: usize = 6;

/// What it has heard of the open round.
#[derive(Default)]
pub struct Paper {
    round: u64,
    known: RunId,
    head: Option<Prepare>,
    body: Vec<u8>,
    /// The page that it answered with, for parts asked again.
    page: Vec<u8>,
}

impl Paper {
    /// The gateway says something.
    pub fn hear(&mut self, up: &Up) {
        (self.round, self.known) = (up.round, up.hub);
        match &up.body {
            UpBody::Prepare(head) => {
                if !head.first.is_empty() || head.parts == 0 {
                    self.body.clone_from(&head.first);
                }
                self.head = Some(head.clone());
            }
            UpBody::Part(part) => self.body.extend(&part.bytes),
            _ => {}
        }
    }

    /// Some answers.
    pub fn answers(&mut self, script: &mut Script<'_>, cast: &Cast) -> Vec<Down> {
        let mut bodies = match script.byte() % 16 {
            0 => vec![refused(script)],
            1 => vec![DownBody::Aborted { floor: self.floor(script) }],
            2 => vec![DownBody::Staged { missing: missing(script) }],
            3 => vec![DownBody::News { head: script.number() }],
            4 => vec![DownBody::Part(Part {
                index: script.byte().into(),
                bytes: part(&self.page, script.byte().into()).to_vec(),
            })],
            5..=10 => self.prepared(script, cast),
            11..=12 => vec![self.answered(script, cast)],
            _ => vec![self.committed(script, cast)],
        };
        if script.one_in(8) && !bodies.is_empty() {
            let place = script.below(bodies.len());
            bodies.insert(place, bodies[place].clone());
            bodies.remove(script.below(bodies.len()));
        }
        bodies.into_iter().map(|body| self.down(script, cast, body)).collect()
    }

    fn down(&self, script: &mut Script<'_>, cast: &Cast, body: DownBody) -> Down {
        Down {
            hub: if script.one_in(16) { *script.pick(&cast.hubs) } else { cast.hubs[0] },
            known: if script.one_in(32) { RunId(script.number()) } else { self.known },
            round: if script.one_in(32) { script.number() } else { self.round },
            body,
        }
    }

    /// Beyond this round, but not at the end of numbers: that ends all play.
    fn floor(&self, script: &mut Script<'_>) -> u64 {
        if script.one_in(32) {
            script.number()
        } else {
            self.round.saturating_add(u64::from(script.byte() % 4))
        }
    }

    fn prepared(&mut self, script: &mut Script<'_>, cast: &Cast) -> Vec<DownBody> {
        let Some(head) = &self.head else { return Vec::new() };
        let cursors = head.cursors;
        let page = page(script, cast, cursors);
        let model = (head.codec > CODEC_PLAIN && script.one_in(2)).then(Named::empty);
        let mut plain = downlink::encode(&page);
        let mut bytes = write_page(model.as_ref(), &page).bytes;
        if script.one_in(8) {
            bytes = script.altered(bytes);
            plain.clone_from(&bytes);
        }
        let told = page_head(head.stand(), &plain, &bytes);
        let prepared = Prepared {
            content: head.content,
            page: if script.one_in(32) { Hash::default() } else { told.hash },
            bytes: told.bytes,
            parts: told.parts,
            first: part(&bytes, 0).to_vec(),
        };
        let rest = (1..told.parts)
            .map(|index| DownBody::Part(Part { index, bytes: part(&bytes, index).to_vec() }));
        let all = std::iter::once(DownBody::Prepared(prepared)).chain(rest).collect();
        self.page = bytes;
        all
    }

    fn committed(&mut self, script: &mut Script<'_>, cast: &Cast) -> DownBody {
        let head = self.head.clone().unwrap_or_else(|| Prepare {
            parent: Hash::default(),
            cursors: [0; 2],
            schema: 0,
            content: Hash::default(),
            bytes: 0,
            parts: 0,
            first: Vec::new(),
            returned: None,
            ahead: 0,
            codec: CODEC_PLAIN,
            model: ModelName::empty(),
            delegated: false,
            narrow: false,
            spent: Vec::new(),
        });
        let mut left = batch::decode(&self.body).map_or(0, |batch| batch.changes.len() as u32);
        let mut outcomes = Vec::new();
        while left > 0 {
            let count = (1 + u32::from(script.byte() % 4)).min(left);
            outcomes.push((count, outcome(script, cast)));
            left -= count;
        }
        if script.one_in(32) {
            outcomes.push((script.number() as u32, outcome(script, cast)));
        }
        let after = chain(head.parent, head.content, &outcomes);
        DownBody::Committed(Committed {
            outcomes,
            chain: if script.one_in(32) { Hash::default() } else { after },
            paged: !script.one_in(8),
            more: script.one_in(2),
            page: None,
        })
    }

    /// Committed, and a page with it.
    fn answered(&mut self, script: &mut Script<'_>, cast: &Cast) -> DownBody {
        let prepared = self.prepared(script, cast);
        let Some(DownBody::Prepared(Prepared { page: hash, .. })) = prepared.first() else {
            return self.committed(script, cast);
        };
        let page = Some(Attached { hash: *hash, bytes: self.page.clone() });
        match self.committed(script, cast) {
            DownBody::Committed(committed) if self.page.len() <= 2 * PART_BYTES_MAX => {
                DownBody::Committed(Committed { page, ..committed })
            }
            other => other,
        }
    }
}

fn outcome(script: &mut Script<'_>, cast: &Cast) -> Outcome {
    let seq = if script.one_in(8) { script.number() } else { cast.head + u64::from(script.byte()) };
    match script.byte() % 8 {
        0 => Outcome::Known { seq },
        1 => Outcome::Parked,
        2 => Outcome::Quarantined,
        3 => Outcome::Held,
        _ => Outcome::Applied { seq },
    }
}

fn refused(script: &mut Script<'_>) -> DownBody {
    let reason = String::from("why");
    DownBody::Refused(match script.byte() % 10 {
        0 => Refused::UnknownGateway,
        1 => Refused::BelowFloor { floor: script.byte().into() },
        2 => Refused::OtherParent,
        3 => Refused::OtherHub,
        4 => Refused::OtherContent,
        5 => Refused::Undecodable { reason },
        6 => Refused::NotPrepared,
        7 => Refused::Stopped,
        8 => Refused::Restored { line: vec![(RunId(script.number()), script.byte().into())] },
        _ => Refused::TooLarge { reason },
    })
}

fn missing(script: &mut Script<'_>) -> Vec<(u16, u16)> {
    (0..script.byte() % 4).map(|_| (script.byte().into(), script.number() as u16)).collect()
}

/// A page that says anything about the rows of the cast.
fn page(script: &mut Script<'_>, cast: &Cast, cursors: [u64; 2]) -> Page {
    let step = |script: &mut Script<'_>, from: u64| match script.byte() % 16 {
        0 => script.number(),
        byte => from.saturating_add(u64::from(byte)),
    };
    let notices = (0..script.byte() % 4).map(|_| Notice {
        dot: cast.any_dot(script),
        outcome: outcome(script, cast),
        reason: "later".into(),
    });
    let notices = notices.collect();
    let verdicts = (0..script.byte() % 3).map(|_| (script.byte().into(), "bad".into())).collect();
    Page {
        schema: script.one_in(6).then(|| schema(script, &cast.schema)),
        verdicts,
        notices,
        to: [step(script, cursors[0]), step(script, cursors[1])],
        rows: (0..script.below(ROWS_MAX)).map(|_| page_row(script, cast)).collect(),
        known: (0..script.byte() % 3).map(|_| known(script, cast)).collect(),
        clock_s: if script.one_in(8) { script.number() } else { cast.now_s },
        certificate: script.one_in(16).then(|| Renewal {
            enrolment: 1,
            until_s: script.number(),
            der: vec![0x30; script.below(5_000)],
        }),
        line: u32::from(script.one_in(32)),
        wanted: (0..script.byte() % 3).map(|_| *script.pick(&cast.rows)).collect(),
        codec: script.byte() % 4,
        backup: if script.one_in(4) { script.number() } else { cursors[1] },
    }
}

fn page_row(script: &mut Script<'_>, cast: &Cast) -> PageRow {
    let (table, row) = *script.pick(&cast.rows);
    let mut fields = Vec::new();
    if let Some(table) = cast.schema.table(table) {
        for field in &table.fields {
            if script.one_in(2) {
                continue;
            }
            let value = match cast.fitting(script, field) {
                _ if script.one_in(64) => cast.value(script),
                Delta::Set(value) => value,
                Delta::Add(number) => Value::Int(number),
                Delta::Append(text) => Value::List(vec![text]),
                Delta::Edit { add, .. } => Value::List(add),
                Delta::Passed => Value::Null,
            };
            fields.push((field.number, value));
        }
    }
    PageRow {
        table: if script.one_in(64) { script.number() as u16 } else { table },
        row,
        version: if script.one_in(8) { script.number() } else { cast.head + 1 },
        state: *script.pick(&[RowState::Live, RowState::Live, RowState::Dead, RowState::Left]),
        fields,
        whole: script.one_in(2),
        review: (0..script.byte() % 3).map(|_| u16::from(script.byte() % 8)).collect(),
        followed: (0..script.byte() % 3)
            .map(|_| (cast.any_dot(script), vec![u16::from(script.byte() % 8)]))
            .collect(),
    }
}

fn known(script: &mut Script<'_>, cast: &Cast) -> KnownRuns {
    let dot = cast.any_dot(script);
    let spans = (0..script.byte() % 4).map(|_| {
        let first = u64::from(script.byte()) + 1;
        let last = if script.one_in(8) { script.number() } else { first + 3 };
        (first, last)
    });
    KnownRuns { device: dot.device, run: dot.run, spans: spans.collect() }
}

/// A schema that follows the held one, or says that it does.
fn schema(script: &mut Script<'_>, held: &Schema) -> Schema {
    let mut schema = held.clone();
    schema.version = if script.one_in(8) { script.number() as u32 } else { held.version + 1 };
    for _ in 0..script.byte() % 4 {
        let names = ["wadi_change", "sqlite_x", "house", "ID", "a\"b", "id", "house_view", "new"];
        let name = script.pick(&names).to_string();
        let numbers = schema.tables.len() as u16;
        let at = script.below(schema.tables.len());
        let mut table = schema.tables[at].clone();
        let field_at = script.below(table.fields.len());
        match script.byte() % 8 {
            0 => table.name = name,
            1 => table.fields[field_at].name = name,
            2 => {
                table.fields[field_at].kind = script
                    .pick(&[
                        Kind::Integer,
                        Kind::Text,
                        Kind::Boolean,
                        Kind::Reference { table: 1, on_delete: OnDelete::Cascade },
                        Kind::Set { values: Vec::new() },
                    ])
                    .clone();
            }
            3 => drop(table.fields.remove(field_at)),
            4 => {
                let mut field = table.fields[field_at].clone();
                field.number = table.fields.iter().map(|field| field.number).max().unwrap_or(0) + 1;
                field.name = name;
                table.fields.push(field);
            }
            5 => {
                let mut other = table.clone();
                other.number = numbers + 1;
                other.name = name;
                schema.tables.push(other);
            }
            6 => table.number = script.byte().into(),
            _ => table.fields.swap(0, field_at),
        }
        if table.fields.is_empty() {
            continue;
        }
        schema.tables[at] = table;
    }
    schema
}
