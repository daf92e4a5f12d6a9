//! The hub's certificate under clocks that are right, in 1970 and in 2099.
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::CertificateError;
use time::OffsetDateTime;
use wadi_protocol::id::GatewayId;
use wadi_protocol::tag::TagKey;

use super::*;

/// When the authority was made: 2026-11-22.
const MADE_S: u64 = 1_795_305_600;
const YEAR_S: u64 = 365 * 86_400;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn at(seconds: u64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap()
}

fn params(names: Vec<String>, until_s: u64) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = at(MADE_S);
    params.not_after = at(until_s);
    params
}

fn authority() -> Authority {
    let mut params = params(Vec::new(), MADE_S + 50 * YEAR_S);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of an authority: of the hub, or of who else has that name.
fn server(authority: &Authority, name: &str) -> CertificateDer<'static> {
    let mut params = params(vec![name.into()], MADE_S + 50 * YEAR_S);
    params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ServerAuth);
    params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap().der().clone()
}

fn identity(authority: &Authority) -> (Identity, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let issue = |until_s| {
        let mut params = params(vec!["g".into()], until_s);
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        params.signed_by(&key, authority).unwrap().der().clone()
    };
    let identity = Identity {
        site: "north".into(),
        gateway: GatewayId(1),
        enrolment: 1,
        address: ("hub.example".into(), 8883),
        tls: true,
        until_s: MADE_S + 5 * YEAR_S,
        tag_key: TagKey::from_bytes([1; 32]),
        authority: authority.der().clone(),
        certificate: issue(MADE_S + 5 * YEAR_S),
        key: rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
    };
    (identity, issue(MADE_S + 9 * YEAR_S).to_vec())
}

fn judge(identity: &Identity, certificate: &CertificateDer<'_>, now_s: u64) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let name = ServerName::try_from(HUB_NAME).unwrap();
    let verifier = HubVerifier { inner: inner.build().unwrap(), name, until_s: identity.until_s };
    let reached_at = ServerName::try_from("203.0.113.7").unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
    verifier.verify_server_cert(certificate, &[], &reached_at, &[], now).map(drop)
}

#[test]
fn a_wrong_clock_does_not_cut_the_site_off() {
    let authority = authority();
    let (identity, _) = identity(&authority);
    let hub = server(&authority, HUB_NAME);
    for now_s in
        [0, 3_600, MADE_S - 1, MADE_S + 1, MADE_S + 60 * YEAR_S, 4_070_908_800, u64::MAX / 4]
    {
        assert_eq!(judge(&identity, &hub, now_s), Ok(()), "at {now_s}");
    }
}

#[test]
fn a_wrong_clock_does_not_let_anybody_else_in() {
    let (authority, other) = (authority(), authority());
    let (identity, _) = identity(&authority);
    for now_s in [0, MADE_S + 1, 4_070_908_800] {
        assert!(judge(&identity, &server(&other, HUB_NAME), now_s).is_err(), "another authority");
        let verdict = judge(&identity, &server(&authority, "e1.g2.gateway.wadi.internal"), now_s);
        assert!(
            matches!(
                verdict,
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName
                        | CertificateError::NotValidForNameContext { .. }
                ))
            ),
            "another gateway plays the hub: {verdict:?}"
        );
    }
}

#[test]
fn a_renewed_certificate_is_used_if_it_belongs_to_the_key() {
    let authority = authority();
    let (held, renewed) = identity(&authority);
    let (_, of_another_key) = identity(&authority);
    let provider = ring::default_provider();
    let used = |renewed: Option<&[u8]>| certificate(&held, renewed, &provider);
    assert_eq!(used(Some(&renewed)).as_ref(), renewed);
    assert_eq!(used(Some(&of_another_key)), held.certificate);
    assert_eq!(used(Some(b"rubbish")), held.certificate);
    assert_eq!(used(None), held.certificate);
    assert!(client(&held, Some(&renewed)).is_ok());
}
