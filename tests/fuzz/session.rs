//! A gateway's session with a hostile handheld, over a real stream, the real seal, the
//! real reception and the real store.
//!
//! The handheld knows its key and so opens sessions as it likes; what it says then, in
//! the clear, altered or sealed, may be anything. Each question that can be read is
//! answered; what is answered by Taken is in the changelog, and nothing is there that
//! another's device made.
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use wadi_gateway::links::Links;
use wadi_gateway::noise::caller::{Caller, Step};
use wadi_gateway::noise::key::KeyPair;
use wadi_gateway::reception::Reception;
use wadi_gateway::session::{self, Patience};
use wadi_gateway::store::handhelds::Admit;
use wadi_gateway::store::thread::{Failure, start};
use wadi_protocol::change::Change;
use wadi_protocol::id::{DeviceId, Dot, RunId};
use wadi_protocol::link::collector::Timing;
use wadi_protocol::link::envelope;
use wadi_protocol::link::frame::{self, Accumulator};
use wadi_protocol::link::message::{self, Answer, AnswerBody, Ask, AskBody, FeedCursor};
use wadi_protocol::wire::batch;

use crate::decoders::{BATCHES, LINK};
use crate::hostile::Cast;
use crate::model::NOW_S;
use crate::sample;
use crate::script::Script;
use crate::{folder, fuzz, village};

/// What one input may do, at most. Few enough that the gateway need not slow it.
const STEPS_MAX: usize = 24;
/// Whatever is asked is answered after this: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);
/// Bytes on their way, either way: nobody has to wait for room.
const PIPE_BYTES: usize = 16 * 1024 * 1024;
/// Questions count from here: spoiled samples seldom have such numbers.
const FIRST_NUMBER: u32 = 0x5a5a_5a5a;
const NAME: &str = "mallory";

static GATEWAY: LazyLock<Arc<KeyPair>> = LazyLock::new(|| Arc::new(KeyPair::of([7; 32])));
static MALLORY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::of([9; 32]));
static ENVELOPES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    sample::link::envelopes().into_iter().map(|(_, one)| envelope::encode(&one)).collect()
});

#[test]
fn a_session_answers_any_handheld() {
    fuzz!(|input: &[u8]| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(play(input));
    });
}

async fn play(input: &[u8]) {
    let folder = folder::new();
    let store = village::begin(folder.path());
    let cast = cast(&village::cast(store.device()));
    let (handle, failure) = start(store, Box::new(|| NOW_S), None);
    let keys = Arc::clone(&GATEWAY);
    let reception = Reception { handle, keys, admit: Admit::Anyone };
    let (ours, theirs) = duplex(PIPE_BYTES);
    let sitting = Links::new().lan("127.0.0.1:0").sit("mallory");
    let patience = Patience { frame: None, write: DEADLINE, outlives_write: false };
    let mut handheld = Handheld::new(ours, cast, failure);
    tokio::select! {
        report = session::serve(theirs, &reception, patience, sitting) => {
            panic!("the session ended by itself: {report:?}");
        }
        () = handheld.play(Script(input)) => {}
    }
    let held = village::changelog(&folder.path().join("gateway.db"));
    for (dot, change) in &handheld.taken {
        let held = held.get(dot).unwrap_or_else(|| panic!("{dot} was taken"));
        assert_eq!(Change { contained: change.contained, ..held.clone() }, *change);
    }
    let own = own();
    assert!(held.keys().all(|dot| dot.device == own), "mallory speaks for another");
    drop(reception);
    // The store's thread ends: with an error only if the store has failed.
    if let Ok(error) = handheld.failure.await {
        panic!("{error}");
    }
}

fn own() -> DeviceId {
    DeviceId::of_key(&MALLORY.public().0, NAME)
}

/// A village's cast, with the handheld's own device in front.
fn cast(village: &Cast) -> Cast {
    let mut cast = village.clone();
    let mine = [(own(), RunId(5), NAME.to_owned()), (own(), RunId(6), NAME.to_owned())];
    // Mostly its own: an offer that names one other is refused whole.
    cast.runs = mine.iter().cycle().take(30).cloned().chain(cast.runs).collect();
    cast
}

struct Handheld {
    stream: DuplexStream,
    cast: Cast,
    failure: Failure,
    caller: Caller,
    calls: u32,
    accumulator: Accumulator,
    number: u32,
    taken: BTreeMap<Dot, Change>,
}

impl Handheld {
    fn new(stream: DuplexStream, cast: Cast, failure: Failure) -> Handheld {
        Handheld {
            stream,
            cast,
            failure,
            caller: Caller::new(&MALLORY, 1, Timing::lan()),
            calls: 1,
            accumulator: Accumulator::new(),
            number: FIRST_NUMBER,
            taken: BTreeMap::new(),
        }
    }

    async fn play(&mut self, mut script: Script<'_>) {
        self.open().await;
        self.hello().await;
        for _ in 0..STEPS_MAX {
            if script.is_over() {
                break;
            }
            self.step(&mut script).await;
        }
        // After all that, an honest question has an honest answer.
        self.call().await;
        let answer = self.ask(AskBody::Pull { feed: FeedCursor::default() }).await;
        assert!(matches!(answer, AnswerBody::Page(_)), "{answer:?}");
    }

    async fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => {
                let bytes = vec![script.byte(); script.below(2_000)];
                self.send(&bytes).await;
            }
            1 => self.plain(&script.spoiled(&ENVELOPES)).await,
            2 => self.plain(&script.spoiled(&LINK)).await,
            3 => {
                self.altered(script).await;
                self.hello().await;
            }
            4 => {
                let message = script.spoiled(&LINK);
                self.say(&message).await;
                self.hello().await;
            }
            5 => self.call().await,
            6..=8 => {
                let message = script.spoiled(&LINK);
                if let Ok(ask) = message::decode::<Ask>(&message) {
                    self.ask(ask.body).await;
                    self.hello().await;
                }
            }
            9 => drop(self.ask(AskBody::Offer { batch: script.spoiled(&BATCHES) }).await),
            _ => self.offer(script).await,
        }
    }

    async fn offer(&mut self, script: &mut Script<'_>) {
        let mut bytes = batch::encode(&self.cast.batch(script));
        if script.one_in(4) {
            bytes = script.altered(bytes);
        }
        let answer = self.ask(AskBody::Offer { batch: bytes.clone() }).await;
        match answer {
            AnswerBody::Taken => {
                let batch = batch::decode(&bytes).expect("what is taken can be read");
                for change in batch.changes {
                    self.taken.entry(change.dot).or_insert(change);
                }
            }
            AnswerBody::Refused { reason } => assert!(!reason.is_empty()),
            other => panic!("an offer is taken or refused, not {other:?}"),
        }
    }

    /// A new session, in which hello was said.
    async fn call(&mut self) {
        self.calls += 1;
        self.caller = Caller::new(&MALLORY, self.calls, Timing::lan());
        self.open().await;
        self.hello().await;
    }

    async fn open(&mut self) {
        loop {
            match self.caller.step(0) {
                Step::Send(bytes) => self.send(&bytes).await,
                Step::Wait { .. } => drop(self.receive().await),
                Step::Open(key) => return assert_eq!(key, GATEWAY.public()),
                Step::Failed(failure) => panic!("{failure}"),
            }
        }
    }

    async fn hello(&mut self) {
        let (label, feed) = (NAME.to_owned(), FeedCursor::default());
        let hello = AskBody::Hello { device: own(), label, schema: 1, feed };
        let answer = self.ask(hello).await;
        assert!(matches!(answer, AnswerBody::Welcome { .. }), "{answer:?}");
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the session listens");
    }

    /// A frame that nobody sealed.
    async fn plain(&mut self, body: &[u8]) {
        if let Ok(frame) = frame::encode(body) {
            self.send(&frame).await;
        }
    }

    /// Sealed, and then altered on its way.
    async fn altered(&mut self, script: &mut Script<'_>) {
        if let Some(line) = self.caller.seal(&LINK[0], true) {
            let mut line = script.altered(line);
            line.push(frame::TERMINATOR);
            self.send(&line).await;
        }
    }

    async fn say(&mut self, message: &[u8]) {
        if message.len() <= envelope::MESSAGE_BYTES_MAX {
            let line = self.caller.seal(message, true).expect("the session is open");
            self.send(&line).await;
        }
    }

    /// A question, and its answer.
    async fn ask(&mut self, body: AskBody) -> AnswerBody {
        self.number += 1;
        let number = self.number;
        let message = message::encode(&Ask { number, body });
        assert!(message.len() <= envelope::MESSAGE_BYTES_MAX, "scripts are short");
        self.say(&message).await;
        loop {
            for message in self.receive().await {
                let answer: Answer = message::decode(&message).expect("answers can be read");
                if answer.number == number {
                    return answer.body;
                }
            }
        }
    }

    async fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 4096];
        let read = timeout(DEADLINE, self.stream.read(&mut buffer)).await;
        let Ok(read) = read else {
            panic!("no answer; the store: {:?}", self.failure.try_recv());
        };
        let length = read.expect("a stream");
        assert!(length > 0, "the gateway hung up");
        let mut input = &buffer[..length];
        let mut messages = Vec::new();
        while let Some(body) = self.accumulator.next_body(&mut input) {
            messages.extend(self.caller.hear(&body, 0));
        }
        messages
    }
}
