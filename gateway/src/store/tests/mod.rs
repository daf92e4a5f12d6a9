//! Situations of the store, each on a real file.
mod alone;
mod brief;
mod capture;
mod clock;
mod coding;
mod compaction;
mod crash;
mod feed;
mod folding;
mod growth;
mod handhelds;
mod horizon;
mod intake;
mod latest;
mod layouts;
mod line;
mod overlay;
mod plan;
mod repaired;
mod restored;
mod rounds;
mod scope;
mod spent;
mod threads;

use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;
use wadi_protocol::change::{Change, Delta, FieldRef, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, GatewayId, Hash, RowId, RunId, RunInfo};
use wadi_protocol::round::gateway::Phase;
use wadi_protocol::round::hub::page_head;
use wadi_protocol::schema::{
    DeletePolicy, Field, History, Kind, Lane, Merge, Mode, OnDelete, Schema, Scope, Table,
};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;
use wadi_protocol::wire::batch::{self, Batch};
use wadi_protocol::wire::downlink::{self, Page, PageRow, RowState};
use wadi_protocol::wire::message::{
    self, Attached, Committed, Down, DownBody, Outcome, Part, Prepare, Prepared, Refused, Stand,
    Up, UpBody, chain, part, parts_of,
};

use super::*;

pub const NOW_S: u64 = 1_800_000_000;
pub const PLACE: u16 = 1;
pub const VISIT: u16 = 2;
pub const LOG: u16 = 3;
pub const PHONE: DeviceId = DeviceId(0xa11);
pub const OTHER_PHONE: DeviceId = DeviceId(0xb22);
pub const PHONE_RUN: RunId = RunId(0x77);

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

fn table(number: u16, name: &str, fields: Vec<Field>) -> Table {
    Table {
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
    }
}

/// place(name, stock sum, height decimal, tags set, notes append, open boolean),
/// visit(place reference restrict, what), log(place reference cascade, next reference set-null).
pub fn schema() -> Schema {
    let to_place = |on_delete| Kind::Reference { table: PLACE, on_delete };
    let mut height = field(3, "height", Kind::Decimal { scale: 2 }, Merge::LastWrite);
    height.max = Some(1_000_000);
    Schema {
        name: "test".into(),
        version: 1,
        tables: vec![
            table(
                PLACE,
                "place",
                vec![
                    field(1, "name", Kind::Text, Merge::LastWrite),
                    field(2, "stock", Kind::Integer, Merge::Sum),
                    height,
                    field(4, "tags", Kind::Set { values: vec![] }, Merge::Set),
                    field(5, "notes", Kind::Text, Merge::Append),
                    field(6, "open", Kind::Boolean, Merge::LastWrite),
                ],
            ),
            table(
                VISIT,
                "visit",
                vec![
                    field(1, "place", to_place(OnDelete::Restrict), Merge::LastWrite),
                    field(2, "what", Kind::Text, Merge::LastWrite),
                ],
            ),
            table(
                LOG,
                "log",
                vec![
                    field(1, "place", to_place(OnDelete::Cascade), Merge::LastWrite),
                    field(2, "next", to_place(OnDelete::SetNull), Merge::LastWrite),
                ],
            ),
        ],
    }
}

pub fn row(number: u64) -> RowId {
    RowId::derive(DeviceId(1), RunId(1), number)
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn set(number: u16, value: Value) -> (FieldRef, Delta) {
    (FieldRef::Number(number), Delta::Set(value))
}

pub fn add(number: u16, by: i64) -> (FieldRef, Delta) {
    (FieldRef::Number(number), Delta::Add(by))
}

/// A change of a handheld.
pub fn change(
    device: DeviceId,
    seq: u64,
    op: Op,
    key: (u16, RowId),
    fields: Vec<(FieldRef, Delta)>,
) -> Change {
    Change {
        dot: Dot { device, run: PHONE_RUN, seq },
        stamp: Stamp { seconds: NOW_S + seq, counter: 0 },
        entered_s: NOW_S,
        contained: None,
        schema: 1,
        rights: 0,
        group: None,
        table: TableRef::Number(key.0),
        row: key.1,
        op,
        fields,
        seen: Seen::default(),
        closure: vec![],
    }
}

pub fn batch(changes: Vec<Change>) -> Batch {
    let mut runs: Vec<RunInfo> = Vec::new();
    for change in &changes {
        let dot = change.dot;
        if !runs.iter().any(|run| run.device == dot.device && run.run == dot.run) {
            runs.push(RunInfo {
                device: dot.device,
                run: dot.run,
                parent: None,
                label: "phone".into(),
            });
        }
    }
    runs.sort_by_key(|run| (run.device, run.run));
    Batch { runs, changes }
}

/// A village: its file, its store, and a hub of paper that says what the test says.
pub struct Village {
    _folder: TempDir,
    pub path: PathBuf,
    pub store: Option<Store>,
    pub hub: RunId,
    pub starts: u64,
    pub chain: Hash,
    /// The system clock.
    pub now_s: u64,
}

impl Village {
    pub fn bare() -> Village {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let mut village = Village {
            _folder: folder,
            path,
            store: None,
            hub: RunId(0x4b),
            starts: 0,
            chain: Hash::default(),
            now_s: NOW_S,
        };
        village.start();
        village
    }

    /// With the schema installed.
    pub fn new() -> Village {
        Village::of(|_| {})
    }

    /// With the schema installed, changed like this.
    pub fn of(change: impl FnOnce(&mut Schema)) -> Village {
        let mut village = Village::bare();
        let mut schema = schema();
        change(&mut schema);
        village.store().write(NOW_S, |work| install::install(work, &schema)).unwrap();
        village
    }

    pub fn opening(&self) -> Opening {
        Opening {
            path: self.path.clone(),
            site: "north".into(),
            gateway: GatewayId(1),
            now_s: self.now_s,
            random: [0x6a7e, (self.starts + 1) << 20],
        }
    }

    pub fn start(&mut self) {
        self.starts += 1;
        self.store = Some(Store::open(&self.opening()).unwrap());
    }

    /// Die without closing anything properly, and start again.
    pub fn crash(&mut self) {
        self.store = None;
        self.start();
    }

    pub fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    /// Another program's connection.
    pub fn program(&self) -> Connection {
        let db = Connection::open(&self.path).unwrap();
        db.busy_timeout(std::time::Duration::from_secs(1)).unwrap();
        db
    }

    pub fn take(&mut self, changes: Vec<Change>) {
        let (batch, now_s) = (batch(changes), self.now_s);
        assert_eq!(self.store().intake(&[batch], now_s).unwrap(), [Ok(())]);
    }

    pub fn drain(&mut self) -> u64 {
        let now_s = self.now_s;
        self.store().drain(now_s).unwrap()
    }

    /// Every change in the changelog, oldest first.
    pub fn changes(&mut self) -> Vec<Change> {
        self.store()
            .read(|db, _| {
                let mut statement = db.prepare("SELECT body FROM wadi_change ORDER BY id")?;
                let bodies = statement.query_map((), |row| row.get::<_, Vec<u8>>(0))?;
                bodies.map(|body| work::decode("a change", &body?)).collect()
            })
            .unwrap()
    }

    /// What the typed table shows of a row.
    pub fn shown(&mut self, key: (u16, RowId)) -> Option<Vec<(u16, Value)>> {
        let schema = schema();
        let table = schema.table(key.0).unwrap();
        let fields = self.store().read(|db, _| image::read(db, table, key.1)).unwrap();
        fields.map(|fields| fields.into_iter().collect())
    }

    pub fn text(&self, sql: &str) -> String {
        let program = self.program();
        program
            .query_row(sql, (), |row| row.get::<_, Option<String>>(0))
            .unwrap()
            .unwrap_or_default()
    }

    /// A round in which the hub answers with this page and these outcomes.
    pub fn round(&mut self, page: &Page, outcomes: Vec<(u32, Outcome)>) -> Batch {
        self.judged(page, |_| outcomes)
    }

    /// A round in which the hub judges what comes.
    pub fn judged(
        &mut self,
        page: &Page,
        judge: impl FnOnce(&Batch) -> Vec<(u32, Outcome)>,
    ) -> Batch {
        let (batch, committed) = self.prepare_judged(page, judge);
        let answer = self.hear(DownBody::Committed(committed));
        assert!(answer.idle && answer.ignored.is_none(), "{answer:?}");
        batch
    }

    /// The same up to Commit; what the hub will say to that.
    pub fn prepare(&mut self, page: &Page, outcomes: Vec<(u32, Outcome)>) -> (Batch, Committed) {
        self.prepare_judged(page, |_| outcomes)
    }

    fn prepare_judged(
        &mut self,
        page: &Page,
        judge: impl FnOnce(&Batch) -> Vec<(u32, Outcome)>,
    ) -> (Batch, Committed) {
        let ups = self.begin();
        let (head, body) = changeset(&ups);
        let batch = if body.is_empty() { Batch::default() } else { batch::decode(&body).unwrap() };
        let bytes = downlink::encode(page);
        let mut last = self.hear(prepared(head.stand(), head.content, &bytes));
        for index in 1..parts_of(bytes.len()) {
            let bytes = part(&bytes, index).to_vec();
            last = self.hear(DownBody::Part(Part { index, bytes }));
        }
        let said: Vec<Up> = last.messages.iter().map(|m| message::decode(m).unwrap()).collect();
        assert!(matches!(said.as_slice(), [Up { body: UpBody::Commit, .. }]), "{said:?}");
        let outcomes = judge(&batch);
        self.chain = chain(self.chain, head.content, &outcomes);
        let committed =
            Committed { outcomes, chain: self.chain, paged: true, more: false, page: None };
        (batch, committed)
    }

    pub fn begin(&mut self) -> Vec<Up> {
        let now_s = self.now_s;
        let answer = self
            .store()
            .round(RoundInput::Begin { delegate: false, urgent: false }, now_s)
            .unwrap();
        answer.messages.iter().map(|m| message::decode(m).unwrap()).collect()
    }

    pub fn hear(&mut self, body: DownBody) -> RoundAnswer {
        let round = self.store().ground.round.round;
        let known = self.store().ground.round.hub;
        let down = Down { hub: self.hub, known, round, body };
        let now_s = self.now_s;
        self.store().round(RoundInput::Heard(down), now_s).unwrap()
    }
}

/// What the hub says of a page for whoever stands there.
pub fn prepared(stand: Stand, content: Hash, page: &[u8]) -> DownBody {
    let head = page_head(stand, page, page);
    let first = part(page, 0).to_vec();
    DownBody::Prepared(Prepared {
        content,
        page: head.hash,
        bytes: head.bytes,
        parts: head.parts,
        first,
    })
}

/// The head and the whole body of a changeset.
pub fn changeset(ups: &[Up]) -> (message::Prepare, Vec<u8>) {
    let UpBody::Prepare(head) = &ups[0].body else { panic!("{ups:?}") };
    let mut body = head.first.clone();
    for up in &ups[1..] {
        let UpBody::Part(part) = &up.body else { panic!("{up:?}") };
        body.extend(&part.bytes);
    }
    assert_eq!(body.len(), head.bytes as usize);
    (head.clone(), body)
}

/// Text that no encoding makes small.
pub fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..bytes).map(|_| next()).collect()
}

/// A page up to a hub sequence of the routine lane.
pub fn page(to: u64, rows: Vec<PageRow>) -> Page {
    Page { to: [0, to], rows, clock_s: NOW_S, ..Page::default() }
}

pub fn told(
    key: (u16, RowId),
    version: u64,
    state: RowState,
    fields: Vec<(u16, Value)>,
) -> PageRow {
    PageRow {
        table: key.0,
        row: key.1,
        version,
        state,
        fields,
        whole: false,
        review: vec![],
        followed: vec![],
    }
}

/// An insert of a place by the phone, under its sequence.
pub fn ours(seq: u64) -> Change {
    change(PHONE, seq, Op::Insert, (PLACE, row(seq)), vec![set(1, text("ours"))])
}

/// What the hub says to a head with so many changes that it decides about at once, and this
/// page as it travels.
pub fn answer(head: &Prepare, changes: u32, page: &Page, bytes: Vec<u8>) -> Committed {
    let outcomes = if changes > 0 { applied(changes, 5) } else { Vec::new() };
    let hash = message::page_hash(head.stand(), &downlink::encode(page));
    Committed {
        chain: chain(head.parent, head.content, &outcomes),
        outcomes,
        paged: true,
        more: false,
        page: Some(Attached { hash, bytes }),
    }
}

/// The same, with the page written plainly.
pub fn plainly(head: &Prepare, changes: u32, page: &Page) -> Committed {
    answer(head, changes, page, downlink::encode(page))
}

pub fn applied(count: u32, seq: u64) -> Vec<(u32, Outcome)> {
    vec![(count, Outcome::Applied { seq })]
}

/// What a status says of pending changes, by table.
fn pending(status: &super::status::Status) -> Vec<(&str, u64)> {
    status.pending.iter().map(|pending| (pending.table.as_str(), pending.changes)).collect()
}
