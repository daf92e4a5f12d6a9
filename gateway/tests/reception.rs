//! Malicious handhelds at a real gateway's reception, over real sockets: each can hurt
//! only its own data. The hub is not needed: what counts is what the store took.
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use wadi_gateway::lan;
use wadi_gateway::links::Links;
use wadi_gateway::noise::caller::{Caller, Step};
use wadi_gateway::noise::key::KeyPair;
use wadi_gateway::reception::Reception;
use wadi_gateway::store::handhelds::{Admit, State, WAITING_MAX};
use wadi_gateway::store::roster::{self, Whom};
use wadi_gateway::store::thread::start;
use wadi_gateway::store::{Opening, Store};
use wadi_protocol::change::{Change, Op, Seen, TableRef};
use wadi_protocol::id::{DeviceId, Dot, GatewayId, RowId, RunId, RunInfo};
use wadi_protocol::link::collector::Timing;
use wadi_protocol::link::envelope::{self, Content, Envelope};
use wadi_protocol::link::frame::{self, Accumulator};
use wadi_protocol::link::message::{self, Answer, AnswerBody, Ask, AskBody, FeedCursor};
use wadi_protocol::stamp::Stamp;
use wadi_protocol::wire::batch::{self, Batch};

const NOW_S: u64 = 1_800_000_000;
const RUN: RunId = RunId(7);
/// Whatever is asked must be answered after this: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// A gateway that listens on loopback, and only lets in whom somebody allowed.
struct Village {
    folder: TempDir,
    address: String,
    _stop: watch::Sender<bool>,
}

impl Village {
    async fn new() -> Village {
        let folder = tempfile::tempdir().unwrap();
        let opening = Opening {
            path: folder.path().join("gateway.db"),
            site: "north".into(),
            gateway: GatewayId(1),
            now_s: NOW_S,
            random: [0x6a7e, 1 << 20],
        };
        let (handle, failure) = start(Store::open(&opening).unwrap(), Box::new(|| NOW_S), None);
        std::mem::forget(failure);
        let keys = Arc::new(KeyPair::draw().unwrap());
        let listener = lan::listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopping) = watch::channel(false);
        let reception = Reception { handle, keys, admit: Admit::Allowed };
        let link = Links::new().lan(&address);
        tokio::spawn(lan::serve_lan(listener, reception, link, stopping));
        Village { folder, address, _stop: stop }
    }

    fn set(&self, who: &Handheld, state: State) {
        let key = who.keys.public().0;
        let is_it = |held: &[u8; 32]| *held == key;
        let whom = Whom { name: who.name, key: Some(&is_it), whole: Some(key) };
        let outcome = roster::set(&self.folder.path().join("gateway.db"), &whom, state, NOW_S);
        assert!(matches!(outcome.unwrap(), roster::Outcome::Done(_)));
    }

    fn count(&self, sql: &str) -> i64 {
        let db = Connection::open(self.folder.path().join("gateway.db")).unwrap();
        db.query_row(sql, (), |row| row.get(0)).unwrap()
    }

    fn taken(&self) -> i64 {
        self.count("SELECT count(*) FROM wadi_change")
    }
}

/// A handheld that may lie about everything but its key.
struct Handheld {
    name: &'static str,
    keys: KeyPair,
}

impl Handheld {
    fn new(name: &'static str) -> Handheld {
        Handheld { name, keys: KeyPair::draw().unwrap() }
    }

    fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.keys.public().0, self.name)
    }

    fn hello(&self) -> AskBody {
        self.hello_as(self.device(), self.name)
    }

    fn hello_as(&self, device: DeviceId, label: &str) -> AskBody {
        AskBody::Hello { device, label: label.into(), schema: 0, feed: FeedCursor::default() }
    }

    fn run(&self) -> RunInfo {
        RunInfo { device: self.device(), run: RUN, parent: None, label: self.name.into() }
    }

    fn change(&self, seq: u64) -> Change {
        Change {
            dot: Dot { device: self.device(), run: RUN, seq },
            stamp: Stamp { seconds: NOW_S, counter: 0 },
            entered_s: NOW_S,
            contained: None,
            schema: 0,
            rights: 0,
            group: None,
            table: TableRef::Name("note".into()),
            row: RowId([1; 16]),
            op: Op::Insert,
            fields: vec![],
            seen: Seen::default(),
            closure: vec![],
        }
    }

    async fn call(&self, village: &Village) -> Line {
        // Each handheld has an address of its own, so that none is turned away for many.
        let [a, b, c, ..] = self.keys.public().0;
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, a, b, c % 254 + 1), 0).into()).unwrap();
        let stream = socket.connect(village.address.parse().unwrap()).await.unwrap();
        let session = getrandom::u32().unwrap();
        let caller = Caller::new(&self.keys, session, Timing::lan());
        let mut line = Line {
            stream,
            caller,
            session,
            accumulator: Accumulator::new(),
            number: 0,
            tape: Vec::new(),
        };
        line.open().await;
        line
    }

    /// Said hello and was let in.
    async fn enter(&self, village: &Village) -> Line {
        let mut line = self.call(village).await;
        let welcome = line.ask(self.hello()).await;
        assert!(matches!(welcome, AnswerBody::Welcome { .. }), "{welcome:?}");
        line
    }
}

fn offer(runs: Vec<RunInfo>, changes: Vec<Change>) -> AskBody {
    AskBody::Offer { batch: batch::encode(&Batch { runs, changes }) }
}

fn reason(answer: AnswerBody) -> String {
    match answer {
        AnswerBody::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// A connection, and everything that was sent over it.
struct Line {
    stream: TcpStream,
    caller: Caller,
    session: u32,
    accumulator: Accumulator,
    number: u32,
    tape: Vec<u8>,
}

impl Line {
    async fn open(&mut self) {
        loop {
            match self.caller.step(0) {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Wait { .. } => drop(self.receive().await),
                Step::Open(_) => return,
                Step::Failed(failure) => panic!("{failure}"),
            }
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.tape.extend_from_slice(bytes);
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 4096];
        let read = timeout(DEADLINE, self.stream.read(&mut buffer)).await;
        let length = read.expect("an answer in time").unwrap();
        assert!(length > 0, "the gateway hung up");
        let mut input = &buffer[..length];
        let mut messages = Vec::new();
        while let Some(body) = self.accumulator.next_body(&mut input) {
            messages.extend(self.caller.hear(&body, 0));
        }
        messages
    }

    async fn ask(&mut self, body: AskBody) -> AnswerBody {
        self.number += 1;
        let ask = Ask { number: self.number, body };
        let bytes = self.caller.seal(&message::encode(&ask), false).unwrap();
        self.send(&bytes).await;
        loop {
            for message in self.receive().await {
                let answer: Answer = message::decode(&message).unwrap();
                if answer.number == self.number {
                    return answer.body;
                }
            }
        }
    }

    async fn pull(&mut self) -> AnswerBody {
        self.ask(AskBody::Pull { feed: FeedCursor::default() }).await
    }
}

#[tokio::test]
async fn nobody_speaks_for_anothers_device() {
    let village = Village::new().await;
    let (anna, mallory) = (Handheld::new("anna"), Handheld::new("mallory"));
    for handheld in [&anna, &mallory] {
        village.set(handheld, State::Allowed);
    }
    let mut honest = anna.enter(&village).await;
    let offered = offer(vec![anna.run()], vec![anna.change(1)]);
    assert_eq!(honest.ask(offered.clone()).await, AnswerBody::Taken);

    let mut line = mallory.enter(&village).await;
    let renamed = RunInfo { label: "mallory".into(), ..anna.run() };
    let forged_parent = RunInfo { parent: Some((RunId(9), 9)), ..anna.run() };
    let attempts = [
        offer(vec![anna.run()], vec![anna.change(2)]),
        offer(vec![renamed], vec![anna.change(2)]),
        // Own changes along with another's: nothing of it is taken.
        offer(vec![mallory.run(), anna.run()], vec![mallory.change(1), anna.change(2)]),
        // No change of anna's, only another story of where her run came from.
        offer(vec![mallory.run(), forged_parent], vec![mallory.change(1)]),
        offered,
    ];
    for attempt in attempts {
        let said = reason(line.ask(attempt).await);
        assert!(said.contains(&anna.device().to_string()), "{said}");
        assert!(said.contains("\"anna\"") || said.contains("\"mallory\""), "{said}");
    }
    let unnamed = reason(line.ask(offer(vec![mallory.run()], vec![anna.change(2)])).await);
    assert!(unnamed.contains("own changes only"), "{unnamed}");
    assert_eq!(village.taken(), 1);
    assert_eq!(village.count("SELECT count(*) FROM wadi_run WHERE parent_run IS NOT NULL"), 0);

    // It can do what it likes with its own, and anna goes on.
    let own = offer(vec![mallory.run()], vec![mallory.change(1)]);
    assert_eq!(line.ask(own).await, AnswerBody::Taken);
    let next = offer(vec![anna.run()], vec![anna.change(2)]);
    assert_eq!(honest.ask(next).await, AnswerBody::Taken);
    assert_eq!(village.taken(), 3);
}

#[tokio::test]
async fn nobody_comes_in_under_anothers_name() {
    let village = Village::new().await;
    let (anna, mallory) = (Handheld::new("anna"), Handheld::new("mallory"));
    village.set(&anna, State::Allowed);
    let mut line = mallory.call(&village).await;
    let said = reason(line.ask(mallory.hello_as(anna.device(), "anna")).await);
    assert!(said.contains("is not that of \"anna\""), "{said}");
    let own = DeviceId::of_key(&mallory.keys.public().0, "anna");
    let said = reason(line.ask(mallory.hello_as(own, "anna")).await);
    // The advice tells the two apart: the name alone would not do.
    let key = mallory.keys.public().typed();
    assert!(said.ends_with(&format!("handheld allow --key {key} anna")), "{said}");
    assert_eq!(line.pull().await, AnswerBody::NoHello, "a refused hello opens nothing");
    village.set(&Handheld { name: "anna", keys: mallory.keys.clone() }, State::Allowed);
    for (device, name, part) in [
        (mallory.device(), "mallory", "as \"anna\", not as \"mallory\": use that name, or another"),
        (own, "an\x1bna", "needs a name of letters that can be shown: begin a new file"),
        (own, "", "needs a name of letters that can be shown: begin a new file"),
    ] {
        let said = reason(line.ask(mallory.hello_as(device, name)).await);
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(village.taken(), 0);
}

#[tokio::test]
async fn a_recorded_session_played_again_takes_nothing() {
    let village = Village::new().await;
    let anna = Handheld::new("anna");
    village.set(&anna, State::Allowed);
    let mut honest = anna.enter(&village).await;
    honest.ask(offer(vec![anna.run()], vec![anna.change(1)])).await;
    let (seen, tape) = (village.taken(), honest.tape.clone());
    let delete = "DELETE FROM wadi_change";
    Connection::open(village.folder.path().join("gateway.db"))
        .unwrap()
        .execute(delete, ())
        .unwrap();
    // Into a line of its own, whole and in pieces, and into the line of the session itself.
    for cut in [0, 40, 120, tape.len() / 2] {
        let mut stream = TcpStream::connect(&village.address).await.unwrap();
        stream.write_all(&tape[cut..]).await.unwrap();
        stream.write_all(&[0]).await.unwrap();
        let mut buffer = [0; 4096];
        // It is answered by a handshake's part or told to start over, never more.
        let read = timeout(Duration::from_millis(500), stream.read(&mut buffer)).await;
        let mut heard = &buffer[..read.map_or(0, |read| read.unwrap())];
        let mut accumulator = Accumulator::new();
        while let Some(body) = accumulator.next_body(&mut heard) {
            let said = envelope::decode(&body).unwrap().content;
            assert!(matches!(said, Content::Second(_) | Content::StartOver), "{said:?}");
        }
    }
    honest.stream.write_all(&tape).await.unwrap();
    assert!(matches!(honest.pull().await, AnswerBody::Page(_)), "the session goes on");
    assert_eq!((seen, village.taken()), (1, 0));
}

#[tokio::test]
async fn garbage_after_the_handshake_is_noise() {
    let village = Village::new().await;
    let anna = Handheld::new("anna");
    village.set(&anna, State::Allowed);
    let mut line = anna.enter(&village).await;
    let mut dice = 0x5eed_u64;
    for length in 0..300usize {
        let mut bytes: Vec<u8> = (0..length)
            .map(|_| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (dice >> 33) as u8
            })
            .collect();
        line.stream.write_all(&bytes).await.unwrap();
        // And in good frames: as a seal that nobody closed, and as a question without any.
        let content = Content::Sealed { counter: u32::MAX, bytes: &bytes };
        let sealed = envelope::encode(&Envelope { session: line.session, content });
        bytes.insert(0, envelope::LINK_VERSION);
        for body in [&sealed, &bytes] {
            let mut framed = vec![0];
            framed.extend(frame::encode(body).unwrap());
            line.stream.write_all(&framed).await.unwrap();
        }
    }
    // What anna's own key sealed counts, and may be nonsense too.
    for nonsense in [&b""[..], b"\xff\xff\xff", &[7; 900]] {
        let bytes = line.caller.seal(nonsense, true).unwrap();
        line.send(&bytes).await;
    }
    let batch = vec![0xee; 60_000];
    assert!(reason(line.ask(AskBody::Offer { batch }).await).contains("does not decode"));
    assert!(matches!(line.pull().await, AnswerBody::Page(_)));
}

#[tokio::test]
async fn a_flood_of_hellos_costs_a_bounded_table_and_keeps_nobody_out() {
    let village = Village::new().await;
    let anna = Handheld::new("anna");
    village.set(&anna, State::Allowed);
    let mut told = String::new();
    for _ in 0..WAITING_MAX + 20 {
        let stranger = Handheld::new("stranger");
        let mut line = stranger.call(&village).await;
        told = reason(line.ask(stranger.hello()).await);
    }
    assert!(told.contains("64 others wait already"), "{told}");
    let stranger = Handheld::new("stranger");
    let mut line = stranger.call(&village).await;
    for _ in 0..200 {
        reason(line.ask(stranger.hello()).await);
        assert_eq!(line.pull().await, AnswerBody::NoHello);
    }
    let waiting = "SELECT count(*) FROM wadi_handheld WHERE state = 'waiting'";
    assert_eq!(village.count(waiting) as u64, WAITING_MAX);
    let mut honest = anna.enter(&village).await;
    let offered = offer(vec![anna.run()], vec![anna.change(1)]);
    assert_eq!(honest.ask(offered).await, AnswerBody::Taken);
    // The stranger is let in by its whole key, remembered or not.
    village.set(&stranger, State::Allowed);
    assert!(matches!(line.ask(stranger.hello()).await, AnswerBody::Welcome { .. }));
}

#[tokio::test]
async fn a_revocation_ends_the_session_that_runs() {
    let village = Village::new().await;
    let anna = Handheld::new("anna");
    village.set(&anna, State::Allowed);
    let mut line = anna.enter(&village).await;
    assert!(matches!(line.pull().await, AnswerBody::Page(_)));
    village.set(&anna, State::Revoked);
    let deadline = Instant::now() + DEADLINE;
    while line.pull().await != AnswerBody::NoHello {
        assert!(Instant::now() < deadline, "it is still served");
        sleep(Duration::from_millis(50)).await;
    }
    assert!(reason(line.ask(anna.hello()).await).contains("was revoked on this gateway"));
    let offered = offer(vec![anna.run()], vec![anna.change(1)]);
    assert_eq!(line.ask(offered).await, AnswerBody::NoHello);
    assert_eq!(village.taken(), 0);
}
