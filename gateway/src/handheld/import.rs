//! Bulk import: a file of records, streamed, a transaction every thousand lines.
//!
//! Lines that cannot be changes are put aside as they are, in a file of their
//! own, and named with their number and reason; the others go in. An import that
//! was cut off goes on after its last committed line when it is run again; a
//! finished one is imported again, as new changes.
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use wadi_protocol::id::Hash;

use super::entry::enter;
use super::record::parse;
use super::store::{ImportPlace, Store, StoreError};
use crate::words::plain;

/// Lines in one transaction, so that power cut or not, no more than this is typed again.
const LINES_A_TRANSACTION: u64 = 1_000;
/// A line of more bytes is put aside: no record that may travel is so long.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes before the place of an unfinished import by which its file is known again.
const TAIL_BYTES: u64 = 4096;

/// What to import.
#[derive(Clone, Debug)]
pub struct Import {
    /// The file of records.
    pub file: PathBuf,
    /// Where lines are put aside; made at the first one, added to if it is there.
    pub rejects: PathBuf,
    /// Whose records are that name no device.
    pub device: String,
}

/// What an import did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// Changes made.
    pub changes: u64,
    /// Lines put aside.
    pub aside: u64,
    /// Lines that the hub will put aside.
    pub doubtful: u64,
    /// Lines that an import before this one had done.
    pub resumed_after: u64,
}

/// News of an import in progress.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// It goes on after a line.
    Resumed(u64),
    /// A line was put aside: its number, why.
    Aside(u64, String),
    /// A line was taken, but the hub will put it aside: its number, why.
    Doubtful(u64, String),
    /// Bytes of the file that are done and committed.
    Done(u64),
}

/// Why an import ended early; what was committed stays.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("{path}: {reason}", path = .0.display(), reason = plain(.1))]
    File(PathBuf, io::Error),
    /// The file to put lines aside in is the file to import.
    #[error("--rejects names the file to import itself: name another")]
    SameFile,
}

/// Import a file. `now_s` tells the time, seconds since 1970.
pub fn import(
    store: &mut Store,
    what: &Import,
    now_s: impl Fn() -> u64,
    mut tell: impl FnMut(Note),
) -> Result<Imported, ImportError> {
    let at_file = |error| ImportError::File(what.file.clone(), error);
    let mut file = File::open(&what.file).map_err(at_file)?;
    let path = what.file.canonicalize().map_err(at_file)?;
    if what.rejects.canonicalize().is_ok_and(|rejects| rejects == path) {
        return Err(ImportError::SameFile);
    }
    let path = path.to_string_lossy().into_owned();
    let mut done = Imported::default();
    let mut place = ImportPlace { bytes: 0, lines: 0, tail: Hash::default() };
    let unfinished = store.write(now_s(), |work| work.unfinished_import(&path))?;
    if let Some(far) = unfinished
        && tail(&mut file, far.bytes).map_err(at_file)? == Some(far.tail)
    {
        place = far;
        done.resumed_after = far.lines;
        tell(Note::Resumed(far.lines));
    }
    file.seek(SeekFrom::Start(place.bytes)).map_err(at_file)?;
    let mut lines = Lines { reader: BufReader::with_capacity(64 * 1024, file), line: Vec::new() };
    let mut aside = Aside { path: &what.rejects, file: None };
    loop {
        let mut work = store.begin(now_s())?;
        let mut ended = true;
        for _ in 0..LINES_A_TRANSACTION {
            let Some(length) = lines.next(&mut aside).map_err(at_file)? else {
                break;
            };
            ended = false;
            place.bytes += length;
            place.lines += 1;
            let line = lines.line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let records = if length as usize > LINE_BYTES_MAX {
                Err(format!("a line of {length} bytes, at most {LINE_BYTES_MAX} are allowed"))
            } else {
                std::str::from_utf8(line)
                    .map_err(|error| format!("not UTF-8: {error}"))
                    .and_then(parse)
            };
            let entered = match records {
                Ok(records) => enter(&mut work, &records, &what.device)?,
                Err(reason) => Err(reason),
            };
            // An overlong line was put aside while it was read.
            if entered.is_err() && length as usize <= LINE_BYTES_MAX {
                aside.keep(&lines.line)?;
            }
            match entered {
                Ok(entered) => {
                    done.changes += entered.rows.len() as u64;
                    done.doubtful += u64::from(!entered.warnings.is_empty());
                    for reason in entered.warnings {
                        tell(Note::Doubtful(place.lines, reason));
                    }
                }
                Err(reason) => {
                    done.aside += 1;
                    tell(Note::Aside(place.lines, reason));
                }
            }
        }
        // Put aside first, then forgotten here.
        aside.sync()?;
        if ended {
            work.note_import(&path, None)?;
            work.commit()?;
            return Ok(done);
        }
        let reader = lines.reader.get_mut();
        let position = reader.stream_position().map_err(at_file)?;
        place.tail = tail(reader, place.bytes).map_err(at_file)?.unwrap_or_default();
        reader.seek(SeekFrom::Start(position)).map_err(at_file)?;
        work.note_import(&path, Some(&place))?;
        work.commit()?;
        tell(Note::Done(place.bytes));
    }
}

/// Hash of the bytes just before a place, if the file is that long.
fn tail(file: &mut File, bytes: u64) -> io::Result<Option<Hash>> {
    if file.metadata()?.len() < bytes {
        return Ok(None);
    }
    let from = bytes.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(bytes - from).read_to_end(&mut tail)?;
    Ok(Some(Hash::of(&[&tail])))
}

/// Lines of a file, the part beyond [`LINE_BYTES_MAX`] never held.
struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    /// Read the next line, its end included; its whole length. An overlong one goes aside as it comes.
    fn next(&mut self, aside: &mut Aside<'_>) -> io::Result<Option<u64>> {
        self.line.clear();
        let mut length = 0u64;
        let mut overlong = false;
        loop {
            let held = self.reader.fill_buf()?;
            if held.is_empty() {
                break;
            }
            let end = held.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(held.len(), |end| end + 1);
            length += taken as u64;
            if !overlong {
                self.line.extend_from_slice(&held[..taken]);
                if self.line.len() > LINE_BYTES_MAX {
                    overlong = true;
                    aside.write(&self.line)?;
                    self.line.truncate(1);
                }
            } else {
                aside.write(&held[..taken])?;
            }
            self.reader.consume(taken);
            if end.is_some() {
                break;
            }
        }
        Ok((length > 0).then_some(length))
    }
}

/// The file of lines put aside.
struct Aside<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl Aside<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new().create(true).append(true).open(self.path)?;
            self.file = Some(file);
        }
        self.file.as_mut().expect("just opened").write_all(bytes)
    }

    /// A line, with an end of its own if it was the file's last without one.
    fn keep(&mut self, line: &[u8]) -> Result<(), ImportError> {
        let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
        let kept = self.write(line).and_then(|()| self.write(end));
        kept.map_err(|error| ImportError::File(self.path.to_owned(), error))
    }

    fn sync(&mut self) -> Result<(), ImportError> {
        let synced = self.file.as_mut().map_or(Ok(()), |file| file.sync_data());
        synced.map_err(|error| ImportError::File(self.path.to_owned(), error))
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tempfile::TempDir;

    use super::super::store::{Draw, Opening, Origin};
    use super::*;

    struct Desk {
        folder: TempDir,
        store: Store,
    }

    impl Desk {
        fn new() -> Desk {
            let folder = tempfile::tempdir().unwrap();
            let opening = Opening {
                path: folder.path().join("phone.db"),
                label: Some("phone".into()),
                create: true,
                origin: Origin { machine: String::new(), boot: String::new() },
                draw: Draw::default(),
            };
            let store = Store::open(&opening).unwrap().0;
            Desk { folder, store }
        }

        fn what(&self) -> Import {
            let path = |name: &str| self.folder.path().join(name);
            Import { file: path("in.jsonl"), rejects: path("out.jsonl"), device: "phone".into() }
        }

        fn write(&self, text: &[u8]) {
            std::fs::write(self.what().file, text).unwrap();
        }

        fn import(&mut self, notes: &mut Vec<Note>) -> Imported {
            let what = self.what();
            import(&mut self.store, &what, || 1_800_000_000, |note| notes.push(note)).unwrap()
        }

        fn pending(&self) -> u64 {
            self.store.status().unwrap().changes["pending"]
        }
    }

    const GOOD: &str = r#"{"op":"insert","table":"t","fields":{"a":1}}"#;

    #[test]
    fn bad_lines_go_aside_as_they_are_and_the_others_go_in() {
        let mut desk = Desk::new();
        let long = format!(
            r#"{{"op":"insert","table":"t","fields":{{"a":"{}"}}}}"#,
            "x".repeat(LINE_BYTES_MAX)
        );
        let large =
            format!(r#"{{"op":"insert","table":"t","fields":{{"a":"{}"}}}}"#, "x".repeat(70_000));
        let mut text = format!("{GOOD}\n{{bad\n\n{long}\n{large}\n").into_bytes();
        text.extend_from_slice(b"\xff\xfe\n");
        text.extend_from_slice(format!("{GOOD}\r\nlast").as_bytes());
        desk.write(&text);
        let mut notes = Vec::new();
        let done = desk.import(&mut notes);
        assert_eq!((done.changes, done.aside, desk.pending()), (2, 5, 2));
        let lines: Vec<u64> = notes
            .iter()
            .filter_map(|note| if let Note::Aside(line, _) = note { Some(*line) } else { None })
            .collect();
        assert_eq!(lines, [2, 4, 5, 6, 8]);
        let mut aside = format!("{{bad\n{long}\n{large}\n").into_bytes();
        aside.extend_from_slice(b"\xff\xfe\nlast\n");
        assert_eq!(std::fs::read(desk.what().rejects).unwrap(), aside);
    }

    #[test]
    fn an_import_that_was_cut_off_goes_on_after_its_last_commit() {
        let mut desk = Desk::new();
        desk.write(format!("{GOOD}\n").repeat(2_500).as_bytes());
        let what = desk.what();
        let cut = |note| assert!(!matches!(note, Note::Done(_)), "power cut");
        let outcome = catch_unwind(AssertUnwindSafe(|| import(&mut desk.store, &what, || 0, cut)));
        assert!(outcome.is_err());
        assert_eq!(desk.pending(), 1_000);
        let mut notes = Vec::new();
        assert_eq!(desk.import(&mut notes).changes, 1_500);
        assert_eq!((notes[0].clone(), desk.pending()), (Note::Resumed(1_000), 2_500));
        assert_eq!(desk.import(&mut Vec::new()).changes, 2_500, "a finished one is imported again");
    }

    #[test]
    fn another_file_in_its_place_is_imported_from_its_beginning() {
        let mut desk = Desk::new();
        desk.write(format!("{GOOD}\n").repeat(1_500).as_bytes());
        let what = desk.what();
        let cut = |note| assert!(!matches!(note, Note::Done(_)), "power cut");
        let outcome = catch_unwind(AssertUnwindSafe(|| import(&mut desk.store, &what, || 0, cut)));
        assert!(outcome.is_err());
        desk.write(format!("{}\n", GOOD.replace('1', "2")).repeat(1_500).as_bytes());
        let mut notes = Vec::new();
        assert_eq!(desk.import(&mut notes).changes, 1_500);
        assert!(!notes.contains(&Note::Resumed(1_000)));
    }

    #[test]
    fn lines_are_not_put_aside_into_the_file_they_come_from() {
        let mut desk = Desk::new();
        desk.write(b"bad");
        let what = Import { rejects: desk.what().file, ..desk.what() };
        let outcome = import(&mut desk.store, &what, || 0, |_| {});
        assert!(matches!(outcome, Err(ImportError::SameFile)));
    }
}
