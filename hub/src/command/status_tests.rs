//! Situations, and what the page says of each: a table for people to read.
use wadi_protocol::id::{GatewayId, Hash, RowId, RunId};

use super::page;
use crate::disk::Disk;
use crate::live::{Counts, LinkState, Presence};
use crate::overview::Overview;
use crate::store::backup::Watermark;
use crate::store::copied::Copied;
use crate::store::gateway::Gateway;
use crate::store::line::Other;
use crate::store::restored::Loss;
use crate::store::spent::Costs;
use crate::store::status::{Site, Status, Waiting};
use crate::store::wanted::Missing;

/// 2026-11-22 16:00 UTC.
const NOW_S: u64 = 1_795_363_200;
const DAY_S: u64 = 86_400;

/// The facts of a picture.
struct Facts {
    status: Status,
    presence: Presence,
    disk: Disk,
    now_s: u64,
}

impl Facts {
    fn seen(self) -> Overview {
        Overview::of(self.status, self.presence, self.disk, self.now_s)
    }

    /// The link, lost.
    fn link(&mut self) -> &mut LinkState {
        let link = self.presence.link.as_mut().unwrap();
        link.connected = false;
        link
    }

    fn site(&mut self, number: usize) -> &mut Site {
        &mut self.status.sites[number - 1]
    }
}

fn made(seq: u64, s: u64) -> Watermark {
    Watermark { run: RunId(1), seq, s }
}

fn site(number: u32, name: &str) -> Site {
    Site {
        gateway: Gateway {
            number: GatewayId(number),
            site: name.into(),
            added_s: NOW_S - 100 * DAY_S,
            heard_s: NOW_S - 60,
            rounds: 9,
            schema: 2,
            until_s: NOW_S + 300 * DAY_S,
            revoked: false,
            cursors: [40, 41],
        },
        behind: Some(false),
        sequences_behind: 1,
        parked: Waiting::default(),
        quarantined: Waiting::default(),
        costs: None,
        reviews: Waiting::default(),
        round_s: NOW_S - 90,
        refusals: 0,
        refused_s: 0,
        refusal: String::new(),
        other_line: None,
    }
}

/// A handheld that was noticed then.
fn copied(noticed_s: u64) -> Copied {
    Copied { label: "anna".into(), runs: (RunId(0xa), RunId(0xb)), noticed_s }
}

/// A box that came with another history, first and last.
fn other(parent: Hash, first_s: u64, last_s: u64) -> Option<Other> {
    Some(Other { parent, run: RunId(0xcd), cursors: [3, 4], first_s, last_s })
}

/// A hub with nothing to tell, and two sites.
fn well() -> Facts {
    let costs =
        Costs { day: NOW_S / DAY_S - 1, payload: 1_000_000, idle: 234_567, ..Costs::default() };
    let north = Site { costs: Some(costs), ..site(1, "north") };
    let status = Status {
        run: RunId(0xab00_0000_0000),
        began_s: NOW_S - 100 * DAY_S,
        run_s: NOW_S - 7_200,
        head: 41,
        schema: Some(("clinic".into(), 2)),
        tables: vec![("visit".into(), 12), ("patient".into(), 3)],
        durable: 41,
        parked: 0,
        quarantined: 0,
        rejected: 0,
        conflicts: 1,
        missing: Vec::new(),
        large: Vec::new(),
        reviews: 0,
        reviews_oldest_s: 0,
        backup: Some(made(40, NOW_S - DAY_S)),
        loss: Loss::default(),
        copied: Vec::new(),
        sites: vec![north, site(2, "south")],
    };
    let disk = Disk {
        free_bytes: Some(50_000_000_000),
        total_bytes: Some(100_000_000_000),
        free_percent: Some(50),
        database_bytes: 5_000_000,
        wal_bytes: 32_768,
        read_only: false,
    };
    let link = LinkState {
        broker: "broker:8883".into(),
        connected: true,
        since_s: NOW_S - 3_600,
        last_error: None,
    };
    let presence = Presence { serving: Some(true), link: Some(link) };
    Facts { status, presence, disk, now_s: NOW_S }
}

fn said(seen: &Overview) -> String {
    let mut out = Vec::new();
    page(seen, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_page_of_a_hub_that_is_well() {
    let seen = well().seen();
    let expected = format!(
        "\
hub, 2026-11-22 16:00 UTC

no problems

serving       yes, run {} began 2 h ago
link          connected to the broker broker:8883 for 60 min
schema        clinic, version 2
changes       41 applied, 0 parked, 0 in quarantine; sequence 41
conflicts     1; 0 cases wait for a person
backup        24 h ago (2026-11-21 16:00 UTC), 1 sequence since
disk          50 GB free of 100 GB (50 %); database 5000 kB, its log 32 kB
rows          patient 3, visit 12

site\tgateway\theard\tlast round\trounds\tto fetch\tsequences behind\tschema\tparked\tquarantined\treviews\tdata 30 days\tproblems
north\t1\t60 s ago\t90 s ago\t9\tno\t1\t2\t0\t0\t0\t1234 kB\t-
south\t2\t60 s ago\t90 s ago\t9\tno\t1\t2\t0\t0\t0\t-\t-
",
        RunId(0xab00_0000_0000)
    );
    assert_eq!(said(&seen), expected);
}

type Change = fn(&mut Facts);

/// Each situation with the codes of its problems and lines that must be there.
#[test]
fn situations_and_what_is_said_of_them() {
    let situations: &[(&str, Change, &[&str], &[&str])] = &[
        (
            "nobody serves",
            |facts| facts.presence = Presence { serving: Some(false), link: None },
            &["not-serving"],
            &[
                "PROBLEM       no hub serves: nothing is synced anywhere",
                "-> start it: systemctl start wadi-hub",
            ],
        ),
        (
            "a broker that is away for a moment",
            |facts| facts.link().since_s = NOW_S - 20,
            &[],
            &["no problems", "link          no broker at broker:8883 for 20 s"],
        ),
        (
            "a broker that stays away",
            |facts| facts.link().last_error = Some("refused; check\tthat it runs".into()),
            &["no-broker"],
            &[
                "PROBLEM       no broker at broker:8883 for 60 min: no gateway reaches this hub",
                "link          no broker at broker:8883 for 60 min\n              last error: refused; check that it runs",
            ],
        ),
        (
            "a hub that has just been made",
            |facts| {
                facts.status.schema = None;
                facts.status.sites.clear();
                facts.status.backup = None;
                (facts.status.began_s, facts.status.head) = (NOW_S, 0);
            },
            &["no-schema"],
            &[
                "-> run `wadi-hub schema publish FILE`",
                "backup        none was made",
                "no gateways: run `wadi-hub gateway add SITE`",
            ],
        ),
        (
            "a site that is silent for a week, and one that is refused",
            |facts| {
                facts.site(1).gateway.heard_s = NOW_S - 7 * DAY_S;
                facts.site(2).refusals = 2;
                facts.site(2).refused_s = NOW_S - 30;
                facts.site(2).refusal = "another box\tuses its number".into();
            },
            &["refused", "silent"],
            &[
                "PROBLEM       site south: its gateway is refused (2 times): another box uses its number",
                "PROBLEM       site north: its gateway was not heard for 7 days",
                "-> call the site: is the box on, is there credit on its SIM?",
                "south\t2\t60 s ago\t90 s ago\t9\tno\t1\t2\t0\t0\t0\t-\trefused\nnorth\t1\t7 days ago",
            ],
        ),
        (
            "boxes with another history: an empty one, and an older copy beside the one that is known",
            |facts| {
                let minute_ago = NOW_S - 60;
                facts.site(1).other_line = other(Hash::default(), minute_ago, minute_ago);
                facts.site(1).refusals = 1;
                facts.site(1).refused_s = NOW_S - 60;
                facts.site(2).other_line = other(Hash([7; 16]), NOW_S - DAY_S, NOW_S - 3_600);
            },
            &["other-line", "other-line"],
            &[
                "PROBLEM       site north: a box with another history comes under its number (run 0000000000cd): an empty box: a new one, or it lost its database",
                "-> if that is the site's box now, run `wadi-hub gateway rejoin north`: it gets what it lacks, nothing is lost or counted twice",
                "PROBLEM       site south: a box with another history comes under its number (run 0000000000cd): an older copy of its database, restored or cloned; the box that the hub knows has synced meanwhile, so there are two",
                "-> switch one of them off; to go on with this one instead run `wadi-hub gateway rejoin south`",
            ],
        ),
        (
            "a box with another history that came no more",
            |facts| facts.site(2).other_line = other(Hash([7; 16]), 5, NOW_S - 8 * DAY_S),
            &[],
            &["no problems"],
        ),
        (
            "a database that was restored, and gateways that know more",
            |facts| {
                facts.status.loss.stopped_s = NOW_S;
                facts.status.loss.waiting = vec!["north".into(), "south".into()];
            },
            &["stopped"],
            &[
                "PROBLEM       the database was restored, and nothing is numbered: gateways of these sites know more: north, south",
                "-> publish again what was published of the schema since the backup, then run `wadi-hub resume`: gateways return what they still hold",
            ],
        ),
        (
            "a copy put in place by hand",
            |facts| facts.status.loss.waiting = vec!["north".into()],
            &["lost"],
            &[
                "PROBLEM       this database is older than what gateways know of: gateways of these sites know more: north",
            ],
        ),
        (
            "what nobody has returned, and a handheld that was copied",
            |facts| {
                facts.status.loss.fork = 20;
                facts.status.loss.last = 29;
                facts.status.loss.returned = 7;
                facts.status.copied = vec![copied(NOW_S), copied(NOW_S - 31 * DAY_S)];
            },
            &["copied-device"],
            &[
                "lost          a hub that is no more gave sequences 21 to 29: 7 came back, of 2 nobody has returned what they were",
                "PROBLEM       device anna goes on in two places (runs 00000000000a and 00000000000b): its file was copied, or an older one put back; both count",
                "-> ask who has it: of two copies one should begin with a new file",
            ],
        ),
        (
            "a refusal that a later round has healed",
            |facts| {
                facts.site(1).refusals = 2;
                facts.site(1).refused_s = NOW_S - 100;
            },
            &[],
            &["no problems"],
        ),
        (
            "enrolled lately and not heard yet; enrolled long ago and never heard",
            |facts| {
                facts.site(1).gateway.heard_s = 0;
                facts.site(1).gateway.added_s = NOW_S - DAY_S;
                facts.site(2).gateway.heard_s = 0;
            },
            &["never-heard"],
            &[
                "site south: its gateway was enrolled 100 days ago and never heard",
                "north\t1\tnever",
            ],
        ),
        (
            "heard, but never through a round",
            |facts| facts.site(1).gateway.rounds = 0,
            &["never-synced"],
            &["site north: its gateway was heard, but never finished a round"],
        ),
        (
            "parked for a moment, and for days; quarantined",
            |facts| {
                facts.site(1).parked = Waiting { count: 1, oldest_s: NOW_S - 60 };
                facts.site(2).parked = Waiting { count: 2, oldest_s: NOW_S - 3 * DAY_S };
                facts.site(2).quarantined = Waiting { count: 1, oldest_s: NOW_S };
            },
            &["quarantined", "parked"],
            &[
                "site south: 1 change in quarantine",
                "site south: 2 changes wait for rows that never came, the oldest for 3 days",
                "quarantined, parked",
            ],
        ),
        (
            "rows that never came",
            |facts| {
                let missing = |id, changes, quarantined| Missing {
                    table: "patient".into(),
                    row: RowId([id; 16]),
                    changes,
                    since_s: NOW_S - 3 * DAY_S,
                    quarantined,
                };
                facts.status.missing = vec![missing(7, 2, false), missing(8, 1, true)];
            },
            &[],
            &[
                "missing       patient 07070707-0707-0707-0707-070707070707: 2 parked changes wait for it, for 3 days; nobody brought it",
                "patient 08080808-0808-0808-0808-080808080808: 1 parked change waits for it, for 3 days; what makes it is in quarantine",
            ],
        ),
        (
            "a certificate that ended; a gateway that was revoked is not missed",
            |facts| {
                facts.site(1).gateway.until_s = NOW_S - DAY_S;
                facts.site(2).gateway.revoked = true;
                facts.site(2).gateway.heard_s = NOW_S - 50 * DAY_S;
            },
            &["certificate"],
            &["site north: the certificate of its gateway ended on 2026-11-21", "\t(revoked)\n"],
        ),
        (
            "a case that waits too long",
            |facts| (facts.status.reviews, facts.status.reviews_oldest_s) = (2, NOW_S - 9 * DAY_S),
            &["review"],
            &["2 cases wait for a person, the oldest for 9 days"],
        ),
        (
            "a row that grew too large",
            |facts| facts.status.large = vec![("visit".into(), RowId([7; 16]))],
            &["large-row"],
            &["1 row is too large to travel to sites: visit 07070707-0707-0707-0707-070707070707"],
        ),
        (
            "an old backup",
            |facts| facts.status.backup = Some(made(1, NOW_S - 30 * DAY_S)),
            &["backup"],
            &["the last backup is 30 days old", "40 sequences since"],
        ),
        (
            "no backup ever",
            |facts| facts.status.backup = None,
            &["backup"],
            &["no backup was ever made, in 100 days"],
        ),
        (
            "a disk that fills",
            |facts| (facts.disk.free_bytes, facts.disk.free_percent) = (Some(100_000_000), Some(1)),
            &["disk"],
            &["the disk is nearly full: 100 MB free (1 %)"],
        ),
        (
            "a clock of 1970: no site is called silent for it",
            |facts| facts.now_s = 5,
            &["clock"],
            &["the clock says 1970-01-01 00:00 UTC, which cannot be"],
        ),
        (
            "a site with an old schema",
            |facts| (facts.site(1).gateway.schema, facts.site(1).behind) = (1, None),
            &[],
            &["perhaps\t1\t1 (1 behind)"],
        ),
    ];
    for (situation, change, codes, lines) in situations {
        let mut facts = well();
        change(&mut facts);
        let seen = facts.seen();
        let found: Vec<_> = seen.problems.iter().map(|problem| problem.code).collect();
        assert_eq!(found, *codes, "{situation}");
        assert!(seen.problems.iter().all(|problem| !problem.remedy.is_empty()), "{situation}");
        let said = said(&seen);
        for line in *lines {
            assert!(said.contains(line), "{situation}: {line:?} is not in\n{said}");
        }
    }
}

/// Every problem says what to do, in words that can be done.
#[test]
fn each_problem_says_what_to_do() {
    let remedies: &[(Change, &str)] = &[
        (|facts| facts.disk.free_bytes = Some(1), "make room, or move the database to a larger"),
        (
            |facts| facts.disk.wal_bytes = 1 << 40,
            "keeps a transaction open on the database: end it",
        ),
        (|facts| facts.now_s = 5, "set it: gateways learn the time from here"),
        (|facts| facts.status.backup = None, "run `wadi-hub backup`, best every night"),
        (
            |facts| (facts.status.reviews, facts.status.reviews_oldest_s) = (2, NOW_S - 9 * DAY_S),
            "run `wadi-hub review list`, then `review settle`",
        ),
        (
            |facts| {
                facts.site(1).refusals = 1;
                facts.site(1).refused_s = NOW_S;
            },
            "see the hub's log",
        ),
        (
            |facts| facts.site(1).gateway.until_s = NOW_S - DAY_S,
            "run `wadi-hub gateway enrol` for it, and `wadi-gateway enrol` on the box",
        ),
        (
            |facts| facts.site(1).gateway.heard_s = 0,
            "is the box installed, does its configuration name this hub's broker?",
        ),
        (|facts| facts.site(1).gateway.rounds = 0, "and `wadi-gateway status` on the box"),
        (
            |facts| facts.site(1).quarantined = Waiting { count: 1, oldest_s: NOW_S },
            "run `wadi-hub quarantine list`: what did people mean to record?",
        ),
        (
            |facts| facts.site(1).parked = Waiting { count: 2, oldest_s: NOW_S - 3 * DAY_S },
            "`missing` names the rows: at another site that has not synced, or in quarantine",
        ),
    ];
    for (change, remedy) in remedies {
        let mut facts = well();
        change(&mut facts);
        let problems = facts.seen().problems;
        assert!(problems.iter().any(|one| one.remedy.contains(remedy)), "{remedy}: {problems:?}");
    }
}

/// Hundreds of sites in trouble: the page stays short, the list is whole and worst first.
#[test]
fn many_sites_in_trouble() {
    let mut facts = well();
    facts.status.sites = (1..=300)
        .map(|number| {
            let mut site = site(number, &format!("site-{number}"));
            site.gateway.heard_s = NOW_S - u64::from(number) * DAY_S;
            site
        })
        .collect();
    let seen = facts.seen();
    let said = said(&seen);
    assert_eq!(said.matches("PROBLEM").count(), 20);
    assert!(said.contains("and 277 more, see the sites below"), "{said}");
    let order: Vec<u32> = seen.sites.iter().map(|site| site.gateway).collect();
    let worst_first: Vec<u32> = (4..=300).rev().chain([3, 2, 1]).collect();
    assert_eq!(order, worst_first);
    assert_eq!(seen.problems[0].site.as_deref(), Some("site-300"), "silent longest");
}

#[test]
fn figures_of_a_hub() {
    let mut facts = well();
    facts.site(1).gateway.heard_s = 0;
    facts.site(2).quarantined = Waiting { count: 3, oldest_s: NOW_S };
    let counts = Counts::default();
    counts.connections.add(1);
    counts.dropped.add(7);
    let text = crate::metrics::text(&facts.seen(), &counts);
    for line in [
        "wadi_hub_head_sequence 41\n",
        "wadi_hub_link_connected 1\n",
        "wadi_hub_inbox_dropped_messages_total 7\n",
        "wadi_hub_backup_age_seconds 86400\n",
        "wadi_hub_site_heard_age_seconds{site=\"south\"} 60\n",
        "wadi_hub_site_quarantined_changes{site=\"south\"} 3\n",
        "wadi_hub_site_problem{site=\"south\",code=\"quarantined\"} 1\n",
        "# EOF\n",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains("heard_age_seconds{site=\"north\"}"), "never is not 0\n{text}");
}

/// The names that programs rely on: whoever takes one away does it knowingly.
#[test]
fn the_names_of_the_json() {
    let mut facts = well();
    facts.presence.serving = Some(false);
    facts.status.tables = vec![("visit".into(), 12)];
    facts.site(1).other_line = other(Hash::default(), 1, 2);
    facts.status.copied = vec![copied(5)];
    let seen = facts.seen();
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
