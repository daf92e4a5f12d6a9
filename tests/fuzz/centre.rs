//! The hub's real store between honest and hostile gateways.
//!
//! Every input begins with the same small world, in which an honest gateway has
//! committed rows. Two hostile ones, enrolled and on the wire, then say anything, while
//! the honest ones and an operator go on. Whatever is said is answered or refused; the
//! books balance; what is honest stays, unless a change named it or what it belongs to.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value as Json;
use wadi_hub::store::{Store, StoreError, repair::Edits, settle::Decision};
use wadi_protocol::change::Op;
use wadi_protocol::id::{DeviceId, RowId, RunId};
use wadi_protocol::limits::PART_BYTES_MAX;
use wadi_protocol::wire::batch::{self, Batch, content_hash};
use wadi_protocol::wire::coded::writing;
use wadi_protocol::wire::downlink::{self, Page};
use wadi_protocol::wire::message::{self, Down, DownBody, Outcome, Part, Refused, Up, UpBody};

use crate::beginning::{BEGINNING, HONEST, named_rows};
use crate::hostile::Cast;
use crate::model::{Device, NOW_S, Site, key_of};
use crate::script::Script;
use crate::world::{HOUSE, World, row, text};
use crate::{folder, fuzz, memory};

/// Only ever looks.
const WATCHER: usize = 1;
const HOSTILE: [usize; 2] = [2, 3];
/// What one input may do, at most: each step is a transaction or several.
const STEPS_MAX: usize = 40;
/// Steps between looks at the whole ledger.
const LOOK_STEPS: usize = 10;
/// The honest device whose dots and runs nobody forges.
const HENRY: u64 = 7_777;

/// One input's world.
struct Play {
    world: World,
    cast: Cast,
    /// What honest people see, of every row.
    before: BTreeMap<String, Json>,
    /// Rows that hostile changes named.
    named: BTreeSet<RowId>,
    /// Messages said, to say again.
    said: Vec<(usize, Up)>,
    /// Hostile gateways that have something else staged at the hub.
    stuck: BTreeSet<usize>,
    henry: Device,
    /// Somebody forged Henry's numbers.
    henry_forged: bool,
}

#[test]
fn the_hubs_store_takes_any_gateway() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let mut play = Play::begin();
        for step in 1..=STEPS_MAX {
            if script.is_over() {
                break;
            }
            play.step(&mut script);
            if step % LOOK_STEPS == 0 {
                play.look();
            }
        }
        play.end();
    });
}

impl Play {
    fn begin() -> Play {
        let beginning = &*BEGINNING;
        let folder = folder::new();
        let path = folder.path().join("hub.db");
        fs::write(&path, &beginning.database).expect("there is room");
        let hub = Store::open(&path).expect("the copy is a hub's database");
        let world = World { folder, hub, sites: beginning.sites.clone() };
        let device = |id, run, label: &str| (DeviceId(id), RunId(run), label.to_owned());
        let cast = Cast {
            runs: vec![
                device(9, 1009, "evil"),
                device(8, 1008, "evil too"),
                device(9, 2, "evil"),
                device(1, 1001, "device-1"),
                device(2, 1002, "device-2"),
            ],
            // Beyond what the honest devices have used, mostly.
            seqs: [(1, 1001), (2, 1002)]
                .map(|(device, run)| ((DeviceId(device), RunId(run)), 200))
                .into(),
            rows: named_rows(&beginning.rows),
            schema: world.schema(),
            hubs: vec![beginning.hub, RunId::NONE, RunId(77)],
            head: beginning.head,
            now_s: NOW_S,
        };
        let before = shown(&world);
        Play {
            world,
            cast,
            before,
            named: BTreeSet::new(),
            said: Vec::new(),
            stuck: BTreeSet::new(),
            henry: Device::new(HENRY),
            henry_forged: false,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let who = *script.pick(&HOSTILE);
        match script.byte() % 16 {
            0 => self.stray(script, who),
            1 => self.again(script),
            2 => self.honest(script),
            3 => self.world.sync(WATCHER),
            4 => self.operator(script),
            5 if script.one_in(4) => self.world.crash(),
            _ => self.round(script, who),
        }
    }

    /// A hostile gateway's round, in some order and with some faults.
    fn round(&mut self, script: &mut Script<'_>, who: usize) {
        if self.stuck.remove(&who) && !script.one_in(4) {
            let abort = self.world.sites[who].up(UpBody::Abort);
            self.hear(who, abort);
        }
        let batch = self.cast.batch(script);
        self.world.sites[who].delegates = script.one_in(2);
        let mut ups = self.world.sites[who].prepare(&batch);
        if script.one_in(4) {
            let bytes = script.altered(batch::encode(&batch));
            let decoded = batch::decode(&bytes).unwrap_or_default();
            ups = reprepared(&self.world.sites[who], &ups[0], &bytes, &decoded);
            self.name(&decoded);
        }
        self.name(&batch);
        for _ in 0..(script.byte() % 8).saturating_sub(5) {
            fault(script, &mut ups, self.cast.head);
        }
        ups.push(self.world.sites[who].up(UpBody::Commit));
        if script.one_in(8) {
            let place = script.below(ups.len());
            let body = if script.one_in(2) { UpBody::Commit } else { UpBody::Abort };
            ups.insert(place, self.world.sites[who].up(body));
        }
        for up in ups {
            self.hear(who, up);
        }
    }

    /// A message out of nowhere.
    fn stray(&mut self, script: &mut Script<'_>, who: usize) {
        let body = match script.byte() % 5 {
            0 => UpBody::Commit,
            1 => UpBody::Abort,
            2 => UpBody::Fetch {
                missing: (0..script.byte() % 4)
                    .map(|_| (script.number() as u16, script.number() as u16))
                    .collect(),
            },
            3 => UpBody::Part(Part {
                index: script.number() as u16,
                bytes: vec![7; *script.pick(&[0, 1, PART_BYTES_MAX, PART_BYTES_MAX + 1])],
            }),
            _ => self.world.sites[who].prepare(&Batch::default()).remove(0).body,
        };
        let mut up = self.world.sites[who].up(body);
        match script.byte() % 4 {
            0 => up.round = script.number(),
            1 => up.hub = *script.pick(&self.cast.hubs),
            _ => {}
        }
        self.hear(who, up);
    }

    /// Something that was said before, by whoever it was or another.
    fn again(&mut self, script: &mut Script<'_>) {
        if self.said.is_empty() {
            return;
        }
        let (who, up) = script.pick(&self.said).clone();
        let who = if script.one_in(8) { *script.pick(&HOSTILE) } else { who };
        self.hear(who, up);
    }

    /// The honest gateway enters something and syncs: it lands whatever others do.
    fn honest(&mut self, script: &mut Script<'_>) {
        let key = (HOUSE, row(10_000 + self.henry.seq));
        let fields = [(1, text("honest")), (3, wadi_protocol::change::Delta::Add(1))];
        let fields = &fields[..usize::from(script.byte() % 3)];
        let change = self.world.enter(HONEST, &mut self.henry, Op::Insert, key, fields, 200);
        self.world.sync(HONEST);
        let outcome = &self.world.sites[HONEST].outcomes[&change.dot];
        assert!(
            self.henry_forged || matches!(outcome, Outcome::Applied { .. }),
            "an honest change became {outcome:?}"
        );
    }

    /// An operator does something about what is open, closed or put aside.
    fn operator(&mut self, script: &mut Script<'_>) {
        match script.byte() % 4 {
            0 => self.rule(script),
            1 => self.undo(script),
            _ => self.settle(script),
        }
    }

    /// An operator repairs, releases or rejects something in quarantine.
    fn rule(&mut self, script: &mut Script<'_>) {
        let kept = self.world.hub.quarantined().expect("the quarantine is listed");
        if kept.is_empty() {
            return;
        }
        let one = script.pick(&kept);
        let field = *script.pick(&["name", "note", "count", "house", "text", "nothing"]);
        let value = *script.pick(&["repaired", "7", "null", "{\"add\":1}", "{", ""]);
        let edits = Edits {
            table: script.one_in(4).then(|| "house".into()),
            set: if script.one_in(4) { Vec::new() } else { vec![(field.into(), value.into())] },
            unset: if script.one_in(4) { vec!["text".into()] } else { Vec::new() },
        };
        let ruled = match script.byte() % 3 {
            0 => self.world.hub.reject(one.dot, "no", NOW_S).map(drop),
            1 => self.world.hub.map_code(("house", "name"), ("evil", "mapped"), NOW_S).map(drop),
            _ => self.world.hub.repair(one.dot, &edits, NOW_S).map(drop),
        };
        if let Err(error) = ruled
            && !matches!(error, StoreError::Refused(_))
        {
            panic!("ruling about {one:?} by {edits:?}: {error}");
        }
    }

    /// An operator undoes a settle.
    fn undo(&mut self, script: &mut Script<'_>) {
        let closed = self.world.hub.closed_cases(20).expect("closed cases are listed");
        if closed.is_empty() {
            return;
        }
        let (case, ..) = script.pick(&closed);
        match self.world.hub.undo(case.number, NOW_S) {
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => panic!("undoing {case:?}: {error}"),
        }
    }

    /// An operator settles whatever is open, in some way.
    fn settle(&mut self, script: &mut Script<'_>) {
        let cases = self.world.hub.cases().expect("cases are listed");
        if cases.is_empty() {
            return;
        }
        let case = script.pick(&cases);
        let decision = match script.byte() % 6 {
            0 => Decision::Value("settled".into()),
            4 => Decision::Join(" ".into()),
            5 => Decision::Newest,
            byte => Decision::Pick(usize::from(byte)),
        };
        self.named.insert(case.key.row);
        match self.world.hub.settle(case.number, &decision, NOW_S) {
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => panic!("settling {case:?} by {decision:?}: {error}"),
        }
    }

    /// Say something; the answers are sound, and move the gateway on.
    fn hear(&mut self, who: usize, up: Up) {
        let number = self.world.sites[who].number;
        let (hub, mut answers) = (&mut self.world.hub, None);
        memory::stores(|| answers = Some(hub.hear(number, &up, NOW_S)));
        let answers = answers.expect("heard").expect("answered or refused");
        let site = &mut self.world.sites[who];
        let mut page = None;
        for down in answers {
            let bytes = message::encode(&down);
            assert_eq!(message::decode::<Down>(&bytes).as_ref(), Ok(&down));
            site.hub = down.hub;
            match down.body {
                DownBody::Prepared(prepared) => page = Some(prepared.first),
                DownBody::Part(part) => {
                    page.get_or_insert_default().extend(part.bytes);
                }
                DownBody::Committed(committed) if down.round == site.round => {
                    if let Some(attached) = committed.page {
                        let page = read(site, &attached.bytes);
                        site.cursors = page.map_or(site.cursors, |page| page.to);
                    }
                    site.chain = committed.chain;
                    site.round = site.round.saturating_add(1);
                }
                // Whoever names the end of time is wedged there: no more of that.
                DownBody::Aborted { floor } | DownBody::Refused(Refused::BelowFloor { floor })
                    if floor < u64::MAX >> 1 =>
                {
                    site.round = floor;
                }
                DownBody::Refused(_) => {
                    self.stuck.insert(who);
                }
                _ => {}
            }
        }
        if let (Some(page), UpBody::Prepare(_) | UpBody::Part(_)) = (page, &up.body) {
            let site = &mut self.world.sites[who];
            if let Some(page) = read(site, &page) {
                site.cursors = page.to;
            }
        }
        self.said.push((who, up));
    }

    fn name(&mut self, batch: &Batch) {
        for change in &batch.changes {
            self.henry_forged |= change.dot.device.0 == HENRY;
            self.named.extend(key_of(change).map(|(_, row)| row));
            self.named.insert(change.row);
        }
        self.henry_forged |= batch.runs.iter().any(|run| run.device.0 == HENRY);
    }

    /// The books balance, and what nobody named is as it was.
    fn look(&mut self) {
        let hub = &self.world.hub;
        assert_eq!(hub.ledger().unwrap().wrong, Vec::<String>::new());
        hub.status().unwrap();
        hub.quarantined().unwrap();
        hub.cases().unwrap();
        let now = shown(&self.world);
        for (id, line) in &self.before {
            if !self.is_named(id) {
                assert_eq!(now.get(id), Some(line), "nobody named it");
            }
        }
    }

    /// Whether a change named a row, or one that it belongs to or refers to.
    fn is_named(&self, id: &str) -> bool {
        let mut waiting = vec![id.to_owned()];
        let mut looked = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if id.parse().is_ok_and(|row: RowId| self.named.contains(&row)) {
                return true;
            }
            let fields = self.before.get(&id).and_then(Json::as_object).into_iter().flatten();
            for value in fields.filter_map(|(_, value)| value.as_str()) {
                if self.before.contains_key(value) && looked.insert(value.to_owned()) {
                    waiting.push(value.to_owned());
                }
            }
        }
        false
    }

    /// Hostile gateways fall silent: everybody else comes to rest, with the same picture.
    fn end(&mut self) {
        self.honest(&mut Script(&[1]));
        for _ in 0..3 {
            for site in [HONEST, WATCHER] {
                self.world.sites[site].settle(&mut self.world.hub);
            }
        }
        self.look();
        for site in [HONEST, WATCHER] {
            self.world.check_site(site);
        }
    }
}

/// A page as it came: none where it answers what another has said, who knows models, to
/// one who knows none.
fn read(site: &Site, page: &[u8]) -> Option<Page> {
    match (writing(page).model(), &site.models) {
        (Some(_), Some(models)) => Some(models.read(page)),
        (Some(_), None) => None,
        (None, _) => Some(downlink::decode(page).expect("the hub's own pages are sound")),
    }
}

/// The live rows by id, as the hub exports them.
fn shown(world: &World) -> BTreeMap<String, Json> {
    let lines = world.export();
    let lines = lines.lines().map(|line| serde_json::from_str::<Json>(line).expect("JSON lines"));
    let live = lines.filter(|line| line.get("fields").is_some());
    live.filter_map(|line| Some((line["id"].as_str()?.to_owned(), line["fields"].clone())))
        .collect()
}

/// The messages of a changeset that was spoiled on the way, as if it were meant so.
fn reprepared(site: &Site, head: &Up, bytes: &[u8], decoded: &Batch) -> Vec<Up> {
    let UpBody::Prepare(head) = &head.body else { unreachable!("a round begins with its head") };
    let mut head = head.clone();
    head.content = content_hash(decoded);
    head.bytes = bytes.len() as u32;
    head.parts = message::parts_of(bytes.len());
    head.first = message::part(bytes, 0).to_vec();
    let rest = (1..head.parts)
        .map(|index| UpBody::Part(Part { index, bytes: message::part(bytes, index).to_vec() }));
    std::iter::once(UpBody::Prepare(head.clone())).chain(rest).map(|body| site.up(body)).collect()
}

/// Lose, double, swap or alter one message of a changeset.
fn fault(script: &mut Script<'_>, ups: &mut Vec<Up>, head: u64) {
    if ups.is_empty() {
        return;
    }
    let place = script.below(ups.len());
    match script.byte() % 8 {
        0 => drop(ups.remove(place)),
        1 => ups.insert(place, ups[place].clone()),
        2 => ups.rotate_left(place),
        3 => ups[place].round = script.number(),
        _ => match &mut ups[place].body {
            UpBody::Prepare(prepare) => match script.byte() % 6 {
                0 => prepare.cursors = [script.number() % (head + 2), script.number() % (head + 2)],
                1 => prepare.cursors = [script.number(), script.number()],
                2 => prepare.schema = script.number() as u32,
                3 => prepare.bytes = script.number() as u32,
                4 => prepare.parts = script.number() as u16,
                _ => prepare.first = script.altered(std::mem::take(&mut prepare.first)),
            },
            UpBody::Part(part) => {
                part.bytes = script.altered(std::mem::take(&mut part.bytes));
            }
            _ => {}
        },
    }
}
