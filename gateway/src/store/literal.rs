//! Literals as SQLite's `quote()` writes them, read back into cells.
//!
//! ```text
//! list    = literal *("," literal), or nothing
//! literal = NULL | integer | real | 'text' ('' for ') | X'hex of UTF-8'
//! ```
//! The text is what any program could write, so nothing of it is trusted.
use wadi_protocol::schema::cell::Cell;

/// A list of literals that is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no SQL literal at byte {0}")]
pub(crate) struct BadLiteral(usize);

/// Read a list of literals. Text that is not UTF-8 is read with U+FFFD in place
/// of what is not; a real is read as text, since no typed column holds one.
pub(crate) fn parse_list(text: &str) -> Result<Vec<Cell>, BadLiteral> {
    let mut cells = Vec::new();
    let mut rest = text;
    if rest.is_empty() {
        return Ok(cells);
    }
    loop {
        let at = text.len() - rest.len();
        let (cell, after) = parse_one(rest).ok_or(BadLiteral(at))?;
        cells.push(cell);
        if after.is_empty() {
            return Ok(cells);
        }
        rest = after.strip_prefix(',').ok_or(BadLiteral(text.len() - after.len()))?;
    }
}

fn parse_one(text: &str) -> Option<(Cell, &str)> {
    match text.as_bytes().first()? {
        b'\'' => parse_text(&text[1..]),
        b'X' | b'x' => parse_blob(text[1..].strip_prefix('\'')?),
        _ => {
            let end = text.find(',').unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            let cell = match word {
                "NULL" => Cell::Null,
                _ => match word.parse::<i64>() {
                    Ok(number) => Cell::Int(number),
                    Err(_) => {
                        word.parse::<f64>().ok()?;
                        Cell::Text(word.to_owned())
                    }
                },
            };
            Some((cell, rest))
        }
    }
}

fn parse_text(text: &str) -> Option<(Cell, &str)> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'')?;
        out.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                out.push('\'');
                rest = more;
            }
            None => return Some((Cell::Text(out), after)),
        }
    }
}

fn parse_blob(text: &str) -> Option<(Cell, &str)> {
    let (digits, rest) = text.split_once('\'')?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    let bytes: Option<Vec<u8>> = digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect();
    Some((Cell::Text(String::from_utf8_lossy(&bytes?).into_owned()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Cell {
        Cell::Text(text.into())
    }

    #[test]
    fn what_quote_writes_is_read_back() {
        let cases: [(&str, Vec<Cell>); 7] = [
            ("", vec![]),
            ("NULL", vec![Cell::Null]),
            (
                "-9223372036854775808,9223372036854775807",
                vec![Cell::Int(i64::MIN), Cell::Int(i64::MAX)],
            ),
            ("'it''s, ''here''',''", vec![text("it's, 'here'"), text("")]),
            ("X'',X'610062'", vec![text(""), text("a\0b")]),
            ("1.5,NULL", vec![text("1.5"), Cell::Null]),
            ("X'ff'", vec![text("\u{fffd}")]),
        ];
        for (list, cells) in cases {
            assert_eq!(parse_list(list), Ok(cells), "{list}");
        }
    }

    #[test]
    fn hostile_lists_are_refused() {
        for list in [
            ",", "NULL,", "'", "'a", "'a'b", "X'6", "X'6'", "X'zz'", "x", "nope", "1;2",
            "NULLNULL", "é",
        ] {
            assert!(parse_list(list).is_err(), "{list}");
        }
    }
}
