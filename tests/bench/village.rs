//! A gateway's store with the schema of the data, fetched from a hub in the same process.
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use wadi_gateway::store::{Opening, RoundInput, Store};
use wadi_harness::records;
use wadi_hub::store::{Said, Store as Hub, write_down};
use wadi_protocol::id::GatewayId;
use wadi_protocol::wire::message;

use crate::samples::{self, NOW_S};

/// What an open link adds to a message, at least: IP, TCP, TLS, MQTT and the tag.
const CARRIER_BYTES: usize = 96;

/// A store that has the schema, and its file.
pub fn open(folder: &Path) -> Result<(Store, PathBuf)> {
    let mut hub = Hub::open(&folder.join("schema-hub.db"))?;
    hub.begin_run(NOW_S)?;
    hub.publish_schema(&records::sample_schema()?, NOW_S)?;
    let gateway = samples::enrol(&mut hub, "bench")?;
    let path = folder.join("gateway.db");
    let mut store = open_at(&path, gateway)?;
    sync(&mut store, &mut hub, gateway)?;
    ensure!(store.schema().is_some(), "the schema did not come");
    Ok((store, path))
}

/// Open a gateway's file.
pub fn open_at(path: &Path, gateway: GatewayId) -> Result<Store> {
    let random = [path.as_os_str().len() as u64, std::process::id().into()];
    let opening =
        Opening { path: path.into(), site: "bench".into(), gateway, now_s: NOW_S, random };
    Ok(Store::open(&opening)?)
}

/// Rounds until nothing waits; bytes of all messages, both ways, with what carries them.
pub fn sync(store: &mut Store, hub: &mut Hub, gateway: GatewayId) -> Result<usize> {
    let mut spent = 0;
    loop {
        let mut answer = store.round(RoundInput::Begin { delegate: true, urgent: false }, NOW_S)?;
        let mut more = false;
        while !answer.messages.is_empty() {
            let mut downs = Vec::new();
            for bytes in &answer.messages {
                spent += bytes.len() + CARRIER_BYTES;
                let (up, in_brief) = match hub.read_up(gateway, bytes)?? {
                    Said::Whole(up) => (up, false),
                    Said::Brief(up) => (up, true),
                    Said::Unclear(down) => {
                        downs.push(message::encode(&down));
                        continue;
                    }
                };
                let answers = hub.hear(gateway, &up, NOW_S)?;
                downs.extend(answers.iter().map(|down| write_down(down, in_brief)));
            }
            answer.messages.clear();
            for bytes in downs {
                spent += bytes.len() + CARRIER_BYTES;
                let next = store.round(RoundInput::read(&bytes)?, NOW_S)?;
                ensure!(next.refused.is_none(), "refused: {:?}", next.refused);
                more |= next.more;
                answer.messages.extend(next.messages);
                answer.pending = next.pending;
            }
        }
        if !more && !answer.pending {
            return Ok(spent);
        }
    }
}
