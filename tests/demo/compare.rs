//! The verdict: every table, row by row and field by field.
use anyhow::Result;
use wadi_harness::model::Model;
use wadi_harness::records::Record;
use wadi_harness::tables::Tables;

use crate::stage::Stage;

/// What was compared, and what differs.
pub struct Verdict {
    /// Rows of each table on the hub and each gateway.
    pub rows: Vec<(String, Vec<usize>)>,
    /// Whom the hub was compared with, and where they differ.
    pub pairs: Vec<(String, Vec<String>)>,
}

impl Verdict {
    /// Whether nothing differs.
    pub fn equal(&self) -> bool {
        self.pairs.iter().all(|(_, differences)| differences.is_empty())
    }
}

/// Compare hub and gateways, and the hub with the records themselves where those
/// foretell it.
pub fn all(stage: &Stage) -> Result<Verdict> {
    let mut read = Vec::new();
    for (name, database) in stage.databases() {
        read.push((name, Tables::read(database, &stage.plan)?));
    }
    let counts = |table: &str| read.iter().map(|(_, tables)| tables.rows(table).count()).collect();
    let rows = stage.plan.tables.keys().map(|table| (table.clone(), counts(table))).collect();
    let hub = &read[0].1;
    let mut pairs: Vec<(String, Vec<String>)> = read[1..]
        .iter()
        .map(|(name, tables)| (name.clone(), hub.differences_within(tables, &stage.plan.partial)))
        .collect();
    let records = played(stage);
    if is_foretold(stage, &records) {
        let model = Model::of(&stage.plan, &records)?;
        pairs.push(("the records played".into(), model.tables().differences(hub)));
    }
    Ok(Verdict { rows, pairs })
}

/// All records in the order of the streams.
fn played(stage: &Stage) -> Vec<Record> {
    let base = stage.crews.iter().flat_map(|crew| crew.base.iter().cloned());
    let mut trickle: Vec<&(usize, Record)> =
        stage.crews.iter().flat_map(|crew| &crew.trickle).collect();
    trickle.sort_by_key(|(place, _)| *place);
    base.chain(trickle.into_iter().map(|(_, record)| record.clone())).collect()
}

/// A plain replay gives the same tables if each row has one writer, no strategy
/// judges, no row that others refer to is deleted, and no record is faulty.
fn is_foretold(stage: &Stage, records: &[Record]) -> bool {
    let mut writers = std::collections::BTreeMap::new();
    let one_writer = records.iter().all(|record| {
        let row = (record.json["table"].as_str(), record.json["id"].as_str());
        row.1.is_some() && *writers.entry(row).or_insert(&record.device) == &record.device
    });
    let unreferenced = records.iter().all(|record| {
        record.json["op"] != "delete"
            || record.json["table"]
                .as_str()
                .is_some_and(|table| !stage.plan.referenced.contains(table))
    });
    let plain = stage.plan.tables.values().flatten().all(|field| field.foretold);
    one_writer && unreferenced && plain && Model::of(&stage.plan, records).is_ok()
}
