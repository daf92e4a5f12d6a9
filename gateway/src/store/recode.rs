//! The changeset of the open round, as it is written: anew where the hub cannot read it,
//! and taught to the model once it is committed.
use wadi_protocol::round::gateway::Write;
use wadi_protocol::wire::batch::Batch;
use wadi_protocol::wire::coded::{
    CODEC_NEWEST, ModelName, Named, Writing, read_batch, write_batch, writing,
};

use super::error::Problem;
use super::models::{self, Direction};
use super::round::body;
use super::work::Work;

/// Write the changeset anew, if a step asks for that and it is still written as the hub
/// said: how many bytes it takes now, or that it cannot be read any more.
pub(super) fn asked(work: &mut Work<'_>, writes: &[Write]) -> Result<Option<Option<u32>>, Problem> {
    let Some(Write::Recode { codec, of, holds }) =
        writes.iter().find(|write| matches!(write, Write::Recode { .. }))
    else {
        return Ok(None);
    };
    let bytes = body(&work.tx)?;
    let Some(name) = writing(&bytes).model() else {
        return Ok(None);
    };
    if of.is_some_and(|of| of != name) {
        return Ok(None);
    }
    let before = models::find(work, Direction::Up, name)?;
    let Ok((batch, _)) = read_batch(&bytes, before.as_ref()) else {
        return Ok(Some(None));
    };
    let model = match *codec < CODEC_NEWEST {
        true => None,
        false => common(work, name, holds)?,
    };
    Ok(Some(Some(write(work, model.as_ref(), &batch)?)))
}

fn write(work: &mut Work<'_>, model: Option<&Named>, batch: &Batch) -> Result<u32, Problem> {
    let written = write_batch(model, batch);
    work.run("UPDATE wadi_round SET body = ?", (&written.bytes,))?;
    written.after.into_iter().for_each(|after| work.ground.models.keep(after));
    Ok(written.bytes.len() as u32)
}

/// The newest model that both ends have, of those behind the one that was tried: so it
/// comes to an end, with none.
fn common(
    work: &mut Work<'_>,
    tried: ModelName,
    holds: &[ModelName],
) -> Result<Option<Named>, Problem> {
    if tried == ModelName::empty() {
        return Ok(None);
    }
    let ours = models::names(&work.tx, Direction::Up, usize::MAX >> 1)?;
    let behind = ours.into_iter().skip_while(|name| *name != tried);
    let found = behind.filter(|name| *name != tried).find(|name| holds.contains(name));
    models::find(work, Direction::Up, found.unwrap_or_else(ModelName::empty))
}

/// The round is committed: what it carried is what its model knows now.
pub(super) fn learn(work: &mut Work<'_>) -> Result<(), Problem> {
    let bytes = body(&work.tx)?;
    match writing(&bytes) {
        Writing::Against(name, coded) => models::learn(work, Direction::Up, name, coded),
        Writing::Plain | Writing::Unknown(_) => Ok(()),
    }
}
