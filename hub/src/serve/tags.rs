//! Whose a message is: its tag is checked before anything else looks at it.
//!
//! The topic names a gateway, the tag proves it. A message that an earlier
//! enrolment or a revoked gateway sealed is told so, in its own seal; one that
//! nobody could have sealed is counted and dropped.
use wadi_protocol::id::GatewayId;
use wadi_protocol::tag::{TagKey, Way};
use wadi_protocol::wire::message::Refused;

use crate::identity::Identity;
use crate::store::{Store, StoreError};

/// How many earlier enrolments of a gateway are told that they were replaced.
const EARLIER_TOLD_MAX: u32 = 8;

/// What a sealed message turned out to be.
pub enum Opened<'a> {
    /// The newest enrolment's: answer it, in this seal.
    Message(&'a [u8], TagKey),
    /// Genuine, and yet not to be heard: refuse it, in this seal.
    Refused(&'a [u8], TagKey, Refused),
    /// Nobody's.
    Forged,
}

/// Look at a sealed message of a topic.
pub fn open<'a>(
    store: &Store,
    identity: &Identity,
    gateway: GatewayId,
    sealed: &'a [u8],
) -> Result<Opened<'a>, StoreError> {
    let try_key = |enrolment| {
        let key = identity.tag_key(gateway, enrolment);
        key.open(gateway, Way::Up, sealed).map(|message| (message, key))
    };
    let Some(standing) = store.standing(gateway)?.filter(|standing| standing.enrolment > 0) else {
        // This authority enrolled it, but the database does not know: it is an older copy.
        return Ok(try_key(1).map_or(Opened::Forged, |(message, key)| {
            Opened::Refused(message, key, Refused::UnknownGateway)
        }));
    };
    if let Some((message, key)) = try_key(standing.enrolment) {
        return Ok(match standing.revoked {
            true => Opened::Refused(message, key, Refused::Revoked),
            false => Opened::Message(message, key),
        });
    }
    let earlier = (1..standing.enrolment).rev().take(EARLIER_TOLD_MAX as usize).find_map(try_key);
    Ok(earlier
        .map_or(Opened::Forged, |(message, key)| Opened::Refused(message, key, Refused::Replaced)))
}

/// The seal for a hint that no question came before; none for those who are not enrolled.
pub fn seal_of(
    store: &Store,
    identity: &Identity,
    gateway: GatewayId,
) -> Result<Option<TagKey>, StoreError> {
    let standing = store.standing(gateway)?.filter(|standing| standing.enrolment > 0);
    Ok(standing
        .filter(|standing| !standing.revoked)
        .map(|standing| identity.tag_key(gateway, standing.enrolment)))
}
