//! What must hold, told without any of the product's code.
//!
//! Every value that is assigned is a mark of its own, so a screen says whose change it
//! shows. Of each change the model keeps what the screen of its writer showed; of each
//! field at the hub, which mark stood there after which hub sequence. What a change
//! *claims* to have seen is then held against what was really shown: claiming more
//! loses data, claiming less lets a clock win over an edit that had seen it.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use wadi_protocol::change::{Change, Delta, Op};
use wadi_protocol::id::{Dot, RowId};
use wadi_protocol::limits::SEEN_DOTS_MAX;
use wadi_protocol::stamp::Stamp;
use wadi_protocol::value::Value;

use crate::eras::Eras;
use crate::rulings::Rulings;
use crate::screen;
use crate::truth::references;

pub type Key = (&'static str, RowId);
/// What a screen shows of a row, by field; none = the row is not shown.
pub type Screen = Option<BTreeMap<&'static str, Option<String>>>;

/// A change, and what its writer was shown of the row just before.
pub struct Told {
    pub change: Change,
    pub key: Key,
    /// Marks that it assigns, by field.
    pub marks: Vec<(&'static str, String)>,
    pub screen: Screen,
    /// What it adds to the fields that add up.
    pub adds: i64,
}

pub struct Model {
    pub told: BTreeMap<Dot, Told>,
    /// Where each mark was assigned, and by whom once that is known.
    marks: HashMap<String, (Key, &'static str, Option<Dot>)>,
    /// What the hub holds and showed.
    pub eras: Eras,
    /// Changes that wait at the hub for what they need.
    pub parked: BTreeSet<Dot>,
    /// Changes that the hub put aside.
    pub aside: BTreeSet<Dot>,
    /// What operators said.
    pub rulings: Rulings,
    /// Rows that were seen deleted at the hub.
    pub dead: BTreeSet<Key>,
    /// The least stamp of containment that an intake gave a change.
    pub contained: BTreeMap<Dot, Stamp>,
    /// Changes of which the card may be lost that had it.
    pub vague: BTreeSet<Dot>,
    next: u64,
}

impl Model {
    pub fn new() -> Model {
        Model {
            told: BTreeMap::new(),
            marks: HashMap::new(),
            eras: Eras::new(),
            parked: BTreeSet::new(),
            aside: BTreeSet::new(),
            rulings: Rulings::default(),
            dead: BTreeSet::new(),
            contained: BTreeMap::new(),
            vague: BTreeSet::new(),
            next: 0,
        }
    }

    /// A name that nobody has given yet.
    pub fn name(&mut self, kind: &str) -> String {
        self.next += 1;
        format!("{kind}{}", self.next)
    }

    /// A mark for a field of a row, of so many bytes at least.
    pub fn mark(&mut self, key: Key, field: &'static str, bytes: usize) -> String {
        self.next += 1;
        let mut mark = format!("m{}", self.next);
        // Letters that no encoding makes small.
        let mut state = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while mark.len() < bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            mark.push(char::from(b'a' + (state % 26) as u8));
        }
        self.marks.insert(mark.clone(), (key, field, None));
        mark
    }

    /// A change was made by somebody who was shown this.
    pub fn made(&mut self, change: Change, key: Key, screen: Screen) -> Result<(), String> {
        let dot = change.dot;
        let mut marks = Vec::new();
        let mut adds = 0;
        for (_, delta) in &change.fields {
            match delta {
                Delta::Set(Value::Text(mark)) => {
                    if let Some((at, field, by)) = self.marks.get_mut(mark) {
                        if *at != key || by.is_some_and(|by| by != dot) {
                            return Err(format!("{dot} assigns {mark}, which is of {at:?} {by:?}"));
                        }
                        *by = Some(dot);
                        marks.push((*field, mark.clone()));
                    }
                }
                Delta::Add(add) => adds += add,
                Delta::Set(Value::Int(total)) => adds += total,
                Delta::Set(Value::Number(total)) => adds += total.parse::<i64>().unwrap_or(0),
                _ => {}
            }
        }
        let told = Told { change, key, marks, screen, adds };
        self.check_claim(&told)?;
        match self.told.insert(dot, told) {
            Some(before) => Err(format!("{dot} is used twice, first for {:?}", before.key)),
            None => Ok(()),
        }
    }

    /// An intake contained a change.
    pub fn contain(&mut self, dot: Dot, stamp: Option<Stamp>) {
        if let Some(stamp) = stamp {
            let least = self.contained.entry(dot).or_insert(stamp);
            *least = stamp.min(*least);
        }
    }

    /// Whether what a change says can be told no more: its writer was shown what is lost, or
    /// its place among others may be.
    pub fn is_vague(&self, change: &Change) -> bool {
        self.eras.is_lost(change.seen.version) || self.vague.contains(&change.dot)
    }

    /// Whether the hub has a change, wherever there.
    pub fn is_at_hub(&self, dot: Dot) -> bool {
        self.eras.seq(dot).is_some() || self.parked.contains(&dot) || self.aside.contains(&dot)
    }

    /// Changes of a group share their custody.
    pub fn check_groups(&self) -> Result<(), String> {
        let mut groups: BTreeMap<(Dot, u64), BTreeSet<u8>> = BTreeMap::new();
        for (dot, told) in &self.told {
            let Some(group) = &told.change.group else { continue };
            let custody = match dot {
                dot if self.eras.seq(*dot).is_some() => 1,
                dot if self.parked.contains(dot) => 2,
                dot if self.aside.contains(dot) => 3,
                _ => 0,
            };
            let first = Dot { seq: group.first, ..*dot };
            groups.entry((first, group.first)).or_default().insert(custody);
        }
        match groups.iter().find(|(_, custodies)| custodies.len() > 1) {
            Some(((first, _), custodies)) => {
                Err(format!("hub: the group of {first} is torn: {custodies:?}"))
            }
            None => Ok(()),
        }
    }

    /// Rows about which the hub has changes that it did not take into its tables, and those
    /// that reference them or are referenced, near and far.
    pub fn open_rows(&self) -> BTreeSet<String> {
        let mut links: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for told in self.told.values() {
            let id = told.key.1.to_string();
            for to in references(&told.change).map(|row| row.to_string()) {
                links.entry(to.clone()).or_default().insert(id.clone());
                links.entry(id.clone()).or_default().insert(to);
            }
        }
        let open = self.parked.iter().chain(&self.aside).filter_map(|dot| self.told.get(dot));
        let mut queue: Vec<String> = open.map(|told| told.key.1.to_string()).collect();
        let mut rows = BTreeSet::new();
        while let Some(row) = queue.pop() {
            if rows.insert(row.clone()) {
                queue.extend(links.get(&row).into_iter().flatten().cloned());
            }
        }
        rows
    }

    /// The life of each row that a text names, change by change.
    pub fn lives(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for told in self.told.values().filter(|told| text.contains(&told.key.1.to_string())) {
            let (change, dot) = (&told.change, told.change.dot);
            let place = match self.eras.seq(dot) {
                Some(seq) => format!("at {seq}"),
                None if self.parked.contains(&dot) => "parked".into(),
                None if self.aside.contains(&dot) => "aside".into(),
                None => "not at the hub".into(),
            };
            lines.push(format!(
                "{:?} contained {:?} {place} {dot} {} {:?} {:?} group {:?} seen {:?} closure {:?}",
                change.stamp,
                self.contained.get(&dot),
                told.key.0,
                change.op,
                change.fields,
                change.group,
                change.seen,
                change.closure
            ));
        }
        lines.sort();
        lines
    }

    /// Whether a row was deleted and made again under its id.
    pub fn was_made_anew(&self, id: &str) -> bool {
        let inserts = self
            .told
            .values()
            .filter(|told| told.change.op == Op::Insert && told.key.1.to_string() == id);
        inserts.count() > 1
    }

    pub fn maker(&self, mark: &str) -> Option<Dot> {
        self.marks.get(mark).and_then(|(_, _, by)| *by)
    }

    /// Whether what a change claims to have seen is what its writer was shown.
    fn check_claim(&self, told: &Told) -> Result<(), String> {
        let Some(screen) = &told.screen else { return Ok(()) };
        let (change, seen) = (&told.change, &told.change.seen);
        if change.op == Op::Insert || seen.above.len() >= SEEN_DOTS_MAX {
            return Ok(());
        }
        // One version stands for the whole row, whatever of it is touched.
        for field in screen::table(told.key.0).marks.iter().copied() {
            let shown = screen.get(field).cloned().flatten();
            let by = shown.as_deref().and_then(|mark| self.maker(mark));
            let at_hub = by.and_then(|dot| self.eras.seq_in(seen.version, dot));
            let own = by.is_some_and(|dot| dot.device == change.dot.device);
            // Naming a change says the same of what it followed, and so do earlier ones of
            // the same device: of a record its last one may show what another gave.
            let before = self.told.values().filter(|it| {
                told.key.0 == "card"
                    && it.key == told.key
                    && it.change.dot.device == change.dot.device
                    && (it.change.stamp, it.change.dot) < (change.stamp, change.dot)
            });
            let before: Vec<Dot> = before.map(|it| it.change.dot).collect();
            let mut named = seen.above.iter().chain(&before);
            let above = by.is_some_and(|dot| named.any(|named| self.follows(*named, dot, field)));
            let in_image = at_hub.is_some_and(|seq| seq <= seen.version.seq);
            // So does the image of what the hub took before: a delete of what comes later.
            let behind = || by.is_some_and(|dot| self.image_follows(told, dot, field));
            let above = above || by.is_some() && !own && !in_image && behind();
            let what = || format!("{} of {:?} {field}: shown {shown:?}", change.dot, told.key);
            if by.is_some() && !own && !above && !in_image {
                return Err(format!(
                    "{} by {by:?} ({at_hub:?} at the hub), which it does not claim: {seen:?}",
                    what()
                ));
            }
            let laid_over = by.is_some() && (own || above) && !in_image;
            let image = self.eras.image((told.key, field), seen.version);
            if !laid_over
                && let Some(image) = image
                && *image != shown
            {
                return Err(format!(
                    "{}, but it claims the hub's image of {}, which is {image:?}",
                    what(),
                    seen.version.seq
                ));
            }
        }
        Ok(())
    }

    /// Whether the image that a change claims has one that followed another in a field.
    fn image_follows(&self, told: &Told, earlier: Dot, field: &'static str) -> bool {
        let version = told.change.seen.version;
        self.told.values().filter(|it| it.key == told.key).any(|it| {
            let dot = it.change.dot;
            let touches = matches!(it.change.op, Op::Insert | Op::Delete)
                || it.marks.iter().any(|(at, _)| told.key.0 == "card" || *at == field);
            let in_image = || self.eras.seq_in(version, dot).is_some_and(|seq| seq <= version.seq);
            touches && in_image() && self.names(dot, earlier, field)
        })
    }

    /// Whether a change was in the hub's image that another's writer was shown, be it that
    /// something else stood there.
    pub fn saw(&self, later: Dot, earlier: Dot) -> bool {
        let version = self.told.get(&later).map(|told| told.change.seen.version);
        version.is_some_and(|version| {
            self.eras.seq_in(version, earlier).is_some_and(|seq| seq <= version.seq)
        })
    }

    /// Whether a change follows another by what screens showed, or by what it names: of
    /// several candidates only one is on a screen.
    pub fn names(&self, later: Dot, earlier: Dot, field: &'static str) -> bool {
        let Some(told) = self.told.get(&later) else { return false };
        let above = &told.change.seen.above;
        let names = |named: &Dot| *named == earlier || self.follows(*named, earlier, field);
        self.follows(later, earlier, field) || self.saw(later, earlier) || above.iter().any(names)
    }

    /// Whether a change had, by what screens showed, another in its past of a field.
    pub fn follows(&self, later: Dot, earlier: Dot, field: &'static str) -> bool {
        let mut queue = vec![later];
        let mut passed = BTreeSet::new();
        while let Some(dot) = queue.pop() {
            if dot == earlier {
                return true;
            }
            let Some(told) = self.told.get(&dot).filter(|_| passed.insert(dot)) else { continue };
            // In record mode the row is one field.
            let counts = |at: &str| told.key.0 == "card" || at == field;
            let marks = told.screen.iter().flatten().filter(|(at, _)| counts(at));
            let marks = marks.filter_map(|(_, mark)| mark.as_deref());
            queue.extend(marks.filter_map(|mark| self.maker(mark)));
            // Of one whose screen nobody noted, for the power went: what it says itself.
            queue.extend(told.change.seen.above.iter().filter(|_| told.screen.is_none()));
            let same = |other: &&Told| {
                let before = other.change.dot;
                before.device == dot.device
                    && other.key == told.key
                    && (other.change.stamp, before) < (told.change.stamp, dot)
                    && other.marks.iter().any(|(at, _)| counts(at))
            };
            queue.extend(self.told.values().filter(same).map(|other| other.change.dot));
        }
        false
    }
}
