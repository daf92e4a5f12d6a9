//! Links under trouble: babbling, hasty and slow peers, floods, ports that
//! vanish and come back. Sessions on real streams, judged by what they count.
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_serial::{SerialPort, SerialStream};
use wadi_gateway::door::CONNECTS_BURST;
use wadi_gateway::links::{Link, LinkStatus, Links};
use wadi_gateway::noise::caller::{Caller, Step};
use wadi_gateway::noise::key::KeyPair;
use wadi_gateway::pace::{GARBAGE_BURST_BYTES, GARBAGE_BYTES_S, QUESTIONS_BURST};
use wadi_gateway::reception::Reception;
use wadi_gateway::session::{Closed, Patience, Report, serve};
use wadi_gateway::store::handhelds::Admit;
use wadi_gateway::store::thread::{Failure, start};
use wadi_gateway::store::{Opening, Store};
use wadi_gateway::{lan, serial};
use wadi_protocol::id::{DeviceId, GatewayId};
use wadi_protocol::link::collector::Timing;
use wadi_protocol::link::frame::{self, Accumulator};
use wadi_protocol::link::message::{self, Answer, AnswerBody, Ask, AskBody, FeedCursor};

/// For what comes soon, on a machine that may be busy.
const SOON: Duration = Duration::from_secs(30);
const PATIENCE: Patience =
    Patience { frame: None, write: Duration::from_secs(10), outlives_write: true };

struct Village {
    folder: TempDir,
    reception: Reception,
    _failure: Failure,
}

impl Village {
    fn new() -> Village {
        let folder = tempfile::tempdir().unwrap();
        let opening = Opening {
            path: folder.path().join("gateway.db"),
            site: "village".into(),
            gateway: GatewayId(1),
            now_s: 1_800_000_000,
            random: [1, 2],
        };
        let store = Store::open(&opening).unwrap();
        let (handle, failure) = start(store, Box::new(|| 1_800_000_000), None);
        let keys = Arc::new(KeyPair::draw().unwrap());
        let reception = Reception { handle, keys, admit: Admit::Anyone };
        Village { folder, reception, _failure: failure }
    }

    /// A session on a stream of our own, with so much room each way.
    fn session(&self, link: &Arc<Link>, room: usize, patience: Patience) -> Served {
        let (ours, theirs) = duplex(room);
        let (reception, sitting) = (self.reception.clone(), link.sit("peer"));
        let ended = async move { serve(theirs, &reception, patience, sitting).await };
        let ended = tokio::spawn(ended);
        Served { stream: ours, ended }
    }
}

struct Served {
    stream: DuplexStream,
    ended: JoinHandle<Report>,
}

/// A handheld's end of the seal.
struct Client {
    caller: Caller,
    accumulator: Accumulator,
}

impl Client {
    /// The handshake and a hello, once; it never ends on a line that loses a frame.
    async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Client {
        let keys = KeyPair::draw().unwrap();
        let caller = Caller::new(&keys, getrandom::u32().unwrap(), Timing::lan());
        let mut client = Client { caller, accumulator: Accumulator::new() };
        loop {
            match client.caller.step(0) {
                Step::Send(bytes) => stream.write_all(&bytes).await.unwrap(),
                Step::Wait { .. } => drop(client.hear(stream).await),
                Step::Open(_) => break,
                Step::Failed(failure) => panic!("{failure}"),
            }
        }
        let (label, feed) = (String::from("tab"), FeedCursor::default());
        let device = DeviceId::of_key(&keys.public().0, &label);
        let hello = client.question(0, AskBody::Hello { device, label, schema: 0, feed });
        stream.write_all(&hello).await.unwrap();
        let heard = client.answers(stream, 1).await;
        assert!(matches!(heard[0].body, AnswerBody::Welcome { .. }), "{heard:?}");
        client
    }

    fn question(&mut self, number: u32, body: AskBody) -> Vec<u8> {
        self.caller.seal(&message::encode(&Ask { number, body }), false).unwrap()
    }

    async fn hear(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Vec<Answer> {
        let mut buffer = vec![0; 4096];
        let length = stream.read(&mut buffer).await.unwrap();
        assert!(length > 0, "hung up");
        let (mut input, mut heard) = (&buffer[..length], Vec::new());
        while let Some(body) = self.accumulator.next_body(&mut input) {
            let opened = self.caller.hear(&body, 0);
            heard.extend(opened.map(|bytes| message::decode::<Answer>(&bytes).unwrap()));
        }
        heard
    }

    /// So many answers.
    async fn answers(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        count: usize,
    ) -> Vec<Answer> {
        let mut heard = Vec::new();
        while heard.len() < count {
            heard.extend(self.hear(stream).await);
        }
        heard
    }
}

/// Greet until it is answered: a line that was noisy loses frames.
async fn is_welcome(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let asking =
        async { while timeout(Duration::from_secs(3), Client::greet(stream)).await.is_err() {} };
    timeout(SOON, asking).await.expect("no welcome");
}

async fn until(link: &Link, what: impl Fn(&LinkStatus) -> bool) -> LinkStatus {
    let start = Instant::now();
    loop {
        let status = link.status();
        if what(&status) {
            return status;
        }
        assert!(start.elapsed() < SOON, "{status:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Endless `dirt`, until the session was stopped three times for babbling; what it took is bounded.
async fn babble(dirt: Vec<u8>) -> LinkStatus {
    let village = Village::new();
    let link = Links::new().serial(Path::new("/dev/babbler"));
    let served = village.session(&link, 4096, PATIENCE);
    let (mut heard, mut said) = tokio::io::split(served.stream);
    // Whatever it answers is taken.
    tokio::spawn(async move { tokio::io::copy(&mut heard, &mut tokio::io::sink()).await });
    let (start, mut bytes) = (Instant::now(), 0);
    while link.status().babbling_stops < 3 {
        assert!(start.elapsed() < SOON, "{:?}", link.status());
        if timeout(Duration::from_millis(20), said.write_all(&dirt)).await.is_ok() {
            bytes += dirt.len() as u64;
        }
    }
    let earned = start.elapsed().as_secs() * GARBAGE_BYTES_S;
    let bound = GARBAGE_BURST_BYTES + earned + 10 * 4096 + 10 * dirt.len() as u64;
    assert!(bytes < bound, "{bytes} bytes were taken, {bound} at most");
    drop(said);
    link.status()
}

#[tokio::test]
async fn endless_bytes_are_counted_live_and_not_read_for_a_while() {
    let status = babble(vec![0x55; 1000]).await;
    assert!(status.garbled_bytes > GARBAGE_BURST_BYTES / 2, "{status:?}");
    assert_eq!((status.garbled_frames, status.sessions), (1, 1), "it never ended");
}

#[tokio::test]
async fn endless_torn_frames_are_counted_and_not_read_for_a_while() {
    let dirt: Vec<u8> = (0..1000).map(|at| if at % 50 == 49 { 0 } else { 0x41 }).collect();
    let status = babble(dirt).await;
    assert!(status.garbled_frames > 4_000, "{status:?}");
}

#[tokio::test]
async fn endless_terminators_are_babbling_too() {
    let status = babble(vec![0; 1000]).await;
    assert_eq!(status.garbled_frames, 0, "nothing between them");
}

#[tokio::test]
async fn endless_whole_frames_that_are_no_questions_are_babbling_too() {
    let status = babble(frame::encode(&[0xee; 700]).unwrap()).await;
    // A write that is given up tears a frame now and then.
    assert!(status.garbled_frames < 20 && status.answered == 0, "{status:?}");
}

#[tokio::test]
async fn a_line_at_the_wrong_speed_is_served_once_it_is_right() {
    let village = Village::new();
    let link = Links::new().serial(Path::new("/dev/x"));
    let mut served = village.session(&link, 4096, PATIENCE);
    // What 9600 baud look like at 115200, roughly: bits smeared over bytes.
    let frame = frame::encode(b"a question of some length").unwrap();
    let smeared: Vec<u8> = frame.iter().flat_map(|byte| [byte & 0xe0, byte | 0x1f, 0xf8]).collect();
    for _ in 0..200 {
        served.stream.write_all(&smeared).await.unwrap();
    }
    is_welcome(&mut served.stream).await;
    let status = until(&link, |status| status.answered > 0).await;
    assert!(status.garbled_frames >= 200, "{status:?}");
}

#[tokio::test]
async fn hasty_questions_are_answered_later_and_none_is_dropped() {
    let village = Village::new();
    let link = Links::new().lan("lan");
    let mut served = village.session(&link, 4096, PATIENCE);
    let mut client = Client::greet(&mut served.stream).await;
    let (mut heard, mut said) = tokio::io::split(served.stream);
    let count = QUESTIONS_BURST as u32 * 2;
    let ask = |number| client.question(number, AskBody::Schema { offset: 0 });
    let questions: Vec<Vec<u8>> = (1..count).map(ask).collect();
    tokio::spawn(async move {
        for question in questions {
            said.write_all(&question).await.unwrap();
        }
        // The other half must not be dropped before all is heard.
        sleep(SOON).await;
    });
    let hearing = client.answers(&mut heard, count as usize - 1);
    let all = timeout(SOON, hearing).await.expect("all of them");
    let numbers: Vec<u32> = all.iter().map(|answer| answer.number).collect();
    assert_eq!(numbers, (1..count).collect::<Vec<_>>());
    let status = until(&link, |status| status.answered == u64::from(count)).await;
    assert!(status.slowed > 0, "{status:?}");
    assert_eq!((status.babbling_stops, status.garbled_bytes), (0, 0));
}

#[tokio::test]
async fn a_slow_reader_loses_its_place() {
    let village = Village::new();
    let link = Links::new().lan("lan");
    let patience =
        Patience { frame: None, write: Duration::from_millis(300), outlives_write: false };
    let mut served = village.session(&link, 64, patience);
    let mut client = Client::greet(&mut served.stream).await;
    let asking = async {
        for number in 1..100 {
            let question = client.question(number, AskBody::Schema { offset: 0 });
            served.stream.write_all(&question).await?;
        }
        std::io::Result::Ok(())
    };
    // It asks and asks, and reads nothing.
    assert!(timeout(SOON, asking).await.expect("it is hung up on").is_err());
    let report = served.ended.await.unwrap();
    assert!(matches!(report.closed, Closed::TooSlow), "{report:?}");
    assert_eq!((link.status().too_slow, link.status().sessions), (1, 0));
}

#[tokio::test]
async fn a_peer_that_never_asks_loses_its_place_whatever_it_sends() {
    let village = Village::new();
    let link = Links::new().lan("lan");
    let patience = Patience { frame: Some(Duration::from_millis(300)), ..PATIENCE };
    let mut served = village.session(&link, 4096, patience);
    let trickle = async {
        loop {
            served.stream.write_all(&frame::encode(&[0xee; 9]).unwrap()).await?;
            sleep(Duration::from_millis(20)).await;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        std::io::Result::Ok(())
    };
    assert!(timeout(SOON, trickle).await.expect("it is hung up on").is_err());
    assert!(matches!(served.ended.await.unwrap().closed, Closed::TooSlow));
}

async fn connect(from: &str, to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn a_flood_of_connections_is_turned_away_and_a_neighbour_is_served() {
    let village = Village::new();
    let listener = lan::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let link = Links::new().lan("lan");
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(lan::serve_lan(listener, village.reception.clone(), link.clone(), stopping));
    let mut flood = Vec::new();
    for _ in 0..3 * CONNECTS_BURST {
        flood.push(connect("127.0.0.5", address).await);
    }
    is_welcome(&mut connect("127.0.0.6", address).await).await;
    let status = link.status();
    assert!(status.turned_away >= CONNECTS_BURST, "{status:?}");
    assert!(status.sessions < 32, "{status:?}");
    assert!(status.open && status.opened == 1, "{status:?}");
    drop(flood);
    until(&link, |status| status.sessions == 0).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_listened_on_once_it_is_free() {
    let village = Village::new();
    let taken = lan::listen("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let links = Links::new();
    let (stop, stopping) = watch::channel(false);
    let (ready, mut listening) = watch::channel(None);
    let reception = village.reception.clone();
    let run = lan::run(address.to_string(), reception, links.clone(), ready, stopping);
    let run = tokio::spawn(run);
    let link = links.lan(&address.to_string());
    let status = until(&link, |status| status.why.as_deref() != Some("not opened yet")).await;
    assert!(!status.open && status.why.unwrap().contains(&address.to_string()));
    drop(taken);
    timeout(SOON, listening.wait_for(Option::is_some)).await.expect("listening").unwrap();
    is_welcome(&mut connect("127.0.0.7", address).await).await;
    stop.send_replace(true);
    timeout(SOON, run).await.expect("it ends").unwrap();
}

/// A device on a pty, plugged in under a stable name.
struct Device {
    stream: SerialStream,
    /// Held open as a UART is, though nobody may have opened it yet.
    _slave: File,
}

impl Device {
    fn plug(name: &Path) -> Device {
        let (stream, mut slave) = SerialStream::pair().unwrap();
        slave.set_exclusive(false).unwrap();
        let _ = std::fs::remove_file(name);
        let path = slave.name().expect("a pty has a name");
        // Plainly, since a serial port is locked by who opens it.
        let slave = File::open(&path).unwrap();
        symlink(path, name).unwrap();
        Device { stream, _slave: slave }
    }

    fn unplug(self, name: &Path) {
        std::fs::remove_file(name).unwrap();
    }
}

struct Ports {
    paths: Vec<PathBuf>,
    links: Vec<Arc<Link>>,
    _stop: watch::Sender<bool>,
}

impl Ports {
    fn serve(village: &Village, count: usize) -> Ports {
        let links = Links::new();
        let (stop, stopping) = watch::channel(false);
        let path = |at| village.folder.path().join(format!("port-{at}"));
        let paths: Vec<PathBuf> = (0..count).map(path).collect();
        for path in &paths {
            let (reception, links) = (village.reception.clone(), links.clone());
            let port =
                serial::serve_serial(path.clone(), 115_200, reception, links, stopping.clone());
            tokio::spawn(port);
        }
        let links = paths.iter().map(|path| links.serial(path)).collect();
        Ports { paths, links, _stop: stop }
    }
}

#[tokio::test]
async fn one_of_several_ports_vanishes_and_comes_back_and_the_others_do_not_notice() {
    let village = Village::new();
    let ports = Ports::serve(&village, 3);
    let mut devices: Vec<_> = ports.paths.iter().map(|path| Device::plug(path)).collect();
    for device in &mut devices {
        is_welcome(&mut device.stream).await;
    }
    for round in 1..=5 {
        devices.remove(1).unplug(&ports.paths[1]);
        let gone = until(&ports.links[1], |status| !status.open).await;
        assert_eq!((gone.lost, gone.sessions), (round, 0));
        is_welcome(&mut devices[0].stream).await;
        is_welcome(&mut devices[1].stream).await;
        let told = |status: &LinkStatus| {
            status.why.as_deref().is_some_and(|why| why.contains("plugged in"))
        };
        until(&ports.links[1], told).await;
        devices.insert(1, Device::plug(&ports.paths[1]));
        is_welcome(&mut devices[1].stream).await;
        assert_eq!(ports.links[1].status().opened, round + 1);
    }
    assert_eq!((ports.links[0].status().lost, ports.links[2].status().lost), (0, 0));
}

#[tokio::test]
async fn a_port_is_served_again_when_its_name_leads_elsewhere_though_nobody_hung_up() {
    let village = Village::new();
    let ports = Ports::serve(&village, 1);
    let mut old = Device::plug(&ports.paths[0]);
    is_welcome(&mut old.stream).await;
    let mut new = Device::plug(&ports.paths[0]);
    is_welcome(&mut new.stream).await;
    assert_eq!(ports.links[0].status().opened, 2);
    drop(old);
}

#[tokio::test]
async fn what_is_no_port_is_told_and_not_tried_in_a_loop() {
    let village = Village::new();
    let ports = Ports::serve(&village, 1);
    std::fs::write(&ports.paths[0], "no device").unwrap();
    let told =
        |status: &LinkStatus| status.why.as_deref().is_some_and(|why| !why.starts_with("not "));
    until(&ports.links[0], told).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ports.links[0].status().opened, 0);
    std::fs::remove_file(&ports.paths[0]).unwrap();
    let mut device = Device::plug(&ports.paths[0]);
    is_welcome(&mut device.stream).await;
}
