//! The gateways that this handheld has met: each site's key, pinned at first contact.
use super::{Store, StoreError, Work, all};
use crate::noise::key::{KEY_BYTES, PublicKey};

/// Sites whose keys a file keeps; for more, one has to be forgotten.
pub const SITES_MAX: i64 = 256;

/// How a key stands to what is known of its site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// Nobody has answered for the site before: this key is its from now on.
    First,
    /// The same as ever.
    Same,
    /// This one is known for the site.
    Other(PublicKey),
    /// [`SITES_MAX`] sites are known.
    Full,
}

impl Store {
    /// Sites and their keys, by name.
    pub fn sites(&self) -> Result<Vec<(String, PublicKey)>, StoreError> {
        all(&self.db, "SELECT site, key FROM wadi_site ORDER BY site", (), |row| {
            Ok((row.get(0)?, PublicKey(row.get::<_, [u8; KEY_BYTES]>(1)?)))
        })
    }
}

impl Work<'_> {
    /// A gateway of this key answers for a site.
    pub fn pin(&self, site: &str, key: PublicKey) -> Result<Pin, StoreError> {
        let known = self.one("SELECT key FROM wadi_site WHERE site = ?", (site,), |row| {
            Ok(PublicKey(row.get::<_, [u8; KEY_BYTES]>(0)?))
        })?;
        if let Some(known) = known {
            return Ok(if known == key { Pin::Same } else { Pin::Other(known) });
        }
        let held = self.one("SELECT count(*) FROM wadi_site", (), |row| row.get::<_, i64>(0))?;
        if held.unwrap_or(0) >= SITES_MAX {
            return Ok(Pin::Full);
        }
        let sql = "INSERT INTO wadi_site (site, key, first_s) VALUES (?, ?, ?)";
        self.run(sql, (site, key.0, self.now_s as i64))?;
        Ok(Pin::First)
    }

    /// Forget the key of a site; whether one was known.
    pub fn forget_site(&self, site: &str) -> Result<bool, StoreError> {
        Ok(self.run("DELETE FROM wadi_site WHERE site = ?", (site,))? > 0)
    }
}
