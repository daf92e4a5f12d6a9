//! The world that every input of the hub's store begins with: two honest gateways with
//! rows of each table, two others enrolled, and a schema that has a later version.
use std::fs;
use std::sync::LazyLock;

use wadi_hub::store::Store;
use wadi_protocol::change::Op;
use wadi_protocol::id::RunId;

use crate::folder;
use crate::model::{Device, Key, NOW_S, Site};
use crate::world::{
    ALARM, HOUSE, KNOT, LINK, LOCAL, PERSON, PHOTO, REMARK, REPORT, SCHEMA, VISIT, World, refer,
    row, text,
};

/// The gateway that has committed rows.
pub const HONEST: usize = 0;

/// A later version of the schema: another field, another table.
const NEXT_SCHEMA: &str = r#"
[tables.house.fields.colour]
type = "text"
[tables.tool.fields]
name = { type = "text", required = true }
"#;

/// The beginning of every input: the database, and the gateways as they were.
pub struct Beginning {
    pub database: Vec<u8>,
    pub sites: Vec<Site>,
    pub rows: Vec<Key>,
    pub hub: RunId,
    pub head: u64,
}

pub static BEGINNING: LazyLock<Beginning> = LazyLock::new(|| {
    let folder = folder::new();
    let mut hub = Store::open(&folder.path().join("hub.db")).unwrap();
    hub.begin_run(NOW_S).unwrap();
    hub.publish_schema(SCHEMA, NOW_S).unwrap();
    let sites =
        (0..4).map(|number| Site::new(crate::world::enrol(&mut hub, &format!("s-{number}"))));
    let sites = sites.collect();
    let mut world = World { folder, hub, sites };
    world.settle();
    populate(&mut world);
    world.hub.publish_schema(&format!("{SCHEMA}{NEXT_SCHEMA}"), NOW_S).unwrap();
    world.settle();
    world.check();
    let World { folder, hub, sites } = world;
    let rows = sites[HONEST].rows.keys().copied().collect();
    let (run, head) = (hub.run(), hub.head().unwrap());
    drop(hub);
    let database = fs::read(folder.path().join("hub.db")).unwrap();
    Beginning { database, sites, rows, hub: run, head }
});

/// Rows of each table, one of them deleted, one in review; half of them are given to hostile
/// changes to name.
fn populate(world: &mut World) {
    let mut anna = Device::new(1);
    for base in [0, 100] {
        let row = |number: u64| row(base + number);
        let here = [(1, text("north")), (2, text("good")), (4, text(&format!("tag {base}")))];
        let to_house = [(1, refer(row(1))), (2, text("x"))];
        let all: [(Key, &[_]); 9] = [
            ((HOUSE, row(1)), &here),
            ((HOUSE, row(2)), &here[..1]),
            ((PERSON, row(3)), &to_house),
            ((VISIT, row(4)), &[(1, refer(row(3))), (2, text("fever"))]),
            ((PHOTO, row(5)), &to_house),
            ((ALARM, row(6)), &[(1, text("fire")), (2, refer(row(1)))]),
            ((LOCAL, row(7)), &[(1, text("well")), (2, refer(row(2)))]),
            ((REPORT, row(8)), &[(1, text("all is well"))]),
            ((REMARK, row(9)), &[(1, refer(row(7))), (2, text("deep"))]),
        ];
        for (key, fields) in all {
            world.enter(HONEST, &mut anna, Op::Insert, key, fields, 100);
        }
        world.sync(HONEST);
        let key = (HOUSE, row(2));
        world.enter(HONEST, &mut anna, Op::Update, key, &[(2, text("better"))], 110);
        let mut bert = Device::new(2);
        bert.seq = base;
        world.enter(HONEST, &mut bert, Op::Update, key, &[(2, text("worse"))], 111);
        world.enter(HONEST, &mut anna, Op::Insert, (HOUSE, row(10)), &[], 112);
        world.sync(HONEST);
        world.enter(HONEST, &mut anna, Op::Delete, (HOUSE, row(10)), &[], 113);
        world.settle();
    }
}

/// Half of the honest rows, each under its own table and some under another, and rows that
/// are not there.
pub fn named_rows(rows: &[Key]) -> Vec<Key> {
    let mut named: Vec<Key> = rows.iter().copied().filter(|(_, id)| *id < row(100)).collect();
    named.extend([(HOUSE, row(3)), (PERSON, row(1)), (9, row(30))]);
    for number in 20..26 {
        named.extend([HOUSE, PERSON, VISIT, PHOTO].map(|table| (table, row(number))));
        named.extend(
            [ALARM, LOCAL, REPORT, REMARK, LINK, KNOT].map(|table| (table, row(number + 10))),
        );
    }
    named
}
