//! Where a person sits and types what README says, in a folder of its own.
//!
//! A line that README does not have is an error: its addresses and folders are
//! replaced by those of the test, everything else is word for word. Failing is
//! panicking here: whoever types wrong lines has a wrong test, or a wrong README.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::binaries;
use crate::process::{Outcome, Process, run};

/// A command must be done after this.
const DEADLINE: Duration = Duration::from_secs(90);

/// Where somebody sits and types.
#[derive(Debug)]
pub struct Desk {
    folder: PathBuf,
    /// README, with the addresses and folders of this test.
    readme: String,
}

impl Desk {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A desk in a new folder; `places` are what README calls them and what they are here.
    pub fn new(folder: &Path, name: &str, places: &[(&str, &str)]) -> Desk {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(file).unwrap();
        let readme = places.iter().fold(readme, |text, (of_readme, ours)| {
            assert!(text.contains(of_readme), "README does not name {of_readme}");
            text.replace(of_readme, ours)
        });
        Desk { folder, readme }
    }

    /// The command of a line, not run yet.
    pub fn compose(&self, line: &str) -> Command {
        let told = line.trim_end_matches(" --json");
        assert!(self.readme.contains(told), "README does not say to type `{told}`");
        let parts = line.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let words: Vec<&str> = parts.collect();
        let mut command = binaries::command(words[0]).unwrap();
        command.args(&words[1..]).current_dir(&self.folder);
        command
    }

    /// Type a line of README; it may end in `> FILE`.
    pub fn types(&self, line: &str) -> Outcome {
        let (line, file) = line.split_once(" > ").map_or((line, None), |(a, b)| (a, Some(b)));
        let outcome = run(&mut self.compose(line), "", DEADLINE).unwrap();
        if let Some(file) = file {
            std::fs::write(self.folder.join(file), &outcome.stdout).unwrap();
        }
        outcome
    }

    /// Type a line that must succeed; what it says.
    pub fn well(&self, line: &str) -> String {
        self.types(line).ok().unwrap()
    }

    /// What a line says with `--json`.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.well(&format!("{line} --json"))).unwrap()
    }

    /// Start what goes on until it is stopped.
    pub fn starts(&self, line: &str) -> Process {
        Process::start(line, &mut self.compose(line), &self.folder.join("log")).unwrap()
    }

    /// Edit a file made from a template, as a person does: each key there once.
    pub fn edits(&self, file: &str, lines: &[(&str, String)]) {
        let path = self.folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let edited = lines.iter().fold(text, |text, (before, after)| {
            assert!(text.contains(before), "{before} is not in {text}");
            text.replacen(before, after, 1)
        });
        std::fs::write(path, edited).unwrap();
    }
}
