//! What a commit costs at the hub: changesets of 1,000 changes, history on, one
//! fsync each, against the same rows written plainly.
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use wadi_harness::records;
use wadi_hub::store::Store;
use wadi_protocol::change::Change;
use wadi_protocol::id::{GatewayId, Hash, RunId};
use wadi_protocol::schema::LANES;
use wadi_protocol::wire::batch::{self, Batch, content_hash};
use wadi_protocol::wire::coded::{CODEC_PLAIN, ModelName};
use wadi_protocol::wire::downlink;
use wadi_protocol::wire::message::{Down, DownBody, Part, Prepare, Up, UpBody, part, parts_of};

use crate::Scale;
use crate::figures::{Pairs, Spent, Table, rate, timed};
use crate::plain::{self, Plain};
use crate::samples::{self, NOW_S, Source};

/// Changes in a changeset.
const CHANGES: usize = 1_000;

/// Fill the lines of the hub.
pub fn measure(folder: &Path, scale: Scale, table: &mut Table) -> Result<()> {
    let mut bench = Bench {
        site: Site::new(&folder.join("hub.db"))?,
        plain: Plain::new(&folder.join("plain.db"), &samples::schema()?)?,
        source: Source::new(7)?,
        scale,
    };
    bench.lines("an empty database", table)?;
    let mut filled = scale.blocks * scale.changesets * CHANGES;
    while filled < scale.rows {
        let changes = bench.source.inserts(CHANGES);
        bench.both(&changes)?;
        filled += CHANGES;
    }
    bench.lines(&format!("{} rows and more", scale.rows), table)
}

struct Bench {
    site: Site,
    plain: Plain,
    source: Source,
    scale: Scale,
}

impl Bench {
    fn lines(&mut self, on: &str, table: &mut Table) -> Result<()> {
        let (mut inserts, mut updates) = (Pairs::default(), Pairs::default());
        let mut rounds = crate::figures::Sample::default();
        let mut updated = 0;
        for _ in 0..self.scale.blocks {
            let mut times = [Spent::default(); 4];
            let mut round = Spent::default();
            updated = 0;
            for _ in 0..self.scale.changesets {
                let changes = self.source.inserts(CHANGES);
                let (whole, commit, plain) = self.both(&changes)?;
                times[0] += commit;
                times[1] += plain;
                round += whole;
                let changes = self.source.updates(&changes);
                updated += changes.len();
                let (_, commit, plain) = self.both(&changes)?;
                times[2] += commit;
                times[3] += plain;
            }
            let [a, b, c, d] = times;
            inserts.push(a, b);
            updates.push(c, d);
            rounds.push(round.wall);
        }
        let count = self.scale.changesets * CHANGES;
        let aim = "100,000/s";
        table.pairs(&format!("hub commit, inserts, {on}"), &inserts, rate(count), aim);
        table.pairs(&format!("hub commit, updates, {on}"), &updates, rate(updated), aim);
        let whole = rate(count)(rounds.median());
        table.alone(
            &format!("the same inserts as whole rounds, every part fsynced, {on}"),
            whole,
            "",
        );
        Ok(())
    }

    /// A changeset to the hub and the same rows to the plain file: the whole round, its commit, plain.
    fn both(&mut self, changes: &[Change]) -> Result<(Spent, Spent, Spent)> {
        let writes = plain::writes(&samples::schema()?, changes);
        let batch = self.source.batch(changes.to_vec());
        let (whole, commit) = timed(|| self.site.round(&batch))?;
        Ok((whole, commit, self.plain.commit(&writes)?))
    }
}

/// A gateway that never has anything else to do, and its hub.
pub struct Site {
    hub: Option<Store>,
    path: PathBuf,
    number: GatewayId,
    heard: RunId,
    round: u64,
    chain: Hash,
    cursors: [u64; LANES],
}

impl Site {
    /// With a new hub in this file.
    pub fn new(path: &Path) -> Result<Site> {
        let mut hub = Store::open(path)?;
        hub.begin_run(NOW_S)?;
        hub.publish_schema(&records::sample_schema()?, NOW_S)?;
        let number = samples::enrol(&mut hub, "bench")?;
        let (heard, chain) = (RunId::NONE, Hash::default());
        let (hub, path) = (Some(hub), path.into());
        Ok(Site { hub, path, number, heard, round: 1, chain, cursors: [0; LANES] })
    }

    /// The hub ends and starts again.
    pub fn restart(&mut self) -> Result<()> {
        // A file has one owner at a time.
        self.hub = None;
        self.hub.insert(Store::open(&self.path)?).begin_run(NOW_S)?;
        Ok(())
    }

    /// The hub, for others.
    pub fn hub(&mut self) -> &mut Store {
        self.hub.as_mut().expect("open but for a restart that failed")
    }

    /// Another gateway of the hub.
    pub fn neighbour(&mut self) -> Result<GatewayId> {
        samples::enrol(self.hub(), "neighbour")
    }

    /// One whole round; how long its commit took.
    pub fn round(&mut self, batch: &Batch) -> Result<Spent> {
        let bytes = batch::encode(batch);
        let parts = parts_of(bytes.len());
        let head = UpBody::Prepare(Prepare {
            parent: self.chain,
            cursors: self.cursors,
            schema: 0,
            content: content_hash(batch),
            bytes: bytes.len() as u32,
            parts,
            first: part(&bytes, 0).to_vec(),
            returned: None,
            ahead: 0,
            codec: CODEC_PLAIN,
            model: ModelName::empty(),
            delegated: false,
            narrow: false,
            spent: Vec::new(),
        });
        let rest =
            (1..parts).map(|index| UpBody::Part(Part { index, bytes: part(&bytes, index).into() }));
        let mut answers = Vec::new();
        for body in std::iter::once(head).chain(rest) {
            answers = self.hear(body)?;
        }
        let mut page = Vec::new();
        for down in &answers {
            match &down.body {
                DownBody::Prepared(prepared) => page.extend(&prepared.first),
                DownBody::Part(part) => page.extend(&part.bytes),
                other => bail!("the hub answers {other:?}"),
            }
        }
        self.cursors = downlink::decode(&page)?.to;
        let (time, answers) = timed(|| self.hear(UpBody::Commit))?;
        let [Down { body: DownBody::Committed(committed), .. }] = &answers[..] else {
            bail!("the hub answers {answers:?}");
        };
        let stretches = &committed.outcomes;
        ensure!(stretches.len() <= 1, "changes went astray: {stretches:?}");
        self.chain = committed.chain;
        self.round += 1;
        Ok(time)
    }

    fn hear(&mut self, body: UpBody) -> Result<Vec<Down>> {
        let up = Up { run: RunId(1), hub: self.heard, round: self.round, body };
        let number = self.number;
        let answers = self.hub().hear(number, &up, NOW_S)?;
        if let Some(down) = answers.first() {
            self.heard = down.hub;
        }
        Ok(answers)
    }
}
