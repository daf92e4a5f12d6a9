//! Why there is no link: in which phase, with whom, and what to check.
use std::fmt;
use std::time::Duration;

use wadi_protocol::wire::message::Refused;

use super::reason;
use crate::spending::Gate;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Finding the broker's address.
    Resolve,
    /// Connecting by TCP.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Introducing ourselves to the broker.
    Mqtt,
    /// Asking to hear the hub's messages.
    Subscribe,
    /// On an open connection.
    Session,
    /// Waiting for the hub behind the broker.
    Hub,
    /// Asking the budgets of data.
    Budget,
}

impl Phase {
    /// One word, for logs.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Mqtt => "mqtt",
            Phase::Subscribe => "subscribe",
            Phase::Session => "session",
            Phase::Hub => "hub",
            Phase::Budget => "budget",
        }
    }
}

/// A connection could not be made or was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}{advice}", if advice.is_empty() { "" } else { "; " })]
pub struct LinkError {
    /// What was being done.
    pub phase: Phase,
    what: String,
    advice: &'static str,
}

impl LinkError {
    /// An error from its parts.
    pub fn new(phase: Phase, what: impl Into<String>, advice: &'static str) -> LinkError {
        LinkError { phase, what: what.into(), advice }
    }

    /// The hub said no.
    pub fn refused(why: &Refused) -> LinkError {
        // What a person can do at once some of them say themselves.
        let advice = match why {
            Refused::UnknownGateway | Refused::Revoked | Refused::Replaced => "",
            Refused::OtherParent => {
                "records stay safe here: tell the hub's operators, whom `wadi-hub status` tells \
                 how it rejoins"
            }
            Refused::OtherHub
            | Refused::Stopped
            | Refused::OtherContent
            | Refused::Undecodable { .. }
            | Refused::TooLarge { .. } => "records stay safe here: tell the hub's operators",
            Refused::BelowFloor { .. } | Refused::NotPrepared | Refused::Restored { .. } => {
                "nothing to do here: it is tried again by itself"
            }
        };
        LinkError::new(Phase::Hub, why.to_string(), advice)
    }

    /// There is no enrolment.
    pub fn not_enrolled() -> LinkError {
        LinkError::new(
            Phase::Hub,
            "this gateway is not enrolled, so it collects and cannot sync",
            "run `wadi-gateway enrol` with the file that `wadi-hub gateway add` wrote",
        )
    }

    /// The budgets of data let nothing be sent.
    pub fn held(gate: &Gate) -> LinkError {
        LinkError::new(
            Phase::Budget,
            gate.to_string(),
            "records stay safe here: wait, or raise the bounds of [data] in the configuration",
        )
    }

    /// The enrolment does not serve for TLS.
    pub fn identity(error: rustls::Error) -> LinkError {
        LinkError::new(
            Phase::Tls,
            format!("the enrolment does not serve for TLS: {error}"),
            "enrol anew with a file of `wadi-hub gateway enrol`",
        )
    }

    /// The hub gave no answer to so many questions.
    pub fn silent(questions: u32) -> LinkError {
        LinkError::new(
            Phase::Hub,
            format!("the broker is there, but the hub gave no answer to {questions} questions"),
            "check that the hub runs (`wadi-hub serve`) and uses this broker, and that the link carries data",
        )
    }

    /// Nothing but garbage or old messages came.
    pub fn useless(messages: u32) -> LinkError {
        LinkError::new(
            Phase::Hub,
            format!("{messages} messages in a row came that answer nothing we asked"),
            "check who else may publish below `wadi/` on the broker",
        )
    }

    /// A command's patience ended while the exchange went on.
    pub fn unfinished(patience: Duration) -> LinkError {
        LinkError::new(
            Phase::Hub,
            format!("not everything was exchanged within {} s", patience.as_secs()),
            "the link is slow or much is waiting: try again, what got through stays",
        )
    }

    pub(super) fn resolve(host: &str, why: impl fmt::Display) -> LinkError {
        LinkError::new(
            Phase::Resolve,
            format!("cannot find the address of the broker {host}: {why}"),
            "check broker.host in the configuration, and whether this site's link and its DNS work",
        )
    }

    pub(super) fn connect(broker: &str, why: impl fmt::Display) -> LinkError {
        LinkError::new(
            Phase::Connect,
            format!("cannot connect to the broker at {broker}: {why}"),
            "check this site's link (signal, SIM credit), broker.host and broker.port, and that the broker runs",
        )
    }

    pub(super) fn tls(broker: &str, why: impl fmt::Display) -> LinkError {
        LinkError::new(
            Phase::Tls,
            format!("no TLS with the broker at {broker}: {why}"),
            "check that broker.port is its TLS port, this gateway's clock, and its enrolment",
        )
    }

    /// The broker refused by a reason code.
    pub(super) fn reason(phase: Phase, broker: &str, did: &str, code: u8) -> LinkError {
        let means = reason::meaning(code);
        LinkError::new(
            phase,
            format!("the broker at {broker} {did}: {means} (reason code {code})"),
            reason::advice(code),
        )
    }

    /// What answers there is no broker that we understand.
    pub(super) fn strange(phase: Phase, broker: &str, why: impl fmt::Display) -> LinkError {
        LinkError::new(
            phase,
            format!("what answers at {broker} does not keep to MQTT 5: {why}"),
            "check broker.host and broker.port, and what is between here and the broker",
        )
    }

    /// Nothing came in time.
    pub(super) fn late(phase: Phase, broker: &str, what: &str, waited: Duration) -> LinkError {
        LinkError::new(
            phase,
            format!("the broker at {broker} {what} within {} ms", waited.as_millis()),
            "check this site's link, and that an MQTT broker is at broker.host and broker.port",
        )
    }

    /// The connection was lost.
    pub(super) fn lost(phase: Phase, broker: &str, why: impl fmt::Display) -> LinkError {
        let advice = match phase {
            // It hung up on the first word.
            Phase::Mqtt => {
                "it is made anew; if it lasts, check this site's link, the broker, and whether that \
                 speaks TLS (broker.tls)"
            }
            _ => {
                "nothing to do here: it is made anew; if it lasts, check this site's link and the broker"
            }
        };
        let what = format!("the connection to the broker at {broker} was lost: {why}");
        LinkError::new(phase, what, advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the hub says goes on with what a person here can do about it. That it says
    /// these things for these reasons is tested at the hub.
    #[test]
    fn every_refusal_of_the_hub_ends_with_what_to_do() {
        let reason = || "why".to_owned();
        for (refused, advice) in [
            (Refused::UnknownGateway, "run `wadi-hub gateway add` there"),
            (Refused::Revoked, "`wadi-gateway enrol` here with the file that it writes"),
            (Refused::Replaced, "`wadi-gateway enrol` here with the file that the hub wrote then"),
            (Refused::OtherParent, "operators, whom `wadi-hub status` tells how it rejoins"),
            (Refused::OtherHub, "; records stay safe here: tell the hub's operators"),
            (Refused::Stopped, "what to do; records stay safe here: tell the hub's operators"),
            (
                Refused::Restored { line: Vec::new() },
                "holds; nothing to do here: it is tried again by itself",
            ),
            (Refused::OtherContent, "; records stay safe here: tell the hub's operators"),
            (
                Refused::Undecodable { reason: reason() },
                "why; records stay safe here: tell the hub's operators",
            ),
            (
                Refused::TooLarge { reason: reason() },
                "why; records stay safe here: tell the hub's operators",
            ),
            (
                Refused::BelowFloor { floor: 7 },
                "from 7; nothing to do here: it is tried again by itself",
            ),
            (Refused::NotPrepared, "; nothing to do here: it is tried again by itself"),
        ] {
            let said = LinkError::refused(&refused).to_string();
            assert!(said.ends_with(advice), "{said}");
        }
    }
}
