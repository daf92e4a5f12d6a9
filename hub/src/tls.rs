//! TLS 1.3 at the hub: as the embedded broker's server, and as a client of a
//! broker of one's own. Everybody shows a certificate of the hub's authority.
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::identity::{HUB_NAME, Identity};

/// Sessions that can be resumed: some for every gateway.
const SESSIONS_MAX: usize = 8_192;

/// For the listener of the embedded broker.
pub fn server(identity: &Identity) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let (certificate, key) = own(identity)?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots(identity)?, provider.clone());
    let clients = clients.build().map_err(|error| Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate], key)?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    // One is enough, and each costs bytes on the metered link.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// For the hub's connection to a broker of one's own.
pub fn client(identity: &Identity) -> Result<Arc<ClientConfig>, Error> {
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let (certificate, key) = own(identity)?;
    let inner = WebPkiServerVerifier::builder_with_provider(roots(identity)?, provider.clone());
    let inner = inner.build().map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::try_from(HUB_NAME).expect("a name");
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(BrokerVerifier { inner, name }))
        .with_client_auth_cert(vec![certificate], key)?;
    config.enable_sni = false;
    Ok(Arc::new(config))
}

fn own(
    identity: &Identity,
) -> Result<(CertificateDer<'static>, rustls::pki_types::PrivateKeyDer<'static>), Error> {
    identity.own().map_err(|error| Error::General(error.to_string()))
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, Error> {
    let authority = CertificateDer::from_pem_slice(identity.authority_pem().as_bytes())
        .map_err(|error| Error::General(format!("the authority's certificate: {error:?}")))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok(Arc::new(roots))
}

/// Checks that a broker is the hub's, wherever it is reached.
#[derive(Debug)]
struct BrokerVerifier {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _where_it_was_reached: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
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
}
