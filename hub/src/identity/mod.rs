//! The hub's own authority: who a gateway is, and how it knows the hub.
//!
//! One file beside the configuration, for its user only, holds the authority's
//! key, the hub's own key, and the master secret from which every enrolment's
//! message key is derived. Nothing secret is in the database. Whoever loses the
//! file has to enrol every site anew, so it belongs to every backup.
//!
//! All certificates begin when the authority did, so that a clock that lags
//! never makes one "not yet valid". A gateway knows the hub by
//! [`HUB_NAME`], wherever it is reached; the hub knows a gateway by number
//! and enrolment.
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use wadi_protocol::id::GatewayId;
use wadi_protocol::tag::{KEY_BYTES, TagKey};

mod file;

pub use file::write_secret;

/// The name that gateways demand of whoever says to be the hub.
pub const HUB_NAME: &str = "hub.wadi.internal";
/// The hub's name as a client of a broker.
pub const HUB_CLIENT: &str = "wadi-hub";
/// How long the authority and the hub's own certificates last.
const AUTHORITY_DAYS: u64 = 50 * 365;
const DAY_S: u64 = 86_400;
/// The end of the year 9999, the last that a certificate can name.
const LAST_DATE_S: i64 = 253_402_300_799;

/// The hub's identity cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file.
    #[error("identity {file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("making a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The authority, and the hub's own certificate.
pub struct Identity {
    made_s: u64,
    authority: KeyPair,
    authority_pem: String,
    key_pem: String,
    certificate_pem: String,
    master: [u8; KEY_BYTES],
}

/// What a certificate is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The gateway.
    pub gateway: GatewayId,
    /// Its enrolment, from 1.
    pub enrolment: u32,
    /// Counts the certificates of the enrolment, from 1.
    pub issue: u32,
    /// When it shall end, seconds since 1970.
    pub until_s: u64,
}

impl Subject {
    /// The name in its certificates.
    pub fn name(gateway: GatewayId, enrolment: u32) -> String {
        format!("e{enrolment}.g{gateway}.gateway.wadi.internal")
    }

    fn serial(&self) -> SerialNumber {
        // A leading 1: serials are positive and never shortened.
        let mut bytes = vec![1];
        for part in [self.gateway.0, self.enrolment, self.issue] {
            bytes.extend(part.to_be_bytes());
        }
        SerialNumber::from_slice(&bytes)
    }
}

/// A new key and its certificate, both in PEM.
pub struct Keyed {
    /// The private key.
    pub key_pem: String,
    /// The certificate.
    pub certificate_pem: String,
    /// The public key, as [`Identity::renew`] wants it.
    pub public: Vec<u8>,
}

impl Identity {
    /// Read the file, or make it where there is none.
    pub fn open(path: &Path, now_s: u64) -> Result<Identity, IdentityError> {
        match file::read(path)? {
            Some(identity) => Ok(identity),
            None => file::keep(path, &Identity::make(now_s)?),
        }
    }

    /// Read the file; none where there is none.
    pub fn read(path: &Path) -> Result<Option<Identity>, IdentityError> {
        file::read(path)
    }

    fn make(now_s: u64) -> Result<Identity, IdentityError> {
        let mut master = [0; KEY_BYTES];
        getrandom::fill(&mut master).map_err(|error| IdentityError::File {
            file: "hub identity".into(),
            reason: format!("no random numbers: {error}"),
        })?;
        let authority = KeyPair::generate()?;
        let key = KeyPair::generate()?;
        let authority_pem = authority_params(now_s)?.self_signed(&authority)?.pem();
        let mut identity = Identity {
            made_s: now_s,
            authority,
            authority_pem,
            key_pem: key.serialize_pem(),
            certificate_pem: String::new(),
            master,
        };
        identity.certificate_pem = identity.server(HUB_CLIENT, &key)?;
        Ok(identity)
    }

    /// The authority's certificate, for whoever is to trust the hub.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The hub's own certificates and key, for TLS.
    pub fn own(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IdentityError> {
        file::parse_pair(&self.certificate_pem, &self.key_pem)
    }

    /// The hub's own certificate and key as they are in the file.
    pub fn own_pem(&self) -> (&str, &str) {
        (&self.certificate_pem, &self.key_pem)
    }

    /// The message key of an enrolment.
    pub fn tag_key(&self, gateway: GatewayId, enrolment: u32) -> TagKey {
        TagKey::derive(&self.master, gateway, enrolment)
    }

    /// A new key for an enrolment, with its certificate.
    pub fn issue(&self, subject: &Subject) -> Result<Keyed, IdentityError> {
        let key = KeyPair::generate()?;
        let public = key.der_bytes().to_vec();
        let certificate_pem = self.client(subject, &key)?.pem();
        Ok(Keyed { key_pem: key.serialize_pem(), certificate_pem, public })
    }

    /// A later certificate for the key of an enrolment.
    pub fn renew(&self, subject: &Subject, public: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let certificate = self.client(subject, &PublicKey(public))?;
        Ok(certificate.der().to_vec())
    }

    /// A key and a certificate for a broker that gateways shall take for the hub's.
    pub fn issue_broker(&self) -> Result<Keyed, IdentityError> {
        let key = KeyPair::generate()?;
        let certificate_pem = self.server("wadi-broker", &key)?;
        Ok(Keyed { key_pem: key.serialize_pem(), certificate_pem, public: Vec::new() })
    }

    /// The list of certificates that are no longer to be believed, for brokers.
    pub fn revocations(&self, revoked: &[Subject], now_s: u64) -> Result<String, IdentityError> {
        let entry = |subject: &Subject| RevokedCertParams {
            serial_number: subject.serial(),
            revocation_time: date(now_s),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date(self.made_s.saturating_sub(DAY_S)),
            next_update: date(self.made_s + AUTHORITY_DAYS * DAY_S),
            crl_number: SerialNumber::from(now_s),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer()?)?.pem()?)
    }

    fn issuer(&self) -> Result<Issuer<'_, &KeyPair>, IdentityError> {
        Ok(Issuer::new(authority_params(self.made_s)?, &self.authority))
    }

    fn client(
        &self,
        subject: &Subject,
        key: &impl PublicKeyData,
    ) -> Result<rcgen::Certificate, IdentityError> {
        let name = Subject::name(subject.gateway, subject.enrolment);
        let mut params = leaf(vec![name], &subject.gateway.to_string(), self.made_s)?;
        params.not_after = date(subject.until_s);
        params.serial_number = Some(subject.serial());
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        Ok(params.signed_by(key, &self.issuer()?)?)
    }

    fn server(&self, name: &str, key: &KeyPair) -> Result<String, IdentityError> {
        let mut params = leaf(vec![HUB_NAME.into()], name, self.made_s)?;
        params.not_after = date(self.made_s + AUTHORITY_DAYS * DAY_S);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        Ok(params.signed_by(key, &self.issuer()?)?.pem())
    }
}

fn authority_params(made_s: u64) -> Result<CertificateParams, IdentityError> {
    let mut params = leaf(Vec::new(), "Wadi hub authority", made_s)?;
    params.not_after = date(made_s + AUTHORITY_DAYS * DAY_S);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(names: Vec<String>, common: &str, made_s: u64) -> Result<CertificateParams, IdentityError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = date(made_s.saturating_sub(DAY_S));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn date(seconds: u64) -> OffsetDateTime {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    // Beyond the year 9999 there are no dates in certificates.
    OffsetDateTime::from_unix_timestamp(seconds.min(LAST_DATE_S))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A gateway's public key, as it was when it was enrolled.
struct PublicKey<'a>(&'a [u8]);

impl PublicKeyData for PublicKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
