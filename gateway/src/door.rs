//! The door of the local network: who may come in, and who must come back later.
//!
//! Counts sessions and connections by address, and nothing else: sockets are the
//! listener's. What it keeps is bounded; an address that has no session and a
//! full measure of connections is forgotten.
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::pace::Bucket;

/// Sessions served at the same time.
pub const SESSIONS_MAX: usize = 32;
/// Sessions of one address at the same time.
pub const SESSIONS_PER_ADDRESS_MAX: usize = 8;
/// Connections of one address at once, and a second.
pub const CONNECTS_BURST: u64 = 60;
/// See [`CONNECTS_BURST`].
pub const CONNECTS_S: u64 = 20;
/// Addresses that are remembered; whoever comes beyond waits until one is forgotten.
pub const ADDRESSES_MAX: usize = 512;

/// What a peer that knocks is told.
#[derive(Debug)]
pub enum Knock {
    /// Come in; the place is free again when this is dropped.
    In(Place),
    /// Every place is taken: come back later. The reason is for people.
    Later(String),
    /// It knocks too often to be answered.
    TooOften,
}

/// The door.
#[derive(Debug, Default)]
pub struct Door {
    book: Arc<Mutex<Book>>,
}

/// A place at the table, for as long as it is held.
#[derive(Debug)]
pub struct Place {
    book: Arc<Mutex<Book>>,
    address: IpAddr,
}

#[derive(Debug, Default)]
struct Book {
    sessions: usize,
    addresses: HashMap<IpAddr, Guest>,
}

#[derive(Debug)]
struct Guest {
    sessions: usize,
    connects: Bucket,
}

impl Door {
    /// A peer at this address wants to come in.
    pub fn knock(&self, address: IpAddr, now: Instant) -> Knock {
        // One peer, whichever family its socket is of.
        let address = address.to_canonical();
        let mut book = lock(&self.book);
        book.forget(now);
        if book.addresses.len() >= ADDRESSES_MAX && !book.addresses.contains_key(&address) {
            return Knock::TooOften;
        }
        let sessions = book.sessions;
        let guest = book.addresses.entry(address).or_insert_with(|| Guest {
            sessions: 0,
            connects: Bucket::new(CONNECTS_BURST, CONNECTS_S, now),
        });
        if !guest.connects.take(now) {
            return Knock::TooOften;
        }
        if sessions >= SESSIONS_MAX {
            return Knock::Later(format!("{SESSIONS_MAX} handhelds are being served"));
        }
        if guest.sessions >= SESSIONS_PER_ADDRESS_MAX {
            return Knock::Later(format!(
                "{SESSIONS_PER_ADDRESS_MAX} sessions of {address} are being served"
            ));
        }
        guest.sessions += 1;
        book.sessions += 1;
        Knock::In(Place { book: Arc::clone(&self.book), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = lock(&self.book);
        book.sessions -= 1;
        let guest = book.addresses.get_mut(&self.address).expect("kept while it has a session");
        guest.sessions -= 1;
    }
}

impl Book {
    /// Forget who left no trace that still counts; only when there are many.
    fn forget(&mut self, now: Instant) {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.retain(|_, guest| guest.sessions > 0 || !guest.connects.is_full(now));
        }
    }
}

/// A thread that panicked in mid-count leaves counts that are still counts.
fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(at: u32) -> IpAddr {
        IpAddr::from((0x0a00_0000 + at).to_be_bytes())
    }

    #[test]
    fn an_address_has_so_many_places_and_all_have_so_many() {
        let (door, now) = (Door::default(), Instant::now());
        let mut inside = Vec::new();
        for at in 0.. {
            let before = inside.len();
            for _ in 0..20 {
                match door.knock(address(at), now) {
                    Knock::In(place) => inside.push(place),
                    Knock::Later(reason) => assert!(reason.contains("being served"), "{reason}"),
                    Knock::TooOften => panic!("20 connections are not too many"),
                }
            }
            if inside.len() == before {
                break;
            }
            assert_eq!(inside.len() - before, SESSIONS_PER_ADDRESS_MAX);
        }
        assert_eq!(inside.len(), SESSIONS_MAX);
        inside.pop();
        assert!(matches!(door.knock(address(99), now), Knock::In(_)), "a place is free again");
    }

    #[test]
    fn a_flood_of_one_address_is_hung_up_on_and_another_comes_in() {
        let (door, now) = (Door::default(), Instant::now());
        let answered =
            (0..10_000).filter(|_| !matches!(door.knock(address(1), now), Knock::TooOften));
        assert_eq!(answered.count() as u64, CONNECTS_BURST);
        assert!(matches!(door.knock(address(2), now), Knock::In(_)));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(matches!(door.knock(mapped, now), Knock::TooOften), "the same peer");
        let later = now + Duration::from_secs(1);
        assert!(matches!(door.knock(address(1), later), Knock::In(_)));
    }

    #[test]
    fn the_book_is_bounded_and_forgets() {
        let (door, now) = (Door::default(), Instant::now());
        for at in 0..100_000 {
            let _ = door.knock(address(at), now);
        }
        assert_eq!(lock(&door.book).addresses.len(), ADDRESSES_MAX);
        let later = now + Duration::from_secs(1);
        assert!(matches!(door.knock(address(200_000), later), Knock::In(_)));
        assert_eq!(lock(&door.book).addresses.len(), 1);
    }
}
