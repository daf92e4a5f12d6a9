//! `wadi-gateway plan`: what the backlog will cost on a given link, and how long it takes.
//!
//! Arithmetic from what sessions cost by measurement (`tests/end_to_end/sessions.rs`): the
//! link is taken to carry its rate, and nothing is lost but what a cut interrupts.
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use wadi_protocol::limits::PART_BYTES_MAX;

use super::{CommandError, to_json};
use crate::store::plan::{self, Load};
use crate::words::{bytes, count, span};

/// To connect with TLS in full, once; with TLS resumed; to end it. Bytes of IP.
const COLD_BYTES: u64 = 3_400;
const RESUMED_BYTES: u64 = 1_820;
const CLOSING_BYTES: u64 = 168;
/// Turns that connecting takes: TCP, TLS, MQTT, and the round trip of its answer.
const CONNECT_TURNS: u64 = 4;
/// A round of two messages beside its changeset, and one of four.
const SMALL_BYTES: u64 = 280;
const LARGE_BYTES: u64 = 560;
/// A part beside what it carries: MQTT, TLS, TCP, IP, acknowledgement.
const PART_BYTES: u64 = 190;

/// A link, as somebody describes it.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bits a second.
    pub rate: u64,
    /// There and back, milliseconds.
    pub round_trip_ms: u64,
    /// It is up for so many seconds at a time; 0 = it stays.
    pub window_s: u64,
    /// What 1,000,000 bytes cost, in whatever money.
    pub price: Option<f64>,
}

/// What it takes. The names of the fields are those of `plan --json`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Plan {
    /// Changes that wait.
    pub changes: u64,
    /// Rounds that carry them.
    pub rounds: u64,
    /// Bytes of their changesets.
    pub changeset_bytes: u64,
    /// Bytes of IP, both ways, everything included.
    pub bytes: u64,
    /// Of those, what connecting takes.
    pub connect_bytes: u64,
    /// Windows of the link; none = they are too short for anything to get through.
    pub windows: Option<u64>,
    /// Seconds of open link.
    pub seconds: f64,
    /// Seconds of open link until all that is urgent is durable; none = nothing is.
    pub urgent_after_s: Option<f64>,
    /// What the bytes cost.
    pub price: Option<f64>,
}

/// Say what the backlog of a database file takes on such a link.
pub fn plan(
    database: &Path,
    terms: &Terms,
    json: bool,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let plan = made(&plan::read(database)?, terms);
    match json {
        true => writeln!(out, "{}", to_json(&plan))?,
        false => out.write_all(page(&plan, terms).as_bytes())?,
    }
    Ok(())
}

/// The course of one link, window by window.
struct Course<'a> {
    terms: &'a Terms,
    /// Seconds since the window opened.
    at_s: f64,
    windows: u64,
    seconds: f64,
    bytes: u64,
    connect_bytes: u64,
}

impl Course<'_> {
    fn connect(&mut self) {
        let handshake = if self.windows == 0 { COLD_BYTES } else { RESUMED_BYTES };
        self.windows += 1;
        self.connect_bytes += handshake + CLOSING_BYTES;
        self.bytes += handshake + CLOSING_BYTES;
        self.at_s = self.takes(handshake, CONNECT_TURNS);
    }

    /// How long so many bytes and turns take.
    fn takes(&self, bytes: u64, turns: u64) -> f64 {
        let turns_s = turns as f64 * self.terms.round_trip_ms as f64 / 1_000.0;
        bytes as f64 * 8.0 / self.terms.rate as f64 + turns_s
    }

    /// Something that a cut undoes whole; false if no window is long enough.
    fn step(&mut self, bytes: u64, turns: u64) -> bool {
        let takes = self.takes(bytes, turns);
        let window_s = self.terms.window_s as f64;
        if self.terms.window_s > 0 && self.at_s + takes > window_s {
            // What was under way is sent again.
            let begun = (window_s - self.at_s).max(0.0) / takes;
            self.bytes += (bytes as f64 * begun) as u64;
            self.seconds += window_s;
            self.connect();
            if self.at_s + takes > window_s {
                return false;
            }
        }
        self.at_s += takes;
        self.bytes += bytes;
        true
    }

    /// A round; false if it cannot get through.
    fn round(&mut self, load: &Load) -> bool {
        let part = PART_BYTES_MAX as u64;
        if load.bytes <= part {
            return self.step(load.bytes + SMALL_BYTES, 1);
        }
        // Parts that are staged stay so.
        let mut left = load.bytes;
        while left > 0 {
            let now = left.min(part);
            if !self.step(now + PART_BYTES, 0) {
                return false;
            }
            left -= now;
        }
        self.step(LARGE_BYTES / 2, 1) && self.step(LARGE_BYTES / 2, 1)
    }
}

fn made(loads: &[Load], terms: &Terms) -> Plan {
    let sum = |of: fn(&Load) -> u64| loads.iter().map(of).sum();
    let mut plan = Plan {
        changes: sum(|load| load.changes),
        rounds: loads.len() as u64,
        changeset_bytes: sum(|load| load.bytes),
        ..Plan::default()
    };
    let mut course =
        Course { terms, at_s: 0.0, windows: 0, seconds: 0.0, bytes: 0, connect_bytes: 0 };
    let mut through = true;
    for load in loads {
        if course.windows == 0 {
            course.connect();
        }
        through = through && course.round(load);
        if load.urgent && through {
            plan.urgent_after_s = Some(course.seconds + course.at_s);
        }
    }
    plan.windows = through.then_some(course.windows);
    (plan.bytes, plan.connect_bytes) = (course.bytes, course.connect_bytes);
    plan.seconds = course.seconds + course.at_s;
    plan.price = terms.price.map(|price| price * plan.bytes as f64 / 1e6);
    plan
}

fn page(plan: &Plan, terms: &Terms) -> String {
    if plan.changes == 0 {
        return "nothing waits: nothing is to be sent\n".into();
    }
    let each = plan.changeset_bytes as f64 / plan.changes as f64;
    let mut page = format!(
        "backlog   {} in {}, {} ({each:.1} bytes each)\n",
        count(plan.changes, "change", "changes"),
        count(plan.rounds, "round", "rounds"),
        bytes(plan.changeset_bytes),
    );
    let Some(windows) = plan.windows else {
        page += &format!(
            "link      {} at a time are too short: connecting and one part of a round take longer\n",
            span(terms.window_s)
        );
        return page;
    };
    page += &format!(
        "bytes     {} of IP both ways, {} of them to connect\n",
        bytes(plan.bytes),
        bytes(plan.connect_bytes)
    );
    let seconds = plan.seconds.ceil() as u64;
    page += &match terms.window_s {
        0 => format!("time      {} at least\n", span(seconds)),
        _ => format!(
            "time      {} of open link at least, in {}\n",
            span(seconds),
            count(windows, "window", "windows")
        ),
    };
    if let Some(after_s) = plan.urgent_after_s {
        page += &format!("urgent    all of it after {}\n", span(after_s.ceil() as u64));
    }
    if let Some(price) = plan.price {
        page += &format!("price     {price:.2}\n");
    }
    page
}

/// A rate as people say it: 30k, 1.5M, 9600; bits a second.
pub fn rate(text: &str) -> Result<u64, String> {
    let (number, times) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'm' | 'M')) => (&text[..at], 1e6),
        _ => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(number) if (100.0..=1e10).contains(&(number * times)) => Ok((number * times) as u64),
        _ => Err("bits a second from 100 on, such as 9600, 30k or 1.5M".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPRS: Terms = Terms { rate: 30_000, round_trip_ms: 600, window_s: 0, price: None };

    fn load(changes: u64, bytes: u64, urgent: bool) -> Load {
        Load { changes, bytes, urgent }
    }

    #[test]
    fn an_open_link_takes_its_turns_and_its_bytes() {
        let plan = made(&[load(100, 900, false)], &GPRS);
        assert_eq!((plan.changes, plan.rounds, plan.windows), (100, 1, Some(1)));
        assert_eq!((plan.bytes, plan.connect_bytes), (3_568 + 1_180, 3_568));
        // Five turns of 0.6 s, 4,580 bytes at 3,750 a second.
        assert!((4.2..4.3).contains(&plan.seconds), "{plan:?}");
        assert_eq!((plan.urgent_after_s, plan.price), (None, None));
        let dear = made(&[load(100, 900, false)], &Terms { price: Some(500.0), ..GPRS });
        assert!((2.37..2.38).contains(&dear.price.unwrap()), "{dear:?}");
        assert_eq!(made(&[], &GPRS), Plan { windows: Some(0), ..Plan::default() });
    }

    #[test]
    fn windows_cost_a_connection_each_and_what_they_interrupt() {
        let loads = [load(10, 300, true), load(4_990, 60_000, false)];
        let open = made(&loads, &GPRS);
        let cut = made(&loads, &Terms { window_s: 10, ..GPRS });
        assert_eq!((open.windows, cut.changeset_bytes), (Some(1), open.changeset_bytes));
        let windows = cut.windows.unwrap();
        assert!((3..=5).contains(&windows), "{cut:?}");
        assert_eq!(cut.connect_bytes, 3_568 + (windows - 1) * 1_988);
        let again = cut.bytes - cut.connect_bytes - (open.bytes - open.connect_bytes);
        assert!(again < windows * (PART_BYTES_MAX as u64 + PART_BYTES), "{again} sent again");
        assert!(cut.urgent_after_s.unwrap() < 5.0 && cut.seconds > open.seconds, "{cut:?}");
    }

    #[test]
    fn windows_in_which_nothing_gets_through_are_told() {
        let terms = Terms { window_s: 3, ..GPRS };
        let plan = made(&[load(1, 100, false), load(1, 100, false)], &terms);
        assert_eq!(plan.windows, None);
        assert!(page(&plan, &terms).contains("too short"), "{}", page(&plan, &terms));
    }

    #[test]
    fn rates_as_people_say_them() {
        let said = ["9600", "30k", "1.5M", "50K"].map(|text| rate(text).unwrap());
        assert_eq!(said, [9_600, 30_000, 1_500_000, 50_000]);
        for bad in ["", "k", "-3k", "10", "fast", "1e99", "NaN", "3µ"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
