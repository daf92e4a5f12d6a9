//! What came of a sync: what it did, and why it did not come to its end.
use super::store::StoreError;
use crate::noise::key::PublicKey;

/// What a sync did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Synced {
    /// The site of the gateway.
    pub site: String,
    /// Changes that the gateway took.
    pub offered: u64,
    /// Changes of which we learnt that they are durable.
    pub durable: u64,
    /// Changes of which we learnt that they are parked or were put aside at the hub.
    pub held_back: u64,
    /// Rows pulled.
    pub pulled: u64,
    /// Changes that the gateway refused, kept here.
    pub refused: u64,
    /// The last reason of a refusal.
    pub refusal: String,
    /// A newer schema came, of this version.
    pub schema: Option<u32>,
    /// Links that it took.
    pub links: u32,
    /// Frames that the line garbled.
    pub noise: u64,
    /// A site met for the first time, and the key that is its from now on.
    pub met: Option<(String, PublicKey)>,
}

impl Synced {
    /// Whether a gateway was met at all, or noise was.
    pub fn is_something(&self) -> bool {
        *self != Synced { links: self.links, ..Synced::default() }
    }
}

/// Why a sync did not come to its end. What it did until then stays.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The port or the address gives no link, or nobody answers there.
    #[error("no link: {0}")]
    NoLink(String),
    /// The gateway cannot just now, or the link broke too often.
    #[error("not finished: {0}; what was taken stays taken, run `sync` again")]
    Later(String),
    /// It is not clear which gateway is meant, or there is no room to remember it.
    #[error("{0}")]
    Unclear(String),
    /// The gateway will not talk with us.
    #[error("the gateway refused: {0}")]
    Refused(String),
    /// Another gateway than ever answers for a site.
    #[error(
        "another gateway answers for site {site:?}: its key is {found}, and it was {known} ever \
         before. Nothing was sent to it. Either the gateway was replaced or lost its key file: ask \
         whoever keeps it to compare (`wadi-gateway handheld list` shows its key), then run \
         `wadi-handheld forget {site}` and sync again. Or somebody imitates it"
    )]
    OtherKey {
        /// The site.
        site: String,
        /// The key pinned at first contact.
        known: PublicKey,
        /// The key that answers now.
        found: PublicKey,
    },
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
}
