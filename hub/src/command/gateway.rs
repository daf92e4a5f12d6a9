//! `wadi-hub gateway add | list`.
use std::io::Write;

use serde_json::{Value as Json, json};

use super::{CommandError, line};
use crate::store::{Store, text};

/// Enrol a gateway and say what to write into its configuration.
pub fn gateway_add(
    store: &mut Store,
    site: &str,
    now_s: u64,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let number = store.add_gateway(site, now_s)?;
    writeln!(out, "site = {}", Json::from(site))?;
    Ok(writeln!(out, "gateway = {number}")?)
}

/// List enrolled gateways.
pub fn gateway_list(store: &Store, as_json: bool, out: &mut dyn Write) -> Result<(), CommandError> {
    let gateways = store.gateways()?;
    if as_json {
        let all: Vec<Json> = gateways
            .iter()
            .map(|gateway| {
                json!({
                    "gateway": gateway.number.0,
                    "site": gateway.site,
                    "added_s": gateway.added_s,
                    "heard_s": gateway.heard_s,
                    "rounds": gateway.rounds,
                    "schema": gateway.schema,
                    "cursors": gateway.cursors,
                })
            })
            .collect();
        return Ok(super::json(out, &Json::from(all))?);
    }
    line(out, &["gateway", "site", "added", "heard", "rounds", "schema"])?;
    for gateway in gateways {
        line(
            out,
            &[
                &gateway.number.to_string(),
                &gateway.site,
                &text::time(gateway.added_s),
                &text::time(gateway.heard_s),
                &gateway.rounds.to_string(),
                &gateway.schema.to_string(),
            ],
        )?;
    }
    Ok(())
}
