//! `wadi-gateway backup` and `restore`: what they do, and what they tell a person.
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::config::Config;
use crate::identity::{self, IdentityError};
use crate::store::backup;
use crate::store::copy;

/// What is copied beside a backup: the enrolment, and the gateway's own key.
pub const IDENTITY: &str = ".identity";
const KEY: &str = ".key";

/// Back up the database to `to`; with `identity` also who this gateway is.
pub fn backup(
    config: &Config,
    to: &Path,
    (replace, identity): (bool, bool),
    out: &mut dyn Write,
) -> Result<()> {
    backup::backup(&config.database, to, replace)?;
    writeln!(out, "{}: the whole database; keep it on another disk", to.display())?;
    let key = copy::beside(&config.database, "-key");
    for (secret, ending) in [(&config.identity, IDENTITY), (&key, KEY)] {
        if !identity {
            writeln!(out, "not in it: {}; --with-identity copies it too", secret.display())?;
            continue;
        }
        let beside = copy::beside(to, ending);
        match backup::backup_beside(secret, &beside, replace)? {
            true => writeln!(
                out,
                "{}: {}, secret: whoever has it can be this gateway",
                beside.display(),
                secret.display()
            )?,
            false => writeln!(out, "{}: there is none to copy", secret.display())?,
        }
    }
    Ok(())
}

/// Put the backup `from` in the place of the database, and the secrets beside it
/// where there are none.
pub fn restore(config: &Config, from: &Path, now_s: u64, out: &mut dyn Write) -> Result<()> {
    let whose = (config.site.as_str(), config.gateway);
    let aside = backup::restore(from, &config.database, whose, &stamp(now_s))?;
    writeln!(out, "{}: restored from {}", config.database.display(), from.display())?;
    if let Some(aside) = aside {
        writeln!(out, "the database that was there: {}", aside.display())?;
        writeln!(out, "programs that have that one open must be started again")?;
    }
    restore_secrets(config, from, out)?;
    writeln!(
        out,
        "the next `wadi-gateway run` begins a new run. If the hub knows of rounds that this backup \
         does not, it refuses this gateway until an operator there has run `wadi-hub gateway rejoin {}`; \
         it collects meanwhile, and gets then what it lacks",
        config.site
    )?;
    Ok(())
}

/// Put back who this gateway is, where nothing says so.
fn restore_secrets(config: &Config, from: &Path, out: &mut dyn Write) -> Result<()> {
    let spare = copy::beside(from, IDENTITY);
    let fit = identity::look(&spare).map(drop);
    let lost = "enrol it anew with a file of `wadi-hub gateway enrol`";
    put_back((&spare, fit), &config.identity, lost, out)?;
    let lost = format!(
        "the gateway makes a new key, and every handheld must run `wadi-handheld forget {}` once",
        config.site
    );
    let key = copy::beside(&config.database, "-key");
    put_back((&copy::beside(from, KEY), Ok(())), &key, &lost, out)
}

/// Put one secret back from beside a backup; what is there stays.
fn put_back(
    (spare, fit): (&Path, Result<(), IdentityError>),
    secret: &Path,
    lost: &str,
    out: &mut dyn Write,
) -> Result<()> {
    let shown = secret.display();
    match (secret.exists(), spare.is_file(), fit) {
        (true, true, _) => writeln!(out, "{shown}: left as it is")?,
        (true, false, _) => {}
        (false, true, Err(unfit)) => writeln!(out, "{shown}: not restored: {unfit}")?,
        (false, true, Ok(())) => {
            backup::backup_beside(spare, secret, false)?;
            writeln!(out, "{shown}: restored too")?;
        }
        (false, false, _) => {
            let spare = spare.display();
            writeln!(out, "{shown}: neither here nor beside the backup ({spare}): {lost}")?;
        }
    }
    Ok(())
}

/// A moment as a part of a file's name.
fn stamp(now_s: u64) -> String {
    let moment = i64::try_from(now_s).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    moment.unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string()
}
