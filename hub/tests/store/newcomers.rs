//! Sites that know nothing yet, and sites that were away for long: what they fetch, and
//! that they pay for nothing else.
use wadi_protocol::change::{Delta, Op};
use wadi_protocol::id::GatewayId;
use wadi_protocol::limits::DOWNLINK_BYTES_TARGET;
use wadi_protocol::wire::downlink::Page;
use wadi_protocol::wire::message::{Down, DownBody, Outcome, Up, UpBody};

use crate::model::{Device, Key, NOW_S, Site};
use crate::world::{ALARM, HOUSE, LINK, LOCAL, REMARK, World, enrol, refer, row, text};

const DAY_S: u64 = 86_400;

/// Rows of one village: of those, the first few are spoken of elsewhere.
const ROWS: u64 = 300;
const SPOKEN_OF: u64 = 20;

fn local(site: u64, number: u64) -> Key {
    (LOCAL, row(site * 10_000 + number))
}

/// Three villages with rows of their own, and remarks of the first that everybody has.
fn villages() -> World {
    let mut world = World::new(3);
    let long = "x".repeat(200);
    for site in 0..3 {
        let mut device = Device::new(site + 1);
        let at = site as usize;
        for number in 0..ROWS {
            world.enter(at, &mut device, Op::Insert, local(site, number), &[(1, text(&long))], 100);
        }
        world.settle();
        for number in 0..SPOKEN_OF * u64::from(site == 0) {
            let (remark, of) = ((REMARK, row(90_000 + number)), local(0, number).1);
            world.enter(at, &mut device, Op::Insert, remark, &[(1, refer(of))], 101);
        }
    }
    world.settle();
    world
}

/// Answers of the hub, which is killed before and after each.
fn hear(world: &mut World, number: GatewayId, up: &Up) -> Vec<Down> {
    world.crash();
    world.hub.hear(number, up, NOW_S).unwrap()
}

/// Rounds over a link that breaks in each of them: the head of the page comes, then the
/// parts one by one, then the decision, twice.
fn settle_over_a_bad_link(world: &mut World, site: &mut Site) -> usize {
    let mut parts = 0;
    for round in 1.. {
        assert!(round < 200, "it does not come to rest");
        let batch = site.batch();
        let head = site.prepare(&batch).remove(0);
        let first = hear(world, site.number, &head).remove(0);
        let DownBody::Prepared(prepared) = &first.body else { panic!("{first:?}") };
        let of = prepared.parts;
        let mut answers = vec![first];
        for index in 1..of {
            let ask = site.up(UpBody::Fetch { missing: vec![(index, index)] });
            let came = hear(world, site.number, &ask);
            assert_eq!(came.len(), 1, "what is there is not sent again");
            answers.extend(came);
        }
        parts += answers.len();
        let page: Page = site.page(&answers);
        let committed = site.commit(&mut world.hub);
        world.crash();
        assert_eq!(site.commit(&mut world.hub), committed);
        site.finish(&batch, &page, &committed);
        if !site.more {
            return parts;
        }
    }
    unreachable!()
}

#[test]
fn a_new_site_fetches_its_scope_once_however_often_the_link_breaks() {
    let mut world = villages();
    let mut late = Site::new(enrol(&mut world.hub, "late"));
    let parts = settle_over_a_bad_link(&mut world, &mut late);
    // The remarks, and what they refer to: of 920 rows no others.
    assert_eq!(late.rows.len() as u64, 2 * SPOKEN_OF);
    assert_eq!(late.rows_told, late.rows.len(), "each once");
    assert!(parts < 10, "{parts}");
    world.sites.push(late);
    world.check();

    // A new box of the first village gets what that had, in many pages.
    let full = world.sites[0].rows.len();
    world.hub.enrol("site-0", true, (NOW_S, NOW_S + 1_000), |_| Ok(Vec::new())).unwrap();
    let mut blank = Site { round: world.sites[0].round, ..Site::new(GatewayId(1)) };
    let parts = settle_over_a_bad_link(&mut world, &mut blank);
    assert_eq!((blank.rows.len(), blank.rows_told), (full, full));
    assert!(parts > 10 && blank.page_bytes_most <= DOWNLINK_BYTES_TARGET + 1024, "{parts}");
    world.sites[0] = blank;
    world.check();
}

/// Nothing that the hub keeps of a site runs out: what did not change costs nothing.
#[test]
fn a_site_that_was_silent_for_years_pays_for_what_changed() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    let long = "x".repeat(300);
    for number in 0..600 {
        world.enter(0, &mut anna, Op::Insert, (HOUSE, row(number)), &[(1, text(&long))], 100);
    }
    world.settle();
    world.sites[1].page_bytes_most = 0;
    let before = world.sites[1].rows_told;
    for day in 0..200 {
        for number in [7, 8, 9] {
            let add = [(3, Delta::Add(1))];
            world.enter(0, &mut anna, Op::Update, (HOUSE, row(number)), &add, 101 + day);
        }
        world.sync(0);
    }
    world.crash();
    let batch = world.sites[1].batch();
    let ups = world.sites[1].prepare(&batch);
    let answers = world.hub.hear(world.sites[1].number, &ups[0], NOW_S + 5 * 365 * DAY_S).unwrap();
    let page = world.sites[1].page(&answers);
    let committed = world.sites[1].commit(&mut world.hub);
    world.sites[1].finish(&batch, &page, &committed);
    assert!(!world.sites[1].more);
    assert_eq!(world.sites[1].rows_told - before, 3);
    let bytes = world.sites[1].page_bytes_most;
    assert!(bytes < 256, "{bytes} bytes for three sums");
    world.settle();
    world.check();
}

/// What somebody did to a row before he heard that it was gone does not bring it back, nor
/// does its insert when it is offered once more, however late.
#[test]
fn a_row_that_was_deleted_during_a_long_silence_stays_deleted() {
    let mut world = World::new(2);
    let (mut anna, mut ben) = (Device::new(1), Device::new(2));
    let (house, alarm) = ((HOUSE, row(1)), (ALARM, row(2)));
    let insert = world.enter(0, &mut anna, Op::Insert, house, &[(1, text("house"))], 100);
    world.settle();
    // An edit, a delta and a child, by a village that is away.
    let edits = [
        world.enter(1, &mut ben, Op::Update, house, &[(1, text("edited"))], 900),
        world.enter(1, &mut ben, Op::Update, house, &[(3, Delta::Add(5))], 901),
        world.enter(1, &mut ben, Op::Insert, alarm, &[(2, refer(house.1))], 902),
    ];
    world.enter(0, &mut anna, Op::Delete, house, &[], 200);
    for second in 0..100 {
        let other = (HOUSE, row(100 + second));
        world.enter(0, &mut anna, Op::Insert, other, &[(1, text("other"))], 300 + second);
        world.sync(0);
    }
    world.crash();
    // A phone offers what it kept, by the other village.
    world.sites[1].enter(&anna, insert.clone());
    world.settle();
    assert_eq!((world.row(house), world.row(alarm)), (None, None));
    for site in &world.sites {
        assert!([house, alarm].iter().all(|key| site.rows.get(key).is_none_or(|row| !row.live)));
    }
    for change in &edits {
        let outcome = &world.sites[1].outcomes[&change.dot];
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }
    assert!(matches!(world.sites[1].outcomes[&insert.dot], Outcome::Known { seq: 1.. }));
    world.check();
    // A box that begins anew is not given it either, and can still read of what was lost.
    let mut late = Site::new(enrol(&mut world.hub, "late"));
    late.settle(&mut world.hub);
    assert!(late.rows.get(&house).is_none_or(|row| !row.live));
    let history = world.hub.history("house", house.1).unwrap();
    assert!(history.iter().any(|past| past.fields.contains("edited")), "{history:?}");
}

/// Rows that only refer to one another are of no concern to a village that has none.
#[test]
fn a_long_chain_of_another_village_stays_there() {
    let mut world = World::new(2);
    let mut anna = Device::new(1);
    for number in 0..50 {
        let next = (number > 0).then(|| (1, refer(row(number - 1))));
        let fields: Vec<(u16, Delta)> = next.into_iter().chain([(2, text("link"))]).collect();
        world.enter(0, &mut anna, Op::Insert, (LINK, row(number)), &fields, 100);
    }
    world.settle();
    assert_eq!((world.sites[0].rows.len(), world.sites[1].rows_told), (50, 0));
    world.check();
}
