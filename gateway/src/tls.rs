//! TLS 1.3 to the hub's broker: one configuration for all connections, so that
//! sessions are resumed.
//!
//! The hub is known by its own authority and by one name, wherever it is
//! reached. Its certificate is judged at this gateway's clock held within the
//! life of the gateway's own certificate: a clock of 1970 or 2099 must not cut
//! a site off that nobody can repair, and the hub's certificates, from the same
//! authority, are made to cover that life.
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use crate::identity::Identity;

/// The name in the certificates of the hub, see the hub's identity.
const HUB_NAME: &str = "hub.wadi.internal";
/// How long before the end of the own certificate its life is taken to end, in
/// seconds: so that no second is outside both.
const MARGIN_S: u64 = 86_400;

/// A configuration for every connection of an enrolment. A certificate that was
/// renewed is used if it belongs to the enrolment's key.
pub fn client(identity: &Identity, renewed: Option<&[u8]>) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.clone())?;
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let inner = inner.build().map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::try_from(HUB_NAME).expect("a name");
    let verifier = HubVerifier { inner, name, until_s: identity.until_s };
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(
            vec![certificate(identity, renewed, &provider)],
            identity.key.clone_key(),
        )?;
    // The name says only that this is Wadi; brokers that choose by it are not ours.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// The renewed certificate, if it is of the enrolment's key; else the enrolment's own.
fn certificate(
    identity: &Identity,
    renewed: Option<&[u8]>,
    provider: &CryptoProvider,
) -> CertificateDer<'static> {
    let fits = |certificate: &CertificateDer<'static>| {
        let pair =
            CertifiedKey::from_der(vec![certificate.clone()], identity.key.clone_key(), provider);
        pair.is_ok_and(|pair| pair.keys_match().is_ok())
    };
    renewed
        .map(|bytes| CertificateDer::from(bytes.to_vec()))
        .filter(fits)
        .unwrap_or_else(|| identity.certificate.clone())
}

/// Checks that whoever answers is the hub, wherever it is.
#[derive(Debug)]
struct HubVerifier {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
    until_s: u64,
}

impl ServerCertVerifier for HubVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _where_it_was_reached: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let latest_s = self.until_s.saturating_sub(MARGIN_S);
        let now_s = now.as_secs().min(latest_s);
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let verify = |now| {
            self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
        };
        match verify(at(now_s)) {
            // The clock lags: the hub's certificates begin with its authority, so at the
            // end of our own certificate's life they have begun.
            Err(Error::InvalidCertificate(
                rustls::CertificateError::NotValidYet
                | rustls::CertificateError::NotValidYetContext { .. },
            )) => verify(at(latest_s)),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
