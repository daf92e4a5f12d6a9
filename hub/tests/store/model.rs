//! A tiny model of a gateway: a base that follows pages and folds own changes,
//! and rounds spoken in real messages. It shares nothing with the real gateway.
use std::collections::BTreeMap;

use crate::models::Models;
use wadi_hub::store::Store;
use wadi_hub::store::line::Other;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, GatewayId, Hash, RowId, RowVersion, RunId, RunInfo};
use wadi_protocol::resolve::lay;
use wadi_protocol::schema::{LANES, Schema};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::{self, Batch, content_hash};
use wadi_protocol::wire::coded::{CODEC_PLAIN, ModelName, Writing, writing};
use wadi_protocol::wire::downlink::{self, KnownRuns, Page, PageRow, RowState};
use wadi_protocol::wire::message::{
    Committed, Down, DownBody, Outcome, Part, Prepare, Refused, Spent, Up, UpBody, page_hash, part,
    parts_of, without_page,
};

pub const NOW_S: u64 = 1_800_000_000;

/// A row of a table, by number.
pub type Key = (u16, RowId);

/// Whoever makes changes.
#[derive(Clone)]
pub struct Device {
    pub id: DeviceId,
    pub run: RunId,
    pub seq: u64,
    /// The run before, and the last sequence of it that precedes.
    pub parent: Option<(RunId, u64)>,
}

impl Device {
    pub fn new(number: u64) -> Device {
        Device { id: DeviceId(number), run: RunId(number + 1000), seq: 0, parent: None }
    }

    pub fn info(&self) -> RunInfo {
        let label = format!("device-{}", self.id.0);
        RunInfo { device: self.id, run: self.run, parent: self.parent, label }
    }

    /// A change made at `second` by somebody who was shown nothing.
    pub fn change(&mut self, op: Op, key: Key, fields: &[(u16, Delta)], second: u64) -> Change {
        self.seq += 1;
        let dot = Dot { device: self.id, run: self.run, seq: self.seq };
        Change {
            dot,
            stamp: Stamp { seconds: second, counter: 0 },
            entered_s: second,
            contained: None,
            schema: 1,
            rights: 0,
            group: None,
            table: TableRef::Number(key.0),
            row: key.1,
            op,
            fields: fields
                .iter()
                .map(|(at, delta)| (FieldRef::Number(*at), delta.clone()))
                .collect(),
            seen: Seen::default(),
            closure: Vec::new(),
        }
    }
}

/// A row in a gateway's base.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Base {
    pub live: bool,
    pub fields: BTreeMap<u16, Value>,
    pub version: u64,
    pub review: Vec<u16>,
}

/// A gateway.
#[derive(Clone)]
pub struct Site {
    pub number: GatewayId,
    pub run: RunId,
    pub hub: RunId,
    pub round: u64,
    pub chain: Hash,
    pub cursors: [u64; LANES],
    pub schema: Option<Schema>,
    pub rows: BTreeMap<Key, Base>,
    /// Own changes with their hub sequence, once there is one.
    pub own: Vec<(Change, Option<u64>)>,
    pub outcomes: BTreeMap<Dot, Outcome>,
    pub reasons: BTreeMap<Dot, String>,
    pub runs: BTreeMap<(DeviceId, RunId), RunInfo>,
    pub more: bool,
    /// Its line of rounds, as the hub counts them.
    pub line: u32,
    /// What pages named as brought by others.
    pub known: Vec<KnownRuns>,
    pub page_bytes_most: usize,
    /// Rows of all pages together.
    pub rows_told: usize,
    /// What it writes and reads against; every other site does so plainly.
    pub models: Option<Models>,
    /// The model of the last page.
    pub asked: ModelName,
    /// Whether the hub is to decide at once where all fits one message.
    pub delegates: bool,
    /// Only what is urgent is wanted.
    pub narrow: bool,
    /// What the link cost, to be told.
    pub tells: Vec<Spent>,
}

impl Site {
    pub fn new(number: GatewayId) -> Site {
        Site {
            number,
            run: RunId(u64::from(number.0)),
            hub: RunId::NONE,
            round: 1,
            chain: Hash::default(),
            cursors: [0; LANES],
            schema: None,
            rows: BTreeMap::new(),
            own: Vec::new(),
            outcomes: BTreeMap::new(),
            reasons: BTreeMap::new(),
            runs: BTreeMap::new(),
            more: false,
            line: 0,
            known: Vec::new(),
            page_bytes_most: 0,
            rows_told: 0,
            models: number.0.is_multiple_of(2).then(Models::new),
            asked: ModelName::empty(),
            delegates: number.0.is_multiple_of(3),
            narrow: false,
            tells: Vec::new(),
        }
    }

    /// The version that somebody shown this gateway's base has seen of a row.
    pub fn version(&self, key: Key) -> RowVersion {
        let lane = self.table(key.0).lane as usize;
        let base = self.rows.get(&key).map_or(0, |row| row.version);
        RowVersion { hub: self.hub, seq: base.max(self.cursors[lane]) }
    }

    fn table(&self, number: u16) -> &wadi_protocol::schema::Table {
        self.schema.as_ref().and_then(|schema| schema.table(number)).expect("known table")
    }

    /// Take a change in.
    pub fn enter(&mut self, device: &Device, change: Change) -> Dot {
        let dot = change.dot;
        self.runs.insert((device.id, device.run), device.info());
        self.own.push((change, None));
        dot
    }

    fn pending(&self) -> Vec<Change> {
        let open = self.own.iter().filter(|(change, _)| !self.outcomes.contains_key(&change.dot));
        open.map(|(change, _)| change.clone()).collect()
    }

    pub fn batch(&self) -> Batch {
        let runs = self.runs.values().cloned().collect();
        Batch { runs, changes: self.pending() }
    }

    pub fn up(&self, body: UpBody) -> Up {
        Up { run: self.run, hub: self.hub, round: self.round, body }
    }

    /// All that is pending, in one message.
    pub fn prepare_whole(&self) -> Up {
        let ups = self.prepare(&self.batch());
        let [up] = <[_; 1]>::try_from(ups).expect("it fits one message");
        up
    }

    pub fn prepare(&self, batch: &Batch) -> Vec<Up> {
        let bytes = if batch.changes.is_empty() { Vec::new() } else { batch::encode(batch) };
        let head = Prepare {
            parent: self.chain,
            cursors: self.cursors,
            schema: self.schema.as_ref().map_or(0, |schema| schema.version),
            content: content_hash(&if bytes.is_empty() { Batch::default() } else { batch.clone() }),
            bytes: bytes.len() as u32,
            parts: parts_of(bytes.len()),
            first: part(&bytes, 0).to_vec(),
            returned: None,
            ahead: 0,
            codec: CODEC_PLAIN,
            model: ModelName::empty(),
            delegated: self.delegates && parts_of(bytes.len()) <= 1,
            narrow: self.narrow,
            spent: self.tells.clone(),
        };
        let (head, bytes) = match &self.models {
            Some(models) => models.send(batch, head),
            None => (head, bytes),
        };
        let rest = (1..head.parts)
            .map(|index| UpBody::Part(Part { index, bytes: part(&bytes, index).to_vec() }));
        let all = std::iter::once(UpBody::Prepare(head.clone())).chain(rest);
        all.map(|body| self.up(body)).collect()
    }

    /// One whole round with everything pending.
    pub fn sync(&mut self, hub: &mut Store) {
        let batch = self.batch();
        let mut answers = Vec::new();
        for up in self.prepare(&batch) {
            answers.extend(hub.hear(self.number, &up, NOW_S).unwrap());
        }
        if let Some((page, committed)) = self.decided(&answers) {
            return self.finish(&batch, &page, &committed);
        }
        let page = self.page(&answers);
        let committed = self.commit(hub);
        self.finish(&batch, &page, &committed);
    }

    /// What the hub answers when it has decided at once.
    pub fn decided(&mut self, answers: &[Down]) -> Option<(Page, Committed)> {
        let [Down { hub, body: DownBody::Committed(committed), .. }] = answers else {
            return None;
        };
        self.hub = *hub;
        let page = committed.page.as_ref().expect("who asks first has its page");
        Some((self.read(&page.bytes, page.hash), committed.clone()))
    }

    /// Take what the hub answers when it has decided at once about all that is pending.
    pub fn take(&mut self, answers: &[Down]) {
        let batch = self.batch();
        let (page, committed) = self.decided(answers).expect("decided");
        self.finish(&batch, &page, &committed);
    }

    /// Rounds until there is nothing to send or fetch.
    pub fn settle(&mut self, hub: &mut Store) {
        for _ in 0..1000 {
            self.sync(hub);
            if !self.more && self.pending().is_empty() {
                return;
            }
        }
        panic!("gateway {} does not come to rest", self.number);
    }

    pub fn commit(&self, hub: &mut Store) -> Committed {
        let answers = hub.hear(self.number, &self.up(UpBody::Commit), NOW_S).unwrap();
        match &answers[..] {
            [Down { body: DownBody::Committed(committed), .. }] => committed.clone(),
            other => panic!("expected Committed, got {other:?}"),
        }
    }

    pub fn page(&mut self, answers: &[Down]) -> Page {
        let mut bytes = Vec::new();
        let mut head = None;
        for down in answers {
            self.hub = down.hub;
            match &down.body {
                DownBody::Prepared(prepared) => {
                    bytes.extend(&prepared.first);
                    head = Some(prepared.clone());
                }
                DownBody::Part(part) => bytes.extend(&part.bytes),
                other => panic!("expected a page, got {other:?}"),
            }
        }
        self.read(&bytes, head.expect("Prepared").page)
    }

    /// A page as it came.
    pub fn read(&mut self, bytes: &[u8], hash: Hash) -> Page {
        let page = match &self.models {
            Some(models) => models.read(bytes),
            None => downlink::decode(bytes).unwrap(),
        };
        let plain = downlink::encode(&page);
        assert_eq!(page_hash((self.chain, self.cursors), &plain), hash);
        self.page_bytes_most = self.page_bytes_most.max(plain.len());
        self.asked = match (writing(bytes), &self.models) {
            (Writing::Against(name, _), _) => name,
            (_, Some(models)) => models.down.name,
            (_, None) => ModelName::empty(),
        };
        page
    }

    pub fn finish(&mut self, batch: &Batch, page: &Page, committed: &Committed) {
        if let Some(schema) = &page.schema {
            self.schema = Some(schema.clone());
        }
        if page.line != self.line {
            self.line = page.line;
            let waits = |outcome: &Outcome| matches!(outcome, Outcome::Parked | Outcome::Held);
            self.outcomes
                .retain(|_, outcome| !waits(outcome) && *outcome != Outcome::Known { seq: 0 });
        }
        let mut changes = batch.changes.iter();
        for (len, outcome) in &committed.outcomes {
            for step in 0..u64::from(*len) {
                let dot = changes.next().expect("an outcome a change").dot;
                let outcome = match outcome {
                    Outcome::Applied { seq } => Outcome::Applied { seq: seq + step },
                    other => other.clone(),
                };
                self.note(dot, outcome);
            }
        }
        assert!(changes.next().is_none(), "an outcome for every change");
        for notice in &page.notices {
            self.note(notice.dot, notice.outcome.clone());
            self.reasons.insert(notice.dot, notice.reason.clone());
        }
        for (index, reason) in &page.verdicts {
            self.reasons.insert(batch.changes[*index as usize].dot, reason.clone());
        }
        self.rows_told += page.rows.len();
        if let Some(models) = &mut self.models {
            models.learn(batch, page, self.asked);
        }
        self.apply(page);
        self.known.extend(page.known.clone());
        self.cursors = page.to;
        self.chain = committed.chain;
        self.more = committed.more;
        self.round += 1;
    }

    /// Hear what became of a round of which another box had the page.
    pub fn finish_without_page(&mut self, batch: &Batch, committed: &Committed) {
        let page = Page { to: self.cursors, line: self.line, ..Page::default() };
        self.finish(batch, &page, committed);
        self.chain = without_page(committed.chain);
    }

    fn note(&mut self, dot: Dot, outcome: Outcome) {
        let seq = match outcome {
            Outcome::Applied { seq } | Outcome::Known { seq } if seq > 0 => Some(seq),
            _ => None,
        };
        for (change, at) in &mut self.own {
            if change.dot == dot {
                *at = seq;
            }
        }
        self.outcomes.insert(dot, outcome);
    }

    /// Base moves on: own changes are folded, then what the page says is set.
    fn apply(&mut self, page: &Page) {
        let told: BTreeMap<Key, &PageRow> =
            page.rows.iter().map(|row| ((row.table, row.row), row)).collect();
        assert_eq!(told.len(), page.rows.len(), "a row stands in a page once");
        let keys: std::collections::BTreeSet<Key> = self
            .own
            .iter()
            .filter_map(|(change, _)| key_of(change))
            .chain(told.keys().copied())
            .collect();
        for key in keys {
            let lane = self.table(key.0).lane as usize;
            let to = told.get(&key).map_or(page.to[lane], |row| row.version);
            self.fold(key, to);
            if let Some(row) = told.get(&key) {
                self.set(key, row);
            }
        }
        self.check_references(page);
    }

    fn fold(&mut self, key: Key, to: u64) {
        let from = self.version(key).seq;
        let mut own: Vec<(u64, Change)> = self
            .own
            .iter()
            .filter(|(change, _)| key_of(change) == Some(key))
            .filter_map(|(change, seq)| Some(((*seq)?, change.clone())))
            // What another gateway brought comes with a page, as state.
            .filter(|(_, change)| matches!(self.outcomes[&change.dot], Outcome::Applied { .. }))
            .filter(|(seq, _)| *seq > from && *seq <= to)
            .collect();
        own.sort_by_key(|(seq, _)| *seq);
        let table = self.table(key.0).clone();
        for (seq, change) in own {
            let base = self.rows.entry(key).or_default();
            base.version = seq;
            match change.op {
                Op::Insert => {
                    base.live = true;
                    base.fields.clear();
                }
                Op::Delete => base.live = false,
                Op::Update | Op::Settle | Op::Undone => {}
            }
            for field in &table.fields {
                if let Some(delta) = change.delta(field.number) {
                    let before = base.fields.get(&field.number).unwrap_or(&Value::Null);
                    match lay(field, before, delta) {
                        Value::Null => base.fields.remove(&field.number),
                        value => base.fields.insert(field.number, value),
                    };
                }
            }
        }
    }

    fn set(&mut self, key: Key, row: &PageRow) {
        if row.state == RowState::Left {
            self.rows.remove(&key);
            return;
        }
        let base = self.rows.entry(key).or_default();
        if row.whole {
            base.fields.clear();
        }
        base.live = row.state == RowState::Live;
        base.version = row.version;
        base.review.clone_from(&row.review);
        for (field, value) in &row.fields {
            match value {
                Value::Null => base.fields.remove(field),
                value => base.fields.insert(*field, value.clone()),
            };
        }
    }

    /// After every page: whatever is live references what is here.
    fn check_references(&self, page: &Page) {
        for (key, base) in self.rows.iter().filter(|(_, base)| base.live) {
            for field in &self.table(key.0).fields {
                if let wadi_protocol::schema::Kind::Reference { table, .. } = field.kind
                    && let Some(Value::Row(row)) = base.fields.get(&field.number)
                {
                    let parent = self.rows.get(&(table, *row));
                    assert!(parent.is_some(), "orphan {key:?} field {}: {page:#?}", field.name);
                }
            }
        }
    }

    /// Come with another history than the hub's until it is noticed, and let an operator
    /// take this box; what the hub knew of it.
    pub fn rejoin(&mut self, hub: &mut Store, site: &str) -> Other {
        loop {
            match self.refused(hub) {
                Refused::BelowFloor { floor } => self.round = floor,
                Refused::OtherParent => break,
                other => panic!("expected a box with another history, got {other}"),
            }
        }
        hub.rejoin(site).unwrap().1
    }

    /// Whether the round that it would begin is the last that the hub committed: so an
    /// older copy of the same box catches up by itself.
    pub fn is_known(&self, hub: &mut Store) -> bool {
        let answers = hub.hear(self.number, &self.prepare(&self.batch())[0], NOW_S).unwrap();
        matches!(&answers[..], [Down { body: DownBody::Committed(_), .. }])
    }

    /// What is refused, when the round is asked for.
    pub fn refused(&self, hub: &mut Store) -> Refused {
        let answers = hub.hear(self.number, &self.prepare(&self.batch())[0], NOW_S).unwrap();
        match &answers[..] {
            [Down { body: DownBody::Refused(refused), .. }] => refused.clone(),
            other => panic!("expected Refused, got {other:?}"),
        }
    }
}

/// The row of a change, if its table is numbered.
pub fn key_of(change: &Change) -> Option<Key> {
    Some((change.table_number()?, change.row))
}
