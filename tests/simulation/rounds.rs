//! Rounds between a village and the hub, message by message.
use wadi_gateway::store::RoundInput;
use wadi_hub::store::{Said, write_down};
use wadi_protocol::wire::message::{self, Down, DownBody, UpBody};

use crate::world::{Outcome, Packet, World, survived};

/// Rounds that the hub may decide about at once.
const DELEGATED_PERMILLE: u64 = 750;

impl World {
    /// The village's timer: begin a round, maybe only for what is urgent, or ask again about
    /// the open one.
    pub fn round(&mut self, at: usize, retry: bool, urgent: bool) -> Outcome<()> {
        if self.villages[at].store.is_none() || self.villages[at].away_until_s > self.now_s {
            return Ok(());
        }
        let delegate = self.dice.permille(DELEGATED_PERMILLE);
        if urgent && !retry {
            self.tally.note("frugal round");
        }
        let begin = RoundInput::Begin { delegate, urgent };
        self.round_input(at, if retry { RoundInput::Retry } else { begin })
    }

    fn round_input(&mut self, at: usize, input: RoundInput) -> Outcome<()> {
        let now_s = self.villages[at].machine.skew.now_s(self.now_s);
        let village = &mut self.villages[at];
        let outcome = village.store.as_mut().expect("on").round(input, now_s);
        let Some(answer) = survived(&village.machine, "round", outcome)? else {
            return self.village_failed(at);
        };
        let stage = answer.stage;
        if let Some(ignored) = answer.ignored {
            self.tally.note(ignored);
        }
        self.tally.note(stage);
        for bytes in answer.messages {
            self.send(at, true, bytes);
        }
        self.learn_village(at, &[])?;
        self.look_at_village(at)
    }

    /// A message comes to its end.
    pub fn arrive(&mut self, packet: Packet) -> Outcome<()> {
        let at = packet.village;
        if self.villages[at].away_until_s > self.now_s {
            self.tally.note("message into a partition");
            return Ok(());
        }
        if !packet.up {
            return self.heard(at, &packet.bytes);
        }
        let now_s = self.hub.machine.skew.now_s(self.now_s);
        let number = self.villages[at].number;
        let Some(store) = self.hub.store.as_mut() else { return Ok(()) };
        let said = survived(&self.hub.machine, "read", store.read_up(number, &packet.bytes))?;
        let (up, in_brief) = match said.transpose().map_err(|error| error.to_string())? {
            None => {
                self.hub.stop();
                return Ok(());
            }
            Some(Said::Whole(up)) => (up, false),
            Some(Said::Brief(up)) => {
                self.tally.note("question in brief");
                (up, true)
            }
            Some(Said::Unclear(down)) => {
                self.tally.note("question in brief unclear");
                self.send(at, false, message::encode(&down));
                return Ok(());
            }
        };
        let name = up_name(&up.body);
        let outcome = store.hear(number, &up, now_s);
        let Some(answers) = survived(&self.hub.machine, "hear", outcome)? else {
            self.hub.stop();
            return Ok(());
        };
        self.tally.note(name);
        if let [Down { body: DownBody::Committed(committed), .. }] = &answers[..] {
            match (&up.body, &committed.page) {
                (UpBody::Prepare(_) | UpBody::Part(_), Some(_)) => self.tally.note("small round"),
                (UpBody::Commit, None) => self.tally.note("round of four messages"),
                _ => self.tally.note("answer about a round that is over"),
            }
        }
        self.tell(|| {
            format!("hub hears {name} of {number}, round {}, as {:x}", up.round, up.hub.0)
        });
        for answer in answers {
            self.send(at, false, write_down(&answer, in_brief));
        }
        self.look_at_hub()
    }

    /// An answer goes to all who listen under a gateway's number.
    fn heard(&mut self, to: usize, bytes: &[u8]) -> Outcome<()> {
        for at in 0..self.villages.len() {
            let village = &self.villages[at];
            if village.number != self.villages[to].number || village.store.is_none() {
                continue;
            }
            let name = village.machine.name.clone();
            let input = RoundInput::read(bytes).map_err(|error| error.to_string())?;
            if let RoundInput::Heard(down) = &input {
                let hub = down.hub.0;
                self.tell(|| format!("{name} hears of {hub:x}: {}", short(&down.body)));
                if let DownBody::Refused(refused) = &down.body {
                    self.tally.note(refused_name(refused));
                    self.villages[at].refused = true;
                }
            } else {
                self.tell(|| format!("{name} hears an answer in brief"));
                self.tally.note("answer in brief");
            }
            self.round_input(at, input)?;
        }
        Ok(())
    }

    pub fn village_failed(&mut self, at: usize) -> Outcome<()> {
        self.villages[at].store = None;
        Ok(())
    }

    pub fn phone_failed(&mut self, at: usize) -> Outcome<()> {
        self.phones[at].store = None;
        self.phones[at].failed = true;
        Ok(())
    }
}

fn up_name(body: &UpBody) -> &'static str {
    match body {
        UpBody::Prepare(_) => "Prepare",
        UpBody::Part(_) => "Part",
        UpBody::Fetch { .. } => "Fetch",
        UpBody::Commit => "Commit",
        UpBody::Abort => "Abort",
    }
}

fn refused_name(refused: &message::Refused) -> &'static str {
    use message::Refused;
    match refused {
        Refused::NotPrepared => "refused: not prepared",
        Refused::BelowFloor { .. } => "refused: below the floor",
        Refused::OtherParent => "refused: another line of rounds",
        Refused::OtherHub => "refused: another hub",
        Refused::Stopped => "refused: the hub is stopped",
        Refused::Restored { .. } => "refused: begin anew",
        _ => "refused: other",
    }
}

fn short(body: &DownBody) -> String {
    let text = format!("{body:?}");
    text[..text.floor_char_boundary(60)].to_owned()
}
