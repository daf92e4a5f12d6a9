//! Situations, and what the page says of each: a table for people to read.
use super::page;
use crate::control::Presence;
use crate::disk::Disk;
use crate::links::{LinkKind, LinkStatus};
use crate::live::{LinkState, Live, Trend};
use crate::overview::{Facts, Overview};
use crate::spending::{Gate, Traffic, Why};
use crate::store::costs::{Costs, Period, TableCost};
use crate::store::status::{Pending, Quarantined, Status};

/// 2026-11-22 16:00 UTC.
const NOW_S: u64 = 1_795_363_200;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 86_400;

/// A gateway with nothing to tell: it runs, is connected and has synced a minute ago.
fn well() -> Facts {
    let link = LinkState {
        broker: "hub.example:8883".into(),
        connected: true,
        for_s: 2 * HOUR_S,
        attempts: 3,
        connections: 2,
        sent_bytes: 12_345,
        received_bytes: 999,
        ..LinkState::default()
    };
    let live = Live { link, up_s: DAY_S, clock_confirmed: true, ..Live::default() };
    let stored = Status {
        site: "north".into(),
        gateway: 7,
        schema: 3,
        rows: 40,
        rounds: 12,
        round: 13,
        phase: "idle",
        last_round_s: Some(NOW_S - 60),
        learnt_s: NOW_S - 60,
        changelog_changes: 50,
        compacted_changes: 800,
        backup_seq: 4_000,
        ..Status::default()
    };
    let disk = Disk {
        free_bytes: Some(12_000_000_000),
        total_bytes: Some(30_000_000_000),
        free_percent: Some(40),
        database_bytes: 5_000_000,
        wal_bytes: 32_768,
        read_only: false,
    };
    let presence = Presence::Running(Box::new(Live { hub_offset_s: Some(0), ..live }));
    let data = Costs {
        today: Period { bytes: 52_100, idle_bytes: 2_100, ..Period::default() },
        month: Period {
            bytes: 1_234_567,
            payload_bytes: 800_000,
            protocol_bytes: 300_000,
            connect_bytes: 100_000,
            idle_bytes: 34_567,
            ..Period::default()
        },
        rounds_today: 9,
        last_round: Traffic { up: 180, down: 119 },
        may_send: "all",
        ..Costs::default()
    };
    let certificate_ends_s = Some(NOW_S + 90 * DAY_S);
    Facts { stored, presence, data, disk, now_s: NOW_S, certificate_ends_s }
}

fn live(facts: &mut Facts) -> &mut Live {
    match &mut facts.presence {
        Presence::Running(live) => live,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_page_of_a_gateway_that_is_well() {
    let said = page(&Overview::of(well()));
    let expected = "\
gateway 7 of site north, 2026-11-22 16:00 UTC

no problems

last sync     60 s ago (2026-11-22 15:59 UTC), 12 rounds
pending       nothing: all is durable at the hub
waiting       for nobody
link          connected to the broker hub.example:8883 for 2 h
              in 24 h: sent 12 kB, received 999 bytes; 2 of 3 attempts led to a connection
data          52 kB today, 1234 kB in this month
              payload 800 kB, protocol 300 kB, to connect 100 kB, idle 34 kB
              9 rounds today, the last of 299 bytes
disk          12 GB free of 30 GB (40 %); database 5000 kB, its log 32 kB
changelog     50 changes kept whole, 800 let go; the hub's backup holds all up to sequence 4000
clock         confirmed by the hub, the same
certificate   90 days left, to 2027-02-20
schema        version 3; 40 rows shown
";
    assert_eq!(said, expected);
}

type Change = fn(&mut Facts);

/// Each situation with the codes of its problems and lines that must be there.
#[test]
fn situations_and_what_is_said_of_them() {
    let situations: &[(&str, Change, &[&str], &[&str])] = &[
        (
            "the gateway does not run",
            |facts| facts.presence = Presence::Absent,
            &["not-running"],
            &[
                "PROBLEM       the gateway does not run: handhelds cannot hand over, nothing is synced",
                "-> start it: systemctl start wadi-gateway",
                "link          not known: the gateway was not asked",
                "clock         the latest time known is 2026-11-22 15:59 UTC",
            ],
        ),
        (
            "somebody else's socket",
            |facts| facts.presence = Presence::Unknown("only its own user may ask it".into()),
            &["not-asked"],
            &["-> only its own user may ask it"],
        ),
        (
            "the day's budget is spent, but for its reserve",
            |facts| {
                let held = Gate::Urgent(Why::Day, NOW_S + 8 * HOUR_S);
                let link = &mut live(facts).link;
                link.connected = false;
                link.held = Some(held.to_string());
                facts.data.held = Some(held.to_string());
                facts.data.today.counted_bytes = 161_000;
                facts.data.today.budget_bytes = Some(200_000);
            },
            &[],
            &[
                "link          away from the broker hub.example:8883 for 2 h: the day's budget of data is spent: what is not urgent waits until 2026-11-23 00:00 UTC",
                "data          the day's budget of data is spent: what is not urgent waits until 2026-11-23 00:00 UTC",
                "              161 kB of 200 kB today, 1234 kB in this month",
            ],
        ),
        (
            "before the first sync",
            |facts| {
                facts.stored = Status {
                    site: "north".into(),
                    phase: "preparing",
                    round: 1,
                    ..Status::default()
                };
            },
            &["no-schema"],
            &[
                "PROBLEM       no schema yet: records are taken, but none is shown",
                "last sync     never; round 1 is under way (preparing)",
                "schema        none",
            ],
        ),
        (
            "nobody backs the hub up, and what is kept for it takes up room",
            |facts| {
                facts.stored.changelog_changes = 100_050;
                facts.stored.pending_changes = 50;
                facts.stored.cursors = [99_000, 104_000];
            },
            &["backup"],
            &[
                "PROBLEM       100000 changes are kept here until a backup of the hub holds them; the last one it told of ends 100000 changes ago",
                "-> run `wadi-hub backup` at the hub, best every night; nothing is lost meanwhile, but the disk here fills",
            ],
        ),
        (
            "a changelog that is large for its age only",
            |facts| {
                facts.stored.changelog_changes = 400_000;
                facts.stored.cursors = [104_000, 103_999];
                facts.stored.backup_seq = 4_001;
            },
            &[],
            &["changelog     400000 changes kept whole, 800 let go"],
        ),
        (
            "offline for an hour: what this is built for",
            |facts| {
                let link = &mut live(facts).link;
                (link.connected, link.for_s, link.next_attempt_s) = (false, HOUR_S, Some(42));
                link.last_error = Some("Connection refused".into());
                link.last_error_age_s = Some(18);
                facts.stored.last_round_s = Some(NOW_S - HOUR_S);
                facts.stored.pending_changes = 12;
                facts.stored.oldest_pending_s = Some(NOW_S - 3_000);
                let oldest = |table: &str, changes, oldest_s| Pending {
                    table: table.into(),
                    changes,
                    oldest_s,
                    ..Pending::default()
                };
                facts.stored.pending =
                    vec![oldest("visit", 11, NOW_S - 3_000), oldest("patient", 1, NOW_S - 30)];
            },
            &[],
            &[
                "no problems",
                "pending       12 changes wait for the hub, the oldest taken 50 min ago",
                "      11 visit                oldest 50 min ago",
                "       1 patient              oldest 30 s ago",
                "link          no broker at hub.example:8883 for 60 min; next attempt in 42 s",
                "last error 18 s ago: Connection refused",
            ],
        ),
        (
            "offline for a week",
            |facts| {
                facts.stored.last_round_s = Some(NOW_S - 7 * DAY_S);
                live(facts).link.last_error = Some("no route".into());
            },
            &["silent"],
            &[
                "PROBLEM       nothing was synced for 7 days",
                "-> check SIM, antenna and credit; the last attempt said: no route",
            ],
        ),
        (
            "the hub says no",
            |facts| facts.stored.refused = Some("the hub does not know this gateway".into()),
            &["refused"],
            &["PROBLEM       the hub refuses to go on: the hub does not know this gateway"],
        ),
        (
            "all kinds of waiting, none of it a fault of this gateway",
            |facts| {
                let stored = &mut facts.stored;
                (stored.parked, stored.held, stored.review_rows) = (2, 1, 3);
                (stored.handhelds_waiting, stored.quarantined_changes) = (1, 1);
                stored.quarantined = vec![Quarantined {
                    dot: "a.b.1".into(),
                    reason: "age: 131\nis too much".into(),
                }];
            },
            &[],
            &[
                "waiting       1 handheld to be allowed here: wadi-gateway handheld list",
                "3 rows for a person at the hub (review)",
                "2 changes at the hub for a row that they reference (parked)",
                "1 change here at the hub's request (held)",
                "1 change put aside at the hub, where operators have them whole (quarantined)",
                "a.b.1: age: 131 is too much",
            ],
        ),
        (
            "a card that fills, a log that grows",
            |facts| {
                facts.disk.free_bytes = Some(50_000_000);
                facts.disk.free_percent = Some(1);
                facts.disk.wal_bytes = 300_000_000;
            },
            &["disk", "wal"],
            &["PROBLEM       the disk is nearly full: 50 MB free (1 %)"],
        ),
        (
            "a disk that is full, one that failed",
            |facts| {
                live(facts).disk_scarce = true;
                facts.disk.read_only = true;
            },
            &["read-only", "no-room"],
            &[
                "PROBLEM       the disk cannot be written: no records are taken, nothing is synced",
                "PROBLEM       the disk is so full that no records are taken; handhelds keep theirs",
            ],
        ),
        (
            "no real-time clock",
            |facts| facts.now_s = 30,
            &["clock"],
            &[
                "gateway 7 of site north, 1970-01-01 00:00 UTC",
                "PROBLEM       the clock says 1970-01-01 00:00 UTC, which cannot be",
                "last sync     2026-11-22 15:59 UTC, ahead of this clock (2026-11-22 15:59 UTC), 12 rounds",
            ],
        ),
        (
            "a clock of 2099",
            |facts| {
                facts.now_s = 4_070_908_800;
                facts.certificate_ends_s = None;
            },
            &["clock", "silent"],
            &["the clock says 2099-01-01 00:00 UTC, which cannot be"],
        ),
        (
            "a clock that the hub does not confirm",
            |facts| {
                live(facts).hub_offset_s = Some(2 * DAY_S as i64);
                live(facts).clock_confirmed = false;
            },
            &["clock"],
            &[
                "the clock says 2026-11-22 16:00 UTC, 2 days behind the hub's",
                "clock         NOT confirmed by the hub, 2 days behind it",
            ],
        ),
        (
            "a clock before what the hub told",
            |facts| {
                facts.presence = Presence::Absent;
                facts.stored.learnt_s = NOW_S + DAY_S;
            },
            &["not-running", "clock"],
            &["the clock says 2026-11-22 16:00 UTC, 24 h before what was known earlier"],
        ),
        (
            "a certificate that ends",
            |facts| facts.certificate_ends_s = Some(NOW_S + 5 * DAY_S),
            &["certificate"],
            &[
                "the certificate ends in 5 days and has not been renewed",
                "certificate   5 days left, to 2026-11-27",
            ],
        ),
        (
            "a certificate that ended",
            |facts| facts.certificate_ends_s = Some(NOW_S - DAY_S),
            &["certificate"],
            &["the certificate ended on 2026-11-21: the hub will not let this gateway in"],
        ),
        (
            "an unplugged cable beside a noisy one, a backlog that falls",
            |facts| {
                let port = LinkStatus { name: "/dev/a".into(), ..LinkStatus::default() };
                let why = Some("no such device".into());
                let noisy = LinkStatus {
                    name: "/dev/b".into(),
                    open: true,
                    answered: 9,
                    garbled_frames: 2,
                    garbled_bytes: 80,
                    ..port.clone()
                };
                live(facts).local = vec![LinkStatus { why, for_s: 300, ..port }, noisy];
                live(facts).trend = Some(Trend { waiting: 10, before: 300, over_s: 2 * HOUR_S });
            },
            &["link"],
            &[
                "PROBLEM       /dev/a: no such device",
                "-> plug the cable in, or correct its path in the configuration",
                "handhelds     /dev/a: closed for 5 min: no such device, 0 questions answered",
                "/dev/b: open for 0 s, 9 questions answered, 2 garbled frames (80 bytes): asked for again",
                "backlog       290 fewer changes wait than 2 h ago",
            ],
        ),
        (
            "a changelog that is nearly full",
            |facts| facts.stored.pending_changes = 450_000,
            &["backlog"],
            &["450000 changes wait for the hub; at 500000 no more are taken"],
        ),
        (
            "a program that held its lock",
            |facts| {
                (facts.stored.lock_waits, facts.stored.last_lock_wait_s) = (2, Some(NOW_S - 60))
            },
            &["locked"],
            &["another program held the database for over 5 s, 2 times"],
        ),
        (
            "a program that held its lock long ago",
            |facts| {
                (facts.stored.lock_waits, facts.stored.last_lock_wait_s) =
                    (2, Some(NOW_S - 9 * DAY_S))
            },
            &[],
            &[],
        ),
    ];
    for (situation, change, codes, lines) in situations {
        let mut facts = well();
        change(&mut facts);
        let seen = Overview::of(facts);
        let found: Vec<_> = seen.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(found, *codes, "{situation}");
        assert!(seen.problems.iter().all(|problem| !problem.remedy.is_empty()), "{situation}");
        let said = page(&seen);
        for line in *lines {
            assert!(said.contains(line), "{situation}: {line:?} is not in\n{said}");
        }
        assert!(!said.contains(" \n"), "{situation}: blanks at an end\n{said}");
    }
}

/// Every problem says what to do, in words that can be done.
#[test]
fn each_problem_says_what_to_do() {
    let enrol =
        "on the hub run `wadi-hub gateway enrol` for this site, and `wadi-gateway enrol` here";
    let remedies: &[(Change, &str)] = &[
        (
            |facts| facts.disk.free_bytes = Some(1),
            "remove old logs and files, or use a larger card",
        ),
        (
            |facts| facts.disk.wal_bytes = 1 << 40,
            "keeps a transaction open on the database: end it",
        ),
        (|facts| facts.stored.pending_changes = 450_000, "to a place with a network, or see below"),
        (|facts| facts.stored.captured = 9_000, "takes them in while it runs: start it"),
        (
            |facts| facts.stored.refused = Some("no".into()),
            "`wadi-hub status` there says what to do; records stay",
        ),
        (|facts| facts.certificate_ends_s = Some(NOW_S - DAY_S), enrol),
        (
            |facts| facts.certificate_ends_s = Some(NOW_S + DAY_S),
            "let it sync: that renews it; if it",
        ),
        (|facts| facts.now_s = 30, "set it: timedatectl set-time, or let it reach a time server"),
        (
            |facts| {
                facts.stored.last_round_s = Some(NOW_S - 7 * DAY_S);
                live(facts).link.last_error = None;
            },
            "check SIM, antenna and credit, then run `wadi-gateway sync`",
        ),
        (|facts| facts.stored.schema = 0, "run `wadi-gateway sync` where there is a network"),
        (
            |facts| {
                let kind = LinkKind::Lan;
                live(facts).local = vec![LinkStatus { kind, ..LinkStatus::default() }];
            },
            "check the address of [lan] listen in the configuration",
        ),
        (
            |facts| (facts.stored.lock_waits, facts.stored.last_lock_wait_s) = (1, Some(NOW_S)),
            "end its transactions sooner: handhelds hear \"busy\" meanwhile",
        ),
    ];
    for (change, remedy) in remedies {
        let mut facts = well();
        change(&mut facts);
        let problems = Overview::of(facts).problems;
        assert!(problems.iter().any(|one| one.remedy.contains(remedy)), "{remedy}: {problems:?}");
    }
}

/// The figures of the same facts: OpenMetrics, nothing unknown told as 0.
#[test]
fn figures_of_a_gateway() {
    let mut facts = well();
    facts.stored.pending =
        vec![Pending { table: "a \"b\"".into(), changes: 3, ..Pending::default() }];
    let text = crate::metrics::text(&Overview::of(facts));
    for line in [
        "wadi_gateway_pending_changes{table=\"a \\\"b\\\"\"} 3\n",
        "wadi_gateway_last_round_age_seconds 60\n",
        "wadi_gateway_link_connected 1\n",
        "wadi_gateway_link_sent_bytes_total 12345\n",
        "wadi_gateway_clock_offset_seconds 0\n",
        "wadi_gateway_disk_free_bytes 12000000000\n",
        "# EOF\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let mut facts = well();
    facts.presence = Presence::Absent;
    facts.stored.last_round_s = None;
    let text = crate::metrics::text(&Overview::of(facts));
    assert!(
        !text.contains("last_round_age_seconds ") && !text.contains("link_connected "),
        "{text}"
    );
    assert!(text.contains("wadi_gateway_problem{code=\"not-running\"} 1"), "{text}");
}

/// The names that programs rely on: whoever takes one away does it knowingly.
#[test]
fn the_names_of_the_json() {
    let mut facts = well();
    facts.stored.pending = vec![Pending::default()];
    facts.stored.quarantined = vec![Quarantined { dot: String::new(), reason: String::new() }];
    facts.stored.schema = 0;
    facts.data.tables = vec![TableCost::default()];
    live(&mut facts).local = vec![LinkStatus::default()];
    live(&mut facts).trend = Some(Trend::default());
    let seen = Overview::of(facts);
    let json = serde_json::to_value(&seen).unwrap();
    let mut keys = std::collections::BTreeSet::new();
    collect(&json, "", &mut keys);
    let found = keys.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    assert_eq!(found, include_str!("status.keys"), "found:\n{found}");
}

fn collect(json: &serde_json::Value, at: &str, keys: &mut std::collections::BTreeSet<String>) {
    match json {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                let at = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
                collect(value, &at, keys);
                keys.insert(at);
            }
        }
        serde_json::Value::Array(list) => {
            list.iter().for_each(|value| collect(value, &format!("{at}[]"), keys));
        }
        _ => {}
    }
}
