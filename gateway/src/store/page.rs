//! A downlink page: checked whole while it is staged, or as it comes with the hub's answer;
//! applied when the round is committed, in one transaction.
use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::Connection;
use wadi_protocol::id::Hash;
use wadi_protocol::limits::{DRIFT_SECONDS_MAX, PART_BYTES_MAX};
use wadi_protocol::round::gateway::{Check, GatewayRound, WholePage};
use wadi_protocol::schema::{LANES, Schema, compat};
use wadi_protocol::wire::coded::{CODEC_NEWEST, ModelName, Named, Writing, writing};
use wadi_protocol::wire::coded_page::{coded_rows, read_page};
use wadi_protocol::wire::downlink::{self, Page, PageError, Renewal, RowState};
use wadi_protocol::wire::message::{Committed, page_hash};

use super::error::Problem;
use super::image::{Key, fits};
use super::models::{self, Direction};
use super::work::Work;
use super::{
    Ground, base, compact, install, intake, line, outcome, picture, promote, restored, spent,
};

/// A renewed certificate of more bytes is none of the hub's.
const CERTIFICATE_BYTES_MAX: usize = 4 * 1024;

/// Look at the page of the open round, if every byte of it is here.
pub(super) fn check_whole(work: &mut Work<'_>) -> Result<Option<Check>, Problem> {
    let (hash, bytes) = match work.ground.round.whole_page() {
        None => return Ok(None),
        Some(page @ WholePage::Staged(_)) => (page.hash(), staged(&work.tx)?),
        Some(WholePage::Attached(page)) => (page.hash, page.bytes.clone()),
    };
    check(work, hash, &bytes).map(Some)
}

/// Look at a page: of the right hash, decodable, and everything in it of a table and
/// field that its schema (or ours) has, with a value that fits.
fn check(work: &mut Work<'_>, hash: Hash, bytes: &[u8]) -> Result<Check, Problem> {
    let read = read(work, bytes)?;
    let plain = match &read {
        Ok(opened) => downlink::encode(&opened.page),
        Err(_) => bytes.to_vec(),
    };
    let ours = page_hash(work.ground.round.stand(), &plain) == hash;
    let against = writing(bytes).model();
    if !ours || (read.is_err() && against.is_some()) {
        work.ground.opened = None;
        if against == Some(models::newest(&work.tx, Direction::Down)?) {
            // Maybe the two ends do not agree about this model: it is not tried again.
            models::forget(work, Direction::Down)?;
            work.ground.plain_pages |= against == Some(ModelName::empty());
        }
        tracing::warn!(
            phase = "fetch",
            round = work.ground.round.round,
            bytes = bytes.len(),
            "the page is damaged, or not for this box"
        );
        return Ok(Check::Corrupt);
    }
    let verdict = match read {
        Ok(opened) => {
            opened.after.iter().for_each(|after| work.ground.models.keep(after.clone()));
            usable(&work.ground, &opened.page).map(|()| opened.page.to)
        }
        Err(error) => Err(error.to_string()),
    };
    Ok(match verdict {
        Ok(to) => Check::Good(to),
        Err(why) => {
            let (round, bytes) = (work.ground.round.round, bytes.len());
            tracing::error!(phase = "fetch", round, bytes, "the hub's page cannot be used: {why}");
            Check::Unusable
        }
    })
}

/// A page as it is encoded plainly; none if it cannot be read.
pub(super) fn plain(work: &mut Work<'_>, bytes: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
    Ok(read(work, bytes)?.ok().map(|opened| downlink::encode(&opened.page)))
}

fn usable(ground: &Ground, page: &Page) -> Result<(), String> {
    let held = ground.schema.as_deref();
    let schema = match (&page.schema, held) {
        // One that is held already stays as it is, see `install`.
        (Some(new), Some(held)) if new.version <= held.version => Some(held),
        (Some(new), _) => Some(new),
        (None, held) => held,
    };
    if let Some(Err(bad)) = page.schema.as_ref().map(Schema::check) {
        return Err(bad.to_string());
    }
    if let (Some(new), Some(held)) = (schema, held)
        && let Some(problem) = compat::check(held, new).first()
    {
        return Err(format!("its schema cannot follow the one that is held: {problem}"));
    }
    if (0..LANES).any(|lane| page.to[lane] < ground.round.cursors[lane]) {
        return Err("its cursors go back".into());
    }
    for row in &page.rows {
        let name = || format!("row {} of table {}", row.row, row.table);
        let table = schema.and_then(|schema: &Schema| schema.table(row.table));
        let table = table.ok_or_else(|| format!("{}: no such table in the schema", name()))?;
        for (number, value) in &row.fields {
            let field = table.field(*number);
            let field = field.ok_or_else(|| format!("{}: no field {number}", name()))?;
            if !fits(field, value) {
                return Err(format!("{}: {value} does not fit field {}", name(), field.name));
            }
        }
        if row.state != RowState::Live && row.version == 0 {
            return Err(format!("{}: gone at no version", name()));
        }
    }
    if page.certificate.as_ref().is_some_and(|renewal| renewal.der.len() > CERTIFICATE_BYTES_MAX) {
        return Err(format!("a certificate of more than {CERTIFICATE_BYTES_MAX} bytes"));
    }
    let spans = page.known.iter().flat_map(|runs| &runs.spans);
    match spans.clone().find(|(first, last)| *first == 0 || first > last || *last > i64::MAX as u64)
    {
        Some((first, last)) => Err(format!("stretch of dots {first} to {last}")),
        None => Ok(()),
    }
}

/// A page as it came, decoded, and the model behind it. One that travels with an answer
/// is kept until that is done with, for all who look at it.
#[derive(Debug)]
pub(crate) struct Opened {
    bytes: Vec<u8>,
    page: Page,
    after: Option<Named>,
}

fn read(work: &mut Work<'_>, bytes: &[u8]) -> Result<Result<Arc<Opened>, PageError>, Problem> {
    if let Some(opened) = work.ground.opened.as_ref().filter(|opened| opened.bytes == bytes) {
        return Ok(Ok(opened.clone()));
    }
    let model = match writing(bytes).model() {
        Some(name) => models::find(work, Direction::Down, name)?,
        None => None,
    };
    let read = read_page(bytes, model.as_ref());
    let opened = read.map(|(page, after)| Arc::new(Opened { bytes: bytes.to_vec(), page, after }));
    if bytes.len() <= PART_BYTES_MAX {
        work.ground.opened = opened.as_ref().ok().cloned();
    }
    Ok(opened)
}

/// The bytes that are staged.
pub(super) fn staged(db: &Connection) -> Result<Vec<u8>, Problem> {
    let mut statement = db.prepare_cached("SELECT bytes FROM wadi_page_part ORDER BY part")?;
    let parts = statement.query_map((), |row| row.get::<_, Vec<u8>>(0))?;
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    Ok(parts.concat())
}

/// The round is committed: outcomes and, if it is to be applied, the page. The
/// machine's new state (its cursors above all) is in `work.ground` already; `before` is the
/// one that it had.
pub(super) fn finish(
    work: &mut Work<'_>,
    changes: &[i64],
    committed: &Committed,
    paged: bool,
    before: &GatewayRound,
) -> Result<(), Problem> {
    let (opened, unpaged);
    let page = if paged {
        opened = of_round(work, committed)?;
        work.ground.opened = None;
        spent::of_round(work, changes, Some((&opened.page, opened.bytes.len())))?;
        &opened.page
    } else {
        spent::of_round(work, changes, None)?;
        // Nothing moves but custody.
        unpaged = Page { to: work.ground.round.cursors, ..Page::default() };
        &unpaged
    };
    if let Some(Renewal { enrolment, until_s, der }) = &page.certificate {
        work.run(
            "UPDATE wadi_store SET certificate = ?, certificate_of = ?, certificate_until_s = ?",
            (der, enrolment, until_s.cast_signed()),
        )?;
    }
    if let Some(schema) = &page.schema
        && install::install(work, schema)?
    {
        intake::lay_again(work)?;
    }
    let mut dirty = BTreeSet::new();
    if paged {
        // Before the outcomes: what those park is asked about on this line already.
        line::follow(work, page.line, &mut dirty)?;
    }
    outcome::of_round(work, changes, &committed.outcomes, &page.verdicts, &mut dirty)?;
    outcome::of_notices(work, &page.notices, &mut dirty)?;
    outcome::of_known(work, &page.known, &mut dirty)?;
    promote::want(work, &page.wanted, &mut dirty)?;
    if paged {
        rows(work, page, before, &mut dirty)?;
        if !committed.more {
            restored::sweep(work, &mut dirty)?;
        }
        learn_time(work, page.clock_s);
        compact::hear(work, page.backup)?;
    }
    picture::show(work, &Vec::from_iter(dirty), false)
}

/// The page of a round that is committed, which the models learn.
fn of_round(work: &mut Work<'_>, committed: &Committed) -> Result<Arc<Opened>, Problem> {
    let bytes = match &committed.page {
        Some(page) => page.bytes.clone(),
        None => staged(&work.tx)?,
    };
    let opened = read(work, &bytes)?
        .map_err(|error| Problem::Damaged(format!("the page of the round: {error}")))?;
    if let Writing::Against(name, framed) = writing(&bytes) {
        models::learn(work, Direction::Down, name, coded_rows(framed).unwrap_or_default())?;
    }
    work.run("UPDATE wadi_store SET codec = ?", (opened.page.codec.min(CODEC_NEWEST),))?;
    Ok(opened)
}

/// Base moves on: the rows of the page, then those that only own changes touched.
fn rows(
    work: &mut Work<'_>,
    page: &Page,
    before: &GatewayRound,
    dirty: &mut BTreeSet<Key>,
) -> Result<(), Problem> {
    let Some(schema) = work.schema() else {
        return Ok(());
    };
    let told: Vec<Key> = page.rows.iter().map(|row| (row.table, row.row)).collect();
    for (row, key) in page.rows.iter().zip(&told) {
        let lane = schema.table(key.0).map(|table| table.lane as usize);
        let stood = lane.map_or(0, |lane| before.cursors[lane]);
        base::advance(work, &schema, *key, Some((row, stood)))?;
        dirty.insert(*key);
    }
    let passed = work.all(
        "SELECT DISTINCT tbl, row FROM wadi_change WHERE laid = 1 AND hub_seq IS NOT NULL AND hub_seq <= ?",
        (page.to.iter().max().copied().unwrap_or(0) as i64,),
        |row| Ok((row.get::<_, u16>(0)?, super::work::row_id(row, 1)?)),
    )?;
    for key in passed {
        // The rows of the page have taken theirs: what is left of them lies above.
        base::advance(work, &schema, key, None)?;
        dirty.insert(key);
    }
    for key in &told {
        dirty.remove(key);
    }
    picture::show(work, &told, true)
}

fn learn_time(work: &mut Work<'_>, hub_s: u64) {
    work.ground.clock.learn_from_hub(hub_s, work.now_s);
    work.ground.clock_confirmed = hub_s.abs_diff(work.now_s) <= DRIFT_SECONDS_MAX;
    // What somebody made up may lie further away than a number holds.
    work.ground.hub_offset_s = hub_s.checked_signed_diff(work.now_s);
}
