//! The TLS front of the embedded broker: who gets through, who is kept waiting by whom.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use wadi_hub::broker::Embedded;
use wadi_hub::door::{Door, Entry};
use wadi_hub::front::Front;
use wadi_hub::identity::{HUB_NAME, Identity, Subject};
use wadi_hub::mqtt::{Link, Target};
use wadi_hub::tls;
use wadi_protocol::id::GatewayId;

const NOW_S: u64 = 1_795_000_000;
const SECRET: &str = "between us";
const PATIENCE: Duration = Duration::from_secs(30);

fn identity() -> Identity {
    let folder = tempfile::tempdir().unwrap();
    Identity::open(&folder.path().join("hub-identity.toml"), NOW_S).unwrap()
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn door() -> Arc<Door> {
    let door = Door::new(SECRET.into(), true);
    let entry = |enrolment, revoked| Entry { enrolment, revoked };
    let roster = [(1, entry(1, false)), (2, entry(2, false)), (3, entry(1, true))];
    door.set_roster(roster.map(|(number, entry)| (GatewayId(number), entry)).into());
    Arc::new(door)
}

/// What a gateway of this enrolment would connect with.
fn client(identity: &Identity, gateway: u32, enrolment: u32) -> Arc<ClientConfig> {
    let until_s = u64::from(u32::MAX);
    let subject = Subject { gateway: GatewayId(gateway), enrolment, issue: 1, until_s };
    let keyed = identity.issue(&subject).unwrap();
    let certificate = CertificateDer::from_pem_slice(keyed.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(keyed.key_pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(identity.authority_pem().as_bytes()).unwrap();
    roots.add(authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

/// A broker that says back what it hears.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

/// Connect, say something, hear it again; how the handshake went.
async fn talk(front: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<HandshakeKind> {
    let name = ServerName::try_from(HUB_NAME).unwrap();
    let stream = TcpStream::connect(front).await?;
    let mut stream = TlsConnector::from(config.clone()).connect(name, stream).await?;
    stream.write_all(b"hello").await?;
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await?;
    assert_eq!(&heard, b"hello");
    Ok(stream.get_ref().1.handshake_kind().expect("the handshake is over"))
}

#[tokio::test]
async fn sessions_are_resumed_and_stalled_peers_keep_nobody_waiting() {
    let identity = identity();
    let tls = tls::server(&identity).unwrap();
    let front = Front::start(any_port(), tls, echo().await, door()).await.unwrap();
    // Some say nothing, some begin a handshake and stop, some send rubbish.
    let mut stalled = Vec::new();
    for at in 0..60 {
        let mut stream = TcpStream::connect(front.address()).await.unwrap();
        match at % 3 {
            0 => {}
            1 => stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).await.unwrap(),
            _ => stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap(),
        }
        stalled.push(stream);
    }
    let config = client(&identity, 1, 1);
    let first = tokio::time::timeout(PATIENCE, talk(front.address(), &config)).await.unwrap();
    assert_eq!(first.unwrap(), HandshakeKind::Full);
    let second = tokio::time::timeout(PATIENCE, talk(front.address(), &config)).await.unwrap();
    assert_eq!(second.unwrap(), HandshakeKind::Resumed);
}

#[tokio::test]
async fn strangers_do_not_get_through() {
    let (identity, other) = (identity(), identity());
    let tls = tls::server(&identity).unwrap();
    let front = Front::start(any_port(), tls, echo().await, door()).await.unwrap();
    let rogue = client(&other, 1, 1);
    assert!(talk(front.address(), &rogue).await.is_err(), "another authority");
    let mut plain = TcpStream::connect(front.address()).await.unwrap();
    plain.write_all(b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02g1").await.unwrap();
    let mut heard = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, plain.read_to_end(&mut heard)).await.unwrap();
    assert!(ended.is_err() || heard.first() != Some(&0x20), "no MQTT without TLS: {heard:?}");
}

#[tokio::test]
async fn a_certificate_serves_for_its_own_gateway_and_newest_enrolment_only() {
    let identity = identity();
    let door = door();
    let broker = Embedded::start(any_port(), door.clone()).await.unwrap();
    let tls = tls::server(&identity).unwrap();
    let front = Front::start(any_port(), tls, broker.address(), door).await.unwrap();
    let cases = [
        (1, 1, "wadi-gateway-1", true),
        (1, 1, "wadi-gateway-2", false),
        (1, 1, "wadi-hub", false),
        (2, 1, "wadi-gateway-2", false),
        (2, 2, "wadi-gateway-2", true),
        (3, 1, "wadi-gateway-3", false),
        (4, 1, "wadi-gateway-4", false),
        (1, 2, "wadi-gateway-1", false),
    ];
    for (gateway, enrolment, id, welcome) in cases {
        let number = id.trim_start_matches("wadi-gateway-");
        let target = Target {
            // The name that the plain verifier of this test asks for.
            host: HUB_NAME.into(),
            port: front.address().port(),
            client: id.into(),
            keep_alive: Duration::from_secs(30),
            listen: format!("wadi/{number}/down"),
            deadline: Duration::from_secs(10),
            tls: Some(client(&identity, gateway, enrolment)),
            password: None,
        };
        let opened = open_at(front.address(), target).await;
        assert_eq!(opened, welcome, "gateway {gateway}, enrolment {enrolment} as {id}");
    }
}

/// Whether a link opens at this address, whatever the name in the target.
async fn open_at(front: SocketAddr, mut target: Target) -> bool {
    // The link looks names up; ours is only in certificates.
    target.host = front.ip().to_string();
    let config = target.tls.take().expect("given");
    let mut config = (*config).clone();
    config.dangerous().set_certificate_verifier(Arc::new(Trusting));
    target.tls = Some(Arc::new(config));
    Link::open(&target).await.is_ok()
}

/// The client of this test does not care who the hub is.
#[derive(Debug)]
struct Trusting;

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
