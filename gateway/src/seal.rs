//! What the sync worker needs of an enrolment: the seal of messages and TLS.
//!
//! A message from the hub that does not carry the hub's tag is as if it had
//! never come: a broker cannot make the gateway do or believe anything.
use std::sync::Arc;

use rustls::ClientConfig;
use wadi_protocol::id::GatewayId;
use wadi_protocol::tag::{TagKey, Way};

use crate::identity::Identity;
use crate::tls;

/// The seal of one enrolment.
pub struct Seal {
    identity: Identity,
    /// The certificate that the TLS configuration was made with, and the configuration.
    tls: Option<(Option<Vec<u8>>, Arc<ClientConfig>)>,
}

impl Seal {
    /// Of an enrolment.
    pub fn new(identity: Identity) -> Seal {
        Seal { identity, tls: None }
    }

    /// A message for the hub.
    pub fn seal(&self, message: Vec<u8>) -> Vec<u8> {
        self.key().seal(self.gateway(), Way::Up, message)
    }

    /// What the hub said, if it was the hub.
    pub fn open<'a>(&self, sealed: &'a [u8]) -> Option<&'a [u8]> {
        self.key().open(self.gateway(), Way::Down, sealed)
    }

    /// The one TLS configuration, made anew only when the certificate was renewed.
    pub fn tls(&mut self, renewed: Option<Vec<u8>>) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some((held, config)) = &self.tls
            && *held == renewed
        {
            return Ok(config.clone());
        }
        let config = tls::client(&self.identity, renewed.as_deref())?;
        self.tls = Some((renewed, config.clone()));
        Ok(config)
    }

    fn key(&self) -> &TagKey {
        &self.identity.tag_key
    }

    fn gateway(&self) -> GatewayId {
        self.identity.gateway
    }
}
