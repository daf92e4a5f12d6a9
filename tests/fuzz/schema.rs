//! Schemas: files as people write them, encodings as peers send them, and the
//! judgement of changes under them.
use std::sync::LazyLock;

use wadi_protocol::schema::file::SchemaFile;
use wadi_protocol::schema::interpret::interpret;
use wadi_protocol::schema::judge::judge;
use wadi_protocol::schema::{Schema, compat};
use wadi_protocol::wire::batch;

use crate::decoders::BATCHES;
use crate::script::Script;
use crate::{fuzz, memory, sample};

static FILES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| vec![include_bytes!("../data/schema.toml").to_vec(), SMALL.into()]);

const SMALL: &str = r#"name = "small"
[tables.place.fields]
name = { type = "text", required = true, unique = true }
[tables.visit]
mode = "record"
delete = "review"
scope = "site"
lane = "urgent"
retention = 90
[tables.visit.fields]
place = { type = "reference", table = "place", on_delete = "set-null" }
dose = { type = "decimal", scale = 2, min = -1.5, max = 50, merge = "review" }
signs = { type = "set", values = ["a", "b"] }
"#;

/// Sound schemas that hostile changes are judged under.
static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    let numbered = FILES.iter().map(|file| {
        let text = std::str::from_utf8(file).expect("a text");
        let file: SchemaFile = toml::from_str(text).expect("a schema");
        file.number(None).expect("a good schema")
    });
    numbered.chain([sample::schema()]).collect()
});

#[test]
fn a_schema_file_is_refused_or_sound() {
    fuzz!(|input: &[u8]| {
        let bytes = Script(input).spoiled(&FILES);
        let text = String::from_utf8_lossy(&bytes);
        let Ok(file) = toml::from_str::<SchemaFile>(&text) else { return };
        let old = &SCHEMAS[0];
        if let Ok(next) = file.number(Some(old)) {
            compat::check_file(old, &next, &file);
        }
        let Ok(schema) = file.number(None) else { return };
        assert_eq!(schema.check(), Ok(()));
        assert_eq!(compat::check(&schema, &schema), Vec::<String>::new());
        let bytes = postcard::to_allocvec(&schema).expect("schemas encode");
        assert_eq!(Schema::decode(&bytes), Ok(schema));
    });
}

#[test]
fn a_schema_of_a_peer_is_refused_or_sound() {
    let samples: Vec<Vec<u8>> = SCHEMAS
        .iter()
        .map(|schema| postcard::to_allocvec(schema).expect("schemas encode"))
        .collect();
    fuzz!(move |input: &[u8]| {
        let bytes = Script(input).spoiled(&samples);
        memory::schemas(&bytes);
        if let Ok(schema) = Schema::decode(&bytes) {
            assert_eq!(schema.check(), Ok(()));
        }
    });
}

#[test]
fn a_hostile_change_is_judged_and_its_typed_form_stays() {
    fuzz!(|input: &[u8]| {
        let mut script = Script(input);
        let schema = script.pick(&SCHEMAS);
        let Ok(batch) = batch::decode(&script.spoiled(&BATCHES)) else { return };
        for change in &batch.changes {
            let _ = judge(schema, change);
            if let Ok(typed) = interpret(schema, change) {
                assert_eq!(interpret(schema, &typed).as_ref(), Ok(&typed));
                let _ = judge(schema, &typed);
            }
        }
    });
}
