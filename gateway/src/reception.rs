//! The reception of the gateway: who a handheld is, and for whom it may speak.
//!
//! Its key is proved by the seal of the link; here it is held against its name,
//! the table of handhelds, and the devices whose changes it offers. Every device
//! is derived from the key of its handheld, so nobody speaks for another's.
use std::sync::Arc;

use wadi_protocol::id::DeviceId;
use wadi_protocol::wire::batch::Batch;

use crate::noise::key::{KeyPair, PublicKey};
use crate::store::handhelds::{Admit, Verdict, WAITING_MAX};
use crate::store::thread::Handle;

/// What a session needs of its gateway.
#[derive(Clone, Debug)]
pub struct Reception {
    /// The store.
    pub handle: Handle,
    /// Who this gateway is.
    pub keys: Arc<KeyPair>,
    /// Who may come in.
    pub admit: Admit,
}

impl Reception {
    /// A handheld says hello; the error says why it may not come in, and what to do.
    pub async fn enter(&self, key: PublicKey, device: DeviceId, label: &str) -> Result<(), String> {
        if label.is_empty() || label.chars().any(char::is_control) {
            return Err("a handheld needs a name of letters that can be shown: begin a new file with --device".into());
        }
        if device != DeviceId::of_key(&key.0, label) {
            return Err(format!("device {device} is not that of {label:?} at the key {key}"));
        }
        let verdict = self.handle.admit(key.0, label.to_owned(), self.admit).await;
        let shown = format!("handheld {label:?} (key {key})");
        match verdict {
            Verdict::Welcome => Ok(()),
            Verdict::Revoked => Err(format!(
                "{shown} was revoked on this gateway; if that was a mistake, on the gateway run: {}",
                allow(label, Some(key.typed()))
            )),
            Verdict::OtherName(name) => Err(format!(
                "this gateway knows the key {key} as {name:?}, not as {label:?}: use that name, \
                     or another file with a key of its own (--db)"
            )),
            Verdict::Unknown { ambiguous } => Err(format!(
                "this gateway does not know {shown}: on the gateway run: {}",
                allow(label, ambiguous.then(|| key.typed()))
            )),
            Verdict::Full => Err(format!(
                "this gateway does not know {shown}, and {WAITING_MAX} others wait already: \
                 on the gateway run: {}",
                allow(label, Some(key.whole()))
            )),
        }
    }

    /// Whether a handheld that was let in may stay.
    pub async fn may_stay(&self, key: PublicKey) -> bool {
        self.handle.may_stay(key.0, self.admit).await
    }
}

/// The command that allows a handheld, as it is typed into a shell.
fn allow(name: &str, key: Option<String>) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let name = match name.chars().all(plain) && !name.starts_with('-') {
        true => name.to_owned(),
        false => format!("-- '{}'", name.replace('\'', r"'\''")),
    };
    let key = key.map(|key| format!("--key {key} ")).unwrap_or_default();
    format!("wadi-gateway handheld allow {key}{name}")
}

/// Whether every device that a batch names is one of the holder of this key, by the
/// label that it goes with; if not, which is not.
pub fn speaks_for(key: PublicKey, batch: &Batch) -> Result<(), String> {
    for info in &batch.runs {
        if info.device != DeviceId::of_key(&key.0, &info.label) {
            return Err(format!(
                "device {} is not that of {:?} at this handheld's key {key}: \
                 it may offer its own changes only",
                info.device, info.label
            ));
        }
    }
    let named = |device| batch.runs.iter().any(|info| info.device == device);
    match batch.changes.iter().find(|change| !named(change.dot.device)) {
        Some(change) => Err(format!(
            "change {} is of a device that the offer does not name: \
             it may offer its own changes only",
            change.dot
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_can_be_typed_whatever_the_name() {
        let typed = |name, key: Option<&str>| allow(name, key.map(str::to_owned));
        assert_eq!(typed("anna", None), "wadi-gateway handheld allow anna");
        assert_eq!(typed("drv-2", Some("3f2a")), "wadi-gateway handheld allow --key 3f2a drv-2");
        assert_eq!(typed("a'; reboot", None), r"wadi-gateway handheld allow -- 'a'\''; reboot'");
        assert_eq!(typed("--json", None), "wadi-gateway handheld allow -- '--json'");
    }
}
