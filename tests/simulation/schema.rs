//! The tables of the simulation: one of each kind, and how they grow.

/// As it is first published.
pub const FIRST: &str = r#"
name = "simulation"
[tables.house]
history = "latest"
[tables.house.fields]
name = { type = "text" }
note = { type = "text", merge = "review" }
first = { type = "text", merge = "first-write" }
count = { type = "integer", merge = "sum" }
log = { type = "text", merge = "append" }
[tables.person]
delete = "update-wins"
[tables.person.fields]
house = { type = "reference", table = "house", on_delete = "cascade" }
name = { type = "text" }
[tables.visit]
history = "latest"
[tables.visit.fields]
person = { type = "reference", table = "person", on_delete = "restrict" }
text = { type = "text" }
[tables.photo]
delete = "review"
[tables.photo.fields]
house = { type = "reference", table = "house", on_delete = "set-null" }
caption = { type = "text" }
next = { type = "reference", table = "photo", on_delete = "set-null" }
[tables.alarm]
lane = "urgent"
[tables.alarm.fields]
text = { type = "text" }
house = { type = "reference", table = "house", on_delete = "cascade" }
[tables.card]
mode = "record"
[tables.card.fields]
front = { type = "text" }
back = { type = "text" }
[tables.local]
scope = "site"
site = "home"
[tables.local.fields]
name = { type = "text" }
house = { type = "reference", table = "house", on_delete = "cascade" }
home = { type = "text" }
[tables.sample]
history = "latest"
[tables.sample.fields]
name = { type = "text" }
kind = { type = "enum", values = ["soil", "seed", "fly"] }
level = { type = "integer", min = 0, max = 100 }
code = { type = "text", unique = true }
tags = { type = "set", values = ["dry", "old", "red", "wet"], merge = "set" }
log = { type = "text", merge = "append" }
house = { type = "reference", table = "house", on_delete = "cascade" }
of = { type = "reference", table = "sample", on_delete = "set-null" }
"#;

/// What later versions add, one after the other.
pub const LATER: [&str; 3] = [
    "[tables.extra.fields]\ntext = { type = \"text\" }\n",
    "[tables.sketch]\nlane = \"urgent\"\n[tables.sketch.fields]\ntext = { type = \"text\" }\n",
    "[tables.final.fields]\nphoto = { type = \"reference\", table = \"photo\", on_delete = \"set-null\" }\n",
];

/// A table as the simulation uses it.
pub struct Table {
    pub name: &'static str,
    /// Text fields that take marked values.
    pub marks: &'static [&'static str],
    /// References: field and table.
    pub references: &'static [(&'static str, &'static str)],
    /// Fields whose deltas add up.
    pub sums: &'static [&'static str],
    /// From which version on.
    pub since: u32,
    /// Whether every site has every row.
    pub global: bool,
}

pub const TABLES: [Table; 11] = [
    table("house", &["name", "note", "first"], &[], &["count"], 1, true),
    table("person", &["name"], &[("house", "house")], &[], 1, true),
    table("visit", &["text"], &[("person", "person")], &[], 1, true),
    table("photo", &["caption"], &[("house", "house"), ("next", "photo")], &[], 1, true),
    table("alarm", &["text"], &[("house", "house")], &[], 1, true),
    table("card", &["front", "back"], &[], &[], 1, true),
    table("local", &["name"], &[("house", "house")], &[], 1, false),
    table("sample", &["name"], &[("house", "house"), ("of", "sample")], &[], 1, true),
    table("extra", &["text"], &[], &[], 2, true),
    table("sketch", &["text"], &[], &[], 3, true),
    table("final", &[], &[("photo", "photo")], &[], 4, true),
];

const fn table(
    name: &'static str,
    marks: &'static [&'static str],
    references: &'static [(&'static str, &'static str)],
    sums: &'static [&'static str],
    since: u32,
    global: bool,
) -> Table {
    Table { name, marks, references, sums, since, global }
}

/// Fields whose value is the last assignment laid over base.
pub fn is_plain(table: &str, field: &str) -> bool {
    !matches!((table, field), ("house", "note" | "first") | ("card", _) | (_, "log"))
}

/// The number of a field: its place in the file.
pub fn number_of(table: &str, field: &str) -> Option<u16> {
    let file = text(LATER.len() as u32 + 1);
    let fields = file.split_once(&format!("[tables.{table}.fields]\n"))?.1;
    let names = fields.lines().take_while(|line| !line.starts_with('['));
    let place = names.map(|line| line.split(' ').next()).position(|name| name == Some(field))?;
    Some(place as u16 + 1)
}

/// The file of a version, from 1.
pub fn text(version: u32) -> String {
    let later = LATER[..version as usize - 1].concat();
    format!("{FIRST}{later}")
}
