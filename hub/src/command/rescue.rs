//! `wadi-hub backup` and `restore`: what they do, and what they tell a person.
use std::io::Write;
use std::path::Path;

use super::CommandError;
use crate::config::Config;
use crate::store::{Store, StoreError, backup, copy};

/// Back up the database to `to`, and the hub's identity beside it.
pub fn backup(
    store: &mut Store,
    config: &Config,
    to: &Path,
    replace: bool,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    // The identity first: a watermark says that everything needed to begin again is there.
    let identity = copy::beside(to, ".identity");
    let has_identity = config.identity.is_file();
    if has_identity {
        copy::copy_file(&config.identity, &identity, 0o600, replace).map_err(StoreError::from)?;
    }
    let mark = match store.backup(to, replace, now_s) {
        Ok(mark) => mark,
        Err(error) => {
            if has_identity && !replace {
                let _ = std::fs::remove_file(&identity);
            }
            return Err(error.into());
        }
    };
    writeln!(
        out,
        "{}: the whole database up to sequence {}; keep it on another disk",
        to.display(),
        mark.seq
    )?;
    match has_identity {
        true => writeln!(
            out,
            "{}: the hub's identity, secret: whoever has it can enrol gateways",
            identity.display()
        )?,
        false => writeln!(out, "{}: there is no identity to copy", config.identity.display())?,
    }
    Ok(())
}

/// Put the backup `from` in the place of the database, and the identity where there is none.
pub fn restore(
    config: &Config,
    from: &Path,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let aside = backup::restore(from, &config.database, &stamp(now_s), now_s)?;
    writeln!(out, "{}: restored from {}", config.database.display(), from.display())?;
    if let Some(aside) = aside {
        writeln!(out, "the database that was there: {}", aside.display())?;
    }
    let identity = copy::beside(from, ".identity");
    if identity.is_file() && !config.identity.exists() {
        copy::copy_file(&identity, &config.identity, 0o600, false).map_err(StoreError::from)?;
        writeln!(out, "{}: restored too", config.identity.display())?;
    } else if identity.is_file() {
        writeln!(out, "{}: left as it is", config.identity.display())?;
    }
    writeln!(
        out,
        "the next `wadi-hub serve` begins a new run and numbers nothing yet: gateways come, and \
         `wadi-hub status` shows which of them know of more than this backup holds. Publish again \
         what was published of the schema since, then run `wadi-hub resume`: they return by \
         themselves what they still hold"
    )?;
    Ok(())
}

/// Confirm that the database was restored: number changes again.
pub fn resume(store: &mut Store, now_s: u64, out: &mut dyn Write) -> Result<(), CommandError> {
    let told = store.resume(now_s)?;
    let known = match told {
        0 => "no gateway is known yet that knows more than this database".into(),
        told => {
            let of = crate::words::count(told as u64, "gateway knows", "gateways know");
            format!("{of} more than this database")
        }
    };
    writeln!(out, "changes are numbered again; {known}")?;
    Ok(writeln!(
        out,
        "each that does returns at its next attempt what it still holds; `wadi-hub status` says what \
         nobody has returned"
    )?)
}

/// A moment as a part of a file's name.
fn stamp(now_s: u64) -> String {
    let moment = i64::try_from(now_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    moment.unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string()
}
