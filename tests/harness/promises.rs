//! Keeps `tests/PROMISES.md` true: what it names is there.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Lines between a test's attribute and its name, at most.
const ATTRIBUTE_LINES_MAX: usize = 3;

/// A test that the page names, and the file that it links to.
struct Named<'a> {
    name: &'a str,
    file: PathBuf,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The cells of each row of the tables under a heading, without heads and rules.
fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = page.split_once(heading).expect("the heading is there");
    let section = section.split("\n## ").next().expect("a first part");
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Links of the form [`name`](file).
fn named(text: &str) -> Vec<Named<'_>> {
    let links = text.split("[`").skip(1);
    let named = links.map(|link| {
        let (name, rest) = link.split_once("`](").expect("a name is a link");
        let (file, _) = rest.split_once(')').expect("a link ends");
        Named { name, file: folder().join(file) }
    });
    named.collect()
}

/// Texts in backticks that are no links.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Why a test that is named is none; nothing if it is.
fn missing(named: &Named<'_>) -> Option<String> {
    let source = read(&named.file);
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let starts = format!("fn {}(", named.name);
    let at = lines.iter().position(|line| {
        let line = line.trim_start_matches("pub ").trim_start_matches("async ");
        line.starts_with(&starts)
    });
    let Some(at) = at else {
        return Some(format!("{}: no test {}", named.file.display(), named.name));
    };
    // The simulator's checks are methods of its world, which one test runs.
    // A bench that has bounds fails where they do not hold, and tests/run runs it.
    let within = |place: &str| named.file.starts_with(folder().join(place));
    let is_check = within("simulation") || within("bench") && source.contains("ensure!(");
    let attributes = &lines[at.saturating_sub(ATTRIBUTE_LINES_MAX)..at];
    let is_test = attributes
        .iter()
        .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    (!is_test && !is_check).then(|| format!("{}: {} is no test", named.file.display(), named.name))
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = read(&folder().join("PROMISES.md"));
    let named = named(&page);
    assert!(named.len() > 60, "the page names {} tests", named.len());
    let missing: Vec<String> = named.iter().filter_map(missing).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_promise_and_every_bug_has_a_test() {
    let page = read(&folder().join("PROMISES.md"));
    let promises = rows(&page, "\n## Promises");
    let numbers: Vec<String> = promises.iter().map(|cells| cells[0].to_owned()).collect();
    assert_eq!(numbers, (1..=12).map(|number| number.to_string()).collect::<Vec<_>>());
    for (cells, checks) in promises.iter().map(|cells| (cells, 2)) {
        assert_eq!(cells.len(), 4, "{cells:?}");
        assert!(!named(cells[checks]).is_empty(), "promise {} has no check", cells[0]);
    }
    let bugs = rows(&page, "\n## Bugs of others");
    assert!(bugs.len() >= 18, "{} bugs", bugs.len());
    for cells in bugs {
        assert_eq!(cells.len(), 2, "{cells:?}");
        assert!(!named(cells[1]).is_empty(), "no test: {}", cells[0]);
    }
}

/// The faults are named as the simulator counts them.
#[test]
fn every_fault_that_the_page_names_is_one() {
    let page = read(&folder().join("PROMISES.md"));
    let source = read(&folder().join("simulation/faults.rs"));
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for cells in rows(&page, "\n## Promises") {
        for fault in words(cells[3]) {
            assert!(
                source.contains(&format!("\"{fault}\"")),
                "{fault} is no fault of the simulator"
            );
            *times.entry(fault).or_default() += 1;
        }
    }
    assert!(times.len() > 10, "{times:?}");
}
