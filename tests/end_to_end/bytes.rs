//! What a small round costs on an open link, in bytes of IP packets: TCP with timestamps,
//! its acknowledgements, TLS 1.3, MQTT, the round. `--nocapture` shows the figures.
use wadi_harness::village::Village;

use crate::metered::{Cost, Metered};

const SCHEMA: &str = "name = \"x\"\n[tables.visit.fields]\npatient = { type = \"text\" }\n\
                      temperature = { type = \"decimal\", scale = 1 }\n";
/// Rounds of each kind; the middle one counts.
const ROUNDS: usize = 9;
/// A small round on an open link costs no more.
const SMALL_ROUND_BYTES_MAX: u64 = 350;

#[test]
fn a_small_round_costs_few_bytes_of_ip() {
    let Some(village) = Village::new().unwrap() else { return };
    let mut metered = Metered::start(&village, SCHEMA, "");
    // Its id is made by the database, at random.
    let insert =
        |at: usize| format!("insert into visit (patient, temperature) values ('p{at}', 37{at})");
    let update =
        |at: usize| format!("update visit set temperature = 38{at} where patient = 'p{at}'");
    let write = |metered: &mut Metered<'_>, sql: String| {
        metered.program(&sql);
        metered.until_durable(1);
    };
    // What the link costs before anything is settled does not count.
    for at in 0..3 {
        metered.cost(|metered| write(metered, insert(at)));
    }
    let mut figures = Vec::new();
    for (what, sql) in [("insert", &insert as &dyn Fn(usize) -> String), ("update", &update)] {
        let rounds = 3..3 + ROUNDS;
        let costs: Vec<_> =
            rounds.map(|at| metered.cost(|metered| write(metered, sql(at)))).collect();
        println!("one {what}: {} ({costs:?})", Cost::middle(costs.clone()));
        figures.push((what, Cost::middle(costs)));
    }
    metered.site.stop();
    metered.end();
    figures.retain(|(_, cost)| cost.bytes > SMALL_ROUND_BYTES_MAX);
    assert!(figures.is_empty(), "more than {SMALL_ROUND_BYTES_MAX} bytes: {figures:?}");
}
