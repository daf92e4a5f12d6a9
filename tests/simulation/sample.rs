//! Fields that are more than a text with one value: codes, numbers in a range, values that
//! should be unique, sets and lists; what people enter into them, and what judges refuse.
use wadi_protocol::change::{Change, Delta, FieldRef, Op};
use wadi_protocol::value::Value;

use crate::act::More;
use crate::model::Key;
use crate::schema::number_of;
use crate::world::World;

pub const KINDS: [&str; 3] = ["soil", "seed", "fly"];
pub const TAGS: [&str; 4] = ["dry", "old", "red", "wet"];
const LEVEL_MAX: u64 = 100;
/// So few values of a field that should be unique that they clash.
const CODES: u64 = 8;
/// A code that no version of the schema has, of the enum and of the set.
pub const UNKNOWN_KIND: &str = "wheat";
pub const UNKNOWN_TAG: &str = "pink";

/// A field is entered so often, in thousandths.
const INSERT_PERMILLE: u64 = 600;
const UPDATE_PERMILLE: u64 = 300;
const HOUSE_LOG_PERMILLE: u64 = 150;

impl World {
    /// What somebody enters into such fields of a row.
    pub fn more(&mut self, key: Key, op: &str) -> Vec<More> {
        let mut more = Vec::new();
        let is_insert = op == "insert";
        if key.0 == "house" && op != "delete" && self.dice.permille(HOUSE_LOG_PERMILLE) {
            more.push(self.entry(is_insert));
        }
        if key.0 != "sample" || op == "delete" {
            return more;
        }
        for field in ["kind", "level", "code", "tags", "log"] {
            if !self.dice.permille(if is_insert { INSERT_PERMILLE } else { UPDATE_PERMILLE }) {
                continue;
            }
            more.push(match field {
                "kind" => plain(field, format!("\"{}\"", self.dice.pick(&KINDS))),
                "level" => plain(field, self.dice.below(LEVEL_MAX + 1).to_string()),
                "code" if self.dice.permille(100) => plain(field, "null".into()),
                "code" => plain(field, format!("\"c{}\"", self.dice.below(CODES))),
                "tags" => self.tags(is_insert),
                _ => self.entry(is_insert),
            });
        }
        if self.dice.permille(self.faults.poison) {
            let poison = self.poison(is_insert);
            more.retain(|more| more.field != poison.field);
            more.push(poison);
        }
        more
    }

    /// One entry more of a list that grows.
    fn entry(&mut self, is_insert: bool) -> More {
        let entry = self.model.name("e");
        let sql = match is_insert {
            true => format!("'[\"{entry}\"]'"),
            false => format!("json_insert(coalesce(log, '[]'), '$[#]', '{entry}')"),
        };
        More { field: "log", json: format!("\"{entry}\""), sql, poison: false }
    }

    /// A code comes into a set, and another may go.
    fn tags(&mut self, is_insert: bool) -> More {
        let (add, remove) = (*self.dice.pick(&TAGS), *self.dice.pick(&TAGS));
        let (json, sql) = if is_insert {
            (format!("[\"{add}\"]"), format!("'[\"{add}\"]'"))
        } else if add == remove {
            let left = list_of(&format!("{HERE} WHERE value <> '{remove}'"));
            (format!("{{\"remove\":[\"{remove}\"]}}"), left)
        } else {
            let both = format!("{HERE} WHERE value <> '{remove}' UNION SELECT '{add}'");
            (format!("{{\"add\":[\"{add}\"],\"remove\":[\"{remove}\"]}}"), list_of(&both))
        };
        More { field: "tags", json, sql, poison: false }
    }

    /// What judges refuse. SQL has no text for a number: its tables are strict.
    fn poison(&mut self, is_insert: bool) -> More {
        let (field, json, sql) = match self.dice.below(7) {
            0 => ("level", "500", "500"),
            1 => ("level", "\"many\"", "-1"),
            2 => ("level", "2.5", "101"),
            3 => ("kind", "\"wheat\"", "'wheat'"),
            4 => ("kind", "7", "'wheat'"),
            5 if is_insert => ("tags", "[\"dry\",\"pink\"]", "'[\"dry\",\"pink\"]'"),
            5 => ("tags", "{\"add\":[\"pink\"]}", "'[\"pink\"]'"),
            _ => ("tags", "\"wet\"", "'wet'"),
        };
        More { field, json: json.into(), sql: sql.into(), poison: true }
    }
}

/// The codes that the row has, of which some are chosen.
const HERE: &str = "SELECT value FROM json_each(coalesce(tags, '[]'))";

fn list_of(codes: &str) -> String {
    format!("(SELECT nullif(json_group_array(value), '[]') FROM ({codes}))")
}

fn plain(field: &'static str, json: String) -> More {
    let sql = json.replace('"', "'");
    More { field, json, sql, poison: false }
}

/// Fields of a change that no judge may let pass, by name.
pub fn flaws(key: Key, change: &Change) -> Vec<&'static str> {
    let named = |name: &'static str| match delta_of(key, change, name) {
        Some(delta) if !is_sound(name, change.op, delta) => Some(name),
        _ => None,
    };
    let names: &[&'static str] = match key.0 {
        "sample" => &["kind", "level", "code", "tags", "log"],
        "house" => &["log"],
        _ => &[],
    };
    names.iter().copied().filter_map(named).collect()
}

/// What a change says of a field.
pub fn delta_of<'a>(key: Key, change: &'a Change, name: &str) -> Option<&'a Delta> {
    let number = number_of(key.0, name);
    let is = |at: &FieldRef| match at {
        FieldRef::Number(at) => Some(*at) == number,
        FieldRef::Name(at) => at == name,
    };
    change.fields.iter().find(|(at, _)| is(at)).map(|(_, delta)| delta)
}

fn is_sound(name: &str, op: Op, delta: &Delta) -> bool {
    let tags = |list: &[String]| list.iter().all(|tag| TAGS.contains(&tag.as_str()));
    match (name, delta) {
        ("tags", Delta::Edit { add, .. }) => tags(add),
        ("tags", Delta::Set(Value::List(list))) => op == Op::Insert && tags(list),
        ("tags", _) => false,
        ("log", Delta::Append(_) | Delta::Set(Value::Text(_))) => true,
        ("log", _) => false,
        (_, Delta::Set(Value::Null)) => true,
        ("kind", Delta::Set(Value::Text(code))) => KINDS.contains(&code.as_str()),
        ("level", Delta::Set(value)) => level(value).is_some_and(|level| level <= LEVEL_MAX),
        ("code", Delta::Set(Value::Text(_))) => true,
        _ => false,
    }
}

/// A number that is none below nothing.
fn level(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Number(text) | Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// The column of a value of `kind`, `level` or `code`.
pub fn cell(name: &str, delta: Option<&Delta>) -> Option<String> {
    match delta {
        Some(Delta::Set(value)) if name == "level" => level(value).map(|level| level.to_string()),
        Some(Delta::Set(Value::Text(text))) => Some(text.clone()),
        _ => None,
    }
}
