//! Reports of incidents: mostly prose, with comments that follow.
use serde_json::json;

use super::Desk;
use super::dice::{large, time};

pub const SCHEMA: &str = r#"
name = "reports"
[tables.report.fields]
number = { type = "text" }
title = { type = "text" }
body = { type = "text" }
place = { type = "text" }
happened = { type = "timestamp" }
severity = { type = "enum", values = ["high", "low", "middle"] }
reporter = { type = "text" }
status = { type = "enum", values = ["closed", "open", "seen"] }
answer = { type = "text" }
[tables.comment.fields]
report = { type = "reference", table = "report", on_delete = "cascade" }
author = { type = "text" }
words = { type = "text" }
"#;

pub fn make(desk: &mut Desk) {
    let words = desk.dice.words(900);
    let places: Vec<String> = desk.dice.words(15).iter().map(|word| large(word)).collect();
    let people: Vec<String> =
        (0..8).map(|_| desk.dice.name(&words[..50], &words[50..200])).collect();
    let mut reports = Vec::new();
    for number in 0..900 {
        desk.wait(4_000);
        let device = *desk.dice.usual(&["phone-1", "phone-2", "phone-3"]);
        let (long, ago) = (15 + desk.dice.below(50), desk.dice.below(40) * 300);
        let fields = json!({
            "number": format!("R-2026-{:04}", number + 1),
            "title": desk.dice.prose(&words, 4).trim_end_matches('.'),
            "body": desk.dice.prose(&words, long),
            "place": desk.dice.usual(&places),
            "happened": time(desk.now_s() - ago, false),
            "severity": desk.dice.usual(&["low", "middle", "high"]),
            "reporter": desk.dice.usual(&people),
            "status": "open",
        });
        reports.push(desk.insert(device, "report", fields));
        for _ in 0..desk.dice.below(3) {
            desk.wait(900);
            let from = reports.len().saturating_sub(5);
            let report =
                reports[from + desk.dice.below((reports.len() - from) as u64) as usize].clone();
            let long = 4 + desk.dice.below(12);
            let fields = json!({
                "report": report,
                "author": desk.dice.usual(&people),
                "words": desk.dice.prose(&words, long),
            });
            desk.insert("office", "comment", fields);
        }
    }
    for _ in 0..1200 {
        desk.wait(1_500);
        let from = reports.len() - 200;
        let report = reports[from + desk.dice.below(200) as usize].clone();
        let fields = match desk.dice.below(3) {
            0 => json!({"status": "closed", "answer": desk.dice.prose(&words, 9)}),
            1 => json!({"status": "seen"}),
            _ => json!({"severity": desk.dice.usual(&["low", "middle", "high"])}),
        };
        desk.update("office", &report, fields);
    }
}
