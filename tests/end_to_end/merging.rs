//! Two gateways edit one record while both are offline.
use anyhow::Result;
use serde_json::{Value, json};
use wadi_harness::handheld::Handheld;
use wadi_harness::plan::Cell;
use wadi_harness::random::Random;

use crate::world::{PATIENCE, World, number, text, until_cell, until_shown};

/// One table with a field of each strategy that works now.
pub const SCHEMA: &str = r#"
name = "stock"

[tables.item]
scope = "global"
lane = "routine"

[tables.item.fields]
name = { type = "text" }
place = { type = "text" }
count = { type = "integer", merge = "sum" }
weight = { type = "decimal", scale = 3, merge = "sum" }
verdict = { type = "text", merge = "review" }
"#;

/// Milliseconds since 1970 at which these stories begin.
const START_MS: u64 = 1_780_000_000_000;

/// A world with two gateways and a handheld at each.
pub struct Pair {
    pub world: World,
    pub handhelds: [Handheld; 2],
    pub row: String,
}

impl Pair {
    /// Both gateways and both handhelds have been shown one item.
    pub fn start(seed: u64) -> Result<Pair> {
        let world = World::start(SCHEMA, 2, false, seed)?;
        let handhelds = [world.handheld("anna"), world.handheld("ben")];
        let row = Random::seeded(seed).uuid();
        let fields =
            json!({"name": "pump", "place": "shed", "count": 10, "weight": 2.5, "verdict": "new"});
        let insert =
            json!({"op": "insert", "table": "item", "id": row, "ts": START_MS, "fields": fields});
        world.enter(&handhelds[0], 0, &insert)?;
        let pair = Pair { world, handhelds, row };
        pair.until("name", text("pump"))?;
        pair.until_shown("name", text("pump"))?;
        Ok(pair)
    }

    /// Both gateways lose the broker; each handheld edits so many seconds later; both come back.
    pub fn edit_apart(&self, edits: [(u64, Value); 2]) -> Result<()> {
        self.world.offline(0);
        self.world.offline(1);
        for (at, (seconds, fields)) in edits.into_iter().enumerate() {
            let update = json!({
                "op": "update", "table": "item", "id": self.row,
                "ts": START_MS + seconds * 1000, "fields": fields,
            });
            self.world.enter(&self.handhelds[at], at, &update)?;
        }
        self.world.online(0);
        self.world.online(1);
        Ok(())
    }

    /// Wait until hub and gateways hold this.
    pub fn until(&self, column: &str, wanted: Option<Cell>) -> Result<()> {
        self.world.until_cell(("item", &self.row), column, wanted)
    }

    /// Wait until both handhelds show this.
    pub fn until_shown(&self, column: &str, wanted: Option<Cell>) -> Result<()> {
        for (at, handheld) in self.handhelds.iter().enumerate() {
            until_shown(handheld, &self.world.lan(at), ("item", &self.row), column, &wanted)?;
        }
        Ok(())
    }
}

#[test]
fn edits_of_different_fields_both_survive() {
    let mut pair = Pair::start(11).unwrap();
    let edits = [(60, json!({"name": "hand pump"})), (120, json!({"place": "well"}))];
    pair.edit_apart(edits).unwrap();
    pair.until("name", text("hand pump")).unwrap();
    pair.until("place", text("well")).unwrap();
    pair.until_shown("name", text("hand pump")).unwrap();
    pair.until_shown("place", text("well")).unwrap();
    pair.world.stop().unwrap();
}

/// Whoever arrives first: the earlier edit here comes from the later gateway.
#[test]
fn the_greater_stamp_wins_a_field_and_history_shows_the_other() {
    let mut pair = Pair::start(12).unwrap();
    pair.edit_apart([(500, json!({"name": "late name"})), (400, json!({"name": "early name"}))])
        .unwrap();
    // A field of its own tells that both edits have arrived.
    pair.edit_apart([(600, json!({"count": {"add": 1}})), (601, json!({"count": {"add": 1}}))])
        .unwrap();
    pair.until("count", number(12)).unwrap();
    pair.until("name", text("late name")).unwrap();
    let history =
        pair.world.hub.operator.command(&["history", "item", &pair.row]).unwrap().ok().unwrap();
    for value in ["pump", "early name", "late name"] {
        assert!(history.contains(value), "{value} is not in\n{history}");
    }
    pair.world.stop().unwrap();
}

#[test]
fn sums_add_up() {
    let mut pair = Pair::start(13).unwrap();
    let edits = [
        (10, json!({"count": {"add": 3}, "weight": {"add": 0.125}})),
        (20, json!({"count": {"add": -5}, "weight": {"add": 1}})),
    ];
    pair.edit_apart(edits).unwrap();
    pair.until("count", number(8)).unwrap();
    pair.until("weight", number(3625)).unwrap();
    // A plain value means: from what I was shown to this. Both were shown 8.
    pair.until_shown("count", number(8)).unwrap();
    pair.edit_apart([(30, json!({"count": 9})), (40, json!({"count": 6}))]).unwrap();
    pair.until("count", number(7)).unwrap();
    pair.until_shown("count", number(7)).unwrap();
    pair.world.stop().unwrap();
}

/// An edit by someone who had been shown the other's is no conflict, whatever the clocks say.
#[test]
fn an_edit_that_had_seen_another_wins_with_an_older_clock() {
    let mut pair = Pair::start(14).unwrap();
    pair.world
        .enter(&pair.handhelds[0], 0, &json!({"op": "update", "table": "item", "id": pair.row, "ts": START_MS + 900_000, "fields": {"name": "fast clock"}}))
        .unwrap();
    pair.until("name", text("fast clock")).unwrap();
    pair.until_shown("name", text("fast clock")).unwrap();
    pair.world
        .enter(&pair.handhelds[1], 1, &json!({"op": "update", "table": "item", "id": pair.row, "ts": START_MS + 1_000, "fields": {"name": "slow clock"}}))
        .unwrap();
    pair.until("name", text("slow clock")).unwrap();
    pair.until_shown("name", text("slow clock")).unwrap();
    pair.world.stop().unwrap();
}

/// What a handheld shows never loses its own edit, nor the village's, while offline.
#[test]
fn two_handhelds_of_one_village_see_each_other_while_it_is_offline() {
    let mut pair = Pair::start(15).unwrap();
    pair.world.offline(0);
    let carla = pair.world.handheld("carla");
    let row = ("item", pair.row.as_str());
    until_shown(&carla, &pair.world.lan(0), row, "name", &text("pump")).unwrap();
    let edit = |ts: u64, fields: Value| json!({"op": "update", "table": "item", "id": pair.row, "ts": START_MS + ts, "fields": fields});
    pair.world.enter(&pair.handhelds[0], 0, &edit(50_000, json!({"place": "field"}))).unwrap();
    until_shown(&carla, &pair.world.lan(0), row, "place", &text("field")).unwrap();
    pair.world.enter(&carla, 0, &edit(60_000, json!({"name": "diesel pump"}))).unwrap();
    until_shown(&pair.handhelds[0], &pair.world.lan(0), row, "name", &text("diesel pump")).unwrap();
    pair.world.online(0);
    pair.until("name", text("diesel pump")).unwrap();
    pair.until("place", text("field")).unwrap();
    pair.world.stop().unwrap();
}

/// Two who had not seen each other's edits, in one village that is cut off: both are shown
/// one answer there, and it is the one that the hub comes to.
#[test]
fn two_handhelds_of_an_offline_village_are_shown_what_the_hub_will_say() {
    let mut pair = Pair::start(16).unwrap();
    let (link, row) = (pair.world.lan(0), ("item", pair.row.as_str()));
    let carla = pair.world.handheld("carla");
    until_shown(&carla, &link, row, "name", &text("pump")).unwrap();
    pair.world.offline(0);
    let anna = &pair.handhelds[0];
    let edit = |ts: u64, fields: Value| json!({"op": "update", "table": "item", "id": pair.row, "ts": START_MS + ts, "fields": fields});
    let late = json!({"name": "late", "count": {"add": 3}, "verdict": "broken"});
    let early = json!({"name": "early", "place": "field", "count": {"add": -1}, "verdict": "new"});
    anna.put(&edit(60_000, late)).unwrap();
    carla.put(&edit(50_000, early)).unwrap();
    // The later edit comes first.
    anna.sync_well(&link, PATIENCE).unwrap();
    let answer = [
        ("name", text("late")),
        ("place", text("field")),
        ("count", number(12)),
        ("verdict", text("broken")),
    ];
    for handheld in [&carla, anna] {
        for (column, wanted) in &answer {
            until_shown(handheld, &link, row, column, wanted).unwrap();
        }
    }
    until_cell(pair.world.hub.database(), row, "name", &text("pump")).unwrap();
    pair.world.online(0);
    for (column, wanted) in answer {
        pair.until(column, wanted.clone()).unwrap();
        for handheld in [&carla, anna] {
            until_shown(handheld, &link, row, column, &wanted).unwrap();
        }
    }
    pair.world.stop().unwrap();
}
