//! Brief messages of a round: which are written, and what comes of those that arrive.
//!
//! The hub knows where this box stands if the last round came to its end with its page, in
//! this run: then a round begins in brief ([`super::Ground::brief`]), and is asked about whole.
use wadi_protocol::round::gateway::Phase;
use wadi_protocol::wire::brief;
use wadi_protocol::wire::coded::CODEC_NEWEST;
use wadi_protocol::wire::message::{Down, Up, UpBody, page_hash};

use super::error::Problem;
use super::page;
use super::work::Work;

/// What a brief message of the hub is.
pub(super) enum Read {
    /// The answer, whole.
    Whole(Down),
    /// The answer, and it does not mean here what it means there: ask again.
    Unclear,
    /// Nothing that is waited for.
    Ignored(&'static str),
}

/// A message in brief, if it can be said so.
pub(super) fn write(up: &Up) -> Option<Vec<u8>> {
    let UpBody::Prepare(head) = &up.body else { return None };
    if head.codec != CODEC_NEWEST { None } else { brief::up(up) }
}

/// What a brief message says to who stands here.
pub(super) fn read(work: &mut Work<'_>, bytes: &[u8]) -> Result<Read, Problem> {
    let Ok(brief) = brief::read_down(bytes) else {
        return Ok(Read::Ignored("a brief message that does not decode"));
    };
    let round = work.ground.round.clone();
    let Phase::Preparing { changeset, .. } = &round.phase else {
        return Ok(Read::Ignored("nothing was asked that may be answered in brief"));
    };
    if brief.round != round.round {
        return Ok(Read::Ignored("about another round"));
    }
    let Some(plain) = page::plain(work, brief.page)? else { return Ok(Read::Unclear) };
    let page = page_hash(round.stand(), &plain);
    let whole = brief.whole(round.hub, round.chain, changeset.content, page);
    Ok(whole.map_or(Read::Unclear, Read::Whole))
}
